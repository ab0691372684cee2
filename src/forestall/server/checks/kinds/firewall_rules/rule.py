"""Firewall rules that let too much in, never match, or leave no trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from forestall.server.checks.kind import Level
from forestall.server.checks.kinds.firewall_rules.analysis import Report, Shadowed, analyse
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import count, listing
from forestall.wire.facts import FirewallRule

NAMED = 4


@dataclass(frozen=True, slots=True)
class Policy:
    unused_after_days: int = 30
    """A rule that has matched nothing since the device started counts as unused when that is so many days ago."""
    want_drops_logged: bool = False
    """Warn when what is dropped is written down nowhere."""

    def __post_init__(self) -> None:
        if self.unused_after_days < 1:
            raise ValueError(f"unused_after_days: {self.unused_after_days} must be 1 or more")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result for each sort of finding (``any_any``, ``shadowed``, ``unused``, ``unlogged``), and one (no target)
    for the rules together. No rules known: no results; nothing filters at all is the kind ``firewall``'s to say."""
    document = known.facts.firewall
    assert document is not None  # noqa: S101 - judge_kind sees to it
    if not document.ruleset or document.active is False:
        return []
    report = analyse(document)
    system = known.facts.system
    up = now - system.booted_at if system is not None and system.booted_at is not None else timedelta(0)
    results = [
        found
        for found in (
            _any_any(report), _shadowed(report), _unused(report, policy, up), _unlogged(report, policy),
        )
        if found is not None
    ]  # fmt: skip
    found_targets = {one.target for one in results}
    results += [
        Result(Status.PASS, f"{CALM[target]} any more.", target=target)
        for target in CALM
        if target in previous and target not in found_targets
    ]
    gaps = [gap for gap in document.gaps if gap.what.startswith("firewall rule")]
    if gaps:
        why = f"{count(len(gaps), 'part')} of the rules could not be read: {gaps[0].why}"
        results.append(Result(Status.UNKNOWN, f"{count(report.looked_at, 'rule')} looked at; {why}."))
    elif not found_targets:
        results.append(
            Result(
                Status.PASS,
                f"{count(report.looked_at, 'rule')} looked at: none lets everything in, none is shadowed by another.",
                value=report.looked_at,
                unit="rules",
            )
        )
    return results


CALM = {
    "any_any": "No rule lets everything in",
    "shadowed": "No rule is shadowed",
    "unused": "No rule is known as unused",
    "unlogged": "Nothing is dropped without a trace",
}


def named(rule: FirewallRule) -> str:
    """A rule as people find it: its chain, place and text."""
    return f"{rule.chain} {rule.number} ({rule.text or rule.action})"


def _any_any(report: Report) -> Result | None:
    rules = report.any_any
    if not rules:
        return None
    return Result(
        Status.FAIL,
        f"{count(len(rules), 'rule')} {'lets' if len(rules) == 1 else 'let'} in whatever comes, from anywhere: "
        f"{listing([named(rule) for rule in rules], most=NAMED)}.",
        target="any_any",
        value=len(rules),
        unit="rules",
        risk=Risk.HIGH,
        remedy="Replace it by rules that name what is offered and to whom; a rule for everything is no filter.",
    )


def _shadowed(report: Report) -> Result | None:
    if not report.shadowed:
        return None
    wrong = [one for one in report.shadowed if one.contradicts]
    told = [_told(one) for one in sorted(report.shadowed, key=lambda one: not one.contradicts)]
    more = f"; {len(wrong)} of them {'says' if len(wrong) == 1 else 'say'} otherwise than what decides" if wrong else ""
    return Result(
        Status.WARN,
        f"{count(len(report.shadowed), 'rule')} never {'matches' if len(report.shadowed) == 1 else 'match'}, as "
        f"earlier ones take all of it{more}: {listing(told, most=NAMED)}.",
        target="shadowed",
        value=len(report.shadowed),
        unit="rules",
        risk=Risk.MEDIUM if wrong else Risk.LOW,
        remedy="Remove the rule, or move it in front of the one that takes its packets if it was meant to decide.",
    )


def _told(one: Shadowed) -> str:
    by = listing([str(rule.number) for rule in one.by], most=3)
    return f"{named(one.rule)} behind {by}"


def _unused(report: Report, policy: Policy, up: timedelta) -> Result | None:
    if not report.unused or up < timedelta(days=policy.unused_after_days):
        return None
    rules = report.unused
    return Result(
        Status.WARN,
        f"{count(len(rules), 'rule')} {'has' if len(rules) == 1 else 'have'} let nothing in since the device started "
        f"{up.days} days ago: {listing([named(rule) for rule in rules], most=NAMED)}.",
        target="unused",
        value=len(rules),
        unit="rules",
        risk=Risk.LOW,
        remedy="Ask who needs it. What nobody needs any more is a door that nobody watches: remove it.",
    )


def _unlogged(report: Report, policy: Policy) -> Result | None:
    if not report.unlogged or not policy.want_drops_logged:
        return None
    return Result(
        Status.WARN,
        f"What {listing([one.chain for one in report.unlogged], most=NAMED)} refuses is written down nowhere.",
        target="unlogged",
        value=len(report.unlogged),
        unit="chains",
        risk=Risk.LOW,
        remedy="Add a rule that logs, with a limit (`limit rate 5/minute log`), in front of the end of the chain.",
    )


def levels(policy: Policy) -> Sequence[Level]:
    return []
