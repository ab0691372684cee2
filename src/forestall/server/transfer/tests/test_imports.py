"""Mia moves in with lists from her old system: she sees what they would do, does it, and takes it back."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.server.clients.services import client_add, contact_add, site_add, site_change
from forestall.server.inventory.models import Asset
from forestall.server.people import queries as people
from forestall.server.people.models import Client, Contact, Person, Site
from forestall.server.people.queries import scope_of
from forestall.server.people.roles import ROLE_PERMISSIONS, Role
from forestall.server.people.scope import Permission, Scope
from forestall.server.transfer import queries, services
from forestall.server.transfer.models import ImportRun
from forestall.server.transfer.rules import KINDS, TableError, kind_of, read_lines, template

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MIA = Scope.system("mia")


@pytest.fixture
def acme() -> Client:
    client = client_add(name="Acme", timezone="Europe/Berlin", country="DE", reference="K-1", scope=MIA, now=NOW)
    site_add(client=client, name="Munich", scope=MIA, now=NOW)
    return client


def preview(kind: str, text: str, scope: Scope = MIA) -> services.Preview:
    return services.import_preview(kind=kind, content=text.encode(), scope=scope, now=NOW)


def load(kind: str, text: str, scope: Scope = MIA) -> ImportRun:
    return services.import_apply(kind=kind, content=text.encode(), filename=f"{kind}.csv", scope=scope, now=NOW)


def acts(kind: str, text: str, scope: Scope = MIA) -> list[tuple[int, str]]:
    return [(one.line, one.act) for one in preview(kind, text, scope).lines]


def test_a_preview_says_what_will_happen_and_does_nothing(acme):
    text = "Name;Time zone;Country\nBolt;Europe/London;GB\nacme;Europe/Vienna;\nCafé;;\nNowhere;Mars/Base;\n"
    found = preview("clients", text)
    assert [(one.line, one.act) for one in found.lines] == [(2, "create"), (3, "change"), (4, "create"), (5, "error")]
    assert found.lines[1].changes == {"timezone": ("Europe/Berlin", "Europe/Vienna")}
    assert "'Mars/Base'" in found.lines[3].error
    assert found.sentence == "2 new, 1 changed, 0 as they are; 1 line cannot be taken."
    assert [client.name for client in people.clients(scope=MIA)] == ["Acme"]
    assert acme.evidence.count() == 2, "nothing of a preview is on record"
    with pytest.raises(services.LinesError, match=r"1 of 4 lines cannot be taken, so none was\. Line 5: timezone"):
        load("clients", text)
    assert Client.objects.visible_to(MIA).count() == 1


def test_everything_moves_in_and_out_again(acme):
    """Clients, sites, contacts, people, assets; then each import is undone, the last one first."""
    runs = [
        load("clients", "name,timezone,country,sla_tier\nBolt,Europe/London,GB,standard\nAcme,,AT,\n"),
        load("sites", "client,name,address\nBolt,Leeds,1 High Street\nK-1,Munich,Marienplatz 1\n"),
        load("contacts", "client,name,email,primary\nAcme,Carla,carla@acme.example,yes\nBolt,Bo,,\n"),
        load("people", "username,name,role,client\ntina,Tina T,technician,\ncarla,Carla,client_manager,Acme\n"),
        load("assets", "client,site,name,role,serial,bought on\nAcme,Munich,till-01,endpoint,S-1,01.03.2024\n"),
    ]
    assert [(run.created, run.changed) for run in runs] == [(1, 1), (1, 1), (2, 0), (2, 0), (1, 0)]
    acme.refresh_from_db()
    assert acme.country == "AT"
    assert Site.objects.visible_to(MIA).get(name="Munich").address == "Marienplatz 1"
    assert Asset.objects.visible_to(MIA).get().bought_on == date(2024, 3, 1)
    carla = Person.objects.get(username="carla")
    assert carla.home_client == acme
    assert not carla.has_usable_password()
    assert scope_of(carla).may(Permission.PORTAL_APPROVE, on=acme)
    assert not scope_of(carla).may(Permission.DEVICE_VIEW)
    assert acts("assets", "client,site,name,serial\nAcme,Munich,till-01,S-1\n") == [(2, "same")]
    for run in reversed(runs):
        services.import_undo(run=run, scope=MIA, now=NOW)
    assert [client.name for client in people.clients(scope=MIA)] == ["Acme"]
    acme.refresh_from_db()
    munich = Site.objects.visible_to(MIA).get()
    assert (acme.country, munich.address) == ("DE", "")
    assert not Contact.objects.visible_to(MIA).exists()
    assert not Asset.objects.visible_to(MIA).exists()
    assert not Person.objects.filter(username__in=["tina", "carla"]).exists()
    kinds = [entry.kind for entry in acme.evidence.all()]
    assert kinds.count("import:done") == kinds.count("import:undone") == 5
    again = load("clients", "name,timezone\nBolt,Europe/London\n")
    assert again.created == 1, "a name that was undone is free again"


def test_what_was_changed_since_is_not_undone(acme):
    run = load("sites", "client,name,address\nAcme,Munich,Marienplatz 1\nAcme,Graz,\n")
    munich = Site.objects.visible_to(MIA).get(name="Munich")
    site_change(site=munich, address="Odeonsplatz 2", scope=MIA, now=NOW)
    with pytest.raises(services.UndoError, match="Munich: address was changed since"):
        services.import_undo(run=run, scope=MIA, now=NOW)
    assert Site.objects.visible_to(MIA).filter(name="Graz").exists(), "all of it or nothing"
    site_change(site=munich, address="Marienplatz 1", scope=MIA, now=NOW)
    graz = Site.objects.visible_to(MIA).get(name="Graz")
    contact_add(client=acme, site=graz, name="Greta", scope=MIA, now=NOW)
    with pytest.raises(services.UndoError, match="Graz: it has contacts by now"):
        services.import_undo(run=run, scope=MIA, now=NOW)
    Contact.objects.visible_to(MIA).get().delete()
    services.import_undo(run=run, scope=MIA, now=NOW)
    with pytest.raises(services.UndoError, match="was undone already, by mia"):
        services.import_undo(run=run, scope=MIA, now=NOW)


def test_a_list_can_do_no_more_than_whoever_brings_it(acme):
    """Tom works at Acme. His lists reach Acme's assets, and nothing else."""
    client_add(name="Bolt", timezone="UTC", scope=MIA, now=NOW)
    tom = Scope.at("tom", None, ROLE_PERMISSIONS[Role.TECHNICIAN], clients=[acme.pk])
    assert acts("assets", "client,site,name\nAcme,Munich,till-01\nBolt,Leeds,till-02\n", tom) == [
        (2, "create"), (3, "error"),
    ]  # fmt: skip
    foreign, absent = preview("assets", "client,site,name\nBolt,Leeds,x\nBolz,Leeds,x\n", tom).lines
    assert foreign.error.replace("Bolt", "Bolz") == absent.error, "he does not learn that there is a Bolt"
    for kind, text in (
        ("clients", "name\nMine\n"),
        ("sites", "client,name\nAcme,Graz\n"),
        ("contacts", "client,name\nAcme,Me\n"),
        ("people", "username,role\nmallory,owner\n"),
        ("people", "username,role,client\nmallory,technician,Acme\n"),
    ):
        assert acts(kind, text, tom) == [(2, "error")]
    manager = Scope.at("max", None, ROLE_PERMISSIONS[Role.SERVICE_MANAGER], clients=[acme.pk])
    run = load("sites", "client,name\nAcme,Graz\n", manager)
    assert not queries.imports(scope=tom).exists()
    with pytest.raises(ImportRun.DoesNotExist):
        services.import_undo(run=run, scope=tom, now=NOW)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (b"name\n", "a heading and no line under it"),
        (b"name,colour\nx,red\n", "column 'colour' is not known here; known: name, timezone"),
        (b"timezone\nUTC\n", "column 'name' is missing in the first line"),
        (b"name,Name\nx,y\n", "column 'Name' is there twice"),
        (b"name\n\0\n", "zero bytes"),
        (b'name\n"open\n', "line 2: unexpected end of data"),
        (b"name\n" + b"x\n" * 2001, "more than 2,000 lines"),
        (b"x" * 2_000_001, "at most 2,000,000"),
        (b"name\n\x81\n", "neither UTF-8 nor Windows-1252"),
    ],
)
def test_a_file_that_is_no_list_is_refused_with_the_reason(content, complaint):
    with pytest.raises(TableError, match=complaint):
        read_lines(content, kind_of("clients"))


