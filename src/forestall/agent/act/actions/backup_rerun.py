"""``backup.rerun``: run a backup again, with the command that the device's own ``backups.toml`` names for it.

The command comes from the device's settings (``agent.collect.backup_settings``) and never from the server: a job only
picks a name. The outcome is kept in ``backup-runs.json``, where the collector of backups reads it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import run_program
from forestall.agent.collect.backup_settings import (
    FILE_NAME,
    RUNS_FILE_NAME,
    SYSTEM_FILE,
    BackupRun,
    BackupSetting,
    SettingsError,
    parse_settings,
)
from forestall.agent.collect.host import FileMissing, Host, HostError
from forestall.agent.config import file_write
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "backup.rerun"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"backup": str}
_SOUNDS_WRONG = re.compile(
    r"\b(error|fatal|fail\w*|unable|cannot|can't|locked|denied|refused|not found)\b", re.IGNORECASE
)


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    return _run(str(args["backup"]), host, ctx, scheduled=False)


def run_scheduled(name: str, host: Host, ctx: Context) -> StepResult:
    """Run a backup with its own ``run`` command (else ``rerun``), as its schedule does, and keep the outcome too."""
    return _run(name, host, ctx, scheduled=True)


def _run(name: str, host: Host, ctx: Context, *, scheduled: bool) -> StepResult:
    backup = _backup(ctx, host, name)
    command = (scheduled and backup.run) or backup.rerun
    if not command:
        raise ActionFailed("settings_wrong", f"backup {name} names no command ({'run or ' * scheduled}rerun = [...])")
    if ctx.dry_run:
        # Not the command itself: what stands in the device's settings stays on the device.
        return StepResult(action=NAME, ok=True, summary=f"would run backup {name} as this device's settings say")
    environment = _environment(backup)
    ctx.secrets.update(_secrets(backup))
    started = host.now()
    try:
        ran = run_program(command, ctx, environment=environment)
    except ActionFailed as error:
        _record(ctx.agent_home / RUNS_FILE_NAME, name, at=started, ok=False, detail=error.sentence)
        raise
    ok = ran.exit_code == 0
    detail = "" if ok else _complaint(ran.output, ran.exit_code, ctx.secrets)
    _record(ctx.agent_home / RUNS_FILE_NAME, name, at=started, ok=ok, detail=detail)
    if not ok:
        raise ActionFailed("backup_failed", f"backup {name}: {detail}", output=ran.output)
    return StepResult(
        action=NAME,
        ok=True,
        summary=f"backup {name} ran{'' if scheduled else ' again'} and ended well",
        output=ran.output,
        changed={"backups": 1},
    )


def _backup(ctx: Context, host: Host, name: str) -> BackupSetting:
    """The settings of the backup called ``name``. ActionFailed names what is missing or wrong."""
    for path in (str(ctx.agent_home / FILE_NAME), SYSTEM_FILE):
        try:
            mode, text = host.status(path).mode, host.read_text(path)
        except FileMissing:
            continue
        except HostError as error:
            raise ActionFailed("settings_wrong", str(error)) from None
        if mode & 0o022:
            raise ActionFailed("settings_wrong", f"{path} may be written by others than its owner (chmod go-w)")
        try:
            found = [backup for backup in parse_settings(text, path) if backup.name == name]
        except SettingsError as error:
            raise ActionFailed("settings_wrong", str(error)) from None
        if not found:
            raise ActionFailed("backup_unknown", f"{path} has no backup called {name}")
        return found[0]
    raise ActionFailed("backup_unknown", "this device has no backup settings (backups.toml)")


def _environment(backup: BackupSetting) -> dict[str, str]:
    """Variables from which restic and borg take repository and password; those of the settings override them."""
    if backup.tool == "restic":
        variables = {"RESTIC_REPOSITORY": backup.repository, "RESTIC_PASSWORD_FILE": backup.password_file}
    else:
        # borg splits this as a command line itself and runs it without a shell.
        command = f"cat {shlex.quote(backup.password_file)}" if backup.password_file else ""
        variables = {"BORG_REPO": backup.repository, "BORG_PASSCOMMAND": command}
    return {key: value for key, value in variables.items() if value} | backup.environment


def _secrets(backup: BackupSetting) -> set[str]:
    """The password and the variables of the settings, to be masked wherever the tool may print them.

    Shorter values than 6 characters (``"1"``, ``"fast"``) are no secrets, and masking them would garble the output.
    """
    secrets = {value for value in backup.environment.values() if len(value) >= 6}
    if backup.password_file:
        try:
            password = Path(backup.password_file).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return secrets  # the tool itself will say that it cannot be read
        if password:
            secrets.add(password)
    return secrets


def _complaint(output: str, exit_code: int, secrets: set[str]) -> str:
    """What a failed tool complained of, with its exit code: the first line that sounds so, else the last it wrote."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    text = next(filter(_SOUNDS_WRONG.search, lines), lines[-1] if lines else "no output")[:300]
    for secret in secrets:
        text = text.replace(secret, "[hidden]")
    return f"exit code {exit_code}: {text}"


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
