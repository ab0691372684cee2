"""Facts: typed documents of a device's state, one struct per document.

A document says what the agent *saw* (``sources``) and what it could *not* see and why (``gaps``): a rule must
be able to tell "there is none" from "we could not look". The tag of a document is its name on the wire, in the
API, in the audit's JSON and in check kinds' ``rests_on``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from forestall.trust.proofs import ProofLevel
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
    errors: int | None = None
    """Errors that the file system itself has counted since its last check; None: it does not count them."""
    last_error_at: Moment | None = None
    state: str = ""
    """In the file system's own words, when it is not well: ``needs a check``, ``remounted read-only after errors``."""
    label: str = ""


class Volumes(Document, frozen=True, kw_only=True, tag="volumes"):
    """Mounted file systems that hold data. How full they are is a sample, not a fact."""

    volumes: tuple[Volume, ...] = ()


class SmartAttribute(Item, frozen=True, kw_only=True):
    """One line of an ATA disk's SMART table."""

    id: int
    name: str
    value: int | None = None
    """Normalised by the vendor: higher is better."""
    worst: int | None = None
    threshold: int | None = None
    """The attribute has failed when its value is at or below this (0: it never fails)."""
    raw: int | None = None
    raw_text: str = ""
    failed: Literal["", "now", "past"] = ""
    prefail: bool = False
    """The vendor says that this one predicts failure."""


class SelfTest(Item, frozen=True, kw_only=True):
    """One entry of a disk's self-test log, newest first."""

    kind: str
    """``short``, ``extended``, ``conveyance`` … as the disk names it."""
    status: str
    """In the disk's words: ``Completed without error``."""
    passed: bool | None = None
    """None: still running, or aborted, so that it says nothing."""
    hours: int | None = None
    """Power-on hours when it ended."""
    first_error: str = ""
    """Where it failed: an LBA."""
    remaining_percent: int | None = None


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
    firmware: str = ""
    interface: str = ""
    """``sata``, ``sas``, ``nvme``, ``usb``, ``scsi``."""
    rotation_rpm: int | None = None
    """0: it does not turn."""
    behind: str = ""
    """The controller's way to it: ``megaraid,3``, ``enclosure 252 slot 4``."""
    state: str = ""
    """What its controller or pool says of it, lower case: ``online``, ``failed``, ``rebuilding``, ``hot spare``."""
    attributes: tuple[SmartAttribute, ...] = ()
    self_tests: tuple[SelfTest, ...] = ()
    error_log_count: int | None = None
    crc_errors: int | None = None
    """Errors on the cable between disk and controller."""
    command_timeouts: int | None = None
    power_cycles: int | None = None
    critical_warning: int | None = None
    """NVMe: bits; 0 is none."""
    spare_percent: float | None = None
    """NVMe: spare blocks left."""
    spare_threshold_percent: float | None = None
    temperature_limit_celsius: float | None = None
    """The disk's own upper limit."""
    written_bytes: int | None = None


class Disks(Document, frozen=True, kw_only=True, tag="disks"):
    disks: tuple[Disk, ...] = ()


class ArrayMember(Item, frozen=True, kw_only=True):
    """A disk, partition or logical drive inside an array."""

    name: str
    state: str = ""
    """Lower case: ``online``, ``failed``, ``spare``, ``rebuilding``, ``missing`` …"""
    ok: bool | None = None
    read_errors: int | None = None
    write_errors: int | None = None
    checksum_errors: int | None = None
    detail: str = ""


class Array(Item, frozen=True, kw_only=True):
    """Several disks that act as one: RAID of software or hardware, a volume group, a pool."""

    name: str
    """``md0``, ``vg0/data``, ``tank``, ``c0 vd1``."""
    kind: Literal["mdadm", "lvm", "zfs", "btrfs", "hardware", "storage_spaces"]
    level: str = ""
    """``raid1``, ``raidz2``, ``mirror``, ``thin-pool`` …"""
    state: Literal["ok", "degraded", "rebuilding", "failed", "unknown"]
    detail: str = ""
    """In the tool's own words."""
    size_bytes: int | None = None
    used_percent: float | None = None
    """Where the array itself can fill up: pools, volume groups, thin pools."""
    metadata_percent: float | None = None
    """Of a thin pool."""
    spares: int | None = None
    progress_percent: float | None = None
    """Of a rebuild, resync or check under way."""
    members: tuple[ArrayMember, ...] = ()
    scrub_at: Moment | None = None
    """When everything in it was last read and compared."""
    errors: int | None = None
    """Data errors or mismatches known."""
    controller: str = ""


