"""Clients in the console: Ada takes one on and says how it is served; Mona changes only hers; Tom only reads."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from forestall.server.alerts import routes
from forestall.server.alerts.models import NotificationRoute
from forestall.server.calendar.models import ClosedDay, MaintenanceWindow, WorkingWeek
from forestall.server.calendar.services import window_create
from forestall.server.clients import services
from forestall.server.console.tests import fleet as fleets
from forestall.server.console.tests.conftest import browser_of
from forestall.server.console.views.client_forms import RefusalError, minutes_of, spans_of
from forestall.server.console.views.client_tabs import _TABS
from forestall.server.evidence.models import Entry
from forestall.server.people.models import Client, Contact, Grant, Person, Site
from forestall.server.people.roles import Role
from forestall.server.people.scope import Scope
from forestall.server.tickets.models import RoutingRule, SlaPolicy
from forestall.server.tickets.sla_models import SlaTier

SYSTEM = Scope.system("test")
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def person(name: str, role: Role, *, client: Client | None = None, site: Site | None = None):
    # Nobody types a password here, and hashing one is slow on purpose.
    made = Person.objects.create(username=name, password="!")
    Grant.objects.create(person=made, role=role, client=client or (site and site.client), site=site)
    return browser_of(made)


def page(browser, address: str, status: int = 200) -> str:
    answer = browser.get(address)
    assert answer.status_code == status, f"{address}: {answer.status_code}"
    return answer.content.decode()


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def client_called(name: str) -> Client:
    return Client.objects.visible_to(SYSTEM).get(name=name)


@pytest.fixture
def ashdown(house) -> Client:
    SlaTier.objects.get_or_create(slug="standard", defaults={"name": "Standard"})
    return client_called(fleets.CLIENTS[0][0])


def test_ada_takes_on_a_client_and_is_led_to_its_first_site(ada, ashdown):
    assert "Take on a client" in page(ada, "/clients/")
    wrong = ada.post("/clients/new", {"name": "Cove <b>", "timezone": "Mars/Base", "country": "DE", "region": "",
                                      "operating_model": "hourly", "sla_tier": "standard"})  # fmt: skip
    html = wrong.content.decode()
    assert "&#x27;Mars/Base&#x27; is not a known IANA time zone" in html
    assert 'value="Cove &lt;b&gt;"' in html, "what was typed is still there"
    made = ada.post("/clients/new", {"name": "Cove", "timezone": "Europe/Berlin", "country": "DE", "region": "BY",
                                     "operating_model": "hourly", "sla_tier": "standard"})  # fmt: skip
    cove = client_called("Cove")
    assert made["Location"] == f"/clients/{cove.pk}/sites/"
    ada.post(f"/clients/{cove.pk}/sites/", {"name": "Quay", "address": "1 Quay Road"})
    ada.post(f"/clients/{cove.pk}/contacts/", {"name": "Bea Berg", "phone": "+49 30 1234"})
    said = words(page(ada, f"/clients/{cove.pk}/"))
    for part in ("No device at 1 site yet", "no open ticket", "no window planned", "Bea Berg", "+49 30 1234"):
        assert part in said
    history = words(page(ada, f"/clients/{cove.pk}/history/"))
    assert "Contact “Bea Berg” made ada" in history
    assert "name: Quay" in history
    assert 'href="tel:+49301234"' in page(ada, f"/clients/{cove.pk}/"), "a phone calls it when it is touched"


def test_the_ways_in_and_out_are_shown_to_whom_they_are_open(ada, auditor, ashdown):
    ways = (f"/clients/{ashdown.pk}/export", f"/clients/{ashdown.pk}/remove")
    assert all(f'href="{way}"' in page(ada, f"/clients/{ashdown.pk}/") for way in ways)
    assert 'href="/import/"' in page(ada, "/clients/")
    assert not any(way in page(auditor, f"/clients/{ashdown.pk}/") for way in ways)


def test_a_proposed_window_is_not_counted_as_open(ada, ashdown):
    site = Site.objects.visible_to(SYSTEM).filter(client=ashdown).first()
    tomorrow = (datetime.now(UTC) + timedelta(days=2)).date()
    for name, asks in (("Patches", False), ("Move", True)):
        window_create(
            site=site, name=name, starts_on=tomorrow, starts_at="22:00", minutes=60, needs_approval=asks,
            scope=SYSTEM, now=datetime.now(UTC),
        )  # fmt: skip
    said = words(page(ada, f"/clients/{ashdown.pk}/windows/"))
    assert "2 windows, open 1 time in the next 30 days; 1 time only proposed." in said


def test_a_refusal_stands_beside_its_field_and_nothing_is_kept(ada, ashdown):
    answer = ada.post(f"/clients/{ashdown.pk}/change", {"name": fleets.CLIENTS[1][0], "timezone": "UTC",
                      "operating_model": "hourly", "sla_tier": "standard", "notes": "typed for a while"})  # fmt: skip
    html = answer.content.decode()
    assert "There is a client called" in html
    assert 'aria-invalid="true"' in html
    assert "typed for a while" in html
    assert client_called(ashdown.name).notes == ""


def test_hours_are_tried_before_they_are_kept(ada, ashdown):
    at = f"/clients/{ashdown.pk}/hours/"
    assert "Monday to Friday 07:00 to 16:00" in page(ada, at)
    preset = words(ada.post(at, {"act": "preset-always"}).content.decode())
    assert "with these hours, not kept yet" in preset
    assert "00:00 to 24:00" in preset
    assert not WorkingWeek.objects.visible_to(SYSTEM).exists()
    wrong = ada.post(at, {"act": "keep", "monday": "8-12, noon-17", "tuesday": "17:00-09:00"}).content.decode()
    assert "&#x27;noon&#x27; in &#x27;noon-17&#x27; is not a time like 09:00" in wrong
    assert "17:00 is not before 09:00" in wrong
    assert 'value="8-12, noon-17"' in wrong
    assert ada.post(at, {"act": "keep", "monday": "8-12, 13 to 17"}).status_code == 302
    week = WorkingWeek.objects.visible_to(SYSTEM).get(client=ashdown)
    assert week.hours == {"monday": [["08:00", "12:00"], ["13:00", "17:00"]]}
    assert "without any working time" in ada.post(at, {"act": "keep"}).content.decode()


def test_a_closed_day_taken_away_can_be_put_back(ada, ashdown):
    at = f"/clients/{ashdown.pk}/hours/"
    day = (datetime.now(UTC) + timedelta(days=20)).date().isoformat()
    assert "This field is required" in ada.post(at, {"act": "close", "day": day, "why": " "}).content.decode()
    ada.post(at, {"act": "close", "day": day, "why": "stocktaking <i>"})
    gone = ada.post(at, {"act": "open", "day": day})
    assert not ClosedDay.objects.visible_to(SYSTEM).exists()
    html = page(ada, gone["Location"])
    assert "Put it back" in html
    assert "stocktaking &lt;i&gt;" in html
    ada.post(at, {"act": "close", "day": day, "why": "stocktaking <i>"})
    assert ClosedDay.objects.visible_to(SYSTEM).get().why == "stocktaking <i>"
    assert ada.post(at, {"act": "open", "day": "1066-13-01"}).status_code == 404


def test_holidays_are_shown_by_name_for_this_year_and_the_next(ada, ashdown):
    services.client_change(client=ashdown, country="GB", region="ENG", scope=SYSTEM, now=NOW)
    said = words(page(ada, f"/clients/{ashdown.pk}/hours/"))
    assert said.count("Christmas Day") >= 2
    assert "Public holidays" in said


def test_times_are_agreed_with_one_client_and_a_tier_is_chosen(ada, ashdown):
    at = f"/clients/{ashdown.pk}/sla/"
    made = ada.post("/sla/", {"act": "keep", "slug": "gold", "name": "Gold", "urgent_response": "30 min",
                    "urgent_resolution": "2h", "standard_response": "4 h", "standard_resolution": "16 h",
                    "low_response": "8 h", "low_resolution": "40 h"})  # fmt: skip
    assert made.status_code == 302
    ada.post(at, {"act": "tier", "tier": "gold"})
    assert "Gold : urgent work is answered within 30 min and solved within 2 h" in words(page(ada, at))
    wrong = ada.post(at, {"act": "own", "urgent_response": "soon", "urgent_resolution": "1 h",
                          "low_response": "9 h", "low_resolution": "8 h"}).content.decode()  # fmt: skip
    assert "&#x27;soon&#x27; is not a time like 4 h or 30 min" in wrong
    assert "8 h is less than the response time 9 h" in wrong
    assert not SlaPolicy.objects.visible_to(SYSTEM).exists()
    ada.post(at, {"act": "own", "urgent_response": "15 min", "urgent_resolution": "1 h 30 min"})
    own = SlaPolicy.objects.visible_to(SYSTEM).get()
    assert (own.priority, own.response_minutes, own.resolution_minutes) == ("urgent", 15, 90)
    ada.post(at, {"act": "own"})
    assert not SlaPolicy.objects.visible_to(SYSTEM).exists()
    refused = ada.post("/sla/?tier=gold", {"act": "remove"}, follow=True).content.decode()
    assert "is in use" in refused
    ada.post(at, {"act": "tier", "tier": "standard"})
    ada.post("/sla/?tier=gold", {"act": "remove"})
    assert not SlaTier.objects.filter(slug="gold").exists()


def test_a_window_is_planned_in_plain_words_changed_and_ended(ada, ashdown):
    site = ashdown.sites.get(name="Leeds")
    asked = {
        "site": str(site.pk), "name": "Patch night", "purpose": "Updates", "starts_on": "2027-03-07",
        "starts_at": "01:30", "length": "90 min", "repeat": "weekly", "days": ["SU"], "nth": "1", "notice_hours": "48",
    }  # fmt: skip
    nothing = ada.post("/windows/new", {**asked, "days": []}).content.decode()
    assert "Choose at least one weekday" in nothing
    assert 'value="Patch night"' in nothing
    long = ada.post("/windows/new", {**asked, "length": "a while"}).content.decode()
    assert "is not a time like 4 h" in long
    made = ada.post("/windows/new", asked)
    window = MaintenanceWindow.objects.visible_to(SYSTEM).get()
    assert made["Location"] == f"/windows/{window.pk}/"
    assert (window.rrule, window.minutes) == ("FREQ=WEEKLY;BYDAY=SU", 90)
    said = words(page(ada, f"/windows/{window.pk}/"))
    assert "Every Sunday from 01:30 for 1 h 30 min" in said
    assert "the clock skips 01:30, so it starts at 02:30" in said
    changed = {**asked, "act": "keep", "repeat": "monthly", "nth": "2", "days": ["TU"]}
    assert ada.post(f"/windows/{window.pk}/", changed).status_code == 302
    window.refresh_from_db()
    assert window.rrule == "FREQ=MONTHLY;BYDAY=2TU"
    assert "On the second Tuesday of each month" in words(page(ada, "/windows/"))
    assert ada.post(f"/windows/{window.pk}/", {**changed, "needs_approval": "on"}).status_code == 302
    assert "no answer yet" in words(page(ada, f"/windows/{window.pk}/"))
    assert "Patch night" in page(ada, f"/clients/{ashdown.pk}/windows/")
    ada.post(f"/windows/{window.pk}/", {"act": "end"}, follow=True)
    assert "Patch night" not in page(ada, "/windows/")
    assert "Ended by ada" in words(page(ada, f"/windows/{window.pk}/"))
    kinds = [entry.payload["act"] for entry in Entry.objects.visible_to(SYSTEM).filter(kind="window:changed")]
    assert sorted(kinds) == ["changed", "changed", "made", "removed"]


def test_a_window_for_one_device_begins_at_its_client_or_at_the_device(ada, fleet):
    device = fleet.devices[0]
    assert device.name not in page(ada, "/windows/new")
    assert device.name in page(ada, f"/windows/new?client={device.client_id}")
    address = f"/windows/new?device={device.pk}"
    assert f'value="{device.pk}" selected' in page(ada, address)
    asked = {"site": str(device.site_id), "device": str(device.pk), "name": "w", "starts_on": "2027-03-07",
             "starts_at": "01:30", "length": "5 min", "repeat": "once", "notice_hours": "0", "nth": "1"}  # fmt: skip
    assert ada.post(address, asked).status_code == 302
    assert MaintenanceWindow.objects.visible_to(SYSTEM).get().device_id == device.pk
    other = next(one for one in fleet.devices if one.site_id != device.site_id)
    refused = ada.post(address, {**asked, "device": str(other.pk)}).content.decode()
    assert 'class="error"' in refused
    assert MaintenanceWindow.objects.visible_to(SYSTEM).count() == 1
    assert ada.get("/windows/new?device=bogus").status_code == 404


def test_a_route_is_tried_and_a_rule_says_who_gets_the_ticket(ada, ashdown, monkeypatch):
    sent: list[str] = []
    monkeypatch.setattr(routes.route_test, "__kwdefaults__", {"send": lambda url, *_: sent.append(url) or True})
    at = f"/clients/{ashdown.pk}/routing/"
    wrong = ada.post(at, {"act": "route", "name": "pager", "address": "bogus://hunter2secret", "minimum_risk": "high"})
    assert "Not an address that a notification service understands" in wrong.content.decode()
    ada.post(at, {"act": "route", "name": "pager", "address": "json://u:hunter2secret@h/", "minimum_risk": "high"})
    route = NotificationRoute.objects.visible_to(SYSTEM).get()
    said = ada.post(at, {"act": "test", "route": str(route.pk)}, follow=True).content.decode()
    assert "delivered to json://u:****@h/" in said
    assert "hunter2secret" not in said
    assert sent == ["json://u:hunter2secret@h/"]
    ada.post(at, {"act": "off", "route": str(route.pk)})
    assert NotificationRoute.objects.visible_to(SYSTEM).filter(enabled=False).exists()
    owner = Person.objects.get(username="ada")
    ada.post(at, {"act": "rule", "kind": "cpu", "minimum_risk": "", "site": "", "owner": str(owner.pk), "order": "0"})
    rule = RoutingRule.objects.visible_to(SYSTEM).get()
    site = ashdown.sites.get(name="Leeds")
    answer = words(page(ada, f"{at}?kind=cpu&risk=high&at={site.pk}"))
    assert "ada gets it." in answer
    ada.post(at, {"act": "drop", "rule": str(rule.pk)})
    ada.post(at, {"act": "forget", "route": str(route.pk)})
    assert not RoutingRule.objects.visible_to(SYSTEM).exists()
    assert not NotificationRoute.objects.visible_to(SYSTEM).exists()
    assert ada.post(at, {"act": "drop", "rule": "<script>"}).status_code == 404


def test_mona_changes_only_her_client_and_cannot_tell_the_other_from_none(house, ashdown):
    mona = person("mona", Role.SERVICE_MANAGER, client=ashdown)
    foreign = client_called(fleets.CLIENTS[1][0])
    absent = "00000000-0000-4000-8000-000000000000"
    for tab in ("", "change", *(f"{slug}/" for slug in _TABS)):
        first, second = (mona.get(f"/clients/{pk}/{tab}") for pk in (foreign.pk, absent))
        assert first.status_code == second.status_code == 404, tab
        assert first.content == second.content
        assert mona.post(f"/clients/{foreign.pk}/{tab}", {"act": "keep", "name": "x"}).status_code in {404, 405}
        assert mona.get(f"/clients/{ashdown.pk}/{tab}").status_code == 200
    assert foreign.name not in page(mona, "/clients/")
    for address in ("/clients/new", "/routing/"):
        assert mona.get(address).status_code == 403
    assert mona.post("/sla/", {"act": "keep", "slug": "x", "name": "X", **{
        f"{p}_{k}": "1 h" for p in ("urgent", "standard", "low") for k in ("response", "resolution")
    }}).status_code == 403  # fmt: skip
    leeds = foreign.sites.first()
    window = window_create(site=leeds, name="w", starts_on=NOW.date(), starts_at="22:00", minutes=5, scope=SYSTEM,
                           now=NOW)  # fmt: skip
    assert mona.get(f"/windows/{window.pk}/").content == mona.get("/windows/987654321/").content
    assert mona.post(f"/windows/{window.pk}/", {"act": "end"}).status_code == 404


def test_tom_of_one_site_reads_and_changes_nothing_of_the_client(house, ashdown):
    leeds = ashdown.sites.get(name="Leeds")
    tom = person("tom", Role.TECHNICIAN, site=leeds)
    for slug in _TABS:
        if slug == "people":
            assert tom.get(f"/clients/{ashdown.pk}/people/").status_code == 404
            continue
        html = page(tom, f"/clients/{ashdown.pk}/{slug}/")
        assert 'name="act"' not in html, slug
        assert "Add a" not in html, slug
        assert tom.post(f"/clients/{ashdown.pk}/{slug}/", {"act": "keep", "name": "x"}).status_code == 403
    assert ">York<" not in page(tom, f"/clients/{ashdown.pk}/sites/")
    assert tom.get(f"/clients/{ashdown.pk}/change").status_code == 403
    assert tom.get("/windows/new").status_code == 200, "windows are a technician's work"


def test_a_contact_is_forgotten_but_never_the_last_to_call_first(ada, ashdown):
    at = f"/clients/{ashdown.pk}/contacts/"
    ada.post(at, {"name": "Bea"})
    ada.post(at, {"name": "Jan", "site": str(ashdown.sites.get(name="York").pk), "email": "jan@example.org"})
    bea, jan = Contact.objects.visible_to(SYSTEM).order_by("name")
    refused = ada.post(f"{at}?contact={bea.pk}", {"remove": "1"}).content.decode()
    assert "is the primary contact: make another one primary first" in refused
    changed = {"name": "Jan", "email": "jan@example", "is_primary": "on"}
    assert "is no mail address" in ada.post(f"{at}?contact={jan.pk}", changed).content.decode()
    ada.post(f"{at}?contact={jan.pk}", {"name": "Jan", "is_primary": "on", "site": "", "person": ""})
    ada.post(f"{at}?contact={bea.pk}", {"remove": "1"})
    assert [one.name for one in Contact.objects.visible_to(SYSTEM).all()] == ["Jan"]


@pytest.mark.parametrize(
    ("typed", "spans"),
    [
        ("", []),
        ("9-17", [["09:00", "17:00"]]),
        ("09:00–12:30; 13.00 to 24:00", [["09:00", "12:30"], ["13:00", "24:00"]]),
    ],
)
def test_hours_may_be_typed_as_people_type_them(typed, spans):
    assert spans_of(typed) == spans


@pytest.mark.parametrize(
    ("typed", "minutes"), [("4 h", 240), ("30 min", 30), ("1h30m", 90), ("90", 90), ("2 hours", 120)]
)
def test_times_may_be_typed_as_people_type_them(typed, minutes):
    assert minutes_of(typed) == minutes


@pytest.mark.parametrize("typed", ["", "soon", "h", "-4 h", "4 days", "1e9", "99999999 h"])
def test_what_is_no_time_is_named(typed):
    with pytest.raises(RefusalError, match="is not a time like"):
        minutes_of(typed)


QUERIES = {
    # The page's own, besides those of who is signed in (what "/keys" asks). More is a defect, fewer is news.
    "/clients/": 12,
    "/windows/": 3,
    "client": 13,
    "hours": 6,
    "sla": 4,
    "history": 3,
}


def test_pages_ask_the_database_a_known_number_of_times(ada, fleet):
    SlaTier.objects.get_or_create(slug="standard", defaults={"name": "Standard"})
    client = fleet.clients[0]
    services.contact_add(client=client, name="Bea", scope=SYSTEM, now=datetime.now(UTC))
    for site in fleet.sites:
        window_create(site=site, name="w", starts_on=NOW.date(), starts_at="22:00", minutes=5, rrule="FREQ=DAILY",
                      scope=SYSTEM, now=datetime.now(UTC))  # fmt: skip
    page(ada, "/keys")
    with CaptureQueriesContext(connection) as signed_in:
        page(ada, "/keys")
    counted = {}
    for name in QUERIES:
        address = name if name.startswith("/") else f"/clients/{client.pk}/{'' if name == 'client' else f'{name}/'}"
        page(ada, address)  # what is kept from the first time on is no cost
        with CaptureQueriesContext(connection) as asked:
            page(ada, address)
        counted[name] = len(asked) - len(signed_in)
    assert counted == QUERIES


def test_the_list_says_what_is_bad_and_can_be_narrowed(ada, fleet):
    html = words(page(ada, "/clients/"))
    assert "3 clients" in html
    assert "with failing devices" in html or "have failing devices" in html
    assert "Ashdown Dental" in words(page(ada, "/clients/?q=ashdown"))
    assert "Corvid" not in page(ada, "/clients/?q=ashdown")
    assert "No client fits" in page(ada, "/clients/?q=nobody")
    for sort in ("name", "-devices", "tickets", "-health", "window", "contact", "bogus"):
        page(ada, f"/clients/?sort={sort}")
