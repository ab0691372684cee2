"""SLA: the tiers on offer, and the times that hold for a client."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from ninja import Field

from forestall.server.api.asking import current_time
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.clients.queries import served
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope
from forestall.server.tickets import sla
from forestall.server.tickets.rules import Priority
from forestall.server.tickets.sla_models import SlaTier

router = Routes(tags=["sla"])


class TargetIn(Schema):
    response_minutes: int = Field(ge=1, le=sla.LONGEST_MINUTES, description="Working minutes.")
    resolution_minutes: int = Field(ge=1, le=sla.LONGEST_MINUTES, description="Working minutes.")


class TierOut(Schema):
    slug: str
    name: str
    description: str
    targets: dict[str, TargetIn] = Field(description="Priority → working minutes.")


class TierIn(Schema):
    slug: str = Field(max_length=40, description="Small letters, digits, hyphens. Never changed: clients name it.")
    name: str = Field(max_length=60)
    description: str = Field("", max_length=300)
    targets: dict[Priority, TargetIn] = Field(description="A priority that is not named has the default of the field.")


class TierChangeIn(Schema):
    """What is not named stays as it is."""

    name: str | None = Field(None, max_length=60)
    description: str | None = Field(None, max_length=300)
    targets: dict[Priority, TargetIn] | None = None


class TargetOut(TargetIn):
    own: bool = Field(description="Agreed with this client instead of its tier's.")


class ClientSlaOut(Schema):
    tier: str
    targets: dict[str, TargetOut] = Field(description="What holds for tickets opened now.")


@router.get("/sla-tiers", allow=Permission.CLIENT_VIEW, response=list[TierOut], summary="List SLA tiers")
def sla_tier_list(request: ApiRequest) -> list[dict[str, Any]]:
    return [_tier(tier) for tier in sla.tiers()]


@router.post("/sla-tiers", allow=Permission.CLIENT_CHANGE, response={201: TierOut}, summary="Make an SLA tier")
def sla_tier_create(request: ApiRequest, body: TierIn) -> tuple[int, dict[str, Any]]:
    made = sla.tier_create(
        slug=body.slug,
        name=body.name,
        description=body.description,
        targets=_targets(body.targets),
        scope=request.scope,
        now=current_time(),
    )
    return 201, _tier(made)


@router.get("/sla-tiers/{tier_slug}", allow=Permission.CLIENT_VIEW, response=TierOut, summary="Show an SLA tier")
def sla_tier_show(request: ApiRequest, tier_slug: str) -> dict[str, Any]:
    return _tier(sla.tiers().get(slug=tier_slug))


@router.patch("/sla-tiers/{tier_slug}", allow=Permission.CLIENT_CHANGE, response=TierOut, summary="Change an SLA tier")
def sla_tier_change(request: ApiRequest, tier_slug: str, body: TierChangeIn) -> dict[str, Any]:
    """Holds for tickets opened from now on; on record at every client that has it."""
    changed = sla.tier_change(
        tier=sla.tiers().get(slug=tier_slug),
        name=body.name,
        description=body.description,
        targets=None if body.targets is None else _targets(body.targets),
        scope=request.scope,
        now=current_time(),
    )
    return _tier(changed)


@router.delete("/sla-tiers/{tier_slug}", allow=Permission.CLIENT_CHANGE, summary="Remove an SLA tier nobody has")
def sla_tier_delete(request: ApiRequest, tier_slug: str) -> tuple[int, None]:
    sla.tier_remove(tier=sla.tiers().get(slug=tier_slug), scope=request.scope)
    return 204, None


@router.get(
    "/clients/{client_id}/sla",
    allow=Permission.CLIENT_VIEW,
    response=ClientSlaOut,
    summary="The times that hold for a client's tickets opened now",
)
def client_sla_show(request: ApiRequest, client_id: UUID) -> dict[str, Any]:
    return _client_sla(served(scope=request.scope).get(pk=client_id), request.scope)


@router.put(
    "/clients/{client_id}/sla/{priority}",
    allow=Permission.CLIENT_CHANGE,
    response=ClientSlaOut,
    summary="Agree with a client on other times than its tier's",
)
def client_sla_set(request: ApiRequest, client_id: UUID, priority: Priority, body: TargetIn) -> dict[str, Any]:
    client = served(scope=request.scope).get(pk=client_id)
    sla.sla_policy_set(
        client=client,
        priority=priority,
        response_minutes=body.response_minutes,
        resolution_minutes=body.resolution_minutes,
        scope=request.scope,
        now=current_time(),
    )
    return _client_sla(client, request.scope)


@router.delete(
    "/clients/{client_id}/sla/{priority}", allow=Permission.CLIENT_CHANGE, summary="Go back to the tier's times"
)
def client_sla_delete(request: ApiRequest, client_id: UUID, priority: Priority) -> tuple[int, None]:
    client = served(scope=request.scope).get(pk=client_id)
    sla.sla_policy_remove(client=client, priority=priority, scope=request.scope, now=current_time())
    return 204, None


def _targets(asked: dict[Priority, TargetIn]) -> dict[Priority, tuple[int, int]]:
    return {priority: (one.response_minutes, one.resolution_minutes) for priority, one in asked.items()}


def _tier(tier: SlaTier) -> dict[str, Any]:
    return {
        "slug": tier.slug,
        "name": tier.name,
        "description": tier.description,
        "targets": sla.plain(sla.tier_targets(tier)),
    }


def _client_sla(client: Client, scope: Scope) -> dict[str, Any]:
    own = sla.own_targets(scope=scope, client=client)
    return {
        "tier": client.sla_tier,
        "targets": {
            name: {**times, "own": Priority(name) in own}
            for name, times in sla.plain(sla.targets_of(client=client)).items()
        },
    }
