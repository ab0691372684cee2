"""What every reader of firewall rules makes: rules in the order in which they are tried, and what is left to policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from forestall.wire.facts import FirewallPolicy, FirewallRule

Inbound = Literal["accept", "drop", "unknown"]
Direction = Literal["in", "out", "forward", ""]
MOST_RULES = 2000
"""Rules kept in the document; beyond that a gap says how many there are."""
MAX_TEXT = 400


@dataclass(frozen=True, slots=True)
class Ruleset:
    """What a set of rules does to inbound traffic."""

    active: bool
    default_inbound: Inbound
    rules: int


@dataclass(frozen=True, slots=True)
class Odd:
    """A line that was not understood."""

    line: int
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules themselves, as far as one output tells them."""

    rules: tuple[FirewallRule, ...] = ()
    policies: tuple[FirewallPolicy, ...] = ()
    odd: tuple[Odd, ...] = ()
    active: bool | None = None
    """Whether the tool filters at all; None: follows from the rules."""


def directed(
    rules: Iterable[FirewallRule], hooks: Mapping[str, Direction], *, chain_of: Mapping[str, str]
) -> tuple[FirewallRule, ...]:
    """The rules with the direction of the hook from which their chain is reached.

    ``hooks``: base chain → direction. ``chain_of``: how a jump's target is called in full, by ``CHAIN→TARGET``. A chain
    that is reached from several hooks has none.
    """
    listed = list(rules)
    jumps: dict[str, set[str]] = {}
    for rule in listed:
        verb, _, target = rule.action.partition(" ")
        if verb in {"jump", "goto"} and target:
            jumps.setdefault(rule.chain, set()).add(chain_of.get(f"{rule.chain}→{target}", target))
    found: dict[str, set[Direction]] = {}
    for base, direction in hooks.items():
        seen, waiting = {base}, [base]
        while waiting:
            chain = waiting.pop()
            found.setdefault(chain, set()).add(direction)
            for target in jumps.get(chain, ()):
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
    single: dict[str, Direction] = {chain: next(iter(ways)) for chain, ways in found.items() if len(ways) == 1}
    return tuple(
        rule if not single.get(rule.chain) else msgspec.structs.replace(rule, direction=single[rule.chain])
        for rule in listed
    )


def summary(rules: Sequence[FirewallRule], policies: Sequence[FirewallPolicy]) -> Ruleset:
    """Whether anything refuses inbound traffic, and what happens to the rest, told from the rules alone."""
    inbound = [rule for rule in rules if rule.direction == "in" and rule.enabled]
    ways = [policy for policy in policies if policy.direction == "in" and policy.enabled]
    bases = {policy.chain for policy in ways}
    refusing = {"drop", "reject"}
    rest = any(rule.action in refusing and rule.chain in bases and _any(rule) for rule in inbound)
    drops = rest or any(policy.action in refusing for policy in ways)
    return Ruleset(
        active=drops or any(rule.action in refusing for rule in inbound),
        default_inbound="drop" if drops else "accept",
        rules=len(rules),
    )


def _any(rule: FirewallRule) -> bool:
    return not any(
        (rule.protocol, rule.source, rule.destination, rule.source_ports, rule.ports, rule.interface_in, rule.states,
         rule.interface_out, rule.other)
    )  # fmt: skip
