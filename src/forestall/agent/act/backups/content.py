"""What is in a backup, and whether it comes back as it was: by hashes of that time, or by live, unchanged files."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from forestall.agent.act.backups.manifest import Manifest, file_digest, left_out, protected_files
from forestall.agent.act.context import ActionFailed, Context

MOST_DIFFERENCES = 50
_EVEN_NS = 1_000_000_000
"""Formats keep whole seconds, microseconds or nanoseconds: times that differ by less than a second are the same."""


class Flaw(Exception):  # noqa: N818 - read as a sentence: raise Flaw
    """The backup was tried and found wanting. The sentence is for people."""

    def __init__(self, sentence: str, differences: Iterable[str] = ()) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.differences = tuple(differences)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The backup that is put to the proof."""

    id: str
    at: datetime
    paths: tuple[str, ...] = ()
    """Absolute paths that it was made of, where it says so."""
    places: tuple[Path, ...] = ()
    """Where it lies, for one that is a file or a folder."""


@dataclass(slots=True)
class Entry:
    """A plain file in a backup."""

    path: str
    """In the backup, without a slash in front; below the folder of the restore it has the same."""
    size: int
    modified_ns: int | None = None
    origin: str = ""
    """Where it stands on this machine; empty: that cannot be told."""


@dataclass(slots=True)
class Comparison:
    """How what came back compares with what was backed up."""

    manifest: Manifest | None
    snapshot_at: datetime
    files: int = 0
    compared: int = 0
    bytes: int = 0
    by_manifest: int = 0
    differing: int = 0
    differences: list[str] = field(default_factory=list)

    def differs(self, path: str, why: str) -> None:
        self.differing += 1
        if len(self.differences) < MOST_DIFFERENCES:
            self.differences.append(readable(f"{path}: {why}"))

    def names(self, entries: Sequence[Entry], paths: Iterable[str], exclude: Sequence[str]) -> None:
        """What the backup should hold by name and size, and does not: no restore is needed to see that."""
        held = {entry.origin: entry for entry in entries if entry.origin}
        live = [path for path, _ in protected_files(paths, exclude)] if self.manifest is None else self.manifest.files
        _require_matching(entries, held, live)
        if self.manifest is not None:
            for path, noted in self.manifest.files.items():
                entry = held.get(path)
                if entry is None:
                    if not left_out(path, exclude):
                        self.differs(path, "was there at backup time and is not in the backup")
                elif entry.size != noted.size:
                    self.differs(path, f"has {entry.size} bytes in the backup, {noted.size} at backup time")
            return
        for path, status in protected_files(paths, exclude):
            # In place before the backup began: its inode has not changed since.
            if path not in held and status.st_ctime < self.snapshot_at.timestamp() - 1:
                self.differs(path, "has been there since before the backup and is not in it")

    def expected(self, entry: Entry) -> tuple[str, bool] | None:
        """The hash that the file must have, and whether it was taken at backup time; None: nobody knows."""
        if self.manifest is not None and (noted := self.manifest.files.get(entry.origin)) is not None:
            return noted.sha256, True
        if not entry.origin:
            return None
        try:
            status = os.lstat(entry.origin)
            if not stat.S_ISREG(status.st_mode) or not self.is_unchanged(entry, status):
                return None
            return file_digest(Path(entry.origin)), False
        except OSError:
            return None

    def is_unchanged(self, entry: Entry, status: os.stat_result) -> bool:
        """Whether the live file is still the one that was backed up: same size and time, inode untouched since."""
        return (
            status.st_size == entry.size
            and status.st_ctime <= self.snapshot_at.timestamp()
            and (entry.modified_ns is None or abs(status.st_mtime_ns - entry.modified_ns) < _EVEN_NS)
        )

    def can_compare(self, entry: Entry) -> bool:
        if self.manifest is not None and entry.origin in self.manifest.files:
            return True
        try:
            status = os.lstat(entry.origin) if entry.origin else None
        except OSError:
            return False
        return status is not None and stat.S_ISREG(status.st_mode) and self.is_unchanged(entry, status)

    def files_in(self, restored: Path, entries: Iterable[Entry], ctx: Context) -> None:
        """Compare restored files. ActionFailed ``timed_out``."""
        for entry in entries:
            ctx.require_time()
            path = restored / entry.path
            name = entry.origin or entry.path
            try:
                status = path.lstat()
                if not stat.S_ISREG(status.st_mode):
                    self.differs(name, "came back as something else than a file")
                    continue
                digest = file_digest(path)
            except FileNotFoundError:
                self.differs(name, "did not come back")
                continue
            except OSError as error:
                self.differs(name, f"came back and cannot be read: {error.strerror}")
                continue
            self.files += 1
            self.bytes += status.st_size
            if status.st_size != entry.size:
                self.differs(name, f"came back with {status.st_size} bytes, the backup lists {entry.size}")
                continue
            expected = self.expected(entry)
            if expected is None:
                continue
            self.compared += 1
            self.by_manifest += expected[1]
            if digest != expected[0]:
                zeroed = " and holds only zeros" if status.st_size and _only_zeros(path) else ""
                since = "at backup time" if expected[1] else "in the live, unchanged file"
                self.differs(name, f"came back with another content than {since}{zeroed}")

    def sample(self, entries: Sequence[Entry], count: int, most_bytes: int, chance: random.Random) -> list[Entry]:
        """Files to restore: at random, those first that can be compared, together no more than ``most_bytes``."""
        shuffled = chance.sample(range(len(entries)), len(entries))
        chosen: list[Entry] = []
        others: list[Entry] = []
        left = most_bytes
        for number in shuffled:
            entry = entries[number]
            if entry.size > left:
                continue
            if self.can_compare(entry):
                chosen.append(entry)
                left -= entry.size
            elif len(others) < count:
                others.append(entry)
            if len(chosen) >= count:
                break
        for entry in others:
            if len(chosen) < count and entry.size <= left:
                chosen.append(entry)
                left -= entry.size
        return chosen


