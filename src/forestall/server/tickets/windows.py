"""Telling people of maintenance windows: the client that one waits for its answer, the desk what the answer was, and
the client's people, in time, when work is planned, moved or called off.

A notice is found out by comparing what people were told with what is planned now, whatever changed it: the window, a
blackout, the site's time zone. So nothing that changes a window has to remember to tell anybody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from django.db import transaction
from django.db.models import Q

from forestall.server.alerts.services import notify
from forestall.server.calendar.ics import Entry, calendar_file, window_uid
from forestall.server.calendar.models import MaintenanceWindow, NoticeWish, PlannedWork, WindowNotice
from forestall.server.calendar.queries import (
    COUNTING,
    MOST_UPCOMING,
    Upcoming,
    planned_work,
    window_rule,
    window_rules,
    windows,
)
from forestall.server.calendar.recurrence import day_words, recurrence_words
from forestall.server.calendar.rules import CalendarError, zone
from forestall.server.calendar.services import WORK_AHEAD, work_plan, work_unplan
from forestall.server.calendar.windows import Occurrence, Window, occurrences, window_counts
from forestall.server.checks.result import Risk
from forestall.server.people.models import Person, Site
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.voice import voices
from forestall.server.tickets.mail import tell_of_planned_work, tell_of_window
from forestall.server.tickets.models import EventKind, Ticket
from forestall.server.tickets.steps import TicketError, event_write, workable

_TOLD = Scope.system("desk")
MOST_TIMES_IN_A_MAIL = 10
LATE = timedelta(minutes=15)
"""A notice is late when it is sent so much after it was due: the window was planned, or moved, too late for it."""


def window_proposed_by_id(*, window_id: int | str, now: datetime) -> None:
    """Write to those who approve for the client, unless it was answered or ended meanwhile."""
    window = _window(window_id)
    if window is None or window.answer or window.ended_at is not None or not window.needs_approval:
        return
    tell_of_window(
        site=window.site,
        subject=f"Your approval is asked for: {window.name}",
        text=f"We would like to work at {window.site.name} in this time, and need your approval:\n\n{in_words(window)}",
        now=now,
    )


def window_answered_by_id(*, window_id: int | str, now: datetime) -> None:
    """Tell the desk, by the routes it set."""
    window = _window(window_id)
    if window is None or not window.answer:
        return
    notify(
        client=window.site.client,
        risk=Risk.LOW,
        title=f"The client has {window.answer}: {window.name}",
        text=f"{in_words(window)}\n{window.answer_reason}".strip(),
        now=now,
        about=f"window {window.pk}",
    )


def in_words(window: MaintenanceWindow) -> str:
    """What and when, as people read it."""
    when = recurrence_words(window.rrule, window.starts_on)
    lines = [
        f"{window.name} ({window.site.name})",
        f"{when}, from {window.starts_at:%H:%M}, {window.minutes} minutes ({window.site.zone})",
    ]
    return "\n".join([*lines, window.purpose] if window.purpose else lines)


def _window(window_id: int | str) -> MaintenanceWindow | None:
    found: MaintenanceWindow | None = (
        MaintenanceWindow.objects.visible_to(_TOLD).select_related("site__client").filter(pk=window_id).first()
    )
    return found


# --- notice of planned work -----------------------------------------------------------------------------------


@dataclass(slots=True)
class News:
    """What people are to be told of one window."""

    window: MaintenanceWindow
    coming: list[tuple[Occurrence, WindowNotice]] = field(default_factory=list)
    changed: list[tuple[Occurrence, WindowNotice]] = field(default_factory=list)
    """That they know of, and which ends otherwise now."""
    gone: list[WindowNotice] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.coming or self.changed or self.gone)


def window_notices_send(*, now: datetime) -> int:
    """Tell the client's people of work that comes, has moved, or does not come; how many mails were written.

    Each time of a window is told once, ``notice_hours`` before; whoever was told of a time is told when it changes.
    """
    told_of = Q(notices__withdrawn_at=None, notices__starts_at__gt=now)
    found = MaintenanceWindow.objects.visible_to(_TOLD).filter(Q(notice_hours__gt=0, ended_at=None) | told_of)
    rows = list(found.select_related("site__client").distinct().order_by("pk"))
    rules = window_rules(rows)
    mails = 0
    for row in rows:
        with transaction.atomic():
            # Whoever holds the row tells: no two workers write one notice.
            window = MaintenanceWindow.objects.visible_to(_TOLD).select_for_update().get(pk=row.pk)
            window.site = row.site
            news = _news(window, rules[row.pk], now)
            if news:
                mails += _tell(news, now)
    return mails


def _news(window: MaintenanceWindow, rule: Window, now: datetime) -> News:
    news = News(window)
    known = {one.starts_at: one for one in WindowNotice.objects.visible_to(_TOLD).filter(window=window)}
    waiting = [one for one in known.values() if one.withdrawn_at is None and one.starts_at > now]
    notice = timedelta(hours=window.notice_hours)
    last = max([now + notice, *(one.ends_at for one in waiting)])
    is_one = window.ended_at is None and window_counts(needs_approval=window.needs_approval, answer=window.answer)
    ahead = [one for one in islice(occurrences(rule, now, last), MOST_UPCOMING) if one.start > now] if is_one else []
    planned = {one.start: one for one in ahead}
    for one in waiting:
        occurrence = planned.get(one.starts_at)
        if occurrence is None:
            news.gone.append(one)
        elif occurrence.end != one.ends_at:
            news.changed.append((occurrence, one))
    good = any(one.withdrawn_at is None and one not in news.gone for one in known.values())
    for occurrence in ahead:
        before = known.get(occurrence.start)
        if (before is not None and before.withdrawn_at is None) or occurrence.start > now + notice:
            continue
        if window.notice_first_only and (good or news.coming):
            break
        made = before or WindowNotice(window=window, starts_at=occurrence.start, ends_at=occurrence.end, told_at=now)
        news.coming.append((occurrence, made))
    return news


def _tell(news: News, now: datetime) -> int:
    window = news.window
    people = wants_notice(site=window.site, now=now)
    for one in news.gone:
        one.withdrawn_at, one.told_at, one.sequence = now, now, one.sequence + 1
        one.save()
    for occurrence, one in (*news.changed, *news.coming):
        is_new = one.pk is None
        one.ends_at, one.told_at, one.withdrawn_at = occurrence.end, now, None
        one.people = len(people)
        one.sequence = 0 if is_new else one.sequence + 1
        one.late = now > occurrence.start - timedelta(hours=window.notice_hours) + LATE
        one.save()
    subject, text = notice_words(news)
    calendar = calendar_file(_entries(news, now), name=window.name).decode()
    return len(
        tell_of_planned_work(people=people, site=window.site, subject=subject, text=text, calendar=calendar, now=now)
    )


def wants_notice(*, site: Site, now: datetime) -> list[Person]:
    """The client's own people at a site who are told of planned work: those who approve for it, unless they switched
    it off, and whoever of the others switched it on."""
    everybody = voices(client=site.client, site=site, permission=Permission.PORTAL_VIEW, now=now)
    wishes = dict(NoticeWish.objects.filter(person__in=everybody).values_list("person_id", "wanted"))
    approving = {one.pk for one in voices(client=site.client, site=site, permission=Permission.PORTAL_APPROVE, now=now)}
    return [one for one in everybody if wishes.get(one.pk, one.pk in approving)]


def notice_words(news: News) -> tuple[str, str]:
    """Subject and text of what is told."""
    window, zone_name = news.window, news.window.site.zone
    coming = [occurrence for occurrence, _notice in (*news.changed, *news.coming)]
    lines = []
    if news.gone:
        lines.append("We told you of this time, at which we do not work any more:")
        lines += _times(((one.starts_at, one.ends_at) for one in news.gone), zone_name)
        lines.append("")
    if news.gone and coming:
        subject = f"Planned work has moved: {window.name}"
        lines.append(f"We work at {window.site.name} at this time instead:")
    elif news.gone:
        subject = f"Planned work does not take place: {window.name}"
    elif news.changed and not news.coming:
        subject = f"Planned work has changed: {window.name}"
        lines.append(f"We work at {window.site.name} until another time than we told you:")
    else:
        subject = f"Planned work: {window.name}"
        lines.append(f"We work at {window.site.name} at this time:")
    lines += _times(((one.start, one.end) for one in coming), zone_name)
    lines += [f"It is shorter than usual: {why}." for why in sorted({one.cut for one in coming if one.cut})]
    lines += ["", window.name, *([window.purpose] if window.purpose else [])]
    if coming and any(notice.late for _occurrence, notice in (*news.changed, *news.coming)):
        lines += ["", f"This is less than the {window.notice_hours} h before that we promise: it was planned late."]
    return subject, "\n".join(lines).strip()


def _times(times: Iterable[tuple[datetime, datetime]], zone_name: str) -> list[str]:
    said = []
    for start, end in times:
        first, last = start.astimezone(zone(zone_name)), end.astimezone(zone(zone_name))
        until = f"{last:%H:%M}" if last.date() == first.date() else f"{day_words(last.date())} {last:%H:%M}"
        said.append(f"- {day_words(first.date())}, {first:%H:%M} to {until} ({zone_name})")
    more = len(said) - MOST_TIMES_IN_A_MAIL
    return said if more <= 0 else [*said[:MOST_TIMES_IN_A_MAIL], f"- and {more} more"]


def _entries(news: News, now: datetime) -> list[Entry]:
    window = news.window
    told = [(one.starts_at, one.ends_at, one.sequence, "CANCELLED") for one in news.gone]
    told += [
        (occurrence.start, occurrence.end, one.sequence, "CONFIRMED")
        for occurrence, one in (*news.changed, *news.coming)
    ]
    return [
        Entry(
            uid=window_uid(window.pk, start),
            title=window.name,
            start=start,
            end=end,
            category="Maintenance window",
            changed_at=now,
            text=window.purpose,
            where=window.site.name,
            status=status,
            sequence=sequence,
        )
        for start, end, sequence, status in told
    ]


# --- work on a ticket, planned into a window -------------------------------------------------------------------

WINDOW_TIMES_OFFERED = 6


def ticket_windows(*, scope: Scope, ticket: Ticket, now: datetime) -> list[Upcoming]:
    """The next times at which a window of the ticket's device, or of its site, is open; the earliest first."""
    covering = Q(device_id=None) if ticket.device_id is None else Q(device_id=None) | Q(device_id=ticket.device_id)
    rows = list(windows(scope=scope).filter(COUNTING, covering, site=ticket.site_id, ended_at=None))
    # By the first few of each: a rule of every day would else be looked at for a year.
    rules = window_rules(rows)
    found = [
        Upcoming(window=row, occurrence=one)
        for row in rows
        for one in islice(occurrences(rules[row.pk], now, now + WORK_AHEAD), WINDOW_TIMES_OFFERED)
    ]
    return sorted(found, key=lambda one: (one.occurrence.start, one.window.name))[:WINDOW_TIMES_OFFERED]


