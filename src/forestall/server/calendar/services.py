"""Changes of working hours, closed days, windows, blackouts and planned work. Each leaves evidence at its client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from forestall.server.calendar import queries
from forestall.server.calendar.blackouts import blackout_check
from forestall.server.calendar.models import (
    Blackout,
    ClosedDay,
    MaintenanceWindow,
    NoticeWish,
    PlannedWork,
    WindowLimit,
    WorkingWeek,
)
from forestall.server.calendar.queries import blackout_rule, longest_minutes, window_rule
from forestall.server.calendar.recurrence import blackout_words, recurrence_words
from forestall.server.calendar.rules import DEFAULT_WEEK, CalendarError, Week
from forestall.server.calendar.windows import (
    LONGEST_MINUTES,
    Occurrence,
    occurrences,
    plan_check,
    wall_time,
    window_check,
    window_counts,
)
from forestall.server.evidence.changes import change_record
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.outbox.events import Event
from forestall.server.outbox.services import event_record
from forestall.server.people.models import Client, Person, Site
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.voice import voice_require

LONGEST_NOTICE_HOURS = 90 * 24
LONGEST_CATCH_UP_HOURS = 14 * 24
WORK_AHEAD = timedelta(days=400)


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
    notice_first_only: bool = False,
    catch_up_hours: int = 0,
    needs_approval: bool = False,
) -> MaintenanceWindow:
    """A maintenance window of ``minutes``, first on ``starts_on`` at ``starts_at`` (``22:00``), the site's wall clock.

    ``device_id`` must be a device of that site (the caller, who knows devices, has looked). ``notice_hours``: how long
    before each time (``notice_first_only``: before the first) the client's people are told. ``catch_up_hours``: how
    long after it what a device missed may be made up for; 0: it waits for the next time. ``needs_approval``: it is
    only proposed until the client's people approve it. CalendarError for a rule that cannot be evaluated or never
    occurs, and for a window longer than was agreed at its place.
    """
    seen = Site.objects.visible_to(scope).select_related("client").get(pk=site.pk)
    scope.require(Permission.WINDOW_CHANGE, on=seen)
    window = MaintenanceWindow(site=seen, device_id=device_id, created_at=now, created_by=scope.who)
    _window_fill(window, name, starts_on, starts_at, minutes, rrule, purpose, notice_hours, catch_up_hours, scope)
    window.notice_first_only = notice_first_only
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
    notice_first_only: bool | None = None,
    catch_up_hours: int | None = None,
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
        found.catch_up_hours if catch_up_hours is None else catch_up_hours,
        scope,
    )
    found.notice_first_only = found.notice_first_only if notice_first_only is None else notice_first_only
    found.needs_approval = found.needs_approval if needs_approval is None else needs_approval
    changed = window_plain(found) != before
    if changed:
        found.answer, found.answered_at, found.answered_by, found.answer_reason = "", None, "", ""
        found.changed_at = now
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
        found.ended_at, found.ended_by, found.changed_at = now, scope.who, now
        found.save(update_fields=["ended_at", "ended_by", "changed_at"])
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
    catch_up_hours: int,
    scope: Scope,
) -> None:
    if not name.strip():
        raise CalendarError("name: a maintenance window needs a name")
    _not_longer("name", name.strip(), 100)
    _not_longer("purpose", purpose.strip(), 300)
    if not 0 <= notice_hours <= LONGEST_NOTICE_HOURS:
        raise CalendarError(f"notice_hours: {notice_hours} is not between 0 and {LONGEST_NOTICE_HOURS}")
    if not 0 <= catch_up_hours <= LONGEST_CATCH_UP_HOURS:
        raise CalendarError(f"catch_up_hours: {catch_up_hours} is not between 0 and {LONGEST_CATCH_UP_HOURS}")
    start = wall_time(starts_at)
    # A window that was longer before the limit was set keeps its length until somebody changes that.
    longest = longest_minutes(scope=scope, site=window.site) if minutes != window.minutes else None
    window_check(recurrence=rrule, first=datetime.combine(starts_on, start), minutes=minutes, longest=longest)
    window.catch_up_hours, window.missed = catch_up_hours, "catch_up" if catch_up_hours else "next"
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
        "notice_first_only": window.notice_first_only,
        "catch_up_hours": window.catch_up_hours,
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


# --- how long windows may be ----------------------------------------------------------------------------------


@transaction.atomic
def window_limit_set(
    *, client: Client, minutes: int | None, scope: Scope, now: datetime, site: Site | None = None
) -> WindowLimit | None:
    """Agree how long a window may be at most at a client, or at one site of it; None takes the limit back.

    Windows that are longer already keep their length until it is changed.
    """
    seen: Client = Client.objects.visible_to(scope).filter(removed_at=None).get(pk=client.pk)
    scope.require(Permission.WINDOW_CHANGE, on=seen if site is None else site)
    if minutes is not None and not 0 < minutes <= LONGEST_MINUTES:
        raise CalendarError(f"minutes: {minutes} is not between 1 and {LONGEST_MINUTES}")
    rows = WindowLimit.objects.visible_to(scope).filter(client=seen, site=site)
    before = rows.first()
    after: WindowLimit | None = None
    if minutes is None:
        rows.delete()
    else:
        after, _made = WindowLimit.objects.visible_to(scope).update_or_create(
            client=seen, site=site, defaults={"longest_minutes": minutes, "set_at": now, "set_by": scope.who}
        )
    if before is not None or minutes is not None:
        change_record(
            client=seen,
            kind=EvidenceKind.CALENDAR_CHANGED,
            what="longest window",
            name=seen.name if site is None else site.name,
            before=None if before is None else {"minutes": before.longest_minutes},
            after=None if minutes is None else {"minutes": minutes},
            by=scope.who,
            now=now,
            site_id=None if site is None else site.pk,
        )
    return after


# --- blackouts ------------------------------------------------------------------------------------------------


@transaction.atomic
def blackout_add(
    *,
    why: str,
    starts_on: date,
    starts_at: str = "00:00",
    ends_on: date,
    ends_at: str = "00:00",
    yearly: bool = False,
    client: Client | None = None,
    site: Site | None = None,
    scope: Scope,
    now: datetime,
) -> Blackout:
    """No window is open from ``starts_on`` ``starts_at`` until ``ends_on`` ``ends_at``, on each site's wall clock.

    At one ``site``, at a ``client``, or, without either, everywhere: for those who may plan windows at every client.
    CalendarError for what is no blackout.
    """
    why = " ".join(why.split())
    if not why:
        raise CalendarError("why: say why nobody works then; it is shown wherever a window stays shut")
    _not_longer("why", why, 200)
    start, end = wall_time(starts_at), wall_time(ends_at)
    blackout_check(first=datetime.combine(starts_on, start), last=datetime.combine(ends_on, end), yearly=yearly)
    if site is not None:
        site = Site.objects.visible_to(scope).select_related("client").get(pk=site.pk)
        client = site.client
    if client is None:
        scope.require_everywhere(Permission.WINDOW_CHANGE)
    else:
        client = Client.objects.visible_to(scope).filter(removed_at=None).get(pk=client.pk)
        scope.require(Permission.WINDOW_CHANGE, on=client if site is None else site)
    made: Blackout = Blackout.objects.create(
        client=client, site=site, why=why, starts_on=starts_on, starts_at=start, ends_on=ends_on, ends_at=end,
        yearly=yearly, created_at=now, created_by=scope.who,
    )  # fmt: skip
    _blackout_recorded(made, before=None, after=blackout_plain(made), scope=scope, now=now)
    return made


@transaction.atomic
def blackout_end(*, blackout: Blackout, scope: Scope, now: datetime) -> Blackout:
    """Take a blackout back: it counts no longer from now on. Twice changes nothing."""
    found: Blackout = queries.blackouts(scope=scope).get(pk=blackout.pk)
    if found.client is None:
        scope.require_everywhere(Permission.WINDOW_CHANGE)
    else:
        scope.require(Permission.WINDOW_CHANGE, on=found.client if found.site is None else found.site)
    if found.ended_at is None:
        found.ended_at, found.ended_by = now, scope.who
        found.save(update_fields=["ended_at", "ended_by"])
        _blackout_recorded(found, before=blackout_plain(found), after=None, scope=scope, now=now)
    return found


def blackout_plain(blackout: Blackout) -> dict[str, Any]:
    """A blackout in plain values, as evidence keeps it."""
    return {
        "id": blackout.pk,
        "why": blackout.why,
        "where": str(blackout.site or blackout.client or "every client"),
        "from": f"{blackout.starts_on} {blackout.starts_at:%H:%M}",
        "until": f"{blackout.ends_on} {blackout.ends_at:%H:%M}",
        "yearly": blackout.yearly,
        "in words": blackout_words(blackout_rule(blackout)),
    }


def _blackout_recorded(
    blackout: Blackout,
    *,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    scope: Scope,
    now: datetime,
) -> None:
    """On record at its client; of one that holds everywhere, at each client there is."""
    of = blackout.client
    clients = [of] if of is not None else Client.objects.visible_to(scope).filter(removed_at=None).order_by("pk")
    for client in clients:
        change_record(
            client=client,
            kind=EvidenceKind.CALENDAR_CHANGED,
            what="blackout",
            name=blackout.why,
            before=before,
            after=after,
            by=scope.who,
            now=now,
            site_id=blackout.site_id,
        )


# --- work that is planned into a window -----------------------------------------------------------------------


@transaction.atomic
def work_plan(
    *,
    window: MaintenanceWindow,
    starts_at: datetime | None,
    minutes: int,
    ticket_number: int,
    scope: Scope,
    now: datetime,
) -> PlannedWork:
    """Plan work on a ticket into one time of a window; what was planned for the ticket before ends.

    ``starts_at``: the start of that time; None: the next one. The caller has looked that the ticket is one of the
    window's site. CalendarError when the window is none, has no such time, or is too short for the work.
    """
    found: MaintenanceWindow = queries.windows(scope=scope).get(pk=window.pk)
    scope.require(Permission.TICKET_WORK, on=found.site)
    if not window_counts(needs_approval=found.needs_approval, answer=found.answer):
        raise CalendarError(f"window {found.name!r} is only proposed: the client has not approved it")
    occurrence = _time_of(found, starts_at, now)
    plan_check(minutes=minutes, occurrence=occurrence)
    PlannedWork.objects.visible_to(queries.BOOK).filter(ticket_number=ticket_number, ended_at=None).update(
        ended_at=now, ended_by=scope.who
    )
    made: PlannedWork = PlannedWork.objects.create(
        window=found, starts_at=occurrence.start, minutes=minutes, ticket_number=ticket_number, planned_at=now,
        planned_by=scope.who,
    )  # fmt: skip
    return made


def _time_of(window: MaintenanceWindow, starts_at: datetime | None, now: datetime) -> Occurrence:
    rule = window_rule(window)
    ahead = (one for one in occurrences(rule, now, now + WORK_AHEAD) if starts_at is None or one.start == starts_at)
    found = next(ahead, None)
    if found is None:
        when = "again" if starts_at is None else f"at {starts_at:%Y-%m-%d %H:%M} UTC"
        raise CalendarError(f"window {window.name!r} does not open {when}")
    return found


@transaction.atomic
def work_unplan(*, ticket_number: int, scope: Scope, now: datetime) -> int:
    """Take back what is planned for a ticket (the caller has looked that it may be worked on); how many plans ended."""
    planned = PlannedWork.objects.visible_to(queries.BOOK).filter(ticket_number=ticket_number, ended_at=None)
    ended: int = planned.update(ended_at=now, ended_by=scope.who)
    return ended


# --- who wants to be told -------------------------------------------------------------------------------------


def notice_wish_set(*, person: Person, wanted: bool, now: datetime) -> NoticeWish:
    """Whether this person wants mails about planned work: their own wish, which nobody else sets."""
    wish, _made = NoticeWish.objects.update_or_create(person=person, defaults={"wanted": wanted, "changed_at": now})
    return wish
