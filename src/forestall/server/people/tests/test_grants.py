"""Ada owns the house; Mia manages people at the bakery alone; Bob works there; Carol is the bakery's own person."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from forestall.server.evidence.models import Entry
from forestall.server.people import queries
from forestall.server.people.custom_roles import policy_set, role_change, role_create, role_delete, role_named
from forestall.server.people.grants import grant_change, grant_give, grant_take
from forestall.server.people.models import ApiToken, Client, CustomRole, Grant, Person
from forestall.server.people.persons import (
    FirstGrant,
    factors_reset,
    password_link,
    password_show,
    person_activate,
    person_change,
    person_deactivate,
    person_invite,
    sessions_end,
    token_revoke,
)
from forestall.server.people.queries import explain, scope_of, token_row
from forestall.server.people.record import Act, UnrecordedError, act_done, act_record
from forestall.server.people.roles import Role
from forestall.server.people.rules import PeopleError, exceeding, within
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.server.people.services import client_create, person_create, site_create, token_create

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SYSTEM = Scope.system("test")
LATER = NOW + timedelta(days=7)


@pytest.fixture
def bakery(db) -> Client:
    client = client_create(name="Bakery", timezone="Europe/Berlin", country="DE")
    site_create(client=client, name="Shop")
    site_create(client=client, name="Mill")
    return client


@pytest.fixture
def clinic(db) -> Client:
    client = client_create(name="Clinic", timezone="Europe/London", country="GB")
    site_create(client=client, name="Ward")
    return client


@pytest.fixture
def ada(bakery, clinic) -> Person:
    return person_create(username="ada", password="a long password", role=Role.OWNER)


@pytest.fixture
def mia(ada, bakery) -> Person:
    """Everything that a technician may, and the bakery's people."""
    person = person_create(username="mia", password="a long password", role=Role.TECHNICIAN, client=bakery)
    minders = CustomRole.objects.create(name="Minder", permissions=["people.change", "people.view"])
    Grant.objects.create(person=person, custom=minders, client=bakery)
    return person


@pytest.fixture
def bob(bakery) -> Person:
    return person_create(username="bob", password="a long password", role=Role.AUDITOR, client=bakery)


def scope(person: Person, now=NOW) -> Scope:
    person.refresh_from_db()
    return scope_of(person, now=now)


def give(giver: Person, person: Person, role=Role.TECHNICIAN, **more) -> Grant:
    return grant_give(person=person, role=role, scope=scope(giver), now=NOW, **more)


def told(client: Client, kind: str = "grant:changed") -> list[dict]:
    entries = Entry.objects.visible_to(SYSTEM).filter(client=client, kind=kind).order_by("index")
    return [entry.payload for entry in entries]


# --- giving and taking ------------------------------------------------------------------------------------------


def test_a_role_counts_from_the_next_request_on_and_is_on_the_clients_record(ada, bob, bakery, clinic):
    shop = bakery.sites.get(name="Shop")
    assert not scope(bob).may(Permission.TICKET_WORK, on=shop)
    grant = give(ada, bob, site=shop, until=LATER)
    assert scope(bob).may(Permission.TICKET_WORK, on=shop)
    assert not scope(bob).may(Permission.TICKET_WORK, on=bakery)
    assert not scope(bob, LATER).may(Permission.TICKET_WORK, on=shop)
    grant_take(grant=grant, scope=scope(ada), now=NOW)
    assert not scope(bob).may(Permission.TICKET_WORK, on=shop)

    words = {"role": "technician", "place": "Bakery, Shop", "until": "2026-11-30T09:00:00+00:00", "given_by": "ada"}
    made, removed = told(bakery)
    assert made == {"what": "role", "name": "bob", "act": "made", "by": "ada", "before": {}, "after": words}
    assert (removed["act"], removed["before"], removed["after"]) == ("removed", words, {})
    assert told(clinic) == [], "it does not concern the clinic"
    entry = Entry.objects.visible_to(SYSTEM).filter(client=bakery).first()
    assert entry.site_id == shop.pk


