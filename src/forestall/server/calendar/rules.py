"""Working time: which seconds count on an SLA clock, and why. No I/O.

The rule, in one sentence: *a second counts when the clock on the wall in the client's time zone shows a time
within the working hours of a day that is neither a public holiday nor closed, and the clock is not paused.*

Read that way, clock changes need no rule of their own: an hour that is skipped cannot count, an hour that happens
twice counts twice. ``tests/test_working_time.py`` holds this file to a model that asks the wall clock of every
minute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import holidays as holiday_calendars

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

COUNTED = "counted"
OUTSIDE_HOURS = "outside working hours"
WEEKEND = "weekend"
NO_WORKING_DAY = "not a working day"

HORIZON = timedelta(days=5 * 366)
"""How far ahead a due time is looked for: a calendar without working time in five years has none."""

_PROBE = timedelta(hours=6)
"""Offsets are compared at this distance; two changes of a zone's offset never lie closer together."""

_DAY_SECONDS = 86400

Span = tuple[int, int]
"""Start and end of working hours, in seconds after midnight on the wall clock; the end does not count."""


class CalendarError(ValueError):
    """A working week, window or country that is none; the message names the bad value."""


@dataclass(frozen=True, slots=True)
class Week:
    """Working hours of each weekday, Monday first."""

    days: tuple[tuple[Span, ...], ...]

    @classmethod
    def parse(cls, hours: Mapping[str, Sequence[Sequence[str]]]) -> Week:
        """``{"monday": [["09:00", "12:30"], ["13:00", "17:30"]], …}``; a weekday that is not named is free.

        ``24:00`` ends a day. CalendarError for anything else, naming the place: ``hours.monday[0]``.
        """
        unknown = sorted(set(hours) - set(WEEKDAYS))
        if unknown:
            raise CalendarError(f"hours.{unknown[0]}: not a weekday ({', '.join(WEEKDAYS)})")
        return cls(days=tuple(_parse_day(name, hours.get(name, ())) for name in WEEKDAYS))

    def plain(self) -> dict[str, list[list[str]]]:
        """The form that ``parse`` reads."""
        return {
            name: [[_clock_text(start), _clock_text(end)] for start, end in spans]
            for name, spans in zip(WEEKDAYS, self.days, strict=True)
            if spans
        }


def _parse_day(name: str, spans: Sequence[Sequence[str]]) -> tuple[Span, ...]:
    parsed: list[Span] = []
    for index, span in enumerate(spans):
        where = f"hours.{name}[{index}]"
        if isinstance(span, str) or len(span) != 2:
            raise CalendarError(f"{where}: {span!r} is not a pair of times")
        start, end = (clock_seconds(text, where) for text in span)
        if start >= end:
            raise CalendarError(f"{where}: {span[0]} is not before {span[1]}")
        if parsed and start < parsed[-1][1]:
            raise CalendarError(f"{where}: starts before the span before it ends")
        parsed.append((start, end))
    return tuple(parsed)


def clock_seconds(text: str, where: str) -> int:
    """Seconds after midnight of ``09:00`` (up to ``24:00``); CalendarError names ``where`` and the bad text."""
    hour, separator, minute = str(text).partition(":")
    if not (separator and len(hour) == 2 and len(minute) == 2 and (hour + minute).isdecimal()):
        raise CalendarError(f"{where}: {text!r} is not a time like 09:00")
    seconds = int(hour) * 3600 + int(minute) * 60
    if int(minute) > 59 or seconds > _DAY_SECONDS:
        raise CalendarError(f"{where}: {text!r} is not a time of a day")
    return seconds


