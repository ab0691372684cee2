"""A device that no longer checks in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import clock, span


@dataclass(frozen=True, slots=True)
class Policy:
    warn_minutes: float = 5
    """Minutes without a check-in until the device counts as offline (warn)."""
    fail_minutes: float = 30
    """Minutes without a check-in until it is overdue (fail)."""

    def __post_init__(self) -> None:
        if not 0 < self.warn_minutes <= self.fail_minutes:
            raise ValueError(
                f"warn_minutes: {self.warn_minutes:g} must be above 0 and at most fail_minutes ({self.fail_minutes:g})"
            )


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """The age of the last check-in (minutes). A device that is not approved is not expected to check in."""
    if not known.approved:
        return []
    risk = Risk.CRITICAL if known.role in {"server", "network"} else Risk.MEDIUM
    since = known.last_check_in_at or known.enrolled_at
    if since is None:
        return [Result(Status.UNKNOWN, "The device has never checked in, and when it enrolled is not known.")]
    minutes = max(0.0, (now - since).total_seconds() / 60)
    # No band: the age falls only by a check-in, and then to about nothing.
    if minutes >= policy.fail_minutes:
        status, word = Status.FAIL, f"Overdue (fails after {policy.fail_minutes:g} min)"
    elif minutes >= policy.warn_minutes:
        status, word = Status.WARN, f"Offline (warns after {policy.warn_minutes:g} min)"
    else:
        status, word = Status.PASS, "Online"
    seen = f"the last check-in was {span(now - since)} ago ({clock(since)})"
    if known.last_check_in_at is None:
        seen = f"no check-in since it enrolled {span(now - since)} ago"
    return [
        Result(
            status,
            f"{word}: {seen}.",
            value=round(minutes, 1),
            unit="min",
            evidence=("times of check-ins at intake",),
            risk=risk if status is Status.FAIL else Risk.MEDIUM,
        )
    ]


def levels(policy: Policy) -> Sequence[Level]:
    return []
