"""The ``backups`` document: restic and borg repositories, told of or found, and their newest content; and on the
machine of a server, how Forestall's own backup stands (the file that it keeps of that).

Told of: ``backups.toml`` (see ``backup_settings``). Found: settings of borgmatic and resticprofile, environment files,
cron and systemd lines that call restic or borg, and folders that look like a repository. Nothing is locked, cached or
written: restic runs with ``--no-lock --no-cache``, borg with ``--bypass-lock`` and throw-away caches.

As root, only what root alone can write is followed: a repository or a line that somebody else wrote could otherwise
make these programs act for them.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import msgspec

from forestall.agent.collect.backup_settings import (
    SettingsError,
    Tool,
    data_folder,
    load_runs,
    load_settings,
    settings_file,
)
from forestall.agent.collect.host import CommandResult, FileMissing, Host, HostError
from forestall.agent.collect.network import user_names
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.redaction import redact
from forestall.wire import backup_status
from forestall.wire.facts import BackupJob, BackupRepository, Backups

PROGRAMS = ("restic", "borg", "borgmatic", "resticprofile", "rsnapshot", "duplicity", "kopia", "bacula-fd", "bareos-fd")
READ_SECONDS = 60.0
MOST_FOLDERS = 2000
"""Folders looked into for repositories that nobody told us of."""
MOST_REPOSITORIES = 32
_ROOTS = ("/srv", "/backup", "/backups", "/var/backups", "/mnt", "/media", "/home", "/root", "/opt")
_DEPTH = 3
_RESTIC_LAYOUT = frozenset({"config", "data", "index", "keys", "snapshots"})
_BORG_README = "This is a Borg Backup repository"
_ENVIRONMENT_FILES = (
    "/etc/restic*.env", "/etc/restic/*", "/etc/default/restic*", "/etc/sysconfig/restic*", "/etc/borg*.env",
    "/etc/borg/*", "/etc/default/borg*", "/etc/backup/*",
)  # fmt: skip
_BORGMATIC_FILES = (
    "/etc/borgmatic/*.yaml",
    "/etc/borgmatic/*.yml",
    "/etc/borgmatic.d/*.yaml",
    "/etc/borgmatic.d/*.yml",
)
_RESTICPROFILE_FILES = ("/etc/resticprofile/profiles.*", "/etc/resticprofile/profiles.d/*")
_CALLERS = (
    "/etc/crontab", "/etc/cron.d/*", "/etc/cron.hourly/*", "/etc/cron.daily/*", "/etc/cron.weekly/*",
    "/etc/cron.monthly/*", "/etc/systemd/system/*.service", "/var/spool/cron/crontabs/root", "/var/spool/cron/root",
    "/usr/local/bin/*backup*", "/usr/local/sbin/*backup*",
)  # fmt: skip
_VARIABLE = re.compile(
    r"(?:^|\s)(?:export\s+|Environment=\"?)?((?:RESTIC|BORG|AWS|B2|AZURE|GOOGLE|ST|OS)_\w+)=(\"[^\"\n]*\"|'[^'\n]*'|[^\s\"';]*)"
)
_TEXT_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Candidate:
    """A repository that somebody named, or that lies there."""

    tool: Tool
    location: str
    name: str = ""
    password_file: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    rerun: bool = False
    told: bool = False
    """Named in the device's backup settings."""

    @property
    def path(self) -> str:
        """Its folder, empty for a repository elsewhere."""
        path = self.location.removeprefix("local:")
        return path.rstrip("/") or "/" if path.startswith("/") else ""


@dataclass(frozen=True, slots=True)
class Content:
    """What a repository holds."""

    newest_at: datetime | None = None
    count: int | None = None
    unknown_why: str = ""


