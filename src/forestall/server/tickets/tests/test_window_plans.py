"""Work on a ticket is planned into a window: long enough, the ticket's own, and the clocks go on."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from forestall.server.calendar import services
from forestall.server.calendar.models import MaintenanceWindow
from forestall.server.people.models import Site
from forestall.server.tickets.rules import ClockKind
from forestall.server.tickets.steps import TicketError
from forestall.server.tickets.tests.portal_story import PortalStory
from forestall.server.tickets.windows import still_open, ticket_plan, ticket_planned, ticket_unplan, ticket_windows

pytestmark = pytest.mark.django_db


class PlanStory(PortalStory):
    def window(self, site: Site | None = None, **how: object) -> MaintenanceWindow:
        how = {"starts_on": date(2026, 11, 24), "starts_at": "22:00", "minutes": 120, "rrule": "FREQ=DAILY", **how}
        return services.window_create(
            site=site or self.munich, name="Nightly", scope=self.scope(self.owner), now=self.now, **how
        )

    def plans(self, window: MaintenanceWindow, minutes: int = 60, starts_at: datetime | None = None):
        return ticket_plan(
            ticket=self.ticket(), window=window, starts_at=starts_at, minutes=minutes, scope=self.scope(self.tina),
            now=self.now,
        )  # fmt: skip


@pytest.fixture
def story() -> PlanStory:
    found = PlanStory().at("09:00")
    found.report("fail")
    found.route()
    return found


def test_the_next_windows_of_a_ticket_are_known_and_work_is_planned_into_one(story: PlanStory) -> None:
    window = story.window()
    tina = story.scope(story.tina)
    times = ticket_windows(scope=tina, ticket=story.ticket(), now=story.now)
    assert (len(times), times[0].occurrence.start) == (6, datetime(2026, 11, 24, 21, 0, tzinfo=UTC))
    before = story.clock_of(story.ticket()).due_at
    story.plans(window)
    planned = ticket_planned(scope=tina, ticket=story.ticket())
    assert (planned.starts_at, planned.minutes) == (times[0].occurrence.start, 60)
    assert story.clock_of(story.ticket()).due_at == before, "the SLA clock goes on"
    assert any("Planned for Nightly, Tuesday 24 November 2026, 22:00" in one for one in story.texts("commented"))
    story.plans(window, starts_at=times[2].occurrence.start)
    assert ticket_planned(scope=tina, ticket=story.ticket()).starts_at == times[2].occurrence.start
    ticket_unplan(ticket=story.ticket(), scope=tina, now=story.now)
    assert ticket_planned(scope=tina, ticket=story.ticket()) is None
    with pytest.raises(TicketError, match="planned for no window"):
        ticket_unplan(ticket=story.ticket(), scope=tina, now=story.now)


def test_what_does_not_fit_is_refused(story: PlanStory) -> None:
    window = story.window()
    with pytest.raises(TicketError, match="121 minutes of work do not fit: 'Nightly' is open for 120 minutes"):
        story.plans(window, minutes=121)
    with pytest.raises(TicketError, match="does not open at 2026-11-24 20:00"):
        story.plans(window, starts_at=datetime(2026, 11, 24, 20, 0, tzinfo=UTC))
    with pytest.raises(TicketError, match="is none of what ticket"):
        story.plans(story.window(site=story.lab))
    with pytest.raises(TicketError, match="only proposed"):
        story.plans(story.window(needs_approval=True))


def test_a_blackout_cuts_what_fits_and_shuts_what_was_planned(story: PlanStory) -> None:
    window = story.window()
    services.blackout_add(site=story.munich, why="Audit", starts_on=date(2026, 11, 24), starts_at="23:00",
                          ends_on=date(2026, 11, 25), scope=story.scope(story.owner), now=story.now)  # fmt: skip
    with pytest.raises(TicketError, match=r"open for 60 minutes \(Audit cuts it\)"):
        story.plans(window, minutes=90)
    planned = story.plans(window, minutes=60)
    assert still_open(planned, now=story.now)
    services.blackout_add(site=story.munich, why="Move", starts_on=date(2026, 11, 24), ends_on=date(2026, 11, 25),
                          scope=story.scope(story.owner), now=story.now)  # fmt: skip
    assert not still_open(planned, now=story.now)
    assert still_open(planned, now=planned.starts_at + timedelta(minutes=1)), "what began is history"


def test_in_a_blackout_alerts_are_told_and_in_the_window_they_wait(story: PlanStory) -> None:
    story.window(starts_on=date(2026, 11, 23), starts_at="10:00")
    story.at("10:05").report("fail", target="/var")
    assert story.state(target="/var") == "muted"
    services.blackout_add(site=story.munich, why="Audit", starts_on=date(2026, 11, 24), ends_on=date(2026, 11, 25),
                          scope=story.scope(story.owner), now=story.now)  # fmt: skip
    story.at("2026-11-24 10:05").report("fail", target="/srv")
    assert story.state(target="/srv") == "open", "the window stays shut, so nobody works: it is told"
    assert story.clock_of(story.ticket()).kind is ClockKind.RESOLUTION
