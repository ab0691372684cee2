"""The adapters: one list. A new one is a module in this folder and a line here (docs/extending/backup-adapter.md)."""

from __future__ import annotations

from forestall.agent.collect.backup_settings import Tool
from forestall.agent.collect.backups.adapter import Adapter
from forestall.agent.collect.backups.borg import ADAPTER as BORG
from forestall.agent.collect.backups.btrfs import ADAPTER as BTRFS
from forestall.agent.collect.backups.declared import ADAPTER as DECLARED
from forestall.agent.collect.backups.lvm import ADAPTER as LVM
from forestall.agent.collect.backups.mariadb_dump import ADAPTER as MARIADB_DUMP
from forestall.agent.collect.backups.pg_basebackup import ADAPTER as PG_BASEBACKUP
from forestall.agent.collect.backups.pg_dump import ADAPTER as PG_DUMP
from forestall.agent.collect.backups.proxmox import ADAPTER as PROXMOX
from forestall.agent.collect.backups.restic import ADAPTER as RESTIC
from forestall.agent.collect.backups.rsnapshot import ADAPTER as RSNAPSHOT
from forestall.agent.collect.backups.rsync import ADAPTER as RSYNC
from forestall.agent.collect.backups.tar import ADAPTER as TAR
from forestall.agent.collect.backups.veeam import ADAPTER as VEEAM
from forestall.agent.collect.backups.windows_server_backup import ADAPTER as WINDOWS_SERVER_BACKUP
from forestall.agent.collect.backups.zfs import ADAPTER as ZFS

ADAPTERS: dict[Tool, Adapter] = {
    adapter.name: adapter
    for adapter in (
        RESTIC,
        BORG,
        PG_DUMP,
        PG_BASEBACKUP,
        MARIADB_DUMP,
        TAR,
        RSYNC,
        RSNAPSHOT,
        ZFS,
        BTRFS,
        LVM,
        WINDOWS_SERVER_BACKUP,
        VEEAM,
        PROXMOX,
        DECLARED,
    )
}
"""Name → adapter, in the order of docs."""

OTHER_PROGRAMS = ("duplicity", "kopia", "bacula-fd", "bareos-fd")
"""Backup programs that are told of when they are installed, although no adapter reads them."""
EVERYWHERE = frozenset({"tar", "rsync", "btrfs", "lvm", "zfs", "pg_dump", "pg_basebackup", "mariadb_dump", "declared"})
"""Programs of these are there for other ends too: that they are installed says nothing about backups."""
