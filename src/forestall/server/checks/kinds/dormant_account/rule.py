"""Accounts that let a person in and that nobody has used for long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import count, day, listing, span
from forestall.wire.facts import Access, Account


@dataclass(frozen=True, slots=True)
class Policy:
    most_days: float = 90
    """An account that nobody signed in to for longer warns; an administrator's fails."""
    services: bool = False
    """Also of accounts made for programs, which rarely sign in."""

    def __post_init__(self) -> None:
        if self.most_days <= 0:
            raise ValueError(f"most_days: {self.most_days:g} must be above 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result for each dormant account (or one that was), and one (no target) for the others together."""
    document = known.facts.access
    assert document is not None  # noqa: S101 - judge_kind sees to it
    accounts = [one for one in document.accounts if _lets_in(one, policy)]
    if not accounts:
        return []
    gap = next((one for one in document.gaps if one.what == "last logins"), None)
    if gap is not None:
        return [Result(Status.UNKNOWN, f"When accounts were last used cannot be told: {gap.why}.")]
    results = []
    used = unknown = 0
    for account in accounts:
        idle = _idle(document, account, now)
        if idle is None:
            unknown += 1
            continue
        since, words = idle
        if now - since <= timedelta(days=policy.most_days):
            used += 1
            if account.name in previous:
                results.append(Result(Status.PASS, f"{account.name} was last used {day(since)}.", target=account.name))
            continue
        who = f"{account.name} ({listing(account.administrator_because)})" if account.administrator else account.name
        results.append(
            Result(
                Status.FAIL if account.administrator else Status.WARN,
                f"{who} {words} and can still sign in.",
                target=account.name,
                value=(now - since) / timedelta(days=1),
                unit="days",
                risk=Risk.HIGH if account.administrator else None,
            )
        )
    if unknown:
        names = listing([one.name for one in accounts if _idle(document, one, now) is None])
        said = f"When {names} last signed in is not known: the records reach not far enough back."
        results.append(Result(Status.UNKNOWN, said, target="never seen"))
    if used:
        said = f"{count(used, 'account')} {'was' if used == 1 else 'were'} used in the last {policy.most_days:g} days."
        results.append(Result(Status.PASS, said, value=used, unit="accounts"))
    return results


def _lets_in(account: Account, policy: Policy) -> bool:
    if account.disabled or not account.login or account.uid == 0:
        return False  # root signs in through others, by sudo or su
    if account.kind == "system" or (account.kind == "service" and not policy.services):
        return False
    return account.password in ("set", "empty") or account.ssh_keys != 0


def _idle(document: Access, account: Account, now: datetime) -> tuple[datetime, str] | None:
    """Since when nobody used it, and that in words; None: it cannot be told."""
    if account.last_login is not None:
        ago = span(now - account.last_login)
        return account.last_login, f"last signed in on {day(account.last_login)}, {ago} ago,"
    # Only a record of every account's last sign-in says "never"; a log of sign-ins says "not since it began".
    if "/var/log/lastlog" not in document.sources and not account.source:
        return None
    if account.password_changed_at is None:
        return None
    return (
        account.password_changed_at,
        f"has never signed in since its password was set on {day(account.password_changed_at)}",
    )


def levels(policy: Policy) -> Sequence[Level]:
    return []
