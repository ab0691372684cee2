"""LVM: snapshots of a logical volume. A snapshot of the old kind that has filled up is lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from forestall.agent.collect.backup_settings import parse_retention
from forestall.agent.collect.backups import traces
from forestall.agent.collect.backups.adapter import Adapter, Candidate, Reading, of_history
from forestall.agent.collect.backups.memory import Remembered
from forestall.agent.collect.host import HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.wire.facts import BackupSnapshot

_COLUMNS = "vg_name,lv_name,origin,lv_time,lv_attr,lv_size,data_percent"
_FULL_PERCENT = 99.99


@dataclass(frozen=True, slots=True)
class Snapshot:
    origin: str
    """``VG/LV``."""
    snapshot: BackupSnapshot
    lost: bool
    """Invalid: it has filled up, and what it kept is gone."""
    percent: float | None


def parse_lvs(text: str) -> list[Snapshot]:
    """Output of ``lvs --reportformat json`` with these columns, newest first. ValueError when it is not that."""
    report = json.loads(text)
    rows: list[dict[str, Any]] = report["report"][0]["lv"]
    found = []
    for row in rows:
        if not row.get("origin"):
            continue
        attributes, percent = str(row["lv_attr"]), str(row.get("data_percent") or "")
        filled = float(percent) if percent else None
        # First letter: S is an invalid snapshot; fifth: I and S are invalid and suspended ones.
        lost = attributes[:1] == "S" or attributes[4:5] in ("I", "S") or (
            attributes[:1] == "s" and filled is not None and filled >= _FULL_PERCENT
        )  # fmt: skip
        group = str(row["vg_name"])
        snapshot = BackupSnapshot(
            id=f"{group}/{row['lv_name']}",
            at=_time(str(row["lv_time"])),
            size_bytes=int(float(str(row["lv_size"]).rstrip("B"))),
            kind="thin" if attributes[:1] == "V" else "",
        )
        found.append(Snapshot(f"{group}/{row['origin']}", snapshot, lost, filled))
    return sorted(found, key=lambda each: (each.snapshot.at, each.snapshot.id), reverse=True)


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z").astimezone(UTC)


def read(notes: Notes, candidate: Candidate, remembered: Remembered) -> Sequence[Reading]:
    setting, volume = candidate.setting, candidate.location.removeprefix("/dev/")
    argv = ["lvs", "--reportformat", "json", "--units", "b", "--nosuffix", "-o", _COLUMNS]
    try:
        result = notes.host.run(argv)
    except HostError as error:
        return [Reading(unknown_why=error.why)]
    notes.used(" ".join(argv))
    if result.exit_code != 0:
        return [Reading(unknown_why=complaint(result))]
    try:
        snapshots = [each for each in parse_lvs(result.stdout) if each.origin == volume]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return [Reading(unknown_why=f"lvs' answer cannot be read: {error}")]
    if setting and setting.pattern:
        snapshots = [each for each in snapshots if fnmatchcase(each.snapshot.id.partition("/")[2], setting.pattern)]
    good = [each.snapshot for each in snapshots if not each.lost]
    lost = [each.snapshot.id for each in snapshots if each.lost]
    now = notes.host.now()
    retention = parse_retention(setting.retention if setting else "")
    warnings = (*remembered.saw(good, retention=retention, now=now), *traces.clock_wrong(good, now))
    return [
        Reading(
            **of_history(good),  # type: ignore[arg-type]
            chain_ok=False if lost else None,
            chain_detail=f"{', '.join(lost)} filled up, and is lost" if lost else "",
            encrypted=None,
            remote=False,
            writable=True,
            immutable=False,
            immutable_detail="root on this machine can remove snapshots",
            warnings=warnings,
        )
    ]


ADAPTER = Adapter(name="lvm", title="LVM snapshots", programs=("lvs",), read=read)
