"""borg: repositories here or over SSH; read with ``--bypass-lock`` and throw-away caches, so that nothing is written.

What is in an archive is asked once of each new one (``borg info``, which reads no data) and remembered.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from tempfile import TemporaryDirectory
from typing import Any

from msgspec.structs import replace

from forestall.agent.collect.backup_settings import parse_retention
from forestall.agent.collect.backups import places, traces
from forestall.agent.collect.backups.adapter import READ_SECONDS, Adapter, Candidate, Reading, of_history
from forestall.agent.collect.backups.common import (
    elsewhere,
    fingerprint,
    is_gone,
    series_of,
    stamp,
    time_read,
    whole,
    why_unreadable,
)
from forestall.agent.collect.backups.finding import why_not_opened
from forestall.agent.collect.backups.memory import READ_ANEW_AFTER, REMOTE_READ_AFTER, Remembered
from forestall.agent.collect.host import FileMissing, HostError
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.redaction import redact
from forestall.wire.facts import BackupLock, BackupSnapshot, BackupWarning

MOST_MEASURED = 14
_NOT_ENCRYPTED = frozenset({"none", "authenticated", "authenticated-blake2"})


def parse_list(text: str) -> list[BackupSnapshot]:
    """Output of ``borg list --json`` run in UTC, newest first. ValueError when it is not that."""
    archives = _archives(text)
    found = [
        BackupSnapshot(
            id=str(each.get("name") or each["archive"]), at=time_read(str(each.get("time") or each["start"]))
        )
        for each in archives
    ]
    found.sort(key=lambda each: each.at)
    return found[::-1]  # of equal times the later one first


def encryption_of(text: str) -> bool | None:
    """Whether the repository of a ``--json`` answer is encrypted."""
    encryption = json.loads(text).get("encryption")
    mode = encryption.get("mode") if isinstance(encryption, dict) else None
    return None if mode is None else mode not in _NOT_ENCRYPTED


class Info:
    """``borg info --json REPOSITORY --last N``, or of one archive, or what ``borg create --json`` printed."""

    def __init__(self, text: str) -> None:
        self.snapshots: dict[str, BackupSnapshot] = {}
        self.compressed: dict[str, float] = {}
        self.protects: tuple[str, ...] = ()
        self.hosts: tuple[str, ...] = ()
        answer = json.loads(text)
        if not isinstance(answer, dict):
            raise ValueError("borg's answer is no object")  # noqa: TRY004 - the text is wrong
        cache = answer.get("cache")
        stats = cache.get("stats") if isinstance(cache, dict) else None
        self.stored_bytes = whole(stats.get("unique_csize")) if isinstance(stats, dict) else None
        one = answer.get("archive")
        archives = [one] if isinstance(one, dict) else answer.get("archives") or []
        newest: datetime | None = None
        for each in archives:
            snapshot = _snapshot(each)
            self.snapshots[snapshot.id] = snapshot
            total, packed = snapshot.size_bytes, whole(each["stats"].get("compressed_size"))
            if total and packed is not None:
                self.compressed[snapshot.id] = round(packed / total, 4)
            if newest is None or snapshot.at >= newest:
                newest = snapshot.at
                self.protects = paths_of([str(word) for word in each.get("command_line") or ()])
                self.hosts = (str(each["hostname"]),) if each.get("hostname") else ()


def _snapshot(each: Mapping[str, Any]) -> BackupSnapshot:
    stats = each["stats"]
    seconds = each.get("duration")
    return BackupSnapshot(
        id=str(each["name"]),
        at=time_read(str(each["start"])),
        size_bytes=whole(stats.get("original_size")),
        stored_bytes=whole(stats.get("deduplicated_size")),
        files=whole(stats.get("nfiles")),
        seconds=round(float(seconds), 3) if isinstance(seconds, int | float) else None,
    )


def paths_of(command_line: Sequence[str]) -> tuple[str, ...]:
    """What a ``borg create`` line backs up: the absolute paths behind the archive."""
    behind = next((number + 1 for number, word in enumerate(command_line) if "::" in word), None)
    if behind is None:
        return ()
    found, skip = [], False
    for word in command_line[behind:]:
        if word in ("-e", "--exclude", "--exclude-from", "--pattern", "--patterns-from", "-C", "--compression"):
            skip = True
        elif skip:
            skip = False
        elif word.startswith("/"):
            found.append(word)
    return tuple(dict.fromkeys(found))


def _archives(text: str) -> list[dict[str, Any]]:
    answer = json.loads(text)
    if not isinstance(answer, dict) or not isinstance(answer.get("archives"), list):
        raise ValueError("borg's answer is not a list of archives")  # noqa: TRY004 - the text is wrong
    archives: list[dict[str, Any]] = answer["archives"]
    return archives


def read(notes: Notes, candidate: Candidate, remembered: Remembered) -> Sequence[Reading]:
    why = why_not_opened(notes, candidate)
    if why:
        return [Reading(unknown_why=why)]
    place = _place(notes, candidate)
    now = notes.host.now()
    if candidate.path:
        # The index gets a new name with every change.
        files = (candidate.password_file, f"{candidate.path}/config")
        mark = fingerprint(notes, candidate.path, folders=("",), files=files)
    else:
        mark = elsewhere(notes, files=[candidate.password_file])
    notes.used(redact(f"borg list --json --bypass-lock {candidate.location}"))
    within = READ_ANEW_AFTER if candidate.path else REMOTE_READ_AFTER
    if (known := remembered.same(mark, now, within=within)) is not None:
        return [replace(known, **place.fields())]
    with TemporaryDirectory(prefix="forestall-borg-") as folder:
        borg = _Tool(notes, candidate, folder)
        try:
            listed = borg("list", candidate.location)
            history, encrypted = parse_list(listed), encryption_of(listed)
        except HostError as error:
            return [Reading(unknown_why=error.why, **place.fields())]  # type: ignore[arg-type]
        except (ValueError, KeyError, TypeError) as error:
            words = str(error) if type(error) is ValueError else f"borg's answer cannot be read: {error}"
            return [Reading(unknown_why=words, **place.fields())]  # type: ignore[arg-type]
        retention = parse_retention(candidate.setting.retention if candidate.setting else "")
        warnings = list(remembered.saw(history, retention=retention, now=now))
        new = [number for number, each in enumerate(history[:MOST_MEASURED]) if each.id not in remembered.measured]
        if new:
            _measure(notes, borg, candidate, history[: new[-1] + 1], remembered)
    series = series_of([each.id for each in history])
    history = [replace(remembered.measured.get(each.id) or each, group=series.get(each.id, "")) for each in history]
    warnings += traces.clock_wrong(history, now)
    detail = traces.harder_to_compress(
        [
            remembered.compressed[each.id]
            for each in history
            if each.id in remembered.compressed and each.group == history[0].group
        ]
    )
    if detail:
        warnings.append(BackupWarning(kind="entropy", detail=detail, snapshot=history[0].id, at=history[0].at))
    reading = Reading(
        **(of_history(history) | place.fields()),  # type: ignore[arg-type]
        protects=tuple(remembered.protects),
        hosts=tuple(each for each in remembered.hosts if each != notes.value("/proc/sys/kernel/hostname")),
        stored_bytes=remembered.stored_bytes,
        last_run_seconds=history[0].seconds if history else None,
        locks=_locks(notes, candidate),
        encrypted=encrypted,
        warnings=tuple(warnings),
    )
    return [remembered.read_whole("" if reading.locks else mark, reading, now)]


class _Tool:
    """borg on one repository."""

    def __init__(self, notes: Notes, candidate: Candidate, folder: str) -> None:
        self.notes = notes
        self.environment = dict(candidate.environment)
        if candidate.password_file:
            # borg splits this command itself, without a shell.
            self.environment["BORG_PASSCOMMAND"] = f"cat {shlex.quote(candidate.password_file)}"
        self.environment |= {
            "BORG_CACHE_DIR": f"{folder}/cache",
            "BORG_SECURITY_DIR": f"{folder}/security",
            # A throw-away security folder knows no repository; borg would ask whether we really mean it.
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        }

    def __call__(self, command: str, *words: str) -> str:
        """Its output. HostError; ValueError with why it could not."""
        argv = ["borg", command, "--json", "--bypass-lock", *words]
        result = self.notes.host.run(argv, timeout=READ_SECONDS, environment=self.environment)
        if result.exit_code != 0:
            raise ValueError(why_unreadable(result))
        return result.stdout


def _measure(
    notes: Notes, borg: _Tool, candidate: Candidate, newest: Sequence[BackupSnapshot], remembered: Remembered
) -> None:
    """Ask for the newest archives and remember; those it does not answer for are not asked for again."""
    try:
        info = Info(borg("info", "--last", str(len(newest)), candidate.location))
    except HostError as error:
        notes.gap(f"sizes in {redact(candidate.location)}", error.why)
        info = None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        notes.gap(f"sizes in {redact(candidate.location)}", str(error))
        info = None
    for each in newest:
        known = info.snapshots.get(each.id) if info else None
        remembered.measured[each.id] = replace(known, at=each.at) if known else each
    if info and info.snapshots:
        remembered.compressed |= info.compressed
        remembered.protects, remembered.hosts = list(info.protects), list(info.hosts)
        remembered.stored_bytes = info.stored_bytes


def _place(notes: Notes, candidate: Candidate) -> places.Place:
    if not candidate.path:
        return places.of_address(candidate.location if "://" in candidate.location else f"ssh:{candidate.location}")
    place = places.of_folder(notes, candidate.path)
    try:
        config = notes.host.read_bytes(f"{candidate.path}/config", limit=64 * 1024).decode(errors="replace")
    except HostError:
        return place
    if any(line.replace(" ", "").strip() == "append_only=1" for line in config.splitlines()):
        detail = f"append-only by its configuration, which root can change: {place.detail}"
        return places.Place(place.remote, place.writable, place.immutable, detail)
    return place


def _locks(notes: Notes, candidate: Candidate) -> tuple[BackupLock, ...]:
    """Of a repository that lies here: the folder ``lock.exclusive`` and what stands in ``lock.roster``."""
    if not candidate.path:
        return ()
    found: dict[tuple[str, int], BackupLock] = {}
    try:
        folder = f"{candidate.path}/lock.exclusive"
        for name in notes.host.list_dir(folder):
            # HOST@NUMBER.PID-THREAD; a host's name may hold dots.
            who, _, number = name.rpartition(".")
            pid = number.partition("-")[0]
            if pid.isdigit():
                since = stamp(notes.host.status(f"{folder}/{name}").modified_ns)
                found[who, int(pid)] = _lock(notes, who, int(pid), exclusive=True, since=since)
    except HostError:
        pass  # there is no such lock, which is how it should be
    try:
        roster = json.loads(notes.host.read_text(f"{candidate.path}/lock.roster"))
        since = stamp(notes.host.status(f"{candidate.path}/lock.roster").modified_ns)
        for kind in ("exclusive", "shared"):
            for who, pid, _thread in roster.get(kind) or ():
                exclusive = kind == "exclusive"
                found.setdefault((str(who), int(pid)), _lock(notes, who, int(pid), exclusive=exclusive, since=since))
    except FileMissing:
        pass
    except HostError as error:
        notes.gap(f"locks of {candidate.location}", error.why)
    except (ValueError, TypeError, AttributeError) as error:
        notes.gap(f"locks of {candidate.location}", f"lock.roster cannot be read: {error}")
    return tuple(found.values())


def _lock(notes: Notes, who: str, pid: int, *, exclusive: bool, since: datetime) -> BackupLock:
    host = str(who).partition("@")[0]
    return BackupLock(
        who=f"process {pid} on {host}",
        since=since,
        exclusive=exclusive,
        stale=is_gone(notes, hostname=host, pid=pid, program="borg"),
    )


ADAPTER = Adapter(name="borg", title="BorgBackup", programs=("borg", "borgmatic"), read=read)
