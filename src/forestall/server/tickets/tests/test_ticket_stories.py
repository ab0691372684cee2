"""Tickets as stories: from the alert to the check's pass."""

from __future__ import annotations

import pytest

from forestall.server.alerts.tests.desk_world import SYSTEM
from forestall.server.calendar.services import working_week_set
from forestall.server.checks.result import Risk
from forestall.server.evidence.models import Entry
from forestall.server.people.roles import Role
from forestall.server.people.scope import NotAllowedError
from forestall.server.people.services import person_create
from forestall.server.tickets import queries, routing, services, sla
from forestall.server.tickets.models import Ticket, TicketAlert
from forestall.server.tickets.rules import ClockKind, ClockState, Priority
from forestall.server.tickets.services import TicketError
from forestall.server.tickets.tests.desk_story import Story

pytestmark = pytest.mark.django_db


@pytest.fixture
def story(db) -> Story:
    return Story()


class TestOpening:
    def test_an_alert_opens_a_ticket_with_owner_priority_and_clock(self, story: Story) -> None:
        story.at("09:00").report("fail", "/ is 93 % full")
        ticket = story.ticket()
        assert (ticket.title, ticket.state, ticket.priority) == ("Disk space: /", "open", "urgent")
        assert ticket.owner == story.alice  # nobody said otherwise: the first owner of the place
        assert story.events() == ["opened", "assigned"]
        assert story.clock().text == "4 h left"
        assert "ticket.opened" in story.heard
        opened = Entry.objects.visible_to(SYSTEM).get(kind="ticket:opened")
        assert (opened.ticket_id, opened.device_id) == (ticket.number, story.web.pk)

    def test_one_ticket_a_device_and_condition(self, story: Story) -> None:
        story.at("09:00").report("fail")
        story.at("09:01").report("fail", target="/var")
        story.at("09:02").report("fail", device=story.reception)
        story.at("09:03").report("fail", "worse")
        assert [(t.device.name, t.condition) for t in story.tickets()] == [
            ("web-01", "disk_space:/"),
            ("web-01", "disk_space:/var"),
            ("reception-pc", "disk_space:/"),
        ]

    def test_findings_of_one_kind_are_one_piece_of_work(self, story: Story) -> None:
        story.at("09:00").report("fail", kind="open_socket", target="tcp/3306", risk="medium")
        story.at("09:01").report("fail", kind="open_socket", target="tcp/6379", risk="medium")
        assert len(story.tickets()) == 1
        assert story.events() == ["opened", "assigned", "joined"]
        story.at("09:10").report("pass", kind="open_socket", target="tcp/3306")
        assert story.ticket().state == "open"  # one of two
        story.at("09:20").report("pass", kind="open_socket", target="tcp/6379")
        assert story.ticket().state == "closed"

    def test_a_worse_alert_makes_it_more_urgent_with_less_time(self, story: Story) -> None:
        story.at("09:00").report("warn", kind="offline", target="", risk="medium")
        assert (story.ticket().priority, story.clock().text) == ("low", "16 h left")
        story.at("09:30").report("fail", kind="offline", target="", risk="critical")
        assert (story.ticket().priority, story.clock().text) == ("urgent", "3 h 30 min left")
        assert story.texts("worsened") == ["offline  is fail", "priority low → urgent"]
        assert len(story.tickets()) == 1

    def test_a_new_failure_after_a_verified_one_is_a_new_ticket(self, story: Story) -> None:
        story.at("09:00").report("fail")
        story.at("09:30").report("pass")
        story.at("11:00").report("fail")
        assert [ticket.state for ticket in story.tickets()] == ["closed", "open"]

    def test_the_most_particular_rule_names_the_owner(self, story: Story) -> None:
        alice = story.scope(story.alice)
        routing.routing_rule_add(owner=story.alice, client=story.acme, scope=alice, now=story.now)
        routing.routing_rule_add(owner=story.bob, client=story.acme, kind="backup_age", scope=alice, now=story.now)
        story.at("09:00").report("fail", kind="backup_age", target="restic")
        assert story.ticket().owner == story.bob
        story.report("fail", kind="cpu", target="")
        assert story.ticket().owner == story.alice

    def test_a_client_may_have_agreed_on_other_times(self, story: Story) -> None:
        sla.sla_policy_set(
            client=story.acme, priority=Priority.URGENT, response_minutes=30, resolution_minutes=60, scope=SYSTEM,
            now=story.now,
        )  # fmt: skip
        story.at("09:00").report("fail")
        assert story.clock().text == "30 min left"
        sla.sla_policy_set(
            client=story.acme, priority=Priority.URGENT, response_minutes=5, resolution_minutes=6, scope=SYSTEM,
            now=story.now,
        )  # fmt: skip
        assert story.clock().text == "30 min left"  # what was agreed when it was opened

    def test_without_any_owner_it_says_so(self, story: Story) -> None:
        story.at("09:00").report("fail", device=story.leeds_box)
        row = next(row for row in queries.queue(scope=SYSTEM, now=story.now) if row.ticket.device == story.leeds_box)
        assert row.ticket.owner is None
        assert row.next_step == "take over: it has no owner"


