"""What a backup has been shown to be worth: the levels of proof, weakest first, and the record of one proof."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, get_args

import msgspec

ProofLevel = Literal["reported", "integrity", "sample", "whole", "database", "application"]
"""``reported``: the job said that it succeeded. ``integrity``: the repository's own check passed. ``sample``: sample
files were restored and compared. ``whole``: everything was restored and compared. ``database``: the database was
restored, started and queried. ``application``: a check of the application itself passed on what was restored."""

PROOF_LEVELS: tuple[ProofLevel, ...] = get_args(ProofLevel)


def at_least(level: ProofLevel, wanted: ProofLevel) -> bool:
    """Whether ``level`` proves as much as ``wanted``, or more."""
    return PROOF_LEVELS.index(level) >= PROOF_LEVELS.index(wanted)


class RestoreProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One attempt to prove a backup on the device, whether it succeeded or not."""

    backup: str
    """Name of the backup on the device."""
    tool: str
    level: ProofLevel
    """The level that was tried."""
    ok: bool
    snapshot: str
    """Id of what was restored; empty: there was none."""
    snapshot_at: datetime | None
    started_at: datetime
    seconds: float
    """Measured time of the restore itself: the real recovery time of what was restored."""
    files: int
    """Restored."""
    compared: int
    """Of these, compared with a hash taken at backup time or with the live, unchanged file."""
    bytes: int
    """Restored."""
    detail: str
    """In words: what was done, and what was wrong."""
    differences: tuple[str, ...] = ()
    """Paths that came back otherwise than they were backed up, each with the reason; the first 50."""
