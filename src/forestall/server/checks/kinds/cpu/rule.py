"""CPU use that lasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Series, Status
from forestall.server.checks.thresholds import lasting, levels_around
from forestall.server.checks.words import percent

USED = "cpu.used_percent"


@dataclass(frozen=True, slots=True)
class Policy:
    fail_percent: float = 90
    """Fail when every sample of the span is above this share of all processors."""
    minutes: float = 5
    """The span."""
    clear_points: float = 5
    """Once failed, it clears when the mean of the span is this many points below the threshold."""

    def __post_init__(self) -> None:
        if not 0 < self.fail_percent <= 100:
            raise ValueError(f"fail_percent: {self.fail_percent:g} must be above 0 and at most 100")
        if not 0 < self.minutes <= 10:
            raise ValueError(f"minutes: {self.minutes:g} must be above 0 and at most 10")
        if self.clear_points < 0:
            raise ValueError(f"clear_points: {self.clear_points:g} must not be below 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """The newest sample (%), and whether it was high for the whole span."""
    series = known.samples.get(USED, Series())
    value = series.last
    if value is None:
        return [Result(Status.UNKNOWN, "No sample of the CPU has arrived yet.")]
    high = lasting(
        series,
        limit=policy.fail_percent,
        band=policy.clear_points,
        seconds=policy.minutes * 60,
        slack_seconds=1.5 * known.interval_seconds,
        previous=previous.get(""),
    )
    busy, limit = f"The CPU is {percent(value)} busy", f"fails above {percent(policy.fail_percent)}"
    if high is None:
        return [
            Result(
                Status.UNKNOWN,
                f"{busy}; whether that lasts {policy.minutes:g} min cannot be told yet ({limit}).",
                value=round(value, 1),
                unit="%",
            )
        ]
    if high:
        clear = policy.fail_percent - policy.clear_points
        text = f"{busy}, and was high for {policy.minutes:g} min ({limit}, clears at a mean below {percent(clear)})."
    else:
        text = f"{busy} ({limit} for {policy.minutes:g} min)."
    return [Result(Status.FAIL if high else Status.PASS, text, value=round(value, 1), unit="%", evidence=(USED,))]


def levels(policy: Policy) -> Sequence[Level]:
    return [Level(USED, value) for value in levels_around([policy.fail_percent], band=policy.clear_points)]
