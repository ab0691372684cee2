"""A backup as the device's settings name it: found by its name, with its environment and what must stay secret."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.backup_settings import (
    FILE_NAME,
    SYSTEM_FILE,
    BackupSetting,
    SettingsError,
    parse_settings,
)
from forestall.agent.collect.host import FileMissing, Host, HostError

_SOUNDS_WRONG = re.compile(
    r"\b(error|fatal|fail\w*|unable|cannot|can't|locked|denied|refused|not found|mismatch|corrupt\w*|invalid)\b",
    re.IGNORECASE,
)


def find_backup(name: str, host: Host, ctx: Context) -> BackupSetting:
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


def environment_of(backup: BackupSetting) -> dict[str, str]:
    """Variables from which a tool takes repository and password; those of the settings override them."""
    variables: dict[str, str] = {}
    if backup.tool == "restic":
        variables = {"RESTIC_REPOSITORY": backup.repository, "RESTIC_PASSWORD_FILE": backup.password_file}
    elif backup.tool == "borg":
        # borg splits this as a command line itself and runs it without a shell.
        command = f"cat {shlex.quote(backup.password_file)}" if backup.password_file else ""
        variables = {"BORG_REPO": backup.repository, "BORG_PASSCOMMAND": command}
    return {key: value for key, value in variables.items() if value} | backup.environment


def secrets_of(backup: BackupSetting) -> set[str]:
    """The password and the variables of the settings, to be masked wherever a tool may print them.

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


def complaint(output: str, exit_code: int, secrets: set[str]) -> str:
    """What a failed tool complained of, with its exit code: the first line that sounds so, else the last it wrote."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    text = next(filter(_SOUNDS_WRONG.search, lines), lines[-1] if lines else "no output")[:300]
    for secret in secrets:
        text = text.replace(secret, "[hidden]")
    return f"exit code {exit_code}: {text}"
