"""The portal: what a client's own people see and do. Staff who may look at it read, and change nothing."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from django.http import HttpResponse
from ninja import Field

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.calendar import queries as calendar
from forestall.server.calendar.models import MaintenanceWindow
from forestall.server.calendar.recurrence import recurrence_words
from forestall.server.calendar.services import window_answer
from forestall.server.inventory.models import Device
from forestall.server.people.models import Site
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.voice import public_name, reading_scope
from forestall.server.portal import queries, rules
from forestall.server.portal.queries import DeviceHealth
from forestall.server.reports.models import ServiceReport
from forestall.server.reports.queries import reports_for_client
from forestall.server.tickets import approvals, ratings, requests
from forestall.server.tickets import portal as tickets
from forestall.server.tickets.models import DONE_STATES, Ticket, TicketApproval, TicketRating
from forestall.server.tickets.queries import ClockSet, clocks_of
from forestall.server.tickets.rules import Urgency, clock_view, public_title

router = Routes(tags=["portal"])

_CLOCKS = Scope.system("portal")
"""A clock counts by pauses that are the desk's own: the tickets were seen already."""


class PortalTicketOut(Schema):
    number: int
    title: str
    text: str
    client: Named
    site: Named
    device: Named | None
    is_request: bool
    urgency: str
    state: str
    words: str = Field(description="The state as the client reads it: `being worked on`.")
    promise: str = Field(description="By when we answer or want to be done, in words; empty when it is done.")
    requested_by: str
    owner: str = Field(description="Name to show of who looks after it.")
    opened_at: datetime
    done_at: datetime | None
    verified_at: datetime | None


class PortalLineOut(Schema):
    at: datetime
    kind: str
    who: str
    text: str
    by_client: bool


class PortalApprovalOut(Schema):
    id: int
    ticket: int
    question: str
    what_happens: str
    cost: str
    state: str
    asked_at: datetime
    answer_by: datetime | None
    answered_at: datetime | None
    answered_by: str
    reason: str


class PortalRatingOut(Schema):
    ticket: int
    score: int
    comment: str
    given_by: str
    given_at: datetime
    changed_at: datetime | None


class PortalTroubleOut(Schema):
    what: str
    status: str
    since: datetime
    ticket: int | None = Field(description="If it is yours to see.")
    in_hand: bool = Field(description="The service desk works on it.")


class PortalDeviceOut(Schema):
    id: UUID
    name: str
    site: Named
    health: str = Field(description="`well`, `needs attention`, `has a fault`, `not seen`, `not judged yet`.")
    last_seen_at: datetime | None
    troubles: list[PortalTroubleOut]
    unanswered: int = Field(description="Checks that could not look lately.")


class PortalReportOut(Schema):
    number: str
    title: str
    ticket: int
    made_at: datetime
    pdf_sha256: str


class PortalWindowOut(Schema):
    id: int
    name: str
    purpose: str
    site: Named
    words: str
    starts_on: date
    starts_at: str
    minutes: int
    timezone: str
    needs_approval: bool
    answer: str = Field(description="`approved`, `declined`; empty: none yet.")
    answered_at: datetime | None
    answer_reason: str


class PortalRequestIn(Schema):
    title: str = Field(min_length=1, max_length=requests.LONGEST_TITLE)
    text: str = Field("", max_length=requests.LONGEST_TEXT)
    urgency: Urgency = Urgency.HINDERED
    site: UUID | None = Field(None, description="Null: the device's, or the only one.")
    device: UUID | None = None


class PortalTextIn(Schema):
    text: str = Field(min_length=1, max_length=requests.LONGEST_TEXT)


class PortalAnswerIn(Schema):
    answer: Literal["approve", "decline"]
    reason: str = Field("", max_length=2000, description="Needed when you decline.")


class PortalRatingIn(Schema):
    score: int = Field(ge=1, le=5, description="1 (bad) to 5 (very good).")
    comment: str = Field("", max_length=ratings.LONGEST_COMMENT)


