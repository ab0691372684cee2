"""A robust linear trend, with the interval in which its slope lies: for forecasts that say when they are sure.

Theil–Sen: the slope is the median of the slopes of all pairs of points, so that up to 29 % of wild points (a big
file that came and went) do not move it. The confidence interval of the slope is Sen's, from Kendall's statistic:
P. K. Sen, "Estimates of the Regression Coefficient Based on Kendall's Tau", Journal of the American Statistical
Association 63 (1968), 1379-1389; as computed in R. O. Gilbert, "Statistical Methods for Environmental Pollution
Monitoring" (1987), section 16.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MOST_POINTS = 56
"""Points that are compared pair by pair; more are averaged into this many first. 56 points are 1,540 slopes."""
Z_95 = 1.959964
"""Normal quantile of a two-sided interval of 95 %."""


@dataclass(frozen=True, slots=True)
class Trend:
    """Change per second."""

    slope: float
    low: float
    """The slope is above this ..."""
    high: float
    """... and below this, with 95 % confidence if the points scatter independently."""
    recent: float
    """Slope of the last third of the span alone: whether it still goes on."""
    span_seconds: float


def trend(times: Sequence[float], values: Sequence[float]) -> Trend | None:
    """The trend through the points (times rising, in seconds); None for fewer than 8 points or no span."""
    points = _thinned(times, values)
    if len(points) < 8:
        return None
    span = points[-1][0] - points[0][0]
    slopes = sorted(_slopes(points))
    n = len(points)
    spread = Z_95 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(0, math.floor((len(slopes) - spread) / 2) - 1)
    high = min(len(slopes) - 1, math.ceil((len(slopes) + spread) / 2))
    last = [point for point in points if point[0] >= points[-1][0] - span / 3]
    recent = median(_slopes(last)) if len(last) >= 3 else 0.0
    return Trend(slope=median(slopes), low=slopes[low], high=slopes[high], recent=recent, span_seconds=span)


def _slopes(points: Sequence[tuple[float, float]]) -> list[float]:
    return [
        (later - earlier) / (t_later - t_earlier)
        for index, (t_earlier, earlier) in enumerate(points)
        for t_later, later in points[index + 1 :]
    ]


def _thinned(times: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    """At most MOST_POINTS points, each the mean of its part of the span. Times that do not rise are left out."""
    rising: list[tuple[float, float]] = []
    for time, value in zip(times, values, strict=True):
        if not rising or time > rising[-1][0]:
            rising.append((time, value))
    if len(rising) <= MOST_POINTS:
        return rising
    first, width = rising[0][0], (rising[-1][0] - rising[0][0]) / MOST_POINTS
    parts: list[list[tuple[float, float]]] = [[] for _ in range(MOST_POINTS)]
    for point in rising:
        parts[min(MOST_POINTS - 1, int((point[0] - first) / width))].append(point)
    return [
        (sum(time for time, _ in part) / len(part), sum(value for _, value in part) / len(part))
        for part in parts
        if part
    ]
