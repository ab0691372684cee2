"""Reads of tickets: the queue, the clocks, the timeline."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from forestall.server.alerts.models import Alert, Notification
from forestall.server.calendar.queries import working_times
from forestall.server.calendar.rules import Pause, Segment, WorkingTime
from forestall.server.checks.models import CheckChange
from forestall.server.evidence.queries import entries
from forestall.server.people.scope import Scope
from forestall.server.tickets import rules
from forestall.server.tickets.models import DONE_STATES, EventKind, Ticket, TicketEvent, TicketPause
from forestall.server.tickets.rules import AT_RISK_PERCENT, Clock, ClockKind, ClockState, ClockView, Priority

_DESK = Scope.system("desk")

BETWEEN_RESOLUTIONS = "resolved"
"""Why of the pause between a resolution and its reopening: it stops both clocks."""

CHANGES_BEFORE = 3
"""How many check changes before the ticket its timeline begins with."""


def tickets(*, scope: Scope) -> QuerySet[Ticket]:
    """Every ticket, newest first, with client, site, device and owner."""
    found: QuerySet[Ticket] = Ticket.objects.visible_to(scope).select_related(
        "client", "site", "device", "owner", "requested_by"
    )
    return found


def tickets_open(*, scope: Scope) -> QuerySet[Ticket]:
    """Tickets that are neither resolved nor closed."""
    return tickets(scope=scope).exclude(state__in=DONE_STATES)


def ticket(*, scope: Scope, number: int) -> Ticket:
    """One ticket. Ticket.DoesNotExist when there is none, or none that ``scope`` may see."""
    return tickets(scope=scope).get(number=number)


def alerts_of(*, scope: Scope, ticket: Ticket) -> QuerySet[Alert]:
    """The alerts a ticket is about, the one that opened it first, with their checks."""
    found: QuerySet[Alert] = (
        Alert.objects.visible_to(scope)
        .filter(ticket_alert__ticket=ticket)
        .select_related("check_row")
        .order_by("ticket_alert__pk")
    )
    return found


# Clocks


@dataclass(frozen=True, slots=True)
class ClockSet:
    """Both clocks of a ticket, and the calendar they count by."""

    response: Clock
    resolution: Clock
    work: WorkingTime

    def get(self, kind: ClockKind) -> Clock:
        return self.response if kind is ClockKind.RESPONSE else self.resolution

    @property
    def current(self) -> Clock:
        """The one that matters now: response until it has stopped, then resolution."""
        return self.response if self.response.stopped_at is None else self.resolution


def clocks_of(*, scope: Scope, tickets: Iterable[Ticket]) -> dict[int, ClockSet]:
    """Ticket number → its clocks, in three queries however many tickets there are (load client and site with
    them: a ticket counts by the time zone and holidays of its site)."""
    listed = list(tickets)
    sites = {}
    for ticket in listed:
        ticket.site.client = ticket.client  # the same one, loaded already
        sites[ticket.site_id] = ticket.site
    works = working_times(scope=scope, sites=sites.values())
    pauses: dict[int, list[TicketPause]] = defaultdict(list)
    for pause in TicketPause.objects.visible_to(scope).filter(ticket__in=[ticket.number for ticket in listed]):
        pauses[pause.ticket_id].append(pause)
    return {ticket.number: _clocks(ticket, pauses[ticket.number], works[ticket.site_id]) for ticket in listed}


def _clocks(ticket: Ticket, rows: list[TicketPause], work: WorkingTime) -> ClockSet:
    pauses = tuple(Pause(start=row.started_at, end=row.ended_at, why=row.why) for row in rows)
    # Only a person's answer or a verified resolution stops the response clock; that a job started does not.
    return ClockSet(
        response=Clock(
            kind=ClockKind.RESPONSE,
            started_at=ticket.opened_at,
            total_seconds=ticket.response_minutes * 60,
            stopped_at=ticket.acknowledged_at or ticket.resolved_at,
            pauses=tuple(pause for pause in pauses if pause.why == BETWEEN_RESOLUTIONS),
        ),
        resolution=Clock(
            kind=ClockKind.RESOLUTION,
            started_at=ticket.opened_at,
            total_seconds=ticket.resolution_minutes * 60,
            stopped_at=ticket.resolved_at,
            pauses=pauses,
        ),
        work=work,
    )


def clock(*, ticket: Ticket, now: datetime, kind: ClockKind | None = None) -> ClockView:
    """What a ticket's clock shows: the one of ``kind``, or the one that matters now. The ticket was visible already."""
    found = clocks_of(scope=_DESK, tickets=[ticket])[ticket.number]
    return rules.clock_view(clock=found.get(kind) if kind else found.current, work=found.work, now=now)


