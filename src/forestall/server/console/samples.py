"""Samples as charts: which charts a device has, over which span, with thresholds, windows and gaps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import QueryDict
from django.utils.safestring import SafeString

from forestall.server.calendar.queries import windows_for
from forestall.server.calendar.windows import occurrences
from forestall.server.checks.queries import policies
from forestall.server.console import svg, words
from forestall.server.home import Home, current_home
from forestall.server.inventory.models import Device
from forestall.server.metrics.queries import samples_range
from forestall.server.metrics.store import Points, Store, open_store
from forestall.server.people.scope import Scope
from forestall.wire.series import parse_series

RANGES: dict[str, tuple[str, timedelta]] = {
    "1h": ("1 h", timedelta(hours=1)),
    "6h": ("6 h", timedelta(hours=6)),
    "24h": ("24 h", timedelta(hours=24)),
    "7d": ("7 days", timedelta(days=7)),
    "35d": ("35 days", timedelta(days=35)),
    "1y": ("1 year", timedelta(days=365)),
}
DEFAULT_RANGE = "24h"
LONGEST = timedelta(days=25 * 31)
SHORTEST = timedelta(minutes=2)
STEPS = (60, 120, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 86400)
MOST_POINTS = 320
GAP_SECONDS = 150
"""Two check-ins of 60 s may be missing their step by a little; more than this without a sample is a gap."""
WEEK = timedelta(days=7)


# --- span ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """The stretch of time that a page's charts show."""

    start: datetime
    end: datetime
    name: str
    """Key of ``RANGES``; empty when the address names start and end."""
    compare: bool = False
    """Whether the week before is drawn, too."""

    @property
    def step(self) -> int:
        seconds = (self.end - self.start).total_seconds()
        return next((step for step in STEPS if seconds / step <= MOST_POINTS), STEPS[-1])

    @property
    def query(self) -> str:
        """The part of an address that asks for the same span."""
        asked = {"range": self.name} if self.name else {"from": _iso(self.start), "to": _iso(self.end)}
        return urlencode(asked | ({"compare": "week"} if self.compare else {}))


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def span_of(query: QueryDict, now: datetime, *, since: datetime) -> Span:
    """The span an address asks for. What cannot be read falls back to the last day: an old link still opens.

    ``since``: when the device was enrolled. While that is less than a day ago, the span without asking is the
    shortest one that holds all there is.
    """
    compare = query.get("compare") == "week"
    if "from" in query and "to" in query:
        start, end = _instant(str(query.get("from", ""))), _instant(str(query.get("to", "")))
        if start and end and SHORTEST <= end - start <= LONGEST:
            return Span(start, end, "", compare)
    fitting = next((name for name, (_, length) in RANGES.items() if now - since <= length), DEFAULT_RANGE)
    unasked = fitting if RANGES[fitting][1] < RANGES[DEFAULT_RANGE][1] else DEFAULT_RANGE
    name = str(query.get("range", unasked))
    name = name if name in RANGES else unasked
    return Span(now - RANGES[name][1], now, name, compare)


