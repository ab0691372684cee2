"""Chains, locks and times of each backup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import clock, count, span
from forestall.wire.facts import BackupLock, BackupRepository


@dataclass(frozen=True, slots=True)
class Policy:
    lock_warn_hours: float = 24
    """Warn when a lock is older than this although its process may still run."""

    def __post_init__(self) -> None:
        if self.lock_warn_hours <= 0:
            raise ValueError(f"lock_warn_hours: {self.lock_warn_hours:g} must be above 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result a backup (locks left, as its value)."""
    document = known.facts.backups
    assert document is not None  # noqa: S101 - judge_kind sees to it
    return [_judge_one(each, policy, now) for each in document.repositories]


def _judge_one(backup: BackupRepository, policy: Policy, now: datetime) -> Result:
    name = f"{backup.name} ({backup.tool})"
    wrong = [each for each in backup.warnings if each.kind == "clock"]
    left = [each for each in backup.locks if each.stale]
    old = [each for each in backup.locks if not each.stale and _hours(each, now) >= policy.lock_warn_hours]

    def result(status: Status, reason: str, risk: Risk | None = None) -> Result:
        return Result(status, reason, target=backup.name, value=float(len(backup.locks)), unit="locks", risk=risk)

    if backup.chain_ok is False:
        return result(Status.FAIL, f"The chain of {name} is broken: {backup.chain_detail.rstrip('.')}.")
    if left:
        blocks = any(each.exclusive for each in left)
        effect = "; no backup can run" if blocks else ""
        reason = f"{name} is still locked by {_lock(left[0], now)}, which is gone{effect}."
        return result(Status.FAIL if blocks else Status.WARN, reason, None if blocks else Risk.MEDIUM)
    if wrong:
        several = f" ({count(len(wrong), 'snapshot')})" if len(wrong) > 1 else ""
        reason = f"A clock is wrong: snapshot {wrong[0].snapshot} of {name} {wrong[0].detail}{several}."
        return result(Status.FAIL, reason, Risk.MEDIUM)
    if old:
        return result(Status.WARN, f"{name} has been locked by {_lock(old[0], now)}; does that still run?", Risk.MEDIUM)
    if backup.unknown_why and backup.chain_ok is None and not backup.history:
        return result(Status.UNKNOWN, f"Chain and locks of {name} could not be read: {backup.unknown_why}.")
    chain = f": {backup.chain_detail.rstrip('.')}" if backup.chain_ok and backup.chain_detail else ""
    locks = f"in use by {_lock(backup.locks[0], now)}" if backup.locks else "no lock is left"
    return result(
        Status.PASS, f"{name}: {'the chain is whole' if backup.chain_ok else 'no chain is broken'}{chain}; {locks}."
    )


def _hours(lock: BackupLock, now: datetime) -> float:
    return (now - lock.since).total_seconds() / 3600 if lock.since else 0.0


def _lock(lock: BackupLock, now: datetime) -> str:
    since = f" for {span(now - lock.since)} (since {clock(lock.since)})" if lock.since and lock.since <= now else ""
    return f"{lock.who}{since}"


def levels(policy: Policy) -> Sequence[Level]:
    return []
