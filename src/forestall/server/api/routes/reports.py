"""Service reports."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema

from forestall.server.api.asking import PagingQuery, scope_of_request
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.devices import Named
from forestall.server.people.scope import Permission
from forestall.server.reports import queries
from forestall.server.reports.models import ServiceReport

router = Router(tags=["reports"])


class ReportOut(Schema):
    number: str
    ticket: int
    client: Named
    made_at: datetime


class WholeReportOut(ReportOut):
    body: dict[str, Any]


@router.get("/reports", response=Page[ReportOut], summary="List service reports, newest first")
def report_list(request: HttpRequest, paging: PagingQuery, ticket: int | None = None) -> dict[str, Any]:
    scope = scope_of_request(request, Permission.REPORT_VIEW)
    found = queries.reports(scope=scope)
    if ticket is not None:
        found = found.filter(ticket=ticket)
    return page(found, shape=_report, cursor=paging.cursor, limit=paging.limit)


@router.get("/reports/{number}", response=WholeReportOut, summary="Show a service report")
def report_show(request: HttpRequest, number: str) -> dict[str, Any]:
    scope = scope_of_request(request, Permission.REPORT_VIEW)
    report = queries.report(scope=scope, number=number)
    return {**_report(report), "body": report.body}


@router.get("/reports/{number}/pdf", summary="A service report as PDF")
def report_pdf(request: HttpRequest, number: str) -> HttpResponse:
    scope = scope_of_request(request, Permission.REPORT_VIEW)
    report = queries.report(scope=scope, number=number)
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
