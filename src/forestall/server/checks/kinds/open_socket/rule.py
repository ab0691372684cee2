"""Sockets that listen on every interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.kinds.open_socket.ports import EXPECTED, RISKY
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.wire.facts import Socket

EPHEMERAL = 32768
"""First port that Linux gives to clients by itself (ip_local_port_range)."""


@dataclass(frozen=True, slots=True)
class Policy:
    expected: tuple[str, ...] = ()
    """More sockets that are open on purpose: ``tcp/25``."""

    def __post_init__(self) -> None:
        for target in self.expected:
            protocol, _, port = target.partition("/")
            if protocol not in {"tcp", "udp"} or not port.isdecimal() or not 0 < int(port) < 65536:
                raise ValueError(f"expected: {target!r} is not a protocol and port such as 'tcp/25'")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result an exposed port (``tcp/5432``), or one for the device when nothing is exposed."""
    network = known.facts.network
    assert network is not None  # noqa: S101 - judge_kind sees to it
    exposed: dict[tuple[str, int], list[Socket]] = {}
    for socket in network.listening:
        # A UDP port of the client range is the return address of something that asks; it comes and goes.
        if socket.exposed and not (socket.protocol == "udp" and socket.port >= EPHEMERAL):
            exposed.setdefault((socket.protocol, socket.port), []).append(socket)
    if not exposed:
        gap = next((gap for gap in network.gaps if "socket" in gap.what), None)
        if gap:
            return [Result(Status.UNKNOWN, f"Which sockets listen could not be seen: {gap.what}: {gap.why}.")]
        return [Result(Status.PASS, "0 sockets listen on every interface.", value=0, unit="sockets")]
    firewall = known.facts.firewall
    shielded = firewall is not None and firewall.active is True and firewall.default_inbound == "drop"
    return [_judge_socket(key, exposed[key], policy, shielded=shielded) for key in sorted(exposed)]


def _judge_socket(key: tuple[str, int], sockets: Sequence[Socket], policy: Policy, *, shielded: bool) -> Result:
    protocol, port = key
    target = f"{protocol}/{port}"
    process = next((socket.process for socket in sockets if socket.process), "")
    by = f" ({process})" if process else ""
    addresses = ", ".join(dict.fromkeys(socket.address for socket in sockets))
    evidence = (f"ss -lnp{protocol[0]} 'sport = :{port}'",)
    if target in policy.expected:
        return Result(Status.PASS, f"{target}{by} is open on purpose, by policy.", target=target, evidence=evidence)
    if key in EXPECTED:
        return Result(
            Status.PASS, f"{EXPECTED[key]} listens on {target}{by}, as expected.", target=target, evidence=evidence
        )
    shield = " The firewall drops inbound traffic unless allowed, which may shield it." if shielded else ""
    if key in RISKY:
        known = RISKY[key]
        status = Status.WARN if shielded or known.risk in {Risk.LOW, Risk.MEDIUM} else Status.FAIL
        risk = known.risk if not shielded else max(known.risk, Risk.MEDIUM, key=lambda risk: risk.rank)
        reason = f"{known.service}{by} listens on {target} of every interface ({addresses}): {known.why}.{shield}"
        return Result(status, reason, target=target, evidence=evidence, risk=risk)
    who = process or "A process that could not be seen"
    reason = f"{who} listens on {target} of every interface ({addresses}); no reason for that is known.{shield}"
    return Result(Status.WARN, reason, target=target, evidence=evidence, risk=Risk.LOW)


def levels(policy: Policy) -> Sequence[Level]:
    return []
