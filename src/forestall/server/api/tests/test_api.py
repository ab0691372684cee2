"""Alice works for everybody, Bob for Acme's Munich site, Charlie for Bolt, Dora only audits. The API shows each their
own. (Everybody × every route × each relation: ``server/tests/test_matrix_api.py``.)"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
from django.db import OperationalError, connection
from django.test import Client as Browser

from forestall.server.alerts.tests.desk_world import World
from forestall.server.api.urls import api
from forestall.server.certificates import certificates_ensure
from forestall.server.home import current_home, intake_address
from forestall.server.people.roles import Role
from forestall.server.people.scope import Scope
from forestall.server.people.services import person_create, token_create
from forestall.server.runbooks.operator import operator_init
from forestall.server.runbooks.services import authority_install
from forestall.server.tickets import services as tickets

SYSTEM = Scope.system("test")


class Caller:
    """Somebody with a token."""

    def __init__(self, name: str, role: Role, **place: object) -> None:
        self.person = person_create(username=name, password="a long password", role=role, **place)
        self._headers = {"authorization": f"Bearer {token_create(person=self.person, name='test')}"}
        self._browser = Browser(raise_request_exception=False)

    def get(self, path: str, **query: object):
        return self._browser.get(f"/api/v1{path}", query, headers=self._headers)

    def post(self, path: str, body: object = None):
        return self._browser.post(
            f"/api/v1{path}", json.dumps(body or {}), content_type="application/json", headers=self._headers
        )

    def names(self, path: str, key: str, **query: object) -> list:
        answer = self.get(path, **query)
        assert answer.status_code == 200, answer.content
        return [item[key] for item in answer.json()["items"]]


@pytest.fixture
def world(transactional_db) -> World:
    world = World()
    world.now = datetime.now(UTC)
    for device in (world.web, world.leeds_box):
        world.report("fail", "/ is 93 % full", device=device)
        tickets.ticket_open_or_join(alert=world.alert(device=device), now=world.now)
    return world


@pytest.fixture
def alice(world) -> Caller:
    return Caller("alice", Role.OWNER)


@pytest.fixture
def bob(world) -> Caller:
    return Caller("bob", Role.TECHNICIAN, site=world.munich)


@pytest.fixture
def charlie(world) -> Caller:
    return Caller("charlie", Role.OWNER, client=world.bolt)


@pytest.fixture
def dora(world) -> Caller:
    return Caller("dora", Role.AUDITOR)


def test_lists_show_each_their_own(world, alice, bob, charlie):
    assert alice.names("/devices", "name") == ["leeds-01", "reception-pc", "web-01"]
    assert bob.names("/devices", "name") == ["reception-pc", "web-01"]
    assert charlie.names("/devices", "name") == ["leeds-01"]
    assert bob.names("/sites", "name") == ["Munich"]
    assert charlie.names("/clients", "name") == ["Bolt"]
    for path, key in (("/checks", "kind"), ("/alerts", "kind"), ("/tickets", "kind")):
        assert alice.names(path, key) == ["disk_space"] * 2
        assert bob.names(path, key) == ["disk_space"]
    assert {log["client"]["name"] for log in alice.get("/evidence/logs").json()} == {"Acme", "Bolt"}


def test_a_device_shows_how_many_of_its_checks_pass_or_do_not(world, alice):
    device = alice.get(f"/devices/{world.web.pk}").json()
    assert device["checks"] == {"fail": 1}
    assert device["client"]["name"] == "Acme"


def test_lists_come_in_pages_that_neither_repeat_nor_skip(world, alice):
    seen, cursor = [], None
    for _ in range(3):
        answer = alice.get("/devices", limit=1, **({"cursor": cursor} if cursor else {})).json()
        seen += [item["name"] for item in answer["items"]]
        cursor = answer["next_cursor"]
    assert seen == ["leeds-01", "reception-pc", "web-01"]
    assert cursor is None


@pytest.mark.parametrize("cursor", ["x", "WyIxIl0", "eyJhIjogMX0", "[]", "WzEsMl0"])
def test_a_cursor_that_no_list_gave_is_named(world, alice, cursor):
    answer = alice.get("/devices", cursor=cursor)
    assert answer.status_code == 400
    assert repr(cursor) in answer.json()["detail"]


def test_filters_narrow(world, alice):
    assert alice.names("/devices", "name", search="web") == ["web-01"]
    assert alice.names("/devices", "name", client=str(world.bolt.pk)) == ["leeds-01"]
    assert alice.names("/checks", "target", status="pass") == []
    assert alice.names("/tickets", "state", state="open") == ["open", "open"]
    assert alice.names("/tickets", "state", state="resolved") == []


def test_a_ticket_is_worked_through_the_api(world, bob):
    number = bob.names("/tickets", "number")[0]
    ticket = bob.post(f"/tickets/{number}/acknowledge").json()
    assert (ticket["state"], ticket["acknowledged_by"]) == ("acknowledged", "bob")
    assert bob.post(f"/tickets/{number}/acknowledge").status_code == 400, "once is enough"
    assert bob.post(f"/tickets/{number}/comment", {"text": "cleaning up"}).json()["text"] == "cleaning up"
    assert bob.post(f"/tickets/{number}/assign", {"owner": "bob"}).json()["owner"] == "bob"
    assert "owner: nobody cannot work" in bob.post(f"/tickets/{number}/assign", {"owner": "nobody"}).json()["detail"]
    assert bob.post(f"/tickets/{number}/wait", {"text": "needs a new disk"}).json()["clock"]["state"] == "paused"
    assert bob.post(f"/tickets/{number}/resume").json()["state"] == "in_progress"
    resolved = bob.post(f"/tickets/{number}/resolve", {"text": "deleted old logs"}).json()
    assert resolved["state"] == "resolved"
    assert resolved["verified_at"] is None, "the check still fails: nobody has shown that it is fixed"
    kinds = [line["kind"] for line in bob.get(f"/tickets/{number}/timeline").json() if line["source"] == "ticket"]
    assert kinds[0] == "opened"
    assert {"acknowledged", "commented", "waiting", "resumed", "resolved"} <= set(kinds)
    assert all({"start", "end", "why"} <= set(part) for part in bob.get(f"/tickets/{number}/clock").json())


def test_an_auditor_looks_and_does_not_touch(world, dora):
    number = dora.names("/tickets", "number")[0]
    answer = dora.post(f"/tickets/{number}/acknowledge")
    assert answer.status_code == 403
    assert answer.json()["detail"] == "This token's person lacks the permission ticket.work."
    assert dora.get("/evidence").status_code == 200


def test_a_device_is_enrolled_and_revoked_through_the_api(world, alice, settings, tmp_path):
    device = alice.post(f"/devices/{world.web.pk}/approve")
    assert device.status_code == 409
    assert "web-01 is approved" in device.json()["detail"]
    assert alice.post(f"/devices/{world.web.pk}/revoke", {"reason": ""}).status_code == 422
    assert alice.post(f"/devices/{world.web.pk}/revoke", {"reason": "sold"}).json()["status"] == "revoked"


@pytest.mark.parametrize("header", [None, "Bearer nonsense", "Basic YTpi", "Bearer "])
def test_without_a_good_token_nothing_opens(world, header):
    for path in ("/devices", "/tickets", "/evidence"):
        answer = Browser().get(f"/api/v1{path}", headers={"authorization": header} if header else {})
        assert answer.status_code == 401
        assert answer["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "query", "named"),
    [
        ("/tickets", {"state": "opne"}, "query.state"),
        ("/tickets", {"priority": "loud"}, "query.priority"),
        ("/checks", {"kind": "disk_spcae"}, "'disk_spcae' is no kind of check"),
        ("/checks", {"status": "broken"}, "query.status"),
        ("/jobs", {"state": "done"}, "query.state"),
        ("/orders", {"state": "x"}, "query.state"),
        ("/alerts", {"state": "x"}, "query.state"),
        ("/devices", {"status": "x"}, "query.status"),
        ("/evidence", {"kind": "x"}, "query.kind"),
    ],
)
def test_a_filter_that_nothing_can_match_is_named(world, alice, path, query, named):
    answer = alice.get(path, **query)
    assert answer.status_code == 422
    assert named in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("get", "/nothing-here", 404), ("get", "/devices/", 404), ("delete", "/devices", 405), ("put", "/tickets/1", 405)],
)
def test_what_no_route_answers_is_a_problem_too(world, method, path, status):
    answer = getattr(Browser(), method)(f"/api/v1{path}")
    assert answer.status_code == answer.json()["status"] == status
    assert answer["content-type"] == "application/problem+json"
    assert status != 405 or answer["allow"]


def test_a_page_for_people_stays_a_page(world):
    assert Browser().get("/nothing-here").headers["content-type"].startswith("text/html")


def test_a_body_that_is_too_large_is_refused_with_the_limit(world, alice):
    answer = alice.post("/orders", {"envelope": "a" * 10_000_000})
    assert answer.status_code == 413
    assert "bytes" in answer.json()["detail"]


def test_with_storage_that_takes_nothing_one_can_still_look(world, alice):
    """Alice's first request would note the use of her token: it cannot, and shows the tickets all the same."""

    def full(execute, sql, params, many, context):
        if sql.startswith(("INSERT", "UPDATE", "DELETE")):
            raise OperationalError("no room left")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(full):
        numbers = alice.names("/tickets", "number")
        assert len(numbers) == 2
        refused = alice.post(f"/tickets/{numbers[0]}/comment", {"text": "on my way"})
    assert refused.status_code == 503
    assert refused.json()["title"] == "Storage failed"
    assert "Nothing was changed" in refused.json()["detail"]


