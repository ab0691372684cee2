"""The report as PDF, set by typst.

The template is fixed and is given the report as JSON: text from the device is a string there, never markup. Typst
sees a folder with nothing but that template as its root, so it can read nothing else.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from forestall.audit.inert import inert
from forestall.audit.report import Finding, Report
from forestall.server.checks.words import clock, number

_TEMPLATE = Path(__file__).with_name("report.typ")


class PdfUnavailableError(RuntimeError):
    """The typst package is not installed."""

    def __init__(self) -> None:
        super().__init__("a PDF needs the package typst: pip install 'forestall[server]'")


def pdf(report: Report) -> bytes:
    """A tagged PDF/A-2b. PdfUnavailableError without the typst package."""
    try:
        import typst
    except ImportError:
        raise PdfUnavailableError from None
    data = json.dumps(_data(report), ensure_ascii=False)
    with tempfile.TemporaryDirectory(prefix="forestall-audit-") as name:
        folder = Path(name)
        template = folder / "report.typ"
        template.write_bytes(_TEMPLATE.read_bytes())
        return typst.compile(
            template,
            root=folder,
            package_path=folder,
            package_cache_path=folder,
            ignore_system_fonts=True,
            sys_inputs={"report": data},
            pdf_standards="a-2b",
            timestamp=int(report.audited_at.timestamp()),
            format="pdf",
        )


def _data(report: Report) -> dict[str, Any]:
    by_kind: dict[str, list[str]] = defaultdict(list)
    for finding in report.passed:
        by_kind[finding.kind.texts.title].append(inert(finding.result.reason))
    root = not report.as_root and any(each.needs_root for each in report.not_seen)
    return {
        "host": inert(report.hostname),
        "os": inert(report.os_name),
        "at": clock(report.audited_at),
        "who": inert(report.user if report.as_root else f"{report.user}, without root rights"),
        "seconds": number(report.seconds),
        "version": report.version,
        "sentence": inert(report.sentence),
        "groups": [
            {"risk": risk.value, "findings": [_finding(finding) for finding in findings]}
            for risk, findings in report.worst_first()
        ],
        "passed": [{"title": title, "reasons": reasons} for title, reasons in by_kind.items()],
        "passed_count": len(report.passed),
        "unknowns": [_unknown(finding) for finding in report.unknowns],
        "machine": [[label, inert(text)] for label, text in report.machine()],
        "not_seen": [[inert(each.what), inert(each.why)] for each in report.not_seen],
        "advice": "Run as root, the audit sees what needs root: sudo forestall audit" if root else "",
    }


def _unknown(finding: Finding) -> dict[str, Any]:
    result = finding.result
    remedy = inert(f" {result.remedy}" if result.remedy else "").split("`")
    return {"title": inert(finding.title), "reason": inert(result.reason), "remedy": remedy}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "title": inert(finding.title),
        "status": finding.result.status.value,
        "reason": inert(finding.result.reason),
        "why": finding.kind.texts.why,
        "remedy": inert(finding.remedy).split("`"),
        "evidence": [inert(each) for each in finding.result.evidence],
    }
