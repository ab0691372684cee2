"""What several adapters share: times, complaints, whose lock it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from forestall.agent.collect.host import CommandResult, HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.redaction import redact


def time_read(text: str) -> datetime:
    """ISO 8601 in UTC; without a zone it is taken as UTC. ValueError when it is not that."""
    # restic prints nanoseconds, fromisoformat takes any fraction from Python 3.11 on but cuts to microseconds.
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)


def time_of(seconds: float) -> datetime:
    """Seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def stamp(nanoseconds: int) -> datetime:
    """A file's time, in whole seconds."""
    return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)


def series_of(names: Sequence[str]) -> dict[str, str]:
    """The series that each name belongs to: what is left of it without dates and numbers; none where all are of one."""
    stems = {name: re.sub(r"[\d_.:T-]*\d[\d_.:TZ-]*", "#", name) for name in names}
    # Names without any number (monday, tuesday) tell nothing of series.
    stems = {name: stem if "#" in stem else "" for name, stem in stems.items()}
    return stems if len(set(stems.values())) > 1 else {}


def whole(value: Any) -> int | None:
    """A JSON number as an integer; None for what is none."""
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def fingerprint(notes: Notes, folder: str, *, folders: Sequence[str], files: Sequence[str]) -> str:
    """What tells that a repository here is still the same: names in some of its folders, stamps of some files.

    Empty where it cannot be told.
    """
    from hashlib import sha256

    digest = sha256()
    try:
        for name in folders:
            path = f"{folder}/{name}".rstrip("/")
            digest.update(f"{name}\n{sorted(notes.host.list_dir(path))}\n".encode())
        for path in filter(None, files):
            status = notes.host.status(path)
            digest.update(f"{path} {status.size} {status.changed_ns}\n".encode())
    except HostError:
        return ""
    return digest.hexdigest()[:32]


def elsewhere(notes: Notes, *, files: Sequence[str]) -> str:
    """The same of a repository that is not here: it is taken for unchanged while no backup has run on this device."""
    from forestall.agent.collect.backup_settings import RUNS_FILE_NAME, agent_home

    stamps = []
    for path in filter(None, (f"{agent_home(notes.host)}/{RUNS_FILE_NAME}", *files)):
        try:
            stamps.append(f"{path} {notes.host.status(path).changed_ns}")
        except HostError:
            stamps.append(path)
    return f"elsewhere {' '.join(stamps)}"


_WHY = (
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
)


def why_unreadable(result: CommandResult) -> str:
    """In a few words, why restic or borg could not read a repository."""
    said = f"{result.stderr}\n{result.stdout}"
    for pattern, why in _WHY:
        if re.search(pattern, said):
            return why
    return redact(complaint(result))


def is_gone(notes: Notes, *, hostname: str, pid: int, program: str) -> bool | None:
    """Whether the process that made a lock is gone. None: it is another machine's, or cannot be told."""
    own = notes.value("/proc/sys/kernel/hostname")
    if not own or own.partition(".")[0] != hostname.partition(".")[0]:
        return None
    try:
        name = notes.host.read_text(f"/proc/{pid}/comm").strip()
    except HostError as error:
        return True if "does not exist" in error.why else None
    # A number is given again: another program has it now.
    return not name.startswith((program, "python"))
