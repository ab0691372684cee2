"""The report in a terminal: calm at 80 columns, no wider than people read at 120."""

from __future__ import annotations

from collections import defaultdict

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from forestall.audit.inert import inert
from forestall.audit.report import Finding, Report
from forestall.server.checks.result import Risk, Status
from forestall.server.checks.words import clock, listing, number, size

WIDEST = 108
"""Lines longer than this are hard to read."""
SHAPES = {Status.FAIL: "■", Status.WARN: "▲", Status.PASS: "●", Status.UNKNOWN: "◌", Status.STALE: "◍"}
STATUS_STYLES = {Status.FAIL: "red", Status.WARN: "yellow", Status.PASS: "green", Status.UNKNOWN: "bright_black"}
RISK_STYLES = {Risk.CRITICAL: "bold red", Risk.HIGH: "red", Risk.MEDIUM: "yellow", Risk.LOW: "bright_black"}


def show(report: Report, console: Console) -> None:
    """Print the report."""
    width = min(console.width, WIDEST)
    console.print(Padding(Group(*_parts(report)), (1, 2)), width=width)


def _parts(report: Report) -> list[RenderableType]:
    parts: list[RenderableType] = [_head(report), Text(), Text(report.sentence, style="bold")]
    for risk, findings in report.worst_first():
        parts += [Text(), _heading(risk.value.capitalize() + " risk", str(len(findings)), RISK_STYLES[risk])]
        for finding in findings:
            parts += [Text(), _finding(finding)]
    if report.passed:
        parts += [Text(), _heading("Passes", str(len(report.passed)), "green"), Text(), _passes(report)]
    if report.unknowns:
        parts += [Text(), _heading("Could not be judged", str(len(report.unknowns)), "bright_black"), Text()]
        parts += [_unknown(finding) for finding in report.unknowns]
    if report.not_seen:
        parts += [Text(), _heading("Not seen", str(len(report.not_seen)), "bright_black"), Text(), _not_seen(report)]
    return parts


def _head(report: Report) -> RenderableType:
    system = report.facts.system
    grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    name = Text(inert(report.hostname), style="bold")
    name.append(f"  {inert(report.os_name)}", style="not bold")
    grid.add_row(name, Text(clock(report.audited_at), style="bright_black"))
    about = []
    if system:
        about = [f"kernel {system.kernel}", f"{system.cpu_count} CPUs", size(system.memory_bytes)]
        if system.virtualisation not in {"", "none"}:
            about.append(f"virtual ({system.virtualisation})")
    who = f"as {report.user}" if report.as_root else f"as {report.user}, without root"
    about.append(f"audited {who} in {number(report.seconds)} s")
    return Group(grid, Text(inert(", ".join(about)), style="bright_black"))


def _heading(text: str, amount: str, style: str) -> RenderableType:
    title = Text(f"{text} ", style=style)
    title.append(amount, style="not bold bright_black")
    return Rule(title, align="left", style="bright_black", characters="─")


def _finding(finding: Finding) -> RenderableType:
    result = finding.result
    title = Text(f"{SHAPES[result.status]} ", style=STATUS_STYLES[result.status])
    title.append(inert(finding.title), style="bold default")
    title.append(f"  {result.status}", style="not bold bright_black")
    rows = Table.grid(padding=(0, 1))
    rows.add_column(width=9, no_wrap=True)
    rows.add_column(ratio=1, overflow="fold")
    if result.evidence:
        rows.add_row(Text("Evidence", style="bright_black"), Text(_evidence(finding), style="bright_black"))
    rows.add_row(Text("Remedy", style="bright_black"), _with_commands(finding.remedy))
    return Group(title, Padding(Group(Text(inert(result.reason)), rows), (0, 0, 0, 2)))


def _with_commands(text: str) -> Text:
    """What stands between backquotes is a command."""
    shown = Text()
    for index, part in enumerate(inert(text).split("`")):
        shown.append(part, style="cyan" if index % 2 else "default")
    return shown


def _evidence(finding: Finding) -> str:
    return inert(listing(finding.result.evidence, most=3))


def _passes(report: Report) -> RenderableType:
    """One line a kind: what was looked at, in the words of its results."""
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in report.passed:
        by_kind[finding.kind.slug].append(finding)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1, overflow="fold")
    for findings in by_kind.values():
        title = Text("● ", style="green")
        title.append(findings[0].kind.texts.title, style="default")
        shown = [inert(finding.result.reason) for finding in findings]
        text = shown[0] if len(shown) == 1 else f"{shown[0]} And {len(shown) - 1} more."
        grid.add_row(title, Text(text, style="bright_black"))
    return grid


def _unknown(finding: Finding) -> RenderableType:
    title = Text("◌ ", style="bright_black")
    title.append(inert(finding.title), style="default")
    lines = [Text(inert(finding.result.reason), style="bright_black")]
    if finding.result.remedy:
        lines.append(_with_commands(finding.result.remedy))
    return Group(title, Padding(Group(*lines), (0, 0, 0, 2)))


def _not_seen(report: Report) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(ratio=2, overflow="fold")
    grid.add_column(ratio=3, overflow="fold")
    for each in report.not_seen:
        grid.add_row(Text(inert(each.what)), Text(inert(each.why), style="bright_black"))
    if report.as_root or not any(each.needs_root for each in report.not_seen):
        return grid
    return Group(grid, Text(), Text("Run it as root to see what needs root: sudo forestall audit", style="bold"))
