"""Numbers, times and lists as people read them, the same in every reason."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

_SIZES = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


def number(value: float, *, digits: int = 1) -> str:
    """``93``, ``93.4``: at most ``digits`` decimals, none that say nothing."""
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def percent(value: float) -> str:
    """``93.4 %``."""
    return f"{number(value)} %"


def size(count: float) -> str:
    """Bytes in decimal units: ``1.4 GB``."""
    for unit, factor in _SIZES:
        if abs(count) >= factor:
            return f"{number(count / factor)} {unit}"
    return f"{number(count, digits=0)} bytes"


def span(duration: float | timedelta) -> str:
    """A length of time (seconds) in its largest fitting unit: ``40 s``, ``5 min``, ``26 h``, ``12 days``."""
    seconds = abs(duration.total_seconds() if isinstance(duration, timedelta) else duration)
    if seconds < 2 * MINUTE:
        return f"{number(seconds, digits=0 if seconds >= 10 else 1)} s"
    if seconds < 2 * HOUR:
        return f"{int(seconds // MINUTE)} min"
    if seconds < 3 * DAY:
        return f"{number(int(seconds / HOUR * 10) / 10)} h"
    return f"{int(seconds // DAY)} days"


def day(moment: datetime) -> str:
    """``2026-11-23``."""
    return f"{moment:%Y-%m-%d}"


def clock(moment: datetime) -> str:
    """``2026-11-23 18:25 UTC`` (the moment must be in UTC)."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def count(amount: int, thing: str, things: str = "") -> str:
    """``1 update``, ``3 updates``."""
    return f"{amount} {thing if amount == 1 else things or thing + 's'}"


def listing(names: Sequence[str], *, most: int = 4) -> str:
    """``a, b and c``; ``a, b, c, d and 7 more``."""
    if len(names) > most + 1:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