def clock_explain(*, ticket: Ticket, now: datetime, kind: ClockKind | None = None) -> list[Segment]:
    """Every minute of a ticket's clock from start to stop (or ``now``), with why it counted or not."""
    found = clocks_of(scope=_DESK, tickets=[ticket])[ticket.number]
    return rules.clock_explain(clock=found.get(kind) if kind else found.current, work=found.work, now=now)


# Lists


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A ticket in the queue."""

    ticket: Ticket
    clock: ClockView
    """The clock that matters now."""
    why: str
    """Why it stands where it stands: ``urgent; response: 2 h 10 min left``."""
    next_step: str
    """What a person has to do next: ``acknowledge``, ``take over`` …"""


def queue(*, scope: Scope, now: datetime) -> list[QueueRow]:
    """The open tickets, the one to work on next first."""
    listed = list(tickets_open(scope=scope))
    found = clocks_of(scope=scope, tickets=listed)
    rows = []
    for one in listed:
        clocks = found[one.number]
        view = rules.clock_view(clock=clocks.current, work=clocks.work, now=now)
        priority = Priority(one.priority)
        why = rules.rank_reason(priority=priority, view=view)
        rows.append(
            QueueRow(
                ticket=one, clock=view, why=why, next_step=rules.next_step(state=one.state, owner=bool(one.owner_id))
            )
        )
    return sorted(
        rows,
        key=lambda row: rules.rank_key(
            priority=Priority(row.ticket.priority), view=row.clock, opened_at=row.ticket.opened_at
        ),
    )


def sla_at_risk(*, scope: Scope, now: datetime) -> list[QueueRow]:
    """Open tickets with half their time used or more, the next to be due first; those that wait are not at risk."""
    rows = [
        row
        for row in queue(scope=scope, now=now)
        if row.clock.percent >= AT_RISK_PERCENT and row.clock.state is not ClockState.PAUSED
    ]
    return sorted(rows, key=lambda row: row.clock.due_at or now)


# Timeline


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """A line of a ticket's story, whatever it comes from."""

    at: datetime
    source: str
    """``check``, ``ticket``, ``notification`` or ``evidence``."""
    kind: str
    """What happened, as its source names it: ``opened``, ``pass → fail``, ``job:result`` …"""
    actor: str
    text: str
    reference: str = ""
    """Evidence record: ``client/#index``; empty when there is none (or it is on another line)."""
    job_id: str = ""
    has_signature: bool = False
    """The evidence record carries the device's own signature."""
    detail: dict[str, Any] | None = None
    for_client: str = ""
    """As the client reads it; empty: internal."""
    by_client: bool = False
    """One of the client's own people did it."""


def timeline(*, scope: Scope, ticket: Ticket) -> list[TimelineRow]:
    """A ticket as a story, oldest first: how its checks changed (from the last times before it opened), what people,
    jobs and clocks did, who was told, and the evidence of jobs. Five queries."""
    alerts = list(alerts_of(scope=scope, ticket=ticket))
    told, records = _told_once(_ticket_rows(scope, ticket), _evidence_rows(scope, ticket))
    rows = [*told, *_check_rows(scope, ticket, alerts), *_notification_rows(scope, ticket, alerts), *records]
    order = {"check": 0, "evidence": 1, "ticket": 2, "notification": 3}
    return sorted(rows, key=lambda row: (row.at, order[row.source]))


