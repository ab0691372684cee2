"""A small volume of its own that fills up with old temporary files."""

from __future__ import annotations

import os
import time
from pathlib import Path

from forestall.drills.fault import FOLDER, make_folder, remove_folder, require_program, require_root, run

SIZE_BYTES = 64 * 1024 * 1024
OLD_SECONDS = 30 * 86_400
FULL_SHARE = 0.95
CHUNK_BYTES = 1024 * 1024


class DiskFault:
    name = "disk"
    kind = "disk_space"
    runbook = "free-disk-space"
    parameter = "volume"

    def __init__(self, folder: Path = FOLDER) -> None:
        self._image = folder / "volume.img"
        self._volume = folder / "volume"
        self.target = str(self._volume)
        self.healthy_words = f"a {SIZE_BYTES // 2**20} MiB ext4 volume of its own, mounted on {self._volume}"
        self.broken_words = f"filled it to {FULL_SHARE:.0%} with temporary files that are 30 days old"

    def require(self) -> None:
        require_root("mounting a volume")
        require_program("mkfs.ext4", "e2fsprogs")

    def prepare(self) -> None:
        self.remove()
        make_folder(self._image.parent)
        with self._image.open("wb") as file:
            file.truncate(SIZE_BYTES)
        # No blocks held back for root: full means full.
        run(["mkfs.ext4", "-q", "-m", "0", str(self._image)])
        self._volume.mkdir(exist_ok=True)
        run(["mount", "-o", "loop", str(self._image), str(self._volume)])

    def damage(self) -> None:
        old = time.time() - OLD_SECONDS
        room = os.statvfs(self._volume)
        wanted = int(room.f_blocks * room.f_frsize * FULL_SHARE) - (room.f_blocks - room.f_bavail) * room.f_frsize
        for number in range(wanted // CHUNK_BYTES):
            path = self._volume / f"export-{number:03}.tmp"
            path.write_bytes(os.urandom(CHUNK_BYTES))
            os.utime(path, (old, old))

    def remove(self) -> None:
        if os.path.ismount(self._volume):
            run(["umount", str(self._volume)])
        if self._volume.exists():
            self._volume.rmdir()
        self._image.unlink(missing_ok=True)
        remove_folder(self._image.parent)