@router.get(
    "/portal/tickets", allow=Permission.PORTAL_VIEW, response=Page[PortalTicketOut], summary="List your tickets"
)
def portal_ticket_list(
    request: ApiRequest, paging: PagingQuery, state: Literal["open", "done"] | None = None
) -> dict[str, Any]:
    """A client's manager sees every ticket of their places, a client's user their own requests."""
    found = tickets.tickets_for_client(scope=reading_scope(request.scope))
    if state is not None:
        found = found.filter(state__in=DONE_STATES) if state == "done" else found.exclude(state__in=DONE_STATES)
    answer = page(found, shape=lambda row: row, cursor=paging.cursor, limit=paging.limit)
    answer["items"] = _tickets(answer["items"])
    return answer


@router.post(
    "/portal/tickets", allow=Permission.PORTAL_TICKET, response={201: PortalTicketOut}, summary="Ask for something"
)
def portal_ticket_open(request: ApiRequest, body: PortalRequestIn) -> tuple[int, dict[str, Any]]:
    scope = request.scope
    own = Permission.PORTAL_TICKET
    opened = requests.request_open(
        title=body.title,
        text=body.text,
        urgency=body.urgency,
        site=None if body.site is None else Site.objects.visible_to(scope, by=own).get(pk=body.site),
        device=None if body.device is None else Device.objects.visible_to(scope, by=own).get(pk=body.device),
        scope=scope,
        now=current_time(),
    )
    return 201, _ticket(_seen(scope, opened.number))


@router.get(
    "/portal/tickets/{number}",
    allow=Permission.PORTAL_VIEW,
    volatile={"promise"},
    response=PortalTicketOut,
    summary="Show one of your tickets",
)
def portal_ticket_show(request: ApiRequest, number: int) -> dict[str, Any]:
    return _ticket(_seen(request.scope, number))


@router.get(
    "/portal/tickets/{number}/timeline",
    allow=Permission.PORTAL_VIEW,
    response=list[PortalLineOut],
    summary="Its story as it was written for you, oldest first",
)
def portal_ticket_timeline(request: ApiRequest, number: int) -> Any:
    scope = reading_scope(request.scope)
    return tickets.public_lines(scope=scope, ticket=_seen(request.scope, number))


@router.get(
    "/portal/tickets/{number}/approvals",
    allow=Permission.PORTAL_VIEW,
    response=list[PortalApprovalOut],
    summary="What you were asked to approve on it, oldest first",
)
def portal_ticket_approvals(request: ApiRequest, number: int) -> list[dict[str, Any]]:
    ticket = _seen(request.scope, number)
    found = tickets.approvals_of(scope=reading_scope(request.scope), ticket=ticket)
    names = tickets.names_of({one.answered_by for one in found}, client=ticket.client_id)
    return [_approval(one, names) for one in found]


@router.post(
    "/portal/tickets/{number}/comment",
    allow=Permission.PORTAL_TICKET,
    response=PortalTicketOut,
    summary="Write on one of your tickets; one that waits for you goes on",
)
def portal_ticket_comment(request: ApiRequest, number: int, body: PortalTextIn) -> dict[str, Any]:
    ticket = _seen(request.scope, number)
    requests.client_comment(ticket=ticket, text=body.text, scope=request.scope, now=current_time())
    return _ticket(_seen(request.scope, number))


@router.post(
    "/portal/tickets/{number}/reopen",
    allow=Permission.PORTAL_TICKET,
    response=PortalTicketOut,
    summary="Say that your request is not done",
)
def portal_ticket_reopen(request: ApiRequest, number: int, body: PortalTextIn) -> dict[str, Any]:
    ticket = _seen(request.scope, number)
    requests.client_reopen(ticket=ticket, reason=body.text, scope=request.scope, now=current_time())
    return _ticket(_seen(request.scope, number))


