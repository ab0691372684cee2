"""Ada tags, groups, lists and imports in the console; Ines, who audits, looks on."""

from __future__ import annotations

import io

import pytest

from forestall.server.console.tests.conftest import proven
from forestall.server.inventory.models import Asset, Device, DeviceGroup, DeviceTag
from forestall.server.people.models import Client
from forestall.server.people.scope import Scope

SYSTEM = Scope.system("test")


@pytest.fixture
def device(fleet) -> Device:
    return Device.objects.visible_to(SYSTEM).filter(status="approved").order_by("name")[0]


def test_picked_devices_are_tagged_all_or_none(ada, fleet):
    picked = [str(one.pk) for one in Device.objects.visible_to(SYSTEM).order_by("name")[:3]]
    answer = ada.post("/devices/tag", {"pick": picked, "tags": "VIP, ward-3", "add": "yes"}, follow=True)
    assert "3 devices changed." in answer.content.decode()
    assert set(DeviceTag.objects.visible_to(SYSTEM).values_list("name", flat=True)) == {"vip", "ward-3"}
    page = ada.get("/devices/?tag=vip").content.decode()
    assert page.count('class="tag">vip<') == 3
    answer = ada.post(
        "/devices/tag", {"pick": picked[:1], "tags": "vip", "remove": "yes", "back": "//evil"}, follow=True
    )
    assert answer.redirect_chain[-1][0] == "/devices/"
    assert DeviceTag.objects.visible_to(SYSTEM).filter(name="vip").count() == 2
    absent = "00000000-0000-0000-0000-000000000001"
    assert ada.post("/devices/tag", {"pick": [*picked, absent], "tags": "x", "add": "yes"}).status_code == 404
    assert not DeviceTag.objects.visible_to(SYSTEM).filter(name="x").exists()
    wrong = ada.post("/devices/tag", {"pick": picked, "tags": "<b>", "add": "yes"}, follow=True).content.decode()
    assert "&lt;b&gt;" in wrong
    assert "is not a word" in wrong


def test_a_device_is_described(ada, device):
    answer = ada.post(
        f"/devices/{device.pk}/describe", {"name": "Till at the door", "role": "endpoint", "tags": "vip"}, follow=True
    )
    assert "Till at the door" in answer.content.decode()
    device.refresh_from_db()
    assert (device.name, device.role) == ("Till at the door", "endpoint")
    refused = ada.post(f"/devices/{device.pk}/describe", {"name": "x", "role": "endpoint", "tags": "a=b"})
    assert "is not a word" in refused.content.decode()
    assert 'value="a=b"' in refused.content.decode(), "what was typed is kept"


def test_a_group_is_made_looked_at_changed_and_deleted(ada, device):
    assert "No groups yet" in ada.get("/groups/").content.decode()
    answer = ada.post(
        "/groups/new",
        {"name": "Servers", "description": "the big ones", "roles": ["server"], "devices": [str(device.pk)]},
        follow=True,
    )
    group = DeviceGroup.objects.visible_to(SYSTEM).get()
    assert answer.redirect_chain[-1][0] == f"/groups/{group.pk}/"
    assert ": server, across clients." in answer.content.decode()
    assert ada.get(f"/devices/?group={group.pk}").status_code == 200
    ada.post(f"/groups/{group.pk}/change", {"name": "Servers", "roles": ["server"], "system": "debian"})
    group.refresh_from_db()
    assert group.rule == {"roles": ["server"], "system": "debian"}
    again = ada.post("/groups/new", {"name": "Servers"}).content.decode()
    assert "There is a group" in again
    ada.post(f"/groups/{group.pk}/delete")
    assert not DeviceGroup.objects.visible_to(SYSTEM).exists()