class Controller(Item, frozen=True, kw_only=True):
    """A RAID controller."""

    name: str
    model: str = ""
    firmware: str = ""
    serial: str = ""
    state: str = ""
    ok: bool | None = None
    battery: str = ""
    """Of its write cache, in its words; empty: it says nothing."""
    battery_ok: bool | None = None


class Arrays(Document, frozen=True, kw_only=True, tag="arrays"):
    arrays: tuple[Array, ...] = ()
    controllers: tuple[Controller, ...] = ()


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


class SshKey(Item, frozen=True, kw_only=True):
    """A public key that opens an account."""

    type: str
    """``ssh-ed25519``, ``ssh-rsa`` …"""
    bits: int | None = None
    fingerprint: str
    """``SHA256:…`` as ssh-keygen shows it."""
    comment: str = ""
    options: str = ""
    """In front of the key: ``from="192.0.2.0/24",command="…"``."""
    file: str = ""
    changed_at: Moment | None = None
    """When the file with it last changed: the key is at least as old as that or older."""


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
    keys: tuple[SshKey, ...] = ()
    full_name: str = ""
    home: str = ""
    kind: Literal["", "person", "service", "system"] = ""
    """``service``: made for a program, and may sign in or own work all the same."""
    source: str = ""
    """Where it comes from when it is not of this machine alone: ``domain EXAMPLE``, ``ldap``."""
    disabled: bool | None = None
    expires_at: Moment | None = None
    password_changed_at: Moment | None = None
    password_max_days: int | None = None
    """The password must be changed after so many days; None: never, or not known (see ``password_expires``)."""
    password_expires: bool | None = None
    password_hash: str = ""
    """The algorithm alone: ``yescrypt``, ``sha512crypt``, ``md5crypt``, ``des``."""


class SudoRule(Item, frozen=True, kw_only=True):
    """One permission in sudoers."""

    who: str
    """``ada``, ``%sudo``, ``#1001``, an alias resolved as far as it could be."""
    run_as: str = ""
    commands: tuple[str, ...] = ()
    no_password: bool = False
    line: str = ""
    source: str = ""
    """File and line."""


class PasswordPolicy(Item, frozen=True, kw_only=True):
    """None and unset: the system does not ask for it, or it could not be told (see the document's gaps)."""

    min_length: int | None = None
    max_days: int | None = None
    min_days: int | None = None
    warn_days: int | None = None
    history: int | None = None
    complexity: bool | None = None
    lockout_after: int | None = None
    """Failed tries."""
    lockout_minutes: float | None = None
    hash: str = ""


class Share(Item, frozen=True, kw_only=True):
    """A folder that other machines can reach."""

    name: str
    path: str
    kind: Literal["smb", "nfs", "other"]
    guest: bool | None = None
    """Anybody, without signing in."""
    writable: bool | None = None
    who: tuple[str, ...] = ()
    """Users, groups or networks it is open to; empty: everyone who reaches it, or not known."""
    detail: str = ""


class OpenPath(Item, frozen=True, kw_only=True):
    """A path that more people can change or use than should."""

    path: str
    kind: Literal["world_writable", "setuid", "setgid", "unowned"]
    mode: str
    """Octal: ``0777``."""
    owner: str = ""


class Access(Document, frozen=True, kw_only=True, tag="access"):
    accounts: tuple[Account, ...] = ()
    sudo_rules: tuple[str, ...] | None = None
    """Effective lines of sudoers; None: could not be read."""
    sudo: tuple[SudoRule, ...] = ()
    password_policy: PasswordPolicy | None = None
    shares: tuple[Share, ...] = ()
    open_paths: tuple[OpenPath, ...] = ()


