"""macOS: the application firewall (``socketfilterfw``) and the packet filter (``pfctl -sr``)."""

from __future__ import annotations

import re
from typing import Any, Literal

from msgspec import structs

from forestall.agent.collect.firewall.ruleset import MAX_TEXT, Odd, Rules
from forestall.wire.facts import FirewallPolicy, FirewallRule


def parse_application(text: str) -> Rules:
    """``socketfilterfw --getglobalstate --getblockall --listapps``, in one text."""
    enabled: bool | None = None
    block_all = False
    rules: list[FirewallRule] = []
    odd: list[Odd] = []
    program = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line:
            continue
        if state := re.match(r"Firewall is (enabled|disabled|on|off|blocking all)", line, re.IGNORECASE):
            word = state[1].lower()
            if "block all" not in line.lower() or word.startswith("block"):
                enabled = word not in {"disabled", "off"}
            block_all = block_all or word.startswith("block")
        elif re.match(r"(Block all|Firewall has block all state set to)", line, re.IGNORECASE):
            block_all = "enabled" in line.lower() and "disabled" not in line.lower()
        elif app := re.match(r"\d+\s*:\s*(/.*)", line):
            program = app[1].strip()
        elif program and (said := re.match(r"\(?\s*(Allow|Block) incoming connections\s*\)?", line, re.IGNORECASE)):
            rules.append(
                FirewallRule(
                    chain="applications",
                    number=len(rules) + 1,
                    direction="in",
                    action="accept" if said[1].lower() == "allow" else "drop",
                    other=f"program {program}",
                    text=f"{program}: {line}"[:MAX_TEXT],
                )
            )
            program = ""
        elif re.match(
            r"(ALF: )?total number of apps|Stealth mode|Firewall stealth|Log mode|Automatically allow",
            line,
            re.IGNORECASE,
        ):
            continue
        else:
            odd.append(Odd(number, line, "no line of socketfilterfw"))
    policies: tuple[FirewallPolicy, ...] = ()
    if enabled is not None:
        # Programs that are not listed ask their user; signed ones are let in. Only "block all" refuses the rest.
        action: Literal["drop", "accept"] = "drop" if block_all else "accept"
        policies = (FirewallPolicy(chain="applications", direction="in", action=action, enabled=enabled),)
    return Rules(tuple(rules), policies, tuple(odd), active=enabled)


_PF = re.compile(
    r"(?P<action>pass|block)(?: (?P<how>drop|return\S*))?(?: (?P<way>in|out))?(?P<log> log(?: \([^)]*\))?)?"
    r"(?P<quick> quick)?"
    r"(?: on (?P<interface>! ?\S+|\S+))?(?: (?P<family>inet6?))?(?: proto (?P<protocol>\S+))?"
    r"(?: (?:all|from (?P<source>! ?\S+|\S+)(?: port (?P<op1>= )?(?P<sports>\S+))? to (?P<destination>! ?\S+|\S+)"
    r"(?: port (?P<op2>= )?(?P<ports>\S+))?))?(?P<rest>.*)"
)


def parse_pf(text: str) -> Rules:
    """``pfctl -sr``. In pf the *last* rule that matches decides, unless it says ``quick``: those without stand here in
    reverse, behind the quick ones."""
    quick: list[FirewallRule] = []
    slow: list[FirewallRule] = []
    odd: list[Odd] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith(
            ("No ALTQ", "ALTQ related", "scrub", "anchor", "dummynet", "nat-anchor", "rdr-anchor")
        ):
            continue
        found = _PF.fullmatch(line)
        if found is None:
            odd.append(Odd(number, line, "no rule of pf"))
            continue
        rest = re.sub(r"\b(flags \S+|keep state|no state|modulate state|label \"[^\"]*\")", "", found["rest"]).strip()
        other = [rest] if rest else []
        fields: dict[str, Any] = {}
        for name, group in (("source", "source"), ("destination", "destination"), ("interface_in", "interface")):
            value = found[group] or ""
            if value.startswith("!"):
                other.append(f"{group} {value}")
            elif value and value != "any":
                fields[name] = value
        for name, group in (("source_ports", "sports"), ("ports", "ports")):
            if found[group]:
                fields[name] = found[group].replace(":", "-")
        protocol = found["protocol"] or ""
        if found["family"] and not fields.get("source"):
            fields["source"] = "::/0" if found["family"] == "inet6" else "0.0.0.0/0"
        if found["way"] == "out" and "interface_in" in fields:
            fields["interface_out"] = fields.pop("interface_in")
        action = (
            "accept" if found["action"] == "pass" else "reject" if (found["how"] or "").startswith("return") else "drop"
        )
        ways: tuple[Any, ...] = (found["way"],) if found["way"] else ("in", "out")
        for direction in ways:
            rule = FirewallRule(
                chain=f"pf {direction}", number=0, direction=direction, action=action, protocol=protocol,
                other="; ".join(other), logged=bool(found["log"]), text=line[:MAX_TEXT], **fields,
            )  # fmt: skip
            (quick if found["quick"] else slow).append(rule)
    numbers: dict[str, int] = {}
    rules = []
    for rule in [*quick, *reversed(slow)]:
        numbers[rule.chain] = numbers.get(rule.chain, 0) + 1
        rules.append(structs.replace(rule, number=numbers[rule.chain]))
    both: tuple[Literal["in", "out"], ...] = ("in", "out")
    policies = tuple(FirewallPolicy(chain=f"pf {way}", direction=way, action="accept") for way in both)
    return Rules(tuple(rules), policies if rules else (), tuple(odd), active=bool(rules))
