"""The report as one HTML file: no scripts, nothing fetched, light and dark, printable, readable on a phone."""

from __future__ import annotations

from collections import defaultdict
from html import escape
from pathlib import Path

from forestall.audit.inert import inert
from forestall.audit.report import Finding, Report
from forestall.server.checks.words import clock, number

_STYLE = Path(__file__).with_name("page.css")
SHAPES = {"fail": "■", "warn": "▲", "pass": "●", "unknown": "◌", "stale": "◍"}


def page(report: Report) -> str:
    """The whole file. Every text from the device is escaped; the policy in its head forbids scripts besides."""
    name = _text(report.hostname)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>Baseline audit of {name}</title>
<style>
{_STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<main>
<header>
<p class="kind">Baseline audit</p>
<h1>{name}</h1>
<p class="sub">{_text(report.os_name)}, {_text(clock(report.audited_at))}</p>
<p class="sentence">{_text(report.sentence)}</p>
</header>
{"".join(_group(risk.value, findings) for risk, findings in report.worst_first())}
{_passed(report)}
{_unknowns(report)}
{_machine(report)}
{_not_seen(report)}
<footer>
<p>Made by Forestall {_text(report.version)} on {_text(clock(report.audited_at))} as {_text(_who(report))},
in {number(report.seconds)} seconds. Nothing on the device was changed. All statements rest on what the device reports
of itself at that moment.</p>
</footer>
</main>
</body>
</html>
"""


def _who(report: Report) -> str:
    return report.user if report.as_root else f"{report.user}, without root rights"


def _text(value: str) -> str:
    return escape(inert(value))


def _group(risk: str, findings: list[Finding]) -> str:
    items = "".join(_finding(finding) for finding in findings)
    return f"""<section class="risk {risk}">
<h2><span class="word">{risk.capitalize()} risk</span> <span class="count">{len(findings)}</span></h2>
{items}</section>
"""


def _mark(status: str) -> str:
    return f'<span class="mark {status}" aria-hidden="true">{SHAPES[status]}</span>'


def _finding(finding: Finding) -> str:
    result = finding.result
    status = result.status.value
    evidence = "".join(f"<li><code>{_text(each)}</code></li>" for each in result.evidence)
    shown = f'<dt>Evidence</dt><dd><ul class="evidence">{evidence}</ul></dd>' if evidence else ""
    return f"""<article>
<h3>{_mark(status)} {_text(finding.title)} <span class="status">{status}</span></h3>
<p class="reason">{_text(result.reason)}</p>
<dl>
<dt>Why it matters</dt><dd>{_text(finding.kind.texts.why)}</dd>
<dt>Remedy</dt><dd>{_code(finding.remedy)}</dd>
{shown}</dl>
</article>
"""


def _code(text: str) -> str:
    """Text in which what stands between backquotes is a command."""
    parts = _text(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


def _passed(report: Report) -> str:
    if not report.passed:
        return ""
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in report.passed:
        by_kind[finding.kind.texts.title].append(finding)
    rows = "".join(
        f'<tr><th scope="row">{_mark("pass")} {_text(title)}</th>'
        f"<td>{'<br>'.join(_text(finding.result.reason) for finding in findings)}</td></tr>"
        for title, findings in by_kind.items()
    )
    return f"""<section>
<h2><span class="word">Passes</span> <span class="count">{len(report.passed)}</span></h2>
<table>{rows}</table>
</section>
"""


def _unknowns(report: Report) -> str:
    if not report.unknowns:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{_mark("unknown")} {_text(finding.title)}</th>'
        f"<td>{_text(finding.result.reason)} {_code(finding.result.remedy)}</td></tr>"
        for finding in report.unknowns
    )
    return f"""<section>
<h2><span class="word">Could not be judged</span> <span class="count">{len(report.unknowns)}</span></h2>
<table>{rows}</table>
</section>
"""


def _machine(report: Report) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_text(label)}</th><td>{_text(text)}</td></tr>' for label, text in report.machine()
    )
    return (
        f'<section>\n<h2><span class="word">The machine</span></h2>\n<table>{rows}</table>\n</section>\n'
        if rows
        else ""
    )


def _not_seen(report: Report) -> str:
    if not report.not_seen:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{_text(each.what)}</th><td>{_text(each.why)}</td></tr>' for each in report.not_seen
    )
    advice = ""
    if not report.as_root and any(each.needs_root for each in report.not_seen):
        advice = "<p>Run as root, the audit sees what needs root: <code>sudo forestall audit</code></p>"
    return f"""<section>
<h2><span class="word">Not seen</span> <span class="count">{len(report.not_seen)}</span></h2>
<table>{rows}</table>
{advice}</section>
"""
