"""Clients, their sites and contacts: who may change them, what is refused by name, and what stays on record."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from forestall.server.calendar.services import window_create
from forestall.server.clients import queries, services
from forestall.server.clients.rules import ClientError, countries, country_names, timezones
from forestall.server.evidence.models import Entry
from forestall.server.people.models import Client, Contact, Person, Site
from forestall.server.people.roles import ROLE_PERMISSIONS, Role
from forestall.server.people.scope import NotAllowedError, Scope
from forestall.server.tickets import sla
from forestall.server.tickets.rules import Priority

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SYSTEM = Scope.system("test")


def at(role: Role, *clients: Client) -> Scope:
    places = [client.pk for client in clients] if clients else None
    return Scope.at("ada" if not clients else "mona", 1, ROLE_PERMISSIONS[role], clients=places)


ADA = at(Role.OWNER)


@pytest.fixture
def acme() -> Client:
    return services.client_add(name="Acme", timezone="Europe/Berlin", country="DE", region="BY", scope=ADA, now=NOW)


@pytest.fixture
def bolt() -> Client:
    return services.client_add(name="Bolt", timezone="Europe/London", scope=ADA, now=NOW)


def record(client: Client) -> list[tuple[str, str, dict, dict]]:
    rows = Entry.objects.visible_to(SYSTEM).filter(client=client).order_by("index")
    return [(row.payload["what"], row.payload["act"], row.payload["before"], row.payload["after"]) for row in rows]


def test_ada_takes_on_a_client_and_what_she_changes_is_on_record(acme: Client) -> None:
    changed = services.client_change(
        client=acme, reference="D-1042", operating_model="co_managed", country="AT", scope=ADA, now=NOW
    )
    assert (changed.country, changed.region) == ("AT", ""), "a region of another country is none"
    services.client_change(client=acme, reference="D-1042", scope=ADA, now=NOW)
    made, moved = record(acme)
    assert made[:2] == ("client", "made")
    assert made[3]["name"] == "Acme"
    assert moved == (
        "client",
        "changed",
        {"reference": "", "operating_model": "outsourced", "country": "DE", "region": "BY"},
        {"reference": "D-1042", "operating_model": "co_managed", "country": "AT", "region": ""},
    )


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"name": "  "}, "name: it needs a name"),
        ({"name": "x" * 201}, "name: 201 characters, at most 200"),
        ({"name": "a\x00b"}, "control characters"),
        ({"name": "a\nb"}, "more than one line"),
        ({"name": "Bolt"}, "a client called 'Bolt' already"),
        ({"timezone": "Mars/Base"}, "'Mars/Base' is not a known IANA time zone"),
        ({"timezone": "../etc/passwd"}, "is not a known IANA time zone"),
        ({"country": "XX"}, "country: no public holidays are known for 'XX'"),
        ({"region": "ENG"}, "region: 'ENG' is no region of DE"),
        ({"operating_model": "magic"}, "operating_model: 'magic' is not one of"),
        ({"sla_tier": "platinum"}, "sla_tier: there is no tier 'platinum'"),
        ({"reference": "B-1"}, "reference: 'B-1' is another client's"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_changes_nothing(acme: Client, bolt: Client, asked, complaint) -> None:
    services.client_change(client=bolt, reference="B-1", scope=ADA, now=NOW)
    with pytest.raises(ClientError, match=complaint):
        services.client_change(client=acme, scope=ADA, now=NOW, **asked)
    acme.refresh_from_db()
    assert (acme.name, acme.timezone, acme.country, acme.region) == ("Acme", "Europe/Berlin", "DE", "BY")
    assert len(record(acme)) == 1


def test_a_service_manager_of_one_client_cannot_touch_another(acme: Client, bolt: Client) -> None:
    mona = at(Role.SERVICE_MANAGER, acme)
    site = services.site_add(client=acme, name="Munich", scope=mona, now=NOW)
    foreign = services.site_add(client=bolt, name="Leeds", scope=ADA, now=NOW)
    contact = services.contact_add(client=bolt, name="Bea", scope=ADA, now=NOW)
    services.site_change(site=site, address="Marienplatz 1", scope=mona, now=NOW)
    with pytest.raises(NotAllowedError, match=r"client\.change at the whole installation"):
        services.client_add(name="Mine", timezone="UTC", scope=mona, now=NOW)
    with pytest.raises(Client.DoesNotExist):
        services.client_change(client=bolt, name="Stolen", scope=mona, now=NOW)
    with pytest.raises(Client.DoesNotExist):
        services.site_add(client=bolt, name="x", scope=mona, now=NOW)
    with pytest.raises(Site.DoesNotExist):
        services.site_change(site=foreign, name="x", scope=mona, now=NOW)
    with pytest.raises(Client.DoesNotExist):
        services.contact_add(client=bolt, name="x", scope=mona, now=NOW)
    for act in (services.contact_change, services.contact_remove):
        with pytest.raises(Contact.DoesNotExist):
            act(contact=contact, scope=mona, now=NOW)
    with pytest.raises(Site.DoesNotExist):
        services.contact_add(client=acme, name="x", site=foreign, scope=mona, now=NOW)


def test_a_technician_of_a_site_reads_the_client_and_changes_nothing_of_it(acme: Client) -> None:
    munich = services.site_add(client=acme, name="Munich", scope=ADA, now=NOW)
    services.site_add(client=acme, name="Hof", scope=ADA, now=NOW)
    tom = Scope.at("tom", 2, ROLE_PERMISSIONS[Role.TECHNICIAN], sites={munich.pk: acme.pk})
    seen = queries.overviews(scope=tom, now=NOW)
    assert [(row.client.name, row.sites) for row in seen] == [("Acme", 1)]
    for act in (
        lambda: services.client_change(client=acme, name="x", scope=tom, now=NOW),
        lambda: services.site_add(client=acme, name="x", scope=tom, now=NOW),
        lambda: services.site_change(site=munich, name="x", scope=tom, now=NOW),
        lambda: services.contact_add(client=acme, name="x", scope=tom, now=NOW),
        lambda: sla.sla_policy_set(client=acme, priority=Priority.LOW, response_minutes=1, resolution_minutes=2,
                                   scope=tom, now=NOW),
    ):  # fmt: skip
        with pytest.raises(NotAllowedError):
            act()


def test_a_site_stays_with_its_client(acme: Client, bolt: Client) -> None:
    site = services.site_add(client=acme, name="Munich", scope=ADA, now=NOW)
    with pytest.raises(ClientError, match="site 'Munich' stays with its client"):
        services.site_change(site=site, client_id=bolt.pk, scope=ADA, now=NOW)
    assert services.site_change(site=site, client_id=acme.pk, timezone="UTC", scope=ADA, now=NOW).zone == "UTC"
    with pytest.raises(ClientError, match="has a site called 'Munich' already"):
        services.site_add(client=acme, name="Munich", scope=ADA, now=NOW)
    services.site_add(client=bolt, name="Munich", scope=ADA, now=NOW)


def test_one_contact_is_primary_and_another_takes_its_place(acme: Client, bolt: Client) -> None:
    munich = services.site_add(client=acme, name="Munich", scope=ADA, now=NOW)
    leeds = services.site_add(client=bolt, name="Leeds", scope=ADA, now=NOW)
    bea = services.contact_add(client=acme, name="Bea", email="bea@acme.example", scope=ADA, now=NOW)
    jan = services.contact_add(client=acme, name="Jan", site=munich, duty="has the key", scope=ADA, now=NOW)
    assert (bea.is_primary, jan.is_primary) == (True, False), "the first is the primary one"
    with pytest.raises(ClientError, match="'Bea' is the primary contact"):
        services.contact_remove(contact=bea, scope=ADA, now=NOW)
    with pytest.raises(ClientError, match="until another one is made so"):
        services.contact_change(contact=bea, is_primary=False, scope=ADA, now=NOW)
    with pytest.raises(ClientError, match="email: 'nobody' is no mail address"):
        services.contact_change(contact=jan, email="nobody", scope=ADA, now=NOW)
    with pytest.raises(ClientError, match="'Leeds' is a site of another client"):
        services.contact_change(contact=jan, site=leeds, scope=ADA, now=NOW)
    services.contact_change(contact=jan, is_primary=True, scope=ADA, now=NOW)
    bea.refresh_from_db()
    assert not bea.is_primary
    services.contact_remove(contact=bea, scope=ADA, now=NOW)
    said = [(what, act) for what, act, _before, _after in record(acme) if what == "contact"]
    assert said == [("contact", "made")] * 2 + [("contact", "changed")] * 2 + [("contact", "removed")]
    bob = Person.objects.create(username="bob")
    assert services.contact_change(contact=jan, person=bob, site=None, scope=ADA, now=NOW).person == bob
    services.contact_change(contact=jan, person=None, scope=ADA, now=NOW)
    assert record(acme)[-1][2:] == ({"person": "bob"}, {"person": ""})


def test_a_tier_names_the_times_that_its_clients_have_and_each_may_agree_on_others(acme: Client, bolt: Client) -> None:
    gold = {Priority.URGENT: (30, 120), Priority.STANDARD: (120, 480)}
    tier = sla.tier_create(slug="gold", name="Gold", targets=gold, scope=ADA, now=NOW)
    services.client_change(client=acme, sla_tier="gold", scope=ADA, now=NOW)
    acme.refresh_from_db()
    assert sla.targets_of(client=acme) == {**gold, Priority.LOW: (960, 4800)}
    assert sla.targets_of(client=bolt)[Priority.URGENT] == (240, 480)
    sla.sla_policy_set(
        client=acme, priority=Priority.URGENT, response_minutes=15, resolution_minutes=60, scope=ADA, now=NOW
    )
    sla.tier_change(tier=tier, targets={Priority.STANDARD: (60, 240)}, scope=ADA, now=NOW)
    assert sla.targets_of(client=acme)[Priority.URGENT] == (15, 60), "what was agreed with one stands before its tier"
    assert sla.targets_of(client=acme)[Priority.STANDARD] == (60, 240)
    sla.sla_policy_remove(client=acme, priority=Priority.URGENT, scope=ADA, now=NOW)
    assert sla.targets_of(client=acme)[Priority.URGENT] == (30, 120)
    assert [row[0] for row in record(acme)[2:]] == ["SLA of its own", "SLA tier", "SLA of its own"]
    assert len(record(bolt)) == 1
    with pytest.raises(sla.SlaError, match="in use: Acme"):
        sla.tier_remove(tier=tier, scope=ADA)
    services.client_change(client=acme, sla_tier="standard", scope=ADA, now=NOW)
    sla.tier_remove(tier=tier, scope=ADA)


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"slug": "Gold"}, "slug: 'Gold' is not small letters"),
        ({"slug": "standard"}, "there is a tier 'standard' already"),
        ({"name": " "}, "name: '' is not 1 to 60"),
        ({"name": "STANDARD"}, "a tier called 'STANDARD' already"),
        ({"targets": {Priority.LOW: (0, 5)}}, r"low\.response_minutes: 0 is not between"),
        ({"targets": {Priority.LOW: (10, 5)}}, r"low\.resolution_minutes: 5 is not between"),
        ({"targets": {Priority.LOW: (10, 10**9)}}, r"low\.resolution_minutes: 1000000000"),
    ],
)
def test_a_tier_that_cannot_be_is_refused_by_name(asked, complaint) -> None:
    sla.SlaTier.objects.get_or_create(slug="standard", defaults={"name": "Standard"})
    with pytest.raises(sla.SlaError, match=complaint):
        sla.tier_create(**{"slug": "gold", "name": "Gold", "targets": {}, "scope": ADA, "now": NOW, **asked})


def test_only_who_may_change_every_client_makes_tiers(acme: Client) -> None:
    with pytest.raises(NotAllowedError):
        sla.tier_create(slug="gold", name="Gold", targets={}, scope=at(Role.SERVICE_MANAGER, acme), now=NOW)


def test_the_line_of_a_client_says_when_the_next_window_opens_and_whom_to_call(acme: Client, bolt: Client) -> None:
    munich = services.site_add(client=acme, name="Munich", scope=ADA, now=NOW)
    services.contact_add(client=acme, name="Bea", scope=ADA, now=NOW)
    for name, day in (("Later", date(2026, 12, 6)), ("Sooner", date(2026, 11, 29))):
        window_create(site=munich, name=name, starts_on=day, starts_at="22:00", minutes=60, scope=ADA, now=NOW)
    first, second = queries.overviews(scope=ADA, now=NOW)
    assert (first.client.name, first.sites, first.contact.name) == ("Acme", 1, "Bea")
    assert first.next_window.window.name == "Sooner"
    assert first.next_window.occurrence.start == datetime(2026, 11, 29, 21, 0, tzinfo=UTC)
    assert first.worst is None
    assert (second.client.name, second.contact, second.next_window) == ("Bolt", None, None)
    assert queries.overview(scope=ADA, client=acme, now=NOW).sites == 1
    assert [entry.payload["what"] for entry in queries.history(scope=ADA, client=acme)][-1] == "client"


def test_places_are_offered_by_name() -> None:
    assert "Europe/Berlin" in timezones()
    assert timezones()[0] == "UTC"
    assert "BY" in countries()["DE"]
    assert country_names()["GB"] == "United Kingdom"
