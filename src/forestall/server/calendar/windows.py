"""Maintenance windows: when they are open. RFC 5545 recurrence on the site's wall clock, less blackouts. No I/O.

A blackout is a time in which nobody works: a window that would open inside one stays shut that time, and one that is
open when a blackout begins closes then. It does not open again when the blackout ends: half a window at an hour that
nobody announced would surprise people.

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

from forestall.server.calendar.blackouts import Blackout, Closed, closed_times, instant_of
from forestall.server.calendar.rules import CalendarError, clock_seconds

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
    key: int = 0
    """Number of the window; 0: it is not kept anywhere."""
    blackouts: tuple[Blackout, ...] = ()
    """Those of its place: ``blackouts.Blackout``."""
    catch_up_hours: int = 0
    """How long after it a device that missed it may still be worked on; 0: it waits for the next time."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One time a window is open: from ``start`` until before ``end``, both UTC."""

    name: str
    start: datetime
    end: datetime
    key: int = 0
    """Number of the window."""
    cut: str = ""
    """Why it ends before its time: the blackout that begins while it is open. Empty: it does not."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one time that a window's rule names."""

    name: str
    start: datetime
    end: datetime
    """As the rule has it, both UTC."""
    opens: Occurrence | None
    """None: a blackout keeps it shut."""
    blackout: Blackout | None
    """What keeps it shut, or cuts it; None: nothing does."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Leave to work on a device at this moment."""

    until: datetime
    """Until before this (UTC)."""
    window: str
    window_id: int
    start: datetime
    """Since when: the start of the window's time, the missed one's when it is caught up."""
    caught_up: bool = False
    """Whether the window is over, and the leave is for a device that missed it: one that was not worked on since
    ``start``. The caller knows which devices these are."""

    def fits(self, minutes: float, now: datetime) -> bool:
        """Whether work of so many minutes that begins now ends in time."""
        return now + timedelta(minutes=minutes) <= self.until


def window_counts(*, needs_approval: bool, answer: str) -> bool:
    """Whether a window is one: alerts are muted and work is done in it.

    One that the client has to approve is only a proposal until it has: nothing is muted for work that may never be
    done, and nobody works where the client said no. ``queries.COUNTING`` says the same to the database.
    """
    return not needs_approval or answer == "approved"


def length_check(*, minutes: int, longest: int | None) -> None:
    """CalendarError for a window that is longer than its client or site allows (None: no limit of its own)."""
    if longest is not None and minutes > longest:
        raise CalendarError(f"minutes: {minutes} is longer than the {longest} minutes that are agreed here")


def window_check(*, recurrence: str, first: datetime, minutes: int, longest: int | None = None) -> None:
    """CalendarError unless the rule is one we can evaluate and it has an occurrence within five years.

    ``first`` is the first start on the site's wall clock (naive), ``minutes`` the length of the window, ``longest``
    the most that its client or site agreed to.
    """
    if not 0 < minutes <= LONGEST_MINUTES:
        raise CalendarError(f"minutes: {minutes} is not between 1 and {LONGEST_MINUTES}")
    length_check(minutes=minutes, longest=longest)
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


def allowed_at(windows: Sequence[Window], at: datetime) -> Allowed | None:
    """Leave to work at ``at``: by a window that is open, of several the one that ends last; or else by one that may be
    caught up. None: work waits."""
    at = at.astimezone(UTC)
    open_now = window_at(windows, at)
    if open_now is not None:
        return Allowed(until=open_now.end, window=open_now.name, window_id=open_now.key, start=open_now.start)
    late = [leave for window in windows if (leave := catch_up_until(window, at)) is not None]
    return max(late, key=lambda leave: leave.until, default=None)


def catch_up_until(window: Window, at: datetime) -> Allowed | None:
    """Leave to catch up what was missed in the window's last time; None when there is none.

    A time that a blackout kept shut was not missed. Nobody works in a blackout, nor after the window was ended.
    """
    at = at.astimezone(UTC)
    if not window.catch_up_hours or (window.ended_at is not None and window.ended_at <= at):
        return None
    length = timedelta(hours=window.catch_up_hours)
    over = [one for one in occurrences(window, at - length, at) if one.end <= at < one.end + length]
    if not over:
        return None
    missed = max(over, key=lambda one: one.end)
    until = missed.end + length
    for closed in closed_times(window.blackouts, window.timezone, at, until):
        if closed.start <= at:
            return None
        until = min(until, closed.start)
    if window.ended_at is not None:
        until = min(until, window.ended_at.astimezone(UTC))
    return Allowed(until=until, window=window.name, window_id=window.key, start=missed.start, caught_up=True)


def plan_check(*, minutes: int, occurrence: Occurrence) -> None:
    """CalendarError unless work of so many minutes ends within this time of the window."""
    if minutes <= 0:
        raise CalendarError(f"minutes: {minutes} is no length of work")
    room = int((occurrence.end - occurrence.start).total_seconds() // 60)
    if minutes > room:
        cut = f" ({occurrence.cut} cuts it)" if occurrence.cut else ""
        raise CalendarError(
            f"minutes: {minutes} minutes of work do not fit: {occurrence.name!r} is open for {room} minutes{cut}"
        )


def occurrences(window: Window, after: datetime, before: datetime) -> Iterator[Occurrence]:
    """Occurrences that are open at some instant from ``after`` until before ``before``, in order."""
    after, before = after.astimezone(UTC), before.astimezone(UTC)
    for fate in fates(window, after, before):
        if fate.opens is not None and fate.opens.start < before and fate.opens.end > after:
            yield fate.opens


def fates(window: Window, after: datetime, before: datetime) -> Iterator[Fate]:
    """Every time from ``after`` until before ``before`` that the rule names, with what blackouts make of it."""
    after, before = after.astimezone(UTC), before.astimezone(UTC)
    length = timedelta(minutes=window.minutes)
    margin = timedelta(days=2)  # more than any offset from UTC, so that comparing wall clocks loses nothing
    earliest = (after - length - margin).replace(tzinfo=None)
    latest = (before + margin).replace(tzinfo=None)
    closed = closed_times(window.blackouts, window.timezone, after - length, before + length)
    for wall in _wall_starts(window.recurrence, window.first, earliest, latest):
        start = instant_of(window.timezone, wall)
        end = start + length
        if window.ended_at is not None:
            end = min(end, window.ended_at.astimezone(UTC))
        if start < before and end > after and start < end:
            yield _fate(window, start, end, closed)


def _fate(window: Window, start: datetime, end: datetime, closed: Sequence[Closed]) -> Fate:
    meets = next((one for one in closed if one.start < end and one.end > start), None)
    if meets is None:
        opens: Occurrence | None = Occurrence(name=window.name, start=start, end=end, key=window.key)
    elif meets.start <= start:
        opens = None
    else:
        opens = Occurrence(name=window.name, start=start, end=meets.start, key=window.key, cut=meets.blackout.why)
    return Fate(name=window.name, start=start, end=end, opens=opens, blackout=None if meets is None else meets.blackout)


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
