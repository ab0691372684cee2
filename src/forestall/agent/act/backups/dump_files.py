"""Dumps of PostgreSQL and MariaDB: read to their end, then loaded into a private server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from forestall.agent.act.backups import databases, dumps
from forestall.agent.act.backups.content import Comparison, Entry, Snapshot
from forestall.agent.act.backups.files import FILE_PATTERNS, newest_files, require_as_written
from forestall.agent.act.backups.trial import Kit, Trial


class Dumps(Kit):
    """Dumps of one product, in a folder."""

    levels = ("integrity", "whole", "database", "application")
    is_of_files = False
    is_database = True

    def __init__(self, tool: str) -> None:
        self._tool = tool

    def newest(self, trial: Trial) -> Snapshot:
        return newest_files(trial, FILE_PATTERNS[self._tool])

    def integrity(self, trial: Trial, snapshot: Snapshot) -> None:
        require_as_written(trial, snapshot)
        if trial.level == "integrity":
            for place in snapshot.places:
                trial.scratch.require(place.stat().st_size * 4)
                plain = trial.scratch.work / dumps.stem(place)
                dumps.unpack(trial, place, plain)
                databases.require_whole(trial, plain)
                plain.unlink()
        trial.words.append("the dump was read to its end" if trial.level == "integrity" else "the dump is there")

    def contents(self, trial: Trial, snapshot: Snapshot) -> list[Entry]:
        # Their hashes are those of the files as they lie there, not of what they protect.
        return [Entry(dumps.stem(place), place.stat().st_size) for place in snapshot.places]

    def size(self, trial: Trial, snapshot: Snapshot, entries: Sequence[Entry]) -> int:
        compressed = {place for place in snapshot.places if place.suffix in (".gz", ".zst", ".xz", ".bz2", ".lz4")}
        plain = sum(place.stat().st_size * (6 if place in compressed else 1) for place in snapshot.places)
        # Loaded, a dump takes about three times its text: tables, indexes, the log of the transactions.
        return plain * (4 if trial.level in ("database", "application") else 1)

    def restore(self, trial: Trial, snapshot: Snapshot, entries: Sequence[Entry] | None) -> None:
        for place in snapshot.places:
            dumps.unpack(trial, place, trial.scratch.restored / dumps.stem(place))

    def compare(self, trial: Trial, snapshot: Snapshot, comparison: Comparison, entries: Sequence[Entry]) -> None:
        for place in snapshot.places:
            plain = trial.scratch.restored / dumps.stem(place)
            databases.require_whole(trial, plain)
            comparison.files += 1
            comparison.bytes += plain.stat().st_size
            if trial.manifest is not None and str(place) in trial.manifest.artifacts:
                # Just found to be as it was written, and read to its end.
                comparison.compared += 1
                comparison.by_manifest += 1

    @contextmanager
    def database(self, trial: Trial, snapshot: Snapshot, comparison: Comparison) -> Iterator[Mapping[str, str]]:
        plain = [trial.scratch.restored / dumps.stem(place) for place in snapshot.places]
        with databases.loaded(trial, plain, comparison) as environment:
            yield environment


PG_DUMP, MARIADB_DUMP = Dumps("pg_dump"), Dumps("mariadb_dump")
