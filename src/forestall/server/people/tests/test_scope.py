"""Alice works for every client, Bob for one site, Charlie for another client; each sees that and nothing else."""

from __future__ import annotations

import inspect
import pkgutil
from datetime import UTC, datetime, timedelta
from importlib import import_module
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import forestall.server
from forestall.server.people.models import Client, CustomRole, Grant, Site
from forestall.server.people.queries import clients, person_of_token, scope_of, sites, token_row
from forestall.server.people.roles import Role
from forestall.server.people.scope import NotAllowedError, Permission, Place, Scope, UnscopedQueryError
from forestall.server.people.services import client_create, client_place, person_create, site_create, token_create

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


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


def test_each_person_sees_their_own_places_only(bakery, clinic):
    alice = scope_of(person_create(username="alice", password="a long password", role=Role.OWNER))
    shop = sites(scope=alice).get(name="Shop")
    bob = scope_of(person_create(username="bob", password="a long password", role=Role.TECHNICIAN, site=shop))
    charlie = scope_of(person_create(username="charlie", password="a long password", role=Role.AUDITOR, client=clinic))

    assert {site.name for site in sites(scope=alice)} == {"Shop", "Mill", "Ward"}
    assert {site.name for site in sites(scope=bob)} == {"Shop"}
    assert {client.name for client in clients(scope=bob)} == {"Bakery"}
    assert {site.name for site in sites(scope=charlie)} == {"Ward"}
    assert not charlie.may(Permission.TICKET_WORK)
    with pytest.raises(NotAllowedError, match=r"charlie may not: ticket\.work"):
        charlie.require(Permission.TICKET_WORK)


def test_a_person_who_was_deactivated_may_nothing_from_the_next_request_on(bakery):
    person = person_create(username="alice", password="a long password", role=Role.OWNER)
    assert clients(scope=scope_of(person)).exists()
    person.is_active = False
    person.save()
    scope = scope_of(person)
    assert not clients(scope=scope).exists()
    assert scope.permissions == frozenset()


def test_two_grants_add_up(bakery, clinic):
    person = person_create(username="dora", password="a long password", role=Role.AUDITOR, client=clinic)
    shop = bakery.sites.get(name="Shop")
    Grant.objects.create(person=person, role=Role.TECHNICIAN, client=bakery, site=shop)
    assert {site.name for site in sites(scope=scope_of(person))} == {"Shop", "Ward"}


def test_a_role_counts_at_its_own_place_alone(bakery, clinic):
    """Eve works for the bakery's shop and audits the clinic: she does not work for the clinic."""
    shop, ward = bakery.sites.get(name="Shop"), clinic.sites.get()
    eve = person_create(username="eve", password="a long password", role=Role.TECHNICIAN, site=shop)
    Grant.objects.create(person=eve, role=Role.AUDITOR, client=clinic)
    scope = scope_of(eve)
    assert scope.may(Permission.TICKET_WORK, on=shop)
    assert not scope.may(Permission.TICKET_WORK, on=ward)
    assert scope.may(Permission.EVIDENCE_VIEW, on=clinic)
    assert not scope.may(Permission.EVIDENCE_VIEW, on=bakery), "one site of it is not the bakery as a whole"
    with pytest.raises(NotAllowedError, match=r"eve may not: ticket\.work at Ward"):
        scope.require(Permission.TICKET_WORK, on=ward)
    with pytest.raises(NotAllowedError, match="the whole installation"):
        scope.require_everywhere(Permission.TICKET_VIEW)
    seen = {site.name for site in Site.objects.visible_to(scope, by=Permission.TICKET_WORK)}
    assert seen == {"Shop"}


def test_a_grant_ends_by_itself(bakery):
    person = person_create(username="temp", password="a long password", role=Role.TECHNICIAN, client=bakery)
    Grant.objects.filter(person=person).update(until=NOW)
    assert scope_of(person, now=NOW - timedelta(seconds=1)).may(Permission.DEVICE_VIEW)
    assert scope_of(person, now=NOW).place().is_empty


def test_a_role_of_ones_own_holds_what_was_chosen_for_it(bakery):
    role = CustomRole.objects.create(name="Night watch", permissions=["ticket.view", "ticket.work", "of.tomorrow"])
    person = person_create(username="nina", password="a long password", role=Role.AUDITOR, client=bakery)
    person.grants.all().delete()
    Grant.objects.create(person=person, custom=role, client=bakery)
    scope = scope_of(person)
    assert scope.permissions == {Permission.TICKET_VIEW, Permission.TICKET_WORK}
    role.permissions = ["ticket.view"]
    role.save()
    assert not scope_of(person).may(Permission.TICKET_WORK)


