"""What the portal shows of devices and the calendar: one's own, without internals, in few queries."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from forestall.server.calendar import services as calendar
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.people.scope import Scope
from forestall.server.portal import queries
from forestall.server.portal.rules import Health
from forestall.server.tickets import services
from forestall.server.tickets.tests.portal_story import PortalStory

SYSTEM = Scope.system("story")
pytestmark = pytest.mark.django_db


@pytest.fixture
def story() -> PortalStory:
    world = PortalStory().at("09:00")
    Device.objects.visible_to(SYSTEM).update(last_check_in_at=world.now)
    return world


def test_each_sees_their_own_devices_and_what_is_done_about_them(story: PortalStory) -> None:
    story.report("pass")
    story.report("fail", "account mallory is new", kind="new_administrator", target="mallory")
    story.report("pass", device=story.reception)
    found = queries.health(scope=story.reads(story.carla), now=story.now)
    assert [(one.device.name, one.health) for one in found] == [("web-01", Health.FAULT), ("reception-pc", Health.WELL)]
    trouble = found[0].troubles[0]
    assert (trouble.what, trouble.ticket, trouble.in_hand) == ("New administrator", story.ticket(), True)
    assert "mallory" not in repr(found[0].troubles[0].what)
    # A client's user is told that it is looked after, and gets no link to a ticket that is not theirs.
    user = queries.health(scope=story.reads(story.uwe), now=story.now)[0].troubles[0]
    assert (user.ticket, user.in_hand) == (None, True)
    assert [one.device.name for one in queries.health(scope=story.reads(story.cleo), now=story.now)] == ["leeds-01"]


def test_what_is_not_in_service_is_not_shown(story: PortalStory) -> None:
    Device.objects.visible_to(SYSTEM).filter(pk=story.web.pk).update(status=DeviceStatus.PENDING, approved_at=None)
    assert [one.device.name for one in queries.health(scope=story.reads(story.carla), now=story.now)] == [
        "reception-pc"
    ]


def test_health_takes_as_many_queries_for_many_devices_as_for_few(
    story: PortalStory, django_assert_num_queries
) -> None:
    scope = story.reads(story.carla)
    with django_assert_num_queries(4):
        queries.health(scope=scope, now=story.now)
    for number in range(20):
        story.report("fail", device=story._device(f"pc-{number}", story.munich, "endpoint"))
    with django_assert_num_queries(4):
        assert len(queries.health(scope=scope, now=story.now)) == 22


def test_what_waits_for_whom(story: PortalStory) -> None:
    ticket, tina = story.asks(story.uwe), story.scope(story.tina)
    services.ticket_wait(ticket=ticket, reason="Which tray?", scope=tina, now=story.now)
    calendar.window_create(
        site=story.munich, name="Move", starts_on=date(2026, 12, 1), starts_at="20:00", minutes=60, scope=tina,
        now=story.now, needs_approval=True,
    )  # fmt: skip
    seen = {person: queries.waiting(scope=story.reads(person), now=story.now) for person in (story.carla, story.uwe)}
    assert (seen[story.carla].count, seen[story.uwe].count) == (2, 1)
    assert queries.waiting(scope=story.reads(story.cleo), now=story.now).count == 0


def test_the_calendar_has_what_is_agreed_what_is_proposed_and_the_days_nobody_works(story: PortalStory) -> None:
    owner, tina = story.scope(story.owner), story.scope(story.tina)
    when = {"starts_at": "20:00", "minutes": 60, "scope": tina, "now": story.now}
    calendar.window_create(
        site=story.munich, name="Updates", starts_on=date(2026, 11, 29), rrule="FREQ=WEEKLY;BYDAY=SU", **when
    )
    calendar.window_create(site=story.lab, name="Move", starts_on=date(2026, 12, 1), needs_approval=True, **when)
    calendar.closed_day_add(client=story.acme, day=date(2026, 12, 28), why="stocktaking", scope=owner, now=story.now)
    plan = queries.plan(scope=story.reads(story.carla), now=story.now, ahead=timedelta(days=40))
    assert {one.window.name for one in plan.planned} == {"Updates"}
    assert len(plan.planned) == 5
    assert [one.name for one in plan.proposed] == ["Move"]
    assert ("2026-12-28", "stocktaking", "") in [(str(one.day), one.why, one.where) for one in plan.free]
    assert "2026-12-25" in [str(one.day) for one in plan.free]
    foreign = queries.plan(scope=story.reads(story.cleo), now=story.now, ahead=timedelta(days=40))
    assert not [one for one in foreign.free if one.why == "stocktaking"]
    assert (foreign.planned, foreign.proposed) == ([], [])
