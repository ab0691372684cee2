"""Facts: typed documents of a device's state, one struct per document.

A document says what the agent *saw* (``sources``) and what it could *not* see and why (``gaps``): a rule must
be able to tell "there is none" from "we could not look". The tag of a document is its name on the wire, in the
API, in the audit's JSON and in check kinds' ``rests_on``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from forestall.wire.moment import Moment


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of everything listed inside a document."""


class Gap(Item, frozen=True, kw_only=True):
    """Something the agent could not see."""

    what: str
    """What is missing, in words: ``sudo rules``, ``SMART of /dev/sda``."""
    why: str
    """The reason, in words: ``needs root``, ``smartctl is not installed``."""


class Document(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="document"):
    """Base of all documents."""

    sources: tuple[str, ...] = ()
    """Commands and files this document rests on, as an auditor would name them: ``apt list --upgradable``."""
    gaps: tuple[Gap, ...] = ()

    @classmethod
    def name(cls) -> str:
        """The document's name on the wire."""
        return str(cls.__struct_config__.tag)


# --- system ------------------------------------------------------------------------------------------------


class System(Document, frozen=True, kw_only=True, tag="system"):
    """Identity of the operating system and the hardware below it."""

    hostname: str
    os_id: str
    """``ID`` of os-release: ``debian``, ``ubuntu``, ``almalinux``."""
    os_name: str
    """``PRETTY_NAME`` of os-release."""
    os_version: str
    """The most exact version known: ``12.11``."""
    os_codename: str = ""
    kernel: str = ""
    """Release of the running kernel (``uname -r``)."""
    architecture: str = ""
    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    cpu_model: str = ""
    cpu_count: int = 0
    """Logical processors."""
    memory_bytes: int = 0
    virtualisation: str = ""
    """``none``, ``kvm``, ``firecracker``, ``lxc`` …; empty when it could not be told."""
    boot_id: str = ""
    booted_at: Moment | None = None
    init: str = ""
    """Program that is process 1: ``systemd``, ``init``, …"""
    timezone: str = ""
    reboot_required: bool | None = None
    """None: this system has no way of saying so."""
    reboot_reasons: tuple[str, ...] = ()
    """What asks for the reboot: ``linux-image-6.1.0-40-amd64``, ``kernel 6.1.0-39 runs, 6.1.0-40 installed``."""


# --- network -----------------------------------------------------------------------------------------------


class Interface(Item, frozen=True, kw_only=True):
    name: str
    mac: str = ""
    addresses: tuple[str, ...] = ()
    """With prefix length: ``192.0.2.7/24``."""
    up: bool = False
    speed_mbit: int = 0
    """0: unknown."""


class Socket(Item, frozen=True, kw_only=True):
    """A listening socket."""

    protocol: Literal["tcp", "udp"]
    address: str
    """``0.0.0.0``, ``::``, ``127.0.0.1`` …"""
    port: int
    process: str = ""
    """Name of the process; empty when it could not be seen."""
    pid: int = 0
    user: str = ""

    @property
    def exposed(self) -> bool:
        """Whether the socket listens on every interface."""
        return self.address in {"0.0.0.0", "::", "*"}  # noqa: S104 - compares, binds nothing


class Network(Document, frozen=True, kw_only=True, tag="network"):
    interfaces: tuple[Interface, ...] = ()
    listening: tuple[Socket, ...] = ()
    default_routes: tuple[str, ...] = ()
    nameservers: tuple[str, ...] = ()


# --- volumes and disks -------------------------------------------------------------------------------------


class Volume(Item, frozen=True, kw_only=True):
    mountpoint: str
    device: str
    filesystem: str
    options: tuple[str, ...] = ()
    total_bytes: int = 0
    read_only: bool = False
    total_inodes: int = 0
    """0: the file system has no fixed number."""


class Volumes(Document, frozen=True, kw_only=True, tag="volumes"):
    """Mounted file systems that hold data. How full they are is a sample, not a fact."""

    volumes: tuple[Volume, ...] = ()


class Disk(Item, frozen=True, kw_only=True):
    """A physical (or virtual) disk and what it says of its own health."""

    device: str
    model: str = ""
    serial: str = ""
    size_bytes: int = 0
    kind: str = ""
    """``ssd``, ``hdd``, ``nvme``, ``virtual``."""
    smart_available: bool | None = None
    """None: not asked (no tool, no right)."""
    smart_passed: bool | None = None
    temperature_celsius: float | None = None
    power_on_hours: int | None = None
    wear_percent: float | None = None
    """Share of rated endurance used, 0-100 and beyond."""
    reallocated_sectors: int | None = None
    pending_sectors: int | None = None
    uncorrectable_sectors: int | None = None
    media_errors: int | None = None
    unknown_why: str = ""
    """Why the health of this disk is unknown."""


