"""What people say of devices: names, roles, tags, groups; and the list of assets."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from django.db.models import Q
from ninja import Field

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, ordered, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.inventory import assets, labels, queries
from forestall.server.inventory.label_rules import GroupRule
from forestall.server.inventory.models import Asset, Device, DeviceGroup
from forestall.server.people import queries as people
from forestall.server.people.scope import Permission

router = Routes(tags=["devices"])

DeviceRole = Literal["server", "endpoint", "network", "printer", "cloud"]
AssetRole = Literal["server", "endpoint", "network", "printer", "cloud", "other"]
MOST_AT_ONCE = 1000


class DescriptionIn(Schema):
    """What is not named stays as it is."""

    name: str | None = Field(None, min_length=1, max_length=200)
    role: DeviceRole | None = None


class DescribedOut(Named):
    role: str
    tags: list[str]


class TagOut(Schema):
    name: str
    devices: int = Field(description="On how many of the devices you may see.")


class TagsIn(Schema):
    devices: list[UUID] = Field(min_length=1, max_length=MOST_AT_ONCE)
    add: list[str] = Field([], max_length=20)
    remove: list[str] = Field([], max_length=20)


class ChangedOut(Schema):
    changed: int = Field(description="How many devices are different now.")


class GroupRuleIn(Schema):
    """Everything that is set must hold; nothing set: only what is chosen one by one."""

    roles: list[DeviceRole] = Field([], description="One of these.")
    tags: list[str] = Field([], max_length=20, description="All of these.")
    system: str = Field("", max_length=100, description="Part of the operating system's name.")


class GroupIn(Schema):
    name: str = Field(min_length=1, max_length=80)
    description: str = Field("", max_length=300)
    client: UUID | None = Field(None, description="Null: across clients.")
    devices: list[UUID] = Field([], max_length=MOST_AT_ONCE)
    rule: GroupRuleIn = Field(default_factory=lambda: GroupRuleIn.model_validate({}))


class GroupChangeIn(Schema):
    """What is not named stays as it is."""

    name: str | None = Field(None, min_length=1, max_length=80)
    description: str | None = Field(None, max_length=300)
    devices: list[UUID] | None = Field(None, max_length=MOST_AT_ONCE)
    rule: GroupRuleIn | None = None


class GroupOut(Schema):
    id: int
    name: str
    description: str
    client: Named | None
    rule: GroupRuleIn
    rule_in_words: str
    devices: int = Field(description="How many of the devices you may see belong to it.")
    created_at: datetime
    created_by: str


class AssetIn(Schema):
    site: UUID
    name: str = Field(min_length=1, max_length=200)
    role: AssetRole = "endpoint"
    manufacturer: str = Field("", max_length=100)
    model: str = Field("", max_length=100)
    serial: str = Field("", max_length=100)
    location: str = Field("", max_length=200)
    bought_on: date | None = None
    warranty_until: date | None = None
    notes: str = Field("", max_length=5000)


class AssetChangeIn(Schema):
    """What is not named stays as it is; null empties a date and ends being a device."""

    name: str = Field("", max_length=200)
    role: AssetRole = "endpoint"
    manufacturer: str = Field("", max_length=100)
    model: str = Field("", max_length=100)
    serial: str = Field("", max_length=100)
    location: str = Field("", max_length=200)
    bought_on: date | None = None
    warranty_until: date | None = None
    notes: str = Field("", max_length=5000)
    device: UUID | None = None


class AssetOut(Schema):
    id: int
    client: Named
    site: Named
    name: str
    role: str
    manufacturer: str
    model: str
    serial: str
    location: str
    bought_on: date | None
    warranty_until: date | None
    notes: str
    device: Named | None = Field(description="Null: no agent watches it.")


@router.patch(
    "/devices/{device_id}",
    allow=Permission.DEVICE_CHANGE,
    response=DescribedOut,
    summary="Give a device a name or a role",
)
def device_describe(request: ApiRequest, device_id: UUID, body: DescriptionIn) -> dict[str, Any]:
    device = queries.devices(scope=request.scope).get(pk=device_id)
    device = labels.device_describe(
        device=device, scope=request.scope, now=current_time(), **body.model_dump(exclude_none=True)
    )
    tags = list(device.tags.values_list("name", flat=True))
    return {"id": device.pk, "name": device.name, "role": device.role, "tags": tags}


@router.get("/device-tags", allow=Permission.DEVICE_VIEW, response=list[TagOut], summary="List the tags in use")
def device_tag_list(request: ApiRequest) -> list[dict[str, Any]]:
    return [{"name": name, "devices": number} for name, number in queries.tags(scope=request.scope).items()]


@router.post(
    "/device-tags",
    allow=Permission.DEVICE_CHANGE,
    response=ChangedOut,
    summary="Put tags on devices and take others off, all or none",
)
def device_tag_change(request: ApiRequest, body: TagsIn) -> dict[str, int]:
    devices = _devices(request, body.devices)
    changed = labels.devices_tag(
        devices=devices, add=body.add, remove=body.remove, scope=request.scope, now=current_time()
    )
    return {"changed": changed}


@router.get("/device-groups", allow=Permission.DEVICE_VIEW, response=Page[GroupOut], summary="List groups of devices")
def device_group_list(request: ApiRequest, paging: PagingQuery, client: UUID | None = None) -> dict[str, Any]:
    found = queries.groups(scope=request.scope)
    if client is not None:
        found = found.filter(client=client)
    return page(
        found,
        shape=lambda group: _group(request, group),
        cursor=paging.cursor,
        limit=paging.limit,
        order=ordered("name"),
    )


@router.post(
    "/device-groups", allow=Permission.DEVICE_CHANGE, response={201: GroupOut}, summary="Make a group of devices"
)
def device_group_create(request: ApiRequest, body: GroupIn) -> tuple[int, dict[str, Any]]:
    client = people.clients(scope=request.scope).get(pk=body.client) if body.client else None
    group = labels.group_create(
        name=body.name,
        description=body.description,
        client=client,
        devices=_devices(request, body.devices),
        rule=body.rule.model_dump(),
        scope=request.scope,
        now=current_time(),
    )
    return 201, _group(request, group)


@router.get(
    "/device-groups/{group_id}", allow=Permission.DEVICE_VIEW, response=GroupOut, summary="Show a group of devices"
)
def device_group_show(request: ApiRequest, group_id: int) -> dict[str, Any]:
    return _group(request, queries.groups(scope=request.scope).get(pk=group_id))


@router.get(
    "/device-groups/{group_id}/devices",
    allow=Permission.DEVICE_VIEW,
    response=Page[Named],
    summary="List the devices of a group",
)
def device_group_devices(request: ApiRequest, group_id: int, paging: PagingQuery) -> dict[str, Any]:
    group = queries.groups(scope=request.scope).get(pk=group_id)
    found = queries.group_devices(scope=request.scope, group=group)
    return page(found, shape=lambda row: row, cursor=paging.cursor, limit=paging.limit, order=ordered("name"))


@router.patch(
    "/device-groups/{group_id}", allow=Permission.DEVICE_CHANGE, response=GroupOut, summary="Change a group of devices"
)
def device_group_change(request: ApiRequest, group_id: int, body: GroupChangeIn) -> dict[str, Any]:
    group = queries.groups(scope=request.scope).get(pk=group_id)
    changed = labels.group_change(
        group=group,
        name=body.name,
        description=body.description,
        devices=None if body.devices is None else _devices(request, body.devices),
        rule=None if body.rule is None else body.rule.model_dump(),
        scope=request.scope,
    )
    return _group(request, changed)


@router.delete("/device-groups/{group_id}", allow=Permission.DEVICE_CHANGE, summary="Delete a group; its devices stay")
def device_group_delete(request: ApiRequest, group_id: int) -> tuple[int, None]:
    labels.group_delete(group=queries.groups(scope=request.scope).get(pk=group_id), scope=request.scope)
    return 204, None


@router.get("/assets", allow=Permission.DEVICE_VIEW, response=Page[AssetOut], summary="List assets")
def asset_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    site: UUID | None = None,
    watched: bool | None = None,  # noqa: FBT001 - a filter in the address
    search: str | None = None,
    ordering: Literal["name", "-name", "warranty_until", "-warranty_until"] = "name",
) -> dict[str, Any]:
    """``watched=false``: what no agent watches. ``search`` looks into names, serial numbers, makers and models."""
    found = queries.assets(scope=request.scope)
    if client is not None:
        found = found.filter(client=client)
    if site is not None:
        found = found.filter(site=site)
    if watched is not None:
        found = found.filter(device__isnull=not watched)
    if search:
        fields = ("name", "serial", "manufacturer", "model")
        wanted = Q()
        for field in fields:
            wanted |= Q(**{f"{field}__icontains": search})
        found = found.filter(wanted)
    if ordering.endswith("warranty_until"):
        found = found.exclude(warranty_until=None)
    return page(found, shape=lambda row: row, cursor=paging.cursor, limit=paging.limit, order=ordered(ordering))


@router.post("/assets", allow=Permission.DEVICE_CHANGE, response={201: AssetOut}, summary="Put an asset on the list")
def asset_create(request: ApiRequest, body: AssetIn) -> tuple[int, Asset]:
    site = people.sites(scope=request.scope).get(pk=body.site)
    values = body.model_dump(exclude={"site"})
    return 201, assets.asset_create(site=site, values=values, scope=request.scope, now=current_time())


@router.get("/assets/{asset_id}", allow=Permission.DEVICE_VIEW, response=AssetOut, summary="Show an asset")
def asset_show(request: ApiRequest, asset_id: int) -> Asset:
    return queries.assets(scope=request.scope).get(pk=asset_id)


@router.patch("/assets/{asset_id}", allow=Permission.DEVICE_CHANGE, response=AssetOut, summary="Change an asset")
def asset_change(request: ApiRequest, asset_id: int, body: AssetChangeIn) -> Asset:
    asset = queries.assets(scope=request.scope).get(pk=asset_id)
    values = body.model_dump(exclude_unset=True)
    if values.get("device") is not None:
        values["device"] = queries.devices(scope=request.scope).get(pk=values["device"])
    return assets.asset_change(asset=asset, values=values, scope=request.scope)


@router.delete("/assets/{asset_id}", allow=Permission.DEVICE_CHANGE, summary="Take an asset off the list")
def asset_delete(request: ApiRequest, asset_id: int) -> tuple[int, None]:
    assets.asset_delete(asset=queries.assets(scope=request.scope).get(pk=asset_id), scope=request.scope)
    return 204, None


def _devices(request: ApiRequest, wanted: list[UUID]) -> list[Device]:
    found = list(queries.devices(scope=request.scope).filter(pk__in=wanted))
    if len(found) != len(set(wanted)):
        raise Device.DoesNotExist
    return found


def _group(request: ApiRequest, group: DeviceGroup) -> dict[str, Any]:
    rule = GroupRule.parse(group.rule)
    return {
        "id": group.pk,
        "name": group.name,
        "description": group.description,
        "client": group.client,
        "rule": {"roles": list(rule.roles), "tags": list(rule.tags), "system": rule.system},
        "rule_in_words": rule.in_words(),
        "devices": queries.group_devices(scope=request.scope, group=group).count(),
        "created_at": group.created_at,
        "created_by": group.created_by,
    }
