"""Coverage and health: the matrix, its gaps and exceptions, scores with the checks behind them, and past runs."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from ninja import Field

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.clients.queries import served, sites_served
from forestall.server.health import queries, services
from forestall.server.health.models import CoverageException, HealthRun
from forestall.server.health.rules import Cell, Column, Lost, gap_points, gap_risk
from forestall.server.inventory import queries as inventory
from forestall.server.people.scope import Permission
from forestall.server.recovery import queries as recovery

router = Routes(tags=["coverage and health"])


class CoverageCellOut(Schema):
    column: str = Field(description="`agent`, `monitoring`, `patching`, `backup`, `recovery`, `antivirus` …")
    status: str | None = Field(description="Null: does not apply.")
    why: str
    at: datetime | None = Field(description="When it was last seen to be so.")
    check: int | None = Field(description="The check behind it.")
    href: str = Field(description="Where it is fixed, in the console.")
    risk: str | None = Field(description="Of a gap; null: it is none.")
    excepted_until: datetime | None
    exception_reason: str


class CoverageLineOut(Schema):
    sort: str = Field(description="`device`, `asset` (a machine on the list that nobody watches) or `system`.")
    id: str
    name: str
    client: Named
    site: Named
    role: str
    importance: str = Field(description="Of a protected system.")
    gaps: int
    cells: list[CoverageCellOut]


class GapOut(Schema):
    risk: str
    points: float = Field(description="By which gaps are ranked: column x thing x status.")
    column: str
    sort: str
    id: str
    name: str
    client: Named
    site: Named
    status: str
    why: str
    at: datetime | None
    fix: str
    href: str


class CoverageExceptionOut(Schema):
    id: int
    column: str
    client: Named
    site: Named | None
    device: Named | None
    system: int | None = Field(description="The protected system.")
    reason: str
    granted_at: datetime
    granted_by: str
    expires_at: datetime
    ended_at: datetime | None
    ended_by: str


class CoverageExceptionIn(Schema):
    column: Column
    client: UUID | None = Field(None, description="Exactly one of client, site, device and system.")
    site: UUID | None = None
    device: UUID | None = None
    system: int | None = None
    reason: str = Field(min_length=1, max_length=services.LONGEST_REASON)
    expires_at: datetime = Field(description="Within a year from now.")


class LostOut(Schema):
    points: float
    check: int
    kind: str
    target: str
    status: str
    risk: str
    reason: str
    others: list[int] = Field(description="More checks of this kind that do not pass.")


class DeviceHealthOut(Schema):
    device: Named
    site: str
    role: str
    score: int = Field(description="0 to 100.")
    exact: float
    checks: int
    lost: list[LostOut] = Field(description="Every lost point, by the check behind it.")


class ClientHealthOut(Schema):
    client: Named
    score: int | None = Field(description="0 to 100; null: no approved device.")
    devices: list[DeviceHealthOut] = Field(description="The least healthy first.")


class HealthRunOut(Schema):
    id: int
    client: Named
    day: date
    scheduled: bool
    at: datetime
    seconds: float
    by: str
    score: float | None
    devices: int
    judged: int
    counts: dict[str, int]
    gaps: int
    scores: dict[str, float]
    summary: list[str]
    told: list[str] = Field(description="Who was told.")


class HealthRunIn(Schema):
    client: UUID


@router.get(
    "/coverage",
    allow=Permission.DEVICE_VIEW,
    response=list[CoverageLineOut],
    summary="Who is covered by what: every device, unwatched machine and protected system",
)
def coverage_show(request: ApiRequest, client: UUID | None = None) -> list[dict[str, Any]]:
    lines = queries.coverage(scope=request.scope, now=current_time(), client=client)
    return [
        {
            **_subject(line.subject),
            "role": line.subject.role,
            "importance": line.subject.importance,
            "gaps": line.gaps,
            "cells": [_cell(line.subject, column, cell) for column, cell in line.cells.items()],
        }
        for line in lines
    ]


@router.get(
    "/coverage/gaps",
    allow=Permission.DEVICE_VIEW,
    response=list[GapOut],
    summary="What is not covered, by risk",
)
def coverage_gaps(request: ApiRequest, client: UUID | None = None) -> list[dict[str, Any]]:
    found = queries.gaps(queries.coverage(scope=request.scope, now=current_time(), client=client))
    return [
        {
            **_subject(gap.subject),
            "risk": gap.risk,
            "points": round(gap.points, 1),
            "column": gap.column,
            "status": gap.cell.status,
            "why": gap.cell.why,
            "at": gap.cell.at,
            "fix": gap.cell.fix,
            "href": gap.cell.href,
        }
        for gap in found
    ]


@router.get(
    "/coverage-exceptions",
    allow=Permission.DEVICE_VIEW,
    response=Page[CoverageExceptionOut],
    summary="List exceptions from coverage, newest first",
)
def coverage_exception_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    ended: bool = False,  # noqa: FBT001, FBT002 - a query parameter
) -> dict[str, Any]:
    found = queries.exceptions(scope=request.scope, in_force_at=None if ended else current_time())
    if client is not None:
        found = found.filter(client=client)
    return page(found, shape=_exception, cursor=paging.cursor, limit=paging.limit, order=("-pk",))


@router.post(
    "/coverage-exceptions",
    allow=Permission.RISK_ACCEPT,
    response={201: CoverageExceptionOut},
    summary="Accept a gap of coverage until a date, with the reason",
)
def coverage_exception_grant(request: ApiRequest, body: CoverageExceptionIn) -> tuple[int, dict[str, Any]]:
    scope = request.scope
    if [body.client, body.site, body.device, body.system].count(None) != 3:
        raise services.CoverageError("name exactly one of client, site, device and system")
    made = services.coverage_except(
        column=body.column,
        reason=body.reason,
        expires_at=body.expires_at,
        scope=scope,
        now=current_time(),
        client=None if body.client is None else served(scope=scope).get(pk=body.client),
        site=None if body.site is None else sites_served(scope=scope).get(pk=body.site),
        device=None if body.device is None else inventory.devices(scope=scope).get(pk=body.device),
        system=None if body.system is None else recovery.systems(scope=scope).get(pk=body.system),
    )
    return 201, _exception(made)


@router.post(
    "/coverage-exceptions/{coverage_exception_id}/end",
    allow=Permission.RISK_ACCEPT,
    response=CoverageExceptionOut,
    summary="End an exception from coverage: the gap counts again",
)
def coverage_exception_end(request: ApiRequest, coverage_exception_id: int) -> dict[str, Any]:
    scope = request.scope
    found = queries.exceptions(scope=scope).get(pk=coverage_exception_id)
    return _exception(services.coverage_exception_end(exception=found, scope=scope, now=current_time()))


@router.get(
    "/health",
    allow=Permission.DEVICE_VIEW,
    response=list[ClientHealthOut],
    summary="How healthy clients and devices are, with the check behind every lost point",
)
def health_show(request: ApiRequest, client: UUID | None = None, device: UUID | None = None) -> list[dict[str, Any]]:
    scope = request.scope
    found = queries.health(scope=scope, client=client, devices=None if device is None else [device])
    behind = [lost.check.check_id for one in found for each in one.devices for lost in each.score.lost]
    reasons = queries.reasons_of(scope=scope, checks=behind)
    return [
        {
            "client": {"id": one.client_id, "name": one.name},
            "score": one.value,
            "devices": [
                {
                    "device": {"id": each.device_id, "name": each.name},
                    "site": each.site,
                    "role": each.role,
                    "score": each.score.value,
                    "exact": round(each.score.exact, 2),
                    "checks": each.score.checks,
                    "lost": [_lost(lost, reasons) for lost in each.score.lost],
                }
                for each in one.devices
            ],
        }
        for one in found
    ]


@router.get(
    "/health-runs",
    allow=Permission.DEVICE_VIEW,
    response=Page[HealthRunOut],
    summary="List health runs, newest first; for those who see the client as a whole",
)
def health_run_list(request: ApiRequest, paging: PagingQuery, client: UUID | None = None) -> dict[str, Any]:
    found = queries.runs(scope=request.scope)
    if client is not None:
        found = found.filter(client=client)
    return page(found, shape=_run, cursor=paging.cursor, limit=paging.limit, order=("-at", "-pk"))


@router.post(
    "/health-runs",
    allow=Permission.CHECK_CHANGE,
    response={201: HealthRunOut},
    summary="Judge all devices of a client now, and keep how it stands",
)
def health_run_start(request: ApiRequest, body: HealthRunIn) -> tuple[int, dict[str, Any]]:
    scope = request.scope
    client = served(scope=scope).get(pk=body.client)
    return 201, _run(services.health_run(client=client, scope=scope, now=current_time()))


def _subject(one: queries.Subject) -> dict[str, Any]:
    return {
        "sort": one.sort,
        "id": one.id,
        "name": one.name,
        "client": {"id": one.client_id, "name": one.client},
        "site": {"id": one.site_id, "name": one.site},
    }


def _cell(subject: queries.Subject, column: Column, cell: Cell) -> dict[str, Any]:
    risk = None
    if cell.is_gap and cell.status is not None:
        risk = gap_risk(gap_points(column, cell.status, role=subject.role, importance=subject.importance))
    return {
        "column": column,
        "status": cell.status,
        "why": cell.why,
        "at": cell.at,
        "check": cell.check_id,
        "href": cell.href,
        "risk": risk,
        "excepted_until": cell.excepted_until,
        "exception_reason": cell.exception_reason,
    }


def _lost(lost: Lost, reasons: dict[int, str]) -> dict[str, Any]:
    check = lost.check
    return {
        "points": round(lost.points, 2),
        "check": check.check_id,
        "kind": check.kind,
        "target": check.target,
        "status": check.status,
        "risk": check.risk,
        "reason": reasons.get(check.check_id, ""),
        "others": [one.check_id for one in lost.others],
    }


def _exception(one: CoverageException) -> dict[str, Any]:
    plain = (
        "column", "client", "site", "device", "reason", "granted_at", "granted_by", "expires_at", "ended_at",
        "ended_by",
    )  # fmt: skip
    return {"id": one.pk, "system": one.system_id, **{name: getattr(one, name) for name in plain}}


def _run(one: HealthRun) -> dict[str, Any]:
    plain = (
        "client", "day", "scheduled", "at", "seconds", "by", "score", "devices", "judged", "counts", "gaps", "scores",
        "summary",
    )  # fmt: skip
    return {"id": one.pk, "told": [each["person"] for each in one.told], **{name: getattr(one, name) for name in plain}}