def test_spreadsheets_of_all_sorts_are_read():
    for content in (
        'name,notes\nCafé,"two\nlines"\n'.encode(),
        '\ufeffname;notes\r\nCafé;"two\nlines"\r\n'.encode(),
        'NAME\tRemarks\nCafé\t"two\nlines"\n'.encode("cp1252"),
    ):
        (line,) = read_lines(content, kind_of("clients"))
        assert line.values == {"name": "Café", "notes": "two\nlines"}


def test_what_is_wrong_with_a_line_names_the_cell():
    text = "client,site,name,bought_on,warranty\nAcme,,x,31.02.2024,\n,Munich,y,,soon,left over\n"
    one, two = read_lines(text.encode(), kind_of("assets"))
    assert one.errors == ("bought_on: '31.02.2024' is not a date such as 2026-11-23 or 23.11.2026", "site: missing")
    assert "'left over' stands beyond the last column" in two.errors
    assert any("warranty_until: 'soon'" in error for error in two.errors)
    assert "client: missing" in two.errors


@pytest.mark.parametrize("slug", KINDS)
def test_the_template_of_each_kind_is_a_list_that_can_be_read(slug):
    (line,) = read_lines(template(KINDS[slug]).encode(), KINDS[slug])
    assert line.errors == ()


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: f"name,notes\n{text}".encode()))
def test_any_bytes_are_read_or_refused(content):
    try:
        lines = read_lines(content, kind_of("clients"))
    except TableError:
        return
    assert all(line.values or line.errors for line in lines)
