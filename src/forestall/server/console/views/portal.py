"""The client's portal: what is well, what waits, what is ahead. Calmer than the console, and without its internals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.calendar import queries as calendars
from forestall.server.calendar.models import MaintenanceWindow
from forestall.server.calendar.queries import Upcoming, blackout_rule, wants_mails
from forestall.server.calendar.recurrence import blackout_words, recurrence_words
from forestall.server.calendar.rules import CalendarError
from forestall.server.calendar.services import notice_wish_set, window_answer
from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, View, page
from forestall.server.console.parts import Column, Empty, Row, Table
from forestall.server.console.shell import PortalFrame, render_page
from forestall.server.people.models import Client
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.server.people.voice import is_staff, reading_scope, speaks_for
from forestall.server.portal import queries, rules
from forestall.server.portal.queries import DeviceHealth, Trouble
from forestall.server.reports import queries as reports_
from forestall.server.reports.models import ServiceReport
from forestall.server.tickets import portal as tickets
from forestall.server.tickets.models import DONE_STATES, Ticket
from forestall.server.tickets.rules import public_title

A_PAGE = 100
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Looking:
    """Who looks at the portal: one of the client's people at their own, or staff at a client's, who change nothing."""

    scope: Scope
    """For reading only."""
    client: Client | None
    """Whose portal staff look at; None for the client's own people."""

    @property
    def is_preview(self) -> bool:
        return self.client is not None

    @property
    def frame(self) -> PortalFrame:
        if self.client is None:
            return PortalFrame()
        return PortalFrame(query=f"?client={self.client.pk}", preview=self.client.name)

    def may(self, permission: Permission) -> bool:
        """Whether they may do this of the portal somewhere, themselves."""
        return not self.is_preview and self.scope.may(permission)


class ChooseFirstError(Exception):
    """Staff see the portal of one client at a time, and have not said of which."""


def looking_at(request: PageRequest, client: UUID | None = None) -> Looking:
    """Whose portal this request shows. Staff name the client (``?client=``, or that of the thing they look at)."""
    scope = request.scope
    if not is_staff(scope):
        return Looking(scope=reading_scope(scope), client=None)
    seen = queries.clients_for(scope=scope)
    asked = client or _uuid(request.GET.get("client", ""))
    if asked is None:
        first = list(seen[:2])
        if len(first) != 1:
            raise ChooseFirstError
        asked = first[0].pk
    found: Client = seen.get(pk=asked)
    own = speaks_for(scope=scope, permission=Permission.PORTAL_VIEW, on=found)
    return Looking(scope=reading_scope(scope, client=found.pk), client=None if own else found)


def portal_page(*, permission: Permission, methods: Sequence[str] = ("GET", "HEAD")) -> Callable[[View], View]:
    """``@page`` for a page that shows one portal: the view is given who looks, once staff have said at whose."""

    def declare(view: View) -> View:
        @page(permission=permission, methods=methods)
        @wraps(view)
        def looked(request: PageRequest) -> HttpResponse:
            try:
                looking = looking_at(request)
            except ChooseFirstError:
                return choose(request)
            return view(request, looking)

        return looked

    return declare


def _uuid(text: str) -> UUID | None:
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise Http404 from None


def choose(request: PageRequest) -> HttpResponse:
    """Staff choose whose portal they look at."""
    rows = [
        Row(cells=[parts.link(f"/portal/?client={client.pk}", client.name)])
        for client in queries.clients_for(scope=request.scope)
    ]
    table = Table(
        caption="Clients whose portal you may look at",
        columns=[Column("Client", "lead wide")],
        rows=rows,
        empty=Empty("No client yet", "Whoever you take on is listed here.", href="/", action="Today"),
    )
    sentence = "See the portal as a client's manager sees it. Nothing can be changed from here."
    context = {"table": table, "sentence": sentence}
    return render_page(request, "portal/choose", context, section="portal", title="Client's portal", live=False)


def render(
    request: PageRequest, looking: Looking, template: str, context: dict[str, object], *, section: str, title: str
) -> HttpResponse:
    """A page of the portal."""
    context = {"looking": looking, "query": looking.frame.query, **context}
    return render_page(
        request, f"portal/{template}", context, section=section, title=title, live=False, portal=looking.frame
    )


