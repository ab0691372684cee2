"""Deleting old files below a folder, safely against whoever else may write there.

Everything is reached from an open folder by name, links are never followed, no other file system is entered (a bind
mount of the same one neither), and only plain files that nobody has open are deleted. In a folder that an attacker
may write to, the worst that a race can do is to have the attacker's own entry of that folder deleted: ``unlink``
takes a name out of the folder that is held open, wherever that has been moved since.
"""

from __future__ import annotations

import fnmatch
import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from forestall.agent.act.context import ActionFailed, Context

MAX_FILES = 500_000
"""Most files deleted in one step."""
MAX_DEPTH = 64
SPARED = (".X11-unix", ".ICE-unix", ".XIM-unix", ".font-unix", ".X*-lock", "systemd-private-*", "snap-private-tmp")
"""Names in temporary folders that belong to running programs whatever their age (as systemd-tmpfiles spares them)."""
EVERY_NAME = ("*",)


@dataclass(slots=True)
class Swept:
    """What was deleted so far."""

    files: int = 0
    bytes: int = 0
    folders: int = 0
    in_use: int = 0
    """Old files left alone because a program has them open."""
    denied: int = 0
    """Old files or folders the system did not let us touch."""
    dry_run: bool = False
    """Only counted, nothing deleted."""
    cut_short: bool = False
    """``MAX_FILES`` was reached."""
    places: list[str] = field(default_factory=list)

    def changed(self) -> dict[str, int]:
        return {} if self.dry_run else {"files": self.files, "bytes": self.bytes, "folders": self.folders}

    def words(self) -> str:
        """One line for people."""
        line = f"{'would delete' if self.dry_run else 'deleted'} {self.files} files, {size_in_words(self.bytes)}"
        if self.in_use:
            line += f"; {self.in_use} old files are in use and stay"
        if self.denied:
            line += f"; {self.denied} could not be touched"
        if self.cut_short:
            line += f"; stopped at {MAX_FILES} files"
        return line