def _clock_text(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds % 3600 // 60:02}"


DEFAULT_WEEK = Week.parse({name: [["09:00", "17:30"]] for name in WEEKDAYS[:5]})
"""Monday to Friday 09:00–17:30: what a client has until someone sets other hours."""

ALWAYS = Week.parse({name: [["00:00", "24:00"]] for name in WEEKDAYS})
"""Around the clock."""


@lru_cache(maxsize=256)
def public_holidays(country: str, region: str) -> Mapping[date, str]:
    """Names of a country's public holidays by date, in English where the source has it; empty for no country.

    Years are filled in as they are asked for. CalendarError for a country or region that the ``holidays`` library
    does not know.
    """
    if not country:
        return {}
    try:
        native = holiday_calendars.country_holidays(country, subdiv=region or None)
        english = next((name for name in ("en_GB", "en_US") if name in native.supported_languages), None)
        calendar = holiday_calendars.country_holidays(country, subdiv=region or None, language=english)
    except NotImplementedError as error:
        raise CalendarError(
            f"no public holidays are known for country {country!r} region {region!r}: {error}"
        ) from None
    return _YearByYear(calendar)


class _YearByYear(Mapping[date, str]):
    """The library's calendar with each year read once: asking it day by day would cost more than all the rest."""

    def __init__(self, calendar: holiday_calendars.HolidayBase) -> None:
        self._calendar = calendar
        self._years: dict[int, dict[date, str]] = {}

    def __getitem__(self, day: date) -> str:
        year = self._years.get(day.year)
        if year is None:
            first = date(day.year, 1, 1)
            first in self._calendar  # noqa: B015 - asking fills the year in
            year = {known: name for known, name in self._calendar.items() if known.year == day.year}
            self._years[day.year] = year
        return year[day]

    def __iter__(self) -> Iterator[date]:
        return iter([day for year in self._years.values() for day in year])

    def __len__(self) -> int:
        return sum(len(year) for year in self._years.values())


@dataclass(frozen=True, slots=True)
class Pause:
    """A time in which the clock stood still."""

    start: datetime
    end: datetime | None
    """None: it still stands."""
    why: str
    """``waiting for client``."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time that counted or did not, and why."""

    start: datetime
    end: datetime
    counted: bool
    why: str
    """``counted``, ``outside working hours``, ``weekend``, ``public holiday: Christmas Day``, ``closed: …``,
    ``paused: waiting for client``."""

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()


@dataclass(frozen=True)
class WorkingTime:
    """A client's working time. All instants are aware datetimes; any zone will do."""

    timezone: str
    """IANA name."""
    week: Week = DEFAULT_WEEK
    holidays: Mapping[date, str] = field(default_factory=dict)
    """Public holidays: date → name."""
    closed: Mapping[date, str] = field(default_factory=dict)
    """Days on which this client is closed besides: date → why."""
    note: str = ""
    """What is missing from this calendar, in words for people; empty when it is complete."""

    def around_the_clock(self) -> WorkingTime:
        """A calendar in the same time zone in which every second counts."""
        return WorkingTime(timezone=self.timezone, week=ALWAYS)

    @property
    def is_always(self) -> bool:
        """Whether every second counts."""
        return self.week == ALWAYS and not self.closed and not self.holidays

    def day_in_words(self, day: date) -> str:
        """``09:00 to 12:30, 13:00 to 17:30``, ``public holiday: Christmas Day``, ``closed: move``, ``weekend``."""
        spans, why = self._day(day)
        if not spans:
            return why
        return ", ".join(f"{_clock_text(start)} to {_clock_text(end)}" for start, end in spans)

    def seconds_between(self, start: datetime, end: datetime, pauses: Sequence[Pause] = ()) -> float:
        """Working seconds from ``start`` up to ``end``, exact; 0 when ``end`` is not after ``start``."""
        return sum(segment.seconds for segment in self._segments(start, end, pauses) if segment.counted)

    def minutes_between(self, start: datetime, end: datetime, pauses: Sequence[Pause] = ()) -> float:
        """Working minutes from ``start`` up to ``end``, exact to the second and below."""
        return self.seconds_between(start, end, pauses) / 60

    def due_at(self, start: datetime, working_seconds: float, pauses: Sequence[Pause] = ()) -> datetime | None:
        """When ``working_seconds`` will have counted since ``start``.

        None while a pause without end keeps the clock from getting there. CalendarError when the calendar has not
        that much working time within five years.
        """
        left = timedelta(seconds=working_seconds)
        if left <= timedelta(0):
            return start
        start = start.astimezone(UTC)
        for segment in self._segments(start, start + HORIZON, pauses):
            if not segment.counted:
                continue
            length = segment.end - segment.start
            if length >= left:
                return segment.start + left
            left -= length
        if any(pause.end is None for pause in pauses):
            return None
        raise CalendarError(f"{self.timezone}: no {working_seconds:.0f} s of working time within five years of {start}")

    def resumes_at(self, at: datetime, pauses: Sequence[Pause] = ()) -> datetime | None:
        """The first instant from ``at`` on that counts (``at`` itself, while it counts); None when none is in sight."""
        at = at.astimezone(UTC)
        return next((s.start for s in self._segments(at, at + HORIZON, pauses) if s.counted), None)

    def explain(self, start: datetime, end: datetime, pauses: Sequence[Pause] = ()) -> list[Segment]:
        """Every stretch from ``start`` to ``end`` without gap or overlap, each with why it counted or did not.

        Neighbours with one reason are one segment. A pause is given as the reason even where the time would not
        have counted anyway: a weekend spent waiting for the client reads as one wait.
        """
        merged: list[Segment] = []
        for segment in self._segments(start, end, pauses):
            if merged and merged[-1].why == segment.why:
                last = merged[-1]
                merged[-1] = Segment(start=last.start, end=segment.end, counted=last.counted, why=last.why)
            else:
                merged.append(segment)
        return merged

    def _segments(self, start: datetime, end: datetime, pauses: Sequence[Pause]) -> Iterator[Segment]:
        """Segments in order, made as they are asked for; not merged."""
        start, end = start.astimezone(UTC), end.astimezone(UTC)
        still = merged_pauses(pauses, until=end)
        for left, right, offset in _steady_pieces(self.timezone, start, end):
            if still:
                for segment in self._wall_segments(left, right, offset):
                    yield from _paused(segment, still)
            else:
                yield from self._wall_segments(left, right, offset)

    def _wall_segments(self, start: datetime, end: datetime, offset: timedelta) -> Iterator[Segment]:
        """Segments of a piece in which the zone's offset does not change: wall time is UTC plus ``offset``."""
        cursor = start
        while cursor < end:
            wall = cursor + offset
            midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0) - offset
            day_end = min(midnight + timedelta(days=1), end)
            spans, why = self._day(wall.date())
            for span_start, span_end in spans:
                left = max(midnight + timedelta(seconds=span_start), cursor)
                right = min(midnight + timedelta(seconds=span_end), day_end)
                if left >= right:
                    continue
                if cursor < left:
                    yield Segment(start=cursor, end=left, counted=False, why=why)
                yield Segment(start=left, end=right, counted=True, why=COUNTED)
                cursor = right
            if cursor < day_end:
                yield Segment(start=cursor, end=day_end, counted=False, why=why)
            cursor = day_end

    def _day(self, day: date) -> tuple[tuple[Span, ...], str]:
        """The working hours of a day, and why the rest of it does not count."""
        closed = self.closed.get(day)
        if closed is not None:
            return (), f"closed: {closed}"
        holiday = self.holidays.get(day)
        if holiday is not None:
            return (), f"public holiday: {holiday}"
        spans = self.week.days[day.weekday()]
        if spans:
            return spans, OUTSIDE_HOURS
        return (), WEEKEND if day.weekday() >= 5 else NO_WORKING_DAY


