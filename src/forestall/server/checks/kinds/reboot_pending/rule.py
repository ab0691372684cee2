"""A reboot that updates are waiting for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import count, day, listing, number


@dataclass(frozen=True, slots=True)
class Policy:
    fail_days: float = 14
    """Warn at once; fail when the reboot has been pending for this many days."""

    def __post_init__(self) -> None:
        if self.fail_days < 0:
            raise ValueError(f"fail_days: {self.fail_days:g} must not be below 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """Whether a reboot is pending, for how many days, and what asks for it."""
    system = known.facts.system
    assert system is not None  # noqa: S101 - judge_kind sees to it
    if system.reboot_required is None:
        why = next((gap.why for gap in system.gaps if "reboot" in gap.what), "this system has no way of saying so")
        return [Result(Status.UNKNOWN, f"Whether a reboot is pending cannot be told: {why}.")]
    booted = f" It last started on {day(system.booted_at)}." if system.booted_at else ""
    if not system.reboot_required:
        return [Result(Status.PASS, f"No reboot is pending.{booted}")]
    asking = listing(system.reboot_reasons)
    wanted = f" ({asking})" if asking else ""
    since = known.first_seen.get("reboot:")
    days = (now - since).total_seconds() / 86400 if since else 0.0
    status = Status.FAIL if since and days >= policy.fail_days else Status.WARN
    age = f" for {count(int(days), 'day') if days >= 1 else number(days * 24) + ' h'}" if since else ""
    return [
        Result(
            status,
            f"A reboot is pending{age}{wanted}; it fails after {policy.fail_days:g} days.{booted}",
            value=int(days) if days >= 1 else 0 if since else None,
            unit="days" if since else "",
            risk=Risk.MEDIUM if status is Status.FAIL else Risk.LOW,
        )
    ]


def levels(policy: Policy) -> Sequence[Level]:
    return []
