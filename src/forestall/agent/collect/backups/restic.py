"""restic: repositories anywhere; read with ``--no-lock --no-cache``, so that nothing is locked, cached or written.

Sizes: restic from 0.17 on keeps them in each snapshot. Of older ones they are measured once a snapshot (``stats``,
``diff``, which read trees and indexes and no data), a few at each look, and remembered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import Any

from msgspec.structs import replace

from forestall.agent.collect.backup_settings import parse_retention
from forestall.agent.collect.backups import places, traces
from forestall.agent.collect.backups.adapter import READ_SECONDS, Adapter, Candidate, Reading, of_history
from forestall.agent.collect.backups.common import (
    elsewhere,
    fingerprint,
    is_gone,
    stamp,
    time_read,
    whole,
    why_unreadable,
)
from forestall.agent.collect.backups.finding import why_not_opened
from forestall.agent.collect.backups.memory import READ_ANEW_AFTER, REMOTE_READ_AFTER, Remembered
from forestall.agent.collect.host import HostError, TimedOut
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.redaction import redact
from forestall.wire.facts import BackupLock, BackupSnapshot, BackupWarning

MEASURED_AT_ONCE = 4
"""Snapshots measured in one look."""
MEASURE_SECONDS = 20.0
"""No further one is begun after this."""
MOST_MEASURED = 14
"""Of each repository, the newest."""
MOST_FILES_COMPARED = 200_000
"""Names of more changed files are not held in memory."""
_SAME_RUN_HOURS = 48
"""Snapshots of other paths and hosts so much older than the newest still tell what is in the repository."""


class Snapshots:
    """``restic snapshots --json``: newest first, with what its summaries say."""

    def __init__(self, history: list[BackupSnapshot], groups: list[tuple[datetime, str, tuple[str, ...]]]) -> None:
        self.history = history
        self.groups = groups
        """Time, host and paths of each, newest first."""

    @property
    def recent(self) -> list[tuple[datetime, str, tuple[str, ...]]]:
        """Those near the newest."""
        newest = self.groups[0][0] if self.groups else None
        return [each for each in self.groups if newest and (newest - each[0]).total_seconds() <= _SAME_RUN_HOURS * 3600]


def parse_snapshots(text: str) -> Snapshots:
    """Output of ``restic snapshots --json``. ValueError when it is not that."""
    found = json.loads(text or "null")
    if found is None:
        return Snapshots([], [])  # restic up to 0.14 prints null for an empty repository
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError("restic's answer is not a list of snapshots")
    rows = []
    for each in found:
        at = time_read(str(each["time"]))
        paths = tuple(str(path) for path in each.get("paths") or ())
        rows.append((at, str(each.get("hostname") or ""), paths, _snapshot(each, at)))
    rows.sort(key=lambda row: row[0], reverse=True)
    groups = [row[:3] for row in rows]
    names = [f"{host}:{','.join(paths)}"[:200] for _, host, paths in groups]
    several = len(set(names)) > 1
    return Snapshots(
        [replace(row[3], group=name if several else "") for row, name in zip(rows, names, strict=True)], groups
    )


def _snapshot(each: Mapping[str, Any], at: datetime) -> BackupSnapshot:
    told = each.get("summary")
    summary: Mapping[str, Any] = told if isinstance(told, dict) else {}
    seconds = None
    if "backup_start" in summary and "backup_end" in summary:
        began, ended = time_read(str(summary["backup_start"])), time_read(str(summary["backup_end"]))
        seconds = round((ended - began).total_seconds(), 3)
    return BackupSnapshot(
        id=str(each["id"])[:16],
        at=at,
        size_bytes=whole(summary.get("total_bytes_processed")),
        added_bytes=whole(summary.get("data_added")),
        stored_bytes=whole(summary.get("data_added_packed")),
        files=whole(summary.get("total_files_processed")),
        new_files=whole(summary.get("files_new")),
        changed_files=whole(summary.get("files_changed")),
        seconds=seconds,
        parent=str(each.get("parent") or "")[:16],
    )


def parse_stats(text: str) -> tuple[int, int | None]:
    """Total size and number of files in the output of ``restic stats --json``. ValueError when it is not that."""
    found = json.loads(text)
    size = whole(found.get("total_size")) if isinstance(found, dict) else None
    if size is None:
        raise ValueError("restic's answer has no total_size")
    return size, whole(found.get("total_file_count"))


class Difference:
    """``restic diff --json``: what one snapshot has and the one before has not."""

    def __init__(self, text: str) -> None:
        self.added: list[str] = []
        self.removed: list[str] = []
        statistics: Mapping[str, Any] | None = None
        for line in text.splitlines():
            each = json.loads(line)
            if not isinstance(each, dict):
                raise ValueError("restic's answer is no line of a difference")  # noqa: TRY004
            if each.get("message_type") == "statistics":
                statistics = each
            elif each.get("modifier") in ("+", "-"):
                named = self.added if each["modifier"] == "+" else self.removed
                if len(named) < MOST_FILES_COMPARED:
                    named.append(str(each.get("path", "")))
        if statistics is None:
            raise ValueError("restic's answer has no statistics")
        self.new_files = whole(statistics["added"].get("files"))
        self.changed_files = whole(statistics.get("changed_files"))
        self.removed_files = whole(statistics["removed"].get("files"))
        self.added_bytes = whole(statistics["added"].get("bytes"))


class _Tool:
    """restic on one repository."""

    def __init__(self, notes: Notes, candidate: Candidate, environment: Mapping[str, str]) -> None:
        self.notes, self.location, self.environment = notes, candidate.location, environment

    def __call__(self, *words: str, timeout: float = READ_SECONDS) -> str:
        """Its output. HostError; ValueError with why it could not."""
        argv = ["restic", "--repo", self.location, *words, "--json", "--no-lock", "--no-cache"]
        result = self.notes.host.run(argv, timeout=timeout, environment=self.environment)
        if result.exit_code != 0:
            raise ValueError(why_unreadable(result))
        return result.stdout


def read(notes: Notes, candidate: Candidate, remembered: Remembered) -> Sequence[Reading]:
    why = why_not_opened(notes, candidate)
    if why:
        return [Reading(unknown_why=why)]
    place = places.of_folder(notes, candidate.path) if candidate.path else places.of_address(candidate.location)
    environment = dict(candidate.environment)
    if candidate.password_file:
        environment["RESTIC_PASSWORD_FILE"] = candidate.password_file
    if not {"RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND"} & environment.keys():
        return [replace(_without_password(notes, candidate), encrypted=True, **place.fields())]
    now = notes.host.now()
    if candidate.path:
        folders = ("snapshots", "index", "keys", "locks")
        mark = fingerprint(notes, candidate.path, folders=folders, files=[candidate.password_file])
    else:
        mark = elsewhere(notes, files=[candidate.password_file])
    # One source, whether it was asked now or earlier today: a document changes only with what is in it.
    notes.used(redact(f"restic --repo {candidate.location} snapshots"))
    within = READ_ANEW_AFTER if candidate.path else REMOTE_READ_AFTER
    if (known := remembered.same(mark, now, within=within)) is not None:
        return [replace(known, **place.fields())]
    restic = _Tool(notes, candidate, environment)
    try:
        found = parse_snapshots(restic("snapshots"))
    except HostError as error:
        return [Reading(unknown_why=error.why, encrypted=True, **place.fields())]  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError) as error:
        words = str(error) if type(error) is ValueError else f"restic's answer cannot be read: {error}"
        return [Reading(unknown_why=words, encrypted=True, **place.fields())]  # type: ignore[arg-type]
    retention = parse_retention(candidate.setting.retention if candidate.setting else "")
    warnings = list(remembered.saw(found.history, retention=retention, now=now))
    history, renamed = _measure(notes, restic, found.history, remembered)
    warnings += [*renamed, *traces.clock_wrong(history, now)]
    hosts = sorted({host for _, host, _ in found.recent if host} - {notes.value("/proc/sys/kernel/hostname")})
    fields = of_history(history) | place.fields()
    paths = dict.fromkeys(path for _, _, group in found.recent for path in group)
    reading = Reading(
        **fields,  # type: ignore[arg-type]
        protects=tuple(paths),
        hosts=tuple(hosts),
        stored_bytes=_stored(notes, candidate),
        locks=_locks(notes, restic, candidate),
        encrypted=True,
        warnings=tuple(warnings),
    )
    # A lock's process may end without a trace in the repository, and sizes may still be to be measured.
    done = not reading.locks and all(each.id in remembered.measured for each in history[:MOST_MEASURED])
    return [remembered.read_whole(mark if done else "", reading, now)]


def _without_password(notes: Notes, candidate: Candidate) -> Reading:
    """How many snapshots, and when the newest file of one was written: visible without opening the repository."""
    if not candidate.path:
        return Reading(unknown_why="password needed")
    folder = f"{candidate.path}/snapshots"
    try:
        times = [notes.host.status(f"{folder}/{name}").modified_ns for name in notes.host.list_dir(folder)]
    except HostError as error:
        return Reading(unknown_why=error.why)
    notes.used(folder)
    why = "password needed; the time is that of its newest snapshot file"
    return Reading(last_success_at=stamp(max(times)) if times else None, snapshots=len(times), unknown_why=why)


def _measure(
    notes: Notes, restic: _Tool, history: list[BackupSnapshot], remembered: Remembered
) -> tuple[list[BackupSnapshot], list[BackupWarning]]:
    """The history with what is remembered, and a few more measured; traces found in what changed."""
    ends = monotonic() + MEASURE_SECONDS
    by_id = {each.id: each for each in history}
    full, warnings, begun = [], [], 0
    for number, each in enumerate(history):
        known = remembered.measured.get(each.id)
        # Its summary tells sizes; what went away between two snapshots only a comparison tells.
        if known is None and number < MOST_MEASURED and begun < MEASURED_AT_ONCE and monotonic() < ends:
            begun += 1
            earlier = (one for one in history[number + 1 :] if one.group == each.group)
            before = by_id.get(each.parent) or next(earlier, None)
            known = _measured(notes, restic, each, before, remembered)
            remembered.measured[each.id] = known
        full.append(replace(known, group=each.group) if known else each)
    for each in full[:MOST_MEASURED]:
        detail = remembered.renamed.get(each.id)
        if detail:
            warnings.append(BackupWarning(kind="encrypted_names", detail=detail, snapshot=each.id, at=each.at))
    return full, warnings


def _measured(
    notes: Notes, restic: _Tool, snapshot: BackupSnapshot, before: BackupSnapshot | None, remembered: Remembered
) -> BackupSnapshot:
    """The snapshot with its sizes; as it is where that was too costly, or restic too old."""
    try:
        if snapshot.size_bytes is None:
            # Its count takes in folders.
            size, files = parse_stats(restic("stats", "--mode", "restore-size", snapshot.id))
            snapshot = replace(snapshot, size_bytes=size, files=files)
        if snapshot.stored_bytes is None:
            raw, _ = parse_stats(restic("stats", "--mode", "raw-data", snapshot.id))
            remembered.raw_bytes[snapshot.id] = raw
            stored = raw
            if before is not None:
                if before.id not in remembered.raw_bytes:
                    remembered.raw_bytes[before.id] = parse_stats(
                        restic("stats", "--mode", "raw-data", before.id)
                    )[0]  # fmt: skip
                both, _ = parse_stats(restic("stats", "--mode", "raw-data", before.id, snapshot.id))
                stored = max(0, both - remembered.raw_bytes[before.id])
            snapshot = replace(snapshot, stored_bytes=stored)
        if before is not None:
            difference = Difference(restic("diff", before.id, snapshot.id))
            snapshot = replace(
                snapshot,
                new_files=difference.new_files,
                changed_files=difference.changed_files,
                removed_files=difference.removed_files,
                added_bytes=snapshot.added_bytes if snapshot.added_bytes is not None else difference.added_bytes,
            )
            detail = traces.renamed(difference.added, difference.removed)
            if detail:
                remembered.renamed[snapshot.id] = detail
        elif snapshot.added_bytes is None:
            snapshot = replace(snapshot, added_bytes=snapshot.size_bytes, new_files=snapshot.files)
    except TimedOut as error:
        notes.gap(f"sizes in {redact(restic.location)}", error.why)
    except (HostError, ValueError, KeyError, TypeError, AttributeError) as error:
        notes.gap(f"sizes in {redact(restic.location)}", str(error))
    return snapshot


def _stored(notes: Notes, candidate: Candidate) -> int | None:
    """Bytes of the repository, where its files lie here; counting is left off where they are many."""
    if not candidate.path:
        return None
    try:
        packs = notes.host.glob(f"{candidate.path}/data/*/*")
        if len(packs) > 20_000:
            return None
        return sum(notes.host.status(path).size for path in packs) or None
    except HostError:
        return None


def _locks(notes: Notes, restic: _Tool, candidate: Candidate) -> tuple[BackupLock, ...]:
    try:
        if candidate.path and not notes.host.list_dir(f"{candidate.path}/locks"):
            return ()
        names = restic("list", "locks").split()
        return tuple(parse_lock(notes, restic("cat", "lock", name)) for name in names[:20] if name.isalnum())
    except HostError as error:
        if "does not exist" not in error.why:
            notes.gap(f"locks of {redact(candidate.location)}", error.why)
    except (ValueError, KeyError, TypeError) as error:
        notes.gap(f"locks of {redact(candidate.location)}", str(error))
    return ()


def parse_lock(notes: Notes, text: str) -> BackupLock:
    """Output of ``restic cat lock``. ValueError when it is not that."""
    found = json.loads(text)
    host, pid = str(found["hostname"]), int(found["pid"])
    return BackupLock(
        who=f"process {pid} of {found.get('username') or 'somebody'} on {host}",
        since=time_read(str(found["time"])).replace(microsecond=0),
        exclusive=bool(found.get("exclusive")),
        stale=is_gone(notes, hostname=host, pid=pid, program="restic"),
    )


# ``finding`` looks for repositories of restic and borg at once.
ADAPTER = Adapter(name="restic", title="restic", programs=("restic", "resticprofile"), read=read)
