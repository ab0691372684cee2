"""Tickets that people open: the client's own people in the portal, or staff by hand; and what the client writes."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import transaction

from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.inventory.models import Device
from forestall.server.outbox.events import Event
from forestall.server.outbox.services import event_record
from forestall.server.people.models import Person, Site
from forestall.server.people.queries import scope_of
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.voice import reading_scope, speaks_for, voice_require
from forestall.server.tickets import portal, routing, sla
from forestall.server.tickets.approvals import tell_desk
from forestall.server.tickets.models import DONE_STATES, REQUEST, EventKind, Ticket, TicketEvent, TicketState
from forestall.server.tickets.rules import REOPENABLE, Urgency, priority_of_request
from forestall.server.tickets.services import reopen_write
from forestall.server.tickets.steps import (
    DESK,
    TicketError,
    bounded,
    event_write,
    evidence_write,
    go_on,
    locked,
    required,
)

LONGEST_TITLE = 200
LONGEST_TEXT = 10_000
MOST_OPEN = 100
"""Open requests of one person: more is a slip or a script, and would bury everybody else's."""


@transaction.atomic
def request_open(
    *,
    title: str,
    text: str,
    urgency: Urgency,
    scope: Scope,
    now: datetime,
    site: Site | None = None,
    device: Device | None = None,
) -> Ticket:
    """A request of one of the client's own people (``portal.ticket``). It is routed and has its clock as any ticket.

    It is about a device, or a site; with neither, about the one site they have. TicketError names what is missing.
    """
    where = _place_for_client(scope, site, device)
    person = voice_require(scope=scope, permission=Permission.PORTAL_TICKET, on=where)
    open_now = Ticket.objects.visible_to(DESK).filter(requested_by=person).exclude(state__in=DONE_STATES).count()
    if open_now >= MOST_OPEN:
        raise TicketError(f"{open_now} of your requests are open: close some, or write on one of them")
    return _open(
        site=where, device=device, title=title, text=text, urgency=urgency, requested_by=person, scope=scope, now=now,
        by_client=True,
    )  # fmt: skip


def _place_for_client(scope: Scope, site: Site | None, device: Device | None) -> Site:
    sites = Site.objects.visible_to(scope, by=Permission.PORTAL_TICKET).filter(client__removed_at=None)
    sites = sites.select_related("client")
    if device is not None:
        seen = Device.objects.visible_to(scope, by=Permission.PORTAL_TICKET).get(pk=device.pk)
        if site is not None and seen.site_id != site.pk:
            raise TicketError("device: it does not stand at that site")
        found: Site = sites.get(pk=seen.site_id)
        return found
    if site is not None:
        named: Site = sites.get(pk=site.pk)
        return named
    several = list(sites[:2])
    if len(several) != 1:
        raise TicketError("site: say where it is" if several else "site: there is none yet")
    only: Site = several[0]
    return only


@transaction.atomic
def ticket_open(
    *,
    title: str,
    text: str,
    urgency: Urgency,
    scope: Scope,
    now: datetime,
    site: Site | None = None,
    device: Device | None = None,
    requested_by: Person | None = None,
) -> Ticket:
    """A ticket that staff open by hand, for the client's person ``requested_by`` or for nobody in particular.

    The client reads title and text. TicketError names what is missing or does not fit.
    """
    if device is not None:
        device = Device.objects.visible_to(scope).select_related("site__client").get(pk=device.pk)
        if site is not None and device.site_id != site.pk:
            raise TicketError(f"device: {device.name} does not stand at {site.name}")
        site = device.site
    if site is None:
        raise TicketError("site: say where it is")
    where: Site = (
        Site.objects.visible_to(scope).filter(client__removed_at=None).select_related("client").get(pk=site.pk)
    )
    scope.require(Permission.TICKET_WORK, on=where)
    if requested_by is not None and not speaks_for(
        scope=scope_of(requested_by, now=now), permission=Permission.PORTAL_VIEW, on=where, now=now
    ):
        raise TicketError(f"requested_by: {requested_by.username} does not see the portal of {where.name}")
    return _open(
        site=where, device=device, title=title, text=text, urgency=urgency, requested_by=requested_by, scope=scope,
        now=now, by_client=False,
    )  # fmt: skip


