"""What every act on a ticket is made of: the lock, the line in its story, the record in the client's log, the pause."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.people.models import Person
from forestall.server.people.scope import Permission, Scope
from forestall.server.tickets.models import EventKind, Ticket, TicketEvent, TicketPause, TicketState

DESK = Scope.system("desk")

WAITING_FOR_CLIENT = "waiting for client"


class TicketError(ValueError):
    """An act that does not fit the ticket's state, or lacks what it needs; the message says which."""


def locked(ticket: Ticket, scope: Scope = DESK) -> Ticket:
    found: Ticket = (
        Ticket.objects.visible_to(scope)
        .select_for_update(of=("self",))
        .select_related("client", "site", "device", "owner")
        .get(pk=ticket.pk)
    )
    return found


def workable(ticket: Ticket, scope: Scope) -> Ticket:
    """The ticket as it is now, for someone who may work on it. Ticket.DoesNotExist when they cannot see it."""
    found = locked(ticket, scope)
    scope.require(Permission.TICKET_WORK, on=found)
    if found.is_done:
        raise TicketError(f"ticket {found.number} is {TicketState(found.state).label}: reopen it first")
    return found


def required(text: str, complaint: str) -> str:
    if not text.strip():
        raise TicketError(complaint)
    return text.strip()


def bounded(name: str, text: str, most: int) -> str:
    """The text; TicketError when it is longer than ``most`` characters."""
    if len(text) > most:
        raise TicketError(f"{name}: {len(text):,} characters, at most {most:,}")
    return text


def acknowledged(ticket: Ticket, scope: Scope, now: datetime) -> None:
    ticket.acknowledged_at, ticket.acknowledged_by, ticket.touched = now, scope.who, True
    if ticket.state == TicketState.OPEN:
        ticket.state = TicketState.ACKNOWLEDGED
    if ticket.owner is None and scope.person_id is not None:
        ticket.owner = Person.objects.get(pk=scope.person_id)
    entry = evidence_write(ticket, EvidenceKind.TICKET_ACKNOWLEDGED, {"by": scope.who}, now)
    event_write(
        ticket, EventKind.ACKNOWLEDGED, actor=scope.who, text="acknowledged", now=now, reference=entry,
        for_client="Received, and taken on.",
    )  # fmt: skip


def begin_waiting(ticket: Ticket, now: datetime) -> None:
    ticket.state, ticket.touched = TicketState.WAITING, True
    ticket.save()
    TicketPause.objects.create(ticket=ticket, started_at=now, why=WAITING_FOR_CLIENT)


def go_on(ticket: Ticket, now: datetime) -> None:
    end_pause(ticket, now)
    ticket.state, ticket.touched = TicketState.IN_PROGRESS, True
    ticket.save()


def end_pause(ticket: Ticket, now: datetime) -> None:
    TicketPause.objects.visible_to(DESK).filter(ticket=ticket, ended_at=None).update(ended_at=now)


def event_write(
    ticket: Ticket,
    kind: EventKind,
    *,
    actor: str,
    text: str,
    now: datetime,
    job_id: str = "",
    detail: dict[str, Any] | None = None,
    reference: str = "",
    for_client: str = "",
    by_client: bool = False,
) -> TicketEvent:
    event: TicketEvent = TicketEvent.objects.create(
        ticket=ticket,
        at=now,
        kind=kind,
        actor=actor,
        text=text,
        for_client=for_client,
        by_client=by_client,
        job_id=job_id,
        detail=detail or {},
        reference=reference,
    )
    return event


def evidence_write(ticket: Ticket, kind: EvidenceKind, payload: dict[str, Any], now: datetime) -> str:
    """Append to the client's log; the reference under which it is found again."""
    entry = evidence_append(
        client=ticket.client,
        kind=kind,
        payload={"ticket": ticket.number, **payload},
        now=now,
        device_id=ticket.device_id,
        site_id=ticket.site_id,
        ticket_id=ticket.number,
    )
    return entry.reference