class TestEnding:
    def test_a_ticket_nobody_touched_closes_itself(self, story: Story) -> None:
        story.at("09:00").report("fail")
        story.at("09:30").report("pass", "/ is 61 % full", value=61.0, unit="%")
        ticket = story.ticket()
        assert ticket.state == "closed"
        assert ticket.close_reason == "cleared by itself, verified by check at 2026-11-23 08:30 UTC"
        assert ticket.verification["reason"] == "/ is 61 % full"
        assert ticket.verification["value"] == 61.0
        assert story.heard[-1] == "ticket.resolved"

    def test_a_ticket_somebody_took_is_resolved_by_the_checks_pass(self, story: Story) -> None:
        story.at("09:00").report("fail")
        story.at("09:10").acknowledge(story.bob)
        story.at("09:30").report("pass")
        assert (story.ticket().state, story.ticket().close_reason) == (
            "resolved",
            "verified by check at 2026-11-23 08:30 UTC",
        )

    def test_a_ticket_a_job_worked_on_is_resolved_and_not_merely_closed(self, story: Story) -> None:
        story.at("09:00").report("fail")
        services.ticket_note_job(
            ticket=story.ticket(), job_id="j1", text="freed 1.2 GB", kind="succeeded", now=story.now
        )
        story.at("09:05").report("pass")
        assert story.ticket().state == "resolved"
        assert story.texts("job") == ["freed 1.2 GB"]

    def test_only_the_checks_pass_verifies(self, story: Story) -> None:
        story.at("09:00").report("fail")
        story.at("09:10").resolve(story.bob, "deleted old logs")
        ticket = story.ticket()
        assert (ticket.state, ticket.close_reason, ticket.verified_at) == (
            "resolved",
            "resolved without verification",
            None,
        )
        story.at("09:11").report("pass")
        assert story.ticket().verified_at == story.now
        assert story.ticket().close_reason == "verified by check at 2026-11-23 08:11 UTC"
        assert story.ticket().resolved_by == "bob"

    def test_what_still_fails_at_the_next_judgement_is_opened_again(self, story: Story) -> None:
        story.at("09:00").report("fail", "93 %")
        story.at("09:10").resolve(story.bob)
        assert story.at("09:10:30").ticket().state == "resolved"  # not judged since
        story.report("fail", "93 %")
        story.at("09:11")
        assert (story.ticket().state, story.ticket().reopened) == ("acknowledged", 1)
        assert story.texts("reopened") == ["the check still fails: 93 %"]

    def test_an_unknown_answer_neither_verifies_nor_reopens(self, story: Story) -> None:
        story.at("09:00").report("fail", "93 %")
        story.at("09:10").resolve(story.bob)
        story.at("09:11").report("unknown")
        assert (story.at("09:12").ticket().state, story.ticket().verified_at) == ("resolved", None)

    def test_a_proof_that_is_still_lost_opens_it_again(self, story: Story) -> None:
        story.at("09:00").report("pass", kind="backup_age", target="restic")
        story.at("09:10").report("unknown", kind="backup_age", target="restic")
        story.at("10:10").resolve(story.bob)
        story.at("10:20").report("unknown", kind="backup_age", target="restic")
        assert story.at("10:21").ticket().reopened == 1

    def test_worse_after_a_hasty_resolution_opens_the_same_ticket(self, story: Story) -> None:
        story.at("09:00").report("warn", "82 %")
        story.at("09:10").resolve(story.bob)
        story.at("09:10:30").report("fail", "95 %")
        assert [ticket.state for ticket in story.tickets()] == ["acknowledged"]
        assert len(story.tickets()) == 1

    def test_a_joined_finding_after_a_hasty_resolution_opens_the_same_ticket(self, story: Story) -> None:
        story.at("09:00").report("fail", kind="open_socket", target="tcp/1")
        story.at("09:10").resolve(story.bob)
        story.report("fail", kind="open_socket", target="tcp/2")
        assert [ticket.state for ticket in story.tickets()] == ["acknowledged"]
        assert TicketAlert.objects.visible_to(SYSTEM).filter(ticket=story.ticket()).count() == 2
        story.at("09:20")
        assert len(story.tickets()) == 1

    def test_a_person_opens_it_again(self, story: Story) -> None:
        story.at("09:00").report("fail")
        story.at("09:05").report("pass")
        ticket = services.ticket_reopen(
            ticket=story.ticket(), reason="it is back", scope=story.scope(story.bob), now=story.now
        )
        assert (ticket.state, ticket.resolved_at, ticket.touched) == ("open", None, True)

    def test_two_open_tickets_of_one_condition_are_refused_with_words(self, story: Story) -> None:
        story.at("09:00").report("fail")
        first = story.ticket()
        story.at("09:05").report("pass")
        story.at("10:00").report("fail")
        with pytest.raises(TicketError, match=f"ticket {story.ticket().number} is open for the same condition"):
            services.ticket_reopen(ticket=first, reason="again", scope=SYSTEM, now=story.now)


