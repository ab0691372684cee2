"""Maintenance windows: recurrence on the site's wall clock, across clock changes, and who may set them."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from forestall.server.calendar import queries, services
from forestall.server.calendar.rules import CalendarError
from forestall.server.calendar.windows import Window, next_window, occurrences, window_at, window_check
from forestall.server.people.models import Client, Site
from forestall.server.people.roles import ROLE_PERMISSIONS, Role
from forestall.server.people.scope import NotAllowedError, Scope


def wall(*parts: int) -> datetime:
    """A time on a wall clock: it has no zone."""
    return datetime(*parts)  # noqa: DTZ001


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
        services.working_week_set(client=munich.client, hours={}, scope=bob)
    with pytest.raises(NotAllowedError):
        services.closed_day_add(client=munich.client, day=date(2026, 12, 28), why="stocktaking", scope=bob)


def test_hours_and_closed_days_reach_the_clock(two_clients) -> None:
    munich, leeds = two_clients
    alice = Scope.at("alice", 1, ROLE_PERMISSIONS[Role.SERVICE_MANAGER], clients=[munich.client_id])
    with pytest.raises(NotAllowedError, match=r"client\.change at Acme"):  # the hours of a client are not one site's
        services.working_week_set(client=munich.client, hours={}, scope=scope(Role.OWNER, munich))
    services.working_week_set(client=munich.client, hours={"monday": [["08:00", "12:00"]]}, scope=alice)
    services.closed_day_add(client=munich.client, day=date(2026, 11, 23), why="moving house", scope=alice)
    times = queries.working_times(scope=Scope.system("test"), clients=[munich.client, leeds.client])
    story = times[munich.client_id].explain(berlin("2026-11-23 00:00"), berlin("2026-11-24 00:00"))
    assert [segment.why for segment in story] == ["closed: moving house"]
    assert times[leeds.client_id].holidays[date(2026, 12, 25)] == "Christmas Day"


def test_a_country_without_known_holidays_leaves_a_note_on_the_clock(two_clients) -> None:
    munich, _leeds = two_clients
    munich.client.country = "XX"
    assert "country 'XX'" in queries.working_time(scope=Scope.system("test"), client=munich.client).note
