"""HTTPS to the server: one kept connection, TLS 1.3 alone, the pinned authority alone.

Written on ``ssl`` directly: ``http.client`` reads headers with the e-mail parser, which takes 2 MiB (a tenth of the
whole agent) and most of the time of a request. The server is ours and its answers are plain: a status, a
``Content-Length``, a body. Anything else is a ``ProtocolError``.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Protocol

import msgspec

from forestall.agent.config import Limits
from forestall.wire.codec import CONTENT_TYPE, MAX_EXPANDED_BYTES
from forestall.wire.refusals import RefusalCode

MAX_HEAD_BYTES = 32 * 1024


class LinkError(Exception):
    """The server did not take what was sent; see the kinds below."""


class UnreachableError(LinkError):
    """No answer: no route, no listener, no answer in time, or a certificate that is not the pinned authority's."""


class ProtocolError(LinkError):
    """An answer that is none of this protocol."""


class RefusedError(LinkError):
    """The server refused, with a code."""

    def __init__(self, code: RefusalCode | str, detail: str, *, next_sequence: int | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        """A plain string when the server is newer than this agent and has codes of its own."""
        self.detail = detail
        self.next_sequence = next_sequence


class Transport(Protocol):
    """The way to the server."""

    def request(self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
        """The body of the answer with status 200; a LinkError otherwise."""

    def close(self) -> None: ...


class _RefusalBody(msgspec.Struct):
    code: str
    detail: str = ""
    next_sequence: int | None = None


_refusal_decoder = msgspec.msgpack.Decoder(_RefusalBody)


class _StaleError(Exception):
    """The kept connection was closed by the server before it answered."""


class HttpsTransport:
    """One connection to the server, made when needed, kept while it is healthy."""

    def __init__(self, url: str, *, context: ssl.SSLContext, limits: Limits | None = None) -> None:
        self._host, self._port = split_url(url)
        self._context = context
        self._limits = limits or Limits()
        self._socket: ssl.SSLSocket | None = None

    def request(self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {_authority(self._host, self._port)}"]
        if body or method != "GET":
            lines += [f"Content-Type: {CONTENT_TYPE}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        message = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        try:
            if self._socket is not None:
                try:
                    return self._exchange(self._socket, message)
                except _StaleError:
                    # Closed while it was idle. Everything this protocol sends may be sent twice.
                    self.close()
            return self._exchange(self._connect(), message)
        except _StaleError:
            self.close()
            raise UnreachableError(f"{self._host}:{self._port} closed the connection without an answer") from None
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise UnreachableError(
                f"{self._host}:{self._port} shows a certificate that the pinned authority did not sign: "
                f"{error.verify_message}"
            ) from None
        except TimeoutError:
            self.close()
            raise UnreachableError(f"{self._host}:{self._port} does not answer in time") from None
        except OSError as error:
            self.close()
            raise UnreachableError(f"{self._host}:{self._port}: {error.strerror or error}") from None
        except ProtocolError:
            self.close()
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection((self._host, self._port), timeout=self._limits.connect_seconds)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = self._context.wrap_socket(plain, server_hostname=self._host)
        except BaseException:
            plain.close()
            raise
        return self._socket

    def _exchange(self, connection: ssl.SSLSocket, message: bytes) -> bytes:
        deadline = time.monotonic() + self._limits.answer_seconds
        received = bytearray()
        try:
            connection.settimeout(self._limits.answer_seconds)
            connection.sendall(message)
            while (end := received.find(b"\r\n\r\n")) < 0:
                if len(received) > MAX_HEAD_BYTES:
                    raise ProtocolError(f"more than {MAX_HEAD_BYTES} bytes of headers")
                part = self._receive(connection, deadline)
                if not part:
                    if received:
                        raise ProtocolError("the answer is cut short within its headers")
                    raise _StaleError
                received += part
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            raise _StaleError from None
        status, length, keep = read_head(bytes(received[:end]))
        del received[: end + 4]
        while len(received) < length:
            part = self._receive(connection, deadline)
            if not part:
                raise ProtocolError(f"the answer ends after {len(received)} of {length} bytes")
            received += part
        if len(received) > length:
            raise ProtocolError(f"{len(received) - length} bytes after the answer")
        if not keep:
            self.close()
        answer = bytes(received)
        if status == 200:
            return answer
        raise refusal_of(status, answer)

    @staticmethod
    def _receive(connection: ssl.SSLSocket, deadline: float) -> bytes:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        return connection.recv(65536)


def read_head(head: bytes) -> tuple[int, int, bool]:
    """Status, body length in bytes, and whether the connection stays open, of the head of an answer."""
    lines = head.decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    status = rest[:3]
    if version not in {"HTTP/1.1", "HTTP/1.0"} or not status.isdecimal():
        raise ProtocolError(f"not an HTTP answer: {lines[0][:100]!r}")
    length, keep = None, version == "HTTP/1.1"
    for line in lines[1:]:
        name, _, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        if name == "content-length":
            if not value.isdecimal() or int(value) > MAX_EXPANDED_BYTES:
                raise ProtocolError(f"an answer of {value[:40]!r} bytes")
            length = int(value)
        elif name == "connection":
            keep = value.lower() != "close"
        elif name == "transfer-encoding":
            raise ProtocolError(f"an answer in transfer encoding {value[:40]!r}")
    if length is None:
        raise ProtocolError("an answer without Content-Length")
    return int(status), length, keep


def refusal_of(status: int, body: bytes) -> LinkError:
    """The error that an answer other than 200 stands for."""
    try:
        refusal = _refusal_decoder.decode(body)
    except msgspec.DecodeError:
        return ProtocolError(f"HTTP status {status} without a refusal")
    try:
        code: RefusalCode | str = RefusalCode(refusal.code)
    except ValueError:
        code = refusal.code
    return RefusedError(code, refusal.detail, next_sequence=refusal.next_sequence)


def split_url(url: str) -> tuple[str, int]:
    """Host and port of ``https://host:port``; ValueError for anything else."""
    scheme, separator, rest = url.partition("://")
    rest = rest.rstrip("/")
    host, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        host, port = rest, "443"
    if scheme != "https" or not separator or not host.strip("[]") or not port.isdecimal() or "/" in rest:
        raise ValueError(f"{url!r} is not https://HOST:PORT")
    if not 0 < int(port) < 65536:
        raise ValueError(f"{url!r}: port {port} is not one")
    return host.strip("[]"), int(port)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def pinned_context(ca_pem: str) -> ssl.SSLContext:
    """TLS 1.3 with servers of this authority alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca_pem)
    return context


def unpinned_context() -> ssl.SSLContext:
    """TLS 1.3 with anybody: only to fetch the certificate of the authority, which is then compared with the token."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def certificate_fingerprint(pem: str) -> str:
    """SHA-256 of the certificate's DER form, in hex; ValueError when this is no PEM certificate."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
