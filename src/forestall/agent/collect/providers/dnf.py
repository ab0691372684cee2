"""dnf, in its fourth and fifth generation: updates and advisories from the lists that it keeps (``--cacheonly``).

Nothing is fetched: how old the lists are is part of the answer. Advisories (updateinfo) say what fixes security; a
repository without them cannot tell. What somebody holds by ``versionlock`` or by ``excludepkgs`` of dnf's own settings
is listed all the same, as held.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Literal

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.providers import Reading, rpm_database
from forestall.agent.collect.software import package_manager
from forestall.wire.facts import Update, UpdateProvider

NAME = "dnf"
KIND: Literal["system"] = "system"
CAN = ("list", "download", "install", "security_only", "chosen", "hold", "roll_back", "repair")

CONFIG = "/etc/dnf/dnf.conf"
REPOSITORIES = "/etc/yum.repos.d/*.repo"
LOCKS = "/etc/dnf/plugins/versionlock.list"
LISTS = "/var/cache/dnf/*/repodata/repomd.xml"
LISTS_OF_5 = "/var/cache/libdnf5/*/repodata/repomd.xml"
LISTS_OF_ZYPPER = "/etc/zypp/repos.d/*.repo"
_QUERY = "%{name}\t%{epoch}:%{version}-%{release}\t%{arch}\t%{repoid}\t%{downloadsize}\n"
_TIMEOUT = 180.0


@dataclass(frozen=True, slots=True)
class Offer:
    """A newer version of an installed package, as dnf lists it."""

    name: str
    version: str
    architecture: str
    repository: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Advisory:
    """One entry of a repository's updateinfo that concerns what is installed."""

    identity: str
    kind: str
    """``security``, ``bugfix``, ``enhancement`` …"""
    severity: str
    cves: tuple[str, ...]
    updated_at: datetime | None
    packages: tuple[tuple[str, str, str], ...]
    """Name, version (an epoch may be missing) and architecture."""
    reboot: bool = False


def program(host: Host) -> str | None:
    """Full path of the program; dnf5 where both are there, as on the systems that have both."""
    for name in ("dnf5", "dnf", "dnf-3"):
        if path := host.find_program(name):
            return path
    return None


def is_fifth(path: str, host: Host) -> bool:
    """Whether the program of this path is dnf5, which ``dnf`` is a link to on newer systems."""
    try:
        return "dnf5" in host.read_link(path)
    except HostError:
        return path.endswith("/dnf5")


def present(host: Host) -> bool:
    return program(host) is not None and package_manager(host) == "rpm" and not host.glob(LISTS_OF_ZYPPER)


def read(notes: Notes) -> Reading:
    host = notes.host
    path = program(host) or ""
    fifth = is_fifth(path, host)
    packages = rpm_database.read(notes)
    installed = rpm_database.newest(packages)
    refreshed_at = _refreshed_at(host, LISTS_OF_5 if fifth else LISTS)
    settings = _text(notes, CONFIG)
    held = tuple(dict.fromkeys([*parse_locks(_text(notes, LOCKS)), *excluded(settings)]))
    shown = "dnf5" if fifth else "dnf"

    def provider(why: str = "", *, tells_security: bool | None = None) -> UpdateProvider:
        versions = [version for (name, _), version in installed.items() if name == shown]
        return UpdateProvider(
            name=NAME,
            version=versions[0] if versions else "",
            can=CAN,
            lists_refreshed_at=refreshed_at,
            security_sources=tells_security,
            held=held,
            unfinished=rpm_database.unfinished(packages),
            unknown_why=why,
        )

    if refreshed_at is None:
        why = "the package lists were never fetched (dnf makecache)"
        notes.gap("updates of dnf", why)
        return Reading(provider(why))
    # What is held is to be listed too: main's excludes off, and versionlock is a plugin.
    base = [path, "-C", "--disableexcludes=main", "--disableplugin=versionlock"]
    if fifth:
        base = [path, "-C", "--setopt=disable_excludes=main"]
    listed = notes.run(
        [*base, "-q", "repoquery", "--upgrades", f"--queryformat={_QUERY}"],
        what="updates of dnf",
        source=f"{shown} repoquery --upgrades",
        timeout=_TIMEOUT,
    )
    if listed is None or listed.exit_code != 0:
        why = complaint(listed) if listed else f"{shown} did not answer"
        notes.gap("updates of dnf", why)
        return Reading(provider(why))
    advisories = _advisories_of_5(notes, base) if fifth else _advisories(notes, base)
    pending = find_updates(parse_offers(listed.stdout), installed, advisories, held)
    return Reading(provider(tells_security=_has_advisories(host, fifth=fifth)), pending)


