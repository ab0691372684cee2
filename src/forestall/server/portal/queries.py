"""Reads of the portal. Each takes a scope as ``people.voice.reading_scope`` makes it, and the time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet

from forestall.server.alerts.rules import subject_of
from forestall.server.calendar import queries as calendar
from forestall.server.calendar.models import MaintenanceWindow
from forestall.server.calendar.queries import Upcoming
from forestall.server.calendar.windows import window_counts
from forestall.server.checks.models import Check
from forestall.server.checks.result import Status
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, Scope
from forestall.server.portal.rules import Health, health_of
from forestall.server.tickets import portal as tickets
from forestall.server.tickets.models import DONE_STATES, Ticket, TicketApproval, TicketState

AHEAD = timedelta(days=60)
"""How far the calendar looks."""


def clients_for(*, scope: Scope) -> QuerySet[Client]:
    """The clients of which this person sees the portal."""
    found: QuerySet[Client] = Client.objects.visible_to(scope, by=Permission.PORTAL_VIEW).filter(removed_at=None)
    return found


def sites_for_requests(*, scope: Scope) -> QuerySet[Site]:
    """Where this person may open a request."""
    found: QuerySet[Site] = Site.objects.visible_to(scope, by=Permission.PORTAL_TICKET).filter(client__removed_at=None)
    return found.select_related("client")


def devices_for(*, scope: Scope) -> QuerySet[Device]:
    """The devices in service that this person sees, by name."""
    found: QuerySet[Device] = Device.objects.visible_to(scope, by=Permission.PORTAL_VIEW)
    return found.filter(status=DeviceStatus.APPROVED).select_related("client", "site").order_by("name")


# Health


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is not well on a device: what, since when, and what is done about it."""

    what: str
    """``Disk space``: what a check looks at, without its target."""
    status: Status
    since: datetime
    ticket: Ticket | None
    """Of what is done about it, if this person may see that."""
    in_hand: bool
    """The desk has a ticket for it."""


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """A device as its owner sees it."""

    device: Device
    health: Health
    troubles: list[Trouble] = field(default_factory=list)
    unanswered: int = 0
    """Checks that could not look, or whose answer is old."""


def health(*, scope: Scope, now: datetime) -> list[DeviceHealth]:
    """Every device this person sees, worst first. Four queries, however many there are."""
    devices = list(devices_for(scope=scope))
    rows: dict[UUID, list[tuple[str, str, datetime]]] = defaultdict(list)
    own = Check.objects.visible_to(scope, by=Permission.PORTAL_VIEW).filter(
        gone_at=None, device__status=DeviceStatus.APPROVED
    )
    for device_id, kind, status, since, problem_since in own.values_list(
        "device_id", "kind", "status", "since", "problem_since"
    ):
        rows[device_id].append((kind, status, problem_since or since))
    in_hand, visible = _open_tickets(scope)
    found = [_device(device, rows[device.pk], in_hand, visible, now) for device in devices]
    return sorted(found, key=lambda one: (one.health.rank, one.device.name))


def _open_tickets(scope: Scope) -> tuple[set[tuple[UUID, str]], dict[tuple[UUID, str], Ticket]]:
    """What the desk works on, as (device, kind); and those of them that this person may see."""
    on_devices = Q(device__isnull=False) & ~Q(state__in=DONE_STATES)
    every = Ticket.objects.visible_to(scope, by=Permission.PORTAL_VIEW).filter(on_devices)
    in_hand = set(every.order_by().values_list("device_id", "kind"))
    seen = tickets.tickets_for_client(scope=scope).filter(on_devices)
    return in_hand, {(one.device_id, one.kind): one for one in seen if one.device_id is not None}


