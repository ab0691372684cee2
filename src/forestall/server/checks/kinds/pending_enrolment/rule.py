"""A device that enrolled and that nobody approved yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Status
from forestall.server.checks.words import clock, span


@dataclass(frozen=True, slots=True)
class Policy:
    fail_hours: float = 24
    """Warn at once; fail when the device has waited this long."""

    def __post_init__(self) -> None:
        if self.fail_hours < 0:
            raise ValueError(f"fail_hours: {self.fail_hours:g} must not be below 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """How long the device has waited (hours). Approved: it passes."""
    evidence = ("enrolment record of the device",)
    if known.approved:
        return [Result(Status.PASS, "The device is approved.", evidence=evidence)]
    if known.enrolled_at is None:
        return [Result(Status.UNKNOWN, "The device is not approved, and when it enrolled is not known.")]
    hours = max(0.0, round((now - known.enrolled_at).total_seconds() / 3600, 1))
    waited = f"{span(now - known.enrolled_at)} ago ({clock(known.enrolled_at)})"
    return [
        Result(
            Status.FAIL if hours >= policy.fail_hours else Status.WARN,
            f"The device enrolled {waited} and is not approved; it fails after {policy.fail_hours:g} h.",
            value=hours,
            unit="h",
            evidence=evidence,
        )
    ]


def levels(policy: Policy) -> Sequence[Level]:
    return []
