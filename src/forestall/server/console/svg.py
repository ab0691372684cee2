"""Small drawings made on the server: sparklines everywhere, and whole charts where the script bundle is not there.

Nothing here carries an inline style (the content security policy forbids them): colours come from classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from zoneinfo import ZoneInfo

from django.utils.html import escape
from django.utils.safestring import SafeString

from forestall.server.console import words

PLOT_WIDTH, PLOT_HEIGHT = 1000, 132
"""The inside of a chart, in units of its drawing. The stylesheet gives it its place."""

Number = float | None


@dataclass(frozen=True, slots=True)
class Line:
    """A series to draw. ``None`` is a gap, and is drawn as one."""

    label: str
    mean: Sequence[Number]
    low: Sequence[Number] | None = None
    high: Sequence[Number] | None = None


@dataclass(frozen=True, slots=True)
class Threshold:
    value: float
    label: str
    status: str
    """``warn`` or ``fail``."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time behind the lines: a maintenance window."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened: a line through the chart."""

    at: float
    text: str
    status: str = ""
    """A check's answer, for its colour."""


def sparkline(values: Sequence[Number], *, top: float | None = None, label: str = "") -> SafeString:
    """A line 96 × 20 without axes. Empty text when there is nothing to draw."""
    known = [value for value in values if value is not None and isfinite(value)]
    if len(known) < 2:
        return SafeString("")
    ceiling = top or max(max(known), 1e-9)
    step = 96 / (len(values) - 1)
    points = [None if v is None else (i * step, 19 - 18 * min(max(v / ceiling, 0), 1)) for i, v in enumerate(values)]
    lines = "".join(f'<path class="svg-line" d="{_path(run)}"/>' for run in _runs(points))
    # An accessible name, since the line alone says nothing to those who cannot see it.
    return SafeString(f'<svg class="spark" viewBox="0 0 96 20" role="img" aria-label="{escape(label)}">{lines}</svg>')


def chart(
    *,
    times: Sequence[float],
    lines: Sequence[Line],
    unit: str,
    start: float,
    end: float,
    zone: str,
    thresholds: Sequence[Threshold] = (),
    windows: Sequence[Span] = (),
    marks: Sequence[Mark] = (),
    label: str = "",
) -> SafeString:
    """A chart with axes, 160 high, as wide as its place. ``times`` are Unix seconds; each line has one value a time."""
    low, high = _bounds(lines, thresholds, unit)

    def x(at: float) -> float:
        return PLOT_WIDTH * (at - start) / max(end - start, 1)

    def y(value: float) -> float:
        return PLOT_HEIGHT * (1 - (value - low) / (high - low))

    # Lines stretch with the page, words must not: the lines live in an inner drawing that is stretched, the words
    # in one beside it that is not.
    drawn: list[str] = []
    said: list[str] = []
    for span in windows:
        left, right = max(x(span.start), 0.0), min(x(span.end), PLOT_WIDTH)
        if right > left:
            drawn.append(f'<rect class="svg-window" x="{left:.1f}" width="{right - left:.1f}" height="{PLOT_HEIGHT}"/>')
    for tick in _ticks(low, high):
        drawn.append(f'<path class="svg-grid" d="M0 {y(tick):.1f}H{PLOT_WIDTH}"/>')
        said.append(
            f'<text class="svg-label" x="-8" y="{y(tick) + 4:.1f}" text-anchor="end">'
            f"{escape(words.quantity(tick, unit))}</text>"
        )
    for at, word in time_ticks(start, end, zone):
        drawn.append(f'<path class="svg-grid" d="M{x(at):.1f} 0V{PLOT_HEIGHT}"/>')
        share = 100 * x(at) / PLOT_WIDTH
        anchor = "start" if share < 2 else "end" if share > 98 else "middle"
        said.append(
            f'<text class="svg-label" x="{share:.2f}%" y="{PLOT_HEIGHT + 16}" text-anchor="{anchor}">'
            f"{escape(word)}</text>"
        )
    for mark in marks:
        if start <= mark.at <= end:
            css = f" {mark.status}" if mark.status in {"pass", "warn", "fail"} else ""
            drawn.append(f'<path class="svg-mark{css}" d="M{x(mark.at):.1f} 0V{PLOT_HEIGHT}"/>')
    for number, line in enumerate(lines):
        css = f"series-{number % 4 + 1}"
        if line.low is not None and line.high is not None:
            for lower, upper in _band(times, line.low, line.high):
                edge = [(x(t), y(v)) for t, v in upper] + [(x(t), y(v)) for t, v in reversed(lower)]
                drawn.append(f'<path class="svg-band {css}" d="{_path(edge)}Z"/>')
        points = [None if v is None else (x(t), y(v)) for t, v in zip(times, line.mean, strict=True)]
        drawn += [f'<path class="svg-line {css}" d="{_path(run)}"/>' for run in _runs(points)]
    for level in thresholds:
        if low <= level.value <= high:
            drawn.append(f'<path class="svg-threshold {level.status}" d="M0 {y(level.value):.1f}H{PLOT_WIDTH}"/>')
            said.append(
                # The two lie close together: one is named above its line, the other below.
                f'<text class="svg-label {level.status}" x="100%" dx="-4"'
                f' y="{y(level.value) + (11 if level.status == "warn" else -3):.1f}"'
                f' text-anchor="end">{escape(level.label)}</text>'
            )
    return SafeString(
        f'<svg role="img" aria-label="{escape(label)}">'
        f'<svg class="svg-plot" x="56" y="6" viewBox="0 0 {PLOT_WIDTH} {PLOT_HEIGHT}" preserveAspectRatio="none">'
        f'{"".join(drawn)}</svg><svg class="svg-plot" x="56" y="6" overflow="visible">{"".join(said)}</svg></svg>'
    )


