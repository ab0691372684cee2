"""Rows in the tables of the live databases that a backup protects, where they can be asked."""

from __future__ import annotations

from forestall.agent.act.context import Context
from forestall.agent.collect.backup_settings import BackupSetting


def live_tables(backup: BackupSetting, ctx: Context) -> dict[str, int]:
    """``database.schema.table`` → rows. Empty where nothing answers: then nothing is compared with it."""
    return {}
