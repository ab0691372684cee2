"""Copies of everything a backup holds, taken while Forestall runs, that fit together.

The main database is read first, then the journal, both as they are at one moment each (a read transaction that stays
open while they are copied). What the main database has not applied yet must still be in the journal: it is, unless
the worker and intake moved on between the two, which is seen, and read again. So the copies are what a power cut at
the moment of the journal would have left: nothing acknowledged is missing, and nothing is applied twice. Samples are
copied last: they may be ahead, and writing them again changes nothing.

Not copied: ``operator/`` (command authority lives outside the server), ``agent/`` (a device's key and counters must
never run twice or backwards), certificates of intake (made anew from the authority), logs, and other backups.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

import msgspec

from forestall.ledger.merkle import Frontier
from forestall.server.home import Home

MOST_TRIES = 20
PAGES_A_STEP = 4096
"""Pages copied between two looks at free space and progress: 16 MiB."""

MAIN = "server/forestall.sqlite3"
JOURNAL = "server/journal.sqlite3"
SAMPLES = "server/samples.sqlite3"
KEYS = (
    "server/secret.key",
    "server/sessions.key",
    "server/log.key",
    "server/tls/ca.pem",
    "server/tls/ca.key",
    "server/first-person.json",
    "server/backup.recipients",
)
"""Copied when they are there."""

Tick = Callable[[int], None]
"""Called with the bytes done since the last call; may raise to stop the work."""


class SnapshotError(RuntimeError):
    """The databases cannot be copied; says why."""


class ClientRoot(msgspec.Struct, frozen=True, kw_only=True):
    """Where a client's log ended."""

    client: str
    entries: int
    root: str
    """Merkle root over them, in hex."""


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the backup."""

    path: str
    """Below the data folder."""
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds: its first file, and what its restoration is compared with."""

    format: str
    made_at: str
    """RFC 3339, UTC."""
    version: str
    """Of Forestall."""
    engine: str
    """``sqlite`` or ``postgresql``: where the main database lived."""
    files: tuple[FileEntry, ...]
    rows: dict[str, dict[str, int]]
    """Path of a database → table → rows."""
    logs: tuple[ClientRoot, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def row_count(self) -> int:
        return sum(sum(tables.values()) for tables in self.rows.values())


FORMAT = "forestall-backup/1"


@dataclass(frozen=True, slots=True)
class Position:
    """How far the main database has applied which journal."""

    journal: str
    row: int


class MainSnapshot(Protocol):
    """The main database at one moment."""

    def position(self) -> Position: ...

    def copy(self, home: Path, tick: Tick) -> None:
        """Write it below ``home``, at ``path``."""

    def rows(self) -> dict[str, int]:
        """Table → rows."""

    def logs(self) -> tuple[ClientRoot, ...]: ...


class MainDatabase(Protocol):
    """The main database, whichever it is."""

    @property
    def engine(self) -> str: ...

    @property
    def path(self) -> str:
        """Below the data folder, in the backup."""

    def size(self) -> int:
        """Bytes, about."""

    @contextmanager
    def snapshot(self) -> Iterator[MainSnapshot]: ...


# --- SQLite -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SqliteMain:
    """The embedded default."""

    file: Path
    engine: str = "sqlite"
    path: str = MAIN

    def size(self) -> int:
        return size_of(self.file)

    @contextmanager
    def snapshot(self) -> Iterator[SqliteSnapshot]:
        with reading(self.file) as connection:
            yield SqliteSnapshot(connection, self.path)


@dataclass(frozen=True, slots=True)
class SqliteSnapshot:
    connection: sqlite3.Connection
    path: str = MAIN

    def position(self) -> Position:
        found = self.connection.execute("SELECT journal, row FROM inventory_journalposition WHERE id = 1").fetchone()
        return Position(*found) if found else Position("", 0)

    def copy(self, home: Path, tick: Tick) -> None:
        copy_database(self.connection, home / self.path, tick)

    def rows(self) -> dict[str, int]:
        return count_rows(self.connection)

    def logs(self) -> tuple[ClientRoot, ...]:
        found = self.connection.execute("SELECT client_id, size, peaks FROM evidence_clientlog ORDER BY client_id")
        return tuple(client_root(client, size, peaks) for client, size, peaks in found)


def client_root(client: str, size: int, peaks: bytes) -> ClientRoot:
    root = Frontier.from_bytes(size=size, data=bytes(peaks)).root()
    return ClientRoot(client=str(UUID(str(client))), entries=size, root=root.hex())


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that sees the database as it is now, for as long as it is open."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=30)) as connection:
        connection.execute("BEGIN")
        # A transaction begins with its first read.
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        yield connection


def count_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """Table → rows of a SQLite database."""
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for (name,) in tables}  # noqa: S608


