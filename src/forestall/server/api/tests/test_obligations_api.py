"""Obligations, exceptions and compliance through the API."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.test import Client as Browser

from forestall.server.inventory.models import Device
from forestall.server.patching.models import Deployment, DeploymentChange
from forestall.server.people.roles import Role
from forestall.server.people.services import client_create, person_create, site_create, token_create

pytestmark = pytest.mark.django_db
PASSWORD = "a long password"


class Asking:
    """Somebody with a token."""

    def __init__(self, username: str, role: Role) -> None:
        person = person_create(username=username, password=PASSWORD, role=role)
        self.headers = {"authorization": f"Bearer {token_create(person=person, name='t')}"}
        self.browser = Browser()

    def get(self, path: str, expect: int = 200):
        answer = self.browser.get(f"/api/v1{path}", headers=self.headers)
        assert answer.status_code == expect, answer.content
        return answer.json() if answer["Content-Type"].startswith("application/") else answer.content.decode()

    def post(self, path: str, body: object = None, expect: int = 201):
        answer = self.browser.post(
            f"/api/v1{path}", json.dumps(body or {}), content_type="application/json", headers=self.headers
        )
        assert answer.status_code == expect, answer.content
        return answer.json()


@pytest.fixture
def site():
    return site_create(client=client_create(name="Acme Ltd", timezone="UTC"), name="Leeds")


@pytest.fixture
def late(site):
    """openssl on one device, five days old: past the contract's 72 hours."""
    now = datetime.now(UTC)
    device = Device.objects.create(
        client=site.client, site=site, name="web", status="approved", enrolled_at=now, approved_at=now,
        public_key=uuid4().bytes * 2, last_check_in_at=now,
    )  # fmt: skip
    began = now - timedelta(days=5)
    made = Deployment.objects.create(
        client=site.client, site=site, device=device, manager="apt", name="openssl", candidate="3.0.17", security=True,
        severity="critical", first_seen_at=began, released_at=began, state="blocked", state_since=began,
        why="Waits for approval.",
    )  # fmt: skip
    DeploymentChange.objects.create(deployment=made, at=began, state="blocked", why=made.why, actor="worker")
    return made


def test_the_built_in_obligations_say_who_demands_what(site) -> None:
    found = Asking("ada", Role.OWNER).get("/obligations")
    assert [one["slug"] for one in found] == [
        "contract", "routine-monthly", "firmware-quarterly", "cyber-essentials", "kev",
    ]  # fmt: skip
    assert found[0]["deadline"]["words"] == "72 h after vendor release"
    assert found[3]["about"] == "security updates rated critical, high, CVSS 7 or more, or not rated"
    assert found[3]["source"].startswith("NCSC")


def test_ada_tightens_the_contract_and_takes_it_back(site, late) -> None:
    ada = Asking("ada", Role.OWNER)
    body = {
        "client": str(site.client_id), "slug": "contract", "reason": "Agreed on Monday.",
        "terms": {"deadline": {"kind": "after", "hours": 24}},
    }  # fmt: skip
    made = ada.post("/obligation-rules", body)
    found = {one["slug"]: one for one in ada.get(f"/obligations?client={site.client_id}")}
    assert found["contract"]["deadline"]["words"] == "24 h after vendor release"
    assert found["contract"]["own"] is True
    assert ada.get(f"/obligation-rules/{made['id']}")["created_by"].endswith("ada")
    ended = ada.post(f"/obligation-rules/{made['id']}/end", expect=200)
    assert ended["in_force_until"]
    assert len(ada.get(f"/obligation-rules?client={site.client_id}")["items"]) == 1
    ada.post("/obligation-rules", {**body, "terms": {"off": True}})
    assert "contract" not in {one["slug"] for one in ada.get(f"/obligations?client={site.client_id}")}
    refused = ada.post("/obligation-rules", {**body, "terms": {"cvss_at_least": 11}}, expect=422)
    assert "cvss_at_least" in json.dumps(refused)
    refused = ada.post("/obligation-rules", {**body, "terms": {"deadline": {"kind": "after"}}}, expect=400)
    assert "hours: 0" in json.dumps(refused)


