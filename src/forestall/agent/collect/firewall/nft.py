"""nftables: ``nft -j list ruleset`` (and its text form, as people save it).

Both forms come to the same clauses, *what is compared, how, with what*; clauses that no field of a rule has stand in
``other``, so that a rule is never taken for wider than it is. Named sets whose elements are all listed are resolved.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from forestall.agent.collect.firewall.ruleset import MAX_TEXT, Direction, Odd, Rules, directed
from forestall.wire.facts import FirewallPolicy, FirewallRule

HOOKS: Mapping[str, Direction] = {"input": "in", "output": "out", "forward": "forward"}
_PORTS = re.compile(r"(tcp|udp|udplite|sctp|dccp|th) (sport|dport)")
_FIELDS = {
    "ip saddr": "source",
    "ip6 saddr": "source",
    "ip daddr": "destination",
    "ip6 daddr": "destination",
    "iif": "interface_in",
    "iifname": "interface_in",
    "oif": "interface_out",
    "oifname": "interface_out",
    "l4proto": "protocol",
    "ip protocol": "protocol",
    "ip6 nexthdr": "protocol",
}
_VERDICTS = frozenset(
    {"accept", "drop", "reject", "return", "jump", "goto", "queue", "continue", "masquerade", "snat", "dnat",
     "redirect", "notrack", "tproxy"}
)  # fmt: skip
MOST_ELEMENTS = 200
"""A set with more elements stays a name."""


@dataclass(slots=True)
class _Making:
    """One rule while its parts are read."""

    fields: dict[str, str] = field(default_factory=dict)
    protocol: str = ""
    implied: str = ""
    """Protocol that a match on ports or on an icmp type implies."""
    states: tuple[str, ...] = ()
    other: list[str] = field(default_factory=list)
    action: str = ""
    logged: bool = False
    packets: int | None = None
    maps: tuple[str, tuple[tuple[str, str], ...]] | None = None
    """A verdict map: what is looked up, and verdict by value."""

    def match(self, what: str, op: str, value: str) -> None:
        """One comparison. ``value``: ``22``, ``80,443``, ``10.0.0.0/8``, ``@name``."""
        written = f"{what} {'' if op in ('==', 'in', '') else op + ' '}{value}"
        plain = op in {"==", "in", ""}
        if ports := _PORTS.fullmatch(what):
            name = "source_ports" if ports[2] == "sport" else "ports"
            if ports[1] != "th":
                self.implied = ports[1]
        elif what in _FIELDS:
            name = _FIELDS[what]
        elif what == "ct state" and plain:
            self.states = tuple(value.split(","))
            return
        else:
            family = what.split(" ")[0]
            if family in {"icmp", "icmpv6", "tcp", "udp"}:
                self.implied = "ipv6-icmp" if family == "icmpv6" else family
            self.other.append(written)
            return
        if not plain or name in self.fields:
            self.other.append(written)
        else:
            self.fields[name] = value

    def rules(self, chain: str, number: int, text: str) -> Iterator[FirewallRule]:
        """The rule; one for each verdict of a verdict map."""
        if self.maps is None:
            yield self._rule(chain, number, text)
            return
        what, pairs = self.maps
        for value, verdict in pairs:
            one = _Making(
                fields=dict(self.fields), protocol=self.protocol, implied=self.implied, states=self.states,
                other=list(self.other), action=verdict, logged=self.logged, packets=None,
            )  # fmt: skip
            one.match(what, "==", value)
            yield one._rule(chain, number, text)

    def _rule(self, chain: str, number: int, text: str) -> FirewallRule:
        protocol = self.fields.pop("protocol", "") or self.implied
        return FirewallRule(
            chain=chain,
            number=number,
            action=self.action or ("log" if self.logged else "continue"),
            protocol={"icmpv6": "ipv6-icmp"}.get(protocol, protocol),
            source=self.fields.get("source", ""),
            destination=self.fields.get("destination", ""),
            source_ports=self.fields.get("source_ports", ""),
            ports=self.fields.get("ports", ""),
            interface_in=self.fields.get("interface_in", ""),
            interface_out=self.fields.get("interface_out", ""),
            states=self.states,
            other=" ".join(self.other),
            packets=self.packets,
            logged=self.logged,
            text=text[:MAX_TEXT],
        )


def parse_json(text: str) -> Rules:
    """``nft -j list ruleset``. ValueError when it is not that."""
    document = json.loads(text)
    if not isinstance(document, dict) or not isinstance(document.get("nftables"), list):
        raise ValueError('no output of nft: it has no list "nftables"')  # noqa: TRY004 - a wrong file, no wrong call
    items = [item for item in document["nftables"] if isinstance(item, dict)]
    sets: dict[str, str] = {}
    hooks: dict[str, Direction] = {}
    policies: list[FirewallPolicy] = []
    for item in items:
        if isinstance(one := item.get("set"), dict):
            elements = [_value(each) for each in one.get("elem") or ()]
            if 0 < len(elements) <= MOST_ELEMENTS and all(elements) and "timeout" not in (one.get("flags") or ()):
                sets[f"{one['family']} {one['table']} @{one['name']}"] = ",".join(elements)
        if isinstance(one := item.get("chain"), dict) and one.get("type") == "filter" and one.get("hook") in HOOKS:
            name = f"{one['family']} {one['table']} {one['name']}"
            hooks[name] = HOOKS[one["hook"]]
            policies.append(_policy(name, HOOKS[one["hook"]], str(one.get("policy", "accept"))))
    numbers: dict[str, int] = {}
    rules: list[FirewallRule] = []
    odd: list[Odd] = []
    for item in items:
        if not isinstance(one := item.get("rule"), dict):
            continue
        place = f"{one['family']} {one['table']}"
        chain = f"{place} {one['chain']}"
        numbers[chain] = numbers.get(chain, 0) + 1
        making = _Making()
        written: list[str] = []
        for part in one.get("expr") or ():
            written.append(_take(making, part, lambda name, place=place: sets.get(f"{place} {name}", name)))
        rules += making.rules(chain, numbers[chain], " ".join(filter(None, written)))
    return Rules(_directed(rules, hooks), tuple(policies), tuple(odd))


def _directed(rules: Iterable[FirewallRule], hooks: Mapping[str, Direction]) -> tuple[FirewallRule, ...]:
    listed = list(rules)
    full = {}
    for rule in listed:
        target = rule.action.partition(" ")[2]
        full[f"{rule.chain}→{target}"] = f"{rule.chain.rpartition(' ')[0]} {target}"
    return directed(listed, hooks, chain_of=full)


def _policy(chain: str, direction: Direction, action: str) -> FirewallPolicy:
    return FirewallPolicy(
        chain=chain,
        direction=direction or "in",
        action=action if action in {"accept", "drop", "reject"} else "unknown",  # type: ignore[arg-type]
    )


def _take(making: _Making, part: Any, resolve: Any) -> str:
    """Add one part of a rule in JSON; what it is in nft's own words."""
    if not isinstance(part, dict) or len(part) != 1:
        making.other.append(json.dumps(part)[:80])
        return making.other[-1]
    (kind, body), *_ = part.items()
    if kind == "match":
        what, value = _left(body.get("left")), _value(body.get("right"))
        if not what or not value:
            masked = body.get("left", {}).get("&") if isinstance(body.get("left"), dict) else None
            if isinstance(masked, list) and _left(masked[0]).startswith("tcp "):
                making.implied = "tcp"
            making.other.append(json.dumps(body)[:160])
            return making.other[-1]
        op = str(body.get("op", "=="))
        making.match(what, op, resolve(value) if op in {"==", "in"} else value)
        shown = f"{{ {value.replace(',', ', ')} }}" if "," in value and what != "ct state" else value
        return f"{what} {'' if op in ('==', 'in') else op + ' '}{shown}"
    if kind == "counter":
        making.packets = body.get("packets") if isinstance(body, dict) else None
        return f"counter packets {making.packets}" if making.packets is not None else "counter"
    if kind == "log":
        making.logged = True
        prefix = body.get("prefix", "") if isinstance(body, dict) else ""
        return f'log prefix "{prefix}"' if prefix else "log"
    if kind == "vmap":
        what = _left(body.get("key"))
        pairs = _pairs(body.get("data"))
        if what and pairs:
            making.maps = (what, pairs)
        else:
            making.other.append("vmap")
            making.action = "vmap"
        return f"{what} vmap {{ {', '.join(f'{value} : {verdict}' for value, verdict in pairs)} }}"
    if kind in {"jump", "goto"}:
        target = f"{kind} {body['target']}"
        making.action = target
        return target
    if kind in _VERDICTS or kind in {"xt"}:
        making.action = kind
        return str(kind)
    if kind in {"comment", "nop"}:
        return ""
    making.other.append(_written(kind, body))
    return making.other[-1]


