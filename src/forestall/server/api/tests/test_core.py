"""What every route has in common. Alice works for everybody through the API; her script is careless, slow, or runs
twice; somebody sends what is made to hurt."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client as Browser
from openapi_spec_validator import OpenAPIV31SpecValidator

from forestall.server.alerts.tests.desk_world import World
from forestall.server.api.bodies import BODY_BYTES
from forestall.server.api.models import KeptAnswer
from forestall.server.api.once import answers_forget
from forestall.server.people.models import ApiToken
from forestall.server.people.roles import Role
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.services import person_create, token_create
from forestall.server.tickets import services as tickets
from forestall.server.tickets.models import Ticket, TicketEvent

SYSTEM = Scope.system("test")


class Script:
    """Somebody's program with a token."""

    def __init__(self, name: str, role: Role = Role.OWNER, **place: object) -> None:
        self.person = person_create(username=name, password="a long password", role=role, **place)
        self.use(token_create(person=self.person, name="test"))

    def use(self, token: str) -> None:
        self._token = token

    def ask(self, method: str, path: str, body: object = None, raw: bytes | None = None, **headers: str):
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Browser(raise_request_exception=False).generic(
            method,
            f"/api/v1{path}",
            content,
            content_type=named.pop("content-type", "application/json"),
            headers={"authorization": f"Bearer {self._token}", **named},
        )


@pytest.fixture
def world(transactional_db) -> World:
    world = World()
    world.now = datetime.now(UTC)
    for device in (world.web, world.leeds_box):
        world.report("fail", "/ is 93 % full", device=device)
        tickets.ticket_open_or_join(alert=world.alert(device=device), now=world.now)
    return world


@pytest.fixture
def ticket(world) -> str:
    """The address of a ticket."""
    return f"/tickets/{Ticket.objects.visible_to(SYSTEM).first().number}"


@pytest.fixture
def alice(world) -> Script:
    return Script("alice")


# --- what was sent -------------------------------------------------------------------------------------------------


def test_an_unknown_field_is_refused_by_name(alice):
    answer = alice.ask("POST", "/tokens", {"name": "x", "expire_at": "2030-01-01T00:00:00Z"})
    assert answer.status_code == 422
    assert "'expire_at'" in answer.json()["detail"]
    assert "expires_at" in answer.json()["detail"], "what is known is said too"


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/devices?sttaus=pending", "query.sttaus: unknown parameter"),
        ("/devices?status=pending&status=approved", "query.status: given 2 times"),
        ("/devices?search=%00", "NUL"),
        ("/devices?ordering=secret", "query.ordering"),
        ("/checks/kinds?limit=3", "query.limit: unknown parameter"),
    ],
)
def test_a_query_nothing_knows_is_refused_by_name(alice, path, named):
    answer = alice.ask("GET", path)
    assert answer.status_code == 422
    assert named in answer.json()["detail"]


DEEP = b'{"name": ' + b"[" * 40_000 + b"]" * 40_000 + b"}"
HURTFUL = {
    "deep nesting": (DEEP, 400),
    "deep objects": (b'{"a":' * 40_000 + b"1" + b"}" * 40_000, 400),
    "deep behind a quote": (b'{"name": "\\"", "x": ' + b"[" * 50 + b"]" * 50 + b"}", 400),
    "a number of 900,000 digits": (b'{"name": ' + b"9" * 900_000 + b"}", 422),
    "a number beyond 64 bits": (b'{"name": 9223372036854775808}', 422),
    "an infinite number": (b'{"name": 1e999}', 422),
    "NaN": (b'{"name": NaN}', 400),
    "half a character": (b'{"name": "\\ud800"}', 422),
    "a NUL": (b'{"name": "a\\u0000b"}', 422),
    "a name twice": (b'{"name": "a", "name": "b"}', 400),
    "no UTF-8": (b'{"name": "\xff"}', 400),
    "no JSON": (b"{name}", 400),
    "a list": (b"[]", 422),
    "much": (b'{"name": "' + b"a" * BODY_BYTES + b'"}', 413),
    "many small lists": (b'{"name": [' + b"[]," * 300_000 + b"[]]}", 413),
    "many numbers": (b'{"name": [' + b"1," * 500_000 + b"1]}", 422),
    "an endless text": (b'{"name": ' + b'"\\' * 300_000, 400),
}


