"""V14: the SLA clock's arithmetic against a model that asks the wall clock of every minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestall.server.calendar.rules import (
    COUNTED,
    DEFAULT_WEEK,
    WEEKDAYS,
    CalendarError,
    Pause,
    Week,
    WorkingTime,
    merged_pauses,
    public_holidays,
)

MINUTE = timedelta(minutes=1)

# Clock changes of an hour north and south, of half an hour (Lord Howe), at midnight (Beirut), a whole skipped day
# (Apia, 2011) and none at all.
ZONES = [
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/St_Johns",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Pacific/Apia",
    "UTC",
]
CHANGES = [
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # Europe, forward
    datetime(2026, 10, 25, 1, tzinfo=UTC),  # Europe, back
    datetime(2026, 3, 8, 7, tzinfo=UTC),  # New York, forward
    datetime(2026, 11, 1, 6, tzinfo=UTC),  # New York, back
    datetime(2026, 4, 4, 15, tzinfo=UTC),  # Lord Howe, back by 30 minutes
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),  # Lord Howe, forward by 30 minutes
    datetime(2011, 12, 30, 10, tzinfo=UTC),  # Apia loses 30 December 2011
    datetime(2026, 12, 24, 12, tzinfo=UTC),  # holidays ahead
]
COUNTRIES = [("DE", "BY"), ("GB", "ENG"), ("US", ""), ("FR", ""), ("JP", ""), ("", "")]


def model_seconds(work: WorkingTime, start: datetime, end: datetime, pauses: list[Pause]) -> int:
    """The rule of calendar/rules.py, said minute by minute."""
    zone = ZoneInfo(work.timezone)
    seconds = 0
    at = start
    while at < end:
        wall = at.astimezone(zone)
        day = wall.date()
        in_hours = any(
            first <= wall.hour * 3600 + wall.minute * 60 < last for first, last in work.week.days[wall.weekday()]
        )
        paused = any(pause.start <= at and (pause.end is None or at < pause.end) for pause in pauses)
        if in_hours and not paused and day not in work.holidays and day not in work.closed:
            seconds += 60
        at += MINUTE
    return seconds


@st.composite
def weeks(draw) -> Week:
    days = []
    for _ in WEEKDAYS:
        edges = sorted(draw(st.lists(st.integers(0, 96), max_size=4, unique=True)))
        days.append(tuple((a * 900, b * 900) for a, b in zip(edges[::2], edges[1::2], strict=False)))
    return Week(days=tuple(days))


@st.composite
def timelines(draw) -> tuple[WorkingTime, datetime, datetime, list[Pause]]:
    country, region = draw(st.sampled_from(COUNTRIES))
    near = draw(st.sampled_from(CHANGES))
    start = near + MINUTE * draw(st.integers(-4000, 1000))
    end = start + MINUTE * draw(st.integers(0, 5000))
    closed = draw(
        st.dictionaries(st.dates(start.date(), start.date() + timedelta(days=5)), st.just("stocktaking"), max_size=1)
    )
    pauses = []
    for _ in range(draw(st.integers(0, 3))):
        begin = start + MINUTE * draw(st.integers(-300, 6000))
        length = draw(st.one_of(st.none(), st.integers(0, 3000)))
        pauses.append(
            Pause(start=begin, end=None if length is None else begin + MINUTE * length, why="waiting for client")
        )
    work = WorkingTime(
        timezone=draw(st.sampled_from(ZONES)),
        week=draw(st.one_of(st.just(DEFAULT_WEEK), weeks())),
        holidays=public_holidays(country, region),
        closed=closed,
    )
    return work, start, end, pauses


def agrees_with_the_model(timeline: tuple[WorkingTime, datetime, datetime, list[Pause]]) -> None:
    work, start, end, pauses = timeline
    expected = model_seconds(work, start, end, pauses)
    assert abs(work.seconds_between(start, end, pauses) - expected) < 1
    assert work.minutes_between(start, end, pauses) == work.seconds_between(start, end, pauses) / 60

    explained = work.explain(start, end, pauses)
    assert sum(segment.seconds for segment in explained if segment.counted) == work.seconds_between(start, end, pauses)
    assert [segment.why == COUNTED for segment in explained] == [segment.counted for segment in explained]
    if start < end:
        assert (explained[0].start, explained[-1].end) == (start, end)
    for left, right in pairwise(explained):
        assert left.end == right.start
        assert left.why != right.why

    if expected:
        due = work.due_at(start, expected, pauses)
        assert due is not None
        assert due <= end
        assert work.seconds_between(start, due, pauses) == expected
        assert work.seconds_between(start, due - MINUTE, pauses) < expected


@settings(max_examples=300, deadline=None)
@given(timelines())
def test_v14_clock_matches_the_minute_by_minute_model(timeline) -> None:
    agrees_with_the_model(timeline)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_v14_clock_matches_the_model_on_ten_thousand_timelines() -> None:
    @settings(max_examples=10_000, deadline=None, database=None)
    @given(timelines())
    def campaign(timeline) -> None:
        agrees_with_the_model(timeline)

    campaign()


@given(timelines(), st.integers(0, 59), st.integers(0, 59))
@settings(max_examples=100, deadline=None)
def test_two_halves_make_the_whole(timeline, second, split) -> None:
    work, start, end, pauses = timeline
    start += timedelta(seconds=second)
    middle = min(start + (end - start) * split / 60, end) if end > start else start
    parts = work.seconds_between(start, middle, pauses) + work.seconds_between(middle, end, pauses)
    assert parts == pytest.approx(work.seconds_between(start, end, pauses), abs=1e-3)


def at(text: str, zone: str = "Europe/Berlin") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


BERLIN = WorkingTime(timezone="Europe/Berlin", holidays=public_holidays("DE", "BY"))


def test_four_working_hours_over_a_weekend() -> None:
    assert BERLIN.due_at(at("2026-11-20 16:30"), 4 * 3600) == at("2026-11-23 12:00")


def test_it_says_why_each_stretch_counted() -> None:
    closed = WorkingTime(timezone="Europe/Berlin", holidays=BERLIN.holidays, closed={date(2026, 12, 28): "stocktaking"})
    pause = Pause(start=at("2026-12-29 10:00"), end=at("2026-12-29 11:00"), why="waiting for client")
    story = closed.explain(at("2026-12-24 16:00"), at("2026-12-29 12:00"), [pause])
    assert [(segment.why, segment.seconds / 3600) for segment in story] == [
        ("counted", 1.5),
        ("outside working hours", 6.5),
        ("public holiday: Christmas Day", 24),
        ("public holiday: Second Day of Christmas", 24),
        ("weekend", 24),
        ("closed: stocktaking", 24),
        ("outside working hours", 9),
        ("counted", 1),
        ("paused: waiting for client", 1),
        ("counted", 1),
    ]


def test_the_night_shift_of_the_clock_change_is_an_hour_longer_or_shorter() -> None:
    night = WorkingTime(timezone="Europe/Berlin", week=Week.parse({name: [["00:00", "24:00"]] for name in WEEKDAYS}))
    assert night.minutes_between(at("2026-03-29 00:00"), at("2026-03-30 00:00")) == 23 * 60
    assert night.minutes_between(at("2026-10-25 00:00"), at("2026-10-26 00:00")) == 25 * 60


def test_a_pause_without_end_leaves_no_due_time() -> None:
    start = at("2026-11-23 09:00")
    pause = [Pause(start=start + timedelta(hours=1), end=None, why="waiting for client")]
    assert BERLIN.due_at(start, 2 * 3600, pause) is None
    assert BERLIN.due_at(start, 1800, pause) == at("2026-11-23 09:30")
    assert BERLIN.resumes_at(start + timedelta(hours=2), pause) is None


def test_it_resumes_on_monday_morning() -> None:
    assert BERLIN.resumes_at(at("2026-11-20 18:00")) == at("2026-11-23 09:00")
    assert BERLIN.resumes_at(at("2026-11-23 10:00")) == at("2026-11-23 10:00")


def test_a_week_without_working_hours_is_an_error_and_not_an_endless_search() -> None:
    never = WorkingTime(timezone="UTC", week=Week.parse({}))
    with pytest.raises(CalendarError, match="no 60 s of working time"):
        never.due_at(datetime(2026, 1, 1, tzinfo=UTC), 60)


def test_overlapping_pauses_count_once() -> None:
    day = at("2026-11-23 00:00")
    pauses = [
        Pause(start=day + timedelta(hours=10), end=day + timedelta(hours=12), why="a"),
        Pause(start=day + timedelta(hours=11), end=day + timedelta(hours=13), why="b"),
        Pause(start=day + timedelta(hours=10.5), end=day + timedelta(hours=11), why="c"),
    ]
    merged = merged_pauses(pauses, until=day + timedelta(days=1))
    assert [(p.why, p.start.hour, p.end.hour) for p in merged] == [("a", 9, 11), ("b", 11, 12)]
    assert BERLIN.minutes_between(day, day + timedelta(days=1), pauses) == (8.5 - 3) * 60


@pytest.mark.parametrize(
    ("hours", "complaint"),
    [
        ({"funday": []}, "hours.funday"),
        ({"monday": [["09:00"]]}, r"hours.monday\[0\]"),
        ({"monday": ["09:00-17:00"]}, r"hours.monday\[0\]"),
        ({"monday": [["9:00", "17:00"]]}, "'9:00' is not a time like 09:00"),
        ({"monday": [["09:60", "17:00"]]}, "'09:60'"),
        ({"monday": [["09:00", "24:01"]]}, "'24:01'"),
        ({"monday": [["17:00", "09:00"]]}, "not before"),
        ({"monday": [["09:00", "12:00"], ["11:00", "13:00"]]}, r"hours.monday\[1\]"),
    ],
)
def test_bad_working_hours_are_named(hours, complaint) -> None:
    with pytest.raises(CalendarError, match=complaint):
        Week.parse(hours)


def test_a_week_survives_being_written_down() -> None:
    hours = {"monday": [["08:00", "12:00"], ["13:00", "24:00"]], "sunday": [["00:00", "06:30"]]}
    assert Week.parse(hours).plain() == hours


def test_an_unknown_country_is_an_error_that_names_it() -> None:
    with pytest.raises(CalendarError, match="country 'XX'"):
        public_holidays("XX", "")
    with pytest.raises(CalendarError, match="region 'QQ'"):
        public_holidays("DE", "QQ")
    assert public_holidays("", "") == {}
