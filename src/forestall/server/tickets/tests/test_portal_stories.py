"""The client's side of a ticket: who sees what, what wakes it, what is approved and rated, and what never leaves."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.test import override_settings

from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.models import Entry
from forestall.server.people.models import Grant
from forestall.server.people.roles import Role
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.server.people.voice import reading_scope, speaks_for
from forestall.server.tickets import approvals, mail, portal, ratings, requests, services
from forestall.server.tickets.models import ApprovalState, ClientMail, MailState, Ticket, TicketEvent
from forestall.server.tickets.rules import ClockState, Priority, Urgency, has_lapsed, priority_of_request, public_title
from forestall.server.tickets.services import TicketError
from forestall.server.tickets.tests.portal_story import PortalStory

SYSTEM = Scope.system("story")
pytestmark = pytest.mark.django_db


@pytest.fixture
def story() -> PortalStory:
    return PortalStory().at("09:00")


def evidence_of(ticket: Ticket, kind: EvidenceKind) -> list[dict]:
    entries = Entry.objects.visible_to(SYSTEM).filter(ticket_id=ticket.number, kind=kind).order_by("index")
    return [entry.payload for entry in entries]


class TestRequest:
    def test_a_request_is_a_ticket_with_an_owner_a_priority_and_a_clock(self, story: PortalStory) -> None:
        story.telephone(client=story.acme)
        ticket = story.asks(story.uwe)
        assert (ticket.kind, ticket.device, ticket.requested_by) == ("request", None, story.uwe)
        assert ticket.priority == Priority.STANDARD
        assert ticket.owner == story.alice
        assert story.clock_of(ticket).state is ClockState.RUNNING
        assert evidence_of(ticket, EvidenceKind.TICKET_OPENED)[0]["by"] == "uwe"
        assert story.send() == [f"#{ticket.number} new request: Printer prints blank pages"]

    @pytest.mark.parametrize(
        ("urgency", "priority"),
        [("everybody", "urgent"), ("one", "standard"), ("hindered", "standard"), ("question", "low")],
    )
    def test_the_client_says_how_bad_it_is_and_the_rule_what_that_means(self, urgency: str, priority: str) -> None:
        assert priority_of_request(Urgency(urgency))[0] == priority

    def test_a_request_about_a_device_is_at_its_site(self, story: PortalStory) -> None:
        ticket = story.asks(story.uwe, site=None, device=story.reception)
        assert (ticket.device, ticket.site) == (story.reception, story.munich)
        with pytest.raises(TicketError, match="does not stand at that site"):
            story.asks(story.uwe, site=story.lab, device=story.reception)

    def test_with_several_sites_one_says_where(self, story: PortalStory) -> None:
        with pytest.raises(TicketError, match="site: say where"):
            story.asks(story.uwe, site=None)
        story.asks(story.cleo, site=None)

    def test_a_foreign_site_or_device_is_none(self, story: PortalStory) -> None:
        for how in ({"site": story.leeds}, {"site": None, "device": story.leeds_box}):
            with pytest.raises(Exception, match="does not exist"):
                story.asks(story.uwe, **how)

    @pytest.mark.parametrize(
        ("how", "said"),
        [({"title": "  "}, "title"), ({"title": "x" * 201}, "title"), ({"text": "x" * 10_001}, "text")],
    )
    def test_what_cannot_be_taken_is_named(self, story: PortalStory, how: dict, said: str) -> None:
        with pytest.raises(TicketError, match=f"^{said}: "):
            story.asks(story.uwe, **how)

    def test_one_person_cannot_bury_the_desk(self, story: PortalStory, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(requests, "MOST_OPEN", 2)
        story.asks(story.uwe)
        story.asks(story.uwe)
        with pytest.raises(TicketError, match="2 of your requests are open"):
            story.asks(story.uwe)
        story.asks(story.carla)

    def test_staff_open_one_for_a_person_of_the_client(self, story: PortalStory) -> None:
        by_hand = {"title": "Call from Ulla", "text": "Screen is black.", "urgency": Urgency.ONE, "now": story.now}
        tina = story.scope(story.tina)
        ticket = requests.ticket_open(site=story.munich, requested_by=story.ulla, scope=tina, **by_hand)
        assert story.numbers(story.ulla) == {ticket.number}
        assert story.numbers(story.uwe) == set()
        with pytest.raises(TicketError, match="cleo does not see the portal of Munich"):
            requests.ticket_open(site=story.munich, requested_by=story.cleo, scope=tina, **by_hand)
        with pytest.raises(NotAllowedError):
            requests.ticket_open(site=story.munich, scope=story.scope(story.dora), **by_hand)
        with pytest.raises(Exception, match="does not exist"):
            requests.ticket_open(site=story.munich, scope=story.scope(story.charlie), **by_hand)

    def test_no_check_judges_a_request_and_nothing_reopens_it_by_itself(self, story: PortalStory) -> None:
        ticket = story.asks(story.uwe)
        services.ticket_resolve(ticket=ticket, reason="new toner", scope=story.scope(story.tina), now=story.now)
        story.after(days=2)
        done = story.fresh(ticket)
        assert (done.state, done.close_reason, done.verified_at) == ("resolved", "done", None)
        assert story.lines(ticket)[-1] == "Tina Tauber: Done: new toner"

    def test_the_client_opens_its_own_request_again_for_thirty_days(self, story: PortalStory) -> None:
        ticket = story.asks(story.uwe)
        services.ticket_resolve(ticket=ticket, reason="new toner", scope=story.scope(story.tina), now=story.now)
        story.after(days=1)
        requests.client_reopen(ticket=ticket, reason="blank again", scope=story.scope(story.uwe), now=story.now)
        assert not story.fresh(ticket).is_done
        assert story.lines(ticket)[-1] == "Uwe: Not done yet: blank again"
        services.ticket_resolve(ticket=ticket, reason="new drum", scope=story.scope(story.tina), now=story.now)
        story.after(days=31)
        with pytest.raises(TicketError, match="more than 30 days"):
            requests.client_reopen(ticket=ticket, reason="again", scope=story.scope(story.uwe), now=story.now)


class TestWhoSeesWhat:
    def test_a_manager_sees_all_of_their_client_a_user_their_own_a_twin_nothing(self, story: PortalStory) -> None:
        story.report("fail")
        found = story.ticket()
        ulla, uwe = story.asks(story.ulla), story.asks(story.uwe)
        assert story.numbers(story.carla) == {found.number, ulla.number, uwe.number}
        assert story.numbers(story.ulla) == {ulla.number}
        assert story.numbers(story.uwe) == {uwe.number}
        assert story.numbers(story.cleo) == set()
        for number in (uwe.number, 987_654):
            with pytest.raises(Ticket.DoesNotExist):
                portal.ticket_for_client(scope=story.reads(story.cleo), number=number)

    def test_a_manager_of_one_site_sees_that_site(self, story: PortalStory) -> None:
        Grant.objects.filter(person=story.carla).update(site=story.lab)
        lab, munich = story.asks(story.uwe, site=story.lab), story.asks(story.uwe)
        assert story.numbers(story.carla) == {lab.number}
        assert story.numbers(story.uwe) == {lab.number, munich.number}

    def test_staff_who_may_look_see_what_a_manager_sees(self, story: PortalStory) -> None:
        ticket, foreign = story.asks(story.uwe), story.asks(story.cleo, site=story.leeds)
        assert story.numbers(story.owner) == {ticket.number, foreign.number}
        one = reading_scope(story.scope(story.owner), client=story.acme.pk)
        assert {t.number for t in portal.tickets_for_client(scope=one)} == {ticket.number}
        assert story.numbers(story.tina) == set()

    def test_staff_never_speak_for_the_client(self, story: PortalStory) -> None:
        ticket = story.asks(story.uwe)
        owner = story.scope(story.owner)
        assert owner.may(Permission.PORTAL_APPROVE, on=ticket)
        acts = (
            lambda: requests.client_comment(ticket=ticket, text="yes", scope=owner, now=story.now),
            lambda: requests.request_open(
                title="x", text="", urgency=Urgency.ONE, site=story.munich, scope=owner, now=story.now
            ),
        )
        for act in acts:
            with pytest.raises(NotAllowedError, match="only its own people"):
                act()
        # Not even with a token that was cut down to what a client's manager has.
        cut = owner.narrowed(permissions=[one for one in Permission if one.is_portal])
        assert not speaks_for(scope=cut, permission=Permission.PORTAL_APPROVE, on=ticket)

    def test_who_works_at_a_place_does_not_speak_for_it(self, story: PortalStory) -> None:
        """Whatever roles somebody has besides."""
        both = story._person("both", Role.CLIENT_MANAGER, story.acme)
        ticket = story.asks(story.uwe)
        assert speaks_for(scope=story.scope(both), permission=Permission.PORTAL_APPROVE, on=ticket)
        Grant.objects.create(person=both, role=Role.TECHNICIAN, client=story.bolt)
        assert speaks_for(scope=story.scope(both), permission=Permission.PORTAL_APPROVE, on=ticket)
        Grant.objects.create(person=both, role=Role.AUDITOR, site=story.munich, client=story.acme)
        assert not speaks_for(scope=story.scope(both), permission=Permission.PORTAL_APPROVE, on=ticket)

    def test_what_staff_note_stays_inside_unless_it_is_to_the_client(self, story: PortalStory) -> None:
        ticket = story.asks(story.uwe)
        story.notes(ticket, "CANARY-internal: they never pay")
        story.notes(ticket, "Please try the second tray.", to_client=True)
        lines = story.lines(ticket, story.uwe)
        assert "Tina Tauber: Please try the second tray." in lines
        assert not [line for line in lines if "CANARY" in line or "internal" in line]

    def test_the_story_of_what_a_check_found_names_no_internals(self, story: PortalStory) -> None:
        story.report("fail", "account mallory got root by runbook x", kind="new_administrator", target="mallory")
        ticket = story.ticket()
        services.ticket_note_job(
            ticket=ticket, job_id="j", text="Runbook “remove-administrator” ran", kind="succeeded", now=story.now
        )
        story.acknowledge(story.bob)
        story.report("pass", "no such account", kind="new_administrator", target="mallory")
        said = " ".join(story.lines(ticket))
        assert "mallory" not in said
        assert "unbook" not in said
        assert "bob" not in said
        story.bob.display_name = ""
        story.bob.save()
        assert "Service desk: Received, and taken on." in story.lines(ticket)
        assert "Bob Baker: Received, and taken on." in said
        assert said.endswith("A check has shown that it is well again.")
        assert public_title(kind=ticket.kind, title=ticket.title) == "New administrator"


class TestWaiting:
    def test_a_clients_word_wakes_a_ticket_that_waits_for_it(self, story: PortalStory) -> None:
        ticket = story.asks(story.uwe)
        tina = story.scope(story.tina)
        story.at("10:00")
        services.ticket_wait(ticket=ticket, reason="Which tray?", scope=tina, now=story.now)
        story.at("12:00")
        assert story.clock_of(ticket).state is ClockState.PAUSED
        used = story.clock_of(ticket).used_seconds
        requests.client_comment(ticket=ticket, text="The upper one.", scope=story.scope(story.uwe), now=story.now)
        assert story.fresh(ticket).state == "in_progress"
        story.at("12:30")
        assert story.clock_of(ticket).used_seconds == used + 1800
        assert story.lines(ticket, story.uwe)[-3:] == [
            "Tina Tauber: Which tray?",
            "Uwe: The upper one.",
            "Uwe: Work goes on.",
        ]

    def test_a_colleague_cannot_write_on_what_they_do_not_see(self, story: PortalStory) -> None:
        ticket = story.asks(story.uwe)
        for stranger in (story.ulla, story.cleo):
            with pytest.raises(Ticket.DoesNotExist):
                requests.client_comment(ticket=ticket, text="hello", scope=story.scope(stranger), now=story.now)
        assert TicketEvent.objects.visible_to(SYSTEM).filter(ticket=ticket, kind="commented").count() == 0


class TestApproval:
    def ask(self, story: PortalStory, ticket: Ticket, **how):
        asked = {"question": "Replace the printer?", "what_happens": "A new one comes on Friday.", "cost": "400 EUR"}
        return approvals.approval_ask(ticket=ticket, scope=story.scope(story.tina), now=story.now, **{**asked, **how})

    def answer(self, story: PortalStory, approval, person, *, approve: bool = True, reason: str = ""):
        return approvals.approval_answer(
            approval=approval, approve=approve, reason=reason, scope=story.scope(person), now=story.now
        )

    def test_asked_answered_on_record_and_the_clock_waits_meanwhile(self, story: PortalStory) -> None:
        story.telephone(client=story.acme)
        ticket = story.asks(story.uwe)
        story.at("10:00")
        approval = self.ask(story, ticket)
        assert story.fresh(ticket).state == "waiting"
        story.at("11:00")
        used = story.clock_of(ticket).used_seconds
        story.at("14:00")
        assert story.clock_of(ticket).used_seconds == used
        story.send()
        answered = self.answer(story, approval, story.carla, reason="Yes, the grey one.")
        assert (answered.state, answered.answered_by) == (ApprovalState.APPROVED, "carla")
        assert story.fresh(ticket).state == "in_progress"
        record = evidence_of(ticket, EvidenceKind.TICKET_ANSWERED)[0]
        assert record == {
            "ticket": ticket.number, "approval": approval.pk, "question": "Replace the printer?",
            "what_happens": "A new one comes on Friday.", "cost": "400 EUR", "answer": "approved",
            "reason": "Yes, the grey one.", "by": "carla", "name": "Carla",
        }  # fmt: skip
        assert answered.reference
        assert "Carla: Approved: Replace the printer?\nYes, the grey one." in story.lines(ticket)
        assert story.send() == [f"#{ticket.number} the client has approved: Replace the printer?"]

    def test_only_who_may_approve_answers_and_only_once(self, story: PortalStory) -> None:
        ticket = story.asks(story.uwe)
        approval = self.ask(story, ticket)
        with pytest.raises(NotAllowedError):
            self.answer(story, approval, story.uwe)
        with pytest.raises(Ticket.DoesNotExist):
            self.answer(story, approval, story.cleo)
        with pytest.raises(NotAllowedError, match="only its own people"):
            self.answer(story, approval, story.owner)
        with pytest.raises(TicketError, match="reason: say why you decline"):
            self.answer(story, approval, story.carla, approve=False)
        self.answer(story, approval, story.carla, approve=False, reason="too dear")
        with pytest.raises(TicketError, match="declined already"):
            self.answer(story, approval, story.carla)
        assert len(evidence_of(ticket, EvidenceKind.TICKET_ANSWERED)) == 1

    def test_what_nobody_answers_in_time_lapses_and_the_clock_goes_on(self, story: PortalStory) -> None:
        ticket = story.asks(story.uwe)
        approval = self.ask(story, ticket, answer_by=story.now + timedelta(hours=2))
        story.at("10:59")
        assert story.fresh(ticket).state == "waiting"
        story.at("11:00")
        approval.refresh_from_db()
        assert approval.state == ApprovalState.LAPSED
        assert story.fresh(ticket).state == "in_progress"
        with pytest.raises(TicketError, match="already"):
            self.answer(story, approval, story.carla)
        assert has_lapsed(answer_by=None, now=story.now) is False

    def test_a_late_answer_is_none_even_before_the_clock_looked(self, story: PortalStory) -> None:
        ticket = story.asks(story.uwe)
        approval = self.ask(story, ticket, answer_by=story.now + timedelta(hours=2))
        story.now += timedelta(hours=3)
        with pytest.raises(TicketError, match="the time to answer is over"):
            self.answer(story, approval, story.carla)

    @pytest.mark.parametrize("how", ["resolve", "resume", "withdraw"])
    def test_an_answer_that_is_no_longer_needed_is_withdrawn(self, story: PortalStory, how: str) -> None:
        ticket, tina = story.asks(story.uwe), story.scope(story.tina)
        approval = self.ask(story, ticket)
        if how == "resolve":
            services.ticket_resolve(ticket=ticket, reason="repaired it", scope=tina, now=story.now)
        elif how == "resume":
            services.ticket_resume(ticket=ticket, scope=tina, now=story.now)
        else:
            approvals.approval_withdraw(approval=approval, scope=tina, now=story.now)
        approval.refresh_from_db()
        assert approval.state == ApprovalState.WITHDRAWN
        assert story.fresh(ticket).state in {"resolved", "in_progress"}
        with pytest.raises(TicketError, match="withdrawn already"):
            self.answer(story, approval, story.carla)

    def test_what_is_asked_is_complete_and_somebody_can_answer(self, story: PortalStory) -> None:
        ticket = story.asks(story.uwe)
        for how, said in (
            ({"question": " "}, "question"),
            ({"what_happens": ""}, "what_happens"),
            ({"answer_by": story.now}, "answer_by"),
            ({"question": "x" * 301}, "question"),
        ):
            with pytest.raises(TicketError, match=f"^{said}: "):
                self.ask(story, ticket, **how)
        self.ask(story, ticket)
        with pytest.raises(TicketError, match="waits for an answer already"):
            self.ask(story, ticket)
        Grant.objects.filter(role=Role.CLIENT_MANAGER).delete()
        with pytest.raises(TicketError, match="nobody of Acme may approve"):
            self.ask(story, story.asks(story.uwe))


class TestRating:
    def rate(self, story: PortalStory, ticket: Ticket, person, score: int = 4, comment: str = ""):
        return ratings.rating_give(
            ticket=ticket, score=score, comment=comment, scope=story.scope(person), now=story.now
        )

    def done(self, story: PortalStory) -> Ticket:
        ticket = story.asks(story.uwe)
        return services.ticket_resolve(ticket=ticket, reason="toner", scope=story.scope(story.tina), now=story.now)

    def test_once_it_is_done_it_is_rated_and_for_fourteen_days_changed(self, story: PortalStory) -> None:
        ticket = story.asks(story.uwe)
        with pytest.raises(TicketError, match="not done yet"):
            self.rate(story, ticket, story.uwe)
        ticket = services.ticket_resolve(ticket=ticket, reason="toner", scope=story.scope(story.tina), now=story.now)
        self.rate(story, ticket, story.uwe, 2, "slow")
        with pytest.raises(TicketError, match="one of your colleagues"):
            self.rate(story, ticket, story.carla)
        story.after(days=13)
        self.rate(story, ticket, story.uwe, 5)
        assert [(r["before"], r["score"]) for r in evidence_of(ticket, EvidenceKind.TICKET_RATED)] == [
            (None, 2),
            (2, 5),
        ]
        story.after(days=2)
        with pytest.raises(TicketError, match="more than 14 days ago"):
            self.rate(story, ticket, story.uwe, 1)
        assert ratings.rating_of(scope=story.scope(story.tina), ticket=ticket).score == 5

    @pytest.mark.parametrize("score", [0, 6, -1])
    def test_a_score_is_from_one_to_five(self, story: PortalStory, score: int) -> None:
        with pytest.raises(TicketError, match=f"score: {score}"):
            self.rate(story, self.done(story), story.uwe, score)

    def test_staff_rate_nothing_and_a_twin_sees_nothing_to_rate(self, story: PortalStory) -> None:
        ticket = self.done(story)
        with pytest.raises(NotAllowedError):
            self.rate(story, ticket, story.owner)
        with pytest.raises(Ticket.DoesNotExist):
            self.rate(story, ticket, story.cleo)

    def test_ratings_add_up_by_client_and_month(self, story: PortalStory) -> None:
        first, second = self.done(story), self.done(story)
        self.rate(story, first, story.uwe, 2)
        story.after(days=14)
        self.rate(story, second, story.uwe, 5)
        tina = story.scope(story.tina)
        found = ratings.contentment_by_client(scope=tina)
        assert found == {story.acme.pk: ratings.Contentment(count=2, average=3.5)}
        months = ratings.contentment_by_month(scope=tina, client_id=story.acme.pk, since=story.now - timedelta(days=90))
        assert [(str(month), one.average) for month, one in months.items()] == [("2026-11-01", 2), ("2026-12-01", 5)]
        assert ratings.contentment_by_client(scope=story.scope(story.charlie)) == {}


class TestMail:
    @override_settings(MAIL_IS_SET=True)
    def test_who_asked_is_told_that_it_was_answered_and_done_and_who_approves_that_something_waits(
        self, story: PortalStory
    ) -> None:
        ticket, tina = story.asks(story.uwe), story.scope(story.tina)
        story.notes(ticket, "CANARY-internal")
        story.notes(ticket, "On my way.", to_client=True)
        approvals.approval_ask(ticket=ticket, question="New one?", what_happens="Swap.", scope=tina, now=story.now)
        services.ticket_resolve(ticket=ticket, reason="swapped", scope=tina, now=story.now)
        sent: list[tuple[str, str, str]] = []
        assert mail.client_mails_send(now=story.now, send=lambda *what: sent.append(what)) == 3
        assert [(to, subject.partition(":")[0]) for to, subject, _ in sent] == [
            ("uwe@example.org", f"[#{ticket.number}] Your request was answered"),
            ("carla@example.org", f"[#{ticket.number}] Your approval is asked for"),
            ("uwe@example.org", f"[#{ticket.number}] Your request is done"),
        ]
        assert not [text for _, _, text in sent if "CANARY" in text or "tina.internal" in text]
        assert mail.client_mails_send(now=story.now, send=lambda *what: sent.append(what)) == 0

    def test_without_a_mail_server_nothing_breaks_and_it_is_said(self, story: PortalStory) -> None:
        ticket = story.asks(story.uwe)
        story.notes(ticket, "On my way.", to_client=True)
        row = ClientMail.objects.visible_to(SYSTEM).get()
        assert (row.state, row.result) == (MailState.NOT_SENT, mail.NO_SERVER)
        assert mail.client_mails_send(now=story.now) == 0

    @override_settings(MAIL_IS_SET=True)
    def test_a_server_that_is_away_is_tried_again_and_then_given_up(self, story: PortalStory) -> None:
        def away(*what: str) -> None:
            raise ConnectionRefusedError(111, "Connection refused")

        story.notes(story.asks(story.uwe), "On my way.", to_client=True)
        tries = 0
        while ClientMail.objects.visible_to(SYSTEM).filter(state=MailState.WAITING).exists():
            mail.client_mails_send(now=story.now, send=away)
            story.now += timedelta(hours=2)
            tries += 1
        assert tries == mail.MOST_ATTEMPTS
        assert "Connection refused" in ClientMail.objects.visible_to(SYSTEM).get().result

    @override_settings(MAIL_IS_SET=True)
    def test_who_no_longer_sees_the_portal_is_no_longer_told(self, story: PortalStory) -> None:
        ticket = story.asks(story.uwe)
        Grant.objects.filter(person=story.uwe).delete()
        story.notes(ticket, "On my way.", to_client=True)
        assert not ClientMail.objects.visible_to(SYSTEM).exists()

    @override_settings(MAIL_IS_SET=True)
    def test_a_line_break_in_a_title_makes_no_header(self, story: PortalStory, mailoutbox) -> None:
        ticket = story.asks(story.uwe, "Printer\nBcc: everybody@example.org")
        story.notes(ticket, "On my way.", to_client=True)
        assert mail.client_mails_send(now=story.now) == 1
        assert mailoutbox[0].to == ["uwe@example.org"]
        assert "\n" not in mailoutbox[0].subject


def test_the_migrations_say_what_the_models_say() -> None:
    call_command("makemigrations", "tickets", "reports", "calendar", check=True, dry_run=True, verbosity=0)
