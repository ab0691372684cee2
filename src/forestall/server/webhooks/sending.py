"""One signed POST to one address: no redirects, no patience, and never to where a cloud keeps its credentials."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import time
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from forestall import __version__
from forestall.server.webhooks.rules import SIGNATURE, is_refused, signature

TIMEOUT_SECONDS = 10.0
READ_BYTES = 4096
"""So much of an answer is read, to end the conversation in order; none of it is kept."""
ALLOW_LINK_LOCAL = "FORESTALL_WEBHOOKS_LINK_LOCAL"
"""``allow``: webhooks may reach link-local addresses too."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended."""

    status: int | None
    """None: no answer came."""
    milliseconds: int
    error: str = ""


class _RefusedError(OSError):
    """The name leads to an address that no webhook may reach."""


class _Pinned(http.client.HTTPConnection):
    """Connects to the address that was looked at, not to what the name says a moment later."""

    def __init__(self, host: str, port: int, *, address: str, secure: bool) -> None:
        super().__init__(host, port, timeout=TIMEOUT_SECONDS)
        self._address, self._secure = address, secure

    def connect(self) -> None:
        raw = socket.create_connection((self._address, self.port), TIMEOUT_SECONDS)
        self.sock = ssl.create_default_context().wrap_socket(raw, server_hostname=self.host) if self._secure else raw


def send(*, url: str, secret: str, body: bytes, event: str, delivery: str, webhook: str, now: datetime) -> Outcome:
    """Send one message. Whatever goes wrong is in the outcome, in words without the address."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    begun = time.monotonic()

    def spent() -> int:
        return round((time.monotonic() - begun) * 1000)

    connection: http.client.HTTPConnection | None = None
    try:
        host = (parts.hostname or "").encode("idna").decode()
        connection = _Pinned(host, port, address=_resolved(host, port), secure=secure)
        connection.request(
            "POST",
            (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            body,
            {
                "Host": parts.netloc.encode("idna").decode(),
                "Content-Type": "application/json",
                "User-Agent": f"Forestall/{__version__}",
                "Forestall-Event": event,
                "Forestall-Delivery": delivery,
                "Forestall-Webhook": webhook,
                SIGNATURE: signature(secret=secret, body=body, at=now),
            },
        )
        answer = connection.getresponse()
        answer.read(READ_BYTES)
        error = ""
        if 300 <= answer.status < 400:
            error = "it answers with a redirect, which is not followed: enter the address it leads to"
        return Outcome(answer.status, spent(), error)
    except TimeoutError:
        return Outcome(None, spent(), f"no answer within {TIMEOUT_SECONDS:.0f} s")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Outcome(None, spent(), _words(error))
    finally:
        if connection is not None:
            connection.close()


def _resolved(host: str, port: int) -> str:
    found = [str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if os.environ.get(ALLOW_LINK_LOCAL) != "allow":
        for address in found:
            if is_refused(address):
                raise _RefusedError(f"{host} is {address}: no webhook goes to link-local and metadata addresses")
    return found[0]


def _words(error: Exception) -> str:
    if isinstance(error, _RefusedError):
        return str(error)
    if isinstance(error, socket.gaierror):
        return "the name leads nowhere"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted: {error.verify_message}"[:300]
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS as it should"
    return f"{type(error).__name__}: {getattr(error, 'strerror', None) or 'the conversation broke off'}"[:300]
