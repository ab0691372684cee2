"""Runbooks, jobs and standing orders: prepared here, signed elsewhere, run on devices."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Field

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, ordered, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.inventory.queries import devices
from forestall.server.people.scope import Permission
from forestall.server.runbooks import queries, services
from forestall.server.runbooks.models import Job, JobState, OrderRecord, OrderState, RunbookRecord

router = Routes(tags=["runbooks and jobs"])

Value = str | int | bool


class RunbookOut(Schema):
    slug: str
    version: int
    digest: str
    title: str
    risk: str
    envelope: str = Field(description="Base64 of the signed DSSE envelope.")


class StepOut(Schema):
    action: str
    ok: bool
    summary: str
    output: str
    changed: dict[str, int]
    part: str = Field(
        default="",
        description="Empty: it ran. skipped: its condition did not hold. approval: the run stopped before it. undo: "
        "what was put back after a step had failed.",
    )


class JobOut(Schema):
    id: UUID
    runbook: str
    runbook_digest: str
    device: Named
    client: Named
    parameters: dict[str, Value]
    reason: str
    state: str
    order: str = Field(description="Digest of the standing order it runs under; empty: signed by itself.")
    ticket: int | None
    created_at: datetime
    created_by: str
    expires_at: datetime
    delivered_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    code: str
    detail: str
    steps: list[StepOut]
    evidence: str
    statement: str = Field(description="Base64 of the exact bytes that are signed.")
    dry_run: bool = Field(description="It only says what it would do.")
    signed_by: list[str] = Field(description="Key ids of the operators who have signed.")
    envelope: str = Field(description="Base64 of the envelope as signed so far; empty when nobody has.")
    continues: UUID | None = Field(description="The job that stopped for the approval that this one is.")
    undoable: int = Field(description="Changes that its device's undo journal has of it.")


class JobUndoIn(Schema):
    reason: str = Field(min_length=1, max_length=500)


class ReachOut(Schema):
    """How far a job reaches, with the others of its runbook that single operators signed in these 24 hours."""

    covered: int = Field(description="Devices, this job's included.")
    client_devices: int = Field(description="Approved devices of the client.")
    limit: int = Field(description="Most devices that one signature may cover: a tenth of the client, 5 at least.")
    needed: int = Field(description="Operators who must sign.")


class JobEventOut(Schema):
    at: datetime
    what: str
    actor: str
    text: str


class JobIn(Schema):
    runbook: str = Field(description="Slug.")
    device: UUID
    parameters: dict[str, Value] = {}
    reason: str = Field(min_length=1, max_length=500)
    ticket: int | None = None
    dry_run: bool = Field(default=False, description="Only say what it would do. It needs the same signatures.")


class EnvelopeIn(Schema):
    envelope: str = Field(description="Base64 of a signed DSSE envelope.")


class OrderOut(Schema):
    digest: str
    runbook: str
    trigger: str
    client: Named
    devices: list[Named]
    allowed: dict[str, list[Value]]
    runs_per_day: int
    devices_per_hour: int | None = Field(description="Most devices on which it runs in any hour; null: no bound.")
    not_before: datetime
    expires_at: datetime
    state: str
    installed_by: str


@router.get(
    "/runbooks",
    allow=Permission.RUNBOOK_VIEW,
    response=Page[RunbookOut],
    summary="List runbooks, the newest version of each first",
)
def runbook_list(request: ApiRequest, paging: PagingQuery, slug: str | None = None) -> dict[str, Any]:
    found = queries.runbooks(scope=request.scope)
    if slug is not None:
        found = found.filter(slug=slug)
    return page(found, shape=_runbook, cursor=paging.cursor, limit=paging.limit, order=("slug", "-version"))


@router.post(
    "/runbooks",
    allow=Permission.AUTHORITY_CHANGE,
    response=RunbookOut,
    summary="Publish a runbook that the catalogue role signed",
)
def runbook_publish(request: ApiRequest, body: EnvelopeIn) -> dict[str, Any]:
    scope = request.scope
    return _runbook(services.runbook_publish(scope=scope, envelope=envelope_of(body), now=current_time()))


@router.get("/jobs", allow=Permission.RUNBOOK_VIEW, response=Page[JobOut], summary="List jobs, newest first")
def job_list(
    request: ApiRequest,
    paging: PagingQuery,
    state: JobState | None = None,
    device: UUID | None = None,
    client: UUID | None = None,
    ticket: int | None = None,
    ordering: Literal["-created_at", "created_at"] = "-created_at",
) -> dict[str, Any]:
    scope = request.scope
    wanted = {"state": state, "device": device, "device__client": client, "ticket_id": ticket}
    found = queries.jobs(scope=scope).filter(**{name: value for name, value in wanted.items() if value is not None})
    return page(found, shape=_job, cursor=paging.cursor, limit=paging.limit, order=ordered(ordering))


@router.post(
    "/jobs",
    allow=Permission.JOB_PREPARE,
    response=JobOut,
    summary="Prepare a job: it waits for an operator's signature",
)
def job_prepare(request: ApiRequest, body: JobIn) -> dict[str, Any]:
    scope = request.scope
    job = services.job_prepare(
        scope=scope,
        runbook=body.runbook,
        device=devices(scope=scope).get(pk=body.device),
        parameters=body.parameters,
        reason=body.reason,
        ticket_id=body.ticket,
        dry_run=body.dry_run,
        now=current_time(),
    )
    return _job(job)


@router.get("/jobs/{job_id}", allow=Permission.RUNBOOK_VIEW, response=JobOut, summary="Show a job")
def job_show(request: ApiRequest, job_id: UUID) -> dict[str, Any]:
    scope = request.scope
    return _job(queries.jobs(scope=scope).get(pk=job_id))


@router.get(
    "/jobs/{job_id}/reach",
    allow=Permission.RUNBOOK_VIEW,
    response=ReachOut,
    summary="How many devices one runbook reaches with this job, and how many operators that takes",
)
def job_reach(request: ApiRequest, job_id: UUID) -> Any:
    job = queries.jobs(scope=request.scope).get(pk=job_id)
    return queries.job_reach(scope=request.scope, job=job, now=current_time())


@router.get(
    "/jobs/{job_id}/events",
    allow=Permission.RUNBOOK_VIEW,
    response=list[JobEventOut],
    summary="What happened to a job, oldest first",
)
def job_events(request: ApiRequest, job_id: UUID) -> Any:
    scope = request.scope
    return list(queries.jobs(scope=scope).get(pk=job_id).events.all())


@router.post(
    "/jobs/{job_id}/signature",
    allow=Permission.JOB_PREPARE,
    response=JobOut,
    summary="Hand in the signed job: it goes to the device",
)
def job_sign(request: ApiRequest, job_id: UUID, body: EnvelopeIn) -> dict[str, Any]:
    scope = request.scope
    scope.require(Permission.JOB_PREPARE, on=queries.jobs(scope=scope).get(pk=job_id))
    return _job(services.job_submit_signed(scope=scope, envelope=envelope_of(body), now=current_time()))


@router.post(
    "/jobs/{job_id}/cancel",
    allow=Permission.JOB_PREPARE,
    response=JobOut,
    summary="Cancel a job that has not been delivered",
)
def job_cancel(request: ApiRequest, job_id: UUID) -> dict[str, Any]:
    scope = request.scope
    job = queries.jobs(scope=scope).get(pk=job_id)
    return _job(services.job_cancel(job=job, scope=scope, now=current_time()))


@router.post(
    "/jobs/{job_id}/undo",
    allow=Permission.JOB_PREPARE,
    response=JobOut,
    summary="Prepare the job that puts back what this one changed",
)
def job_undo(request: ApiRequest, job_id: UUID, body: JobUndoIn) -> dict[str, Any]:
    scope = request.scope
    job = queries.jobs(scope=scope).get(pk=job_id)
    return _job(services.job_undo_prepare(job=job, scope=scope, reason=body.reason, now=current_time()))


@router.post(
    "/jobs/{job_id}/approval",
    allow=Permission.JOB_PREPARE,
    response=JobOut,
    summary="Prepare the approval of a job that stopped for one again, after the first has expired",
)
def job_approval(request: ApiRequest, job_id: UUID) -> dict[str, Any]:
    scope = request.scope
    job = queries.jobs(scope=scope).get(pk=job_id)
    return _job(services.job_continue(job=job, scope=scope, now=current_time()))


@router.get(
    "/orders", allow=Permission.RUNBOOK_VIEW, response=Page[OrderOut], summary="List standing orders, newest first"
)
def order_list(request: ApiRequest, paging: PagingQuery, state: OrderState | None = None) -> dict[str, Any]:
    scope = request.scope
    found = queries.orders(scope=scope)
    if state:
        found = found.filter(state=state)
    return page(found, shape=_order, cursor=paging.cursor, limit=paging.limit, order=("-installed_at", "pk"))


@router.post("/orders", allow=Permission.JOB_PREPARE, response=OrderOut, summary="Install a signed standing order")
def order_install(request: ApiRequest, body: EnvelopeIn) -> dict[str, Any]:
    scope = request.scope
    return _order(services.order_install(scope=scope, envelope=envelope_of(body), now=current_time()))


@router.post(
    "/orders/revocations",
    allow=Permission.JOB_PREPARE,
    response=list[OrderOut],
    summary="Revoke standing orders by a signed revocation",
)
def order_revoke(request: ApiRequest, body: EnvelopeIn) -> list[dict[str, Any]]:
    scope = request.scope
    return [_order(one) for one in services.order_revoke(scope=scope, envelope=envelope_of(body), now=current_time())]


def envelope_of(body: EnvelopeIn) -> bytes:
    """The bytes handed in; ValueError when they are not base64."""
    try:
        return base64.b64decode(body.envelope, validate=True)
    except binascii.Error as error:
        raise ValueError(f"envelope: not base64: {error}") from None


def _runbook(record: RunbookRecord) -> dict[str, Any]:
    shaped = {name: getattr(record, name) for name in ("slug", "version", "digest", "title", "risk")}
    return {**shaped, "envelope": base64.b64encode(bytes(record.envelope)).decode()}


def _job(job: Job) -> dict[str, Any]:
    fields = (
        "id", "device", "client", "parameters", "reason", "state", "created_at", "created_by", "expires_at",
        "delivered_at", "started_at", "finished_at", "dry_run", "signed_by",
    )  # fmt: skip
    return {
        **{name: getattr(job, name) for name in fields},
        "runbook": job.runbook.slug,
        "runbook_digest": job.runbook.digest,
        "order": job.order.digest if job.order else "",
        "ticket": job.ticket_id,
        "code": job.result_code,
        "detail": job.result_detail,
        "steps": [{"output": "", "changed": {}, "part": "", **step} for step in job.result_steps],
        "continues": job.continues_id,
        "undoable": queries.undoable(job),
        "evidence": job.evidence_reference,
        "statement": base64.b64encode(bytes(job.statement)).decode(),
        "envelope": base64.b64encode(bytes(job.envelope)).decode(),
    }


def _order(order: OrderRecord) -> dict[str, Any]:
    fields = ("digest", "trigger", "client", "allowed", "runs_per_day", "devices_per_hour", "not_before",
              "expires_at", "state")  # fmt: skip
    shaped = {name: getattr(order, name) for name in fields}
    return {
        **shaped,
        "runbook": order.runbook.slug,
        "devices": list(order.devices.all()),
        "installed_by": order.installed_by,
    }
