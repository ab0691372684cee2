"""Maintenance windows: when they are open. RFC 5545 recurrence on the site's wall clock. No I/O.

A rule comes from a person's form, and a rule can be written that costs minutes to evaluate. So only what a
maintenance window needs is taken (days, weeks, months, years), and every search ends at a date.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import islice

from dateutil.rrule import rrulestr

from forestall.server.calendar.rules import CalendarError, clock_seconds, zone

LONGEST_MINUTES = 7 * 24 * 60
MOST_COUNT = 1000
LONGEST_RULE = 200
FIRST_WITHIN = timedelta(days=5 * 366)

_FREQUENCIES = {"DAILY", "WEEKLY", "MONTHLY", "YEARLY"}
_PARTS = {"FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "BYMONTHDAY", "BYMONTH", "BYSETPOS", "WKST"}


@dataclass(frozen=True, slots=True)
class Window:
    """A maintenance window as its rule sees it."""

    name: str
    timezone: str
    """IANA name of the site's zone."""
    first: datetime
    """First start on the site's wall clock (naive)."""
    minutes: int
    """Length in elapsed minutes."""
    recurrence: str = ""
    """RFC 5545 RRULE value (``FREQ=WEEKLY;BYDAY=SU``); empty: once."""
    ended_at: datetime | None = None
    """No occurrence lasts beyond this."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One time a window is open: from ``start`` until before ``end``, both UTC."""

    name: str
    start: datetime
    end: datetime


def window_counts(*, needs_approval: bool, answer: str) -> bool:
    """Whether a window is one: alerts are muted and work is done in it.

    One that the client has to approve is only a proposal until it has: nothing is muted for work that may never be
    done, and nobody works where the client said no. ``queries.COUNTING`` says the same to the database.
    """
    return not needs_approval or answer == "approved"


def window_check(*, recurrence: str, first: datetime, minutes: int) -> None:
    """CalendarError unless the rule is one we can evaluate and it has an occurrence within five years.

    ``first`` is the first start on the site's wall clock (naive), ``minutes`` the length of the window.
    """
    if not 0 < minutes <= LONGEST_MINUTES:
        raise CalendarError(f"minutes: {minutes} is not between 1 and {LONGEST_MINUTES}")
    if next(_wall_starts(recurrence, first, first, first + FIRST_WITHIN), None) is None:
        raise CalendarError(f"recurrence: {recurrence!r} has no occurrence within five years of {first:%Y-%m-%d %H:%M}")


def window_at(windows: Sequence[Window], at: datetime) -> Occurrence | None:
    """The occurrence that is open at ``at``; of several the one that ends last."""
    at = at.astimezone(UTC)
    instant = timedelta(microseconds=1)
    open_now = [occurrence for window in windows for occurrence in occurrences(window, at, at + instant)]
    return max(open_now, key=lambda occurrence: occurrence.end, default=None)


def next_window(
    windows: Sequence[Window], at: datetime, *, within: timedelta = timedelta(days=400)
) -> Occurrence | None:
    """The next occurrence that starts after ``at``; None when there is none ``within`` that time."""
    at = at.astimezone(UTC)
    ahead = [
        occurrence
        for window in windows
        if (occurrence := next((o for o in occurrences(window, at, at + within) if o.start > at), None)) is not None
    ]
    return min(ahead, key=lambda occurrence: occurrence.start, default=None)


def occurrences(window: Window, after: datetime, before: datetime) -> Iterator[Occurrence]:
    """Occurrences that are open at some instant from ``after`` until before ``before``, in order."""
    after, before = after.astimezone(UTC), before.astimezone(UTC)
    length = timedelta(minutes=window.minutes)
    margin = timedelta(days=2)  # more than any offset from UTC, so that comparing wall clocks loses nothing
    earliest = (after - length - margin).replace(tzinfo=None)
    latest = (before + margin).replace(tzinfo=None)
    for wall in _wall_starts(window.recurrence, window.first, earliest, latest):
        start = instant_of(window.timezone, wall)
        end = start + length
        if window.ended_at is not None:
            end = min(end, window.ended_at.astimezone(UTC))
        if start < before and end > after and start < end:
            yield Occurrence(name=window.name, start=start, end=end)


def instant_of(timezone: str, wall: datetime) -> datetime:
    """UTC of a wall clock time, by RFC 5545 (3.3.5): a time that a clock change skips is read with the offset
    before the change; of one that happens twice it is the first."""
    return wall.replace(tzinfo=zone(timezone), fold=0).astimezone(UTC)


