"""Maintenance windows: recurrence on the site's wall clock, across clock changes, and who may set them."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from forestall.server.calendar import queries, services
from forestall.server.calendar.recurrence import Recurrence, Repeat, clock_change_notes, overlaps, recurrence_words
from forestall.server.calendar.rules import CalendarError
from forestall.server.calendar.windows import Window, next_window, occurrences, window_at, window_check
from forestall.server.evidence.models import Entry
from forestall.server.people.models import Client, Site
from forestall.server.people.roles import ROLE_PERMISSIONS, Role
from forestall.server.people.scope import NotAllowedError, Scope


def wall(*parts: int) -> datetime:
    """A time on a wall clock: it has no zone."""
    return datetime(*parts)  # noqa: DTZ001


NOW = datetime(2026, 2, 20, 9, 0, tzinfo=UTC)
SUNDAYS = Window(
    name="Patch Sunday",
    timezone="Europe/Berlin",
    first=wall(2026, 3, 1, 2, 30),
    minutes=90,
    recurrence="FREQ=WEEKLY;BYDAY=SU",
)


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin"))


def test_a_window_is_open_from_its_start_until_before_its_end() -> None:
    assert window_at([SUNDAYS], berlin("2026-03-08 02:29:59")) is None
    assert window_at([SUNDAYS], berlin("2026-03-08 02:30")).end == berlin("2026-03-08 04:00")
    assert window_at([SUNDAYS], berlin("2026-03-08 03:59:59")) is not None
    assert window_at([SUNDAYS], berlin("2026-03-08 04:00")) is None


def test_a_start_that_the_clock_change_skips_is_read_with_the_offset_before() -> None:
    change = next_window([SUNDAYS], berlin("2026-03-28 12:00"))
    assert change.start == berlin("2026-03-29 03:30")  # 02:30 does not exist that night
    assert change.end - change.start == timedelta(minutes=90)


def test_a_start_that_happens_twice_is_the_first() -> None:
    change = next_window([SUNDAYS], berlin("2026-10-24 12:00"))
    assert change.start == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert change.end - change.start == timedelta(minutes=90)


def test_the_wall_clock_start_stays_the_same_on_both_sides_of_a_clock_change() -> None:
    weekly = Window(
        name="w", timezone="America/New_York", first=wall(2026, 2, 24, 22, 0), minutes=60, recurrence="FREQ=WEEKLY"
    )
    starts = [o.start for o in occurrences(weekly, berlin("2026-02-20 00:00"), berlin("2026-03-20 00:00"))]
    assert [start.astimezone(ZoneInfo("America/New_York")).hour for start in starts] == [22] * 4
    assert len({start.hour for start in starts}) == 2


def test_once_is_once() -> None:
    once = Window(name="move", timezone="UTC", first=wall(2026, 5, 1, 8, 0), minutes=30)
    assert window_at([once], datetime(2026, 5, 1, 8, 15, tzinfo=UTC)) is not None
    assert next_window([once], datetime(2026, 5, 1, 9, 0, tzinfo=UTC)) is None


def test_of_two_open_windows_the_longer_one_counts() -> None:
    long = Window(name="long", timezone="Europe/Berlin", first=wall(2026, 3, 8, 0, 0), minutes=600)
    assert window_at([SUNDAYS, long], berlin("2026-03-08 03:00")).name == "long"


def test_count_and_until_end_a_rule() -> None:
    thrice = Window(name="w", timezone="UTC", first=wall(2026, 5, 1, 8), minutes=30, recurrence="FREQ=DAILY;COUNT=3")
    until = Window(
        name="w", timezone="UTC", first=wall(2026, 5, 1, 8), minutes=30, recurrence="FREQ=DAILY;UNTIL=20260502"
    )
    span = (datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC))
    assert [o.start.day for o in occurrences(thrice, *span)] == [1, 2, 3]
    assert [o.start.day for o in occurrences(until, *span)] == [1, 2]


@pytest.mark.parametrize(
    ("rule", "minutes", "complaint"),
    [
        ("FREQ=SECONDLY", 60, "FREQ must be one of"),
        ("FREQ=DAILY;BYHOUR=1", 60, "'BYHOUR=1' is not one of"),
        ("FREQ=DAILY;FREQ=WEEKLY", 60, "given twice"),
        ("FREQ=DAILY;COUNT=0", 60, "COUNT=0"),
        ("FREQ=DAILY;COUNT=99999", 60, "COUNT=99999"),
        ("FREQ=DAILY;INTERVAL=0", 60, "INTERVAL=0"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20270101", 60, "exclude each other"),
        ("FREQ=DAILY;UNTIL=20270101T000000Z", 60, "without Z"),
        ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", 60, "BYMONTH=2 never has BYMONTHDAY=30"),
        ("FREQ=DAILY;BYSETPOS=5", 60, "BYSETPOS goes with"),
        ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6", 60, "no occurrence within five years"),
        ("FREQ=WEEKLY;BYDAY=XX", 60, "FREQ=WEEKLY;BYDAY=XX"),
        ("RRULE:FREQ=DAILY\nEXDATE:20260101", 60, "is not one of"),
        ("every sunday", 60, "EVERY SUNDAY"),
        ("FREQ=DAILY;" + "BYDAY=SU," * 50, 60, "longer than"),
        ("FREQ=DAILY", 0, "minutes: 0"),
        ("FREQ=DAILY", 10**9, "minutes: 1000000000"),
    ],
)
def test_a_bad_window_is_refused_by_name_and_at_once(rule, minutes, complaint) -> None:
    began = time.monotonic()
    with pytest.raises(CalendarError, match=complaint.replace("'", ".")):
        window_check(recurrence=rule, first=wall(2026, 5, 1, 8), minutes=minutes)
    assert time.monotonic() - began < 2


@pytest.fixture
def two_clients(db):
    acme = Client.objects.create(name="Acme", timezone="Europe/Berlin", country="DE", region="BY")
    other = Client.objects.create(name="Bolt", timezone="Europe/London", country="GB", region="ENG")
    return Site.objects.create(client=acme, name="Munich"), Site.objects.create(client=other, name="Leeds")


def scope(role: Role, *sites: Site) -> Scope:
    return Scope.at("alice", 1, ROLE_PERMISSIONS[role], sites={site.pk: site.client_id for site in sites})


def test_a_technician_sets_a_window_and_ends_it(two_clients) -> None:
    munich, _leeds = two_clients
    alice = scope(Role.TECHNICIAN, munich)
    window = services.window_create(
        site=munich,
        name="Patch Sunday",
        starts_on=date(2026, 3, 1),
        starts_at="02:30",
        minutes=90,
        rrule="FREQ=WEEKLY;BYDAY=SU",
        scope=alice,
        now=berlin("2026-02-20 09:00"),
    )
    during = berlin("2026-03-08 03:00")
    assert queries.window_now(scope=alice, site_id=munich.pk, device_id=None, now=during).name == "Patch Sunday"
    services.window_end(window=window, scope=alice, now=during)
    assert queries.window_now(scope=alice, site_id=munich.pk, device_id=None, now=during) is None
    assert queries.window_next(scope=alice, site_id=munich.pk, device_id=None, now=during) is None
    assert queries.windows(scope=alice).get().ended_by == "alice"


def test_a_stranger_sees_no_window_and_sets_none(two_clients) -> None:
    munich, leeds = two_clients
    charlie = scope(Role.TECHNICIAN, leeds)
    with pytest.raises(Site.DoesNotExist):
        services.window_create(
            site=munich,
            name="w",
            starts_on=date(2026, 3, 1),
            starts_at="02:30",
            minutes=90,
            scope=charlie,
            now=berlin("2026-02-20 09:00"),
        )
    assert not queries.windows(scope=charlie).exists()


def test_an_auditor_changes_nothing(two_clients) -> None:
    munich, _leeds = two_clients
    bob = scope(Role.AUDITOR, munich)
    with pytest.raises(NotAllowedError):
        services.working_week_set(client=munich.client, hours={}, scope=bob, now=NOW)
    with pytest.raises(NotAllowedError):
        services.closed_day_add(client=munich.client, day=date(2026, 12, 28), why="stocktaking", scope=bob, now=NOW)


def test_hours_and_closed_days_reach_the_clock(two_clients) -> None:
    munich, leeds = two_clients
    alice = Scope.at("alice", 1, ROLE_PERMISSIONS[Role.SERVICE_MANAGER], clients=[munich.client_id])
    with pytest.raises(NotAllowedError, match=r"client\.change at Acme"):  # the hours of a client are not one site's
        services.working_week_set(client=munich.client, hours={}, scope=scope(Role.OWNER, munich), now=NOW)
    services.working_week_set(client=munich.client, hours={"monday": [["08:00", "12:00"]]}, scope=alice, now=NOW)
    services.closed_day_add(client=munich.client, day=date(2026, 11, 23), why="moving house", scope=alice, now=NOW)
    times = queries.working_times(scope=Scope.system("test"), clients=[munich.client, leeds.client])
    story = times[munich.client_id].explain(berlin("2026-11-23 00:00"), berlin("2026-11-24 00:00"))
    assert [segment.why for segment in story] == ["closed: moving house"]
    assert times[leeds.client_id].holidays[date(2026, 12, 25)] == "Christmas Day"


def test_a_country_without_known_holidays_leaves_a_note_on_the_clock(two_clients) -> None:
    munich, _leeds = two_clients
    munich.client.country = "XX"
    assert "country 'XX'" in queries.working_time(scope=Scope.system("test"), client=munich.client).note


def test_a_site_abroad_counts_in_its_own_time_zone_and_rests_on_its_own_holidays(two_clients) -> None:
    """Acme sits in Munich; its shop in Leeds opens on Epiphany, on London time, in Acme's hours."""
    munich, _leeds = two_clients
    shop = Site.objects.create(client=munich.client, name="Shop", timezone="Europe/London", country="GB", region="ENG")
    salzburg = Site.objects.create(client=munich.client, name="Salzburg", country="AT")
    times = queries.working_times(scope=Scope.system("test"), clients=[munich.client], sites=[munich, shop, salzburg])
    epiphany, nine = date(2026, 1, 6), datetime(2026, 1, 6, 9, 0, tzinfo=UTC)
    assert times[munich.pk].day_in_words(epiphany) == times[munich.client_id].day_in_words(epiphany)
    assert times[munich.pk].day_in_words(epiphany).startswith("public holiday")
    assert times[shop.pk].day_in_words(epiphany) == "09:00 to 17:30"
    assert times[shop.pk].resumes_at(nine) == nine
    assert times[salzburg.pk].note == "", "Bavaria is no region of Austria, and is not asked for there"
    assert times[salzburg.pk].day_in_words(date(2026, 10, 26)) == "public holiday: National Day"
    services.closed_day_add(client=munich.client, day=date(2026, 1, 7), why="stocktaking",
                            scope=Scope.system("test"), now=NOW)  # fmt: skip
    assert (
        queries.working_time_of_site(scope=Scope.system("test"), site=shop).day_in_words(date(2026, 1, 7))
        == "closed: stocktaking"
    )


