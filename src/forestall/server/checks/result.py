"""What a judgement says, and what it is given. No Django here: a rule needs neither database nor clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from forestall.wire.facts import Facts
from forestall.wire.series import parse_series


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

    @classmethod
    def of(cls, times: Iterable[float], values: Iterable[float]) -> Series:
        """Without the samples that are none (NaN: could not be read then)."""
        kept = [(time, value) for time, value in zip(times, values, strict=True) if value == value]
        return cls(times=[time for time, _ in kept], values=[value for _, value in kept])

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
    """When the device enrolled; None: there is no server and so no history (the audit)."""
    approved: bool = True
    role: str = "server"
    """``server``, ``endpoint``, ``network``, ``printer``, ``cloud``."""
    last_check_in_at: datetime | None = None
    clock_offset_seconds: float | None = None
    interval_seconds: int = 60
    first_seen: Mapping[str, datetime] = field(default_factory=dict)
    """``updates:openssl=3.0.18-1`` → when the server first saw it pending;
    ``access:ada`` → when first an administrator; ``reboot:`` → since when a reboot has been pending."""
    accepted: frozenset[str] = frozenset()
    """Targets a person accepted as they are: ``new_administrator:ada``, ``open_socket:tcp/22``."""

    @property
    def has_history(self) -> bool:
        """Whether a server remembers this device. Without one, a thing seen now may be old or new."""
        return self.enrolled_at is not None

    def labelled(self, metric: str, label: str) -> dict[str, Series]:
        """The series of a metric by the value of one of its labels: ``disk.used_percent`` by ``volume``."""
        found: dict[str, Series] = {}
        for name, series in self.samples.items():
            if name.startswith(metric + "{"):
                labels = parse_series(name)[1]
                if label in labels:
                    found[labels[label]] = series
        return found


class Judge(Protocol):
    """A kind's rule.

    ``policy`` is an instance of the kind's policy dataclass; ``previous`` is the status of each target at the last
    judgement (for hysteresis). It returns one result per target; no results: there is nothing of this kind here.
    """

    def __call__(
        self, known: Known, policy: object, now: datetime, previous: Mapping[str, Status]
    ) -> Sequence[Result]: ...
