"""Sums over samples. No I/O."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forestall.server.metrics.store import Floats, Points

HOUR_MS = 3_600_000
SIGNIFICANT_DIGITS = 7


def points_raw(times_ms: NDArray[np.int64], values: Floats) -> Points:
    """Every sample as a point; missing ones (NaN) are left out. Times need not be sorted; of two samples of one time
    the later in the arrays counts."""
    there = ~np.isnan(values)
    times, values = times_ms[there], values[there]
    if times.size and not (np.diff(times) > 0).all():
        order = np.argsort(times, kind="stable")
        times, values = times[order], values[order]
        last = np.append(np.diff(times) > 0, True)
        times, values = times[last], values[last]
    return Points(times=times / 1000.0, mean=values, min=values, max=values, count=np.ones(values.size))


def points_step(points: Points, step_seconds: int) -> Points:
    """Points drawn together into steps: means weighted by their counts."""
    if not points.times.size:
        return points
    buckets = np.floor(points.times / step_seconds)
    begins = np.flatnonzero(np.append(True, np.diff(buckets) != 0))
    count = np.add.reduceat(points.count, begins)
    return Points(
        times=buckets[begins] * step_seconds,
        mean=np.add.reduceat(points.mean * points.count, begins) / count,
        min=np.minimum.reduceat(points.min, begins),
        max=np.maximum.reduceat(points.max, begins),
        count=count,
    )


def points_join(parts: list[Points]) -> Points:
    """Points of spans that follow one another."""
    return Points(*(np.concatenate([getattr(part, name) for part in parts]) for name in Points.__slots__))


def hour_rollup(values: Floats) -> Floats:
    """Min, mean, max, last and count of each column of one hour's frame, side by side: 5 x columns numbers.

    NaN is no sample; a column without any gives NaN and count 0. Means keep seven significant digits: what a chart
    of months shows, at a quarter of the bytes.
    """
    there = ~np.isnan(values)
    count = there.sum(axis=0)
    some = count > 0
    lowest = np.where(some, np.where(there, values, np.inf).min(axis=0), np.nan)
    highest = np.where(some, np.where(there, values, -np.inf).max(axis=0), np.nan)
    total = np.where(there, values, 0.0).sum(axis=0)
    mean = np.where(some, total / np.maximum(count, 1), np.nan)
    # Rounding must not carry a mean out of the span of its samples.
    mean = np.clip(_rounded(mean), lowest, highest)
    rows = np.where(there, np.arange(values.shape[0])[:, None], 0).max(axis=0)
    last = np.where(some, values[rows, np.arange(values.shape[1])], np.nan)
    return np.concatenate([lowest, mean, highest, last, count.astype(np.float64)])


def _rounded(values: Floats) -> Floats:
    size = np.abs(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        places = SIGNIFICANT_DIGITS - 1 - np.floor(np.log10(size))
    scale = 10.0 ** np.clip(np.where(np.isfinite(places), places, 0), 0, 6)
    return np.where(np.isfinite(values), np.rint(values * scale) / scale, values)
