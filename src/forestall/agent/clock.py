"""Time as the agent sees it: three clocks behind one interface, so that tests run without sleeping."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The device's wall clock, in UTC. People and time servers set it; it may be wrong and it may jump."""

    def monotonic(self) -> float:
        """Seconds that never go back; what waits are counted with. May stand still while the machine sleeps."""

    def since_boot(self) -> float:
        """Seconds since boot, sleep included: what the wall clock is compared with."""


class SystemClock:
    """This machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def since_boot(self) -> float:
        if hasattr(time, "CLOCK_BOOTTIME"):
            return time.clock_gettime(time.CLOCK_BOOTTIME)
        return time.monotonic()
