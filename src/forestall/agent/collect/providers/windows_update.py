"""Windows Update, asked through the Windows Update Agent's COM interface by PowerShell, which answers in JSON.

There is no agent for Windows yet: this has read answers that were written, and lists of installed numbers that were
recorded on real machines. It never ran on Windows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.providers import Reading
from forestall.wire.facts import Update, UpdateProvider

NAME = "windows-update"
KIND: Literal["system"] = "system"
CAN = ("list",)

SCRIPT = r"""
$ErrorActionPreference = 'Stop'
$searcher = (New-Object -ComObject Microsoft.Update.Session).CreateUpdateSearcher()
$searcher.Online = $false
$offered = @($searcher.Search('IsInstalled=0').Updates | ForEach-Object {
  @{ Title = $_.Title; KB = @($_.KBArticleIDs); CVE = @($_.CveIDs); Bulletins = @($_.SecurityBulletinIDs)
     Severity = $_.MsrcSeverity; Size = [int64]$_.MaxDownloadSize; Hidden = $_.IsHidden
     Categories = @($_.Categories | ForEach-Object { $_.CategoryID })
     Reboot = [int]$_.InstallationBehavior.RebootBehavior
     Released = $_.LastDeploymentChangeTime.ToUniversalTime().ToString('s')
     Id = $_.Identity.UpdateID; Revision = [int]$_.Identity.RevisionNumber }
})
$last = (New-Object -ComObject Microsoft.Update.AutoUpdate).Results.LastSearchSuccessDate
$searched = if ($last) { $last.ToString('s') } else { $null }
@{ Offered = $offered; LastSearch = $searched
   RebootRequired = (New-Object -ComObject Microsoft.Update.SystemInfo).RebootRequired } |
  ConvertTo-Json -Depth 5 -Compress
"""
"""Asks what Windows already knows to be missing (``Online = $false``); categories by number, not by translated name."""

SECURITY_UPDATES = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
CRITICAL_UPDATES = "e6cf1350-c01b-414d-a61f-263d14d133b4"
DEFINITION_UPDATES = "e0789628-ce08-4437-be74-2495b842f43b"
"""Classifications of Windows Server Update Services, the same in every language."""
_SEVERITIES: Mapping[str, Literal["", "low", "medium", "high", "critical"]] = {
    "critical": "critical",
    "important": "high",
    "moderate": "medium",
    "low": "low",
}


def present(host: Host) -> bool:
    return bool(host.find_program("powershell.exe"))


def read(notes: Notes) -> Reading:
    result = notes.run(
        ["powershell.exe", "-NoProfile", "-NonInteractive", "-Command", SCRIPT],
        what="updates of Windows",
        source="Windows Update Agent",
        timeout=180,
    )
    if result is None or result.exit_code != 0:
        why = complaint(result) if result else "PowerShell did not answer"
        notes.gap("updates of Windows", why)
        return Reading(UpdateProvider(name=NAME, can=CAN, unknown_why=why))
    answer = parse_answer(result.stdout)
    if answer is None:
        why = "the Windows Update Agent's answer could not be read"
        notes.gap("updates of Windows", why)
        return Reading(UpdateProvider(name=NAME, can=CAN, unknown_why=why))
    pending, searched_at, restart_due = answer
    unfinished = ("Windows: installed updates wait for a start",) if restart_due else ()
    return Reading(
        UpdateProvider(
            name=NAME, can=CAN, lists_refreshed_at=searched_at, security_sources=True, unfinished=unfinished
        ),
        pending,
    )


def parse_answer(text: str) -> tuple[tuple[Update, ...], datetime | None, bool] | None:
    """The script's JSON: updates, when Windows last searched, and whether a start is due. None: it is not that."""
    try:
        answer = msgspec.json.decode(text.lstrip("\ufeff").encode())
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    if not isinstance(answer, dict) or "Offered" not in answer:
        return None
    # One update comes as an object, none as null: PowerShell unpacks short lists.
    offered = answer["Offered"]
    listed = offered if isinstance(offered, list) else [offered] if isinstance(offered, dict) else []
    found = [_update(each) for each in listed if isinstance(each, dict)]
    pending = tuple(sorted(found, key=lambda update: update.name))
    return pending, _time(answer.get("LastSearch")), bool(answer.get("RebootRequired"))


def parse_hotfixes(text: str) -> tuple[str, ...]:
    """KB numbers that are installed, in the listing of ``wmic qfe`` or WMI's Win32_QuickFixEngineering, or systeminfo.

    On old systems the number stands in ``ServicePackInEffect`` while ``HotFixID`` says ``File 1``.
    """
    found = re.findall(r"^\s*(?:HotFixID|ServicePackInEffect)\s*=\s*(KB\d{6,7})(?:-v\d+)?\s*$", text, re.MULTILINE)
    found += re.findall(r"^\s*\[\d+\]: (KB\d{6,7})\s*$", text, re.MULTILINE)
    return tuple(sorted(set(found)))


def _update(each: Mapping[str, Any]) -> Update:
    numbers = [f"KB{number}" for number in _texts(each.get("KB"))]
    categories = {category.lower() for category in _texts(each.get("Categories"))}
    cves = tuple(_texts(each.get("CVE")))
    severity = _SEVERITIES.get(str(each.get("Severity") or "").lower(), "")
    security = bool(cves or severity or categories & {SECURITY_UPDATES, CRITICAL_UPDATES})
    return Update(
        # Two updates may have one number (a monthly definition), and a driver has none.
        name=numbers[0] if numbers else str(each.get("Id", "")) or str(each.get("Title", "")),
        installed="",
        candidate=f"{each.get('Id', '')}.{each.get('Revision', 0)}",
        security=security,
        origin=str(each.get("Title", "")),
        held=bool(each.get("Hidden")),
        severity=severity,
        advisories=(*numbers, *_texts(each.get("Bulletins"))),
        cves=cves,
        released_at=_time(each.get("Released")),
        size_bytes=int(each.get("Size") or 0),
        # InstallationBehavior.RebootBehavior: 0 never, 1 always, 2 it may ask.
        restart="none" if each.get("Reboot") == 0 else "reboot",
    )


def _texts(value: object) -> list[str]:
    values: Iterable[object] = value if isinstance(value, list) else [] if value is None else [value]
    return [str(each) for each in values if each]


def _time(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found and found.tzinfo is None else found
