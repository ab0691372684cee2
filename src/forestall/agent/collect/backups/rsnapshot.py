"""rsnapshot: its configuration says what is kept where, its log how runs ended."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec.structs import replace

from forestall.agent.collect.backup_settings import Retention
from forestall.agent.collect.backups import places, traces
from forestall.agent.collect.backups.adapter import Adapter, Candidate, Reading, of_history
from forestall.agent.collect.backups.common import stamp
from forestall.agent.collect.backups.memory import Remembered
from forestall.agent.collect.host import HostError
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.redaction import redact
from forestall.wire.facts import BackupLock, BackupSnapshot

CONFIGURATION = "/etc/rsnapshot.conf"
_CALLERS = (
    "/etc/crontab", "/etc/cron.d/*", "/etc/cron.hourly/*", "/etc/cron.daily/*", "/etc/cron.weekly/*",
    "/var/spool/cron/crontabs/root", "/var/spool/cron/root", "/etc/systemd/system/*.service",
)  # fmt: skip
_LOG_BYTES = 1024 * 1024
_LINE = re.compile(r"^\[(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\] (?:\S*rsnapshot )?(.*)$")


@dataclass(frozen=True, slots=True)
class Configuration:
    root: str = ""
    retain: Mapping[str, int] = field(default_factory=dict)
    """Name of a level → how many are kept, in the file's order: the first is made anew, the others are moved up."""
    backups: tuple[str, ...] = ()
    log: str = ""
    lock: str = ""


def parse_configuration(text: str) -> Configuration:
    """A ``rsnapshot.conf``: words parted by tabs."""
    root, log, lock = "", "", ""
    retain: dict[str, int] = {}
    backups: list[str] = []
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        words = [word.strip() for word in line.split("\t") if word.strip()] or [""]
        match words:
            case ["snapshot_root", path, *_]:
                root = path.rstrip("/")
            case ["retain" | "interval", name, number, *_] if number.isdigit():
                retain[name] = int(number)
            case ["backup" | "backup_script", source, *_]:
                backups.append(source)
            case ["logfile", path, *_]:
                log = path
            case ["lockfile", path, *_]:
                lock = path
            case _:
                continue
    return Configuration(root, retain, tuple(backups), log, lock)


def find(notes: Notes) -> Iterator[Candidate]:
    """The system's own configuration, when only root can write it and somebody uses it: packages bring one along."""
    try:
        status = notes.host.status(CONFIGURATION)
        if status.mode & 0o022 or (notes.host.is_root and status.uid != 0):
            return
        configuration = parse_configuration(notes.host.read_text(CONFIGURATION))
    except HostError:
        return  # it is not set up here
    if configuration.root and configuration.backups and (_has_kept(notes, configuration) or _is_called(notes)):
        notes.used(CONFIGURATION)
        yield Candidate("rsnapshot", configuration.root, name="rsnapshot")


def _has_kept(notes: Notes, configuration: Configuration) -> bool:
    try:
        names = notes.host.list_dir(configuration.root)
    except HostError:
        return False
    return any(name.rpartition(".")[0] in configuration.retain for name in names)


def _is_called(notes: Notes) -> bool:
    """Whether a line of cron (Debian brings one that is commented out) or a timer of the owner runs it."""
    for path in (path for pattern in _CALLERS for path in notes.host.glob(pattern)):
        text = notes.value(path)
        if any("rsnapshot" in line and not line.lstrip().startswith("#") for line in text.splitlines()):
            return True
    return False


