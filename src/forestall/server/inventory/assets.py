"""Changes of the list of assets: what a client owns, whether an agent watches it or not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from django.db import IntegrityError, transaction

from forestall.server.inventory import label_rules as rules
from forestall.server.inventory.models import Asset, Device, DeviceStatus
from forestall.server.people.models import Site
from forestall.server.people.scope import Permission, Scope

TEXTS = {"name": 200, "manufacturer": 100, "model": 100, "serial": 100, "location": 200, "notes": 5000}
"""Text fields and their most characters."""
DATES = ("bought_on", "warranty_until")


class AssetError(ValueError):
    """An asset that cannot be; names the field and the value."""


@transaction.atomic
def asset_create(*, site: Site, values: Mapping[str, Any], scope: Scope, now: datetime) -> Asset:
    """An asset at a site. It becomes one with the device there that has its name, if there is just one."""
    seen = Site.objects.visible_to(scope).select_related("client").get(pk=site.pk)
    scope.require(Permission.DEVICE_CHANGE, on=seen)
    asset = Asset(client=seen.client, site=seen, created_at=now, created_by=scope.who)
    _fill(asset, values)
    asset.device = _same_name(asset, scope)
    _save(asset)
    return asset


@transaction.atomic
def asset_change(*, asset: Asset, values: Mapping[str, Any], scope: Scope) -> Asset:
    """Change what ``values`` name; the rest stays. ``device``: the device it is, or None."""
    found: Asset = Asset.objects.visible_to(scope).select_related("client", "site", "device").get(pk=asset.pk)
    scope.require(Permission.DEVICE_CHANGE, on=found)
    values = dict(values)
    if "device" in values:
        device = values.pop("device")
        if device is not None:
            device = Device.objects.visible_to(scope).get(pk=device.pk)
            if device.client_id != found.client_id:
                raise AssetError(f"device: {device.name} belongs to another client")
            if Asset.objects.visible_to(scope).filter(device=device).exclude(pk=found.pk).exists():
                raise AssetError(f"device: {device.name} is another asset already")
        found.device = device
    _fill(found, values)
    _save(found)
    return found


@transaction.atomic
def asset_delete(*, asset: Asset, scope: Scope) -> None:
    """Take an asset off the list. Its device, if it is one, stays."""
    found: Asset = Asset.objects.visible_to(scope).get(pk=asset.pk)
    scope.require(Permission.DEVICE_CHANGE, on=found)
    found.delete()


def asset_meets_device(*, device: Device) -> Asset | None:
    """Called when a device is approved: the one asset of its client that has its name becomes it."""
    system = Scope.system("inventory")
    found: list[Asset] = list(
        Asset.objects.visible_to(system).filter(client=device.client_id, device=None, name__iexact=device.name)[:2]
    )
    if len(found) != 1:
        return None
    found[0].device = device
    found[0].save(update_fields=["device"])
    return found[0]


def _fill(asset: Asset, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if name in TEXTS:
            text = str(value).strip()
            if len(text) > TEXTS[name]:
                raise AssetError(f"{name}: {len(text)} characters, at most {TEXTS[name]}")
            setattr(asset, name, text)
        elif name == "role":
            if value not in rules.ASSET_ROLES:
                raise AssetError(f"role: {str(value)[:80]!r} is none of {', '.join(rules.ASSET_ROLES)}")
            asset.role = value
        elif name in DATES:
            if value is not None and not isinstance(value, date):
                raise AssetError(f"{name}: {value!r} is not a date")
            setattr(asset, name, value)
        else:
            raise AssetError(f"an asset has no {name!r}")
    if not asset.name:
        raise AssetError("name: an asset needs a name")
    if asset.bought_on and asset.warranty_until and asset.warranty_until < asset.bought_on:
        raise AssetError(f"warranty_until: {asset.warranty_until} is before it was bought, {asset.bought_on}")


def _same_name(asset: Asset, scope: Scope) -> Device | None:
    devices = Device.objects.visible_to(scope).filter(
        client=asset.client, name__iexact=asset.name, status=DeviceStatus.APPROVED, asset=None
    )
    found = list(devices[:2])
    return found[0] if len(found) == 1 else None


def _save(asset: Asset) -> None:
    try:
        with transaction.atomic():
            asset.save()
    except IntegrityError:
        raise AssetError(f"serial: {asset.serial!r} is another asset of {asset.client} already") from None
