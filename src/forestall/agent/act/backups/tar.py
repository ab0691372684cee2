"""tar archives in a folder, compressed or not, written by whatever: read to the end, then unpacked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from forestall.agent.act.backups.content import Entry, Flaw, Snapshot, place_origins
from forestall.agent.act.backups.files import FILE_PATTERNS, newest_files, require_as_written
from forestall.agent.act.backups.trial import Kit, Trial

_LINE = re.compile(r"(.)\S+\s+\S+\s+(\d+) (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d+)? (.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:([0-7]{3})|(.))")
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_END_BYTES = 1024
"""An archive ends with two blocks of zeros."""


class _Tar(Kit):
    levels = ("integrity", "sample", "whole", "database", "application")

    def newest(self, trial: Trial) -> Snapshot:
        return newest_files(trial, FILE_PATTERNS["tar"])

    def integrity(self, trial: Trial, snapshot: Snapshot) -> None:
        (archive,) = snapshot.places
        require_as_written(trial, snapshot)
        require_end(archive)
        done = trial.run(["tar", "--list", f"--file={archive}"])
        trial.require(done, "tar cannot read the archive to its end")
        trial.words.append("tar read the archive to its end")

    def contents(self, trial: Trial, snapshot: Snapshot) -> list[Entry]:
        argv = ["tar", "--list", "--verbose", "--full-time", "--numeric-owner", "--quoting-style=escape", "--utc"]
        done = trial.require(
            trial.run([*argv, f"--file={snapshot.places[0]}"]), "tar cannot read the archive to its end"
        )
        entries: dict[str, Entry] = {}
        for line in done.output.decode(errors="surrogateescape").splitlines():
            found = _LINE.fullmatch(line)
            if found is None:
                continue
            kind, size, at, name = found.groups()
            if kind == "h":
                name, _, target = name.partition(" link to ")
                first = entries.get(_path(target))
                if first is not None:
                    entries[_path(name)] = Entry(_path(name), first.size, first.modified_ns)
            elif kind == "-":
                modified = datetime.strptime(at, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
                # A later entry of the same name replaces the earlier.
                entries[_path(name)] = Entry(_path(name), int(size), int(modified.timestamp()) * 1_000_000_000)
        found_entries = list(entries.values())
        place_origins(found_entries, trial.backup.paths)
        return found_entries

    def restore(self, trial: Trial, snapshot: Snapshot, entries: Sequence[Entry] | None) -> None:
        argv = ["tar", "--extract", f"--file={snapshot.places[0]}", f"--directory={trial.scratch.restored}"]
        argv += ["--no-same-owner", "--delay-directory-restore", "--no-overwrite-dir"]
        if entries is not None:
            wanted = trial.scratch.work / "wanted"
            # Archives made of "." have "./" in front of every name.
            names = [name for entry in entries for name in (entry.path, f"./{entry.path}")]
            wanted.write_bytes(b"\0".join(name.encode(errors="surrogateescape") for name in names) + b"\0")
            argv += ["--null", "--verbatim-files-from", f"--files-from={wanted}"]
        done = trial.run(argv, watched=True)
        # Of both spellings one is not found: then tar ends with 2, and what did not come back is found by comparing.
        if entries is None or not re.search(r"Not found in archive", done.words):
            trial.require(done, "tar cannot unpack the archive")


KIT = _Tar()


def require_end(archive: Path) -> None:
    """Flaw when a plain archive was cut off between two files: tar itself says nothing of that."""
    with archive.open("rb") as file:
        head = file.read(262)
        if head[257:262] != b"ustar":
            return  # compressed: its own checksum tells
        file.seek(max(0, archive.stat().st_size - _END_BYTES))
        if file.read().strip(b"\0"):
            raise Flaw("the archive was cut off: the blocks that end it are missing")


def _path(name: str) -> str:
    plain = _ESCAPE.sub(lambda found: chr(int(found[1], 8)) if found[1] else _LETTERS.get(found[2], found[2]), name)
    return plain.removeprefix("./").lstrip("/")
