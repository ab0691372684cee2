"""Reads of working hours and maintenance windows."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from uuid import UUID

from django.db.models import Q, QuerySet

from forestall.server.calendar.models import ClosedDay, MaintenanceWindow, WorkingWeek
from forestall.server.calendar.rules import DEFAULT_WEEK, CalendarError, Week, WorkingTime, public_holidays
from forestall.server.calendar.windows import Occurrence, Window, next_window, occurrences, window_at
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, Scope

log = logging.getLogger(__name__)


def working_times(
    *, scope: Scope, clients: Iterable[Client] = (), sites: Iterable[Site] = ()
) -> dict[UUID, WorkingTime]:
    """Id of the client or site → its working time, in two queries however many there are (load sites with clients).

    A site has its client's hours and closed days, in its own time zone and with its own public holidays.
    """
    places = [Place.of_client(client) for client in clients] + [Place.of_site(site) for site in sites]
    wanted = {place.client_id for place in places}
    weeks = {
        week.client_id: Week.parse(week.hours)
        for week in WorkingWeek.objects.visible_to(scope).filter(client__in=wanted)
    }
    closed: dict[UUID, dict[date, str]] = defaultdict(dict)
    for one in ClosedDay.objects.visible_to(scope).filter(client__in=wanted):
        closed[one.client_id][one.day] = one.why
    times = {}
    for place in places:
        note = ""
        try:
            holidays = public_holidays(place.country, place.region)
        except CalendarError as error:
            # A clock that counts a holiday too many is better than no clock; it says so wherever it is shown.
            log.warning("%s: %s", place.pk, error)
            holidays, note = {}, str(error)
        times[place.pk] = WorkingTime(
            timezone=place.timezone,
            week=weeks.get(place.client_id, DEFAULT_WEEK),
            holidays=holidays,
            closed=closed.get(place.client_id, {}),
            note=note,
        )
    return times


@dataclass(frozen=True, slots=True)
class Place:
    """Where a clock counts: time zone and public holidays."""

    pk: UUID
    client_id: UUID
    timezone: str
    country: str
    region: str

    @classmethod
    def of_client(cls, client: Client) -> Place:
        return cls(client.pk, client.pk, client.timezone, client.country, client.region)

    @classmethod
    def of_site(cls, site: Site) -> Place:
        # A country of its own comes with its own region: a client's Bavaria is no part of Austria.
        at = site if site.country else site.client
        return cls(site.pk, site.client_id, site.zone, at.country, at.region)


def working_time(*, scope: Scope, client: Client) -> WorkingTime:
    """The working time of one client."""
    return working_times(scope=scope, clients=[client])[client.pk]


def working_time_of_site(*, scope: Scope, site: Site) -> WorkingTime:
    """The working time at one site: its client's hours in its own time zone, with its own public holidays."""
    return working_times(scope=scope, sites=[site])[site.pk]


def working_week(*, scope: Scope, client: Client) -> WorkingWeek | None:
    """The hours that were set for a client; None while it has the usual ones (``DEFAULT_WEEK``)."""
    found: WorkingWeek | None = WorkingWeek.objects.visible_to(scope).filter(client=client).first()
    return found


def closed_days(*, scope: Scope) -> QuerySet[ClosedDay]:
    """The closed days that ``scope`` may see, earliest first."""
    found: QuerySet[ClosedDay] = ClosedDay.objects.visible_to(scope)
    return found


def windows(*, scope: Scope) -> QuerySet[MaintenanceWindow]:
    """The maintenance windows that ``scope`` may see, with site and client."""
    found: QuerySet[MaintenanceWindow] = MaintenanceWindow.objects.visible_to(scope).select_related("site__client")
    return found


COUNTING = Q(needs_approval=False) | Q(answer="approved")
"""``windows.window_counts`` as a question to the database."""