def time_ticks(start: float, end: float, zone: str) -> list[tuple[float, str]]:
    """At most eight round times between ``start`` and ``end``, in words of ``zone``."""
    local = ZoneInfo(zone)
    span = end - start
    step = next(
        (
            s
            for s in (300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400)
            if span / s <= 8
        ),
        30 * 86400,
    )
    midnight = datetime.fromtimestamp(start, local).replace(hour=0, minute=0, second=0, microsecond=0)
    ticks: list[tuple[float, str]] = []
    at = midnight
    while at.timestamp() <= end and len(ticks) < 12:
        if at.timestamp() >= start:
            text = f"{at:%-d %b}" if step >= 86400 or (at.hour == 0 and at.minute == 0) else f"{at:%H:%M}"
            ticks.append((at.timestamp(), text))
        at += timedelta(seconds=step)
    return ticks


def _bounds(lines: Sequence[Line], thresholds: Sequence[Threshold], unit: str) -> tuple[float, float]:
    known = [v for line in lines for v in (*line.mean, *(line.high or ()), *(line.low or ())) if v is not None]
    low = min([0.0, *known])
    if unit == "%":
        return low, 100.0
    high = max(known, default=1.0)
    high = max([high] + [level.value for level in thresholds if level.value <= high * 1.6]) * 1.06
    return low, high if high > low else low + 1


def _ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / 4
    power = 10.0 ** int(f"{rough:e}".partition("e")[2])
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    first = int(low / step)
    return [tick * step for tick in range(first, int(high / step) + 1)]


def _runs(points: Sequence[tuple[float, float] | None]) -> Iterator[list[tuple[float, float]]]:
    """The stretches between gaps. A lonely point becomes a short dash, so that it is seen at all."""
    run: list[tuple[float, float]] = []
    for point in [*points, None]:
        if point is not None:
            run.append(point)
        elif run:
            yield run if len(run) > 1 else [run[0], (run[0][0] + 1.5, run[0][1])]
            run = []


def _band(
    times: Sequence[float], low: Sequence[Number], high: Sequence[Number]
) -> Iterator[tuple[list[tuple[float, float]], list[tuple[float, float]]]]:
    lower: list[tuple[float, float]] = []
    upper: list[tuple[float, float]] = []
    for at, bottom, top in [*zip(times, low, high, strict=True), (0.0, None, None)]:
        if bottom is not None and top is not None:
            lower.append((at, bottom))
            upper.append((at, top))
        elif lower:
            if len(lower) > 1:
                yield lower, upper
            lower, upper = [], []


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