def test_a_role_everywhere_is_on_every_clients_record(ada, bob, bakery, clinic):
    gone = client_create(name="Gone", timezone="UTC")
    Client.objects.visible_to(SYSTEM).filter(pk=gone.pk).update(removed_at=NOW, removed_by="ada", removed_reason="left")
    give(ada, bob)
    for client in (bakery, clinic):
        assert [one["after"]["place"] for one in told(client)] == ["everywhere"]
    assert told(gone) == []


def test_nobody_gives_what_they_do_not_hold(mia, bob, bakery, clinic):
    give(mia, bob, client=bakery)
    for role, place, why in (
        (Role.SERVICE_MANAGER, {"client": bakery}, r"mia may not: baseline\.change at Bakery"),
        (Role.OWNER, {"client": bakery}, "at Bakery"),
        (Role.TECHNICIAN, {"client": clinic}, r"people\.change at Clinic"),
        (Role.TECHNICIAN, {}, r"people\.change at everywhere"),
        (Role.CLIENT_USER, {"client": bakery}, r"portal\."),
    ):
        with pytest.raises(NotAllowedError, match=why):
            give(mia, bob, role=role, **place)
    assert {queries.grant_where(grant) for grant in bob.grants.all()} == {"Bakery"}
    assert len(told(bakery)) == 1, "what was refused left nothing"


def test_a_token_gives_no_more_than_it_holds_itself(ada, bob, bakery):
    text = token_create(person=ada, name="hr", permissions=[Permission.PEOPLE_CHANGE, Permission.PEOPLE_VIEW])
    cut = scope_of(ada, token=token_row(token=text, now=NOW), now=NOW)
    with pytest.raises(NotAllowedError):
        grant_give(person=bob, role=Role.TECHNICIAN, client=bakery, scope=cut, now=NOW)


def test_nobody_gives_to_themselves(ada, mia, bakery):
    shop = bakery.sites.get(name="Shop")
    with pytest.raises(PeopleError, match="mia cannot give roles to themselves"):
        give(mia, mia, role=Role.ON_CALL, site=shop)
    with pytest.raises(PeopleError, match="ada cannot give roles to themselves"):
        give(ada, ada, role=Role.TECHNICIAN)


def test_what_ends_cannot_be_passed_on_for_longer(ada, mia, bob, bakery):
    shop = bakery.sites.get(name="Shop")
    mia.grants.filter(role=Role.TECHNICIAN).update(until=LATER)
    for until in (None, LATER + timedelta(seconds=1)):
        with pytest.raises(PeopleError, match="for a shorter time than that"):
            give(mia, bob, site=shop, until=until)
    give(mia, bob, site=shop, until=LATER)


def test_nobody_takes_what_they_do_not_hold(ada, mia, bob, bakery, clinic):
    above = give(ada, bob, role=Role.SERVICE_MANAGER, client=bakery)
    elsewhere = give(ada, bob, client=clinic)
    with pytest.raises(NotAllowedError):
        grant_take(grant=above, scope=scope(mia), now=NOW)
    with pytest.raises(Grant.DoesNotExist):
        grant_take(grant=elsewhere, scope=scope(mia), now=NOW)
    grant_take(grant=bob.grants.get(role=Role.AUDITOR), scope=scope(mia), now=NOW)


def test_a_role_is_given_once_a_place_and_again_when_it_has_ended(ada, bob, bakery):
    give(ada, bob, client=bakery, until=LATER)
    with pytest.raises(PeopleError, match="bob is technician at Bakery already"):
        give(ada, bob, client=bakery)
    grant_give(person=bob, role=Role.TECHNICIAN, client=bakery, scope=scope(ada), now=LATER)
    assert bob.grants.get(role=Role.TECHNICIAN).until is None