def read(notes: Notes, candidate: Candidate, remembered: Remembered) -> Sequence[Reading]:
    """A told repository may be the configuration itself, or the folder of the snapshots."""
    path = candidate.path if candidate.path.endswith(".conf") else CONFIGURATION
    text = notes.read(path)
    configuration = parse_configuration(text) if text is not None else Configuration()
    root = configuration.root if candidate.path == path else candidate.path
    if not root:
        return [Reading(unknown_why=f"{path} names no snapshot_root" if text is not None else "no such folder")]
    if configuration.root != root:
        configuration = Configuration(root=root)
    try:
        names = notes.host.list_dir(root)
    except HostError as error:
        return [Reading(unknown_why="no such folder" if "does not exist" in error.why else error.why)]
    notes.used(f"folders in {root}")
    history: list[BackupSnapshot] = []
    for name in names:
        level, dot, number = name.rpartition(".")
        if dot and number.isdigit() and (not configuration.retain or level in configuration.retain):
            try:
                at = stamp(notes.host.status(f"{root}/{name}").modified_ns)
            except HostError:
                continue  # it is being moved up while we look
            history.append(BackupSnapshot(id=name, at=at))
    history.sort(key=lambda each: (-each.at.timestamp(), each.id))
    # Levels are moved up by renaming, so a snapshot is remembered by its time.
    by_time = [replace(each, id=f"{each.at:%Y-%m-%dT%H:%M:%SZ}") for each in history]
    now = notes.host.now()
    retention = Retention(last=_least(configuration, len(history)))
    warnings = (*remembered.saw(by_time, retention=retention, now=now), *traces.clock_wrong(history, now))
    fields = of_history(history) | places.of_folder(notes, root).fields() | _last_run(notes, configuration)
    return [
        Reading(
            **fields,  # type: ignore[arg-type]
            protects=tuple(dict.fromkeys(_source(each) for each in configuration.backups)),
            locks=_locks(notes, configuration),
            encrypted=False if history else None,
            warnings=warnings,
        )
    ]


def _least(configuration: Configuration, there: int) -> int:
    """How many must be left: each level but the first may lie empty for a while after another was moved up."""
    whole = sum(configuration.retain.values())
    return max(0, min(whole - len(configuration.retain), there)) if whole else 0


def _source(told: str) -> str:
    return redact(told.rstrip("/") or "/")


def _last_run(notes: Notes, configuration: Configuration) -> dict[str, object]:
    if not configuration.log:
        return {}
    try:
        size = notes.host.status(configuration.log).size
        data = notes.host.read_bytes(configuration.log, offset=max(0, size - _LOG_BYTES), limit=_LOG_BYTES)
    except HostError as error:
        notes.gap(f"rsnapshot's log {configuration.log}", error.why)
        return {}
    notes.used(configuration.log)
    return parse_log(data.decode(errors="replace"), notes.host.local_to_utc)


def parse_log(text: str, to_utc: Callable[[datetime], datetime]) -> dict[str, object]:
    """How the last run in rsnapshot's log ended; nothing when there is none."""
    errors: list[str] = []
    found: dict[str, object] = {}
    # It breaks long lines.
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        at, words = to_utc(datetime.fromisoformat(match[1])), match[2]
        if re.search(r": started$", words):
            errors = []
        elif "ERROR" in words or "WARNING" in words:
            errors.append(re.sub(r"^.*?(ERROR|WARNING): ", "", redact(words)).rstrip(" \\")[:150])
        if (ended := re.search(r": completed( successfully|, but with (?:some )?(?:errors|warnings))", words)) or (
            "ERROR" in words
        ):
            good = ended is not None and ended[1] == " successfully"
            if found.get("last_run_ok") is not False or good or ended is None:
                found = {
                    "last_run_at": at,
                    "last_run_ok": good,
                    "last_run_detail": "" if good else _first(errors, words),
                }
    return found


def _first(errors: Sequence[str], words: str) -> str:
    return " ".join(errors[:2]) if errors else redact(words)[:300]


def _locks(notes: Notes, configuration: Configuration) -> tuple[BackupLock, ...]:
    if not configuration.lock:
        return ()
    try:
        pid = notes.host.read_text(configuration.lock).strip()
        since = stamp(notes.host.status(configuration.lock).modified_ns)
    except HostError:
        return ()  # none is held
    if not pid.isdigit():
        return (BackupLock(who=configuration.lock, since=since, exclusive=True),)
    try:
        name = notes.host.read_text(f"/proc/{pid}/comm").strip()
        stale = not name.startswith(("rsnapshot", "perl"))
    except HostError as error:
        stale = "does not exist" in error.why
    return (BackupLock(who=f"process {pid}", since=since, exclusive=True, stale=stale),)


ADAPTER = Adapter(name="rsnapshot", title="rsnapshot", programs=("rsnapshot",), read=read, find=find)