def _device(
    device: Device,
    rows: Sequence[tuple[str, str, datetime]],
    in_hand: set[tuple[UUID, str]],
    visible: dict[tuple[UUID, str], Ticket],
    now: datetime,
) -> DeviceHealth:
    counts = Counter(status for _kind, status, _since in rows)
    worst: dict[str, tuple[Status, datetime]] = {}
    for kind, status, since in rows:
        if status not in {Status.FAIL, Status.WARN}:
            continue
        known = worst.get(kind)
        if known is None or (status == Status.FAIL and known[0] is Status.WARN):
            worst[kind] = (Status(status), since)
        elif known[0] == status:
            worst[kind] = (known[0], min(known[1], since))
    troubles = [
        Trouble(
            what=subject_of(kind=kind, target=""),
            status=status,
            since=since,
            ticket=visible.get((device.pk, kind)),
            in_hand=(device.pk, kind) in in_hand,
        )
        for kind, (status, since) in worst.items()
    ]
    return DeviceHealth(
        device=device,
        health=health_of(counts=counts, last_seen_at=device.last_check_in_at, now=now),
        troubles=sorted(troubles, key=lambda one: (one.status is not Status.FAIL, one.what)),
        unanswered=counts.get(Status.UNKNOWN, 0) + counts.get(Status.STALE, 0),
    )


# What waits for this person


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the client's person is asked for."""

    approvals: list[TicketApproval]
    windows: list[MaintenanceWindow]
    tickets: list[Ticket]
    """That wait for them, and ask no approval."""

    @property
    def count(self) -> int:
        return len(self.approvals) + len(self.windows) + len(self.tickets)


def waiting(*, scope: Scope, now: datetime) -> Waiting:
    """Everything that waits for this person. Three queries."""
    approvals = list(tickets.approvals_for_client(scope=scope))
    asked = {one.ticket_id for one in approvals}
    waits = tickets.tickets_for_client(scope=scope).filter(state=TicketState.WAITING)
    return Waiting(
        approvals=approvals,
        windows=list(calendar.windows_to_answer(scope=scope, now=now)),
        tickets=[one for one in waits if one.number not in asked],
    )


# Calendar


@dataclass(frozen=True, slots=True)
class FreeDay:
    """A day on which nobody works at a place."""

    day: date
    why: str
    where: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is ahead."""

    planned: list[Upcoming]
    """Times of windows that are agreed, or need no agreement."""
    proposed: list[MaintenanceWindow]
    """That wait for an answer, whoever gives it."""
    declined: list[MaintenanceWindow]
    free: list[FreeDay]


def plan(*, scope: Scope, now: datetime, ahead: timedelta = AHEAD) -> Plan:
    """Windows, closed days and public holidays of the next time. Five queries, however many there are."""
    open_windows = list(
        calendar.windows_for_client(scope=scope).filter(Q(ended_at=None) | Q(ended_at__gt=now)).order_by("pk")
    )
    counting = [one for one in open_windows if window_counts(needs_approval=one.needs_approval, answer=one.answer)]
    return Plan(
        planned=calendar.upcoming(windows=counting, since=now, until=now + ahead),
        proposed=[one for one in open_windows if one.needs_approval and not one.answer],
        declined=[one for one in open_windows if one.needs_approval and one.answer == "declined"],
        free=_free_days(scope, now, ahead),
    )


def _free_days(scope: Scope, now: datetime, ahead: timedelta) -> list[FreeDay]:
    sites = list(
        Site.objects.visible_to(scope, by=Permission.PORTAL_VIEW)
        .filter(client__removed_at=None)
        .select_related("client")
    )
    times = calendar.working_times(scope=scope, sites=sites)
    where: dict[tuple[date, str], list[str]] = defaultdict(list)
    for site in sites:
        time = times[site.pk]
        for number in range(ahead.days + 1):
            day = now.date() + timedelta(days=number)
            why = time.closed.get(day) or time.holidays.get(day)
            if why:
                where[(day, why)].append(site.name)
    return [
        # Everywhere is the usual case, and says itself.
        FreeDay(day=day, why=why, where="" if len(names) == len(sites) else ", ".join(sorted(names)))
        for (day, why), names in sorted(where.items())
    ]
