"""What the style guide shows: each part in each of its states, made up so that a look tells whether it still holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import sin
from typing import Any

from django.utils.safestring import SafeString

from forestall.server.checks.result import Status
from forestall.server.console import parts, svg

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
"""The style guide stands still, so that its picture changes only when a part does."""

LONG = "a-very-long-device-name-that-somebody-really-gave.finance-department.example-manufacturing.internal"


def specimens() -> dict[str, Any]:
    """Everything the template needs, by part."""
    return {
        "now": NOW,
        "sentence": SafeString(
            '<a href="#queue"><b>3 things need you today</b></a>; nothing will run out of space this week; '
            '<a href="#clock">1 SLA at risk at 15:40</a>.'
        ),
        "statuses": [(status.value, SAYS[status]) for status in Status],
        "clocks": CLOCKS,
        "table": _table(),
        "empty_table": parts.Table("Nothing", [], [], EMPTY),
        "empty": EMPTY,
        "filters": parts.Filters(
            choices=[
                parts.choice("client", "Client", [("", "All clients"), ("1", "Ashdown Dental")], ""),
                parts.choice("state", "State", [("", "Any state"), ("fail", "Checks fail")], "fail"),
            ],
            search="web",
            placeholder="Filter devices",
        ),
        "happenings": _happenings(),
        "facts": [
            parts.Fact("Operating system", "Debian GNU/Linux 12 (bookworm)"),
            parts.Fact("Memory", "16.0 GB"),
            parts.Fact("Warranty", parts.none("no source of warranty dates is set up", "unknown")),
            parts.Fact("Battery", parts.none("a server has none", "n/a")),
        ],
        "chart": {
            "key": "specimen-chart",
            "title": "/ space used",
            "reading": "91 % now",
            "href": "",
            "drawing": _chart(),
        },
        "spark": svg.sparkline([40 + 30 * sin(i / 5) for i in range(60)], top=100, label="processor, last day"),
        "strip": parts.history_strip(
            [
                (NOW - timedelta(days=40), "pass"),
                (NOW - timedelta(days=12), "warn"),
                (NOW - timedelta(days=9), "fail"),
                (NOW - timedelta(days=7), "pass"),
                (NOW - timedelta(days=3), "stale"),
                (NOW - timedelta(days=2), "unknown"),
                (NOW - timedelta(days=1), "pass"),
            ],
            start=NOW - timedelta(days=30),
            end=NOW,
        ),
        "tabs": [
            parts.Tab("Overview", "#", current=True),
            parts.Tab("Metrics", "#", current=False),
            parts.Tab("Updates", "#", current=False, count="14"),
        ],
        "themes": ("light", "dark"),
    }


SAYS = {
    Status.PASS: "holds",
    Status.WARN: "comes close",
    Status.FAIL: "a person must act",
    Status.UNKNOWN: "we could not look",
    Status.STALE: "we have not looked lately",
}

EMPTY = parts.Empty(
    title="No devices yet",
    why="A device appears here when its agent has enrolled. Make a token, and run one command on the device.",
    command="FORESTALL_ENROLMENT_TOKEN=fse1.… forestall agent enrol --server https://…",
    href="#",
    action="Enrol a device",
)

CLOCKS = [
    parts.Clock(0.2, "3 h 10 min left", "running", "Response within 4 working hours"),
    parts.Clock(0.46, "2 h 10 min left, resumes Mon 09:00", "paused", "Outside working hours: the clock stands"),
    parts.Clock(0.82, "43 min left", "warn"),
    parts.Clock(1.3, "1 h 12 min over", "breached"),
    parts.Clock(0.35, "answered in 1 h 24 min", "done"),
]


def _table() -> parts.Table:
    def row(name: str, client: str, state: str, word: str, clock: parts.Clock | None, minutes: int) -> parts.Row:
        return parts.Row(
            cells=[
                parts.link("#", name, client),
                parts.status(state, word),
                parts.clock(clock),
                parts.text("0") if minutes < 2 else "14",
                parts.moment(NOW - timedelta(minutes=minutes), NOW),
            ],
            pick=name,
            pick_label=f"pick {name}",
        )

    return parts.Table(
        caption="Devices",
        columns=[
            parts.Column("Device", "lead", sort="name"),
            parts.Column("State", "second", sort="state"),
            parts.Column("Clock"),
            parts.Column("Updates", "num", sort="updates"),
            parts.Column("Last check-in", sort="seen"),
        ],
        rows=[
            row("web-01", "Ashdown Dental · Leeds", "fail", "2 checks fail", CLOCKS[2], 1),
            row("reception-pc", "Ashdown Dental · York", "pass", "all pass", None, 1),
            row(
                LONG,
                "A client with quite a long name as well, Limited · Head office",
                "stale",
                "silent",
                CLOCKS[3],
                300,
            ),
        ],
        empty=EMPTY,
        sort="-state",
        pickable=True,
    )


def _happenings() -> list[parts.Happening]:
    return parts.timeline_of(
        [
            parts.Happening(NOW - timedelta(hours=3), "Disk space of / fails", status="fail", note="/ is 93 % full."),
            parts.Happening(NOW - timedelta(hours=2, minutes=58), "Ticket 41 opened", note="Owner: ada, by rule."),
            parts.Happening(NOW - timedelta(hours=2), "Commented", who="ada", quote="Logs again.\nCleaning them up."),
            parts.Happening(
                NOW - timedelta(hours=1), "Free disk space ran: deleted 214 files, 1.2 GB", who="signed by ada"
            ),
            parts.Happening(NOW - timedelta(minutes=58), "Disk space of / passes", status="pass"),
        ]
    )


def _chart() -> str:
    start = NOW.timestamp() - 86400
    times = [start + i * 600 for i in range(145)]
    mean = [None if 60 < i < 72 else 62 + 0.2 * i + 3 * sin(i / 6) for i in range(145)]
    return svg.chart(
        times=times,
        lines=[
            svg.Line(
                "used",
                mean,
                [None if v is None else v - 4 for v in mean],
                [None if v is None else v + 4 for v in mean],
            )
        ],
        unit="%",
        start=start,
        end=NOW.timestamp(),
        zone="Europe/London",
        thresholds=[svg.Threshold(80, "warn 80 %", "warn"), svg.Threshold(90, "fail 90 %", "fail")],
        windows=[svg.Span(start + 26000, start + 33200)],
        label="space used of /, last day",
    )
