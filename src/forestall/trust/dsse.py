"""DSSE envelopes (Dead Simple Signing Envelope, version 1.0.2): signed bytes with a type.

One format for everything that is signed here, so that thresholds of several signatures need no new one. The
encoding of an envelope is canonical (sorted keys, no spaces, standard base64): an envelope has one byte string.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forestall.trust.keys import key_id, public_bytes, signature_holds


class EnvelopeError(ValueError):
    """Not a well-formed envelope, or of another type than expected."""


class Signature(msgspec.Struct, frozen=True):
    keyid: str
    sig: str


class Envelope(msgspec.Struct, frozen=True):
    payload: str
    payloadType: str  # noqa: N815 - the standard's spelling
    signatures: tuple[Signature, ...]

    def body(self) -> bytes:
        """The signed bytes."""
        raw = _from_base64(self.payload)
        if raw is None:
            raise EnvelopeError("$.payload is not canonical base64")
        return raw


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Envelope)

T = TypeVar("T", bound=msgspec.Struct)


def _from_base64(text: str) -> bytes | None:
    """The bytes; None when it is not base64, or not the one spelling of them (unused bits set)."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # ValueError: characters beyond ASCII
        return None
    return raw if base64.b64encode(raw).decode() == text else None


def signing_input(payload_type: str, body: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what a signature covers."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)


def sign(body: bytes, payload_type: str, keys: Iterable[Ed25519PrivateKey]) -> bytes:
    """The encoded envelope of ``body``, signed with every key in ``keys``."""
    message = signing_input(payload_type, body)
    signatures = tuple(
        Signature(keyid=key_id(public_bytes(key)), sig=base64.b64encode(key.sign(message)).decode()) for key in keys
    )
    return _encoder.encode(
        Envelope(payload=base64.b64encode(body).decode(), payloadType=payload_type, signatures=signatures)
    )


def decode(envelope: bytes) -> Envelope:
    """The envelope encoded by these bytes; EnvelopeError when they are not one in canonical encoding."""
    try:
        decoded = _decoder.decode(envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EnvelopeError(f"not an envelope: {error}") from None
    if _encoder.encode(decoded) != envelope:
        raise EnvelopeError("the envelope is not in canonical encoding")
    return decoded


def merge(envelope: bytes, other: bytes) -> bytes:
    """The first envelope with the signatures of the other added, one a key. EnvelopeError unless both hold the same.

    Signatures are not verified here: ``signers`` does that.
    """
    first, second = decode(envelope), decode(other)
    if (first.payload, first.payloadType) != (second.payload, second.payloadType):
        raise EnvelopeError("the envelopes hold different things")
    found = {signature.keyid: signature for signature in (*second.signatures, *first.signatures)}
    signatures = tuple(found[identifier] for identifier in sorted(found))
    return _encoder.encode(Envelope(payload=first.payload, payloadType=first.payloadType, signatures=signatures))


def signers(envelope: bytes, payload_type: str, keys: Mapping[str, bytes]) -> tuple[bytes, frozenset[str]]:
    """The signed bytes, and which of ``keys`` (key id → raw public key) signed them.

    A key counts once however often it signed; signatures of other keys count for nothing. EnvelopeError when the
    envelope is malformed or of another type. An empty set of signers is an answer, not an error: thresholds are
    the caller's business.
    """
    decoded = decode(envelope)
    if decoded.payloadType != payload_type:
        raise EnvelopeError(f"the envelope holds {decoded.payloadType}, expected {payload_type}")
    body = decoded.body()
    message = signing_input(payload_type, body)
    valid: set[str] = set()
    for signature in decoded.signatures:
        public = keys.get(signature.keyid)
        # The key id is a hint by the standard: it is compared with the key itself, so that two names for one
        # key can never be counted as two signers.
        if public is None or key_id(public) != signature.keyid:
            continue
        raw = _from_base64(signature.sig)
        if raw is not None and signature_holds(public=public, signature=raw, message=message):
            valid.add(signature.keyid)
    return body, frozenset(valid)
