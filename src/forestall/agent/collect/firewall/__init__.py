"""The ``firewall`` document: which tool filters, its rules in order, and what happens to traffic that none names.

One module a tool turns its output into rules; nothing here judges them.
"""

from __future__ import annotations

import re
from dataclasses import replace

from msgspec import structs

from forestall.agent.collect.firewall import firewalld, iptables, macos, nft, ufw, windows
from forestall.agent.collect.firewall.ruleset import MOST_RULES, Inbound, Rules, Ruleset, summary
from forestall.agent.collect.host import CommandResult, Host
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.processes import find, processes
from forestall.wire.facts import Firewall, FirewallRule

SOCKETFILTER = "/usr/libexec/ApplicationFirewall/socketfilterfw"


def collect(host: Host) -> Firewall:
    notes = Notes(host)
    if host.find_program("netsh"):
        return _windows(notes)
    if host.find_program("socketfilterfw") or host.find_program(SOCKETFILTER):
        return _macos(notes)
    installed = [name for name in ("ufw", "firewall-cmd", "nft", "iptables-save") if host.find_program(name)]
    for name in installed:
        notes.used(name)
    tool, rules = _ask(notes, installed) if host.is_root else _hints(notes, installed)
    read = _rules(notes, tool) if host.is_root and rules is not None else Rules()
    return Firewall(
        tool=tool,
        active=rules.active if rules else (None if installed else False),
        default_inbound=rules.default_inbound if rules else ("unknown" if installed else "accept"),
        rules=rules.rules if rules else 0,
        ruleset=steady(read.rules[:MOST_RULES]),
        policies=read.policies,
        sources=notes.sources or ("ufw, firewall-cmd, nft and iptables-save: none installed",),
        gaps=notes.gaps,
    )


def document_of(tool: str, rules: Rules, *, sources: tuple[str, ...] = ()) -> Firewall:
    """The document that one saved output makes."""
    told = summary(rules.rules, rules.policies)
    off = rules.active is False
    # A list without its defaults (`ufw status numbered`) leaves open what happens to the rest.
    open_end = rules.active is True and not any(policy.direction == "in" for policy in rules.policies)
    return Firewall(
        tool=tool,
        active=False if off else told.active or open_end or (tool == "macos" and rules.active is True),
        default_inbound="accept" if off else "unknown" if open_end else told.default_inbound,
        rules=told.rules,
        ruleset=rules.rules[:MOST_RULES],
        policies=rules.policies,
        sources=sources,
    )


def steady(rules: tuple[FirewallRule, ...]) -> tuple[FirewallRule, ...]:
    """The rules with their counts rounded down to powers of ten: a document that only counted on is the same one."""
    return tuple(
        rule if not rule.packets else structs.replace(rule, packets=10 ** (len(str(rule.packets)) - 1))
        for rule in rules
    )


def _rules(notes: Notes, tool: str) -> Rules:
    """The rules of the tool that filters (or is the only one here)."""
    read = Rules()
    if tool == "nftables":
        answer = notes.run(["nft", "-j", "list", "ruleset"])
        try:
            read = nft.parse_json(answer.stdout) if answer is not None and answer.exit_code == 0 else read
        except (ValueError, KeyError):
            text = notes.run(["nft", "list", "ruleset"])  # an nft without JSON in it
            read = nft.parse_text(text.stdout) if text is not None else read
    elif tool == "iptables":
        found = [
            iptables.parse_save(answer.stdout, family=family)
            for program, family in (("iptables-save", ""), ("ip6tables-save", "ip6"))
            if notes.host.find_program(program) and (answer := notes.run([program, "-c"])) and answer.exit_code == 0
        ]
        read = Rules(
            tuple(rule for one in found for rule in one.rules),
            tuple(policy for one in found for policy in one.policies),
            tuple(line for one in found for line in one.odd),
        )
    elif tool == "ufw":
        answer = notes.run(["ufw", "status", "verbose"])
        read = ufw.parse(answer.stdout) if answer is not None else read
    elif tool == "firewalld":
        answer = notes.run(["firewall-cmd", "--list-all-zones"])
        read = firewalld.parse(answer.stdout) if answer is not None and answer.exit_code == 0 else read
    _say(notes, read)
    return read


def _say(notes: Notes, read: Rules) -> None:
    for line in read.odd[:20]:
        notes.gap(f"firewall rule {line.text[:80]!r}", line.why)
    if len(read.rules) > MOST_RULES:
        notes.gap("firewall rules", f"{len(read.rules)} rules; the first {MOST_RULES} are sent")


