"""The tools whose backups can be proven, one module each."""

from __future__ import annotations

from pathlib import Path

from forestall.agent.act.backups import borg, declared, dump_files, pg_basebackup, restic, tar, tree
from forestall.agent.act.backups.scratch import FOLDER_NAME
from forestall.agent.act.backups.trial import Kit
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.backup_settings import BackupSetting

KITS: dict[str, Kit] = {
    "restic": restic.KIT,
    "borg": borg.KIT,
    "tar": tar.KIT,
    "rsync": tree.RSYNC,
    "rsnapshot": tree.RSNAPSHOT,
    "btrfs": tree.BTRFS,
    "pg_dump": dump_files.PG_DUMP,
    "pg_basebackup": pg_basebackup.KIT,
    "mariadb_dump": dump_files.MARIADB_DUMP,
    "declared": declared.KIT,
}


def place_of(backup: BackupSetting, ctx: Context) -> Path:
    """The folder in which restore tests of this backup make theirs."""
    return Path(backup.scratch) / "forestall-restore-tests" if backup.scratch else ctx.agent_home / FOLDER_NAME


def kit_of(backup: BackupSetting) -> Kit:
    """ActionFailed ``tool_unknown`` when backups of this tool cannot be restored here."""
    kit = KITS.get(backup.tool)
    if kit is None:
        raise ActionFailed(
            "tool_unknown",
            f"backups of {backup.tool} cannot be restored by this agent ({', '.join(KITS)}); attest a manual test",
        )
    return kit
