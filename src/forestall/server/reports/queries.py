"""Reads of service reports."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from forestall.server.people.scope import Permission, Scope
from forestall.server.reports.models import ServiceReport
from forestall.server.tickets.models import REQUEST, Ticket
from forestall.server.tickets.portal import tickets_for_client


def reports(*, scope: Scope) -> QuerySet[ServiceReport]:
    """Every report, newest first, with client, site and ticket; without the PDF, which is large."""
    found: QuerySet[ServiceReport] = ServiceReport.objects.visible_to(scope)
    return found.select_related("client", "site", "ticket__device").defer("pdf")


def report(*, scope: Scope, number: str) -> ServiceReport:
    """One report by number (``SR-000001``). Its ``body`` has the fields of ``body.ReportBody``; ``pdf`` is the PDF.

    ServiceReport.DoesNotExist when there is none, or none that ``scope`` may see.
    """
    found: ServiceReport = (
        ServiceReport.objects.visible_to(scope).select_related("client", "site", "ticket__device").get(number=number)
    )
    return found


def reports_for_client(*, scope: Scope) -> QuerySet[ServiceReport]:
    """The reports that a person of a client may have, newest first, without the PDF.

    ``scope`` as ``people.voice.reading_scope`` makes it. Of what checks found, whoever has ``portal.report`` there; of
    a request, who may see the request.
    """
    found: QuerySet[ServiceReport] = ServiceReport.objects.visible_to(scope, by=Permission.PORTAL_REPORT)
    own = Q(ticket__in=tickets_for_client(scope=scope).order_by().values("pk"))
    found = found.filter(~Q(ticket__kind=REQUEST) | own, for_client=True)
    return found.select_related("client", "site", "ticket__device").defer("pdf")


def report_of(*, scope: Scope, ticket: Ticket) -> ServiceReport | None:
    """The newest report of a ticket; None while there is none."""
    return reports(scope=scope).filter(ticket=ticket).order_by("-pk").first()