class Sshd(Document, frozen=True, kw_only=True, tag="sshd"):
    installed: bool = False
    running: bool | None = None
    settings: dict[str, str] = msgspec.field(default_factory=dict)
    """Effective settings, lower-case keyword to value (``sshd -T``, or files with defaults when that is denied)."""
    effective: bool = False
    """True when ``sshd -T`` itself gave the settings."""


class FirewallRule(Item, frozen=True, kw_only=True):
    """One rule, in the order in which it is tried within its chain."""

    chain: str
    """Table and chain, or profile: ``inet filter input``, ``INPUT``, ``ip6 INPUT``, ``public``, ``Domain``."""
    number: int
    """Place in the chain, from 1."""
    direction: Literal["in", "out", "forward", ""] = ""
    action: str
    """``accept``, ``drop``, ``reject``, ``jump NAME``, ``return``, ``log`` …"""
    protocol: str = ""
    """Empty: any."""
    source: str = ""
    """Address, network or set; empty: any."""
    destination: str = ""
    source_ports: str = ""
    ports: str = ""
    """Of the destination: ``22``, ``80,443``, ``6000-6010``; empty: any."""
    interface_in: str = ""
    interface_out: str = ""
    states: tuple[str, ...] = ()
    """Of the connection: ``established``, ``related`` …; empty: any."""
    other: str = ""
    """Conditions that no field above has, as written; a rule with them matches less than its fields say."""
    packets: int | None = None
    """That matched so far; None: not counted."""
    logged: bool = False
    enabled: bool = True
    text: str = ""
    """The rule as the tool writes it."""


class FirewallPolicy(Item, frozen=True, kw_only=True):
    """What happens to traffic that no rule decides."""

    chain: str
    direction: Literal["in", "out", "forward"]
    action: Literal["accept", "drop", "reject", "unknown"]
    enabled: bool = True
    """False: the profile is off."""


class Firewall(Document, frozen=True, kw_only=True, tag="firewall"):
    tool: str = ""
    """``nftables``, ``iptables``, ``ufw``, ``firewalld``, ``windows``, ``macos``; empty: none found."""
    active: bool | None = None
    """Whether any rule filters inbound traffic. None: could not be told."""
    default_inbound: Literal["accept", "drop", "unknown"] = "unknown"
    rules: int = 0
    ruleset: tuple[FirewallRule, ...] = ()
    policies: tuple[FirewallPolicy, ...] = ()


# --- configuration -----------------------------------------------------------------------------------------


class HardeningSetting(Item, frozen=True, kw_only=True):
    """One setting of the system as it is now."""

    area: Literal[
        "kernel", "mount", "module", "file", "boot", "encryption", "usb", "logging", "tls", "login", "service", "time",
        "process", "network", "package",
    ]  # fmt: skip
    name: str
    """In the area's own words: ``net.ipv4.ip_forward``, ``/tmp``, ``cramfs``, ``/etc/shadow``."""
    value: str
    """As the system gives it: ``0``, ``rw,nosuid,nodev``, ``blocked``, ``0640 root:shadow``, ``on``."""
    configured: str = ""
    """What it will be after a reboot, when that differs from ``value``."""
    source: str = ""
    """File or command it was read from."""


class Hardening(Document, frozen=True, kw_only=True, tag="hardening"):
    """How the system is set up, where that decides how hard it is to break into."""

    settings: tuple[HardeningSetting, ...] = ()

    def value(self, area: str, name: str) -> str | None:
        """The value of a setting; None: it was not read."""
        return next((one.value for one in self.settings if one.area == area and one.name == name), None)


class AssessmentFinding(Item, frozen=True, kw_only=True):
    id: str
    """The tool's own: ``SSH-7408``, ``xccdf_org.ssgproject.content_rule_sshd_disable_root_login``."""
    title: str = ""
    result: Literal["pass", "fail", "warning", "suggestion", "error", "unknown", "not_applicable", "not_checked"]
    severity: str = ""
    detail: str = ""


class Assessment(Item, frozen=True, kw_only=True):
    """What another auditing tool found on this device."""

    tool: Literal["lynis", "openscap"]
    version: str = ""
    profile: str = ""
    """Of rules: ``xccdf_org.ssgproject.content_profile_standard``."""
    at: Moment | None = None
    score: float | None = None
    """In the tool's own measure: Lynis' hardening index, XCCDF's score; 0-100."""
    findings: tuple[AssessmentFinding, ...] = ()