def test_a_token_never_exceeds_its_person(bakery, clinic):
    shop = bakery.sites.get(name="Shop")
    bob = person_create(username="bob", password="a long password", role=Role.TECHNICIAN, client=bakery)
    wide = {"permissions": list(Permission)}
    for limits, may, may_not in (
        ({}, (Permission.TICKET_WORK, bakery), (Permission.PEOPLE_CHANGE, bakery)),
        (wide, (Permission.TICKET_WORK, bakery), (Permission.PEOPLE_CHANGE, bakery)),
        ({"permissions": [Permission.TICKET_VIEW]}, (Permission.TICKET_VIEW, bakery), (Permission.TICKET_WORK, bakery)),
        ({"site": shop}, (Permission.TICKET_WORK, shop), (Permission.TICKET_WORK, bakery)),
        ({"client": bakery}, (Permission.TICKET_WORK, shop), (Permission.TICKET_WORK, clinic)),
    ):
        row = token_row(token=token_create(person=bob, name="script", **limits), now=NOW)
        scope = scope_of(bob, token=row)
        assert scope.may(may[0], on=may[1])
        assert not scope.may(may_not[0], on=may_not[1])
    elsewhere = token_row(token=token_create(person=bob, name="x", client=clinic), now=NOW)
    assert scope_of(bob, token=elsewhere).place().is_empty
    Grant.objects.filter(person=bob).update(role=Role.AUDITOR)
    assert not scope_of(bob, token=row).may(Permission.TICKET_WORK), "a change binds the next request"


IDS = [UUID(int=number) for number in range(1, 5)]
places = st.builds(
    Place,
    everywhere=st.booleans(),
    clients=st.frozensets(st.sampled_from(IDS[:2])),
    # Each site has one client, always the same.
    sites=st.frozensets(st.sampled_from(IDS)).map(lambda sites: {site: IDS[site.int % 2] for site in sites}),
)


@given(places, places, st.sampled_from(IDS), st.sampled_from([None, *IDS]))
def test_places_join_and_meet_like_the_sets_they_stand_for(one, other, client, site):
    if site is not None:
        client = IDS[site.int % 2]
    covers = [place.covers(client, site) for place in (one, other)]
    assert (one | other).covers(client, site) == any(covers)
    assert (one & other).covers(client, site) == all(covers)


@pytest.mark.parametrize(
    "run",
    [
        lambda: list(Site.objects.all()),
        lambda: Site.objects.count(),
        lambda: Site.objects.filter(name="Shop").exists(),
        lambda: Site.objects.get(name="Shop"),
        lambda: Site.objects.filter(name="Shop").update(name="Stolen"),
        lambda: Site.objects.filter(name="Shop").delete(),
        lambda: list(Site.objects.values_list("name", flat=True)),
        lambda: list(Site.objects.iterator()),
        lambda: Site.objects.aggregate(),
        lambda: Site.objects.first(),
        lambda: Site.objects.in_bulk(),
    ],
)
def test_a_query_without_a_scope_is_an_error(bakery, run):
    with pytest.raises(UnscopedQueryError, match="Site without a scope"):
        run()
    assert sites(scope=Scope.system("test")).filter(name="Shop").exists()


def test_what_hangs_on_a_visible_object_is_visible(bakery):
    assert {site.name for site in bakery.sites.all()} == {"Shop", "Mill"}


def test_a_token_opens_the_door_until_it_expires(bakery):
    person = person_create(username="alice", password="a long password", role=Role.OWNER)
    token = token_create(person=person, name="script", expires_at=NOW + timedelta(days=1))
    assert person_of_token(token=token, now=NOW) == person
    assert person_of_token(token=token, now=NOW + timedelta(days=1)) is None
    assert person_of_token(token=token + "x", now=NOW) is None


def test_a_client_is_placed_and_what_is_not_known_is_named(bakery):
    owner = scope_of(person_create(username="alice", password="a long password", role=Role.OWNER))
    placed = client_place(client=bakery, timezone="Europe/Berlin", country="DE", region="BY", scope=owner)
    assert (placed.country, placed.region) == ("DE", "BY")
    for place, complaint in (
        ({"timezone": "Mars/Base", "country": "", "region": ""}, "'Mars/Base' is not a known"),
        ({"timezone": "UTC", "country": "XX", "region": ""}, "country: no public holidays are known for 'XX'"),
        ({"timezone": "UTC", "country": "DE", "region": "ENG"}, "region: 'ENG' is no region of DE"),
    ):
        with pytest.raises(ValueError, match=complaint):
            client_place(client=bakery, scope=owner, **place)
    auditor = scope_of(person_create(username="dora", password="a long password", role=Role.AUDITOR))
    with pytest.raises(NotAllowedError):
        client_place(client=bakery, timezone="UTC", country="", region="", scope=auditor)


