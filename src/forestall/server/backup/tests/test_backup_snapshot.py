"""Main database and journal fit together, whatever the worker and intake do while they are copied."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, contextmanager

import pytest

from forestall.server.backup.snapshot import (
    JOURNAL,
    MAIN,
    Position,
    SnapshotError,
    SqliteMain,
    gap_between,
    opened,
    reading,
    take,
)
from forestall.server.home import Home
from forestall.server.intake.journal import Entry, EntryKind, Group, JournalFile

COPIES = 25
MAIN_SCHEMA = """
PRAGMA journal_mode=WAL;
CREATE TABLE inventory_journalposition (id INTEGER PRIMARY KEY, journal TEXT, row INTEGER);
CREATE TABLE evidence_clientlog (client_id TEXT, size INTEGER, peaks BLOB);
CREATE TABLE applied (row INTEGER PRIMARY KEY);
"""


class Busy:
    """Intake, worker and trimming on end, as fast as they can."""

    def __init__(self, home: Home) -> None:
        home.server.mkdir(parents=True)
        self.journal = JournalFile(home.journal)
        self.journal.open()
        self.main = sqlite3.connect(home.database, isolation_level=None, check_same_thread=False, timeout=30)
        self.main.executescript(MAIN_SCHEMA)
        self.main.execute("INSERT INTO inventory_journalposition VALUES (1, ?, 0)", (self.journal.name,))
        self.reader = sqlite3.connect(home.journal, check_same_thread=False)
        self.acknowledged = 0
        self.position = 0
        self.stop = threading.Event()
        self.trouble: Exception | None = None

    def go(self) -> None:
        try:
            while not self.stop.is_set():
                group = Group()
                begin = self.acknowledged
                group.entries = [
                    Entry(EntryKind.CHECK_IN, b"d" * 16, begin + n + 1, 0, None, "", b"body" * 50, None)
                    for n in range(7)
                ]
                self.journal.commit(group)
                self.acknowledged += 7
                # The last ones always wait for the next round, so that every copy meets work in flight.
                rows = self.reader.execute(
                    "SELECT row FROM entry WHERE row > ? ORDER BY row LIMIT 12", (self.position,)
                ).fetchall()[:-3]
                self.main.execute("BEGIN IMMEDIATE")
                self.main.executemany("INSERT INTO applied VALUES (?)", rows)
                self.main.execute("UPDATE inventory_journalposition SET row = ?", (rows[-1][0],))
                self.main.execute("COMMIT")
                self.position = rows[-1][0]
                self.journal.commit(Group(trim_to=self.position))
        except Exception as error:  # noqa: BLE001 - told by the test
            self.trouble = error


def test_nothing_acknowledged_is_missing_and_nothing_is_there_twice(tmp_path):
    home = Home(tmp_path / "home")
    busy = Busy(home)
    at_work = threading.Thread(target=busy.go)
    at_work.start()
    unapplied = 0
    try:
        for number in range(COPIES):
            before = busy.acknowledged
            to = tmp_path / f"copy-{number}"
            manifest = take(
                home=home, main=SqliteMain(home.database), to=to, made_at="", version="", tick=lambda _: None
            )
            with closing(opened(to / MAIN)) as main, closing(opened(to / JOURNAL)) as journal:
                (position,) = main.execute("SELECT row FROM inventory_journalposition").fetchone()
                applied = [row for (row,) in main.execute("SELECT row FROM applied ORDER BY row")]
                waiting = journal.execute("SELECT row FROM entry WHERE row > ? ORDER BY row", (position,))
                waiting = [row for (row,) in waiting]
                (expected,) = journal.execute("SELECT sequence FROM expected").fetchone() or (1,)
            assert [*applied, *waiting] == list(range(1, expected)), "every check-in once"
            assert expected > before, "all that was acknowledged when the backup began"
            assert manifest.rows[MAIN]["applied"] == len(applied)
            unapplied += len(waiting)
    finally:
        busy.stop.set()
        at_work.join()
    assert busy.trouble is None
    assert unapplied > 0, "no copy was ever taken with work in flight: this tested nothing"


class Behind:
    """A main database that is read too early the first times: the worker and intake have moved on since."""

    engine, path = "sqlite", MAIN

    def __init__(self, home: Home, tries: int) -> None:
        self.home, self.left = home, tries

    def size(self) -> int:
        return 0

    @contextmanager
    def snapshot(self):
        with SqliteMain(self.home.database).snapshot() as real:
            if self.left > 0:
                self.left -= 1
                yield _Early(real)
            else:
                yield real


class _Early:
    def __init__(self, real) -> None:
        self.real = real

    def position(self) -> Position:
        return Position(self.real.position().journal, 3)

    def copy(self, home, tick) -> None:
        raise AssertionError("copied although the journal no longer holds what it needs")


def test_when_the_journal_was_trimmed_between_the_two_both_are_read_again(tmp_path):
    home = Home(tmp_path / "home")
    busy = Busy(home)
    threading.Timer(0.3, busy.stop.set).start()
    busy.go()
    with reading(home.journal) as journal:
        assert gap_between(Position(busy.journal.name, 3), journal).startswith("rows 4 to ")
        assert gap_between(Position("another journal", busy.position), journal).startswith("rows 1 to ")
    pauses = []
    arguments = {"home": home, "made_at": "", "version": "", "tick": lambda _: None, "pause": pauses.append}
    take(main=Behind(home, 3), to=tmp_path / "third", **arguments)
    assert len(pauses) == 3
    with pytest.raises(SnapshotError, match="moves on faster"):
        take(main=Behind(home, 1000), to=tmp_path / "never", **arguments)