class TestClock:
    def test_the_response_clock_stops_at_a_persons_acknowledgement(self, story: Story) -> None:
        story.at("09:00").report("fail")
        story.at("11:10").acknowledge(story.bob)
        view = story.at("17:00").clock(ClockKind.RESPONSE)
        assert (view.state, view.text) == (ClockState.KEPT, "kept: 2 h 10 min of 4 h")
        assert story.clock().kind is ClockKind.RESOLUTION

    def test_a_job_does_not_stop_the_response_clock(self, story: Story) -> None:
        story.at("09:00").report("fail")
        services.ticket_note_job(ticket=story.ticket(), job_id="j1", text="queued", kind="queued", now=story.now)
        assert story.at("10:00").clock().text == "3 h left"

    def test_a_verified_resolution_does(self, story: Story) -> None:
        story.at("09:00").report("fail")
        services.ticket_note_job(ticket=story.ticket(), job_id="j1", text="done", kind="succeeded", now=story.now)
        story.at("10:00").report("pass")
        assert story.at("16:00").clock(ClockKind.RESPONSE).text == "kept: 1 h of 4 h"
        assert story.clock(ClockKind.RESOLUTION).text == "kept: 1 h of 8 h"

    def test_it_rests_outside_working_hours_and_says_when_it_goes_on(self, story: Story) -> None:
        story.at("2026-11-20 15:40").report("fail")  # a Friday
        view = story.at("2026-11-20 18:00").clock()
        assert (view.state, view.text) == (ClockState.RESTING, "2 h 10 min left, resumes Monday 09:00")
        assert story.at("2026-11-23 07:00").clock().text == "2 h 10 min left, resumes 09:00"
        assert story.at("2026-11-23 10:00").clock().text == "1 h 10 min left"

    def test_it_counts_in_the_clients_hours(self, story: Story) -> None:
        working_week_set(client=story.acme, hours={"monday": [["07:00", "08:00"]]}, scope=SYSTEM, now=story.now)
        story.at("09:00").report("fail")
        assert story.clock().text == "4 h left, resumes Mon 30 Nov 07:00"

    def test_it_stands_still_while_waiting_for_the_client(self, story: Story) -> None:
        story.at("09:00").report("fail")
        story.at("10:00").wait(story.bob)
        view = story.at("14:00").clock()
        assert (view.kind, view.state, view.due_at) == (ClockKind.RESOLUTION, ClockState.PAUSED, None)
        assert view.text == "7 h left, paused: waiting for client"
        story.at("15:00").resume(story.bob)
        assert story.at("16:00").clock().text == "6 h left"
        explained = queries.clock_explain(ticket=story.ticket(), now=story.now)
        assert [(part.why, part.seconds / 3600) for part in explained] == [
            ("counted", 1),
            ("paused: waiting for client", 5),
            ("counted", 1),
        ]

    def test_time_between_a_resolution_and_its_reopening_does_not_count(self, story: Story) -> None:
        story.at("09:00").report("fail")
        story.at("10:00").report("pass")
        story.at("13:00")
        services.ticket_reopen(ticket=story.ticket(), reason="it is back", scope=SYSTEM, now=story.now)
        assert story.at("14:00").clock(ClockKind.RESPONSE).text == "2 h left"
        assert story.clock(ClockKind.RESOLUTION).text == "6 h left"

    def test_warnings_at_half_three_quarters_and_ninety_then_the_breach(self, story: Story) -> None:
        story.telephone()
        story.at("09:00").report("fail")
        story.send()
        for at, titles in [
            ("10:59", []),
            ("11:00", ["#{n} 50 % of the response time used: 2 h left"]),
            ("11:30", []),
            ("12:00", ["#{n} 75 % of the response time used: 1 h left"]),
            ("12:36", ["#{n} 90 % of the response time used: 24 min left"]),
            ("13:00", ["#{n} response time breached", "#{n} 50 % of the resolution time used: 4 h left"]),
            ("14:00", []),
        ]:
            story.at(at)
            assert sorted(story.send()) == sorted(title.format(n=story.ticket().number) for title in titles), at
        assert story.events().count("sla_warning") == 4
        assert story.events().count("sla_breach") == 1
        assert story.clock().text == "breached by 1 h"

    def test_after_an_outage_only_the_highest_warning_is_told(self, story: Story) -> None:
        story.at("09:00").report("fail")
        story.at("12:10")
        assert story.texts("sla_warning") == ["75 % of the response time used: 50 min left"]

    def test_nothing_is_told_of_a_clock_that_stopped_or_waits(self, story: Story) -> None:
        story.at("09:00").report("fail")
        story.at("09:30").wait(story.bob)
        story.at("2026-11-24 17:00")
        assert "sla_warning" not in story.events()

    def test_an_answer_at_the_very_end_is_too_late(self, story: Story) -> None:
        story.at("09:00").report("fail")
        story.at("13:00").acknowledge(story.bob)
        assert story.clock(ClockKind.RESPONSE).state is ClockState.MISSED

    def test_a_clock_that_lacks_holidays_says_so(self, story: Story) -> None:
        type(story.acme).objects.visible_to(SYSTEM).filter(pk=story.acme.pk).update(country="XX")
        story.at("09:00").report("fail")
        assert "'XX'" in story.clock().note


