"""Hashes taken at backup time: what a restore is compared with, however old the backup has become.

``forestall agent backup NAME`` takes them before the backup's own command runs, and looks again after it: only files
that stood still in between are noted, for these alone are in the backup as they were. A file whose size, times and
inode are those of the last manifest keeps its hash and is not read again, so that a daily manifest costs as little as
a daily backup. The files are kept in ``backup-manifests/NAME`` in the agent's folder, for its owner alone.
"""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import os
import stat
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.backup_settings import BackupSetting
from forestall.agent.config import file_write

FOLDER_NAME = "backup-manifests"
KEPT = 30
"""Manifests of one backup."""
MOST_FILES = 2_000_000
MOST_SECONDS = 1800.0
"""Of reading files anew; a quarter of the time that the backup has, when that is shorter."""
_CACHE_MARK = "CACHEDIR.TAG"
SLACK = timedelta(minutes=5)
"""By which clocks may differ between this machine and what stamps the snapshot."""


class Noted(msgspec.Struct, frozen=True, array_like=True):
    """A file at backup time."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    began_at: datetime
    """The backup's command was started."""
    ended_at: datetime
    files: dict[str, Noted]
    """By path, of what is protected."""
    artifacts: dict[str, Noted] = {}
    """By path, of the files that the backup wrote: a dump, an archive."""
    tables: dict[str, int] = {}
    """Rows by table, of databases whose numbers were the same before and after."""


def take(backup: BackupSetting, ctx: Context, *, known: dict[str, Noted]) -> dict[str, Noted]:
    """The files that the backup protects, as they are now. ActionFailed ``timed_out``.

    What cannot be hashed in the time for that is left for the next run: the backup itself must not wait for long.
    """
    found: dict[str, Noted] = {}
    until = time.monotonic() + min(MOST_SECONDS, ctx.seconds_left / 4)
    for path, status in protected_files(backup.paths, backup.exclude):
        ctx.require_time()
        if not path.isprintable() and "\ufffd" in path.encode(errors="surrogateescape").decode(errors="replace"):
            continue  # a name that is no UTF-8 cannot be written down
        before = known.get(path)
        if before is not None and same(before, status):
            found[path] = before
            continue
        if time.monotonic() > until:
            continue
        try:
            digest = file_digest(Path(path))
        except OSError:
            continue  # gone or forbidden meanwhile: it cannot be vouched for
        found[path] = note(status, digest)
        if len(found) > MOST_FILES:
            raise ActionFailed("too_many_files", f"more than {MOST_FILES} files to hash; name fewer paths")
    return found


def steady(files: dict[str, Noted]) -> dict[str, Noted]:
    """Those that are still as they were noted."""
    kept = {}
    for path, noted in files.items():
        try:
            if same(noted, os.lstat(path)):
                kept[path] = noted
        except OSError:
            continue  # gone meanwhile
    return kept


def same(noted: Noted, status: os.stat_result) -> bool:
    """Whether a file was neither written nor replaced since it was noted."""
    return (noted.size, noted.modified_ns, noted.changed_ns, noted.inode) == (
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
    )


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hex; the link itself is never followed. OSError when it cannot be read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def note(status: os.stat_result, digest: str) -> Noted:
    return Noted(
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        changed_ns=status.st_ctime_ns,
        inode=status.st_ino,
        sha256=digest,
    )


def protected_files(paths: Iterable[str], exclude: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Plain files below ``paths`` that a backup should hold: on the same volume, not left out, in no cache folder."""
    patterns = tuple(exclude)
    for top in paths:
        top = os.path.normpath(top)
        try:
            status = os.lstat(top)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            yield top, status
        elif stat.S_ISDIR(status.st_mode):
            yield from _files_below(top, status.st_dev, patterns)


def left_out(path: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern names this path, or its last part."""
    name = path.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(path, each) or fnmatch.fnmatchcase(name, each) for each in patterns)


def _files_below(folder: str, device: int, patterns: tuple[str, ...]) -> Iterator[tuple[str, os.stat_result]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    if any(entry.name == _CACHE_MARK for entry in entries):
        return
    for entry in entries:
        if patterns and left_out(entry.path, patterns):
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            yield entry.path, status
        elif stat.S_ISDIR(status.st_mode) and status.st_dev == device:
            yield from _files_below(entry.path, device, patterns)


def keep(agent_home: Path, name: str, manifest: Manifest) -> Path:
    """Write a manifest down, and drop the oldest beyond ``KEPT``."""
    folder = _folder(agent_home, name)
    path = folder / f"{manifest.began_at:%Y%m%dT%H%M%S.%fZ}.json.gz"
    file_write(str(path), gzip.compress(msgspec.json.encode(manifest), mtime=0))
    for old in _files(folder)[KEPT:]:
        old.unlink()
    return path


def newest(agent_home: Path, name: str) -> Manifest | None:
    """The newest manifest of a backup that can be read."""
    return next(_read_all(agent_home, name), None)


def of_snapshot(agent_home: Path, name: str, at: datetime) -> Manifest | None:
    """The manifest of the run that made the snapshot of this time."""
    near: Manifest | None = None
    for manifest in _read_all(agent_home, name):
        if manifest.began_at <= at <= manifest.ended_at:
            return manifest
        if near is None and manifest.began_at - SLACK <= at <= manifest.ended_at + SLACK:
            near = manifest
    return near


def _read_all(agent_home: Path, name: str) -> Iterator[Manifest]:
    """Newest first; a damaged one is passed over: it vouches for nothing."""
    for path in _files(_folder(agent_home, name)):
        try:
            yield msgspec.json.decode(gzip.decompress(path.read_bytes()), type=Manifest)
        except (OSError, EOFError, msgspec.DecodeError):
            continue


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json.gz"), reverse=True)


def _folder(agent_home: Path, name: str) -> Path:
    # Names come from the settings and may hold anything but a control character.
    safe = "".join(each if each.isalnum() or each in "-_" else f"%{ord(each):02x}" for each in name)
    return agent_home / FOLDER_NAME / safe
