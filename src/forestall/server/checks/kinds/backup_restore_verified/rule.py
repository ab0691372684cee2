"""When a backup was last restored to see that it works, and whether it did.

Judged is every backup of which somebody says so (``restored_at``), and Forestall's own, which is to restore each one as
it is made. Of other backups without a restore test nothing is said here: nobody has told how they are tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Status
from forestall.server.checks.words import clock, count
from forestall.wire.facts import BackupJob, BackupRepository


@dataclass(frozen=True, slots=True)
class Policy:
    warn_days: float = 80
    """Warn when the last restore test is older than this."""
    fail_days: float = 90
    """Fail from this age on: at least a quarter of a year."""
    own_warn_days: float = 2
    """The same for Forestall's own backup, which restores each one as it is made."""
    own_fail_days: float = 4
    """From this age on it fails."""

    def __post_init__(self) -> None:
        for prefix in ("", "own_"):
            warn, fail = getattr(self, f"{prefix}warn_days"), getattr(self, f"{prefix}fail_days")
            if not 0 < warn <= fail:
                raise ValueError(
                    f"{prefix}warn_days: {warn:g} must be above 0 and at most {prefix}fail_days ({fail:g})"
                )


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result a backup (age of its last restore in days)."""
    document = known.facts.backups
    assert document is not None  # noqa: S101 - judge_kind sees to it
    tested = [one for one in document.repositories if one.restored_at is not None or one.restored_ok is not None]
    made = [one for one in document.jobs if one.last_success_at or one.restored_at or one.restored_ok is not None]
    return [*(_judge_one(one, policy, now) for one in tested), *(_judge_one(one, policy, now) for one in made)]


def _judge_one(backup: BackupRepository | BackupJob, policy: Policy, now: datetime) -> Result:
    own = isinstance(backup, BackupJob)
    name = "Forestall's own backup" if own else f"{backup.name} ({backup.tool})"
    warn, fail = (policy.own_warn_days, policy.own_fail_days) if own else (policy.warn_days, policy.fail_days)
    at = backup.restored_at
    days = None if at is None else max(0.0, (now - at).total_seconds() / 86_400)
    detail = f": {backup.restored_detail.rstrip('.')}" if backup.restored_detail else ""

    def result(status: Status, reason: str) -> Result:
        value = None if days is None else round(days, 1)
        return Result(status, reason, target=backup.name, value=value, unit="" if value is None else "days")

    if backup.restored_ok is False:
        when = f" on {clock(at)}" if at else ""
        return result(Status.FAIL, f"{name} could not be restored{when}{detail}.")
    if at is None or days is None:
        return result(Status.FAIL, f"{name} has never been restored to see that it works.")
    if backup.restored_ok is None:
        return result(Status.UNKNOWN, f"{name} was restored on {clock(at)}; whether that worked is not known.")
    if (at - now).total_seconds() > 3600:
        return result(Status.UNKNOWN, f"{name}: its last restore is said to be on {clock(at)}, in the future.")
    age = f"last restored {count(int(days), 'day')} ago ({clock(at)})" if days >= 1 else f"restored on {clock(at)}"
    if days >= fail:
        return result(Status.FAIL, f"{name}: {age}; fails from {fail:g} days on.")
    if days >= warn:
        return result(Status.WARN, f"{name}: {age}; warns from {warn:g} days on.")
    return result(Status.PASS, f"{name}: {age}{detail}.")


def levels(policy: Policy) -> Sequence[Level]:
    return []