def test_an_end_can_be_moved(ada, bob, bakery):
    grant = give(ada, bob, client=bakery)
    grant_change(grant=grant, until=LATER, scope=scope(ada), now=NOW)
    assert not scope(bob, LATER).may(Permission.TICKET_WORK)
    assert told(bakery)[-1]["act"] == "changed"
    with pytest.raises(PeopleError, match="is past"):
        grant_change(grant=grant, until=NOW, scope=scope(ada), now=NOW)


def test_the_last_owner_cannot_go(ada, bob, bakery):
    own = ada.grants.get()
    with pytest.raises(PeopleError, match="last owner"):
        grant_take(grant=own, scope=scope(ada), now=NOW)
    with pytest.raises(PeopleError, match="last owner"):
        grant_change(grant=own, until=LATER, scope=scope(ada), now=NOW)
    give(ada, bob, role=Role.OWNER, until=LATER)
    with pytest.raises(PeopleError, match="last owner"):
        grant_take(grant=own, scope=scope(ada), now=NOW), "an owner for a week is none for good"
    grant_change(grant=bob.grants.get(role=Role.OWNER), until=None, scope=scope(ada), now=NOW)
    with pytest.raises(PeopleError, match="switch themselves off"):
        person_deactivate(person=ada, scope=scope(ada), now=NOW)
    person_deactivate(person=ada, scope=scope(bob), now=NOW)
    with pytest.raises(PeopleError, match="last owner"):
        grant_take(grant=bob.grants.get(role=Role.OWNER), scope=scope(bob), now=NOW)


def test_staff_roles_and_portal_roles_never_meet(ada, bob, bakery, clinic):
    carol = person_invite(
        username="carol",
        home_client=bakery,
        grants=[FirstGrant(Role.CLIENT_MANAGER, client=bakery)],
        scope=scope(ada),
        now=NOW,
    )
    for role, place in ((Role.TECHNICIAN, bakery), (Role.OWNER, bakery), (Role.CLIENT_USER, clinic)):
        with pytest.raises(PeopleError):
            give(ada, carol, role=role, client=place)
    with pytest.raises(PeopleError, match="bob has no home client"):
        give(ada, bob, role=Role.CLIENT_USER, client=bakery)


def test_a_clients_own_person_reaches_no_staff_route_whatever_a_row_may_say(bakery, clinic):
    """The second wall: rows written past the services."""
    carol = person_create(username="carol", password="a long password", role=Role.OWNER)
    Grant.objects.create(person=carol, role=Role.CLIENT_USER, client=clinic)
    Person.objects.filter(pk=carol.pk).update(home_client=bakery)
    may = scope(carol)
    assert all(permission.is_portal for permission in may.permissions)
    assert may.place().touched_clients == {bakery.pk}


# --- people -----------------------------------------------------------------------------------------------------


def test_somebody_is_invited_with_a_role_and_chooses_the_password_by_a_link(ada, bakery, client):
    dan = person_invite(
        username="dan",
        display_name="Dan  Ames",
        email="dan@example.org",
        grants=[FirstGrant(Role.TECHNICIAN, client=bakery)],
        scope=scope(ada),
        now=NOW,
    )
    assert (dan.display_name, dan.has_usable_password()) == ("Dan Ames", False)
    assert scope(dan).may(Permission.TICKET_WORK, on=bakery)
    path = password_link(person=dan, scope=scope(ada), now=NOW)
    page = client.get(path, follow=True)
    assert page.status_code == 200
    new = {"password1": "grey lorry at noon", "password2": "grey lorry at noon"}
    assert client.post(page.request["PATH_INFO"], new).status_code == 302
    dan.refresh_from_db()
    assert dan.check_password("grey lorry at noon")
    again = client.__class__().get(path, follow=True)
    assert b"password1" not in again.content, "the link is good once"


