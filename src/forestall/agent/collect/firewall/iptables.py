"""iptables: ``iptables-save`` and ``ip6tables-save`` (``-c`` with counters), and ``iptables -L -n -v``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from forestall.agent.collect.firewall.ruleset import MAX_TEXT, Direction, Odd, Rules, directed
from forestall.wire.facts import FirewallPolicy, FirewallRule

HOOKS: Mapping[str, Direction] = {"INPUT": "in", "OUTPUT": "out", "FORWARD": "forward"}
_ACTIONS = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "reject", "RETURN": "return", "LOG": "log", "NFLOG": "log",
            "QUEUE": "queue", "NFQUEUE": "queue"}  # fmt: skip
_FIELDS = {
    "-s": "source", "--source": "source", "-d": "destination", "--destination": "destination",
    "-i": "interface_in", "--in-interface": "interface_in", "-o": "interface_out", "--out-interface": "interface_out",
    "-p": "protocol", "--protocol": "protocol", "--sport": "source_ports", "--dport": "ports",
    "--sports": "source_ports", "--dports": "ports", "--source-port": "source_ports", "--destination-port": "ports",
}  # fmt: skip
_ANYWHERE = frozenset({"0.0.0.0/0", "::/0", "anywhere", "*", "any", "all", "0"})
_NO_VALUE = frozenset({"--syn", "-f", "--fragment", "--rsource", "--rdest", "--update", "--set", "--rcheck"})
_COUNTED = frozenset({"-m", "--match", "--comment", "--reject-with"})
"""Options that limit nothing by themselves."""


def parse_save(text: str, *, family: str = "") -> Rules:
    """``iptables-save``; ``family`` is put before the names of chains (``ip6``)."""
    rules: list[FirewallRule] = []
    policies: list[FirewallPolicy] = []
    odd: list[Odd] = []
    hooks: dict[str, Direction] = {}
    full: dict[str, str] = {}
    numbers: dict[str, int] = {}
    table = "filter"
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#") or line == "COMMIT":
            continue
        prefix = " ".join(filter(None, [family, "" if table == "filter" else table]))
        if line.startswith("*"):
            table = line[1:].strip()
        elif chain := re.fullmatch(r":(\S+) (\S+)(?: \[\d+:\d+\])?", line):
            name = f"{prefix} {chain[1]}".strip()
            if table == "filter" and chain[1] in HOOKS:
                hooks[name] = HOOKS[chain[1]]
                policies.append(_policy(name, HOOKS[chain[1]], chain[2]))
        elif rule := re.fullmatch(r"(?:\[(\d+):\d+\] )?-A (\S+) ?(.*)", line):
            name = f"{prefix} {rule[2]}".strip()
            numbers[name] = numbers.get(name, 0) + 1
            try:
                made = _rule(name, numbers[name], shlex.split(rule[3]), line, rule[1])
            except ValueError as error:
                odd.append(Odd(number, line, f"a rule that was not understood: {error}"))
                continue
            rules.append(made)
            target = made.action.partition(" ")[2]
            full[f"{name}→{target}"] = f"{prefix} {target}".strip()
        else:
            odd.append(Odd(number, line, "no line of iptables-save"))
    return Rules(directed(rules, hooks, chain_of=full), tuple(policies), tuple(odd))


def _policy(chain: str, direction: Direction, word: str) -> FirewallPolicy:
    action = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "reject"}.get(word, "unknown")
    return FirewallPolicy(chain=chain, direction=direction or "in", action=action)  # type: ignore[arg-type]


def _rule(chain: str, number: int, words: Sequence[str], line: str, packets: str | None) -> FirewallRule:
    fields: dict[str, Any] = {}
    states: tuple[str, ...] = ()
    other: list[str] = []
    action, at, negated = "continue", 0, False
    while at < len(words):
        word = words[at]
        at += 1
        if word == "!":
            negated = True
            continue
        if not word.startswith("-"):
            other.append(word)
            continue
        value = ""
        if word not in _NO_VALUE and at < len(words) and (not words[at].startswith("-") or words[at][1:2].isdigit()):
            value, at = words[at], at + 1
        if word in {"-j", "--jump", "-g", "--goto"}:
            action = _ACTIONS.get(value) or (
                f"{'goto' if 'g' in word.strip('-')[:1] else 'jump'} {value}"
                if value not in _TARGETS
                else value.lower()
            )
            if value in _ACTIONS or value in _TARGETS:
                at = len(words)  # what follows says how
        elif word in _COUNTED:
            pass
        elif word in {"--ctstate", "--state"} and not negated:
            states = tuple(value.lower().split(","))
        elif word in _FIELDS and not negated:
            if _FIELDS[word] in fields:
                other.append(f"{word} {value}")
            elif value not in _ANYWHERE:
                fields[_FIELDS[word]] = _value(_FIELDS[word], value)
        else:
            other.append(f"{'! ' if negated else ''}{word} {value}".strip())
        negated = False
    return FirewallRule(
        chain=chain, number=number, action=action, states=states, other=" ".join(other), text=line[:MAX_TEXT],
        packets=None if packets is None else int(packets), logged=action == "log", **fields,
    )  # fmt: skip


_TARGETS = frozenset(
    {"DNAT", "SNAT", "MASQUERADE", "REDIRECT", "MARK", "CONNMARK", "TCPMSS", "CT", "NOTRACK", "TPROXY", "CHECKSUM",
     "SET", "CLASSIFY", "TTL", "HL", "DSCP", "TOS", "AUDIT", "SECMARK", "CONNSECMARK", "NETMAP", "TRACE"}
)  # fmt: skip


def _value(field: str, value: str) -> str:
    if field in {"ports", "source_ports"}:
        return value.replace(":", "-")
    if field == "interface_in" or field == "interface_out":
        return re.sub(r"\+$", "*", value)
    if field == "protocol":
        return {"icmpv6": "ipv6-icmp"}.get(value, value)
    return re.sub(r"/(32|128)$", "", value)


def parse_list(text: str) -> Rules:
    """``iptables -L`` with any of ``-n -v --line-numbers``. Without ``-v`` it names no interfaces: a rule for one only
    looks like a rule for all, which ``other`` then says."""
    rules: list[FirewallRule] = []
    policies: list[FirewallPolicy] = []
    odd: list[Odd] = []
    hooks: dict[str, Direction] = {}
    chain, number, counted, numbered = "", 0, False, False
    for line_number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line:
            continue
        if begin := re.match(r"Chain (\S+) \((?:policy (\w+)|(-?\d+) references?)", line):
            chain, number = begin[1], 0
            if chain in HOOKS and begin[2]:
                hooks[chain] = HOOKS[chain]
                policies.append(_policy(chain, HOOKS[chain], begin[2]))
            continue
        if re.match(r"(num\s+)?(pkts\s+bytes\s+)?target\s+prot", line):
            counted, numbered = "pkts" in line, line.startswith("num")
            continue
        body = re.sub(r"^\d+\s+", "", line, count=1) if numbered else line
        # A rule without a target leaves its column empty.
        found = _columns(body, counted=counted) if chain else None
        if found is None:
            odd.append(Odd(line_number, line, "no line of a list of rules"))
            continue
        number += 1
        rules.append(_listed(chain, number, found, line, counted=counted))
    return Rules(directed(rules, hooks, chain_of={}), tuple(policies), tuple(odd))


def _columns(line: str, *, counted: bool) -> dict[str, str] | None:
    words = line.split()
    found: dict[str, str] = {}
    if counted:
        if len(words) < 8 or not re.fullmatch(r"\d+[KMGT]?", words[0]):
            return None
        found["packets"], words = words[0], words[2:]
    # target prot opt [in out] source destination rest; the target may be absent
    options = next((at for at, word in enumerate(words[:3]) if word in {"--", "-f", "!f"}), None)
    if options not in {1, 2}:
        return None
    found["target"] = words[0] if options == 2 else ""
    found["protocol"] = words[options - 1]
    rest = words[options + 1 :]
    if counted:
        if len(rest) < 4:
            return None
        found["in"], found["out"], *rest = rest
    if len(rest) < 2:
        return None
    found["source"], found["destination"] = rest[0], rest[1]
    found["rest"] = " ".join(rest[2:])
    return found


def _listed(chain: str, number: int, found: Mapping[str, str], line: str, *, counted: bool) -> FirewallRule:
    target = found["target"]
    action = _ACTIONS.get(target) or (f"jump {target}" if target and target not in _TARGETS else target.lower())
    fields: dict[str, Any] = {}
    for name, key in (("interface_in", "in"), ("interface_out", "out"), ("source", "source"),
                      ("destination", "destination"), ("protocol", "protocol")):  # fmt: skip
        value = found.get(key, "")
        if value and value not in _ANYWHERE:
            fields[name] = _value(name, value)
    states: tuple[str, ...] = ()
    other = [] if counted else ["interfaces are not shown"]
    words = found["rest"].split()
    at = 0
    while at < len(words):
        word = words[at]
        if word in {"ctstate", "state"} and at + 1 < len(words):
            states, at = tuple(words[at + 1].lower().split(",")), at + 2
        elif port := re.fullmatch(r"(dpt|spt|dpts|spts):(\S+)", word):
            fields["ports" if port[1][0] == "d" else "source_ports"] = port[2].replace(":", "-")
            at += 1
        elif word == "multiport" and at + 2 < len(words):
            fields["ports" if words[at + 1] == "dports" else "source_ports"] = words[at + 2].replace(":", "-")
            at += 3
        elif word in {"reject-with"} or word.startswith("/*"):
            end = next((i for i in range(at, len(words)) if words[i].endswith("*/")), len(words) - 1)
            at = at + 2 if word == "reject-with" else end + 1
        elif word in {"LOG", "tcp", "udp", "icmp"} and (word == "LOG" or word == fields.get("protocol")):
            at = len(words) if word == "LOG" else at + 1
        else:
            other.append(word)
            at += 1
    packets = found.get("packets")
    return FirewallRule(
        chain=chain, number=number, action=action or "continue", states=states, other=" ".join(other),
        packets=_amount(packets) if packets else None, logged=action == "log", text=line[:MAX_TEXT], **fields,
    )  # fmt: skip


def _amount(text: str) -> int:
    factor = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}.get(text[-1], 1)
    return int(text.rstrip("KMGT")) * factor