def collect(host: Host) -> Backups:
    notes = Notes(host)
    told = _told(notes)
    try:
        runs = load_runs(host)
    except (HostError, SettingsError) as error:
        notes.gap("last runs of backups", str(error))
        runs = {}
    candidates = unique([*told, *_named_elsewhere(notes), *_lying_around(notes)])
    if len(candidates) > MOST_REPOSITORIES:
        notes.gap(f"{len(candidates) - MOST_REPOSITORIES} repositories", f"only {MOST_REPOSITORIES} are read")
    repositories = []
    for candidate in candidates[:MOST_REPOSITORIES]:
        content = _content(notes, candidate)
        run = runs.get(candidate.name)
        if content.unknown_why:
            notes.gap(f"backup {candidate.name}", content.unknown_why)
        repositories.append(
            BackupRepository(
                name=candidate.name,
                tool=candidate.tool,
                location=redact(candidate.location),
                last_success_at=content.newest_at,
                snapshots=content.count,
                last_run_at=run.at if run else None,
                last_run_ok=run.ok if run else None,
                last_run_detail=run.detail if run else "",
                rerun=candidate.rerun,
                unknown_why=content.unknown_why,
                restored_at=run.restored_at if run else None,
                restored_ok=run.restored_ok if run else None,
                restored_detail=run.restored_detail if run else "",
            )
        )
    own = _own(notes, taken={one.name for one in repositories})
    return Backups(
        tools=tuple(name for name in PROGRAMS if host.find_program(name)),
        repositories=tuple(repositories),
        jobs=() if own is None else (own,),
        sources=notes.sources,
        gaps=notes.gaps,
    )


def _own(notes: Notes, *, taken: set[str]) -> BackupJob | None:
    """Forestall's own backup, on the machine of its server; None where there is none, or its schedule is off."""
    path = f"{data_folder(notes.host)}/server/{backup_status.FILE_NAME}"
    name = next(one for one in ("forestall", "forestall-server", "forestall-server-own") if one not in taken)
    try:
        data = notes.host.read_bytes(path, limit=_TEXT_BYTES)
    except FileMissing:
        return None
    except HostError as error:
        notes.gap("Forestall's own backup", error.why)
        return BackupJob(name=name, tool="forestall", location="", unknown_why=error.why)
    notes.used(path)
    try:
        status = msgspec.json.decode(data, type=backup_status.BackupStatus)
    except msgspec.DecodeError as error:
        notes.gap("Forestall's own backup", f"its status cannot be read: {error}")
        return BackupJob(name=name, tool="forestall", location="", unknown_why=f"its status cannot be read: {error}")
    if not status.scheduled:
        return None
    return BackupJob(
        name=name,
        tool="forestall",
        location=status.folder,
        first_due_at=status.first_due_at,
        last_success_at=status.last_success_at,
        snapshots=status.kept,
        last_run_at=status.last_run_at,
        last_run_ok=status.last_run_ok,
        last_run_detail=status.last_run_detail[:500],
        restored_at=status.verified_at,
        restored_ok=status.verified_ok,
        restored_detail=status.verified_detail[:500],
    )


def parse_restic_snapshots(text: str) -> Content:
    """Output of ``restic snapshots --json``. ValueError when it is not that."""
    snapshots = json.loads(text or "null")
    if snapshots is None:
        return Content(count=0)  # restic up to 0.14 prints null for an empty repository
    if not isinstance(snapshots, list):
        raise ValueError("restic's answer is not a list of snapshots")  # noqa: TRY004 - the text is wrong
    times = [_time(str(each["time"])) for each in snapshots]
    return Content(newest_at=max(times, default=None), count=len(times))


def parse_borg_list(text: str) -> Content:
    """Output of ``borg list --json`` run in UTC. ValueError when it is not that."""
    answer = json.loads(text)
    if not isinstance(answer, dict) or not isinstance(answer.get("archives"), list):
        raise ValueError("borg's answer is not a list of archives")  # noqa: TRY004 - the text is wrong
    times = [_time(str(each.get("time") or each["start"])) for each in answer["archives"]]
    return Content(newest_at=max(times, default=None), count=len(times))