@router.post(
    "/portal/tickets/{number}/rate",
    allow=Permission.PORTAL_TICKET,
    response=PortalRatingOut,
    summary="Rate one of your tickets that is done; for 14 days you can change it",
)
def portal_ticket_rate(request: ApiRequest, number: int, body: PortalRatingIn) -> dict[str, Any]:
    ticket = _seen(request.scope, number)
    rating = ratings.rating_give(
        ticket=ticket, score=body.score, comment=body.comment, scope=request.scope, now=current_time()
    )
    return _rating(rating)


@router.get(
    "/portal/approvals",
    allow=Permission.PORTAL_VIEW,
    response=list[PortalApprovalOut],
    summary="What waits for your approval",
)
def portal_approval_list(request: ApiRequest) -> list[dict[str, Any]]:
    return [_approval(one, {}) for one in tickets.approvals_for_client(scope=reading_scope(request.scope))]


@router.post(
    "/portal/approvals/{approval_id}/answer",
    allow=Permission.PORTAL_APPROVE,
    response=PortalApprovalOut,
    summary="Approve or decline, on record with your name",
)
def portal_approval_answer(request: ApiRequest, approval_id: int, body: PortalAnswerIn) -> dict[str, Any]:
    own = TicketApproval.objects.visible_to(request.scope, by=Permission.PORTAL_APPROVE)
    found: TicketApproval = own.select_related("ticket").get(pk=approval_id)
    answered = approvals.approval_answer(
        approval=found,
        approve=body.answer == "approve",
        reason=body.reason,
        scope=request.scope,
        now=current_time(),
    )
    names = tickets.names_of({answered.answered_by}, client=found.ticket.client_id)
    return _approval(answered, names)


@router.get(
    "/portal/devices",
    allow=Permission.PORTAL_VIEW,
    response=list[PortalDeviceOut],
    summary="How your devices are, the worst first",
)
def portal_device_list(request: ApiRequest) -> list[dict[str, Any]]:
    return [_device(one) for one in queries.health(scope=reading_scope(request.scope), now=current_time())]


@router.get(
    "/portal/sites", allow=Permission.PORTAL_TICKET, response=list[Named], summary="Where you may ask for something"
)
def portal_site_list(request: ApiRequest) -> list[Site]:
    return list(queries.sites_for_requests(scope=request.scope))


@router.get(
    "/portal/reports",
    allow=Permission.PORTAL_REPORT,
    response=Page[PortalReportOut],
    summary="List your service reports, newest first",
)
def portal_report_list(request: ApiRequest, paging: PagingQuery) -> dict[str, Any]:
    found = reports_for_client(scope=reading_scope(request.scope))
    return page(found, shape=_report, cursor=paging.cursor, limit=paging.limit)


@router.get(
    "/portal/reports/{report_number}/pdf",
    files="application/pdf",
    allow=Permission.PORTAL_REPORT,
    summary="One of your service reports as PDF",
)
def portal_report_pdf(request: ApiRequest, report_number: str) -> HttpResponse:
    found: ServiceReport = reports_for_client(scope=reading_scope(request.scope)).get(number=report_number)
    answer = HttpResponse(bytes(found.pdf), content_type="application/pdf")
    answer["Content-Disposition"] = f'inline; filename="{found.number}.pdf"'
    return answer


@router.get(
    "/portal/windows",
    allow=Permission.PORTAL_VIEW,
    response=list[PortalWindowOut],
    summary="Work that is planned or proposed at your sites",
)
def portal_window_list(request: ApiRequest) -> list[dict[str, Any]]:
    found = calendar.windows_for_client(scope=reading_scope(request.scope)).filter(ended_at=None).order_by("pk")
    return [_window(one) for one in found]


