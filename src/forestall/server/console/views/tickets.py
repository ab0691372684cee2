"""The queue and a ticket: its story, its clocks, what a person can do, and what the system proposes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.calendar.models import MaintenanceWindow
from forestall.server.calendar.rules import Segment
from forestall.server.checks.result import Status
from forestall.server.console import parts, titles, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.clocks import clock_part, is_at_risk
from forestall.server.console.parts import Column, Empty, Fact, Happening, Row, Table
from forestall.server.console.proposals import proposals_of
from forestall.server.console.shell import render_page
from forestall.server.inventory import queries as inventory
from forestall.server.people.models import Client, Person, Site
from forestall.server.people.queries import holders
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.voice import voices
from forestall.server.reports import queries as reports
from forestall.server.tickets import approvals, queries, requests, services, windows
from forestall.server.tickets.mail import mail_is_set
from forestall.server.tickets.models import ApprovalState, Ticket, TicketApproval, TicketState
from forestall.server.tickets.queries import QueueRow, TimelineRow
from forestall.server.tickets.ratings import contentment_by_client, rating_of
from forestall.server.tickets.rules import ClockKind, Priority, Urgency

DONE_SHOWN = 100
MOST_DAYS = 90
"""So long at most a client has to answer."""
CONTENT_SINCE = timedelta(days=90)
PRIORITY_TAG = {Priority.URGENT: "fail", Priority.STANDARD: "", Priority.LOW: ""}


@page(permission=Permission.TICKET_VIEW)
def tickets(request: PageRequest) -> HttpResponse:
    now, scope = timezone.now(), request.scope
    show = request.GET.get("show", "open")
    queue = queries.queue(scope=scope, now=now)
    search = request.GET.get("q", "").strip()
    mine = request.GET.get("owner", "")
    rows = [row for row in queue if _fits(row.ticket, search, mine, request.person)]
    table = _done_table(request, search, mine, now) if show == "done" else _queue_table(rows, bool(queue), now)
    filters = parts.Filters(
        choices=[
            parts.choice("show", "State", [("", "Open"), ("done", "Resolved and closed")], show),
            parts.choice("owner", "Owner", [("", "Anyone's"), ("me", "Mine"), ("nobody", "Nobody's")], mine),
        ],
        search=search,
        placeholder="Filter tickets",
    )
    return render_page(
        request,
        "tickets",
        {
            "sentence": contentment_sentence(scope, now) if show == "done" else queue_sentence(queue, now),
            "table": table,
            "filters": filters,
            "actions": SafeString('<a class="button" href="/tickets/new">New ticket</a>')
            if scope.may(Permission.TICKET_WORK)
            else "",
        },
        section="tickets",
        title="Tickets",
        data_at=now,
    )


def queue_sentence(queue: list[QueueRow], now: datetime) -> parts.Html:
    """The answer before the queue."""
    if not queue:
        return "No ticket is open: nothing waits for a person."
    said = [format_html("<b>{}</b> open", words.plural(len(queue), "ticket"))]
    breached = sum(row.clock.percent >= 100 for row in queue)
    at_risk = [row for row in queue if is_at_risk(row.clock) and row.clock.percent < 100]
    nobody = sum(row.ticket.owner is None for row in queue)
    if breached:
        said.append(format_html("<b>{}</b> past the SLA", breached))
    if at_risk:
        first = min(at_risk, key=lambda row: row.clock.due_at or now)
        due = first.clock.due_at
        when = f", the first at {words.clock_time(due, now, first.ticket.client.timezone)}" if due else ""
        said.append(format_html("{} at risk{}", words.plural(len(at_risk), "SLA"), when))
    if nobody:
        said.append(format_html('<a href="?owner=nobody">{} without an owner</a>', nobody))
    return format_html("{}.", parts.joined(said, separator="; "))


def contentment_sentence(scope: Scope, now: datetime) -> parts.Html:
    """How content the clients were lately, the least content first."""
    found = contentment_by_client(scope=scope, since=now - CONTENT_SINCE)
    if not found:
        return f"No client rated a ticket within {CONTENT_SINCE.days} days."
    names = dict(Client.objects.visible_to(scope).filter(pk__in=found).values_list("pk", "name"))
    worst = sorted(found.items(), key=lambda item: (item[1].average, names[item[0]]))[:4]
    said = [
        format_html("{} <b>{}</b> of 5 ({})", names[pk], f"{one.average:.1f}", words.plural(one.count, "rating"))
        for pk, one in worst
    ]
    more = f" and {len(found) - len(worst)} more clients" if len(found) > len(worst) else ""
    return format_html("Rated within {} days: {}{}.", CONTENT_SINCE.days, parts.joined(said, ", "), more)


def _fits(ticket: Ticket, search: str, owner: str, person: Person) -> bool:
    if (owner == "me" and ticket.owner_id != person.pk) or (owner == "nobody" and ticket.owner_id is not None):
        return False
    text = f"{ticket.number} {ticket.title} {ticket.about} {ticket.client.name}".lower()
    return all(word in text for word in search.lower().split())


def _where(ticket: Ticket) -> str:
    places = (ticket.device.name if ticket.device else "request", ticket.client.name, ticket.site.name)
    return " · ".join(places)


def priority_part(priority: str) -> parts.Html:
    kind = PRIORITY_TAG[Priority(priority)]
    return parts.tag(priority, kind)


def _queue_table(rows: list[QueueRow], any_open: bool, now: datetime) -> Table:  # noqa: FBT001
    return Table(
        caption="Open tickets, the one to work on next first",
        columns=[
            Column("Ticket", "lead wide"),
            Column("Clock", "second"),
            Column("Priority"),
            Column("State"),
            Column("Owner"),
            Column("Open since"),
            Column("Next"),
        ],
        rows=[
            Row(
                key=f"ticket-{row.ticket.number}",
                cells=[
                    parts.link(
                        f"/tickets/{row.ticket.number}/",
                        f"#{row.ticket.number} {row.ticket.title}",
                        _where(row.ticket),
                    ),
                    parts.clock(clock_part(row.clock)),
                    priority_part(row.ticket.priority),
                    TicketState(row.ticket.state).label,
                    row.ticket.owner.username
                    if row.ticket.owner
                    else parts.none("no routing rule chose one", "nobody"),
                    parts.moment(row.ticket.opened_at, now),
                    row.next_step,
                ],
            )
            for row in rows
        ],
        empty=Empty("No ticket fits", "Every open ticket is left out by the filter above.", href="?", action="Show all")
        if any_open
        else Empty(
            "Nothing is open",
            "A ticket opens by itself when a check fails and nothing explains it: no maintenance window, no flapping. "
            "It gets an owner, a priority and a clock, and closes when the check passes again.",
            command="forestall drill disk",
        ),
    )


def _done_table(request: PageRequest, search: str, owner: str, now: datetime) -> Table:
    found = queries.tickets(scope=request.scope).filter(state__in=["resolved", "closed"]).order_by("-resolved_at")
    rows = [t for t in found[:DONE_SHOWN] if _fits(t, search, owner, request.person)]
    return Table(
        caption="Resolved and closed tickets, newest first",
        columns=[
            Column("Ticket", "lead wide"),
            Column("Done", "second"),
            Column("How"),
            Column("By"),
            Column("Verified"),
        ],
        rows=[
            Row(
                key=f"ticket-{ticket.number}",
                cells=[
                    parts.link(
                        f"/tickets/{ticket.number}/",
                        f"#{ticket.number} {ticket.title}",
                        _where(ticket),
                    ),
                    parts.moment(ticket.resolved_at, now),
                    parts.text(TicketState(ticket.state).label, ticket.close_reason),
                    ticket.resolved_by,
                    parts.moment(ticket.verified_at, now, "not verified"),
                ],
            )
            for ticket in rows
        ],
        empty=Empty("No ticket is done yet", "Resolved and closed tickets stay here, with their service reports."),
    )


@page(permission=Permission.TICKET_VIEW)
def ticket(request: PageRequest, number: int) -> HttpResponse:
    now, scope = timezone.now(), request.scope
    found = queries.ticket(scope=scope, number=number)
    alerts = list(queries.alerts_of(scope=scope, ticket=found))
    clocks = [
        clock_part(queries.clock(ticket=found, now=now, kind=kind), large=True)
        for kind in (ClockKind.RESPONSE, ClockKind.RESOLUTION)
    ]
    story = queries.timeline(scope=scope, ticket=found)
    checks = [alert.check_row for alert in alerts if alert.check_row is not None]
    context = {
        "ticket": found,
        "crumbs": format_html('<a href="/tickets/">Tickets</a> › #{}', found.number),
        "sentence": ticket_sentence(found, checks[0].reason if checks else "", now),
        "clocks": clocks,
        "clock_reasons": _clock_reasons(found, now),
        "facts": _facts(found, now),
        "happenings": [_happening(row) for row in story],
        "checks": checks,
        "proposals": [] if found.is_done else proposals_of(scope=scope, ticket=found, checks=checks, now=now),
        "report": reports.report_of(scope=scope, ticket=found) if scope.may(Permission.REPORT_VIEW) else None,
        "may_work": scope.may(Permission.TICKET_WORK),
        "workers": _workers(scope, found),
        "is_waiting": found.state == TicketState.WAITING,
        "approvals": list(TicketApproval.objects.visible_to(scope).filter(ticket=found)),
        "rating": rating_of(scope=scope, ticket=found),
        "portal": f"/portal/tickets/{found.number}/" if scope.may(Permission.PORTAL_VIEW, on=found) else "",
        "acts": _acts(found) if scope.may(Permission.TICKET_WORK) else [],
        **_windows(scope, found, now),
    }
    return render_page(
        request, "ticket", context, section="tickets", title=f"#{found.number} {found.title}", data_at=now
    )


def _windows(scope: Scope, ticket: Ticket, now: datetime) -> dict[str, Any]:
    """The next windows of what it is about, and what is planned."""
    if ticket.is_done:
        return {}
    zone = ticket.site.zone
    times = [
        (f"{one.window.pk}@{one.occurrence.start.isoformat()}", one.window, one.occurrence,
         words.clock_time(one.occurrence.start, now, zone), words.span_long(one.occurrence.end - one.occurrence.start))
        for one in windows.ticket_windows(scope=scope, ticket=ticket, now=now)
    ]  # fmt: skip
    planned = windows.ticket_planned(scope=scope, ticket=ticket)
    return {
        "window_times": times,
        "planned": planned,
        "planned_shut": planned is not None and not windows.still_open(planned, now=now),
        "planned_when": words.clock_time(planned.starts_at, now, zone) if planned is not None else "",
        "window_zone": zone,
    }


def _acts(ticket: Ticket) -> list[tuple[str, str]]:
    """What can be done with it by a press, without words."""
    if ticket.is_done:
        return []
    acts = [("acknowledge", "Acknowledge")] if ticket.acknowledged_at is None else []
    if ticket.state == TicketState.WAITING:
        return [*acts, ("resume", "Resume")]
    return [*acts, ("start", "Start work")] if ticket.state != TicketState.IN_PROGRESS else acts


def ticket_sentence(ticket: Ticket, reason: str, now: datetime) -> parts.Html:
    """What it is about and how it stands, in one or two sentences."""
    device: parts.Html = ticket.site.name
    if ticket.device is not None:
        device = format_html('<a href="/devices/{}/">{}</a>', ticket.device_id, ticket.device.name)
    owner = ticket.owner.username if ticket.owner else "nobody yet"
    if ticket.is_done:
        assert ticket.resolved_at is not None  # noqa: S101 - the database holds it so
        took = words.span_long(ticket.resolved_at - ticket.opened_at)
        proof = "a check has shown that it is fixed" if ticket.verified_at else "no check has shown it yet"
        if ticket.is_request:
            proof = "the client says whether it is"
        return format_html(
            "{} {} {}: done by {} after {}; {}.",
            ticket.state.capitalize(),
            "on" if ticket.device is not None else "at",
            device,
            ticket.resolved_by,
            took,
            proof,
        )
    if ticket.is_request:
        asker = (
            ticket.requested_by.shown_name if ticket.requested_by else f"nobody in particular, by {ticket.opened_by}"
        )
        return format_html(
            "Asked for by {}, at {}: {}. Open for {}, owned by {}.",
            asker, device, Urgency(ticket.urgency).words.lower(), words.span_long(now - ticket.opened_at), owner,
        )  # fmt: skip
    return format_html(
        "On {}: {} Open for {}, owned by {}.", device, reason, words.span_long(now - ticket.opened_at), owner
    )


def _facts(ticket: Ticket, now: datetime) -> list[Fact]:
    facts = [
        Fact("State", TicketState(ticket.state).label),
        Fact(
            "Priority",
            format_html('{} <span class="muted">({} risk)</span>', priority_part(ticket.priority), ticket.risk),
        ),
        Fact("Owner", ticket.owner.username if ticket.owner else parts.none("no routing rule chose one", "nobody")),
        Fact(
            "Device",
            parts.link(f"/devices/{ticket.device_id}/", ticket.device.name)
            if ticket.device
            else parts.none("a request about no one device"),
        ),
        Fact("Client", f"{ticket.client.name} · {ticket.site.name}"),
        Fact("First seen", parts.moment(ticket.first_seen_at, now)),
        Fact("Opened", parts.moment(ticket.opened_at, now)),
    ]
    if ticket.acknowledged_at:
        facts.append(
            Fact(
                "Acknowledged",
                format_html("{} by {}", parts.moment(ticket.acknowledged_at, now), ticket.acknowledged_by),
            )
        )
    if ticket.verified_at:
        facts.append(Fact("Verified", parts.moment(ticket.verified_at, now)))
    if ticket.reopened:
        facts.append(Fact("Reopened", words.plural(ticket.reopened, "time")))
    return facts


def _clock_reasons(ticket: Ticket, now: datetime) -> list[tuple[Segment, str]]:
    """Each stretch of the clock that matters now, with why it counted or not; newest last, at most a week's worth."""
    zone = ticket.client.timezone
    return [
        (segment, f"{words.clock_time(segment.start, now, zone)} – {words.clock_time(segment.end, now, zone)}")
        for segment in queries.clock_explain(ticket=ticket, now=now)[-24:]
    ]


