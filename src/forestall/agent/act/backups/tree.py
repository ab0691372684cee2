"""Backups that are plain files in folders: rsync, rsnapshot, btrfs snapshots. Restoring them is copying."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from forestall.agent.act.backups.content import Entry, Flaw, Snapshot, place_origins
from forestall.agent.act.backups.trial import Copier, Kit, Trial


class _Tree(Kit):
    levels = ("integrity", "sample", "whole", "database", "application")

    def newest(self, trial: Trial) -> Snapshot:
        top = Path(trial.backup.repository)
        folders = self.snapshots(trial, top)
        if not folders:
            raise Flaw(f"there is no snapshot in {top}")
        at, folder = max((self.made_at(trial, each), each) for each in folders)
        return Snapshot(id=folder.name if folder != top else str(top), at=at, places=(folder,))

    def snapshots(self, trial: Trial, top: Path) -> list[Path]:
        """The folders of which each is a whole backup."""
        names = _names(top)
        if trial.backup.pattern:
            return [
                top / name
                for name in names
                if fnmatch.fnmatchcase(name, trial.backup.pattern) and _is_folder(top / name)
            ]
        return [top]

    def made_at(self, trial: Trial, folder: Path) -> datetime:
        """When it was made: the time of the folder itself where each snapshot has one, else of the newest change.

        rsync gives a folder the time of the original; when something was last written into it, its inode tells. A run
        that found nothing to copy changes nothing: then our own record of that run counts.
        """
        status = folder.stat()
        if folder != Path(trial.backup.repository):
            return datetime.fromtimestamp(max(status.st_mtime, status.st_ctime), UTC)
        newest = max((found.st_ctime for _, found in _walk(folder)), default=status.st_ctime)
        at = datetime.fromtimestamp(max(newest, status.st_ctime), UTC)
        return max(at, trial.last_run_at) if trial.last_run_at is not None else at

    def integrity(self, trial: Trial, snapshot: Snapshot) -> None:
        """Every file can be read; where the tree is larger than may be read, as many as that is."""
        (folder,) = snapshot.places
        left = trial.scratch.most_bytes if trial.level == "integrity" else 0
        read = files = 0
        for path, status in _walk(folder):
            trial.ctx.require_time()
            files += 1
            try:
                with path.open("rb") as file:
                    if left > status.st_size:
                        size = _read(file.fileno())
                        left -= size
                        read += size
                        if size != status.st_size:
                            raise Flaw(f"{path} ends after {size} of {status.st_size} bytes")
            except OSError as error:
                raise Flaw(f"{path} cannot be read: {error.strerror}") from None
        trial.words.append(f"{files} files can be opened" + (f", {read} bytes of them were read" if read else ""))

    def contents(self, trial: Trial, snapshot: Snapshot) -> list[Entry]:
        (folder,) = snapshot.places
        entries = [
            Entry(path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns)
            for path, status in _walk(folder)
        ]
        place_origins(entries, trial.backup.paths, absolute=False)
        return entries

    def restore(self, trial: Trial, snapshot: Snapshot, entries: Sequence[Entry] | None) -> None:
        (folder,) = snapshot.places
        copier = Copier(trial)
        for entry in self.contents(trial, snapshot) if entries is None else entries:
            target = trial.scratch.restored / entry.path
            target.parent.mkdir(parents=True, exist_ok=True)
            copier.copy(folder / entry.path, target)


class _Rsnapshot(_Tree):
    def snapshots(self, trial: Trial, top: Path) -> list[Path]:
        """rsnapshot numbers them: ``daily.0`` is the newest of its kind; below each, a folder for each machine."""
        if trial.backup.pattern:
            return super().snapshots(trial, top)
        newest = [top / name for name in _names(top) if name.endswith(".0") and _is_folder(top / name)]
        inner = [each / trial.backup.job for each in newest] if trial.backup.job else newest
        if any(not each.is_dir() for each in inner):
            raise Flaw(f"{inner[0]} is not there")
        return inner

    def made_at(self, trial: Trial, folder: Path) -> datetime:
        # rsnapshot touches the folder at the end of its run; renaming it later changes the inode alone.
        of = folder.parent if trial.backup.job else folder
        return datetime.fromtimestamp(of.stat().st_mtime, UTC)

    def contents(self, trial: Trial, snapshot: Snapshot) -> list[Entry]:
        entries = super().contents(trial, snapshot)
        if not trial.backup.job:
            # ``localhost/etc/…``: the first part is the machine, or the name that the configuration gives the place.
            plain = [Entry(entry.path.partition("/")[2], entry.size, entry.modified_ns) for entry in entries]
            place_origins(plain, trial.backup.paths, absolute=False)
            for entry, found in zip(entries, plain, strict=True):
                entry.origin = found.origin
        return entries


class _Btrfs(_Tree):
    def snapshots(self, trial: Trial, top: Path) -> list[Path]:
        if trial.backup.pattern:
            return super().snapshots(trial, top)
        # The inode of a subvolume's top is always 256.
        return [top / name for name in _names(top) if _is_folder(top / name) and (top / name).stat().st_ino == 256]

    def made_at(self, trial: Trial, folder: Path) -> datetime:
        done = trial.require(trial.run(["btrfs", "subvolume", "show", str(folder)]), f"{folder} is no snapshot")
        for line in done.output.decode(errors="replace").splitlines():
            name, _, value = line.strip().partition(":")
            if name == "Creation time":
                return datetime.strptime(value.strip(), "%Y-%m-%d %H:%M:%S %z").astimezone(UTC)
        raise Flaw(f"btrfs does not say when {folder} was made")


RSYNC, RSNAPSHOT, BTRFS = _Tree(), _Rsnapshot(), _Btrfs()


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Plain files below a folder. Flaw when a folder cannot be looked into."""

    def refuse(error: OSError) -> None:
        raise Flaw(f"{error.filename} cannot be looked into: {error.strerror}")

    for top, folders, files in os.walk(folder, onerror=refuse):
        folders.sort()
        for name in sorted(files):
            path = Path(top, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                yield path, status


def _read(descriptor: int) -> int:
    size = 0
    while part := os.read(descriptor, 1024 * 1024):
        size += len(part)
    return size


def _names(top: Path) -> list[str]:
    try:
        return sorted(os.listdir(top))  # noqa: PTH208
    except OSError as error:
        raise Flaw(f"{top} cannot be looked into: {error.strerror}") from None


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