def _windows(notes: Notes) -> Firewall:
    profiles = _output(notes, ["netsh", "advfirewall", "show", "allprofiles"])
    listed = _output(notes, ["netsh", "advfirewall", "firewall", "show", "rule", "name=all", "verbose"])
    read = windows.parse_profiles(profiles.stdout) if profiles else Rules()
    if listed:
        rules = windows.parse_rules(listed.stdout)
        read = replace(read, rules=rules.rules, odd=(*read.odd, *rules.odd))
    _say(notes, read)
    return _with_notes(document_of("windows", read), notes, known=profiles is not None)


def _macos(notes: Notes) -> Firewall:
    program = notes.host.find_program("socketfilterfw") or SOCKETFILTER
    texts = [
        answer.stdout
        for option in ("--getglobalstate", "--getblockall", "--listapps")
        if (answer := _output(notes, [program, option])) is not None
    ]
    read = macos.parse_application("\n".join(texts))
    if read.active is False and (answer := notes.run(["pfctl", "-sr"])) is not None and answer.exit_code == 0:
        filtered = macos.parse_pf(answer.stdout)
        if filtered.rules:
            _say(notes, filtered)
            return _with_notes(document_of("macos", filtered), notes, known=True)
    _say(notes, read)
    return _with_notes(document_of("macos", read), notes, known=bool(texts))


def _with_notes(document: Firewall, notes: Notes, *, known: bool) -> Firewall:
    """The document with what it rests on; when its tool could not be asked, whether it filters is not known."""
    return Firewall(
        tool=document.tool,
        active=document.active if known else None,
        default_inbound=document.default_inbound if known else "unknown",
        rules=document.rules,
        ruleset=document.ruleset,
        policies=document.policies,
        sources=notes.sources,
        gaps=notes.gaps,
    )


def parse_ufw(text: str) -> Ruleset:
    """Output of ``ufw status verbose``."""
    if not re.search(r"^Status: active", text, re.MULTILINE):
        return Ruleset(active=False, default_inbound="accept", rules=0)
    default = re.search(r"^Default: (\w+) \(incoming\)", text, re.MULTILINE)
    inbound: Inbound = "unknown"
    if default:
        inbound = "accept" if default[1] == "allow" else "drop"
    _, _, table = text.partition("\n--")
    rules = [line for line in table.splitlines()[1:] if re.search(r"\b(ALLOW|DENY|REJECT|LIMIT)\b", line)]
    return Ruleset(active=True, default_inbound=inbound, rules=len(rules))


def parse_firewalld(state: str, default_zone: str) -> Ruleset:
    """Outputs of ``firewall-cmd --state`` and ``firewall-cmd --list-all`` (the default zone)."""
    if state.strip() != "running":
        return Ruleset(active=False, default_inbound="accept", rules=0)
    target = re.search(r"^\s*target:\s*(\S+)", default_zone, re.MULTILINE)
    # firewalld's targets "default" and "%%REJECT%%" refuse, "DROP" drops, "ACCEPT" lets all in.
    inbound: Inbound = "unknown" if target is None else ("accept" if target[1] == "ACCEPT" else "drop")
    named = re.findall(r"^\s*(?:services|ports|rich rules|sources|protocols):[ \t]*(.*)$", default_zone, re.MULTILINE)
    return Ruleset(active=inbound != "accept", default_inbound=inbound, rules=sum(len(each.split()) for each in named))