def ticket_planned(*, scope: Scope, ticket: Ticket) -> PlannedWork | None:
    """The window's time that work on the ticket is planned for; None when it is planned for none."""
    return planned_work(scope=scope).filter(ticket_number=ticket.number).first()


def still_open(planned: PlannedWork, *, now: datetime) -> bool:
    """Whether the window still opens at the time work was planned for: it may have been moved, ended, or shut."""
    if planned.starts_at <= now:
        return True
    rule = window_rule(planned.window)
    found = next(occurrences(rule, planned.starts_at, planned.starts_at + timedelta(minutes=planned.minutes)), None)
    return found is not None and found.start == planned.starts_at


@transaction.atomic
def ticket_plan(
    *, ticket: Ticket, window: MaintenanceWindow, starts_at: datetime | None, minutes: int, scope: Scope, now: datetime
) -> PlannedWork:
    """Plan work on a ticket into a time of a window (None: its next). Its SLA clocks go on as they do.

    TicketError for a window that does not cover the ticket's device, does not open then, or is too short.
    """
    ticket = workable(ticket, scope)
    if window.site_id != ticket.site_id or window.device_id not in {None, ticket.device_id}:
        raise TicketError(f"window: {window.name!r} is none of what ticket {ticket.number} is about")
    try:
        made = work_plan(
            window=window, starts_at=starts_at, minutes=minutes, ticket_number=ticket.number, scope=scope, now=now
        )
    except CalendarError as error:
        raise TicketError(str(error)) from None
    local = made.starts_at.astimezone(zone(ticket.site.zone))
    when = f"{day_words(local.date())}, {local:%H:%M} ({ticket.site.zone})"
    event_write(
        ticket,
        EventKind.COMMENTED,
        actor=scope.who,
        text=f"Planned for {window.name}, {when}: {minutes} minutes of work.",
        now=now,
        for_client=f"We plan to work on it on {when}.",
    )
    return made


@transaction.atomic
def ticket_unplan(*, ticket: Ticket, scope: Scope, now: datetime) -> None:
    """Take the plan back. TicketError when there is none."""
    ticket = workable(ticket, scope)
    if not work_unplan(ticket_number=ticket.number, scope=scope, now=now):
        raise TicketError(f"ticket {ticket.number} is planned for no window")
    event_write(
        ticket, EventKind.COMMENTED, actor=scope.who, text="The planned time was taken back.", now=now,
        for_client="The time we planned is taken back; we will say when we work on it.",
    )  # fmt: skip
