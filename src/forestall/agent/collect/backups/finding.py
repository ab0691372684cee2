"""Finding repositories of restic and borg that nobody told of.

Settings of borgmatic and resticprofile, environment files, cron and systemd lines that call restic or borg, and folders
that look like a repository. As root, only what root alone can write is followed: a repository or a line that somebody
else wrote could otherwise make these programs act for them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from forestall.agent.collect.backup_settings import Tool
from forestall.agent.collect.backups.adapter import Candidate
from forestall.agent.collect.host import HostError
from forestall.agent.collect.network import user_names
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.redaction import redact

MOST_FOLDERS = 2000
"""Folders looked into for repositories that nobody told us of."""
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


def unique(candidates: Iterable[Candidate]) -> list[Candidate]:
    """One candidate for each location, under names that are unique; the first to name a location wins.

    What a later one knows and the first does not (a password file, the environment) is added to it.
    """
    by_location: dict[tuple[str, ...], Candidate] = {}
    for each in candidates:
        told = each.setting
        parts = (told.pattern, told.job, "" if each.location else told.name) if told else ("", "", "")
        key = (each.tool, each.path or each.location, *parts)
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


def named_elsewhere(notes: Notes) -> Iterator[Candidate]:
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


def lying_around(notes: Notes) -> Iterator[Candidate]:
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


def why_not_opened(notes: Notes, candidate: Candidate) -> str:
    """Why a repository's program must not, or cannot, be run on it; empty when it may."""
    host = notes.host
    if not host.find_program(candidate.tool):
        return f"{candidate.tool} is not installed"
    if candidate.path:
        try:
            status = host.status(candidate.path)
        except HostError as error:
            return "no repository there" if "does not exist" in error.why else error.why
        if host.is_root and status.uid != 0 and not candidate.told:
            owner = user_names(notes.value("/etc/passwd")).get(status.uid, str(status.uid))
            return f"belongs to {owner}: not opened with root's rights"
    return ""
