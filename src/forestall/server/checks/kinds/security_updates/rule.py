"""Security updates, each with the moment by which it has to be installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import clock, count, listing, span
from forestall.wire.facts import Update, Updates


@dataclass(frozen=True, slots=True)
class Policy:
    obligation_hours: float = 72
    """Hours from when an update is first seen pending until it must be installed."""
    lists_warn_days: float = 2
    """Package lists older than this many days: what is pending cannot be known."""
    lists_fail_days: float = 14
    """Lists older than this fail: updating itself is broken."""

    def __post_init__(self) -> None:
        if self.obligation_hours <= 0:
            raise ValueError(f"obligation_hours: {self.obligation_hours:g} must be above 0")
        if not 0 < self.lists_warn_days <= self.lists_fail_days:
            raise ValueError(
                f"lists_warn_days: {self.lists_warn_days:g} must be above 0 and at most lists_fail_days "
                f"({self.lists_fail_days:g})"
            )


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """The number of pending security updates; the earliest deadline decides.

    What is known to be pending is judged even when the lists are old; that nothing is pending is believed only of
    fresh lists from a security source.
    """
    document = known.facts.updates
    assert document is not None  # noqa: S101 - judge_kind sees to it
    pending = sorted(
        {update.name: update for update in document.pending if update.security}.values(), key=lambda u: u.name
    )
    doubt = _doubt(document, policy, now)
    if doubt is not None and (not pending or doubt[0] is Status.FAIL):
        status, why = doubt
        also = f" {len(pending)} pending are known of." if pending else " 0 pending are known of."
        return [Result(status, why + also, value=len(pending), unit="updates", remedy=_REFRESH)]
    if not pending:
        seen = f" (lists of {clock(document.lists_refreshed_at)})" if document.lists_refreshed_at else ""
        return [Result(Status.PASS, f"0 security updates are pending{seen}.", value=0, unit="updates")]
    status, text = _judge_pending(known, pending, policy, now)
    if doubt is not None:
        text += f" There may be more: {doubt[1]}"
    held = [update.name for update in pending if update.held]
    if held:
        text += f" Held back: {listing(held)}."
    risk = Risk.HIGH if status is Status.FAIL or not known.has_history else Risk.MEDIUM
    return [Result(status, text, value=len(pending), unit="updates", risk=risk)]


_REFRESH = (
    "Fetch the package lists (`apt-get update`), make sure that a security source is configured, and that lists are "
    "fetched daily by themselves."
)


def _doubt(document: Updates, policy: Policy, now: datetime) -> tuple[Status, str] | None:
    """Why what is pending cannot be known, and how bad that is; None: it can."""
    if not document.manager:
        return Status.UNKNOWN, "Security updates cannot be known: no package manager that Forestall reads was found."
    if document.security_sources is False:
        return Status.FAIL, "Security updates cannot be known: no security source is configured."
    if document.security_sources is None:
        return (
            Status.UNKNOWN,
            "Security updates cannot be known: which package sources are configured could not be read.",
        )
    refreshed = document.lists_refreshed_at
    if refreshed is None:
        return (
            Status.UNKNOWN,
            "Security updates cannot be known: when the package lists were last fetched is not known.",
        )
    age = now - refreshed
    if age > timedelta(days=policy.lists_warn_days):
        status = Status.FAIL if age > timedelta(days=policy.lists_fail_days) else Status.UNKNOWN
        return status, f"Security updates cannot be known: the package lists are {span(age)} old ({clock(refreshed)})."
    return None


def _judge_pending(known: Known, pending: Sequence[Update], policy: Policy, now: datetime) -> tuple[Status, str]:
    names = listing([f"{update.name} {update.candidate}" for update in pending])
    what = f"{count(len(pending), 'security update')} {'is' if len(pending) == 1 else 'are'} pending"
    obligation = timedelta(hours=policy.obligation_hours)
    seen = {update.name: known.first_seen.get(f"updates:{update.name}={update.candidate}") for update in pending}
    if not known.has_history:
        return Status.WARN, f"{what}: {names}. Since when is not known without a server."
    earliest = min((at or now) for at in seen.values()) + obligation
    if now < earliest:
        return Status.WARN, f"{what}: {names}. To be installed by {clock(earliest)} ({span(earliest - now)} left)."
    late = [name for name, at in seen.items() if at is not None and now >= at + obligation]
    return Status.FAIL, (
        f"{what}, {len(late)} past the obligation of {policy.obligation_hours:g} h: {listing(late)}; "
        f"the first was due {clock(earliest)}, {span(now - earliest)} ago."
    )


def levels(policy: Policy) -> Sequence[Level]:
    return []