def windows_for(*, scope: Scope, site_id: UUID, device_id: UUID | None, since: datetime) -> list[Window]:
    """Windows that cover a device (None: the site as a whole) and were not ended before ``since``."""
    covering = windows(scope=scope).filter(
        COUNTING, Q(device_id=None) | Q(device_id=device_id), Q(ended_at=None) | Q(ended_at__gt=since), site_id=site_id
    )
    return [window_rule(window) for window in covering]


def window_rule(window: MaintenanceWindow) -> Window:
    """A window as the rules see it (load it with its site and client)."""
    return Window(
        name=window.name,
        timezone=window.site.zone,
        first=datetime.combine(window.starts_on, window.starts_at),
        minutes=window.minutes,
        recurrence=window.rrule,
        ended_at=window.ended_at,
    )


@dataclass(frozen=True, slots=True)
class Upcoming:
    """One time that a window will be, or is, open."""

    window: MaintenanceWindow
    occurrence: Occurrence


MOST_UPCOMING = 500
"""So many times of one window at most: a daily one for more than a year."""


def upcoming(*, windows: Iterable[MaintenanceWindow], since: datetime, until: datetime) -> list[Upcoming]:
    """Every time these windows (loaded with site and client) are open between two instants, the earliest first."""
    found = [
        Upcoming(window=window, occurrence=occurrence)
        for window in windows
        for occurrence in islice(occurrences(window_rule(window), since, until), MOST_UPCOMING)
    ]
    return sorted(found, key=lambda one: (one.occurrence.start, one.window.name))


def next_by_client(*, scope: Scope, now: datetime, within: timedelta = timedelta(days=400)) -> dict[UUID, Upcoming]:
    """Client id → the next time one of its windows opens, or the one that is open now. One query."""
    found: dict[UUID, Upcoming] = {}
    for window in windows(scope=scope).filter(COUNTING, Q(ended_at=None) | Q(ended_at__gt=now)):
        first = next(occurrences(window_rule(window), now, now + within), None)
        client = window.site.client_id
        if first is not None and (client not in found or first.start < found[client].occurrence.start):
            found[client] = Upcoming(window=window, occurrence=first)
    return found


def window_now(*, scope: Scope, site_id: UUID, device_id: UUID | None, now: datetime) -> Occurrence | None:
    """The maintenance window that covers a device now; None when there is none."""
    return window_at(windows_for(scope=scope, site_id=site_id, device_id=device_id, since=now), now)


def window_next(*, scope: Scope, site_id: UUID, device_id: UUID | None, now: datetime) -> Occurrence | None:
    """The next maintenance window of a device; None when none is planned within 400 days."""
    return next_window(windows_for(scope=scope, site_id=site_id, device_id=device_id, since=now), now)


def holidays_of(time: WorkingTime, year: int) -> list[tuple[date, str]]:
    """The public holidays of a working time in one year, earliest first."""
    day, found = date(year, 1, 1), []
    while day.year == year:
        name = time.holidays.get(day)
        if name is not None:
            found.append((day, name))
        day += timedelta(days=1)
    return found


def windows_for_client(*, scope: Scope) -> QuerySet[MaintenanceWindow]:
    """The windows that a person of a client may see in the portal (``people.voice.reading_scope``), proposals too."""
    found: QuerySet[MaintenanceWindow] = MaintenanceWindow.objects.visible_to(scope, by=Permission.PORTAL_VIEW)
    return found.select_related("site__client")


def windows_to_answer(*, scope: Scope, now: datetime) -> QuerySet[MaintenanceWindow]:
    """The windows that wait for this person's answer (``portal.approve``), the earliest made first."""
    found: QuerySet[MaintenanceWindow] = MaintenanceWindow.objects.visible_to(scope, by=Permission.PORTAL_APPROVE)
    waiting = found.filter(Q(ended_at=None) | Q(ended_at__gt=now), needs_approval=True, answer="")
    return waiting.select_related("site__client").order_by("created_at", "pk")
