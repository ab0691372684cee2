"""Around a backup's own command: hashes of what it protects before, and of what it wrote after."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from forestall.agent.act.backups import manifest as manifests
from forestall.agent.act.backups.content import Flaw
from forestall.agent.act.backups.files import written_files
from forestall.agent.act.backups.live import live_tables
from forestall.agent.act.backups.manifest import Manifest, Noted
from forestall.agent.act.context import Context
from forestall.agent.collect.backup_settings import BackupSetting
from forestall.agent.collect.host import Host


class Noting:
    """``began`` before the command, ``ended_well`` after it; nothing is kept of a run that failed."""

    def __init__(self, backup: BackupSetting, host: Host, ctx: Context) -> None:
        self._backup, self._host, self._ctx = backup, host, ctx
        last = manifests.newest(ctx.agent_home, backup.name)
        self._files = manifests.take(backup, ctx, known=last.files if last else {})
        self._tables = live_tables(backup, ctx)
        self._began_at: datetime = host.now()

    def ended_well(self) -> str:
        """Keep the manifest. In words, what is in it; empty: only when the run was."""
        ended_at = self._host.now()
        after = live_tables(self._backup, self._ctx)
        manifest = Manifest(
            began_at=self._began_at,
            ended_at=ended_at,
            files=manifests.steady(self._files),
            artifacts=self._artifacts(),
            tables={name: rows for name, rows in self._tables.items() if after.get(name) == rows},
        )
        manifests.keep(self._ctx.agent_home, self._backup.name, manifest)
        return _words(manifest)

    def _artifacts(self) -> dict[str, Noted]:
        """The files that this run wrote, where the backup is a file."""
        found: dict[str, Noted] = {}
        try:
            paths = written_files(self._backup)
        except Flaw:
            return {}  # there is none to look at: a restore test says so
        for path in paths:
            status = path.stat()
            # What is older was hashed when it was written; hashing it now would vouch for its damage.
            if status.st_mtime >= self._began_at.timestamp() - 1:
                found[str(path)] = manifests.note(os.lstat(path), manifests.file_digest(Path(path)))
        return found


def _words(manifest: Manifest) -> str:
    noted = [
        f"{len(found)} {what}"
        for found, what in (
            (manifest.files, "files"),
            (manifest.artifacts, "files of the backup"),
            (manifest.tables, "tables"),
        )
        if found
    ]
    return f"noted {', '.join(noted)} to compare restores with" if noted else ""
