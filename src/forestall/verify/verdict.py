"""What a verification found, in plain values."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

CHECKPOINT_WITHIN = timedelta(seconds=60)
"""New leaves are to be under a signed checkpoint within this time (threat model, D4)."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The first thing that is wrong."""

    line: int
    """Line of the file, from 1."""
    record: str
    """What that line is, or should be: ``header``, ``checkpoint``, ``entry``, ``seal``."""
    kind: str = ""
    """Of an entry: ``ticket:opened``, where it could be read."""
    index: int | None = None
    """Of an entry: its place in the client's log, from 0."""
    client: str = ""
    """Name of the client in whose section the line stands."""
    what: str

    def __str__(self) -> str:
        place = f"line {self.line}, {self.record}"
        if self.index is not None:
            place += f" #{self.index}"
        if self.kind:
            place += f" ({self.kind})"
        if self.client:
            place += f" of {self.client}"
        return f"{place}: {self.what}"


class DeviceVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """A device of the log and what it signed itself."""

    id: str
    key: str
    """Fingerprint of the key that its enrolment bound."""
    signed: int
    vouches_for: int
    """Size of the largest checkpoint that its signed records name: up to there it saw the very log of this bundle."""


class ClientVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """A client's log."""

    id: str
    name: str
    entries: int
    erased: int
    """Entries whose content was erased, each by a later entry that says so."""
    first_at: datetime
    last_at: datetime
    device_signed: int
    devices: tuple[DeviceVerdict, ...]
    checkpoints: int
    root: str
    checkpoint_at: datetime
    slowest_checkpoint_seconds: float
    """Longest time from an entry to the first checkpoint over it; at most 60 by the product's promise."""
    kept_size: int | None = None
    """Size of the checkpoint that the customer kept, when this log was compared with one."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a bundle holds, and what is in it."""

    valid: bool
    problem: Problem | None
    log_key: str
    """Fingerprint of the log key by which everything was checked; empty when the file did not name one."""
    pinned: bool
    """Whether that key is the one the customer was given. If not, the fingerprint is still to be compared."""
    exported_at: datetime | None = None
    exported_by: str = ""
    covers: str = ""
    root_version: int | None = None
    """Version of the root of authority that the bundle carries."""
    lines: int
    clients: tuple[ClientVerdict, ...]
    """The clients whose sections were verified whole (all of them, when the bundle is valid)."""
    not_compared: tuple[str, ...] = ()
    """Ids of clients that the kept checkpoints name and this bundle does not cover."""

    @property
    def entries(self) -> int:
        return sum(client.entries for client in self.clients)

    @property
    def device_signed(self) -> int:
        return sum(client.device_signed for client in self.clients)