RECORD_OF_STEP = {"queued": "job:queued", "delivered": "job:delivered"}
"""What the desk noted of a job → its evidence; any other step is its result."""


def _told_once(noted: list[TimelineRow], records: list[TimelineRow]) -> tuple[list[TimelineRow], list[TimelineRow]]:
    """Each step of a job on one line: what the desk noted of it takes over the evidence record of the same step.

    That an alert cleared is left out: the check's own line says so.
    """
    left, told = list(records), []
    for row in noted:
        if row.kind == EventKind.CLEARED:
            continue
        if row.kind == EventKind.JOB:
            kind = RECORD_OF_STEP.get(str((row.detail or {}).get("what")), "job:result")
            record = next((one for one in left if one.job_id == row.job_id and one.kind == kind), None)
            if record is not None:
                left.remove(record)
                row = replace(row, reference=record.reference, has_signature=record.has_signature)
        told.append(row)
    return told, left


def _ticket_rows(scope: Scope, ticket: Ticket) -> list[TimelineRow]:
    return [
        TimelineRow(
            at=event.at,
            source="ticket",
            kind=event.kind,
            actor=event.actor,
            text=event.text,
            reference=event.reference,
            job_id=event.job_id,
            detail=event.detail,
            for_client=event.for_client,
            by_client=event.by_client,
        )
        for event in TicketEvent.objects.visible_to(scope).filter(ticket=ticket)
    ]


def _check_rows(scope: Scope, ticket: Ticket, alerts: list[Alert]) -> list[TimelineRow]:
    until = ticket.verified_at or ticket.resolved_at
    changes = CheckChange.objects.visible_to(scope).filter(check_row__in=[alert.check_row_id for alert in alerts])
    if until is not None:
        changes = changes.filter(at__lte=until)
    before: list[CheckChange] = list(changes.filter(at__lt=ticket.first_seen_at).order_by("-at")[:CHANGES_BEFORE])
    after: list[CheckChange] = list(changes.filter(at__gte=ticket.first_seen_at).order_by("at"))
    names = {alert.check_row_id: f"{alert.kind} {alert.target}".strip() for alert in alerts}
    return [
        TimelineRow(
            at=change.at,
            source="check",
            kind=f"{change.old or 'new'} → {change.new}",
            actor=names[change.check_row_id],
            text=change.reason,
            detail={"value": change.value, "old": change.old, "new": change.new},
        )
        for change in [*before, *after]
    ]


def _notification_rows(scope: Scope, ticket: Ticket, alerts: list[Alert]) -> list[TimelineRow]:
    told: QuerySet[Notification] = Notification.objects.visible_to(scope).filter(alert__in=alerts)
    about: QuerySet[Notification] = Notification.objects.visible_to(scope).filter(about=f"ticket {ticket.number}")
    return [
        TimelineRow(
            at=one.sent_at or one.made_at,
            source="notification",
            kind=one.state,
            actor=one.sent_to,
            text=one.title,
            detail={"result": one.result},
        )
        for one in told | about
    ]


def _evidence_rows(scope: Scope, ticket: Ticket) -> list[TimelineRow]:
    """Records of jobs: what the desk itself did names its record on its own line."""
    return [
        TimelineRow(
            at=entry.at,
            source="evidence",
            kind=entry.kind,
            actor="device" if entry.has_signature else "server",
            text=str(entry.payload.get("detail") or entry.payload.get("reason") or ""),
            reference=entry.reference,
            job_id=entry.job_id,
            has_signature=entry.has_signature,
        )
        for entry in entries(scope=scope).filter(ticket_id=ticket.number).exclude(job_id="").order_by("index")
    ]
