"""Which backup holds which protected system, and how much of it. No I/O.

A backup says what is in it by folders (``/etc``, ``C:\\Data``), databases (``postgresql:shop``) and machines
(``vm:web-01``), and of whose machines (``hosts``; none: of the one that tells of it). What it does not say is not
assumed: it is ``UNSAID``, until a person names the backup for the system.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from forestall.server.checks.words import listing
from forestall.wire.facts import BackupRepository
from forestall.wire.moment import Moment

IMAGES = frozenset({"veeam", "proxmox", "windows_server_backup", "zfs", "btrfs", "lvm"})
"""Tools that hold the machine at one moment: a database in it comes back as after a power cut, which it is made for."""
DUMPS = {"pg_dump": "postgresql", "pg_basebackup": "postgresql", "mariadb_dump": "mariadb"}
"""Tool → engine of the databases it holds."""
ENGINES = {"postgres": "postgresql", "postgresql": "postgresql", "mysql": "mariadb", "mariadb": "mariadb"}
"""As people write it → one word each."""
DATA_FOLDERS = {
    "postgresql": ("/var/lib/postgresql", "/var/lib/pgsql"),
    "mariadb": ("/var/lib/mysql",),
    "mongodb": ("/var/lib/mongodb",),
}
MACHINES = ("vm", "ct", "machine", "host")
_DRIVE = re.compile(r"^[A-Za-z]:")


class Backup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of a backup's facts a protected system is judged by."""

    name: str
    tool: str
    location: str = ""
    told: bool = False
    job: str = ""
    protects: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    last_success_at: Moment | None = None
    last_run_at: Moment | None = None
    last_run_ok: bool | None = None
    last_run_detail: str = ""
    unknown_why: str = ""
    snapshots: int | None = None
    oldest_at: Moment | None = None
    """Of those that are kept; None: not all of them are known."""
    size_bytes: int | None = None
    run_seconds: float | None = None
    chain_ok: bool | None = None
    chain_detail: str = ""
    stale_locks: int = 0
    encrypted: bool | None = None
    remote: bool | None = None
    offline: bool | None = None
    writable: bool | None = None
    immutable: bool | None = None
    warnings: tuple[tuple[str, str], ...] = ()
    """Kind and sentence of each."""


def backup_of(repository: BackupRepository) -> Backup:
    """What is kept of a repository's facts."""
    known_all = repository.history and (repository.snapshots or 0) <= len(repository.history)
    return Backup(
        name=repository.name,
        tool=repository.tool,
        location=repository.location,
        told=repository.told,
        job=repository.job,
        protects=repository.protects[:200],
        hosts=repository.hosts[:200],
        last_success_at=repository.last_success_at,
        last_run_at=repository.last_run_at,
        last_run_ok=repository.last_run_ok,
        last_run_detail=repository.last_run_detail[:500],
        unknown_why=repository.unknown_why[:300],
        snapshots=repository.snapshots,
        oldest_at=min(one.at for one in repository.history) if known_all else None,
        size_bytes=repository.size_bytes,
        run_seconds=repository.last_run_seconds,
        chain_ok=repository.chain_ok,
        chain_detail=repository.chain_detail[:300],
        stale_locks=sum(lock.stale is True for lock in repository.locks),
        encrypted=repository.encrypted,
        remote=repository.remote,
        offline=repository.offline,
        writable=repository.writable,
        immutable=repository.immutable,
        warnings=tuple((one.kind, one.detail[:300]) for one in repository.warnings[:5]),
    )


class Cover(StrEnum):
    """How much of a system a backup holds."""

    WHOLE = "whole"
    PART = "part"
    UNSAID = "unsaid"
    """It may: what is in it is not known."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A protected system, as far as it is looked for in backups."""

    device: UUID
    names: tuple[str, ...]
    """Of its machine: what it calls itself, and what it is called here."""
    kind: str
    what: str = ""
    named: frozenset[tuple[UUID, str]] = frozenset()
    """Device and name of the backups that a person says hold it; empty: they are found by what is in them."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A backup, and the device that tells of it."""

    device: UUID
    device_name: str
    backup: Backup
    first_seen_at: datetime
    collected_at: datetime | None
    """When the device last said so."""
    hidden: bool = False
    """Whoever asks does not see that device: its names are not shown."""

    @property
    def shown(self) -> str:
        """The backup's name, as whoever asks may read it."""
        return (
            f"a backup kept elsewhere ({self.backup.tool})"
            if self.hidden
            else f"{self.backup.name} ({self.backup.tool})"
        )

    @property
    def key(self) -> tuple[UUID, str]:
        return self.device, self.backup.name


@dataclass(frozen=True, slots=True)
class Match:
    """How a backup holds a system."""

    cover: Cover
    why: str
    """In words: ``/ is in it``, ``only /srv/data/mail``, ``named by a person``."""