def parse_offers(text: str) -> list[Offer]:
    """The output of ``dnf repoquery --upgrades`` with our format. All newer versions are in it."""
    found = []
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) == 5:
            name, version, architecture, repository, size = fields
            found.append(
                Offer(
                    name=name,
                    version=version.removeprefix("0:"),
                    architecture=architecture,
                    repository=repository,
                    size_bytes=int(size) if size.isdigit() else 0,
                )
            )
    return found


def parse_advisories(text: str) -> list[Advisory]:
    """The output of ``dnf --verbose updateinfo info``: blocks between lines of ``=``, values folded under a colon."""
    found = []
    for block in re.split(r"^=+\n.*\n=+$", text, flags=re.MULTILINE)[1:]:
        fields: dict[str, list[str]] = {}
        name = ""
        for line in block.splitlines():
            match = re.match(r" *([A-Z][A-Za-z ]*?)?: (.*)$", line)
            if match is None:
                continue
            name = match[1] or name
            fields.setdefault(name, []).append(match[2].strip())
        if "Update ID" in fields:
            packages = [rpm_database.split_nevra(each) for each in fields.get("Files", [])]
            found.append(
                Advisory(
                    identity=fields["Update ID"][0],
                    kind=(fields.get("Type") or [""])[0],
                    severity=(fields.get("Severity") or [""])[0],
                    cves=tuple(each for each in fields.get("CVEs", []) if each.startswith("CVE-")),
                    updated_at=parse_time((fields.get("Updated") or [""])[0]),
                    packages=tuple(each for each in packages if each is not None),
                )
            )
    return found


def parse_advisory_table(text: str, cves_text: str = "") -> list[Advisory]:
    """The tables of ``dnf5 advisory list``, and of the same ``--with-cve``, whose first column names the CVE.

    Type and severity may be cut short where dnf5 thinks the line too narrow (``secu``, ``Importan``).
    """
    cves: dict[str, set[str]] = {}
    for fields in _table_rows(cves_text):
        cves.setdefault(fields[3], set()).add(fields[0])
    rows: dict[str, list[list[str]]] = {}
    for fields in _table_rows(text):
        rows.setdefault(fields[0], []).append(fields)
    found = []
    for identity, lines in rows.items():
        packages = [rpm_database.split_nevra(fields[3]) for fields in lines]
        named = sorted({cve for fields in lines for cve in cves.get(fields[3], set()) if cve.startswith("CVE-")})
        kinds = ("security", "bugfix", "enhancement", "newpackage", "unspecified")
        severities = ("Critical", "Important", "Moderate", "Low")
        found.append(
            Advisory(
                identity=identity,
                kind=next((each for each in kinds if each.startswith(lines[0][1])), lines[0][1]),
                severity=next((each for each in severities if each.startswith(lines[0][2])), ""),
                cves=tuple(named) if lines[0][1].startswith("sec") else (),
                updated_at=parse_time(" ".join(lines[0][4:6])),
                packages=tuple(each for each in packages if each is not None),
            )
        )
    return found


