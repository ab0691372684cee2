"""Tina tags and groups what she looks after; Olga may look only. What a client owns stands on a list."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.server.inventory import assets, labels, queries
from forestall.server.inventory.label_rules import DEVICE_ROLES, GroupRule, tag_name
from forestall.server.inventory.models import Asset, Device, DeviceGroup
from forestall.server.inventory.services import device_approve
from forestall.server.people.models import Site
from forestall.server.people.roles import ROLE_PERMISSIONS, Role
from forestall.server.people.scope import NotAllowedError, Scope
from forestall.server.people.services import client_create, site_create

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SYSTEM = Scope.system("test")


@pytest.fixture
def shop(db) -> Site:
    return site_create(client=client_create(name="Bakery", timezone="Europe/Berlin"), name="Shop")


@pytest.fixture
def ward(db) -> Site:
    return site_create(client=client_create(name="Clinic", timezone="Europe/London"), name="Ward")


def device(site: Site, name: str, **more: object) -> Device:
    values = {"status": "approved", "approved_at": NOW, "os_name": "Debian GNU/Linux 12", **more}
    return Device.objects.create(
        client=site.client, site=site, name=name, public_key=uuid4().bytes * 2, enrolled_at=NOW, **values
    )


def tina(*sites: Site) -> Scope:
    places = {site.pk: site.client_id for site in sites}
    return Scope.at("tina", 1, ROLE_PERMISSIONS[Role.TECHNICIAN], sites=places)


def test_tags_are_words_that_only_those_see_who_see_the_device(shop, ward):
    till, nurse = device(shop, "till-01"), device(ward, "nurse-01")
    assert labels.devices_tag(devices=[till], add=["VIP", "Point of sale"], scope=tina(shop), now=NOW) == 1
    labels.devices_tag(devices=[nurse], add=["ward-3"], scope=SYSTEM, now=NOW)
    assert queries.tags(scope=tina(shop)) == {"point-of-sale": 1, "vip": 1}
    assert labels.devices_tag(devices=[till], add=["vip"], remove=["point of sale"], scope=tina(shop), now=NOW) == 1
    assert labels.devices_tag(devices=[till], add=["vip"], scope=tina(shop), now=NOW) == 0, "it has it already"
    with pytest.raises(Device.DoesNotExist):
        labels.devices_tag(devices=[till, nurse], add=["x"], scope=tina(shop), now=NOW)
    assert queries.tags(scope=SYSTEM) == {"vip": 1, "ward-3": 1}, "all of it or nothing"
    kinds = [entry.kind for entry in shop.client.evidence.all()]
    assert kinds == ["device:changed", "device:changed"]


@pytest.mark.parametrize("word", ["", " ", "a,b", "<b>", "x" * 41, "_x", "=cmd"])
def test_what_is_no_tag_is_named(shop, word):
    with pytest.raises(labels.LabelError, match="tag: "):
        labels.devices_tag(devices=[device(shop, "till-01")], add=[word], scope=SYSTEM, now=NOW)


def test_a_device_gets_a_name_and_a_role(shop):
    till = device(shop, "till-01")
    changed = labels.device_describe(device=till, name="Till at the door", role="endpoint", scope=tina(shop), now=NOW)
    assert (changed.name, changed.role) == ("Till at the door", "endpoint")
    with pytest.raises(labels.LabelError, match="role: 'toaster' is none of server"):
        labels.device_describe(device=till, role="toaster", scope=SYSTEM, now=NOW)
    olga = Scope.at("olga", 2, ROLE_PERMISSIONS[Role.AUDITOR])
    with pytest.raises(NotAllowedError):
        labels.device_describe(device=till, name="mine", scope=olga, now=NOW)


def test_a_group_holds_what_was_chosen_and_what_its_rule_names(shop, ward):
    till, oven = device(shop, "till-01", role="endpoint"), device(shop, "oven-01", os_name="Windows 11")
    nurse = device(ward, "nurse-01", role="endpoint")
    labels.devices_tag(devices=[till, nurse], add=["vip"], scope=SYSTEM, now=NOW)
    rule = {"tags": ["vip"], "system": "debian"}
    everywhere = labels.group_create(name="VIPs", rule=rule, scope=SYSTEM, now=NOW)
    bakery = labels.group_create(name="VIPs", client=shop.client, rule=rule, devices=[oven], scope=SYSTEM, now=NOW)
    assert set(queries.group_devices(scope=SYSTEM, group=everywhere)) == {till, nurse}
    assert set(queries.group_devices(scope=SYSTEM, group=bakery)) == {till, oven}
    assert list(queries.groups(scope=tina(shop))) == [bakery], "what goes across clients is not for one site's people"
    with pytest.raises(labels.LabelError, match="there is a group 'VIPs' already"):
        labels.group_create(name="VIPs", scope=SYSTEM, now=NOW)
    with pytest.raises(labels.LabelError, match="nurse-01 belongs to another client"):
        labels.group_change(group=bakery, devices=[nurse], scope=SYSTEM)
    with pytest.raises(labels.LabelError, match="rule: 'colour' is none of"):
        labels.group_change(group=bakery, rule={"colour": "red"}, scope=SYSTEM)
    with pytest.raises(NotAllowedError):
        labels.group_create(name="Mine", client=shop.client, scope=tina(shop), now=NOW)
    labels.group_delete(group=bakery, scope=SYSTEM)
    assert DeviceGroup.objects.visible_to(SYSTEM).count() == 1
    assert queries.devices(scope=SYSTEM).count() == 3


@given(
    st.sampled_from(DEVICE_ROLES),
    st.frozensets(st.sampled_from(["a", "b", "c"])),
    st.sampled_from(["Debian GNU/Linux 12", "Windows 11", ""]),
    st.builds(
        GroupRule,
        roles=st.lists(st.sampled_from(DEVICE_ROLES), unique=True).map(lambda one: tuple(sorted(one))),
        tags=st.lists(st.sampled_from(["a", "b", "c"]), unique=True).map(lambda one: tuple(sorted(one))),
        system=st.sampled_from(["", "debian", "win"]),
    ),
)
def test_a_rule_survives_being_kept_and_each_part_narrows(role, tags, system, rule):
    assert GroupRule.parse(rule.plain()) == rule
    if rule.holds(role=role, tags=tags, system=system):
        assert not rule.is_empty
        assert not rule.roles or role in rule.roles
        assert set(rule.tags) <= tags
        assert rule.system in system.lower()


def test_a_tag_is_kept_in_one_form():
    assert tag_name("  Point of  SALE ") == "point-of-sale"
    assert tag_name(tag_name("Ärzte.1")) == "ärzte.1"


def test_an_asset_becomes_the_device_that_has_its_name(shop):
    listed = assets.asset_create(
        site=shop, values={"name": "till-02", "serial": "S-1", "bought_on": date(2024, 3, 1)}, scope=tina(shop), now=NOW
    )
    assert listed.device is None
    till = device(shop, "TILL-02", status="pending", approved_at=None)
    device_approve(device=till, scope=SYSTEM, now=NOW)
    listed.refresh_from_db()
    assert listed.device == till
    there = device(shop, "oven-01")
    oven = assets.asset_create(site=shop, values={"name": "oven-01"}, scope=SYSTEM, now=NOW)
    assert oven.device == there
    with pytest.raises(assets.AssetError, match="is another asset already"):
        assets.asset_change(asset=oven, values={"device": till}, scope=SYSTEM)
    assets.asset_change(asset=oven, values={"device": None, "location": "cellar"}, scope=SYSTEM)
    assets.asset_delete(asset=listed, scope=SYSTEM)
    till.refresh_from_db()
    assert list(Asset.objects.visible_to(SYSTEM).values_list("name", "location", "device")) == [
        ("oven-01", "cellar", None)
    ]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"name": ""}, "name: an asset needs a name"),
        ({"name": "x" * 201}, "name: 201 characters, at most 200"),
        ({"name": "x", "role": "toaster"}, "role: 'toaster' is none of"),
        ({"name": "x", "warranty_until": date(2020, 1, 1), "bought_on": date(2024, 1, 1)}, "is before it was bought"),
        ({"name": "x", "colour": "red"}, "an asset has no 'colour'"),
        ({"name": "x", "serial": "S-1"}, "serial: 'S-1' is another asset of Bakery already"),
    ],
)
def test_an_asset_that_cannot_be_is_refused_with_the_field(shop, values, complaint):
    assets.asset_create(site=shop, values={"name": "first", "serial": "S-1"}, scope=SYSTEM, now=NOW)
    with pytest.raises(assets.AssetError, match=complaint):
        assets.asset_create(site=shop, values=values, scope=SYSTEM, now=NOW)