def test_a_password_can_be_shown_once(ada, bob, bakery):
    password = password_show(person=bob, scope=scope(ada), now=NOW)
    bob.refresh_from_db()
    assert bob.check_password(password)
    assert password not in str(told(bakery, "token:changed"))
    with pytest.raises(PeopleError, match="your own password"):
        password_show(person=ada, scope=scope(ada), now=NOW)


@pytest.mark.parametrize("name", ["", "a b", "worker", "Worker", "ada", "ADA", "аda", "x" * 81, "-rf", "<script>"])
def test_a_user_name_is_plain_and_ones_own(ada, bakery, name):
    with pytest.raises(PeopleError, match="username"):
        person_invite(username=name, grants=[FirstGrant(Role.AUDITOR)], scope=scope(ada), now=NOW)


def test_nobody_is_made_without_a_role_by_accident(ada, mia, bakery):
    with pytest.raises(PeopleError, match="say without_grant"):
        person_invite(username="dan", grants=[], scope=scope(ada), now=NOW)
    person_invite(username="dan", grants=[], without_grant=True, scope=scope(ada), now=NOW)
    with pytest.raises(NotAllowedError):
        person_invite(username="eve", grants=[], without_grant=True, scope=scope(mia), now=NOW)


def test_an_invitation_that_exceeds_leaves_nobody_behind(mia, bakery):
    with pytest.raises(NotAllowedError):
        person_invite(username="dan", grants=[FirstGrant(Role.OWNER, client=bakery)], scope=scope(mia), now=NOW)
    assert not Person.objects.filter(username="dan").exists()


def test_nobody_changes_a_person_who_may_more_than_they_do(ada, mia, bob, bakery, clinic):
    """Who sets another's password, or the address that resets it, holds their rights."""
    person_change(person=bob, email="bob@example.org", scope=scope(mia), now=NOW)
    give(ada, bob, role=Role.AUDITOR, client=clinic)
    acts = (
        lambda: person_change(person=bob, email="mia@example.org", scope=scope(mia), now=NOW),
        lambda: password_show(person=bob, scope=scope(mia), now=NOW),
        lambda: password_link(person=bob, scope=scope(mia), now=NOW),
        lambda: factors_reset(person=bob, scope=scope(mia), now=NOW),
        lambda: person_deactivate(person=bob, scope=scope(mia), now=NOW),
    )
    for act in acts:
        with pytest.raises(NotAllowedError):
            act()
    with pytest.raises(Person.DoesNotExist):
        person_change(person=ada, email="mia@example.org", scope=scope(mia), now=NOW)
    bob.refresh_from_db()
    assert (bob.email, bob.is_active) == ("bob@example.org", True)


def test_switched_off_means_at_once_and_the_roles_wait(ada, bob, bakery):
    text = token_create(person=bob, name="script")
    person_deactivate(person=bob, scope=scope(ada), now=NOW)
    assert scope(bob).permissions == frozenset()
    assert token_row(token=text, now=NOW) is None
    person_activate(person=bob, scope=scope(ada), now=NOW)
    assert scope(bob).may(Permission.EVIDENCE_VIEW, on=bakery)
    assert [one["after"] for one in told(bakery)] == [{"active": False}, {"active": True}]


def test_a_switched_off_owner_is_not_switched_on_by_somebody_smaller(ada, mia, bob, bakery):
    give(ada, bob, role=Role.SERVICE_MANAGER, client=bakery)
    person_deactivate(person=bob, scope=scope(ada), now=NOW)
    with pytest.raises(NotAllowedError):
        person_activate(person=bob, scope=scope(mia), now=NOW)


def test_a_token_is_revoked_for_good(ada, bob, bakery):
    text = token_create(person=bob, name="script")
    token = ApiToken.objects.get(person=bob)
    token_revoke(token=token, scope=scope(ada), now=NOW)
    assert token_row(token=text, now=NOW) is None
    token_revoke(token=token, scope=scope(ada), now=LATER)
    token.refresh_from_db()
    assert token.revoked_at == NOW
    assert [one["before"] for one in told(bakery, "token:changed")] == [{"token": "script"}]