# Overview


@portal_page(permission=Permission.PORTAL_VIEW)
def overview(request: PageRequest, looking: Looking) -> HttpResponse:
    now = timezone.now()
    scope = looking.scope
    health = queries.health(scope=scope, now=now)
    waits = queries.waiting(scope=scope, now=now)
    open_tickets = list(tickets.tickets_for_client(scope=scope).exclude(state__in=DONE_STATES).order_by("-number"))
    plan = queries.plan(scope=scope, now=now)
    context = {
        "sentence": sentence_part(health, waits.count, len(open_tickets), looking),
        "waits": waits,
        "waiting_tickets": [(ticket, title_of(ticket)) for ticket in waits.tickets],
        "waiting_windows": [(window, when_words(window)) for window in waits.windows],
        "unwell": [device_line(one, now, looking) for one in health if one.health is not rules.Health.WELL][:SHOWN],
        "unwell_more": sum(one.health is not rules.Health.WELL for one in health) - SHOWN,
        "devices": len(health),
        "tickets": [(ticket, title_of(ticket), state_part(ticket)) for ticket in open_tickets[:SHOWN]],
        "tickets_more": len(open_tickets) - SHOWN,
        "coming": planned_parts(plan.planned, now)[:SHOWN],
        "may_ask": looking.may(Permission.PORTAL_TICKET),
    }
    return render(request, looking, "overview", context, section="portal", title="Overview")


def sentence_part(health: list[DeviceHealth], waiting: int, open_tickets: int, looking: Looking) -> parts.Html:
    said = rules.sentence(healths=[one.health for one in health], waiting=waiting, open_tickets=open_tickets)
    query = looking.frame.query
    return format_html(
        '<a href="/portal/devices/{}">{}</a>; <a href="{}">{}</a>.',
        query,
        said.devices,
        "#waits" if waiting else f"/portal/tickets/{query}",
        said.waits,
    )


def title_of(ticket: Ticket) -> str:
    return public_title(kind=ticket.kind, title=ticket.title)


def state_part(ticket: Ticket) -> parts.Html:
    word = rules.TICKET_WORDS[ticket.state]
    return parts.tag(word, "accent" if ticket.state == "waiting" else "")


def time_words(at: datetime, now: datetime, zone: str) -> parts.Html:
    return parts.exact_moment(at, words.clock_time(at, now, zone))


# Devices


def trouble_part(trouble: Trouble, now: datetime, looking: Looking) -> parts.Html:
    """What is not well, and what is done about it."""
    since = parts.exact_moment(trouble.since, rules.in_words(now - trouble.since))
    if trouble.ticket is not None:
        done = format_html(
            'we look after it: <a href="/portal/tickets/{}/{}">#{}</a>',
            trouble.ticket.number,
            looking.frame.query,
            trouble.ticket.number,
        )
    else:
        done = SafeString("we look after it" if trouble.in_hand else "we have seen it")
    return format_html(
        '{} {} {}, <span class="muted">{}</span>', parts.shape(trouble.status), trouble.what, since, done
    )


def health_part(one: DeviceHealth, now: datetime) -> parts.Html:
    word = str(one.health)
    if one.health is rules.Health.UNSEEN and one.device.last_check_in_at is not None:
        word = f"not seen for {words.span_short(now - one.device.last_check_in_at)}"
    return parts.status(one.health.status, word)


def device_line(one: DeviceHealth, now: datetime, looking: Looking) -> dict[str, object]:
    notes = [trouble_part(trouble, now, looking) for trouble in one.troubles]
    return {"name": one.device.name, "site": one.device.site.name, "health": health_part(one, now), "notes": notes}