@pytest.mark.parametrize("kind", HURTFUL)
def test_a_body_made_to_hurt_is_refused_at_once(alice, kind):
    body, status = HURTFUL[kind]
    spent = []
    for _ in range(3):
        begun = time.perf_counter()
        answer = alice.ask("POST", "/tokens", raw=body)
        spent.append(time.perf_counter() - begun)
        assert answer.status_code == status, answer.content
        assert answer["content-type"] == "application/problem+json"
        assert len(answer.content) < 2000, "the answer does not repeat what was sent"
    assert min(spent) < 0.5, "0.1 s on a quiet machine"


def test_a_packed_body_is_never_unpacked(alice):
    answer = alice.ask("POST", "/tokens", raw=b"\x1f\x8b" + b"0" * 100, content_encoding="gzip")
    assert answer.status_code == 415
    assert "gzip" in answer.json()["detail"]
    form = alice.ask("POST", "/tokens", raw=b"name=x", content_type="application/x-www-form-urlencoded")
    assert form.status_code == 415


def test_what_takes_no_body_takes_none(ticket, alice):
    answer = alice.ask("POST", f"{ticket}/start", {"reason": "because"})
    assert answer.status_code == 422
    assert "no body" in answer.json()["detail"]


# --- what is shown -------------------------------------------------------------------------------------------------


def test_of_each_thing_only_the_fields_that_were_asked_for(world, alice):
    answer = alice.ask("GET", "/devices?fields=name,client.name&limit=1")
    assert answer.json()["items"] == [{"name": "leeds-01", "client": {"name": "Bolt"}}]
    assert answer.json()["next_cursor"], "a page stays a page"
    one = alice.ask("GET", f"/devices/{world.web.pk}?fields=name,checks")
    assert one.json() == {"name": "web-01", "checks": {"fail": 1}}


@pytest.mark.parametrize("fields", ["nmae", "client.nmae", "name.first", "", ",", "items.name", "a" * 1001])
def test_a_field_that_is_not_there_is_named(alice, fields):
    answer = alice.ask("GET", f"/devices?fields={fields}")
    assert answer.status_code == 422
    assert "fields" in answer.json()["detail"]


def test_lists_come_in_the_order_asked_for_and_a_cursor_belongs_to_one(world, alice):
    backwards = alice.ask("GET", "/devices?ordering=-name&limit=2&fields=name").json()
    assert [one["name"] for one in backwards["items"]] == ["web-01", "reception-pc"]
    rest = alice.ask("GET", f"/devices?ordering=-name&fields=name&cursor={backwards['next_cursor']}").json()
    assert [one["name"] for one in rest["items"]] == ["leeds-01"]
    assert alice.ask("GET", f"/devices?ordering=name&cursor={backwards['next_cursor']}").status_code == 400


def test_what_did_not_change_is_not_sent_again(world, alice):
    first = alice.ask("GET", f"/devices/{world.web.pk}")
    tag = first["etag"]
    again = alice.ask("GET", f"/devices/{world.web.pk}", if_none_match=tag)
    assert (again.status_code, again.content, again["etag"]) == (304, b"", tag)
    alice.ask("POST", f"/devices/{world.web.pk}/revoke", {"reason": "sold"})
    changed = alice.ask("GET", f"/devices/{world.web.pk}", if_none_match=tag)
    assert changed.status_code == 200
    assert changed["etag"] != tag


def test_a_change_that_rests_on_what_has_changed_since_is_refused(world, ticket, alice):
    """Alice decides by what she saw; meanwhile somebody else has revoked the device."""
    device = f"/devices/{world.web.pk}"
    seen = alice.ask("GET", f"{device}?fields=name")["etag"]
    alice.ask("POST", f"{device}/revoke", {"reason": "stolen"})
    late = alice.ask("POST", f"{device}/revoke", {"reason": "sold"}, if_match=seen)
    assert late.status_code == 412
    assert alice.ask("GET", device, if_none_match=late["etag"]).status_code == 304, "it says what it is now"
    state = alice.ask("GET", ticket)
    assert alice.ask("POST", f"{ticket}/start", if_match=state["etag"]).status_code == 200
    assert alice.ask("POST", "/tickets/999999/start", if_match="*").status_code == 404
    assert alice.ask("POST", "/tokens", {"name": "x"}, if_match="*").status_code == 400, "nothing to compare with"


def test_the_clock_of_a_ticket_does_not_count_as_a_change(world, ticket, alice):
    """The clock goes on by itself: whoever looked a second ago may still take the ticket."""
    first, time_later = alice.ask("GET", ticket), None
    for _ in range(20):
        time_later = alice.ask("GET", ticket)
        if time_later.json()["clock"] != first.json()["clock"]:
            break
        time.sleep(0.02)
    assert alice.ask("POST", f"{ticket}/start", if_match=first["etag"]).status_code == 200


