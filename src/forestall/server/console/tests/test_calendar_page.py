"""The calendar in the console: Ada reads a month, freezes it, and opens it on her phone; Carla reads hers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext

from forestall.server.calendar import services
from forestall.server.calendar.models import Blackout, CalendarFeed
from forestall.server.calendar.services import window_create
from forestall.server.console.tests.conftest import proven
from forestall.server.console.tests.test_console_clients import SYSTEM, ashdown, page, person, words  # noqa: F401
from forestall.server.patching.models import Deployment
from forestall.server.people.models import Client, Site
from forestall.server.people.roles import Role

NOW = datetime(2026, 12, 14, 9, 0, tzinfo=UTC)
QUERIES = 10
"""The calendar's own, however much stands in it."""


@pytest.fixture(autouse=True)
def _monday_morning() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def at(client: Client) -> Site:
    return Site.objects.visible_to(SYSTEM).filter(client=client).order_by("name").first()


def plan(client: Client, name: str = "Patch night", **how: object) -> None:
    how = {"starts_on": date(2026, 11, 1), "starts_at": "22:00", "minutes": 60, "rrule": "FREQ=WEEKLY;BYDAY=FR", **how}
    window_create(site=at(client), name=name, scope=SYSTEM, now=NOW, **how)


def day(html: str, when: str) -> str:
    """What stands on a day."""
    found = re.search(rf'<li id="day-{when}".*?(?=<li id="day-|</ol>)', html, re.DOTALL)
    assert found is not None, when
    return words(found.group())


def test_a_month_shows_windows_blackouts_closed_days_and_patch_tuesday(ada, ashdown):  # noqa: F811
    plan(ashdown)
    services.blackout_add(
        client=ashdown, why="Year end", starts_on=date(2026, 12, 24), ends_on=date(2026, 12, 27), scope=SYSTEM, now=NOW
    )
    services.closed_day_add(client=ashdown, day=date(2026, 12, 29), why="stocktaking", scope=SYSTEM, now=NOW)
    html = page(ada, "/calendar/")
    said = words(html)
    assert "Windows open 3 times in December; a blackout keeps them shut 1 time; the next is Patch night" in said
    assert "22:00 to 23:00 Patch night" in day(html, "2026-12-18")
    shut = day(html, "2026-12-25")
    assert "No work: Year end" in shut
    assert "Patch night stays shut" in shut
    assert "stocktaking" in day(html, "2026-12-29")
    assert "Patch Tuesday" in day(html, "2026-12-08")
    assert "Patch Tuesday" not in day(html, "2026-12-15")
    assert "today" in day(html, "2026-12-14")
    january = page(ada, "/calendar/?month=2027-01")
    assert "January 2027" in january
    assert "22:00 to 23:00 Patch night" in day(january, "2027-01-01")


def test_it_is_narrowed_to_a_client_and_a_stranger_learns_nothing(ada, ashdown):  # noqa: F811
    plan(ashdown)
    other = Client.objects.visible_to(SYSTEM).exclude(pk=ashdown.pk).filter(sites__isnull=False).first()
    plan(other, "Their night")
    assert "Their night" in page(ada, "/calendar/")
    assert "Their night" not in page(ada, f"/calendar/?client={ashdown.pk}")
    tom = person("tom", Role.TECHNICIAN, client=ashdown)
    assert "Their night" not in page(tom, "/calendar/")
    absent = tom.get("/calendar/?client=00000000-0000-0000-0000-000000000000")
    foreign = tom.get(f"/calendar/?client={other.pk}")
    assert (absent.status_code, foreign.status_code) == (404, 404)
    assert page(ada, "/calendar/?month=someday")


def test_planned_updates_are_counted_at_their_time(ada, fleet):
    device = fleet.devices[0]
    for number in range(3):
        Deployment.objects.create(
            client=device.client, site=device.site, device=device, manager="apt", name=f"package-{number}",
            candidate="2", first_seen_at=NOW, state="planned", state_since=NOW,
            planned_for=datetime(2026, 12, 18, 22, 0, tzinfo=UTC),
        )  # fmt: skip
    assert "3 updates on 1 device" in words(page(ada, "/calendar/"))


def test_a_blackout_is_set_and_taken_back(ada, ashdown):  # noqa: F811
    plan(ashdown)
    asked = {"place": f"client:{ashdown.pk}", "why": "Audit", "starts_on": "2026-12-18", "starts_at": "00:00",
             "ends_on": "2026-12-19", "ends_at": "00:00"}  # fmt: skip
    wrong = ada.post("/calendar/blackouts", {**asked, "ends_on": "2026-12-17"}).content.decode()
    assert "is not after" in wrong
    assert 'value="Audit"' in wrong
    assert ada.post("/calendar/blackouts", asked)["Location"] == "/calendar/?month=2026-12"
    assert "Patch night stays shut" in day(page(ada, "/calendar/"), "2026-12-18")
    tom = person("tom", Role.TECHNICIAN, site=at(ashdown))
    made = Blackout.objects.visible_to(SYSTEM).get()
    assert tom.post(f"/calendar/blackouts/{made.pk}/end").status_code == 403
    assert "Take it back" not in page(tom, "/calendar/")
    assert ada.post(f"/calendar/blackouts/{made.pk}/end").status_code == 302
    assert "stays shut" not in day(page(ada, "/calendar/"), "2026-12-18")


def test_ada_reads_her_calendar_on_her_phone_and_takes_the_address_back(ada, ashdown):  # noqa: F811
    plan(ashdown)
    assert ada.post("/calendar/feeds", {"name": "x"}).status_code == 302, "asked first who she is"
    proven(ada)
    made = ada.post("/calendar/feeds", {"name": "my phone", "place": f"client:{ashdown.pk}"})
    address = re.search(r"/calendar/feed/cal_[\w-]+\.ics", made.content.decode())
    assert address is not None
    assert made["Cache-Control"] == "no-store"
    assert b"Patch night" in Browser().get(address.group()).content
    again = page(ada, "/calendar/feeds")
    assert address.group() not in again, "shown once"
    feed = CalendarFeed.objects.get()
    assert ada.post(f"/calendar/feeds/{feed.pk}/revoke").status_code == 302
    assert Browser().get(address.group()).status_code == 404
    assert "revoked" in words(page(ada, "/calendar/feeds"))


def test_a_month_costs_the_same_queries_however_much_stands_in_it(ada, fleet):
    def spent() -> int:
        page(ada, "/keys")
        with CaptureQueriesContext(connection) as signed_in:
            page(ada, "/keys")
        page(ada, "/calendar/")
        with CaptureQueriesContext(connection) as asked:
            page(ada, "/calendar/")
        return len(asked) - len(signed_in)

    window_create(site=fleet.sites[0], name="w", starts_on=NOW.date(), starts_at="22:00", minutes=5,
                  rrule="FREQ=DAILY", scope=SYSTEM, now=NOW)  # fmt: skip
    one = spent()
    for number, site in enumerate(fleet.sites):
        window_create(site=site, name=f"w{number}", starts_on=NOW.date(), starts_at="22:00", minutes=5,
                      rrule="FREQ=DAILY", scope=SYSTEM, now=NOW)  # fmt: skip
        services.blackout_add(site=site, why="x", starts_on=NOW.date(), ends_on=NOW.date() + timedelta(days=2),
                              scope=SYSTEM, now=NOW)  # fmt: skip
    assert (one, spent()) == (QUERIES, QUERIES)