@portal_page(permission=Permission.PORTAL_VIEW)
def devices(request: PageRequest, looking: Looking) -> HttpResponse:
    now = timezone.now()
    health = queries.health(scope=looking.scope, now=now)
    rows = [
        Row(
            key=f"device-{one.device.pk}",
            cells=[
                parts.text(one.device.name, one.device.site.name),
                health_part(one, now),
                device_notes(one, now, looking),
                parts.moment(one.device.last_check_in_at, now),
            ],
        )
        for one in health
    ]
    table = Table(
        caption="Your devices, those that are not well first",
        columns=[
            Column("Device", "lead"),
            Column("State", "second"),
            Column("What is done about it", "wide below"),
            Column("Last seen"),
        ],
        rows=rows,
        empty=Empty(
            "No device is watched yet",
            "Once one of your computers reports to us, you see here whether it is well.",
        ),
    )
    said = rules.sentence(healths=[one.health for one in health], waiting=0, open_tickets=0)
    context = {"sentence": f"{said.devices}.", "table": table}
    return render(request, looking, "list", context, section="devices", title="Devices")


def device_notes(one: DeviceHealth, now: datetime, looking: Looking) -> parts.Html:
    lines = [trouble_part(trouble, now, looking) for trouble in one.troubles]
    if one.unanswered:
        lines.append(
            format_html('<span class="muted">{} could not look lately</span>', words.plural(one.unanswered, "check"))
        )
    return parts.joined(lines, separator=SafeString("<br>"))


# Reports


@portal_page(permission=Permission.PORTAL_REPORT)
def reports(request: PageRequest, looking: Looking) -> HttpResponse:
    now = timezone.now()
    found = reports_.reports_for_client(scope=looking.scope)
    total = found.count()
    pages, stretch = parts.pages_of(request.GET, total, A_PAGE)
    table = Table(
        caption="Service reports, newest first",
        columns=[Column("Report", "lead wide"), Column("PDF", "second"), Column("Issued"), Column("About")],
        rows=[
            Row(
                key=f"report-{report.number}",
                cells=[
                    parts.text(title_of(report.ticket), report.number),
                    format_html(
                        '<a href="/portal/reports/{}.pdf" aria-label="Download {}">Download</a>',
                        report.number,
                        report.number,
                    ),
                    parts.moment(report.made_at, now),
                    report.ticket.about,
                ],
            )
            for report in found[stretch]
        ],
        empty=Empty(
            "No report yet",
            "When a ticket is done you find its report here: what was seen, what was done, and how that was shown.",
        ),
        pages=pages,
    )
    sentence = (
        f"{words.plural(total, 'service report')}, each with the records it rests on."
        if total
        else "No service report was issued yet."
    )
    context = {"sentence": sentence, "table": table, "verify": bool(total)}
    return render(request, looking, "reports", context, section="reports", title="Reports")


@page(permission=Permission.PORTAL_REPORT)
def report_pdf(request: PageRequest, number: str) -> HttpResponse:
    """The bytes as they were issued: their SHA-256 stands in the client's evidence log."""
    found: ServiceReport = reports_.reports_for_client(scope=reading_scope(request.scope)).get(number=number)
    return HttpResponse(
        bytes(found.pdf),
        content_type="application/pdf",
        headers={"Content-Disposition": f'attachment; filename="{found.number}.pdf"', "Cache-Control": "no-store"},
    )


# Calendar


def when_words(window: MaintenanceWindow) -> str:
    """``Every Sunday, from 22:00, for 2 h (Europe/Berlin)``."""
    how_often = recurrence_words(window.rrule, window.starts_on)
    how_long = words.span_long(timedelta(minutes=window.minutes))
    said = f"{how_often}, from {window.starts_at:%H:%M}, for {how_long} ({window.site.zone})"
    return f"{said[:1].upper()}{said[1:]}"


@portal_page(permission=Permission.PORTAL_VIEW)
def calendar(request: PageRequest, looking: Looking) -> HttpResponse:
    now = timezone.now()
    scope = looking.scope
    plan = queries.plan(scope=scope, now=now)
    mine = {one.pk for one in calendars.windows_to_answer(scope=scope, now=now)} if not looking.is_preview else set()
    context: dict[str, object] = {
        "sentence": calendar_sentence(plan, sum(one.pk in mine for one in plan.proposed), now),
        "proposed": [(one, when_words(one), one.pk in mine) for one in plan.proposed],
        "declined": [(one, when_words(one)) for one in plan.declined],
        "planned": planned_parts(plan.planned, now),
        "free": plan.free,
        "blackouts": [
            (one, blackout_words(blackout_rule(one)))
            for one in calendars.blackouts(scope=scope, by=Permission.PORTAL_VIEW).filter(ended_at=None)
            if one.yearly or one.ends_on >= now.date()
        ],
        "mails": None if looking.is_preview else wants_mails(scope=request.scope),
        "ahead": queries.AHEAD.days,
    }
    return render(request, looking, "calendar", context, section="calendar", title="Calendar")