def test_every_change_of_the_calendar_is_on_record_with_what_was_before(two_clients) -> None:
    munich, _leeds = two_clients
    alice = Scope.at("alice", 1, ROLE_PERMISSIONS[Role.SERVICE_MANAGER], clients=[munich.client_id])
    services.working_week_set(client=munich.client, hours={"monday": [["08:00", "12:00"]]}, scope=alice, now=NOW)
    services.working_week_set(client=munich.client, hours={"monday": [["08:00", "12:00"]]}, scope=alice, now=NOW)
    closed = services.closed_day_add(client=munich.client, day=date(2026, 3, 2), why="move", scope=alice, now=NOW)
    services.closed_day_remove(closed=closed, scope=alice, now=NOW)
    window = services.window_create(
        site=munich,
        name="Patch Sunday",
        starts_on=date(2026, 3, 1),
        starts_at="02:30",
        minutes=90,
        scope=alice,
        now=NOW,
    )
    services.window_change(window=window, minutes=60, rrule="FREQ=DAILY", scope=alice, now=NOW)
    services.window_end(window=window, scope=alice, now=NOW)
    with pytest.raises(CalendarError, match="ended by alice"):
        services.window_change(window=window, minutes=30, scope=alice, now=NOW)
    said = [
        (entry.kind, entry.payload["act"], entry.payload["before"], entry.payload["after"])
        for entry in Entry.objects.visible_to(Scope.system("test")).order_by("index")
    ]
    assert said[0][2]["tuesday"] == [["09:00", "17:30"]]
    assert said[0][3]["tuesday"] is None
    assert said[1:3] == [
        ("calendar:changed", "made", {}, {"why": "move"}),
        ("calendar:changed", "removed", {"why": "move"}, {}),
    ]
    assert said[3][:2] == ("window:changed", "made")
    assert said[4][2] == {"minutes": 90, "rrule": "", "in words": "once, on Sunday 1 March 2026"}
    assert said[4][3] == {"minutes": 60, "rrule": "FREQ=DAILY", "in words": "every day"}
    assert [one[1] for one in said[5:]] == ["removed"]


