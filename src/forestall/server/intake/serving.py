"""The HTTP server around the application: uvicorn with uvloop and httptools, TLS 1.3 alone, connections bounded."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from forestall.server.home import Address, Home
from forestall.server.intake.certificates import certificate_file, key_file

MAX_CONNECTIONS = 20_000
KEEP_ALIVE_SECONDS = 150
"""Longer than two check-in intervals: an agent keeps one connection, and a handshake costs more than its check-in."""
FIRST_REQUEST_SECONDS = 20.0
"""Time in which a new connection must have sent its first request."""
HANDSHAKE_SECONDS = 20.0


class BoundedProtocol(HttpToolsProtocol):
    """Hangs up on connections beyond the bound, and on those that never say anything."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self.loop.call_later(FIRST_REQUEST_SECONDS, self._hang_up_if_silent)

    def shutdown(self) -> None:
        # An idle agent does not read, so it would not answer a polite TLS goodbye before its next check-in.
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()
        else:
            super().shutdown()

    def _hang_up_if_silent(self) -> None:
        # `cycle` is the request being served or the last one served.
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


def config_make(*, app: Any, address: Address, home: Home) -> tuple[uvicorn.Config, ssl.SSLContext]:
    """uvicorn's configuration and the TLS context it uses (whose certificate can be replaced while it serves)."""
    config = uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=2,
        backlog=2048,
        h11_max_incomplete_event_size=None,
        ssl_certfile=str(certificate_file(home)),
        ssl_keyfile=str(key_file(home)),
    )
    config.load()
    context = config.ssl
    if context is None:
        raise RuntimeError("intake never serves without TLS")
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return config, context


class Server(uvicorn.Server):
    """uvicorn's server; says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.listening.set()