def _written(kind: str, body: Any) -> str:
    if kind == "limit" and isinstance(body, dict):
        return f"limit rate {'over ' if body.get('inv') else ''}{body.get('rate')}/{body.get('per')}"
    return f"{kind} {json.dumps(body)[:120]}"


def _pairs(data: Any) -> tuple[tuple[str, str], ...]:
    found = []
    for pair in data.get("set", ()) if isinstance(data, dict) else ():
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], dict)):
            return ()
        (verb, body), *_ = pair[1].items()
        verdict = f"{verb} {body['target']}" if isinstance(body, dict) and "target" in body else verb
        found.append((_value(pair[0]), verdict))
    return tuple(found)


def _left(left: Any) -> str:
    """What is compared: ``tcp dport``, ``ct state``, ``iifname``; empty: nothing simple."""
    if not isinstance(left, dict) or len(left) != 1:
        return ""
    (kind, body), *_ = left.items()
    if not isinstance(body, dict):
        return ""
    if kind == "payload" and "field" in body:
        return f"{body.get('protocol', '')} {body['field']}"
    if kind == "meta":
        return str(body.get("key", ""))
    if kind == "ct":
        return f"ct {body.get('key', '')}"
    return ""


def _value(value: Any) -> str:
    """A right side: ``22``, ``10.0.0.0/8``, ``80-90``, several separated by commas; empty: nothing simple."""
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, list):
        values = [_value(each) for each in value]
        return ",".join(values) if all(values) else ""
    if isinstance(value, dict) and len(value) == 1:
        (kind, body), *_ = value.items()
        if kind == "prefix":
            return f"{body['addr']}/{body['len']}"
        if kind == "range" and isinstance(body, list) and len(body) == 2:
            return f"{_value(body[0])}-{_value(body[1])}"
        if kind == "set":
            return _value(body)
        if kind == "elem" and isinstance(body, dict):
            return _value(body.get("val"))
    return ""


