"""What backup tools print and log: snapshots, runs, sizes, checks; in JSON where they write it, else as text.

Files of one tool make one backup: ``snapshots`` and ``stats`` and ``check`` of a repository complete each other. A
failed run is an answer, not an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from forestall.agent.collect.backups import borg, btrfs, lvm, proxmox, restic, rsnapshot, veeam, zfs
from forestall.agent.collect.backups import windows_server_backup as wsb
from forestall.agent.collect.backups.adapter import Candidate, of_history
from forestall.agent.collect.backups.common import time_read, whole, why_unreadable
from forestall.agent.collect.backups.logs import bytes_of, runs_in
from forestall.agent.collect.backups.reading import Reading as Found
from forestall.agent.collect.backups.rsync import LOG as RSYNC_LOG
from forestall.agent.collect.captures.capture import Capture, CapturedFile, CaptureError, Line, Parsed, Reading, Unread
from forestall.agent.collect.host import CommandResult
from forestall.agent.collect.redaction import redact
from forestall.wire.facts import BackupRepository, Backups, BackupSnapshot

Fields = dict[str, Any]


def _utc(local: datetime) -> datetime:
    """Captured times without a zone are taken as UTC."""
    return local.replace(tzinfo=UTC)


def _repository(tool: str, fields: Fields, name: str = "") -> BackupRepository:
    return BackupRepository(**{"name": name or tool, "tool": tool, "location": "", **fields})


def _merge(into: Fields, more: Fields) -> None:
    """Add what another file says. A failure stays one, whatever a second file says of the same run."""
    failed = into.get("last_run_ok") is False or more.get("last_run_ok") is False
    detail = into.get("last_run_detail") or more.get("last_run_detail") or ""
    into |= {key: value for key, value in more.items() if value not in (None, "", ())}
    if failed:
        into |= {"last_run_ok": False, "last_run_detail": detail}
    if into.get("chain_ok") and more.get("chain_ok") is False:
        into |= {"chain_ok": False, "chain_detail": more["chain_detail"]}


def _one_backup(
    tool: str, read: Callable[[CapturedFile], tuple[Fields, Sequence[Unread]]]
) -> Callable[[Sequence[CapturedFile]], Parsed]:
    """Every file tells something of the same backup."""

    def parse(files: Sequence[CapturedFile]) -> Parsed:
        fields: Fields = {}
        unread: list[Unread] = []
        good = []
        for file in files:
            try:
                more, odd = read(file)
            except CaptureError as error:
                unread.append(Unread(error.file, error.line, "", error.why))
                continue
            _merge(fields, more)
            unread += odd
            good.append(file.name)
        if not good:
            return Parsed(None, tuple(unread))
        return Parsed(Backups(repositories=(_repository(tool, fields),), sources=tuple(good)), tuple(unread))

    return parse


# --- restic -----------------------------------------------------------------------------------------------------

_FATAL = re.compile(r"^(?:Fatal|error|Error|unable to|Load\(|Pack ID does not match|pack \S+:|Warning:)", re.IGNORECASE)
_RESTIC_DULL = re.compile(
    r"^(using temporary cache|create exclusive lock|load indexes|check all packs|check snapshots, trees|read all data|"
    r"read \d|\[\d+:\d\d\]|using parent snapshot|no parent snapshot|repository \w+ opened|open(ed)? repository|"
    r"lock repository|start(ing)? (scan|backup)|scan finished|created new cache|loading indexes|enter password|"
    r"Dirs: +\d+|\d+ snapshots?$|-+$|ID +Time +Host|password is correct|subprocess )"
)
_RESTIC_FILES = re.compile(r"^Files: +(\d+) new, +(\d+) changed, +(\d+) unmodified")
_RESTIC_ADDED = re.compile(r"^Added to the repo(?:sitory)?: ([\d.]+) (\w+)(?: +\(([\d.]+) (\w+) stored\))?")
_RESTIC_DONE = re.compile(r"^processed (\d+) files, ([\d.]+) (\w+) in (?:(\d+):)?(\d+):(\d\d)")
_RESTIC_ROW = re.compile(r"^([0-9a-f]{8})  (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)  (\S+)")


def _restic(file: CapturedFile) -> tuple[Fields, Sequence[Unread]]:
    text = file.text()
    if not text.strip():
        raise CaptureError(file.name, 0, "is empty")
    if text.lstrip().startswith(("{", "[")):
        return _restic_json(file)
    reading, fields = Reading(file), {"last_run_detail": ""}
    taken: Fields = {}
    for line in reading:
        if _restic_line(reading, line, taken):
            reading.take(line)
    if not reading.took_any:
        raise CaptureError(file.name, 0, "is no output of restic: no line of it is known")
    if "history" in taken:
        taken |= of_history(sorted(taken["history"], key=lambda each: each.at, reverse=True))
    return fields | taken, reading.unread()


def _restic_line(reading: Reading, line: Line, taken: Fields) -> bool:
    text = line.text.strip()
    if found := _RESTIC_FILES.match(text):
        return True
    if found := _RESTIC_ADDED.match(text):
        return True
    if found := _RESTIC_DONE.match(text):
        hours, minutes, seconds = (int(part or 0) for part in found.groups()[3:])
        taken |= {
            "size_bytes": bytes_of(found[2], found[3]),
            "last_run_ok": taken.get("last_run_ok", True),
            "last_run_seconds": float(hours * 3600 + minutes * 60 + seconds),
        }
        return True
    if found := re.match(r"^snapshot ([0-9a-f]{8,}) saved", text):
        taken["last_run_ok"] = taken.get("last_run_ok", True)
        return True
    if text == "no errors were found":
        taken |= {"chain_ok": taken.get("chain_ok", True), "chain_detail": "restic check: no errors were found"}
        return True
    if found := _RESTIC_ROW.match(text):
        at = _utc(datetime.fromisoformat(found[2]))
        taken.setdefault("history", []).append(BackupSnapshot(id=found[1], at=at))
        return True
    if _FATAL.match(text):
        _restic_failed(taken, text)
        return True
    return bool(_RESTIC_DULL.match(text)) or (text.startswith("/") and "history" in taken)


def _restic_failed(taken: Fields, text: str) -> None:
    if re.search(r"contains errors|Pack ID does not match|pack \S+:|tree \S+:", text):
        taken.setdefault("chain_detail", f"restic check: {redact(text)[:200]}")
        taken["chain_ok"] = False
        return
    if text.lower().startswith("warning: at least one source file"):
        text = "some files could not be read"
    why = why_unreadable(CommandResult("", text, 1))
    taken |= {"last_run_ok": False, "last_run_detail": redact(text)[:300]}
    if why != text[:200] and text.startswith("Fatal"):
        taken["unknown_why"] = why


def _restic_json(file: CapturedFile) -> tuple[Fields, Sequence[Unread]]:
    first = file.text().lstrip()
    if first.startswith("["):
        return _restic_list(file)
    fields: Fields = {}
    unread: list[Unread] = []
    known = False
    for line in file.lines():
        if not line.text.strip():
            continue
        try:
            message = json.loads(line.text)
        except ValueError:
            unread.append(Unread(file.name, line.number, line.text.strip()[:200], "is no JSON message of restic"))
            continue
        if isinstance(message, dict) and _restic_message(message, fields):
            known = True
        else:
            unread.append(
                Unread(file.name, line.number, line.text.strip()[:200], "is no message of restic that is known")
            )
    if not known:
        raise CaptureError(file.name, unread[0].line if unread else 0, "is no output of restic")
    return fields, unread


def _restic_message(message: Mapping[str, Any], fields: Fields) -> bool:
    match message.get("message_type"):
        case "status" | "verbose_status":
            return True
        case "summary" if "num_errors" in message:  # restic check
            fields |= _restic_check(message)
        case "summary":
            _merge(fields, _restic_summary(message))
        case "error":
            said = message.get("error")
            text = said.get("message") if isinstance(said, dict) else said
            what = redact(f"{text} {message.get('item') or ''}".strip())[:300]
            _merge(fields, {"last_run_ok": False, "last_run_detail": what})
        case "exit_error":
            text = str(message.get("message") or "")
            why = why_unreadable(CommandResult("", text, 1))
            _merge(fields, {"last_run_ok": False, "last_run_detail": redact(text)[:300]})
            fields |= {
                "last_run_exit_code": whole(message.get("code")),
                "unknown_why": why if why != text[:200] else "",
            }
        case "version" | "changed" | "change" | "statistics":
            return True
        case None if "total_size" in message and "snapshots_count" in message:
            # Of several snapshots together it says nothing of the newest.
            if message["snapshots_count"] == 1:
                fields["size_bytes"] = whole(message["total_size"])
            fields["snapshots"] = whole(message["snapshots_count"])
        case None if "struct_type" in message or "hostname" in message:
            return True
        case _:
            return False
    return True


def _restic_check(message: Mapping[str, Any]) -> Fields:
    errors = whole(message.get("num_errors")) or 0
    words = (
        "no errors were found" if not errors else f"{errors} errors, {message.get('broken_packs') or 'no'} broken packs"
    )
    return {"chain_ok": not errors, "chain_detail": f"restic check: {words}"}


def _restic_summary(message: Mapping[str, Any]) -> Fields:
    if "total_bytes_processed" not in message:
        return {}
    fields: Fields = {
        "last_run_ok": True,
        "size_bytes": whole(message["total_bytes_processed"]),
        "last_run_seconds": round(float(message.get("total_duration") or 0), 3),
    }
    if message.get("backup_end"):
        at = time_read(str(message["backup_end"]))
        snapshot = BackupSnapshot(
            id=str(message.get("snapshot_id") or "")[:16],
            at=time_read(str(message.get("backup_start") or message["backup_end"])),
            size_bytes=whole(message["total_bytes_processed"]),
            added_bytes=whole(message.get("data_added")),
            stored_bytes=whole(message.get("data_added_packed")),
            files=whole(message.get("total_files_processed")),
            new_files=whole(message.get("files_new")),
            changed_files=whole(message.get("files_changed")),
        )
        fields |= {"last_run_at": at, "history": (snapshot,), "last_success_at": snapshot.at}
    return fields


def _restic_list(file: CapturedFile) -> tuple[Fields, Sequence[Unread]]:
    rows = file.json()
    if rows and all(isinstance(each, dict) and "keep" in each for each in rows):
        kept = [snapshot for each in rows for snapshot in each["keep"] or ()]
        removed = sum(len(each.get("remove") or ()) for each in rows)
        found = restic.parse_snapshots(json.dumps(kept))
        fields = of_history(found.history) | {
            "last_run_detail": f"{removed} snapshots were forgotten" if removed else ""
        }
    elif all(isinstance(each, dict) and "time" in each and "id" in each for each in rows):
        found = restic.parse_snapshots(file.text())
        fields = of_history(found.history)
    else:
        raise CaptureError(file.name, 1, "is a JSON list, yet neither of `restic snapshots` nor of `restic forget`")
    fields |= {
        "protects": tuple(dict.fromkeys(path for _, _, paths in found.recent for path in paths)),
        "hosts": tuple(dict.fromkeys(host for _, host, _ in found.recent if host)),
        "encrypted": True,
    }
    return fields, ()


# --- borg -------------------------------------------------------------------------------------------------------

_BORG_TEXT: tuple[tuple[str, str], ...] = (
    ("archive", r"^Archive name: (.+)$"),
    ("start", r"^Time \(start\): \w+, (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)"),
    ("files", r"^Number of files: (\d+)$"),
    ("this", r"^This archive: +([\d.]+) (\w+) +([\d.]+) (\w+) +([\d.]+) (\w+)"),
    ("all", r"^All archives: +([\d.]+) (\w+) +([\d.]+) (\w+) +([\d.]+) (\w+)"),
    ("repository", r"^Repository: (.+)$"),
)
_BORG_DULL = re.compile(
    r"^(-+|Archive fingerprint:|Time \(end\)|Duration:|Utilization of|Original size +Compressed|Unique chunks|"
    r"Chunk index:|Creating archive at|Starting |finished segment check|Index object count|Analyzing archive|"
    r"Remote: |Enter passphrase|[AMUCEdbcsh?x-] /)"
)
_BORG_ROW = re.compile(r"^(\S+) +\w{3}, (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) \[[0-9a-f]{64}\]")


def _borg(file: CapturedFile) -> tuple[Fields, Sequence[Unread]]:
    text = file.text().lstrip()
    if not text.strip():
        raise CaptureError(file.name, 0, "is empty")
    if text.startswith("{") and not text.startswith('{"type"'):
        return _borg_json(file), ()
    reading = Reading(file)
    fields: Fields = {}
    told: dict[str, re.Match[str]] = {}
    history: list[BackupSnapshot] = []
    for line in reading:
        stripped = line.text.strip()
        if not stripped:
            continue
        if stripped.startswith("{"):
            if _borg_message(stripped, fields):
                reading.take(line)
        elif row := _BORG_ROW.match(stripped):
            history.append(BackupSnapshot(id=row[1], at=_utc(datetime.fromisoformat(row[2]))))
            reading.take(line)
        elif _borg_failed(stripped, fields) or _BORG_DULL.match(stripped):
            reading.take(line)
        else:
            for name, pattern in _BORG_TEXT:
                if found := re.match(pattern, stripped):
                    told[name] = found
                    reading.take(line)
    if not reading.took_any:
        raise CaptureError(file.name, 0, "is no output of borg: no line of it is known")
    fields |= _borg_stats(told)
    if history:
        fields |= of_history(sorted(history, key=lambda each: each.at, reverse=True))
    return fields, reading.unread()


def _borg_failed(text: str, fields: Fields) -> bool:
    if re.search(r"check complete, no problems found|repository check, no problems found", text):
        fields |= {"chain_ok": fields.get("chain_ok", True), "chain_detail": "borg check: no problems found"}
        return True
    if re.search(
        r"^(Repository|Archive) .*(does not exist|is not a valid)|passphrase supplied|Failed to create/acquire", text
    ):
        why = why_unreadable(CommandResult("", text, 2))
        fields |= {"unknown_why": why, "last_run_ok": False, "last_run_detail": redact(text)[:300]}
        return True
    if re.search(r": \[Errno \d+\]|terminating with (warning|error) status", text):
        _merge(fields, {"last_run_ok": False, "last_run_detail": redact(text)[:300]})
        return True
    return False


def _borg_message(text: str, fields: Fields) -> bool:
    """One line of ``--log-json``."""
    try:
        message = json.loads(text)
    except ValueError:
        return False
    if not isinstance(message, dict):
        return False
    match message.get("type"):
        case "log_message":
            level, said = message.get("levelname"), str(message.get("message") or "").strip()
            if not _borg_failed(said, fields) and level in ("ERROR", "CRITICAL"):
                broken = str(message.get("name", "")).startswith(("borg.repository", "borg.archive"))
                name = "chain" if broken and "archiver" not in str(message.get("name")) else "last_run"
                _merge(fields, {f"{name}_ok": False, f"{name}_detail": redact(said)[:300]})
            return True
        case "file_status" | "archive_progress" | "progress_message" | "progress_percent" | "question_prompt":
            return True
        case _:
            return False


def _borg_json(file: CapturedFile) -> Fields:
    answer = file.json_object()
    if "repository" not in answer and "archives" not in answer:
        raise CaptureError(file.name, 1, "is JSON, yet not of borg: it names no repository")
    info = borg.Info(json.dumps(answer)) if _has_stats(answer) else None
    repository = answer.get("repository")
    fields: Fields = {
        "location": redact(str(repository.get("location") or "")) if isinstance(repository, dict) else "",
        "encrypted": borg.encryption_of(json.dumps(answer)),
    }
    if info is not None:
        history = sorted(info.snapshots.values(), key=lambda each: each.at, reverse=True)
        fields |= {"stored_bytes": info.stored_bytes, "protects": info.protects, "hosts": info.hosts}
        if history:
            # It was asked of some, and says nothing of how many there are.
            fields |= of_history(history) | {"snapshots": None}
        if "archive" in answer:  # what `borg create` printed
            fields |= {
                "last_run_ok": True,
                "last_run_at": history[0].at,
                "last_run_seconds": history[0].seconds,
            }
    elif isinstance(answer.get("archives"), list):
        fields |= of_history(borg.parse_list(json.dumps(answer)))
    return fields


def _has_stats(answer: Mapping[str, Any]) -> bool:
    archives = answer.get("archives")
    return "cache" in answer or "archive" in answer or (
        isinstance(archives, list) and bool(archives) and isinstance(archives[0], dict) and "stats" in archives[0]
    )  # fmt: skip


def _borg_stats(told: Mapping[str, re.Match[str]]) -> Fields:
    """The text of ``borg create --stats``."""
    fields: Fields = {}
    if "repository" in told:
        fields["location"] = redact(told["repository"][1])
    if "all" in told:
        fields["stored_bytes"] = bytes_of(told["all"][5], told["all"][6])
    if "archive" in told and "start" in told and "this" in told:
        this = told["this"]
        snapshot = BackupSnapshot(
            id=told["archive"][1],
            at=_utc(datetime.fromisoformat(told["start"][1])),
            size_bytes=bytes_of(this[1], this[2]),
            stored_bytes=bytes_of(this[5], this[6]),
            files=int(told["files"][1]) if "files" in told else None,
        )
        fields |= {
            "last_run_ok": True,
            "last_run_at": snapshot.at,
            "history": (snapshot,),
            "last_success_at": snapshot.at,
            "size_bytes": snapshot.size_bytes,
        }
    return fields


# --- logs -------------------------------------------------------------------------------------------------------

_RSYNC_DULL = re.compile(
    r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[\d+\] (building|receiving|sent|total|rsync|[<>ch.*][fdLDS+. ]|"
    r"[<>ch.*][fdLDS][.+cstTpogunabx?]+ |\*deleting|Number of|Total |Literal|Matched|File list|created directory|"
    r"skipping|delta-transmission|IO error|file has vanished)"
)


def _rsync(file: CapturedFile) -> tuple[Fields, Sequence[Unread]]:
    reading = Reading(file)
    for line in reading:
        if _RSYNC_DULL.match(line.text):
            reading.take(line)
    if not reading.took_any:
        raise CaptureError(file.name, 0, "is no log of rsync (--log-file)")
    try:
        runs = runs_in(file.text(), RSYNC_LOG, file_at=None, to_utc=_utc)
    except ValueError as error:
        raise CaptureError(file.name, 0, str(error)) from None
    if not runs:
        raise CaptureError(file.name, 0, "tells of no run: no line begins one")
    last = runs[-1]
    history = [
        BackupSnapshot(id=f"{run.at:%Y-%m-%dT%H:%M:%SZ}", at=run.at, size_bytes=run.size)
        for run in reversed(runs)
        if run.ok
    ]
    fields = of_history(history) | {"snapshots": None}
    fields |= {"last_run_at": last.at, "last_run_ok": last.ok, "last_run_detail": last.detail}
    return fields, reading.unread("is no line of rsync's log")


_RSNAPSHOT_LINE = re.compile(r"^(\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\] |\s+\S)")


def _rsnapshot(file: CapturedFile) -> tuple[Fields, Sequence[Unread]]:
    reading = Reading(file)
    for line in reading:
        if _RSNAPSHOT_LINE.match(line.text):
            reading.take(line)
    fields = rsnapshot.parse_log(file.text(), _utc)
    if not fields:
        raise CaptureError(file.name, 0, "tells of no run of rsnapshot")
    if fields["last_run_ok"]:
        fields["last_success_at"] = fields["last_run_at"]
    return fields, reading.unread("is no line of rsnapshot's log")


# --- tools that answer whole ------------------------------------------------------------------------------------


def _answer(
    tool: str, read: Callable[[str], Sequence[tuple[str, Fields]]]
) -> Callable[[Sequence[CapturedFile]], Parsed]:
    """Each file is one whole answer; ``read`` gives backups (name, fields) or raises what its parser raises."""

    def parse(files: Sequence[CapturedFile]) -> Parsed:
        found: dict[str, BackupRepository] = {}
        unread: list[Unread] = []
        good = []
        for file in files:
            try:
                text = file.text().lstrip("\ufeff")
                if not text.strip():
                    raise CaptureError(file.name, 0, "is empty")
                backups = read(text)
            except CaptureError as error:
                unread.append(Unread(error.file, error.line, "", error.why))
                continue
            except json.JSONDecodeError as error:
                unread.append(Unread(file.name, error.lineno, "", f"is not JSON: {error.msg}"))
                continue
            except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
                unread.append(Unread(file.name, 0, "", f"is no answer that is known: {str(error)[:150]}"))
                continue
            good.append(file.name)
            for name, fields in backups:
                known = msgspec.structs.asdict(found[name]) if name in found else {}
                _merge(known, {"name": name, "tool": tool, **fields})
                found[name] = BackupRepository(**{"location": "", **known})
        if not good:
            return Parsed(None, tuple(unread))
        return Parsed(Backups(repositories=tuple(found.values()), sources=tuple(good)), tuple(unread))

    return parse


def _fields(found: Found) -> Fields:
    return {name: value for name in found.__struct_fields__ if (value := getattr(found, name)) not in (None, "", ())}


def _proxmox(text: str) -> list[tuple[str, Fields]]:
    anywhere = Candidate("proxmox", "")
    return [(group.name, _fields(proxmox.reading(group, anywhere, (), ()))) for group in proxmox.parse_snapshots(text)]


_NEVER = datetime(9000, 1, 1, tzinfo=UTC)


def _veeam(text: str) -> list[tuple[str, Fields]]:
    if text.lstrip().startswith("{"):
        sessions, states = veeam.parse_json(text)
    else:
        sessions, odd = veeam.parse_csv(text, to_utc=_utc)
        states = []
        if odd:
            raise ValueError(f"line {odd[0][0]}: {odd[0][1]}")
    jobs = dict.fromkeys([*(each.job for each in states), *(each.job for each in sessions)])
    # The future is not known here, so no clock is judged.
    return [(job, _fields(veeam.reading(job, sessions, states, _NEVER))) for job in jobs]


def _wbadmin(text: str) -> list[tuple[str, Fields]]:
    if text.lstrip().startswith("{"):
        summary = wsb.parse_summary(text)
        rest = {name: value for name, value in summary.items() if name != "target" and value not in (None, "")}
        return [("windows-server-backup", rest | {"location": str(summary["target"])})]
    kept = wsb.parse_versions(text)
    history = [BackupSnapshot(id=each.identifier, at=each.at) for each in kept]
    recovers = kept[0].recovers if kept else ()
    location = kept[0].target if kept else ""
    return [("windows-server-backup", of_history(history) | {"protects": recovers, "location": location})]


def _zfs(text: str) -> list[tuple[str, Fields]]:
    sets: dict[str, list[zfs.Snapshot]] = {}
    for each in zfs.parse_list(text):
        sets.setdefault(each.snapshot.id.partition("@")[0], []).append(each)
    return [
        (name, of_history([each.snapshot for each in group]) | {"stored_bytes": sum(each.used for each in group)})
        for name, group in sets.items()
    ]


def _btrfs(text: str) -> list[tuple[str, Fields]]:
    return [("btrfs", of_history([BackupSnapshot(id=each.path, at=each.at) for each in btrfs.parse_list(text)]))]


def _lvm(text: str) -> list[tuple[str, Fields]]:
    found: dict[str, list[lvm.Snapshot]] = {}
    for each in lvm.parse_lvs(text):
        found.setdefault(each.origin, []).append(each)
    backups = []
    for origin, group in found.items():
        lost = [each.snapshot.id for each in group if each.lost]
        fields = of_history([each.snapshot for each in group if not each.lost])
        if lost:
            fields |= {"chain_ok": False, "chain_detail": f"{', '.join(lost)} filled up, and is lost"}
        backups.append((origin, fields))
    return backups


CAPTURES = (
    Capture(
        name="restic",
        title="restic repositories and runs",
        document=Backups,
        files="what `restic snapshots`, `backup`, `forget`, `stats` or `check` wrote (--json or text, errors too)",
        read=_one_backup("restic", _restic),
    ),
    Capture(
        name="borg",
        title="Borg repositories and runs",
        document=Backups,
        files="what `borg list`, `info`, `create --stats` or `check` wrote (--json, --log-json or text)",
        read=_one_backup("borg", _borg),
    ),
    Capture(
        name="rsync",
        title="rsync's log",
        document=Backups,
        files="what `rsync --log-file=FILE` wrote",
        read=_one_backup("rsync", _rsync),
    ),
    Capture(
        name="rsnapshot",
        title="rsnapshot's log",
        document=Backups,
        files="the `logfile` of rsnapshot.conf",
        read=_one_backup("rsnapshot", _rsnapshot),
    ),
    Capture(
        name="proxmox-backup",
        title="Proxmox Backup Server",
        document=Backups,
        files="output of `proxmox-backup-client snapshots --output-format json`",
        read=_answer("proxmox", _proxmox),
    ),
    Capture(
        name="veeam",
        title="Veeam jobs and sessions",
        document=Backups,
        files="answers of /api/v1/sessions or /api/v1/jobs/states, or `Get-VBRBackupSession | Export-Csv`",
        read=_answer("veeam", _veeam),
    ),
    Capture(
        name="wbadmin",
        title="Windows Server Backup",
        document=Backups,
        files="output of `wbadmin get versions`, or of `Get-WBSummary | ConvertTo-Json`",
        read=_answer("windows_server_backup", _wbadmin),
    ),
    Capture(
        name="zfs-snapshots",
        title="ZFS snapshots",
        document=Backups,
        files="output of `zfs list -Hp -t snapshot -o name,creation,used,referenced,written,userrefs`",
        read=_answer("zfs", _zfs),
    ),
    Capture(
        name="btrfs-snapshots",
        title="Btrfs snapshots",
        document=Backups,
        files="output of `btrfs subvolume list -s -u -q -R PATH`, run in UTC",
        read=_answer("btrfs", _btrfs),
    ),
    Capture(
        name="lvm-snapshots",
        title="LVM snapshots",
        document=Backups,
        files="output of `lvs --reportformat json --units b -o vg_name,lv_name,origin,lv_time,lv_attr,lv_size,"
        "data_percent`",
        read=_answer("lvm", _lvm),
    ),
)
