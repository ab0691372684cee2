"""Administrators that appeared after the device enrolled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Status
from forestall.server.checks.words import clock, count, day, listing
from forestall.wire.facts import Account


@dataclass(frozen=True, slots=True)
class Policy:
    new_days: float = 30
    """For so many days an administrator that nobody accepted fails; after that it passes as known."""

    def __post_init__(self) -> None:
        if self.new_days <= 0:
            raise ValueError(f"new_days: {self.new_days:g} must be above 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result an administrator. Those of the first document after enrolment are the baseline: they pass, listed.

    Without history (the audit) all are listed in one result.
    """
    document = known.facts.access
    assert document is not None  # noqa: S101 - judge_kind sees to it
    administrators = {account.name: account for account in document.accounts if account.administrator}
    results: list[Result] = []
    if document.sudo_rules is None:
        why = next((gap.why for gap in document.gaps if "sudo" in gap.what), "they could not be read")
        results.append(
            Result(
                Status.UNKNOWN, f"Who is an administrator by sudo rules cannot be told: {why}.", target="sudo rules",
                remedy="Reading them needs root.",
            )
        )  # fmt: skip
    if not known.has_history:
        names = [f"{account.name} ({_because(account)})" for account in administrators.values()]
        listed = f"{count(len(administrators), 'administrator')}: {listing(names, most=10)}." if names else ""
        if not listed:
            return [*results, Result(Status.UNKNOWN, "0 administrators were found, which cannot be all.", value=0)]
        return [*results, Result(Status.PASS, listed, value=len(names), unit="administrators")]
    return [*results, *(_judge_account(known, account, policy, now) for account in administrators.values())]


def _because(account: Account) -> str:
    return listing(account.administrator_because) or "administrator"


def _judge_account(known: Known, account: Account, policy: Policy, now: datetime) -> Result:
    first = known.first_seen.get(f"access:{account.name}", now)
    baseline = min((at for key, at in known.first_seen.items() if key.startswith("access:")), default=first)
    who = f"{account.name} ({_because(account)})"
    # All of the first document were first seen at one moment. What goes away and comes back is new again.
    if first <= baseline:
        return Result(Status.PASS, f"{who} was an administrator when the device enrolled.", target=account.name)
    if now - first > timedelta(days=policy.new_days):
        return Result(Status.PASS, f"{who} has been an administrator since {day(first)}.", target=account.name)
    return Result(
        Status.FAIL,
        f"{who} became an administrator; first seen {clock(first)}, after the device enrolled.",
        target=account.name,
    )


def levels(policy: Policy) -> Sequence[Level]:
    return []
