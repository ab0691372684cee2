"""A record of the log: the leaf that the tree hashes, and the content that the leaf commits to.

The leaf holds no personal data: index, time, kind, client, and a commitment. The content lives apart with a random
salt. Erasing content and salt leaves the leaf, and every proof about it, as they were; without the salt nobody can
confirm a guess at what was erased.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from forestall.ledger.signed import SignedError, signed_read
from forestall.trust.statements import DeviceNotice, JobResult

SALT_BYTES = 32
COMMITMENT_DOMAIN = b"forestall evidence 1\n"
"""First bytes of what is hashed: a commitment can be mistaken for no other digest."""

ENROLLED = "device:enrolled"
"""Kind of the record that binds a device to its key: ``{"device_id": …, "public_key": hex, …}``."""
ERASED = "evidence:erased"
"""Kind of the record that says of an earlier one that its content was erased: ``{"index": …, …}``."""

LASTING_KINDS = frozenset({ENROLLED, ERASED})
"""Kinds whose content is never erased, because other records rest on it."""

SIGNED_KINDS: dict[str, type[JobResult] | type[DeviceNotice]] = {
    "job:result": JobResult,
    "device:notice": DeviceNotice,
}
"""Kinds whose records are the device's own words: they carry its signed envelope, and no other kind does."""

AGREEING = ("outcome", "code", "event", "job_id", "device_id", "client_id")
"""Where the server's payload repeats one of these fields of the device's statement, both must say the same."""

_encoder = msgspec.json.Encoder(order="deterministic")


class RecordError(ValueError):
    """Not a record in the form that the log holds."""


class Leaf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the Merkle tree hashes, as canonical JSON."""

    at: Annotated[datetime, msgspec.Meta(tz=True)]
    client: str
    commitment: str
    """In hex."""
    index: int
    """Place in the client's log, from 0."""
    kind: Annotated[str, msgspec.Meta(pattern=r"^[a-z_]+:[a-z_]+\Z")]
    """``subject:what_happened``."""


class Content(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a record says, and what it is about."""

    device: str | None
    job: str
    payload: dict[str, Any]
    site: str | None
    ticket: int | None


def leaf_bytes(*, index: int, at: datetime, kind: str, client: str, commitment: bytes) -> bytes:
    """The leaf of a record in its one encoding."""
    leaf = Leaf(at=at.astimezone(UTC), client=client, commitment=commitment.hex(), index=index, kind=kind)
    return _encoder.encode(leaf)


def leaf_read(data: bytes) -> Leaf:
    """The leaf encoded by these bytes; RecordError when they are not one, or not in canonical encoding."""
    try:
        leaf = msgspec.json.decode(data, type=Leaf)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"the leaf cannot be read: {error}") from None
    if leaf.at.tzinfo is not UTC or _encoder.encode(leaf) != data:
        raise RecordError("the leaf is not in canonical JSON")
    return leaf


def content_bytes(
    *, payload: Mapping[str, Any], device: str | None, site: str | None, ticket: int | None, job: str
) -> bytes:
    """The content of a record; RecordError when the payload holds what JSON cannot carry."""
    content = Content(device=device, job=job, payload=dict(payload), site=site, ticket=ticket)
    try:
        return _encoder.encode(content)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise RecordError(f"the payload cannot be written as JSON: {error}") from error


def content_read(data: bytes) -> Content:
    """The content in these bytes; RecordError when they hold none.

    Their exact bytes are committed to, so that any other encoding is as good; canonical form is not asked for.
    """
    try:
        return msgspec.json.decode(data, type=Content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"the content is not that of a record: {error}") from None


def commitment_of(*, salt: bytes, content: bytes, envelope: bytes, signer: bytes) -> bytes:
    """What the leaf says of everything that lives apart: 32 bytes.

    ``envelope`` and ``signer`` are empty when the record carries none. Every part goes in as its digest, so that
    the parts cannot run into each other. RecordError for a salt of the wrong length: a short one could be guessed.
    """
    if len(salt) != SALT_BYTES:
        raise RecordError(f"a salt of {len(salt)} bytes, expected {SALT_BYTES}")
    parts = b"".join(hashlib.sha256(part).digest() for part in (content, envelope, signer))
    return hashlib.sha256(COMMITMENT_DOMAIN + salt + parts).digest()


def enrolment_key(content: Content) -> bytes:
    """The device key that a ``device:enrolled`` record binds; RecordError when it binds none."""
    named, key = content.payload.get("device_id"), content.payload.get("public_key")
    if content.device is None or named != content.device:
        raise RecordError(f"the payload's device_id is {named!r}, the record is about device {content.device!r}")
    raw = hex_bytes(key, 32) if isinstance(key, str) else None
    if raw is None:
        raise RecordError(f"the payload's public_key is {key!r}, expected 64 hexadecimal digits")
    return raw


def erased_index(content: Content, *, before: int) -> int:
    """The entry that an ``evidence:erased`` record names; RecordError unless it stands before this one."""
    index = content.payload.get("index")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < before:
        raise RecordError(f"the payload's index is {index!r}, expected that of an earlier entry")
    return index


def device_statement(
    *, kind: str, envelope: bytes, signer: bytes, content: Content, client: str
) -> JobResult | DeviceNotice | None:
    """What the device itself said in this record; None when its kind is not one of a device's own words.

    RecordError when a device's record lacks its envelope, another's carries one, the signature is not that of
    ``signer``, or the device signed it about another client, device or job than the record around it is about.
    """
    expected = SIGNED_KINDS.get(kind)
    if expected is None:
        if envelope or signer:
            raise RecordError(f"a {kind} record is not a device's, yet it carries an envelope or a signer")
        return None
    if not envelope or not signer:
        raise RecordError(f"a {kind} record must carry the device's envelope and its key")
    try:
        statement: JobResult | DeviceNotice = signed_read(
            envelope, expected, key=signer, whose=f"device {content.device}"
        )
    except SignedError as error:
        raise RecordError(str(error)) from None
    said = msgspec.structs.asdict(statement)
    around = {"client_id": client, "device_id": content.device, "job_id": content.job}
    for name, value in around.items():
        if name in said and said[name] != value:
            raise RecordError(f"the device signed {name} {said[name]!r}, the record says {value!r}")
    for name in AGREEING:
        if name in said and name in content.payload and content.payload[name] != said[name]:
            raise RecordError(f"the device signed {name} {said[name]!r}, the payload says {content.payload[name]!r}")
    return statement


def hex_bytes(text: str, size: int) -> bytes | None:
    """``size`` bytes from lower-case hexadecimal; None when the text is anything else."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    return raw if len(raw) == size and raw.hex() == text else None
