"""Rules and blackouts, held to models that look at every day and every minute of the wall clock.

``recurring-ical-events``, which expands calendars for other programs, is the second opinion on the rules themselves.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import icalendar
import pytest
import recurring_ical_events
from hypothesis import given, settings
from hypothesis import strategies as st

from forestall.server.calendar.blackouts import Blackout, blackout_check, closed_times, in_year
from forestall.server.calendar.recurrence import (
    DAY_CODES,
    ORDINALS,
    Recurrence,
    Repeat,
    blackout_notes,
    blackout_words,
    patch_tuesday,
)
from forestall.server.calendar.rules import CalendarError
from forestall.server.calendar.windows import (
    Occurrence,
    Window,
    allowed_at,
    catch_up_until,
    fates,
    occurrences,
    plan_check,
    window_at,
    window_check,
)

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago")
DAYS_LOOKED_AT = 800


def wall(*parts: int) -> datetime:
    """A time on a wall clock: it has no zone."""
    return datetime(*parts)  # noqa: DTZ001


# --- the rules: what a form asks is what a calendar on the wall would show ------------------------------------


def days_of(asked: Recurrence, first: date, last: date) -> list[date]:
    """The model: look at each day, and ask the calendar on the wall."""
    found = []
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        if _is_a_day(asked, first, day) and (asked.until is None or day <= asked.until):
            found.append(day)
    return found


def _is_a_day(asked: Recurrence, first: date, day: date) -> bool:
    code = DAY_CODES[day.weekday()]
    if asked.repeat is Repeat.ONCE:
        return day == first
    if asked.repeat is Repeat.DAILY:
        return (day - first).days % asked.every == 0
    if asked.repeat in {Repeat.WEEKDAYS, Repeat.WEEKLY}:
        monday, begun = (one - timedelta(days=one.weekday()) for one in (day, first))
        wanted = DAY_CODES[:5] if asked.repeat is Repeat.WEEKDAYS else asked.days
        return code in wanted and (monday - begun).days // 7 % asked.every == 0
    months = (day.year - first.year) * 12 + day.month - first.month
    if months % asked.every:
        return False
    in_month = [one for one in (date(day.year, day.month, 1) + timedelta(days=n) for n in range(31))
                if one.month == day.month]  # fmt: skip
    if asked.repeat is Repeat.MONTH_DAY:
        return day.day == asked.day
    if asked.repeat is Repeat.MONTH_END:
        return day == in_month[-1]
    if asked.repeat is Repeat.LAST_WORKDAY:
        return day == [one for one in in_month if one.weekday() < 5][-1]
    if asked.repeat is Repeat.PATCH_TUESDAY:
        second = [one for one in in_month if one.weekday() == 1][1]
        return day == second + timedelta(days=asked.after)
    same = [one for one in in_month if DAY_CODES[one.weekday()] == asked.days[0]]
    place = asked.nth - 1 if asked.nth > 0 else asked.nth
    return day == same[place]


ASKED = st.one_of(
    st.builds(Recurrence, st.just(Repeat.ONCE)),
    st.builds(Recurrence, st.just(Repeat.DAILY), every=st.integers(1, 9)),
    st.builds(Recurrence, st.just(Repeat.WEEKDAYS), every=st.integers(1, 4)),
    st.builds(
        Recurrence,
        st.just(Repeat.WEEKLY),
        days=st.sets(st.sampled_from(DAY_CODES), min_size=1).map(tuple),
        every=st.integers(1, 6),
    ),
    st.builds(
        Recurrence,
        st.just(Repeat.MONTHLY),
        days=st.sampled_from(DAY_CODES).map(lambda day: (day,)),
        nth=st.sampled_from(list(ORDINALS)),
        every=st.integers(1, 6),
    ),
    st.builds(Recurrence, st.just(Repeat.MONTH_DAY), day=st.integers(1, 28), every=st.integers(1, 4)),
    st.builds(Recurrence, st.just(Repeat.PATCH_TUESDAY), after=st.integers(0, 14), every=st.integers(1, 3)),
    st.builds(Recurrence, st.just(Repeat.MONTH_END), every=st.integers(1, 6)),
    st.builds(Recurrence, st.just(Repeat.LAST_WORKDAY), every=st.integers(1, 6)),
)
FIRST = st.dates(date(2024, 1, 1), date(2030, 12, 31))
STARTS = st.tuples(st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))


@settings(max_examples=120, deadline=None)
@given(asked=ASKED, first=FIRST, at=STARTS, name=st.sampled_from(ZONES), minutes=st.integers(1, 600))
def test_every_rule_of_the_form_is_open_on_the_days_that_a_calendar_on_the_wall_shows(
    asked: Recurrence, first: date, at: tuple[int, int], name: str, minutes: int
) -> None:
    rule = asked.rrule()
    window = Window(name="w", timezone=name, first=wall(first.year, first.month, first.day, *at), minutes=minutes,
                    recurrence=rule)  # fmt: skip
    last = first + timedelta(days=DAYS_LOOKED_AT)
    here = ZoneInfo(name)
    since = datetime.combine(first, datetime.min.time(), here)
    until = datetime.combine(last + timedelta(days=1), datetime.min.time(), here)
    found = [one.start for one in occurrences(window, since, until)]
    # A start that the clock skips is read with the offset before the change: the model of ``zoneinfo`` itself.
    expected = [
        datetime(day.year, day.month, day.day, *at, tzinfo=here).astimezone(UTC) for day in days_of(asked, first, last)
    ]
    assert found == [one for one in expected if one < until]
    assert Recurrence.read(rule).rrule() == rule
    assert Recurrence.read(rule).repeat is asked.repeat or set(asked.days) == set(DAY_CODES[:5])


@settings(max_examples=25, deadline=None)
@given(asked=ASKED, first=FIRST, name=st.sampled_from(ZONES))
def test_another_program_reads_the_same_rule_in_the_same_way(asked: Recurrence, first: date, name: str) -> None:
    """At noon, away from clock changes: there programs differ, which is why the feed gives instants."""
    start = wall(first.year, first.month, first.day, 12)
    rule = asked.rrule()
    window = Window(name="w", timezone=name, first=start, minutes=60, recurrence=rule)
    since, until = (datetime.combine(first + timedelta(days=n), datetime.min.time(), UTC) for n in (-1, 400))
    found = [one.start for one in occurrences(window, since, until)]
    event = icalendar.Event()
    event.add("uid", "one")
    event.add("dtstamp", datetime(2026, 1, 1, tzinfo=UTC))
    event.add("dtstart", start.replace(tzinfo=ZoneInfo(name)))
    event.add("duration", timedelta(hours=1))
    if rule:
        event.add("rrule", icalendar.vRecur.from_ical(rule))
    calendar = icalendar.Calendar()
    calendar.add_component(event)
    read = sorted(one["DTSTART"].dt.astimezone(UTC) for one in recurring_ical_events.of(calendar).between(since, until))
    # RFC 5545 shows the first day even where the rule does not name it; a window opens only where its rule says so.
    first_instant = start.replace(tzinfo=ZoneInfo(name)).astimezone(UTC)
    assert found == [one for one in read if one != first_instant or one in found]


def test_patch_tuesday_is_the_second_tuesday() -> None:
    assert [patch_tuesday(2026, month).day for month in range(1, 13)] == [13, 10, 10, 14, 12, 9, 14, 11, 8, 13, 10, 8]


def test_the_last_day_after_patch_tuesday_lies_in_its_month() -> None:
    window = Window(name="w", timezone="UTC", first=wall(2026, 1, 1, 22), minutes=60,
                    recurrence=Recurrence(Repeat.PATCH_TUESDAY, after=14).rrule())  # fmt: skip
    year = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    starts = [one.start.date() for one in occurrences(window, *year)]
    assert starts == [patch_tuesday(2026, month) + timedelta(days=14) for month in range(1, 13)]
    assert max(day.day for day in starts) == 28


# --- blackouts ------------------------------------------------------------------------------------------------

FREEZE = Blackout(why="Christmas freeze", first=wall(2025, 12, 20, 18), last=wall(2026, 1, 3, 8), yearly=True)
NIGHTLY = Window(name="Nightly", timezone="Europe/Berlin", first=wall(2026, 3, 1, 22), minutes=240,
                 recurrence="FREQ=DAILY", blackouts=(FREEZE,), key=7)  # fmt: skip


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin"))


def test_a_window_that_would_open_in_a_blackout_stays_shut_and_one_that_is_open_closes() -> None:
    evening = Window(name="Evening", timezone="Europe/Berlin", first=wall(2026, 12, 1, 17), minutes=180,
                     recurrence="FREQ=DAILY", blackouts=(FREEZE,))  # fmt: skip
    found = list(occurrences(evening, berlin("2026-12-19"), berlin("2027-01-05")))
    assert [(one.start, one.end, one.cut) for one in found] == [
        (berlin("2026-12-19 17:00"), berlin("2026-12-19 20:00"), ""),
        (berlin("2026-12-20 17:00"), berlin("2026-12-20 18:00"), "Christmas freeze"),
        (berlin("2027-01-03 17:00"), berlin("2027-01-03 20:00"), ""),
        (berlin("2027-01-04 17:00"), berlin("2027-01-04 20:00"), ""),
    ]
    assert window_at([evening], berlin("2026-12-20 18:00")) is None
    shut = [one for one in fates(evening, berlin("2026-12-19"), berlin("2027-01-05")) if one.opens is None]
    assert (len(shut), shut[0].start, shut[0].blackout) == (13, berlin("2026-12-21 17:00"), FREEZE)
    notes = blackout_notes(evening, berlin("2026-12-19"))
    assert notes[0] == "Sunday 20 December 2026: it closes at 18:00 instead of 20:00 (Christmas freeze)."
    assert notes[1] == "Monday 21 December 2026: it stays shut (Christmas freeze)."


def test_half_a_window_does_not_open_when_a_blackout_ends_inside_it() -> None:
    night = Window(name="Night", timezone="Europe/Berlin", first=wall(2026, 12, 1, 6), minutes=240,
                   recurrence="FREQ=DAILY", blackouts=(FREEZE,))  # fmt: skip
    assert window_at([night], berlin("2027-01-03 09:00")) is None
    assert window_at([night], berlin("2027-01-04 09:00")) is not None


def test_a_blackout_that_was_taken_back_counts_until_then() -> None:
    short = Blackout(why="Audit", first=wall(2026, 3, 2, 0), last=wall(2026, 3, 9, 0),
                     ended_at=berlin("2026-03-04 12:00"))  # fmt: skip
    window = Window(name="w", timezone="Europe/Berlin", first=wall(2026, 3, 1, 10), minutes=60,
                    recurrence="FREQ=DAILY", blackouts=(short,))  # fmt: skip
    days = [one.start.day for one in occurrences(window, berlin("2026-03-01"), berlin("2026-03-07"))]
    assert days == [1, 5, 6]


def test_29_february_is_1_march_where_there_is_none() -> None:
    assert in_year(wall(2028, 2, 29, 5), 2027) == wall(2027, 3, 1, 5)
    assert in_year(wall(2028, 2, 29, 5), 2032) == wall(2032, 2, 29, 5)


def test_a_blackout_in_words() -> None:
    assert blackout_words(FREEZE) == "from 20 December 18:00 until 3 January 08:00, every year from 2025"
    once = Blackout(why="Audit", first=wall(2026, 3, 2, 0), last=wall(2026, 3, 9, 0))
    assert blackout_words(once) == "from Monday 2 March 2026 00:00 until Monday 9 March 2026 00:00"


@pytest.mark.parametrize(
    ("first", "last", "yearly", "complaint"),
    [
        (wall(2026, 3, 2), wall(2026, 3, 2), False, "is not after"),
        (wall(2026, 3, 2), wall(2026, 3, 1), False, "until: 2026-03-01 00:00 is not after"),
        (wall(2026, 3, 2), wall(2027, 6, 1), False, "at most 366 days"),
        (wall(2026, 3, 2), wall(2027, 2, 1), True, "a yearly blackout lasts at most 300 days"),
    ],
)
def test_what_is_no_blackout_is_refused(first: datetime, last: datetime, yearly: bool, complaint: str) -> None:
    with pytest.raises(CalendarError, match=complaint):
        blackout_check(first=first, last=last, yearly=yearly)


BLACKOUTS = st.lists(
    st.builds(
        lambda day, hour, hours, yearly: Blackout(
            why=f"from {day}",
            first=datetime.combine(day, datetime.min.time()) + timedelta(hours=hour),
            last=datetime.combine(day, datetime.min.time()) + timedelta(hours=hour + hours),
            yearly=yearly,
        ),
        st.dates(date(2026, 2, 1), date(2026, 11, 30)),
        st.integers(0, 23),
        st.integers(1, 24 * 20),
        st.booleans(),
    ),
    max_size=3,
).map(tuple)


@settings(max_examples=60, deadline=None)
@given(
    blackouts=BLACKOUTS,
    name=st.sampled_from(ZONES),
    hour=st.integers(0, 23),
    minutes=st.integers(1, 60 * 30),
    begins=st.dates(date(2026, 2, 20), date(2027, 11, 20)),
)
def test_no_window_is_open_in_a_blackout_minute_by_minute(
    blackouts: tuple[Blackout, ...], name: str, hour: int, minutes: int, begins: date
) -> None:
    """The model asks the clock on the wall of each quarter of an hour whether it stands inside a blackout."""
    window = Window(name="w", timezone=name, first=wall(2026, 1, 1, hour), minutes=minutes, recurrence="FREQ=DAILY",
                    blackouts=blackouts)  # fmt: skip
    free = Window(name="w", timezone=name, first=wall(2026, 1, 1, hour), minutes=minutes, recurrence="FREQ=DAILY")
    since = datetime.combine(begins, datetime.min.time(), UTC)
    until = since + timedelta(days=3)
    opened = list(occurrences(window, since, until))
    rule = list(occurrences(free, since, until))
    for number in range(3 * 96):
        at = since + timedelta(minutes=15 * number)
        if any(one.start <= at < one.end for one in opened):
            assert not _is_black(blackouts, name, at)
    # Nothing is lost that no blackout touches, and what is cut is cut where one begins.
    for planned in (one for one in rule if one.start >= since):  # what was cut may have ended before
        begin_black = _is_black(blackouts, name, planned.start)
        got = next((one for one in opened if one.start == planned.start), None)
        starts = [one.start for one in closed_times(blackouts, name, planned.start, planned.end)]
        inside = [start for start in starts if start > planned.start]
        if begin_black:
            assert got is None
        else:
            assert got is not None
            assert got.end == (min(inside) if inside else planned.end)
            assert bool(got.cut) == bool(inside)


def _is_black(blackouts: tuple[Blackout, ...], name: str, at: datetime) -> bool:
    """Asked of the instants between which each blackout lies, year by year."""
    here = ZoneInfo(name)
    for blackout in blackouts:
        years = range(2026, 2030) if blackout.yearly else [blackout.first.year]
        for year in years:
            over = blackout.last.year - blackout.first.year
            first, last = in_year(blackout.first, year), in_year(blackout.last, year + over)
            if first.replace(tzinfo=here).astimezone(UTC) <= at < last.replace(tzinfo=here).astimezone(UTC):
                return True
    return False


# --- what was missed ------------------------------------------------------------------------------------------


def test_what_was_missed_is_caught_up_within_the_hours_and_never_in_a_blackout() -> None:
    sundays = Window(name="Sunday", timezone="Europe/Berlin", first=wall(2026, 3, 1, 2), minutes=120,
                     recurrence="FREQ=WEEKLY;BYDAY=SU", catch_up_hours=36, key=3)  # fmt: skip
    during = allowed_at([sundays], berlin("2026-03-08 03:00"))
    assert (during.until, during.caught_up, during.window_id) == (berlin("2026-03-08 04:00"), False, 3)
    late = allowed_at([sundays], berlin("2026-03-08 20:00"))
    assert (late.until, late.caught_up, late.start) == (
        berlin("2026-03-09 16:00"), True, berlin("2026-03-08 02:00"),
    )  # fmt: skip
    assert late.fits(60, berlin("2026-03-09 15:00"))
    assert not late.fits(61, berlin("2026-03-09 15:00"))
    assert allowed_at([sundays], berlin("2026-03-09 16:00")) is None

    audit = Blackout(why="Audit", first=wall(2026, 3, 8, 22), last=wall(2026, 3, 9, 10))
    frozen = Window(name="Sunday", timezone="Europe/Berlin", first=wall(2026, 3, 1, 2), minutes=120,
                    recurrence="FREQ=WEEKLY;BYDAY=SU", catch_up_hours=36, blackouts=(audit,))  # fmt: skip
    assert catch_up_until(frozen, berlin("2026-03-08 20:00")).until == berlin("2026-03-08 22:00")
    assert catch_up_until(frozen, berlin("2026-03-08 22:00")) is None
    assert catch_up_until(frozen, berlin("2026-03-09 12:00")).until == berlin("2026-03-09 16:00")


def test_what_a_blackout_kept_shut_was_not_missed_and_an_ended_window_is_not_caught_up() -> None:
    audit = Blackout(why="Audit", first=wall(2026, 3, 8, 0), last=wall(2026, 3, 8, 12))
    frozen = Window(name="Sunday", timezone="Europe/Berlin", first=wall(2026, 3, 1, 2), minutes=120,
                    recurrence="FREQ=WEEKLY;BYDAY=SU", catch_up_hours=36, blackouts=(audit,))  # fmt: skip
    assert catch_up_until(frozen, berlin("2026-03-08 20:00")) is None
    ended = Window(name="Sunday", timezone="Europe/Berlin", first=wall(2026, 3, 1, 2), minutes=120,
                   recurrence="FREQ=WEEKLY;BYDAY=SU", catch_up_hours=36,
                   ended_at=berlin("2026-03-08 10:00"))  # fmt: skip
    assert catch_up_until(ended, berlin("2026-03-08 09:00")).until == berlin("2026-03-08 10:00")
    assert catch_up_until(ended, berlin("2026-03-08 10:00")) is None


def test_without_the_rule_what_was_missed_waits() -> None:
    assert allowed_at([NIGHTLY], berlin("2026-03-08 12:00")) is None


def test_work_longer_than_the_window_is_refused() -> None:
    start = berlin("2026-03-08 02:00")
    room = Occurrence(name="Sunday", start=start, end=start + timedelta(minutes=90), cut="Audit")
    plan_check(minutes=90, occurrence=room)
    with pytest.raises(CalendarError, match=r"91 minutes of work do not fit: 'Sunday' is open for 90 minutes \(Audit"):
        plan_check(minutes=91, occurrence=room)
    with pytest.raises(CalendarError, match="minutes: 0 is no length"):
        plan_check(minutes=0, occurrence=room)
    with pytest.raises(CalendarError, match="minutes: 180 is longer than the 120 minutes that are agreed here"):
        window_check(recurrence="", first=wall(2026, 3, 1, 2), minutes=180, longest=120)
