"""Ada looks after people in the console; Mia minds those of one client; Bob works; Carol is a client's own person."""

from __future__ import annotations

import re
import time

import pytest
from django.test import Client as Browser

from forestall.server.console.tests import fleet as fleets
from forestall.server.console.tests.conftest import browser_of
from forestall.server.people.models import Client, CustomRole, Grant, Person
from forestall.server.people.roles import Role
from forestall.server.people.scope import Scope
from forestall.server.people.services import person_create, token_create

SYSTEM = Scope.system("test")


def proven(browser: Browser) -> Browser:
    """Somebody who has just proved who they are."""
    session = browser.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time()}]
    session["account_authentication_methods_user"] = session["_auth_user_id"]
    session.save()
    return browser


@pytest.fixture
def clients(house) -> list[Client]:
    return list(Client.objects.visible_to(SYSTEM).order_by("name"))


@pytest.fixture
def ada(house) -> Browser:
    return proven(browser_of(fleets.owner()))


@pytest.fixture
def mia(clients) -> Browser:
    person = person_create(username="mia", password=fleets.PASSWORD, role=Role.TECHNICIAN, client=clients[0])
    minders = CustomRole.objects.create(name="Minder", permissions=["people.change", "people.view"])
    Grant.objects.create(person=person, custom=minders, client=clients[0])
    return proven(browser_of(person))


@pytest.fixture
def bob(clients) -> Person:
    person = person_create(username="bob", password=fleets.PASSWORD, role=Role.TECHNICIAN, client=clients[0])
    token_create(person=person, name="script")
    return person


def page(browser: Browser, address: str) -> str:
    answer = browser.get(address)
    assert answer.status_code == 200, (address, answer.status_code)
    return answer.content.decode()


def text(html: str) -> str:
    main = html.partition('<main id="main"')[2].partition("</main>")[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main)).replace(" ,", ",")


def done(browser: Browser, address: str, **said: str) -> str:
    answer = browser.post(address, said, follow=True)
    assert answer.status_code == 200, (address, answer.status_code)
    return answer.content.decode()


def test_every_page_about_people_opens(ada, bob, clients):
    grant = bob.grants.get()
    for address in (
        "/people/", "/people/invite", f"/people/{bob.pk}/", f"/people/{bob.pk}/give", f"/people/{bob.pk}/change",
        f"/people/{bob.pk}/off", f"/people/{bob.pk}/on", f"/people/{bob.pk}/password",
        f"/people/{bob.pk}/reset-factors",
        f"/people/{bob.pk}/roles/{grant.pk}/take", f"/people/{bob.pk}/roles/{grant.pk}/end",
        f"/people/{bob.pk}/tokens/{bob.api_tokens.get().pk}/revoke",
        f"/people/{bob.pk}/why?permission=ticket.work&place=client:{clients[0].pk}",
        "/roles/", "/roles/technician/", "/roles/technician/?beside=auditor", "/roles/new",
    ):  # fmt: skip
        assert "<h1>" in page(ada, address), address


def test_the_list_says_who_there_is_and_what_is_odd(ada, bob, clients):
    said = text(page(ada, "/people/"))
    assert "2 people can sign in; 2 without a second factor; 1 has not for 90 days." in said
    assert "technician at Ashdown Dental" in said
    assert "bob" not in text(page(ada, "/people/?role=owner"))
    assert "bob" in text(page(ada, f"/people/?client={clients[0].pk}&state=quiet&factor=no&q=BO"))
    assert "Nobody fits" in text(page(ada, "/people/?factor=yes"))
    review = ada.get("/people/review.csv").content.decode()
    assert review.count("\r\n") == 3


def test_a_person_is_invited_and_gets_a_link(ada, clients):
    html = done(
        ada,
        "/people/invite",
        username="dan",
        display_name="Dan Ames",
        email="",
        home_client="",
        role="on_call",
        place=f"client:{clients[0].pk}",
        until="2099-01-31T18:00",
    )
    dan = Person.objects.get(username="dan")
    assert "dan is made" in html
    assert dan.grants.get().until.year == 2099
    html = done(ada, f"/people/{dan.pk}/password")
    link = re.search(r"http://testserver(/accounts/password/reset/key/[^<\s]+)", html)
    assert Browser().get(link[1], follow=True).status_code == 200
    html = done(ada, f"/people/{dan.pk}/password", shown="yes")
    dan.refresh_from_db()
    assert dan.check_password(re.search(r"<code>(\w{20})</code>", html)[1])
    again = done(ada, "/people/invite", username="dan", role="", place="all")
    assert "there is a &#x27;dan&#x27; already" in again.lower()


