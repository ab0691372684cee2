"""Changes of working hours, closed days and maintenance windows. Each leaves evidence at its client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from forestall.server.calendar.models import ClosedDay, MaintenanceWindow, WorkingWeek
from forestall.server.calendar.recurrence import recurrence_words
from forestall.server.calendar.rules import DEFAULT_WEEK, CalendarError, Week
from forestall.server.calendar.windows import wall_time, window_check
from forestall.server.evidence.changes import change_record
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.outbox.events import Event
from forestall.server.outbox.services import event_record
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.voice import voice_require

LONGEST_NOTICE_HOURS = 90 * 24


@transaction.atomic
def working_week_set(
    *, client: Client, hours: Mapping[str, Sequence[Sequence[str]]], scope: Scope, now: datetime
) -> WorkingWeek:
    """Give a client working hours. CalendarError names what is wrong in ``hours``."""
    seen = _client(client, scope)
    plain = Week.parse(hours).plain()
    if not plain:
        raise CalendarError("hours: a week without any working time would stop every clock; give at least one span")
    before = WorkingWeek.objects.visible_to(scope).filter(client=seen).first()
    week, _made = WorkingWeek.objects.visible_to(scope).update_or_create(client=seen, defaults={"hours": plain})
    change_record(
        client=seen,
        kind=EvidenceKind.CALENDAR_CHANGED,
        what="working hours",
        name=seen.name,
        before=Week.parse(before.hours).plain() if before else DEFAULT_WEEK.plain(),
        after=plain,
        by=scope.who,
        now=now,
    )
    found: WorkingWeek = week
    return found


@transaction.atomic
def closed_day_add(*, client: Client, day: date, why: str, scope: Scope, now: datetime) -> ClosedDay:
    """Close a client for a day; a second reason for the same day replaces the first."""
    why = why.strip()
    if not why:
        raise CalendarError(f"why: say why {day} is closed")
    _not_longer("why", why, 100)
    seen = _client(client, scope)
    before = ClosedDay.objects.visible_to(scope).filter(client=seen, day=day).first()
    closed, _made = ClosedDay.objects.visible_to(scope).update_or_create(client=seen, day=day, defaults={"why": why})
    _closed_day_recorded(seen, day, before=before.why if before else None, after=why, scope=scope, now=now)
    found: ClosedDay = closed
    return found


@transaction.atomic
def closed_day_remove(*, closed: ClosedDay, scope: Scope, now: datetime) -> None:
    """Open that day again."""
    seen: ClosedDay = ClosedDay.objects.visible_to(scope).select_related("client").get(pk=closed.pk)
    scope.require(Permission.CLIENT_CHANGE, on=seen)
    _closed_day_recorded(seen.client, seen.day, before=seen.why, after=None, scope=scope, now=now)
    seen.delete()


def _client(client: Client, scope: Scope) -> Client:
    seen: Client = Client.objects.visible_to(scope).filter(removed_at=None).get(pk=client.pk)
    scope.require(Permission.CLIENT_CHANGE, on=seen)
    return seen


def _not_longer(field: str, value: str, most: int) -> None:
    if len(value) > most:
        raise CalendarError(f"{field}: {len(value)} characters, at most {most}")


def _closed_day_recorded(
    client: Client, day: date, *, before: str | None, after: str | None, scope: Scope, now: datetime
) -> None:
    change_record(
        client=client,
        kind=EvidenceKind.CALENDAR_CHANGED,
        what="closed day",
        name=day.isoformat(),
        before=None if before is None else {"why": before},
        after=None if after is None else {"why": after},
        by=scope.who,
        now=now,
    )


@transaction.atomic
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
    purpose: str = "",
    notice_hours: int = 0,
    needs_approval: bool = False,
) -> MaintenanceWindow:
    """A maintenance window of ``minutes``, first on ``starts_on`` at ``starts_at`` (``22:00``), the site's wall clock.

    ``device_id`` must be a device of that site (the caller, who knows devices, has looked). ``notice_hours``: how long
    before its first time the client is to know. ``needs_approval``: it is only proposed until the client's people
    approve it. CalendarError for a rule that cannot be evaluated or never occurs.
    """
    seen = Site.objects.visible_to(scope).select_related("client").get(pk=site.pk)
    scope.require(Permission.WINDOW_CHANGE, on=seen)
    window = MaintenanceWindow(site=seen, device_id=device_id, created_at=now, created_by=scope.who)
    _window_fill(window, name, starts_on, starts_at, minutes, rrule, purpose, notice_hours)
    window.needs_approval = needs_approval
    window.save()
    _window_recorded(window, before=None, after=window_plain(window), scope=scope, now=now)
    if needs_approval:
        event_record(event=Event.WINDOW_PROPOSED, subject=window.pk, at=now)
    return window


@transaction.atomic
def window_change(
    *,
    window: MaintenanceWindow,
    scope: Scope,
    now: datetime,
    name: str | None = None,
    starts_on: date | None = None,
    starts_at: str | None = None,
    minutes: int | None = None,
    rrule: str | None = None,
    purpose: str | None = None,
    notice_hours: int | None = None,
    needs_approval: bool | None = None,
) -> MaintenanceWindow:
    """Change a window from now on; None leaves as it is. Site and device stay: end it and make another.

    What the client approved was approved as it was: a change needs its answer anew. CalendarError for a window that
    has ended, and as for ``window_create``.
    """
    found: MaintenanceWindow = (
        MaintenanceWindow.objects.visible_to(scope).select_related("site__client").get(pk=window.pk)
    )
    scope.require(Permission.WINDOW_CHANGE, on=found)
    if found.ended_at is not None:
        raise CalendarError(f"window {found.name!r} was ended by {found.ended_by}: make another")
    before = window_plain(found)
    _window_fill(
        found,
        found.name if name is None else name,
        found.starts_on if starts_on is None else starts_on,
        f"{found.starts_at:%H:%M}" if starts_at is None else starts_at,
        found.minutes if minutes is None else minutes,
        found.rrule if rrule is None else rrule,
        found.purpose if purpose is None else purpose,
        found.notice_hours if notice_hours is None else notice_hours,
    )
    found.needs_approval = found.needs_approval if needs_approval is None else needs_approval
    changed = window_plain(found) != before
    if changed:
        found.answer, found.answered_at, found.answered_by, found.answer_reason = "", None, "", ""
    found.save()
    _window_recorded(found, before=before, after=window_plain(found), scope=scope, now=now)
    if changed and found.needs_approval:
        event_record(event=Event.WINDOW_PROPOSED, subject=found.pk, at=now)
    return found


@transaction.atomic
def window_answer(
    *, window: MaintenanceWindow, approve: bool, scope: Scope, now: datetime, reason: str = ""
) -> MaintenanceWindow:
    """The client's answer to a proposed window, by one of its own people (``portal.approve``). A refusal has a reason.

    CalendarError when it needs none, has ended, or was answered before: whoever proposed it changes it to ask anew.
    """
    seen = MaintenanceWindow.objects.visible_to(scope, by=Permission.PORTAL_APPROVE).select_related("site__client")
    found: MaintenanceWindow = seen.get(pk=window.pk)
    person = voice_require(scope=scope, permission=Permission.PORTAL_APPROVE, on=found)
    reason = reason.strip()
    _not_longer("reason", reason, 2000)
    if not approve and not reason:
        raise CalendarError("reason: say why you decline, so that another time can be found")
    if not found.needs_approval:
        raise CalendarError(f"window {found.name!r} needs no approval")
    if found.ended_at is not None:
        raise CalendarError(f"window {found.name!r} has ended")
    answer = "approved" if approve else "declined"
    waiting = MaintenanceWindow.objects.visible_to(scope, by=Permission.PORTAL_APPROVE).filter(pk=found.pk, answer="")
    # Conditional on what was shown: what was changed meanwhile is not what this person answers.
    shown = waiting.filter(
        starts_on=window.starts_on, starts_at=window.starts_at, minutes=window.minutes, rrule=window.rrule
    )
    if shown.update(answer=answer, answered_at=now, answered_by=scope.who, answer_reason=reason) != 1:
        was = f"was {found.answer} already" if found.answer else "was changed meanwhile: look again"
        raise CalendarError(f"window {found.name!r} {was}")
    evidence_append(
        client=found.site.client,
        kind=EvidenceKind.WINDOW_ANSWERED,
        payload={
            "window": window_plain(found),
            "answer": answer,
            "reason": reason,
            "by": scope.who,
            "name": person.shown_name,
        },
        now=now,
        site_id=found.site_id,
        device_id=found.device_id,
    )
    event_record(event=Event.WINDOW_ANSWERED, subject=found.pk, at=now)
    found.refresh_from_db()
    return found


@transaction.atomic
def window_end(*, window: MaintenanceWindow, scope: Scope, now: datetime) -> MaintenanceWindow:
    """End a window for good; an occurrence that is open ends now. Ending it twice changes nothing."""
    found: MaintenanceWindow = (
        MaintenanceWindow.objects.visible_to(scope).select_related("site__client").get(pk=window.pk)
    )
    scope.require(Permission.WINDOW_CHANGE, on=found)
    if found.ended_at is None:
        found.ended_at, found.ended_by = now, scope.who
        found.save(update_fields=["ended_at", "ended_by"])
        _window_recorded(found, before=window_plain(found), after=None, scope=scope, now=now)
    return found


def _window_fill(
    window: MaintenanceWindow,
    name: str,
    starts_on: date,
    starts_at: str,
    minutes: int,
    rrule: str,
    purpose: str,
    notice_hours: int,
) -> None:
    if not name.strip():
        raise CalendarError("name: a maintenance window needs a name")
    _not_longer("name", name.strip(), 100)
    _not_longer("purpose", purpose.strip(), 300)
    if not 0 <= notice_hours <= LONGEST_NOTICE_HOURS:
        raise CalendarError(f"notice_hours: {notice_hours} is not between 0 and {LONGEST_NOTICE_HOURS}")
    start = wall_time(starts_at)
    window_check(recurrence=rrule, first=datetime.combine(starts_on, start), minutes=minutes)
    window.name, window.purpose, window.notice_hours = name.strip(), purpose.strip(), notice_hours
    window.starts_on, window.starts_at, window.minutes, window.rrule = starts_on, start, minutes, rrule


def window_plain(window: MaintenanceWindow) -> dict[str, Any]:
    """A window in plain values, as evidence keeps it."""
    return {
        "id": window.pk,
        "name": window.name,
        "site": window.site.name,
        "device_id": window.device_id,
        "starts_on": window.starts_on.isoformat(),
        "starts_at": f"{window.starts_at:%H:%M}",
        "minutes": window.minutes,
        "rrule": window.rrule,
        "in words": recurrence_words(window.rrule, window.starts_on),
        "purpose": window.purpose,
        "notice_hours": window.notice_hours,
        "needs_approval": window.needs_approval,
    }


def _window_recorded(
    window: MaintenanceWindow,
    *,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    scope: Scope,
    now: datetime,
) -> None:
    change_record(
        client=window.site.client,
        kind=EvidenceKind.WINDOW_CHANGED,
        what="maintenance window",
        name=window.name,
        before=before,
        after=after,
        by=scope.who,
        now=now,
        site_id=window.site_id,
        device_id=window.device_id,
    )
