"""The session: a signature once in a while, so that every check-in needs a MAC only."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from forestall.agent.config import Limits
from forestall.agent.link.transport import ProtocolError, Transport
from forestall.agent.link.vault import Signing
from forestall.wire.codec import CHALLENGE_PATH, MAC_HEADER, SESSION_HEADER, SESSION_PATH, encode
from forestall.wire.session import ChallengeReply, SessionReply, SessionRequest, check_in_mac

_T = TypeVar("_T", ChallengeReply, SessionReply)

_challenge_decoder = msgspec.msgpack.Decoder(ChallengeReply)
_session_decoder = msgspec.msgpack.Decoder(SessionReply)


class Session:
    """The current session with the server, opened when needed."""

    def __init__(
        self,
        *,
        transport: Transport,
        signing: Signing,
        device_id: str,
        limits: Limits,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._signing = signing
        self._device_id = device_id
        self._limits = limits
        self._monotonic = monotonic
        self._reply: SessionReply | None = None
        self._ends = 0.0

    @property
    def is_open(self) -> bool:
        return self._reply is not None and self._monotonic() < self._ends

    def open(self) -> SessionReply:
        """Open a new session. LinkError when the server cannot be reached or refuses."""
        self.forget()
        challenge = _decode(_challenge_decoder, self._transport.request("POST", CHALLENGE_PATH))
        signature = self._signing.sign_session(challenge=challenge.challenge)
        request = SessionRequest(device_id=self._device_id, challenge=challenge.challenge, signature=signature)
        reply = _decode(_session_decoder, self._transport.request("POST", SESSION_PATH, body=encode(request)))
        # How long it lasts is told by the server's clock alone: ours may be wrong, and the session is not the
        # place to find that out.
        lasts = (reply.expires_at - challenge.server_time).total_seconds()
        self._ends = self._monotonic() + max(lasts - self._limits.session_spare_seconds, lasts / 2)
        self._reply = reply
        return reply

    def forget(self) -> None:
        """The server does not know this session (any more)."""
        self._reply = None

    def headers(self, body: bytes) -> Mapping[str, str]:
        """What shows that this body comes from this device. The session must be open."""
        if self._reply is None:
            raise RuntimeError("no session is open")
        mac = check_in_mac(key=self._reply.key, session=self._reply.session, body=body)
        return {SESSION_HEADER: self._reply.session, MAC_HEADER: mac.hex()}


def _decode(decoder: msgspec.msgpack.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"an answer that cannot be read: {error}") from None
