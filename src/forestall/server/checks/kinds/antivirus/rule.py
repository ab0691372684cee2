"""Antivirus: there, running, and with current definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import clock, listing, number
from forestall.wire.facts import AntivirusProduct

Answer = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Policy:
    definitions_days: float = 5
    """Fail when the definitions are older than this many days."""
    absent_on_server: Answer = "warn"
    """Answer when a server has none: ``pass``, ``warn`` or ``fail``."""
    absent_on_endpoint: Answer = "fail"
    """Answer when an endpoint has none."""

    def __post_init__(self) -> None:
        if self.definitions_days <= 0:
            raise ValueError(f"definitions_days: {self.definitions_days:g} must be above 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result a product (age of its definitions in days), or one for the device when it has none."""
    document = known.facts.antivirus
    assert document is not None  # noqa: S101 - judge_kind sees to it
    products = {product.name: product for product in document.products}
    if not products:
        endpoint = known.role == "endpoint"
        status = Status(policy.absent_on_endpoint if endpoint else policy.absent_on_server)
        who = "an endpoint" if endpoint else f"a {known.role}"
        return [
            Result(
                status,
                f"No antivirus was found; for {who} the policy says {status}.",
                risk=Risk.HIGH if endpoint else Risk.LOW,
            )
        ]
    results = [_judge_product(product, policy, now) for product in products.values()]
    if previous.get("", Status.UNKNOWN) is not Status.UNKNOWN:
        results.insert(0, Result(Status.PASS, f"Antivirus is installed: {listing(list(products))}."))
    return results


def _judge_product(product: AntivirusProduct, policy: Policy, now: datetime) -> Result:
    name = f"{product.name} {product.version}".strip()
    at = product.definitions_at
    days = max(0.0, (now - at).total_seconds() / 86400) if at else None
    age = f"definitions are {number(round(days, 1))} days old ({clock(at)})" if days is not None and at else ""
    value, unit = (round(days, 1), "days") if days is not None else (None, "")

    def result(status: Status, reason: str) -> Result:
        return Result(status, reason, target=product.name, value=value, unit=unit)

    if days is not None and days > policy.definitions_days:
        running = "" if product.running is not False else ", and it does not run"
        return result(Status.FAIL, f"{name}: its {age}{running}; fails above {policy.definitions_days:g} days.")
    tail = f"; its {age}" if age else ""
    if product.running is False:
        return result(Status.FAIL, f"{name} is installed but does not run{tail}.")
    if days is None:
        return result(Status.UNKNOWN, f"{name}: the age of its definitions could not be read.")
    if product.running is None:
        return result(Status.UNKNOWN, f"{name}: whether it runs could not be told{tail}.")
    if product.real_time is False:
        return result(Status.WARN, f"{name} runs but does not watch files as they are used{tail}.")
    return result(Status.PASS, f"{name} runs{tail}.")


def levels(policy: Policy) -> Sequence[Level]:
    return []
