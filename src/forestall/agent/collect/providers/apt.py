"""apt: what it would upgrade, which of it fixes security, what it holds back and what dpkg has not ended.

One ``apt-cache policy`` over all installed packages tells everything in a single opening of the package cache, for
about a quarter of the processor time of ``apt-get --simulate upgrade``; it needs neither root nor apt's lock, and
unlike ``apt list --upgradable`` it names the archives of *every* version: a security fix that a later point release
carries on is still a security fix. (As root, apt may renew its own binary cache under /var/cache/apt.)

The list is that of ``apt-get --simulate dist-upgrade``, package by package, with these differences on purpose:

- held packages are listed and marked (``held``), apt leaves them out;
- an update that would remove another package is listed; whether that may happen is decided when it is installed;
- Ubuntu's phased updates are listed from the day they are offered, apt waits until the machine's turn;
- packages that are new on this machine (a new kernel, a new library) are not listed: they come with the update that
  needs them, and the result of the run names them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.providers import Kind, Reading
from forestall.agent.collect.software import package_manager
from forestall.wire.facts import Update, UpdateProvider

NAME = "apt"
KIND: Kind = "system"
CAN = ("list", "download", "install", "security_only", "chosen", "hold", "roll_back", "repair")
JOURNAL = "/var/lib/dpkg/updates"
"""Where dpkg notes each step until its database has it. What is left there when no dpkg runs was cut short."""
LISTS = "/var/lib/apt/lists"
SUCCESS_STAMP = "/var/lib/apt/periodic/update-success-stamp"
DPKG_FORMAT = (
    "${db:Status-Want}\t${db:Status-Status}\t${binary:Package}\t${Architecture}\t${db:Status-Eflag}\t${Version}\n"
)
_VERSION_LINE = re.compile(r"^ (\*\*\*|   ) (\S+) -?\d+")
_SOURCE_LINE = re.compile(r"^ {8,}-?\d+ (\S+)(?: (\S+))?")
_RELEASE_FIELD = re.compile(r"^(Origin|Label|Suite|Codename|Version): *(.*)$", re.MULTILINE)
_RELEASE_HEAD_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Release:
    """What an archive's Release file says of itself."""

    origin: str = ""
    label: str = ""
    suite: str = ""
    codename: str = ""
    version: str = ""

    @property
    def name(self) -> str:
        """As apt itself writes it when it simulates: ``Debian-Security:12/stable-security``."""
        return f"{self.label or self.origin}:{self.version}/{self.suite or self.codename}"


@dataclass(frozen=True, slots=True)
class Archive:
    """A place that offers a version: address and distribution as apt's sources name them."""

    address: str
    distribution: str


