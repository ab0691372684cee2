"""People by the API: Alice owns the house, Mia minds Acme's people, Charlie minds Bolt's, Bob works for Acme."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.test import Client as Browser

from forestall.server.alerts.tests.desk_world import World
from forestall.server.people.models import CustomRole, Grant, Person
from forestall.server.people.roles import Role
from forestall.server.people.scope import Permission
from forestall.server.people.services import person_create, token_create
from forestall.server.tickets import services as tickets
from forestall.server.tickets.models import Ticket


class Caller:
    """Somebody with a token."""

    def __init__(self, person: Person, **limits: object) -> None:
        self.person = person
        self._headers = {"authorization": f"Bearer {token_create(person=person, name='test', **limits)}"}
        self._browser = Browser(raise_request_exception=False)

    def ask(self, method: str, path: str, body: object = None, **query: object):
        more = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        return self._browser.generic(
            method, f"/api/v1{path}", **more, headers=self._headers, query_params=query or None
        )

    def get(self, path: str, **query: object):
        return self.ask("GET", path, **query)

    def post(self, path: str, body: object = None):
        return self.ask("POST", path, {} if body is None else body)


@pytest.fixture
def world(transactional_db) -> World:
    world = World()
    world.now = datetime.now(UTC)
    return world


@pytest.fixture
def alice(world) -> Caller:
    return Caller(person_create(username="alice", password="a long password", role=Role.OWNER))


def minder(name: str, client) -> Caller:
    person = person_create(username=name, password="a long password", role=Role.TECHNICIAN, client=client)
    minders, _ = CustomRole.objects.get_or_create(
        name="Minder", defaults={"permissions": ["people.change", "people.view"]}
    )
    Grant.objects.create(person=person, custom=minders, client=client)
    return Caller(person)


@pytest.fixture
def mia(world) -> Caller:
    return minder("mia", world.acme)


@pytest.fixture
def charlie(world) -> Caller:
    return minder("charlie", world.bolt)


@pytest.fixture
def bob(world) -> Person:
    return person_create(username="bob", password="a long password", role=Role.TECHNICIAN, client=world.acme)


def test_somebody_is_made_found_changed_and_switched_off(alice, world):
    body = {
        "username": "dan",
        "display_name": "Dan Ames",
        "email": "dan@example.org",
        "grants": [{"role": "technician", "client": str(world.acme.pk)}],
    }
    made = alice.post("/people", body)
    assert made.status_code == 201, made.content
    dan = made.json()
    assert dan["grants"][0]["role_name"] == "technician"
    assert dan["grants"][0]["granted_by"] == "alice"
    assert alice.get(f"/people/{dan['id']}").json()["email"] == "dan@example.org"
    for query in (
        {"q": "ames"}, {"role": "technician"}, {"client": str(world.acme.pk), "role": "technician"},
        {"state": "active", "q": "dan"}, {"second_factor": "false", "q": "dan"},
        {"signed_in_before": "2020-01-01T00:00:00Z", "q": "dan"},
    ):  # fmt: skip
        assert [one["username"] for one in alice.get("/people", **query).json()["items"]] == ["dan"], query
    assert alice.get("/people", role="nonsense").status_code == 400

    link = alice.post(f"/people/{dan['id']}/password").json()["url"]
    assert link.startswith("http://testserver/accounts/password/reset/key/")
    shown = alice.post(f"/people/{dan['id']}/password", {"how": "shown"}).json()["password"]
    assert Person.objects.get(pk=dan["id"]).check_password(shown)

    changed = alice.ask("PATCH", f"/people/{dan['id']}", {"display_name": "Dan B. Ames"})
    assert changed.json()["display_name"] == "Dan B. Ames"
    off = alice.post(f"/people/{dan['id']}/deactivate").json()
    assert off == {"person": off["person"], "tickets_given": 0}
    assert not off["person"]["is_active"]
    assert alice.post(f"/people/{dan['id']}/activate").json()["is_active"]


def test_who_leaves_hands_over_their_tickets_in_the_same_step(alice, bob, world):
    world.report("fail", "/ is 93 % full")
    ticket = tickets.ticket_open_or_join(alert=world.alert(), now=world.now)
    ticket = Ticket.objects.visible_to(world_scope()).get(pk=ticket.pk)
    ticket.owner = bob
    ticket.save()
    refused = alice.post(f"/people/{bob.pk}/deactivate", {"successor": "nobody-here"})
    assert refused.status_code == 400
    assert Person.objects.get(pk=bob.pk).is_active
    answer = alice.post(f"/people/{bob.pk}/deactivate", {"successor": "alice"})
    assert answer.json()["tickets_given"] == 1
    ticket.refresh_from_db()
    assert ticket.owner == alice.person
    assert not Person.objects.get(pk=bob.pk).is_active


def world_scope():
    from forestall.server.people.scope import Scope

    return Scope.system("test")


def test_a_role_is_given_moved_and_taken(alice, bob, world):
    until = (world.now + timedelta(days=3)).isoformat()
    made = alice.post(f"/people/{bob.pk}/grants", {"role": "on_call", "site": str(world.leeds.pk), "until": until})
    assert made.status_code == 201, made.content
    grant = made.json()
    assert (grant["client"]["name"], grant["site"]["name"]) == ("Bolt", "Leeds")
    assert [one["role"] for one in alice.get(f"/people/{bob.pk}/grants").json()] == ["technician", "on_call"]
    assert alice.get(f"/grants/{grant['id']}").json() == grant
    assert alice.ask("PATCH", f"/grants/{grant['id']}", {"until": None}).json()["until"] is None
    assert len(alice.get("/grants", person=bob.pk).json()["items"]) == 2
    assert alice.ask("DELETE", f"/grants/{grant['id']}").status_code == 204
    assert alice.get(f"/grants/{grant['id']}").status_code == 404
    naive = alice.post(f"/people/{bob.pk}/grants", {"role": "on_call", "until": "2030-01-01T00:00:00"})
    assert naive.status_code == 422


def test_nobody_gives_more_than_they_hold(mia, bob, world):
    for body, status in (
        ({"role": "technician", "client": str(world.acme.pk)}, 400),
        ({"role": "owner", "client": str(world.acme.pk)}, 403),
        ({"role": "technician"}, 403),
        ({"role": "technician", "client": str(world.bolt.pk)}, 404),
        ({"role": "technician", "site": str(world.leeds.pk)}, 404),
        ({"role": "on_call", "client": str(world.acme.pk)}, 201),
    ):
        answer = mia.post(f"/people/{bob.pk}/grants", body)
        assert answer.status_code == status, (body, answer.content)


def test_a_foreign_person_and_nobody_are_the_same_bytes(mia, charlie, bob, alice):
    own = charlie.person.grants.first()
    for method, path in (
        ("GET", "/people/{}"), ("PATCH", "/people/{}"), ("POST", "/people/{}/deactivate"),
        ("POST", "/people/{}/activate"), ("POST", "/people/{}/password"), ("GET", "/people/{}/grants"),
        ("GET", "/people/{}/tokens"), ("GET", "/people/{}/sessions"), ("GET", "/people/{}/signins"),
        ("POST", "/people/{}/reset-factors"), ("POST", "/people/{}/end-sessions"),
    ):  # fmt: skip
        body = {} if method != "GET" else None
        there = mia.ask(method, path.format(charlie.person.pk), body)
        absent = mia.ask(method, path.format(987654321), body)
        assert there.status_code == absent.status_code == 404, path
        assert there.content == absent.content, path
    assert mia.get(f"/grants/{own.pk}").content == mia.get("/grants/987654321").content


def test_each_sees_people_at_their_own_places(mia, charlie, bob, alice, world):
    names = lambda caller: {one["username"] for one in caller.get("/people").json()["items"]}  # noqa: E731
    assert names(alice) == {"alice", "bob", "charlie", "mia"}
    assert names(mia) == {"bob", "mia"}
    assert names(charlie) == {"charlie"}
    alice.post(f"/people/{bob.pk}/grants", {"role": "auditor", "client": str(world.bolt.pk)})
    seen = mia.get(f"/people/{bob.pk}").json()
    assert [one["client"]["name"] for one in seen["grants"]] == ["Acme"], "what Bob does for Bolt is not told"
    assert not seen["may_be_changed"]
    assert mia.get(f"/people/{bob.pk}/sessions").status_code == 403
    assert mia.get(f"/people/{bob.pk}/tokens").status_code == 403
    assert alice.get(f"/people/{bob.pk}/sessions").json() == []


def test_a_technician_sees_nobody(bob):
    assert Caller(bob).get("/people").status_code == 403


def test_a_persons_tokens_are_listed_and_revoked(alice, bob):
    caller = Caller(bob)
    assert caller.get("/tickets").status_code == 200
    listed = alice.get(f"/people/{bob.pk}/tokens").json()
    assert [one["name"] for one in listed] == ["test"]
    assert alice.ask("DELETE", f"/people/{bob.pk}/tokens/{listed[0]['id']}").status_code == 204
    assert caller.get("/tickets").status_code == 401
    assert alice.ask("DELETE", f"/people/{alice.person.pk}/tokens/{listed[0]['id']}").status_code == 404


def test_why(alice, bob, world):
    answer = alice.get(f"/people/{bob.pk}/why", permission="ticket.work", client=str(world.acme.pk)).json()
    assert answer["may"]
    assert answer["reasons"][0]["gives"]
    where = {"client": str(world.bolt.pk), "site": str(world.leeds.pk)}
    answer = alice.get(f"/people/{bob.pk}/why", permission="ticket.work", **where).json()
    assert (answer["may"], answer["reasons"][0]["gives"]) == (False, False)
    assert alice.get(f"/people/{bob.pk}/why", permission="ticket.burn", client=str(world.acme.pk)).status_code == 422
    assert alice.get(f"/people/{bob.pk}/why", permission="ticket.work", client=str(uuid4())).status_code == 404


def test_the_access_review_has_a_line_for_each_grant_and_no_formula(alice, mia, bob, world):
    Person.objects.filter(pk=bob.pk).update(display_name="=HYPERLINK(1)")
    rows = list(csv.DictReader(io.StringIO(alice.get("/grants.csv").content.decode())))
    assert len(rows) == Grant.objects.count() == 4
    (line,) = [row for row in rows if row["person"] == "bob"]
    assert (line["name"], line["role"], line["place"]) == ("'=HYPERLINK(1)", "technician", "Acme")
    assert (line["counts_now"], line["last_sign_in"], line["second_factor"]) == ("yes", "never", "no")
    assert "alice" not in mia.get("/grants.csv").content.decode()


def test_roles_are_listed_made_changed_asked_and_deleted(alice, mia, bob, world):
    listed = {one["id"]: one for one in alice.get("/roles").json()}
    assert set(Role) < set(listed)
    assert listed["technician"]["people"] == 2
    assert "ticket.work" in listed["technician"]["permissions"]
    body = {"name": "Night watch", "permissions": ["ticket.view"], "description": "Looks."}
    assert mia.post("/roles", body).status_code == 403
    made = alice.post("/roles", body)
    assert made.status_code == 201, made.content
    role = made.json()
    assert alice.post("/roles", body).status_code == 400
    assert alice.post("/roles", body | {"permissions": ["ticket.burn"]}).status_code == 422
    mixed = alice.post("/roles", {"name": "Both", "permissions": ["ticket.view", "portal.view"]})
    assert mixed.status_code == 400
    changed = alice.ask("PATCH", f"/roles/{role['id']}", {"permissions": ["ticket.view", "ticket.work"]})
    assert changed.json()["permissions"] == ["ticket.view", "ticket.work"]
    assert alice.get("/roles/Night watch").json()["id"] == role["id"]
    assert alice.ask("PATCH", "/roles/technician", {"name": "Other"}).status_code == 400
    alice.post(f"/people/{bob.pk}/grants", {"role": role["id"], "client": str(world.acme.pk)})
    kept = alice.ask("DELETE", f"/roles/{role['id']}")
    assert kept.status_code == 400
    assert "held by bob" in kept.json()["detail"]

    asked = alice.ask("PUT", "/role-policies/auditor", {"mfa_required": True})
    assert asked.json() == {"role": "auditor", "name": "auditor", "mfa_required": True}
    assert {one["role"] for one in alice.get("/role-policies").json() if one["mfa_required"]} == {"auditor"}
    assert mia.ask("PUT", "/role-policies/auditor", {"mfa_required": False}).status_code == 403
    assert [one["permission"] for one in mia.get("/permissions").json()] == list(Permission)


def test_giving_a_ticket_tells_nobody_which_names_there_are(mia, charlie, world):
    world.report("fail", "/ is 93 % full")
    ticket = tickets.ticket_open_or_join(alert=world.alert(), now=world.now)
    there = mia.post(f"/tickets/{ticket.number}/assign", {"owner": "charlie"})
    absent = mia.post(f"/tickets/{ticket.number}/assign", {"owner": "charlix"})
    assert there.status_code == absent.status_code == 400
    assert there.content.replace(b"charlie", b"charlix") == absent.content
