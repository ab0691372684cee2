"""Backups that are files in a folder, one each: what they have in common, whatever wrote them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from forestall.agent.collect.backup_settings import parse_retention
from forestall.agent.collect.backups import places, traces
from forestall.agent.collect.backups.adapter import MOST_HISTORY, Candidate, Reading, of_history
from forestall.agent.collect.backups.common import series_of, stamp
from forestall.agent.collect.backups.memory import Remembered
from forestall.agent.collect.host import HostError
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import BackupSnapshot, BackupWarning

MOST_FILES = 5000
UNFINISHED = re.compile(r"(\.(part|partial|tmp|temp|new|incomplete|swp)|~)$", re.IGNORECASE)
_SAMPLE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """One file (or folder) of the backup."""

    name: str
    path: str
    at: datetime
    size: int
    is_dir: bool
    changed_ns: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """What the inside of one file says."""

    ok: bool | None = None
    """False: it is cut off or is not what it should be."""
    detail: str = ""
    at: datetime | None = None
    """The time that stands in it."""
    database: str = ""
    encrypted: bool = False
    """Encrypted on purpose, as its ending says."""
    kind: str = ""


def in_folder(
    notes: Notes, candidate: Candidate, *, patterns: Sequence[str], most: int = MOST_FILES, dirs: bool = False
) -> list[Kept]:
    """What the folder keeps, newest first: names that match the setting's pattern, else one of ``patterns``.

    Half-written files are left out. HostError when the folder cannot be read.
    """
    wanted = (candidate.setting.pattern,) if candidate.setting and candidate.setting.pattern else tuple(patterns)
    folder = candidate.path
    names = [name for name in notes.host.list_dir(folder) if any(fnmatchcase(name, pattern) for pattern in wanted)]
    if len(names) > most:
        notes.gap(f"backups in {folder}", f"{len(names)} files; the last {most} by name are looked at")
        names = names[-most:]
    found = []
    for name in names:
        path = f"{folder.rstrip('/')}/{name}"
        if UNFINISHED.search(name):
            continue
        try:
            status = notes.host.status(path)
        except HostError:
            continue  # removed while we looked
        if status.is_dir if dirs else status.is_file:
            kept = Kept(name, path, stamp(status.modified_ns), status.size, status.is_dir, status.changed_ns)
            found.append((status.modified_ns, name, kept))
    notes.used(f"files in {folder}")
    return [kept for _, _, kept in sorted(found, key=lambda each: each[:2], reverse=True)]


def read_files(
    notes: Notes,
    candidate: Candidate,
    remembered: Remembered,
    *,
    patterns: Sequence[str],
    look: Callable[[Notes, Kept], Look],
    chain: Callable[[Sequence[BackupSnapshot]], tuple[bool | None, str]] | None = None,
) -> Sequence[Reading]:
    """The reading of a folder in which each file is a backup."""
    if not candidate.path:
        return [Reading(unknown_why=f"repository: {candidate.location!r} is no folder of this device")]
    try:
        kept = in_folder(notes, candidate, patterns=patterns)
    except HostError as error:
        return [Reading(unknown_why="no such folder" if "does not exist" in error.why else error.why)]
    looks = {each.name: look(notes, each) for each in kept[:MOST_HISTORY]}
    series = series_of([each.name for each in kept])
    history = [
        BackupSnapshot(
            id=each.name,
            group=series.get(each.name, ""),
            at=looks[each.name].at or each.at if each.name in looks else each.at,
            size_bytes=each.size,
            stored_bytes=each.size,
            kind=looks[each.name].kind if each.name in looks else "",
        )
        for each in kept
    ]
    now = notes.host.now()
    retention = parse_retention(candidate.setting.retention if candidate.setting else "")
    warnings = [*remembered.saw(history, retention=retention, now=now), *traces.clock_wrong(history, now)]
    newest = looks[kept[0].name] if kept else Look()
    warnings += _random(notes, kept, looks, remembered)
    fields = of_history(history)
    if newest.ok is False:
        # The file is there, and is no backup: the last good one is the one before it.
        good = [each for each in history[:MOST_HISTORY] if looks[each.id].ok is not False]
        fields |= {
            "last_success_at": good[0].at if good else None,
            "last_run_at": history[0].at,
            "last_run_ok": False,
            "last_run_detail": f"{kept[0].name} {newest.detail}",
        }
    chain_ok, chain_detail = chain(history) if chain else (None, "")
    databases = dict.fromkeys(each.database for each in looks.values() if each.database)
    return [
        Reading(
            **(fields | places.of_folder(notes, candidate.path).fields()),  # type: ignore[arg-type]
            protects=tuple(databases),
            stored_bytes=sum(each.size for each in kept) if kept else None,
            chain_ok=chain_ok,
            chain_detail=chain_detail,
            encrypted=newest.encrypted if kept else None,
            warnings=tuple(warnings),
        )
    ]


def _random(notes: Notes, kept: Sequence[Kept], looks: dict[str, Look], remembered: Remembered) -> list[BackupWarning]:
    """The newest file is not what it should be any more, and its bytes look random."""
    if not kept or looks[kept[0].name].ok is not False or looks[kept[0].name].encrypted or kept[0].size < 4096:
        return []
    newest = kept[0]
    if newest.name not in remembered.entropy:
        try:
            data = notes.host.read_bytes(newest.path, offset=newest.size // 3, limit=_SAMPLE_BYTES)
        except HostError:
            return []
        remembered.entropy[newest.name] = round(traces.bits_per_byte(data), 3)
    bits = remembered.entropy[newest.name]
    if bits < traces.RANDOM_BITS:
        return []
    detail = f"{looks[newest.name].detail}, and its bytes look random ({bits:.2f} of 8 bits)"
    return [BackupWarning(kind="entropy", detail=detail, snapshot=newest.name, at=newest.at)]


_PACKED = {
    ".gz": b"\x1f\x8b",
    ".bz2": b"BZh",
    ".xz": b"\xfd7zXZ\x00",
    ".zst": b"\x28\xb5\x2f\xfd",
    ".lz4": b"\x04\x22\x4d\x18",
    ".lzo": b"\x89LZO",
}
ENCRYPTED_ENDINGS = (".gpg", ".age", ".asc", ".enc", ".pgp")


def look_outside(notes: Notes, kept: Kept) -> Look | None:
    """What its ending promises and its first bytes say. None: an open file, whose format its adapter knows."""
    if kept.size == 0:
        return Look(ok=False, detail="is empty")
    if kept.name.lower().endswith(ENCRYPTED_ENDINGS):
        return Look(encrypted=True)
    for ending, magic in _PACKED.items():
        if kept.name.lower().endswith(ending) or (ending == ".gz" and kept.name.lower().endswith(".tgz")):
            head = read_piece(notes, kept, 0, 16)
            if head and not head.startswith(magic):
                return Look(ok=False, detail=f"does not begin like a {ending} file")
            return Look()
    return None


def read_piece(notes: Notes, kept: Kept, offset: int, size: int) -> bytes:
    """Some bytes of the file; none where it cannot be read (which is a gap)."""
    try:
        return notes.host.read_bytes(kept.path, offset=max(0, offset), limit=size)
    except HostError as error:
        notes.gap(f"inside of {kept.path}", error.why)
        return b""


def unpacked(notes: Notes, kept: Kept, size: int) -> bytes:
    """The first bytes of a gzip, bzip2 or xz file, unpacked; of another file, its first bytes."""
    head = read_piece(notes, kept, 0, size)
    try:
        if head.startswith(b"\x1f\x8b"):
            import zlib

            return zlib.decompressobj(31).decompress(head, size)
        if head.startswith(b"BZh"):
            import bz2

            return bz2.BZ2Decompressor().decompress(head, size)
        if head.startswith(b"\xfd7zXZ\x00"):
            import lzma

            # The header names how much memory it wants, and anybody may have written it.
            return lzma.LZMADecompressor(memlimit=128 * 1024 * 1024).decompress(head, size)
    except (OSError, ValueError, EOFError) as error:
        notes.gap(f"inside of {kept.path}", f"cannot be unpacked: {error}")
        return b""
    except Exception as error:
        # zlib.error and lzma.LZMAError are no ValueErrors; both modules are imported only where they are needed.
        if type(error).__name__ not in ("error", "LZMAError"):
            raise
        notes.gap(f"inside of {kept.path}", f"cannot be unpacked: {error}")
        return b""
    return head
