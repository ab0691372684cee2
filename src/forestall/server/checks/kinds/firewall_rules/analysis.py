"""What is wrong in a list of firewall rules, by the packets that each of them can match.

A rule is a *box*: for each property of a packet (protocol, addresses, ports, interfaces, state of the connection) the
set of values that it takes. A rule is **shadowed** when the boxes of the deciding rules before it in its chain leave
nothing of its own box. That is exact for rules made of these properties alone; a rule with any further condition
matches *less* than its box, so it never counts as covering another one, and may still be covered itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Literal

from forestall.wire.facts import Firewall, FirewallPolicy, FirewallRule

PROTOCOLS = {
    "icmp": 1, "igmp": 2, "ipencap": 4, "tcp": 6, "udp": 17, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51,
    "ipv6-icmp": 58, "icmpv6": 58, "ospf": 89, "pim": 103, "vrrp": 112, "sctp": 132, "udplite": 136, "dccp": 33,
}  # fmt: skip
STATES = ("new", "established", "related", "invalid", "untracked")
DECIDES = frozenset({"accept", "drop", "reject", "return", "queue"})
"""Actions after which the following rules of the chain never see the packet; so does ``goto``."""
MOST_PIECES = 3000
"""A rule whose rest falls into more pieces than this is left undecided (and so not reported)."""
_V6 = 2**32
"""IPv4 addresses are 0 … 2³²-1, IPv6 addresses follow."""
_ALL_ADDRESSES = ((0, _V6 + 2**128 - 1),)
_ALL_PORTS = ((0, 65535),)
_ALL_PROTOCOLS = ((0, 255),)

Spans = tuple[tuple[int, int], ...]
"""Sorted, disjoint ranges of whole numbers, both ends within."""
Box = tuple[Spans, Spans, Spans, Spans, Spans, Spans, Spans, Spans]
"""Protocol, source, destination, source ports, ports, interface in, interface out, state."""


@dataclass(frozen=True, slots=True)
class Shadowed:
    """A rule that no packet reaches."""

    rule: FirewallRule
    by: tuple[FirewallRule, ...]
    """The deciding rules before it that overlap with it, in their order."""
    contradicts: bool
    """Whether one of them decides otherwise: what the rule says never happens."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is wrong in a firewall's rules. Rules in the order in which they stand."""

    any_any: tuple[FirewallRule, ...] = ()
    """Let in whatever comes, from anywhere, to anything."""
    shadowed: tuple[Shadowed, ...] = ()
    unused: tuple[FirewallRule, ...] = ()
    """Have never matched, although others of the set have."""
    unlogged: tuple[FirewallPolicy, ...] = ()
    """What is dropped at the end of inbound chains and written down nowhere."""
    looked_at: int = 0
    undecided: int = 0
    """Rules whose cover was too intricate to work out."""


def analyse(firewall: Firewall) -> Report:
    """Every finding in the rules. Disabled rules are left out, and so are those of profiles that are off."""
    off = {policy.chain for policy in firewall.policies if not policy.enabled}
    rules = [
        rule for rule in firewall.ruleset
        if rule.enabled and rule.chain not in off and rule.chain.rpartition(" ")[0] not in off
    ]  # fmt: skip
    chains: dict[str, list[FirewallRule]] = {}
    for rule in rules:
        chains.setdefault(rule.chain, []).append(rule)
    shadowed: list[Shadowed] = []
    undecided = 0
    for listed in chains.values():
        found, unclear = shadows(listed)
        shadowed += found
        undecided += unclear
    dead = {(one.rule.chain, one.rule.number) for one in shadowed}
    # A ruleset in which nothing was ever counted says nothing about a single rule.
    counted = any(rule.packets for rule in rules)
    wide = _wide_chains(firewall.policies, chains)
    return Report(
        any_any=tuple(
            rule
            for rule in rules
            if takes_everything(rule) and (rule.chain, rule.number) not in dead and rule.chain in wide
        ),
        shadowed=tuple(shadowed),
        unused=tuple(
            rule for rule in rules
            if counted and rule.packets == 0 and rule.direction == "in" and rule.action == "accept"
            and (rule.chain, rule.number) not in dead
        ),
        unlogged=tuple(
            policy for policy in firewall.policies
            if policy.direction == "in" and policy.enabled and _drops(policy, chains.get(policy.chain, ()))
            and not _logs(policy.chain, chains)
        ),
        looked_at=len(rules),
        undecided=undecided,
    )  # fmt: skip