def parse_time(text: str) -> datetime | None:
    """``2026-11-21 10:00:00``, which updateinfo means in UTC."""
    try:
        return datetime.strptime(text[:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def parse_locks(text: str) -> tuple[str, ...]:
    """Names in versionlock.list: ``curl-0:7.76-1.el9.*``; lines with ``!`` exclude a version and hold nothing."""
    names = []
    for line in text.splitlines():
        entry = line.strip()
        if entry and not entry.startswith(("#", "!")):
            parts = entry.removesuffix(".*").rsplit("-", 2)
            names.append(parts[0] if len(parts) == 3 else entry)
    return tuple(names)


def excluded(settings: str) -> tuple[str, ...]:
    """Names and patterns that ``[main]`` of dnf.conf excludes."""
    return rpm_database.ini_lists(settings, section="main", keys=("exclude", "excludepkgs"))


def is_held(name: str, held: Iterable[str]) -> bool:
    return any(fnmatchcase(name, each) for each in held)


def unchecked_repositories(settings: str, repositories: str) -> set[str]:
    """Repositories whose packages' signatures are not checked. dnf's own default, without any setting, is not to."""
    default = rpm_database.ini_values(settings, "gpgcheck").get("main", "0")
    by_name = rpm_database.ini_values(repositories, "gpgcheck")
    return {
        name
        for name in rpm_database.ini_sections(repositories)
        if by_name.get(name, default).lower() not in {"1", "true", "yes", "on"}
    }


def find_updates(
    offers: Iterable[Offer],
    installed: Mapping[tuple[str, str], str],
    advisories: Iterable[Advisory],
    held: Iterable[str] = (),
) -> tuple[Update, ...]:
    """The newest offer for each package, with what every advisory between it and the installed version says."""
    by_package: dict[tuple[str, str], list[tuple[str, Advisory]]] = {}
    for advisory in advisories:
        for name, version, architecture in advisory.packages:
            by_package.setdefault((name, architecture), []).append((version, advisory))
    offered: dict[tuple[str, str], list[Offer]] = {}
    for offer in offers:
        offered.setdefault((offer.name, offer.architecture), []).append(offer)
    held = tuple(held)
    found = []
    for (name, architecture), several in offered.items():
        best = max(several, key=lambda each: rpm_database.version_key(each.version))
        # Advisories name files, and a file's name has no epoch: they are matched against offers without theirs.
        versions = {rpm_database.without_epoch(each.version) for each in several}
        said = [
            advisory
            for version, advisory in by_package.get((name, architecture), [])
            if rpm_database.without_epoch(version) in versions
        ]
        security = [each for each in said if each.kind == "security"]
        ratings = [rpm_database.severity(each.severity) for each in security]
        dates = [each.updated_at for each in (security or said) if each.updated_at]
        found.append(
            Update(
                name=name,
                # A package of another architecture than the installed one replaces it (noarch and back).
                installed=installed.get((name, architecture)) or _any_architecture(installed, name),
                candidate=best.version,
                security=bool(security),
                origin=best.repository,
                architecture=architecture,
                held=is_held(name, held),
                severity=worst(ratings),
                advisories=tuple(dict.fromkeys(each.identity for each in said)),
                cves=tuple(dict.fromkeys(cve for each in security for cve in each.cves)),
                released_at=min(dates) if dates else None,
                size_bytes=best.size_bytes,
                restart="reboot" if any(each.reboot for each in said) or is_kernel(name) else "",
            )
        )
    return tuple(sorted(found, key=lambda update: (update.name, update.architecture)))


def is_kernel(name: str) -> bool:
    """Whether a new version of this package only runs after a start of the machine."""
    return re.fullmatch(r"kernel(-(core|default|rt|rt-core|uek|uek-core|64k|64k-core))?", name) is not None


def _any_architecture(installed: Mapping[tuple[str, str], str], name: str) -> str:
    return next((version for (each, _), version in installed.items() if each == name), "")


def worst(ratings: Iterable[str]) -> Literal["", "low", "medium", "high", "critical"]:
    """The worst of ratings, in our words; empty when there is none."""
    order: tuple[Literal["", "low", "medium", "high", "critical"], ...] = ("critical", "high", "medium", "low")
    known = set(ratings)
    return next((each for each in order if each in known), "")


def _table_rows(text: str) -> list[list[str]]:
    # Name, type, severity, package, date, time; the heading has one word for each column, which is five.
    return [fields for fields in (line.split() for line in text.splitlines()) if len(fields) == 6]


def _advisories(notes: Notes, base: list[str]) -> list[Advisory]:
    # Only the verbose form names the packages of an advisory.
    result = notes.run(
        [*base, "--verbose", "updateinfo", "info", "--updates"],
        what="advisories of dnf",
        source="dnf updateinfo info --updates",
        timeout=_TIMEOUT,
    )
    if result is not None and result.exit_code != 0:
        notes.gap("advisories of dnf", complaint(result))
    return parse_advisories(result.stdout) if result else []


def _advisories_of_5(notes: Notes, base: list[str]) -> list[Advisory]:
    argv = [*base, "-q", "advisory", "list", "--updates"]
    result = notes.run(argv, what="advisories of dnf", source="dnf5 advisory list", timeout=_TIMEOUT)
    if result is None or result.exit_code != 0:
        if result is not None:
            notes.gap("advisories of dnf", complaint(result))
        return []
    cves = notes.run([*argv, "--with-cve"], source="dnf5 advisory list", timeout=_TIMEOUT)
    return parse_advisory_table(result.stdout, cves.stdout if cves else "")


def _has_advisories(host: Host, *, fifth: bool) -> bool:
    folder = (LISTS_OF_5 if fifth else LISTS).rpartition("/")[0]
    return bool(host.glob(f"{folder}/*updateinfo.xml*"))


def _refreshed_at(host: Host, pattern: str) -> datetime | None:
    times = []
    for path in host.glob(pattern):
        try:
            times.append(host.status(path).changed_ns)
        except HostError:
            continue
    return datetime.fromtimestamp(max(times) // 1_000_000_000, UTC) if times else None


def _text(notes: Notes, path: str) -> str:
    return notes.read(path) or ""
