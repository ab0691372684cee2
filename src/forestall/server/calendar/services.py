"""Changes of working hours, closed days and maintenance windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

from forestall.server.calendar.models import ClosedDay, MaintenanceWindow, WorkingWeek
from forestall.server.calendar.rules import CalendarError, Week
from forestall.server.calendar.windows import wall_time, window_check
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, Scope


def working_week_set(*, client: Client, hours: Mapping[str, Sequence[Sequence[str]]], scope: Scope) -> WorkingWeek:
    """Give a client working hours. CalendarError names what is wrong in ``hours``."""
    seen = Client.objects.visible_to(scope).get(pk=client.pk)
    scope.require(Permission.CLIENT_CHANGE, on=seen)
    week, _made = WorkingWeek.objects.visible_to(scope).update_or_create(
        client=seen, defaults={"hours": Week.parse(hours).plain()}
    )
    found: WorkingWeek = week
    return found


def closed_day_add(*, client: Client, day: date, why: str, scope: Scope) -> ClosedDay:
    """Close a client for a day; a second reason for the same day replaces the first."""
    scope.require(Permission.WINDOW_CHANGE)
    if not why.strip():
        raise CalendarError(f"why: say why {day} is closed")
    seen = Client.objects.visible_to(scope).get(pk=client.pk)
    closed, _made = ClosedDay.objects.visible_to(scope).update_or_create(
        client=seen, day=day, defaults={"why": why.strip()}
    )
    found: ClosedDay = closed
    return found


def closed_day_remove(*, closed: ClosedDay, scope: Scope) -> None:
    """Open that day again."""
    seen: ClosedDay = ClosedDay.objects.visible_to(scope).get(pk=closed.pk)
    scope.require(Permission.CLIENT_CHANGE, on=seen)
    seen.delete()


def window_create(
    *,
    site: Site,
    name: str,
    starts_on: date,
    starts_at: str,
    minutes: int,
    scope: Scope,
    now: datetime,
    rrule: str = "",
    device_id: UUID | None = None,
) -> MaintenanceWindow:
    """A maintenance window of ``minutes``, first on ``starts_on`` at ``starts_at`` (``22:00``), the site's wall clock.

    ``device_id`` must be a device of that site (the caller, who knows devices, has looked). CalendarError for a
    rule that cannot be evaluated or never occurs.
    """
    seen = Site.objects.visible_to(scope).get(pk=site.pk)
    scope.require(Permission.WINDOW_CHANGE, on=seen)
    if not name.strip():
        raise CalendarError("name: a maintenance window needs a name")
    start = wall_time(starts_at)
    window_check(recurrence=rrule, first=datetime.combine(starts_on, start), minutes=minutes)
    window: MaintenanceWindow = MaintenanceWindow.objects.create(
        site=seen,
        device_id=device_id,
        name=name.strip(),
        starts_on=starts_on,
        starts_at=start,
        minutes=minutes,
        rrule=rrule,
        created_at=now,
        created_by=scope.who,
    )
    return window


def window_end(*, window: MaintenanceWindow, scope: Scope, now: datetime) -> MaintenanceWindow:
    """End a window for good; an occurrence that is open ends now. Ending it twice changes nothing."""
    found: MaintenanceWindow = MaintenanceWindow.objects.visible_to(scope).get(pk=window.pk)
    scope.require(Permission.WINDOW_CHANGE, on=found)
    if found.ended_at is None:
        found.ended_at, found.ended_by = now, scope.who
        found.save(update_fields=["ended_at", "ended_by"])
    return found
