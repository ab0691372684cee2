"""What is in a dump: its kind, whether it is whole, and how many rows it has for which table. Read as a stream."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from forestall.agent.act.backups.content import Flaw
from forestall.agent.act.backups.trial import Trial

_COPY = re.compile(rb"^COPY (.+?) (?:\(.*\) )?FROM stdin;\s*$")
_INSERT = re.compile(rb"^INSERT (?:IGNORE )?INTO (`(?:[^`]|``)+`|[\w.\"]+) ")
_PG_ROLE = re.compile(
    rb"(?:OWNER TO|^GRANT .* TO|^REVOKE .* FROM|FOR ROLE|SESSION AUTHORIZATION) (\"[^\"]+\"|[a-z_][\w$]*)"
)
_USE = re.compile(rb"^USE (`(?:[^`]|``)+`|\w+);")
_CONNECT = re.compile(rb"^\\connect (?:-reuse-previous=on )?(\"[^\"]+\"|\S+)")
_TEXT = re.compile(rb"'(?:[^'\\]|\\.|'')*'", re.DOTALL)
_SUFFIXES = {".gz": "gzip", ".zst": "zstd", ".xz": "xz", ".bz2": "bzip2", ".lz4": "lz4"}
_TAIL_BYTES = 64 * 1024


@dataclass(slots=True)
class DumpText:
    """What a dump in SQL says of itself."""

    product: str
    """``postgresql`` or ``mariadb``."""
    is_finished: bool | None = None
    """Whether its last line is there; None: it was written without such lines."""
    database: str = ""
    """That it names itself."""
    rows: dict[str, int] = field(default_factory=dict)
    """By table, as SQL names it."""
    roles: set[str] = field(default_factory=set)
    """Whom it gives things to; they must be there when it is loaded."""
    tables: int = 0


def stem(path: Path) -> str:
    """Its name without the suffix of a compression."""
    return path.stem if path.suffix in _SUFFIXES else path.name


def unpack(trial: Trial, source: Path, target: Path) -> None:
    """Copy a dump, decompressed. Flaw when it cannot be read to its end."""
    program = _SUFFIXES.get(source.suffix)
    if program is None:
        trial.copy(source, target)
        return
    with target.open("wb") as output:
        done = trial.run([program, "-d", "-c", str(source)], output=output, watched=True)
    trial.require(done, f"{source.name} cannot be decompressed")


def magic(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(512)


def is_archive(path: Path) -> bool:
    """Whether it is a dump in one of pg_dump's own formats, not in SQL."""
    head = magic(path)
    return head.startswith(b"PGDMP") or head[257:262] == b"ustar"


def read_sql(path: Path, *, count: bool) -> DumpText:
    """Read a dump in SQL. Flaw when it is no such dump, or was cut off."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8192)
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read()
    if not head.strip(b"\0 \n"):
        raise Flaw(f"{path.name} holds nothing" + (" but zeros" if b"\0" in head else ""))
    found = DumpText(product="mariadb")
    if b"PostgreSQL database" in head:
        found.product = "postgresql"
        found.is_finished = b"PostgreSQL database dump complete" in tail or b"cluster dump complete" in tail
    elif re.search(rb"-- (MariaDB|MySQL) dump", head):
        found.is_finished = re.search(rb"-- Dump completed", tail) is not None
        named = re.search(rb"Database: (\S+)", head)
        # One of several databases names each where it begins; then the first is not what it is of.
        if named and b"-- Current Database" not in head:
            found.database = named[1].decode(errors="replace")
    elif not re.search(rb"(?i)\b(create|insert|copy|set)\b", head):
        raise Flaw(f"{path.name} is no dump: it begins with {head[:20]!r}")
    elif re.search(rb"^(SET statement_timeout|SELECT pg_catalog)", head, re.MULTILINE):
        found.product = "postgresql"
    if found.is_finished is False:
        raise Flaw(f"{path.name} was cut off: its last line, which says that the dump is complete, is missing")
    if count:
        _count(path, found)
    return found


def _count(path: Path, found: DumpText) -> None:
    schema = ""
    copied: bytes | None = None
    rows = 0
    inserted = ""
    with path.open("rb") as file:
        for line in file:
            if copied is not None:
                if line.startswith(b"\\."):
                    found.rows[copied.decode(errors="replace")] = rows
                    copied = None
                else:
                    rows += 1
                continue
            if inserted:
                found.rows[inserted] += _tuples(line)
                inserted = "" if line.rstrip().endswith(b";") else inserted
            elif line.startswith(b"COPY ") and (copy := _COPY.match(line)):
                copied, rows = copy[1], 0
            elif line.startswith(b"INSERT ") and (insert := _INSERT.match(line)):
                if found.product == "mariadb":
                    name = f"{schema}{'.' if schema else ''}{insert[1].decode(errors='replace')}"
                    found.rows[name] = found.rows.get(name, 0) + _tuples(_TEXT.sub(b"", line).partition(b"VALUES")[2])
                    # Its rows may stand on lines of their own; a line's end within a text is written as \\n.
                    inserted = "" if line.rstrip().endswith(b";") else name
            elif line.startswith((b"CREATE TABLE", b"CREATE FOREIGN")):
                found.tables += 1
            elif line.startswith(b"USE ") and (use := _USE.match(line)):
                schema = use[1].decode(errors="replace")
            elif line.startswith(b"\\connect") and (connect := _CONNECT.match(line)):
                found.database = found.database or connect[1].decode(errors="replace").strip('"')
            elif found.product == "postgresql":
                found.roles |= {each.decode(errors="replace") for each in _PG_ROLE.findall(line)}
    if copied is not None:
        raise Flaw(f"{path.name} was cut off in the rows of {copied.decode(errors='replace')}")


def _tuples(line: bytes) -> int:
    """Rows in a line of an INSERT with several."""
    return _TEXT.sub(b"", line).count(b"(")
