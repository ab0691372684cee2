"""Ada takes on a client by API and says how it is served. Mona manages Acme alone, Tom works at one site of it."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from django.test import Client as Browser

from forestall.server.alerts import routes
from forestall.server.alerts.tests.desk_world import SYSTEM, World
from forestall.server.evidence.models import Entry
from forestall.server.people.models import Grant, Person
from forestall.server.people.roles import Role
from forestall.server.people.services import token_create
from forestall.server.tickets.sla_models import SlaTier

pytestmark = pytest.mark.django_db


class Caller:
    """Somebody with a token."""

    def __init__(self, name: str, role: Role, **place: object) -> None:
        # Nobody signs in here, and hashing passwords is slow on purpose.
        self.person = Person.objects.create(username=name, password="!")
        site = place.get("site")
        Grant.objects.create(person=self.person, role=role, client=place.get("client") or (site and site.client),
                             site=site)  # fmt: skip
        self._headers = {"authorization": f"Bearer {token_create(person=self.person, name='test')}"}
        self._browser = Browser(raise_request_exception=False)

    def __call__(self, method: str, path: str, body: object = None, **headers: str):
        return self._browser.generic(
            method, f"/api/v1{path}", json.dumps(body) if body is not None else "",
            content_type="application/json", headers={**self._headers, **headers},
        )  # fmt: skip

    def does(self, method: str, path: str, body: object = None, status: int = 200):
        answer = self(method, path, body)
        assert answer.status_code == status, answer.content
        return answer.json() if answer.content else None


@pytest.fixture
def world(db) -> World:
    SlaTier.objects.get_or_create(slug="standard", defaults={"name": "Standard"})
    return World()


@pytest.fixture
def ada(world) -> Caller:
    return Caller("ada", Role.OWNER)


@pytest.fixture
def mona(world) -> Caller:
    return Caller("mona", Role.SERVICE_MANAGER, client=world.acme)


@pytest.fixture
def tom(world) -> Caller:
    return Caller("tom", Role.TECHNICIAN, site=world.munich)


def test_ada_takes_on_a_client_and_says_how_it_is_served(ada: Caller) -> None:
    gold = {"slug": "gold", "name": "Gold", "targets": {"urgent": {"response_minutes": 30, "resolution_minutes": 90}}}
    assert ada.does("POST", "/sla-tiers", gold, 201)["targets"]["low"]["resolution_minutes"] == 4800
    client = ada.does("POST", "/clients", {"name": "Cove", "timezone": "Europe/Berlin", "country": "DE"}, 201)
    at = f"/clients/{client['id']}"
    changed = ada.does("PATCH", at, {"sla_tier": "gold", "region": "BY", "operating_model": "hourly"})
    assert (changed["sla_tier"], changed["region"], changed["name"]) == ("gold", "BY", "Cove")
    site = ada.does("POST", f"{at}/sites", {"name": "Quay", "country": "GB", "timezone": "Europe/London"}, 201)
    assert ada.does("PATCH", f"/sites/{site['id']}", {"address": "1 Quay Road"})["timezone"] == "Europe/London"
    contact = ada.does("POST", f"{at}/contacts", {"name": "Bea", "site": site["id"]}, 201)
    assert contact["is_primary"]
    moved = ada.does("PATCH", f"/contacts/{contact['id']}", {"site": None, "person": ada.person.pk})
    assert (moved["site"], moved["person"]) == (None, "ada")
    hours = ada.does("PUT", f"{at}/working-hours", {"hours": {"monday": [["08:00", "12:00"], ["13:00", "17:00"]]}})
    assert not hours["is_usual"]
    assert len(hours["next_days"]) == 7
    ada.does("POST", f"{at}/closed-days", {"day": "2026-12-28", "why": "stocktaking"}, 201)
    assert ada.does("GET", f"{at}/closed-days") == [{"day": "2026-12-28", "why": "stocktaking"}]
    ada.does("DELETE", f"{at}/closed-days/2026-12-28", status=204)
    assert {"day": "2026-01-06", "name": "Epiphany"} in ada.does("GET", f"{at}/holidays?year=2026")
    assert "2026-01-06" not in str(ada.does("GET", f"{at}/holidays?year=2026&site={site['id']}"))
    ada.does("PUT", f"{at}/sla/low", {"response_minutes": 60, "resolution_minutes": 600})
    sla = ada.does("GET", f"{at}/sla")["targets"]
    assert sla["urgent"] == {"response_minutes": 30, "resolution_minutes": 90, "own": False}
    assert sla["low"]["own"]
    ada.does("DELETE", f"{at}/sla/low", status=204)
    overview = ada.does("GET", f"{at}/overview")
    assert (overview["sites"], overview["contact"]["name"], overview["worst"]) == (1, "Bea", None)
    kinds = set(Entry.objects.visible_to(SYSTEM).filter(client=client["id"]).values_list("kind", flat=True))
    assert kinds == {"client:changed", "calendar:changed"}


def test_a_window_is_planned_changed_and_ended(ada: Caller, world: World) -> None:
    asked = {
        "site": str(world.munich.pk), "name": "Patches", "starts_on": "2027-03-07", "starts_at": "02:30",
        "minutes": 90, "rrule": "FREQ=WEEKLY;BYDAY=SU", "purpose": "Updates", "notice_hours": 48,
    }  # fmt: skip
    window = ada.does("POST", "/windows", asked, 201)
    assert (window["words"], window["timezone"]) == ("every Sunday", "Europe/Berlin")
    assert window["clock_changes"][0].startswith("Sunday 28 March 2027")
    at = f"/windows/{window['id']}"
    assert ada.does("PATCH", at, {"rrule": "FREQ=DAILY", "minutes": 30})["words"] == "every day"
    times = ada.does("GET", f"/window-times?days=400&client={world.acme.pk}")
    assert len(times) > 100
    assert times[0]["window"] == window["id"]
    proposed = ada.does("PATCH", at, {"needs_approval": True})
    assert (proposed["needs_approval"], proposed["answer"]) == (True, "")
    assert ada.does("GET", f"/window-times?days=400&client={world.acme.pk}") == [], "a proposal opens nothing"
    assert [one["id"] for one in ada.does("GET", f"/windows?device={world.web.pk}")["items"]] == [window["id"]]
    assert ada.does("POST", f"{at}/end")["ended_by"] == "ada"
    assert ada.does("GET", "/windows")["items"] == []
    assert "ended by ada" in ada("PATCH", at, {"minutes": 5}).json()["detail"]
    elsewhere = {**asked, "device": str(world.leeds_box.pk)}
    assert "is not a device of" in ada("POST", "/windows", elsewhere).json()["detail"]


def test_who_is_told_and_who_gets_the_ticket(ada: Caller, mona: Caller, tom: Caller, world: World, monkeypatch) -> None:
    sent: list[tuple[str, str, str]] = []
    monkeypatch.setattr(routes.route_test, "__kwdefaults__", {"send": lambda *what: sent.append(what) or True})
    made = mona.does(
        "POST",
        "/notification-routes",
        {"name": "pager", "client": str(world.acme.pk), "address": "json://u:hunter2secret@h/", "minimum_risk": "high"},
        201,
    )
    assert "hunter2secret" not in str(made)
    at = f"/notification-routes/{made['id']}"
    assert mona.does("POST", f"{at}/test") == {"delivered": True, "words": f"delivered to {made['address']}"}
    assert sent[0][0] == "json://u:hunter2secret@h/"
    assert mona.does("PATCH", at, {"enabled": False})["enabled"] is False
    mona.does("DELETE", at, status=204)

    site = world.munich.pk
    rule = mona.does("POST", "/routing-rules", {"client": str(world.acme.pk), "owner": "mona"}, 201)
    local = mona.does("POST", "/routing-rules", {"site": str(site), "kind": "disk_space", "owner": "tom"}, 201)
    assert local["words"] == "Disk space at Munich of Acme goes to tom"
    answer = mona.does("GET", f"/routing-answer?site={site}&kind=disk_space&risk=high")
    assert (answer["owner"], answer["rule"]) == ("tom", local["id"])
    assert "the most particular rule that fits; 1 less particular also would fit" in answer["why"]
    mona.does("PUT", f"/routing-rules/{local['id']}", {"kind": "cpu", "owner": "tom"})
    assert mona.does("GET", f"/routing-answer?site={site}&kind=disk_space")["owner"] == "mona"
    mona.does("DELETE", f"/routing-rules/{rule['id']}", status=204)
    assert mona.does("GET", f"/routing-answer?site={site}&kind=disk_space")["owner"] == "ada"
    refused = mona("POST", "/routing-rules", {"client": str(world.acme.pk), "owner": "tom"})
    assert "tom may not work tickets at Acme" in refused.json()["detail"]


CHANGES = (
    ("PATCH", "/clients/{client}", {"name": "x"}),
    ("POST", "/clients/{client}/place", {"timezone": "UTC"}),
    ("POST", "/clients/{client}/sites", {"name": "x"}),
    ("PATCH", "/sites/{site}", {"name": "x"}),
    ("POST", "/clients/{client}/contacts", {"name": "x"}),
    ("PUT", "/clients/{client}/working-hours", {"hours": {"monday": [["08:00", "12:00"]]}}),
    ("POST", "/clients/{client}/closed-days", {"day": "2026-12-28", "why": "x"}),
    ("PUT", "/clients/{client}/sla/low", {"response_minutes": 1, "resolution_minutes": 2}),
    ("DELETE", "/clients/{client}/sla/low", None),
)
READS = (
    "/clients/{client}", "/clients/{client}/overview", "/clients/{client}/sites", "/clients/{client}/working-hours",
    "/clients/{client}/closed-days", "/clients/{client}/holidays", "/clients/{client}/sla", "/sites/{site}",
    "/routing-answer?site={site}&kind=cpu",
)  # fmt: skip


def test_mona_cannot_touch_another_client_nor_tell_it_from_none(mona: Caller, world: World) -> None:
    foreign = {"client": world.bolt.pk, "site": world.leeds.pk}
    absent = {"client": uuid4(), "site": uuid4()}
    for method, path, body in (*CHANGES, *(("GET", path, None) for path in READS)):
        first, second = (mona(method, path.format(**which), body) for which in (foreign, absent))
        assert first.status_code == second.status_code == 404, (method, path, first.content)
        assert first.content == second.content, (method, path)
    window = {"site": str(world.leeds.pk), "name": "x", "starts_on": "2027-01-01", "starts_at": "02:00", "minutes": 5}
    assert mona("POST", "/windows", window).status_code == 404
    assert [one["name"] for one in mona.does("GET", "/clients")["items"]] == ["Acme"]
    assert mona("POST", "/clients", {"name": "Mine", "timezone": "UTC"}).status_code == 403
    assert mona("POST", "/sla-tiers", {"slug": "mine", "name": "Mine", "targets": {}}).status_code == 403
    everybody = {"name": "all", "address": "json://h/"}
    assert "every client" in mona("POST", "/notification-routes", everybody).json()["detail"]


def test_tom_reads_how_his_client_is_served_and_changes_nothing_of_it(tom: Caller, world: World) -> None:
    own = {"client": world.acme.pk, "site": world.munich.pk}
    for path in READS:
        assert tom("GET", path.format(**own)).status_code == 200, path
    for method, path, body in CHANGES:
        assert tom(method, path.format(**own), body).status_code == 403, path
    window = {"site": str(world.munich.pk), "name": "x", "starts_on": "2027-01-01", "starts_at": "02:00", "minutes": 5}
    assert tom("POST", "/windows", window).status_code == 201, "windows are a technician's work"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "complaint"),
    [
        ("PATCH", "/clients/{client}", {"timezone": "Mars/Base"}, 400, "'Mars/Base' is not a known"),
        ("PATCH", "/clients/{client}", {"colour": "red"}, 422, "colour"),
        ("PATCH", "/clients/{client}", {"name": "x" * 201}, 422, "200"),
        ("PATCH", "/sites/{site}", {"client": "{other}"}, 400, "stays with its client"),
        ("PUT", "/clients/{client}/working-hours", {"hours": {"montag": []}}, 400, "hours.montag: not a weekday"),
        ("PUT", "/clients/{client}/working-hours", {"hours": {"monday": [["9", "10:00"]]}}, 400, "hours.monday[0]"),
        ("PUT", "/clients/{client}/working-hours", {"hours": {}}, 400, "without any working time"),
        ("PUT", "/clients/{client}/sla/later", {"response_minutes": 1, "resolution_minutes": 2}, 422, "priority"),
        ("PUT", "/clients/{client}/sla/low", {"response_minutes": 9, "resolution_minutes": 2}, 400, "resolution"),
        ("GET", "/clients/{client}/holidays?year=1066", None, 400, "year: 1066"),
        ("GET", "/window-times?days=4000", None, 400, "days: 4000"),
        ("GET", "/routing-answer?site={site}&kind=magic", None, 400, "'magic' is no kind"),
        ("POST", "/notification-routes", {"name": "x", "address": "bogus://s3cret"}, 400, "not an address"),
    ],
)
def test_what_cannot_be_is_named(ada: Caller, world: World, method, path, body, status, complaint) -> None:
    at = {"client": world.acme.pk, "site": world.munich.pk}
    if body == {"client": "{other}"}:
        body = {"client": str(world.bolt.pk)}
    answer = ada(method, path.format(**at), body)
    assert answer.status_code == status, answer.content
    assert complaint in answer.json()["detail"]
    assert "s3cret" not in answer.json()["detail"]


def test_a_client_that_was_changed_meanwhile_is_not_changed_blindly(ada: Caller, world: World) -> None:
    at = f"/clients/{world.acme.pk}"
    seen = ada("GET", at).headers["ETag"]
    assert ada("PATCH", at, {"notes": "first"}, **{"If-Match": seen}).status_code == 200
    assert ada("PATCH", at, {"notes": "second"}, **{"If-Match": seen}).status_code == 412
    assert ada.does("GET", at)["notes"] == "first"
