"""What is done with the device's private key, and with signatures of others.

``Vault`` does it here; ``VaultApart`` does the same in a forked child each time. The running agent uses the second:
the process that talks to the network never holds the key, nor the 7 MiB of the cryptography library. A signature is
needed once a session (an hour), for records (rare), and for checkpoints (at most one in five minutes); 25 ms each.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import msgspec

from forestall.agent.apart import run_apart
from forestall.agent.config import AgentError, AgentHome, Enrolment, file_read, file_write
from forestall.agent.link.checkpoint import CheckpointRefusedError, Held, checkpoint_accept

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from forestall.trust.statements import Statement
    from forestall.wire.checkin import CheckpointUpdate

NoticeEvent = Literal["spool_gap", "checkpoint_refused", "clock_stepped", "counter_reset"]
_TIMEOUT_SECONDS = 20.0

T = TypeVar("T")


class Signing(Protocol):
    """What the link needs of keys."""

    def sign_session(self, *, challenge: bytes) -> bytes:
        """The device's signature over a challenge."""

    def notice(self, *, event: NoticeEvent, detail: str, at: datetime, held: Held | None) -> bytes:
        """A signed ``DeviceNotice`` envelope."""

    def checkpoint(self, *, held: Held | None, update: CheckpointUpdate) -> Held:
        """The checkpoint to hold from now on; CheckpointRefusedError when the offered one may not be."""


class Vault:
    """Signatures, made here."""

    def __init__(self, home: AgentHome, enrolment: Enrolment) -> None:
        self._home = home
        self._enrolment = enrolment

    def _key(self) -> Ed25519PrivateKey:
        from forestall.trust.keys import private_key

        return private_key(file_read(self._home.identity_key))

    def sign_session(self, *, challenge: bytes) -> bytes:
        from forestall.wire.session import session_message

        return self._key().sign(session_message(device_id=self._enrolment.device_id, challenge=challenge))

    def sign_statement(self, statement: Statement) -> bytes:
        """The statement in an envelope signed by the device."""
        from forestall.trust import dsse
        from forestall.trust.statements import statement_bytes

        return dsse.sign(statement_bytes(statement), statement.PAYLOAD_TYPE, [self._key()])

    def notice(self, *, event: NoticeEvent, detail: str, at: datetime, held: Held | None) -> bytes:
        from forestall.trust.statements import CheckpointRef, DeviceNotice

        return self.sign_statement(
            DeviceNotice(
                device_id=self._enrolment.device_id,
                client_id=self._enrolment.client_id,
                at=at,
                event=event,
                detail=detail,
                checkpoint=CheckpointRef(size=held.size, root=held.root) if held else None,
            )
        )

    def checkpoint(self, *, held: Held | None, update: CheckpointUpdate) -> Held:
        return checkpoint_accept(
            held=held, update=update, client_id=self._enrolment.client_id, log_key=self._enrolment.log_key
        )


class VaultApart:
    """The same, each time in a child of its own."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def sign_session(self, *, challenge: bytes) -> bytes:
        return _bytes_of(lambda: self._vault.sign_session(challenge=challenge))

    def notice(self, *, event: NoticeEvent, detail: str, at: datetime, held: Held | None) -> bytes:
        return _bytes_of(lambda: self._vault.notice(event=event, detail=detail, at=at, held=held))

    def checkpoint(self, *, held: Held | None, update: CheckpointUpdate) -> Held:
        def work() -> bytes:
            try:
                answer: dict[str, Any] = {"held": self._vault.checkpoint(held=held, update=update)}
            except CheckpointRefusedError as error:
                answer = {"refused": str(error)}
            return msgspec.msgpack.encode(answer)

        answer = msgspec.msgpack.decode(_bytes_of(work))
        if "refused" in answer:
            raise CheckpointRefusedError(answer["refused"])
        return msgspec.convert(answer["held"], Held)


def _bytes_of(work: Callable[[], bytes]) -> bytes:
    return run_apart(work, timeout=_TIMEOUT_SECONDS)


def identity_make(home: AgentHome) -> None:
    """Make the device's key, readable by its owner alone. An existing one is replaced: enrolment decides whether."""
    from forestall.trust.keys import new_key, private_bytes

    file_write(home.identity_key, private_bytes(new_key()))


def identity_public(home: AgentHome) -> bytes:
    """The device's public key. AgentError when the private one is missing or may be read by others."""
    from forestall.trust.keys import private_key, public_bytes

    identity_check(home)
    return public_bytes(private_key(file_read(home.identity_key)))


def identity_check(home: AgentHome) -> None:
    """AgentError when the device's key is missing or may be read by others."""
    try:
        mode = os.stat(home.identity_key).st_mode  # noqa: PTH116
    except FileNotFoundError:
        raise AgentError(f"{home.identity_key} is missing; enrol again with --force") from None
    if mode & 0o077:
        raise AgentError(f"{home.identity_key} may be read by others (mode {mode & 0o777:o}); set it to 600")


def fingerprint(raw: bytes) -> str:
    """SHA-256 in hex, as key ids are written."""
    return hashlib.sha256(raw).hexdigest()
