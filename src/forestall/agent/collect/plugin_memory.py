"""What plugins last answered, kept in the agent's memory: who is due again, and their values as samples.

The agent has it; the child that collects inherits it by the fork. A restarted agent has forgotten, and runs them all.
Only light modules are imported here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from forestall.wire.series import series_name

NAN = float("nan")
MOST_SERIES = 500
"""Of all plugins together."""
ROUNDS = 2
"""A value counts for so many rounds: until the next run has had its time."""


class PluginMemory:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.runs: dict[str, dict[str, Any]] = {}
        """Name → the run as the document has it."""
        self._names: dict[tuple[str, str], str] = {}
        self._values: dict[str, tuple[float, float]] = {}
        """Series → its value, and until when it counts."""

    def take(self, report: bytes) -> None:
        """Note an encoded ``FactsReport`` of the document ``plugins``."""
        runs = msgspec.msgpack.decode(report)["document"].get("runs", ())
        before, self.runs = self.runs, {run["name"]: run for run in runs}
        there: dict[tuple[str, str], str] = {}
        values: dict[str, tuple[float, float]] = {}
        for name, run in self.runs.items():
            new = name not in before or before[name].get("at") != run.get("at")
            until = self._clock() + ROUNDS * run.get("every_seconds", 300)
            for value in run.get("performance", ()):
                key = (name, value["label"])
                if len(there) >= MOST_SERIES:
                    break
                series = there[key] = self._names.get(key) or series_name(
                    "plugin.value", plugin=name, label=value["label"]
                )
                if not new and series in self._values:
                    values[series] = self._values[series]
                elif value.get("value") is not None:
                    values[series] = (value["value"], until)
        self._names, self._values = there, values

    def samples(self) -> dict[str, float]:
        """Every series of the plugins with the value of the last run; NaN once the next one is long overdue."""
        now = self._clock()
        return {
            series: known[0] if (known := self._values.get(series)) is not None and known[1] >= now else NAN
            for series in self._names.values()
        }


MEMORY = PluginMemory()
"""Of this agent."""
