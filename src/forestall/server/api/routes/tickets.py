"""Tickets: the queue, a ticket's story and clock, and what a person does with it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Field
from pydantic import AfterValidator

from forestall.server.api.asking import PagingQuery, current_time, known_kind
from forestall.server.api.paging import Page, ordered, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.inventory.models import Device
from forestall.server.people.models import Client, Person, Site
from forestall.server.people.scope import Permission, Scope
from forestall.server.tickets import approvals, queries, ratings, requests, rules, services
from forestall.server.tickets.models import (
    REQUEST,
    ApprovalState,
    Ticket,
    TicketApproval,
    TicketRating,
    TicketState,
)
from forestall.server.tickets.rules import ClockKind, Priority, Urgency

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
    device: Named | None = Field(description="Null: a request about no one device.")
    kind: str = Field(description="Slug of the check that opened it, or `request`.")
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
    text: str = Field(description="Of a request: what is asked for. The client reads it.")
    urgency: str = Field(description="Of a request: how bad it is, as who asked sees it.")
    opened_by: str = Field(description="User name; empty: a check.")
    requested_by: str | None = Field(description="User name of the client's person whose request it is.")
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
    visibility: Literal["internal", "client"] = Field(description="Whether the client reads a line of it.")
    for_client: str = Field(description="As the client reads it; empty: not at all.")
    by_client: bool


class SegmentOut(Schema):
    start: datetime
    end: datetime
    counted: bool
    why: str


class TextIn(Schema):
    text: str = Field(min_length=1, max_length=10_000)


class CommentIn(TextIn):
    to_client: bool = Field(default=False, description="The client reads it, and is told by mail; else it is a note.")


class TicketIn(Schema):
    title: str = Field(min_length=1, max_length=requests.LONGEST_TITLE, description="The client reads it.")
    text: str = Field("", max_length=requests.LONGEST_TEXT, description="The client reads it.")
    urgency: Urgency = Urgency.HINDERED
    site: UUID | None = Field(None, description="Null: the device's.")
    device: UUID | None = Field(None, description="Null: about no one device.")
    requested_by: str | None = Field(None, description="User name of the client's person whose request it is.")


class ApprovalIn(Schema):
    question: str = Field(min_length=1, max_length=approvals.LONGEST_QUESTION)
    what_happens: str = Field(min_length=1, max_length=10_000, description="What is done once it is approved.")
    cost: str = Field("", max_length=300, description="Money and time, as a note.")
    answer_by: datetime | None = Field(None, description="After this it lapses. Null: no end.")


class ApprovalOut(Schema):
    id: int
    ticket: int
    question: str
    what_happens: str
    cost: str
    state: str
    asked_at: datetime
    asked_by: str
    answer_by: datetime | None
    answered_at: datetime | None
    answered_by: str
    reason: str
    reference: str = Field(description="Evidence record of the answer: `client/#index`.")


class RatingOut(Schema):
    ticket: int
    client: Named
    score: int = Field(description="1 (bad) to 5 (very good).")
    comment: str
    given_by: str
    given_at: datetime
    changed_at: datetime | None


class ContentmentOut(Schema):
    client: Named
    count: int
    average: float


class OwnerIn(Schema):
    owner: str = Field(description="User name.")


def _ticket_kind(slug: str) -> str:
    return slug if slug == REQUEST else known_kind(slug)


TicketKind = Annotated[str, AfterValidator(_ticket_kind)]
"""The slug of a kind of check, or ``request``."""


@router.get("/tickets", allow=Permission.TICKET_VIEW, response=Page[TicketOut], summary="List tickets, newest first")
def ticket_list(
    request: ApiRequest,
    paging: PagingQuery,
    state: TicketState | None = None,
    device: UUID | None = None,
    kind: TicketKind | None = None,
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


@router.post("/tickets", allow=Permission.TICKET_WORK, response={201: TicketOut}, summary="Open a ticket by hand")
def ticket_open(request: ApiRequest, body: TicketIn) -> tuple[int, dict[str, Any]]:
    scope = request.scope
    asker = None
    if body.requested_by is not None:
        asker = Person.objects.filter(username=body.requested_by, is_active=True).first()
        if asker is None:
            raise ValueError(f"requested_by: {body.requested_by[:80]!r} does not see the portal there")
    made = requests.ticket_open(
        title=body.title,
        text=body.text,
        urgency=body.urgency,
        site=None if body.site is None else Site.objects.visible_to(scope).get(pk=body.site),
        device=None if body.device is None else Device.objects.visible_to(scope).get(pk=body.device),
        requested_by=asker,
        scope=scope,
        now=current_time(),
    )
    return 201, _ticket(scope, made)


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
    rows = queries.timeline(scope=scope, ticket=queries.ticket(scope=scope, number=number))
    return [{**asdict(row), "visibility": _visibility(row.for_client)} for row in rows]


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
        # The words of somebody who cannot work here: nobody learns which names there are elsewhere (V8).
        raise services.TicketError(f"owner: {body.owner} cannot work on ticket {number}")
    return _ticket(scope, services.ticket_assign(ticket=ticket, owner=owner, scope=scope, now=current_time()))


@router.post("/tickets/{number}/comment", allow=Permission.TICKET_WORK, response=LineOut, summary="Write a comment")
def ticket_comment(request: ApiRequest, number: int, body: CommentIn) -> dict[str, Any]:
    scope = request.scope
    ticket = queries.ticket(scope=scope, number=number)
    event = services.ticket_comment(
        ticket=ticket, text=body.text, to_client=body.to_client, scope=scope, now=current_time()
    )
    line = {"at": event.at, "source": "ticket", "kind": event.kind, "actor": event.actor, "text": event.text}
    line |= {"reference": event.reference, "job_id": event.job_id, "has_signature": False}
    return {**line, "for_client": event.for_client, "by_client": False, "visibility": _visibility(event.for_client)}


@router.get(
    "/tickets/{number}/approvals",
    allow=Permission.TICKET_VIEW,
    response=list[ApprovalOut],
    summary="What the client was asked to approve, oldest first",
)
def ticket_approvals(request: ApiRequest, number: int) -> list[dict[str, Any]]:
    scope = request.scope
    ticket = queries.ticket(scope=scope, number=number)
    return [_approval(one) for one in TicketApproval.objects.visible_to(scope).filter(ticket=ticket)]


@router.post(
    "/tickets/{number}/ask",
    allow=Permission.TICKET_WORK,
    response=ApprovalOut,
    summary="Ask the client to approve something: the ticket waits for it",
)
def ticket_ask(request: ApiRequest, number: int, body: ApprovalIn) -> dict[str, Any]:
    scope = request.scope
    if body.answer_by is not None and body.answer_by.tzinfo is None:
        raise ValueError(f"answer_by: {body.answer_by} names no time zone")
    ticket = queries.ticket(scope=scope, number=number)
    asked = approvals.approval_ask(ticket=ticket, scope=scope, now=current_time(), **body.model_dump())
    return _approval(asked)


@router.post(
    "/tickets/{number}/withdraw",
    allow=Permission.TICKET_WORK,
    response=ApprovalOut,
    summary="Withdraw the question that is open",
)
def ticket_withdraw(request: ApiRequest, number: int) -> dict[str, Any]:
    scope = request.scope
    ticket = queries.ticket(scope=scope, number=number)
    asked = TicketApproval.objects.visible_to(scope).filter(ticket=ticket, state=ApprovalState.ASKED).first()
    if asked is None:
        raise ValueError(f"nothing is asked on ticket {number}")
    return _approval(approvals.approval_withdraw(approval=asked, scope=scope, now=current_time()))


@router.get(
    "/ratings", allow=Permission.TICKET_VIEW, response=Page[RatingOut], summary="List clients' ratings, newest first"
)
def rating_list(request: ApiRequest, paging: PagingQuery, client: UUID | None = None) -> dict[str, Any]:
    found = TicketRating.objects.visible_to(request.scope).select_related("ticket__client")
    if client is not None:
        found = found.filter(ticket__client=client)
    return page(found, shape=_rating, cursor=paging.cursor, limit=paging.limit)


@router.get(
    "/contentment",
    allow=Permission.TICKET_VIEW,
    response=list[ContentmentOut],
    summary="What ratings add up to, by client",
)
def contentment_list(request: ApiRequest, since: datetime | None = None) -> list[dict[str, Any]]:
    if since is not None and since.tzinfo is None:
        raise ValueError(f"since: {since} names no time zone")
    found = ratings.contentment_by_client(scope=request.scope, since=since)
    clients = Client.objects.visible_to(request.scope).filter(pk__in=found).order_by("name")
    return [{"client": one, "count": found[one.pk].count, "average": found[one.pk].average} for one in clients]


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


def _visibility(for_client: str) -> str:
    return "client" if for_client else "internal"


def _approval(one: TicketApproval) -> dict[str, Any]:
    names = ("question", "what_happens", "cost", "state", "asked_at", "asked_by", "answer_by", "answered_at",
             "answered_by", "reason", "reference")  # fmt: skip
    return {"id": one.pk, "ticket": one.ticket_id, **{name: getattr(one, name) for name in names}}


def _rating(one: TicketRating) -> dict[str, Any]:
    names = ("score", "comment", "given_by", "given_at", "changed_at")
    return {"ticket": one.ticket_id, "client": one.ticket.client, **{name: getattr(one, name) for name in names}}


def _ticket(scope: Scope, ticket: Ticket) -> dict[str, Any]:
    return _tickets(scope, [ticket], current_time())[0]


def _tickets(scope: Scope, tickets: list[Ticket], now: datetime) -> list[dict[str, Any]]:
    clocks = queries.clocks_of(scope=scope, tickets=tickets)
    fields = (
        "number", "title", "client", "site", "device", "kind", "target", "risk", "priority", "state", "first_seen_at",
        "opened_at", "acknowledged_at", "acknowledged_by", "resolved_at", "resolved_by", "close_reason", "resolution",
        "verified_at", "reopened", "text", "urgency", "opened_by",
    )  # fmt: skip
    answer = []
    for ticket in tickets:
        own = clocks[ticket.number]
        view = rules.clock_view(clock=own.current, work=own.work, now=now)
        shaped = {name: getattr(ticket, name) for name in fields}
        people = {
            "owner": ticket.owner.username if ticket.owner else None,
            "requested_by": ticket.requested_by.username if ticket.requested_by else None,
        }
        answer.append({**shaped, **people, "clock": view})
    return answer