def why_unreadable(result: CommandResult) -> str:
    """In a few words, why restic or borg could not read a repository."""
    said = f"{result.stderr}\n{result.stdout}"
    for pattern, why in (
        (r"wrong password|passphrase supplied in .* is incorrect|PassphraseWrong", "the password is wrong"),
        (
            r"empty password|no password|Unable to get passphrase|passphrase.*(needed|not supplied)|GetPassWarning",
            "password needed",
        ),
        (
            r"does not exist|unable to open config file|Is there a repository|is not a valid repository",
            "no repository there",
        ),
        (r"[Pp]ermission denied", "not readable with the agent's rights"),
        (r"lock|Lock", "locked by another program"),
    ):
        if re.search(pattern, said):
            return why
    return redact(complaint(result))


def unique(candidates: Iterable[Candidate]) -> list[Candidate]:
    """One candidate for each location, under names that are unique; the first to name a location wins.

    What a later one knows and the first does not (a password file, the environment) is added to it.
    """
    by_location: dict[tuple[str, str], Candidate] = {}
    for each in candidates:
        key = (each.tool, each.path or each.location)
        known = by_location.get(key)
        if known is None:
            by_location[key] = each
        elif not known.password_file and not known.environment:
            by_location[key] = replace(known, password_file=each.password_file, environment=each.environment)
    taken: set[str] = set()
    named = []
    for each in sorted(by_location.values(), key=lambda one: (not one.told, one.location)):
        stem = each.name or re.split(r"[/:]", redact(each.location).rstrip("/"))[-1] or each.tool
        name, number = stem, 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name)
        named.append(replace(each, name=name))
    return named


def find_in_text(text: str) -> Iterator[Candidate]:
    """Repositories that a script, cron table, unit or environment file names for restic or borg."""
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = [line for line in joined.splitlines() if not line.lstrip().startswith("#")]
    variables = {
        name: value.strip("\"'") for line in lines for name, value in _VARIABLE.findall(line) if "$" not in value
    }
    if location := variables.get("RESTIC_REPOSITORY"):
        yield _from_variables("restic", location, variables)
    if location := variables.get("BORG_REPO"):
        yield _from_variables("borg", location, variables)
    for line in lines:
        try:
            words = shlex.split(line)
        except ValueError:
            words = line.split()
        for index, word in enumerate(words):
            tool = word.rpartition("/")[2].partition("=")[2] or word.rpartition("/")[2]
            if tool == "restic":
                yield from _restic_call(words[index + 1 :], variables)
            elif tool == "borg":
                yield from _borg_call(words[index + 1 :], variables)


def find_in_borgmatic(text: str) -> Iterator[Candidate]:
    """Repositories in a borgmatic configuration. Its YAML is read line by line: the agent carries no YAML parser."""
    password = re.search(r"^\s*encryption_passcommand:\s*[\"']?cat\s+([^\s\"']+)", text, re.MULTILINE)
    indent: int | None = None
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        depth = len(line) - len(line.lstrip())
        if re.match(r"\s*repositories:\s*$", line):
            indent = depth
            continue
        if indent is None:
            continue
        if depth < indent or (depth == indent and not line.lstrip().startswith("-")):
            indent = None
            continue
        found = re.match(r"\s*(?:-\s+)?path:\s*[\"']?([^\"'\s]+)", line) or re.match(
            r"\s*-\s+[\"']?([^\"'\s:]+(?::[^\"'\s]+)?)[\"']?\s*$", line
        )
        if found:
            yield Candidate("borg", found[1], password_file=password[1] if password else "")


def find_in_resticprofile(text: str, folder: str) -> Iterator[Candidate]:
    """Repositories in a resticprofile configuration (TOML, YAML or HCL), line by line."""
    current: Candidate | None = None
    for line in text.splitlines():
        setting = re.match(r"\s*\"?(repository|password-file)\"?\s*[:=]\s*[\"']?([^\"'\n#]+?)[\"']?\s*,?\s*$", line)
        if setting is None:
            continue
        if setting[1] == "repository":
            if current is not None:
                yield current
            current = Candidate("restic", setting[2])
        elif current is not None:
            path = setting[2] if setting[2].startswith("/") else f"{folder}/{setting[2]}"
            current = replace(current, password_file=path)
    if current is not None:
        yield current


