"""Reads of devices and of what is known of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from django.db.models import Count, Q, QuerySet

from forestall.server.inventory.label_rules import GroupRule
from forestall.server.inventory.models import (
    Asset,
    Device,
    DeviceGroup,
    DeviceTag,
    EnrolmentToken,
    FactsChange,
    FactsDocument,
    FirstSeen,
    IntakeRefusal,
    SetAside,
)
from forestall.server.people.scope import Scope
from forestall.wire.facts import DOCUMENT_BY_NAME, Document, Facts

_decoders = {name: msgspec.msgpack.Decoder(kind) for name, kind in DOCUMENT_BY_NAME.items()}

D = TypeVar("D", bound=Document)


def decode_document(*, name: str, body: bytes | memoryview) -> Document:
    """The document in ``FactsDocument.body``; ValueError when there is no document of that name."""
    if name not in _decoders:
        raise ValueError(f"no facts document is called {name!r}; known: {', '.join(_decoders)}")
    return _decoders[name].decode(zlib.decompress(body))


def devices(*, scope: Scope) -> QuerySet[Device]:
    """The devices that ``scope`` may see, with their clients and sites."""
    found: QuerySet[Device] = Device.objects.visible_to(scope).select_related("client", "site")
    return found


def facts_of(*, scope: Scope, device: Device | UUID) -> Facts:
    """All documents known of a device, decoded. Empty when the scope does not see the device."""
    rows = _documents(scope).filter(device=device).values_list("name", "body")
    documents: dict[str, Any] = {name: decode_document(name=name, body=body) for name, body in rows}
    return Facts(**documents)


def facts_meta(*, scope: Scope, device: Device | UUID) -> dict[str, tuple[datetime, datetime]]:
    """Name of each known document → when it was last collected and was this, and since when it is this."""
    rows = _documents(scope).filter(device=device).values_list("name", "collected_at", "changed_at")
    return {name: (collected, changed) for name, collected, changed in rows}


def documents_of(*, scope: Scope, kind: type[D], devices: Iterable[Device | UUID] | None = None) -> dict[UUID, D]:
    """One kind of document of many devices (None: of all in scope), in one query: device id → document."""
    rows = _documents(scope).filter(name=kind.name())
    if devices is not None:
        rows = rows.filter(device__in=list(devices))
    found: dict[UUID, D] = {}
    for device_id, body in rows.values_list("device_id", "body"):
        document = decode_document(name=kind.name(), body=body)
        if isinstance(document, kind):
            found[device_id] = document
    return found


def _documents(scope: Scope) -> QuerySet[FactsDocument]:
    found: QuerySet[FactsDocument] = FactsDocument.objects.visible_to(scope)
    return found


def facts_changes(*, scope: Scope, device: Device | UUID | None = None) -> QuerySet[FactsChange]:
    """What changed on a device (or on all in scope), newest first."""
    found: QuerySet[FactsChange] = FactsChange.objects.visible_to(scope)
    return found if device is None else found.filter(device=device)


def first_seen(*, scope: Scope, device: Device | UUID) -> dict[str, datetime]:
    """Since when each pending update (``updates:NAME=CANDIDATE``) and administrator (``access:NAME``) is there."""
    return dict(FirstSeen.objects.visible_to(scope).filter(device=device).values_list("key", "at"))


def refusals(*, scope: Scope, device: Device | UUID | None = None) -> QuerySet[IntakeRefusal]:
    """Refused messages, counted per device, code and hour, newest first."""
    found: QuerySet[IntakeRefusal] = IntakeRefusal.objects.visible_to(scope).order_by("-last_at")
    return found if device is None else found.filter(device=device)


def set_aside(*, scope: Scope, device: Device | UUID | None = None) -> QuerySet[SetAside]:
    """Parts of acknowledged check-ins that could not be applied, newest first."""
    found: QuerySet[SetAside] = SetAside.objects.visible_to(scope)
    return found if device is None else found.filter(device=device)


def enrolment_tokens(*, scope: Scope) -> QuerySet[EnrolmentToken]:
    """Enrolment tokens, used and unused, newest first."""
    found: QuerySet[EnrolmentToken] = EnrolmentToken.objects.visible_to(scope).select_related("site__client", "used_by")
    return found.order_by("-created_at")


# --- what people say of devices ----------------------------------------------------------------------------------


def tags(*, scope: Scope) -> dict[str, int]:
    """Each tag on a device that the scope sees → on how many, by name."""
    rows = DeviceTag.objects.visible_to(scope).order_by("name").values("name").annotate(number=Count("pk"))
    return {row["name"]: row["number"] for row in rows}


def tags_of(*, scope: Scope, devices: Iterable[UUID]) -> list[tuple[UUID, str]]:
    """Device and tag, by name of the tag."""
    rows = DeviceTag.objects.visible_to(scope).filter(device__in=list(devices)).order_by("name")
    return list(rows.values_list("device_id", "name"))


def groups(*, scope: Scope) -> QuerySet[DeviceGroup]:
    """The groups that ``scope`` may see: those of its clients, and across clients for those who see every client."""
    found: QuerySet[DeviceGroup] = DeviceGroup.objects.visible_to(scope).select_related("client")
    return found


def group_devices(*, scope: Scope, group: DeviceGroup) -> QuerySet[Device]:
    """The devices of a group that ``scope`` may see: those chosen one by one, and those its rule names."""
    belongs = Q(groups=group)
    rule = GroupRule.parse(group.rule)
    if not rule.is_empty:
        by_rule = Q(os_name__icontains=rule.system) if rule.system else Q()
        if rule.roles:
            by_rule &= Q(role__in=rule.roles)
        for name in rule.tags:
            by_rule &= Q(pk__in=DeviceTag.objects.visible_to(scope).filter(name=name).values("device"))
        belongs |= by_rule
    found = devices(scope=scope).filter(belongs)
    if group.client_id is not None:
        found = found.filter(client=group.client_id)
    return found.distinct()


def assets(*, scope: Scope) -> QuerySet[Asset]:
    """The assets that ``scope`` may see, with client, site and device."""
    found: QuerySet[Asset] = Asset.objects.visible_to(scope).select_related("client", "site", "device")
    return found