def _require_matching(entries: Sequence[Entry], held: Container[str], protected: Iterable[str]) -> None:
    """ActionFailed ``nothing_to_compare`` when the backup has the same files under other paths: of a mounted snapshot,
    say. That is no fault of the backup, and it cannot be told which file is which."""
    names = {entry.path.rpartition("/")[2] for entry in entries}
    known = 0
    for path in protected:
        if path in held:
            return
        known += path.rpartition("/")[2] in names
    if known > len(names) / 2:
        raise ActionFailed(
            "nothing_to_compare",
            f"the backup has its files under other paths than those of this machine ({entries[0].path}); "
            "say in paths where they stand here",
        )


def place_origins(entries: Sequence[Entry], paths: Sequence[str], *, absolute: bool = True) -> None:
    """Say where each file stands on this machine.

    A backup keeps full paths (``srv/www/a``), names relative to the folder above (``www/a``), or to the folder itself
    (``a``); which of these is told by what is protected. ``absolute``: without any path told, full paths are meant.
    """
    if not paths:
        if absolute:
            for entry in entries:
                entry.origin = f"/{entry.path}"
        return
    prefixes: list[tuple[str, str]] = []
    for path in paths:
        top = os.path.normpath(path)
        full, name = top.lstrip("/"), top.rpartition("/")[2]
        if any(_is_at(entry.path, full) for entry in entries):
            prefixes.append((full, top))
        elif name and any(_is_at(entry.path, name) for entry in entries):
            prefixes.append((name, top))
        elif len(paths) == 1:
            prefixes.append(("", top))
    prefixes.sort(key=lambda each: -len(each[0]))
    for entry in entries:
        for prefix, top in prefixes:
            if _is_at(entry.path, prefix):
                entry.origin = f"{top}/{entry.path[len(prefix) :].lstrip('/')}".rstrip("/")
                break


def readable(text: str) -> str:
    """Without the bytes of names that are no UTF-8: nothing that is signed or sent may hold them."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


def _is_at(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(f"{prefix}/")


def _only_zeros(path: Path) -> bool:
    with path.open("rb") as file:
        while part := file.read(1024 * 1024):
            if part.count(0) != len(part):
                return False
    return True
