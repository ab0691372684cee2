"""Reads of tickets for the client's own people. What they are shown is chosen here, and nowhere else.

Every read takes a scope as ``people.voice.reading_scope`` makes it. A client's manager (``portal.approve``) sees every
ticket of their places, a client's user the requests that are theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import QuerySet

from forestall.server.people.models import Person
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.voice import public_name
from forestall.server.tickets.models import ApprovalState, Ticket, TicketApproval, TicketEvent, TicketRating


def tickets_for_client(*, scope: Scope) -> QuerySet[Ticket]:
    """The tickets that this person of a client may see, newest first, with client, site, device and owner."""
    seen: QuerySet[Ticket] = Ticket.objects.visible_to(scope, by=Permission.PORTAL_VIEW)
    managed: QuerySet[Ticket] = Ticket.objects.visible_to(scope, by=Permission.PORTAL_APPROVE)
    found = managed if scope.person_id is None else managed | seen.filter(requested_by=scope.person_id)
    return found.select_related("client", "site", "device", "owner", "requested_by")


def ticket_for_client(*, scope: Scope, number: int) -> Ticket:
    """One of them. Ticket.DoesNotExist when there is none, or it is not theirs to see."""
    return tickets_for_client(scope=scope).get(number=number)


@dataclass(frozen=True, slots=True)
class PublicLine:
    """A line of a ticket's story as the client reads it."""

    at: datetime
    kind: str
    who: str
    """Name to show; empty: nobody in particular."""
    text: str
    by_client: bool


def public_lines(*, scope: Scope, ticket: Ticket) -> list[PublicLine]:
    """A ticket's story in the words that were written for the client, oldest first. Two queries."""
    events = list(
        TicketEvent.objects.visible_to(scope, by=Permission.PORTAL_VIEW)
        .filter(ticket=ticket)
        .exclude(for_client="")
        .only("at", "kind", "actor", "for_client", "by_client", "ticket_id")
    )
    names = names_of({event.actor for event in events}, client=ticket.client_id)
    return [
        PublicLine(
            at=event.at,
            kind=event.kind,
            who=names.get(event.actor, ""),
            text=event.for_client,
            by_client=event.by_client,
        )
        for event in events
    ]


def names_of(usernames: Iterable[str], *, client: UUID) -> dict[str, str]:
    """User name → the name that the people of ``client`` are shown. Who is no person is left out."""
    wanted = [name for name in usernames if name]
    return {
        person.username: public_name(person, client=client)
        for person in (Person.objects.filter(username__in=wanted) if wanted else ())
    }


def approvals_for_client(*, scope: Scope) -> QuerySet[TicketApproval]:
    """What this person may answer now, the next to lapse first."""
    found: QuerySet[TicketApproval] = TicketApproval.objects.visible_to(scope, by=Permission.PORTAL_APPROVE)
    asked = found.filter(state=ApprovalState.ASKED).select_related("ticket__client", "ticket__site", "ticket__device")
    return asked.order_by("answer_by", "pk")


def approvals_of(*, scope: Scope, ticket: Ticket) -> list[TicketApproval]:
    """Everything that was asked on a ticket which this person sees, oldest first."""
    return list(TicketApproval.objects.visible_to(scope, by=Permission.PORTAL_VIEW).filter(ticket=ticket))


def rating_of(*, scope: Scope, ticket: Ticket) -> TicketRating | None:
    """How a ticket which this person sees was rated; None: not yet."""
    found: TicketRating | None = (
        TicketRating.objects.visible_to(scope, by=Permission.PORTAL_VIEW).filter(ticket=ticket).first()
    )
    return found
