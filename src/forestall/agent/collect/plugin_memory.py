"""What plugins last answered, kept in the agent's memory: who is due again, and their values as samples.

The agent has it; the child that collects inherits it by the fork. A restarted agent has forgotten, and runs them all.
Only light modules are imported here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from forestall.wire.series import series_name

NAN = float("nan")
MOST_SERIES = 500
"""Of all plugins together."""


class PluginMemory:
    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        """Name → the run as the document has it."""
        self._names: dict[tuple[str, str], str] = {}
        self._fresh: dict[str, float] = {}

    def take(self, report: bytes) -> None:
        """Note an encoded ``FactsReport`` of the document ``plugins``."""
        runs = msgspec.msgpack.decode(report)["document"].get("runs", ())
        before = self.runs
        self.runs = {run["name"]: run for run in runs}
        there: dict[tuple[str, str], str] = {}
        for name, run in self.runs.items():
            new = name not in before or before[name].get("at") != run.get("at")
            for value in run.get("performance", ()):
                key = (name, value["label"])
                if len(there) >= MOST_SERIES:
                    break
                series = there[key] = self._names.get(key) or series_name(
                    "plugin.value", plugin=name, label=value["label"]
                )
                if new and value.get("value") is not None:
                    self._fresh[series] = value["value"]
        self._names = there

    def samples(self) -> dict[str, float]:
        """Every series of the plugins; a value once after each run, and NaN until the next."""
        found = {series: self._fresh.get(series, NAN) for series in self._names.values()}
        self._fresh = {}
        return found


MEMORY = PluginMemory()
"""Of this agent."""
