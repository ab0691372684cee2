"""The proof that a backup restores: it is restored, opened, and compared with what was saved."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from forestall.server.backup.errors import NotProvedError
from forestall.server.backup.evidence import command, environment_of
from forestall.server.backup.snapshot import (
    JOURNAL,
    KEYS,
    SAMPLES,
    ClientRoot,
    Manifest,
    SqliteSnapshot,
    count_rows,
    opened,
)

VERIFY_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Proof:
    """What was compared, and found equal."""

    rows: int
    tables: int
    logs: int
    entries: int
    """Of all logs together: each one's leaf was hashed again, and every checkpoint's signature checked."""
    keys: int
    seconds: float
    size: int
    """Bytes of the restored files."""

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows of {self.tables} tables, {self.entries:,} records under the roots of {self.logs} "
            f"{'log' if self.logs == 1 else 'logs'}, and {self.keys} keys are equal ({self.seconds:.1f} s)"
        )


class RestoredMain(Protocol):
    """The main database of a restored backup."""

    def damage(self) -> str | None:
        """What the database itself finds wrong; None: nothing."""

    def rows(self) -> dict[str, int]: ...

    def logs(self) -> tuple[ClientRoot, ...]: ...

    def environment(self) -> Mapping[str, str]:
        """What a process needs to work on it, beside FORESTALL_HOME."""


class SqliteRestored:
    """A restored SQLite file."""

    def __init__(self, file: Path) -> None:
        self._connection = opened(file)

    def damage(self) -> str | None:
        return damage_of(self._connection)

    def rows(self) -> dict[str, int]:
        return count_rows(self._connection)

    def logs(self) -> tuple[ClientRoot, ...]:
        return SqliteSnapshot(self._connection).logs()

    def environment(self) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        self._connection.close()


@contextmanager
def sqlite_restored(folder: Path, path: str) -> Iterator[RestoredMain]:
    with closing(SqliteRestored(folder / path)) as restored:
        yield restored


def damage_of(connection: sqlite3.Connection) -> str | None:
    try:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == ["ok"] else "; ".join(found)


def prove(
    *,
    folder: Path,
    manifest: Manifest,
    main: RestoredMain,
    main_path: str,
    origin: Path | None,
    seconds: float = 0.0,
) -> Proof:
    """Compare what was restored into ``folder`` with what the manifest names, and its keys with those of ``origin``.

    The files' digests were compared when they were unpacked. NotProvedError names the first thing that differs.
    """
    paths = {entry.path for entry in manifest.files}
    for path in (JOURNAL, SAMPLES):
        if path in paths:
            with closing(opened(folder / path)) as database:
                if (damage := damage_of(database)) is not None:
                    raise NotProvedError(f"{path} is damaged: {damage}")
                _compare_rows(path, count_rows(database), manifest)
    if (damage := main.damage()) is not None:
        raise NotProvedError(f"{main_path} is damaged: {damage}")
    _compare_rows(main_path, main.rows(), manifest)
    if main.logs() != manifest.logs:
        raise NotProvedError("the evidence logs do not end where those of the saved database did")
    _compare_roots(_verified(folder, main.environment()), manifest)
    keys = [path for path in KEYS if path in paths]
    for path in keys:
        if origin is not None and (folder / path).read_bytes() != (origin / path).read_bytes():
            raise NotProvedError(f"{path} is not the key that this server uses")
    return Proof(
        rows=manifest.row_count,
        tables=sum(len(tables) for tables in manifest.rows.values()),
        logs=len(manifest.logs),
        entries=sum(log.entries for log in manifest.logs),
        keys=len(keys),
        seconds=seconds,
        size=manifest.size,
    )


def _compare_rows(path: str, found: Mapping[str, int], manifest: Manifest) -> None:
    saved = manifest.rows.get(path, {})
    for table in sorted(saved.keys() | found.keys()):
        if saved.get(table) != found.get(table):
            raise NotProvedError(
                f"{path}, table {table}: {found.get(table)} rows were restored, {saved.get(table)} were saved"
            )


def _compare_roots(found: Mapping[str, tuple[int, str]], manifest: Manifest) -> None:
    saved = {log.client: (log.entries, log.root) for log in manifest.logs if log.entries}
    for client in sorted(saved.keys() | found.keys()):
        if saved.get(client) != found.get(client):
            raise NotProvedError(f"the evidence of client {client}: {found.get(client)}, saved was {saved.get(client)}")


def _verified(folder: Path, environment: Mapping[str, str]) -> dict[str, tuple[int, str]]:
    return msgspec.json.decode(ask(folder, environment, "verify"), type=dict[str, tuple[int, str]])


def ask(folder: Path, environment: Mapping[str, str], *arguments: str) -> bytes:
    """The answer of ``backup.evidence`` about the data folder ``folder``; NotProvedError with its own words."""
    done = subprocess.run(
        command(arguments[0], *arguments[1:]),
        env={**environment_of(folder), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=VERIFY_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise NotProvedError(f"the restored installation does not work: {said[-1] if said else 'no answer'}")
    return done.stdout