def test_assets_say_what_nobody_watches(ada, device):
    assert "Import a list" in ada.get("/assets/").content.decode()
    site = str(device.site_id)
    for name, more in ((device.name, {}), ("printer-01", {"warranty_until": "2020-01-01", "role": "printer"})):
        ada.post("/assets/new", {"site": site, "name": name, "role": "endpoint", **more})
    page = ada.get("/assets/").content.decode()
    assert "<b>1 of 2 assets</b></a> watched by nobody" in page
    assert "over since 2020-01-01" in page
    assert "printer-01" not in ada.get("/assets/?watched=yes").content.decode()
    printer = Asset.objects.visible_to(SYSTEM).get(name="printer-01")
    wrong = ada.post(f"/assets/{printer.pk}/", {"name": "p", "role": "printer", "bought_on": "2024-01-01",
                                                "warranty_until": "2020-01-01"}).content.decode()  # fmt: skip
    assert "2020-01-01 is before it was bought" in wrong
    ada.post(f"/assets/{printer.pk}/remove")
    assert Asset.objects.visible_to(SYSTEM).count() == 1


def test_a_list_is_tried_imported_and_undone(ada, fleet):
    page = ada.get("/import/")
    assert "Nothing was imported yet" in page.content.decode()
    assert ada.get("/import/clients/template.csv").content.startswith(b"name,timezone")
    assert ada.get("/import/toasters/").status_code == 404
    upload = io.BytesIO("name;timezone\nCafé;Europe/Paris\nNowhere;Mars/Base\n".encode("cp1252"))
    upload.name = "clients.csv"
    tried = ada.post("/import/clients/", {"file": upload}).content.decode()
    assert "1 new, 0 changed, 0 as they are; 1 line cannot be taken." in tried
    assert "Mars/Base" in tried
    assert 'name="apply"' not in tried
    tried = ada.post("/import/clients/", {"content": "name,timezone\nCafé,Europe/Paris\n"}).content.decode()
    assert "Import 1 line" in tried
    assert not Client.objects.visible_to(SYSTEM).filter(name="Café").exists()
    ada.post("/import/clients/", {"content": "name,timezone\nCafé,Europe/Paris\n", "filename": "c.csv", "apply": "yes"})
    assert Client.objects.visible_to(SYSTEM).filter(name="Café", removed_at=None).exists()
    listed = ada.get("/import/").content.decode()
    assert "c.csv" in listed
    number = listed.split("/import/")[-1].split("/undo")[0]
    assert "1 thing it made will be gone: Café." in ada.get(f"/import/{number}/undo").content.decode()
    ada.post(f"/import/{number}/undo")
    assert not Client.objects.visible_to(SYSTEM).filter(name="Café", removed_at=None).exists()
    assert "It was undone already" in ada.get(f"/import/{number}/undo").content.decode()


def test_a_client_is_removed_only_by_its_name(ada, fleet):
    client = fleet.clients[0]
    assert ada.get(f"/clients/{client.pk}/remove").status_code == 302, "first she proves who she is"
    proven(ada)
    page = ada.get(f"/clients/{client.pk}/remove").content.decode()
    assert "Deleted for good:" in page
    refused = ada.post(f"/clients/{client.pk}/remove", {"reason": "moved", "confirm": "wrong"}).content.decode()
    assert "is not the client&#x27;s name" in refused
    ada.post(f"/clients/{client.pk}/remove", {"reason": "moved", "confirm": client.name})
    client.refresh_from_db()
    assert client.removed_by == "ada"
    assert ada.get(f"/clients/{client.pk}/remove").status_code == 404


def test_who_only_audits_sees_and_changes_nothing(auditor, device):
    ines = auditor
    for address in ("/groups/", "/assets/", "/import/"):
        page = ines.get(address)
        assert page.status_code == 200
        assert "/new" not in page.content.decode()
    assert ines.post("/devices/tag", {"pick": [str(device.pk)], "tags": "x", "add": "yes"}).status_code == 403
    assert ines.post("/groups/new", {"name": "x"}).status_code == 403
    assert ines.get(f"/clients/{device.client_id}/remove").status_code == 403
    assert ines.get(f"/clients/{device.client_id}/export").status_code == 403
    tried = ines.post("/import/clients/", {"content": "name\nMine\n"}).content.decode()
    assert "may not: client.change" in tried
