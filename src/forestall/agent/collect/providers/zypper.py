"""zypper: updates and patches from the lists that it keeps (``--no-refresh``).

A patch is SUSE's word for an advisory: it says what fixes security, which packages it concerns and whether a start of
the machine is asked for. ``--all`` lists what is locked as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.providers import Reading, rpm_database
from forestall.agent.collect.providers.dnf import is_held, worst
from forestall.agent.collect.software import package_manager
from forestall.wire.facts import Update, UpdateProvider

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

NAME = "zypper"
KIND: Literal["system"] = "system"
CAN = ("list", "download", "install", "security_only", "chosen", "hold", "roll_back", "repair")

REPOSITORIES = "/etc/zypp/repos.d/*.repo"
SETTINGS = "/etc/zypp/zypp.conf"
LOCKS = "/etc/zypp/locks"
LISTS = "/var/cache/zypp/solv/*/cookie"
_TIMEOUT = 180.0


@dataclass(frozen=True, slots=True)
class Patch:
    """An advisory that is needed here."""

    name: str
    category: str
    severity: str
    restart: bool
    """It asks for a start of the machine."""
    issued_at: datetime | None
    cves: tuple[str, ...]


def present(host: Host) -> bool:
    return bool(host.find_program("zypper")) and bool(host.glob(REPOSITORIES)) and package_manager(host) == "rpm"


def read(notes: Notes) -> Reading:
    host = notes.host
    packages = rpm_database.read(notes)
    installed = rpm_database.newest(packages)
    locked = parse_locks(notes.read(LOCKS) or "")
    refreshed_at = _refreshed_at(host)

    def provider(why: str = "", *, tells_security: bool | None = None) -> UpdateProvider:
        return UpdateProvider(
            name=NAME,
            version=next((version for (name, _), version in installed.items() if name == "zypper"), ""),
            can=CAN,
            lists_refreshed_at=refreshed_at,
            security_sources=tells_security,
            held=locked,
            unfinished=rpm_database.unfinished(packages),
            unknown_why=why,
        )

    if refreshed_at is None:
        why = "the package lists were never fetched (zypper refresh)"
        notes.gap("updates of zypper", why)
        return Reading(provider(why))
    query = ["zypper", "--non-interactive", "--no-refresh", "--xmlout"]
    listed = notes.run(
        [*query, "list-updates", "--type", "package", "--all"],
        what="updates of zypper",
        source="zypper list-updates",
        timeout=_TIMEOUT,
    )
    if listed is None or listed.exit_code != 0:
        why = complaint_of(listed.stdout) or complaint(listed) if listed else "zypper did not answer"
        notes.gap("updates of zypper", why)
        return Reading(provider(why))
    updates = parse_updates(listed.stdout)
    patches, concerned = _patches(notes, query)
    has_patches = bool(patches) or bool(host.glob("/var/cache/zypp/raw/*/repodata/*updateinfo.xml*"))
    pending = tuple(
        msgspec.structs.replace(update, held=is_held(update.name, locked))
        for update in add_patches(updates, patches, concerned)
    )
    return Reading(provider(tells_security=has_patches), pending)


def parse_updates(text: str) -> tuple[Update, ...]:
    """``zypper --xmlout list-updates --type package``, sorted by name."""
    return tuple(
        sorted(
            (
                Update(
                    name=item.get("name", ""),
                    installed=item.get("edition-old", ""),
                    candidate=item.get("edition", ""),
                    security=False,
                    origin=_source(item),
                    architecture=item.get("arch", ""),
                )
                for item in _items(text, "package")
            ),
            key=lambda update: (update.name, update.architecture),
        )
    )


def parse_patches(text: str) -> tuple[Patch, ...]:
    """The needed patches in ``zypper --xmlout list-updates --type patch``."""
    found = []
    for item in _items(text, "patch"):
        if item.get("status", "needed") != "needed":
            continue
        issued = item.find("issue-date")
        seconds = issued.get("time_t", "") if issued is not None else ""
        cves = [issue.get("id", "") for issue in item.iter("issue") if issue.get("type") == "cve"]
        found.append(
            Patch(
                name=item.get("name", ""),
                category=item.get("category", ""),
                severity=item.get("severity", ""),
                restart=item.get("restart") == "true",
                issued_at=datetime.fromtimestamp(int(seconds), UTC) if seconds.isdigit() else None,
                cves=tuple(dict.fromkeys(each for each in cves if each)),
            )
        )
    return tuple(found)


def parse_patch_info(text: str) -> dict[str, list[tuple[str, str]]]:
    """``zypper patch-info``: for each patch the packages that it makes newer, and the version from which it is met.

    A patch conflicts with what is older than it: ``Conflicts : openssl-libs.x86_64 < 3.0.7-2`` on one line in old
    zyppers, a line for each under ``Conflicts : [4]`` in newer ones.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    name, taking = "", False
    for line in text.splitlines():
        if field := re.match(r"([A-Z][A-Za-z ]*?) *: ?(.*)$", line):
            if field[1] == "Name":
                name = field[2].strip()
            taking = field[1] == "Conflicts"
        conflict = re.search(r"(?:^|: )\s*(\S+) < (\S+)\s*$", line) if taking else None
        if conflict and not conflict[1].startswith("srcpackage:"):
            package = re.sub(r"\.(noarch|x86_64|i[3-6]86|aarch64|ppc64le|s390x|armv\dhl)$", "", conflict[1])
            found.setdefault(name, []).append((package, conflict[2]))
    return found


