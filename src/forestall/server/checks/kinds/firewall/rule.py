"""Whether anything filters inbound traffic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import count


@dataclass(frozen=True, slots=True)
class Policy:
    required: bool = True
    """False: another device filters for this one, and that is enough."""


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result: whether a rule filters what comes in, and what happens to the rest."""
    document = known.facts.firewall
    assert document is not None  # noqa: S101 - judge_kind sees to it
    if document.active is None:
        why = "; ".join(f"{gap.what}: {gap.why}" for gap in document.gaps) or "it could not be seen"
        return [Result(Status.UNKNOWN, f"Whether anything filters inbound traffic cannot be told: {why}.")]
    rules = count(document.rules, "rule")
    if not document.active:
        tool = f"{document.tool} is there, with {rules}" if document.tool else "no firewall was found"
        if not policy.required:
            return [Result(Status.PASS, f"Nothing filters inbound traffic ({tool}); by policy another device does.")]
        return [Result(Status.WARN, f"Nothing filters inbound traffic: {tool}.", value=document.rules, unit="rules")]
    rest = {"drop": "the rest is dropped", "accept": "the rest is let in"}.get(
        document.default_inbound, "what happens to the rest is not known"
    )
    return [
        Result(
            Status.PASS,
            f"{document.tool or 'A firewall'} filters inbound traffic with {rules}; {rest}.",
            value=document.rules,
            unit="rules",
            risk=Risk.LOW,
        )
    ]


def levels(policy: Policy) -> Sequence[Level]:
    return []
