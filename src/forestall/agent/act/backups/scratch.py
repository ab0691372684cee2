"""The folder in which a restore test works: private, bounded, and gone afterwards.

``restore-tests`` in the agent's folder (else the folder that ``scratch`` of the backup's settings names) holds one
folder for each test that runs. Its ``lock`` is held by the test: what is found there unlocked was left behind by one
that was killed, and is removed, with the programs it had started, before the next begins.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forestall.agent.act.context import ActionFailed
from forestall.agent.act.sweep import size_in_words

FOLDER_NAME = "restore-tests"
RESERVE_BYTES = 256 * 1024 * 1024
"""Space that a restore test leaves free on its volume, whatever it may take."""
RESERVE_SHARE = 0.02
"""The same as a share of the volume; the larger of both counts, up to ``RESERVE_MOST``."""
RESERVE_MOST = 8 * 1024 * 1024 * 1024
_LOCK, _PIDS, _FOLDERS = "lock", "pids", "folders"


class Scratch:
    """One test's folder. ``restored`` takes what is restored, ``work`` whatever else the test needs."""

    def __init__(self, folder: Path, *, most_bytes: int, reserve_bytes: int) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        self.reserve_bytes = reserve_bytes
        self.restored = folder / "restored"
        self.work = folder / "work"

    def require(self, size: int) -> None:
        """ActionFailed ``too_large`` or ``no_space`` unless a restore of ``size`` bytes may begin."""
        if size > self.most_bytes:
            raise ActionFailed(
                "too_large",
                f"the restore would take {size_in_words(size)}; at most {size_in_words(self.most_bytes)} are allowed",
            )
        free = self._free()
        if size + self.reserve_bytes > free:
            raise ActionFailed(
                "no_space",
                f"the restore would take {size_in_words(size)}; {self.folder.parent} has {size_in_words(free)} free, "
                f"of which {size_in_words(self.reserve_bytes)} stay",
            )

    def watch(self, written: int) -> None:
        """While it runs: ActionFailed once more was written than was allowed, or the volume fills up."""
        # A tool writes some bytes of its own beside what it restores.
        if written > self.most_bytes * 1.05 + 16_000_000:
            raise ActionFailed(
                "too_large",
                f"the restore was ended after {size_in_words(written)}; "
                f"at most {size_in_words(self.most_bytes)} are allowed",
            )
        if self._free() < self.reserve_bytes:
            raise ActionFailed("no_space", f"the restore was ended: {self.folder.parent} was about to fill up")

    def note_process(self, pid: int) -> None:
        """Remember a server that was started, so that it is found even when this process is killed."""
        with (self.folder / _PIDS).open("a", encoding="ascii") as file:
            file.write(f"{pid} {_start_of(pid)}\n")

    def note_folder(self, folder: Path) -> None:
        """The same for a folder elsewhere that goes with this one."""
        with (self.folder / _FOLDERS).open("a", encoding="utf-8") as file:
            file.write(f"{folder}\n")

    def _free(self) -> int:
        room = os.statvfs(self.folder)
        return room.f_bavail * room.f_frsize


@contextmanager
def scratch_folder(base: Path, *, name: str, most_bytes: int, reserve_bytes: int | None = None) -> Iterator[Scratch]:
    """A folder below ``base`` that nobody else can look into; removed at the end, however that comes.

    ActionFailed ``scratch_wrong`` when ``base`` cannot be used.
    """
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_private(base)
        sweep_leftovers(base)
        folder = base / f"{''.join(each if each.isalnum() else '-' for each in name)[:40]}-{secrets.token_hex(4)}"
        # Others may pass through (a database runs as somebody without rights), and see no names.
        folder.mkdir(mode=0o711)
        folder.chmod(0o711)
    except OSError as error:
        raise ActionFailed("scratch_wrong", f"no folder for restore tests in {base}: {error.strerror}") from None
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        room = os.statvfs(folder)
        if reserve_bytes is None:
            share = int(room.f_blocks * room.f_frsize * RESERVE_SHARE)
            reserve_bytes = min(max(RESERVE_BYTES, share), RESERVE_MOST)
        scratch = Scratch(folder, most_bytes=most_bytes, reserve_bytes=reserve_bytes)
        scratch.restored.mkdir(mode=0o700)
        scratch.work.mkdir(mode=0o700)
        yield scratch
    finally:
        _remove(folder)
        os.close(descriptor)


def sweep_leftovers(base: Path) -> int:
    """Remove what restore tests that were killed have left in ``base``. How many folders that were."""
    removed = 0
    try:
        folders = [each for each in base.iterdir() if each.is_dir() and not each.is_symlink()]
    except FileNotFoundError:
        return 0
    for folder in folders:
        try:
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            # Made this very moment by another test, or by somebody else: only ours have a lock.
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # its test runs
        finally:
            os.close(descriptor)
        _remove(folder)
        removed += 1
    return removed


def _remove(folder: Path) -> None:
    _end_processes(folder)
    if (folder / _FOLDERS).exists():
        for other in (folder / _FOLDERS).read_text(encoding="utf-8").splitlines():
            shutil.rmtree(other, ignore_errors=True)
    for _ in range(3):
        shutil.rmtree(folder, onerror=_allow)
        if not folder.exists():
            return
        time.sleep(0.1)  # a server that has just ended may still have written
    shutil.rmtree(folder)  # says what is in the way


def _allow(function: object, path: str, error: object) -> None:
    """A restored folder may forbid its own owner to write: not in here."""
    for each in (os.path.dirname(path), path):  # noqa: PTH120
        try:
            if not os.path.islink(each):  # noqa: PTH114
                os.chmod(each, 0o700)  # noqa: PTH101
        except OSError:
            continue  # gone, or not ours: the last attempt will say so


def _end_processes(folder: Path) -> None:
    try:
        lines = (folder / _PIDS).read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        pid, _, start = line.partition(" ")
        # The number may belong to another process by now; its start time tells.
        if start and _start_of(int(pid)) == start:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue


def _start_of(pid: int) -> str:
    """When a process started, in the kernel's ticks; empty: there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]


def _require_private(base: Path) -> None:
    """Nobody else may change what stands in the folder: a restore follows its names."""
    found = base.lstat()
    if found.st_uid not in (0, os.geteuid()) or (found.st_mode & 0o022 and not found.st_mode & 0o1000):
        raise ActionFailed("scratch_wrong", f"{base} belongs to somebody else, or others may write to it")
