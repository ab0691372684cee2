"""tar: archives in a folder, full ones and (``--listed-incremental``) such as build on them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from forestall.agent.collect.backups.adapter import Adapter, Candidate, Reading
from forestall.agent.collect.backups.kept_files import Kept, Look, look_outside, read_files, read_piece, unpacked
from forestall.agent.collect.backups.memory import Remembered
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import BackupSnapshot

PATTERNS = ("*.tar", "*.tar.*", "*.tgz", "*.txz", "*.tbz2", "*.tzst")
_INCREMENTAL = re.compile(r"incr|diff|level[1-9]", re.IGNORECASE)
_BLOCK = 512


def look(notes: Notes, kept: Kept) -> Look:
    """Whether its ends are those of an archive."""
    outside = look_outside(notes, kept)
    if outside is not None and (outside.ok is False or outside.encrypted):
        return outside
    head = unpacked(notes, kept, _BLOCK)
    kind = "incremental" if _INCREMENTAL.search(kept.name) else ""
    if len(head) < _BLOCK:
        if outside is None and head:
            return Look(ok=False, detail="is shorter than one block of an archive")
        return Look(kind=kind)
    if not _is_header(head):
        if outside is not None and head[:4] not in (b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"):
            return Look(ok=False, detail="holds no tar archive")
        if outside is None:
            return Look(ok=False, detail="does not begin like a tar archive")
        return Look(kind=kind)
    if outside is not None:
        return Look(kind=kind)
    tail = read_piece(notes, kept, kept.size - 2 * _BLOCK, 2 * _BLOCK)
    if tail and (kept.size % _BLOCK or any(tail)):
        return Look(ok=False, detail="is cut off: it does not end with two empty blocks", kind=kind)
    return Look(ok=True, kind=kind)


def _is_header(block: bytes) -> bool:
    """Whether a block's checksum is that of a header of any tar."""
    try:
        told = int(block[148:156].strip(b" \x00") or b"x", 8)
    except ValueError:
        return False
    return sum(block[:148]) + 8 * 32 + sum(block[156:_BLOCK]) == told


def chain(history: Sequence[BackupSnapshot]) -> tuple[bool | None, str]:
    """Whether the newest archive's full one is still there. ``history`` newest first."""
    if not history or history[0].kind != "incremental":
        return None, ""
    full = next((each for each in history if each.kind != "incremental"), None)
    if full is None:
        return False, f"{history[0].id} is incremental, and no full archive is left"
    steps = sum(1 for each in history if each.kind == "incremental" and each.at > full.at)
    return True, f"{full.id} and {steps} incremental ones after it"


def read(notes: Notes, candidate: Candidate, remembered: Remembered) -> Sequence[Reading]:
    return read_files(notes, candidate, remembered, patterns=PATTERNS, look=look, chain=chain)


ADAPTER = Adapter(name="tar", title="tar archives", programs=("tar",), read=read)
