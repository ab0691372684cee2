"""Available memory that stays low."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Series, Status
from forestall.server.checks.thresholds import lasting, levels_around
from forestall.server.checks.words import percent, size

AVAILABLE = "memory.available_percent"


@dataclass(frozen=True, slots=True)
class Policy:
    fail_percent: float = 10
    """Fail when every sample of the span has less than this share of memory available."""
    minutes: float = 5
    """The span."""
    clear_points: float = 2
    """Once failed, it clears when the mean of the span is this many points above the threshold."""

    def __post_init__(self) -> None:
        if not 0 < self.fail_percent < 100:
            raise ValueError(f"fail_percent: {self.fail_percent:g} must be above 0 and below 100")
        if not 0 < self.minutes <= 10:
            raise ValueError(f"minutes: {self.minutes:g} must be above 0 and at most 10")
        if self.clear_points < 0:
            raise ValueError(f"clear_points: {self.clear_points:g} must not be below 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """The newest sample (% of memory that programs could still get), and whether it was low for the whole span."""
    series = known.samples.get(AVAILABLE, Series())
    value = series.last
    if value is None:
        return [Result(Status.UNKNOWN, "No sample of the memory has arrived yet.")]
    low = lasting(
        series,
        limit=policy.fail_percent,
        band=policy.clear_points,
        seconds=policy.minutes * 60,
        slack_seconds=1.5 * known.interval_seconds,
        previous=previous.get(""),
        rising=False,
    )
    total = known.facts.system.memory_bytes if known.facts.system else 0
    left = f"{percent(value)} of the memory is available" + (f" ({size(total * value / 100)})" if total else "")
    limit = f"fails below {percent(policy.fail_percent)}"
    if low is None:
        return [
            Result(
                Status.UNKNOWN,
                f"{left}; whether it stays so for {policy.minutes:g} min cannot be told yet ({limit}).",
                value=round(value, 1),
                unit="%",
            )
        ]
    if low:
        clear = policy.fail_percent + policy.clear_points
        text = f"{left}, and it was low for {policy.minutes:g} min ({limit}, clears at a mean above {percent(clear)})."
    else:
        text = f"{left} ({limit} for {policy.minutes:g} min)."
    return [Result(Status.FAIL if low else Status.PASS, text, value=round(value, 1), unit="%", evidence=(AVAILABLE,))]


def levels(policy: Policy) -> Sequence[Level]:
    limits = levels_around([policy.fail_percent], band=policy.clear_points, rising=False)
    return [Level(AVAILABLE, value) for value in limits]
