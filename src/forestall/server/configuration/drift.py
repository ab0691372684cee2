"""Drift: what differs between the configuration that was accepted and the one that is, without I/O.

The state of a device is a flat table, *area and name → value*. Only what a person set up is in it: no counters, no
processes that come and go, no ports that programs choose for themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from forestall.wire.facts import Facts

State = Mapping[str, Mapping[str, str]]
"""Area → name → value."""

AREAS: Mapping[str, str] = {
    "kernel": "Kernel settings", "mount": "Mounts", "module": "Kernel modules", "file": "Permissions of files",
    "boot": "Start", "encryption": "Encryption", "usb": "USB", "logging": "Logging", "tls": "TLS", "login": "Sign-in",
    "process": "Programs", "services": "Services", "listening": "What can be reached", "firewall": "Firewall",
    "sshd": "SSH server", "sudo": "sudo",
}  # fmt: skip
SERIOUS = frozenset({"kernel", "file", "boot", "encryption", "firewall", "sshd", "sudo", "module", "login", "tls"})
"""Areas whose drift opens a ticket: services and sockets have checks of their own."""
HIGH = frozenset({"firewall", "sshd", "sudo", "encryption"})
DOCUMENTS = ("hardening", "services", "network", "firewall", "sshd", "access")
_EPHEMERAL = 32768
"""Ports from here on are what programs get when they ask for any (Linux, ip_local_port_range)."""
_MOST = 2000


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it was accepted. Empty: it was or is not there."""

    area: str
    name: str
    before: str
    after: str


def state_of(facts: Facts) -> dict[str, dict[str, str]]:
    """The state that these facts show. An area whose document is not there, or could not be read, is not in it."""
    state: dict[str, dict[str, str]] = {}
    if facts.hardening is not None:
        for one in facts.hardening.settings:
            state.setdefault(one.area, {})[one.name] = one.value
        for mount in state.get("mount", {}):
            # Sizes of what lies in memory follow the machine, not its set-up.
            options = [
                part for part in state["mount"][mount].split(",") if not part.startswith(("size=", "nr_inodes="))
            ]
            state["mount"][mount] = ",".join(options)
        if "process" in state:
            # Profiles come with packages: how many are loaded is no setting.
            access = state["process"].get("access control", "")
            state["process"]["access control"] = access.partition(":")[0]
    if facts.services is not None and facts.services.services:
        state["services"] = {
            one.name: "starts with the system" if one.enabled else "does not start"
            for one in facts.services.services
            if one.enabled is not None
        }
    if facts.network is not None and facts.network.listening:
        state["listening"] = {
            f"{one.protocol}/{one.port}": one.process or "a program"
            for one in facts.network.listening
            if one.exposed and one.port < _EPHEMERAL
        }
    if facts.firewall is not None and facts.firewall.active is not None:
        chains: dict[str, list[str]] = {}
        for rule in facts.firewall.ruleset:
            chains.setdefault(rule.chain, []).append(
                _without_counts(rule.text) or f"{rule.action} {rule.ports}".strip()
            )
        state["firewall"] = {
            "": f"{facts.firewall.tool or 'none'}, {'on' if facts.firewall.active else 'off'}",
            **{f"rest of {one.chain}": one.action for one in facts.firewall.policies},
            **{f"rules of {chain}": _shortened(rules) for chain, rules in chains.items()},
        }
    if facts.sshd is not None and (facts.sshd.settings or not facts.sshd.installed):
        state["sshd"] = dict(facts.sshd.settings) if facts.sshd.installed else {"": "not installed"}
    if facts.access is not None and facts.access.sudo_rules is not None:
        state["sudo"] = {line[:300]: "granted" for line in facts.access.sudo_rules}
    return state


def _without_counts(text: str) -> str:
    words = text.split()
    found: list[str] = []
    at = 0
    while at < len(words):
        if words[at] == "packets" and at + 1 < len(words):
            at += 4 if words[at + 2 : at + 3] == ["bytes"] else 2
        else:
            found.append(words[at])
            at += 1
    return " ".join(word for word in found if not (word.startswith("[") and word.endswith("]") and ":" in word))


def _shortened(rules: list[str]) -> str:
    text = "\n".join(rules)
    if len(text) <= _MOST:
        return text
    return f"{text[:_MOST]}\n… ({len(rules)} rules, {sha256(text.encode()).hexdigest()[:16]})"


def differences(accepted: State, present: State) -> list[Difference]:
    """What differs, in the order of the areas. What was not accepted yet, or cannot be seen now, is no difference."""
    found: list[Difference] = []
    for area in AREAS:
        if area not in accepted or area not in present:
            continue
        before, after = accepted[area], present[area]
        found += [
            Difference(area, name, before.get(name, ""), after.get(name, ""))
            for name in sorted(before.keys() | after.keys())
            if before.get(name, "") != after.get(name, "")
        ]
    return found


def with_accepted(accepted: State, chosen: Iterable[Difference]) -> dict[str, dict[str, str]]:
    """The accepted state after these differences were accepted, too."""
    state = {area: dict(values) for area, values in accepted.items()}
    for one in chosen:
        values = state.setdefault(one.area, {})
        if one.after:
            values[one.name] = one.after
        else:
            values.pop(one.name, None)
    return state


def with_new_areas(accepted: State, present: State) -> dict[str, dict[str, str]]:
    """The accepted state with the areas that are seen for the first time: there is nothing they could differ from."""
    return {**{area: dict(values) for area, values in present.items()}, **{a: dict(v) for a, v in accepted.items()}}


def in_words(one: Difference) -> str:
    """``SSH server: permitrootlogin no → yes``."""
    before, after = (_brief(value) for value in (one.before, one.after))
    name = f"{one.name} " if one.name else ""
    return f"{AREAS[one.area]}: {name}{before or 'not there'} → {after or 'not there'}"


def _brief(value: str) -> str:
    lines = value.splitlines()
    return value if len(lines) < 2 else f"{len(lines)} rules"
