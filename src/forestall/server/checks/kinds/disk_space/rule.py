"""How full each volume is, and when it will be full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Series, Status
from forestall.server.checks.thresholds import grade, levels_around
from forestall.server.checks.trend import Trend, trend
from forestall.server.checks.words import DAY, count, day, number, percent, size
from forestall.wire.facts import Volume

USED = "disk.used_percent"
FREE = "disk.free_bytes"
IMAGES = frozenset({"squashfs", "iso9660", "erofs", "udf", "cramfs"})
"""File systems that are full by nature: nothing is ever written to them."""


@dataclass(frozen=True, slots=True)
class Policy:
    warn_percent: float = 80
    """Warn from this share of the volume on."""
    fail_percent: float = 90
    """Fail from this share on."""
    clear_points: float = 2
    """A status is left only this many percentage points below its threshold."""
    fail_days: float = 7
    """Fail when a trustworthy trend fills the volume within this many days; 0: no forecast."""
    clear_days: float = 2
    """... and clear again only when the forecast is this many days beyond ``fail_days``."""
    history_days: float = 2
    """A trend is trusted only when the samples reach back at least this many days."""

    def __post_init__(self) -> None:
        if not 0 < self.warn_percent <= self.fail_percent <= 100:
            raise ValueError(
                f"warn_percent: {self.warn_percent:g} must be above 0 and at most fail_percent "
                f"({self.fail_percent:g}), and that at most 100"
            )
        for name in ("clear_points", "fail_days", "clear_days"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name):g} must not be below 0")
        if self.history_days <= 0:
            raise ValueError(f"history_days: {self.history_days:g} must be above 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result a volume: share used (%), with what is free and, where the trend is sure, the day it will be full."""
    assert known.facts.volumes is not None  # noqa: S101 - judge_kind sees to it
    used, free = known.labelled(USED, "volume"), known.labelled(FREE, "volume")
    return [
        _judge_volume(
            volume, used.get(volume.mountpoint, Series()), free.get(volume.mountpoint, Series()), policy, now,
            previous.get(volume.mountpoint),
        )
        for volume in {volume.mountpoint: volume for volume in known.facts.volumes.volumes}.values()
        if volume.filesystem not in IMAGES and volume.total_bytes > 0
    ]  # fmt: skip


def _judge_volume(
    volume: Volume, used: Series, free: Series, policy: Policy, now: datetime, previous: Status | None
) -> Result:
    where = volume.mountpoint
    if used.last is None:
        return Result(Status.UNKNOWN, f"No sample of {where} has arrived yet.", target=where)
    value = used.last
    status = grade(
        value, warn=policy.warn_percent, fail=policy.fail_percent, band=policy.clear_points, previous=previous
    )
    limit = {
        Status.FAIL: f" (fails at {percent(policy.fail_percent)})",
        Status.WARN: f" (warns at {percent(policy.warn_percent)})",
    }.get(status, "")
    if (status is Status.FAIL and value < policy.fail_percent) or (
        status is Status.WARN and value < policy.warn_percent
    ):
        threshold = policy.fail_percent if status is Status.FAIL else policy.warn_percent
        limit = f" ({status} until below {percent(threshold - policy.clear_points)})"
    left = free.last if free.last is not None else volume.total_bytes * (100 - value) / 100
    reason = f"{where} is {percent(value)} full{limit}; {size(left)} free."
    risk = None if status is Status.FAIL else Risk.MEDIUM
    full_at = None
    found = trend(used.times, used.values) if policy.fail_days else None
    if found and trusted(found, policy):
        days = (100 - value) / (found.slope * DAY)
        full_at = _day_from(now, days)
        reason += (
            f" It grows by {number(found.slope * DAY, digits=2)} points a day "
            f"({number(found.low * DAY, digits=2)} to {number(found.high * DAY, digits=2)}) and is full in "
            + (f"about {count(round(days), 'day')}, on {day(full_at)}." if full_at else "years.")
        )
        horizon = policy.fail_days + (policy.clear_days if previous is Status.FAIL else 0)
        if days <= horizon and status is not Status.FAIL:
            status, risk = Status.FAIL, None
            reason += f" Fails within {policy.fail_days:g} days."
    return Result(
        status, reason, target=where, value=round(value, 1), unit="%", risk=risk, forecast_at=full_at,
        evidence=(f"{USED}{{volume={where}}}", f"statvfs {where}"),
    )  # fmt: skip


def trusted(found: Trend, policy: Policy) -> bool:
    """Whether a trend may raise an alert: it rises for certain, steadily, for long enough, and still does.

    The lower end of the interval must be at least half the slope (so the date is right within a factor of two), and
    the last third must still grow at half the pace: a jump that is over is no trend.
    """
    return (
        found.slope > 0
        and found.low >= found.slope / 2
        and found.recent >= found.slope / 2
        and found.span_seconds >= policy.history_days * DAY
    )


def _day_from(now: datetime, days: float) -> datetime | None:
    """None beyond twenty years: that is no forecast any more."""
    return (now + timedelta(days=days)).astimezone(UTC) if days < 7300 else None


def levels(policy: Policy) -> Sequence[Level]:
    """Both thresholds and both values at which they are left."""
    limits = levels_around([policy.warn_percent, policy.fail_percent], band=policy.clear_points)
    return [Level(USED, value) for value in limits]