def wall_time(hour_minute: str) -> time:
    """``22:00`` as a time; CalendarError for anything else."""
    seconds = clock_seconds(hour_minute, "start")
    if seconds == 24 * 3600:
        raise CalendarError("start: a window cannot start at 24:00; use 00:00 of the next day")
    return time(seconds // 3600, seconds % 3600 // 60)


def _wall_starts(rule: str, first: datetime, earliest: datetime, latest: datetime) -> Iterator[datetime]:
    """Starts on the wall clock (naive) from ``earliest`` to ``latest``, both included."""
    if not rule:
        if earliest <= first <= latest:
            yield first
        return
    parts = _parts(rule)
    count = parts.pop("COUNT", None)
    until = parts.pop("UNTIL", None)
    # A search must end even where the rule has no further occurrence ("daily, on 30 February").
    end = latest if until is None else min(_until(until), latest)
    if end < first:
        return
    parts["UNTIL"] = f"{end:%Y%m%dT%H%M%S}"
    try:
        starts = rrulestr(";".join(f"{name}={value}" for name, value in parts.items()), dtstart=first)
        for start in islice(starts, None if count is None else int(count)):
            if start >= earliest:
                yield start
    except (ValueError, TypeError, OverflowError) as error:
        raise CalendarError(f"recurrence: {rule!r}: {error}") from None


def _parts(rule: str) -> dict[str, str]:
    if len(rule) > LONGEST_RULE:
        raise CalendarError(f"recurrence: longer than {LONGEST_RULE} characters")
    parts: dict[str, str] = {}
    for part in rule.upper().split(";"):
        name, separator, value = part.partition("=")
        if not separator or not value or name not in _PARTS:
            raise CalendarError(f"recurrence: {part!r} is not one of {', '.join(sorted(_PARTS))} with a value")
        if name in parts:
            raise CalendarError(f"recurrence: {name} is given twice")
        parts[name] = value
    if parts.get("FREQ") not in _FREQUENCIES:
        raise CalendarError(f"recurrence: FREQ must be one of {', '.join(sorted(_FREQUENCIES))}")
    for name in ("COUNT", "INTERVAL"):
        if name in parts and not (parts[name].isdecimal() and 0 < int(parts[name]) <= MOST_COUNT):
            raise CalendarError(f"recurrence: {name}={parts[name]} is not between 1 and {MOST_COUNT}")
    _require_possible(parts)
    if "COUNT" in parts and "UNTIL" in parts:
        raise CalendarError("recurrence: COUNT and UNTIL exclude each other (RFC 5545, 3.3.10)")
    return parts


def _require_possible(parts: Mapping[str, str]) -> None:
    """Refuse rules of which dateutil would look for an occurrence day by day until the year 9999."""
    if "BYSETPOS" in parts and parts["FREQ"] not in {"MONTHLY", "YEARLY"}:
        raise CalendarError(f"recurrence: BYSETPOS goes with FREQ=MONTHLY or YEARLY, not {parts['FREQ']}")
    if "BYMONTH" not in parts or "BYMONTHDAY" not in parts:
        return
    try:
        months = [int(month) for month in parts["BYMONTH"].split(",")]
        days = [abs(int(day)) for day in parts["BYMONTHDAY"].split(",")]
    except ValueError as error:
        raise CalendarError(f"recurrence: BYMONTH or BYMONTHDAY: {error}") from None
    leap_year = 2028
    if not any(1 <= month <= 12 and 1 <= day <= monthrange(leap_year, month)[1] for month in months for day in days):
        raise CalendarError(f"recurrence: BYMONTH={parts['BYMONTH']} never has BYMONTHDAY={parts['BYMONTHDAY']}")


def _until(text: str) -> datetime:
    """The end of a rule on the wall clock: ``20261231`` (the whole day) or ``20261231T220000``."""
    for form, rest in (("%Y%m%dT%H%M%S", timedelta()), ("%Y%m%d", timedelta(days=1, seconds=-1))):
        try:
            return datetime.strptime(text, form) + rest  # noqa: DTZ007 - a wall clock time has no zone
        except ValueError:
            continue
    raise CalendarError(f"recurrence: UNTIL={text} is not local time of the site like 20261231T220000, without Z")
