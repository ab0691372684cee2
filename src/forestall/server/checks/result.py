"""What a judgement says, and what it is given. No Django here: a rule needs neither database nor clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from forestall.wire.facts import Facts


class Status(StrEnum):
    """The five answers of a check. Unknown is never shown as pass."""

    PASS = "pass"  # noqa: S105 - an answer, not a secret
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"
    STALE = "stale"

    @property
    def is_problem(self) -> bool:
        """Whether a person has something to do about the thing itself."""
        return self in {Status.WARN, Status.FAIL}


class Risk(StrEnum):
    """How bad it is while the check fails. Ranks findings and sets ticket priorities."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 is worst."""
        return list(Risk).index(self)


@dataclass(frozen=True, slots=True)
class Result:
    """One judgement about one target of a device."""

    status: Status
    reason: str
    """One sentence for people, with the numbers in it: ``/ is 93 % full (fails at 90 %); 1.4 GB free.``"""
    target: str = ""
    """What on the device: a volume, a service, a certificate; empty: the device itself."""
    value: float | None = None
    unit: str = ""
    """``%``, ``days``, ``updates`` …"""
    evidence: tuple[str, ...] = ()
    """What it rests on, as an auditor would name it: commands, files, series names."""
    risk: Risk | None = None
    """Risk of this case, when it differs from the kind's own."""
    remedy: str = ""
    """What to do in this case, when it differs from the kind's own."""
    forecast_at: datetime | None = None
    """When it will fail if nothing changes (disk full, certificate expired)."""


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of one series, oldest first. Times are Unix seconds."""

    times: Sequence[float] = ()
    values: Sequence[float] = ()

    @property
    def last(self) -> float | None:
        return self.values[-1] if self.values else None

    @property
    def last_at(self) -> float | None:
        return self.times[-1] if self.times else None


@dataclass(frozen=True, slots=True)
class Known:
    """Everything a rule may look at: what is known of one device."""

    facts: Facts = field(default_factory=Facts)
    collected_at: Mapping[str, datetime] = field(default_factory=dict)
    """Document name → when it was last collected and was this."""
    samples: Mapping[str, Series] = field(default_factory=dict)
    """Series name → samples of the span the kind asked for (``history_seconds``), raw or averaged."""
    enrolled_at: datetime | None = None
    approved: bool = True
    last_check_in_at: datetime | None = None
    clock_offset_seconds: float | None = None
    interval_seconds: int = 60
    first_seen: Mapping[str, datetime] = field(default_factory=dict)
    """``updates:openssl=3.0.18-1`` → when the server first saw it pending; ``access:ada`` → when first an administrator."""
    accepted: frozenset[str] = frozenset()
    """Targets a person accepted as they are: ``new_administrator:ada``, ``open_socket:tcp/22``."""


class Judge(Protocol):
    """A kind's rule.

    ``policy`` is an instance of the kind's policy dataclass; ``previous`` is the status of each target at the last
    judgement (for hysteresis). It returns one result per target; no results: there is nothing of this kind here.
    """

    def __call__(
        self, known: Known, policy: object, now: datetime, previous: Mapping[str, Status]
    ) -> Sequence[Result]: ...
