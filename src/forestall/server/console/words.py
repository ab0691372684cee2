"""Numbers and times in words. One way of saying each thing, on every page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from forestall.server.checks.words import size as checks_size


def plural(number: int, noun: str, many: str = "") -> str:
    """``1 device``, ``3 devices``, ``2 batches`` (with ``many="batches"``)."""
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def does(number: int, verb: str) -> str:
    """The verb after a count: ``1 check fails``, ``2 checks fail``."""
    if number != 1:
        return verb
    return {"are": "is", "have": "has", "need": "needs", "do": "does"}.get(verb, verb + "s")


def listing(things: Sequence[str], most: int = 3) -> str:
    """``a``, ``a and b``, ``a, b and 4 more``."""
    shown = list(things[:most])
    if len(things) > most:
        return f"{', '.join(shown)} and {len(things) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def ago(at: datetime, now: datetime) -> str:
    """``just now``, ``3 min ago``, ``in 4 days``. The browser goes on counting from there."""
    seconds = (now - at).total_seconds()
    span = span_short(timedelta(seconds=abs(seconds)))
    if abs(seconds) < 5:
        return "just now"
    return f"{span} ago" if seconds > 0 else f"in {span}"


def span_short(span: timedelta) -> str:
    """One unit, rounded down: ``42 s``, ``3 min``, ``5 h``, ``12 days``."""
    seconds = int(span.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 2 * 86400:
        return f"{seconds // 3600} h"
    return f"{seconds // 86400} days"


def span_long(span: timedelta) -> str:
    """Two units: ``2 h 10 min``, ``3 days 4 h``."""
    seconds = int(span.total_seconds())
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    if days:
        return f"{plural(days, 'day')} {hours} h" if hours else plural(days, "day")
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes else f"{seconds} s"


def exact(at: datetime) -> str:
    """``Mon 23 Nov 2026, 18:25:03 UTC``."""
    return f"{at.astimezone(UTC):%a %-d %b %Y, %H:%M:%S} UTC"


def day(at: datetime, zone: str = "UTC") -> str:
    """``Monday 23 November 2026`` in ``zone``."""
    return f"{at.astimezone(ZoneInfo(zone)):%A %-d %B %Y}"


def clock_time(at: datetime, now: datetime, zone: str) -> str:
    """``15:40`` today, ``Mon 09:00`` within the week, else ``3 Dec 09:00``; in ``zone``."""
    local, today = at.astimezone(ZoneInfo(zone)), now.astimezone(ZoneInfo(zone)).date()
    if local.date() == today:
        return f"{local:%H:%M}"
    if abs((local.date() - today).days) < 7:
        return f"{local:%a %H:%M}"
    return f"{local:%-d %b %H:%M}"


def size(number: float | None) -> str:
    """``1.4 GB``, in the decimal units that the checks' reasons use."""
    return "unknown" if number is None else checks_size(float(number))


def quantity(value: float | None, unit: str) -> str:
    """A measured value with its unit: ``93 %``, ``1.4 GB``, ``3 updates``."""
    if value is None:
        return "no value"
    if unit in {"B", "bytes"}:
        return size(value)
    if unit == "B/s":
        return size(value) + "/s"
    text = f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.1f}"
    return f"{text} {unit}".strip()
