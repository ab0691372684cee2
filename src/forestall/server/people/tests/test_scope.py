"""Alice works for every client, Bob for one site, Charlie for another client; each sees that and nothing else."""

from __future__ import annotations

import inspect
import pkgutil
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest

import forestall.server
from forestall.server.people.models import Client, Site
from forestall.server.people.queries import clients, person_of_token, scope_of, sites
from forestall.server.people.roles import Role
from forestall.server.people.scope import NotAllowedError, Permission, Scope, UnscopedQueryError
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
    from forestall.server.people.models import Grant

    person = person_create(username="dora", password="a long password", role=Role.AUDITOR, client=clinic)
    shop = bakery.sites.get(name="Shop")
    Grant.objects.create(person=person, role=Role.TECHNICIAN, client=bakery, site=shop)
    assert {site.name for site in sites(scope=scope_of(person))} == {"Shop", "Ward"}


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
        "checks.queries.override_values": given,
        "inventory.queries.decode_document": given,
        "evidence.queries.inclusion": given,
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
        "runbooks.queries.deliveries_for": named,
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