def test_a_wrong_time_zone_is_named(db):
    with pytest.raises(ValueError, match="'Europe/Atlantis' is not a known IANA time zone"):
        client_create(name="Bakery", timezone="Europe/Atlantis")


def test_every_query_function_takes_a_scope():
    """The rule of the house: a read names its scope. What stands here does not, and says why."""
    makes_it = "makes the scope, or comes before it"
    given = "is given an object that somebody was allowed to load"
    shared = "belongs to the installation, not to a client"
    named = "its caller names the client or the devices: the part of intake that serves just these"
    exempt = {
        "people.queries.scope_of": makes_it,
        "people.queries.person_of_token": makes_it,
        "people.queries.token_row": makes_it,
        "people.queries.mfa_is_required": makes_it,
        "people.queries.role_permissions": given,
        "people.queries.grant_place": given,
        "people.queries.grant_powers": given,
        "people.queries.grant_where": given,
        "people.queries.standing_of": given,
        "people.queries.standings": given,
        "people.queries.with_second_factor": given,
        "people.queries.owners": shared,
        "people.queries.roles_asking_for_factor": shared,
        "people.queries.holders": named,
        "calendar.queries.holidays_of": given,
        "calendar.queries.upcoming": given,
        "calendar.queries.window_rule": given,
        "calendar.queries.window_rules": given,
        "calendar.queries.kept_shut": given,
        "calendar.queries.blackout_rule": given,
        "checks.queries.override_values": given,
        "configuration.queries.overlap_of": given,
        "configuration.queries.results_of": given,
        "health.queries.csv_of": given,
        "health.queries.gaps": given,
        "inventory.queries.decode_document": given,
        "evidence.queries.inclusion": given,
        "runbooks.queries.devices_this_hour": given,
        "runbooks.queries.draft_difference": given,
        "runbooks.queries.steps_before": given,
        "runbooks.queries.undoable": given,
        "runbooks.queries.undone_by": given,
        "runbooks.queries.version_newest": shared,
        "runbooks.queries.order_content": given,
        "runbooks.queries.runbook_content": given,
        "tickets.queries.clock": given,
        "tickets.queries.clock_explain": given,
        "runbooks.queries.authority_is_installed": shared,
        "runbooks.queries.root_envelope": shared,
        "runbooks.queries.root_key_id": shared,
        "runbooks.queries.root_newest": shared,
        "evidence.queries.block_reader": named,
        "evidence.queries.checkpoint_latest": named,
        "evidence.queries.consistency": named,
        "evidence.queries.node_reader": named,
        "runbooks.queries.revoked_keys": shared,
        "runbooks.queries.deliveries_for": named,
        "runbooks.queries.reach_of": named,
        "vulnerabilities.queries.action_why": given,
        "vulnerabilities.queries.actions": given,
        "vulnerabilities.queries.counted": given,
        "vulnerabilities.queries.devices": given,
        "vulnerabilities.queries.is_kernel": given,
        "vulnerabilities.queries.narrowed": given,
        "vulnerabilities.queries.summary": given,
        "vulnerabilities.queries.vulnerabilities": given,
        "vulnerabilities.queries.why": given,
        "vulnerabilities.queries.feeds": shared,
        "vulnerabilities.queries.feeds_state": shared,
        "vulnerabilities.queries.names_of": shared,
        "vulnerabilities.queries.ranks": shared,
    }
    wrong, seen = [], set()
    for module in pkgutil.walk_packages(forestall.server.__path__, "forestall.server."):
        if module.name.rpartition(".")[2] != "queries":
            continue
        for name, function in inspect.getmembers(import_module(module.name), inspect.isfunction):
            if function.__module__ != module.name or name.startswith("_"):
                continue
            full = f"{module.name.removeprefix('forestall.server.')}.{name}"
            seen.add(full)
            parameter = inspect.signature(function).parameters.get("scope")
            good = parameter is not None and parameter.default is inspect.Parameter.empty
            if not good and full not in exempt:
                wrong.append(full)
    assert wrong == []
    assert set(exempt) <= seen, "exempt, and no longer there"