def parse_nft(text: str) -> Ruleset:
    """Output of ``nft list ruleset``. Inbound is what the base chains with ``hook input`` say, and where they jump."""
    chains: dict[str, list[str]] = {}
    inbound: list[str] = []  # base chains at the input hook
    drops_rest = False
    chain: str | None = None
    table = ""
    for raw in text.splitlines():
        line = raw.strip()
        if block := re.match(r"(table|chain|set|map|flowtable|counter|quota|limit|ct \w+) (.*?) ?\{", line):
            table = block[2] if block[1] == "table" else table
            chain = f"{table} {block[2]}" if block[1] == "chain" else None
            if chain:
                chains[chain] = []
        elif line == "}":
            chain = None
        elif chain is None or not line or line.startswith("#"):
            continue  # elements of a set, comments
        elif base := re.match(r"type (\w+) hook (\w+) priority [^;]*;(?: policy (\w+);)?", line):
            if base[1] == "filter" and base[2] == "input":
                inbound.append(chain)
                drops_rest = drops_rest or base[3] == "drop"
        else:
            chains[chain].append(line)
    reached, waiting = set(inbound), list(inbound)
    while waiting:
        name = waiting.pop()
        for target in re.findall(r"\b(?:jump|goto) (\S+)", "\n".join(chains.get(name, []))):
            full = f"{name.rpartition(' ')[0]} {target}"
            if full not in reached:
                reached.add(full)
                waiting.append(full)
    refuses = any(re.search(r"\b(drop|reject)\b", rule) for name in reached for rule in chains.get(name, []))
    # A rule without any condition takes all that is left.
    everything = re.compile(r"(counter packets \d+ bytes \d+ |log [^;]*? )?(drop|reject)( with .*)?")
    drops_rest = drops_rest or any(everything.fullmatch(rule) for name in inbound for rule in chains[name])
    return Ruleset(
        active=drops_rest or refuses,
        default_inbound="drop" if drops_rest else "accept",
        rules=sum(len(rules) for rules in chains.values()),
    )


def parse_iptables_save(text: str) -> Ruleset:
    """Output of ``iptables-save``: the filter table's INPUT chain tells what happens to inbound traffic."""
    _, _, table = text.partition("*filter")
    table = table.partition("COMMIT")[0]
    policy = re.search(r"^:INPUT (\w+)", table, re.MULTILINE)
    rules = re.findall(r"^-A (\S+) ?(.*)$", table, re.MULTILINE)
    refusing = {chain for chain, rule in rules if re.search(r"-j (DROP|REJECT)\b", rule)}
    inputs = [rule for chain, rule in rules if chain == "INPUT"]
    reached = {target for rule in inputs for target in re.findall(r"-[jg] (\S+)", rule)}
    catch_all = any(re.match(r"-j (DROP|REJECT)\b", rule) for rule in inputs)
    drops = policy is not None and policy[1] == "DROP"
    return Ruleset(
        active=drops or "INPUT" in refusing or bool(reached & refusing),
        default_inbound="drop" if drops or catch_all else "accept",
        rules=len(rules),
    )


def _ask(notes: Notes, installed: list[str]) -> tuple[str, Ruleset | None]:
    """Ask each tool from the most to the least convenient; the first that filters wins."""
    idle: tuple[str, Ruleset | None] = ("", None)
    if "ufw" in installed and (result := _output(notes, ["ufw", "status", "verbose"])):
        rules = parse_ufw(result.stdout)
        if rules.active:
            return "ufw", rules
        idle = "ufw", rules
    if "firewall-cmd" in installed and (state := notes.run(["firewall-cmd", "--state"], what="firewalld")):
        zone = notes.run(["firewall-cmd", "--list-all"]) if state.exit_code == 0 else None
        rules = parse_firewalld(state.stdout, zone.stdout if zone else "")
        if rules.active:
            return "firewalld", rules
        idle = idle if idle[1] else ("firewalld", rules)
    if "nft" in installed and (result := _output(notes, ["nft", "list", "ruleset"])):
        rules = parse_nft(result.stdout)
        if rules.active:
            return "nftables", rules
        idle = idle if idle[1] else ("nftables", rules)
    if "iptables-save" in installed and (result := _output(notes, ["iptables-save"])):
        rules = parse_iptables_save(result.stdout)
        if rules.active:
            return "iptables", rules
        idle = idle if idle[1] else ("iptables", rules)
    return idle


def _output(notes: Notes, argv: list[str]) -> CommandResult | None:
    result = notes.run(argv, what=f"rules of {argv[0]}")
    if result is not None and result.exit_code != 0:
        notes.gap(f"rules of {argv[0]}", complaint(result))
        return None
    return result


def _hints(notes: Notes, installed: list[str]) -> tuple[str, Ruleset | None]:
    """What can be told without root: the kernel shows its rules to root alone."""
    if not installed:
        return "", None
    notes.gap("firewall rules", "needs root")
    ufw = notes.read("/etc/ufw/ufw.conf") if "ufw" in installed else None
    if ufw and re.search(r"^ENABLED=yes", ufw, re.MULTILINE):
        return "ufw", Ruleset(active=True, default_inbound="unknown", rules=0)
    if "firewall-cmd" in installed and find(processes(notes.host), "firewalld"):
        return "firewalld", Ruleset(active=True, default_inbound="unknown", rules=0)
    return {"nft": "nftables", "iptables-save": "iptables"}.get(installed[-1], installed[-1]), None
