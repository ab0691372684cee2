"""Service reports: the list, a report as a page, and its PDF as it was issued."""

from __future__ import annotations

import msgspec
from django.http import HttpResponse
from django.utils import timezone
from django.utils.html import format_html

from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.people.scope import Permission
from forestall.server.reports import queries
from forestall.server.reports.body import ReportBody
from forestall.server.reports.rules import page_of

A_PAGE = 100


@page(permission=Permission.REPORT_VIEW)
def reports(request: PageRequest) -> HttpResponse:
    now = timezone.now()
    found = queries.reports(scope=request.scope)
    total = found.count()
    pages, stretch = parts.pages_of(request.GET, total, A_PAGE)
    shown = list(found[stretch])
    table = Table(
        caption="Service reports, newest first",
        columns=[
            Column("Report", "lead"),
            Column("Issued", "second"),
            Column("Device"),
            Column("Verified"),
            Column("Evidence"),
            Column("PDF"),
        ],
        rows=[
            Row(
                key=f"report-{report.number}",
                cells=[
                    parts.link(
                        f"/reports/{report.number}/", report.ticket.title, f"{report.number} · {report.client.name}"
                    ),
                    parts.moment(report.made_at, now),
                    parts.link(f"/devices/{report.ticket.device_id}/", report.ticket.device.name)
                    if report.ticket.device
                    else parts.none("a request about no one device"),
                    verified_part(report.body["verification"]["state"]),
                    parts.link(f"/evidence/?ref={report.reference}", report.reference),
                    format_html('<a href="/reports/{}.pdf">PDF</a>', report.number),
                ],
            )
            for report in shown
        ],
        empty=Empty(
            "No report yet",
            "A service report is made for each ticket that is resolved: what was seen, done and verified, with the "
            "evidence it rests on.",
            href="/tickets/",
            action="Tickets",
        ),
        pages=pages,
    )
    sentence = f"{words.plural(total, 'service report')} issued." if total else "No service report was issued yet."
    newest = shown[0].made_at if shown else None
    return render_page(
        request, "reports", {"table": table, "sentence": sentence}, section="reports", title="Reports", data_at=newest
    )


def verified_part(state: str) -> parts.Html:
    if state == "by_hand":
        return parts.none("no check judges a request", "by hand")
    return parts.status("pass", "verified") if state == "verified" else parts.status("unknown", "not verified")


@page(permission=Permission.REPORT_VIEW)
def report(request: PageRequest, number: str) -> HttpResponse:
    found = queries.report(scope=request.scope, number=number)
    body = page_of(msgspec.convert(found.body, ReportBody))
    context = {
        "report": found,
        "body": body,
        "facts": [parts.Fact(name, value) for name, value in body["facts"]],
        "sentence": body["sentence"],
        "crumbs": format_html('<a href="/reports/">Reports</a> › {}', found.number),
        "actions": format_html('<a class="button primary" href="/reports/{}.pdf">Download PDF</a>', found.number),
    }
    return render_page(
        request, "report", context, section="reports", title=found.ticket.title, data_at=found.made_at, live=False
    )


@page(permission=Permission.REPORT_VIEW)
def report_pdf(request: PageRequest, number: str) -> HttpResponse:
    """The bytes as they were issued: their SHA-256 stands in the client's evidence log."""
    found = queries.report(scope=request.scope, number=number)
    return HttpResponse(
        bytes(found.pdf),
        content_type="application/pdf",
        headers={"Content-Disposition": f'attachment; filename="{found.number}.pdf"', "Cache-Control": "no-store"},
    )
