"""Btrfs: snapshots of a subvolume, on the same file system as what they protect (unless they were received)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from forestall.agent.collect.backup_settings import parse_retention
from forestall.agent.collect.backups import places, traces
from forestall.agent.collect.backups.adapter import Adapter, Candidate, Reading, of_history
from forestall.agent.collect.backups.memory import Remembered
from forestall.agent.collect.host import HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.wire.facts import BackupSnapshot

_LINE = re.compile(
    r"^ID \d+ gen \d+ cgen \d+ top level \d+ otime (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) parent_uuid (\S+)\s+"
    r"received_uuid (\S+)\s+uuid (\S+) path (.+)$"
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    path: str
    at: datetime
    received: bool
    """It came from another file system, by ``btrfs receive``."""


def parse_list(text: str) -> list[Snapshot]:
    """Output of ``btrfs subvolume list -s -u -q -R`` run in UTC, newest first. ValueError names an odd line."""
    found = []
    for line in text.splitlines():
        if not line.strip():
            continue
        match = _LINE.match(line)
        if match is None:
            raise ValueError(f"btrfs wrote a line that is not known: {line[:120]!r}")
        at = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
        found.append(Snapshot(match[5], at, received=match[3] != "-"))
    return sorted(found, key=lambda each: (each.at, each.path), reverse=True)


def read(notes: Notes, candidate: Candidate, remembered: Remembered) -> Sequence[Reading]:
    path, setting = candidate.path, candidate.setting
    if not path:
        return [Reading(unknown_why=f"repository: {candidate.location!r} is no folder of this device")]
    listing = ["btrfs", "subvolume", "list", "-s", "-u", "-q", "-R"]
    try:
        result = notes.host.run([*listing, path])
        read_only = notes.host.run([*listing, "-r", path]) if result.exit_code == 0 else result
    except HostError as error:
        return [Reading(unknown_why=error.why)]
    notes.used(" ".join([*listing, path]))
    if result.exit_code != 0 or read_only.exit_code != 0:
        return [Reading(unknown_why=complaint(result if result.exit_code else read_only))]
    try:
        snapshots = parse_list(result.stdout)
        held = {each.path for each in parse_list(read_only.stdout)}
    except ValueError as error:
        return [Reading(unknown_why=str(error))]
    pattern = setting.pattern if setting else ""
    if pattern:
        snapshots = [
            each
            for each in snapshots
            if fnmatchcase(each.path, pattern) or fnmatchcase(each.path.rpartition("/")[2], pattern)
        ]
    history = [BackupSnapshot(id=each.path, at=each.at, kind="received" if each.received else "") for each in snapshots]
    now = notes.host.now()
    retention = parse_retention(setting.retention if setting else "")
    warnings = (*remembered.saw(history, retention=retention, now=now), *traces.clock_wrong(history, now))
    open_ones = [each.path for each in snapshots if each.path not in held]
    if open_ones:
        detail = f"{len(open_ones)} of {len(snapshots)} snapshots can be written to ({open_ones[0]})"
    else:
        detail = "read-only snapshots, which root on this machine can delete"
    place = places.of_folder(notes, path)
    fields = of_history(history) | {"remote": place.remote, "writable": place.writable, "immutable": place.immutable}
    return [
        Reading(
            **fields,  # type: ignore[arg-type]
            immutable_detail=detail if place.writable else place.detail,
            warnings=warnings,
        )
    ]


ADAPTER = Adapter(name="btrfs", title="Btrfs snapshots", programs=("btrfs",), read=read)
