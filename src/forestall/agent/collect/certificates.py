"""The ``certificates`` document: what the TLS servers of this device present.

Each listening TCP socket that may speak TLS is greeted as a browser would, without checking anything. Ports that
begin in plain text (and turn to TLS only when asked, such as SMTP) are left alone.
"""

from __future__ import annotations

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.network import listening
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Certificate, Certificates, Socket

PLAIN_PORTS = frozenset(
    {20, 21, 22, 23, 25, 53, 67, 69, 79, 80, 88, 110, 111, 113, 119, 123, 135, 139, 143, 161, 179, 389, 445, 514, 515,
     587, 631, 873, 1433, 1521, 2049, 3306, 3389, 5432, 5900, 6379, 9100, 11211, 27017}
)  # fmt: skip
"""Well-known ports of protocols that do not begin with TLS; a greeting there would only fill logs."""
MOST_SOCKETS = 40
HANDSHAKE_SECONDS = 1.5
_AT_ONCE = 8


def collect(host: Host) -> Certificates:
    from concurrent.futures import ThreadPoolExecutor

    notes = Notes(host)
    sockets = candidates(listening(Notes(host)))
    if len(sockets) > MOST_SOCKETS:
        notes.gap(f"certificates of {len(sockets) - MOST_SOCKETS} sockets", f"only {MOST_SOCKETS} are asked")
        sockets = sockets[:MOST_SOCKETS]
    found: list[Certificate] = []
    notes.used("/proc/net/tcp, /proc/net/tcp6")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(lambda socket: _ask(host, socket), sockets))
    for socket, data in zip(sockets, answers, strict=True):
        if data is None:
            continue
        notes.used(f"TLS handshake with {reachable(socket.address)} port {socket.port}")
        try:
            found.append(parse_certificate(data, socket))
        except ValueError as error:
            notes.gap(f"certificate on port {socket.port}", str(error))
    return Certificates(certificates=tuple(found), sources=notes.sources, gaps=notes.gaps)


def candidates(sockets: tuple[Socket, ...]) -> list[Socket]:
    """The sockets worth greeting, one for each port and kind of address: IPv4 before IPv6, the widest first."""
    chosen: dict[tuple[int, bool], Socket] = {}
    for socket in sorted(sockets, key=lambda each: (each.port, not each.exposed, ":" in each.address, each.address)):
        if socket.protocol == "tcp" and socket.port not in PLAIN_PORTS:
            # A server on all of IPv4 and all of IPv6 is one server; on 127.0.0.1 and 192.0.2.7 it may be two.
            chosen.setdefault((socket.port, socket.exposed), socket)
    return list(chosen.values())


def reachable(address: str) -> str:
    """The address to connect to for a socket that listens on ``address``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}.get(address, address)  # noqa: S104


def parse_certificate(data: bytes, socket: Socket) -> Certificate:
    """What a certificate (DER) says. ValueError when it cannot be read."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    certificate = x509.load_der_x509_certificate(data)
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [str(each.value) for each in alternative if isinstance(each, x509.DNSName | x509.IPAddress)]
    except x509.ExtensionNotFound:
        names = []
    return Certificate(
        address=socket.address,
        port=socket.port,
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        names=tuple(names),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint_sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        self_signed=certificate.issuer == certificate.subject,
        process=socket.process,
    )


def _ask(host: Host, socket: Socket) -> bytes | None:
    try:
        return host.server_certificate(reachable(socket.address), socket.port, timeout=HANDSHAKE_SECONDS)
    except HostError:
        return None  # speaks no TLS: then there is no certificate to report, which is no gap
