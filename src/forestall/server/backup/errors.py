"""Why a backup, its proof or its restoration did not come about."""

from __future__ import annotations

from pathlib import Path


class BackupError(RuntimeError):
    """Base: something an operator must know; the text says what, and names the bad value."""


class BusyError(BackupError):
    """Another backup is being made."""


class NoRoomError(BackupError):
    """There is not enough free space; nothing was left behind."""


class NotProvedError(BackupError):
    """A backup did not restore to what was saved."""

    def __init__(self, text: str, *, kept_as: Path | None = None) -> None:
        super().__init__(text)
        self.kept_as = kept_as


class NotEmptyError(BackupError):
    """There is something already where it was to be restored."""
