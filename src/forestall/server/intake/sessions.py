"""Challenges and sessions without a table: everything is in the token, sealed by the server's secret.

A challenge is time, nonce, and a tag. A session token is device id, expiry, nonce, and a tag; its MAC key is derived
from it. Any intake process with the same secret reads them all. Only the memory of used challenges is per process.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import struct
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from forestall.server.intake.refused import RefusedError
from forestall.wire.refusals import RefusalCode

SESSION_LIFETIME = timedelta(hours=1)
CHALLENGE_LIFETIME = timedelta(seconds=60)
USED_CHALLENGES = 100_000
"""Challenges remembered as used. One is remembered only after a right signature, so a stranger cannot fill this."""
SESSIONS_KEPT = 50_000
"""Session tokens whose derived key is kept in memory."""

_CHALLENGE = struct.Struct(">d16s32s")
_TOKEN = struct.Struct(">16sd12s16s")


@dataclass(frozen=True, slots=True)
class Session:
    """An open session."""

    token: str
    device: bytes
    """Device id: 16 bytes."""
    key: bytes
    """MAC key: 32 bytes."""
    expires: float
    """Unix seconds."""

    @property
    def expires_at(self) -> datetime:
        return datetime.fromtimestamp(self.expires, UTC)


class Sessions:
    """Makes and reads challenges and session tokens."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 32:
            raise ValueError(f"session secret: {len(secret)} bytes, expected at least 32")
        self._challenge_key = _derive(secret, b"challenge")
        self._tag_key = _derive(secret, b"session tag")
        self._mac_key = _derive(secret, b"session MAC")
        self._used: OrderedDict[bytes, float] = OrderedDict()
        self._open: OrderedDict[str, Session] = OrderedDict()

    def challenge_make(self, *, now: float) -> bytes:
        """A challenge good for one session within ``CHALLENGE_LIFETIME`` of ``now`` (Unix seconds)."""
        nonce = secrets.token_bytes(16)
        return _CHALLENGE.pack(now, nonce, self._challenge_tag(now, nonce))

    def challenge_check(self, *, challenge: bytes, now: float) -> None:
        """RefusedError(challenge_stale) unless this server made it, it is fresh, and it was not used."""
        try:
            made, nonce, tag = _CHALLENGE.unpack(challenge)
        except struct.error:
            raise RefusedError(RefusalCode.CHALLENGE_STALE, f"$.challenge: {len(challenge)} bytes") from None
        if not hmac.compare_digest(tag, self._challenge_tag(made, nonce)):
            raise RefusedError(RefusalCode.CHALLENGE_STALE, "$.challenge: not of this server")
        age = now - made
        if not -1 <= age <= CHALLENGE_LIFETIME.total_seconds():
            raise RefusedError(RefusalCode.CHALLENGE_STALE, f"$.challenge: {age:.0f} s old")
        if challenge in self._used:
            raise RefusedError(RefusalCode.CHALLENGE_STALE, "$.challenge: already used")

    def challenge_use(self, *, challenge: bytes, now: float) -> None:
        """Note a checked challenge as used. RefusedError(overloaded) when too many are remembered."""
        lifetime = CHALLENGE_LIFETIME.total_seconds()
        while self._used and next(iter(self._used.values())) < now - lifetime - 1:
            self._used.popitem(last=False)
        if len(self._used) >= USED_CHALLENGES:
            raise RefusedError(RefusalCode.OVERLOADED, "too many sessions are being opened")
        self._used[challenge] = now

    def session_make(self, *, device_id: UUID, now: float) -> Session:
        """A new session of a device that has shown its key."""
        expires = now + SESSION_LIFETIME.total_seconds()
        nonce = secrets.token_bytes(12)
        raw = _TOKEN.pack(device_id.bytes, expires, nonce, self._token_tag(device_id.bytes, expires, nonce))
        return self._remember(base64.urlsafe_b64encode(raw).decode(), device_id.bytes, expires)

    def session_read(self, *, token: str, now: float) -> Session:
        """The session of a token. RefusedError(session_unknown) when it is not of this server, or has expired."""
        session = self._open.get(token)
        if session is None:
            try:
                raw = base64.b64decode(token, altchars=b"-_", validate=True)
                device, expires, nonce, tag = _TOKEN.unpack(raw)
            except (binascii.Error, ValueError, struct.error):
                raise RefusedError(RefusalCode.SESSION_UNKNOWN, "not a session token") from None
            if not hmac.compare_digest(tag, self._token_tag(device, expires, nonce)):
                raise RefusedError(RefusalCode.SESSION_UNKNOWN, "the session is not of this server")
            session = self._remember(token, device, expires)
        if session.expires <= now:
            raise RefusedError(RefusalCode.SESSION_UNKNOWN, "the session has expired")
        return session

    def _remember(self, token: str, device: bytes, expires: float) -> Session:
        session = Session(token=token, device=device, key=self._session_key(token), expires=expires)
        self._open[token] = session
        if len(self._open) > SESSIONS_KEPT:
            self._open.popitem(last=False)
        return session

    def _session_key(self, token: str) -> bytes:
        return hmac.digest(self._mac_key, token.encode(), "sha256")

    def _challenge_tag(self, made: float, nonce: bytes) -> bytes:
        return hmac.digest(self._challenge_key, struct.pack(">d", made) + nonce, "sha256")

    def _token_tag(self, device: bytes, expires: float, nonce: bytes) -> bytes:
        return hmac.digest(self._tag_key, device + struct.pack(">d", expires) + nonce, "sha256")[:16]


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return hashlib.blake2b(b"forestall intake v1 " + purpose, key=secret[:64], digest_size=32).digest()