def parse_locks(text: str) -> tuple[str, ...]:
    """Names in /etc/zypp/locks, one stanza a lock."""
    return tuple(dict.fromkeys(each.strip() for each in re.findall(r"^solvable_name:\s*(.+)$", text, re.MULTILINE)))


def unchecked_repositories(settings: str, repositories: str) -> set[str]:
    """Repositories of which neither the lists nor the packages are checked. libzypp's default is to check."""
    switched_off = {"0", "no", "false", "off"}

    def off(key: str) -> set[str]:
        default = rpm_database.ini_values(settings, key).get("main", "1")
        by_name = rpm_database.ini_values(repositories, key)
        names = rpm_database.ini_sections(repositories)
        return {name for name in names if by_name.get(name, default).lower() in switched_off}

    # gpgcheck=1 checks the signed lists, which hold the packages' checksums; pkg_gpgcheck=1 the packages themselves.
    explicit = rpm_database.ini_values(repositories, "pkg_gpgcheck")
    packages_checked = {name for name, value in explicit.items() if value.lower() not in switched_off}
    lists_unchecked = off("repo_gpgcheck")
    return (off("gpgcheck") | lists_unchecked) - packages_checked


def add_patches(
    updates: Iterable[Update], patches: Iterable[Patch], concerned: Mapping[str, list[tuple[str, str]]]
) -> tuple[Update, ...]:
    """The updates with what those patches say of them that the installed version does not meet."""
    by_package: dict[str, list[tuple[str, Patch]]] = {}
    for patch in patches:
        for name, version in concerned.get(patch.name, ()):
            by_package.setdefault(name, []).append((version, patch))
    found = []
    for update in updates:
        said = [
            patch
            for version, patch in by_package.get(update.name, ())
            if rpm_database.compare(update.installed, version) < 0
        ]
        security = [each for each in said if each.category == "security"]
        dates = [each.issued_at for each in (security or said) if each.issued_at]
        found.append(
            msgspec.structs.replace(
                update,
                security=bool(security),
                severity=worst(rpm_database.severity(each.severity) for each in security),
                advisories=tuple(each.name for each in said),
                cves=tuple(dict.fromkeys(cve for each in security for cve in each.cves)),
                released_at=min(dates) if dates else None,
                restart="reboot" if any(each.restart for each in said) else "",
            )
        )
    return tuple(found)


def complaint_of(text: str) -> str:
    """The first message of severity ``error`` in zypper's XML."""
    found = re.search(r'<message type="error">(.*?)</message>', text, re.DOTALL)
    return " ".join(found[1].split())[:200] if found else ""


def _patches(notes: Notes, query: list[str]) -> tuple[tuple[Patch, ...], dict[str, list[tuple[str, str]]]]:
    listed = notes.run(
        [*query, "list-updates", "--type", "patch", "--all"],
        what="patches of zypper",
        source="zypper list-patches",
        timeout=_TIMEOUT,
    )
    if listed is None or listed.exit_code != 0:
        if listed is not None:
            notes.gap("patches of zypper", complaint_of(listed.stdout) or complaint(listed))
        return (), {}
    patches = parse_patches(listed.stdout)
    if not patches:
        return (), {}
    argv = ["zypper", "--non-interactive", "--no-refresh", "patch-info", *(each.name for each in patches)]
    told = notes.run(argv, what="packages of patches", source="zypper patch-info", timeout=_TIMEOUT)
    return patches, parse_patch_info(told.stdout) if told else {}


def _items(text: str, kind: str) -> list[Element]:
    from xml.etree.ElementTree import ParseError, fromstring

    try:
        # Written by a program of this machine that runs with our rights: no stranger's document.
        root = fromstring(text)  # noqa: S314
    except ParseError:
        return []
    return [item for item in root.iter("update") if item.get("kind", kind) == kind]


def _source(item: Element) -> str:
    source = item.find("source")
    return source.get("alias", "") if source is not None else ""


def _refreshed_at(host: Host) -> datetime | None:
    times = []
    for path in host.glob(LISTS):
        try:
            if "/@System/" not in path:
                times.append(host.status(path).changed_ns)
        except HostError:
            continue
    return datetime.fromtimestamp(max(times) // 1_000_000_000, UTC) if times else None
