"""``firewall.enable``: let in what is offered, drop the rest, by nftables. Only where no firewall filters yet.

Connections that stand go on, the agent's own among them (it only ever connects outwards), and every port that the SSH
server listens on stays open.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import run_program
from forestall.agent.act.services import find_service
from forestall.agent.collect import firewall, network
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "firewall.enable"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"allow": str, "allow_listening": bool}
TABLE = "inet forestall"
FILE = "nftables.forestall.nft"
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?/(tcp|udp)")
_EPHEMERAL = 32768


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``allow``: ``22/tcp 443/tcp 60000-61000/udp``; ``allow_listening``: what other machines can reach now, too."""
    nft = host.find_program("nft")
    if nft is None:
        raise ActionFailed("program_missing", "nft is not installed")
    present = firewall.collect(host)
    ours = any(rule.chain.startswith(TABLE) for rule in present.ruleset)
    if present.active is None:
        raise ActionFailed("state_unknown", "whether a firewall filters already cannot be told")
    if ours:
        raise ActionFailed("firewall_there", "Forestall's firewall is on: undo its job first to change what it lets in")
    if present.active:
        raise ActionFailed("firewall_there", f"{present.tool} filters already: its rules are not touched")
    ports = _asked(str(args["allow"]))
    listening = network.collect(host)
    for socket in listening.listening:
        protected = socket.process.startswith("sshd")
        if socket.exposed and (protected or (bool(args["allow_listening"]) and socket.port < _EPHEMERAL)):
            ports.setdefault(socket.protocol, set()).add(str(socket.port))
    if not ports:
        raise ActionFailed("nothing_allowed", "no port would be open: name what is offered, or allow what listens")
    text = rules_text(ports)
    told = ", ".join(f"{port}/{name}" for name in sorted(ports) for port in sorted(ports[name], key=_first))
    if ctx.dry_run:
        return StepResult(action=NAME, ok=True, summary=f"would let in {told} and drop the rest", output=text)
    path, main = f"{ctx.places.etc}/{FILE}", f"{ctx.places.etc}/nftables.conf"
    ctx.changes.file_replace(path, text.encode(), 0o644)
    checked = run_program([nft, "--check", "--file", path], ctx, looks_only=True)
    if checked.exit_code != 0:
        ctx.changes.file_remove(path)
        raise ActionFailed("rules_wrong", "nft does not take the rules", output=checked.output)
    include = f'include "{path}"\n'
    before = Path(main).read_text(encoding="utf-8") if Path(main).exists() else "#!/usr/sbin/nft -f\n\nflush ruleset\n"
    if include not in before:
        ctx.changes.file_replace(main, f"{before.rstrip()}\n{include}".encode())
    ctx.changes.note("firewall_table", table=TABLE)
    ran = run_program([nft, "--file", path], ctx)
    if ran.exit_code != 0:
        raise ActionFailed("rules_wrong", "nft did not load the rules", output=ran.output)
    later = _enable(host, ctx)
    return StepResult(
        action=NAME,
        ok=True,
        summary=f"let in {told}, drops the rest{later}",
        output=text,
        changed={"rules": len(ports)},
    )


def _asked(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for word in text.split():
        match = _PORT.fullmatch(word)
        if match is None or int(match[1]) > 65535 or int(match[2] or match[1]) > 65535:
            raise ActionFailed("argument_wrong", f"allow: {word!r} is no port as in 443/tcp")
        found.setdefault(match[3], set()).add(match[1] + (f"-{match[2]}" if match[2] else ""))
    return found


def _first(port: str) -> int:
    return int(port.partition("-")[0])


def rules_text(ports: Mapping[str, set[str]]) -> str:
    """The rules as nft reads them. The table is emptied first, so that loading it again changes nothing else."""
    allowed = "\n".join(
        f"    {name} dport {{ {', '.join(sorted(ports[name], key=_first))} }} counter accept" for name in sorted(ports)
    )
    return f"""# By Forestall; undone by the runbook undo-change.
table {TABLE}
flush table {TABLE}
table {TABLE} {{
  chain input {{
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    ct state invalid drop
    iif "lo" accept
    meta l4proto {{ icmp, ipv6-icmp }} accept
    udp sport 67 udp dport 68 accept
    udp sport 547 udp dport 546 accept
{allowed}
    limit rate 10/minute log prefix "forestall drop: "
    counter drop
  }}
}}
"""


def _enable(host: Host, ctx: Context) -> str:
    try:
        service = find_service("nftables", host, ctx)
    except ActionFailed:
        return "; nothing loads the rules at the next start, as there is no service nftables"
    if not service.is_enabled():
        ctx.changes.note("service_state", service=service.name, enabled=False)
        service.enable()
    return ", now and after each start"