def test_giving_says_what_is_gained_before_it_happens(ada, bob, clients):
    where = {"role": "service_manager", "place": f"client:{clients[0].pk}", "until": ""}
    told = text(done(ada, f"/people/{bob.pk}/give", **where))
    assert "bob will be service manager at Ashdown Dental, from their next click on." in told
    gained = told.partition("New, at that place: ")[2]
    assert gained.startswith("Accept risks")
    assert "Change clients, sites, contacts, working hours and SLA" in gained
    assert "Work on tickets" not in told, "that they may already"
    assert bob.grants.count() == 1
    html = done(ada, f"/people/{bob.pk}/give", **where, sure="yes")
    assert "Take it back" in html
    assert bob.grants.count() == 2


def test_taking_says_what_is_lost_and_can_be_undone(ada, bob, clients):
    grant = bob.grants.get()
    told = text(page(ada, f"/people/{bob.pk}/roles/{grant.pk}/take"))
    assert "bob will no longer be technician at Ashdown Dental, from their next click on." in told
    assert "Loses, at that place: See devices" in told
    html = done(ada, f"/people/{bob.pk}/roles/{grant.pk}/take")
    assert not bob.grants.exists()
    back = re.search(r'<a href="(/people/\d+/give\?[^"]+)">Give it back</a>', html)
    form = page(ada, back[1].replace("&amp;", "&"))
    assert '<option value="technician" selected>' in form
    assert f'<option value="client:{clients[0].pk}" selected>' in form


def test_what_was_done_is_told_on_the_page_and_in_the_evidence(ada, bob, clients):
    where = {"role": "on_call", "place": f"client:{clients[0].pk}", "until": "", "sure": "yes"}
    done(ada, f"/people/{bob.pk}/give", **where)
    told = "role (bob) made by ada: given by ada, place Ashdown Dental, role on-call"
    assert told in text(page(ada, "/evidence/"))
    own = Person.objects.get(username="ada")
    assert told in text(page(ada, f"/people/{own.pk}/"))
    assert told not in text(page(ada, f"/people/{bob.pk}/")), "ada did it, not bob"


def test_switching_off_and_on(ada, bob):
    other = browser_of(bob)
    assert other.get("/").status_code == 200
    told = text(page(ada, f"/people/{bob.pk}/off"))
    assert "1 open session" in told
    assert "1 API token of theirs opens nothing" in told
    assert "Switch on again" in done(ada, f"/people/{bob.pk}/off")
    assert other.get("/").status_code == 302
    assert "Switched off: may nothing" in text(page(ada, f"/people/{bob.pk}/"))
    done(ada, f"/people/{bob.pk}/on")
    assert Person.objects.get(pk=bob.pk).is_active


def test_open_tickets_are_handed_over_in_the_same_step(ada, fleet):
    from forestall.server.tickets.models import Ticket

    ticket = (
        Ticket.objects.visible_to(SYSTEM).select_related("client").exclude(state__in=["resolved", "closed"]).first()
    )
    bob = person_create(username="bob", password=fleets.PASSWORD, role=Role.TECHNICIAN, client=ticket.client)
    Ticket.objects.visible_to(SYSTEM).filter(pk=ticket.pk).update(owner=bob)
    told = page(proven(browser_of(fleet.person)), f"/people/{bob.pk}/off")
    assert f'<a href="/tickets/{ticket.number}/">' in told
    assert '<option value="ada">' in told
    done(proven(browser_of(fleet.person)), f"/people/{bob.pk}/off", successor="ada")
    ticket.refresh_from_db()
    assert ticket.owner == fleet.person


def test_changes_ask_first_who_sits_there(house, bob):
    stale = browser_of(Person.objects.filter(username="ada").first() or fleets.owner())
    grant = bob.grants.get()
    for address in ("/people/invite", f"/people/{bob.pk}/off", f"/people/{bob.pk}/roles/{grant.pk}/take", "/roles/new"):
        answer = stale.get(address)
        assert answer.status_code == 302, address
        assert answer["Location"].startswith("/accounts/reauthenticate/"), address
    stale.post(f"/people/{bob.pk}/roles/{grant.pk}/take")
    stale.post(f"/people/{bob.pk}/end-sessions")
    stale.post("/roles/technician/factor", {"asked": "yes"})
    assert bob.grants.exists()
    assert stale.get(f"/people/{bob.pk}/").status_code == 200


def test_who_minds_one_client_gives_what_they_hold_there_and_no_more(mia, bob, clients):
    form = page(mia, f"/people/{bob.pk}/give")
    assert 'value="owner"' not in form
    assert "Everywhere" not in form
    assert str(clients[1].pk) not in form
    refused = done(mia, f"/people/{bob.pk}/give", role="owner", place=f"client:{clients[0].pk}", until="")
    assert "Select a valid choice" in refused
    fine = done(mia, f"/people/{bob.pk}/give", role="on_call", place=f"client:{clients[0].pk}", until="", sure="yes")
    assert "from their next click on" in fine
    manager = Grant.objects.create(person=bob, role=Role.SERVICE_MANAGER, client=clients[0])
    refused = done(mia, f"/people/{bob.pk}/roles/{manager.pk}/take")
    assert "That exceeds what you may" in refused
    assert "not yours to change" in page(mia, f"/people/{bob.pk}/")
    assert "That exceeds what you may" in done(mia, f"/people/{bob.pk}/off")
    assert mia.get("/roles/new").status_code == 403