@router.post(
    "/portal/windows/{window_id}/answer",
    allow=Permission.PORTAL_APPROVE,
    response=PortalWindowOut,
    summary="Approve or decline a proposed window, on record with your name",
)
def portal_window_answer(request: ApiRequest, window_id: int, body: PortalAnswerIn) -> dict[str, Any]:
    own = MaintenanceWindow.objects.visible_to(request.scope, by=Permission.PORTAL_APPROVE)
    found: MaintenanceWindow = own.get(pk=window_id)
    answered = window_answer(
        window=found, approve=body.answer == "approve", reason=body.reason, scope=request.scope, now=current_time()
    )
    return _window(answered)


def _seen(scope: Scope, number: int) -> Ticket:
    return tickets.ticket_for_client(scope=reading_scope(scope), number=number)


def _ticket(one: Ticket) -> dict[str, Any]:
    return _tickets([one])[0]


def _tickets(found: list[Ticket]) -> list[dict[str, Any]]:
    now, clocks = current_time(), clocks_of(scope=_CLOCKS, tickets=found)
    return [_shaped(one, clocks[one.number], now) for one in found]


def _shaped(one: Ticket, clocks: ClockSet, now: datetime) -> dict[str, Any]:
    view = clock_view(clock=clocks.current, work=clocks.work, now=now)
    promise = "" if one.is_done else rules.promise(view=view, timezone=one.site.zone, now=now)
    return {
        "number": one.number,
        "title": public_title(kind=one.kind, title=one.title),
        "text": one.text,
        "client": one.client,
        "site": one.site,
        "device": one.device,
        "is_request": one.is_request,
        "urgency": one.urgency,
        "state": one.state,
        "words": rules.TICKET_WORDS[one.state],
        "promise": promise,
        "requested_by": public_name(one.requested_by, client=one.client_id),
        "owner": public_name(one.owner, client=one.client_id),
        "opened_at": one.opened_at,
        "done_at": one.resolved_at,
        "verified_at": one.verified_at,
    }


def _approval(one: TicketApproval, names: dict[str, str]) -> dict[str, Any]:
    fields = ("question", "what_happens", "cost", "state", "asked_at", "answer_by", "answered_at", "reason")
    shaped = {name: getattr(one, name) for name in fields}
    return {"id": one.pk, "ticket": one.ticket_id, **shaped, "answered_by": names.get(one.answered_by, "")}


def _rating(one: TicketRating) -> dict[str, Any]:
    fields = ("score", "comment", "given_by", "given_at", "changed_at")
    return {"ticket": one.ticket_id, **{name: getattr(one, name) for name in fields}}


def _device(one: DeviceHealth) -> dict[str, Any]:
    return {
        "id": one.device.pk,
        "name": one.device.name,
        "site": one.device.site,
        "health": str(one.health),
        "last_seen_at": one.device.last_check_in_at,
        "unanswered": one.unanswered,
        "troubles": [
            {
                "what": trouble.what,
                "status": str(trouble.status),
                "since": trouble.since,
                "ticket": trouble.ticket.number if trouble.ticket else None,
                "in_hand": trouble.in_hand,
            }
            for trouble in one.troubles
        ],
    }


def _report(one: ServiceReport) -> dict[str, Any]:
    return {
        "number": one.number,
        "title": public_title(kind=one.ticket.kind, title=one.ticket.title),
        "ticket": one.ticket_id,
        "made_at": one.made_at,
        "pdf_sha256": one.pdf_sha256,
    }


def _window(one: MaintenanceWindow) -> dict[str, Any]:
    return {
        "id": one.pk,
        "name": one.name,
        "purpose": one.purpose,
        "site": one.site,
        "words": recurrence_words(one.rrule, one.starts_on),
        "starts_on": one.starts_on,
        "starts_at": f"{one.starts_at:%H:%M}",
        "minutes": one.minutes,
        "timezone": one.site.zone,
        "needs_approval": one.needs_approval,
        "answer": one.answer,
        "answered_at": one.answered_at,
        "answer_reason": one.answer_reason,
    }
