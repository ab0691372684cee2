"""Service reports."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.http import HttpResponse

from forestall.server.api.asking import PagingQuery
from forestall.server.api.paging import Page, ordered, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.people.scope import Permission
from forestall.server.reports import queries
from forestall.server.reports.models import ServiceReport

router = Routes(tags=["reports"])


class ReportOut(Schema):
    number: str
    ticket: int
    client: Named
    made_at: datetime


class WholeReportOut(ReportOut):
    body: dict[str, Any]


@router.get(
    "/reports", allow=Permission.REPORT_VIEW, response=Page[ReportOut], summary="List service reports, newest first"
)
def report_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    ticket: int | None = None,
    ordering: Literal["-made_at", "made_at"] = "-made_at",
) -> dict[str, Any]:
    scope = request.scope
    found = queries.reports(scope=scope)
    if client is not None:
        found = found.filter(client=client)
    if ticket is not None:
        found = found.filter(ticket=ticket)
    return page(found, shape=_report, cursor=paging.cursor, limit=paging.limit, order=ordered(ordering, "-pk"))


@router.get(
    "/reports/{report_number}", allow=Permission.REPORT_VIEW, response=WholeReportOut, summary="Show a service report"
)
def report_show(request: ApiRequest, report_number: str) -> dict[str, Any]:
    scope = request.scope
    report = queries.report(scope=scope, number=report_number)
    return {**_report(report), "body": report.body}


@router.get(
    "/reports/{report_number}/pdf",
    files="application/pdf",
    allow=Permission.REPORT_VIEW,
    summary="A service report as PDF",
)
def report_pdf(request: ApiRequest, report_number: str) -> HttpResponse:
    scope = request.scope
    report = queries.report(scope=scope, number=report_number)
    answer = HttpResponse(bytes(report.pdf), content_type="application/pdf")
    answer["Content-Disposition"] = f'inline; filename="{report.number}.pdf"'
    return answer


def _report(report: ServiceReport) -> dict[str, Any]:
    return {
        "number": report.number,
        "ticket": report.ticket_id,
        "client": report.client,
        "made_at": report.made_at,
    }
