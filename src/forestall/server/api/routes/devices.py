"""Devices, their facts and samples, and how they enrol."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from django.db.models import Count
from ninja import Field
from pydantic import AwareDatetime

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, ordered, page
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.certificates import ca_fingerprint
from forestall.server.checks.queries import checks
from forestall.server.home import current_home, intake_address
from forestall.server.inventory import queries, services
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.metrics.queries import samples_latest, samples_range
from forestall.server.people import queries as people
from forestall.server.people.scope import Permission, Scope
from forestall.server.runbooks.queries import root_key_id
from forestall.wire.facts import to_plain

router = Routes(tags=["devices"])

ENROLMENT_LIFETIME = timedelta(hours=24)


class Named(Schema):
    """A client or a site, where another thing mentions it."""

    id: UUID
    name: str


class DeviceOut(Schema):
    id: UUID
    name: str
    hostname: str
    client: Named
    site: Named
    role: str
    status: str = Field(description="`pending`, `approved` or `revoked`.")
    os_name: str
    agent_version: str
    boot_id: str
    enrolled_at: datetime
    approved_at: datetime | None
    approved_by: str
    last_check_in_at: datetime | None
    clock_offset_seconds: float | None
    checks: dict[str, int] = Field(description="Status → number of checks.")


class FactsDocumentOut(Schema):
    name: str
    collected_at: datetime
    changed_at: datetime
    document: dict[str, Any] = Field(description="As the device reported it; see docs/protocol/check-in.md.")


class SampleSeries(Schema):
    """Columns of one length. Null: no sample in that step."""

    times: list[float] = Field(description="Unix seconds.")
    mean: list[float | None]
    min: list[float | None]
    max: list[float | None]


class EnrolmentTokenIn(Schema):
    site: UUID


class EnrolmentTokenOut(Schema):
    token: str = Field(description="Shown once.")
    expires_at: datetime
    command: str = Field(description="What to run on the device.")


class ReasonIn(Schema):
    reason: str = Field(min_length=1, max_length=500)


@router.get("/devices", allow=Permission.DEVICE_VIEW, response=Page[DeviceOut], summary="List devices")
def device_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    site: UUID | None = None,
    status: DeviceStatus | None = None,
    search: str | None = None,
    ordering: Literal["name", "-name", "enrolled_at", "-enrolled_at"] = "name",
) -> dict[str, Any]:
    scope = request.scope
    found = queries.devices(scope=scope)
    if client is not None:
        found = found.filter(client=client)
    if site is not None:
        found = found.filter(site=site)
    if status:
        found = found.filter(status=status)
    if search:
        found = found.filter(name__icontains=search)
    answer = page(found, shape=lambda row: row, cursor=paging.cursor, limit=paging.limit, order=ordered(ordering))
    counts = _status_counts(scope, [device.pk for device in answer["items"]])
    answer["items"] = [_device(device, counts.get(device.pk, {})) for device in answer["items"]]
    return answer


@router.get("/devices/{device_id}", allow=Permission.DEVICE_VIEW, response=DeviceOut, summary="Show a device")
def device_show(request: ApiRequest, device_id: UUID) -> dict[str, Any]:
    scope = request.scope
    device = queries.devices(scope=scope).get(pk=device_id)
    return _device(device, _status_counts(scope, [device.pk]).get(device.pk, {}))


@router.post(
    "/devices/{device_id}/approve",
    allow=Permission.DEVICE_APPROVE,
    response=DeviceOut,
    summary="Approve a pending device",
)
def device_approve(request: ApiRequest, device_id: UUID) -> dict[str, Any]:
    scope = request.scope
    device = queries.devices(scope=scope).get(pk=device_id)
    services.device_approve(device=device, scope=scope, now=current_time())
    return _device(device, {})


@router.post(
    "/devices/{device_id}/revoke",
    allow=Permission.DEVICE_APPROVE,
    response=DeviceOut,
    summary="End a device's access for good",
)
def device_revoke(request: ApiRequest, device_id: UUID, body: ReasonIn) -> dict[str, Any]:
    scope = request.scope
    device = queries.devices(scope=scope).get(pk=device_id)
    services.device_revoke(device=device, scope=scope, reason=body.reason, now=current_time())
    return _device(device, {})


@router.get(
    "/devices/{device_id}/facts",
    allow=Permission.DEVICE_VIEW,
    response=list[FactsDocumentOut],
    summary="Show what is known of a device",
)
def facts_list(request: ApiRequest, device_id: UUID) -> list[dict[str, Any]]:
    scope = request.scope
    device = queries.devices(scope=scope).get(pk=device_id)
    meta = queries.facts_meta(scope=scope, device=device)
    facts = queries.facts_of(scope=scope, device=device)
    answer = []
    for name, (collected_at, changed_at) in sorted(meta.items()):
        document = facts.get(name)
        if document is not None:
            shaped = {"name": name, "collected_at": collected_at, "changed_at": changed_at}
            answer.append({**shaped, "document": to_plain(document)})
    return answer


@router.get(
    "/devices/{device_id}/samples/latest",
    allow=Permission.DEVICE_VIEW,
    response=dict[str, float],
    summary="Newest sample of each series",
)
def samples_newest(request: ApiRequest, device_id: UUID) -> dict[str, float]:
    scope = request.scope
    device = queries.devices(scope=scope).get(pk=device_id)
    latest = samples_latest(scope=scope, devices=[device]).get(device.pk, {})
    return {name: value for name, (_, value) in latest.items() if value == value}


@router.get(
    "/devices/{device_id}/samples",
    allow=Permission.DEVICE_VIEW,
    response=dict[str, SampleSeries],
    summary="Samples of a device",
)
def samples_list(
    request: ApiRequest,
    device_id: UUID,
    series: str,
    start: AwareDatetime | None = None,
    end: AwareDatetime | None = None,
    step_seconds: int | None = None,
) -> dict[str, dict[str, list[float | None]]]:
    """``series``: a name as in ``samples/latest``, such as ``disk.used_percent{volume=/}``. Default: the last hour."""
    scope = request.scope
    device = queries.devices(scope=scope).get(pk=device_id)
    last = end or current_time()
    first = start or last - timedelta(hours=1)
    if first >= last:
        raise ValueError(f"start: {first.isoformat()} is not before end {last.isoformat()}")
    found = samples_range(scope=scope, device=device, names=[series], start=first, end=last, step_seconds=step_seconds)
    return {
        name: {
            "times": [float(time) for time in points.times],
            "mean": _numbers(points.mean),
            "min": _numbers(points.min),
            "max": _numbers(points.max),
        }
        for name, points in found.items()
    }


@router.post(
    "/enrolment-tokens",
    allow=Permission.DEVICE_APPROVE,
    response=EnrolmentTokenOut,
    summary="Make a token with which one device can enrol",
)
def token_create(request: ApiRequest, body: EnrolmentTokenIn) -> dict[str, Any]:
    scope = request.scope
    now = current_time()
    token = services.enrolment_token_create(
        site=people.sites(scope=scope).get(pk=body.site),
        scope=scope,
        now=now,
        lifetime=ENROLMENT_LIFETIME,
        ca_fingerprint=ca_fingerprint(current_home()),
        root_fingerprint=root_key_id(),
    )
    return {
        "token": token,
        "expires_at": now + ENROLMENT_LIFETIME,
        "command": f"forestall agent enrol --server https://SERVER:{intake_address().port} --token {token}",
    }


def _status_counts(scope: Scope, devices: list[UUID]) -> dict[UUID, dict[str, int]]:
    counts: dict[UUID, dict[str, int]] = {}
    rows = checks(scope=scope).filter(device__in=devices).values("device_id", "status").annotate(number=Count("pk"))
    for row in rows.order_by():
        counts.setdefault(row["device_id"], {})[row["status"]] = row["number"]
    return counts


def _numbers(values: Any) -> list[float | None]:
    # JSON has no NaN: a step without samples is null.
    return [None if value != value else float(value) for value in values]


def _device(device: Device, counts: dict[str, int]) -> dict[str, Any]:
    fields = (
        "name", "hostname", "client", "site", "role", "status", "os_name", "agent_version", "boot_id", "enrolled_at",
        "approved_at", "approved_by", "last_check_in_at", "clock_offset_seconds",
    )  # fmt: skip
    return {"id": device.pk, "checks": counts, **{name: getattr(device, name) for name in fields}}