def takes_everything(rule: FirewallRule) -> bool:
    """Whether it lets in whatever comes: from anywhere, to any port, by any protocol, on any interface."""
    return (
        rule.direction == "in"
        and rule.action == "accept"
        and _wide(rule.source)
        and _wide(rule.destination)
        and not rule.protocol
        and not rule.ports
        and not rule.source_ports
        and not rule.interface_in
        and not rule.interface_out
        and (not rule.states or "new" in rule.states)
        and not rule.other
    )


def _wide_chains(policies: Sequence[FirewallPolicy], chains: dict[str, list[FirewallRule]]) -> set[str]:
    """The chains that all inbound traffic goes through: a chain behind a condition lets in what meets it alone."""
    bases = {policy.chain for policy in policies if policy.direction == "in"}
    found = {chain for chain in chains if not bases or chain in bases or chain.rpartition(" ")[0] in bases}
    waiting = list(found)
    while waiting:
        name = waiting.pop()
        for rule in chains[name]:
            verb, _, target = rule.action.partition(" ")
            if verb not in {"jump", "goto"} or _conditions(rule):
                continue
            for full in (target, f"{name.rpartition(' ')[0]} {target}"):
                if full in chains and full not in found:
                    found.add(full)
                    waiting.append(full)
    return found


def _wide(address: str) -> bool:
    return address in {"", "0.0.0.0/0", "::/0"}


def _drops(policy: FirewallPolicy, rules: Sequence[FirewallRule]) -> bool:
    return policy.action in {"drop", "reject"} or any(
        rule.action in {"drop", "reject"} and not _conditions(rule) for rule in rules
    )


def _logs(chain: str, chains: dict[str, list[FirewallRule]]) -> bool:
    """Whether the chain, or one it jumps to, writes down anything that is not let in."""
    seen, waiting = {chain}, [chain]
    while waiting:
        name = waiting.pop()
        for rule in chains.get(name, ()):
            if rule.logged and rule.action not in {"accept"}:
                return True
            verb, _, target = rule.action.partition(" ")
            if verb in {"jump", "goto"}:
                for full in (target, f"{name.rpartition(' ')[0]} {target}"):
                    if full in chains and full not in seen:
                        seen.add(full)
                        waiting.append(full)
    return False


def _conditions(rule: FirewallRule) -> bool:
    return any(
        (rule.protocol, rule.source, rule.destination, rule.source_ports, rule.ports, rule.interface_in,
         rule.interface_out, rule.states, rule.other)
    )  # fmt: skip


# --- boxes ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Names:
    """Interfaces as numbers: every name and every pattern that occurs, and one that stands for all others."""

    known: list[str] = field(default_factory=lambda: [""])

    @classmethod
    def of(cls, rules: Iterable[FirewallRule]) -> Names:
        found = {name for rule in rules for name in f"{rule.interface_in},{rule.interface_out}".split(",") if name}
        return cls(["", *sorted(found)])

    def spans(self, names: str) -> Spans | None:
        """The numbers that ``eth0`` or ``eth*`` or ``eth0,wlan0`` stand for; None: cannot be told."""
        if not names:
            return ((0, len(self.known) - 1),)
        found: list[tuple[int, int]] = []
        for name in names.split(","):
            if name.startswith(("!", "@")):
                return None
            if not name.endswith("*"):
                found.append((self.known.index(name), self.known.index(name)))
                continue
            # A pattern takes the names and the narrower patterns that begin like it; itself stands for those unnamed.
            found += [(at, at) for at, other in enumerate(self.known) if at and other.startswith(name[:-1])]
        return merge(found)


