"""Reads of working hours and maintenance windows."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from forestall.server.calendar.models import ClosedDay, MaintenanceWindow, WorkingWeek
from forestall.server.calendar.rules import DEFAULT_WEEK, CalendarError, Week, WorkingTime, public_holidays
from forestall.server.calendar.windows import Occurrence, Window, next_window, window_at
from forestall.server.people.models import Client
from forestall.server.people.scope import Scope

log = logging.getLogger(__name__)


def working_times(*, scope: Scope, clients: Iterable[Client]) -> dict[UUID, WorkingTime]:
    """Client id → its working time, in two queries however many clients there are."""
    wanted = {client.pk: client for client in clients}
    weeks = {
        week.client_id: Week.parse(week.hours)
        for week in WorkingWeek.objects.visible_to(scope).filter(client__in=wanted)
    }
    closed: dict[UUID, dict[date, str]] = defaultdict(dict)
    for one in ClosedDay.objects.visible_to(scope).filter(client__in=wanted):
        closed[one.client_id][one.day] = one.why
    times = {}
    for pk, client in wanted.items():
        note = ""
        try:
            holidays = public_holidays(client.country, client.region)
        except CalendarError as error:
            # A clock that counts a holiday too many is better than no clock; it says so wherever it is shown.
            log.warning("client %s: %s", client.pk, error)
            holidays, note = {}, str(error)
        times[pk] = WorkingTime(
            timezone=client.timezone,
            week=weeks.get(pk, DEFAULT_WEEK),
            holidays=holidays,
            closed=closed.get(pk, {}),
            note=note,
        )
    return times


def working_time(*, scope: Scope, client: Client) -> WorkingTime:
    """The working time of one client."""
    return working_times(scope=scope, clients=[client])[client.pk]


def windows(*, scope: Scope) -> QuerySet[MaintenanceWindow]:
    """The maintenance windows that ``scope`` may see, with site and client."""
    found: QuerySet[MaintenanceWindow] = MaintenanceWindow.objects.visible_to(scope).select_related("site__client")
    return found


def windows_for(*, scope: Scope, site_id: UUID, device_id: UUID | None, since: datetime) -> list[Window]:
    """Windows that cover a device (None: the site as a whole) and were not ended before ``since``."""
    covering = windows(scope=scope).filter(
        Q(device_id=None) | Q(device_id=device_id), Q(ended_at=None) | Q(ended_at__gt=since), site_id=site_id
    )
    return [
        Window(
            name=window.name,
            timezone=window.site.zone,
            first=datetime.combine(window.starts_on, window.starts_at),
            minutes=window.minutes,
            recurrence=window.rrule,
            ended_at=window.ended_at,
        )
        for window in covering
    ]


def window_now(*, scope: Scope, site_id: UUID, device_id: UUID | None, now: datetime) -> Occurrence | None:
    """The maintenance window that covers a device now; None when there is none."""
    return window_at(windows_for(scope=scope, site_id=site_id, device_id=device_id, since=now), now)


def window_next(*, scope: Scope, site_id: UUID, device_id: UUID | None, now: datetime) -> Occurrence | None:
    """The next maintenance window of a device; None when none is planned within 400 days."""
    return next_window(windows_for(scope=scope, site_id=site_id, device_id=device_id, since=now), now)
