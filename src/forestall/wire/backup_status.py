"""How Forestall's own backup stands: a small file that the server writes and the agent of its machine reads.

Declared here because neither may import the other. It holds no secret: who reads it learns times and figures.
"""

from __future__ import annotations

import msgspec

from forestall.wire.moment import Moment

FILE_NAME = "backup-status.json"
"""In the folder ``server`` of the data folder."""


class BackupStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last backup, the last that was good, and the last that was restored."""

    scheduled: bool = True
    """False: its schedule is switched off."""
    folder: str = ""
    first_due_at: Moment | None = None
    """When the first backup of this installation is due: before that, none is missing."""
    last_run_at: Moment | None = None
    last_run_ok: bool | None = None
    last_run_detail: str = ""
    """Why it failed; empty when it did not."""
    last_success_at: Moment | None = None
    """The time whose data the newest good backup holds."""
    last_file: str = ""
    last_bytes: int = 0
    last_seconds: float = 0.0
    kept: int | None = None
    """Good backups in the folder."""
    verified_at: Moment | None = None
    """When a backup was last restored to prove it."""
    verified_ok: bool | None = None
    verified_detail: str = ""
    """What was compared, in words; or what was wrong."""
