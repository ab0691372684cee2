"""Microsoft Defender: ``mdatp health`` (Linux, macOS), ``Get-MpComputerStatus`` and its sisters (Windows)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from forestall.agent.collect.antivirus.common import (
    MOST_DETECTIONS,
    MOST_EXCLUSIONS,
    installed,
    moment,
    whole_text,
    yes,
)
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import AntivirusProduct, Detection

NAME = "Microsoft Defender"


def find(notes: Notes) -> AntivirusProduct | None:
    if installed(notes, "mdatp", "/opt/microsoft/mdatp/sbin/wdavdaemonclient") is None:
        return None
    text = whole_text(notes, ["mdatp", "health", "--output", "json"], "state of Microsoft Defender")
    product = None
    try:
        product = of_health(json.loads(text)) if text else None
    except json.JSONDecodeError:
        notes.gap("state of Microsoft Defender", "mdatp printed no JSON")
    if product is None:
        return AntivirusProduct(name=NAME, service="mdatp", unknown_why="mdatp does not answer")
    threats = notes.run(["mdatp", "threat", "list", "--output", "json"], timeout=30)
    exclusions = notes.run(["mdatp", "exclusion", "list"], timeout=30)
    listed = None
    if exclusions is not None and exclusions.exit_code == 0:
        listed = tuple(
            line.partition(":")[2].strip().strip('"')
            for line in exclusions.stdout.splitlines()
            if line.strip().startswith(("Path:", "File:", "Process name:", "Extension:"))
        )[:MOST_EXCLUSIONS]
    detections: tuple[Detection, ...] = ()
    try:
        detections = of_threats(json.loads(threats.stdout)) if threats and threats.exit_code == 0 else ()
    except json.JSONDecodeError:
        notes.gap("detections of Microsoft Defender", "mdatp printed no JSON")
    return msgspec.structs.replace(product, exclusions=listed, detections=detections)


def of_health(row: Any) -> AntivirusProduct | None:
    """``mdatp health``, as JSON or as its fields; None when it is no such answer."""
    if not isinstance(row, Mapping) or not ("engineVersion" in row or "engine_version" in row):
        return None

    def at(*names: str) -> Any:
        return next((row[name] for name in names if name in row), None)

    status = at("definitionsStatus", "definitions_status")
    word = str(status.get("$type") if isinstance(status, Mapping) else status or "").strip('"').lower()
    current = {"uptodate": True, "up_to_date": True, "outdated": False, "out_of_date": False}.get(word)
    issues = at("healthIssues", "health_issues")
    healthy = yes(at("healthy"))
    tamper = at("tamperProtection", "tamper_protection")
    passive = yes(at("passiveModeEnabled", "passive_mode_enabled"))
    real_time = yes(at("realTimeProtectionEnabled", "real_time_protection_enabled"))
    return AntivirusProduct(
        name=NAME,
        version=str(at("appVersion", "app_version") or "").strip('"'),
        running=True,  # it answered
        real_time=False if passive else real_time,
        definitions_version=str(at("definitionsVersion", "definitions_version") or "").strip('"'),
        definitions_at=moment(at("definitionsUpdated", "definitions_updated")),
        engine_version=str(at("engineVersion", "engine_version") or "").strip('"'),
        service="mdatp",
        tamper_protection=yes(tamper if not isinstance(tamper, Mapping) else tamper.get("value")),
        managed=yes(at("licensed")),
        definitions_current=current,
        status=", ".join(str(each) for each in issues) if isinstance(issues, list) and issues
        else "" if healthy is not False else "it says that it is not healthy",
    )  # fmt: skip


def of_threats(rows: Any) -> tuple[Detection, ...]:
    """``mdatp threat list`` or ``Get-MpThreatDetection``."""
    if isinstance(rows, Mapping):
        rows = rows.get("threats", [rows])
    found = []
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, Mapping) or not (row.get("name") or row.get("ThreatName") or row.get("ThreatID")):
            continue
        status = str(row.get("status") or "").lower()
        done = {"quarantined": True, "removed": True, "blocked": True, "cleaned": True, "allowed": True,
                "active": False, "quarantine_failed": False}.get(status, yes(row.get("ActionSuccess")))  # fmt: skip
        if "IsActive" in row:
            done = not yes(row["IsActive"])
        resources = row.get("Resources") or row.get("filePath") or row.get("file_path") or ""
        path = str(resources[0] if isinstance(resources, list) and resources else resources or "")
        found.append(
            Detection(
                name=str(row.get("name") or row.get("ThreatName") or row.get("ThreatID")),
                path=path.removeprefix("file:_").removeprefix("file:"),
                at=moment(row.get("startTime") or row.get("InitialDetectionTime") or row.get("detectionTime")),
                action=status, handled=done,
            )
        )  # fmt: skip
    found.sort(key=lambda each: each.at.timestamp() if each.at else 0.0, reverse=True)
    return tuple(found[:MOST_DETECTIONS])


def of_computer_status(row: Any) -> AntivirusProduct | None:
    """``Get-MpComputerStatus``, by ConvertTo-Json or as its list; None when it is no such answer."""
    if not isinstance(row, Mapping) or "AMEngineVersion" not in row:
        return None
    mode = str(row.get("AMRunningMode") or "")
    scans = [at for name in ("FullScanEndTime", "QuickScanEndTime") if (at := moment(row.get(name))) is not None]
    stale = yes(row.get("DefenderSignaturesOutOfDate"))
    passive = mode.lower() in ("passive", "passive mode", "sxs passive mode", "edr block mode")
    service = yes(row.get("AMServiceEnabled"))
    antivirus = yes(row.get("AntivirusEnabled"))
    return AntivirusProduct(
        name=NAME,
        version=str(row.get("AMProductVersion") or row.get("AMServiceVersion") or ""),
        running=None if service is None else service and antivirus is not False and mode.lower() != "not running",
        real_time=False if passive else yes(row.get("RealTimeProtectionEnabled")),
        definitions_version=str(row.get("AntivirusSignatureVersion") or ""),
        definitions_at=moment(row.get("AntivirusSignatureLastUpdated")),
        last_scan_at=max(scans, default=None),
        engine_version=str(row.get("AMEngineVersion") or ""),
        service="WinDefend",
        tamper_protection=yes(row.get("IsTamperProtected")),
        definitions_current=None if stale is None else not stale,
        status=f"running mode {mode}" if mode and mode != "Normal" else "",
    )


def exclusions_of(row: Any) -> tuple[str, ...] | None:
    """``Get-MpPreference``: paths, extensions and processes that are not looked at; None when it is no such answer."""
    names = ("ExclusionPath", "ExclusionExtension", "ExclusionProcess")
    if not isinstance(row, Mapping) or not any(name in row for name in names):
        return None
    found: list[str] = []
    for name in names:
        value = row.get(name)
        if isinstance(value, str):
            value = [part.strip() for part in value.strip("{}").split(",")] if value.strip("{} ") else []
        marks = {"ExclusionExtension": "*.", "ExclusionProcess": "process "}.get(name, "")
        found += [f"{marks}{str(each).lstrip('.') if name == 'ExclusionExtension' else each}" for each in value or []]
    return tuple(found[:MOST_EXCLUSIONS])
