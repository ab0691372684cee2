"""Blackouts: times in which no window is open, on each site's own wall clock. No I/O.

``from 20 December 18:00 until 3 January 08:00, every year``: at a site in Tokyo it begins when the clock on the wall
in Tokyo shows 18:00.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from forestall.server.calendar.rules import CalendarError, zone

LONGEST = timedelta(days=366)
"""A blackout without end is no blackout: whoever wants no work ends the windows."""


@dataclass(frozen=True, slots=True)
class Blackout:
    """A blackout as its rule sees it."""

    why: str
    first: datetime
    """When it begins on the site's wall clock (naive)."""
    last: datetime
    """When it ends there (naive); this instant is no part of it any more."""
    yearly: bool = False
    """Whether it comes again every year on the same days. 29 February is 1 March in years that have none."""
    ended_at: datetime | None = None
    """It counts no longer from here on."""
    key: int = 0
    """Number of the blackout; 0: it is not kept anywhere."""


@dataclass(frozen=True, slots=True)
class Closed:
    """One time of a blackout at a place: from ``start`` until before ``end``, both UTC."""

    blackout: Blackout
    start: datetime
    end: datetime


def blackout_check(*, first: datetime, last: datetime, yearly: bool) -> None:
    """CalendarError unless it is one: ``first`` before ``last`` (wall clock, naive), a year long at most."""
    if first >= last:
        raise CalendarError(f"until: {last:%Y-%m-%d %H:%M} is not after {first:%Y-%m-%d %H:%M}")
    longest = timedelta(days=300) if yearly else LONGEST
    if last - first > longest:
        raise CalendarError(
            f"until: a {'yearly ' if yearly else ''}blackout lasts at most {longest.days} days,"
            f" not {(last - first).days}; to stop all work end the windows"
        )


def closed_times(blackouts: Sequence[Blackout], timezone: str, after: datetime, before: datetime) -> list[Closed]:
    """Every time of these blackouts that meets ``after`` until before ``before``, the earliest first."""
    after, before = after.astimezone(UTC), before.astimezone(UTC)
    found = []
    for blackout in blackouts:
        for first, last in _walls(blackout, after, before):
            start, end = instant_of(timezone, first), instant_of(timezone, last)
            if blackout.ended_at is not None:
                end = min(end, blackout.ended_at.astimezone(UTC))
            if start < end and start < before and end > after:
                found.append(Closed(blackout=blackout, start=start, end=end))
    return sorted(found, key=lambda one: (one.start, one.end))


def _walls(blackout: Blackout, after: datetime, before: datetime) -> list[tuple[datetime, datetime]]:
    """Its times on the wall clock, of every year that can meet the two instants."""
    if not blackout.yearly:
        return [(blackout.first, blackout.last)]
    over = blackout.last.year - blackout.first.year
    # A year more on both sides: no offset from UTC, and no New Year inside it, is lost.
    years = range(max(blackout.first.year, after.year - over - 1), before.year + 2)
    return [(in_year(blackout.first, year), in_year(blackout.last, year + over)) for year in years]


def in_year(wall: datetime, year: int) -> datetime:
    """The same day and time in another year; 29 February is 1 March where there is none."""
    try:
        return wall.replace(year=year)
    except ValueError:
        return wall.replace(year=year, month=3, day=1)


def instant_of(timezone: str, wall: datetime) -> datetime:
    """UTC of a wall clock time, by RFC 5545 (3.3.5): a time that a clock change skips is read with the offset
    before the change; of one that happens twice it is the first."""
    return wall.replace(tzinfo=zone(timezone), fold=0).astimezone(UTC)
