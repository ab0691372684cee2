"""Updates on devices: what became of each, and what is installed now."""

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
from forestall.server.inventory import queries as inventory
from forestall.server.patching import installing, queries
from forestall.server.patching.models import Deployment, DeploymentState
from forestall.server.people.scope import Permission

router = Routes(tags=["deployments"])


class DeploymentOut(Schema):
    id: int
    client: Named
    site: Named
    device: Named
    manager: str = Field(description="The provider: `apt`, `dnf`, `winget` …")
    name: str
    architecture: str
    installed: str = Field(description="Version that was there when it was first seen pending.")
    candidate: str
    kind: str = Field(description="`system`, `application`, `firmware`, `language`.")
    security: bool
    severity: str
    cves: list[str]
    advisories: list[str]
    released_at: datetime | None
    first_seen_at: datetime
    state: str = Field(description="See `docs/patching.md`.")
    state_since: datetime
    why: str = Field(description="Of blocked, failed, skipped, installed …: the cause, in words.")
    planned_for: datetime | None
    job: UUID | None = Field(description="The run that installs it, or did so last.")
    attempts: int
    needs_reboot: bool | None = Field(description="Null: not known.")
    installed_at: datetime | None
    installed_by: str
    verified_at: datetime | None
    settled_at: datetime | None
    skip_until: datetime | None
    skip_by: str
    due_at: datetime | None = Field(description="Earliest deadline of the obligations in force.")
    bound_by: str = Field(description="The obligation behind it.")
    misses: bool = Field(description="Whether the next window already misses it.")
    ticket: int | None
    evidence: str


class DeploymentChangeOut(Schema):
    at: datetime
    was: str = Field(description="Empty: the first.")
    state: str
    why: str
    actor: str


class DeploymentShownOut(DeploymentOut):
    log_excerpt: str = Field(description="The end of what the run wrote.")
    services_before: list[str] = Field(description="Services that ran before it was installed.")
    changes: list[DeploymentChangeOut] = Field(description="Its history, oldest first.")


class DeployIn(Schema):
    choose: Literal["security", "all", "chosen"] = "security"
    packages: list[str] = Field([], max_length=500, description="With `chosen`: names, or `name=version`.")
    reason: str = Field("", max_length=300)


class DeploymentLeftOut(Schema):
    name: str
    why: str


class DeployOut(Schema):
    jobs: list[UUID] = Field(description="Prepared for a signature, or queued under a standing order.")
    awaiting_signature: bool
    updates: int
    left: list[DeploymentLeftOut] = Field(description="Asked for and not taken, with why.")


@router.get("/deployments", allow=Permission.DEVICE_VIEW, response=Page[DeploymentOut], summary="List deployments")
def deployment_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    device: UUID | None = None,
    state: str = "",
    name: str = "",
    late: bool = False,  # noqa: FBT001, FBT002 - a query parameter
    settled: bool = False,  # noqa: FBT001, FBT002
    job: UUID | None = None,
) -> dict[str, Any]:
    found = queries.deployments(scope=request.scope, late_at=current_time() if late else None)
    if client is not None:
        found = found.filter(client=client)
    if device is not None:
        found = found.filter(device=device)
    if state:
        if state not in DeploymentState.values:
            raise ValueError(f"state: {state!r} is not one of {', '.join(DeploymentState.values)}")
        found = found.filter(state=state)
    elif not settled and job is None:
        found = found.filter(settled_at=None)
    if name:
        found = found.filter(name=name)
    if job is not None:
        found = found.filter(job_id=job)
    return page(found, shape=_deployment, cursor=paging.cursor, limit=paging.limit, order=("-pk",))


@router.get(
    "/deployments/{deployment_id}",
    allow=Permission.DEVICE_VIEW,
    response=DeploymentShownOut,
    summary="Show a deployment with its history",
)
def deployment_show(request: ApiRequest, deployment_id: int) -> dict[str, Any]:
    found = queries.deployments(scope=request.scope).get(pk=deployment_id)
    changes = queries.changes_of(scope=request.scope, deployment=found)
    return {
        **_deployment(found),
        "log_excerpt": found.log_excerpt,
        "services_before": found.services_before,
        "changes": [
            {"at": one.at, "was": one.was, "state": one.state, "why": one.why, "actor": one.actor} for one in changes
        ],
    }


@router.post(
    "/devices/{device_id}/deploy",
    allow=Permission.PATCH_CHANGE,
    response=DeployOut,
    summary="Install updates on a device now: prepares the run, for a signature or under a standing order",
)
def device_deploy(request: ApiRequest, device_id: UUID, body: DeployIn) -> dict[str, Any]:
    scope, now = request.scope, current_time()
    device = inventory.devices(scope=scope).get(pk=device_id)
    begun = installing.deploy_now(
        scope=scope, device=device, choose=body.choose, packages=body.packages, reason=body.reason, now=now
    )
    return {
        "jobs": [job.pk for job in begun.jobs],
        "awaiting_signature": any(job.state == "awaiting_signature" for job in begun.jobs),
        "updates": begun.updates,
        "left": [{"name": row.name, "why": why} for row, why in begun.left],
    }


def _deployment(one: Deployment) -> dict[str, Any]:
    plain = (
        "client", "site", "device", "manager", "name", "architecture", "installed", "candidate", "kind", "security",
        "severity", "cves", "advisories", "released_at", "first_seen_at", "state", "state_since", "why", "planned_for",
        "attempts", "needs_reboot", "installed_at", "installed_by", "verified_at", "settled_at", "skip_until",
        "skip_by", "due_at", "bound_by", "misses",
    )  # fmt: skip
    return {
        "id": one.pk,
        "job": one.job_id,
        "ticket": one.ticket_id,
        "evidence": one.evidence_reference,
        **{name: getattr(one, name) for name in plain},
    }
