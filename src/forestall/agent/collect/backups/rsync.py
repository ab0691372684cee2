"""rsync: a mirror, which only its log dates, or folders named by date that share unchanged files (``--link-dest``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from forestall.agent.collect.backup_settings import LogRules, parse_retention
from forestall.agent.collect.backups import places, traces
from forestall.agent.collect.backups.adapter import Adapter, Candidate, Reading, of_history
from forestall.agent.collect.backups.common import stamp
from forestall.agent.collect.backups.declared import reading_by_log
from forestall.agent.collect.backups.kept_files import Kept, in_folder
from forestall.agent.collect.backups.memory import Remembered
from forestall.agent.collect.host import HostError
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import BackupSnapshot

LOG = LogRules(
    file="rsync.log",
    time=r"^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[\d+\]",
    time_format="%Y/%m/%d %H:%M:%S",
    start=r"\[\d+\] (?:building|receiving) file list",
    ok=r"\[\d+\] (?:sent|total: matched|received) [\d,]+",
    fail=r"rsync(?: error)?: .*(?:\(code \d+\)|failed|denied)|rsync error:",
    size=r"total size (?:is )?([\d,]+)",
)
"""What ``rsync --log-file`` writes."""
_DATED = re.compile(
    r"(?<!\d)(\d{4})[-_.]?([01]\d)[-_.]?([0-3]\d)(?:[-_.T ]?([0-2]\d)[-_.:h]?([0-5]\d)(?:[-_.:m]?([0-5]\d))?)?(?!\d)"
)


def date_in(name: str) -> datetime | None:
    """The (local) date and time in a folder's name; None: there is none."""
    found = _DATED.search(name)
    if found is None:
        return None
    if not 1980 <= int(found[1]) <= 2999:
        return None
    try:
        return datetime(*(int(part or 0) for part in found.groups()))  # type: ignore[arg-type]  # noqa: DTZ001 - local
    except ValueError:
        return None


def read(notes: Notes, candidate: Candidate, remembered: Remembered) -> Sequence[Reading]:
    setting = candidate.setting
    rules = setting.log if setting else None
    by_log = None
    if rules is not None:
        # The owner names the file; rsync's own words are known.
        given = {name: value for name in rules.__struct_fields__ if (value := getattr(rules, name)) not in ("", None)}
        by_log = reading_by_log(notes, candidate, replace(LOG, **{"file": "", **given}), remembered)
    if not candidate.path:
        return [by_log or Reading(unknown_why="it lies on another machine; name its log, or read it there")]
    try:
        folders = in_folder(notes, candidate, patterns=("*",), dirs=True)
    except HostError as error:
        why = "no such folder" if "does not exist" in error.why else error.why
        return [replace(by_log, unknown_why=why) if by_log else Reading(unknown_why=why)]
    dated = [each for each in folders if date_in(each.name)]
    if setting is not None and setting.pattern:
        dated = folders
    place = places.of_folder(notes, candidate.path)
    if not dated:
        mirror = by_log or Reading(unknown_why="a mirror does not say when it was made: name its log ([backup.log])")
        return [replace(mirror, **place.fields())]
    history = [snapshot_of(notes, each) for each in dated]
    history.sort(key=lambda each: each.at, reverse=True)
    now = notes.host.now()
    warnings = remembered.saw(history, retention=parse_retention(setting.retention if setting else ""), now=now)
    fields = of_history(history) | place.fields()
    if by_log is not None and not by_log.unknown_why:
        fields |= {
            name: getattr(by_log, name)
            for name in ("last_run_at", "last_run_ok", "last_run_detail", "last_run_seconds", "last_run_exit_code")
        }
        fields["size_bytes"] = by_log.size_bytes
    return [
        Reading(
            **fields,  # type: ignore[arg-type]
            encrypted=False,
            warnings=(*warnings, *traces.clock_wrong(history, now)),
        )
    ]


def snapshot_of(notes: Notes, folder: Kept) -> BackupSnapshot:
    """A folder that is a backup. Its own time is that of what was copied, so the name counts, else its change."""
    named = date_in(folder.name)
    at = folder.at
    if named is not None:
        at = notes.host.local_to_utc(named)
        if named.hour == named.minute == 0:
            # The name has a day only: the change of the folder itself on that day says when.
            changed = stamp(folder.changed_ns)
            at = changed if 0 <= (changed - at).total_seconds() < 86400 else at
    return BackupSnapshot(id=folder.name, at=at)


ADAPTER = Adapter(name="rsync", title="rsync", programs=("rsync",), read=read)