def size_in_words(size: int) -> str:
    """``1.2 GB``."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def require_allowed(folder: str, allowed: Sequence[str]) -> None:
    """ActionFailed unless ``folder`` is one of ``allowed`` or below one."""
    if not folder.startswith("/") or folder.startswith("//") or posixpath.normpath(folder) != folder:
        raise ActionFailed("folder_not_allowed", f"{folder!r} is not an absolute path in its shortest form")
    if not is_below(folder, allowed):
        raise ActionFailed("folder_not_allowed", f"{folder} is not below {', '.join(allowed)}")


def is_below(folder: str, roots: Sequence[str]) -> bool:
    return any(folder == root or folder.startswith(f"{root.rstrip('/')}/") for root in roots)


def sweep(
    folder: str,
    *,
    older_than_seconds: float,
    now: float,
    patterns: Sequence[str],
    ctx: Context,
    swept: Swept,
    in_use: frozenset[tuple[int, int]],
    spared: Sequence[str] = (),
) -> None:
    """Delete the old plain files below ``folder``, adding to ``swept``; in a dry run count them only.

    A file is old when it was neither changed nor read for ``older_than_seconds``: an unpacked archive has old
    modification times although it has only just arrived. Folders that are old and become empty go too; ``folder``
    itself stays. ``now`` in Unix seconds; ``in_use`` from ``open_files``.
    """
    top = open_folder(folder)
    swept.places.append(folder)
    try:
        mount = _mount_of(top)
        _sweep_folder(
            top,
            mount=mount,
            before=now - older_than_seconds,
            patterns=patterns,
            ctx=ctx,
            swept=swept,
            in_use=in_use,
            spared=spared,
            depth=0,
        )
    finally:
        os.close(top)


def _last_touched(found: os.stat_result) -> float:
    """When a file was last read, changed or put here (Unix seconds).

    The change time of the inode counts too, as for systemd-tmpfiles: what was copied or unpacked a moment ago with the
    old times of its originals has just arrived.
    """
    return max(found.st_mtime, found.st_atime, found.st_ctime)


def _sweep_folder(
    descriptor: int,
    *,
    mount: tuple[int, str],
    before: float,
    patterns: Sequence[str],
    ctx: Context,
    swept: Swept,
    in_use: frozenset[tuple[int, int]],
    spared: Sequence[str],
    depth: int,
) -> None:
    try:
        names = os.listdir(descriptor)
    except OSError:
        swept.denied += 1
        return
    for name in names:
        ctx.require_time(swept.changed())
        if swept.files >= MAX_FILES:
            swept.cut_short = True
            return
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in spared):
            continue
        try:
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except OSError:
            continue  # gone meanwhile: not ours to delete any more
        old = _last_touched(found) < before
        if stat.S_ISDIR(found.st_mode):
            if found.st_dev != mount[0] or depth >= MAX_DEPTH:
                continue
            # Its own times change as we empty it; and reading a folder is no sign of use.
            folder_old = found.st_mtime < before
            try:
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            except OSError:
                swept.denied += 1
                continue
            deleted_before = swept.files
            try:
                if _mount_of(inner) != mount:
                    continue
                _sweep_folder(
                    inner,
                    mount=mount,
                    before=before,
                    patterns=patterns,
                    ctx=ctx,
                    swept=swept,
                    in_use=in_use,
                    spared=spared,
                    depth=depth + 1,
                )
            finally:
                os.close(inner)
            if folder_old and swept.files > deleted_before and not ctx.dry_run:
                swept.folders += _remove_if_empty(name, descriptor)
            continue
        if not old or not stat.S_ISREG(found.st_mode):
            continue
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            continue
        if (found.st_dev, found.st_ino) in in_use:
            swept.in_use += 1
            continue
        try:
            if not ctx.dry_run:
                os.unlink(name, dir_fd=descriptor)
        except FileNotFoundError:
            continue
        except OSError:
            swept.denied += 1
            continue
        swept.files += 1
        # A file with other names keeps its space.
        swept.bytes += found.st_blocks * 512 if found.st_nlink == 1 else 0


def _remove_if_empty(name: str, descriptor: int) -> int:
    try:
        os.rmdir(name, dir_fd=descriptor)
    except OSError:
        return 0  # not empty: it still holds what is young, spared or in use
    return 1


def open_folder(folder: str) -> int:
    """An open descriptor of ``folder``, reached from ``/`` without following links. ActionFailed when there is one."""
    descriptor = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    for part in [part for part in folder.split("/") if part]:
        try:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
        except FileNotFoundError:
            raise ActionFailed("folder_missing", f"{folder} does not exist") from None
        except OSError as error:
            raise ActionFailed(
                "folder_not_allowed", f"{folder}: {part} is a link, no folder, or denied ({error.strerror})"
            ) from None
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def _mount_of(descriptor: int) -> tuple[int, str]:
    """Device number and mount id: a bind mount of the same file system has the same number and another id."""
    identifier = ""
    try:
        for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii").splitlines():
            if line.startswith("mnt_id:"):
                identifier = line.split()[1]
    except OSError:
        pass  # no /proc: the device number alone must do
    return os.fstat(descriptor).st_dev, identifier


def open_files() -> frozenset[tuple[int, int]]:
    """(device, inode) of every file that any program we may look at has open."""
    return frozenset(_open_files())


def _open_files() -> Iterator[tuple[int, int]]:
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - hundreds of folders: no Path object each
    except OSError:
        return
    for process in filter(str.isdecimal, names):
        folder = f"/proc/{process}/fd"
        try:
            descriptors = os.listdir(folder)  # noqa: PTH208
        except OSError:
            continue  # ended meanwhile, or another user's and we are not root
        for descriptor in descriptors:
            try:
                found = os.stat(f"{folder}/{descriptor}")  # noqa: PTH116
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode):
                yield found.st_dev, found.st_ino


def device_of(path: str) -> int:
    """The device number of the file system that holds ``path``. ActionFailed when there is no such path."""
    try:
        return Path(path).lstat().st_dev
    except OSError as error:
        raise ActionFailed("folder_missing", f"{path}: {error.strerror}") from None
