"""The spool: what the device has to say, on disk until the server has it on its own.

Numbers. The server wants check-ins numbered from 1 without holes. A check-in gets its number when it is first
sent, not when it is spooled, so that dropping old samples leaves no hole; the number is on stable storage before the
bytes leave. At most one check-in is numbered and unacknowledged at any time. After a start nothing is numbered
before the server has said where it stands (``server_stands``): were the last number lost (a full disk, a restored
image), it would otherwise be given twice and the second check-in be taken for a duplicate of the first.

Durability. SQLite with a write-ahead log. What is added and what is numbered is flushed (``synchronous=FULL``);
removing what the server has is not (``NORMAL``): lost in a power cut, it is sent once more and known as a duplicate.

Bounds. 7 days and a number of bytes. Samples are dropped first, then facts of which a newer report waits; records
never. What was dropped becomes one gap, which goes out as a signed record before what is left.

A full disk stops nothing: what cannot be written waits in memory (bounded too), ``trouble`` says so, and it is
written as soon as there is room.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import msgspec

from forestall.agent.config import Limits
from forestall.wire.checkin import FactsAffirmed, SampleBlock, SpoolGap

_SCHEMA = """
CREATE TABLE IF NOT EXISTS check_ins (
    place INTEGER PRIMARY KEY,
    sequence INTEGER UNIQUE,
    made_at INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    has_samples INTEGER NOT NULL,
    has_records INTEGER NOT NULL,
    documents TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS catalogues (id BLOB PRIMARY KEY, names BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, digest BLOB NOT NULL, said_at INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS results (digest BLOB PRIMARY KEY, at INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS droppable ON check_ins (made_at) WHERE sequence IS NULL AND has_samples;
CREATE TABLE IF NOT EXISTS set_aside (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, code TEXT NOT NULL, detail TEXT NOT NULL,
    has_records INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""
IN_MEMORY = ":memory:"
_SET_ASIDE_KEPT = 20
"""Refused check-ins kept for a look, besides those with records, which are always kept."""


class SpoolError(Exception):
    """The spool can neither be read nor made anew."""


class Draft(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A check-in without its number."""

    made_at: datetime
    boot_id: str
    agent_version: str
    samples: SampleBlock | None = None
    """Without names: those are in ``Spool.names``."""
    facts: list[msgspec.Raw] = []
    """Encoded ``FactsReport`` messages."""
    documents: list[str] = []
    """Names of the documents in ``facts``."""
    affirmed: list[FactsAffirmed] = []
    records: list[bytes] = []
    gap: SpoolGap | None = None


class Numbered(msgspec.Struct, frozen=True):
    """The check-in that is to be sent next."""

    sequence: int
    draft: Draft
    place: int | None
    """None: held in memory."""


class _Unsaved(msgspec.Struct):
    draft: Draft
    sequence: int | None = None


_encoder = msgspec.msgpack.Encoder()
_draft_decoder = msgspec.msgpack.Decoder(Draft)
_names_decoder = msgspec.msgpack.Decoder(list[str])
_gap_decoder = msgspec.msgpack.Decoder(SpoolGap)


class Spool:
    """The spool in one SQLite file. One process at a time; not for threads."""

    def __init__(self, path: str, *, limits: Limits | None = None) -> None:
        """Open, or make, the spool (``IN_MEMORY``: one that ends with the process). A damaged file is set aside and
        a new spool begun: ``damaged`` names it. SpoolError when the file can be neither opened nor made."""
        self._path = path
        self._limits = limits or Limits()
        self.trouble = ""
        """Why nothing can be written at present; empty while all is well."""
        self.damaged = ""
        try:
            self._db = self._open()
        except (sqlite3.OperationalError, OSError) as error:
            raise SpoolError(f"{path}: {error}") from error
        except sqlite3.DatabaseError:
            self.damaged = self._set_file_aside()
            self._db = self._open()
        self._unsaved: list[_Unsaved] = []
        self._unsaved_gap: SpoolGap | None = None
        self._acknowledged: set[int] = set()
        """Places the server has, which could not be removed yet."""
        self._stands = False
        self._done = 0
        """Everything up to this number is with the server."""
        self._last = int(self.meta("last_sequence") or b"0")
        self._bytes, self._count = self._db.execute(
            "SELECT coalesce(sum(bytes), 0), count(*) FROM check_ins"
        ).fetchone()
        self._catalogues = {bytes(row[0]) for row in self._db.execute("SELECT id FROM catalogues")}

    def _open(self) -> sqlite3.Connection:
        if self._path != IN_MEMORY:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
        db = sqlite3.connect(self._path, isolation_level=None, timeout=5.0)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA cache_size=-128")
            db.execute("PRAGMA wal_autocheckpoint=128")
            # A full disk must not keep the spool from opening: the tables are made once.
            if not db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'").fetchone()[0]:
                db.executescript(_SCHEMA)
            if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("damaged")
        except BaseException:
            db.close()
            raise
        if self._path != IN_MEMORY:
            os.chmod(self._path, 0o600)  # noqa: PTH101
        return db

    def _set_file_aside(self) -> str:
        aside = f"{self._path}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        os.replace(self._path, aside)  # noqa: PTH105
        for suffix in ("-wal", "-shm"):
            if os.path.exists(self._path + suffix):  # noqa: PTH110
                os.replace(self._path + suffix, aside + suffix)  # noqa: PTH105
        return aside

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self, *, flush: bool = True) -> Iterator[sqlite3.Connection]:
        self._db.execute(f"PRAGMA synchronous={'FULL' if flush else 'NORMAL'}")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            # On a full disk SQLite may have rolled back by itself.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    # --- what waits -----------------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """Check-ins that wait."""
        return int(self._count) - len(self._acknowledged) + len(self._unsaved)

    @property
    def bytes_waiting(self) -> int:
        return int(self._bytes)

    @property
    def last_sequence(self) -> int:
        """The last number given."""
        return self._last

    def oldest(self) -> datetime | None:
        """When the oldest waiting check-in was made."""
        row = self._db.execute("SELECT made_at FROM check_ins ORDER BY place LIMIT 1").fetchone()
        if row is not None:
            return _time(row[0])
        return self._unsaved[0].draft.made_at if self._unsaved else None

    def add(
        self,
        draft: Draft,
        *,
        names: list[str] | None = None,
        digests: Iterable[tuple[str, bytes]] = (),
        results: Iterable[bytes] = (),
    ) -> None:
        """Keep a check-in. ``names``: the catalogue of its samples. ``digests``: documents that it says or affirms,
        as what the server will know. ``results``: digests of the job results among its records, see
        ``result_known``. Never fails for want of disk space; see ``trouble``."""
        self._save_unsaved()
        if not self._unsaved:
            try:
                self._insert(draft, names=names, digests=digests, results=results)
            except sqlite3.DatabaseError as error:
                self.trouble = f"the spool cannot be written: {error}"
            else:
                self.trouble = ""
                return
        self._hold(draft, names=names)

    def _insert(
        self,
        draft: Draft,
        *,
        names: list[str] | None = None,
        digests: Iterable[tuple[str, bytes]] = (),
        results: Iterable[bytes] = (),
        sequence: int | None = None,
    ) -> None:
        body = _encoder.encode(draft)
        if sequence is None and self._stands and self.depth == 0:
            # Online: number it in the same flush.
            sequence = self._last + 1
        with self._transaction() as db:
            if draft.samples is not None and names is not None and draft.samples.catalogue not in self._catalogues:
                db.execute(
                    "INSERT OR IGNORE INTO catalogues VALUES (?, ?)", (draft.samples.catalogue, _encoder.encode(names))
                )
            self._insert_row(db, draft, body, sequence=sequence)
            for name, digest in digests:
                db.execute(
                    "INSERT INTO facts VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET digest = ?2, said_at = ?3",
                    (name, digest, _milliseconds(draft.made_at)),
                )
            for result in results:
                db.execute("INSERT OR IGNORE INTO results VALUES (?, ?)", (result, _milliseconds(draft.made_at)))
                # The act state forgets a result once it is here; a year is far beyond any repeat.
                db.execute("DELETE FROM results WHERE at < ?", (_milliseconds(draft.made_at - timedelta(days=365)),))
            if sequence is not None:
                self._put_meta(db, "last_sequence", b"%d" % sequence)
            dropped = self._trim(db, now=draft.made_at, coming=len(body))
        if draft.samples is not None and names is not None:
            self._catalogues.add(draft.samples.catalogue)
        if sequence is not None:
            self._last = max(self._last, sequence)
        self._count += 1 - dropped[0]
        self._bytes += len(body) - dropped[1]

    @staticmethod
    def _insert_row(
        db: sqlite3.Connection, draft: Draft, body: bytes, *, sequence: int | None, place: int | None = None
    ) -> None:
        db.execute(
            "INSERT INTO check_ins VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                place,
                sequence,
                _milliseconds(draft.made_at),
                len(body),
                draft.samples is not None,
                bool(draft.records),
                " ".join(draft.documents),
                body,
            ),
        )

    def _hold(self, draft: Draft, *, names: list[str] | None) -> None:
        if draft.samples is not None and names is not None:
            draft.samples = msgspec.structs.replace(draft.samples, names=names)
        self._unsaved.append(_Unsaved(draft))
        if len(self._unsaved) <= self._limits.unsaved_check_ins:
            return
        for index, held in enumerate(self._unsaved):
            if held.sequence is None and not held.draft.records:
                self._unsaved_gap = _widened(self._unsaved_gap, held.draft.made_at)
                del self._unsaved[index]
                return

    def _save_unsaved(self) -> None:
        """Write what is held in memory, if the disk takes it again."""
        try:
            self._remove_acknowledged()
            while self._unsaved:
                held = self._unsaved[0]
                block = held.draft.samples
                draft = held.draft
                if block is not None:
                    draft = msgspec.structs.replace(draft, samples=msgspec.structs.replace(block, names=None))
                names = block.names if block is not None else None
                self._insert(draft, names=names, sequence=held.sequence)
                del self._unsaved[0]
            if self._unsaved_gap is not None:
                with self._transaction() as db:
                    self._widen_gap(db, self._unsaved_gap)
                self._unsaved_gap = None
        except sqlite3.DatabaseError as error:
            self.trouble = f"the spool cannot be written: {error}"
        else:
            self.trouble = ""

    # --- numbers --------------------------------------------------------------------------------------------

    def server_stands(self, next_sequence: int) -> bool:
        """The server said (with a new session) which number it expects: it has everything below.

        False when it lost what it had acknowledged before: see ``number_anew``.
        """
        self._stands = True
        waiting = self._numbered()
        if next_sequence < (self._last + 1 if waiting is None else waiting):
            return False
        self.acknowledge(next_sequence)
        self._last = next_sequence - 1 if self._numbered() is None else next_sequence
        return True

    def _numbered(self) -> int | None:
        """The number of the check-in that is numbered and not acknowledged."""
        row = self._db.execute("SELECT min(sequence) FROM check_ins WHERE sequence > ?", (self._done,)).fetchone()
        if row[0] is not None:
            return int(row[0])
        return self._unsaved[0].sequence if self._unsaved else None

    def next(self) -> Numbered | None:
        """The check-in to send now, its number kept; None when nothing waits. sqlite3.DatabaseError when its number
        cannot be kept: then it must not be sent. The server must have said where it stands."""
        if not self._stands:
            raise RuntimeError("the server has not said where it stands")
        row = self._db.execute(
            "SELECT place, sequence, body FROM check_ins WHERE sequence > ? ORDER BY sequence LIMIT 1", (self._done,)
        ).fetchone()
        if row is None:
            row = self._db.execute(
                "SELECT place, sequence, body FROM check_ins WHERE sequence IS NULL ORDER BY place LIMIT 1"
            ).fetchone()
        if row is None:
            if not self._unsaved:
                return None
            held = self._unsaved[0]
            if held.sequence is None:
                # Kept in memory only: after a crash the content is lost with it, and the server says where it stands.
                held.sequence = self._last = self._last + 1
            return Numbered(held.sequence, held.draft, None)
        place, sequence, body = row
        if sequence is None:
            sequence = self._last + 1
            with self._transaction() as db:
                db.execute("UPDATE check_ins SET sequence = ? WHERE place = ?", (sequence, place))
                self._put_meta(db, "last_sequence", b"%d" % sequence)
            self._last = sequence
        return Numbered(sequence, _draft_decoder.decode(body), place)

    def acknowledge(self, next_sequence: int) -> None:
        """The server has everything below ``next_sequence`` on stable storage: forget it."""
        self._done = next_sequence - 1
        while self._unsaved and (self._unsaved[0].sequence or next_sequence) < next_sequence:
            del self._unsaved[0]
        self._acknowledged.update(
            row[0] for row in self._db.execute("SELECT place FROM check_ins WHERE sequence < ?", (next_sequence,))
        )
        try:
            self._remove_acknowledged()
        except sqlite3.DatabaseError as error:
            self.trouble = f"the spool cannot be written: {error}"

    def _remove_acknowledged(self) -> None:
        if not self._acknowledged:
            return
        places = [(place,) for place in self._acknowledged]
        sizes = sum(
            self._db.execute("SELECT bytes FROM check_ins WHERE place = ?", place).fetchone()[0] for place in places
        )
        with self._transaction(flush=False) as db:
            db.executemany("DELETE FROM check_ins WHERE place = ?", places)
        self._bytes -= sizes
        self._count -= len(places)
        self._acknowledged.clear()

    def number_anew(self, next_sequence: int) -> None:
        """The server expects a lower number than ours: it lost what it had acknowledged. Number from there, and
        take it that it knows none of our facts."""
        with self._transaction() as db:
            db.execute("UPDATE check_ins SET sequence = NULL")
            db.execute("DELETE FROM facts")
            self._put_meta(db, "last_sequence", b"%d" % (next_sequence - 1))
        for held in self._unsaved:
            held.sequence = None
        self._acknowledged.clear()
        self._done = self._last = next_sequence - 1

    # --- what is dropped ------------------------------------------------------------------------------------

    def _trim(self, db: sqlite3.Connection, *, now: datetime, coming: int) -> tuple[int, int]:
        """Bring the spool within its bounds. How many check-ins and bytes that freed."""
        oldest_kept = _milliseconds(now - timedelta(days=self._limits.spool_days))
        count = freed = 0
        for place, _, size in db.execute(
            "SELECT place, made_at, bytes FROM check_ins WHERE sequence IS NULL AND made_at < ? AND has_samples",
            (oldest_kept,),
        ).fetchall():
            gone, less = self._drop_samples(db, place, size)
            count, freed = count + gone, freed + less
        surplus = self._bytes + coming - self._limits.spool_bytes
        if surplus <= freed:
            return count, freed
        # A quarter more than needed, so that a full spool is trimmed now and then and not with every check-in.
        goal = surplus + self._limits.spool_bytes // 4
        for column, drop in (("has_samples", self._drop_samples), ("documents <> ''", self._drop_facts)):
            rows = db.execute(
                f"SELECT place, bytes FROM check_ins WHERE sequence IS NULL AND {column} ORDER BY place"  # noqa: S608
            )
            for place, size in rows.fetchall()[:-1]:
                if freed >= goal:
                    return count, freed
                gone, less = drop(db, place, size)
                count, freed = count + gone, freed + less
            goal = surplus
        return count, freed

    def _drop_samples(self, db: sqlite3.Connection, place: int, size: int) -> tuple[int, int]:
        draft = self._draft_at(db, place)
        draft.samples = None
        self._widen_gap(db, SpoolGap(first=draft.made_at, last=draft.made_at, check_ins=1))
        return self._rewrite(db, place, draft, size)

    def _drop_facts(self, db: sqlite3.Connection, place: int, size: int) -> tuple[int, int]:
        draft = self._draft_at(db, place)
        newer = " ".join(
            row[0] for row in db.execute("SELECT documents FROM check_ins WHERE place > ?", (place,))
        ).split()
        if not set(draft.documents) <= set(newer):
            return 0, 0
        draft.facts, draft.documents = [], []
        return self._rewrite(db, place, draft, size)

    @staticmethod
    def _draft_at(db: sqlite3.Connection, place: int) -> Draft:
        return _draft_decoder.decode(db.execute("SELECT body FROM check_ins WHERE place = ?", (place,)).fetchone()[0])

    @staticmethod
    def _rewrite(db: sqlite3.Connection, place: int, draft: Draft, size: int) -> tuple[int, int]:
        if not (draft.samples or draft.facts or draft.affirmed or draft.records or draft.gap):
            db.execute("DELETE FROM check_ins WHERE place = ?", (place,))
            return 1, size
        body = _encoder.encode(draft)
        db.execute(
            "UPDATE check_ins SET body = ?, bytes = ?, has_samples = ?, documents = ? WHERE place = ?",
            (body, len(body), draft.samples is not None, " ".join(draft.documents), place),
        )
        return 0, size - len(body)

    def _widen_gap(self, db: sqlite3.Connection, gap: SpoolGap) -> None:
        held = self.gap
        if held is not None:
            gap = SpoolGap(
                first=min(held.first, gap.first),
                last=max(held.last, gap.last),
                check_ins=held.check_ins + gap.check_ins,
            )
        self._put_meta(db, "gap", _encoder.encode(gap))

    @property
    def gap(self) -> SpoolGap | None:
        """What was dropped and is not yet on record."""
        content = self.meta("gap")
        return _gap_decoder.decode(content) if content else None

    def gap_recorded(self, draft: Draft) -> None:
        """Put the record of the gap before everything that has no number yet; the gap is said with it."""
        body = _encoder.encode(draft)
        with self._transaction() as db:
            first = db.execute("SELECT min(place) FROM check_ins").fetchone()[0]
            self._insert_row(db, draft, body, sequence=None, place=None if first is None else first - 1)
            db.execute("DELETE FROM meta WHERE key = 'gap'")
        self._count += 1
        self._bytes += len(body)

    def set_aside(
        self, numbered: Numbered, instead: Draft, *, code: str, detail: str, at: datetime, records_lost: bool
    ) -> None:
        """The server will never take this check-in: keep it for a look, and let ``instead`` go out under its number.

        ``records_lost``: it holds records that ``instead`` does not: then it is kept for good.
        """
        self.forget_facts(numbered.draft.documents)
        if numbered.place is None:
            self._unsaved[0].draft = instead
            return
        body = _encoder.encode(instead)
        with self._transaction() as db:
            db.execute(
                "INSERT INTO set_aside (at, code, detail, has_records, body) VALUES (?, ?, ?, ?, ?)",
                (_milliseconds(at), code, detail[:500], records_lost, _encoder.encode(numbered.draft)),
            )
            db.execute(
                "DELETE FROM set_aside WHERE NOT has_records AND id NOT IN "
                "(SELECT id FROM set_aside ORDER BY id DESC LIMIT ?)",
                (_SET_ASIDE_KEPT,),
            )
            before = db.execute("SELECT bytes FROM check_ins WHERE place = ?", (numbered.place,)).fetchone()[0]
            db.execute("DELETE FROM check_ins WHERE place = ?", (numbered.place,))
            self._insert_row(db, instead, body, sequence=numbered.sequence, place=numbered.place)
        self._bytes += len(body) - before

    def set_aside_count(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM set_aside").fetchone()[0])

    # --- catalogues and facts -------------------------------------------------------------------------------

    def names(self, catalogue: bytes) -> list[str] | None:
        """The series names of a catalogue."""
        for held in self._unsaved:
            block = held.draft.samples
            if block is not None and block.catalogue == catalogue and block.names is not None:
                return block.names
        row = self._db.execute("SELECT names FROM catalogues WHERE id = ?", (catalogue,)).fetchone()
        return _names_decoder.decode(row[0]) if row else None

    def facts_said(self) -> dict[str, tuple[bytes, datetime]]:
        """Digest of each document as it was last said, and when."""
        rows = self._db.execute("SELECT name, digest, said_at FROM facts")
        return {name: (bytes(digest), _time(said_at)) for name, digest, said_at in rows}

    def forget_facts(self, names: Iterable[str]) -> None:
        """The server does not hold these documents: the next report of them goes out whole."""
        rows = [(name,) for name in names]
        if not rows:
            return
        try:
            with self._transaction() as db:
                db.executemany("DELETE FROM facts WHERE name = ?", rows)
        except sqlite3.DatabaseError as error:
            self.trouble = f"the spool cannot be written: {error}"

    def result_known(self, digest: bytes) -> bool:
        """Whether a job's result was spooled before (the agent may be killed before the act state forgets it)."""
        return bool(self._db.execute("SELECT count(*) FROM results WHERE digest = ?", (digest,)).fetchone()[0])

    # --- small things ---------------------------------------------------------------------------------------

    def meta(self, key: str) -> bytes | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return bytes(row[0]) if row else None

    def meta_write(self, key: str, value: bytes) -> None:
        """Keep a small value; no flush, and a full disk only sets ``trouble``."""
        try:
            with self._transaction(flush=False) as db:
                self._put_meta(db, key, value)
        except sqlite3.DatabaseError as error:
            self.trouble = f"the spool cannot be written: {error}"

    @staticmethod
    def _put_meta(db: sqlite3.Connection, key: str, value: bytes) -> None:
        db.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = ?2", (key, value))


def _widened(gap: SpoolGap | None, at: datetime) -> SpoolGap:
    if gap is None:
        return SpoolGap(first=at, last=at, check_ins=1)
    return SpoolGap(first=min(gap.first, at), last=max(gap.last, at), check_ins=gap.check_ins + 1)


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
