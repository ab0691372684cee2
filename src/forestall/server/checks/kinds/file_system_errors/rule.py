"""Errors that file systems themselves have counted, and those that ask for a check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import clock, count
from forestall.wire.facts import Volume


@dataclass(frozen=True, slots=True)
class Policy:
    recent_days: float = 30
    """Errors fail for this many days after the last one, and warn from then on. Of unknown age: they fail."""

    def __post_init__(self) -> None:
        if self.recent_days < 0:
            raise ValueError(f"recent_days: {self.recent_days:g} must not be below 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result a volume whose file system counts its errors or complains; the others say nothing of themselves."""
    document = known.facts.volumes
    assert document is not None  # noqa: S101 - judge_kind sees to it
    volumes = {volume.mountpoint: volume for volume in document.volumes}
    return [
        _judge_volume(volume, policy, now) for volume in volumes.values() if volume.errors is not None or volume.state
    ]


def _judge_volume(volume: Volume, policy: Policy, now: datetime) -> Result:
    name = f"{volume.mountpoint} ({volume.filesystem} on {volume.device})"

    def result(status: Status, text: str, risk: Risk | None = None) -> Result:
        value = float(volume.errors) if volume.errors is not None else None
        unit = "errors" if value is not None else ""
        return Result(status, f"{name}: {text}.", target=volume.mountpoint, value=value, unit=unit, risk=risk)

    if volume.errors:
        at = volume.last_error_at
        last = f", the last one {clock(at)}" if at else ""
        state = f"; {volume.state}" if volume.state else ""
        old = at is not None and (now - at).total_seconds() > policy.recent_days * 86400
        status = Status.WARN if old and not volume.state else Status.FAIL
        return result(status, f"{count(volume.errors, 'error')} counted{last}{state}")
    if volume.state:
        read_only = "read-only" in volume.state
        return result(Status.FAIL if read_only else Status.WARN, volume.state, None if read_only else Risk.MEDIUM)
    return result(Status.PASS, "no errors counted")


def levels(policy: Policy) -> Sequence[Level]:
    return []
