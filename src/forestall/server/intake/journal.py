"""The journal: check-ins as they arrived, on stable storage before they are acknowledged.

One SQLite file (WAL, ``synchronous=FULL``) that intake alone writes and the worker reads. Check-ins that arrive
together are committed together: one transaction, one flush. Everything here fails closed: a group whose commit
failed is refused as a whole, the file is opened anew, and what it says then is the truth.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import queue
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.002
"""How long the first check-in of a group waits for others. Costs 2 ms of latency, saves most of the flushes."""
GROUP_AT_MOST = 256
"""Check-ins in one group."""
ROWS_PER_STATEMENT = 32
"""Rows written by one statement: the interpreter lock is taken once per statement, not once per row."""
RESERVE_BYTES = 64 * 1024 * 1024
RESERVE_SHARE = 0.02
"""Check-ins are refused while less than this share of the file system (at most ``RESERVE_BYTES``) is free: what was
acknowledged must still find room in the database."""
TRIM_AT_MOST = 4000
"""Applied rows deleted at once."""
VACUUM_PAGES = 2000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS journal (id INTEGER PRIMARY KEY CHECK (id = 1), name TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS entry (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    kind INTEGER NOT NULL,
    device BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    sent_at INTEGER,
    crossed TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS expected (device BLOB PRIMARY KEY, sequence INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS catalogue (id BLOB PRIMARY KEY, names TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""


class EntryKind(IntEnum):
    """What a row of the journal holds."""

    CHECK_IN = 0
    """A check-in's body as received."""
    REFUSALS = 1
    """MessagePack list of ``RefusalCount``: what was refused since the last such row."""
    DELIVERED = 2
    """MessagePack list of job ids handed to the device."""


class JournalInUseError(RuntimeError):
    """Another intake writes this journal."""


class StorageError(Exception):
    """A group that is not on stable storage. Says why, for the log and for the sender."""


class NoRoomError(StorageError):
    """The group was not written at all: the file system is too full."""


@dataclass(slots=True, eq=False)
class Entry:
    """One row to be."""

    kind: EntryKind
    device: bytes
    sequence: int
    received_at: int
    """Unix milliseconds, server clock."""
    sent_at: int | None
    """Unix milliseconds, device clock."""
    crossed: str
    """Metrics that crossed a level, joined by line breaks."""
    body: bytes
    done: asyncio.Future[None] | None


@dataclass(slots=True)
class Group:
    """What is committed together."""

    entries: list[Entry] = field(default_factory=list)
    barriers: list[asyncio.Future[None]] = field(default_factory=list)
    """Repeats of check-ins in flight: acknowledged when those are safe."""
    catalogues: dict[bytes, str] = field(default_factory=dict)
    trim_to: int = 0
    """Delete entries up to this row."""
    unused: set[bytes] = field(default_factory=set)
    """Catalogues nobody uses any more: deleted once the journal is empty, because an entry may still need them."""


