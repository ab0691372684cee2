"""The ``network`` document: interfaces, routes, and what listens.

Bound UDP sockets in the kernel's range for outgoing traffic (``ip_local_port_range``) are left out: they belong to
questions being asked, not to services, and come and go with every one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Interface, Network, Socket

_TCP_LISTEN = "0A"
_UDP_UNCONNECTED = "07"


@dataclass(frozen=True, slots=True)
class BoundSocket:
    """One line of /proc/net/{tcp,tcp6,udp,udp6}."""

    protocol: Literal["tcp", "udp"]
    address: str
    port: int
    uid: int
    inode: int


def collect(host: Host) -> Network:
    notes = Notes(host)
    return Network(
        interfaces=_interfaces(notes),
        listening=listening(notes),
        default_routes=_default_routes(notes),
        nameservers=_nameservers(notes),
        sources=notes.sources,
        gaps=notes.gaps,
    )


def listening(notes: Notes) -> tuple[Socket, ...]:
    """The listening sockets with the processes behind them, sorted; one gap when some process is hidden."""
    sockets = list(bound_sockets(notes))
    owners = _owners(notes.host, {each.inode for each in sockets})
    names = user_names(notes.value("/etc/passwd"))
    found = set()
    hidden = 0
    for each in sockets:
        pid, process = owners.get(each.inode, (0, ""))
        hidden += not pid
        found.add(
            Socket(
                protocol=each.protocol,
                address=each.address,
                port=each.port,
                process=process,
                pid=pid,
                user=names.get(each.uid, str(each.uid)),
            )
        )
    if sockets:
        notes.used("/proc/*/fd")
    if hidden:
        why = "refused by the system, even to root" if notes.host.is_root else "needs root"
        notes.gap(f"process behind {hidden} of {len(sockets)} listening sockets", why)
    return tuple(sorted(found, key=lambda each: (each.protocol, each.port, each.address, each.pid)))


def bound_sockets(notes: Notes) -> Iterator[BoundSocket]:
    """Listening TCP and bound UDP sockets of this machine, without their processes."""
    outgoing = _outgoing_ports(notes.value("/proc/sys/net/ipv4/ip_local_port_range"))
    for name in ("tcp", "tcp6", "udp", "udp6"):
        for each in parse_sockets(notes.read(f"/proc/net/{name}") or "", name):
            if each.protocol == "tcp" or each.port not in outgoing:
                yield each


def parse_sockets(text: str, name: str) -> Iterator[BoundSocket]:
    """The listening (TCP) or unconnected (UDP) sockets in a table of /proc/net called ``name``."""
    protocol: Literal["tcp", "udp"] = "tcp" if name.startswith("tcp") else "udp"
    wanted = _TCP_LISTEN if protocol == "tcp" else _UDP_UNCONNECTED
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != wanted:
            continue
        address, _, port = fields[1].partition(":")
        remote_port = fields[2].rpartition(":")[2]
        if protocol == "udp" and remote_port != "0000":
            continue
        yield BoundSocket(protocol, _address(address), int(port, 16), int(fields[7]), int(fields[9]))


def parse_routes(text: str) -> tuple[str, ...]:
    """Default routes of /proc/net/route: ``192.0.2.1 via eth0``."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == "00000000" and fields[7] == "00000000" and int(fields[3], 16) & 1:
            gateway = _address(fields[2])
            found.append(f"{gateway} via {fields[0]}" if gateway != "0.0.0.0" else fields[0])  # noqa: S104
    return tuple(sorted(set(found)))