def test_without_a_log_that_listens_nothing_is_changed(ada, bob, bakery, monkeypatch):
    monkeypatch.setattr(act_done, "receivers", [])
    with pytest.raises(UnrecordedError):
        give(ada, bob, client=bakery)
    assert not bob.grants.filter(role=Role.TECHNICIAN).exists()


@pytest.mark.django_db(transaction=True)
def test_a_record_needs_the_transaction_of_its_act():
    with pytest.raises(UnrecordedError, match="in the transaction"):
        act_record(
            clients=[], kind=Act.GRANT_CHANGED, what="role", name="bob", before=None, after=None, by="ada", now=NOW
        )


def test_what_changes_nothing_leaves_nothing(ada, bob, bakery):
    person_change(person=bob, display_name="", email="", scope=scope(ada), now=NOW)
    person_activate(person=bob, scope=scope(ada), now=NOW)
    person_deactivate(person=bob, scope=scope(ada), now=NOW)
    person_deactivate(person=bob, scope=scope(ada), now=NOW)
    assert [one["after"] for one in told(bakery)] == [{"active": False}]
    person_activate(person=bob, scope=scope(ada), now=NOW)
    role = role_create(name="Night watch", permissions=[Permission.TICKET_VIEW], scope=scope(ada), now=NOW)
    give(ada, bob, role=role, client=bakery)
    before = len(told(bakery))
    role_change(role=role, description="Looks.", scope=scope(ada), now=NOW)
    assert len(told(bakery)) == before


def test_what_cannot_be_is_refused_with_its_value(ada, bob, bakery, clinic):
    ward = clinic.sites.get()
    with pytest.raises(PeopleError, match="Ward is no site of Bakery"):
        give(ada, bob, client=bakery, site=ward)
    with pytest.raises(PeopleError, match="email: Enter a valid email address"):
        person_change(person=bob, email="not an address", scope=scope(ada), now=NOW)
    with pytest.raises(PeopleError, match="your own second factors"):
        factors_reset(person=ada, scope=scope(ada), now=NOW)
    person_deactivate(person=bob, scope=scope(ada), now=NOW)
    with pytest.raises(PeopleError, match="bob is switched off"):
        password_link(person=bob, scope=scope(ada), now=NOW)


def test_lost_factors_are_taken_away_and_sessions_ended(ada, mia, bob, bakery, client):
    client.force_login(bob)
    assert client.get("/reports/").status_code == 200
    with pytest.raises(Person.DoesNotExist):
        sessions_end(person=ada, scope=scope(mia), now=NOW)
    sessions_end(person=bob, scope=scope(ada), now=NOW)
    assert client.get("/reports/").status_code == 302
    assert factors_reset(person=bob, scope=scope(ada), now=NOW) == 0
    assert told(bakery)[-1]["what"] == "second factor"


def test_the_product_itself_gives_without_end(bob, bakery, clinic):
    grant_give(person=bob, role=Role.OWNER, scope=SYSTEM, now=NOW)
    assert scope(bob).everywhere(Permission.PEOPLE_CHANGE)


# --- roles of one's own -----------------------------------------------------------------------------------------