@dataclass(frozen=True, slots=True)
class Planned:
    """A window with the next time it is open."""

    window: MaintenanceWindow
    when: parts.Html
    again: str
    """``every Thursday; 8 more times in these 60 days``; empty: once."""


def planned_parts(planned: list[Upcoming], now: datetime) -> list[Planned]:
    """One line a window: the next time, and how often more."""
    times: dict[int, list[Upcoming]] = {}
    for one in planned:
        times.setdefault(one.window.pk, []).append(one)
    found = []
    for first, *more in times.values():
        zone, window = first.window.site.zone, first.window
        until = words.clock_time(first.occurrence.end, first.occurrence.start, zone)
        rest = f"; {words.plural(len(more), 'more time')} in {queries.AHEAD.days} days" if more else ""
        found.append(
            Planned(
                window=window,
                when=format_html("{} – {}", time_words(first.occurrence.start, now, zone), until),
                again=f"{recurrence_words(window.rrule, window.starts_on)}{rest}" if window.rrule else "",
            )
        )
    return found


def calendar_sentence(plan: queries.Plan, mine: int, now: datetime) -> parts.Html:
    said: list[parts.Html] = []
    if plan.proposed:
        said.append(format_html('<a href="#proposed">{}</a>', _proposals(len(plan.proposed), mine)))
    if plan.planned:
        first = plan.planned[0]
        at = first.occurrence.start
        when = "is going on now" if at <= now else f"is next, {words.clock_time(at, now, first.window.site.zone)}"
        said.append(format_html("{} {}", first.window.name, when))
    if not said:
        return "No work on your devices is planned."
    return format_html("{}.", parts.joined(said, separator="; "))


def _proposals(count: int, mine: int) -> str:
    whose = "your answer" if mine else "an answer from your company"
    return f"{words.plural(count, 'proposal')} {words.does(count, 'wait')} for {whose}"


@page(permission=Permission.PORTAL_VIEW, methods=("POST",), change=Permission.PORTAL_APPROVE)
def window_act(request: PageRequest, pk: int) -> HttpResponse:
    """Approve or decline a proposed window, as it was shown."""
    window: MaintenanceWindow = calendars.windows_for_client(scope=reading_scope(request.scope)).get(pk=pk)
    if request.POST.get("shown") != when_words(window):
        messages.error(request, "It was changed meanwhile: look again.")
        return HttpResponseRedirect("/portal/calendar/")
    approve = request.POST.get("answer") == "approve"
    reason = request.POST.get("reason", "")
    try:
        window_answer(window=window, approve=approve, reason=reason, scope=request.scope, now=timezone.now())
        said = "Approved" if approve else "Declined"
        messages.success(request, f"{said}: {window.name}. Thank you; it is on record, and we are told.")
    except CalendarError as refusal:
        messages.error(request, _sentence(refusal))
    return HttpResponseRedirect("/portal/calendar/")


@page(permission=Permission.PORTAL_VIEW, methods=("POST",))
def notices_act(request: PageRequest) -> HttpResponse:
    """Switch mails about planned work on or off, for oneself: staff look at the portal, and are no client's people."""
    if is_staff(request.scope):
        raise NotAllowedError(Permission.PORTAL_VIEW, request.scope.who, "a client's own mails")
    wanted = request.POST.get("mails") == "on"
    notice_wish_set(person=request.person, wanted=wanted, now=timezone.now())
    said = "We write to you before we work on your devices." if wanted else "You get no mails about planned work."
    messages.success(request, said)
    return HttpResponseRedirect("/portal/calendar/")


def _sentence(refusal: Exception) -> str:
    text = str(refusal)
    return f"{text[:1].upper()}{text[1:]}."
