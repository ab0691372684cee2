"""Windows Defender Firewall: ``netsh advfirewall`` (English), PowerShell's ``Get-NetFirewall…`` as JSON, the registry.

Windows tries no rule before another: what blocks wins over what allows. The rules stand here in that order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from forestall.agent.collect.firewall.ruleset import MAX_TEXT, Odd, Rules
from forestall.wire.facts import FirewallPolicy, FirewallRule

PROFILES = ("Domain", "Private", "Public")
_WORDS: dict[str, Any] = {"allow": "accept", "block": "drop", "bypass": "accept"}


def parse_profiles(text: str) -> Rules:
    """``netsh advfirewall show allprofiles``."""
    policies: list[FirewallPolicy] = []
    odd: list[Odd] = []
    profile, enabled = "", True
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if head := re.match(r"(Domain|Private|Public) Profile Settings:", line):
            profile, enabled = head[1], True
        elif state := re.fullmatch(r"State\s+(ON|OFF)", line):
            enabled = state[1] == "ON"
        elif policy := re.fullmatch(r"Firewall Policy\s+(\w+),(\w+)", line):
            for word, direction in ((policy[1], "in"), (policy[2], "out")):
                action = "drop" if word.startswith("Block") else "accept" if word.startswith("Allow") else "unknown"
                policies.append(
                    FirewallPolicy(chain=profile, direction=direction, action=action, enabled=enabled)  # type: ignore[arg-type]
                )
        elif line and not profile and line != "Ok.":
            odd.append(Odd(number, line, "stands before any profile"))
    return Rules((), tuple(policies), tuple(odd), active=any(one.enabled for one in policies) if policies else None)


def parse_registry(text: str) -> Rules:
    """Exports of ``…\\FirewallPolicy\\{Domain,Standard,Public}Profile``."""
    policies: list[FirewallPolicy] = []
    odd: list[Odd] = []
    seen: dict[str, dict[str, int]] = {}
    profile = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if key := re.match(r"\[.*\\FirewallPolicy\\(\w+)Profile(\\.*)?\]", line):
            profile = "" if key[2] else {"Standard": "Private"}.get(key[1], key[1])
            if profile:
                seen.setdefault(profile, {})
        elif line.startswith("["):
            profile = ""
        elif profile and (value := re.fullmatch(r'"(\w+)"=dword:([0-9a-fA-F]{8})', line)):
            seen[profile][value[1]] = int(value[2], 16)
        elif profile and line.startswith('"') and "=" not in line:
            odd.append(Odd(number, line, "no value of the registry"))
    for name, values in seen.items():
        if "EnableFirewall" not in values:
            continue
        enabled = values["EnableFirewall"] == 1
        # Without a value of its own a profile blocks what comes in and lets out what goes out.
        blocked = {0: "accept", 1: "drop"}
        inbound = blocked.get(values.get("DefaultInboundAction", 1), "unknown")
        outbound = blocked.get(values.get("DefaultOutboundAction", 0), "unknown")
        policies.append(FirewallPolicy(chain=name, direction="in", action=inbound, enabled=enabled))  # type: ignore[arg-type]
        policies.append(FirewallPolicy(chain=name, direction="out", action=outbound, enabled=enabled))  # type: ignore[arg-type]
    return Rules((), tuple(policies), tuple(odd), active=any(one.enabled for one in policies) if policies else None)


def parse_rules(text: str) -> Rules:
    """``netsh advfirewall firewall show rule name=all verbose``."""
    found: list[tuple[tuple[str, ...], dict[str, Any]]] = []
    odd: list[Odd] = []
    values: dict[str, str] = {}
    key = ""
    for number, raw in enumerate([*text.splitlines(), "Rule Name: "], 1):
        line = raw.strip()
        if not line or set(line) == {"-"} or line == "Ok.":
            continue
        pair = re.match(r"([A-Z][A-Za-z ]+?):\s*(.*)", line)
        if pair and pair[1] == "Rule Name":
            if values:
                found.append(_netsh(values))
            values, key = {"Rule Name": pair[2]}, ""
        elif pair and values:
            key = pair[1]
            values[key] = pair[2]
        elif values and key and raw.startswith("  "):
            values[key] = f"{values[key]},{line}"  # further addresses, icmp types
        else:
            odd.append(Odd(number, line, "stands before any rule"))
    return Rules(_ordered(found), (), tuple(odd))


def _netsh(values: dict[str, str]) -> tuple[tuple[str, ...], dict[str, Any]]:
    def listed(name: str) -> str:
        value = values.get(name, "Any")
        return "" if value in {"Any", ""} else value.replace("/32", "").replace(" ", "")

    protocol = listed("Protocol").lower()
    other = [f"{name} {values[name]}" for name in ("Program", "Service") if values.get(name)]
    other += [f"security {values['Security']}" for _ in "1" if values.get("Security", "NotRequired") != "NotRequired"]
    other += [f"edge {values['Edge traversal']}" for _ in () if values.get("Edge traversal")]
    interface = values.get("InterfaceTypes", "Any")
    if interface != "Any":
        other.append(f"interfaces {interface}")
    profiles = tuple(one for one in values.get("Profiles", "").split(",") if one in PROFILES) or PROFILES
    local = listed("LocalPort")
    if local and not re.fullmatch(r"[\d,-]+", local):
        other.append(f"port {local}")
        local = ""
    remote = listed("RemotePort")
    if remote and not re.fullmatch(r"[\d,-]+", remote):
        other.append(f"remote port {remote}")
        remote = ""
    inbound = values.get("Direction") == "In"
    source, destination = listed("RemoteIP"), listed("LocalIP")
    if "LocalSubnet" in source:
        other.append("from the local subnet")
        source = ""
    if not inbound:
        source, destination, local, remote = destination, source, remote, local
    return profiles, {
        "direction": "in" if inbound else "out",
        "action": _WORDS.get(values.get("Action", "").lower(), "unknown"),
        "protocol": {"icmpv4": "icmp", "icmpv6": "ipv6-icmp"}.get(protocol, protocol),
        "source": source,
        "destination": destination,
        "ports": local,
        "source_ports": remote,
        "other": "; ".join(other),
        "enabled": values.get("Enabled") == "Yes",
        "text": values.get("Rule Name", "")[:MAX_TEXT],
    }


def parse_powershell(text: str) -> Rules:
    """JSON of profiles (``Get-NetFirewallProfile``) or of rules joined with their filters.

    Rules: ``Get-NetFirewallRule | ForEach-Object {…} | ConvertTo-Json`` with ``DisplayName``, ``Enabled``,
    ``Direction``, ``Action``, ``Profile``, ``Protocol``, ``LocalPort``, ``RemotePort``, ``LocalAddress``,
    ``RemoteAddress``, ``Program``, ``Service``.
    """
    value = json.loads(text)
    rows = value if isinstance(value, list) else [value]
    policies: list[FirewallPolicy] = []
    found: list[tuple[tuple[str, ...], dict[str, Any]]] = []
    odd: list[Odd] = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            odd.append(Odd(number, str(row)[:80], "no object"))
        elif "DefaultInboundAction" in row:
            enabled = _true(row.get("Enabled"))
            for field, direction, default in (
                ("DefaultInboundAction", "in", "drop"),
                ("DefaultOutboundAction", "out", "accept"),
            ):
                said = str(row[field]).lower()
                action = {"allow": "accept", "2": "accept", "block": "drop", "4": "drop"}.get(said, default)
                policies.append(
                    FirewallPolicy(chain=str(row.get("Name", "")), direction=direction, action=action, enabled=enabled)  # type: ignore[arg-type]
                )
        elif "DisplayName" in row and "Action" in row:
            found.append(_netsh(_as_netsh(row)))
        else:
            odd.append(Odd(number, json.dumps(row)[:80], "neither a profile nor a rule"))
    active = any(one.enabled for one in policies) if policies else None
    return Rules(_ordered(found), tuple(policies), tuple(odd), active=active)


def _true(value: Any) -> bool:
    return str(value).lower() in {"true", "1", "yes"}


def _as_netsh(row: dict[str, Any]) -> dict[str, str]:
    def text(name: str) -> str:
        value = row.get(name)
        value = (
            ",".join(str(one) for one in value) if isinstance(value, list) else str(value if value is not None else "")
        )
        return "" if value in {"Any", "*"} else value

    profile = text("Profile")
    bits = [
        name for bit, name in ((1, "Domain"), (2, "Private"), (4, "Public")) if profile.isdigit() and int(profile) & bit
    ]
    return {
        "Rule Name": text("DisplayName"),
        "Enabled": "Yes" if _true(row.get("Enabled")) else "No",
        "Direction": "In" if text("Direction").lower() in {"inbound", "in", "1"} else "Out",
        "Action": {"2": "Allow", "4": "Block"}.get(text("Action"), text("Action")),
        "Profiles": ",".join(bits) or profile.replace(" ", ""),
        "Protocol": text("Protocol") or "Any",
        "LocalPort": text("LocalPort") or "Any",
        "RemotePort": text("RemotePort") or "Any",
        "LocalIP": text("LocalAddress") or "Any",
        "RemoteIP": text("RemoteAddress") or "Any",
        "Program": text("Program"),
        "Service": text("Service"),
    }


def _ordered(found: Iterable[tuple[tuple[str, ...], dict[str, Any]]]) -> tuple[FirewallRule, ...]:
    """One rule a profile, what blocks first."""
    listed = sorted(found, key=lambda pair: pair[1]["action"] == "accept")
    rules: list[FirewallRule] = []
    numbers: dict[str, int] = {}
    for profiles, fields in listed:
        for profile in profiles:
            chain = f"{profile} {fields['direction']}"
            numbers[chain] = numbers.get(chain, 0) + 1
            rules.append(FirewallRule(chain=chain, number=numbers[chain], **fields))
    return tuple(rules)
