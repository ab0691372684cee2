"""The portal's pages: Carla manages Acme, Uwe works there, Cleo manages Bolt; Tina and Olga serve them."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern

from forestall.server.calendar import services as calendar
from forestall.server.console import urls
from forestall.server.console.access import DECLARED, SIGNED_IN
from forestall.server.console.tests.conftest import browser_of
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.models import Entry
from forestall.server.inventory.models import Device
from forestall.server.people.models import Grant, Person
from forestall.server.people.roles import Role
from forestall.server.people.scope import Permission, Scope
from forestall.server.reports.services import service_report_make
from forestall.server.tickets import approvals, services
from forestall.server.tickets.models import Ticket, TicketApproval, TicketRating
from forestall.server.tickets.tests.portal_story import PortalStory

SYSTEM = Scope.system("test")
CANARY = "CANARY-7f3a-internal"
PAGES = ("/portal/", "/portal/tickets/", "/portal/devices/", "/portal/calendar/", "/portal/reports/")
PORTAL_QUERIES = {
    # The page's own, besides those for session, person and roles. More is a defect, fewer is news: write it here.
    "/portal/": 12,
    "/portal/tickets/": 3,
    "/portal/devices/": 4,
    "/portal/calendar/": 7,
    "/portal/reports/": 1,
    "ticket": 9,
}


@pytest.fixture
def story(house) -> PortalStory:
    world = PortalStory()
    world.now = datetime.now(UTC) - timedelta(hours=2)
    Device.objects.visible_to(SYSTEM).update(last_check_in_at=datetime.now(UTC))
    return world


@pytest.fixture
def carla(story) -> Browser:
    return browser_of(story.carla)


def page(browser: Browser, address: str, status: int = 200) -> str:
    answer = browser.get(address)
    assert answer.status_code == status, f"{address}: {answer.status_code}"
    return answer.content.decode()


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_a_client_lands_in_the_portal_and_staff_in_the_console(story, carla):
    assert carla.get("/")["Location"] == "/portal/"
    assert "All 2 devices" not in page(browser_of(story.tina), "/")
    assert browser_of(story.tina).get("/portal/").status_code == 403


def test_the_sentence_comes_first(story, carla):
    story.report("pass")
    story.report("pass", device=story.reception)
    assert "All 2 devices are well ; nothing waits for you ." in words(page(carla, "/portal/"))
    ticket = story.asks(story.uwe)
    services.ticket_wait(ticket=ticket, reason="Which tray?", scope=story.scope(story.tina), now=story.now)
    assert "All 2 devices are well ; 1 thing waits for you ." in words(page(carla, "/portal/"))
    assert "Which tray?" in page(carla, f"/portal/tickets/{ticket.number}/")


def test_empty_pages_teach(story):
    Device.objects.visible_to(SYSTEM).filter(client=story.bolt).delete()
    cleo = browser_of(story.cleo)
    for address, said in (
        ("/portal/", "No device of yours is watched yet"),
        ("/portal/tickets/", "Ask us for something"),
        ("/portal/tickets/?show=done", "Nothing is done yet"),
        ("/portal/devices/", "No device is watched yet"),
        ("/portal/calendar/", "No work on your devices is planned"),
        ("/portal/reports/", "No report yet"),
    ):
        assert said in page(cleo, address), address


def test_from_a_request_to_its_rating(story):
    """Uwe asks, Tina asks back, Carla approves, Tina resolves, Uwe rates."""
    uwe, carla, tina = browser_of(story.uwe), browser_of(story.carla), browser_of(story.tina)
    assert "Several of us cannot work" in page(uwe, "/portal/tickets/new")
    asked = {"title": "Printer prints blank pages", "text": "All day.", "urgency": "one", "site": str(story.munich.pk)}
    sent = uwe.post("/portal/tickets/new", asked)
    ticket = Ticket.objects.visible_to(SYSTEM).get()
    assert sent["Location"] == f"/portal/tickets/{ticket.number}/"
    base = f"/tickets/{ticket.number}"
    tina.post(f"{base}/comment", {"text": f"{CANARY}: worn out"})
    tina.post(f"{base}/comment", {"text": "We know this one.", "to_client": "1"})
    question = {"question": "Replace it?", "what_happens": "A new one on Friday.", "cost": "390 EUR", "days": "2"}
    tina.post(f"{base}/ask", question)
    approval = TicketApproval.objects.visible_to(SYSTEM).get()
    assert "Someone who may approve for your company answers this." in page(uwe, f"/portal{base}/")
    assert uwe.post(f"/portal{base}/answer", {"approval": approval.pk, "answer": "approve"}).status_code == 403
    carla.post(f"/portal{base}/answer", {"approval": approval.pk, "answer": "approve", "reason": "The grey one."})
    approval.refresh_from_db()
    assert (approval.state, approval.answered_by, approval.reason) == ("approved", "carla", "The grey one.")
    assert "The client answered: Approved: Replace it?" in words(page(tina, f"{base}/"))
    tina.post(f"{base}/resolve", {"text": "The new one prints."})
    html = page(uwe, f"/portal{base}/")
    assert "Done: The new one prints." in html
    assert "How was it?" in html
    uwe.post(f"/portal{base}/rate", {"score": "5", "comment": "Quick!"})
    assert TicketRating.objects.visible_to(SYSTEM).get().score == 5
    assert "5 of 5 by uwe" in words(page(tina, f"{base}/"))
    assert "Acme 5.0 of 5 (1 rating)" in words(page(tina, "/tickets/?show=done"))
    uwe.post(f"/portal{base}/reopen", {"text": "Blank again."})
    assert not Ticket.objects.visible_to(SYSTEM).get().is_done
    kinds = Entry.objects.visible_to(SYSTEM).filter(ticket_id=ticket.number).values_list("kind", flat=True)
    assert {EvidenceKind.TICKET_ANSWERED, EvidenceKind.TICKET_RATED, EvidenceKind.TICKET_REOPENED} <= set(kinds)


def test_a_form_that_cannot_be_taken_says_why(story):
    uwe = browser_of(story.uwe)
    html = uwe.post("/portal/tickets/new", {"title": "", "urgency": "one"}).content.decode()
    assert "This field is required" in html
    html = uwe.post("/portal/tickets/new", {"title": "x", "urgency": "one"}).content.decode()
    assert "Say where it is." in html
    foreign = {"title": "x", "urgency": "one", "site": str(story.leeds.pk)}
    assert "Select a valid choice" in uwe.post("/portal/tickets/new", foreign).content.decode()
    ticket = story.asks(story.uwe)
    said = uwe.post(f"/portal/tickets/{ticket.number}/comment", {"text": " "}, follow=True).content.decode()
    assert "A comment without words." in said
    said = uwe.post(f"/portal/tickets/{ticket.number}/rate", {"score": "9" * 50}, follow=True).content.decode()
    assert "Choose how it was." in said


def test_a_proposed_window_is_answered_as_it_was_shown(story, carla):
    tina = story.scope(story.tina)
    window = calendar.window_create(
        site=story.munich, name="Server move", starts_on=date(2030, 1, 5), starts_at="18:00", minutes=300,
        purpose="Nothing works", needs_approval=True, scope=tina, now=story.now,
    )  # fmt: skip
    html = page(carla, "/portal/calendar/")
    shown = re.search(r'name="shown" value="([^"]+)"', html).group(1)
    assert shown == "Once, on Saturday 5 January 2030, from 18:00, for 5 h (Europe/Berlin)"
    address = f"/portal/calendar/windows/{window.pk}/answer"
    assert 'name="answer"' not in page(browser_of(story.uwe), "/portal/calendar/")
    assert browser_of(story.uwe).post(address, {"shown": shown, "answer": "approve"}).status_code == 403
    assert browser_of(story.cleo).post(address, {"shown": shown, "answer": "approve"}).status_code == 404
    stale = carla.post(address, {"shown": "another time", "answer": "approve"}, follow=True).content.decode()
    assert "It was changed meanwhile" in stale
    assert "say why you decline" in carla.post(address, {"shown": shown, "answer": "x"}, follow=True).content.decode()
    carla.post(address, {"shown": shown, "answer": "approve"})
    window.refresh_from_db()
    assert (window.answer, window.answered_by) == ("approved", "carla")


class TestIsolation:
    def test_no_page_of_the_console_is_there_for_a_client(self, story, carla):
        story.report("fail")
        story.asks(story.uwe)
        known = {
            "device_id": story.web.pk, "number": 1, "client_id": story.acme.pk, "site_id": story.munich.pk, "pk": 1,
            "person_id": story.carla.pk, "slug": "free-disk-space", "tab": "metrics", "check_id": 1,
        }  # fmt: skip

        def blank(match: re.Match[str]) -> object:
            return uuid.uuid4() if match[1] == "uuid" else 1

        tried = 0
        for pattern in urls.urlpatterns:
            assert isinstance(pattern, URLPattern)
            where = str(pattern.pattern)
            if where.startswith("portal/") or getattr(pattern.callback, DECLARED) is SIGNED_IN:
                continue
            address = "/" + re.sub(r"<(?:(\w+):)?(\w+)>", lambda match: str(known.get(match[2], blank(match))), where)
            for answer in (carla.get(address), carla.post(address)):
                assert answer.status_code in {403, 404, 405}, (address, answer.status_code)
                assert b"web-01" not in answer.content, address
            tried += 1
        assert tried > 40

    def test_what_any_signed_in_person_may_open_comes_in_the_portals_frame(self, story, carla):
        for pattern in urls.urlpatterns:
            where = str(pattern.pattern)
            if getattr(pattern.callback, DECLARED) is SIGNED_IN and "<" not in where and where != "":
                answer = carla.get(f"/{where}")
                assert b'href="/devices/"' not in answer.content, where
                assert answer.status_code in {200, 302, 405}, where

    def test_internal_notes_and_names_are_in_no_page_report_or_file(self, story, carla):
        story.report("fail", f"{CANARY} reason", kind="new_administrator", target=f"{CANARY}-account")
        found, asked = story.ticket(), story.asks(story.uwe)
        tina = story.scope(story.tina)
        for ticket in (found, asked):
            story.notes(ticket, f"{CANARY}: internal note")
            services.ticket_note_job(ticket=ticket, job_id="j", text="Runbook ran", kind="succeeded", now=story.now)
            services.ticket_reopen(
                ticket=services.ticket_resolve(ticket=ticket, reason="done", scope=tina, now=story.now),
                reason=f"{CANARY}: forgot the second one", scope=tina, now=story.now,
            )  # fmt: skip
        services.ticket_resolve(ticket=asked, reason="really done", scope=tina, now=story.now)
        kept: list[dict] = []
        report = service_report_make(
            ticket=asked, now=story.now, render=lambda said, _at: (kept.append(said), b"%PDF-1.7 of it")[1]
        )
        said = repr(kept)
        assert CANARY not in said
        assert "tina.internal" not in said
        assert "Tina Tauber" in said
        for browser in (carla, browser_of(story.uwe), browser_of(story.cleo)):
            for address in (
                *PAGES, "/portal/tickets/?show=done", f"/portal/tickets/{found.number}/",
                f"/portal/tickets/{asked.number}/", "/portal/tickets/new", f"/portal/reports/{report.number}.pdf",
            ):  # fmt: skip
                content = browser.get(address).content
                assert CANARY.encode() not in content, address
                assert b"tina.internal" not in content, address
        assert carla.get(f"/portal/reports/{report.number}.pdf").content == b"%PDF-1.7 of it"

    def test_a_twin_at_another_client_sees_nothing_and_cannot_tell(self, story, carla):
        """V8."""
        ticket = story.asks(story.uwe)
        services.ticket_resolve(ticket=ticket, reason="done", scope=story.scope(story.tina), now=story.now)
        report = service_report_make(ticket=ticket, now=story.now, render=lambda *_: b"%PDF-1.7")
        cleo = browser_of(story.cleo)
        for there, absent in (
            (f"/portal/tickets/{ticket.number}/", "/portal/tickets/987654321/"),
            (f"/portal/reports/{report.number}.pdf", "/portal/reports/SR-999999.pdf"),
        ):
            assert carla.get(there).status_code == 200
            first, second = cleo.get(there), cleo.get(absent)
            assert (first.status_code, first.content) == (second.status_code, second.content)
            assert first.status_code == 404
        for act in ("comment", "answer", "rate", "reopen"):
            first = cleo.post(f"/portal/tickets/{ticket.number}/{act}", {"text": "x", "score": "1"})
            second = cleo.post(f"/portal/tickets/987654321/{act}", {"text": "x", "score": "1"})
            assert (first.status_code, first.content) == (404, second.content)
        for address in PAGES:
            html = page(cleo, address)
            assert not [name for name in ("Acme", "Munich", "web-01", "Printer", "Carla") if name in html], address

    def test_a_user_is_given_no_report_of_a_colleagues_request(self, story):
        ticket = story.asks(story.ulla)
        services.ticket_resolve(ticket=ticket, reason="done", scope=story.scope(story.tina), now=story.now)
        report = service_report_make(ticket=ticket, now=story.now, render=lambda *_: b"%PDF-1.7")
        assert browser_of(story.uwe).get(f"/portal/reports/{report.number}.pdf").status_code == 404
        assert report.number not in page(browser_of(story.uwe), "/portal/reports/")
        assert report.number in page(browser_of(story.ulla), "/portal/reports/")

    def test_rights_that_are_taken_bind_the_next_request(self, story, carla):
        """V11."""
        assert carla.get("/portal/").status_code == 200
        Grant.objects.filter(person=story.carla).delete()
        assert carla.get("/portal/").status_code == 403

    def test_a_stranger_is_asked_to_sign_in(self, story):
        for address in PAGES:
            assert Browser().get(address)["Location"].startswith("/accounts/login/")


class TestStaffLook:
    def test_staff_see_it_as_the_client_does_one_client_at_a_time_and_change_nothing(self, story):
        olga = browser_of(story.owner)
        ticket = story.asks(story.uwe)
        chosen = page(olga, "/portal/")
        assert f"/portal/?client={story.acme.pk}" in chosen
        html = page(olga, f"/portal/?client={story.acme.pk}")
        assert "You see the portal of <b>Acme</b>" in html
        assert f"/portal/tickets/?client={story.acme.pk}" in html
        assert "New request" not in html
        seen = page(olga, f"/portal/tickets/{ticket.number}/")
        assert "Write to us" not in seen
        base = f"/portal/tickets/{ticket.number}"
        for act in ("comment", "rate", "reopen"):
            assert olga.post(f"{base}/{act}", {"text": "x", "score": "5"}).status_code == 403
        assert olga.get(f"/portal/tickets/new?client={story.acme.pk}").status_code == 302
        assert olga.get(f"/portal/?client={uuid.uuid4()}").status_code == 404
        assert olga.get("/portal/?client=nonsense").status_code == 404

    def test_an_approval_cannot_be_forged_by_the_provider(self, story):
        ticket = story.asks(story.uwe)
        approval = approvals.approval_ask(
            ticket=ticket, question="Pay?", what_happens="You pay.", scope=story.scope(story.tina), now=story.now
        )
        olga = browser_of(story.owner)
        answer = olga.post(f"/portal/tickets/{ticket.number}/answer", {"approval": approval.pk, "answer": "approve"})
        assert answer.status_code == 403
        approval.refresh_from_db()
        assert approval.state == "asked"

    def test_a_service_manager_of_one_client_is_not_asked_which(self, story):
        manager = Person.objects.create(username="sam", password="!")
        Grant.objects.create(person=manager, role=Role.SERVICE_MANAGER, client=story.bolt)
        assert "You see the portal of <b>Bolt</b>" in page(browser_of(manager), "/portal/")
        assert browser_of(manager).get(f"/portal/?client={story.acme.pk}").status_code == 404

    def test_who_works_for_one_client_and_manages_another_has_both(self, story):
        both = Person.objects.create(username="both", password="!")
        Grant.objects.create(person=both, role=Role.TECHNICIAN, client=story.acme)
        Grant.objects.create(person=both, role=Role.CLIENT_MANAGER, client=story.bolt)
        browser = browser_of(both)
        assert browser.get("/").status_code == 200
        html = page(browser, "/portal/")
        assert "You see the portal of" not in html
        assert "New request" in html
        assert browser.get(f"/portal/?client={story.acme.pk}").status_code == 404


class TestStaffTickets:
    def test_tina_opens_a_ticket_by_hand(self, story):
        tina = browser_of(story.tina)
        assert "Munich" in page(tina, "/tickets/new")
        address = f"/tickets/new?site={story.munich.pk}"
        assert "Ulla" in page(tina, address)
        assert "Cleo" not in page(tina, address)
        tina.post(
            address,
            {
                "title": "Call",
                "text": "Black screen",
                "urgency": "one",
                "device": str(story.web.pk),
                "requested_by": "ulla",
            },
        )
        ticket = Ticket.objects.visible_to(SYSTEM).get()
        assert (ticket.opened_by, ticket.requested_by, ticket.device) == ("tina.internal", story.ulla, story.web)
        assert tina.get(f"/tickets/new?site={story.leeds.pk}").status_code == 404
        assert browser_of(story.dora).get("/tickets/new").status_code == 403

    def test_a_question_is_withdrawn(self, story):
        ticket, tina = story.asks(story.uwe), browser_of(story.tina)
        base = f"/tickets/{ticket.number}"
        tina.post(f"{base}/ask", {"question": "Now?", "what_happens": "It goes."})
        assert "Withdraw the question" in page(tina, f"{base}/")
        tina.post(f"{base}/withdraw")
        assert "nothing is asked" in tina.post(f"{base}/withdraw", follow=True).content.decode().lower()
        said = tina.post(f"{base}/ask", {"question": "x", "what_happens": "x", "days": "500"}, follow=True)
        assert "is not from 1 to 90" in said.content.decode()

    def test_staff_are_told_when_nobody_is_told_by_mail(self, story):
        ticket, tina = story.asks(story.uwe), browser_of(story.tina)
        said = tina.post(f"/tickets/{ticket.number}/comment", {"text": "hi", "to_client": "1"}, follow=True)
        assert "No mail server is set: they see it in the portal only." in said.content.decode()


def test_each_page_keeps_to_its_number_of_queries(story, carla):
    asked = [story.asks(story.uwe) for _ in range(3)]
    story.report("fail")
    addresses = {name: name for name in PAGES} | {"ticket": f"/portal/tickets/{asked[0].number}/"}

    def spent() -> dict[str, int]:
        found = {}
        for name, address in addresses.items():
            carla.get(address)
            with CaptureQueriesContext(
                connection,
            ) as queries:
                carla.get(address)
            found[name] = len(queries)
        return found

    before = spent()
    with CaptureQueriesContext(connection) as nothing:
        carla.get("/portal/tickets/987654321/")
    signed_in = len(nothing) - 1
    for number in range(12):
        story.asks(story.uwe, f"Request {number}")
        story.report("fail", device=story._device(f"pc-{number}", story.munich, "endpoint"))
    assert spent() == before
    assert {name: count - signed_in for name, count in before.items()} == PORTAL_QUERIES


def test_every_role_of_a_client_has_portal_permissions_only():
    from forestall.server.people.roles import ROLE_PERMISSIONS

    for role in (Role.CLIENT_MANAGER, Role.CLIENT_USER):
        assert all(permission.is_portal for permission in ROLE_PERMISSIONS[role])
    assert Permission.PORTAL_APPROVE not in ROLE_PERMISSIONS[Role.CLIENT_USER]
