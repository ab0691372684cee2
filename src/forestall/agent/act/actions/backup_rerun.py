"""``backup.rerun``: run a backup again, with the command that the device's own ``backups.toml`` names for it.

The command comes from the device's settings and never from the server: a job only picks a name::

    [[backup]]
    name = "documents"
    tool = "restic"
    repository = "/srv/backup/documents"
    password_file = "/etc/forestall/documents.password"
    rerun = ["restic", "backup", "/srv/documents"]
    environment = { GOMAXPROCS = "1" }

The outcome is kept in ``backup-runs.json`` beside it, where the collector of backups reads it.
"""

from __future__ import annotations

import os
import shlex
import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import run_program
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "backup.rerun"
RISK = RiskClass.CHANGE
ARGUMENTS: Mapping[str, type] = {"backup": str}
SETTINGS_FILE = "backups.toml"
RUNS_FILE = "backup-runs.json"


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    name = str(args["backup"])
    backup = _backup(ctx.agent_home / SETTINGS_FILE, name)
    environment = _environment(backup)
    ctx.secrets.update(_secrets(backup))
    started = host.now()
    try:
        ran = run_program(backup["rerun"], ctx, environment=environment)
    except ActionFailed as error:
        _record(ctx.agent_home / RUNS_FILE, name, at=started, ok=False, detail=error.sentence)
        raise
    ok = ran.exit_code == 0
    detail = "" if ok else _complaint(ran.output, ran.exit_code, ctx.secrets)
    _record(ctx.agent_home / RUNS_FILE, name, at=started, ok=ok, detail=detail)
    if not ok:
        raise ActionFailed("backup_failed", f"backup {name}: {detail}", output=ran.output)
    return StepResult(
        action=NAME,
        ok=True,
        summary=f"backup {name} ran again and ended well",
        output=ran.output,
        changed={"backups": 1},
    )


def _backup(path: Path, name: str) -> dict[str, Any]:
    """The settings of the backup called ``name``. ActionFailed names what is missing or wrong."""
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ActionFailed("backup_unknown", f"{path} does not exist: no backup is set up here") from None
    except (OSError, ValueError) as error:
        raise ActionFailed("settings_wrong", f"{path}: {error}") from None
    entries = settings.get("backup", [])
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("name") == name:
            command = entry.get("rerun")
            if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
                raise ActionFailed("settings_wrong", f"{path}: backup {name} names no command (rerun = [...])")
            return entry
    raise ActionFailed("backup_unknown", f"{path} has no backup called {name}")


def _environment(backup: Mapping[str, Any]) -> dict[str, str]:
    """Variables from which restic and borg take repository and password; those of the settings override them."""
    repository, password_file = str(backup.get("repository", "")), str(backup.get("password_file", ""))
    variables: dict[str, str] = {}
    if backup.get("tool") == "restic":
        variables = {"RESTIC_REPOSITORY": repository, "RESTIC_PASSWORD_FILE": password_file}
    elif backup.get("tool") == "borg":
        # borg splits this as a command line itself and runs it without a shell.
        command = f"cat {shlex.quote(password_file)}" if password_file else ""
        variables = {"BORG_REPO": repository, "BORG_PASSCOMMAND": command}
    variables = {key: value for key, value in variables.items() if value}
    own = backup.get("environment", {})
    if not isinstance(own, dict):
        raise ActionFailed("settings_wrong", f"environment of backup {backup['name']} is not a table")
    return variables | {str(key): str(value) for key, value in own.items()}


def _secrets(backup: Mapping[str, Any]) -> set[str]:
    """The password and the variables of the settings, to be masked wherever the tool may print them.

    Shorter values than 6 characters (``"1"``, ``"fast"``) are no secrets, and masking them would garble the output.
    """
    secrets = {str(value) for value in backup.get("environment", {}).values() if len(str(value)) >= 6}
    path = backup.get("password_file")
    if not path:
        return secrets
    try:
        with Path(str(path)).open(encoding="utf-8", errors="replace") as file:
            password = file.read(4096).strip()
    except OSError:
        return secrets  # the tool itself will say that it cannot be read
    return secrets | {password} if password else secrets


def _complaint(output: str, exit_code: int, secrets: set[str]) -> str:
    """The last line a failed tool wrote, with its exit code."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    text = lines[-1][:300] if lines else "no output"
    for secret in secrets:
        text = text.replace(secret, "[hidden]")
    return f"exit code {exit_code}: {text}"


def _record(path: Path, name: str, *, at: datetime, ok: bool, detail: str) -> None:
    """Note the outcome in ``{name: {at, ok, detail}}``, replaced whole."""
    try:
        runs = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, Any]])
    except FileNotFoundError:
        runs = {}
    except msgspec.DecodeError:
        runs = {}  # a damaged record of past runs must not stop the next from being recorded
    runs[name] = {"at": at, "ok": ok, "detail": detail}
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("wb") as file:
        file.write(msgspec.json.encode(runs))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