def test_an_exception_is_granted_listed_and_ended(site, late) -> None:
    ada = Asking("ada", Role.OWNER)
    until = (datetime.now(UTC) + timedelta(days=10)).isoformat()
    body = {
        "client": str(site.client_id), "device": str(late.device_id), "name": "openssl", "reason": "The vendor checks.",
        "compensating_control": "The port is shut.", "expires_at": until,
    }  # fmt: skip
    made = ada.post("/exceptions", body)
    assert [one["id"] for one in ada.get("/exceptions?in_force=true")["items"]] == [made["id"]]
    assert ada.get("/patch-compliance")["total"]["excepted"] == 1
    ada.post(f"/exceptions/{made['id']}/end", expect=200)
    assert ada.get("/exceptions?in_force=true")["items"] == []
    assert ada.get(f"/exceptions/{made['id']}")["ended_by"].endswith("ada")
    ada.post(f"/exceptions/{made['id']}/end", expect=400)


def test_a_technician_sees_them_and_grants_none(site, late) -> None:
    tina = Asking("tina", Role.TECHNICIAN)
    assert tina.get("/exceptions")["items"] == []
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"client": str(site.client_id), "reason": "r", "compensating_control": "c", "expires_at": until}
    tina.post("/exceptions", body, expect=403)
    tina.post(
        "/obligation-rules",
        {"client": str(site.client_id), "slug": "kev", "terms": {"off": True}, "reason": "r"},
        expect=403,
    )


def test_an_emergency_window_opens_now(site, late) -> None:
    ada = Asking("ada", Role.OWNER)
    made = ada.post("/emergency-windows", {"site": str(site.pk), "device": str(late.device_id), "minutes": 90})
    shown = ada.get(f"/windows/{made['window']}")
    assert (shown["name"], shown["minutes"]) == ("Emergency updates of web", 90)
    ada.post("/emergency-windows", {"site": str(uuid4())}, expect=404)


def test_what_waits_is_listed_once_for_each_version(site, late) -> None:
    ada = Asking("ada", Role.OWNER)
    from forestall.server.patching.obligation_services import obligations_refresh

    obligations_refresh(now=datetime.now(UTC))
    (found,) = ada.get("/updates")
    assert (found["name"], found["devices"], found["late"], found["severity"]) == ("openssl", 1, 1, "critical")
    assert found["states"] == {"blocked": 1}
    assert ada.get("/updates?show=misses") == []
    assert len(ada.get("/updates?show=late&obligation=contract&search=open")) == 1
    ada.get("/updates?limit=0", expect=400)


def test_compliance_at_a_date_with_reasons_and_as_csv(site, late) -> None:
    ada = Asking("ada", Role.OWNER)
    now = ada.get("/patch-compliance")
    assert (now["total"]["late"], now["total"]["percent"]) == (1, 0.0)
    assert [(one["part"], one["late"]) for one in now["clients"]] == [("Acme Ltd", 1)]
    assert [(one["part"], one["late"]) for one in now["obligations"]] == [
        ("contract", 1), ("cyber-essentials", 0), ("routine-monthly", 0),
    ]  # fmt: skip
    then = (datetime.now(UTC) - timedelta(days=4)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert ada.get(f"/patch-compliance?at={then}")["total"] == {
        "due": 0, "met": 0, "met_late": 0, "late": 0, "open": 1, "excepted": 0, "percent": None,
    }  # fmt: skip
    (row,) = ada.get("/patch-compliance/rows?outcome=late")
    assert row["why"].startswith("no window between")
    assert "waited for approval 5 days" in row["why"]
    lines = list(csv.DictReader(io.StringIO(ada.get("/patch-compliance.csv"))))
    assert [(line["device"], line["obligation"], line["outcome"]) for line in lines] == [
        ("web", "contract", "open, late")
    ]
    ada.get("/patch-compliance?at=2999-01-01T00:00:00Z", expect=400)
    ada.get("/patch-compliance?days=0", expect=400)