def test_the_command_to_enrol_names_the_port_that_intake_listens_on(world, alice, settings, tmp_path, monkeypatch):
    monkeypatch.setenv("FORESTALL_HOME", str(tmp_path))
    monkeypatch.setenv("FORESTALL_INTAKE", "127.0.0.1:18555")
    certificates_ensure(home=current_home(), address=intake_address(), now=world.now)
    authority_install(bundle=operator_init(folder=tmp_path / "operator", now=world.now), now=world.now)
    answer = alice.post("/enrolment-tokens", {"site": str(world.munich.pk)})
    assert answer.status_code == 200, answer.content
    assert "--server https://SERVER:18555 " in answer.json()["command"]


def routes() -> list[tuple[str, str]]:
    """Method and path of every operation, from the API itself: a new route is tested without anybody's doing."""
    found = []
    for path, methods in api.get_openapi_schema()["paths"].items():
        found += [(method, path.removeprefix("/api/v1")) for method in methods]
    return sorted(found)


@pytest.mark.parametrize(("method", "path"), routes())
def test_every_route_asks_for_a_token(world, method, path):
    named = re.sub("{.*?}", "1", path)
    answer = getattr(Browser(), method)(f"/api/v1{named}", content_type="application/json")
    assert answer.status_code == 401


def test_every_operation_says_what_it_does():
    for methods in api.get_openapi_schema()["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert operation["tags"]
