"""firewalld: ``firewall-cmd --list-all-zones`` or ``--list-all``."""

from __future__ import annotations

import re
from typing import Any

from msgspec import structs

from forestall.agent.collect.firewall.ruleset import MAX_TEXT, Odd, Rules
from forestall.wire.facts import FirewallPolicy, FirewallRule

SERVICES = {
    "ssh": "22/tcp", "http": "80/tcp", "https": "443/tcp", "dns": "53/tcp 53/udp", "dhcpv6-client": "546/udp",
    "mdns": "5353/udp", "samba": "139/tcp 445/tcp", "samba-client": "138/udp", "cockpit": "9090/tcp", "smtp": "25/tcp",
    "mysql": "3306/tcp", "postgresql": "5432/tcp", "ntp": "123/udp", "snmp": "161/udp", "nfs": "2049/tcp",
    "rdp": "3389/tcp 3389/udp", "vnc-server": "5900-5903/tcp", "ftp": "21/tcp", "imaps": "993/tcp", "ldap": "389/tcp",
}  # fmt: skip
"""Ports of firewalld's own services that are common; others stay names."""
_KEYS = frozenset(
    {"target", "icmp-block-inversion", "interfaces", "sources", "services", "ports", "protocols", "forward",
     "masquerade", "forward-ports", "source-ports", "icmp-blocks", "rich rules", "ingress-priority",
     "egress-priority", "ingress-zones", "egress-zones", "priority", "module", "egress"}
)  # fmt: skip


def parse(text: str) -> Rules:
    """The zones that hold interfaces or sources (or the only one given); in a zone what is named is let in."""
    zones: dict[str, dict[str, list[str]]] = {}
    odd: list[Odd] = []
    active: set[str] = set()
    zone = key = ""
    for number, raw in enumerate(text.splitlines(), 1):
        if not raw.strip():
            continue
        if head := re.fullmatch(r"([A-Za-z0-9_-]+)(?: \(([^)]*)\))?\s*", raw):
            zone, key = head[1], ""
            zones[zone] = {}
            if "active" in (head[2] or ""):
                active.add(zone)
        elif zone and (pair := re.match(r"\s+([a-z][a-z -]*):(.*)", raw)) and pair[1] in _KEYS:
            key = pair[1]
            zones[zone][key] = pair[2].split() if key != "rich rules" else [pair[2].strip()] if pair[2].strip() else []
        elif zone and key in {"rich rules", "forward-ports"} and raw.startswith(("\t", "    ")):
            zones[zone][key].append(raw.strip())
        else:
            odd.append(Odd(number, raw.strip(), "no line of a list of zones"))
    shown = active or set(zones)
    rules: list[FirewallRule] = []
    policies: list[FirewallPolicy] = []
    for name in sorted(shown):
        of_zone = zones[name]
        target = (of_zone.get("target") or ["unknown"])[0]
        action = {
            "ACCEPT": "accept",
            "DROP": "drop",
            "default": "reject",
            "%%REJECT%%": "reject",
            "REJECT": "reject",
        }.get(target, "unknown")
        policies.append(FirewallPolicy(chain=name, direction="in", action=action))  # type: ignore[arg-type]
        rules += _rules(name, of_zone)
    return Rules(tuple(rules), tuple(policies), tuple(odd), active=True if any(zones.values()) else None)


def _rules(zone: str, of_zone: dict[str, list[str]]) -> list[FirewallRule]:
    found: list[FirewallRule] = []
    interfaces = ",".join(of_zone.get("interfaces", ()))
    sources = ",".join(of_zone.get("sources", ()))

    def add(text: str, *, action: str = "accept", logged: bool = False, other: str = "", **fields: Any) -> None:
        fields.setdefault("source", sources)
        found.append(
            FirewallRule(
                chain=zone,
                number=len(found) + 1,
                direction="in",
                action=action,
                logged=logged,
                other=other,
                interface_in=interfaces,
                text=text[:MAX_TEXT],
                **fields,
            )
        )

    for rule in of_zone.get("rich rules", ()):
        # Rich rules are tried before what is merely named; refusing ones before letting ones.
        action = next((word for word in ("accept", "drop", "reject") if re.search(rf"\b{word}\b", rule)), "log")
        source = re.search(r'source address="([^"]+)"', rule)
        destination = re.search(r'destination address="([^"]+)"', rule)
        port = re.search(r'port port="([^"]+)" protocol="([^"]+)"', rule)
        service = re.search(r'service name="([^"]+)"', rule)
        known = SERVICES.get(service[1], "").split() if service else []
        ports, _, protocol = known[0].partition("/") if len(known) == 1 else ("", "", "")
        rest = [
            each for each in (service[0] if service and not known else "", "limit" if "limit " in rule else "") if each
        ]
        if re.search(r"\bNOT\b", rule):
            rest.append("NOT")
        add(
            rule, action=action, logged=" log" in rule, source=source[1] if source else sources,
            destination=destination[1] if destination else "", ports=port[1] if port else ports,
            protocol=port[2] if port else protocol, other="; ".join(rest),
        )  # fmt: skip
    found.sort(key=lambda rule: rule.action == "accept")
    found[:] = [structs.replace(one, number=place) for place, one in enumerate(found, 1)]
    for service_name in of_zone.get("services", ()):
        for each in SERVICES.get(service_name, "").split() or [""]:
            ports, _, protocol = each.partition("/")
            add(
                f"service {service_name}",
                ports=ports,
                protocol=protocol,
                other="" if each else f"service {service_name}",
            )
    for each in of_zone.get("ports", ()):
        ports, _, protocol = each.partition("/")
        add(f"port {each}", ports=ports, protocol=protocol)
    for each in of_zone.get("protocols", ()):
        add(f"protocol {each}", protocol=each)
    for each in of_zone.get("source-ports", ()):
        ports, _, protocol = each.partition("/")
        add(f"source port {each}", source_ports=ports, protocol=protocol)
    return found
