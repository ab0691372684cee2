"""Until when the operating system gets fixes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from forestall.server.checks.kind import Level
from forestall.server.checks.kinds.end_of_life.data import Product, Release, dates, find_release
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import count


@dataclass(frozen=True, slots=True)
class Policy:
    warn_days: float = 180
    """Warn when support ends in fewer days than this."""
    paid_support: bool = False
    """The client holds a contract for the maker's paid extended support."""

    def __post_init__(self) -> None:
        if self.warn_days < 0:
            raise ValueError(f"warn_days: {self.warn_days:g} must not be below 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """Days of support left, and which support that is: regular, long-term or paid."""
    system = known.facts.system
    assert system is not None  # noqa: S101 - judge_kind sees to it
    data = dates()
    evidence = ("/etc/os-release", f"{data.source}, {data.data_date}")
    name = system.os_name or system.os_id
    product, release = find_release(os_id=system.os_id, os_version=system.os_version, os_name=system.os_name)
    if product is None or release is None:
        what = f"{name} {system.os_version}" if system.os_version not in name else name
        reason = f"Until when {what} is supported is not in Forestall's data of {data.data_date}."
        remedy = "Look up its end of support with its maker."
        return [Result(Status.UNKNOWN, reason, evidence=evidence, remedy=remedy)]
    status, reason, days, ends, risk = _judge_release(product, release, policy, now.astimezone(UTC).date())
    return [
        Result(
            status, f"{reason} (Data of {data.data_date}.)", value=days, unit="days" if days is not None else "",
            evidence=evidence, risk=risk, forecast_at=datetime.combine(ends, time(), UTC) if ends else None,
            remedy=_remedy(product, system.os_id) if status.is_problem else "",
        )
    ]  # fmt: skip


def _judge_release(
    product: Product, release: Release, policy: Policy, today: date
) -> tuple[Status, str, int | None, date | None, Risk]:
    """Status, reason, days left of the support that applies, its last day, risk."""
    cycle = release.cycle.upper().replace("-", " ") if product.name.startswith("Windows") else release.cycle
    name = f"{product.name} {cycle}" + (f" ({release.codename})" if release.codename else "")
    if release.ends is None:
        return Status.PASS, f"{name} is supported; its maker has announced no end.", None, None, Risk.LOW
    left = (release.ends - today).days
    extended, extended_left = (
        release.extended_ends,
        (release.extended_ends - today).days if release.extended_ends else -1,
    )
    if left >= 0:
        after = f"; {product.extended} goes on until {extended}" if product.extended and extended else ""
        text = f"{name} has regular security support until {release.ends}, {count(left, 'day')} left{after}."
        soon = left < policy.warn_days
        return (Status.WARN if soon else Status.PASS), text, left, release.ends, Risk.LOW if after else Risk.MEDIUM
    ended = f"Regular security support of {name} ended on {release.ends}, {count(-left, 'day')} ago"
    if extended and product.extended and extended_left >= 0:
        tail = f"{product.extended} applies until {extended}, {count(extended_left, 'day')} left"
        if product.extended_free:
            text = f"{ended}; {tail}. It covers most packages, not all."
            risk = Risk.LOW if extended_left >= policy.warn_days else Risk.MEDIUM
            return Status.WARN, text, extended_left, extended, risk
        if policy.paid_support:
            status = Status.WARN if extended_left < policy.warn_days else Status.PASS
            return status, f"{ended}; {tail}, under the client's contract.", extended_left, extended, Risk.LOW
        text = f"{ended}. Only those who pay for {product.extended} still get fixes (until {extended})."
        return Status.FAIL, text, left, release.ends, Risk.HIGH
    also = f", and {product.extended} on {extended}" if extended and product.extended else ""
    return Status.FAIL, f"{ended}{also}: no hole in it is closed any more.", left, release.ends, Risk.HIGH


def _remedy(product: Product, os_id: str) -> str:
    newest = max((each for each in product.releases), key=lambda each: each.released)
    name = newest.cycle if not os_id.startswith("windows") else newest.cycle.split("-")[0]
    return f"Plan the upgrade to a supported release (the newest known is {product.name} {name}) and set its date."


def levels(policy: Policy) -> Sequence[Level]:
    return []
