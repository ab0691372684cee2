"""``backup.rerun``: run a backup again, with the command that the device's own ``backups.toml`` names for it.

The command comes from the device's settings (``agent.collect.backup_settings``) and never from the server: a job only
picks a name. The outcome is kept in ``backup-runs.json``, where the collector of backups reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from forestall.agent.act.backups.noting import Noting
from forestall.agent.act.backups.source import complaint, environment_of, find_backup, secrets_of
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import run_program
from forestall.agent.collect.backup_settings import RUNS_FILE_NAME, BackupRun
from forestall.agent.collect.host import Host
from forestall.agent.config import file_write
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "backup.rerun"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"backup": str}


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    return _run(str(args["backup"]), host, ctx, scheduled=False)


def run_scheduled(name: str, host: Host, ctx: Context) -> StepResult:
    """Run a backup with its own ``run`` command (else ``rerun``), as its schedule does, and keep the outcome too."""
    return _run(name, host, ctx, scheduled=True)


def _run(name: str, host: Host, ctx: Context, *, scheduled: bool) -> StepResult:
    backup = find_backup(name, host, ctx)
    command = (scheduled and backup.run) or backup.rerun
    if not command:
        raise ActionFailed("settings_wrong", f"backup {name} names no command ({'run or ' * scheduled}rerun = [...])")
    if ctx.dry_run:
        # Not the command itself: what stands in the device's settings stays on the device.
        return StepResult(action=NAME, ok=True, summary=f"would run backup {name} as this device's settings say")
    environment = environment_of(backup)
    ctx.secrets.update(secrets_of(backup))
    noting = Noting(backup, host, ctx) if backup.manifest else None
    started = host.now()
    try:
        ran = run_program(command, ctx, environment=environment)
    except ActionFailed as error:
        _record(ctx.agent_home / RUNS_FILE_NAME, name, at=started, ok=False, detail=error.sentence)
        raise
    ok = ran.exit_code == 0
    detail = "" if ok else complaint(ran.output, ran.exit_code, ctx.secrets)
    _record(ctx.agent_home / RUNS_FILE_NAME, name, at=started, ok=ok, detail=detail)
    if not ok:
        raise ActionFailed("backup_failed", f"backup {name}: {detail}", output=ran.output)
    noted = noting.ended_well() if noting is not None else ""
    return StepResult(
        action=NAME,
        ok=True,
        summary=f"backup {name} ran{'' if scheduled else ' again'} and ended well{'; ' * bool(noted)}{noted}",
        output=ran.output,
        changed={"backups": 1},
    )


def _record(path: Path, name: str, *, at: datetime, ok: bool, detail: str) -> None:
    """Note the outcome in ``{name: {at, ok, detail}}``, replaced whole."""
    try:
        runs = msgspec.json.decode(path.read_bytes(), type=dict[str, BackupRun])
    except (FileNotFoundError, msgspec.DecodeError):
        runs = {}  # a damaged record of past runs must not stop the next from being recorded
    # What a restore test wrote beside it stays.
    before = runs.get(name) or BackupRun(at=at, ok=ok)
    runs[name] = msgspec.structs.replace(before, at=at, ok=ok, detail=detail)
    file_write(str(path), msgspec.json.encode(runs))