@pytest.mark.parametrize(
    ("asked", "rule", "words"),
    [
        (Recurrence(Repeat.ONCE), "", "once, on Sunday 1 March 2026"),
        (Recurrence(Repeat.DAILY), "FREQ=DAILY", "every day"),
        (Recurrence(Repeat.WEEKDAYS), "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", "Monday to Friday"),
        (
            Recurrence(Repeat.WEEKLY, days=("SU", "WE")),
            "FREQ=WEEKLY;BYDAY=WE,SU",
            "every Wednesday and Sunday",
        ),
        (
            Recurrence(Repeat.MONTHLY, days=("TU",), nth=2, until=date(2026, 12, 31)),
            "FREQ=MONTHLY;BYDAY=2TU;UNTIL=20261231",
            "on the second Tuesday of each month until Thursday 31 December 2026",
        ),
        (Recurrence(Repeat.MONTHLY, days=("SU",), nth=-1), "FREQ=MONTHLY;BYDAY=-1SU",
         "on the last Sunday of each month"),
        (
            Recurrence(Repeat.OTHER, rule="rrule:freq=yearly;bymonth=3;byday=-1su"),
            "FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU",
            "by the rule FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU",
        ),
        (Recurrence(Repeat.WEEKLY, days=("SU",), every=2), "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU",
         "every 2nd week on Sunday"),
        (Recurrence(Repeat.WEEKDAYS, days=("MO", "TU", "WE", "TH", "FR"), every=2),
         "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TU,WE,TH,FR", "Monday to Friday of every 2nd week"),
        (Recurrence(Repeat.MONTHLY, days=("SA",), nth=1, every=3), "FREQ=MONTHLY;INTERVAL=3;BYDAY=1SA",
         "on the first Saturday of every 3rd month, from March"),
        (Recurrence(Repeat.MONTH_DAY, day=15), "FREQ=MONTHLY;BYMONTHDAY=15", "on day 15 of each month"),
        (Recurrence(Repeat.PATCH_TUESDAY), "FREQ=MONTHLY;BYDAY=TU;BYMONTHDAY=8,9,10,11,12,13,14", "on Patch Tuesday"),
        (Recurrence(Repeat.PATCH_TUESDAY, after=3), "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=11,12,13,14,15,16,17",
         "3 days after Patch Tuesday, on Friday"),
        (Recurrence(Repeat.MONTH_END), "FREQ=MONTHLY;BYMONTHDAY=-1", "on the last day of each month"),
        (Recurrence(Repeat.LAST_WORKDAY, until=date(2027, 1, 31)),
         "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;UNTIL=20270131",
         "on the last Monday to Friday of each month until Sunday 31 January 2027"),
    ],
)  # fmt: skip
def test_what_a_form_asks_a_rule_says_and_words_tell(asked, rule, words) -> None:
    assert asked.rrule() == rule
    window_check(recurrence=rule, first=wall(2026, 3, 1, 2, 30), minutes=60)
    assert recurrence_words(rule, date(2026, 3, 1)) == words
    assert Recurrence.read(rule).rrule() == rule
    assert Recurrence.read(rule).repeat is asked.repeat


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (Recurrence(Repeat.WEEKLY), "choose at least one weekday"),
        (Recurrence(Repeat.MONTHLY), "choose one weekday"),
        (Recurrence(Repeat.WEEKLY, days=("XX",)), "'XX' is not one of"),
        (Recurrence(Repeat.MONTHLY, days=("MO",), nth=9), "nth: 9"),
        (Recurrence(Repeat.OTHER), "write an RFC 5545 rule"),
        (Recurrence(Repeat.PATCH_TUESDAY, after=15), "after: 15 is not between 0 and 14 days"),
        (Recurrence(Repeat.MONTH_DAY, day=31), "day: 31 is not between 1 and 28"),
        (Recurrence(Repeat.DAILY, every=0), "every: 0 is not between 1 and 52"),
    ],
)
def test_a_form_that_lacks_something_is_told_what(asked, complaint) -> None:
    with pytest.raises(CalendarError, match=complaint):
        asked.rrule()