class TestQueue:
    def test_breached_first_then_the_least_time_left_then_what_waits(self, story: Story) -> None:
        story.at("2026-11-20 12:00").report("fail", kind="service_down", target="nginx")
        breached = story.ticket()
        story.at("2026-11-23 12:30").report("warn", kind="cpu", target="", risk="low")
        low = story.ticket()
        story.at("12:31").report("fail", kind="disk_space")
        urgent = story.ticket()
        story.at("12:32").report("fail", kind="memory", target="")
        waiting = story.ticket()
        services.ticket_wait(ticket=waiting, reason="may we reboot?", scope=SYSTEM, now=story.now)
        order = [row.ticket for row in queries.queue(scope=SYSTEM, now=story.now)]
        assert order == [breached, urgent, low, waiting]

    def test_at_risk_is_what_used_half_its_time(self, story: Story) -> None:
        story.at("09:00").report("fail")
        assert queries.sla_at_risk(scope=SYSTEM, now=story.now) == []
        story.at("11:00")
        (row,) = queries.sla_at_risk(scope=SYSTEM, now=story.now)
        assert row.why == "urgent; response: 2 h left"
        assert row.clock.due_at.astimezone(story.zone).strftime("%H:%M") == "13:00"

    def test_the_number_of_queries_does_not_grow_with_the_queue(self, story: Story, django_assert_num_queries) -> None:
        for number in range(12):
            story.after(seconds=1).report("fail", target=f"/srv/{number}")
        with django_assert_num_queries(4):  # tickets, working weeks, closed days, pauses
            assert len(queries.queue(scope=SYSTEM, now=story.now)) == 12


