"""Envelopes of the log: signed by exactly one key, in exactly one spelling."""

from __future__ import annotations

from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forestall.trust import dsse
from forestall.trust.keys import key_id
from forestall.trust.statements import Statement, read_statement, statement_bytes

S = TypeVar("S", bound=Statement)


class SignedError(ValueError):
    """Not the statement expected, or not signed by whom it should be."""


def signed_text(statement: Statement, key: Ed25519PrivateKey) -> str:
    """The statement in an envelope signed with one key, as text."""
    return dsse.sign(statement_bytes(statement), statement.PAYLOAD_TYPE, [key]).decode()


def signed_read(envelope: bytes, kind: type[S], *, key: bytes, whose: str) -> S:
    """The statement in an envelope that ``key`` (raw, public) signed and nobody else.

    SignedError says what is wrong; ``whose`` names the key in it: ``the log's key``.
    """
    try:
        body, valid = dsse.signers(envelope, kind.PAYLOAD_TYPE, {key_id(key): key})
        decoded = dsse.decode(envelope)
    except dsse.EnvelopeError as error:
        raise SignedError(f"the envelope is malformed: {error}") from None
    if len(decoded.signatures) != 1:
        raise SignedError(f"the envelope carries {len(decoded.signatures)} signatures, expected one")
    if not valid:
        raise SignedError(f"the envelope is not signed by {whose} ({key_id(key)[:16]}…)")
    try:
        return read_statement(body, kind)
    except ValueError as error:
        raise SignedError(str(error)) from None
