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
        self._mount()

    def damage(self) -> None:
        room = os.statvfs(self._volume)
        wanted = int(room.f_blocks * room.f_frsize * FULL_SHARE) - (room.f_blocks - room.f_bavail) * room.f_frsize
        for number in range(wanted // CHUNK_BYTES):
            (self._volume / f"export-{number:03}.tmp").write_bytes(os.urandom(CHUNK_BYTES))
        self._age()

    def _age(self) -> None:
        """Make the files 30 days old in every respect. The time at which a file was put there is not to be set on a
        mounted volume, and the runbook spares what has just arrived."""
        names = sorted(path.name for path in self._volume.glob("export-*.tmp"))
        old = time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() - OLD_SECONDS))
        run(["umount", str(self._volume)])
        commands = self._image.with_suffix(".debugfs")
        fields = ("atime", "mtime", "ctime")
        commands.write_text("".join(f"sif /{name} {field} {old}\n" for name in names for field in fields))
        run(["debugfs", "-w", "-f", str(commands), str(self._image)])
        commands.unlink()
        self._mount()

    def _mount(self) -> None:
        run(["mount", "-o", "loop", str(self._image), str(self._volume)])

    def remove(self) -> None:
        if os.path.ismount(self._volume):
            run(["umount", str(self._volume)])
        if self._volume.exists():
            self._volume.rmdir()
        self._image.unlink(missing_ok=True)
        remove_folder(self._image.parent)
