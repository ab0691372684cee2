"""Enrolment: how a machine becomes a device.

In order: the authority's certificate is fetched and compared with the token → a key is made here → the server takes
token and public key → the root it names must be signed by the root key the token names → everything is written, the
enrolment last. What fails before that last write leaves no enrolment behind.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from datetime import datetime
from pathlib import Path

import msgspec

from forestall.agent.config import VERSION, AgentError, AgentHome, Enrolment, Limits, file_read, file_write
from forestall.agent.link.transport import (
    HttpsTransport,
    LinkError,
    ProtocolError,
    Transport,
    certificate_fingerprint,
    pinned_context,
    split_url,
    unpinned_context,
)
from forestall.agent.link.vault import identity_check, identity_make, identity_public
from forestall.trust.keys import private_key
from forestall.wire.codec import AUTHORITY_PATH, ENROL_PATH, encode
from forestall.wire.session import EnrolReply, EnrolRequest, enrol_message

_HEX = re.compile(r"[0-9a-f]{64}")


class Token(msgspec.Struct, frozen=True):
    """An enrolment token: ``fse1.<secret>.<SHA-256 of the authority's certificate>.<root key id>``."""

    secret: str
    ca_fingerprint: str
    root_key_id: str


class Enrolled(msgspec.Struct, frozen=True):
    enrolment: Enrolment
    status: str
    """``pending`` until somebody approves the device, or ``approved``."""


def token_read(text: str) -> Token:
    """The parts of a token; AgentError when it is none (the secret is not repeated in the message)."""
    parts = text.strip().split(".")
    if len(parts) != 4 or parts[0] != "fse1" or not parts[1]:
        raise AgentError("the token is not one: expected fse1.SECRET.FINGERPRINT.ROOT, four parts joined by dots")
    for what, part in (("the authority's fingerprint", parts[2]), ("the root key id", parts[3])):
        if _HEX.fullmatch(part) is None:
            raise AgentError(f"the token is damaged: {what} is {part[:80]!r}, expected 64 hexadecimal digits")
    return Token(secret=parts[1], ca_fingerprint=parts[2], root_key_id=parts[3])


def enrol(
    *,
    home: AgentHome,
    server: str,
    token: Token,
    now: datetime,
    force: bool = False,
    hostname: str | None = None,
    machine: str | None = None,
    limits: Limits | None = None,
) -> Enrolled:
    """Enrol this machine. AgentError, in words for the person who does it, when that cannot be."""
    server = server.rstrip("/")
    try:
        split_url(server)
    except ValueError as error:
        raise AgentError(f"--server: {error}") from None
    enrolled_before = os.path.exists(home.enrolment)  # noqa: PTH110
    if enrolled_before and not force:
        raise AgentError(
            f"this device is enrolled already ({home.enrolment}); --force gives its identity up and enrols it anew"
        )
    limits = limits or Limits()
    ca_pem = authority_fetch(HttpsTransport(server, context=unpinned_context(), limits=limits), token=token)
    transport = HttpsTransport(server, context=pinned_context(ca_pem), limits=limits)
    try:
        # Made beside the old identity, if there is one: that stays until the new one is enrolled.
        os.makedirs(home.folder, mode=0o700, exist_ok=True)  # noqa: PTH103
        beside = AgentHome(f"{home.folder}/enrolling")
        # A first try whose answer was lost is repeated with the same key: the server knows it again.
        if not os.path.exists(beside.identity_key):  # noqa: PTH110
            identity_make(beside)
        reply = _request(
            transport,
            home=beside,
            token=token,
            hostname=hostname or socket.gethostname(),
            machine=machine or machine_id(),
        )
    except LinkError as error:
        raise AgentError(f"{server} did not enrol this device: {error}") from None
    finally:
        transport.close()
    enrolment = Enrolment(
        server=server,
        device_id=reply.device_id,
        client_id=reply.client_id,
        client=reply.client,
        site=reply.site,
        ca_pem=ca_pem,
        root_key_id=token.root_key_id,
        root=reply.root,
        log_key=reply.log_key,
        enrolled_at=now,
    )
    _keep(home, beside, enrolment, now=now)
    return Enrolled(enrolment, reply.status)


def authority_fetch(transport: Transport, *, token: Token) -> str:
    """The authority's certificate (PEM): that of the token, or AgentError."""
    try:
        pem = transport.request("GET", AUTHORITY_PATH).decode("ascii")
        found = certificate_fingerprint(pem)
    except LinkError as error:
        raise AgentError(str(error)) from None
    except ValueError:
        raise AgentError("the server sent something else than its authority's certificate") from None
    finally:
        transport.close()
    if found != token.ca_fingerprint:
        raise AgentError(
            f"this is not the server the token is for: its authority is {found[:16]}…, the token names "
            f"{token.ca_fingerprint[:16]}…; nothing was sent to it"
        )
    return pem


def _request(transport: Transport, *, home: AgentHome, token: Token, hostname: str, machine: str) -> EnrolReply:
    identity_check(home)
    key = private_key(file_read(home.identity_key))
    public = identity_public(home)
    message = enrol_message(token=token.secret, public_key=public, hostname=hostname, machine_id=machine)
    request = EnrolRequest(
        token=token.secret,
        public_key=public,
        hostname=hostname,
        machine_id=machine,
        agent_version=VERSION,
        signature=key.sign(message),
    )
    answer = transport.request("POST", ENROL_PATH, body=encode(request))
    try:
        reply = msgspec.msgpack.decode(answer, type=EnrolReply)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"an answer that cannot be read: {error}") from None
    if len(reply.log_key) != 32:
        raise ProtocolError(f"the evidence log's key has {len(reply.log_key)} bytes, expected 32")
    return reply


def _keep(home: AgentHome, beside: AgentHome, enrolment: Enrolment, *, now: datetime) -> None:
    """Verify and pin the root, then write everything down; the enrolment last."""
    from forestall.agent.act import ActState
    from forestall.trust.authorise import Refused, accept_root

    pinned = enrolment.root_key_id
    try:
        accept_root(current=None, pinned_key_id=pinned, envelope=enrolment.root, now=now)
    except Refused as refused:
        raise AgentError(f"the server's root of authority is not the token's; nothing was kept: {refused}") from None
    # From here on the old identity, if there was one, is given up: its numbers, counters and checkpoint with it.
    old = (home.enrolment, home.checkpoint, home.spool, f"{home.spool}-wal", f"{home.spool}-shm")
    for path in old:
        Path(path).unlink(missing_ok=True)
    ActState.create(
        Path(home.folder),
        device_id=enrolment.device_id,
        client_id=enrolment.client_id,
        pinned_key_id=pinned,
        root=enrolment.root,
        now=now,
    )
    file_write(home.identity_key, file_read(beside.identity_key))
    file_write(home.enrolment, msgspec.json.encode(enrolment))
    Path(beside.identity_key).unlink()
    Path(beside.folder).rmdir()


def machine_id() -> str:
    """A stable identifier of this machine, hashed so that it is of no use elsewhere."""
    paths = ("/etc/machine-id", "/var/lib/dbus/machine-id", "/sys/class/dmi/id/product_uuid")
    for path in paths:
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text:
            return hashlib.sha256(b"forestall machine " + text.encode()).hexdigest()
    return hashlib.sha256(b"forestall machine name " + socket.gethostname().encode()).hexdigest()
