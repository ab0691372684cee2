"""Tickets: the queue, a ticket's story and clock, and what a person does with it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Field

from forestall.server.api.asking import KnownKind, PagingQuery, current_time
from forestall.server.api.paging import Page, ordered, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.people.models import Person
from forestall.server.people.scope import Permission, Scope
from forestall.server.tickets import queries, rules, services
from forestall.server.tickets.models import Ticket, TicketState
from forestall.server.tickets.rules import ClockKind, Priority

router = Routes(tags=["tickets"])


class ClockOut(Schema):
    kind: str = Field(description="`response` until somebody acknowledged, then `resolution`.")
    state: str
    used_seconds: float = Field(description="Working time.")
    total_seconds: int
    percent: float
    due_at: datetime | None
    resumes_at: datetime | None
    text: str


class TicketOut(Schema):
    number: int
    title: str
    client: Named
    site: Named
    device: Named
    kind: str
    target: str
    risk: str
    priority: str
    state: str
    owner: str | None
    first_seen_at: datetime
    opened_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str
    resolved_at: datetime | None
    resolved_by: str
    close_reason: str
    resolution: str
    verified_at: datetime | None
    reopened: int
    clock: ClockOut


class LineOut(Schema):
    at: datetime
    source: str
    kind: str
    actor: str
    text: str
    reference: str = Field(description="Evidence record: `client/#index`.")
    job_id: str
    has_signature: bool


class SegmentOut(Schema):
    start: datetime
    end: datetime
    counted: bool
    why: str


class TextIn(Schema):
    text: str = Field(min_length=1, max_length=10_000)


class OwnerIn(Schema):
    owner: str = Field(description="User name.")


@router.get("/tickets", allow=Permission.TICKET_VIEW, response=Page[TicketOut], summary="List tickets, newest first")
def ticket_list(
    request: ApiRequest,
    paging: PagingQuery,
    state: TicketState | None = None,
    device: UUID | None = None,
    kind: KnownKind | None = None,
    target: str | None = None,
    priority: Priority | None = None,
    client: UUID | None = None,
    site: UUID | None = None,
    owner: str | None = None,
    ordering: Literal["-number", "number", "-opened_at", "opened_at"] = "-number",
) -> dict[str, Any]:
    """``state=open`` lists everything that is not done, whatever its step."""
    scope = request.scope
    found = queries.tickets_open(scope=scope) if state is TicketState.OPEN else queries.tickets(scope=scope)
    wanted = {
        "device": device,
        "kind": kind,
        "target": target,
        "priority": priority,
        "client": client,
        "site": site,
        "owner__username": owner,
    }
    found = found.filter(**{name: value for name, value in wanted.items() if value is not None})
    if state and state is not TicketState.OPEN:
        found = found.filter(state=state)
    answer = page(
        found, shape=lambda row: row, cursor=paging.cursor, limit=paging.limit, order=ordered(ordering, "-pk")
    )
    answer["items"] = _tickets(scope, answer["items"], current_time())
    return answer


@router.get(
    "/tickets/{number}", allow=Permission.TICKET_VIEW, volatile={"clock"}, response=TicketOut, summary="Show a ticket"
)
def ticket_show(request: ApiRequest, number: int) -> dict[str, Any]:
    scope = request.scope
    return _ticket(scope, queries.ticket(scope=scope, number=number))


@router.get(
    "/tickets/{number}/timeline",
    allow=Permission.TICKET_VIEW,
    response=list[LineOut],
    summary="A ticket's story, oldest first",
)
def ticket_timeline(request: ApiRequest, number: int) -> Any:
    scope = request.scope
    return queries.timeline(scope=scope, ticket=queries.ticket(scope=scope, number=number))


@router.get(
    "/tickets/{number}/clock",
    allow=Permission.TICKET_VIEW,
    response=list[SegmentOut],
    summary="Why each minute counted or did not",
)
def ticket_clock(request: ApiRequest, number: int, kind: ClockKind | None = None) -> Any:
    scope = request.scope
    ticket = queries.ticket(scope=scope, number=number)
    return queries.clock_explain(ticket=ticket, now=current_time(), kind=kind)


@router.post("/tickets/{number}/acknowledge", allow=Permission.TICKET_WORK, response=TicketOut, summary="Take a ticket")
def ticket_acknowledge(request: ApiRequest, number: int) -> dict[str, Any]:
    scope = request.scope
    ticket = queries.ticket(scope=scope, number=number)
    return _ticket(scope, services.ticket_acknowledge(ticket=ticket, scope=scope, now=current_time()))


@router.post(
    "/tickets/{number}/start", allow=Permission.TICKET_WORK, response=TicketOut, summary="Begin to work on a ticket"
)
def ticket_start(request: ApiRequest, number: int) -> dict[str, Any]:
    scope = request.scope
    ticket = queries.ticket(scope=scope, number=number)
    return _ticket(scope, services.ticket_start(ticket=ticket, scope=scope, now=current_time()))


@router.post(
    "/tickets/{number}/assign", allow=Permission.TICKET_WORK, response=TicketOut, summary="Give a ticket an owner"
)
def ticket_assign(request: ApiRequest, number: int, body: OwnerIn) -> dict[str, Any]:
    scope = request.scope
    ticket = queries.ticket(scope=scope, number=number)
    owner = Person.objects.filter(username=body.owner, is_active=True).first()
    if owner is None:
        raise ValueError(f"owner: {body.owner!r} is nobody who can sign in")
    return _ticket(scope, services.ticket_assign(ticket=ticket, owner=owner, scope=scope, now=current_time()))


@router.post("/tickets/{number}/comment", allow=Permission.TICKET_WORK, response=LineOut, summary="Write a comment")
def ticket_comment(request: ApiRequest, number: int, body: TextIn) -> dict[str, Any]:
    scope = request.scope
    ticket = queries.ticket(scope=scope, number=number)
    event = services.ticket_comment(ticket=ticket, text=body.text, scope=scope, now=current_time())
    line = {"at": event.at, "source": "ticket", "kind": event.kind, "actor": event.actor, "text": event.text}
    return {**line, "reference": event.reference, "job_id": event.job_id, "has_signature": False}


@router.post(
    "/tickets/{number}/wait",
    allow=Permission.TICKET_WORK,
    response=TicketOut,
    summary="Wait for the client: the resolution clock stops",
)
def ticket_wait(request: ApiRequest, number: int, body: TextIn) -> dict[str, Any]:
    scope = request.scope
    ticket = queries.ticket(scope=scope, number=number)
    return _ticket(scope, services.ticket_wait(ticket=ticket, reason=body.text, scope=scope, now=current_time()))


@router.post(
    "/tickets/{number}/resume", allow=Permission.TICKET_WORK, response=TicketOut, summary="Go on after waiting"
)
def ticket_resume(request: ApiRequest, number: int) -> dict[str, Any]:
    scope = request.scope
    ticket = queries.ticket(scope=scope, number=number)
    return _ticket(scope, services.ticket_resume(ticket=ticket, scope=scope, now=current_time()))


@router.post(
    "/tickets/{number}/resolve",
    allow=Permission.TICKET_WORK,
    response=TicketOut,
    summary="Resolve by hand: says so if the check still fails",
)
def ticket_resolve(request: ApiRequest, number: int, body: TextIn) -> dict[str, Any]:
    scope = request.scope
    ticket = queries.ticket(scope=scope, number=number)
    return _ticket(scope, services.ticket_resolve(ticket=ticket, reason=body.text, scope=scope, now=current_time()))


@router.post(
    "/tickets/{number}/reopen", allow=Permission.TICKET_WORK, response=TicketOut, summary="Open a resolved ticket again"
)
def ticket_reopen(request: ApiRequest, number: int, body: TextIn) -> dict[str, Any]:
    scope = request.scope
    ticket = queries.ticket(scope=scope, number=number)
    return _ticket(scope, services.ticket_reopen(ticket=ticket, reason=body.text, scope=scope, now=current_time()))


def _ticket(scope: Scope, ticket: Ticket) -> dict[str, Any]:
    return _tickets(scope, [ticket], current_time())[0]


def _tickets(scope: Scope, tickets: list[Ticket], now: datetime) -> list[dict[str, Any]]:
    clocks = queries.clocks_of(scope=scope, tickets=tickets)
    fields = (
        "number", "title", "client", "site", "device", "kind", "target", "risk", "priority", "state", "first_seen_at",
        "opened_at", "acknowledged_at", "acknowledged_by", "resolved_at", "resolved_by", "close_reason", "resolution",
        "verified_at", "reopened",
    )  # fmt: skip
    answer = []
    for ticket in tickets:
        own = clocks[ticket.number]
        view = rules.clock_view(clock=own.current, work=own.work, now=now)
        shaped = {name: getattr(ticket, name) for name in fields}
        answer.append({**shaped, "owner": ticket.owner.username if ticket.owner else None, "clock": view})
    return answer
