"""Anything with a log and an exit code: the owner's rules (``[backup.log]``) say how its runs are read."""

from __future__ import annotations

from collections.abc import Sequence

from forestall.agent.collect.backup_settings import LogRules
from forestall.agent.collect.backups import places, traces
from forestall.agent.collect.backups.adapter import Adapter, Candidate, Reading, of_history
from forestall.agent.collect.backups.logs import read_runs
from forestall.agent.collect.backups.memory import Remembered
from forestall.agent.collect.host import HostError
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import BackupSnapshot


def read(notes: Notes, candidate: Candidate, remembered: Remembered) -> Sequence[Reading]:
    rules = candidate.setting.log if candidate.setting else None
    if rules is None:
        return [Reading(unknown_why="its settings have no [backup.log]")]
    return [reading_by_log(notes, candidate, rules, remembered)]


def reading_by_log(notes: Notes, candidate: Candidate, rules: LogRules, remembered: Remembered) -> Reading:
    """What the log says. The runs in it are no list of what is kept: logs are cut, and backups are thrown away."""
    try:
        runs = read_runs(notes, rules)
    except HostError as error:
        return Reading(unknown_why=str(error) if error.subject not in error.why else error.why)
    except ValueError as error:
        return Reading(unknown_why=f"its log cannot be read: {error}")
    remembered.seen_at = notes.host.now()
    if not runs:
        return Reading(unknown_why="its log tells of no run")
    history = [
        BackupSnapshot(id=f"{run.at:%Y-%m-%dT%H:%M:%SZ}", at=run.at, size_bytes=run.size, seconds=run.seconds)
        for run in runs
        if run.ok
    ]
    last = runs[0]
    place = places.of_folder(notes, candidate.path) if candidate.path else places.Place()
    return Reading(
        **(of_history(history) | {"snapshots": None} | place.fields()),  # type: ignore[arg-type]
        last_run_at=last.at,
        last_run_ok=last.ok,
        last_run_detail=last.detail,
        last_run_seconds=last.seconds,
        last_run_exit_code=last.exit_code,
        warnings=traces.clock_wrong(history, notes.host.now()),
    )


ADAPTER = Adapter(name="declared", title="anything with a log", programs=(), read=read)
