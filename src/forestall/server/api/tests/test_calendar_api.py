"""Ada sets blackouts and reads her calendar on her phone. Mona manages Acme alone, Tom works at one site of it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import icalendar
import pytest
import recurring_ical_events
import time_machine
from django.core.cache import cache
from django.test import Client as Browser

from forestall.server.alerts.tests.desk_world import World
from forestall.server.api.tests.test_clients_api import Caller
from forestall.server.calendar import feeds
from forestall.server.calendar.models import CalendarFeed
from forestall.server.people.models import Grant, Person
from forestall.server.people.roles import Role
from forestall.server.people.services import token_create
from forestall.server.tickets.sla_models import SlaTier

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _monday_morning() -> Iterator[None]:
    with time_machine.travel(datetime(2026, 3, 2, 9, 0, tzinfo=UTC), tick=False):
        yield


@pytest.fixture
def world(db) -> World:
    SlaTier.objects.get_or_create(slug="standard", defaults={"name": "Standard"})
    return World()


@pytest.fixture
def ada(world) -> Caller:
    return Caller("ada", Role.OWNER)


@pytest.fixture
def mona(world) -> Caller:
    return Caller("mona", Role.SERVICE_MANAGER, client=world.acme)


def soon(days: int) -> str:
    return f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}"


def planned(caller: Caller, world: World, **how) -> dict:
    body = {
        "site": str(world.munich.pk), "name": "Nightly", "starts_on": soon(1), "starts_at": "22:00", "minutes": 240,
        "rrule": "FREQ=DAILY", **how,
    }  # fmt: skip
    return caller.does("POST", "/windows", body, status=201)


def test_a_blackout_keeps_windows_shut_and_is_taken_back(world: World, mona: Caller) -> None:
    window = planned(mona, world, catch_up_hours=12, notice_hours=24, notice_first_only=True)
    assert (window["missed"], window["catch_up_hours"], window["notice_first_only"]) == ("catch_up", 12, True)
    blackout = mona.does(
        "POST", "/blackouts",
        {"client": str(world.acme.pk), "why": "Audit", "starts_on": soon(3), "ends_on": soon(5), "ends_at": "12:00"},
        status=201,
    )  # fmt: skip
    shown = mona.does("GET", f"/windows/{window['id']}")
    assert len(shown["blackouts"]) == 3, shown["blackouts"]
    assert "it closes at 00:00 instead of 02:00 (Audit)" in shown["blackouts"][0]
    assert "it stays shut (Audit)" in shown["blackouts"][1]
    times = mona.does("GET", "/window-times?days=8")
    assert [one["cut"] for one in times][:2] == ["", "Audit"]
    assert not any(one["start"].startswith(soon(3)) for one in times)
    ended = mona.does("POST", f"/blackouts/{blackout['id']}/end")
    assert ended["ended_by"] == "mona"
    assert mona.does("GET", f"/windows/{window['id']}")["blackouts"] == []
    assert mona.does("GET", "/blackouts")["items"] == []


def test_only_who_may_it_everywhere_stops_all_work(world: World, ada: Caller, mona: Caller) -> None:
    body = {"why": "Christmas freeze", "starts_on": "2026-12-20", "ends_on": "2027-01-03", "yearly": True}
    assert mona("POST", "/blackouts", body).status_code == 403
    made = ada.does("POST", "/blackouts", body, status=201)
    assert (made["client"], made["words"]) == (
        None,
        "from 20 December 00:00 until 3 January 00:00, every year from 2026",
    )
    assert mona.does("GET", "/blackouts")["items"][0]["why"] == "Christmas freeze"
    assert mona("POST", f"/blackouts/{made['id']}/end").status_code == 403
    refused = ada("POST", "/blackouts", {"why": "x", "starts_on": "2026-12-20", "ends_on": "2026-12-20"})
    assert refused.status_code == 400
    assert b"until: 2026-12-20 00:00 is not after" in refused.content


def test_windows_are_no_longer_than_was_agreed(world: World, mona: Caller) -> None:
    at = f"/clients/{world.acme.pk}/window-limits"
    assert mona.does("PUT", at, {"longest_minutes": 120})[0]["longest_minutes"] == 120
    refused = mona("POST", "/windows", {"site": str(world.munich.pk), "name": "Long", "starts_on": soon(1),
                                        "starts_at": "22:00", "minutes": 240})  # fmt: skip
    assert refused.status_code == 400
    assert b"240 is longer than the 120 minutes that are agreed here" in refused.content
    mona.does("PUT", at, {"longest_minutes": 300, "site": str(world.munich.pk)})
    planned(mona, world)
    assert [one["longest_minutes"] for one in mona.does("PUT", at, {})] == [300]


# --- the calendar on other programs ---------------------------------------------------------------------------


def path_of(made: dict) -> str:
    return made["address"][made["address"].index("/calendar/feed/") :]


def times_in(content: bytes) -> list[tuple[str, datetime]]:
    """As another program expands it."""
    calendar = icalendar.Calendar.from_ical(content)
    now = datetime.now(UTC)
    found = recurring_ical_events.of(calendar).between(now, now + timedelta(days=8))
    times = [one for one in found if str(one["CATEGORIES"].cats[0]) == "Maintenance window"]
    return sorted((str(one["SUMMARY"]), one["DTSTART"].dt.astimezone(UTC)) for one in times)


def test_a_calendar_opens_in_other_programs_and_says_the_same_as_the_list(world: World, mona: Caller) -> None:
    planned(mona, world)
    mona.does("POST", "/blackouts", {"client": str(world.acme.pk), "why": "Audit", "starts_on": soon(3),
                                     "ends_on": soon(5)}, status=201)  # fmt: skip
    made = mona.does("POST", "/calendar-feeds", {"name": "my phone"}, status=201)
    answer = Browser().get(path_of(made))
    assert answer["Content-Type"] == "text/calendar; charset=utf-8"
    expected = [datetime.fromisoformat(one["start"]) for one in mona.does("GET", "/window-times?days=8")]
    assert [start for _name, start in times_in(answer.content)] == expected
    assert len(expected) < 8, "the blackout is honoured"
    calendar = icalendar.Calendar.from_ical(answer.content)
    assert [str(one["SUMMARY"]) for one in calendar.walk("VEVENT") if "Blackout" in one["CATEGORIES"].cats] == [
        "No work: Audit"
    ]
    uids = [str(one["UID"]) for one in calendar.walk("VEVENT")]
    assert len(uids) == len(set(uids))
    assert Browser().get(path_of(made)).content == answer.content, "nothing changed: the same bytes"
    again = Browser().get(path_of(made), headers={"If-None-Match": answer["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert mona.does("GET", "/calendar-feeds")["items"][0]["last_used_at"] is not None
    assert mona("GET", "/calendar.ics").content.count(b"BEGIN:VEVENT") == answer.content.count(b"BEGIN:VEVENT")


def test_what_its_person_may_no_longer_see_is_gone_at_the_next_request(world: World, mona: Caller) -> None:
    planned(mona, world)
    address = path_of(mona.does("POST", "/calendar-feeds", {"name": "my phone"}, status=201))
    assert Browser().get(address).status_code == 200
    absent = Browser().get("/calendar/feed/cal_nobodys.ics")
    assert absent.status_code == 404
    Grant.objects.filter(person=mona.person).delete()
    gone = Browser().get(address)
    assert (gone.status_code, gone.content) == (404, absent.content)
    Grant.objects.create(person=mona.person, role=Role.SERVICE_MANAGER, client=world.acme)
    assert Browser().get(address).status_code == 200
    Person.objects.filter(pk=mona.person.pk).update(is_active=False)
    assert Browser().get(address).content == absent.content


def test_a_revoked_address_shows_nothing_and_only_its_owner_revokes_it(world: World, ada: Caller, mona: Caller) -> None:
    made = mona.does("POST", "/calendar-feeds", {"name": "my phone"}, status=201)
    assert ada("DELETE", f"/calendar-feeds/{made['id']}").status_code == 404
    mona.does("DELETE", f"/calendar-feeds/{made['id']}", status=204)
    assert Browser().get(path_of(made)).status_code == 404


def test_an_address_is_cut_down_to_its_place(world: World, ada: Caller, mona: Caller) -> None:
    planned(ada, world)
    planned(ada, world, site=str(world.leeds.pk), name="Elsewhere")
    cut = ada.does("POST", "/calendar-feeds", {"name": "Acme alone", "client": str(world.acme.pk)}, status=201)
    names = {name for name, _ in times_in(Browser().get(path_of(cut)).content)}
    assert names == {f"Nightly ({world.acme.name})"}
    assert mona("POST", "/calendar-feeds", {"name": "x", "client": str(world.bolt.pk)}).status_code == 404


def test_what_a_token_makes_stays_within_it(world: World, ada: Caller) -> None:
    token = token_create(person=ada.person, name="Acme alone", client=world.acme,
                         expires_at=datetime.now(UTC) + timedelta(days=7))  # fmt: skip
    ada._headers = {"authorization": f"Bearer {token}"}
    assert b"this token is for" in ada("POST", "/calendar-feeds", {"name": "all"}).content
    made = ada.does("POST", "/calendar-feeds", {"name": "x", "client": str(world.acme.pk)}, status=201)
    assert made["expires_at"] is not None
    feed = CalendarFeed.objects.get(pk=made["id"])
    secret = path_of(made).removeprefix("/calendar/feed/").removesuffix(".ics")
    assert feeds.feed_of(secret=secret, now=feed.expires_at) is None


def test_v19_the_secret_of_an_address_is_kept_as_a_digest_and_stands_in_no_log(
    world: World, mona: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    made = mona.does("POST", "/calendar-feeds", {"name": "my phone"}, status=201)
    secret = path_of(made).removeprefix("/calendar/feed/").removesuffix(".ics")
    row = CalendarFeed.objects.get(pk=made["id"])
    assert row.digest == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in str(CalendarFeed.objects.filter(pk=row.pk).values())
    with caplog.at_level(logging.DEBUG):
        for method, path in (
            ("GET", path_of(made)), ("POST", path_of(made)), ("GET", path_of(made).replace("cal_", "cal-")),
        ):  # fmt: skip
            Browser(raise_request_exception=False).generic(method, path)
        mona.does("DELETE", f"/calendar-feeds/{row.pk}", status=204)
        assert Browser().get(path_of(made)).status_code == 404
    assert secret not in caplog.text
    assert secret.removeprefix("cal_") not in caplog.text


def test_who_tries_many_addresses_waits(world: World) -> None:
    cache.clear()
    answers = [Browser().get(f"/calendar/feed/cal_{number}.ics").status_code for number in range(32)]
    cache.clear()
    assert answers == [404] * 30 + [429] * 2


def test_the_clients_own_people_see_what_the_portal_shows(world: World, ada: Caller) -> None:
    planned(ada, world, purpose="Updates of the servers")
    carla = Caller("carla", Role.CLIENT_MANAGER, client=world.acme)
    assert b"you see no windows" in carla("POST", "/calendar-feeds", {"name": "phone"}).content
    made = carla.does("POST", "/calendar-feeds", {"name": "phone", "portal": True}, status=201)
    content = Browser().get(path_of(made)).content
    assert {name for name, _ in times_in(content)} == {"Nightly"}
    assert b"Updates of the servers" in content
