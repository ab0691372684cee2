"""The client's people are told of planned work in time, once each, and again when it moves or is called off.

Carla manages Acme, Uwe and Ulla work there; Cleo manages Bolt. Tina plans.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from email import message_from_bytes, policy
from zoneinfo import ZoneInfo

import icalendar
import pytest
from django.test import override_settings

from forestall.server.calendar import services
from forestall.server.calendar.models import MaintenanceWindow, WindowNotice
from forestall.server.people.scope import Scope
from forestall.server.people.signin_settings import mail_settings
from forestall.server.people.tests.test_signin_settings import mail_server  # noqa: F401 - the fixture
from forestall.server.tickets import mail
from forestall.server.tickets.models import ClientMail
from forestall.server.tickets.tests.portal_story import PortalStory
from forestall.server.tickets.windows import window_notices_send

SYSTEM = Scope.system("story")
pytestmark = pytest.mark.django_db
SUNDAYS = {"starts_on": date(2026, 11, 29), "starts_at": "22:00", "minutes": 120, "rrule": "FREQ=WEEKLY;BYDAY=SU"}


class NoticeStory(PortalStory):
    """Monday 23 November 2026, 09:00 in Munich."""

    def plans(self, **how) -> MaintenanceWindow:
        how = {**SUNDAYS, "notice_hours": 48, "purpose": "Updates of the servers", **how}
        return services.window_create(
            site=self.munich, name="Patch Sunday", scope=self.scope(self.tina), now=self.now, **how
        )

    def told_at(self, at: str) -> list[tuple[str, str]]:
        """Who is told what at that moment (``2026-11-27 22:01``, Munich); once more tells nobody twice."""
        self.now = datetime.fromisoformat(at).replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)
        before = set(self.mails().values_list("pk", flat=True))
        window_notices_send(now=self.now)
        assert window_notices_send(now=self.now) == 0
        return [(one.person.username, one.subject) for one in self.mails().exclude(pk__in=before)]

    def mails(self):
        return ClientMail.objects.visible_to(SYSTEM).select_related("person").order_by("pk")

    def last(self) -> ClientMail:
        return self.mails().last()


def events(one: ClientMail) -> list[tuple[str, str, str, int]]:
    calendar = icalendar.Calendar.from_ical(one.calendar)
    return [
        (str(event["UID"]), f"{event['DTSTART'].dt:%m-%d %H:%M}", str(event["STATUS"]), int(event["SEQUENCE"]))
        for event in calendar.walk("VEVENT")
    ]


@pytest.fixture
def story() -> NoticeStory:
    return NoticeStory().at("09:00")


@override_settings(MAIL_IS_SET=True)
def test_each_time_is_told_48_hours_before_once(story: NoticeStory) -> None:
    story.plans()
    assert story.told_at("2026-11-27 21:59") == []
    assert story.told_at("2026-11-27 22:01") == [("carla", "Planned work: Patch Sunday")]
    told = story.last()
    assert "- Sunday 29 November 2026, 22:00 to Monday 30 November 2026 00:00 (Europe/Berlin)" in told.text
    assert "Updates of the servers" in told.text
    assert "promise" not in told.text
    assert [one[1:] for one in events(told)] == [("11-29 21:00", "CONFIRMED", 0)]
    assert story.told_at("2026-11-29 23:00") == []
    assert story.told_at("2026-12-04 22:01") == [("carla", "Planned work: Patch Sunday")]


@override_settings(MAIL_IS_SET=True)
def test_of_the_first_time_alone_where_that_was_agreed(story: NoticeStory) -> None:
    story.plans(notice_first_only=True)
    assert len(story.told_at("2026-11-27 22:01")) == 1
    assert story.told_at("2026-12-04 22:01") == []


@override_settings(MAIL_IS_SET=True)
def test_who_switched_it_on_is_told_and_who_switched_it_off_is_not(story: NoticeStory) -> None:
    services.notice_wish_set(person=story.uwe, wanted=True, now=story.now)
    services.notice_wish_set(person=story.carla, wanted=False, now=story.now)
    services.notice_wish_set(person=story.cleo, wanted=True, now=story.now)
    story.plans()
    assert story.told_at("2026-11-27 22:01") == [("uwe", "Planned work: Patch Sunday")]


@override_settings(MAIL_IS_SET=True)
def test_what_moves_is_told_with_both_times_and_replaces_the_event(story: NoticeStory) -> None:
    window = story.plans()
    story.told_at("2026-11-27 22:01")
    services.window_change(window=window, starts_on=date(2026, 11, 28), starts_at="20:00", rrule="",
                           scope=story.scope(story.tina), now=story.now)  # fmt: skip
    assert story.told_at("2026-11-27 22:10") == [("carla", "Planned work has moved: Patch Sunday")]
    told = story.last()
    assert told.text.index("29 November") < told.text.index("28 November")
    assert "less than the 48 h before that we promise" in told.text
    old, new = events(told)
    assert (old[1:], new[1:]) == (("11-29 21:00", "CANCELLED", 1), ("11-28 19:00", "CONFIRMED", 0))
    assert WindowNotice.objects.visible_to(SYSTEM).get(withdrawn_at=None).late


@override_settings(MAIL_IS_SET=True)
def test_what_ends_or_falls_into_a_blackout_is_called_off(story: NoticeStory) -> None:
    window = story.plans()
    story.told_at("2026-11-27 22:01")
    frozen = services.blackout_add(
        site=story.munich, why="Stocktaking", starts_on=date(2026, 11, 29), ends_on=date(2026, 11, 30),
        ends_at="06:00", scope=story.scope(story.tina), now=story.now,
    )  # fmt: skip
    assert story.told_at("2026-11-28 10:00") == [("carla", "Planned work does not take place: Patch Sunday")]
    assert events(story.last())[0][2:] == ("CANCELLED", 1)
    services.blackout_end(blackout=frozen, scope=story.scope(story.tina), now=story.now)
    assert story.told_at("2026-11-28 10:05") == [("carla", "Planned work: Patch Sunday")]
    assert events(story.last())[0][2:] == ("CONFIRMED", 2), "a later number: a calendar takes it in the old one's place"
    services.window_end(window=window, scope=story.scope(story.tina), now=story.now)
    assert story.told_at("2026-11-28 10:10") == [("carla", "Planned work does not take place: Patch Sunday")]
    assert story.told_at("2026-12-04 22:01") == []


@override_settings(MAIL_IS_SET=True)
def test_what_becomes_shorter_is_told_with_the_reason(story: NoticeStory) -> None:
    story.plans()
    story.told_at("2026-11-27 22:01")
    services.blackout_add(
        client=story.acme, why="Night audit", starts_on=date(2026, 11, 29), starts_at="23:00",
        ends_on=date(2026, 11, 30), scope=Scope.system("olga"), now=story.now,
    )  # fmt: skip
    assert story.told_at("2026-11-28 10:00") == [("carla", "Planned work has changed: Patch Sunday")]
    assert "22:00 to 23:00" in story.last().text
    assert "It is shorter than usual: Night audit." in story.last().text


@override_settings(MAIL_IS_SET=True)
def test_of_a_proposal_nobody_is_told_before_it_is_approved(story: NoticeStory) -> None:
    window = story.plans(needs_approval=True)
    assert story.told_at("2026-11-28 10:00") == []
    services.window_answer(window=window, approve=True, scope=story.scope(story.carla), now=story.now)
    assert story.told_at("2026-11-28 10:05") == [("carla", "Planned work: Patch Sunday")]


def test_without_a_promise_or_a_mail_server_nothing_leaves(story: NoticeStory) -> None:
    story.plans(notice_hours=0)
    assert story.told_at("2026-11-28 10:00") == []
    story.plans()
    assert len(story.told_at("2026-11-28 10:05")) == 1
    assert story.last().result == mail.NO_SERVER


def test_a_mail_server_gets_the_mail_with_a_calendar_file_that_opens(
    story: NoticeStory,
    mail_server,  # noqa: F811 - the fixture
) -> None:
    letters, port = mail_server
    found = mail_settings(
        {"FORESTALL_MAIL_URL": f"smtp://127.0.0.1:{port}?tls=none", "FORESTALL_MAIL_FROM": "desk@example.org"}
    )
    with override_settings(**{**found, "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend"}):
        story.plans(purpose="Äpfel; und, Birnen")
        story.told_at("2026-11-27 22:01")
        assert mail.client_mails_send(now=story.now) == 1
    received = message_from_bytes(letters.kept[0], policy=policy.default)
    attached = next(iter(received.iter_attachments()))
    assert (attached.get_content_type(), attached.get_filename()) == ("text/calendar", "planned-work.ics")
    event = icalendar.Calendar.from_ical(attached.get_payload(decode=True)).walk("VEVENT")[0]
    assert (event["SUMMARY"], event["DESCRIPTION"], event["LOCATION"]) == (
        "Patch Sunday", "Äpfel; und, Birnen", "Munich",
    )  # fmt: skip
    assert event["DTSTART"].dt == datetime(2026, 11, 29, 21, 0, tzinfo=UTC)