def _from_variables(tool: Tool, location: str, variables: Mapping[str, str]) -> Candidate:
    password = variables.get("RESTIC_PASSWORD_FILE", "") if tool == "restic" else ""
    kept = {name: value for name, value in variables.items() if name not in ("RESTIC_REPOSITORY", "BORG_REPO")}
    return Candidate(tool, location, password_file=password, environment=kept)


def _restic_call(words: list[str], variables: Mapping[str, str]) -> Iterator[Candidate]:
    location = _option(words, "-r", "--repo")
    if location and "$" not in location:
        password = _option(words, "-p", "--password-file") or variables.get("RESTIC_PASSWORD_FILE", "")
        yield replace(
            _from_variables("restic", location, variables), password_file=password if "$" not in password else ""
        )


def _borg_call(words: list[str], variables: Mapping[str, str]) -> Iterator[Candidate]:
    if not words or (words[0].startswith("-") and len(words) < 2):
        return
    for word in words[1:]:
        location, parted, _ = word.partition("::")
        if parted and location and "$" not in location:
            yield _from_variables("borg", location, variables)
            return
    location = _option(words, "-r", "--repo")
    if location and "$" not in location:
        yield _from_variables("borg", location, variables)


def _option(words: list[str], short: str, long: str) -> str:
    for index, word in enumerate(words):
        if word in (short, long):
            return words[index + 1] if index + 1 < len(words) else ""
        if word.startswith(f"{long}="):
            return word.partition("=")[2]
    return ""


def _told(notes: Notes) -> list[Candidate]:
    try:
        settings = load_settings(notes.host)
    except (HostError, SettingsError) as error:
        notes.gap("backup settings", str(error))
        return []
    path = settings_file(notes.host)
    if path:
        notes.used(path)
    return [
        Candidate(
            each.tool,
            each.repository,
            name=each.name,
            password_file=each.password_file,
            environment=each.environment,
            rerun=bool(each.rerun),
            told=True,
        )
        for each in settings
    ]


def _named_elsewhere(notes: Notes) -> Iterator[Candidate]:
    for path, text in _texts(notes, (*_ENVIRONMENT_FILES, *_CALLERS)):
        found = list(find_in_text(text))
        if found:
            notes.used(path)
        yield from found
    for path, text in _texts(notes, _BORGMATIC_FILES):
        notes.used(path)
        yield from find_in_borgmatic(text)
    for path, text in _texts(notes, _RESTICPROFILE_FILES):
        notes.used(path)
        yield from find_in_resticprofile(text, path.rpartition("/")[0])


def _texts(notes: Notes, patterns: Iterable[str]) -> Iterator[tuple[str, str]]:
    host = notes.host
    for path in dict.fromkeys(path for pattern in patterns for path in host.glob(pattern)):
        try:
            status = host.status(path)
            if not status.is_file or status.mode & 0o022 or (host.is_root and status.uid != 0):
                continue  # a folder, or somebody else's word
            yield path, host.read_bytes(path, limit=_TEXT_BYTES).decode(errors="replace")
        except HostError as error:
            if re.search(r"restic|borg|backup", path):
                notes.gap(f"backups named in {path}", error.why)


def _lying_around(notes: Notes) -> Iterator[Candidate]:
    host = notes.host
    looked_into = 0
    hidden: list[str] = []
    folders = [(root, 0) for root in _ROOTS]
    while folders:
        folder, depth = folders.pop(0)
        if looked_into >= MOST_FOLDERS:
            notes.gap("repositories deep in the file system", f"only {MOST_FOLDERS} folders are looked into")
            break
        try:
            names = host.list_dir(folder)
        except HostError as error:
            if error.why == "needs root":
                hidden.append(folder)
            continue  # no such folder, or a file
        looked_into += 1
        if set(names) >= _RESTIC_LAYOUT:
            yield Candidate("restic", folder)
            continue
        if {"README", "config", "data"} <= set(names) and _BORG_README in notes.value(f"{folder}/README"):
            yield Candidate("borg", folder)
            continue
        if depth < _DEPTH:
            # A name with an extension is a file in all but odd cases; asking for each would cost a call.
            folders += [
                (f"{folder}/{name}", depth + 1) for name in names if not name.startswith(".") and "." not in name[1:]
            ]
    notes.used(f"folders below {', '.join(_ROOTS)}")
    if hidden:
        where = hidden[0] if len(hidden) == 1 else f"{len(hidden)} folders, {hidden[0]} first"
        notes.gap(f"repositories in {where}", "needs root")


