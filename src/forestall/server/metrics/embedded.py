"""The embedded store: one SQLite file, written by the worker alone.

New samples are rows as they came (``recent``). Once an hour is complete, a device's rows become one frame and one
hour of its day's rollup. Samples that come late, after days offline, are packed into the frame of their hour.
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from forestall.server.metrics.frames import frame_decode, frame_encode
from forestall.server.metrics.rules import HOUR_MS, hour_rollup, points_join, points_raw, points_step
from forestall.server.metrics.store import Batch, Floats, Points
from forestall.wire.codec import catalogue_id

FRAMES_KEPT = timedelta(days=35)
ROLLUPS_KEPT = timedelta(days=761)
"""25 months."""
SETTLED_AFTER = timedelta(minutes=5)
"""An hour is packed this long after its end: what arrives later costs packing it again."""
HOURS_PER_TRANSACTION = 100
LATEST_SPAN_MS = 60_000
"""The newest samples of a device: those less than this older than its very newest."""
DAY_HOURS = 24

_SCHEMA = """
CREATE TABLE IF NOT EXISTS device (no INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE IF NOT EXISTS catalogue (no INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, names BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS recent (
    device INTEGER NOT NULL, time INTEGER NOT NULL, catalogue INTEGER NOT NULL, data BLOB NOT NULL,
    UNIQUE (device, time, catalogue)
) STRICT;
CREATE TABLE IF NOT EXISTS frame (
    device INTEGER NOT NULL, hour INTEGER NOT NULL, catalogue INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (device, hour)
) STRICT;
CREATE TABLE IF NOT EXISTS rollup (
    device INTEGER NOT NULL, day INTEGER NOT NULL, catalogue INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (device, day)
) STRICT;
"""

VERSION = 1
"""Format of the file, kept in it: a store of another one is refused by name, not misread."""


class StoreVersionError(RuntimeError):
    """The samples file was written in another format."""


Integers = NDArray[np.int64]
Segment = tuple[Integers, tuple[str, ...], Floats]
"""Times (ms), names, and rows x names."""


class EmbeddedStore:
    """``store.Store`` in a SQLite file. Reading opens it read-only; the first write makes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._writing = threading.RLock()
        self._writer: sqlite3.Connection | None = None
        self._names: dict[int, tuple[str, ...]] = {}
        self._catalogue_no: dict[tuple[str, ...], int] = {}
        self._catalogue_names: dict[bytes, tuple[str, ...]] = {}
        self._device_no: dict[UUID, int] = {}

    # --- writing ----------------------------------------------------------------------------------------------

    def append(self, batches: Sequence[Batch]) -> None:
        if not batches:
            return
        with self._transaction() as writer:
            writer.executemany("INSERT OR IGNORE INTO recent VALUES (?, ?, ?, ?)", self._rows(writer, batches))

    def _rows(self, writer: sqlite3.Connection, batches: Sequence[Batch]) -> Iterator[tuple[int, int, int, bytes]]:
        for batch in batches:
            if batch.values.shape != (len(batch.times_ms), len(batch.names)):
                raise ValueError(
                    f"values of {batch.device_id}: {batch.values.shape}, expected "
                    f"{(len(batch.times_ms), len(batch.names))}"
                )
            device, catalogue = self._device(writer, batch.device_id), self._catalogue(writer, batch.names)
            for time, row in zip(batch.times_ms, batch.values, strict=True):
                yield device, time, catalogue, row.astype("<f8", copy=False).tobytes()

    def _device(self, writer: sqlite3.Connection, device_id: UUID) -> int:
        number = self._device_no.get(device_id)
        if number is None:
            writer.execute("INSERT OR IGNORE INTO device (id) VALUES (?)", (device_id.bytes,))
            (number,) = writer.execute("SELECT no FROM device WHERE id = ?", (device_id.bytes,)).fetchone()
            self._device_no[device_id] = number
        return number

    def _catalogue(self, writer: sqlite3.Connection, names: tuple[str, ...]) -> int:
        number = self._catalogue_no.get(names)
        if number is None:
            digest = catalogue_id(names)
            # A device has many hundred times as many samples as names, but only after some hours.
            text = zlib.compress("\n".join(names).encode(), 9)
            writer.execute("INSERT OR IGNORE INTO catalogue (id, names) VALUES (?, ?)", (digest, text))
            (number,) = writer.execute("SELECT no FROM catalogue WHERE id = ?", (digest,)).fetchone()
            self._catalogue_no[names] = number
        return number

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing:
            if self._writer is None:
                self._writer = _open_writer(self._path)
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                # Numbers given out in this transaction are gone with it.
                self._device_no.clear()
                self._catalogue_no.clear()
                self._writer.close()
                self._writer = None
                raise

    # --- packing ----------------------------------------------------------------------------------------------

    def compact(self, *, now: datetime) -> int:
        if self._reader() is None:
            return 0
        settled = (_milliseconds(now - SETTLED_AFTER) // HOUR_MS) * HOUR_MS
        written = 0
        while True:
            with self._transaction() as writer:
                hours = writer.execute(
                    f"SELECT DISTINCT device, time / {HOUR_MS} FROM recent WHERE time < ? LIMIT ?",  # noqa: S608
                    (settled, HOURS_PER_TRANSACTION),
                ).fetchall()
                for device, hour in hours:
                    self._pack(writer, device, hour)
            written += len(hours)
            if len(hours) < HOURS_PER_TRANSACTION:
                break
        with self._transaction() as writer:
            writer.execute("DELETE FROM frame WHERE hour < ?", (_milliseconds(now - FRAMES_KEPT) // HOUR_MS,))
            writer.execute(
                "DELETE FROM rollup WHERE day < ?", (_milliseconds(now - ROLLUPS_KEPT) // (HOUR_MS * DAY_HOURS),)
            )
        return written

    def forget(self, *, device_ids: Collection[UUID]) -> None:
        if self._reader() is None:
            return
        with self._transaction() as writer:
            for device_id in device_ids:
                number = self._known_device(writer, device_id)
                # Its number stays taken: another device under it would inherit what a reader remembers.
                for table in ("recent", "frame", "rollup") if number is not None else ():
                    writer.execute(f"DELETE FROM {table} WHERE device = ?", (number,))  # noqa: S608

    def _pack(self, writer: sqlite3.Connection, device: int, hour: int) -> None:
        span = (device, hour * HOUR_MS, (hour + 1) * HOUR_MS)
        segments = [*self._frames(writer, device, hour, hour + 1), *self._recent(writer, *span)]
        times, names, values = _merged(segments)
        catalogue = self._catalogue(writer, names)
        writer.execute(
            "INSERT OR REPLACE INTO frame VALUES (?, ?, ?, ?)", (device, hour, catalogue, frame_encode(times, values))
        )
        self._roll_up(writer, device, hour, names, values)
        writer.execute("DELETE FROM recent WHERE device = ? AND time >= ? AND time < ?", span)

    def _roll_up(
        self, writer: sqlite3.Connection, device: int, hour: int, names: tuple[str, ...], values: Floats
    ) -> None:
        day = hour // DAY_HOURS
        new: Segment = (np.array([hour], dtype=np.int64), _five(names), hour_rollup(values)[None, :])
        times, columns, table = _merged([*self._rollups(writer, device, day, day + 1), new])
        # Kept under the catalogue of the series themselves; the five columns of each are known from that.
        series = tuple(dict.fromkeys(column.partition(" ")[2] for column in columns))
        place = {column: index for index, column in enumerate(columns)}
        table = table[:, [place[column] for column in _five(series)]]
        writer.execute(
            "INSERT OR REPLACE INTO rollup VALUES (?, ?, ?, ?)",
            (device, day, self._catalogue(writer, series), frame_encode(times, table)),
        )

    # --- reading ----------------------------------------------------------------------------------------------

    def catalogue(self, catalogue: bytes) -> tuple[str, ...] | None:
        names = self._catalogue_names.get(catalogue)
        if names is None and (reader := self._reader()) is not None:
            found = reader.execute("SELECT names FROM catalogue WHERE id = ?", (catalogue,)).fetchone()
            if found is not None:
                names = self._catalogue_names[catalogue] = _names(found[0])
        return names

    def latest(
        self, *, device_ids: Collection[UUID], metrics: Collection[str] | None = None
    ) -> dict[UUID, dict[str, tuple[float, float]]]:
        reader = self._reader()
        if reader is None:
            return {}
        wanted = None if metrics is None else frozenset(metrics)
        found: dict[UUID, dict[str, tuple[float, float]]] = {}
        for device_id in device_ids:
            number = self._known_device(reader, device_id)
            if number is None:
                continue
            samples: dict[str, tuple[float, float]] = {}
            for times, names, values in self._newest(reader, number):
                for row, time in enumerate(times):
                    for column, name in enumerate(names):
                        value = values[row, column]
                        if value == value and (wanted is None or name.partition("{")[0] in wanted):
                            samples[name] = (float(time) / 1000, float(value))
            if samples:
                found[device_id] = samples
        return found

    def _newest(self, reader: sqlite3.Connection, device: int) -> list[Segment]:
        (newest,) = reader.execute("SELECT max(time) FROM recent WHERE device = ?", (device,)).fetchone()
        (hour,) = reader.execute("SELECT max(hour) FROM frame WHERE device = ?", (device,)).fetchone()
        if newest is not None and (hour is None or newest >= hour * HOUR_MS):
            return list(self._recent(reader, device, newest - LATEST_SPAN_MS + 1, newest + 1))
        if hour is None:
            return []
        times, names, values = next(self._frames(reader, device, hour, hour + 1))
        there = times > times[-1] - LATEST_SPAN_MS
        return [(times[there], names, values[there])]

    def range(
        self, *, device_id: UUID, names: Sequence[str], start: datetime, end: datetime, step_seconds: int | None = None
    ) -> dict[str, Points]:
        if step_seconds is not None and step_seconds < 1:
            raise ValueError(f"step_seconds: {step_seconds}, expected 1 or more")
        reader = self._reader()
        number = None if reader is None else self._known_device(reader, device_id)
        if reader is None or number is None:
            return {}
        first, last = _milliseconds(start), _milliseconds(end)
        # One picture of the file for all the reads: packing between two of them would hide samples.
        reader.execute("BEGIN")
        try:
            boundary = self._rollup_boundary(reader, number, coarse=step_seconds is not None and step_seconds >= 3600)
            rolled = min(max(boundary, first), last)
            parts = {
                name: [points]
                for name, points in self._rolled_points(reader, number, names, first, rolled).items()
                if points.times.size
            }
            for name, points in self._raw_points(reader, number, names, rolled, last).items():
                if points.times.size:
                    parts.setdefault(name, []).append(points)
        finally:
            reader.execute("COMMIT")
        joined = {name: points_join(parts[name]) for name in names if name in parts}
        if step_seconds is None:
            return joined
        return {name: points_step(points, step_seconds) for name, points in joined.items()}

    def _rollup_boundary(self, reader: sqlite3.Connection, device: int, *, coarse: bool) -> int:
        """Time (ms) before which rollups are read, after which samples are."""
        aggregate = "max(hour) + 1" if coarse else "min(hour)"
        (hour,) = reader.execute(f"SELECT {aggregate} FROM frame WHERE device = ?", (device,)).fetchone()  # noqa: S608
        if hour is not None and not coarse:
            # What came late and waits to be packed may be older than the first hour that was.
            (late,) = reader.execute("SELECT min(time) FROM recent WHERE device = ?", (device,)).fetchone()
            hour = hour if late is None else min(hour, late // HOUR_MS)
        if hour is not None:
            return int(hour) * HOUR_MS
        (day,) = reader.execute("SELECT max(day) + 1 FROM rollup WHERE device = ?", (device,)).fetchone()
        return 0 if day is None else int(day) * DAY_HOURS * HOUR_MS

    def _raw_points(
        self, reader: sqlite3.Connection, device: int, names: Sequence[str], first: int, last: int
    ) -> dict[str, Points]:
        if first >= last:
            return {}
        segments = [
            *self._frames(reader, device, first // HOUR_MS, -(-last // HOUR_MS)),
            *self._recent(reader, device, first, last),
        ]
        return {name: points_raw(*_series(segments, name, first, last)) for name in names}

    def _rolled_points(
        self, reader: sqlite3.Connection, device: int, names: Sequence[str], first: int, last: int
    ) -> dict[str, Points]:
        if first >= last:
            return {}
        hours = (-(-first // HOUR_MS), last // HOUR_MS)
        day_ms = DAY_HOURS * HOUR_MS
        segments = list(self._rollups(reader, device, first // day_ms, -(-last // day_ms)))
        found = {}
        for name in names:
            times, count = _series(segments, f"count {name}", *hours)
            there = count > 0
            low, mean, high = (_series(segments, f"{part} {name}", *hours)[1][there] for part in ("min", "mean", "max"))
            found[name] = Points(
                times=times[there].astype(np.float64) * 3600, mean=mean, min=low, max=high, count=count[there]
            )
        return found

    def series_names(self, *, device_id: UUID) -> list[str]:
        reader = self._reader()
        number = None if reader is None else self._known_device(reader, device_id)
        if reader is None or number is None:
            return []
        used = reader.execute(
            "SELECT catalogue FROM recent WHERE device = ? UNION SELECT catalogue FROM frame WHERE device = ?",
            (number, number),
        ).fetchall()
        return sorted({name for (catalogue,) in used for name in self._names_of(reader, catalogue)})

    def usage(self) -> Mapping[str, int]:
        reader = self._reader()
        if reader is None:
            return {"bytes": 0, "recent_rows": 0, "frames": 0, "rollups": 0}
        (pages, size) = (reader.execute(f"PRAGMA {one}").fetchone()[0] for one in ("page_count", "page_size"))
        count = {
            table: reader.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
            for table in ("recent", "frame", "rollup")
        }
        return {
            "bytes": pages * size,
            "recent_rows": count["recent"],
            "frames": count["frame"],
            "rollups": count["rollup"],
        }

    def close(self) -> None:
        with self._writing:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
        reader: sqlite3.Connection | None = getattr(self._local, "reader", None)
        if reader is not None:
            reader.close()
            self._local.reader = None

    def _reader(self) -> sqlite3.Connection | None:
        """This thread's connection; None while there is no file yet."""
        reader: sqlite3.Connection | None = getattr(self._local, "reader", None)
        if reader is None and self._path.exists():
            reader = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, isolation_level=None, timeout=10)
            if not reader.execute("SELECT 1 FROM sqlite_master WHERE name = 'rollup'").fetchone():
                reader.close()  # the worker is just making it
                return None
            self._local.reader = reader
        return reader

    def _known_device(self, reader: sqlite3.Connection, device_id: UUID) -> int | None:
        found = reader.execute("SELECT no FROM device WHERE id = ?", (device_id.bytes,)).fetchone()
        return None if found is None else int(found[0])

    def _names_of(self, connection: sqlite3.Connection, number: int) -> tuple[str, ...]:
        names = self._names.get(number)
        if names is None:
            (text,) = connection.execute("SELECT names FROM catalogue WHERE no = ?", (number,)).fetchone()
            names = self._names[number] = _names(text)
        return names

    def _recent(self, connection: sqlite3.Connection, device: int, first: int, last: int) -> Iterator[Segment]:
        rows = connection.execute(
            "SELECT catalogue, time, data FROM recent WHERE device = ? AND time >= ? AND time < ? ORDER BY time",
            (device, first, last),
        ).fetchall()
        by_catalogue: dict[int, list[tuple[int, bytes]]] = {}
        for catalogue, time, data in rows:
            by_catalogue.setdefault(catalogue, []).append((time, data))
        for catalogue, samples in by_catalogue.items():
            names = self._names_of(connection, catalogue)
            values = np.frombuffer(b"".join(data for _, data in samples), dtype="<f8").reshape(len(samples), -1)
            yield np.array([time for time, _ in samples], dtype=np.int64), names, values

    def _frames(self, connection: sqlite3.Connection, device: int, first: int, last: int) -> Iterator[Segment]:
        yield from self._packed(connection, "frame", "hour", device, first, last)

    def _rollups(self, connection: sqlite3.Connection, device: int, first: int, last: int) -> Iterator[Segment]:
        for times, names, values in self._packed(connection, "rollup", "day", device, first, last):
            yield times, _five(names), values

    def _packed(
        self, connection: sqlite3.Connection, table: str, key: str, device: int, first: int, last: int
    ) -> Iterator[Segment]:
        rows = connection.execute(
            f"SELECT catalogue, data FROM {table} WHERE device = ? AND {key} >= ? AND {key} < ? ORDER BY {key}",  # noqa: S608
            (device, first, last),
        ).fetchall()
        for catalogue, data in rows:
            times, values = frame_decode(data)
            yield times, self._names_of(connection, catalogue), values


def _open_writer(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
    try:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")
        # FULL: the journal's rows are deleted once these are applied, so these must be there after a power cut.
        connection.execute("PRAGMA synchronous=FULL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in {0, VERSION}:
            raise StoreVersionError(f"{path} has format {version}; this Forestall reads format {VERSION}")
        connection.executescript(f"{_SCHEMA} PRAGMA user_version = {VERSION};")
    except BaseException:
        connection.close()
        raise
    return connection


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _names(text: bytes) -> tuple[str, ...]:
    return tuple(zlib.decompress(text).decode().split("\n"))


def _five(names: Sequence[str]) -> tuple[str, ...]:
    """Column names of a rollup: ``hour_rollup``'s order."""
    return tuple(f"{part} {name}" for part in ("min", "mean", "max", "last", "count") for name in names)


def _merged(segments: Sequence[Segment]) -> Segment:
    """One table of all segments: every time once, every series once; of two values the later segment's counts."""
    if len(segments) == 1:
        return segments[0]
    columns: dict[str, int] = {}
    for _, names, _ in segments:
        for name in names:
            columns.setdefault(name, len(columns))
    times = np.unique(np.concatenate([part[0] for part in segments]))
    table = np.full((times.size, len(columns)), np.nan)
    for part_times, names, values in segments:
        rows = np.searchsorted(times, part_times)
        places = np.array([columns[name] for name in names])
        block = table[np.ix_(rows, places)]
        table[np.ix_(rows, places)] = np.where(np.isnan(values), block, values)
    return times, tuple(columns), table


def _series(segments: Sequence[Segment], name: str, first: int, last: int) -> tuple[Integers, Floats]:
    """Times and values of one series with ``first <= time < last``, segment after segment."""
    times: list[Integers] = []
    found: list[Floats] = []
    for part_times, names, values in segments:
        if name in names:
            inside = (part_times >= first) & (part_times < last)
            times.append(part_times[inside])
            found.append(values[inside, names.index(name)])
    if not times:
        return np.empty(0, dtype=np.int64), np.empty(0)
    return np.concatenate(times), np.concatenate(found)