def test_clock_changes_are_told_before_they_come() -> None:
    spring, autumn = clock_change_notes(SUNDAYS, datetime(2026, 3, 2, tzinfo=UTC))[:2]
    assert spring == "Sunday 29 March 2026: the clock skips 02:30, so it starts at 03:30."
    assert autumn.startswith("Sunday 25 October 2026: the clock changes while it is open, so it ends at 03:00")
    assert clock_change_notes(SUNDAYS, datetime(2026, 11, 1, tzinfo=UTC))[0].startswith("Sunday 28 March 2027")
    quiet = Window(name="w", timezone="Europe/Berlin", first=wall(2026, 3, 1, 22), minutes=60, recurrence="FREQ=DAILY")
    assert clock_change_notes(quiet, datetime(2026, 3, 2, tzinfo=UTC)) == []


def test_windows_that_meet_are_named() -> None:
    nightly = Window(name="nightly", timezone="Europe/Berlin", first=wall(2026, 3, 1, 3), minutes=60,
                     recurrence="FREQ=DAILY")  # fmt: skip
    noon = Window(
        name="noon", timezone="Europe/Berlin", first=wall(2026, 3, 1, 12), minutes=60, recurrence="FREQ=DAILY"
    )
    met = overlaps(SUNDAYS, [nightly, noon], datetime(2026, 3, 2, tzinfo=UTC))
    assert [(window.name, first.start.day) for window, first in met] == [("nightly", 8)]