def _content(notes: Notes, candidate: Candidate) -> Content:
    host = notes.host
    if not host.find_program(candidate.tool):
        return Content(unknown_why=f"{candidate.tool} is not installed")
    if candidate.path:
        try:
            status = host.status(candidate.path)
        except HostError as error:
            return Content(unknown_why="no repository there" if "does not exist" in error.why else error.why)
        if host.is_root and status.uid != 0 and not candidate.told:
            owner = user_names(notes.value("/etc/passwd")).get(status.uid, str(status.uid))
            return Content(unknown_why=f"belongs to {owner}: not opened with root's rights")
    if candidate.tool == "restic":
        return _restic_content(notes, candidate)
    if candidate.tool != "borg":
        return Content(unknown_why=f"{candidate.tool} cannot be read by this version")
    return _borg_content(notes, candidate)


def _restic_content(notes: Notes, candidate: Candidate) -> Content:
    environment = dict(candidate.environment)
    if candidate.password_file:
        environment["RESTIC_PASSWORD_FILE"] = candidate.password_file
    if not {"RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND"} & environment.keys():
        return _restic_content_without_password(notes, candidate)
    return _read(
        notes,
        ["restic", "--repo", candidate.location, "snapshots", "--json", "--no-lock", "--no-cache"],
        environment,
        parse_restic_snapshots,
    )


def _restic_content_without_password(notes: Notes, candidate: Candidate) -> Content:
    """How many snapshots, and when the newest file of one was written: visible without opening the repository."""
    if not candidate.path:
        return Content(unknown_why="password needed")
    folder = f"{candidate.path}/snapshots"
    try:
        times = [notes.host.status(f"{folder}/{name}").modified_ns for name in notes.host.list_dir(folder)]
    except HostError as error:
        return Content(unknown_why=error.why)
    notes.used(folder)
    newest = datetime.fromtimestamp(max(times) // 1_000_000_000, UTC) if times else None
    return Content(newest, len(times), "password needed; the time is that of its newest snapshot file")


def _borg_content(notes: Notes, candidate: Candidate) -> Content:
    from tempfile import TemporaryDirectory

    environment = dict(candidate.environment)
    if candidate.password_file:
        # borg splits this command itself, without a shell.
        environment["BORG_PASSCOMMAND"] = f"cat {shlex.quote(candidate.password_file)}"
    with TemporaryDirectory(prefix="forestall-borg-") as folder:
        environment |= {
            "BORG_CACHE_DIR": f"{folder}/cache",
            "BORG_SECURITY_DIR": f"{folder}/security",
            # A throw-away security folder knows no repository; borg would ask whether we really mean it.
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        }
        argv = ["borg", "list", "--json", "--bypass-lock", candidate.location]
        return _read(notes, argv, environment, parse_borg_list)


def _read(notes: Notes, argv: list[str], environment: Mapping[str, str], parse: Callable[[str], Content]) -> Content:
    try:
        result = notes.host.run(argv, timeout=READ_SECONDS, environment=environment)
    except HostError as error:
        return Content(unknown_why=error.why)
    notes.used(redact(" ".join(argv)))
    if result.exit_code != 0:
        return Content(unknown_why=why_unreadable(result))
    try:
        return parse(result.stdout)
    except (ValueError, KeyError, TypeError) as error:
        return Content(unknown_why=f"{argv[0]}'s answer cannot be read: {error}")


def _time(text: str) -> datetime:
    # restic prints nanoseconds, fromisoformat takes any fraction from Python 3.11 on but cuts to microseconds.
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
