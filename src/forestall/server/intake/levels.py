"""Thresholds, as one vectorised comparison per check-in: only a crossing reaches Python objects.

A *side* is, for each (series, level) pair of a catalogue, whether the value stands at or above the level. A device
whose sides are those of its last check-in crossed nothing. The judgement itself (hysteresis, words) is the checks'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

DEVICES_KEPT = 200_000


class CatalogueLevels:
    """Which series of a catalogue have levels."""

    __slots__ = ("columns", "levels", "metrics", "series")

    def __init__(self, names: Sequence[str], levels: Mapping[str, Sequence[float]]) -> None:
        columns: list[int] = []
        values: list[float] = []
        metrics: list[str] = []
        for column, name in enumerate(names):
            metric = name.partition("{")[0]
            for level in levels.get(metric, ()):
                columns.append(column)
                values.append(level)
                metrics.append(metric)
        self.series = len(names)
        self.columns = np.array(columns, dtype=np.intp)
        self.levels = np.array(values, dtype=np.float64)
        self.metrics = metrics


class Crossings:
    """Remembers each device's sides and says which metrics crossed a level."""

    def __init__(self) -> None:
        self._levels: dict[str, tuple[float, ...]] = {}
        self._catalogues: dict[bytes, CatalogueLevels] = {}
        self._sides: dict[bytes, tuple[CatalogueLevels, bytes]] = {}

    def levels_set(self, levels: Mapping[str, Sequence[float]]) -> None:
        """Use these levels from now on (metric → values). What stood where under others is forgotten."""
        new = {metric: tuple(values) for metric, values in levels.items()}
        if new != self._levels:
            self._levels = new
            self._catalogues.clear()
            self._sides.clear()

    def forget(self, catalogues: Iterable[bytes]) -> None:
        """Drop what is kept for these catalogues."""
        for catalogue in catalogues:
            self._catalogues.pop(catalogue, None)

    def compare(
        self, *, device: bytes, catalogue: bytes, names: Sequence[str], rows: int, values: bytes
    ) -> tuple[list[str], tuple[CatalogueLevels, bytes]]:
        """Metrics that changed side within these rows or since the device's last ones, and the sides to ``settle``.

        ``values`` holds ``rows`` times ``len(names)`` doubles. A missing sample (NaN) stays on the side it was. The
        first check-in after a start has nothing to be compared with and crosses nothing: the periodic judgement
        sees it.
        """
        matrix = self._catalogues.get(catalogue)
        if matrix is None:
            matrix = self._catalogues[catalogue] = CatalogueLevels(names, self._levels)
        known = self._sides.get(device)
        before = known[1] if known is not None and known[0] is matrix else None
        if not matrix.columns.size:
            return [], (matrix, b"")
        table = np.frombuffer(values, dtype="<f8")
        picked = table[matrix.columns] if rows == 1 else table.reshape(rows, matrix.series)[:, matrix.columns]
        sides = picked >= matrix.levels
        if rows == 1:
            after = sides.tobytes()
            if after == before:
                return [], (matrix, after)
        return self._differences(matrix, before, np.atleast_2d(picked), np.atleast_2d(sides))

    def _differences(
        self,
        matrix: CatalogueLevels,
        before: bytes | None,
        picked: NDArray[np.float64],
        sides: NDArray[np.bool_],
    ) -> tuple[list[str], tuple[CatalogueLevels, bytes]]:
        missing = np.isnan(picked)
        side = sides[0] if before is None else np.frombuffer(before, dtype=np.bool_)
        crossed = np.zeros(matrix.columns.size, dtype=np.bool_)
        for row, absent in zip(sides, missing, strict=True):
            crossed |= (row != side) & ~absent
            side = np.where(absent, side, row)
        metrics = list(dict.fromkeys(matrix.metrics[index] for index in np.flatnonzero(crossed)))
        return metrics, (matrix, side.tobytes())

    def settle(self, *, device: bytes, sides: tuple[CatalogueLevels, bytes]) -> None:
        """Note where a device's series stand now that the check-in is safe. Until then a crossing is not used up."""
        if len(self._sides) >= DEVICES_KEPT and device not in self._sides:
            self._sides.clear()
        self._sides[device] = sides
