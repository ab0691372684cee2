"""Policies of checks: settings and cadences for a client, a site or a device, and their history."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Field

from forestall.server.api.asking import KnownKind, PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.checks import queries, services
from forestall.server.checks.models import PolicyChange, PolicyOverride
from forestall.server.checks.rules import PolicyError
from forestall.server.clients.queries import served, sites_served
from forestall.server.inventory import queries as inventory
from forestall.server.people.scope import Permission

router = Routes(tags=["check policies"])


class CheckPolicyOut(Schema):
    id: int
    kind: str
    client: Named
    site: Named | None = Field(description="Null: the client as a whole.")
    device: Named | None = Field(description="Null: every device there.")
    values: dict[str, Any] = Field(description="Settings that differ, and `every_minutes`, how often it is judged.")
    reason: str
    set_by: str
    set_at: datetime


class CheckPolicyIn(Schema):
    kind: KnownKind
    client: UUID | None = Field(None, description="Exactly one of client, site and device.")
    site: UUID | None = None
    device: UUID | None = None
    values: dict[str, Any] = Field(
        default_factory=dict, description="In place of all that was set here; empty takes it back."
    )
    reason: str = Field(min_length=1, max_length=500)


class CheckPolicyChangeOut(Schema):
    id: int
    kind: str
    client: Named
    site: Named | None
    device: Named | None
    old: dict[str, Any]
    new: dict[str, Any]
    reason: str
    by: str
    at: datetime


class CheckPolicySetOut(Schema):
    policy: CheckPolicyOut | None = Field(description="Null: none is set here any more.")


@router.get(
    "/check-policies", allow=Permission.DEVICE_VIEW, response=Page[CheckPolicyOut], summary="List policies of checks"
)
def check_policy_list(
    request: ApiRequest, paging: PagingQuery, client: UUID | None = None, kind: KnownKind | None = None
) -> dict[str, Any]:
    found = queries.policy_list(scope=request.scope)
    if client is not None:
        found = found.filter(client=client)
    if kind is not None:
        found = found.filter(kind=kind)
    return page(found, shape=_policy, cursor=paging.cursor, limit=paging.limit, order=("kind", "pk"))


@router.post(
    "/check-policies",
    allow=Permission.CHECK_CHANGE,
    response=CheckPolicySetOut,
    summary="Set the policy of a kind for a client, site or device, in place of the one before",
)
def check_policy_set(request: ApiRequest, body: CheckPolicyIn) -> dict[str, Any]:
    scope = request.scope
    if [body.client, body.site, body.device].count(None) != 2:
        raise PolicyError("name exactly one of client, site and device")
    made = services.policy_set(
        kind=body.kind,
        values=body.values,
        scope=scope,
        now=current_time(),
        client=None if body.client is None else served(scope=scope).get(pk=body.client),
        site=None if body.site is None else sites_served(scope=scope).get(pk=body.site),
        device=None if body.device is None else inventory.devices(scope=scope).get(pk=body.device),
        reason=body.reason,
    )
    return {"policy": None if made is None else _policy(made)}


@router.get(
    "/check-policy-changes",
    allow=Permission.DEVICE_VIEW,
    response=Page[CheckPolicyChangeOut],
    summary="Who changed which policy of checks and why, newest first",
)
def check_policy_change_list(
    request: ApiRequest, paging: PagingQuery, client: UUID | None = None, kind: KnownKind | None = None
) -> dict[str, Any]:
    found = queries.policy_changes(scope=request.scope)
    if client is not None:
        found = found.filter(client=client)
    if kind is not None:
        found = found.filter(kind=kind)
    return page(found, shape=_change, cursor=paging.cursor, limit=paging.limit, order=("-pk",))


@router.post(
    "/check-policy-changes/{check_policy_change_id}/undo",
    allow=Permission.CHECK_CHANGE,
    response=CheckPolicySetOut,
    summary="Set a policy back to what it was before its newest change",
)
def check_policy_undo(request: ApiRequest, check_policy_change_id: int) -> dict[str, Any]:
    scope = request.scope
    change = queries.policy_changes(scope=scope).get(pk=check_policy_change_id)
    made = services.policy_undo(change=change, scope=scope, now=current_time())
    return {"policy": None if made is None else _policy(made)}


def _policy(one: PolicyOverride) -> dict[str, Any]:
    names = ("kind", "client", "site", "device", "values", "reason", "set_by", "set_at")
    return {"id": one.pk, **{name: getattr(one, name) for name in names}}


def _change(one: PolicyChange) -> dict[str, Any]:
    names = ("kind", "client", "site", "device", "old", "new", "reason", "by", "at")
    return {"id": one.pk, **{name: getattr(one, name) for name in names}}