def copy_database(source: sqlite3.Connection, target: Path, tick: Tick) -> None:
    """Copy a database as ``source`` sees it, in steps; SnapshotError or OSError when there is no room."""
    page = source.execute("PRAGMA page_size").fetchone()[0]
    left: int | None = None

    def step(_status: int, remaining: int, total: int) -> None:
        nonlocal left
        tick(((total if left is None else left) - remaining) * page)
        left = remaining

    with closing(sqlite3.connect(target, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous=OFF")  # worth nothing before the backup is whole
        try:
            source.backup(copy, pages=PAGES_A_STEP, progress=step, sleep=0.001)
        except sqlite3.Error as error:
            raise SnapshotError(f"{target.name} could not be copied: {error}") from error
    target.chmod(0o600)


def size_of(path: Path) -> int:
    """Bytes of a SQLite database with its log; 0 when there is none."""
    return sum(one.stat().st_size for one in (path, path.with_name(path.name + "-wal")) if one.exists())


# --- the whole ----------------------------------------------------------------------------------------------------


def total_size(home: Home, main: MainDatabase) -> int:
    """Bytes of everything that will be copied, about."""
    keys = sum((home.root / path).stat().st_size for path in KEYS if (home.root / path).exists())
    return main.size() + size_of(home.journal) + size_of(home.samples) + keys


def take(
    *,
    home: Home,
    main: MainDatabase,
    to: Path,
    made_at: str,
    version: str,
    tick: Tick,
    pause: Callable[[float], None] = time.sleep,
) -> Manifest:
    """Copy everything into the folder ``to``; what it holds. SnapshotError."""
    (to / "server" / "tls").mkdir(mode=0o700, parents=True, exist_ok=True)
    for attempt in range(MOST_TRIES):
        with main.snapshot() as snapshot:
            gap = _copy_pair(home, snapshot, to, tick)
            if gap is None:
                rows = {main.path: snapshot.rows()}
                logs = snapshot.logs()
                break
        pause(0.05 * (attempt + 1))
    else:
        raise SnapshotError(f"the journal moves on faster than it can be copied ({gap})")
    if home.samples.exists():
        with reading(home.samples) as samples:
            copy_database(samples, to / SAMPLES, tick)
    for path in (JOURNAL, SAMPLES):
        if (to / path).exists():
            with closing(opened(to / path)) as copy:
                rows[path] = count_rows(copy)
    for path in KEYS:
        if (home.root / path).exists():
            shutil.copyfile(home.root / path, to / path)
            (to / path).chmod(0o600)
    return Manifest(
        format=FORMAT,
        made_at=made_at,
        version=version,
        engine=main.engine,
        files=tuple(entry(to, path) for path in files_below(to)),
        rows=rows,
        logs=logs,
    )


def _copy_pair(home: Home, snapshot: MainSnapshot, to: Path, tick: Tick) -> str | None:
    """Copy main database and journal; what is missing between them, if anything is (then nothing was copied)."""
    if not home.journal.exists():
        snapshot.copy(to, tick)
        return None
    position = snapshot.position()
    with reading(home.journal) as journal:
        gap = gap_between(position, journal)
        if gap is None:
            snapshot.copy(to, tick)
            copy_database(journal, to / JOURNAL, tick)
        return gap


def gap_between(position: Position, journal: sqlite3.Connection) -> str | None:
    """What the journal no longer holds of what ``position`` has not applied, in words; None when nothing is missing."""
    (name,) = journal.execute("SELECT name FROM journal").fetchone()
    applied = position.row if position.journal == name else 0
    (first,) = journal.execute("SELECT min(row) FROM entry WHERE row > ?", (applied,)).fetchone()
    if first is None:
        last = journal.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entry'").fetchone()
        first = (last[0] if last else 0) + 1
        return None if first <= applied + 1 else f"rows {applied + 1} to {first - 1}"
    return None if first == applied + 1 else f"rows {applied + 1} to {first - 1}"


def opened(path: Path) -> sqlite3.Connection:
    """A copy that nobody writes, for reading."""
    return sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)


def files_below(folder: Path) -> list[str]:
    """Paths of the files below a folder, relative and sorted."""
    return sorted(str((Path(base) / name).relative_to(folder)) for base, _, names in os.walk(folder) for name in names)


def entry(folder: Path, path: str) -> FileEntry:
    with (folder / path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return FileEntry(path=path, size=file.tell(), sha256=digest.hexdigest())
