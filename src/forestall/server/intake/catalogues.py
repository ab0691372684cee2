"""Catalogues of series names by their digest, bounded: what has not been used for longest goes first."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence

MAX_SERIES = 2_000_000
"""Series of all catalogues in memory together: about 20,000 devices of 100."""


class Catalogues:
    """Catalogue id → names. A catalogue that was dropped is asked for again (``catalogue_unknown``)."""

    def __init__(self, stored: Mapping[bytes, str], *, most: int = MAX_SERIES) -> None:
        self._names: OrderedDict[bytes, tuple[str, ...]] = OrderedDict()
        self._series = 0
        self._most = most
        self.dropped: set[bytes] = set()
        """Catalogues the journal need not keep either."""
        for catalogue, names in stored.items():
            self.add(catalogue, names.split("\n"))

    def get(self, catalogue: bytes) -> tuple[str, ...] | None:
        names = self._names.get(catalogue)
        if names is not None:
            self._names.move_to_end(catalogue)
        return names

    def add(self, catalogue: bytes, names: Sequence[str]) -> None:
        """Keep a catalogue whose digest was checked and that is in the journal."""
        if catalogue in self._names:
            return
        self.dropped.discard(catalogue)
        # The same few hundred names come from every device: one string each.
        self._names[catalogue] = tuple(map(sys.intern, names))
        self._series += len(names)
        while self._series > self._most and len(self._names) > 1:
            oldest, names_dropped = self._names.popitem(last=False)
            self._series -= len(names_dropped)
            self.dropped.add(oldest)