_SHAPES = {
    "resolved": Status.PASS,
    "verified": Status.PASS,
    "closed": Status.PASS,
    "approved": Status.PASS,
    "declined": Status.FAIL,
    "sla_breach": Status.FAIL,
    "sla_warning": Status.WARN,
}


def _happening(row: TimelineRow) -> Happening:
    """A line of the story. Checks have their shape, evidence its reference, people their words."""
    note: list[parts.Html] = []
    if row.reference:
        note.append(format_html('evidence <a href="/evidence/?ref={}">{}</a>', row.reference, row.reference))
    if row.has_signature:
        note.append("signed by the device")
    if row.job_id:
        note.append(format_html('<a href="/jobs/{}/">job {}</a>', row.job_id, row.job_id))
    if row.source == "check":
        new = str((row.detail or {}).get("new", ""))
        kind, _, target = row.actor.partition(" ")
        about = titles.check_title(kind, target)
        return Happening(row.at, row.text, status=new if new in set(Status) else "", note=parts.joined([about, *note]))
    if row.source == "notification":
        return Happening(row.at, f"Told {row.actor}: {row.text}", note=parts.joined([row.kind, *note]))
    if row.kind == "commented":
        what = "The client wrote" if row.by_client else "Sent to the client" if row.for_client else "Internal note"
        return Happening(row.at, what, who=row.actor, quote=row.text, note=parts.joined(note))
    if row.kind in {"asked", "answered", "rated"}:
        first, _, rest = row.text.partition("\n")
        heads = {"asked": "Asked the client: ", "answered": "The client answered: ", "rated": "The client: "}
        shape = _SHAPES.get(str((row.detail or {}).get("answer", "")), "")
        return Happening(
            row.at, f"{heads[row.kind]}{first}", who=row.actor, quote=rest, note=parts.joined(note), status=shape
        )
    if row.kind == "opened":
        return Happening(row.at, "Ticket opened", who=row.actor, note=parts.joined([row.text, *note]))
    text = row.text or row.kind
    return Happening(
        row.at,
        text[:1].upper() + text[1:],
        who="" if row.source == "evidence" else row.actor,
        status=_SHAPES.get(row.kind, ""),
        note=parts.joined(note),
    )


