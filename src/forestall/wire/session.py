"""Enrolment and sessions: how an agent shows which device it is."""

from __future__ import annotations

import hmac
from datetime import datetime

import msgspec


class EnrolRequest(msgspec.Struct, frozen=True, kw_only=True):
    token: str
    """The secret part of the enrolment token."""
    public_key: bytes
    """Raw Ed25519 public key made on the device: 32 bytes."""
    hostname: str
    machine_id: str
    """A stable identifier of the machine, hashed: recognises one that enrols a second time."""
    agent_version: str
    signature: bytes
    """Over ``enrol_message(request)`` with that key: shows that the sender holds it."""


class EnrolReply(msgspec.Struct, frozen=True, kw_only=True):
    device_id: str
    client_id: str
    client: str
    site: str
    status: str
    """``pending`` or ``approved``."""
    root: bytes
    """DSSE envelope of the root statement; its key's fingerprint is pinned by the token."""
    log_key: bytes
    """Raw Ed25519 public key of the evidence log: 32 bytes."""


class ChallengeReply(msgspec.Struct, frozen=True, kw_only=True):
    challenge: bytes
    server_time: datetime


class SessionRequest(msgspec.Struct, frozen=True, kw_only=True):
    device_id: str
    challenge: bytes
    signature: bytes
    """Over ``session_message(device_id, challenge)`` with the device's key."""


class SessionReply(msgspec.Struct, frozen=True, kw_only=True):
    session: str
    """Goes into the ``Forestall-Session`` header."""
    key: bytes
    """MAC key of this session: 32 bytes. Travels inside TLS only."""
    expires_at: datetime
    next_sequence: int
    status: str
    """``pending`` devices hold a session but may not check in."""


def enrol_message(*, token: str, public_key: bytes, hostname: str, machine_id: str) -> bytes:
    """What an enrolling device signs."""
    return b"\x00".join([b"forestall enrol v1", token.encode(), public_key, hostname.encode(), machine_id.encode()])


def session_message(*, device_id: str, challenge: bytes) -> bytes:
    """What a device signs to open a session."""
    return b"\x00".join([b"forestall session v1", device_id.encode(), challenge])


def check_in_message(*, session: str, body: bytes) -> bytes:
    """What the MAC of a check-in covers: the session and the compressed body."""
    return b"\x00".join([b"forestall check-in v1", session.encode(), body])


def check_in_mac(*, key: bytes, session: str, body: bytes) -> bytes:
    """MAC of a check-in: HMAC-SHA-256 (RFC 2104), 32 bytes; the header carries it in hex.

    Keyed BLAKE2b took 1.4 instead of 2.2 microseconds for a body of 900 bytes: under one part in a hundred of what a
    check-in costs, and not worth leaving what every reviewer and every library knows.
    """
    return hmac.digest(key, check_in_message(session=session, body=body), "sha256")
