"""Updates that fix no security hole: monthly is soon enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Status
from forestall.server.checks.words import clock, count, day, listing, span


@dataclass(frozen=True, slots=True)
class Policy:
    cadence_days: float = 30
    """Days from when an update is first seen pending until it counts as late."""
    lists_warn_days: float = 2
    """Package lists older than this many days: what is pending cannot be known."""

    def __post_init__(self) -> None:
        for name in ("cadence_days", "lists_warn_days"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: {getattr(self, name):g} must be above 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """The number of other updates pending; fails when one has been for longer than the cadence."""
    document = known.facts.updates
    assert document is not None  # noqa: S101 - judge_kind sees to it
    if not document.manager:
        return [Result(Status.UNKNOWN, "Updates cannot be known: no package manager that Forestall reads was found.")]
    pending = {update.name: update for update in document.pending if not update.security and not update.held}
    amount = len(pending)
    what = f"{count(amount, 'other update')} {'is' if amount == 1 else 'are'} pending"
    refreshed = document.lists_refreshed_at
    if not pending:
        if refreshed is None or now - refreshed > timedelta(days=policy.lists_warn_days):
            age = f"{span(now - refreshed)} old ({clock(refreshed)})" if refreshed else "of unknown age"
            reason = f"Updates cannot be known: the package lists are {age}. 0 pending are known of."
            return [Result(Status.UNKNOWN, reason, value=0, unit="updates")]
        return [Result(Status.PASS, f"{what} (lists of {clock(refreshed)}).", value=0, unit="updates")]
    names = listing([f"{update.name} {update.candidate}" for update in pending.values()])
    if not known.has_history:
        reason = f"{what}: {names}. Since when is not known without a server."
        return [Result(Status.WARN, reason, value=amount, unit="updates")]
    first = {
        name: known.first_seen.get(f"updates:{name}={update.candidate}") or now for name, update in pending.items()
    }
    due = min(first.values()) + timedelta(days=policy.cadence_days)
    if now < due:
        reason = f"{what}: {names}. To be installed by {day(due)}."
        return [Result(Status.PASS, reason, value=amount, unit="updates")]
    late = [name for name, at in first.items() if now >= at + timedelta(days=policy.cadence_days)]
    reason = (
        f"{what}, {len(late)} of them for more than {policy.cadence_days:g} days: {listing(late)}; "
        f"the first was due {day(due)}."
    )
    return [Result(Status.FAIL, reason, value=amount, unit="updates")]


def levels(policy: Policy) -> Sequence[Level]:
    return []