NOT_HELD = Match(Cover.NONE, "")
_NAMED = Match(Cover.WHOLE, "named by a person")


def match(wanted: Wanted, holding: Holding) -> Match:
    """Whether ``holding`` holds ``wanted``, and how much of it."""
    if wanted.named:
        return _NAMED if holding.key in wanted.named else NOT_HELD
    backup = holding.backup
    own = _about(wanted, holding)
    machine = any(_machine(item, wanted.names) for item in backup.protects)
    if not own and not machine:
        return NOT_HELD
    if wanted.kind == "database":
        return _database(wanted.what, backup, whole_machine=machine)
    if machine:
        return Match(Cover.WHOLE, "the machine is in it")
    if backup.tool in DUMPS:
        return NOT_HELD
    if not backup.protects:
        return Match(Cover.UNSAID, "it does not say what is in it")
    folders = [item for item in backup.protects if _is_path(item)]
    if any(item.lower().startswith("bare metal") for item in backup.protects):
        return Match(Cover.WHOLE, "the machine is in it")
    if wanted.kind == "machine":
        if any(_parts(folder) == () for folder in folders):
            return Match(Cover.WHOLE, "/ is in it")
        return Match(Cover.PART, f"only {listing(folders)}") if folders else NOT_HELD
    return _folder(wanted.what, folders)


def same_host(one: str, other: str) -> bool:
    """Whether two names may be of one machine: equal, or one is the other's first label."""
    one, other = one.strip().rstrip(".").lower(), other.strip().rstrip(".").lower()
    if not one or not other:
        return False
    if one == other:
        return True
    if "." in one and "." in other:
        return False
    return one.split(".")[0] == other.split(".")[0]


def _about(wanted: Wanted, holding: Holding) -> bool:
    """Whether the folders and databases of a backup are those of the wanted system's machine."""
    if holding.backup.hosts:
        return any(same_host(host, name) for host in holding.backup.hosts for name in wanted.names)
    return holding.device == wanted.device


def _machine(item: str, names: Sequence[str]) -> bool:
    kind, colon, name = item.partition(":")
    return bool(colon) and kind.lower() in MACHINES and any(same_host(name, other) for other in names)


def _is_path(item: str) -> bool:
    return item.startswith(("/", "\\\\")) or bool(_DRIVE.match(item))


def _parts(path: str) -> tuple[str, ...]:
    """A path's names, outermost first; () is the root of a Unix machine. Windows does not tell case apart."""
    windows = bool(_DRIVE.match(path)) or path.startswith("\\\\")
    names = tuple(name for name in (path.replace("\\", "/") if windows else path).split("/") if name not in {"", "."})
    return tuple(name.lower() for name in names) if windows else names


def _within(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder``, or lies in it."""
    inner, outer = _parts(path), _parts(folder)
    if not outer and bool(_DRIVE.match(path)):
        return False  # "/" of another kind of system
    return inner[: len(outer)] == outer


def _folder(what: str, folders: Sequence[str]) -> Match:
    for folder in folders:
        if _within(what, folder):
            return Match(Cover.WHOLE, f"{folder} is in it")
    inside = [folder for folder in folders if _within(folder, what)]
    return Match(Cover.PART, f"only {listing(inside)}") if inside else NOT_HELD


def engine_and_name(what: str) -> tuple[str, str]:
    """``postgres:shop`` → ``("postgresql", "shop")``; without a colon the engine is empty."""
    engine, colon, name = what.partition(":")
    if not colon:
        return "", what.strip()
    return ENGINES.get(engine.strip().lower(), engine.strip().lower()), name.strip()


def _database(what: str, backup: Backup, *, whole_machine: bool) -> Match:
    engine, name = engine_and_name(what)
    single: list[str] = []
    for item in backup.protects:
        if _is_path(item) or ":" not in item:
            continue
        held_engine, held = engine_and_name(item)
        if held_engine == engine and held in {name, "*", ""}:
            return Match(Cover.WHOLE, f"{item} is in it")
        single += [item] if held_engine == engine and name in {"*", ""} else []
    if whole_machine and backup.tool in IMAGES:
        return Match(Cover.WHOLE, "the machine is in it, as it was at one moment")
    folders = [item for item in backup.protects if _is_path(item)]
    data = [folder for folder in DATA_FOLDERS.get(engine, ()) if any(_within(folder, held) for held in folders)]
    if data and backup.tool in IMAGES:
        return Match(Cover.WHOLE, f"{data[0]} is in it, as it was at one moment")
    if single:
        return Match(Cover.PART, f"only {listing(single)}")
    if data or whole_machine:
        return Match(Cover.PART, "only the files of the running database, which need not fit together")
    if not backup.protects and DUMPS.get(backup.tool, engine if backup.tool in IMAGES else "") == engine:
        return Match(Cover.UNSAID, "it does not say what is in it")
    return NOT_HELD