@dataclass(frozen=True, slots=True)
class Version:
    version: str
    installed: bool
    archives: tuple[Archive, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """One package in the output of ``apt-cache policy``."""

    name: str
    """With ``:architecture`` when it is a foreign one."""
    installed: str
    candidate: str
    versions: tuple[Version, ...]
    """Newest first."""


@dataclass(frozen=True, slots=True)
class InstalledPackage:
    name: str
    architecture: str
    held: bool
    version: str = ""
    state: str = "installed"
    """dpkg's word: ``installed``, ``unpacked``, ``half-configured`` …"""
    reinstall: bool = False
    """dpkg wants it installed anew before it does anything else with it."""


_UNFINISHED_WORDS = {
    "half-installed": "unpacking it was cut short",
    "unpacked": "unpacked, not configured",
    "half-configured": "configuring it failed or was cut short",
    "triggers-awaited": "waits for another package's trigger",
    "triggers-pending": "its trigger has not run",
}
"""dpkg's states between the start and the end of an installation (dpkg(1), "Package states")."""
_KERNEL = re.compile(r"linux-image-(?!.*-dbg$)")


def present(host: Host) -> bool:
    return package_manager(host) == "dpkg" and host.find_program("apt-cache") is not None


def read(notes: Notes) -> Reading:
    unknown_why = ""
    listed = notes.run(
        ["dpkg-query", "--show", f"--showformat={DPKG_FORMAT}"], what="installed packages", source="dpkg-query --show"
    )
    installed = parse_installed(listed.stdout) if listed else {}
    releases, refreshed_at = _releases(notes)
    pending: tuple[Update, ...] = ()
    if not installed:
        unknown_why = complaint(listed) if listed else "dpkg-query could not be run"
    else:
        argv = ["apt-cache", "policy", *(each.name for each in installed.values())]
        result = notes.run(argv, what="updates", source="apt-cache policy", timeout=120)
        if result is not None and result.exit_code != 0:
            unknown_why = complaint(result)
            notes.gap("updates", unknown_why)
        elif result is not None:
            pending = find_updates(parse_policy(result.stdout), installed, releases)
        else:
            unknown_why = "apt-cache could not be run"
        if not unknown_why and not releases:
            unknown_why = "the package lists were never fetched"
    return Reading(
        provider=UpdateProvider(
            name=NAME,
            version=installed["apt"].version if "apt" in installed else "",
            can=CAN,
            lists_refreshed_at=refreshed_at,
            security_sources=_security_sources(notes, releases.values()),
            held=tuple(sorted(each.name for each in installed.values() if each.held)),
            unfinished=find_unfinished(installed.values(), notes.host.glob(f"{JOURNAL}/[0-9]*")),
            unknown_why=unknown_why,
        ),
        pending=pending,
    )


def find_unfinished(installed: Iterable[InstalledPackage], journal: Sequence[str] = ()) -> tuple[str, ...]:
    """What dpkg has begun and not ended, a sentence for each package. ``journal``: files left in dpkg's journal."""
    found = []
    for each in installed:
        words = [_UNFINISHED_WORDS[each.state]] if each.state in _UNFINISHED_WORDS else []
        if each.reinstall:
            words.append("must be installed anew")
        if words:
            found.append(f"{each.name}: {', '.join(words)}")
    if journal:
        found.append("dpkg: was cut short and has not taken up its own notes since (dpkg --configure -a)")
    return tuple(sorted(found))


def parse_installed(text: str) -> dict[str, InstalledPackage]:
    """Installed packages in the output of dpkg-query with our format, by the name apt prints for them."""
    rows = [line.split("\t") for line in text.splitlines()]
    native = next((row[3] for row in rows if len(row) >= 4 and row[2] == "dpkg"), "")
    found = {}
    for row in rows:
        if len(row) >= 4 and row[1] not in ("not-installed", "config-files"):
            want, state, name, architecture, flag, version = (*row, "", "")[:6]
            # dpkg writes name:architecture for every package that may be there twice, apt only for foreign ones.
            key = name.removesuffix(f":{native}")
            found[key] = InstalledPackage(
                name=name,
                architecture=architecture,
                held=want == "hold",
                version=version,
                state=state,
                reinstall=flag == "reinstreq",
            )
    return found


def parse_policy(text: str) -> list[Policy]:
    """The packages in the output of ``apt-cache policy NAME...``."""
    found = []
    for block in re.split(r"^(?=\S)", text, flags=re.MULTILINE):
        lines = block.splitlines()
        if len(lines) < 3 or not lines[0].endswith(":"):
            continue
        versions: list[Version] = []
        archives: list[Archive] = []
        for line in lines[3:]:
            if version := _VERSION_LINE.match(line):
                archives = []
                versions.append(Version(version[2], installed=version[1] == "***", archives=()))
            elif versions and (source := _SOURCE_LINE.match(line)) and source[2]:
                archives.append(Archive(source[1], source[2].rpartition("/")[0] or source[2]))
                versions[-1] = Version(versions[-1].version, versions[-1].installed, tuple(archives))
        found.append(
            Policy(
                name=lines[0][:-1],
                installed=lines[1].partition(": ")[2],
                candidate=lines[2].partition(": ")[2],
                versions=tuple(versions),
            )
        )
    return found


def parse_release(text: str) -> Release:
    """The head of a Release or InRelease file."""
    fields: dict[str, str] = {}
    for name, value in _RELEASE_FIELD.findall(text):
        fields.setdefault(name.lower(), value.strip())
    return Release(**fields)


def is_security(release: Release) -> bool:
    """Whether an archive carries security fixes.

    Debian marks its own by the label ``Debian-Security`` (up to Debian 10 its suite is named like the main one),
    Ubuntu and its ESM by suites that end in ``-security``.
    """
    suites = (release.suite, release.codename)
    return release.label == "Debian-Security" or any(suite.endswith("-security") for suite in suites)


def list_name(archive: Archive) -> str:
    """The name under which apt keeps an archive's Release file, without ``_InRelease``."""
    # Apt quotes these characters and turns slashes into underscores (its URItoFileName).
    address = archive.address.partition("://")[2].rpartition("@")[2].rstrip("/")
    quoted = re.sub(r"[\\|{}\[\]<>\"^~_=!@#$%&*]", lambda match: f"%{ord(match[0]):02x}", address)
    if archive.distribution.endswith("./") or archive.distribution in (".", ""):
        return f"{quoted}/.".replace("/", "_")
    return f"{quoted}/dists/{archive.distribution}".replace("/", "_")


def find_updates(
    policies: Sequence[Policy], installed: Mapping[str, InstalledPackage], releases: Mapping[str, Release]
) -> tuple[Update, ...]:
    """The packages whose candidate is newer than what is installed, sorted by name."""
    found = []
    for policy in policies:
        newer: list[Version] = []
        for version in policy.versions:
            if version.installed:
                break
            newer.append(version)
        else:
            continue  # not installed after all
        candidate = next((version for version in newer if version.version == policy.candidate), None)
        if candidate is None:
            continue
        origins = [_release(archive, releases) for archive in candidate.archives]
        origins.sort(key=lambda release: not is_security(release))
        package = installed.get(policy.name)
        found.append(
            Update(
                name=policy.name.partition(":")[0],
                installed=policy.installed,
                candidate=policy.candidate,
                security=any(is_security(_release(each, releases)) for version in newer for each in version.archives),
                origin=origins[0].name if origins else "",
                architecture=package.architecture if package else "",
                held=package.held if package else False,
                restart="reboot" if _KERNEL.match(policy.name) else "",
            )
        )
    return tuple(sorted(found, key=lambda update: (update.name, update.architecture)))


def _release(archive: Archive, releases: Mapping[str, Release]) -> Release:
    known = releases.get(list_name(archive))
    if known is not None:
        return known
    # Without its Release file the archive's distribution is all we know: bookworm-security, buster/updates.
    is_old_debian = archive.distribution.endswith("/updates") and "security" in archive.address
    return Release(
        label="Debian-Security" if is_old_debian else archive.address.partition("://")[2].partition("/")[0],
        suite=archive.distribution,
    )


def _releases(notes: Notes) -> tuple[dict[str, Release], datetime | None]:
    """Releases by the name of their list, and when lists last came."""
    host = notes.host
    releases: dict[str, Release] = {}
    times: list[int] = []
    for path in [*host.glob(f"{LISTS}/*_InRelease"), *host.glob(f"{LISTS}/*_Release")]:
        try:
            head = host.read_bytes(path, limit=_RELEASE_HEAD_BYTES).decode(errors="replace")
            # The modification time is the archive's own; the inode changes whenever apt has fetched or confirmed it.
            times.append(host.status(path).changed_ns)
        except HostError as error:
            notes.gap(f"archive of {path.rpartition('/')[2]}", error.why)
            continue
        releases.setdefault(path.rpartition("/")[2].rpartition("_")[0], parse_release(head))
    if not releases:
        notes.gap("updates", "the package lists were never fetched (apt-get update)")
        return releases, None
    notes.used(f"{LISTS}/*Release")
    try:
        times.append(host.status(SUCCESS_STAMP).modified_ns)
        notes.used(SUCCESS_STAMP)
    except HostError:
        pass  # kept only where apt's periodic updates or update-notifier are installed
    return releases, datetime.fromtimestamp(max(times) // 1_000_000_000, UTC)


def _security_sources(notes: Notes, releases: Iterable[Release]) -> bool:
    if any(is_security(release) for release in releases):
        return True
    host = notes.host
    for path in ["/etc/apt/sources.list", *host.glob("/etc/apt/sources.list.d/*")]:
        text = notes.read(path)
        if text and path.endswith((".list", ".sources")) and names_security(text):
            return True
    return False


def names_security(text: str) -> bool:
    """Whether a sources.list or deb822 ``.sources`` file names a security archive that is not commented out."""
    if re.search(r"^Enabled:\s*no\b", text, re.MULTILINE | re.IGNORECASE) and text.count("Types:") == 1:
        return False
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return any(
        re.search(r"(^deb |^Suites:|^URIs:).*(-security\b|security\.debian|/debian-security)", each) for each in lines
    )
