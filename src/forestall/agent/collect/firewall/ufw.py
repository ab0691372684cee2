"""ufw: ``ufw status verbose`` or ``ufw status numbered``."""

from __future__ import annotations

import re

from forestall.agent.collect.firewall.ruleset import MAX_TEXT, Direction, Odd, Rules
from forestall.wire.facts import FirewallPolicy, FirewallRule

_ROW = re.compile(
    r"(?:\[ *(?P<number>\d+)\] *)?(?P<to>.+?)\s+(?P<action>ALLOW|DENY|REJECT|LIMIT)"
    r"(?: +(?P<way>IN|OUT|FWD))?(?=\s|$)(?P<from>.*)"
)
_ACTIONS = {"ALLOW": "accept", "DENY": "drop", "REJECT": "reject", "LIMIT": "accept"}
_WAYS: dict[str, Direction] = {"IN": "in", "OUT": "out", "FWD": "forward", "": "in"}
_PORTS = re.compile(r"(?P<ports>\d[\d,:]*)(?:/(?P<protocol>[a-z0-9]+))?")


def parse(text: str) -> Rules:
    """The rules, tried in the order in which ufw lists them."""
    rules: list[FirewallRule] = []
    policies: list[FirewallPolicy] = []
    odd: list[Odd] = []
    active: bool | None = None
    logging = False
    in_table = False
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith(("New profiles:", "To  ")) or re.match(r"To\s+Action", line):
            continue
        if line.startswith("Status:"):
            active = line.split(":")[1].strip() == "active"
        elif line.startswith("Logging:"):
            logging = line.split(":")[1].strip().startswith("on")
        elif line.startswith("Default:"):
            for word, way in re.findall(r"(\w+) \((incoming|outgoing|routed)\)", line):
                action = {"allow": "accept", "deny": "drop", "reject": "reject"}.get(word, "drop")
                direction = {"incoming": "in", "outgoing": "out", "routed": "forward"}[way]
                policies.append(
                    FirewallPolicy(chain=f"ufw {direction}", direction=direction, action=action)  # type: ignore[arg-type]
                )
        elif line.startswith("--"):
            in_table = True
        elif in_table and (row := _ROW.match(line)):
            direction = _WAYS[row["way"] or ""]
            place = sum(rule.direction == direction for rule in rules) + 1
            try:
                rules.append(_rule(row, direction, place, line, logging=logging))
            except ValueError as error:
                odd.append(Odd(number, line, f"a rule that was not understood: {error}"))
        else:
            odd.append(Odd(number, line, "no line of `ufw status`"))
    return Rules(tuple(rules), tuple(policies), tuple(odd), active=active)


def _rule(row: re.Match[str], direction: Direction, number: int, line: str, *, logging: bool) -> FirewallRule:
    to = row["to"].partition("#")[0]
    source = row["from"].partition("#")[0].strip()
    six = "(v6)" in to or "(v6)" in source
    log = bool(re.search(r"\(log(-all)?\b", source + to))
    to, source = (re.sub(r"\((v6|log|log-all|out|in|[A-Z][\w ]*)(, \w+)*\)", "", each).strip() for each in (to, source))
    to, interface_to = _interface(to)
    source, interface_from = _interface(source)
    destination, ports, protocol, other = _place(to)
    origin, source_ports, protocol_from, other_from = _place(source)
    protocol = protocol or protocol_from
    more = [*other, *other_from]
    if row["action"] == "LIMIT":
        more.append("limited to 6 in 30 s")
    if not destination and not origin and six:
        origin = "::/0"
    elif not destination and not origin and re.search(r"Anywhere", line):
        origin = "0.0.0.0/0"
    if not protocol and (ports or source_ports):
        protocol = "tcp,udp"
    into, out = (interface_to, interface_from) if direction != "out" else ("", interface_to or interface_from)
    return FirewallRule(
        chain=f"ufw {direction}",
        number=number,
        direction=direction,
        action=_ACTIONS[row["action"]],
        protocol=protocol,
        source=origin,
        destination=destination,
        source_ports=source_ports,
        ports=ports,
        interface_in=into or (interface_from if direction == "in" else ""),
        interface_out=out,
        other="; ".join(more),
        logged=log or (logging and _ACTIONS[row["action"]] != "accept"),
        text=line[:MAX_TEXT],
    )


def _interface(text: str) -> tuple[str, str]:
    found = re.search(r"\bon (\S+)", text)
    return (text.replace(found[0], "").strip(), found[1]) if found else (text, "")


def _place(text: str) -> tuple[str, str, str, list[str]]:
    """Address, ports, protocol and what else is said of one side of a rule."""
    address = ports = protocol = ""
    other: list[str] = []
    for word in text.split():
        if word == "Anywhere":
            continue
        if word.startswith("Anywhere/"):
            protocol = word.partition("/")[2]
        elif found := _PORTS.fullmatch(word):
            ports, protocol = found["ports"].replace(":", "-"), found["protocol"] or protocol
        elif re.fullmatch(r"[0-9a-fA-F.:]+(/\d+)?(/[a-z]\w*)?", word) and ("." in word or ":" in word):
            plain = re.fullmatch(r"([0-9a-fA-F.:]+(?:/\d+)?)(?:/([a-z]\w*))?", word)
            assert plain is not None  # noqa: S101 - the branch above saw to it
            address, protocol = plain[1], plain[2] or protocol
        else:
            other.append(word)
    return address, ports, protocol, [f"application {' '.join(other)}"] if other else []