# --- text -------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r'"[^"]*"|\{[^{}]*\}|[^\s"{}]+')


def parse_text(text: str) -> Rules:
    """``nft list ruleset`` as people save it."""
    place = chain = ""
    hooks: dict[str, Direction] = {}
    policies: list[FirewallPolicy] = []
    sets: dict[str, str] = {}
    numbers: dict[str, int] = {}
    waiting: list[tuple[str, int, str, int]] = []
    odd: list[Odd] = []
    in_set = ""
    for number, line in _whole_lines(text):
        if begin := re.match(r"table (?:(\w+) )?(\S+) \{", line):
            place, chain, in_set = f"{begin[1] or 'ip'} {begin[2]}", "", ""
        elif begin := re.match(r"chain (\S+) \{", line):
            chain, in_set = f"{place} {begin[1]}", ""
        elif begin := re.match(r"(set|map|flowtable|counter|quota|limit|secmark|synproxy|ct \w+) (\S+) \{$", line):
            chain, in_set = "", f"{place} @{begin[2]}" if begin[1] == "set" else "-"
        elif line == "}":
            chain, in_set = "", ""
        elif in_set:
            elements = re.match(r"elements = \{(.*)\}", line)
            if elements and "expires" not in elements[1]:
                listed = [each.split()[0] for each in elements[1].split(",") if each.strip()]
                if 0 < len(listed) <= MOST_ELEMENTS:
                    sets[in_set] = ",".join(listed)
        elif not chain:
            if line not in {"flags dormant;"} and not line.startswith("comment"):
                odd.append(Odd(number, line, "stands in no chain"))
        elif base := re.match(r"type (\w+) hook (\w+)(?: device \S+| devices = \{[^}]*\})? priority [^;]*;", line):
            if base[1] == "filter" and base[2] in HOOKS:
                hooks[chain] = HOOKS[base[2]]
                policy = re.search(r"policy (\w+);", line)
                policies.append(_policy(chain, HOOKS[base[2]], policy[1] if policy else "accept"))
        elif line.startswith(("policy ", "comment ")):
            continue
        else:
            numbers[chain] = numbers.get(chain, 0) + 1
            waiting.append((chain, numbers[chain], line, number))
    rules: list[FirewallRule] = []
    for chain, place_in_chain, line, number in waiting:
        making = _Making()
        table = chain.rpartition(" ")[0]
        try:
            _read_tokens(making, _TOKEN.findall(line), table, sets)
        except (IndexError, ValueError) as error:
            odd.append(Odd(number, line, f"a rule that was not understood: {error}"))
            making.other.append(line)
            making.action = making.action or "unknown"
        rules += making.rules(chain, place_in_chain, line)
    return Rules(_directed(rules, hooks), tuple(policies), tuple(odd))


