"""Checks, their history, and accepting a target as it is."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Field

from forestall.server.api.asking import KnownKind, PagingQuery, current_time
from forestall.server.api.paging import Page, ordered, page
from forestall.server.api.routes.devices import Named, ReasonIn
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.checks import queries, services
from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.models import Check
from forestall.server.checks.result import Risk, Status
from forestall.server.people.scope import Permission

router = Routes(tags=["checks"])


class CheckOut(Schema):
    id: int
    device: Named
    kind: str
    title: str
    target: str = Field(description="What on the device: a volume, a service; empty: the device itself.")
    status: str = Field(description="`pass`, `warn`, `fail`, `unknown` or `stale`.")
    value: float | None
    unit: str
    reason: str
    evidence: list[str] = Field(description="Commands, files and series the result rests on.")
    risk: str
    remedy: str
    forecast_at: datetime | None = Field(description="When it will fail if nothing changes.")
    since: datetime
    judged_at: datetime
    due_at: datetime
    accepted_by: str
    accepted_reason: str


class ChangeOut(Schema):
    old: str
    new: str
    value: float | None
    reason: str
    at: datetime


class KindOut(Schema):
    slug: str
    title: str
    question: str
    why: str
    remedy: str
    risk: str
    cadence_seconds: int
    runbooks: list[str]


@router.get("/checks", allow=Permission.DEVICE_VIEW, response=Page[CheckOut], summary="List checks")
def check_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    site: UUID | None = None,
    device: UUID | None = None,
    kind: KnownKind | None = None,
    status: Status | None = None,
    target: str | None = None,
    risk: Risk | None = None,
    ordering: Literal["device__name", "-device__name", "since", "-since", "due_at", "-due_at"] = "device__name",
) -> dict[str, Any]:
    scope = request.scope
    wanted = {
        "device": device,
        "kind": kind,
        "status": status,
        "target": target,
        "risk": risk,
        "device__client": client,
        "device__site": site,
    }
    found = queries.checks(scope=scope).filter(**{name: value for name, value in wanted.items() if value is not None})
    return page(
        found, shape=_check, cursor=paging.cursor, limit=paging.limit, order=ordered(ordering, "kind", "target", "pk")
    )


@router.get(
    "/checks/kinds", allow=Permission.DEVICE_VIEW, response=list[KindOut], summary="Every kind of check, in words"
)
def kind_list(request: ApiRequest) -> list[dict[str, Any]]:
    return [
        {
            "slug": kind.slug,
            "title": kind.texts.title,
            "question": kind.texts.question,
            "why": kind.texts.why,
            "remedy": kind.texts.remedy,
            "risk": kind.risk,
            "cadence_seconds": kind.cadence_seconds,
            "runbooks": list(kind.remedies),
        }
        for kind in CHECK_KINDS.values()
    ]


@router.get("/checks/{check_id}", allow=Permission.DEVICE_VIEW, response=CheckOut, summary="Show a check")
def check_show(request: ApiRequest, check_id: int) -> dict[str, Any]:
    scope = request.scope
    return _check(queries.checks(scope=scope).get(pk=check_id))


@router.get(
    "/checks/{check_id}/changes",
    allow=Permission.DEVICE_VIEW,
    response=Page[ChangeOut],
    summary="How a check changed, newest first",
)
def change_list(request: ApiRequest, check_id: int, paging: PagingQuery) -> dict[str, Any]:
    scope = request.scope
    check = queries.checks(scope=scope).get(pk=check_id)
    found = queries.changes(scope=scope).filter(check_row=check)
    return page(found, shape=lambda row: row, cursor=paging.cursor, limit=paging.limit)


@router.post(
    "/checks/{check_id}/accept",
    allow=Permission.CHECK_CHANGE,
    response=CheckOut,
    summary="Accept a target as it is, with the reason",
)
def check_accept(request: ApiRequest, check_id: int, body: ReasonIn) -> dict[str, Any]:
    scope = request.scope
    check = queries.checks(scope=scope).get(pk=check_id)
    return _check(services.target_accept(check=check, scope=scope, reason=body.reason, now=current_time()))


@router.post(
    "/checks/{check_id}/reject", allow=Permission.CHECK_CHANGE, response=CheckOut, summary="Take an acceptance back"
)
def check_reject(request: ApiRequest, check_id: int) -> dict[str, Any]:
    scope = request.scope
    check = queries.checks(scope=scope).get(pk=check_id)
    return _check(services.target_reject(check=check, scope=scope, now=current_time()))


def _check(check: Check) -> dict[str, Any]:
    fields = (
        "device", "kind", "target", "status", "value", "unit", "reason", "evidence", "risk", "forecast_at", "since",
        "judged_at", "due_at", "accepted_by", "accepted_reason",
    )  # fmt: skip
    texts = CHECK_KINDS[check.kind].texts
    remedy = check.remedy or texts.remedy
    return {"id": check.pk, "title": texts.title, "remedy": remedy, **{name: getattr(check, name) for name in fields}}
