"""Well-known ports that should not be open to every network, and why. Numbers: IANA's registry of port numbers."""

from __future__ import annotations

from typing import NamedTuple

from forestall.server.checks.result import Risk


class Port(NamedTuple):
    service: str
    why: str
    risk: Risk


_DATABASE = "databases answer their applications, not the world; stolen data and ransom notes begin here"
_CACHE = "it has no login by default, and holds sessions and data"
_PLAIN = "it sends passwords in the clear"
_REMOTE = "passwords are guessed here all day; put it behind a VPN"
_SHARE = "file shares are how ransomware spreads; no other network needs them"
_CONTROL = "whoever reaches it controls the machine"

EXPECTED: dict[tuple[str, int], str] = {
    ("tcp", 22): "SSH",
    ("tcp", 80): "HTTP",
    ("tcp", 443): "HTTPS",
    ("udp", 443): "HTTPS (QUIC)",
    ("udp", 68): "DHCP client",
    ("udp", 546): "DHCPv6 client",
    ("udp", 51820): "WireGuard",
    ("udp", 500): "IPsec",
    ("udp", 4500): "IPsec",
}
"""Open on purpose on so many devices that it passes; the exposure itself is what they are for."""

RISKY: dict[tuple[str, int], Port] = {
    ("tcp", 21): Port("FTP", _PLAIN, Risk.HIGH),
    ("tcp", 23): Port("Telnet", _PLAIN, Risk.CRITICAL),
    ("udp", 69): Port("TFTP", "it hands out files to anyone, without a login", Risk.HIGH),
    ("tcp", 111): Port("rpcbind", "it tells strangers what runs here, and amplifies attacks on others", Risk.MEDIUM),
    ("udp", 111): Port("rpcbind", "it tells strangers what runs here, and amplifies attacks on others", Risk.MEDIUM),
    ("udp", 123): Port("NTP", "a client needs no open port; servers have been misused to flood others", Risk.LOW),
    ("tcp", 135): Port("Windows RPC", _CONTROL, Risk.HIGH),
    ("udp", 137): Port("NetBIOS", _SHARE, Risk.MEDIUM),
    ("udp", 138): Port("NetBIOS", _SHARE, Risk.MEDIUM),
    ("tcp", 139): Port("SMB over NetBIOS", _SHARE, Risk.HIGH),
    ("tcp", 445): Port("SMB", _SHARE, Risk.HIGH),
    ("udp", 161): Port("SNMP", "it tells all about the device to whoever knows (or guesses) a community", Risk.MEDIUM),
    ("tcp", 389): Port("LDAP", "accounts and groups are read here, often in the clear", Risk.MEDIUM),
    ("tcp", 512): Port("rexec", _PLAIN, Risk.CRITICAL),
    ("tcp", 513): Port("rlogin", _PLAIN, Risk.CRITICAL),
    ("tcp", 514): Port("rsh", _PLAIN, Risk.CRITICAL),
    ("udp", 514): Port("syslog", "anyone can write to the logs", Risk.LOW),
    ("tcp", 631): Port("CUPS", "a printer's spooler has had holes that strangers could use", Risk.MEDIUM),
    ("udp", 631): Port("CUPS browsing", "strangers could add printers, and through them run programs", Risk.HIGH),
    ("tcp", 873): Port("rsync", "files can often be read, and written, without a login", Risk.HIGH),
    ("tcp", 1433): Port("Microsoft SQL Server", _DATABASE, Risk.HIGH),
    ("tcp", 1521): Port("Oracle Database", _DATABASE, Risk.HIGH),
    ("tcp", 2049): Port("NFS", _SHARE, Risk.HIGH),
    ("tcp", 2375): Port("Docker API", "without TLS it gives root on this machine to anyone", Risk.CRITICAL),
    ("tcp", 2376): Port("Docker API (TLS)", _CONTROL, Risk.HIGH),
    ("tcp", 2379): Port("etcd", "it holds the secrets of a cluster", Risk.CRITICAL),
    ("tcp", 3306): Port("MySQL / MariaDB", _DATABASE, Risk.HIGH),
    ("tcp", 3389): Port("Remote Desktop", _REMOTE, Risk.HIGH),
    ("tcp", 5432): Port("PostgreSQL", _DATABASE, Risk.HIGH),
    ("udp", 5353): Port("mDNS", "it tells the network what the device is and offers", Risk.LOW),
    ("tcp", 5900): Port("VNC", _REMOTE, Risk.CRITICAL),
    ("tcp", 5901): Port("VNC", _REMOTE, Risk.CRITICAL),
    ("tcp", 5984): Port("CouchDB", _DATABASE, Risk.HIGH),
    ("tcp", 5985): Port("Windows Remote Management", _CONTROL, Risk.HIGH),
    ("tcp", 6000): Port("X11", "a screen and keyboard can be read from outside", Risk.HIGH),
    ("tcp", 6379): Port("Redis", _CACHE, Risk.CRITICAL),
    ("tcp", 8086): Port("InfluxDB", _DATABASE, Risk.HIGH),
    ("tcp", 9000): Port("an administration page or PHP-FPM", _CONTROL, Risk.MEDIUM),
    ("tcp", 9042): Port("Cassandra", _DATABASE, Risk.HIGH),
    ("tcp", 9090): Port("Prometheus or Cockpit", "it shows, or controls, the insides of the machine", Risk.MEDIUM),
    ("tcp", 9100): Port("node exporter or a raw printer", "it tells strangers about the machine", Risk.LOW),
    ("tcp", 9200): Port("Elasticsearch", _DATABASE, Risk.HIGH),
    ("tcp", 10050): Port("Zabbix agent", "monitoring data, and with some settings commands", Risk.MEDIUM),
    ("tcp", 10250): Port("kubelet", _CONTROL, Risk.CRITICAL),
    ("tcp", 11211): Port("memcached", _CACHE, Risk.HIGH),
    ("udp", 11211): Port("memcached", "it floods others, a ten-thousandfold", Risk.HIGH),
    ("tcp", 15672): Port("RabbitMQ management", _CONTROL, Risk.HIGH),
    ("tcp", 27017): Port("MongoDB", _DATABASE, Risk.CRITICAL),
}
