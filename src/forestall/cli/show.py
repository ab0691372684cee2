"""How the command line shows things: tables, times, statuses, and JSON when asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from forestall.cli.plain import plain

# Shape, word and colour: never colour alone.
STATUS = {
    "pass": ("●", "green"),
    "warn": ("▲", "yellow"),
    "fail": ("■", "red"),
    "unknown": ("◌", "cyan"),
    "stale": ("◍", "magenta"),
}
WHOLE = frozenset(
    {
        "#",
        "Id",
        "Job",
        "Order",
        "Report",
        "Ticket",
        "State",
        "Checks",
        "Since",
        "Seen",
        "Made",
        "Phone",
        "Warranty",
        "Asset",
        "Serial",
    }
)
"""Columns that stay on one line: what people copy, and what is short."""
ROOMY = frozenset({"Why", "Title", "", "What for", "What it lets one do", "Roles", "Rule"})
"""Columns of sentences: they get what room is left."""
PRIORITY_STYLE = {"urgent": "bold red", "high": "red"}


def console() -> Console:
    """Where tables go."""
    return Console(highlight=False)


def as_json_option(command: Any) -> Any:
    """``--json``: the API's answer as it came."""
    return click.option("--json", "as_json", is_flag=True, help="Print the API's answer as JSON.")(command)


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]], *, empty: str) -> None:
    """A table without lines; ``empty`` says what would be here and how it gets here."""
    if not rows:
        console().print(f"[dim]{empty}[/dim]")
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    cells = [[_cell(cell) for cell in row] for row in rows]
    fits = _natural_width(columns, cells) <= console().width
    for column in columns:
        # The reason is what people read: it gets the room, the others what they need.
        why = column in ROOMY
        whole = column in WHOLE
        table.add_column(
            column,
            overflow="fold",
            no_wrap=whole,
            ratio=1 if why else None,
            max_width=None if fits or why or whole else 24,
        )
    for row in cells:
        # Text from devices is data: never read as markup.
        table.add_row(*row)
    console().print(table)


def _natural_width(columns: Sequence[str], cells: Sequence[Sequence[Text]]) -> int:
    """Characters that a table takes when nothing is folded."""
    widths = [max([len(column), *(_longest_line(row[i]) for row in cells)]) for i, column in enumerate(columns)]
    return sum(widths) + 2 * len(widths)


def _longest_line(cell: Text) -> int:
    return max((line.cell_len for line in cell.split()), default=0)


def _cell(cell: str | Text) -> Text:
    if isinstance(cell, str):
        return Text(plain(cell))
    shown = cell.copy()
    shown.plain = plain(cell.plain)
    return shown


def status_text(status: str) -> Text:
    shape, style = STATUS.get(status, ("?", "white"))
    return Text(f"{shape} {status}", style=style)


def ago(moment: str | None) -> str:
    """``3 min ago`` of an RFC 3339 time; ``never`` of none."""
    if not moment:
        return "never"
    seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    if seconds < 0:
        return f"in {_span(-seconds)}"
    return f"{_span(seconds)} ago"


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
