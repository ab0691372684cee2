"""Reads of samples. A device that the scope does not see has none."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import cache
from uuid import UUID

from forestall.server.home import Home, current_home
from forestall.server.inventory.models import Device
from forestall.server.metrics.store import Points, Store, open_store
from forestall.server.people.scope import Scope


@cache
def _store_of(home: Home) -> Store:
    return open_store(home)


def _store() -> Store:
    # Found by the data folder each time: a test's folder is not the next test's.
    return _store_of(current_home())


def _seen(scope: Scope, devices: Iterable[Device | UUID]) -> list[UUID]:
    ids = {one.pk if isinstance(one, Device) else one for one in devices}
    return list(Device.objects.visible_to(scope).filter(pk__in=ids).order_by().values_list("pk", flat=True))


def samples_range(
    *,
    scope: Scope,
    device: Device | UUID,
    names: Sequence[str],
    start: datetime,
    end: datetime,
    step_seconds: int | None = None,
) -> dict[str, Points]:
    """Series → points with ``start <= time < end`` (see ``Store.range``)."""
    for device_id in _seen(scope, [device]):
        return _store().range(device_id=device_id, names=names, start=start, end=end, step_seconds=step_seconds)
    return {}


def samples_latest(
    *, scope: Scope, devices: Iterable[Device | UUID], metrics: Collection[str] | None = None
) -> dict[UUID, dict[str, tuple[float, float]]]:
    """Device → series → time (Unix seconds) and value of the newest sample; ``metrics`` are series without labels."""
    return _store().latest(device_ids=_seen(scope, devices), metrics=metrics)


def series_names(*, scope: Scope, device: Device | UUID) -> list[str]:
    """Names of a device's series, sorted."""
    for device_id in _seen(scope, [device]):
        return _store().series_names(device_id=device_id)
    return []
