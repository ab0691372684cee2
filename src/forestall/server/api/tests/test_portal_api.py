"""The portal through the API: Carla and Uwe of Acme, Cleo of Bolt, Tina and Olga who serve them; each with a token."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest
from django.test import Client as Browser

from forestall.server.api.app import api
from forestall.server.api.routing import route_table
from forestall.server.calendar import services as calendar
from forestall.server.inventory.models import Device
from forestall.server.people.models import Person
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.services import token_create
from forestall.server.reports.services import service_report_make
from forestall.server.tickets import approvals, services
from forestall.server.tickets.models import Ticket
from forestall.server.tickets.tests.portal_story import PortalStory

SYSTEM = Scope.system("test")
CANARY = "CANARY-51c2-internal"
pytestmark = pytest.mark.django_db


@pytest.fixture
def story() -> PortalStory:
    world = PortalStory()
    world.now = datetime.now(UTC) - timedelta(hours=2)
    Device.objects.visible_to(SYSTEM).update(last_check_in_at=datetime.now(UTC))
    return world


class Token:
    def __init__(self, person: Person, **how: object) -> None:
        self._token = token_create(person=person, name="test", **how)

    def ask(self, method: str, path: str, body: object = None):
        return Browser().generic(
            method,
            f"/api/v1{path}",
            "" if body is None else json.dumps(body),
            content_type="application/json",
            headers={"authorization": f"Bearer {self._token}"},
        )

    def get(self, path: str, status: int = 200):
        answer = self.ask("GET", path)
        assert answer.status_code == status, answer.content
        return answer.json()

    def post(self, path: str, body: object = None, status: int = 200):
        answer = self.ask("POST", path, body)
        assert answer.status_code == status, answer.content
        return answer.json()


def test_from_a_request_to_its_rating(story):
    uwe, carla, tina = Token(story.uwe), Token(story.carla), Token(story.tina)
    asked = {"title": "Blank pages", "urgency": "one", "site": str(story.munich.pk)}
    number = uwe.post("/portal/tickets", asked, 201)["number"]
    assert uwe.get(f"/portal/tickets/{number}")["words"] == "received"
    tina.post(f"/tickets/{number}/comment", {"text": f"{CANARY}: worn out"})
    assert tina.post(f"/tickets/{number}/comment", {"text": "On it.", "to_client": True})["visibility"] == "client"
    question = {"question": "Replace it?", "what_happens": "A new one.", "cost": "390 EUR"}
    approval = tina.post(f"/tickets/{number}/ask", question)
    assert [one["question"] for one in carla.get("/portal/approvals")] == ["Replace it?"]
    assert uwe.get("/portal/approvals") == []
    answer = f"/portal/approvals/{approval['id']}/answer"
    uwe.post(answer, {"answer": "approve"}, 403)
    assert carla.post(answer, {"answer": "approve", "reason": "Yes."})["state"] == "approved"
    carla.post(answer, {"answer": "approve"}, 400)
    assert tina.get(f"/tickets/{number}/approvals")[0]["answered_by"] == "carla"
    assert carla.get(f"/portal/tickets/{number}/approvals")[0]["answered_by"] == "Carla"
    uwe.post(f"/portal/tickets/{number}/comment", {"text": "Thanks."})
    uwe.post(f"/portal/tickets/{number}/rate", {"score": 5}, 400)
    tina.post(f"/tickets/{number}/resolve", {"text": "Prints."})
    assert uwe.post(f"/portal/tickets/{number}/rate", {"score": 4, "comment": "Good."})["score"] == 4
    assert tina.get("/ratings")["items"][0]["score"] == 4
    assert tina.get("/contentment") == [
        {"client": {"id": str(story.acme.pk), "name": "Acme"}, "count": 1, "average": 4.0}
    ]
    assert uwe.post(f"/portal/tickets/{number}/reopen", {"text": "Blank again."})["words"] == "taken on"
    said = json.dumps([uwe.get(f"/portal/tickets/{number}/timeline"), uwe.get("/portal/tickets")])
    assert CANARY not in said
    assert "tina.internal" not in said
    assert "Tina Tauber" in said
    assert f"{CANARY}: worn out" in json.dumps(tina.get(f"/tickets/{number}/timeline"))


def test_staff_open_tickets_and_withdraw_questions(story):
    tina = Token(story.tina)
    body = {"title": "Call", "urgency": "one", "device": str(story.web.pk), "requested_by": "ulla"}
    made = tina.post("/tickets", body, 201)
    assert (made["kind"], made["requested_by"], made["device"]["name"]) == ("request", "ulla", "web-01")
    assert tina.get("/tickets?kind=request")["items"][0]["number"] == made["number"]
    tina.post("/tickets", {"title": "Call", "requested_by": "cleo", "site": str(story.munich.pk)}, 400)
    tina.post("/tickets", {"title": "Call", "requested_by": "nobody", "site": str(story.munich.pk)}, 400)
    tina.post("/tickets", {"title": "Call", "site": str(story.leeds.pk)}, 404)
    Token(story.dora).post("/tickets", {"title": "Call", "site": str(story.munich.pk)}, 403)
    base = f"/tickets/{made['number']}"
    tina.post(f"{base}/withdraw", None, 400)
    tina.post(f"{base}/ask", {"question": "Now?", "what_happens": "It.", "answer_by": "2020-01-01T00:00:00Z"}, 400)
    tina.post(f"{base}/ask", {"question": "Now?", "what_happens": "It.", "answer_by": "2030-01-01T00:00:00"}, 400)
    tina.post(f"{base}/ask", {"question": "Now?", "what_happens": "It."})
    assert tina.post(f"{base}/withdraw")["state"] == "withdrawn"


def test_devices_reports_and_windows(story):
    carla, cleo = Token(story.carla), Token(story.cleo)
    story.report("fail", CANARY, kind="new_administrator", target=CANARY)
    found = carla.get("/portal/devices")
    assert [(one["name"], one["health"]) for one in found] == [
        ("web-01", "has a fault"),
        ("reception-pc", "not judged yet"),
    ]
    assert found[0]["troubles"][0]["ticket"] == story.ticket().number
    ticket = services.ticket_resolve(ticket=story.ticket(), reason="done", scope=story.scope(story.tina), now=story.now)
    report = service_report_make(ticket=ticket, now=story.now, render=lambda *_: b"%PDF-1.7")
    assert [one["number"] for one in carla.get("/portal/reports")["items"]] == [report.number]
    assert carla.ask("GET", f"/portal/reports/{report.number}/pdf").content == b"%PDF-1.7"
    window = calendar.window_create(
        site=story.munich, name="Move", starts_on=date(2030, 1, 5), starts_at="18:00", minutes=60,
        needs_approval=True, scope=story.scope(story.tina), now=story.now,
    )  # fmt: skip
    assert [one["id"] for one in carla.get("/portal/windows")] == [window.pk]
    address = f"/portal/windows/{window.pk}/answer"
    carla.post(address, {"answer": "decline"}, 400)
    cleo.post(address, {"answer": "approve"}, 404)
    Token(story.uwe).post(address, {"answer": "approve"}, 403)
    assert carla.post(address, {"answer": "decline", "reason": "Month's end."})["answer"] == "declined"
    said = json.dumps([cleo.get(path) for path in ("/portal/devices", "/portal/reports", "/portal/windows")])
    assert not [name for name in ("web-01", report.number, "Move") if name in said]
    assert CANARY not in json.dumps([carla.get(path) for path in ("/portal/devices", "/portal/tickets")])


def test_foreign_and_absent_are_the_same_answer(story):
    """V8."""
    ticket, cleo = story.asks(story.uwe), Token(story.cleo)
    approval = approvals.approval_ask(
        ticket=ticket, question="Pay?", what_happens="You pay.", scope=story.scope(story.tina), now=story.now
    )
    answer = {"answer": "approve"}
    for method, there, absent, body in (
        ("GET", f"/portal/tickets/{ticket.number}", "/portal/tickets/987654321", None),
        ("GET", f"/portal/tickets/{ticket.number}/timeline", "/portal/tickets/987654321/timeline", None),
        ("POST", f"/portal/tickets/{ticket.number}/comment", "/portal/tickets/987654321/comment", {"text": "x"}),
        ("POST", f"/portal/approvals/{approval.pk}/answer", "/portal/approvals/987654321/answer", answer),
    ):
        first, second = cleo.ask(method, there, body), cleo.ask(method, absent, body)
        assert (first.status_code, first.content) == (404, second.content), there


def test_a_clients_token_opens_no_route_of_the_staff(story):
    """Every route that asks for a staff permission refuses; only the portal's and one's own answer."""
    carla = Token(story.carla)
    staff = [route for route in route_table(api) if isinstance(route.allow, Permission) and not route.allow.is_portal]
    assert len(staff) > 60
    for route in staff:
        path = route.path
        for name in route.parameters:
            path = path.replace(f"{{{name}}}", "1")
        status = carla.ask(route.method, path, None if route.method in {"GET", "DELETE"} else {}).status_code
        assert status in {403, 404, 422}, (route.method, route.path, status)


def test_the_provider_cannot_answer_for_the_client_even_with_a_token_cut_down(story):
    ticket = story.asks(story.uwe)
    approval = approvals.approval_ask(
        ticket=ticket, question="Pay?", what_happens="You pay.", scope=story.scope(story.tina), now=story.now
    )
    portal_only = Token(story.owner, permissions=[one for one in Permission if one.is_portal], client=story.acme)
    portal_only.post(f"/portal/approvals/{approval.pk}/answer", {"answer": "approve"}, 403)
    portal_only.post(f"/portal/tickets/{ticket.number}/comment", {"text": "yes"}, 403)
    assert Token(story.owner).get(f"/portal/tickets/{ticket.number}")["title"] == ticket.title
    assert Ticket.objects.visible_to(SYSTEM).get(pk=ticket.pk).state == "waiting"


def test_a_list_of_tickets_takes_as_many_queries_for_many_as_for_few(story, django_assert_max_num_queries):
    carla = Token(story.carla)
    for number in range(15):
        story.asks(story.uwe, f"Request {number}")
    with django_assert_max_num_queries(12):
        assert len(carla.get("/portal/tickets")["items"]) == 15