def _whole_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments; one whose braces stay open inside a rule or a set goes on on the next."""
    held, began = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"\s+# handle \d+$", "", raw.strip())
        if not line or line.startswith("#"):
            continue
        if held:
            line = f"{held} {line}"
        else:
            began = number
        bare = re.sub(r'"[^"]*"', "", line)
        if not bare.endswith("{") and bare.count("{") > bare.count("}"):
            held = line
            continue
        held = ""
        yield began, line
    if held:
        yield began, held


def _read_tokens(making: _Making, tokens: Sequence[str], table: str, sets: Mapping[str, str]) -> None:
    at = 0

    def resolve(value: str) -> str:
        return sets.get(f"{table} {value}", value)

    while at < len(tokens):
        word = tokens[at]
        if word == "counter":
            at += 1
            if tokens[at : at + 1] == ["packets"]:
                making.packets = int(tokens[at + 1])
                at += 4
            elif tokens[at : at + 1] == ["name"]:
                at += 2
        elif word == "log":
            making.logged = True
            at += 1
            while at < len(tokens) and tokens[at] in {
                "prefix",
                "level",
                "group",
                "flags",
                "snaplen",
                "queue-threshold",
            }:
                at += 3 if tokens[at : at + 2] in (["flags", "tcp"], ["flags", "ip"]) else 2
        elif word == "comment":
            at += 2
        elif word in {"jump", "goto"}:
            making.action = f"{word} {tokens[at + 1]}"
            at += 2
        elif word in _VERDICTS:
            making.action = word
            at = len(tokens)  # what follows says how: ``with icmp type …``, an address
            if "comment" in tokens:
                at = len(tokens)
        else:
            what, width = _subject(tokens, at)
            at += width
            op = "=="
            if at < len(tokens) and tokens[at] in {"!=", "==", "<", ">", "<=", ">="}:
                op, at = tokens[at], at + 1
            if tokens[at : at + 1] == ["vmap"]:
                pairs = [each.split(":", 1) for each in tokens[at + 1].strip("{} ").split(",")]
                making.maps = (what, tuple((_bare(key.strip()), verdict.strip()) for key, verdict in pairs))
                at += 2
                continue
            if what in {
                "limit",
                "quota",
                "meter",
                "ct count",
                "meta",
                "tcp flags",
                "fib",
                "socket",
                "osf",
                "add",
                "update",
                "set",
            }:
                rest = []
                while at < len(tokens) and tokens[at] not in _VERDICTS | {"counter", "log"}:
                    rest.append(tokens[at])
                    at += 1
                if what.startswith("tcp"):
                    making.implied = "tcp"
                making.other.append(f"{what} {' '.join(rest)}".strip())
                continue
            if at >= len(tokens):
                raise ValueError(f"{what} is compared with nothing")
            value = _bare(tokens[at])
            at += 1
            making.match(what, op, resolve(value) if op == "==" else value)


def _subject(tokens: Sequence[str], at: int) -> tuple[str, int]:
    first = tokens[at]
    if (
        first == "meta"
        and tokens[at + 1 : at + 2]
        and tokens[at + 1] in {"l4proto", "iif", "iifname", "oif", "oifname"}
    ):
        return tokens[at + 1], 2
    if first in {
        "iif",
        "iifname",
        "oif",
        "oifname",
        "limit",
        "quota",
        "meter",
        "fib",
        "socket",
        "osf",
        "add",
        "update",
        "set",
    }:
        return first, 1
    if first == "meta":
        return "meta", 1
    if at + 1 >= len(tokens):
        raise ValueError(f"{first!r} stands alone")
    return f"{first} {tokens[at + 1]}", 2


def _bare(value: str) -> str:
    """``{ 22, 80-90 }`` → ``22,80-90``; without quotes."""
    if value.startswith("{"):
        return ",".join(each.strip().strip('"') for each in value.strip("{} ").split(",") if each.strip())
    return value.strip('"')
