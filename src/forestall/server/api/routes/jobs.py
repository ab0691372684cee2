"""Runbooks, jobs and standing orders: prepared here, signed elsewhere, run on devices."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Router, Schema

from forestall.server.api.asking import PagingQuery, current_time, scope_of_request
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.devices import Named
from forestall.server.inventory.queries import devices
from forestall.server.people.scope import Permission
from forestall.server.runbooks import queries, services
from forestall.server.runbooks.models import Job, JobState, OrderRecord, OrderState, RunbookRecord

router = Router(tags=["runbooks and jobs"])

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
    not_before: datetime
    expires_at: datetime
    state: str
    installed_by: str


@router.get("/runbooks", response=list[RunbookOut], summary="List runbooks, the newest version of each")
def runbook_list(request: HttpRequest) -> list[dict[str, Any]]:
    scope = scope_of_request(request, Permission.RUNBOOK_VIEW)
    return [_runbook(record) for record in queries.runbooks(scope=scope)]


@router.post("/runbooks", response=RunbookOut, summary="Publish a runbook that the catalogue role signed")
def runbook_publish(request: HttpRequest, body: EnvelopeIn) -> dict[str, Any]:
    scope = scope_of_request(request, Permission.PEOPLE_CHANGE)
    return _runbook(services.runbook_publish(scope=scope, envelope=_envelope(body), now=current_time()))


@router.get("/jobs", response=Page[JobOut], summary="List jobs, newest first")
def job_list(
    request: HttpRequest,
    paging: PagingQuery,
    state: JobState | None = None,
    device: UUID | None = None,
    ticket: int | None = None,
) -> dict[str, Any]:
    scope = scope_of_request(request, Permission.RUNBOOK_VIEW)
    wanted = {"state": state, "device": device, "ticket_id": ticket}
    found = queries.jobs(scope=scope).filter(**{name: value for name, value in wanted.items() if value is not None})
    return page(found, shape=_job, cursor=paging.cursor, limit=paging.limit, order=("-created_at", "pk"))


@router.post("/jobs", response=JobOut, summary="Prepare a job: it waits for an operator's signature")
def job_prepare(request: HttpRequest, body: JobIn) -> dict[str, Any]:
    scope = scope_of_request(request, Permission.JOB_PREPARE)
    job = services.job_prepare(
        scope=scope,
        runbook=body.runbook,
        device=devices(scope=scope).get(pk=body.device),
        parameters=body.parameters,
        reason=body.reason,
        ticket_id=body.ticket,
        now=current_time(),
    )
    return _job(job)


@router.get("/jobs/{job_id}", response=JobOut, summary="Show a job")
def job_show(request: HttpRequest, job_id: UUID) -> dict[str, Any]:
    scope = scope_of_request(request, Permission.RUNBOOK_VIEW)
    return _job(queries.jobs(scope=scope).get(pk=job_id))


@router.get("/jobs/{job_id}/events", response=list[JobEventOut], summary="What happened to a job, oldest first")
def job_events(request: HttpRequest, job_id: UUID) -> Any:
    scope = scope_of_request(request, Permission.RUNBOOK_VIEW)
    return list(queries.jobs(scope=scope).get(pk=job_id).events.all())


@router.post("/jobs/{job_id}/signature", response=JobOut, summary="Hand in the signed job: it goes to the device")
def job_sign(request: HttpRequest, job_id: UUID, body: EnvelopeIn) -> dict[str, Any]:
    scope = scope_of_request(request, Permission.JOB_PREPARE)
    queries.jobs(scope=scope).get(pk=job_id)
    return _job(services.job_submit_signed(scope=scope, envelope=_envelope(body), now=current_time()))


@router.post("/jobs/{job_id}/cancel", response=JobOut, summary="Cancel a job that has not been delivered")
def job_cancel(request: HttpRequest, job_id: UUID) -> dict[str, Any]:
    scope = scope_of_request(request, Permission.JOB_PREPARE)
    job = queries.jobs(scope=scope).get(pk=job_id)
    return _job(services.job_cancel(job=job, scope=scope, now=current_time()))


@router.get("/orders", response=Page[OrderOut], summary="List standing orders, newest first")
def order_list(request: HttpRequest, paging: PagingQuery, state: OrderState | None = None) -> dict[str, Any]:
    scope = scope_of_request(request, Permission.RUNBOOK_VIEW)
    found = queries.orders(scope=scope)
    if state:
        found = found.filter(state=state)
    return page(found, shape=_order, cursor=paging.cursor, limit=paging.limit, order=("-installed_at", "pk"))


@router.post("/orders", response=OrderOut, summary="Install a signed standing order")
def order_install(request: HttpRequest, body: EnvelopeIn) -> dict[str, Any]:
    scope = scope_of_request(request, Permission.JOB_PREPARE)
    return _order(services.order_install(scope=scope, envelope=_envelope(body), now=current_time()))


@router.post("/orders/revocations", response=list[OrderOut], summary="Revoke standing orders by a signed revocation")
def order_revoke(request: HttpRequest, body: EnvelopeIn) -> list[dict[str, Any]]:
    scope = scope_of_request(request, Permission.JOB_PREPARE)
    return [_order(one) for one in services.order_revoke(scope=scope, envelope=_envelope(body), now=current_time())]


def _envelope(body: EnvelopeIn) -> bytes:
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
        "delivered_at", "started_at", "finished_at",
    )  # fmt: skip
    return {
        **{name: getattr(job, name) for name in fields},
        "runbook": job.runbook.slug,
        "runbook_digest": job.runbook.digest,
        "order": job.order.digest if job.order else "",
        "ticket": job.ticket_id,
        "code": job.result_code,
        "detail": job.result_detail,
        "steps": [{"output": "", "changed": {}, **step} for step in job.result_steps],
        "evidence": job.evidence_reference,
        "statement": base64.b64encode(bytes(job.statement)).decode(),
    }


def _order(order: OrderRecord) -> dict[str, Any]:
    fields = ("digest", "trigger", "client", "allowed", "runs_per_day", "not_before", "expires_at", "state")
    shaped = {name: getattr(order, name) for name in fields}
    return {
        **shaped,
        "runbook": order.runbook.slug,
        "devices": list(order.devices.all()),
        "installed_by": order.installed_by,
    }