def test_foreign_people_and_nobody_are_the_same_page(mia, bob, clients):
    eve = person_create(username="quentin", password=fleets.PASSWORD, role=Role.TECHNICIAN, client=clients[1])
    grant = eve.grants.get()
    for there in ("", "give", "change", "off", "on", "password", "reset-factors"):
        first, second = mia.get(f"/people/{eve.pk}/{there}"), mia.get(f"/people/987654321/{there}")
        assert first.status_code == second.status_code == 404, there
        assert first.content == second.content, there
    foreign = mia.get(f"/people/{bob.pk}/roles/{grant.pk}/take")
    assert foreign.content == mia.get(f"/people/{bob.pk}/roles/987654321/take").content
    assert "quentin" not in page(mia, "/people/")
    assert "quentin" not in mia.get("/people/review.csv").content.decode()
    assert mia.get(f"/people/{bob.pk}/why?permission=ticket.work&place=client:{clients[1].pk}").status_code == 404


def test_a_clients_own_person_reaches_none_of_it(clients):
    carol = person_create(username="carol", password=fleets.PASSWORD, role=Role.OWNER)
    Person.objects.filter(pk=carol.pk).update(home_client=clients[0])
    browser = proven(browser_of(carol))
    for address in (
        "/people/",
        f"/people/{carol.pk}/",
        "/people/invite",
        "/roles/",
        "/roles/new",
        "/people/review.csv",
    ):
        assert browser.get(address).status_code in {403, 404}, address


def test_people_are_found_by_search(ada, mia, bob, clients):
    person_create(username="quentin", password=fleets.PASSWORD, role=Role.TECHNICIAN, client=clients[1])
    assert f'href="/people/{bob.pk}/"' in page(ada, "/search?q=bob")
    assert "Invite somebody" in page(ada, "/search?q=invite")
    assert "/people/" not in text(page(mia, "/search?q=quentin"))


def test_why(ada, bob, clients):
    address = f"/people/{bob.pk}/why?permission=ticket.work&place="
    told = text(page(ada, f"{address}client:{clients[0].pk}"))
    assert "bob may do ticket.work at Ashdown Dental: technician (Ashdown Dental) gives it. (Work on tickets" in told
    assert "no grant gives it there" in text(page(ada, f"{address}client:{clients[1].pk}"))
    for nonsense in ("", "client:x", "all"):
        assert ada.get(address + nonsense).status_code == 404, nonsense


def test_a_role_of_ones_own(ada, bob, clients):
    done(ada, "/roles/new", name="Night watch", description="Looks at night.", may="ticket.view")
    role = CustomRole.objects.get(name="Night watch")
    Grant.objects.create(person=bob, custom=role, client=clients[0])
    assert "bob: Night watch at Ashdown Dental" in page(ada, f"/roles/{role.pk}/change")
    ada.post(
        f"/roles/{role.pk}/change", {"name": "Night watch", "description": "", "may": ["ticket.view", "device.view"]}
    )
    role.refresh_from_db()
    assert role.permissions == ["device.view", "ticket.view"]
    mixed = ada.post(f"/roles/{role.pk}/change", {"name": "Night watch", "may": ["ticket.view", "portal.view"]})
    assert "cannot be in a role of staff" in mixed.content.decode()
    assert "held by bob" in done(ada, f"/roles/{role.pk}/delete")
    bob.grants.filter(custom=role).delete()
    done(ada, f"/roles/{role.pk}/delete")
    assert not CustomRole.objects.filter(pk=role.pk).exists()
    assert ada.get("/roles/technician/change").status_code == 404


def test_a_second_factor_is_asked_of_a_role_and_binds_the_next_click(ada, bob):
    other = browser_of(bob)
    assert other.get("/devices/").status_code == 200
    assert "reaches nothing before they have a second factor" in done(ada, "/roles/technician/factor", asked="yes")
    assert other.get("/devices/").status_code == 302
    done(ada, "/roles/technician/factor", asked="no")
    assert other.get("/devices/").status_code == 200


def test_the_list_costs_the_same_however_many_there_are(ada, clients, django_assert_max_num_queries):
    for number in range(40):
        person_create(username=f"p{number:02}", password="x", role=Role.TECHNICIAN, client=clients[number % 3])
    with django_assert_max_num_queries(30):
        page(ada, "/people/")
