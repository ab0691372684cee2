"""mariadb-dump and mysqldump: files of SQL in a folder, packed or not."""

from __future__ import annotations

import re
from collections.abc import Sequence

from forestall.agent.collect.backups.adapter import Adapter, Candidate, Reading
from forestall.agent.collect.backups.common import time_read
from forestall.agent.collect.backups.kept_files import Kept, Look, look_outside, read_files, read_piece, unpacked
from forestall.agent.collect.backups.memory import Remembered
from forestall.agent.collect.notes import Notes

PATTERNS = ("*.sql", "*.sql.*", "*.dump", "*.dump.*")
_HEAD, _TAIL = 4096, 2048
_BEGIN = re.compile(r"^-- (MariaDB|MySQL) dump ", re.MULTILINE)
_DATABASE = re.compile(r"^-- Host: .*?\s+Database: (\S+)\s*$|^-- Current Database: `([^`]+)`", re.MULTILINE)
_END = re.compile(r"^-- Dump completed(?: on (\d{4}-\d\d-\d\d)\s+(\d{1,2}:\d\d:\d\d))?", re.MULTILINE)


def look(notes: Notes, kept: Kept) -> Look:
    """Whether it is whole as far as its ends say, and what is in it."""
    outside = look_outside(notes, kept)
    if outside is not None and (outside.ok is False or outside.encrypted):
        return outside
    head = unpacked(notes, kept, _HEAD).decode(errors="replace")
    if not head:
        return Look()
    if not _BEGIN.search(head):
        if outside is not None:
            return Look()
        return Look(ok=False, detail="does not begin like a dump of MariaDB or MySQL")
    found = _DATABASE.search(head)
    database = f"mariadb:{found[1] or found[2]}" if found else ""
    if outside is not None:
        return Look(database=database)
    tail = read_piece(notes, kept, kept.size - _TAIL, _TAIL).decode(errors="replace")
    ended = _END.search(tail)
    if tail and ended is None:
        return Look(ok=False, detail="is cut off: it does not end with 'Dump completed'", database=database)
    at = None
    if ended is not None and ended[1]:
        # The dump's clock is the server's local one.
        local = time_read(f"{ended[1]}T{ended[2]:0>8}").replace(tzinfo=None)
        at = notes.host.local_to_utc(local)
    return Look(ok=True, database=database, at=at)


def read(notes: Notes, candidate: Candidate, remembered: Remembered) -> Sequence[Reading]:
    return read_files(notes, candidate, remembered, patterns=PATTERNS, look=look)


ADAPTER = Adapter(
    name="mariadb_dump", title="MariaDB and MySQL dumps", programs=("mariadb-dump", "mysqldump"), read=read
)
