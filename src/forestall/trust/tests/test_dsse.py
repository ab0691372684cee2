"""Envelopes: ours are the standard's, one signature counts once, and nothing malformed passes."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as TheirEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from forestall.trust import dsse
from forestall.trust.keys import key_id, new_key, public_bytes

KIND = "application/vnd.forestall.test+json"
ADA, BOB = new_key(), new_key()


def names(*keys: Ed25519PrivateKey) -> dict[str, bytes]:
    return {key_id(public_bytes(key)): public_bytes(key) for key in keys}


def test_the_signing_input_is_that_of_the_standards_own_example() -> None:
    """protocol.md of DSSE signs this text with this type in its test vectors."""
    text = dsse.signing_input("http://example.com/HelloWorld", b"hello world")
    assert text == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert dsse.signing_input("ü", "ü".encode()) == "DSSEv1 2 ü 2 ü".encode()


def test_what_was_signed_comes_back_with_who_signed_it() -> None:
    envelope = dsse.sign(b"body", KIND, [ADA, BOB])
    assert dsse.signers(envelope, KIND, names(ADA, BOB)) == (b"body", frozenset(names(ADA, BOB)))
    assert dsse.signers(envelope, KIND, names(BOB)) == (b"body", frozenset(names(BOB)))
    assert dsse.signers(envelope, KIND, {}) == (b"body", frozenset())
    assert dsse.signers(dsse.sign(b"body", KIND, []), KIND, names(ADA)) == (b"body", frozenset())


def test_v2_the_wrong_type_is_refused() -> None:
    """A signature under one type says nothing under another, even over the same bytes."""
    envelope = dsse.sign(b"body", KIND, [ADA])
    with pytest.raises(dsse.EnvelopeError, match=r"holds application/vnd\.forestall\.test\+json, expected text/plain"):
        dsse.signers(envelope, "text/plain", names(ADA))
    renamed = envelope.replace(KIND.encode(), b"text/plain")
    assert dsse.signers(renamed, "text/plain", names(ADA)) == (b"body", frozenset())


def test_v2_twin_keys_and_repeated_signatures_count_once() -> None:
    envelope = dsse.sign(b"body", KIND, [ADA, ADA, ADA])
    assert dsse.signers(envelope, KIND, names(ADA))[1] == frozenset(names(ADA))
    # A second name for Ada's key is no second signer:
    twin = "ab" * 32
    fields = json.loads(dsse.sign(b"body", KIND, [ADA]))
    fields["signatures"].append({**fields["signatures"][0], "keyid": twin})
    doubled = json.dumps(fields, separators=(",", ":")).encode()
    assert dsse.signers(doubled, KIND, names(ADA) | {twin: public_bytes(ADA)})[1] == frozenset(names(ADA))


def test_a_signature_under_anothers_name_counts_for_nobody() -> None:
    fields = json.loads(dsse.sign(b"body", KIND, [ADA]))
    (bobs_name,) = names(BOB)
    fields["signatures"][0]["keyid"] = bobs_name
    stolen = json.dumps(fields, separators=(",", ":")).encode()
    assert dsse.signers(stolen, KIND, names(ADA, BOB))[1] == frozenset()


@pytest.mark.parametrize("sig", ["?", "", "AAAA", "é", base64.b64encode(bytes(64)).decode()])
def test_a_signature_that_is_none_counts_for_nothing(sig: str) -> None:
    fields = json.loads(dsse.sign(b"body", KIND, [ADA]))
    fields["signatures"][0]["sig"] = sig
    envelope = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    assert dsse.signers(envelope, KIND, names(ADA)) == (b"body", frozenset())


@pytest.mark.parametrize(
    "envelope",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b"[" * 9000,
        b'{"payload":1,"payloadType":"t","signatures":[]}',
        b'{"payload":"","payloadType":"t","signatures":[{}]}',
        b'{"payload":"","payloadType":"t","signatures":[],"more":1}',
        b'{"payloadType":"t","payload":"","signatures":[]}',
        b'{"payload":"", "payloadType":"t","signatures":[]}',
        b'{"payload":"","payloadType":"t","signatures":[]}\n',
        b'{"payload":"","payload":"","payloadType":"t","signatures":[]}',
    ],
)
def test_what_is_no_envelope_in_its_one_encoding_is_refused(envelope: bytes) -> None:
    with pytest.raises(dsse.EnvelopeError):
        dsse.decode(envelope)


def test_base64_has_one_spelling() -> None:
    """Its last digit has spare bits; an envelope whose spare bits are set is another byte string, and refused."""
    fields = json.loads(dsse.sign(b"body", KIND, [ADA]))
    sig = fields["signatures"][0]["sig"]
    assert base64.b64decode(sig[:-3] + chr(ord(sig[-3]) + 1) + "==") == base64.b64decode(sig)
    fields["signatures"][0]["sig"] = sig[:-3] + chr(ord(sig[-3]) + 1) + "=="
    respelt = json.dumps(fields, separators=(",", ":")).encode()
    assert dsse.signers(respelt, KIND, names(ADA)) == (b"body", frozenset())


def test_a_payload_that_is_no_base64_is_named() -> None:
    envelope = b'{"payload":"?","payloadType":"t","signatures":[]}'
    with pytest.raises(dsse.EnvelopeError, match=r"\$\.payload is not canonical base64"):
        dsse.signers(envelope, "t", {})


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.data())
def test_a_signed_envelope_with_any_other_byte_is_not_signed(body: bytes, data: st.DataObject) -> None:
    envelope = dsse.sign(body, KIND, [ADA])
    at = data.draw(st.integers(0, len(envelope) - 1))
    other = envelope[:at] + bytes([envelope[at] ^ (1 << data.draw(st.integers(0, 7)))]) + envelope[at + 1 :]
    try:
        read, signed = dsse.signers(other, KIND, names(ADA))
    except dsse.EnvelopeError:
        return
    assert not signed, read


# The same format as others speak it


def theirs(key: Ed25519PrivateKey) -> SSlibKey:
    raw = public_bytes(key)
    return SSlibKey(key_id(raw), "ed25519", "ed25519", {"public": raw.hex()})


def test_securesystemslib_verifies_our_envelopes() -> None:
    envelope = TheirEnvelope.from_dict(json.loads(dsse.sign(b'{"a":1}', KIND, [ADA, BOB])))
    accepted = envelope.verify([theirs(ADA), theirs(BOB)], 2)
    assert set(accepted) == set(names(ADA, BOB))
    assert (envelope.payload, envelope.payload_type) == (b'{"a":1}', KIND)
    other = TheirEnvelope.from_dict(json.loads(dsse.sign(b'{"a":1}', KIND, [ADA])))
    other.payload = b'{"a":2}'
    with pytest.raises(VerificationError):
        other.verify([theirs(ADA)], 1)


def test_we_verify_securesystemslibs_envelopes() -> None:
    envelope = TheirEnvelope(b'{"a":1}', KIND, {})
    envelope.sign(CryptoSigner(ADA, theirs(ADA)))
    envelope.sign(CryptoSigner(BOB, theirs(BOB)))
    encoded = json.dumps(envelope.to_dict(), separators=(",", ":")).encode()
    assert dsse.signers(encoded, KIND, names(ADA, BOB)) == (b'{"a":1}', frozenset(names(ADA, BOB)))
    assert envelope.pae() == dsse.signing_input(KIND, b'{"a":1}')


def test_a_key_is_named_by_the_digest_of_its_raw_bytes() -> None:
    assert key_id(bytes(32)) == hashlib.sha256(bytes(32)).hexdigest()
