"""The report as JSON, for other programs."""

from __future__ import annotations

from typing import Any

import msgspec

from forestall.audit.report import Finding, Report
from forestall.wire.facts import Facts, to_plain


def plain(report: Report) -> dict[str, Any]:
    """``device``, ``facts`` (each document under its name), ``findings``, ``passed``, ``not_seen`` and the head."""
    system = report.facts.system
    documents = {name: report.facts.get(name) for name in Facts.FIELDS}
    facts = {name: to_plain(document) for name, document in documents.items() if document is not None}
    names = (
        "os_id", "os_version", "os_codename", "kernel", "architecture", "manufacturer", "model", "serial",
        "virtualisation", "cpu_count", "memory_bytes", "boot_id", "booted_at",
    )  # fmt: skip
    return {
        "forestall_version": report.version,
        "audited_at": msgspec.to_builtins(report.audited_at),
        "seconds": round(report.seconds, 2),
        "user": report.user,
        "as_root": report.as_root,
        "summary": report.sentence,
        "device": {
            "hostname": report.hostname,
            "os": report.os_name,
            **({name: facts["system"][name] for name in names} if system else {}),
        },
        "findings": [_finding(finding) for finding in report.findings],
        "passed": [_finding(finding) for finding in report.passed],
        "not_seen": [{"what": each.what, "why": each.why, "needs_root": each.needs_root} for each in report.not_seen],
        "facts": facts,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    result = finding.result
    return {
        "check": finding.kind.slug,
        "target": result.target,
        "result": result.status.value,
        "risk": finding.risk.value,
        "title": finding.title,
        "reason": result.reason,
        "evidence": list(result.evidence),
        "remedy": finding.remedy if result.status.value != "pass" else "",
        "value": result.value,
        "unit": result.unit,
        "forecast_at": msgspec.to_builtins(result.forecast_at),
    }


def as_json(report: Report) -> bytes:
    """Indented UTF-8, as text that a person can read too."""
    return msgspec.json.format(msgspec.json.encode(plain(report)), indent=2) + b"\n"
