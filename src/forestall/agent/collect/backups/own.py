"""Forestall's own backup, on the machine of its server: how it stands, by the file that it keeps of that."""

from __future__ import annotations

import msgspec

from forestall.agent.collect.backup_settings import data_folder
from forestall.agent.collect.host import FileMissing, HostError
from forestall.agent.collect.notes import Notes
from forestall.wire import backup_status
from forestall.wire.facts import BackupJob

_TEXT_BYTES = 256 * 1024


def own_backup(notes: Notes, *, taken: set[str]) -> BackupJob | None:
    """Forestall's own backup, on the machine of its server; None where there is none, or its schedule is off."""
    path = f"{data_folder(notes.host)}/server/{backup_status.FILE_NAME}"
    name = next(one for one in ("forestall", "forestall-server", "forestall-server-own") if one not in taken)
    try:
        data = notes.host.read_bytes(path, limit=_TEXT_BYTES)
    except FileMissing:
        return None
    except HostError as error:
        notes.gap("Forestall's own backup", error.why)
        return BackupJob(name=name, tool="forestall", location="", unknown_why=error.why)
    notes.used(path)
    try:
        status = msgspec.json.decode(data, type=backup_status.BackupStatus)
    except msgspec.DecodeError as error:
        notes.gap("Forestall's own backup", f"its status cannot be read: {error}")
        return BackupJob(name=name, tool="forestall", location="", unknown_why=f"its status cannot be read: {error}")
    if not status.scheduled:
        return None
    return BackupJob(
        name=name,
        tool="forestall",
        location=status.folder,
        first_due_at=status.first_due_at,
        last_success_at=status.last_success_at,
        snapshots=status.kept,
        last_run_at=status.last_run_at,
        last_run_ok=status.last_run_ok,
        last_run_detail=status.last_run_detail[:500],
        restored_at=status.verified_at,
        restored_ok=status.verified_ok,
        restored_detail=status.verified_detail[:500],
    )
