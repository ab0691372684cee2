"""What is true about each client now: devices, health, tickets, clocks at risk, the next window, whom to call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db.models import Count, QuerySet

from forestall.server.calendar.queries import Upcoming, next_by_client
from forestall.server.checks import queries as checks
from forestall.server.checks.result import Status
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.models import Entry
from forestall.server.evidence.queries import entries
from forestall.server.inventory import queries as inventory
from forestall.server.inventory.models import DeviceStatus
from forestall.server.people import queries as people
from forestall.server.people.models import Client, Contact, Site
from forestall.server.people.scope import Permission, Scope
from forestall.server.tickets import queries as tickets
from forestall.server.tickets.models import Ticket
from forestall.server.tickets.rules import AT_RISK_PERCENT, ClockState, ClockView, clock_view, used_percent

WORST_FIRST = (Status.FAIL, Status.WARN, Status.STALE, Status.UNKNOWN, Status.PASS)

HISTORY_KINDS = (
    EvidenceKind.CLIENT_CHANGED, EvidenceKind.CALENDAR_CHANGED, EvidenceKind.WINDOW_CHANGED,
    EvidenceKind.WINDOW_ANSWERED, EvidenceKind.GRANT_CHANGED, EvidenceKind.TOKEN_CHANGED, EvidenceKind.IMPORT_DONE,
    EvidenceKind.IMPORT_UNDONE, EvidenceKind.CLIENT_EXPORTED, EvidenceKind.CLIENT_REMOVED,
)  # fmt: skip
"""How a client is served, and by whom: everything else of its log is about its devices."""


@dataclass(slots=True)
class Overview:
    """A client in one line."""

    client: Client
    devices: int = 0
    sites: int = 0
    checks: dict[str, int] = field(default_factory=dict)
    """Status → devices whose worst answer it is."""
    open_tickets: int = 0
    at_risk: int = 0
    """Of these: half their time used or more, and the clock not paused."""
    due: list[tuple[Ticket, ClockView]] = field(default_factory=list)
    """Those at risk with their clocks, the next to be due first."""
    next_window: Upcoming | None = None
    contact: Contact | None = None
    """The primary one."""

    @property
    def worst(self) -> Status | None:
        """The worst that a check of it says; None while it has none."""
        return next((status for status in WORST_FIRST if self.checks.get(status)), None)

    @property
    def rank(self) -> tuple[int, int]:
        """Sort key of health, worst first."""
        if self.worst is None:
            return (len(WORST_FIRST), 0)
        return (WORST_FIRST.index(self.worst), -self.checks[self.worst])


def overviews(*, scope: Scope, now: datetime, clients: Iterable[Client] | None = None) -> list[Overview]:
    """Every client that ``scope`` may see, or these, by name. Eleven queries however many there are."""
    rows = served(scope=scope).order_by("name") if clients is None else clients
    found = {client.pk: Overview(client=client) for client in rows}
    one = next(iter(found)) if len(found) == 1 else None
    sites = {}
    for site in people.sites(scope=scope).select_related(None).filter(client__in=found):
        site.client = found[site.client_id].client
        sites[site.pk] = site
        found[site.client_id].sites += 1
    devices = inventory.devices(scope=scope).exclude(status=DeviceStatus.REVOKED)
    for pk, number in _count(devices, "client", one):
        if pk in found:
            found[pk].devices = number
    _count_health(found, scope, one)
    _count_tickets(found, sites, scope, now)
    for pk, upcoming in next_by_client(scope=scope, now=now).items():
        if pk in found:
            found[pk].next_window = upcoming
    for contact in people.contacts(scope=scope).filter(is_primary=True, client__in=found):
        found[contact.client_id].contact = contact
    return list(found.values())


def _count(rows: QuerySet, path: str, one: UUID | None) -> list[tuple[UUID, int]]:  # type: ignore[type-arg]
    if one is not None:
        rows = rows.filter(**{path: one})
    return list(rows.order_by().values_list(path).annotate(n=Count("pk")))


def _count_health(found: dict[UUID, Overview], scope: Scope, one: UUID | None) -> None:
    rows = checks.checks(scope=scope).filter(device__status=DeviceStatus.APPROVED).order_by()
    if one is not None:
        rows = rows.filter(device__client=one)
    worst: dict[UUID, tuple[int, UUID]] = {}
    for client, device, status in rows.values_list("device__client", "device", "status").distinct():
        rank = WORST_FIRST.index(Status(status))
        worst[device] = min(worst.get(device, (rank, client)), (rank, client))
    for rank, client in worst.values():
        if client in found:
            counts, status = found[client].checks, WORST_FIRST[rank].value
            counts[status] = counts.get(status, 0) + 1


CLOCK_FIELDS = (
    "client", "site", "owner", "title", "state", "opened_at", "acknowledged_at", "resolved_at", "response_minutes",
    "resolution_minutes",
)  # fmt: skip
"""All that is read of a ticket here: the rest of hundreds of them would cost more than their clocks."""


def _count_tickets(found: dict[UUID, Overview], sites: dict[UUID, Site], scope: Scope, now: datetime) -> None:
    listed = []
    for ticket in tickets.tickets_open(scope=scope).select_related(None).only(*CLOCK_FIELDS).filter(site__in=sites):
        ticket.site = sites[ticket.site_id]
        ticket.client = ticket.site.client
        listed.append(ticket)
    clocks = tickets.clocks_of(scope=scope, tickets=listed)
    for ticket in listed:
        overview = found[ticket.client_id]
        overview.open_tickets += 1
        both = clocks[ticket.number]
        if used_percent(clock=both.current, work=both.work, now=now) < AT_RISK_PERCENT:
            continue  # most of them: the rest of what a clock shows is not worth working out
        view = clock_view(clock=both.current, work=both.work, now=now)
        if view.state is not ClockState.PAUSED:
            overview.due.append((ticket, view))
    for overview in found.values():
        overview.at_risk = len(overview.due)
        overview.due.sort(key=lambda one: one[1].due_at or now)


def overview(*, scope: Scope, client: Client, now: datetime) -> Overview:
    """One client in one line."""
    return overviews(scope=scope, now=now, clients=[client])[0]


def history(*, scope: Scope, client: Client) -> QuerySet[Entry]:
    """How the client was served, and by whom, newest first."""
    return entries(scope=scope).filter(client=client, kind__in=HISTORY_KINDS).order_by("-index")


def people_at(*, scope: Scope, client: Client) -> bool:
    """Whether ``scope`` may see who works at this client."""
    return scope.place(Permission.PEOPLE_VIEW).touches(client.pk)


def served(*, scope: Scope) -> QuerySet[Client]:
    """The clients of which ``scope`` may see how they are served."""
    found: QuerySet[Client] = Client.objects.visible_to(scope, by=Permission.CLIENT_VIEW).filter(removed_at=None)
    return found


def sites_served(*, scope: Scope) -> QuerySet[Site]:
    """The sites of which ``scope`` may see how they are served, with their clients."""
    found: QuerySet[Site] = (
        Site.objects.visible_to(scope, by=Permission.CLIENT_VIEW)
        .filter(client__removed_at=None)
        .select_related("client")
    )
    return found


def contacts_served(*, scope: Scope) -> QuerySet[Contact]:
    """The contacts that ``scope`` may see, of clients that are served, the primary one of each first."""
    return people.contacts(scope=scope).filter(client__removed_at=None)