class TestPeople:
    def test_bob_works_and_the_ticket_says_who_did_what(self, story: Story) -> None:
        story.at("09:00").report("fail")
        bob = story.scope(story.bob)
        story.at("09:10").acknowledge(story.bob)
        services.ticket_start(ticket=story.ticket(), scope=bob, now=story.now)
        services.ticket_comment(ticket=story.ticket(), text="looking at the logs", scope=bob, now=story.now)
        services.ticket_assign(ticket=story.ticket(), owner=story.bob, scope=bob, now=story.now)
        assert story.ticket().acknowledged_by == "bob"
        assert story.texts("assigned")[-1] == "assigned to bob (before: alice)"
        kinds = [
            e.kind for e in Entry.objects.visible_to(SYSTEM).filter(ticket_id=story.ticket().number).order_by("index")
        ]
        assert kinds == ["ticket:opened", "ticket:acknowledged", "ticket:commented", "ticket:assigned"]

    @pytest.mark.parametrize(
        ("act", "more"),
        [
            (services.ticket_acknowledge, {}),
            (services.ticket_start, {}),
            (services.ticket_comment, {"text": "hello"}),
            (services.ticket_wait, {"reason": "which?"}),
            (services.ticket_resume, {}),
            (services.ticket_resolve, {"reason": "done"}),
            (services.ticket_reopen, {"reason": "again"}),
        ],
    )
    def test_charlie_meets_a_ticket_that_is_not_there_and_dora_may_only_look(self, story: Story, act, more) -> None:
        story.at("09:00").report("fail")
        ticket = story.ticket()
        with pytest.raises(Ticket.DoesNotExist):
            act(ticket=ticket, scope=story.scope(story.charlie), now=story.now, **more)
        with pytest.raises(NotAllowedError):
            act(ticket=ticket, scope=story.scope(story.dora), now=story.now, **more)
        assert story.events() == ["opened", "assigned"]

    def test_charlie_sees_nothing_of_acme(self, story: Story) -> None:
        story.at("09:00").report("fail")
        story.report("fail", device=story.leeds_box)
        charlie, dora = story.scope(story.charlie), story.scope(story.dora)
        assert [t.device.name for t in queries.tickets(scope=charlie)] == ["leeds-01"]
        assert [row.ticket.device.name for row in queries.queue(scope=charlie, now=story.now)] == ["leeds-01"]
        assert [row.ticket.device.name for row in queries.queue(scope=dora, now=story.now)] == ["web-01"]
        with pytest.raises(Ticket.DoesNotExist):
            queries.ticket(scope=charlie, number=story.ticket().number)
        assert queries.timeline(scope=charlie, ticket=story.ticket()) == []

    def test_it_goes_only_to_someone_who_can_work_on_it(self, story: Story) -> None:
        story.at("09:00").report("fail")
        for person in (story.charlie, story.dora):
            with pytest.raises(TicketError, match=f"owner: {person.username} cannot work on ticket"):
                services.ticket_assign(ticket=story.ticket(), owner=person, scope=SYSTEM, now=story.now)

    def test_who_takes_a_ticket_without_owner_owns_it(self, story: Story) -> None:
        story.at("09:00").report("fail", device=story.leeds_box)
        ticket = services.ticket_acknowledge(
            ticket=story.ticket(story.leeds_box), scope=story.scope(story.charlie), now=story.now
        )
        assert ticket.owner == story.charlie

    def test_a_routing_rule_for_everyone_needs_everyone(self, story: Story) -> None:
        with pytest.raises(routing.RoutingError, match="responsible for every client"):
            routing.routing_rule_add(owner=story.bob, scope=story.scope(story.alice), now=story.now)
        root = person_create(username="root", password="correct horse battery", role=Role.OWNER)
        routing.routing_rule_add(owner=root, scope=story.scope(root), minimum_risk=Risk.CRITICAL, now=story.now)

    @pytest.mark.parametrize(
        ("act", "complaint"),
        [
            (lambda s: s.resume(s.bob), "is open, not waiting"),
            (lambda s: s.resolve(s.bob, "  "), "say what was done"),
            (lambda s: s.wait(s.bob, ""), "say what the client has to do"),
            (lambda s: (s.acknowledge(s.bob), s.acknowledge(s.alice)), "acknowledged by bob already"),
            (lambda s: (s.wait(s.bob), s.wait(s.bob)), "waits for the client already"),
            (lambda s: (s.resolve(s.bob), s.resolve(s.bob)), "reopen it first"),
            (lambda s: services.ticket_reopen(ticket=s.ticket(), reason="x", scope=SYSTEM, now=s.now), "not resolved"),
        ],
    )
    def test_what_does_not_fit_the_state_is_refused_with_words(self, story: Story, act, complaint) -> None:
        story.at("09:00").report("fail")
        with pytest.raises(TicketError, match=complaint):
            act(story)


