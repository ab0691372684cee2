"""HTTP/1.1 on TLS 1.3: httptools' parser on uvloop's transports, a whole request in, a whole answer out.

Written for this one use because it is most of what a check-in costs: a general ASGI server writes head and body of an
answer as two TLS records with two system calls, and builds dictionaries in between that nobody here reads. A request
is handed on when it is complete; until then its bytes count against a common bound, and it has a deadline.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Protocol

import httptools

from forestall.server.certificates import certificate_file, key_file
from forestall.server.home import Address, Home
from forestall.server.intake.refused import RefusedError
from forestall.wire.codec import CONTENT_TYPE
from forestall.wire.refusals import RefusalCode

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 20_000
MAX_HEADERS_BYTES = 16 * 1024
MAX_PIPELINED = 4
FIRST_REQUEST_SECONDS = 20.0
"""Time in which a new connection must have begun its first request."""
REQUEST_SECONDS = 30.0
"""Time in which a request that has begun must be complete."""
IDLE_SECONDS = 150.0
"""Longer than two check-in intervals: an agent keeps one connection, and a handshake costs more than its check-in."""
HANDSHAKE_SECONDS = 20.0
LINGER_SECONDS = 1.0
"""After a refusal in the middle of a request its rest is read and thrown away for so long: closing at once would reset
the connection, and the sender would never read why."""
STOP_SECONDS = 2.0
REASONS = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 409: b"Conflict", 413: b"Content Too Large", 500: b"Internal Server Error",
    503: b"Service Unavailable",
}  # fmt: skip
_STATUS_LINES = {
    status: b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\n%sContent-Length: "
    % (status, reason, CONTENT_TYPE.encode(), b"Retry-After: 5\r\n" if status == 503 else b"")
    for status, reason in REASONS.items()
}


@dataclass(slots=True)
class Request:
    """A request, whole."""

    method: str
    path: str
    headers: dict[bytes, bytes]
    """Names in lower case. Of two headers of one name, the later."""
    body: bytes


class Application(Protocol):
    """What is served."""

    def body_limit(self, path: str) -> int:
        """Most bytes of a body for this path."""

    def hold(self, count: int) -> None:
        """So many more bytes of bodies are held. RefusedError(overloaded) when that is too much; they stay held."""

    def release(self, count: int) -> None:
        """So many bytes are held no longer."""

    def respond(self, request: Request) -> Awaitable[tuple[int, bytes]]:
        """Status and body of the answer. Raises nothing but what is a defect."""

    def refuse(self, refused: RefusedError) -> tuple[int, bytes]:
        """The answer to a request that was refused before it was complete."""


@dataclass
class Connections:
    """All open connections, and by when each must have said something."""

    application: Application
    open: set[HttpConnection] = field(default_factory=set)
    deadlines: dict[HttpConnection, float] = field(default_factory=dict)
    """Connections that owe us something → loop time."""

    def sweep(self, now: float) -> None:
        """Hang up on those that are late."""
        for connection, deadline in list(self.deadlines.items()):
            if deadline < now:
                connection.hang_up()


class HttpConnection(asyncio.Protocol):
    """One connection. Its requests are answered in their order, one at a time."""

    def __init__(self, connections: Connections) -> None:
        self._all = connections
        self._application = connections.application
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._begin()

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._headers_size = 0
        self._body: list[bytes] = []
        self._size = 0
        self._limit = 0

    # --- asyncio's side -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport) and not hasattr(transport, "write"):
            raise TypeError(f"not a stream: {transport!r}")
        self._transport = transport  # type: ignore[assignment]
        if len(self._all.open) >= MAX_CONNECTIONS:
            self.hang_up()
            return
        self._all.open.add(self)
        self._all.deadlines[self] = self._loop.time() + FIRST_REQUEST_SECONDS

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            # The parser wraps what its callbacks raise.
            refused = error.__context__
            if not isinstance(refused, RefusedError):
                raise
            self._refuse(refused)
        except httptools.HttpParserError as error:
            self._refuse(RefusedError(RefusalCode.MALFORMED, f"not HTTP: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        self._all.open.discard(self)
        self._all.deadlines.pop(self, None)
        self._application.release(self._size + sum(len(request.body) for request, _ in self._waiting))
        self._begin()
        self._waiting.clear()

    def hang_up(self) -> None:
        """End the connection now."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def shutdown(self) -> None:
        """End the connection when what is being answered has been answered."""
        if self._task is None:
            # An idle agent does not read, so it would not answer a polite TLS goodbye before its next check-in.
            self.hang_up()
        else:
            self._closing = True

    # --- the parser's side ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._all.deadlines[self] = self._loop.time() + REQUEST_SECONDS

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._bound_headers(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value
        self._bound_headers(len(name) + len(value))

    def _bound_headers(self, more: int) -> None:
        self._headers_size += more
        if self._headers_size > MAX_HEADERS_BYTES:
            raise RefusedError(RefusalCode.TOO_LARGE, f"more than {MAX_HEADERS_BYTES} bytes of headers")

    def on_headers_complete(self) -> None:
        self._limit = self._application.body_limit(self._path())
        length = self._headers.get(b"content-length", b"0")
        if int(length) > self._limit:
            raise RefusedError(RefusalCode.TOO_LARGE, f"{int(length)} bytes, at most {self._limit}")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._size += len(body)
        self._application.hold(len(body))
        if self._size > self._limit:
            raise RefusedError(RefusalCode.TOO_LARGE, f"more than {self._limit} bytes")

    def on_message_complete(self) -> None:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request = Request(self._parser.get_method().decode("latin-1"), self._path(), self._headers, body)
        keep = self._parser.should_keep_alive()
        self._begin()
        self._all.deadlines.pop(self, None)
        if self._task is None:
            self._task = self._loop.create_task(self._answer(request, keep=keep))
        elif len(self._waiting) < MAX_PIPELINED:
            self._waiting.append((request, keep))
        else:
            self._application.release(len(body))
            raise RefusedError(RefusalCode.OVERLOADED, f"more than {MAX_PIPELINED} requests sent ahead")

    def _path(self) -> str:
        return self._url.partition(b"?")[0].decode("latin-1")

    # --- answers --------------------------------------------------------------------------------------------------

    async def _answer(self, request: Request, *, keep: bool) -> None:
        while True:
            try:
                status, body = await self._application.respond(request)
            except Exception:
                log.exception("%s %.80s could not be answered", request.method, request.path)
                status, body, keep = 500, b"", False
            finally:
                self._application.release(len(request.body))
            last = self._closing or not keep
            self._write(status, body, last=last)
            if last:
                self._task = None
                self._closing = True
                if self._transport is not None:
                    self._transport.close()
                return
            if not self._waiting:
                self._task = None
                # Unless the next request has begun already, and has its own deadline.
                self._all.deadlines.setdefault(self, self._loop.time() + IDLE_SECONDS)
                return
            request, keep = self._waiting.popleft()

    def _refuse(self, refused: RefusedError) -> None:
        """Answer what was refused half-way, then end: what follows cannot be told from its rest."""
        status, body = self._application.refuse(refused)
        self._closing = True
        if self._task is None:
            self._write(status, body, last=True)
            self._all.deadlines[self] = self._loop.time() + LINGER_SECONDS

    def _write(self, status: int, body: bytes, *, last: bool) -> None:
        if self._transport is not None and not self._transport.is_closing():
            # One write: one TLS record and one system call.
            end = b"\r\nConnection: close\r\n\r\n" if last else b"\r\n\r\n"
            self._transport.write(b"%s%d%s%s" % (_STATUS_LINES[status], len(body), end, body))


def context_make(home: Home) -> ssl.SSLContext:
    """TLS 1.3 alone, with intake's certificate (which can be loaded again while serving)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate_file(home), key_file(home))
    return context


class Server:
    """Listens, and stops."""

    def __init__(self, *, application: Application, address: Address, context: ssl.SSLContext) -> None:
        self._address = address
        self._context = context
        self.connections = Connections(application)
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. OSError when the address cannot be had."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: HttpConnection(self.connections),
            self._address.host,
            self._address.port,
            ssl=self._context,
            backlog=2048,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=STOP_SECONDS,
        )

    async def stop(self) -> None:
        """Stop listening, answer what is being answered, close."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self.connections.open):
            connection.shutdown()
        deadline = asyncio.get_running_loop().time() + STOP_SECONDS
        while self.connections.open and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(self.connections.open):
            connection.hang_up()
