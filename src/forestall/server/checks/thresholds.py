"""Thresholds with hysteresis: a status is entered at its threshold and left only a band below it.

So that a value that swings around a threshold changes nothing. Ages (of a backup, of virus definitions) need no
band: they only rise, and fall by an event, far below the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from forestall.server.checks.result import Series, Status


def grade(
    value: float, *, warn: float, fail: float, band: float, previous: Status | None, rising: bool = True
) -> Status:
    """The status of ``value``: ``fail`` from ``fail`` on, ``warn`` from ``warn`` on (thresholds included).

    ``previous`` is the status before; it is kept until the value is ``band`` or more on the good side of its
    threshold. ``rising`` False: low values are the bad ones. ValueError for NaN: it is no value, and must not pass.
    """
    if math.isnan(value):
        raise ValueError("the value is NaN: nothing was measured")
    if not rising:
        value, warn, fail = -value, -warn, -fail
    if value >= fail or (previous is Status.FAIL and value > fail - band):
        return Status.FAIL
    if value >= warn or (previous in {Status.WARN, Status.FAIL} and value > warn - band):
        return Status.WARN
    return Status.PASS


def lasting(
    series: Series,
    *,
    limit: float,
    band: float,
    seconds: float,
    slack_seconds: float,
    previous: Status | None,
    rising: bool = True,
) -> bool | None:
    """Whether the series has been beyond ``limit`` for ``seconds`` without pause; None: not known yet.

    Every sample of the span must be beyond. ``slack_seconds`` (the sampling interval) may lack at the beginning of
    the span, because samples don't fall on its edge. When it was so before (``previous``), it stays so until the
    mean of the span is ``band`` or more on the good side. None only when all that is known is beyond the limit but
    reaches back less than the span: one good sample proves that it did not last.
    """
    if not series.values:
        return None
    if any(math.isnan(value) for value in series.values):
        raise ValueError("a value of the series is NaN: nothing was measured then")
    sign = 1.0 if rising else -1.0
    end = series.times[-1]
    values = [sign * value for time, value in zip(series.times, series.values, strict=True) if time > end - seconds]
    limit *= sign
    if previous is not None and previous.is_problem:
        return sum(values) / len(values) > limit - band
    if min(values) <= limit:
        return False
    first = next(time for time in series.times if time > end - seconds)
    return True if end - first >= seconds - slack_seconds else None


def levels_around(limits: Sequence[float], *, band: float, rising: bool = True) -> list[float]:
    """Each threshold and the value at which it is left: what intake has to watch."""
    return sorted({limit + (-band if rising else band) for limit in limits} | set(limits))
