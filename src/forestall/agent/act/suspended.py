"""Runs that stopped before a step which operators have to approve: ``suspended.json``, replaced whole.

A file of its own beside ``trust.json``, so that an agent of before reads that one still. An entry is written before
the result is kept, and taken out before a continuation is noted as begun: whatever a crash leaves, a run goes on once
at most, and only one whose result was given.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from forestall.agent.config import file_write
from forestall.trust.authorise import MAX_APPROVAL_WAIT, Suspended

SUSPENDED_FILE = "suspended.json"


def read_suspended(folder: Path) -> dict[str, Suspended]:
    """Job id → where its run stopped. A file that cannot be read: none, so that nothing goes on."""
    try:
        return msgspec.json.decode((folder / SUSPENDED_FILE).read_bytes(), type=dict[str, Suspended])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def suspend(folder: Path, stopped: Suspended, *, now: datetime) -> None:
    """Remember a run that stopped; those whose approval is overdue are forgotten."""
    kept = {job: one for job, one in read_suspended(folder).items() if abs(now - one.stopped_at) <= MAX_APPROVAL_WAIT}
    file_write(str(folder / SUSPENDED_FILE), msgspec.json.encode({**kept, stopped.job_id: stopped}))


def forget(folder: Path, job_id: str) -> None:
    """Forget a run that goes on."""
    kept = read_suspended(folder)
    if kept.pop(job_id, None) is not None:
        file_write(str(folder / SUSPENDED_FILE), msgspec.json.encode(kept))