def test_a_role_of_ones_own_is_made_given_changed_and_deleted(ada, bob, bakery):
    role = role_create(
        name="Night  watch", permissions=[Permission.TICKET_VIEW, Permission.TICKET_WORK], scope=scope(ada), now=NOW
    )
    assert role.name == "Night watch"
    assert role_named("night watch", scope=scope(ada)) == role == role_named(str(role.pk), scope=scope(ada))
    grant = give(ada, bob, role=role, client=bakery)
    assert scope(bob).may(Permission.TICKET_WORK, on=bakery)
    role_change(role=role, permissions=[Permission.TICKET_VIEW], scope=scope(ada), now=NOW)
    assert not scope(bob).may(Permission.TICKET_WORK, on=bakery), "at the next request"
    assert told(bakery)[-1]["after"] == {"name": "Night watch", "permissions": [], "held_by": ["bob"]}
    assert told(bakery)[-1]["before"]["permissions"] == ["ticket.work"]
    with pytest.raises(PeopleError, match="Night watch is held by bob"):
        role_delete(role=role, scope=scope(ada))
    with pytest.raises(PeopleError, match="on the other side"):
        role_change(role=role, permissions=[Permission.PORTAL_VIEW], scope=scope(ada), now=NOW)
    grant_take(grant=grant, scope=scope(ada), now=NOW)
    role_delete(role=role, scope=scope(ada))
    assert not CustomRole.objects.filter(pk=role.pk).exists()


def test_roles_belong_to_the_installation(mia, bakery):
    """Mia manages people at the bakery: a role counts wherever it is held, so she makes and changes none."""
    role = CustomRole.objects.get(name="Minder")
    for act in (
        lambda: role_create(name="Mine", permissions=[Permission.TICKET_VIEW], scope=scope(mia), now=NOW),
        lambda: role_change(role=role, permissions=[Permission.TICKET_VIEW], scope=scope(mia), now=NOW),
        lambda: role_delete(role=role, scope=scope(mia)),
    ):
        with pytest.raises(NotAllowedError):
            act()


@pytest.mark.parametrize("name", ["", "Owner", "on call", "On-call", "17", "night WATCH", "x" * 61])
def test_a_roles_name_means_one_role(ada, name):
    role_create(name="Night watch", permissions=[Permission.TICKET_VIEW], scope=scope(ada), now=NOW)
    with pytest.raises(PeopleError, match="name"):
        role_create(name=name, permissions=[Permission.TICKET_VIEW], scope=scope(ada), now=NOW)


def test_a_second_factor_is_asked_of_a_role(ada, mia, bob, bakery, clinic):
    assert not queries.mfa_is_required(person=bob)
    policy_set(role=Role.AUDITOR, mfa_required=True, scope=scope(ada), now=NOW)
    policy_set(role=Role.AUDITOR, mfa_required=True, scope=scope(ada), now=NOW)
    assert queries.mfa_is_required(person=bob)
    assert [one["after"] for one in told(bakery)] == [{"mfa_required": True}], "once"
    assert told(clinic) == [], "nobody audits there"
    with pytest.raises(NotAllowedError):
        policy_set(role=Role.AUDITOR, mfa_required=False, scope=scope(mia), now=NOW)


# --- why --------------------------------------------------------------------------------------------------------


def test_why_somebody_may_or_may_not(ada, mia, bob, bakery, clinic):
    shop, mill = bakery.sites.get(name="Shop"), bakery.sites.get(name="Mill")
    give(ada, bob, site=shop)

    def why(person, permission, client, site=None, by=ada, now=NOW):
        return explain(person=person, permission=permission, client=client, site=site, scope=scope(by), now=now)

    answer = why(bob, Permission.TICKET_WORK, bakery, shop)
    assert answer.may
    assert answer.why == "bob may do ticket.work at Bakery, Shop: technician (Bakery, Shop) gives it."
    assert [(one.gives, one.why) for one in answer.reasons] == [
        (True, "given by ada"),
        (False, "auditor does not include it"),
    ]
    answer = why(bob, Permission.TICKET_WORK, bakery, mill)
    assert not answer.may
    assert "no grant gives it there" in answer.why
    assert answer.reasons[1].why == "counts at Bakery, Shop only"
    bob.grants.filter(role=Role.TECHNICIAN).update(until=NOW)
    assert "ended on 2026-11-23 09:00 UTC" in str(why(bob, Permission.TICKET_WORK, bakery, shop).reasons)

    bob = person_deactivate(person=bob, scope=scope(ada), now=NOW)
    assert why(bob, Permission.EVIDENCE_VIEW, bakery).why == "bob is switched off and may do nothing."


