"""The device's own backup settings: what its owner tells Forestall about backups, and how past runs ended.

``backups.toml`` stands in the agent's folder, else in /etc/forestall::

    [[backup]]
    name = "nightly"                                   # short, unique on the device
    tool = "restic"                                    # or "borg"
    repository = "/srv/backup/nightly"                 # as the tool takes it
    password_file = "/etc/forestall/nightly.password"  # optional; for borg too
    run = ["/usr/local/sbin/backup-nightly"]           # optional: what `forestall agent backup nightly` runs
    rerun = ["/usr/local/sbin/backup-again"]           # optional: what a job may run after a failure
    environment = { AWS_PROFILE = "backup" }           # optional: for the tool, when the agent reads the repository

Its commands run with the agent's rights, so a file that others may write is refused. ``backup-runs.json`` in the
agent's folder holds the last run of each: ``{"nightly": {"at": "2026-11-23T02:00:00Z", "ok": true, "detail": ""}}``,
and, when a restore test writes them there, ``restored_at``, ``restored_ok`` and ``restored_detail``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from forestall.agent.collect.host import FileMissing, Host

SYSTEM_FILE = "/etc/forestall/backups.toml"
FILE_NAME = "backups.toml"
RUNS_FILE_NAME = "backup-runs.json"


class BackupSetting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One backup that the device's owner names."""

    name: str
    tool: Literal["restic", "borg"]
    repository: str
    password_file: str = ""
    run: tuple[str, ...] = ()
    rerun: tuple[str, ...] = ()
    environment: dict[str, str] = {}


class BackupRun(msgspec.Struct, frozen=True, kw_only=True):
    """How the last run of a backup ended."""

    at: datetime
    ok: bool
    detail: str = ""
    restored_at: datetime | None = None
    """When it was last restored to see whether that works."""
    restored_ok: bool | None = None
    restored_detail: str = ""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    backup: tuple[BackupSetting, ...] = ()


class SettingsError(ValueError):
    """The settings cannot be taken; says which value of which file is wrong."""


def agent_home(host: Host) -> str:
    """The agent's own folder: FORESTALL_AGENT_HOME, else ``agent`` in FORESTALL_HOME or in its default."""
    home = host.environment("FORESTALL_AGENT_HOME")
    if home:
        return home.rstrip("/")
    return f"{data_folder(host)}/agent"


def data_folder(host: Host) -> str:
    """Forestall's data folder on this device: of a server, where it is one, and of the agent."""
    base = host.environment("FORESTALL_HOME") or f"{host.environment('HOME') or ''}/.local/share/forestall"
    return base.rstrip("/")


def settings_file(host: Host) -> str | None:
    """The settings file that counts; None when there is none."""
    for path in (f"{agent_home(host)}/{FILE_NAME}", SYSTEM_FILE):
        try:
            host.status(path)
        except FileMissing:
            continue
        return path
    return None


def load_settings(host: Host) -> tuple[BackupSetting, ...]:
    """The backups named in the settings file. SettingsError; a HostError when it is there and cannot be read."""
    path = settings_file(host)
    if path is None:
        return ()
    if host.status(path).mode & 0o022:
        raise SettingsError(f"{path} may be written by others than its owner (chmod go-w); its commands would run")
    return parse_settings(host.read_text(path), path)


def parse_settings(text: str, path: str) -> tuple[BackupSetting, ...]:
    """The backups in a settings file. SettingsError names the bad value."""
    try:
        found = msgspec.toml.decode(text, type=_File).backup
    except msgspec.DecodeError as error:  # covers wrong types and values, with their path
        raise SettingsError(f"{path}: {error}") from None
    names = [each.name for each in found]
    for number, each in enumerate(found):
        if not each.name or not each.repository:
            raise SettingsError(f"{path}: $.backup[{number}]: name and repository must not be empty")
        if names.index(each.name) != number:
            raise SettingsError(f"{path}: $.backup[{number}].name: {each.name!r} is there twice")
    return found


def load_runs(host: Host) -> dict[str, BackupRun]:
    """The last run of each backup by its name. SettingsError; a HostError when it is there and cannot be read."""
    path = f"{agent_home(host)}/{RUNS_FILE_NAME}"
    try:
        data = host.read_bytes(path)
    except FileMissing:
        return {}
    try:
        return msgspec.json.decode(data, type=dict[str, BackupRun])
    except msgspec.DecodeError as error:
        raise SettingsError(f"{path}: {error}") from None
