"""pacman: ``pacman -Qu`` on the lists that it keeps. Arch rates nothing: which update fixes security is not known.

Arch supports whole upgrades only, so single packages are not chosen here (``chosen`` is missing below); what must
stay is held by ``IgnorePkg``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.providers import Reading
from forestall.agent.collect.readiness import PACMAN_LOCK, pacman_at_work
from forestall.wire.facts import Update, UpdateProvider

NAME = "pacman"
KIND: Literal["system"] = "system"
CAN = ("list", "download", "install", "hold", "roll_back", "repair")

CONFIG = "/etc/pacman.conf"
DATABASE = "/var/lib/pacman/local"
LISTS = "/var/lib/pacman/sync/*.db"
_KERNEL = re.compile(r"linux(-lts|-zen|-hardened|-rt|-rt-lts)?")


def present(host: Host) -> bool:
    return bool(host.find_program("pacman")) and bool(host.glob(f"{DATABASE}/*/desc"))


def read(notes: Notes) -> Reading:
    host = notes.host
    refreshed_at = _refreshed_at(host)
    folders = _folders(host)
    config = notes.read(CONFIG) or ""

    def provider(why: str = "") -> UpdateProvider:
        versions = [version for name, version in folders if name == "pacman"]
        return UpdateProvider(
            name=NAME,
            version=versions[0] if versions else "",
            can=CAN,
            lists_refreshed_at=refreshed_at,
            security_sources=False,
            held=ignored(config),
            unfinished=(*unfinished(folders, _without_description(host)), *_lock_left(host)),
            unknown_why=why,
        )

    if refreshed_at is None:
        why = "the package lists were never fetched (pacman -Syu)"
        notes.gap("updates of pacman", why)
        return Reading(provider(why))
    listed = notes.run(["pacman", "-Qu"], what="updates of pacman", source="pacman -Qu", timeout=60)
    # Exit code 1 without a word: nothing is newer.
    if listed is None or (listed.exit_code != 0 and (listed.stdout.strip() or "error:" in listed.stderr)):
        why = complaint(listed) if listed else "pacman did not answer"
        notes.gap("updates of pacman", why)
        return Reading(provider(why))
    details = notes.run(
        ["pacman", "-Sup", "--print-format", "%n %v %s %r"], source="pacman -Sup --print-format", timeout=60
    )
    return Reading(provider(), find_updates(listed.stdout, details.stdout if details else ""))


def find_updates(listed: str, details: str = "") -> tuple[Update, ...]:
    """``pacman -Qu`` (``name old -> new``, ``[ignored]`` behind it), with size and repository where they are known."""
    known = {fields[0]: fields for fields in (line.split() for line in details.splitlines()) if len(fields) == 4}
    found = []
    for line in listed.splitlines():
        match = re.match(r"(\S+) (\S+) -> (\S+)( \[ignored\])?", line.strip())
        if match is None:
            continue
        more = known.get(match[1], ["", "", "0", ""])
        found.append(
            Update(
                name=match[1],
                installed=match[2],
                candidate=match[3],
                security=False,
                origin=more[3],
                held=bool(match[4]),
                size_bytes=int(more[2]) if more[2].isdigit() else 0,
                restart="reboot" if _KERNEL.fullmatch(match[1]) else "",
            )
        )
    return tuple(sorted(found, key=lambda update: update.name))


def ignored(config: str) -> tuple[str, ...]:
    """Names and patterns of ``IgnorePkg``, which may be there more than once."""
    lines = re.findall(r"^\s*IgnorePkg\s*=\s*(.*)$", config, re.MULTILINE)
    return tuple(dict.fromkeys(word for line in lines for word in line.partition("#")[0].split()))


def split_folder(name: str) -> tuple[str, str] | None:
    """``openssl-3.0.7-1`` in the local database as name and version; None when it is no package's folder."""
    parts = name.rsplit("-", 2)
    return (parts[0], f"{parts[1]}-{parts[2]}") if len(parts) == 3 else None


def unfinished(folders: Iterable[tuple[str, str]], without_description: Iterable[str] = ()) -> tuple[str, ...]:
    """What an upgrade that was cut short leaves in the local database."""
    versions: dict[str, list[str]] = {}
    for name, version in folders:
        versions.setdefault(name, []).append(version)
    found = [
        f"{name}: {' and '.join(sorted(several))} are both installed"
        for name, several in sorted(versions.items())
        if len(several) > 1
    ]
    found += [
        f"{(split_folder(each) or (each,))[0]}: its entry in the local database is empty"
        for each in without_description
    ]
    return tuple(found)


def _lock_left(host: Host) -> tuple[str, ...]:
    if not host.glob(PACMAN_LOCK) or pacman_at_work(host):
        return ()
    return (f"pacman: it was killed, and its lock {PACMAN_LOCK} is still there",)


def _folders(host: Host) -> list[tuple[str, str]]:
    try:
        names = host.list_dir(DATABASE)
    except HostError:
        return []
    return [found for found in map(split_folder, names) if found]


def _without_description(host: Host) -> list[str]:
    described = {path.split("/")[-2] for path in host.glob(f"{DATABASE}/*/desc")}
    try:
        return [each for each in host.list_dir(DATABASE) if split_folder(each) and each not in described]
    except HostError:
        return []


def _refreshed_at(host: Host) -> datetime | None:
    times = []
    for path in host.glob(LISTS):
        try:
            times.append(host.status(path).changed_ns)
        except HostError:
            continue
    return datetime.fromtimestamp(max(times) // 1_000_000_000, UTC) if times else None