class Disks(Document, frozen=True, kw_only=True, tag="disks"):
    disks: tuple[Disk, ...] = ()


# --- software and updates ----------------------------------------------------------------------------------


class Package(Item, frozen=True, kw_only=True):
    name: str
    version: str
    architecture: str = ""
    source: str = ""
    """Source package, when it is not named as the package."""
    source_version: str = ""
    manager: str = ""
    """Who keeps it, when that is not the document's own manager: ``flatpak``, ``snap``, ``pip``, ``winget``."""
    module: str = ""
    """Module stream of an rpm package (``nodejs:18``)."""


class Software(Document, frozen=True, kw_only=True, tag="software"):
    manager: str = ""
    """``dpkg``, ``rpm``, ``pacman``, ``apk``; empty: none found."""
    packages: tuple[Package, ...] = ()


class Update(Item, frozen=True, kw_only=True):
    name: str
    installed: str
    """Empty: nothing of it is installed, it is offered all the same (a Windows update, a new kernel package)."""
    candidate: str
    security: bool
    """A version newer than the installed one comes from a security origin."""
    origin: str = ""
    """Archive it comes from: ``Debian-Security:12/stable-security`` or ``stable-security``."""
    architecture: str = ""
    held: bool = False
    manager: str = ""
    """The provider that offers it, when that is not the document's own: ``flatpak``, ``fwupd``, ``winget``."""
    kind: Literal["system", "application", "firmware", "language"] = "system"
    """``language``: a package of a programming language's own manager (pip, npm), which is only read."""
    severity: Literal["", "low", "medium", "high", "critical"] = ""
    """In the vendor's own rating; empty: the vendor does not rate it here."""
    advisories: tuple[str, ...] = ()
    """Of the vendor: ``ALSA-2026:1234``, ``KB5078766``."""
    cves: tuple[str, ...] = ()
    """That the provider itself says it fixes."""
    released_at: Moment | None = None
    """When the vendor released it, where the provider says so."""
    size_bytes: int = 0
    """To download; 0: unknown."""
    restart: Literal["", "none", "service", "reboot"] = ""
    """What the provider says it will need; empty: it does not say."""


class UpdateProvider(Item, frozen=True, kw_only=True):
    """A program that installs updates here, and what it can."""

    name: str
    """``apt``, ``dnf``, ``fwupd``, ``winget`` …"""
    version: str = ""
    can: tuple[str, ...] = ()
    """Of ``list``, ``download``, ``install``, ``security_only``, ``chosen``, ``hold``, ``roll_back``, ``repair``."""
    lists_refreshed_at: Moment | None = None
    security_sources: bool | None = None
    """Whether it tells security fixes from others at all."""
    held: tuple[str, ...] = ()
    """Packages that it does not change."""
    unfinished: tuple[str, ...] = ()
    """What it has begun and not ended, the package's name first: ``openssl: unpacked, not configured``."""
    unknown_why: str = ""
    """Why its updates could not be listed."""


class Updates(Document, frozen=True, kw_only=True, tag="updates"):
    manager: str = ""
    """The system's own: ``apt``, ``dnf`` …; empty: none that the agent knows."""
    pending: tuple[Update, ...] = ()
    """Of every provider."""
    lists_refreshed_at: Moment | None = None
    """When the package lists were last fetched; updates newer than that cannot be known."""
    security_sources: bool | None = None
    """Whether a security archive is configured at all. Without one, no update can be known as a security fix."""
    providers: tuple[UpdateProvider, ...] = ()
    """Every one found here, the system's own first."""


class OutdatedProcess(Item, frozen=True, kw_only=True):
    """A process that still runs code from before an update."""

    pid: int
    name: str
    service: str = ""
    """As the ``services`` document names it; empty: it belongs to none."""
    user: str = ""
    files: tuple[str, ...] = ()
    """Programs and libraries it holds that were replaced or removed."""


class Restarts(Document, frozen=True, kw_only=True, tag="restarts"):
    """What still runs from before an update: an update only takes effect with a restart."""

    processes: tuple[OutdatedProcess, ...] = ()
    kernel_running: str = ""
    kernel_newest: str = ""
    """Newest kernel installed; empty: it could not be told, or the kernel is not this system's to change."""