class JournalFile:
    """The file itself. Used by one thread at a time."""

    def __init__(self, path: Path, *, free_bytes: Callable[[Path], tuple[int, int]] | None = None) -> None:
        self._path = path
        self._free_bytes = free_bytes or _free_bytes
        self._connection: sqlite3.Connection | None = None
        self.name = ""

    def open(self) -> dict[bytes, int]:
        """Open (or make) the file; the next sequence number expected of each device. sqlite3.Error when it cannot."""
        connection = sqlite3.connect(self._path, isolation_level=None, cached_statements=128, check_same_thread=False)
        try:
            # Before the first table: only then can freed pages be given back.
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA busy_timeout=10000")
            connection.executescript(_SCHEMA)
            connection.execute("INSERT OR IGNORE INTO journal VALUES (1, ?)", (secrets.token_hex(16),))
            (self.name,) = connection.execute("SELECT name FROM journal").fetchone()
            expected = dict(connection.execute("SELECT device, sequence FROM expected"))
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return expected

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def catalogues(self) -> dict[bytes, str]:
        """Catalogue id → names joined by line breaks."""
        return dict(self._open_connection().execute("SELECT id, names FROM catalogue"))

    def commit(self, group: Group) -> None:
        """Write a group and flush it to stable storage. StorageError when that is not certain: ``reopen`` then, except
        after NoRoomError, which comes before anything is written."""
        try:
            connection = self._open_connection()
            if group.entries:
                self._require_room()
            connection.execute("BEGIN IMMEDIATE")
            for start in range(0, len(group.entries), ROWS_PER_STATEMENT):
                _insert(connection, group.entries[start : start + ROWS_PER_STATEMENT])
            for catalogue, names in group.catalogues.items():
                connection.execute("INSERT OR IGNORE INTO catalogue VALUES (?, ?)", (catalogue, names))
            if group.trim_to:
                connection.execute(
                    "DELETE FROM entry WHERE row IN (SELECT row FROM entry WHERE row <= ? ORDER BY row LIMIT ?)",
                    (group.trim_to, TRIM_AT_MOST),
                )
                if group.unused and connection.execute("SELECT 1 FROM entry LIMIT 1").fetchone() is None:
                    unused = list(group.unused)
                    connection.executemany("DELETE FROM catalogue WHERE id = ?", [(one,) for one in unused])
                    group.unused.difference_update(unused)
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise StorageError(str(error)) from error

    def give_back_space(self) -> None:
        """Return freed pages to the file system, some at a time. The journal is whole without it."""
        try:
            # As a script: it is run to its end, where `execute` would stop after the first page.
            self._open_connection().executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
        except sqlite3.Error as error:
            log.warning("the journal keeps its freed space for now: %s", error)

    def reopen(self) -> dict[bytes, int]:
        """Close and open again after a failure: SQLite recovers the file, and what it then holds is what is safe."""
        with contextlib.suppress(sqlite3.Error):
            self.close()
        self._connection = None
        return self.open()

    def _require_room(self) -> None:
        free, total = self._free_bytes(self._path.parent)
        reserve = min(RESERVE_BYTES, int(total * RESERVE_SHARE))
        if free < reserve:
            raise NoRoomError(
                f"no space: {free // 1024} KiB are free under {self._path.parent}, {reserve // 1024} KiB must stay free"
            )

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.OperationalError(f"{self._path} is not open")
        return self._connection


