"""The lines of an evidence bundle, declared once for who writes them and who verifies them.

A bundle is one file of canonical JSON lines: a header, for each client its checkpoints and then its entries, and a
seal. Header and seal are statements signed by the log's key. See docs/protocol/evidence.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated, ClassVar, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forestall.ledger.signed import signed_text
from forestall.trust.keys import public_bytes
from forestall.trust.statements import Statement

FORMAT = "forestall-evidence-bundle/1"
CHECKPOINTS_FORMAT = "forestall-checkpoints/1"

MAX_LINE_BYTES = 32 * 1024 * 1024
"""Longest line of a bundle. A record's envelope is at most one check-in's body (4 MiB)."""

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class BundleClient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client's section: how many lines of each kind follow for it."""

    id: str
    name: str
    checkpoints: int
    entries: int


class BundleHeader(Statement, frozen=True, kw_only=True):
    """What the bundle holds. Signed by the log key."""

    PAYLOAD_TYPE: ClassVar[str] = "application/vnd.forestall.evidence-bundle+json"

    exported_at: Moment
    exported_by: str
    covers: Literal["every client", "chosen clients"]
    clients: tuple[BundleClient, ...]
    """In the order of their sections."""
    root: str | None
    """DSSE envelope of the root of authority (``trust.statements.Root``) in force at export."""


class BundleSeal(Statement, frozen=True, kw_only=True):
    """The digest of everything before it. Signed by the log key."""

    PAYLOAD_TYPE: ClassVar[str] = "application/vnd.forestall.evidence-seal+json"

    lines: int
    """Lines before the seal."""
    digest: str
    """SHA-256 of those lines with their line ends, in hex."""


class HeaderLine(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="header", forbid_unknown_fields=True
):
    format: str
    log_key: str
    """Raw public key of the log, in hex."""
    envelope: str
    """DSSE envelope of a ``BundleHeader``."""


class CheckpointLine(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="checkpoint", forbid_unknown_fields=True
):
    envelope: str
    """DSSE envelope of a ``trust.statements.Checkpoint``."""
    consistency: tuple[str, ...]
    """RFC 6962 consistency proof from the client's checkpoint before this one; empty for its first."""


class EntryLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="entry", forbid_unknown_fields=True):
    leaf: str
    """Canonical JSON, exactly as hashed."""
    salt: str | None
    """In hex. None, as is ``content``, when the content was erased."""
    content: str | None
    """JSON, exactly as committed to."""
    envelope: str | None
    """DSSE envelope signed by the device, for the kinds that are its own words."""
    signer: str | None
    """Raw public key of that device, in hex."""
    proof: tuple[str, ...]
    """RFC 6962 inclusion proof in the client's last checkpoint."""


class SealLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="seal", forbid_unknown_fields=True):
    envelope: str
    """DSSE envelope of a ``BundleSeal``."""


Line = HeaderLine | CheckpointLine | EntryLine | SealLine


class KeptCheckpoints(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The small file a customer keeps: whoever rewrites the log later cannot match it."""

    format: str
    log_key: str
    checkpoints: tuple[str, ...]
    """DSSE envelopes of ``trust.statements.Checkpoint``, one for each client."""


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)
_kept_decoder = msgspec.json.Decoder(KeptCheckpoints)


class LineError(ValueError):
    """Not a line of a bundle, or not in its one encoding."""


def line_bytes(line: Line | KeptCheckpoints) -> bytes:
    """The line in its one encoding, with its end."""
    return _encoder.encode(line) + b"\n"


def line_read(data: bytes) -> Line:
    """The line in these bytes, end included; LineError says what is wrong."""
    try:
        line = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LineError(f"cannot be read: {error}") from None
    if line_bytes(line) != data:
        raise LineError("is not in canonical encoding")
    return line


def kept_read(data: bytes) -> KeptCheckpoints:
    """The kept checkpoints in a file's bytes; LineError when they are something else."""
    try:
        kept = _kept_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LineError(f"cannot be read: {error}") from None
    if kept.format != CHECKPOINTS_FORMAT:
        raise LineError(f"has the format {kept.format!r}, expected {CHECKPOINTS_FORMAT!r}")
    return kept


def sealed(*, header: BundleHeader, log_key: Ed25519PrivateKey, lines: Iterable[bytes]) -> Iterator[bytes]:
    """A whole bundle, line by line: the header, ``lines`` (the clients' sections), and the seal over both."""
    first = HeaderLine(format=FORMAT, log_key=public_bytes(log_key).hex(), envelope=signed_text(header, log_key))
    digest, count = hashlib.sha256(), 0

    def counted(line: bytes) -> bytes:
        nonlocal count
        digest.update(line)
        count += 1
        return line

    yield counted(line_bytes(first))
    for line in lines:
        yield counted(line)
    seal = BundleSeal(lines=count, digest=digest.hexdigest())
    yield line_bytes(SealLine(envelope=signed_text(seal, log_key)))