@pytest.mark.parametrize("touched", [False, True])
def test_what_vanished_is_done_with_and_nobody_calls_it_verified(story: Story, touched: bool) -> None:
    story.at("09:00").report("fail", "/backup is 97 % full", target="/backup")
    if touched:
        story.at("09:10").acknowledge(story.bob)
    story.at("09:30").vanish(target="/backup")
    story.after(minutes=10)
    ticket = story.tickets()[0]
    assert ticket.state == ("resolved" if touched else "closed")
    assert (ticket.verified_at, ticket.verification) == (None, {})
    assert "no longer on the device" in ticket.close_reason


def test_the_timeline_tells_it_from_before_the_first_warning(story: Story) -> None:
    story.telephone()
    story.at("08:00").report("pass", "41 %")
    story.at("09:00").report("warn", "82 %")
    story.at("09:30").report("fail", "93 %")
    story.at("09:40").acknowledge(story.bob)
    services.ticket_note_job(ticket=story.ticket(), job_id="j1", text="freed 1.2 GB", kind="succeeded", now=story.now)
    story.at("09:45").report("pass", "61 %")
    story.at("12:00").report("warn", "81 %")  # another story
    first = story.tickets()[0]
    told = [(row.source, row.kind) for row in queries.timeline(scope=story.scope(story.dora), ticket=first)]
    assert told == [
        ("check", "new → pass"),
        ("check", "pass → warn"),
        ("ticket", "opened"),
        ("ticket", "assigned"),
        ("notification", "waiting"),
        ("check", "warn → fail"),
        ("ticket", "worsened"),
        ("ticket", "worsened"),
        ("notification", "waiting"),
        ("ticket", "acknowledged"),
        ("ticket", "job"),
        ("check", "fail → pass"),
        ("ticket", "resolved"),
        ("notification", "waiting"),
    ]
    assert all(row.reference for row in queries.timeline(scope=SYSTEM, ticket=first) if row.kind == "acknowledged")