class Assessments(Document, frozen=True, kw_only=True, tag="assessments"):
    assessments: tuple[Assessment, ...] = ()


class PerformanceValue(Item, frozen=True, kw_only=True):
    """One value of a plugin's performance data; thresholds as the plugin writes them."""

    label: str
    value: float | None
    """None: the plugin could not tell (``U``)."""
    unit: str = ""
    warn: str = ""
    critical: str = ""
    minimum: float | None = None
    maximum: float | None = None


class PluginRun(Item, frozen=True, kw_only=True):
    """How a monitoring plugin (exit code, text, performance data) last answered."""

    name: str
    """In the device's plugin settings."""
    command: str = ""
    """Without secrets."""
    exit_code: int | None
    """0 ok, 1 warning, 2 critical, 3 unknown; None: it could not be run, or did not end."""
    text: str = ""
    """First line without performance data."""
    long_text: str = ""
    performance: tuple[PerformanceValue, ...] = ()
    at: Moment
    seconds: float = 0.0
    trouble: str = ""
    """Why there is no answer: ``not found``, ``not done within 30 s``."""
    every_seconds: int = 300
    """How often it is run: what is much older is no answer any more."""
    warn_words: tuple[str, ...] = ()
    """An answer of 0 with one of these words in its text is a warning: the owner says so on the device."""


class Plugins(Document, frozen=True, kw_only=True, tag="plugins"):
    runs: tuple[PluginRun, ...] = ()


# --- backups, antivirus, certificates, time -----------------------------------------------------------------


class BackupSnapshot(Item, frozen=True, kw_only=True):
    """One kept backup: a snapshot, an archive, a dump, a restore point."""

    id: str
    at: Moment
    size_bytes: int | None = None
    """Of what it would restore."""
    added_bytes: int | None = None
    """New in it, before compression."""
    stored_bytes: int | None = None
    """What it added to the repository."""
    files: int | None = None
    new_files: int | None = None
    changed_files: int | None = None
    removed_files: int | None = None
    seconds: float | None = None
    """How long it took."""
    parent: str = ""
    """Id of what it builds on (a chain: an incremental needs its full one)."""
    kind: str = ""
    """``full``, ``incremental``, ``differential``, ``wal``; empty: each stands alone."""
    group: str = ""
    """Which of several series in one place it belongs to (``web-01:/etc``, ``shop-``); empty: there is one."""


class BackupLock(Item, frozen=True, kw_only=True):
    who: str
    """Host and process that made it."""
    since: Moment | None = None
    exclusive: bool = False
    stale: bool | None = None
    """Its process is gone. None: it could not be told (another host's)."""


class BackupProof(Item, frozen=True, kw_only=True):
    """The newest attempt at one level of proof, as the device keeps it. Its signed word is the job's result."""

    level: ProofLevel
    at: Moment
    ok: bool
    snapshot: str = ""
    snapshot_at: Moment | None = None
    seconds: float | None = None
    """Of the restore: the real recovery time."""
    files: int = 0
    compared: int = 0
    bytes: int = 0
    detail: str = ""


class BackupWarning(Item, frozen=True, kw_only=True):
    """A trace that an attack on backups, or on what they hold, leaves."""

    kind: Literal["entropy", "churn", "removed", "writable", "not_immutable", "shrunk", "clock", "encrypted_names"]
    detail: str
    """One sentence with the numbers in it."""
    snapshot: str = ""
    at: Moment | None = None


