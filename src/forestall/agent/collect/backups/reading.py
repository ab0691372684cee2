"""What one look at a backup brought."""

from __future__ import annotations

from datetime import datetime

import msgspec

from forestall.wire.facts import BackupLock, BackupSnapshot, BackupWarning


class Reading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an adapter read; the fields of ``wire.facts.BackupRepository`` that only it can know, under its names."""

    unknown_why: str = ""
    job: str = ""
    last_success_at: datetime | None = None
    snapshots: int | None = None
    history: tuple[BackupSnapshot, ...] = ()
    protects: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    size_bytes: int | None = None
    stored_bytes: int | None = None
    last_run_at: datetime | None = None
    last_run_ok: bool | None = None
    last_run_detail: str = ""
    last_run_seconds: float | None = None
    last_run_exit_code: int | None = None
    next_run_at: datetime | None = None
    chain_ok: bool | None = None
    chain_detail: str = ""
    locks: tuple[BackupLock, ...] = ()
    encrypted: bool | None = None
    remote: bool | None = None
    writable: bool | None = None
    immutable: bool | None = None
    immutable_detail: str = ""
    warnings: tuple[BackupWarning, ...] = ()