def _open(
    *,
    site: Site,
    device: Device | None,
    title: str,
    text: str,
    urgency: Urgency,
    requested_by: Person | None,
    scope: Scope,
    now: datetime,
    by_client: bool,
) -> Ticket:
    title = bounded(
        "title", " ".join(required(title, "title: say in a few words what it is about").split()), LONGEST_TITLE
    )
    text = bounded("text", text.strip(), LONGEST_TEXT)
    priority, risk = priority_of_request(urgency)
    response, resolution = sla.targets_of(client=site.client)[priority]
    owner = routing.who_gets(client=site.client, site=site, kind=REQUEST, risk=risk).owner
    ticket: Ticket = Ticket.objects.create(
        client=site.client,
        site=site,
        device=device,
        kind=REQUEST,
        # Of a check, one condition is one piece of work; two requests are two, whatever their words.
        condition=f"{REQUEST}:{uuid.uuid4().hex}",
        title=title,
        text=text,
        urgency=urgency,
        opened_by=scope.who,
        requested_by=requested_by,
        risk=risk,
        priority=priority,
        owner=owner,
        first_seen_at=now,
        opened_at=now,
        touched=True,
        response_minutes=response,
        resolution_minutes=resolution,
    )
    entry = evidence_write(
        ticket,
        EvidenceKind.TICKET_OPENED,
        {
            "title": title,
            "text": text,
            "urgency": str(urgency),
            "priority": str(priority),
            "owner": owner.username if owner else "",
            "requested_by": requested_by.username if requested_by else "",
            "by": scope.who,
            "response_minutes": response,
            "resolution_minutes": resolution,
        },
        now,
    )
    words = f"{urgency.words}: {text}" if text else urgency.words
    event_write(
        ticket, EventKind.OPENED, actor=scope.who, text=words, now=now, reference=entry, for_client=words,
        by_client=by_client,
    )  # fmt: skip
    if owner is not None:
        event_write(ticket, EventKind.ASSIGNED, actor="routing", text=f"assigned to {owner.username}", now=now)
    event_record(event=Event.TICKET_OPENED, subject=ticket.number, at=now)
    if by_client:
        tell_desk(ticket, f"new request: {title}", words, now)
    return ticket


@transaction.atomic
def client_comment(*, ticket: Ticket, text: str, scope: Scope, now: datetime) -> TicketEvent:
    """One of the client's own people writes on a ticket they see. A ticket that waits for the client goes on."""
    found = locked(portal.ticket_for_client(scope=reading_scope(scope), number=ticket.number))
    voice_require(scope=scope, permission=Permission.PORTAL_TICKET, on=found)
    text = bounded("text", required(text, "text: a comment without words"), LONGEST_TEXT)
    found.touched = True
    found.save(update_fields=["touched"])
    entry = evidence_write(
        found,
        EvidenceKind.TICKET_COMMENTED,
        {"text": text, "by": scope.who, "visibility": "client", "side": "client"},
        now,
    )
    event = event_write(
        found,
        EventKind.COMMENTED,
        actor=scope.who,
        text=text,
        now=now,
        reference=entry,
        for_client=text,
        by_client=True,
    )
    if found.state == TicketState.WAITING:
        go_on(found, now)
        event_write(
            found, EventKind.RESUMED, actor=scope.who, text="work resumed: the client has written", now=now,
            for_client="Work goes on.", by_client=True,
        )  # fmt: skip
    tell_desk(found, "the client has written", text, now)
    return event


@transaction.atomic
def client_reopen(*, ticket: Ticket, reason: str, scope: Scope, now: datetime) -> Ticket:
    """The client says that its request is not done. Of what checks found, checks say that."""
    found = locked(portal.ticket_for_client(scope=reading_scope(scope), number=ticket.number))
    voice_require(scope=scope, permission=Permission.PORTAL_TICKET, on=found)
    reason = bounded("reason", required(reason, "reason: say what is still wrong"), LONGEST_TEXT)
    if not found.is_request:
        raise TicketError("a check says whether this is well; open a request if you see something else")
    if found.resolved_at is None:
        raise TicketError(f"ticket {found.number} is open")
    if now - found.resolved_at > REOPENABLE:
        raise TicketError(f"it was done more than {REOPENABLE.days} days ago: open a new request")
    reopened = reopen_write(
        found, reason=reason, by=scope.who, now=now, for_client=f"Not done yet: {reason}", by_client=True
    )
    tell_desk(reopened, "the client opened it again", reason, now)
    return reopened