def _instant(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RangeOption:
    title: str
    href: str
    current: bool


@dataclass(frozen=True, slots=True)
class Ranges:
    """The choice of spans above the charts."""

    words: str
    options: Sequence[RangeOption]


def ranges_of(span: Span, zone: str, now: datetime) -> Ranges:
    options = [RangeOption(title, f"?range={name}", span.name == name) for name, (title, _) in RANGES.items()]
    own = f"range={span.name}" if span.name else f"from={_iso(span.start)}&to={_iso(span.end)}"
    options.append(
        RangeOption("compare with the week before", f"?{own}" if span.compare else f"?{own}&compare=week", span.compare)
    )
    said = "" if span.name else f"{words.clock_time(span.start, now, zone)} – {words.clock_time(span.end, now, zone)}"
    return Ranges(f"{said} · times in {zone}" if said else f"Times in {zone}", options)


# --- charts of a device --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spec:
    """A chart: which metrics it draws. A metric with labels makes one chart for each value of them."""

    key: str
    title: str
    unit: str
    metrics: tuple[tuple[str, str], ...]
    """Metric → what the line is called."""
    kind: str = ""
    """Check kind whose policy gives the threshold lines."""
    counts_left: bool = False
    """The policy's threshold counts what is left; the chart shows what is used."""


SPECS: tuple[Spec, ...] = (
    Spec("cpu", "Processor", "%", (("cpu.used_percent", "used"), ("cpu.iowait_percent", "waiting for disks")), "cpu"),
    Spec(
        "memory",
        "Memory",
        "%",
        (("memory.used_percent", "used"), ("swap.used_percent", "swap used")),
        "memory",
        counts_left=True,
    ),
    Spec("load", "Load", "", (("load.1m", "1 min"), ("load.5m", "5 min"), ("load.15m", "15 min"))),
    Spec("volume", "Space used", "%", (("disk.used_percent", "used"),), "disk_space"),
    Spec("inodes", "Inodes used", "%", (("inodes.used_percent", "used"),), "inodes"),
    Spec(
        "disk",
        "Disk throughput",
        "B/s",
        (("disk.read_bytes_per_second", "read"), ("disk.write_bytes_per_second", "written")),
    ),
    Spec("busy", "Disk busy", "%", (("disk.busy_percent", "busy"),)),
    Spec(
        "network",
        "Network",
        "B/s",
        (("network.receive_bytes_per_second", "received"), ("network.send_bytes_per_second", "sent")),
    ),
    Spec("processes", "Processes", "", (("processes.count", "all"), ("processes.running", "running"))),
    Spec("sockets", "Connections", "", (("sockets.tcp_established", "TCP established"),)),
    Spec("plugin", "Monitoring plugin", "", (("plugin.value", "value"),)),
    Spec("temperature", "Temperature", "°C", (("temperature.celsius", "temperature"),)),
)


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of a device, before its samples are read."""

    key: str
    title: str
    spec: Spec
    series: tuple[tuple[str, str], ...]
    """Series name → what the line is called."""
    label: str = ""
    """The volume, interface or disk it is about."""


def charts_of(names: Iterable[str]) -> list[Chart]:
    """The charts that a device with these series has, in the order of ``SPECS``."""
    by_metric: dict[str, dict[str, str]] = {}
    for name in names:
        metric, labels = parse_series(name)
        by_metric.setdefault(metric, {})[", ".join(labels.values())] = name
    found = []
    for spec in SPECS:
        for label in sorted({label for metric, _ in spec.metrics for label in by_metric.get(metric, {})}):
            series = tuple(
                (by_metric[metric][label], line) for metric, line in spec.metrics if label in by_metric.get(metric, {})
            )
            title = f"{spec.title} of {label}" if label else spec.title
            key = f"{spec.key}:{label}" if label else spec.key
            found.append(Chart(key, title, spec, series, label))
    return found


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart with its samples, ready for the page, JSON, CSV or a table."""

    chart: Chart
    span: Span
    zone: str
    times: list[float]
    lines: list[svg.Line]
    compare: list[list[float | None]]
    thresholds: list[svg.Threshold]
    windows: list[svg.Span] = field(default_factory=list)
    marks: Sequence[svg.Mark] = ()
    """What happened meanwhile, so that cause and effect line up."""

    @property
    def newest(self) -> tuple[float, list[float | None]] | None:
        """The newest time that has a value, with the values of all lines."""
        for at in range(len(self.times) - 1, -1, -1):
            values = [line.mean[at] for line in self.lines]
            if any(value is not None for value in values):
                return self.times[at], values
        return None

    @property
    def reading(self) -> str:
        """``used 12 %, waiting for disks 0.4 %``: the newest values in words."""
        if self.newest is None:
            return "no samples in this span"
        many = len(self.lines) > 1
        values = zip(self.lines, self.newest[1], strict=True)
        return ", ".join(
            (f"{line.label} " if many else "") + words.quantity(value, self.chart.spec.unit) for line, value in values
        )

    def drawing(self) -> SafeString:
        return svg.chart(
            times=self.times,
            lines=self.lines,
            unit=self.chart.spec.unit,
            start=self.span.start.timestamp(),
            end=self.span.end.timestamp(),
            zone=self.zone,
            thresholds=self.thresholds,
            windows=self.windows,
            marks=self.marks,
            label=f"{self.chart.title}: {self.reading}",
        )

    def plain(self) -> dict[str, Any]:
        """For the browser's chart."""
        return {
            "title": self.chart.title,
            "unit": self.chart.spec.unit,
            "zone": self.zone,
            "from": self.span.start.timestamp(),
            "to": self.span.end.timestamp(),
            "times": self.times,
            "series": [
                {"label": line.label, "mean": line.mean, "min": line.low, "max": line.high}
                | ({"compare": self.compare[number]} if self.compare else {})
                for number, line in enumerate(self.lines)
            ],
            "thresholds": [{"value": t.value, "label": t.label, "status": t.status} for t in self.thresholds],
            "windows": [{"from": w.start, "to": w.end} for w in self.windows],
            "marks": [{"at": mark.at, "text": mark.text, "status": mark.status} for mark in self.marks],
        }

    def rows(self) -> list[tuple[datetime, list[float | None]]]:
        """Time and mean, least and greatest of each line: the same data for those who cannot see the chart."""
        found = []
        for number, at in enumerate(self.times):
            values: list[float | None] = []
            for line in self.lines:
                values += [line.mean[number], *(edge[number] for edge in (line.low, line.high) if edge is not None)]
            if any(value is not None for value in values):
                found.append((datetime.fromtimestamp(at, UTC), values))
        return found

    @property
    def columns(self) -> list[str]:
        names = []
        for line in self.lines:
            unit = f" ({self.chart.spec.unit})" if self.chart.spec.unit else ""
            names.append(f"{line.label}{unit}")
            if line.low is not None:
                names += [f"{line.label} least{unit}", f"{line.label} greatest{unit}"]
        return names


def draw(
    *, scope: Scope, device: Device, charts: Sequence[Chart], span: Span, now: datetime, marks: Sequence[svg.Mark] = ()
) -> list[Drawn]:
    """Charts with their samples: one read of the store for all of them (two when a week before is compared)."""
    names = [name for chart in charts for name, _ in chart.series]
    found = samples_range(
        scope=scope, device=device, names=names, start=span.start, end=span.end, step_seconds=span.step
    )
    before: Mapping[str, Points] = {}
    if span.compare:
        before = samples_range(
            scope=scope,
            device=device,
            names=names,
            start=span.start - WEEK,
            end=span.end - WEEK,
            step_seconds=span.step,
        )
    levels = policies(scope=scope, device=device)
    windows = [
        svg.Span(occurrence.start.timestamp(), occurrence.end.timestamp())
        for window in windows_for(scope=scope, site_id=device.site_id, device_id=device.pk, since=span.start)
        for occurrence in occurrences(window, span.start, span.end)
    ]
    return [
        _drawn(chart, span, device.site.zone, found, before, thresholds(chart.spec, levels), windows, marks)
        for chart in charts
    ]


def thresholds(spec: Spec, levels: Mapping[str, Any]) -> list[svg.Threshold]:
    """The lines that the device's policy draws into this chart."""
    policy = levels.get(spec.kind)
    lines = []
    for status in ("warn", "fail"):
        value = getattr(policy, f"{status}_percent", None)
        if value is not None:
            value = 100 - value if spec.counts_left else value
            lines.append(svg.Threshold(value, f"{status} {value:g} %", status))
    return lines


def _drawn(
    chart: Chart,
    span: Span,
    zone: str,
    found: Mapping[str, Points],
    before: Mapping[str, Points],
    levels: list[svg.Threshold],
    windows: list[svg.Span],
    marks: Sequence[svg.Mark],
) -> Drawn:
    stamps = sorted({float(at) for name, _ in chart.series if name in found for at in found[name].times})
    times = _with_gaps(stamps, longest_pause(stamps, span.step))
    lines, compare = [], []
    for name, label in chart.series:
        points = found.get(name)
        at = {} if points is None else {float(t): i for i, t in enumerate(points.times)}

        def column(values: Any, at: Mapping[float, int] = at) -> list[float | None]:
            return [_number(values[at[t]]) if t in at else None for t in times]

        if points is None:
            empty: list[float | None] = [None] * len(times)
            lines.append(svg.Line(label, empty, None, None))
        else:
            # Where every point is one sample there is no band to draw.
            several = bool((points.count > 1).any())
            lines.append(
                svg.Line(
                    label,
                    column(points.mean),
                    column(points.min) if several else None,
                    column(points.max) if several else None,
                )
            )
        if span.compare:
            past = before.get(name)
            moved = (
                {}
                if past is None
                else {round((t + WEEK.total_seconds()) / span.step): i for i, t in enumerate(past.times)}
            )
            compare.append(
                [
                    _number(past.mean[moved[round(t / span.step)]])
                    if past is not None and round(t / span.step) in moved
                    else None
                    for t in times
                ]
            )
    return Drawn(chart, span, zone, times, lines, compare, levels, windows, marks)


def longest_pause(stamps: Sequence[float], step: int) -> float:
    """Seconds between two points from which on something is missing: by the step, or by how often this device sends."""
    pauses = sorted(after - before for before, after in pairwise(stamps))
    usual = pauses[len(pauses) // 2] if pauses else 0.0
    return max(1.6 * step, 2.5 * usual if usual > step else 0.0, GAP_SECONDS)


def _with_gaps(stamps: Sequence[float], longest: float) -> list[float]:
    """The times, with one empty time inside each gap so that no line is drawn across it."""
    times: list[float] = []
    for at in stamps:
        if times and at - times[-1] > longest:
            times.append((times[-1] + at) / 2)
        times.append(at)
    return times


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)


# --- sparklines ----------------------------------------------------------------------------------------------

SPARK_METRIC = "cpu.used_percent"
SPARK_SPAN = timedelta(hours=24)
SPARK_MINUTES = 10


@cache
def _store(home: Home) -> Store:
    return open_store(home)


def sparks(*, device_ids: Iterable[UUID], now: datetime) -> dict[UUID, SafeString]:
    """Processor use of the last day of devices that were visible already, drawn small. Remembered for ten minutes:
    a line of 96 points moves no faster."""
    bucket = int(now.timestamp()) // (SPARK_MINUTES * 60)
    home = current_home()
    found = {device_id: _spark(home, device_id, bucket) for device_id in device_ids}
    return {device_id: drawing for device_id, drawing in found.items() if drawing}


@lru_cache(maxsize=20_000)
def _spark(home: Home, device_id: UUID, bucket: int) -> SafeString:
    end = datetime.fromtimestamp((bucket + 1) * SPARK_MINUTES * 60, UTC)
    points = (
        _store(home)
        .range(device_id=device_id, names=[SPARK_METRIC], start=end - SPARK_SPAN, end=end, step_seconds=3600)
        .get(SPARK_METRIC)
    )
    if points is None:
        return SafeString("")
    hour = int(end.timestamp()) // 3600
    known = {int(t) // 3600: float(v) for t, v in zip(points.times, points.mean, strict=True)}
    values = [known.get(hour - 23 + i) for i in range(24)]
    newest = next((value for value in reversed(values) if value is not None), None)
    return svg.sparkline(values, top=100, label=f"processor of the last day, now {words.quantity(newest, '%')}")
