"""Updates, obligations, exceptions and compliance in the console."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from uuid import uuid4

import pytest

from forestall.server.calendar.models import MaintenanceWindow
from forestall.server.inventory.models import Device
from forestall.server.patching.models import (
    Deployment,
    DeploymentChange,
    ObligationException,
    PatchPolicy,
    UpdateDecision,
)
from forestall.server.patching.obligation_services import obligations_refresh
from forestall.server.people.scope import Scope
from forestall.server.people.services import client_create, site_create
from forestall.server.vulnerabilities.models import Vulnerability

SYSTEM = Scope.system("test")

ADDRESSES = (
    "/updates/", "/updates/?by=device", "/updates/?by=obligation", "/updates/?by=each", "/updates/?show=late",
    "/updates/?show=misses", "/updates/obligations/", "/updates/exceptions/", "/updates/exceptions/?show=all",
    "/updates/compliance/", "/updates/compliance/?at=2026-10-31",
)  # fmt: skip


@pytest.fixture
def site(house):
    return site_create(client=client_create(name="Acme Ltd", timezone="Europe/London"), name="Leeds")


def device_at(site, name="web"):
    now = datetime.now(UTC)
    return Device.objects.create(
        client=site.client, site=site, name=name, status="approved", enrolled_at=now, approved_at=now,
        public_key=uuid4().bytes * 2, last_check_in_at=now,
    )  # fmt: skip


def waits(device, name="openssl", days=5.1, **said):
    began = datetime.now(UTC) - timedelta(days=days)
    values = {
        "manager": "apt", "name": name, "candidate": "3.0.17", "security": True, "severity": "critical",
        "cves": ["CVE-2026-1"], "first_seen_at": began, "released_at": began, "state": "blocked",
        "state_since": began, "why": "Waits for approval.",
    } | said  # fmt: skip
    made = Deployment.objects.create(client_id=device.client_id, site_id=device.site_id, device=device, **values)
    DeploymentChange.objects.create(deployment=made, at=began, state=made.state, why=made.why, actor="worker")
    obligations_refresh(now=datetime.now(UTC))
    return made


def words(answer):
    assert answer.status_code == 200, answer.status_code
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


@pytest.mark.parametrize("address", ADDRESSES)
def test_without_any_update_each_page_says_what_would_be_here(ada, address):
    assert "<h1>" in ada.get(address).content.decode()


def test_what_is_late_and_what_will_be_is_said_first(ada, site):
    web = device_at(site)
    waits(web)
    waits(web, "curl", days=1)
    waits(device_at(site, "db"), "bash", days=0, severity="", security=False, cves=[])
    Vulnerability.objects.create(
        name="CVE-2026-1", severity="critical", kev_added_on=datetime.now(UTC).date() - timedelta(days=1),
        changed_at=datetime.now(UTC),
    )  # fmt: skip
    said = words(ada.get("/updates/"))
    assert "1 update is late" in said
    assert (
        "2 updates will miss their deadlines : no maintenance window is planned and no patch policy covers them" in said
    )
    assert "exploited" in said
    assert "Contract: critical within 72 h" in said
    assert "openssl" not in words(ada.get("/updates/?show=misses")).partition("Filter")[2]
    assert "web" in words(ada.get("/updates/?by=device"))
    assert "NCSC" in words(ada.get("/updates/?by=obligation")) or "service agreement" in words(
        ada.get("/updates/?by=obligation")
    )
    each = words(ada.get("/updates/?by=each&obligation=contract"))
    assert "No patch policy covers the device" in each
    assert "Waits for approval." in each
    assert "No update fits the filter." in words(ada.get("/updates/?q=nothing-is-called-so"))
    assert ada.get("/patches/").headers["Location"] == "/updates/"


def test_what_is_missing_is_said_and_nothing_of_what_is_there(ada, site):
    now = datetime.now(UTC)
    waits(device_at(site), days=1)
    other = site_create(client=client_create(name="Bolt Ltd", timezone="UTC"), name="York")
    window = {"rrule": "FREQ=DAILY", "minutes": 240, "starts_on": now.date(), "starts_at": time(1), "created_at": now}
    MaintenanceWindow.objects.create(site=other, name="Bolt's nights", **window)
    stamp = {"created_at": now, "created_by": "ada", "changed_at": now, "changed_by": "ada"}
    PatchPolicy.objects.create(client=other.client, **stamp)

    said = words(ada.get("/updates/"))
    assert "1 update will miss its deadline : no maintenance window is planned and no patch policy covers them" in said
    PatchPolicy.objects.create(client=site.client, approval="manual", **stamp)
    said = words(ada.get("/updates/"))
    assert "1 update will miss its deadline : no maintenance window is planned; 1 update waits" in said
    MaintenanceWindow.objects.create(site=site, name="Nights", **window)
    assert "1 update will miss its deadline ; 1 update waits" in words(ada.get("/updates/"))
    assert "will be missed" in words(ada.get("/updates/?by=device"))


def test_a_page_of_many_is_asked_for_and_the_last_one_beyond_the_end(ada, site, monkeypatch):
    monkeypatch.setattr("forestall.server.console.views.updates.A_PAGE", 2)
    for number in range(5):
        waits(device_at(site, f"web-{number}"), f"lib{number}", days=9 - number)
    for by, thing in (("", "lib"), ("device", "web-")):
        pages = {number: words(ada.get(f"/updates/?by={by}&page={number}")) for number in (1, 2, 3, 4, "9" * 18, "x")}
        shown = {number: [one for one in range(5) if f"{thing}{one} " in said] for number, said in pages.items()}
        assert shown == {1: [0, 1], 2: [2, 3], 3: [4], 4: [4], "9" * 18: [4], "x": [0, 1]}
        assert "of 5" in pages[2]


def test_a_revoked_device_waits_for_nothing(ada, site):
    waits(device_at(site))
    gone = device_at(site, "db")
    waits(gone, "curl", manager="pip")
    assert {"apt", "pip"} <= set(words(ada.get("/updates/")).split())
    Device.objects.visible_to(SYSTEM).filter(pk=gone.pk).update(
        status="revoked", revoked_at=datetime.now(UTC), revoked_reason="sold"
    )
    said = words(ada.get("/updates/"))
    assert "1 update waits on 1 device" in said
    assert "curl" not in said


def test_today_says_that_a_window_misses_an_obligation(ada, site):
    waits(device_at(site), days=1)
    assert "The next window misses the deadline of 1 update on 1 device" in words(ada.get("/"))


def test_the_remedies_are_one_press_away(ada, site):
    web = device_at(site)
    row = waits(web, days=1)
    address = f"/updates/{row.pk}/"
    said = words(ada.get(address))
    assert "It will miss its deadline" in said
    assert "72 h, released" in said
    ada.post(f"{address}approve")
    assert UpdateDecision.objects.visible_to(SYSTEM).get().device_id == web.pk
    ada.post(f"{address}window")
    window = MaintenanceWindow.objects.visible_to(SYSTEM).get()
    assert (window.device_id, window.minutes) == (web.pk, 120)
    until = (datetime.now(UTC) + timedelta(days=20)).date().isoformat()
    ada.post(f"{address}except", {"reason": "r", "instead": "c", "until": until})
    granted = ObligationException.objects.visible_to(SYSTEM).get()
    assert (granted.device_id, granted.name, granted.obligation) == (web.pk, "openssl", "contract")
    refused = ada.post(f"{address}except", {"reason": "", "instead": "c", "until": until}, follow=True)
    assert "reason: say why it is missed" in words(refused)
    assert "1 exception is in force" in words(ada.get("/updates/exceptions/"))
    ada.post(f"/updates/exceptions/{granted.pk}/end")
    assert "No exception is in force" in words(ada.get("/updates/exceptions/"))
    assert "ended by ada" in words(ada.get("/updates/exceptions/?show=all"))


@pytest.mark.parametrize("act", ["approve", "defer", "exclude", "except"])
def test_many_are_decided_about_at_once_at_every_client_that_has_them(ada, site, act):
    other = site_create(client=client_create(name="Bolt", timezone="UTC"), name="York")
    waits(device_at(site))
    waits(device_at(other, "db"))
    waits(device_at(site, "erp"), "curl")
    until = (datetime.now(UTC) + timedelta(days=20)).date().isoformat()
    form = {
        "pick": ["apt|openssl|3.0.17", "apt|curl|3.0.17"], "act": act, "reason": "r", "instead": "c", "until": until,
        "back": "/updates/?by=",
    }  # fmt: skip
    address = "/updates/except" if act == "except" else "/updates/act"
    said = words(ada.post(address, form, follow=True))
    assert "2 updates" in said
    made = (ObligationException if act == "except" else UpdateDecision).objects.visible_to(SYSTEM)
    assert sorted((one.client.name, one.name) for one in made.select_related("client")) == [
        ("Acme Ltd", "curl"), ("Acme Ltd", "openssl"), ("Bolt", "openssl"),
    ]  # fmt: skip
    assert "Pick the updates first." in words(ada.post(address, {"act": act}, follow=True))
    gone = ada.post(address, {**form, "pick": ["apt|gone|1"]}, follow=True)
    assert "waits nowhere any more" in words(gone)
    if act != "approve":
        before = made.count()
        ada.post(address, {**form, "reason": ""})
        assert made.count() == before, "all or none"


def test_who_only_looks_is_offered_nothing(auditor, site):
    row = waits(device_at(site))
    html = auditor.get("/updates/").content.decode()
    assert 'name="pick"' not in html
    assert "Open an emergency window" not in words(auditor.get(f"/updates/{row.pk}/"))
    assert auditor.post(f"/updates/{row.pk}/approve").status_code == 403
    assert auditor.post("/updates/act", {"act": "approve", "pick": ["apt|openssl|3.0.17"]}).status_code == 403
    assert auditor.post("/updates/obligations/", {"client": site.client_id}).status_code == 403


def test_terms_of_a_client_are_agreed_on_and_taken_back(ada, site):
    address = f"/updates/obligations/?client={site.client_id}"
    form = {"client": site.client_id, "slug": "contract", "reason": "Agreed."}
    ada.post("/updates/obligations/", {**form, "what": "hours", "number": "24"})
    assert "24 h after vendor release" in words(ada.get(address))
    ada.post("/updates/obligations/", {**form, "slug": "cyber-essentials", "what": "off"})
    assert "1 one switched off" in words(ada.get(address))
    ada.post("/updates/obligations/", {**form, "what": "built-in"})
    assert "72 h after vendor release" in words(ada.get(address))
    refused = ada.post("/updates/obligations/", {**form, "what": "hours", "number": "soon"}, follow=True)
    assert "is no number of hours" in words(refused)


def test_compliance_opens_to_the_rows_behind_it(ada, site):
    web = device_at(site)
    waits(web)
    done = waits(web, "curl", days=9, state="planned", why="")
    done.state, done.verified_at, done.settled_at = ("verified", *([datetime.now(UTC) - timedelta(days=8)] * 2))
    done.save()
    DeploymentChange.objects.create(
        deployment=done, at=done.verified_at, was="planned", state="verified", actor="worker"
    )
    said = words(ada.get("/updates/compliance/"))
    assert "50 % in time of 2 updates that were due" in said
    assert "waited for approval 5 days" in said
    late = words(ada.get("/updates/compliance/?outcome=late&obligation=contract"))
    assert "open, late" in late
    then = (datetime.now(UTC) - timedelta(days=7)).date().isoformat()
    assert "100 % in time of 1 update that was due" in words(ada.get(f"/updates/compliance/?at={then}"))
    lines = ada.get("/updates/compliance.csv?outcome=late").content.decode().splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("Acme Ltd,web,apt,openssl")


def test_few_questions_however_many_updates(ada, site, django_assert_max_num_queries):
    for number in range(20):
        waits(device_at(site, f"web-{number}"), f"lib-{number}")
    for address, most in (
        ("/updates/", 18), ("/updates/?by=device", 16), ("/updates/?by=obligation", 16), ("/updates/?by=each", 28),
        ("/updates/compliance/", 40),
    ):  # fmt: skip
        with django_assert_max_num_queries(most):
            assert ada.get(address).status_code == 200