def _free_bytes(folder: Path) -> tuple[int, int]:
    """Free and total bytes of the file system below ``folder``, as its owner may use them."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize


def _insert(connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    values: list[object] = []
    for entry in entries:
        values += (
            int(entry.kind),
            entry.device,
            entry.sequence,
            entry.received_at,
            entry.sent_at,
            entry.crossed,
            entry.body,
        )
    connection.execute(_INSERT_ENTRIES[len(entries)], values)
    expected = {entry.device: entry.sequence + 1 for entry in entries if entry.kind is EntryKind.CHECK_IN}
    if expected:
        connection.execute(_UPSERT_EXPECTED[len(expected)], [value for pair in expected.items() for value in pair])


def _with_rows(statement: str, row: str) -> list[str]:
    """The statement for 0, 1, 2 … rows of placeholders."""
    return [f"{statement} VALUES {','.join([row] * count)}" for count in range(ROWS_PER_STATEMENT + 1)]


_INSERT_ENTRIES = _with_rows(
    "INSERT INTO entry (kind, device, sequence, received_at, sent_at, crossed, body)", "(?,?,?,?,?,?,?)"
)
_UPSERT_EXPECTED = _with_rows("INSERT OR REPLACE INTO expected", "(?,?)")


@contextlib.contextmanager
def journal_lock(path: Path) -> Iterator[None]:
    """Hold the right to write this journal; JournalInUseError when another process holds it."""
    lock: IO[str] = path.with_suffix(".lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise JournalInUseError(f"another intake writes {path}") from None
    try:
        yield
    finally:
        lock.close()


class Journal:
    """Groups entries and commits them in a thread of its own. Everything but the commit runs on the event loop.

    The sequence rule: a device's check-ins are taken in order. One below what is expected is a repeat: it is
    acknowledged, when what it repeats is safe, and has no effect. One above is refused.
    """

    def __init__(self, file: JournalFile, *, expected: Mapping[bytes, int]) -> None:
        self._file = file
        self._safe = dict(expected)
        self._reserved: dict[bytes, int] = {}
        self._waiting = Group()
        self._bytes = 0
        self._busy = False
        self._scheduled = False
        self._failing = ""
        self._work: queue.SimpleQueue[Group | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._commit_groups, name="journal", daemon=True)

    @property
    def pending_bytes(self) -> int:
        """Bytes of bodies that wait for their commit."""
        return self._bytes

    def start(self) -> None:
        """Begin to commit. Call on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Commit what waits, then end."""
        while self._busy or self._waiting.entries or self._waiting.barriers:
            self._hand_over()
            await asyncio.sleep(0.001)
        self._work.put(None)
        await asyncio.to_thread(self._thread.join)

    def expected(self, device: bytes) -> int:
        """The sequence number that is safe to ask for: everything below it is on stable storage."""
        return self._safe.get(device, 1)

    def expected_now(self, device: bytes) -> int:
        """The same, counting what waits for its commit."""
        return self._reserved.get(device) or self._safe.get(device, 1)

    def append(self, entry: Entry, *, catalogue: tuple[bytes, str] | None = None) -> asyncio.Future[None]:
        """Queue an entry; the future is done when it is safe, or holds StorageError.

        The caller has kept the sequence rule.
        """
        done = self._future()
        entry.done = done
        self._waiting.entries.append(entry)
        self._bytes += len(entry.body)
        if catalogue is not None:
            self._waiting.catalogues[catalogue[0]] = catalogue[1]
        if entry.kind is EntryKind.CHECK_IN:
            self._reserved[entry.device] = entry.sequence + 1
        if len(self._waiting.entries) >= GROUP_AT_MOST:
            self._hand_over()
        else:
            self._schedule()
        return done

    def settled(self) -> asyncio.Future[None]:
        """Done when everything queued until now is safe, or holds StorageError."""
        done = self._future()
        self._waiting.barriers.append(done)
        self._schedule()
        return done

    def trim(self, *, to: int, catalogues: set[bytes]) -> None:
        """Delete entries up to row ``to`` with the next group: they are applied. Once the journal is empty, delete
        ``catalogues`` too, and empty that set."""
        self._waiting.trim_to = max(self._waiting.trim_to, to)
        self._waiting.unused = catalogues
        self._schedule()

    def _future(self) -> asyncio.Future[None]:
        if self._loop is None:
            raise RuntimeError("the journal was not started")
        return self._loop.create_future()

    def _schedule(self) -> None:
        if not self._scheduled and not self._busy and self._loop is not None:
            self._scheduled = True
            self._loop.call_later(GATHER_SECONDS, self._hand_over)

    def _hand_over(self) -> None:
        self._scheduled = False
        group = self._waiting
        if self._busy or not (group.entries or group.barriers or group.trim_to):
            return
        self._waiting = Group()
        self._busy = True
        self._work.put(group)

    def _commit_groups(self) -> None:
        # The committer: the only thread that touches the file after the start.
        while (group := self._work.get()) is not None:
            error: StorageError | None = None
            truth: dict[bytes, int] | None = None
            try:
                self._file.commit(group)
            except StorageError as failure:
                error = failure
                truth = None if isinstance(failure, NoRoomError) else self._recover()
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._resolve, group, error, truth)
            if group.trim_to and error is None:
                self._file.give_back_space()
        self._file.close()

    def _recover(self) -> dict[bytes, int] | None:
        try:
            return self._file.reopen()
        except sqlite3.Error as error:
            log.warning("the journal cannot be opened again yet: %s", error)
            # The next group tries again; without a pause a full disk would be asked thousands of times a second.
            time.sleep(0.2)
            return None

    def _resolve(self, group: Group, error: StorageError | None, truth: dict[bytes, int] | None) -> None:
        self._busy = False
        if error is None:
            self._settle(group)
        else:
            self._fail(group, error, truth)
        if self._waiting.entries or self._waiting.barriers or self._waiting.trim_to:
            # What came in while the last group was written has waited long enough.
            self._hand_over()

    def _settle(self, group: Group) -> None:
        if self._failing:
            log.warning("storage works again; check-ins are taken")
            self._failing = ""
        for entry in group.entries:
            self._bytes -= len(entry.body)
            if entry.kind is EntryKind.CHECK_IN:
                self._safe[entry.device] = entry.sequence + 1
                if self._reserved.get(entry.device) == entry.sequence + 1:
                    del self._reserved[entry.device]
            _finish(entry.done, None)
        for barrier in group.barriers:
            _finish(barrier, None)

    def _fail(self, group: Group, error: StorageError, truth: dict[bytes, int] | None) -> None:
        if str(error) != self._failing:
            log.error("storage failed, check-ins are refused until it works again: %s", error)
            self._failing = str(error)
        # What waits may follow on what has just failed, so it fails with it.
        waiting, self._waiting = self._waiting, Group()
        self._reserved.clear()
        self._bytes = 0
        if truth is not None:
            self._safe = truth
        for entry in (*group.entries, *waiting.entries):
            _finish(entry.done, error)
        for barrier in (*group.barriers, *waiting.barriers):
            _finish(barrier, error)


def _finish(future: asyncio.Future[None] | None, error: StorageError | None) -> None:
    # A future is cancelled when its sender hung up; its entry is in the journal all the same.
    if future is None or future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
