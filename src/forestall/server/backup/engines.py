"""The seam between a backup and the main database's engine: how it is copied, proved, and put back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from forestall.server.backup.errors import BackupError
from forestall.server.backup.proof import RestoredMain, sqlite_restored
from forestall.server.backup.snapshot import MAIN, MainDatabase, Manifest, SqliteMain
from forestall.server.database.url import VARIABLE, DatabaseUrl, DatabaseUrlError, database_url
from forestall.server.home import Home, write_private

OWNER_VARIABLE = "FORESTALL_BACKUP_DATABASE_URL"
"""The account with which backups are made, where FORESTALL_DATABASE_URL is only a part's (in the worker)."""


@dataclass(frozen=True, slots=True)
class MainFile:
    """The main database of an unpacked backup."""

    path: str
    """Below the data folder."""
    opened: AbstractContextManager[RestoredMain]


def main_database(home: Home, environment: Mapping[str, str] = os.environ) -> MainDatabase:
    """The main database of this installation. BackupError when this process cannot back it up."""
    url = _url(home, environment)
    if url is None:
        return SqliteMain(home.database)
    if url.user and url.user == url.role("worker"):
        raise BackupError(
            f"the worker's own role cannot read everything: set {OWNER_VARIABLE} to the address of the database's owner"
        )
    from forestall.server.backup.postgres import PostgresMain

    return PostgresMain(url)


def for_proof(home: Home, folder: Path, manifest: Manifest, environment: Mapping[str, str] = os.environ) -> MainFile:
    """The main database of a backup that was unpacked into ``folder``, opened where nobody else sees it."""
    if manifest.engine == "sqlite":
        return MainFile(MAIN, sqlite_restored(folder, MAIN))
    from forestall.server.backup.postgres import DUMP, postgres_proof

    _require_postgres(manifest)
    url = _url(home, environment)
    if url is None:
        raise BackupError(
            f"the backup is of an installation on PostgreSQL: set {VARIABLE} to a database of that server"
        )
    return MainFile(DUMP, postgres_proof(url, folder / DUMP))


def for_restoration(folder: Path, manifest: Manifest, environment: Mapping[str, str] = os.environ) -> MainFile:
    """The same, opened where the restored installation will have it."""
    if manifest.engine == "sqlite":
        if environment.get(VARIABLE):
            raise BackupError(f"the backup is of an installation on SQLite: unset {VARIABLE}, and move it afterwards")
        return MainFile(MAIN, sqlite_restored(folder, MAIN))
    from forestall.server.backup.postgres import DUMP, postgres_target

    _require_postgres(manifest)
    if not environment.get(VARIABLE):
        raise BackupError(f"the backup is of an installation on PostgreSQL: set {VARIABLE} to an empty database")
    url = _parsed(environment[VARIABLE], VARIABLE)
    # The restored installation knows its database from then on; the one it had is another's.
    write_private(Home(folder).database_url, url.secret.encode() + b"\n")
    return MainFile(DUMP, postgres_target(url, folder / DUMP))


def _require_postgres(manifest: Manifest) -> None:
    if manifest.engine != "postgresql":
        raise BackupError(f"the backup's main database is of {manifest.engine!r}, which this version cannot restore")


def _url(home: Home, environment: Mapping[str, str]) -> DatabaseUrl | None:
    if named := environment.get(OWNER_VARIABLE):
        return _parsed(named, OWNER_VARIABLE)
    try:
        return database_url(home, environment)
    except DatabaseUrlError as error:
        raise BackupError(str(error)) from None


def _parsed(text: str, source: str) -> DatabaseUrl:
    try:
        return DatabaseUrl.parse(text, source=source)
    except DatabaseUrlError as error:
        raise BackupError(str(error)) from None
