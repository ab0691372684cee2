"""The seam between a backup and the main database's engine: how it is copied, and opened once it is restored."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from forestall.server.backup.errors import BackupError
from forestall.server.backup.proof import RestoredMain, sqlite_restored
from forestall.server.backup.snapshot import MAIN, MainDatabase, Manifest, SqliteMain
from forestall.server.home import Home


def main_database(home: Home) -> MainDatabase:
    """The main database of this installation."""
    return SqliteMain(home.database)


def restored_main(home: Home, folder: Path, manifest: Manifest) -> tuple[AbstractContextManager[RestoredMain], str]:
    """The main database of a backup that was unpacked into ``folder``, and its path there."""
    if manifest.engine == "sqlite":
        return sqlite_restored(folder, MAIN), MAIN
    raise BackupError(f"the backup's main database is of {manifest.engine!r}, which this version cannot restore")
