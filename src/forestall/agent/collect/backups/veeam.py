"""Veeam Backup & Replication: its REST service, or its answers and session reports saved to a folder.

``repository`` is the service (``https://veeam.example:9419``) or a folder. For the service, ``password_file`` is a file
for ``curl --config`` with one line, ``data = "grant_type=password&username=…&password=…"``; an own authority's
certificate goes into ``environment = { CURL_CA_BUNDLE = "…" }``. In a folder, ``*.json`` are answers of
``/api/v1/sessions`` and ``/api/v1/jobs/states``, ``*.csv`` what ``Get-VBRBackupSession | Export-Csv`` wrote.
``job`` narrows it to one job.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from forestall.agent.collect.backups import traces
from forestall.agent.collect.backups.adapter import Adapter, Candidate, Reading, of_history
from forestall.agent.collect.backups.common import time_read
from forestall.agent.collect.backups.logs import bytes_of
from forestall.agent.collect.backups.memory import Remembered
from forestall.agent.collect.host import HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.redaction import redact
from forestall.wire.facts import BackupSnapshot

_VERSION = "x-api-version: 1.1-rev1"
_MOST_FILES = 50
_RESULTS = {"success": True, "warning": True, "failed": False}
_KINDS = {"full": "full", "activefull": "full", "syntheticfull": "full", "incremental": "incremental",
          "increment": "incremental"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Session:
    """One run of a job."""

    job: str
    at: datetime
    ended_at: datetime | None
    ok: bool | None
    """None: it runs still, or was cancelled before it had a result."""
    detail: str = ""
    size: int | None = None
    transferred: int | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """How a job stands."""

    job: str
    last_run: datetime | None
    next_run: datetime | None
    ok: bool | None
    repository: str = ""


def parse_json(text: str) -> tuple[list[Session], list[State]]:
    """An answer of ``/sessions`` or of ``/jobs/states``. ValueError when it is neither."""
    answer = json.loads(text)
    rows = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise ValueError("is no answer of Veeam's REST service: it has no list `data`")  # noqa: TRY004
    sessions, states = [], []
    for row in rows:
        if "creationTime" in row and "sessionType" in row:
            if "backup" in str(row["sessionType"]).lower() or "replica" in str(row["sessionType"]).lower():
                sessions.append(_session(row))
        elif "lastRun" in row or "lastResult" in row:
            states.append(_state(row))
        else:
            raise ValueError(f"is an answer of another kind (with {', '.join(list(row)[:4])})")
    return sessions, states


def _session(row: Mapping[str, Any]) -> Session:
    told = row.get("result")
    result: Mapping[str, Any] = told if isinstance(told, dict) else {"result": told}
    word = str(result.get("result") or "").lower()
    ended = row.get("endTime")
    return Session(
        job=str(row["name"]),
        at=_time(str(row["creationTime"])),
        ended_at=_time(str(ended)) if ended and word in _RESULTS else None,
        ok=_RESULTS.get(word),
        detail="" if word == "success" else redact(str(result.get("message") or "").strip())[:300],
    )


def _state(row: Mapping[str, Any]) -> State:
    word = str(row.get("lastResult") or "").lower()
    return State(
        job=str(row["name"]),
        last_run=_time(str(row["lastRun"])) if row.get("lastRun") else None,
        next_run=_time(str(row["nextRun"])) if row.get("nextRun") else None,
        ok=_RESULTS.get(word),
        repository=str(row.get("repositoryName") or ""),
    )


def parse_csv(text: str, *, to_utc: Any) -> tuple[list[Session], list[tuple[int, str]]]:
    """A session report, and its lines (number, why) that could not be read. ValueError when it is none.

    ``to_utc`` turns the times, which have no zone, from the clock of the exporting machine into UTC.
    """
    lines = text.splitlines()
    skip = 1 if lines and lines[0].startswith("#TYPE") else 0
    head = lines[skip] if len(lines) > skip else ""
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO("\n".join(lines[skip:])), delimiter=delimiter)
    names = {re.sub(r"[^a-z]", "", name.lower()): name for name in reader.fieldnames or ()}

    def column(row: Mapping[str, Any], *choices: str) -> str:
        return next((str(row[names[one]] or "").strip() for one in choices if one in names and row[names[one]]), "")

    if not {"jobname", "name", "job"} & names.keys() or not {"result", "status"} & names.keys():
        raise ValueError("is no session report: it has no columns for the job's name and its result")
    sessions, odd = [], []
    for row in reader:
        job = column(row, "jobname", "job", "name")
        try:
            at = to_utc(_local(column(row, "creationtime", "starttime", "start")))
            end = column(row, "endtime", "end", "stoptime")
            word = column(row, "result", "status").lower()
            if word not in (*_RESULTS, "none", "", "running", "working"):
                raise ValueError(f"{word!r} is no result")
            ended = to_utc(_local(end)) if end else None
            size = column(row, "totalsize", "processedsize", "backupsize", "datasize", "size")
            moved = column(row, "transferedsize", "transferredsize", "transferred", "backedupsize")
            sessions.append(
                Session(
                    job=job,
                    at=at,
                    ended_at=ended if ended and ended > at - timedelta(seconds=1) else None,
                    ok=_RESULTS.get(word),
                    detail=redact(column(row, "details", "reason", "message", "description"))[:300],
                    size=_size(size),
                    transferred=_size(moved),
                    kind=_KINDS.get(re.sub(r"[^a-z]", "", column(row, "algorithm", "backuptype", "type").lower()), ""),
                )
            )
        except ValueError as error:
            odd.append((reader.line_num + skip, str(error)))
    return sessions, odd


def _size(text: str) -> int | None:
    found = re.fullmatch(r"([\d.,]+)\s*([A-Za-z]*)", text)
    return bytes_of(found[1], found[2]) if found else None


def _local(text: str) -> datetime:
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %H:%M:%S",
                 "%d.%m.%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S"):  # fmt: skip
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007 - the caller knows the zone
        except ValueError:
            continue
    raise ValueError(f"{text!r} is no time that is known")


def _time(text: str) -> datetime:
    return time_read(re.sub(r"(\.\d{6})\d+", r"\1", text)).astimezone(UTC)


def read(notes: Notes, candidate: Candidate, remembered: Remembered) -> Sequence[Reading]:
    try:
        if candidate.path:
            sessions, states = _saved(notes, candidate)
        else:
            sessions, states = _asked(notes, candidate)
    except HostError as error:
        return [Reading(unknown_why=error.why)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [Reading(unknown_why=f"its answer cannot be read: {redact(str(error))[:200]}")]
    remembered.seen_at = notes.host.now()
    wanted = candidate.setting.job if candidate.setting else ""
    jobs = dict.fromkeys([*(each.job for each in states), *(each.job for each in sessions)])
    found = [
        reading(job, sessions, states, notes.host.now()) for job in jobs if not wanted or job.lower() == wanted.lower()
    ]
    why = f"it has no job called {wanted!r}" if wanted else "it tells of no job"
    return found or [Reading(unknown_why=why)]


def reading(job: str, sessions: Sequence[Session], states: Sequence[State], now: datetime) -> Reading:
    """One job by its sessions and its state."""
    own = sorted((each for each in sessions if each.job == job), key=lambda each: each.at, reverse=True)
    state = next((each for each in states if each.job == job), None)
    history = [
        BackupSnapshot(
            id=f"{each.at:%Y-%m-%dT%H:%M:%SZ}",
            at=each.ended_at or each.at,
            size_bytes=each.size,
            stored_bytes=each.transferred,
            seconds=(each.ended_at - each.at).total_seconds() if each.ended_at else None,
            kind=each.kind,
        )
        for each in own
        if each.ok
    ]
    ended = next((each for each in own if each.ok is not None), None)
    fields = of_history(history) | {"snapshots": None}
    if ended is not None:
        fields |= {
            "last_run_at": ended.at,
            "last_run_ok": ended.ok,
            "last_run_detail": ended.detail,
            "last_run_seconds": (ended.ended_at - ended.at).total_seconds() if ended.ended_at else None,
        }
    if state is not None:
        fields["next_run_at"] = state.next_run
        if ended is None or (state.last_run is not None and state.last_run > ended.at and state.ok is not None):
            fields |= {"last_run_at": state.last_run, "last_run_ok": state.ok, "last_run_detail": ""}
            if state.ok and state.last_run is not None:
                fields["last_success_at"] = state.last_run
    return Reading(
        **fields,  # type: ignore[arg-type]
        job=job,
        remote=True,
        immutable_detail="only the backup server knows whether its repository is immutable",
        warnings=traces.clock_wrong(history, now),
    )


def _saved(notes: Notes, candidate: Candidate) -> tuple[list[Session], list[State]]:
    folder = candidate.path.rstrip("/")
    names = [name for name in notes.host.list_dir(folder) if name.lower().endswith((".json", ".csv"))]
    if not names:
        raise ValueError(f"{folder} holds no .json or .csv")
    sessions: dict[tuple[str, datetime], Session] = {}
    states: dict[str, tuple[int, State]] = {}
    for name in names[-_MOST_FILES:]:
        path = f"{folder}/{name}"
        text = notes.host.read_text(path).lstrip("\ufeff")
        notes.used(path)
        try:
            if name.lower().endswith(".csv"):
                some, odd = parse_csv(text, to_utc=notes.host.local_to_utc)
                if odd:
                    notes.gap(f"line {odd[0][0]} of {path}", odd[0][1])
                told: list[State] = []
            else:
                some, told = parse_json(text)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            notes.gap(f"Veeam's report {path}", str(error))
            continue
        sessions |= {(each.job, each.at): each for each in some}
        modified = notes.host.status(path).modified_ns
        for each in told:
            if each.job not in states or states[each.job][0] <= modified:
                states[each.job] = (modified, each)
    return list(sessions.values()), [state for _, state in states.values()]


def _asked(notes: Notes, candidate: Candidate) -> tuple[list[Session], list[State]]:
    """The REST service's answers. Sign-in and token pass through files that only we can read, never as arguments."""
    base = candidate.location.rstrip("/")
    if not re.match(r"https?://", base):
        raise ValueError(f"repository: {base!r} is neither a folder nor an address")
    if not candidate.password_file:
        raise ValueError("password_file is needed: a file for curl with the sign-in")
    token = json.loads(_curl(notes, candidate, candidate.password_file, f"{base}/api/oauth2/token"))["access_token"]
    if not re.fullmatch(r"[\w.~+/=-]+", str(token)):
        raise ValueError("the service's token has letters that no token has")
    sessions, states = [], []
    with TemporaryDirectory(prefix="forestall-veeam-") as folder:
        file = Path(folder) / "curl"
        file.touch(mode=0o600)
        file.write_text(f'header = "Authorization: Bearer {token}"\n', encoding="utf-8")
        for what in ("sessions?limit=500&orderColumn=CreationTime&orderAsc=false", "jobs/states?limit=500"):
            some, told = parse_json(_curl(notes, candidate, str(file), f"{base}/api/v1/{what}"))
            sessions += some
            states += told
    return sessions, states


def _curl(notes: Notes, candidate: Candidate, config: str, address: str) -> str:
    argv = ["curl", "--silent", "--show-error", "--fail", "--max-time", "30", "--config", config]
    result = notes.host.run([*argv, "--header", _VERSION, address], timeout=40, environment=candidate.environment)
    notes.used(redact(address))
    if result.exit_code != 0:
        raise ValueError(complaint(result))
    return result.stdout


ADAPTER = Adapter(name="veeam", title="Veeam Backup & Replication", programs=("veeamconfig",), read=read)
