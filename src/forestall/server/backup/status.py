"""The status file: written by whoever makes backups, read by the agent of this machine and by people."""

from __future__ import annotations

from pathlib import Path

import msgspec

from forestall.server.backup.errors import BackupError
from forestall.server.home import Home, write_private
from forestall.wire.backup_status import FILE_NAME, BackupStatus


def status_file(home: Home) -> Path:
    return home.server / FILE_NAME


def status_read(home: Home) -> BackupStatus:
    """How the backups stand. BackupError when the file cannot be read as one."""
    try:
        return msgspec.json.decode(status_file(home).read_bytes(), type=BackupStatus)
    except FileNotFoundError:
        return BackupStatus()
    except msgspec.DecodeError as error:
        raise BackupError(f"{status_file(home)}: {error}; remove it, it is made anew") from None


def status_write(home: Home, status: BackupStatus) -> None:
    write_private(status_file(home), msgspec.json.encode(status))