class Readiness(Document, frozen=True, kw_only=True, tag="readiness"):
    """Whether the machine is fit to be updated now."""

    on_battery: bool | None = None
    """None: it has no battery, or it could not be told."""
    battery_percent: float | None = None
    sessions: tuple[str, ...] = ()
    """People who are signed in: ``ada on tty1``."""
    busy: tuple[str, ...] = ()
    """Package managers at work, in words: ``apt-get upgrade (process 4711)``."""
    snapshots: tuple[str, ...] = ()
    """What could take a snapshot of the system's volume: ``btrfs``, ``lvm``, ``zfs``."""


# --- services ----------------------------------------------------------------------------------------------


class Service(Item, frozen=True, kw_only=True):
    name: str
    description: str = ""
    state: Literal["running", "stopped", "failed", "exited", "starting", "unknown"]
    """``exited``: a one-shot that ended well."""
    enabled: bool | None = None
    """Starts at boot. None: could not be told."""
    pid: int = 0
    since: Moment | None = None
    detail: str = ""
    """The manager's own words: ``exit-code, status=1``."""


class Services(Document, frozen=True, kw_only=True, tag="services"):
    manager: str = ""
    """``systemd``, ``sysvinit``; empty: none found."""
    services: tuple[Service, ...] = ()


class ScheduledJob(Item, frozen=True, kw_only=True):
    source: str
    """File or unit it comes from."""
    schedule: str
    """As written: ``17 * * * *``, ``OnCalendar=daily``."""
    command: str
    user: str = ""


class Scheduled(Document, frozen=True, kw_only=True, tag="scheduled"):
    jobs: tuple[ScheduledJob, ...] = ()


# --- access ------------------------------------------------------------------------------------------------


class Account(Item, frozen=True, kw_only=True):
    name: str
    uid: int
    groups: tuple[str, ...] = ()
    shell: str = ""
    login: bool = False
    """Has a shell that lets a person in."""
    administrator: bool = False
    administrator_because: tuple[str, ...] = ()
    """``uid 0``, ``group sudo``, ``sudoers: ALL``."""
    password: Literal["set", "locked", "empty", "unknown"] = "unknown"  # noqa: S105 - a state, not a secret
    last_login: Moment | None = None
    ssh_keys: int | None = None
    """Number of authorized keys; None: could not be read."""


class Access(Document, frozen=True, kw_only=True, tag="access"):
    accounts: tuple[Account, ...] = ()
    sudo_rules: tuple[str, ...] | None = None
    """Effective lines of sudoers; None: could not be read."""


class Sshd(Document, frozen=True, kw_only=True, tag="sshd"):
    installed: bool = False
    running: bool | None = None
    settings: dict[str, str] = msgspec.field(default_factory=dict)
    """Effective settings, lower-case keyword to value (``sshd -T``, or files with defaults when that is denied)."""
    effective: bool = False
    """True when ``sshd -T`` itself gave the settings."""


class Firewall(Document, frozen=True, kw_only=True, tag="firewall"):
    tool: str = ""
    """``nftables``, ``iptables``, ``ufw``, ``firewalld``; empty: none found."""
    active: bool | None = None
    """Whether any rule filters inbound traffic. None: could not be told."""
    default_inbound: Literal["accept", "drop", "unknown"] = "unknown"
    rules: int = 0


# --- backups, antivirus, certificates, time -----------------------------------------------------------------


class BackupRepository(Item, frozen=True, kw_only=True):
    """A backup repository the agent found, or was told of."""

    name: str
    """Short name, unique on the device: the configuration's name, or the last part of the location."""
    tool: Literal["restic", "borg"]
    location: str
    """Path or address without secrets."""
    last_success_at: Moment | None = None
    """Time of the newest snapshot or archive."""
    snapshots: int | None = None
    last_run_at: Moment | None = None
    """Last attempt that the agent knows of (a job it ran, or the tool's own record)."""
    last_run_ok: bool | None = None
    last_run_detail: str = ""
    rerun: bool = False
    """The device's backup settings name a command with which this backup can be run again."""
    unknown_why: str = ""
    """Why its state could not be read: ``password needed``."""
    restored_at: Moment | None = None
    """When it was last restored to see whether that works; None: nobody has said so."""
    restored_ok: bool | None = None
    restored_detail: str = ""