def merge(spans: Iterable[tuple[int, int]]) -> Spans:
    """The same numbers as sorted, disjoint ranges."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)


def common(one: Spans, other: Spans) -> Spans:
    """What both hold."""
    found = []
    at = also = 0
    while at < len(one) and also < len(other):
        low, high = max(one[at][0], other[also][0]), min(one[at][1], other[also][1])
        if low <= high:
            found.append((low, high))
        if one[at][1] < other[also][1]:
            at += 1
        else:
            also += 1
    return tuple(found)


def without(one: Spans, other: Spans) -> Spans:
    """What only the first holds."""
    found: list[tuple[int, int]] = []
    for begin, high in one:
        low = begin
        for cut_low, cut_high in other:
            if cut_high < low or cut_low > high:
                continue
            if cut_low > low:
                found.append((low, cut_low - 1))
            low = cut_high + 1
        if low <= high:
            found.append((low, high))
    return tuple(found)


def box_of(rule: FirewallRule, names: Names, family: str = "") -> Box | None:
    """What the rule's fields take; None when one of them cannot be told (a set that is only named)."""
    protocol = _protocols(rule.protocol)
    source, destination = _addresses(rule.source), _addresses(rule.destination)
    source_ports, ports = _ports(rule.source_ports), _ports(rule.ports)
    into, out = names.spans(rule.interface_in), names.spans(rule.interface_out)
    states = _states(rule.states)
    parts = (protocol, source, destination, source_ports, ports, into, out, states)
    if any(part is None for part in parts):
        return None
    if family:
        only: Spans = ((0, _V6 - 1),) if family == "ip" else ((_V6, _V6 + 2**128 - 1),)
        parts = (protocol, common(source or (), only), common(destination or (), only), *parts[3:])
    return parts  # type: ignore[return-value]


def _protocols(text: str) -> Spans | None:
    if not text or text == "all":
        return _ALL_PROTOCOLS
    found = []
    for name in text.split(","):
        number = int(name) if name.isdecimal() else PROTOCOLS.get(name.lower())
        if number is None:
            return None
        found.append((number, number))
    return merge(found)


def _addresses(text: str) -> Spans | None:
    if not text:
        return _ALL_ADDRESSES
    found = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            low, high = ip_network(first, strict=False), ip_network(last if dash else first, strict=False)
        except ValueError:
            return None
        offset = _V6 if low.version == 6 else 0
        found.append((offset + int(low.network_address), offset + int(high.broadcast_address)))
    return merge(found)


def _ports(text: str) -> Spans | None:
    if not text:
        return _ALL_PORTS
    found = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            return None  # a service by its name
        found.append((int(first), int(last if dash else first)))
    return merge(found)


def _states(states: Sequence[str]) -> Spans | None:
    if not states:
        return ((0, len(STATES) - 1),)
    if not set(states) <= set(STATES):
        return None
    return merge((STATES.index(state), STATES.index(state)) for state in states)


def subtract(box: Box, cut: Box) -> list[Box]:
    """What of the box is outside ``cut``, in disjoint boxes."""
    overlap = [common(mine, other) for mine, other in zip(box, cut, strict=True)]
    if not all(overlap):
        return [box]
    pieces: list[Box] = []
    rest = list(box)
    for at, shared in enumerate(overlap):
        outside = without(rest[at], shared)
        if outside:
            piece = list(rest)
            piece[at] = outside
            pieces.append(tuple(piece))  # type: ignore[arg-type]
        rest[at] = shared
    return pieces


def shadows(rules: Sequence[FirewallRule]) -> tuple[list[Shadowed], int]:
    """The rules of one chain, in order, that no packet reaches; and how many could not be worked out."""
    names = Names.of(rules)
    deciding: list[tuple[FirewallRule, Box]] = []
    found: list[Shadowed] = []
    undecided = 0
    for rule in rules:
        family: Literal["", "ip", "ip6"] = _family(rule.chain)
        box = box_of(rule, names, family)
        if box is None:
            continue
        left: list[Box] | None = [box] if all(box) else []
        by: list[FirewallRule] = []
        for other, cut in deciding:
            if not left:
                break
            pieces: list[Box] = []
            for piece in left:
                pieces += subtract(piece, cut)
            if pieces != left:
                by.append(other)
            left = pieces
            if len(left) > MOST_PIECES:
                left = None
                undecided += 1
                break
        if left == [] and by:
            # A rule that only counts or logs decides nothing that another could contradict.
            verdict = rule.action if _decides(rule) else ""
            found.append(Shadowed(rule, tuple(by), bool(verdict) and any(one.action != verdict for one in by)))
        if _decides(rule) and not rule.other:
            deciding.append((rule, box))
    return found, undecided


def _decides(rule: FirewallRule) -> bool:
    return rule.action in DECIDES or rule.action.startswith("goto ")


def _family(chain: str) -> Literal["", "ip", "ip6"]:
    first = chain.split(" ")[0]
    if first == "ip6":
        return "ip6"
    # iptables' own chains hold IPv4 alone; ip6tables' are named with ip6.
    return "ip" if first in {"ip", "INPUT", "OUTPUT", "FORWARD"} else ""