# --- once ----------------------------------------------------------------------------------------------------------


def comments() -> int:
    return TicketEvent.objects.visible_to(SYSTEM).filter(kind="commented").count()


def test_a_request_whose_answer_was_lost_is_done_once(world, ticket, alice):
    once = {"idempotency_key": "retry-1"}
    first = alice.ask("POST", f"{ticket}/comment", {"text": "on my way"}, **once)
    again = alice.ask("POST", f"{ticket}/comment", {"text": "on my way"}, **once)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again["idempotency-replayed"] == "true"
    assert comments() == 1
    other = alice.ask("POST", f"{ticket}/comment", {"text": "something else"}, **once)
    assert other.status_code == 422
    assert comments() == 1


def test_a_key_is_ones_own_and_lasts_a_day(world, ticket, alice):
    bob = Script("bob")
    for script in (alice, bob):
        assert script.ask("POST", f"{ticket}/comment", {"text": "hello"}, idempotency_key="k").status_code == 200
    assert comments() == 2
    assert answers_forget(now=datetime.now(UTC) + timedelta(hours=23)) == 0
    assert answers_forget(now=datetime.now(UTC) + timedelta(hours=25)) == 2
    assert "idempotency-replayed" not in alice.ask("POST", f"{ticket}/comment", {"text": "hello"}, idempotency_key="k")


def test_a_refused_request_leaves_its_key_free(world, ticket, alice):
    assert alice.ask("POST", "/tickets/999999/comment", {"text": "x"}, idempotency_key="k").status_code == 404
    assert not KeptAnswer.objects.exists()
    assert alice.ask("POST", f"{ticket}/comment", {"text": "x"}, idempotency_key="").status_code == 400


def test_a_kept_answer_shows_a_copy_of_the_database_nothing(world, alice):
    """A token is shown once. Its answer is kept for a retry, but not so that the database could tell it."""
    first = alice.ask("POST", "/tokens", {"name": "nightly"}, idempotency_key="new token")
    assert first.status_code == 400, "a space is not visible"
    first = alice.ask("POST", "/tokens", {"name": "nightly"}, idempotency_key="new-token")
    assert first.status_code == 201, first.content
    kept = KeptAnswer.objects.get()
    assert first.json()["token"].encode() not in bytes(kept.sealed)
    assert alice.ask("POST", "/tokens", {"name": "nightly"}, idempotency_key="new-token").json() == first.json()
    alice.use(first.json()["token"])
    stranger = alice.ask("POST", "/tokens", {"name": "nightly"}, idempotency_key="new-token")
    assert stranger.status_code == 422, "the same person with another token gets no answer that was not for it"
    assert ApiToken.objects.filter(name="nightly").count() == 1


def test_of_two_at_the_same_time_one_is_done(world, ticket, alice):
    answers = []

    def send() -> None:
        try:
            answers.append(alice.ask("POST", f"{ticket}/comment", {"text": "twice"}, idempotency_key="both"))
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert comments() == 1


# --- many at once --------------------------------------------------------------------------------------------------


def test_many_requests_in_one_each_with_its_own_answer(world, ticket, alice):
    steps = [
        {"method": "GET", "path": "/devices?limit=1&fields=name"},
        {"method": "POST", "path": f"{ticket}/comment", "body": {"text": "in bulk"}},
        {"method": "POST", "path": "/tickets/999999/comment", "body": {"text": "in bulk"}},
        {"method": "POST", "path": f"{ticket}/start"},
        {"method": "POST", "path": "/bulk", "body": {"steps": []}},
        {"method": "GET", "path": "/../../accounts/login/"},
        {"method": "DELETE", "path": "/devices"},
    ]
    answer = alice.ask("POST", "/bulk", {"steps": steps}).json()
    assert [one["status"] for one in answer["results"]] == [200, 200, 404, 200, 400, 404, 405]
    assert answer["results"][0]["body"]["items"] == [{"name": "leeds-01"}]
    assert answer["refused"] == 4
    stopped = alice.ask("POST", "/bulk", {"steps": steps[2:4], "stop_on_error": True}).json()
    assert [one["status"] for one in stopped["results"]] == [404, 0]
    assert alice.ask("POST", "/bulk", {"steps": steps[:1] * 101}).status_code == 422