class BackupJob(Item, frozen=True, kw_only=True):
    """A backup of one program's own data, whose record says how it stands. It does not protect the device itself."""

    name: str
    """Short name, unique among the device's backups."""
    tool: str
    """The program: ``forestall``."""
    location: str
    """The folder of the backups."""
    first_due_at: Moment | None = None
    """Before that no backup is missing."""
    last_success_at: Moment | None = None
    snapshots: int | None = None
    """Backups kept."""
    last_run_at: Moment | None = None
    last_run_ok: bool | None = None
    last_run_detail: str = ""
    unknown_why: str = ""
    restored_at: Moment | None = None
    """When one was last restored to prove it."""
    restored_ok: bool | None = None
    restored_detail: str = ""


class Backups(Document, frozen=True, kw_only=True, tag="backups"):
    tools: tuple[str, ...] = ()
    """Backup programs installed."""
    repositories: tuple[BackupRepository, ...] = ()
    jobs: tuple[BackupJob, ...] = ()


class AntivirusProduct(Item, frozen=True, kw_only=True):
    name: str
    version: str = ""
    running: bool | None = None
    real_time: bool | None = None
    definitions_version: str = ""
    definitions_at: Moment | None = None
    last_scan_at: Moment | None = None


class Antivirus(Document, frozen=True, kw_only=True, tag="antivirus"):
    products: tuple[AntivirusProduct, ...] = ()


class Certificate(Item, frozen=True, kw_only=True):
    address: str
    port: int
    subject: str
    issuer: str = ""
    names: tuple[str, ...] = ()
    not_before: Moment | None = None
    not_after: Moment | None = None
    fingerprint_sha256: str = ""
    self_signed: bool = False
    process: str = ""


class Certificates(Document, frozen=True, kw_only=True, tag="certificates"):
    """Certificates that TLS servers on this device present."""

    certificates: tuple[Certificate, ...] = ()


class Time(Document, frozen=True, kw_only=True, tag="time"):
    """Time synchronisation, as the system itself reports it. Drift against the server is measured at check-in."""

    daemon: str = ""
    """``chronyd``, ``systemd-timesyncd``, ``ntpd``; empty: none found."""
    synchronised: bool | None = None
    offset_seconds: float | None = None


AnyDocument = (
    System
    | Network
    | Volumes
    | Disks
    | Software
    | Updates
    | Restarts
    | Readiness
    | Services
    | Scheduled
    | Access
    | Sshd
    | Firewall
    | Backups
    | Antivirus
    | Certificates
    | Time
)

DOCUMENTS: tuple[type[Document], ...] = (
    System, Network, Volumes, Disks, Software, Updates, Restarts, Readiness, Services, Scheduled,
    Access, Sshd, Firewall, Backups, Antivirus, Certificates, Time,
)  # fmt: skip

DOCUMENT_BY_NAME: dict[str, type[Document]] = {document.name(): document for document in DOCUMENTS}


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All documents known of one device; None: never received."""

    system: System | None = None
    network: Network | None = None
    volumes: Volumes | None = None
    disks: Disks | None = None
    software: Software | None = None
    updates: Updates | None = None
    restarts: Restarts | None = None
    readiness: Readiness | None = None
    services: Services | None = None
    scheduled: Scheduled | None = None
    access: Access | None = None
    sshd: Sshd | None = None
    firewall: Firewall | None = None
    backups: Backups | None = None
    antivirus: Antivirus | None = None
    certificates: Certificates | None = None
    time: Time | None = None

    FIELDS: ClassVar[tuple[str, ...]] = tuple(DOCUMENT_BY_NAME)

    def get(self, name: str) -> Document | None:
        """The document called ``name``; ValueError when there is no document of that name."""
        if name not in DOCUMENT_BY_NAME:
            raise ValueError(f"no facts document is called {name!r}; known: {', '.join(DOCUMENT_BY_NAME)}")
        document: Document | None = getattr(self, name)
        return document

    def with_document(self, document: Document) -> Facts:
        """A copy in which ``document`` takes the place of the one of its name."""
        return msgspec.structs.replace(self, **{document.name(): document})


def to_plain(document: Document) -> dict[str, Any]:
    """The document as plain JSON values (dates as RFC 3339 strings), with every field, defaults included."""
    plain: dict[str, Any] = msgspec.to_builtins(_explicit(document))
    return plain


def _explicit(value: Any) -> Any:
    # omit_defaults saves bytes on the wire; people and the audit's JSON want every field to be there.
    if isinstance(value, msgspec.Struct):
        return {field: _explicit(getattr(value, field)) for field in value.__struct_fields__}
    if isinstance(value, tuple | list):
        return [_explicit(item) for item in value]
    if isinstance(value, dict):
        return {key: _explicit(item) for key, item in value.items()}
    return value
