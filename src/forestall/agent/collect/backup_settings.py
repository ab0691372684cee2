"""The device's own backup settings: what its owner tells Forestall about backups, and how past runs ended.

``backups.toml`` stands in the agent's folder, else in /etc/forestall::

    [[backup]]
    name = "nightly"                                   # short, unique on the device
    tool = "restic"                                    # one of TOOLS
    repository = "/srv/backup/nightly"                 # as the tool takes it: a repository, a folder, a data set
    password_file = "/etc/forestall/nightly.password"  # optional; for borg too
    run = ["/usr/local/sbin/backup-nightly"]           # optional: what `forestall agent backup nightly` runs
    rerun = ["/usr/local/sbin/backup-again"]           # optional: what a job may run after a failure
    environment = { AWS_PROFILE = "backup" }           # optional: for the tool, when the agent reads the repository
    # all of these are optional too, and say what the repository itself cannot:
    paths = ["/srv/www", "/etc"]                       # what it protects
    exclude = ["*.tmp", "/srv/www/cache/*"]            # what of these is left out on purpose
    databases = ["shop"]                               # databases in it, by name
    pattern = "shop-*.dump"                            # which files of a folder are its backups
    job = "vm/101"                                     # its name in a backup program with names of its own
    retention = "7 daily, 4 weekly, 12 monthly"        # what is kept; what vanishes against it is a finding
    schedule = "0 2 * * *"                             # when it runs: five fields of cron, or @daily and the like
    remote = true                                      # kept on another machine (a mounted share looks local)
    offline = false                                    # kept on a medium that is taken away
    immutable = true                                   # held against deletion by its server
    manifest = true                                    # note hashes of `paths` at backup time, to compare restores
    check = ["/usr/local/sbin/shop-answers"]           # run in what was restored: proves the application
    query = "select count(*) > 0 from orders"          # asked of a restored database ...
    expect = "t"                                       # ... and its answer
    scratch = "/srv/scratch"                           # where restore tests may work, when not in the agent's folder
    [backup.log]                                       # of a `declared` backup: anything that writes a log
    file = "/var/log/tape/*.log"                       # see ``LogRules``

Its commands run with the agent's rights, so a file that others may write is refused. ``backup-runs.json`` in the
agent's folder holds the last run of each: ``{"nightly": {"at": "2026-11-23T02:00:00Z", "ok": true, "detail": ""}}``,
and, when a restore test writes them there, ``restored_at``, ``restored_ok`` and ``restored_detail``.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal, get_args

import msgspec

from forestall.agent.collect.host import FileMissing, Host

Tool = Literal[
    "restic", "borg", "pg_dump", "pg_basebackup", "mariadb_dump", "rsync", "rsnapshot", "tar", "zfs", "btrfs", "lvm",
    "windows_server_backup", "veeam", "proxmox", "declared",
]  # fmt: skip
"""Name of an adapter: of a module in ``agent.collect.backups``, and of one in ``agent.act.backups`` where it can be
proven."""

TOOLS: tuple[Tool, ...] = get_args(Tool)
SYSTEM_FILE = "/etc/forestall/backups.toml"
FILE_NAME = "backups.toml"
RUNS_FILE_NAME = "backup-runs.json"
_KEPT = re.compile(r"(\d+)\s+(last|hourly|daily|weekly|monthly|yearly|days?)$")


class LogRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a backup that only leaves a log (and an exit code) is read. Patterns are Python's regular expressions."""

    file: str = ""
    """The log, or a pattern of shell kind for several; the newest matter."""
    exit_code_file: str = ""
    """A file that holds the exit code of the last run, and whose time is that of its end."""
    time: str = ""
    """Finds a line's time: its first group, or the whole. Empty: the file's own time."""
    time_format: str = ""
    """Of strptime (``%d.%m.%Y %H:%M:%S``); empty: ISO 8601. Times without zone are the device's."""
    start: str = ""
    """Finds the line with which a run begins. Empty: every file is one run."""
    ok: str = ""
    """Finds the line that says that the run was good."""
    fail: str = ""
    """Finds a line that says that it was not; it wins over ``ok``."""
    size: str = ""
    """Finds the size: group 1 the number, group 2 (optional) its unit."""
    seconds: str = ""
    """Finds the duration in seconds: group 1."""
    good_exit_codes: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if not self.file and not self.exit_code_file:
            raise ValueError("log: file or exit_code_file must be named")
        for name in ("time", "start", "ok", "fail", "size", "seconds"):
            pattern = getattr(self, name)
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"log: {name}: {pattern!r} is no regular expression: {error}") from None
            if pattern and name in ("size", "seconds") and not groups:
                raise ValueError(f"log: {name}: {pattern!r} has no group for the number")


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept, as the owner says it. 0: no such rule."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    days: int = 0
    """Everything of so many days."""


class BackupSetting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One backup that the device's owner names."""

    name: str
    tool: Tool
    repository: str = ""
    """Where it is kept; may be left out for ``declared`` and ``windows_server_backup``."""
    password_file: str = ""
    """Of a repository: its password. Of a server (Veeam, Proxmox): a file for ``curl --config`` with the sign-in."""
    run: tuple[str, ...] = ()
    rerun: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    paths: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    """What is left out of ``paths`` on purpose, as patterns of shell kind: ``*.tmp``, ``/srv/www/cache/*``."""
    databases: tuple[str, ...] = ()
    pattern: str = ""
    job: str = ""
    retention: str = ""
    """See ``parse_retention``."""
    schedule: str = ""
    remote: bool | None = None
    offline: bool | None = None
    immutable: bool | None = None
    manifest: bool = True
    """Note hashes of ``paths`` at backup time."""
    check: tuple[str, ...] = ()
    """A program and its arguments, run with the restored folder as its working folder; 0 is good."""
    query: str = ""
    expect: str = ""
    """The first value of the query's answer as text; empty: any answer will do."""
    log: LogRules | None = None
    scratch: str = ""
    """Folder in which restore tests make theirs; empty: one in the agent's own."""

    def __post_init__(self) -> None:
        parse_retention(self.retention)
        if self.tool == "declared" and self.log is None:
            raise ValueError(f"backup {self.name!r}: a declared backup needs its [backup.log]")


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
    return first_file(host, (f"{agent_home(host)}/{FILE_NAME}", SYSTEM_FILE))


def first_file(host: Host, paths: tuple[str, ...]) -> str | None:
    """The first of these files that is there; None when none is."""
    for path in paths:
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
        if not each.name or not (each.repository or each.tool in ("declared", "windows_server_backup")):
            raise SettingsError(f"{path}: $.backup[{number}]: name and repository must not be empty")
        if names.index(each.name) != number:
            raise SettingsError(f"{path}: $.backup[{number}].name: {each.name!r} is there twice")
    return found


def parse_retention(text: str) -> Retention:
    """``7 daily, 4 weekly``, ``30 days``, ``10 last``, mixed. ValueError names the part that is none of these."""
    kept: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = _KEPT.match(part)
        if found is None:
            raise ValueError(f"retention: {part!r} is not like '7 daily', '4 weekly', '30 days' or '10 last'")
        kept["days" if found[2] == "day" else found[2]] = int(found[1])
    return msgspec.convert(kept, Retention)


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
