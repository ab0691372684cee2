"""pg_dump: files of all its formats in a folder. The name and time of the database stand in the file itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from forestall.agent.collect.backups.adapter import Adapter, Candidate, Reading
from forestall.agent.collect.backups.kept_files import Kept, Look, look_outside, read_files, read_piece, unpacked
from forestall.agent.collect.backups.memory import Remembered
from forestall.agent.collect.notes import Notes

PATTERNS = ("*.dump", "*.pgdump", "*.backup", "*.sql", "*.sql.*", "*.dump.*", "*.pgc")
_HEAD, _TAIL = 4096, 4096
_BEGIN = re.compile(r"^-- PostgreSQL database (cluster )?dump$", re.MULTILINE)
_END = re.compile(r"^-- PostgreSQL database (cluster )?dump complete$", re.MULTILINE)
_CONNECT = re.compile(r"^\\connect (?:-reuse-previous=on )?\"?(?:dbname='([^']+)'|([^\"\n]+?))\"?\s*$", re.MULTILINE)


def parse_header(data: bytes) -> tuple[str, datetime]:
    """Database and (local) time in the header of the custom format. ValueError when it is none."""
    if not data.startswith(b"PGDMP"):
        raise ValueError("does not begin with PGDMP")
    major, minor, width = data[5], data[6], data[8]
    if major != 1 or width != 4 or len(data) < 60:
        raise ValueError(f"is of format {major}.{minor} with integers of {width} bytes, which is not known")
    at = 11  # after the magic, three bytes of version, width of integers, width of offsets, format
    if minor >= 15:
        at += 1  # a byte that names the compression; before, its level as an integer
    else:
        at += 5

    def number() -> int:
        nonlocal at
        value = int.from_bytes(data[at + 1 : at + 5], "little")
        negative = data[at] != 0
        at += 5
        return -value if negative else value

    second, minute, hour, day, month, year, _summer = (number() for _ in range(7))
    length = number()
    if not 0 <= length <= 256:
        raise ValueError(f"names a database with {length} letters")
    name = data[at : at + length].decode(errors="replace")
    # As C counts: months from 0, years from 1900.
    return name, datetime(year + 1900, month + 1, day, hour, minute, min(second, 59))  # noqa: DTZ001 - local to there


def look(notes: Notes, kept: Kept) -> Look:
    """Whether it is whole as far as its ends say, and what is in it."""
    outside = look_outside(notes, kept)
    if outside is not None and (outside.ok is False or outside.encrypted):
        return outside
    head = unpacked(notes, kept, _HEAD)
    if not head:
        return Look()
    if head.startswith(b"PGDMP"):
        try:
            name, at = parse_header(head)
        except (ValueError, IndexError) as error:
            return Look(ok=False, detail=f"cannot be read: {error}")
        return Look(ok=None, database=f"postgresql:{name}", at=notes.host.local_to_utc(at))
    text = head.decode(errors="replace")
    if not _BEGIN.search(text):
        if head[257:262] == b"ustar":
            return Look()  # pg_dump's tar format
        if outside is not None:
            return Look()  # packed in a way that is not unpacked here
        return Look(ok=False, detail="does not begin like a dump of PostgreSQL")
    found = _CONNECT.search(text)
    database = f"postgresql:{found[1] or found[2]}" if found else ""
    if outside is not None:
        return Look(database=database)
    tail = read_piece(notes, kept, kept.size - _TAIL, _TAIL).decode(errors="replace")
    if tail and not _END.search(tail):
        return Look(ok=False, detail="is cut off: it does not end with 'dump complete'", database=database)
    return Look(ok=True, database=database)


def read(notes: Notes, candidate: Candidate, remembered: Remembered) -> Sequence[Reading]:
    return read_files(notes, candidate, remembered, patterns=PATTERNS, look=look)


ADAPTER = Adapter(name="pg_dump", title="PostgreSQL dumps", programs=("pg_dump",), read=read)
