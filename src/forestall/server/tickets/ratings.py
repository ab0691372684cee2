"""How content clients are: a rating of a ticket that is done, and what ratings add up to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Avg, Count
from django.db.models.functions import TruncMonth

from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.voice import reading_scope, voice_require
from forestall.server.tickets import portal
from forestall.server.tickets.models import EventKind, Ticket, TicketRating
from forestall.server.tickets.rules import RATING_CHANGEABLE, rating_is_open
from forestall.server.tickets.steps import DESK, TicketError, bounded, event_write, evidence_write, locked

SCORES = range(1, 6)
LONGEST_COMMENT = 2000


@transaction.atomic
def rating_give(*, ticket: Ticket, score: int, scope: Scope, now: datetime, comment: str = "") -> TicketRating:
    """Rate a ticket that is done, from 1 (bad) to 5 (very good); once, by one of the client's own people.

    Who gave it may change it for ``RATING_CHANGEABLE``. TicketError when the ticket is not done, somebody else has
    rated it, or it is too late to change it.
    """
    found = locked(portal.ticket_for_client(scope=reading_scope(scope), number=ticket.number))
    voice_require(scope=scope, permission=Permission.PORTAL_TICKET, on=found)
    if score not in SCORES:
        raise TicketError(f"score: {score} is not from 1 to 5")
    comment = bounded("comment", comment.strip(), LONGEST_COMMENT)
    if not found.is_done:
        raise TicketError(f"ticket {found.number} is not done yet: it can be rated then")
    rating: TicketRating | None = TicketRating.objects.visible_to(DESK).filter(ticket=found).first()
    before = None if rating is None else rating.score
    if rating is None:
        rating = TicketRating(ticket=found, person_id=scope.person_id, given_by=scope.who, given_at=now)
    elif rating.given_by != scope.who:
        raise TicketError("it was rated by one of your colleagues already")
    elif not rating_is_open(given_at=rating.given_at, now=now):
        raise TicketError(f"it was rated more than {RATING_CHANGEABLE.days} days ago: that stands")
    else:
        rating.changed_at = now
    rating.score, rating.comment = score, comment
    rating.save()
    entry = evidence_write(
        found,
        EvidenceKind.TICKET_RATED,
        {"score": score, "before": before, "comment": comment, "by": scope.who},
        now,
    )
    words = f"Rated {score} of 5" + (f": {comment}" if comment else ".")
    event_write(
        found,
        EventKind.RATED,
        actor=scope.who,
        text=words,
        now=now,
        detail={"score": score, "before": before},
        reference=entry,
        for_client=words,
        by_client=True,
    )
    return rating


@dataclass(frozen=True, slots=True)
class Contentment:
    """What a client's ratings add up to."""

    count: int
    average: float


def contentment_by_client(*, scope: Scope, since: datetime | None = None) -> dict[UUID, Contentment]:
    """Client id → ratings given since then (None: ever), and their average. One query."""
    found = TicketRating.objects.visible_to(scope)
    if since is not None:
        found = found.filter(given_at__gte=since)
    rows = found.order_by().values("ticket__client").annotate(count=Count("pk"), average=Avg("score"))
    return {row["ticket__client"]: Contentment(count=row["count"], average=float(row["average"])) for row in rows}


def contentment_by_month(*, scope: Scope, client_id: UUID, since: datetime) -> dict[date, Contentment]:
    """First day of each month → the ratings given in it, and their average, oldest first. One query."""
    found = TicketRating.objects.visible_to(scope).filter(ticket__client=client_id, given_at__gte=since)
    rows = (
        found.annotate(month=TruncMonth("given_at"))
        .order_by("month")
        .values("month")
        .annotate(count=Count("pk"), average=Avg("score"))
    )
    return {row["month"].date(): Contentment(count=row["count"], average=float(row["average"])) for row in rows}


def rating_of(*, scope: Scope, ticket: Ticket) -> TicketRating | None:
    """How a ticket was rated, for the desk; None: not yet."""
    found: TicketRating | None = TicketRating.objects.visible_to(scope).filter(ticket=ticket).first()
    return found