def merged_pauses(pauses: Sequence[Pause], *, until: datetime) -> list[Pause]:
    """Pauses in order without overlap; where two overlap, the earlier gives the reason. Open ones end at ``until``."""
    still: list[Pause] = []
    for pause in sorted(pauses, key=lambda one: one.start):
        start = pause.start.astimezone(UTC)
        end = until if pause.end is None else pause.end.astimezone(UTC)
        if still:
            last_end = still[-1].end
            start = max(start, last_end) if last_end else start
        if start < end:
            still.append(Pause(start=start, end=end, why=pause.why))
    return still


def _paused(segment: Segment, still: Sequence[Pause]) -> Iterator[Segment]:
    """The segment, cut where pauses cover it."""
    cursor = segment.start
    for pause in still:
        if pause.end is None or pause.end <= cursor:
            continue
        if pause.start >= segment.end:
            break
        left, right = max(pause.start, cursor), min(pause.end, segment.end)
        if cursor < left:
            yield Segment(start=cursor, end=left, counted=segment.counted, why=segment.why)
        yield Segment(start=left, end=right, counted=False, why=f"paused: {pause.why}")
        cursor = right
    if cursor < segment.end:
        yield Segment(start=cursor, end=segment.end, counted=segment.counted, why=segment.why)


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _offset(name: str, at: datetime) -> timedelta:
    offset = at.astimezone(zone(name)).utcoffset()
    if offset is None:
        raise CalendarError(f"{name}: a time zone without offset at {at}")
    return offset


@lru_cache(maxsize=1024)
def _changes_of_year(name: str, year: int) -> tuple[datetime, ...]:
    """The instants (to the second) at which the zone's offset changes within a UTC year."""
    changes = []
    left, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    before = _offset(name, left)
    while left < end:
        right = min(left + _PROBE, end)
        after = _offset(name, right)
        if after != before:
            changes.append(_change_between(name, left, right, before))
        left, before = right, after
    return tuple(changes)


def _change_between(name: str, left: datetime, right: datetime, before: timedelta) -> datetime:
    while right - left > timedelta(seconds=1):
        middle = left + timedelta(seconds=int((right - left).total_seconds()) // 2)
        if _offset(name, middle) == before:
            left = middle
        else:
            right = middle
    return right


def _steady_pieces(name: str, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """``start`` to ``end`` (UTC) in pieces of constant offset."""
    cursor = start
    for year in range(start.year, end.year + 1):
        for change in (*_changes_of_year(name, year), datetime(year + 1, 1, 1, tzinfo=UTC)):
            right = min(change, end)
            if cursor < right:
                yield cursor, right, _offset(name, cursor)
                cursor = right