class BackupRepository(Item, frozen=True, kw_only=True):
    """A backup the agent found, or was told of: a repository, a folder of dumps or archives, a set of snapshots."""

    name: str
    """Short name, unique on the device: the configuration's name, or the last part of the location."""
    tool: str
    """Name of its adapter: ``restic``, ``borg``, ``pg_dump``, ``pg_basebackup``, ``mariadb_dump``, ``rsync``,
    ``rsnapshot``, ``tar``, ``zfs``, ``btrfs``, ``lvm``, ``windows_server_backup``, ``veeam``, ``proxmox``,
    ``declared``."""
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
    told: bool = False
    """Named in the device's backup settings; False: found."""
    job: str = ""
    """Name of the job in the backup program, when that has names of its own (Veeam, Proxmox)."""
    protects: tuple[str, ...] = ()
    """What is in the newest one: folders (``/etc``), databases (``postgresql:shop``), machines (``vm:web-01``)."""
    hosts: tuple[str, ...] = ()
    """Machines whose data is in it; empty: this one's."""
    size_bytes: int | None = None
    """Of the newest one, as it would be restored."""
    stored_bytes: int | None = None
    """Of everything kept, on its medium."""
    history: tuple[BackupSnapshot, ...] = ()
    """Newest first; at most 60."""
    last_run_seconds: float | None = None
    last_run_exit_code: int | None = None
    next_run_at: Moment | None = None
    """By its own schedule, where that could be told."""
    last_due_at: Moment | None = None
    """When that schedule last came."""
    chain_ok: bool | None = None
    """Whether everything that the newest one builds on is there. None: not asked, or each stands alone."""
    chain_detail: str = ""
    locks: tuple[BackupLock, ...] = ()
    encrypted: bool | None = None
    remote: bool | None = None
    """Kept on another machine than this one."""
    offline: bool | None = None
    """Kept on a medium that is not attached all the time."""
    writable: bool | None = None
    """Whether this machine alone can change or delete what is kept."""
    immutable: bool | None = None
    """Whether what is kept is held against deletion for a time (object lock, append-only, write-once)."""
    immutable_detail: str = ""
    warnings: tuple[BackupWarning, ...] = ()
    proofs: tuple[BackupProof, ...] = ()
    """At most one a level: the newest."""


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


class Detection(Item, frozen=True, kw_only=True):
    name: str
    path: str = ""
    at: Moment | None = None
    action: str = ""
    """What the product did: ``quarantined``, ``cleaned``, ``none`` …, in its words."""
    handled: bool | None = None
    """Whether nothing is left to do; None: it does not say."""


class AntivirusProduct(Item, frozen=True, kw_only=True):
    name: str
    version: str = ""
    running: bool | None = None
    real_time: bool | None = None
    definitions_version: str = ""
    definitions_at: Moment | None = None
    last_scan_at: Moment | None = None
    engine_version: str = ""
    engine_at: Moment | None = None
    enabled: bool | None = None
    """Starts with the system."""
    service: str = ""
    """Of the services document: what has to be started when it does not run."""
    tamper_protection: bool | None = None
    exclusions: tuple[str, ...] | None = None
    """What is not looked at; None: could not be read."""
    detections: tuple[Detection, ...] = ()
    """The newest first; at most 50."""
    managed: bool | None = None
    """Whether it reaches a console of its vendor; None: it has none, or does not say."""
    definitions_current: bool | None = None
    """The product's own word, where it gives no date."""
    status: str = ""
    """The product's own words on its state."""
    unknown_why: str = ""


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
    | Arrays
    | Software
    | Updates
    | Restarts
    | Readiness
    | Services
    | Scheduled
    | Access
    | Sshd
    | Firewall
    | Hardening
    | Assessments
    | Plugins
    | Backups
    | Antivirus
    | Certificates
    | Time
)

DOCUMENTS: tuple[type[Document], ...] = (
    System, Network, Volumes, Disks, Arrays, Software, Updates, Restarts, Readiness, Services, Scheduled,
    Access, Sshd, Firewall, Hardening, Assessments, Plugins, Backups, Antivirus, Certificates, Time,
)  # fmt: skip

DOCUMENT_BY_NAME: dict[str, type[Document]] = {document.name(): document for document in DOCUMENTS}


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All documents known of one device; None: never received."""

    system: System | None = None
    network: Network | None = None
    volumes: Volumes | None = None
    disks: Disks | None = None
    arrays: Arrays | None = None
    software: Software | None = None
    updates: Updates | None = None
    restarts: Restarts | None = None
    readiness: Readiness | None = None
    services: Services | None = None
    scheduled: Scheduled | None = None
    access: Access | None = None
    sshd: Sshd | None = None
    firewall: Firewall | None = None
    hardening: Hardening | None = None
    assessments: Assessments | None = None
    plugins: Plugins | None = None
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