def _workers(scope: Scope, ticket: Ticket) -> list[Person]:
    """Who a ticket may be given to: the service itself has the last word."""
    if not scope.may(Permission.TICKET_WORK):
        return []
    return holders(permission=Permission.TICKET_WORK, client=ticket.client_id, site=ticket.site_id, now=timezone.now())


# A ticket that staff open by hand


class TicketForm(forms.Form):
    """What it is about, and whose it is."""

    title = forms.CharField(label="What is it about?", max_length=requests.LONGEST_TITLE)
    text = forms.CharField(
        label="In the words of who asked",
        max_length=requests.LONGEST_TEXT,
        required=False,
        widget=forms.Textarea(attrs={"rows": 6}),
        help_text="The client reads title and words.",
    )
    urgency = forms.ChoiceField(
        label="How bad is it?",
        choices=[(one.value, one.words) for one in Urgency],
        initial=Urgency.HINDERED.value,
        widget=forms.RadioSelect,
    )
    device = forms.ChoiceField(label="Device", required=False)
    requested_by = forms.ChoiceField(
        label="Asked for by", required=False, help_text="They see it in their portal, and are told by mail."
    )

    def __init__(self, *args: object, site: Site, scope: Scope, now: datetime, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        here = inventory.devices(scope=scope).filter(site=site, status="approved").order_by("name")
        self.devices = {str(device.pk): device for device in here}
        people = voices(client=site.client, site=site, permission=Permission.PORTAL_VIEW, now=now)
        self.people = {person.username: person for person in people}
        device, asker = self.fields["device"], self.fields["requested_by"]
        device.choices = [("", "None in particular"), *((k, d.name) for k, d in self.devices.items())]  # type: ignore[attr-defined]
        asker.choices = [("", "Nobody in particular"), *((k, p.shown_name) for k, p in self.people.items())]  # type: ignore[attr-defined]


@page(permission=Permission.TICKET_WORK, methods=("GET", "HEAD", "POST"))
def ticket_new(request: PageRequest) -> HttpResponse:
    """Where first, then what: devices and people are those of the site."""
    now, scope = timezone.now(), request.scope
    sites = Site.objects.visible_to(scope, by=Permission.TICKET_WORK).filter(client__removed_at=None)
    sites = sites.select_related("client")
    context: dict[str, object] = {"crumbs": SafeString('<a href="/tickets/">Tickets</a>')}
    asked = request.GET.get("site", "")
    site = next((one for one in sites if str(one.pk) == asked), None) if asked else None
    if site is None:
        if asked:
            raise Http404
        context |= {"sites": [(one.pk, f"{one.client.name} · {one.name}") for one in sites]}
        return render_page(request, "ticket_new", context, section="tickets", title="New ticket", live=False)
    form = TicketForm(request.POST or None, site=site, scope=scope, now=now)
    if request.method == "POST" and form.is_valid():
        said = form.cleaned_data
        try:
            opened = requests.ticket_open(
                title=said["title"],
                text=said["text"],
                urgency=Urgency(said["urgency"]),
                site=site,
                device=form.devices.get(said["device"]),
                requested_by=form.people.get(said["requested_by"]),
                scope=scope,
                now=now,
            )
        except services.TicketError as refusal:
            form.add_error(None, f"{refusal}.")
        else:
            messages.success(request, f"#{opened.number} is open.")
            return HttpResponseRedirect(f"/tickets/{opened.number}/")
    context |= {"form": form, "sentence": f"At {site.client.name}, {site.name}."}
    return render_page(request, "ticket_new", context, section="tickets", title="New ticket", live=False)


Act = Callable[[PageRequest, Ticket, datetime], str]


def _acknowledge(request: PageRequest, ticket: Ticket, now: datetime) -> str:
    services.ticket_acknowledge(ticket=ticket, scope=request.scope, now=now)
    return f"#{ticket.number} acknowledged: the response clock has stopped."


def _start(request: PageRequest, ticket: Ticket, now: datetime) -> str:
    services.ticket_start(ticket=ticket, scope=request.scope, now=now)
    return f"Work on #{ticket.number} started."


def _comment(request: PageRequest, ticket: Ticket, now: datetime) -> str:
    to_client = request.POST.get("to_client") == "1"
    services.ticket_comment(
        ticket=ticket, text=request.POST.get("text", ""), to_client=to_client, scope=request.scope, now=now
    )
    return f"Sent to the client.{_not_mailed(ticket)}" if to_client else "Noted. It stays inside."


def _not_mailed(ticket: Ticket) -> str:
    """What to know when the client reads it in the portal only."""
    if not mail_is_set():
        return " No mail server is set: they see it in the portal only."
    asker = ticket.requested_by
    return (
        f" {asker.shown_name} has no mail address: they see it in the portal only." if asker and not asker.email else ""
    )


def _ask(request: PageRequest, ticket: Ticket, now: datetime) -> str:
    days = request.POST.get("days", "").strip()
    lasts = parts.number_typed(days)
    if days and (lasts is None or not 0 < lasts <= MOST_DAYS):
        raise services.TicketError(f"days: {days[:20]!r} is not from 1 to {MOST_DAYS}")
    approvals.approval_ask(
        ticket=ticket,
        question=request.POST.get("question", ""),
        what_happens=request.POST.get("what_happens", ""),
        cost=request.POST.get("cost", ""),
        answer_by=now + timedelta(days=lasts) if lasts else None,
        scope=request.scope,
        now=now,
    )
    return f"{ticket.client.name} is asked. #{ticket.number} waits, and its clock stands still.{_not_mailed(ticket)}"


def _withdraw(request: PageRequest, ticket: Ticket, now: datetime) -> str:
    asked = TicketApproval.objects.visible_to(request.scope).filter(ticket=ticket, state=ApprovalState.ASKED).first()
    if asked is None:
        raise services.TicketError("nothing is asked on this ticket")
    approvals.approval_withdraw(approval=asked, scope=request.scope, now=now)
    return f"The question is withdrawn; #{ticket.number} goes on."


def _assign(request: PageRequest, ticket: Ticket, now: datetime) -> str:
    named = request.POST.get("owner", "")
    owner = next((person for person in _workers(request.scope, ticket) if person.username == named), None)
    if owner is None:
        raise services.TicketError(f"nobody who works for this site is called {named!r}")
    services.ticket_assign(ticket=ticket, owner=owner, scope=request.scope, now=now)
    return f"#{ticket.number} assigned to {owner.username}."


def _wait(request: PageRequest, ticket: Ticket, now: datetime) -> str:
    services.ticket_wait(ticket=ticket, reason=request.POST.get("text", ""), scope=request.scope, now=now)
    return f"#{ticket.number} waits for the client: the resolution clock stands still."


def _resume(request: PageRequest, ticket: Ticket, now: datetime) -> str:
    services.ticket_resume(ticket=ticket, scope=request.scope, now=now)
    return f"#{ticket.number} goes on."


def _resolve(request: PageRequest, ticket: Ticket, now: datetime) -> str:
    services.ticket_resolve(ticket=ticket, reason=request.POST.get("text", ""), scope=request.scope, now=now)
    return f"#{ticket.number} resolved. The check's next pass verifies it; its next failure opens it again."


def _reopen(request: PageRequest, ticket: Ticket, now: datetime) -> str:
    services.ticket_reopen(ticket=ticket, reason=request.POST.get("text", ""), scope=request.scope, now=now)
    return f"#{ticket.number} is open again."


def _plan(request: PageRequest, ticket: Ticket, now: datetime) -> str:
    request.scope.require(Permission.TICKET_WORK, on=ticket)
    number, _, start = request.POST.get("time", "").partition("@")
    minutes = parts.number_typed(request.POST.get("minutes", "")) or 0
    try:
        window = MaintenanceWindow.objects.visible_to(request.scope).get(pk=int(number))
        starts_at = datetime.fromisoformat(start)
    except (ValueError, MaintenanceWindow.DoesNotExist):
        raise services.TicketError("choose one of the window's times") from None
    planned = windows.ticket_plan(
        ticket=ticket, window=window, starts_at=starts_at, minutes=minutes, scope=request.scope, now=now
    )
    when = words.clock_time(planned.starts_at, now, ticket.site.zone)
    return f"#{ticket.number} is planned for {window.name}, {when}. Its clocks go on."


def _unplan(request: PageRequest, ticket: Ticket, now: datetime) -> str:
    windows.ticket_unplan(ticket=ticket, scope=request.scope, now=now)
    return f"#{ticket.number} is planned for no window any more."


ACTS: dict[str, Act] = {
    "acknowledge": _acknowledge,
    "start": _start,
    "comment": _comment,
    "assign": _assign,
    "wait": _wait,
    "resume": _resume,
    "resolve": _resolve,
    "reopen": _reopen,
    "ask": _ask,
    "withdraw": _withdraw,
    "plan": _plan,
    "unplan": _unplan,
}


@page(permission=Permission.TICKET_VIEW, methods=("POST",), change=Permission.TICKET_WORK)
def ticket_act(request: PageRequest, number: int, act: str) -> HttpResponse:
    """Do one thing with a ticket, and show it again."""
    found = queries.ticket(scope=request.scope, number=number)
    try:
        messages.success(request, ACTS[act](request, found, timezone.now()))
    except services.TicketError as refusal:
        messages.error(request, f"{str(refusal)[:1].upper()}{str(refusal)[1:]}.")
    return HttpResponseRedirect(f"/tickets/{number}/")
