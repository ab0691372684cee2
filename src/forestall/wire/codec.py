"""Bytes on the wire: MessagePack inside zlib, with every bound checked before the work it bounds."""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Sequence

import msgspec

from forestall.wire.checkin import CheckIn, CheckInReply
from forestall.wire.facts import Document
from forestall.wire.refusals import Refusal, RefusalCode

MAX_BODY_BYTES = 1024 * 1024
"""Compressed size of one message."""
MAX_EXPANDED_BYTES = 4 * 1024 * 1024
"""Size of one message after decompression. Every document of a machine with 5,000 packages together is about 1 MB;
four times that still decodes within the 50 ms for which a server's event loop may be held."""
MAX_SERIES = 20_000
"""Series in one catalogue."""
CHECK_IN_PATH = "/v1/check-in"
AUTHORITY_PATH = "/v1/authority"
"""Certificate (PEM) of the authority: an enrolling agent compares its fingerprint with the one in its token, and from
then on talks only to servers of that authority."""
ENROL_PATH = "/v1/enrol"
CHALLENGE_PATH = "/v1/challenge"
SESSION_PATH = "/v1/session"
SESSION_HEADER = "forestall-session"
MAC_HEADER = "forestall-mac"
SENT_AT_HEADER = "forestall-sent-at"
"""The device's clock when it sends a check-in, Unix milliseconds: how far that clock is off can be told even from a
check-in that waited in the spool. Optional."""
CONTENT_TYPE = "application/vnd.forestall+msgpack"

_encoder = msgspec.msgpack.Encoder()
_canonical = msgspec.json.Encoder(order="deterministic")
_check_in_decoder = msgspec.msgpack.Decoder(CheckIn)
_reply_decoder = msgspec.msgpack.Decoder(CheckInReply)
_refusal_decoder = msgspec.msgpack.Decoder(Refusal)


class WireError(ValueError):
    """A message that cannot be taken; carries the code the sender is told."""

    def __init__(self, code: RefusalCode, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def encode(message: msgspec.Struct) -> bytes:
    """A message as MessagePack."""
    return _encoder.encode(message)


def pack(message: msgspec.Struct) -> bytes:
    """A message as compressed MessagePack. Level 1: three quarters of the gain for a fifth of the time."""
    return zlib.compress(_encoder.encode(message), 1)


def expand(body: bytes, limit: int = MAX_EXPANDED_BYTES) -> bytes:
    """Decompress a body, refusing what is too large before (``MAX_BODY_BYTES``) or after (``limit`` bytes)."""
    if len(body) > MAX_BODY_BYTES:
        raise WireError(RefusalCode.TOO_LARGE, f"{len(body)} bytes, at most {MAX_BODY_BYTES}")
    engine = zlib.decompressobj()
    try:
        data = engine.decompress(body, limit + 1)
    except zlib.error as error:
        raise WireError(RefusalCode.MALFORMED, f"not zlib data: {error}") from None
    if len(data) > limit:
        raise WireError(RefusalCode.EXPANDS_TOO_FAR, f"more than {limit} bytes once decompressed")
    if not engine.eof:
        raise WireError(RefusalCode.MALFORMED, "the compressed data is cut short")
    if engine.unused_data:
        raise WireError(RefusalCode.MALFORMED, f"{len(engine.unused_data)} bytes after the compressed data")
    return data


def decode_check_in(data: bytes) -> CheckIn:
    """A check-in from decompressed MessagePack, its shapes checked. WireError names the bad value."""
    try:
        message = _check_in_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(RefusalCode.MALFORMED, str(error)) from None
    if message.sequence < 1:
        raise WireError(RefusalCode.SHAPE_WRONG, f"$.sequence: {message.sequence}, expected 1 or more")
    block = message.samples
    if block is not None:
        _check_shape(block.catalogue, block.names, block.times, block.values)
    return message


def _check_shape(catalogue: bytes, names: list[str] | None, times: list[int], values: bytes) -> None:
    if len(catalogue) != 16:
        raise WireError(RefusalCode.SHAPE_WRONG, f"$.samples.catalogue: {len(catalogue)} bytes, expected 16")
    if not times:
        raise WireError(RefusalCode.SHAPE_WRONG, "$.samples.times: empty")
    if any(later <= earlier for earlier, later in itertools.pairwise(times)):
        raise WireError(RefusalCode.SHAPE_WRONG, "$.samples.times: not rising")
    if len(values) % (8 * len(times)):
        raise WireError(
            RefusalCode.SHAPE_WRONG, f"$.samples.values: {len(values)} bytes, not {len(times)} rows of doubles"
        )
    if names is not None:
        if len(names) > MAX_SERIES:
            raise WireError(RefusalCode.SHAPE_WRONG, f"$.samples.names: {len(names)} series, at most {MAX_SERIES}")
        if len(values) != 8 * len(times) * len(names):
            raise WireError(
                RefusalCode.SHAPE_WRONG,
                f"$.samples.values: {len(values)} bytes, expected {8 * len(times) * len(names)}",
            )
        if catalogue_id(names) != catalogue:
            raise WireError(RefusalCode.SHAPE_WRONG, "$.samples.catalogue: not the digest of $.samples.names")


def decode_reply(data: bytes) -> CheckInReply:
    """The server's answer to a check-in; msgspec.DecodeError when it is not one."""
    return _reply_decoder.decode(data)


def decode_refusal(data: bytes) -> Refusal:
    """The server's refusal; msgspec.DecodeError when it is not one."""
    return _refusal_decoder.decode(data)


def catalogue_id(names: Sequence[str]) -> bytes:
    """Digest of a catalogue of series names in their order: 16 bytes."""
    return hashlib.sha256("\n".join(names).encode()).digest()[:16]


def facts_digest(document: Document) -> bytes:
    """Digest of a document's content: 32 bytes. Field order does not matter to it."""
    return hashlib.sha256(_canonical.encode(document)).digest()


def canonical_json(value: object) -> bytes:
    """One byte string for one value: keys sorted, no spaces, UTF-8. What is hashed and signed is encoded so."""
    return _canonical.encode(value)