def test_a_step_may_no_more_than_a_request_of_its_own(world):
    charlie = Script("charlie", Role.AUDITOR, client=world.bolt)
    steps = [
        {"method": "GET", "path": f"/devices/{world.web.pk}"},
        {"method": "POST", "path": f"/devices/{world.leeds_box.pk}/revoke", "body": {"reason": "x"}},
        {"method": "GET", "path": f"/devices/{world.leeds_box.pk}?fields=name"},
    ]
    answer = charlie.ask("POST", "/bulk", {"steps": steps}).json()
    assert [one["status"] for one in answer["results"]] == [404, 403, 200]


# --- tokens --------------------------------------------------------------------------------------------------------


def test_a_token_is_made_used_and_revoked(world, alice):
    made = alice.ask(
        "POST", "/tokens", {"name": "wall screen", "permissions": ["device.view"], "client": str(world.acme.pk)}
    )
    assert made.status_code == 201, made.content
    row = made.json()
    assert timedelta(days=89) < datetime.fromisoformat(row["expires_at"]) - datetime.now(UTC) < timedelta(days=91)
    screen = Script.__new__(Script)
    screen.use(row["token"])
    assert [one["name"] for one in screen.ask("GET", "/devices").json()["items"]] == ["reception-pc", "web-01"]
    assert screen.ask("GET", "/tickets").status_code == 403
    assert [one["is_this"] for one in screen.ask("GET", "/tokens").json()["items"]] == [True, False]
    assert "token" not in screen.ask("GET", f"/tokens/{row['id']}").json()
    assert alice.ask("DELETE", f"/tokens/{row['id']}").status_code == 204
    assert screen.ask("GET", "/devices").status_code == 401, "from the next request on"


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ({}, "permissions: this token may only device.view"),
        ({"permissions": ["ticket.view"]}, "permissions: ticket.view is not yours"),
        ({"permissions": ["device.view"]}, "place: this token is for Acme only"),
        ({"permissions": ["device.view"], "client": "acme", "expires_at": None}, "expires_at: this token ends"),
        ({"permissions": ["device.view"], "client": "acme", "expires_at": "2001-01-01T00:00:00Z"}, "is past"),
    ],
)
def test_a_token_makes_no_wider_one(world, alice, wanted, named):
    narrow = {"name": "narrow", "permissions": ["device.view"], "client": str(world.acme.pk)}
    alice.use(alice.ask("POST", "/tokens", narrow).json()["token"])
    if wanted.get("client"):
        wanted = {**wanted, "client": str(world.acme.pk)}
    answer = alice.ask("POST", "/tokens", {"name": "wider", **wanted})
    assert answer.status_code == 400, answer.content
    assert named in answer.json()["detail"]
    assert ApiToken.objects.filter(person=alice.person, name="wider").count() == 0


def test_nobody_makes_a_token_for_what_they_may_not(world):
    dora = Script("dora", Role.AUDITOR, site=world.munich)
    refused = dora.ask("POST", "/tokens", {"name": "x", "permissions": [Permission.TICKET_WORK]})
    assert refused.status_code == 400
    assert "ticket.work is not yours" in refused.json()["detail"]
    foreign = dora.ask("POST", "/tokens", {"name": "x", "client": str(world.bolt.pk)})
    assert foreign.status_code == 404
    others = Script("erik")
    mine = others.ask("GET", "/tokens").json()["items"][0]["id"]
    assert dora.ask("DELETE", f"/tokens/{mine}").status_code == 404


# --- the description -----------------------------------------------------------------------------------------------


def description() -> dict:
    return json.loads(Browser().get("/api/v1/openapi.json").content)


def test_the_description_is_valid_openapi():
    found = description()
    assert found["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(found).iter_errors()) == []


def test_every_operation_says_who_may_call_it_and_how_it_refuses():
    found = description()
    assert {tag["name"] for tag in found["tags"] if tag["description"]} >= {"devices", "tickets", "bulk"}
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            assert operation["x-forestall-allow"] in {*Permission, "signed_in"}, path
            assert {"400", "401", "403", "404", "422", "503"} <= operation["responses"].keys()
            assert operation["security"] == [{"BearerToken": []}]
            assert operation["summary"]
            if "requestBody" in operation:
                assert "example" in operation["requestBody"]["content"]["application/json"], (method, path)


def test_operation_ids_are_the_names_of_the_functions():
    assert description()["paths"]["/api/v1/devices/{device_id}"]["get"]["operationId"] == "device_show"
