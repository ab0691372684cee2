"""Patch policies, and what people decide about updates: approvals, deferrals, exclusions."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from ninja import Field

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.clients.queries import served, sites_served
from forestall.server.inventory import queries as inventory
from forestall.server.patching import planning, queries
from forestall.server.patching.models import PatchPolicy, UpdateDecision
from forestall.server.patching.policies import read_terms
from forestall.server.people.scope import Permission

router = Routes(tags=["patch policies"])


class TermsModel(Schema):
    reboot: Literal["never", "when_needed", "next_window"] = Field(
        "never", description="`when_needed`: at the end of the run; `next_window`: put off until the window after it."
    )
    warn_minutes: int = Field(5, ge=0, le=1440, description="From the warning to a restart.")
    least_free_mb: int = Field(500, ge=0, le=1_000_000, description="Free space that must be left, in megabytes.")
    on_battery: Literal["block", "allow"] = "block"
    sessions: Literal["ignore", "block"] = Field("ignore", description="Whether people who are signed in block it.")
    snapshot: Literal["never", "when_possible", "required"] = "never"
    backup: Literal["ignore", "warn", "block"] = Field("warn", description="What a backup that is too old means.")
    backup_hours: int = Field(48, ge=1, le=8784, description="How old the last good backup may be.")
    backup_restored_days: int = Field(0, ge=0, le=3660, description="How old a proved restore may be; 0: not asked.")
    minutes_needed: int = Field(15, ge=1, le=1440, description="A window with less left is not begun with.")
    rings: bool = Field(default=True, description="Whether it goes ring by ring.")


class PatchPolicyOut(Schema):
    id: int
    client: Named
    site: Named | None = Field(description="Null: every site that has none of its own.")
    choose: str
    approval: str
    defer_days: int
    terms: TermsModel
    changed_at: datetime
    changed_by: str


class PatchPolicyIn(Schema):
    client: UUID | None = Field(None, description="Null: that of the site.")
    site: UUID | None = Field(None, description="Null: the client as a whole.")
    choose: Literal["security", "all", "nothing"] = Field(
        "security", description="What is installed in windows without being asked for."
    )
    approval: Literal["automatic", "manual"] = "automatic"
    defer_days: int = Field(0, ge=0, le=90, description="So long after its release an update waits.")
    terms: TermsModel | None = Field(None, description="Null: the usual ones.")


class DecisionOut(Schema):
    id: int
    client: Named
    device: UUID | None = Field(description="Null: every device of the client.")
    manager: str
    name: str
    candidate: str = Field(description="Empty: every version.")
    decision: str
    until: datetime | None
    reason: str
    at: datetime
    by: str
    ended_at: datetime | None
    ended_by: str


class DecisionIn(Schema):
    client: UUID | None = Field(None, description="Null: that of the device.")
    device: UUID | None = Field(None, description="Null: every device of the client.")
    manager: str = Field("", max_length=20)
    name: str = Field(max_length=200, description="Package; `*` at its end stands for anything.")
    candidate: str = Field("", max_length=200)
    decision: Literal["approve", "defer", "exclude"]
    until: datetime | None = Field(None, description="A deferral needs one.")
    reason: str = Field("", max_length=planning.LONGEST_REASON)


@router.get(
    "/patch-policies", allow=Permission.DEVICE_VIEW, response=Page[PatchPolicyOut], summary="List patch policies"
)
def patch_policy_list(request: ApiRequest, paging: PagingQuery, client: UUID | None = None) -> dict[str, Any]:
    found = queries.policies(scope=request.scope)
    if client is not None:
        found = found.filter(client=client)
    return page(found, shape=_policy, cursor=paging.cursor, limit=paging.limit, order=("client__name", "pk"))


@router.post(
    "/patch-policies",
    allow=Permission.PATCH_CHANGE,
    response=PatchPolicyOut,
    summary="Set the patch policy of a client or site, in place of the one before",
)
def patch_policy_set(request: ApiRequest, body: PatchPolicyIn) -> dict[str, Any]:
    scope, now = request.scope, current_time()
    site = None if body.site is None else sites_served(scope=scope).get(pk=body.site)
    if site is not None and body.client is None:
        client = site.client
    elif body.client is not None:
        client = served(scope=scope).get(pk=body.client)
    else:
        raise ValueError("client: name one, or a site")
    return _policy(
        planning.policy_set(
            scope=scope, client=client, site=site, choose=body.choose, approval=body.approval,
            defer_days=body.defer_days, terms={} if body.terms is None else body.terms.model_dump(), now=now,
        )
    )  # fmt: skip


@router.delete(
    "/patch-policies/{patch_policy_id}",
    allow=Permission.PATCH_CHANGE,
    response={204: None},
    summary="Take a patch policy away: nothing is installed by itself there any more",
)
def patch_policy_remove(request: ApiRequest, patch_policy_id: int) -> tuple[int, None]:
    found = queries.policies(scope=request.scope).get(pk=patch_policy_id)
    planning.policy_remove(scope=request.scope, policy=found, now=current_time())
    return 204, None


@router.get(
    "/update-decisions",
    allow=Permission.DEVICE_VIEW,
    response=Page[DecisionOut],
    summary="List what was decided about updates, newest first",
)
def update_decision_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    ended: bool = False,  # noqa: FBT001, FBT002 - a query parameter
) -> dict[str, Any]:
    found = queries.decisions(scope=request.scope, in_force_at=None if ended else current_time())
    if client is not None:
        found = found.filter(client=client)
    return page(found, shape=_decision, cursor=paging.cursor, limit=paging.limit, order=("-pk",))


@router.post(
    "/update-decisions",
    allow=Permission.PATCH_CHANGE,
    response={201: DecisionOut},
    summary="Approve, defer or exclude an update at a client or on a device",
)
def update_decide(request: ApiRequest, body: DecisionIn) -> tuple[int, dict[str, Any]]:
    scope, now = request.scope, current_time()
    device = None if body.device is None else inventory.devices(scope=scope).get(pk=body.device)
    if device is not None and body.client is None:
        client = device.client
    elif body.client is not None:
        client = served(scope=scope).get(pk=body.client)
    else:
        raise ValueError("client: name one, or a device")
    made = planning.update_decide(
        scope=scope, client=client, device=device, now=now, **body.model_dump(exclude={"client", "device"})
    )
    return 201, _decision(made)


@router.post(
    "/update-decisions/{update_decision_id}/end",
    allow=Permission.PATCH_CHANGE,
    response=DecisionOut,
    summary="Take a decision about an update back",
)
def update_decision_end(request: ApiRequest, update_decision_id: int) -> dict[str, Any]:
    scope = request.scope
    found = queries.decisions(scope=scope).get(pk=update_decision_id)
    return _decision(planning.decision_end(scope=scope, decision=found, now=current_time()))


def _policy(one: PatchPolicy) -> dict[str, Any]:
    return {
        "id": one.pk,
        "client": one.client,
        "site": one.site,
        "choose": one.choose,
        "approval": one.approval,
        "defer_days": one.defer_days,
        "terms": msgspec.to_builtins(read_terms(one.terms)),
        "changed_at": one.changed_at,
        "changed_by": one.changed_by,
    }


def _decision(one: UpdateDecision) -> dict[str, Any]:
    plain = ("manager", "name", "candidate", "decision", "until", "reason", "at", "by", "ended_at", "ended_by")
    return {
        "id": one.pk,
        "client": one.client,
        "device": one.device_id,
        **{name: getattr(one, name) for name in plain},
    }
