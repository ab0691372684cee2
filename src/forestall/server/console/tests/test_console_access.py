"""Who may open what. Ada owns everything, Ines audits, Bob works at one site and must see nothing else."""

from __future__ import annotations

import uuid

import pytest
from django.http import HttpResponse
from django.test import Client as Browser
from django.urls import get_resolver, path

from forestall.server.checks.models import Check
from forestall.server.console import access, urls
from forestall.server.console.tests import fleet as fleets
from forestall.server.console.tests.conftest import browser_of
from forestall.server.people.models import Person
from forestall.server.people.roles import Role
from forestall.server.people.scope import Scope
from forestall.server.people.services import person_create
from forestall.server.tickets.models import Ticket

SYSTEM = Scope.system("test")


@pytest.fixture
def bob(fleet) -> Browser:
    """A technician of one site of the first client."""
    return browser_of(
        person_create(username="bob", password=fleets.PASSWORD, role=Role.TECHNICIAN, site=fleet.sites[0])
    )


def test_every_page_asks_for_sign_in(house):
    stranger = Browser()
    for pattern in urls.urlpatterns:
        if "<" not in str(pattern.pattern):
            answer = stranger.get(f"/{pattern.pattern}")
            assert answer.status_code == 302, pattern
            assert answer["Location"].startswith("/accounts/login/?next=")


def test_a_view_without_a_declared_permission_stops_the_server(monkeypatch):
    assert access.every_view_declares_a_permission(None) == []
    bare = path("secret", lambda request: HttpResponse("open to all"))
    monkeypatch.setattr(urls, "urlpatterns", [*urls.urlpatterns, bare])
    found = access.every_view_declares_a_permission(None)
    assert [error.id for error in found] == ["console.E001"]
    assert "'secret'" in found[0].msg


def test_a_foreign_thing_and_no_thing_are_the_same_bytes(bob, fleet):
    """V8."""
    foreign = next(device for device in fleet.devices if device.site_id != fleet.sites[0].pk)
    ticket = Ticket.objects.visible_to(SYSTEM).exclude(site=fleet.sites[0]).first()
    check = Check.objects.visible_to(SYSTEM).filter(device=foreign).first()
    pairs = [
        (f"/devices/{foreign.pk}/", f"/devices/{uuid.uuid4()}/"),
        (f"/devices/{foreign.pk}/metrics/", f"/devices/{uuid.uuid4()}/metrics/"),
        (f"/devices/{foreign.pk}/series.json?chart=cpu", f"/devices/{uuid.uuid4()}/series.json?chart=cpu"),
        (f"/tickets/{ticket.number}/", "/tickets/987654321/"),
        (f"/checks/{check.pk}/panel", "/checks/987654321/panel"),
        (f"/checks/?check={check.pk}", "/checks/?check=987654321"),
        (f"/evidence/bundle/{foreign.client_id}", f"/evidence/bundle/{uuid.uuid4()}"),
        (f"/jobs/{uuid.uuid4()}/", f"/jobs/{uuid.uuid4()}/"),
        ("/reports/SR-000001/", "/reports/SR-999999/"),
    ]
    for there, absent in pairs:
        first, second = bob.get(there), bob.get(absent)
        assert first.status_code == second.status_code == 404, there
        assert first.content == second.content, there
        assert dict(first.items()) == dict(second.items()), there
    for there, absent in ((f"/tickets/{ticket.number}/acknowledge", "/tickets/987654321/acknowledge"),):
        first, second = bob.post(there), bob.post(absent)
        assert first.status_code == second.status_code == 404
        assert first.content == second.content


def test_lists_show_a_technician_nothing_of_other_sites(bob, fleet):
    own = {device.name for device in fleet.devices if device.site_id == fleet.sites[0].pk}
    foreign = {device.name for device in fleet.devices} - own
    for address in ("/", "/devices/", "/checks/", "/tickets/", "/updates/", "/evidence/", "/search?q=0"):
        html = bob.get(address).content.decode()
        assert not [name for name in foreign if name in html], address
    assert all(name in bob.get("/devices/").content.decode() for name in own)


def test_a_filter_that_names_a_foreign_client_finds_what_an_absent_one_finds(bob, fleet):
    foreign = bob.get(f"/devices/?client={fleet.clients[1].pk}").content
    assert b"No device fits" in foreign


def test_an_auditor_sees_and_changes_nothing(auditor, fleet):
    ticket = Ticket.objects.visible_to(SYSTEM).first()
    device = fleet.devices[0]
    html = auditor.get(f"/tickets/{ticket.number}/").content.decode()
    assert "Acknowledge" not in html
    for address in (
        f"/tickets/{ticket.number}/acknowledge",
        f"/devices/{device.pk}/revoke",
        f"/checks/{device.checks.first().pk}/accept",
    ):
        answer = auditor.post(address, {"reason": "because", "text": "because"})
        assert answer.status_code == 403, address
    assert auditor.get("/devices/enrol").status_code == 403
    ticket.refresh_from_db()
    assert ticket.acknowledged_at is None


def test_a_person_whose_roles_are_taken_away_is_refused_at_the_next_request(ada, fleet):
    """V11."""
    assert ada.get("/devices/").status_code == 200
    Person.objects.get(username="ada").grants.all().delete()
    assert ada.get("/devices/").status_code == 403


def test_no_page_changes_anything_by_get(ada, fleet):
    ticket = Ticket.objects.visible_to(SYSTEM).first()
    assert ada.get(f"/tickets/{ticket.number}/acknowledge").status_code == 405
    assert ada.get(f"/devices/{fleet.devices[0].pk}/approve").status_code == 405


def test_a_form_without_its_token_is_refused(fleet):
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(fleet.person)
    ticket = Ticket.objects.visible_to(SYSTEM).first()
    assert browser.post(f"/tickets/{ticket.number}/acknowledge").status_code == 403


def test_sign_in_and_out(house):
    fleets.owner()
    browser = Browser()
    wrong = browser.post("/accounts/login/", {"login": "ada", "password": "wrong"})
    assert wrong.status_code == 200
    assert b"form-error" in wrong.content or b'class="error"' in wrong.content
    right = browser.post("/accounts/login/", {"login": "ada", "password": fleets.PASSWORD})
    assert right.status_code == 302
    assert browser.get("/").status_code == 200
    browser.post("/accounts/logout/")
    assert browser.get("/").status_code == 302


def test_the_theme_is_kept_without_scripts(ada, house):
    answer = ada.post("/theme", {"theme": "dark"}, headers={"Referer": "http://testserver/devices/"})
    assert answer["Location"] == "http://testserver/devices/"
    assert b'data-theme="dark"' in ada.get("/").content
    assert ada.post("/theme", {"theme": "dark"}, headers={"Referer": "http://evil.example/"})["Location"] == "/"


def test_addresses_resolve():
    assert get_resolver().resolve("/devices/").url_name == "devices"


def test_a_wrong_address_is_answered_in_the_consoles_own_words(ada):
    answer = ada.get("/no-such-page")
    assert answer.status_code == 404
    assert "There is nothing here" in answer.content.decode()


def test_an_error_says_where_its_reason_is(ada, monkeypatch):
    def broken(**_):
        raise RuntimeError("on purpose")

    monkeypatch.setattr("forestall.server.tickets.queries.queue", broken)
    ada.raise_request_exception = False
    answer = ada.get("/tickets/")
    assert answer.status_code == 500
    assert "logs/console.log" in answer.content.decode()
    assert "on purpose" not in answer.content.decode()
