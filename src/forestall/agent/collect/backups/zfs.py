"""ZFS: snapshots of a data set; those with a hold cannot be destroyed until it is released."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from forestall.agent.collect.backup_settings import parse_retention
from forestall.agent.collect.backups import traces
from forestall.agent.collect.backups.adapter import Adapter, Candidate, Reading, of_history
from forestall.agent.collect.backups.common import time_of
from forestall.agent.collect.backups.memory import Remembered
from forestall.agent.collect.host import HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.wire.facts import BackupSnapshot

_COLUMNS = ("name", "creation", "used", "referenced", "written", "userrefs")


@dataclass(frozen=True, slots=True)
class Snapshot:
    name: str
    """Behind the ``@``."""
    snapshot: BackupSnapshot
    used: int
    held: bool


def parse_list(text: str) -> list[Snapshot]:
    """Output of ``zfs list -Hp -t snapshot -o name,creation,used,referenced,written,userrefs``, newest first.

    ValueError names an odd line.
    """
    found = []
    for line in text.splitlines():
        if not line.strip():
            continue
        words = line.split("\t")
        if len(words) != len(_COLUMNS) or "@" not in words[0] or not words[1].isdigit():
            raise ValueError(f"zfs wrote a line that is not known: {line[:120]!r}")
        used, referenced, written, holds = (int(word) if word.isdigit() else None for word in words[2:])
        snapshot = BackupSnapshot(
            id=words[0],
            at=time_of(int(words[1])),
            size_bytes=referenced,
            added_bytes=written,
        )
        found.append(Snapshot(words[0].partition("@")[2], snapshot, used or 0, held=bool(holds)))
    return sorted(found, key=lambda each: (each.snapshot.at, each.name), reverse=True)


def read(notes: Notes, candidate: Candidate, remembered: Remembered) -> Sequence[Reading]:
    setting, data_set = candidate.setting, candidate.location
    if data_set.startswith("-"):
        return [Reading(unknown_why=f"repository: {data_set!r} is no data set")]
    argv = ["zfs", "list", "-H", "-p", "-t", "snapshot", "-d", "1", "-o", ",".join(_COLUMNS), data_set]
    try:
        result = notes.host.run(argv)
        encryption = notes.host.run(["zfs", "get", "-H", "-o", "value", "encryption", data_set])
    except HostError as error:
        return [Reading(unknown_why=error.why)]
    notes.used(" ".join(argv))
    if result.exit_code != 0:
        return [Reading(unknown_why=complaint(result))]
    try:
        snapshots = parse_list(result.stdout)
    except ValueError as error:
        return [Reading(unknown_why=str(error))]
    if setting and setting.pattern:
        snapshots = [each for each in snapshots if fnmatchcase(each.name, setting.pattern)]
    history = [each.snapshot for each in snapshots]
    now = notes.host.now()
    retention = parse_retention(setting.retention if setting else "")
    warnings = (*remembered.saw(history, retention=retention, now=now), *traces.clock_wrong(history, now))
    held = sum(each.held for each in snapshots)
    detail = (
        f"{held} of {len(snapshots)} snapshots are held; root on this machine can release them"
        if held
        else "no snapshot is held; root on this machine can destroy them"
    )
    word = encryption.stdout.strip()
    return [
        Reading(
            **of_history(history),  # type: ignore[arg-type]
            stored_bytes=sum(each.used for each in snapshots) if snapshots else None,
            encrypted=None if encryption.exit_code != 0 or word in ("", "-") else word != "off",
            remote=False,
            writable=True,
            immutable=False,
            immutable_detail=detail,
            warnings=warnings,
        )
    ]


ADAPTER = Adapter(name="zfs", title="ZFS snapshots", programs=("zfs",), read=read)
