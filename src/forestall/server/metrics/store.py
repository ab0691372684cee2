"""The one interface behind which samples are kept, and the choice of store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from forestall.server.home import Home

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one device: a row of values for each time."""

    device_id: UUID
    names: tuple[str, ...]
    """Series names (``wire.series``)."""
    times_ms: Sequence[int]
    """Unix milliseconds, rising."""
    values: Floats
    """``len(times_ms)`` x ``len(names)``; NaN: no sample."""


@dataclass(frozen=True, slots=True)
class Points:
    """One series over a span. Without a step, every sample (mean, min and max are its value, count is 1); with a
    step, one point for each step that has samples: a gap stays a gap."""

    times: Floats
    """Unix seconds: of the sample, or of the beginning of the step."""
    mean: Floats
    min: Floats
    max: Floats
    count: Floats
    """Samples in the point."""


class Store(Protocol):
    """A store of samples. Writing is the worker's alone; reading is anybody's, from any thread."""

    def append(self, batches: Sequence[Batch]) -> None:
        """Keep samples; when this returns they are on stable storage. The same again changes nothing."""

    def catalogue(self, catalogue: bytes) -> tuple[str, ...] | None:
        """The names behind a ``wire.codec.catalogue_id`` that was appended before; None when there was none."""

    def latest(
        self, *, device_ids: Collection[UUID], metrics: Collection[str] | None = None
    ) -> dict[UUID, dict[str, tuple[float, float]]]:
        """Device → series → time (Unix seconds) and value of its newest samples. ``metrics`` (series without labels)
        narrows; devices without samples are left out."""

    def range(
        self, *, device_id: UUID, names: Sequence[str], start: datetime, end: datetime, step_seconds: int | None = None
    ) -> dict[str, Points]:
        """Samples with ``start <= time < end``. Steps are aligned to multiples of ``step_seconds`` since 1970. Series
        without a sample in the span are left out. Steps of an hour and more, and times for which only rollups are
        left, are answered from hourly rollups."""

    def series_names(self, *, device_id: UUID) -> list[str]:
        """Names of the series of a device, sorted."""

    def compact(self, *, now: datetime) -> int:
        """Pack what is complete, drop what is past its time; how many frames were written."""

    def forget(self, *, device_ids: Collection[UUID]) -> None:
        """Drop every sample of these devices, for good."""

    def usage(self) -> Mapping[str, int]:
        """Sizes, for people: ``bytes``, ``recent_rows``, ``frames``, ``rollups``."""

    def close(self) -> None: ...


def open_store(home: Home) -> Store:
    """The store of this installation."""
    from forestall.server.metrics.embedded import EmbeddedStore

    return EmbeddedStore(home.samples)
