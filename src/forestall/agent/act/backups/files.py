"""Backups that are files or folders in a folder: which is the newest, and whether it is as it was written."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from forestall.agent.act.backups.content import Flaw, Snapshot
from forestall.agent.act.backups.manifest import file_digest
from forestall.agent.act.backups.trial import Trial
from forestall.agent.collect.backup_settings import BackupSetting

FILE_PATTERNS: dict[str, tuple[str, ...]] = {
    "tar": ("*.tar", "*.tar.*", "*.tgz", "*.tbz2", "*.txz"),
    "pg_dump": ("*.dump*", "*.sql*", "*.pgdump*", "*.backup"),
    "mariadb_dump": ("*.sql*", "*.dump*"),
}
"""Names of backups, by tool, where the settings say none (``pattern``)."""
_UNFINISHED = (".part", ".partial", ".tmp", ".inprogress", ".new")


def newest_files(trial: Trial, patterns: Sequence[str], *, folders: bool = False) -> Snapshot:
    """The newest backup in ``repository``: with several ``databases``, the newest of each. Flaw when there is none."""
    chosen = choose(trial.backup, patterns, folders=folders)
    for path in chosen:
        if path.is_file() and path.stat().st_size == 0:
            raise Flaw(f"{path} is empty")
    # The oldest of them is how far back one would fall.
    at = datetime.fromtimestamp(min(map(_modified, chosen)), UTC)
    return Snapshot(id=", ".join(path.name for path in chosen)[:200], at=at, places=tuple(chosen))


def choose(backup: BackupSetting, patterns: Sequence[str], *, folders: bool = False) -> list[Path]:
    """The newest backup; with several databases the newest of each. Flaw when there is none."""
    wanted = backup.databases
    found = candidates(backup, patterns, folders=folders)
    groups: list[tuple[str, list[Path]]] = [("", found)]
    if len(wanted) > 1 or any(_names(path, name) for name in wanted for path in found):
        groups = [(name, [path for path in found if _names(path, name)]) for name in wanted]
    chosen: list[Path] = []
    for name, paths in groups:
        if not paths:
            of = f" of {name}" if name else ""
            raise Flaw(f"there is no backup{of} in {backup.repository}")
        chosen.append(max(paths, key=_modified))
    return list(dict.fromkeys(chosen))


def written_files(backup: BackupSetting) -> list[Path]:
    """The files of the newest backup, where backups of its tool are files; none for other tools."""
    patterns = FILE_PATTERNS.get(backup.tool)
    return [] if patterns is None else [path for path in choose(backup, patterns) if path.is_file()]


def candidates(backup: BackupSetting, patterns: Sequence[str], *, folders: bool = False) -> list[Path]:
    """Files (or folders) in ``repository`` that may be backups. Flaw when it cannot be looked into."""
    top = Path(backup.repository)
    own = (backup.pattern,) if backup.pattern else tuple(patterns)
    try:
        if top.is_file():
            return [top]
        names = os.listdir(top)  # noqa: PTH208
    except OSError as error:
        raise Flaw(f"{top} cannot be looked into: {error.strerror}") from None
    return [
        top / name
        for name in sorted(names)
        if any(fnmatch.fnmatchcase(name, each) for each in own)
        and not name.endswith(_UNFINISHED)
        and ((top / name).is_dir() if folders else (top / name).is_file())
    ]


def require_as_written(trial: Trial, snapshot: Snapshot) -> None:
    """Flaw when a file is not what the backup wrote, where its hash was taken then."""
    if trial.manifest is None:
        return
    for place in snapshot.places:
        noted = trial.manifest.artifacts.get(str(place))
        if noted is None:
            continue
        try:
            digest = file_digest(place)
        except OSError as error:
            raise Flaw(f"{place} cannot be read: {error.strerror}") from None
        if digest != noted.sha256:
            raise Flaw(f"{place} is not what the backup wrote: its hash differs from the one taken then")
        trial.words.append(f"{place.name} is as it was written")


def _modified(path: Path) -> float:
    return path.stat().st_mtime


def _names(path: Path, database: str) -> bool:
    return database.casefold() in path.name.casefold()