def test_a_staff_role_of_a_clients_own_person_is_told_for_what_it_is(ada, bakery):
    carol = person_create(username="carol", password="a long password", role=Role.TECHNICIAN, client=bakery)
    Person.objects.filter(pk=carol.pk).update(home_client=bakery)
    carol.refresh_from_db()
    answer = explain(
        person=carol, permission=Permission.TICKET_WORK, client=bakery, site=None, scope=scope(ada), now=NOW
    )
    assert not answer.may
    assert answer.why == "carol is a client's own person: a role of staff gives them nothing."
    holders = queries.holders(permission=Permission.TICKET_WORK, client=bakery.pk, now=NOW)
    assert [one.username for one in holders] == ["ada"]


def test_what_is_given_elsewhere_is_not_told(ada, mia, bob, bakery, clinic):
    """Mia sees people at the bakery: that Bob also works for the clinic is none of her business."""
    give(ada, bob, client=clinic)
    answer = explain(person=bob, permission=Permission.TICKET_WORK, client=bakery, site=None, scope=scope(mia), now=NOW)
    assert not answer.may
    assert "Clinic" not in str([queries.grant_where(one.grant) for one in answer.reasons])
    assert [queries.grant_where(one) for one in queries.grants(scope=scope(mia)).filter(person=bob)] == ["Bakery"]
    assert not queries.sees_whole(bob, scope=scope(mia), now=NOW)
    assert queries.sees_whole(bob, scope=scope(bob), now=NOW)


def test_who_may_do_something_somewhere(ada, mia, bob, bakery, clinic):
    shop = bakery.sites.get(name="Shop")

    def names(permission, client, site=None):
        return [one.username for one in queries.holders(permission=permission, client=client.pk, site=site, now=NOW)]

    give(ada, bob, role=Role.ON_CALL, site=shop)
    assert names(Permission.TICKET_WORK, bakery, shop.pk) == ["ada", "bob", "mia"]
    assert names(Permission.TICKET_WORK, bakery) == ["ada", "mia"]
    assert names(Permission.TICKET_WORK, clinic) == ["ada"]


def test_v3_nobody_rises_through_200_random_acts(ada, mia, bob, bakery, clinic):
    """Whoever gives, moves and takes at random: what anybody gained, the giver held then and there."""
    chance = random.Random(17)
    dora = person_create(username="dora", password="a long password", role=Role.SERVICE_MANAGER)
    Grant.objects.create(person=dora, custom=CustomRole.objects.get(name="Minder"))
    people, done, refused = [ada, mia, bob, dora], 0, 0
    places = [{}, {"client": bakery}, {"client": clinic}]
    places += [{"site": site} for client in (bakery, clinic) for site in client.sites.all()]
    for _ in range(200):
        giver, receiver = chance.choice(people), chance.choice(people)
        before, held = scope(receiver), scope(giver)
        theirs = list(queries.grants(scope=held, now=NOW).filter(person=receiver))
        until = chance.choice([None, None, LATER])
        try:
            with transaction.atomic():
                act = chance.choice(["give", "give", "take", "move"])
                if act == "give":
                    give(giver, receiver, role=chance.choice(list(Role)), until=until, **chance.choice(places))
                elif theirs and act == "take":
                    grant_take(grant=chance.choice(theirs), scope=held, now=NOW)
                elif theirs:
                    grant_change(grant=chance.choice(theirs), until=until, scope=held, now=NOW)
        except (PeopleError, NotAllowedError):
            refused += 1
            continue
        done += 1
        gained = {one: place for one, place in scope(receiver).places.items() if not within(place, before.place(one))}
        assert not exceeding(powers=gained, giver=held), (giver, act, receiver)
        assert queries.owners(now=NOW).exists()
    assert min(done, refused) > 20, "both happened often"
