"""Which packages listen to others: the process behind a socket, and the package it comes from by its name.

Only the package's own process counts. A library inside a server is reached through it, too, but no document says which
process uses which library: that is a limit, said in ``docs/limits.md``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from forestall.wire.facts import Network

PROCESSES: dict[str, tuple[str, ...]] = {
    # Process → packages, where they are not called the same.
    "sshd": ("openssh-server", "openssh"),
    "named": ("bind9", "bind"),
    "apache2": ("apache2", "apache2-bin"),
    "httpd": ("httpd", "httpd-core", "apache2"),
    "mysqld": ("mysql-server", "mysql-server-core-8.0", "mysql"),
    "mariadbd": ("mariadb-server", "mariadb", "mariadb-server-core"),
    "postgres": ("postgresql", "postgresql-server"),
    "smbd": ("samba",),
    "nmbd": ("samba",),
    "master": ("postfix",),
    "exim4": ("exim4", "exim4-daemon-light", "exim4-daemon-heavy"),
    "slapd": ("slapd", "openldap", "openldap-servers"),
    "chronyd": ("chrony",),
    "ntpd": ("ntp", "ntpsec"),
    "cupsd": ("cups", "cups-daemon"),
    "rpcbind": ("rpcbind",),
    "rpc.statd": ("nfs-common", "nfs-utils"),
    "snmpd": ("snmpd", "net-snmp"),
    "dhcpd": ("isc-dhcp-server", "dhcp-server"),
    "squid": ("squid",),
    "imap-login": ("dovecot-imapd", "dovecot"),
    "beam.smp": ("rabbitmq-server", "erlang"),
    "redis-server": ("redis-server", "redis"),
    "in.tftpd": ("tftpd-hpa", "tftp-server"),
    "avahi-daemon": ("avahi-daemon", "avahi"),
}
MOST = 3


@dataclass(frozen=True, slots=True)
class Sockets:
    """Where a device listens beyond itself."""

    by_package: dict[str, list[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.by_package)

    def of(self, names: Iterable[str]) -> str:
        """What of these packages listens, in words; empty: nothing."""
        said: list[str] = []
        for name in names:
            said += [one for one in self.by_package.get(_plain(name), ()) if one not in said]
        more = f" and {len(said) - MOST} more" if len(said) > MOST else ""
        return (", ".join(said[:MOST]) + more)[:200]


def sockets_of(network: Network | None) -> Sockets:
    """The sockets of a device, by package."""
    found: dict[str, list[str]] = {}
    for socket in network.listening if network is not None else ():
        if not socket.process or _is_loopback(socket.address):
            continue
        words = f"{socket.process} on {socket.protocol}/{socket.port}"
        for name in PROCESSES.get(socket.process, (socket.process,)):
            own = found.setdefault(_plain(name), [])
            if words not in own:
                own.append(words)
    return Sockets(found)


def _plain(name: str) -> str:
    """Without a version at the end: ``postgresql-15`` is ``postgresql``."""
    head, _, tail = name.rpartition("-")
    return head if head and tail.replace(".", "").isdecimal() else name


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0].strip("[]")).is_loopback
    except ValueError:
        return False  # ``*``: every interface
