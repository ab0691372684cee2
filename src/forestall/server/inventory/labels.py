"""Changes of what people say about devices: their names and roles, tags, and groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.inventory import label_rules as rules
from forestall.server.inventory.models import Device, DeviceGroup, DeviceTag
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope


class LabelError(ValueError):
    """A name, role, tag or group that cannot be; says which."""


@transaction.atomic
def device_describe(
    *, device: Device, scope: Scope, now: datetime, name: str | None = None, role: str | None = None
) -> Device:
    """Give a device a name or a role of its own. LabelError names what cannot be; NotAllowedError, DoesNotExist."""
    found: Device = Device.objects.visible_to(scope).select_related("client", "site").get(pk=device.pk)
    scope.require(Permission.DEVICE_CHANGE, on=found)
    before = {"name": found.name, "role": found.role}
    if name is not None:
        if not name.strip() or len(name.strip()) > 200:
            raise LabelError(f"name: {name[:80]!r} is empty or longer than 200 characters")
        found.name = name.strip()
    if role is not None:
        if role not in rules.DEVICE_ROLES:
            raise LabelError(f"role: {role[:80]!r} is none of {', '.join(rules.DEVICE_ROLES)}")
        found.role = role
    after = {"name": found.name, "role": found.role}
    if after != before:
        found.save(update_fields=["name", "role"])
        _on_record(found, {"before": before, "after": after, "by": scope.who}, now)
    return found


@transaction.atomic
def devices_tag(
    *, devices: Iterable[Device], scope: Scope, now: datetime, add: Iterable[str] = (), remove: Iterable[str] = ()
) -> int:
    """Put words on devices and take others off; all of it or nothing. How many devices changed.

    LabelError for a word that cannot be a tag. DoesNotExist when one of the devices is not seen.
    """
    try:
        adding, removing = {rules.tag_name(one) for one in add}, {rules.tag_name(one) for one in remove}
    except ValueError as error:
        raise LabelError(str(error)) from None
    changed = 0
    for device in devices:
        seen = Device.objects.visible_to(scope).select_related("client", "site").get(pk=device.pk)
        scope.require(Permission.DEVICE_CHANGE, on=seen)
        had = set(seen.tags.values_list("name", flat=True))
        has = (had - removing) | adding
        if len(has) > rules.MOST_TAGS:
            raise LabelError(f"tags: {seen.name} would have {len(has)}, at most {rules.MOST_TAGS}")
        if has == had:
            continue
        seen.tags.filter(name__in=had - has).delete()
        DeviceTag.objects.bulk_create([DeviceTag(device=seen, name=name) for name in sorted(has - had)])
        _on_record(seen, {"tags_before": sorted(had), "tags": sorted(has), "by": scope.who}, now)
        changed += 1
    return changed


@transaction.atomic
def group_create(
    *,
    name: str,
    scope: Scope,
    now: datetime,
    client: Client | None = None,
    description: str = "",
    devices: Iterable[Device] = (),
    rule: Mapping[str, Any] | None = None,
) -> DeviceGroup:
    """A group of a client, or across clients (for those who may change devices of every client)."""
    owner = _owner(client, scope)
    group = DeviceGroup(
        client=owner,
        name=_group_name(name),
        description=description.strip()[:300],
        rule=_rule(rule or {}),
        created_at=now,
        created_by=scope.who,
    )
    _save(group)
    group.devices.set(_members(devices, group, scope))
    return group


@transaction.atomic
def group_change(
    *,
    group: DeviceGroup,
    scope: Scope,
    name: str | None = None,
    description: str | None = None,
    devices: Iterable[Device] | None = None,
    rule: Mapping[str, Any] | None = None,
) -> DeviceGroup:
    """Change what is given; the rest stays."""
    found: DeviceGroup = DeviceGroup.objects.visible_to(scope).select_related("client").get(pk=group.pk)
    _owner(found.client, scope)
    if name is not None:
        found.name = _group_name(name)
    if description is not None:
        found.description = description.strip()[:300]
    if rule is not None:
        found.rule = _rule(rule)
    _save(found)
    if devices is not None:
        found.devices.set(_members(devices, found, scope))
    return found


@transaction.atomic
def group_delete(*, group: DeviceGroup, scope: Scope) -> None:
    """The group goes; its devices stay."""
    found: DeviceGroup = DeviceGroup.objects.visible_to(scope).select_related("client").get(pk=group.pk)
    _owner(found.client, scope)
    found.delete()


def _owner(client: Client | None, scope: Scope) -> Client | None:
    if client is None:
        scope.require_everywhere(Permission.DEVICE_CHANGE)
        return None
    seen: Client = Client.objects.visible_to(scope).get(pk=client.pk)
    scope.require(Permission.DEVICE_CHANGE, on=seen)
    return seen


def _save(group: DeviceGroup) -> None:
    try:
        with transaction.atomic():
            group.save()
    except IntegrityError:
        raise LabelError(f"name: there is a group {group.name!r} already") from None


def _members(devices: Iterable[Device], group: DeviceGroup, scope: Scope) -> list[Device]:
    members = []
    for device in devices:
        seen = Device.objects.visible_to(scope).get(pk=device.pk)
        if group.client_id is not None and seen.client_id != group.client_id:
            raise LabelError(f"devices: {seen.name} belongs to another client than the group")
        members.append(seen)
    return members


def _group_name(name: str) -> str:
    if not name.strip() or len(name.strip()) > 80:
        raise LabelError(f"name: {name[:80]!r} is empty or longer than 80 characters")
    return name.strip()


def _rule(values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return rules.GroupRule.parse(values).plain()
    except ValueError as error:
        raise LabelError(f"rule: {error}") from None


def _on_record(device: Device, payload: dict[str, Any], now: datetime) -> None:
    evidence_append(
        client=device.client,
        kind=EvidenceKind.DEVICE_CHANGED,
        payload={"device_id": str(device.pk), **payload},
        now=now,
        device_id=device.pk,
        site_id=device.site_id,
    )
