"""Windows Server Backup: ``wbadmin get versions`` and ``Get-WBSummary``, asked through PowerShell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from forestall.agent.collect.backup_settings import parse_retention
from forestall.agent.collect.backups import traces
from forestall.agent.collect.backups.adapter import Adapter, Candidate, Reading, of_history
from forestall.agent.collect.backups.common import time_of, time_read, whole
from forestall.agent.collect.backups.memory import Remembered
from forestall.agent.collect.host import HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.wire.facts import BackupSnapshot

SUMMARY = ("powershell", "-NoProfile", "-NonInteractive", "-Command", "Get-WBSummary | ConvertTo-Json -Depth 3")
VERSIONS = ("wbadmin", "get", "versions")
_VERSION = re.compile(r"(\d\d)/(\d\d)/(\d{4})-(\d\d):(\d\d)")
_DATE = re.compile(r"^/Date\((-?\d+)\)/$")


class Version:
    """One entry of ``wbadmin get versions``."""

    def __init__(self, identifier: str, at: datetime) -> None:
        self.identifier, self.at = identifier, at
        self.target = ""
        self.recovers: tuple[str, ...] = ()


def parse_versions(text: str) -> list[Version]:
    """Newest first. Titles are translated on other Windows languages; the identifier (UTC, American) never is.

    ValueError when the text holds none and is not the answer of an empty catalogue either.
    """
    found: list[Version] = []
    target = ""
    for line in text.splitlines():
        title, colon, value = line.partition(":")
        identifier = _VERSION.search(line)
        if identifier and identifier[0] == value.strip():
            month, day, year, hour, minute = (int(part) for part in identifier.groups())
            version = Version(identifier[0], datetime(year, month, day, hour, minute, tzinfo=UTC))
            version.target, target = target, ""
            found.append(version)
        elif re.match(r"\s*backup (target|location)", title, re.IGNORECASE) and colon:
            target = value.strip()
        elif re.match(r"\s*can recover", title, re.IGNORECASE) and found:
            found[-1].recovers = tuple(part.strip() for part in value.split(","))
    if not found and not re.search(r"wbadmin", text, re.IGNORECASE):
        raise ValueError("is no answer of wbadmin")
    return sorted(found, key=lambda each: each.at, reverse=True)


def parse_summary(text: str) -> dict[str, Any]:
    """The JSON of ``Get-WBSummary``: fields of ``Reading``. ValueError when it is not that."""
    found = json.loads(text)
    if not isinstance(found, dict) or "LastSuccessfulBackupTime" not in found:
        raise ValueError("is no answer of Get-WBSummary")
    result = whole(found.get("LastBackupResultHR"))
    detail = " ".join(filter(None, (
        str(found.get("DetailedMessage") or "").strip(),
        f"error 0x{result & 0xFFFFFFFF:08X}" if result else "",
    )))  # fmt: skip
    return {
        "last_success_at": _time(found.get("LastSuccessfulBackupTime")),
        "last_run_at": _time(found.get("LastBackupTime")),
        "last_run_ok": None if result is None else result == 0,
        "last_run_detail": detail if result else "",
        "last_run_exit_code": result,
        "next_run_at": _time(found.get("NextBackupTime")),
        "snapshots": whole(found.get("NumberOfVersions")),
        "target": str(found.get("LastSuccessfulBackupTargetPath") or found.get("LastBackupTarget") or ""),
    }


def _time(value: Any) -> datetime | None:
    """PowerShell's JSON: ``/Date(1795454421435)/``, or an ISO time; the year 1 stands for never."""
    text = str(value.get("value") if isinstance(value, Mapping) else value or "")
    if match := _DATE.match(text):
        milliseconds = int(match[1])
        return time_of(milliseconds / 1000) if milliseconds > 0 else None
    at = time_read(text) if text else None
    return at if at is not None and at.year > 1601 else None


def find(notes: Notes) -> Iterator[Candidate]:
    """The one of this machine, where its program is."""
    if notes.host.find_program("wbadmin"):
        yield Candidate("windows_server_backup", "Windows Server Backup", name="windows-server-backup")


def read(notes: Notes, candidate: Candidate, remembered: Remembered) -> Sequence[Reading]:
    try:
        versions = notes.host.run(VERSIONS, timeout=60)
    except HostError as error:
        return [Reading(unknown_why=error.why)]
    notes.used(" ".join(VERSIONS))
    if versions.exit_code != 0:
        return [Reading(unknown_why=complaint(versions))]
    fields: dict[str, Any] = {}
    try:
        kept = parse_versions(versions.stdout)
        summary = notes.host.run(SUMMARY, timeout=60)
        if summary.exit_code == 0:
            fields = parse_summary(summary.stdout)
            notes.used("Get-WBSummary")
        else:
            notes.gap("the last run of Windows Server Backup", complaint(summary))
    except HostError as error:
        notes.gap("the last run of Windows Server Backup", error.why)
    except ValueError as error:
        return [Reading(unknown_why=f"its answer cannot be read: {error}")]
    if not candidate.told and not kept and not fields.get("last_run_at") and not fields.get("next_run_at"):
        return []  # the program comes with Windows; nobody has set it up
    return [reading(notes, candidate, remembered, kept, fields)]


def reading(
    notes: Notes, candidate: Candidate, remembered: Remembered, kept: Sequence[Version], summary: Mapping[str, Any]
) -> Reading:
    history = [BackupSnapshot(id=each.identifier, at=each.at) for each in kept]
    now = notes.host.now()
    retention = parse_retention(candidate.setting.retention if candidate.setting else "")
    warnings = (*remembered.saw(history, retention=retention, now=now), *traces.clock_wrong(history, now))
    rest = {name: value for name, value in summary.items() if name != "target" and value is not None}
    target = str(summary.get("target") or (kept[0].target if kept else ""))
    return Reading(
        **(of_history(history) | rest),  # type: ignore[arg-type]
        protects=kept[0].recovers if kept else (),
        remote=target.startswith("\\\\") if target else None,
        writable=True if target else None,
        immutable=False if target else None,
        immutable_detail=f"an administrator can delete what is on {target}" if target else "",
        warnings=warnings,
    )


ADAPTER = Adapter(
    name="windows_server_backup", title="Windows Server Backup", programs=("wbadmin",), read=read, find=find
)
