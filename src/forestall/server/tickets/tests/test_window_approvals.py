"""Windows that the client has to approve: proposals until it has, on record then, and asked anew when changed."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.test import override_settings

from forestall.server.calendar import queries, services
from forestall.server.calendar.models import MaintenanceWindow
from forestall.server.calendar.queries import windows_for
from forestall.server.calendar.rules import CalendarError
from forestall.server.calendar.windows import window_counts
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.models import Entry
from forestall.server.loop import HANDLERS
from forestall.server.outbox.events import Event
from forestall.server.people.scope import NotAllowedError, Scope
from forestall.server.tickets.models import ClientMail
from forestall.server.tickets.tests.portal_story import PortalStory

SYSTEM = Scope.system("story")
pytestmark = pytest.mark.django_db


class WindowStory(PortalStory):
    def table(self) -> dict:
        return {**super().table(), **{e: HANDLERS[e] for e in (Event.WINDOW_PROPOSED, Event.WINDOW_ANSWERED)}}

    def proposes(self, **how) -> MaintenanceWindow:
        """Tina proposes to work from 10:00 to 12:00 today."""
        how = {"starts_on": date(2026, 11, 23), "starts_at": "10:00", "minutes": 120, "needs_approval": True, **how}
        window = services.window_create(
            site=self.munich, name="Server move", scope=self.scope(self.tina), now=self.now, **how
        )
        self.route()
        return window

    def answers(self, window: MaintenanceWindow, person, *, approve: bool = True, reason: str = ""):
        found = services.window_answer(
            window=window, approve=approve, reason=reason, scope=self.scope(person), now=self.now
        )
        self.route()
        return found

    def counting(self) -> int:
        return len(windows_for(scope=SYSTEM, site_id=self.munich.pk, device_id=self.web.pk, since=self.now))


@pytest.fixture
def story() -> WindowStory:
    return WindowStory().at("09:00")


@pytest.mark.parametrize(
    ("needs", "answer", "counts"),
    [(False, "", True), (True, "", False), (True, "declined", False), (True, "approved", True)],
)
def test_what_counts_as_a_window(needs: bool, answer: str, counts: bool) -> None:
    assert window_counts(needs_approval=needs, answer=answer) is counts


def test_until_it_is_approved_nothing_is_muted(story: WindowStory) -> None:
    window = story.proposes()
    story.at("10:05").report("fail")
    assert story.state() == "open"
    story.answers(window, story.carla)
    story.report("fail", target="/var")
    assert story.state(target="/var") == "muted"


@override_settings(MAIL_IS_SET=True)
def test_who_approves_is_written_to_the_answer_is_on_record_and_the_desk_is_told(story: WindowStory) -> None:
    story.telephone(client=story.acme)
    window = story.proposes(purpose="New rack")
    told = ClientMail.objects.visible_to(SYSTEM).get()
    assert (told.address, told.subject) == ("carla@example.org", "Your approval is asked for: Server move")
    assert "New rack" in told.text
    assert list(queries.windows_to_answer(scope=story.reads(story.carla), now=story.now)) == [window]
    assert list(queries.windows_to_answer(scope=story.reads(story.uwe), now=story.now)) == []
    assert list(queries.windows_for_client(scope=story.reads(story.uwe))) == [window]
    assert list(queries.windows_for_client(scope=story.reads(story.cleo))) == []
    story.answers(window, story.carla, reason="after the audit")
    entry = Entry.objects.visible_to(SYSTEM).get(kind=EvidenceKind.WINDOW_ANSWERED)
    assert (entry.payload["answer"], entry.payload["by"], entry.payload["name"]) == ("approved", "carla", "Carla")
    assert entry.payload["window"]["name"] == "Server move"
    assert story.send() == ["The client has approved: Server move"]


def test_only_the_clients_own_approvers_answer_and_once(story: WindowStory) -> None:
    window = story.proposes()
    for stranger in (story.uwe, story.cleo):
        with pytest.raises(MaintenanceWindow.DoesNotExist):
            story.answers(window, stranger)
    with pytest.raises(NotAllowedError, match="only its own people"):
        story.answers(window, story.owner)
    with pytest.raises(CalendarError, match="reason: say why"):
        story.answers(window, story.carla, approve=False)
    story.answers(window, story.carla, approve=False, reason="month's end")
    with pytest.raises(CalendarError, match="was declined already"):
        story.answers(window, story.carla)
    assert story.counting() == 0


def test_what_was_changed_is_asked_anew(story: WindowStory) -> None:
    window = story.answers(story.proposes(), story.carla)
    assert story.counting() == 1
    services.window_change(window=window, starts_at="14:00", scope=story.scope(story.tina), now=story.now)
    assert story.counting() == 0
    with pytest.raises(CalendarError, match="was changed meanwhile"):
        story.answers(window, story.carla)
    window.refresh_from_db()
    assert story.answers(window, story.carla).answer == "approved"


def test_what_ended_or_needs_no_approval_is_not_answered(story: WindowStory) -> None:
    free = story.proposes(needs_approval=False)
    with pytest.raises(CalendarError, match="needs no approval"):
        story.answers(free, story.carla)
    window = story.proposes()
    services.window_end(window=window, scope=story.scope(story.tina), now=story.now)
    with pytest.raises(CalendarError, match="has ended"):
        story.answers(window, story.carla)
    story.now += timedelta(minutes=1)
    assert list(queries.windows_to_answer(scope=story.reads(story.carla), now=story.now)) == []
