"""Rollouts: updates that go ring by ring, and updates that are held for everyone."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Field

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.patching import rollout_queries as queries
from forestall.server.patching import rollouts as services
from forestall.server.patching.models import Rollout, RolloutDevice, UpdateHold
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope

router = Routes(tags=["rollouts"])

MOST_SHOWN = 50
"""Devices of a ring that a preview names."""


class RolloutOut(Schema):
    id: UUID
    client: Named | None = Field(description="Null: across clients.")
    name: str
    state: str = Field(description="`running`, `awaiting_promotion`, `paused`, `halted`, `finished`, `cancelled`.")
    why: str = Field(description="What it waits for, or why it stopped.")
    ring: int = Field(description="Number of the ring under way.")
    created_at: datetime
    created_by: str
    ended_at: datetime | None


class RingOut(Schema):
    number: int
    cap: int = Field(description="Most devices touched when it is done, the earlier rings' included.")
    devices: int
    touched: int
    states: dict[str, int] = Field(description="State of a device → how many.")
    needed: int = Field(description="Healthy devices that it takes before the next ring begins.")
    soak_minutes: int
    started_at: datetime | None
    judged_at: datetime | None
    verdict: str = Field(description="`healthy`, `failed`; empty: under way or not begun.")
    why: str
    results_root: str = Field(description="Merkle root (RFC 6962) of its device-signed results.")
    promoted_by: str
    promoted_at: datetime | None


class RolloutShownOut(RolloutOut):
    updates: list[str] = Field(description="`provider package version`.")
    terms: dict[str, Any] = Field(description="Rings, soak times and what counts as failure.")
    rings: list[RingOut]


class RolloutDeviceOut(Schema):
    device: Named
    site: Named
    client: Named
    ring: int
    state: str = Field(description="`waiting`, `running`, `healthy`, `failed`, `silent`, `left out`.")
    why: str
    job: UUID | None
    touched_at: datetime | None
    judged_at: datetime | None


class RolloutIn(Schema):
    client: UUID | None = Field(None, description="Null: across clients; for who may plan everywhere.")
    name: str = Field("", max_length=200)
    choose: Literal["security", "all", "chosen"] = "security"
    packages: list[str] = Field(
        [], max_length=500, description="With `chosen`: names (`*` at the end), `name=version`."
    )
    pilots: list[UUID] = Field([], max_length=500, description="Devices that go first.")
    terms: dict[str, Any] = Field(default_factory=dict, description="What differs from the usual terms.")


class PreviewRing(Schema):
    number: int
    cap: int
    devices: int
    names: list[str] = Field(description=f"The first {MOST_SHOWN}.")


class PreviewLeft(Schema):
    device: str
    why: str


class RolloutPreviewOut(Schema):
    updates: list[str]
    held: list[str] = Field(description="Updates of it that nobody installs for now.")
    rings: list[PreviewRing]
    left_out: list[PreviewLeft] = Field(description=f"The first {MOST_SHOWN}.")
    devices: int


class RolloutReasonIn(Schema):
    reason: str = Field("", max_length=1000)


class HoldOut(Schema):
    id: int
    manager: str
    name: str
    candidate: str
    why: str
    since: datetime
    ended_at: datetime | None
    ended_by: str
    ended_why: str
    overridden_by: list[Named] = Field(description="Clients you see that install it all the same.")


class OverrideIn(Schema):
    client: UUID
    hold: int = Field(ge=1, le=2**62)
    reason: str = Field(max_length=1000)


VOLATILE = {"rings", "why", "state", "ring"}


@router.get("/rollouts", allow=Permission.DEVICE_VIEW, response=Page[RolloutOut], summary="List rollouts, newest first")
def rollout_list(
    request: ApiRequest, paging: PagingQuery, client: UUID | None = None, state: str | None = None
) -> dict[str, Any]:
    found = queries.rollouts(scope=request.scope)
    if client is not None:
        found = found.filter(client=client)
    if state is not None:
        found = found.filter(state=state)
    return page(found, shape=_rollout, cursor=paging.cursor, limit=paging.limit, order=("-created_at", "pk"))


@router.post(
    "/rollouts/preview",
    allow=Permission.PATCH_CHANGE,
    response=RolloutPreviewOut,
    summary="Which device would be in which ring; nothing is started",
)
def rollout_preview(request: ApiRequest, body: RolloutIn) -> dict[str, Any]:
    seen = services.rollout_preview(
        scope=request.scope,
        client=_client(request.scope, body.client),
        choose=body.choose,
        packages=body.packages,
        pilots=body.pilots,
        terms=body.terms,
        now=current_time(),
    )
    return {
        "updates": [" ".join(update) for update in seen.updates],
        "held": [" ".join(update) for update in seen.held],
        "rings": [
            {
                "number": cap.number,
                "cap": cap.most,
                "devices": len(devices),
                "names": [device.name for device in devices[:MOST_SHOWN]],
            }
            for cap, devices in seen.rings
        ],
        "left_out": [{"device": device.name, "why": why} for device, why in seen.left_out[:MOST_SHOWN]],
        "devices": seen.total,
    }


@router.post(
    "/rollouts", allow=Permission.PATCH_CHANGE, response={201: RolloutShownOut}, summary="Start a rollout; ring 1 opens"
)
def rollout_start(request: ApiRequest, body: RolloutIn) -> tuple[int, dict[str, Any]]:
    made = services.rollout_start(
        scope=request.scope,
        client=_client(request.scope, body.client),
        name=body.name,
        choose=body.choose,
        packages=body.packages,
        pilots=body.pilots,
        terms=body.terms,
        now=current_time(),
    )
    return 201, _shown(request.scope, made)


@router.get(
    "/rollouts/{rollout_id}",
    allow=Permission.DEVICE_VIEW,
    response=RolloutShownOut,
    summary="Show a rollout, ring by ring",
    volatile=VOLATILE,
)
def rollout_show(request: ApiRequest, rollout_id: UUID) -> dict[str, Any]:
    return _shown(request.scope, queries.rollout(scope=request.scope, number=rollout_id))


@router.get(
    "/rollouts/{rollout_id}/devices",
    allow=Permission.DEVICE_VIEW,
    response=Page[RolloutDeviceOut],
    summary="List the devices of a rollout",
)
def rollout_devices(
    request: ApiRequest, rollout_id: UUID, paging: PagingQuery, ring: int | None = None, state: str | None = None
) -> dict[str, Any]:
    found = queries.members(scope=request.scope, rollout=queries.rollout(scope=request.scope, number=rollout_id))
    if ring is not None:
        found = found.filter(ring=min(max(ring, 0), 1000))
    if state is not None:
        found = found.filter(state=state)
    return page(found, shape=_device, cursor=paging.cursor, limit=paging.limit, order=("rank", "ring", "pk"))


@router.post(
    "/rollouts/{rollout_id}/pause",
    allow=Permission.PATCH_CHANGE,
    response=RolloutShownOut,
    summary="Touch nothing more until it is resumed",
)
def rollout_pause(request: ApiRequest, rollout_id: UUID, body: RolloutReasonIn) -> dict[str, Any]:
    found = queries.rollout(scope=request.scope, number=rollout_id)
    done = services.rollout_pause(scope=request.scope, rollout=found, reason=body.reason, now=current_time())
    return _shown(request.scope, done)


@router.post(
    "/rollouts/{rollout_id}/resume",
    allow=Permission.PATCH_CHANGE,
    response=RolloutShownOut,
    summary="Go on after a pause; after a halt with a reason, and without the devices that failed",
)
def rollout_resume(request: ApiRequest, rollout_id: UUID, body: RolloutReasonIn) -> dict[str, Any]:
    found = queries.rollout(scope=request.scope, number=rollout_id)
    done = services.rollout_resume(scope=request.scope, rollout=found, reason=body.reason, now=current_time())
    return _shown(request.scope, done)


@router.post(
    "/rollouts/{rollout_id}/promote",
    allow=Permission.PATCH_CHANGE,
    response=RolloutShownOut,
    summary="Let the next ring begin, once this one is healthy",
)
def rollout_promote(request: ApiRequest, rollout_id: UUID) -> dict[str, Any]:
    found = queries.rollout(scope=request.scope, number=rollout_id)
    return _shown(request.scope, services.rollout_promote(scope=request.scope, rollout=found, now=current_time()))


@router.post(
    "/rollouts/{rollout_id}/cancel",
    allow=Permission.PATCH_CHANGE,
    response=RolloutShownOut,
    summary="End it where it is; what is installed stays",
)
def rollout_cancel(request: ApiRequest, rollout_id: UUID, body: RolloutReasonIn) -> dict[str, Any]:
    found = queries.rollout(scope=request.scope, number=rollout_id)
    done = services.rollout_cancel(scope=request.scope, rollout=found, reason=body.reason, now=current_time())
    return _shown(request.scope, done)


@router.get(
    "/update-holds",
    allow=Permission.DEVICE_VIEW,
    response=Page[HoldOut],
    summary="Updates that no client installs for now, because they went wrong somewhere",
)
def hold_list(
    request: ApiRequest,
    paging: PagingQuery,
    ended: bool = False,  # noqa: FBT001, FBT002 - a query parameter
) -> dict[str, Any]:
    found = queries.holds(scope=request.scope)
    if not ended:
        found = found.filter(ended_at=None)
    return page(
        found,
        shape=lambda row: _hold(request.scope, row),
        cursor=paging.cursor,
        limit=paging.limit,
        order=("-since", "-pk"),
    )


@router.post(
    "/update-holds/{hold_id}/end",
    allow=Permission.PATCH_CHANGE,
    response=HoldOut,
    summary="Let every client install a held update again; for who may plan everywhere",
)
def hold_end(request: ApiRequest, hold_id: int, body: RolloutReasonIn) -> dict[str, Any]:
    found = queries.holds(scope=request.scope).get(pk=hold_id)
    done = services.hold_end(scope=request.scope, hold=found, reason=body.reason, now=current_time())
    return _hold(request.scope, done)


@router.post(
    "/update-holds/override",
    allow=Permission.PATCH_CHANGE,
    response=HoldOut,
    summary="Install a held update at one client all the same",
)
def hold_override(request: ApiRequest, body: OverrideIn) -> dict[str, Any]:
    client = Client.objects.visible_to(request.scope).get(pk=body.client)
    request.scope.require(Permission.PATCH_CHANGE, on=client)
    found = queries.holds(scope=request.scope).filter(pk=body.hold).first()
    if found is None:
        raise ValueError(f"hold: {body.hold} is none; /api/v1/update-holds lists them")
    services.hold_override(scope=request.scope, hold=found, client=client, reason=body.reason, now=current_time())
    return _hold(request.scope, found)


def _client(scope: Scope, client_id: UUID | None) -> Client | None:
    return None if client_id is None else Client.objects.visible_to(scope).get(pk=client_id)


def _rollout(rollout: Rollout) -> dict[str, Any]:
    plain = ("name", "state", "why", "ring", "created_at", "created_by", "ended_at")
    return {"id": rollout.pk, "client": rollout.client, **{name: getattr(rollout, name) for name in plain}}


def _shown(scope: Scope, rollout: Rollout) -> dict[str, Any]:
    found = queries.rollout(scope=scope, number=rollout.pk)
    plain = ("number", "cap", "started_at", "judged_at", "verdict", "why", "results_root", "promoted_by", "promoted_at")
    return {
        **_rollout(found),
        "updates": [" ".join(update) for update in queries.updates_of(found)],
        "terms": found.terms,
        "rings": [
            {
                "devices": one.members,
                "touched": one.touched,
                "states": dict(one.states),
                "needed": one.needed,
                "soak_minutes": one.soak_minutes,
                **{name: getattr(one.ring, name) for name in plain},
            }
            for one in queries.ring_counts(scope=scope, rollout=found)
        ],
    }


def _device(member: RolloutDevice) -> dict[str, Any]:
    plain = ("device", "site", "client", "ring", "state", "why", "touched_at", "judged_at")
    return {"job": member.job_id, **{name: getattr(member, name) for name in plain}}


def _hold(scope: Scope, hold: UpdateHold) -> dict[str, Any]:
    plain = ("manager", "name", "candidate", "why", "since", "ended_at", "ended_by", "ended_why")
    clients = [one.client for one in queries.overrides(scope=scope).filter(hold=hold)]
    return {"id": hold.pk, "overridden_by": clients, **{name: getattr(hold, name) for name in plain}}
