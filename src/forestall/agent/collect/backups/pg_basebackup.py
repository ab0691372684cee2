"""pg_basebackup: one folder each (plain or tar format) with the ``backup_manifest`` that it writes at its end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forestall.agent.collect.backup_settings import parse_retention
from forestall.agent.collect.backups import places, traces
from forestall.agent.collect.backups.adapter import MOST_HISTORY, Adapter, Candidate, Reading, of_history
from forestall.agent.collect.backups.common import stamp, whole
from forestall.agent.collect.backups.kept_files import Kept, in_folder
from forestall.agent.collect.backups.memory import Remembered
from forestall.agent.collect.host import HostError
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import BackupSnapshot

MARKS = ("PG_VERSION", "base.tar", "base.tar.gz", "base.tar.lz4", "base.tar.zst")
_SEGMENT = 16 * 1024 * 1024
_MOST_MANIFEST = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Manifest:
    """A ``backup_manifest``: what is in the backup and which write-ahead log it needs."""

    size: int
    files: int
    wal: tuple[str, ...]
    """Names of the segments that are needed to start it."""


def parse_manifest(text: str) -> Manifest:
    """ValueError when it is cut off or something else."""
    found = json.loads(text)
    if not isinstance(found, dict) or "Files" not in found:
        raise ValueError("is no manifest of a base backup")
    files: list[dict[str, Any]] = found["Files"]
    segments: list[str] = []
    for each in found.get("WAL-Ranges") or ():
        timeline = int(each["Timeline"])
        first, last = _position(each["Start-LSN"]) // _SEGMENT, _position(each["End-LSN"]) // _SEGMENT
        per_file = 0x100000000 // _SEGMENT
        segments += [f"{timeline:08X}{number // per_file:08X}{number % per_file:08X}" for number in range(
            first, min(last, first + 10_000) + 1)]  # fmt: skip
    return Manifest(sum(whole(each.get("Size")) or 0 for each in files), len(files), tuple(segments))


def _position(lsn: str) -> int:
    high, _, low = str(lsn).partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def read(notes: Notes, candidate: Candidate, remembered: Remembered) -> Sequence[Reading]:
    if not candidate.path:
        return [Reading(unknown_why=f"repository: {candidate.location!r} is no folder of this device")]
    try:
        kept = _folders(notes, candidate)
    except HostError as error:
        return [Reading(unknown_why="no such folder" if "does not exist" in error.why else error.why)]
    history, details = [], {}
    for each in kept[:MOST_HISTORY]:
        snapshot, detail = _look(notes, each, remembered)
        history.append(snapshot)
        details[snapshot.id] = detail
    now = notes.host.now()
    retention = parse_retention(candidate.setting.retention if candidate.setting else "")
    warnings = (*remembered.saw(history, retention=retention, now=now), *traces.clock_wrong(history, now))
    good = [each for each in history if not details[each.id]]
    fields = of_history(history) | places.of_folder(notes, candidate.path).fields()
    if history and details[history[0].id]:
        fields |= {
            "last_success_at": good[0].at if good else None,
            "last_run_at": history[0].at,
            "last_run_ok": False,
            "last_run_detail": f"{history[0].id} {details[history[0].id]}",
        }
    chain_ok, chain_detail = _chain(notes, kept[0]) if kept else (None, "")
    return [
        Reading(
            **fields,  # type: ignore[arg-type]
            protects=("postgresql:*",) if history else (),
            stored_bytes=sum(each.stored_bytes or 0 for each in history) or None,
            chain_ok=chain_ok,
            chain_detail=chain_detail,
            encrypted=False if history else None,
            warnings=warnings,
        )
    ]


def _folders(notes: Notes, candidate: Candidate) -> list[Kept]:
    """The base backups below the folder, newest first, or the folder itself when it is one."""
    if set(notes.host.list_dir(candidate.path)) & {*MARKS, "backup_manifest"}:
        status = notes.host.status(candidate.path)
        return [Kept(candidate.path.rpartition("/")[2], candidate.path, stamp(status.modified_ns), 0, is_dir=True)]
    found = in_folder(notes, candidate, patterns=("*",), dirs=True)
    told = candidate.setting is not None and candidate.setting.pattern
    kept = []
    for each in found:
        try:
            names = set(notes.host.list_dir(each.path))
        except HostError as error:
            notes.gap(f"base backup {each.path}", error.why)
            continue
        if told or names & {*MARKS, "backup_manifest"}:
            kept.append(each)
    return kept


def _look(notes: Notes, kept: Kept, remembered: Remembered) -> tuple[BackupSnapshot, str]:
    """The backup, and what is wrong with it."""
    path = f"{kept.path}/backup_manifest"
    try:
        status = notes.host.status(path)
        at = stamp(status.modified_ns)  # pg_basebackup writes it last
        known = remembered.measured.get(kept.name)
        if known is not None and known.at == at:
            return known, ""
        data = notes.host.read_bytes(path, limit=_MOST_MANIFEST)
    except HostError as error:
        unfinished = "has no manifest: it did not end" if "does not exist" in error.why else error.why
        return BackupSnapshot(id=kept.name, at=kept.at), unfinished
    try:
        manifest = parse_manifest(data.decode(errors="replace"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return BackupSnapshot(id=kept.name, at=at), f"has a damaged manifest: {error}"
    label = notes.value(f"{kept.path}/backup_label")
    snapshot = BackupSnapshot(
        id=kept.name,
        at=at,
        size_bytes=manifest.size,
        stored_bytes=_stored(notes, kept) or manifest.size,
        files=manifest.files,
        kind="incremental" if "INCREMENTAL FROM" in label else "full",
    )
    remembered.measured[kept.name] = snapshot
    return snapshot, ""


def _stored(notes: Notes, kept: Kept) -> int:
    """Bytes of the tar format's files."""
    total = 0
    for path in notes.host.glob(f"{kept.path}/*.tar*"):
        try:
            total += notes.host.status(path).size
        except HostError:
            continue
    return total


def _chain(notes: Notes, kept: Kept) -> tuple[bool | None, str]:
    """Whether the write-ahead log that the newest needs lies beside it."""
    try:
        manifest = parse_manifest(
            notes.host.read_bytes(f"{kept.path}/backup_manifest", limit=_MOST_MANIFEST).decode(errors="replace")
        )
        names = set(notes.host.list_dir(kept.path))
    except (HostError, ValueError, KeyError, TypeError, AttributeError):
        return None, ""
    if names & {"pg_wal.tar", "pg_wal.tar.gz"}:
        return None, "its write-ahead log is in pg_wal.tar, which is not unpacked to look"
    if "pg_wal" not in names:
        return None, "its write-ahead log is kept elsewhere"
    try:
        there = set(notes.host.list_dir(f"{kept.path}/pg_wal"))
    except HostError as error:
        return None, f"its write-ahead log could not be seen: {error.why}"
    missing = [segment for segment in manifest.wal if segment not in there]
    if not there or len(missing) == len(manifest.wal):
        return None, "its write-ahead log is kept elsewhere"
    if missing:
        return (
            False,
            f"{kept.name} cannot start: {len(missing)} of {len(manifest.wal)} segments are missing ({missing[0]})",
        )
    return True, f"all {len(manifest.wal)} segments of write-ahead log are beside {kept.name}"


ADAPTER = Adapter(name="pg_basebackup", title="PostgreSQL base backups", programs=("pg_basebackup",), read=read)
