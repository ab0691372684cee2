"""The check-in: one message of an agent, and the server's answer."""

from __future__ import annotations

from typing import Annotated

import msgspec

from forestall.wire.facts import AnyDocument
from forestall.wire.moment import Moment

MAX_TIMES = 10_000
"""Rows in one block of samples: a week of minutes."""
MAX_LISTED = 64
"""Documents, affirmations and records in one check-in."""


class SampleBlock(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Samples as columns: a row of values for each time, in the order of a catalogue of series names.

    Shapes: ``len(values) == 8 * len(times) * series``; values are little-endian IEEE 754 doubles, row by row
    (all series of the first time, then of the second). NaN: this series has no sample at that time.
    """

    catalogue: bytes
    """``catalogue_id(names)``: 16 bytes."""
    times: Annotated[list[int], msgspec.Meta(max_length=MAX_TIMES)]
    """Unix time in milliseconds, rising."""
    values: bytes
    names: list[str] | None = None
    """The catalogue itself: sent once, and again when the server answers ``catalogue_unknown``."""


class FactsReport(msgspec.Struct, frozen=True, kw_only=True):
    """A document that is new or has changed."""

    collected_at: Moment
    digest: bytes
    """``facts_digest(document)``: 32 bytes."""
    document: AnyDocument


class FactsAffirmed(msgspec.Struct, frozen=True, kw_only=True):
    """The document called ``name`` was collected again and is still what ``digest`` says."""

    name: str
    collected_at: Moment
    digest: bytes


class SpoolGap(msgspec.Struct, frozen=True, kw_only=True):
    """The spool was full: samples between these times were dropped (evidence and results never are)."""

    first: Moment
    last: Moment
    check_ins: int


class CheckIn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a device has to say, numbered without holes from 1 in the order it was said."""

    sequence: int
    made_at: Moment
    boot_id: str
    agent_version: str
    samples: SampleBlock | None = None
    facts: Annotated[list[FactsReport], msgspec.Meta(max_length=MAX_LISTED)] = []
    affirmed: Annotated[list[FactsAffirmed], msgspec.Meta(max_length=MAX_LISTED)] = []
    records: Annotated[list[bytes], msgspec.Meta(max_length=MAX_LISTED)] = []
    """DSSE envelopes signed by the device: job results, refusals, gaps (see ``trust.statements``)."""
    gap: SpoolGap | None = None
    checkpoint_size: int = 0
    """Size of the last checkpoint of its client's log that this agent accepted."""


class CheckpointUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """A newer checkpoint of the client's log, and the proof that it only adds to the one the agent holds."""

    envelope: bytes
    """DSSE envelope of a ``trust.statements.Checkpoint``."""
    consistency: list[bytes]
    """RFC 6962 consistency proof from ``checkpoint_size`` to the new size; empty when the agent held none."""


class CheckInReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Sent only after the check-in is on stable storage."""

    next_sequence: int
    """The number the server expects next: everything below it is safe and may leave the spool."""
    server_time: Moment
    interval_seconds: int = 60
    jobs: list[bytes] = []
    """DSSE envelopes of jobs or order invocations waiting for this device."""
    documents: list[bytes] = []
    """DSSE envelopes those rest on: root, runbooks, standing orders, revocations."""
    checkpoint: CheckpointUpdate | None = None
    resend_facts: list[str] = []
    """Documents the server does not hold as affirmed: send them whole."""