def parse_routes6(text: str) -> tuple[str, ...]:
    """Default routes of /proc/net/ipv6_route."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        is_default = len(fields) > 9 and fields[0] == "0" * 32 and fields[1] == "00"
        # RTF_REJECT (0x200) marks the kernel's own "unreachable" entry.
        if is_default and fields[9] != "lo" and not int(fields[8], 16) & 0x200:
            gateway = _address6(bytes.fromhex(fields[4]))
            found.append(f"{gateway} via {fields[9]}" if gateway != "::" else fields[9])
    return tuple(sorted(set(found)))


def parse_nameservers(text: str) -> tuple[str, ...]:
    """Name servers of resolv.conf(5), in their order."""
    return tuple(re.findall(r"^nameserver\s+(\S+)", text, re.MULTILINE))


def user_names(passwd: str) -> dict[int, str]:
    """Name by uid, from passwd(5)."""
    names: dict[int, str] = {}
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdigit():
            names.setdefault(int(fields[2]), fields[0])
    return names


def _address(text: str) -> str:
    # The kernel prints addresses as 32-bit words in the machine's byte order: little-endian wherever we run.
    raw = bytes.fromhex(text)
    if len(raw) == 4:
        return ".".join(str(byte) for byte in reversed(raw))
    return _address6(b"".join(raw[start : start + 4][::-1] for start in range(0, 16, 4)))


def _address6(raw: bytes) -> str:
    from ipaddress import IPv6Address

    address = IPv6Address(raw)
    return str(address.ipv4_mapped or address)


def _outgoing_ports(text: str) -> range:
    bounds = text.split()
    return range(int(bounds[0]), int(bounds[1]) + 1) if len(bounds) == 2 else range(32768, 61000)


def _owners(host: Host, inodes: Iterable[int]) -> dict[int, tuple[int, str]]:
    """Process number and name by socket inode. Of several processes that share a socket, the first started."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    owners: dict[int, tuple[int, str]] = {}
    if not wanted:
        return owners
    for pid in sorted(int(name) for name in host.list_dir("/proc") if name.isdigit()):
        try:
            handles = host.list_dir(f"/proc/{pid}/fd")
            for handle in handles:
                inode = wanted.get(_link(host, f"/proc/{pid}/fd/{handle}"))
                if inode is not None and inode not in owners:
                    owners[inode] = (pid, host.read_text(f"/proc/{pid}/comm").strip())
        except HostError:  # ended meanwhile, or not ours to see: counted as hidden by the caller
            continue
    return owners


def _link(host: Host, path: str) -> str:
    try:
        return host.read_link(path)
    except HostError:
        return ""


def _interfaces(notes: Notes) -> tuple[Interface, ...]:
    found = []
    try:
        names = notes.host.list_dir("/sys/class/net")
        addresses = notes.host.addresses()
    except HostError as error:
        notes.gap("network interfaces", error.why)
        return ()
    notes.used("/sys/class/net")
    for name in names:
        folder = f"/sys/class/net/{name}"
        state, flags = notes.value(f"{folder}/operstate"), notes.value(f"{folder}/flags")
        if not flags:
            continue  # not an interface (bonding_masters), or gone meanwhile
        speed = notes.value(f"{folder}/speed")
        # Loopback and tunnels call their state "unknown": then the administrative flag IFF_UP (1) tells.
        up = state == "up" or (state == "unknown" and bool(int(flags, 16) & 1))
        mac = notes.value(f"{folder}/address")
        found.append(
            Interface(
                name=name,
                mac=mac if mac.strip("0:") else "",
                addresses=tuple(sorted(addresses.get(name, []))),
                up=up,
                speed_mbit=int(speed) if speed.isdigit() else 0,
            )
        )
    return tuple(found)


def _default_routes(notes: Notes) -> tuple[str, ...]:
    four = parse_routes(notes.read("/proc/net/route", what="IPv4 routes") or "")
    return four + parse_routes6(notes.read("/proc/net/ipv6_route") or "")


def _nameservers(notes: Notes) -> tuple[str, ...]:
    found = parse_nameservers(notes.read("/etc/resolv.conf") or "")
    if found == ("127.0.0.53",):  # systemd-resolved stands between; the file beside it names the real ones
        return parse_nameservers(notes.read("/run/systemd/resolve/resolv.conf") or "") or found
    return found
