"""Tickets of somebody who leaves: which are theirs, and who takes them over."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from forestall.server.people.models import Person
from forestall.server.people.persons import person_deactivate
from forestall.server.people.scope import Permission, Scope
from forestall.server.tickets import queries, services
from forestall.server.tickets.models import Ticket


def tickets_owned(*, person: Person, scope: Scope) -> QuerySet[Ticket]:
    """The open tickets that ``person`` owns, of those that ``scope`` may see."""
    if not scope.may(Permission.TICKET_VIEW):
        nothing: QuerySet[Ticket] = Ticket.objects.visible_to(scope).none()
        return nothing
    found: QuerySet[Ticket] = queries.tickets_open(scope=scope).filter(owner=person)
    return found


@transaction.atomic
def person_leave(*, person: Person, successor: Person | None, scope: Scope, now: datetime) -> int:
    """Switch somebody off, and give their open tickets to ``successor`` (None: they keep their name on them until
    somebody takes them); how many were given. Both happen, or neither: TicketError when the successor cannot work on
    one of them."""
    given = 0
    if successor is not None:
        if successor.pk == person.pk:
            raise services.TicketError(f"successor: {person.username} cannot take over from themselves")
        for ticket in list(tickets_owned(person=person, scope=scope)):
            services.ticket_assign(ticket=ticket, owner=successor, scope=scope, now=now)
            given += 1
    person_deactivate(person=person, scope=scope, now=now)
    return given
