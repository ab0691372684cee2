"""Checkpoints of the client's evidence log: the agent is one of its witnesses.

A checkpoint is accepted when the pinned log key signed it for this client and it provably only adds to the one held.
Whatever else is offered is refused, goes on record signed by the device, and the one held stays.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from forestall.agent.config import AgentError, AgentHome, file_read, file_write

if TYPE_CHECKING:
    from forestall.wire.checkin import CheckpointUpdate


class CheckpointRefusedError(Exception):
    """The offered checkpoint may not be accepted; the text says why."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The last checkpoint accepted."""

    size: int
    root: str
    """In hex."""
    at: datetime
    envelope: bytes


def checkpoint_accept(*, held: Held | None, update: CheckpointUpdate, client_id: str, log_key: bytes) -> Held:
    """The checkpoint to hold from now on, or CheckpointRefusedError. Pure."""
    from forestall.ledger.merkle import consistency_holds
    from forestall.trust.dsse import EnvelopeError, signers
    from forestall.trust.keys import key_id
    from forestall.trust.statements import Checkpoint, read_statement

    try:
        body, signed_by = signers(update.envelope, Checkpoint.PAYLOAD_TYPE, {key_id(log_key): log_key})
        if not signed_by:
            raise CheckpointRefusedError("not signed by the pinned log key")
        offered = read_statement(body, Checkpoint)
        new_root = bytes.fromhex(offered.root)
    except EnvelopeError as error:
        raise CheckpointRefusedError(str(error)) from None
    except ValueError as error:
        raise CheckpointRefusedError(f"not a checkpoint: {error}") from None
    if offered.client_id != client_id:
        raise CheckpointRefusedError(f"it is of client {offered.client_id}, not of ours")
    if held is not None:
        if offered.size < held.size:
            raise CheckpointRefusedError(f"the log shrank from {held.size} to {offered.size} records")
        if not consistency_holds(
            old_size=held.size,
            old_root=bytes.fromhex(held.root),
            new_size=offered.size,
            new_root=new_root,
            proof=update.consistency,
        ):
            raise CheckpointRefusedError(
                f"the log of {offered.size} records is not shown to begin with the {held.size} we know "
                f"(offered root {offered.root[:16]}, ours {held.root[:16]})"
            )
    return Held(size=offered.size, root=offered.root, at=offered.at, envelope=update.envelope)


def checkpoint_read(home: AgentHome) -> Held | None:
    """The checkpoint held; None before the first. AgentError when the file is damaged: then a person must look,
    for without it a shorter or another log could be passed off as the same."""
    try:
        content = file_read(home.checkpoint)
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(content, type=Held)
    except msgspec.DecodeError as error:
        raise AgentError(f"{home.checkpoint} is damaged: {error}") from None


def checkpoint_write(home: AgentHome, held: Held) -> None:
    file_write(home.checkpoint, msgspec.json.encode(held))
