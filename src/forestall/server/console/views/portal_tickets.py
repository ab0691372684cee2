"""Tickets in the portal: what the client asked for, what was found, and what the client does with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Fact, Happening, Row, Table
from forestall.server.console.views.portal import (
    A_PAGE,
    Looking,
    looking_at,
    portal_page,
    render,
    state_part,
    title_of,
)
from forestall.server.people.scope import Permission
from forestall.server.people.voice import public_name, reading_scope
from forestall.server.portal import queries, rules
from forestall.server.reports.queries import reports_for_client
from forestall.server.tickets import approvals, ratings, requests
from forestall.server.tickets import portal as tickets
from forestall.server.tickets.models import DONE_STATES, ApprovalState, Ticket, TicketApproval, TicketState
from forestall.server.tickets.portal import PublicLine
from forestall.server.tickets.queries import clock
from forestall.server.tickets.rules import REOPENABLE, Urgency, has_lapsed, rating_is_open
from forestall.server.tickets.services import TicketError

SCORE_WORDS = ((5, "Very good"), (4, "Good"), (3, "All right"), (2, "Not good"), (1, "Bad"))


@portal_page(permission=Permission.PORTAL_VIEW)
def ticket_list(request: PageRequest, looking: Looking) -> HttpResponse:
    now = timezone.now()
    show = "done" if request.GET.get("show") == "done" else "open"
    found = tickets.tickets_for_client(scope=looking.scope)
    counted = found.exclude(state__in=DONE_STATES).count()
    found = found.filter(state__in=DONE_STATES) if show == "done" else found.exclude(state__in=DONE_STATES)
    pages, stretch = parts.pages_of(request.GET, found.count(), A_PAGE)
    table = Table(
        caption="Tickets, newest first",
        columns=[
            Column("Ticket", "lead wide"),
            Column("State", "second"),
            Column("About"),
            Column("Opened"),
            Column("By"),
        ],
        rows=[_row(ticket, looking, now) for ticket in found.order_by("-number")[stretch]],
        empty=Empty("Nothing is done yet", "Tickets that are done stay here, with their reports.")
        if show == "done"
        else Empty(
            "No ticket is open",
            "Ask us for something, or tell us what does not work. What our checks find opens a ticket by itself.",
            **(
                {"href": "/portal/tickets/new", "action": "New request"}
                if looking.may(Permission.PORTAL_TICKET)
                else {}
            ),
        ),
        pages=pages,
    )
    address = request.GET
    context = {
        "sentence": f"{words.plural(counted, 'ticket')} {words.does(counted, 'are')} open."
        if counted
        else "No ticket is open.",
        "table": table,
        "tabs": [
            parts.Tab("Open", parts.address(address, show=None, page=None), show == "open"),
            parts.Tab("Done", parts.address(address, show="done", page=None), show == "done"),
        ],
        "actions": SafeString('<a class="button primary" href="/portal/tickets/new">New request</a>')
        if looking.may(Permission.PORTAL_TICKET)
        else "",
    }
    return render(request, looking, "list", context, section="tickets", title="Tickets")


def _row(ticket: Ticket, looking: Looking, now: datetime) -> Row:
    by = public_name(ticket.requested_by, client=ticket.client_id) if ticket.requested_by else "us"
    return Row(
        key=f"ticket-{ticket.number}",
        cells=[
            parts.link(f"/portal/tickets/{ticket.number}/{looking.frame.query}", title_of(ticket), f"#{ticket.number}"),
            state_part(ticket),
            ticket.about,
            parts.moment(ticket.opened_at, now),
            by,
        ],
    )


@page(permission=Permission.PORTAL_VIEW)
def ticket(request: PageRequest, number: int) -> HttpResponse:
    now = timezone.now()
    found = tickets.ticket_for_client(scope=reading_scope(request.scope), number=number)
    looking = looking_at(request, found.client_id)
    scope = looking.scope
    asked = tickets.approvals_of(scope=scope, ticket=found)
    lines = tickets.public_lines(scope=scope, ticket=found)
    rating = tickets.rating_of(scope=scope, ticket=found)
    may_write = looking.may(Permission.PORTAL_TICKET)
    may_rate = (
        may_write
        and found.is_done
        and (
            rating is None
            or (rating.given_by == request.scope.who and rating_is_open(given_at=rating.given_at, now=now))
        )
    )
    context = {
        "ticket": found,
        "crumbs": format_html('<a href="/portal/tickets/{}">Tickets</a> › #{}', looking.frame.query, number),
        "sentence": ticket_sentence(found, now),
        "asked": [one for one in asked if one.state == ApprovalState.ASKED and not _late(one, now)],
        "may_answer": looking.may(Permission.PORTAL_APPROVE) and scope.may(Permission.PORTAL_APPROVE, on=found),
        "needed": next((one.text for one in reversed(lines) if one.kind == "waiting"), "")
        if found.state == TicketState.WAITING
        else "",
        "days": _days(lines, found.site.zone),
        "facts": _facts(found, now),
        "may_write": may_write,
        "may_rate": may_rate,
        "may_reopen": may_write
        and found.is_request
        and found.resolved_at is not None
        and now - found.resolved_at <= REOPENABLE,
        "rating": rating,
        "scores": SCORE_WORDS,
        "reports": list(reports_for_client(scope=scope).filter(ticket=found))
        if scope.may(Permission.PORTAL_REPORT)
        else [],
    }
    return render(request, looking, "ticket", context, section="tickets", title=title_of(found))


def _late(approval: TicketApproval, now: datetime) -> bool:
    return has_lapsed(answer_by=approval.answer_by, now=now)


def ticket_sentence(ticket: Ticket, now: datetime) -> str:
    """How it stands, and what was promised."""
    if ticket.is_done:
        took = words.span_long((ticket.resolved_at or now) - ticket.opened_at)
        shown = " A check has shown that it is well." if ticket.verified_at else ""
        return f"{rules.TICKET_WORDS[ticket.state].capitalize()} after {took}.{shown}"
    promised = rules.promise(view=clock(ticket=ticket, now=now), timezone=ticket.site.zone, now=now)
    if ticket.state == TicketState.WAITING and promised:
        return promised
    state = rules.TICKET_WORDS[ticket.state]
    return f"{state[:1].upper()}{state[1:]}. {promised}".strip()


def _days(lines: list[PublicLine], zone: str) -> list[tuple[str, list[tuple[str, Happening]]]]:
    """The story by days, on the clock of the client's site."""
    days: dict[str, list[tuple[str, Happening]]] = {}
    for line in lines:
        local = line.at.astimezone(ZoneInfo(zone))
        days.setdefault(words.day(line.at, zone), []).append((f"{local:%H:%M}", _happening(line)))
    return list(days.items())


def _happening(line: PublicLine) -> Happening:
    first, _, rest = line.text.partition("\n")
    if line.kind in {"commented", "opened", "waiting"}:
        heads = {"commented": "wrote", "opened": "Opened", "waiting": "We need something from you"}
        what = f"{line.who or 'We'} wrote" if line.kind == "commented" else heads[line.kind]
        who = "" if line.kind == "commented" else line.who
        return Happening(line.at, what, who=who, quote=line.text)
    return Happening(line.at, first, who=line.who, quote=rest)


def _facts(ticket: Ticket, now: datetime) -> list[Fact]:
    facts = [Fact("Number", f"#{ticket.number}"), Fact("State", state_part(ticket))]
    if ticket.is_request:
        facts.append(Fact("Urgency", Urgency(ticket.urgency).words))
    if ticket.requested_by:
        facts.append(Fact("Asked for by", public_name(ticket.requested_by, client=ticket.client_id)))
    if ticket.owner:
        facts.append(Fact("Looked after by", public_name(ticket.owner, client=ticket.client_id)))
    if ticket.device:
        facts.append(Fact("Device", ticket.device.name))
    facts.append(Fact("Site", ticket.site.name))
    facts.append(Fact("Opened", parts.moment(ticket.opened_at, now)))
    if ticket.resolved_at:
        facts.append(Fact("Done", parts.moment(ticket.resolved_at, now)))
    return facts


# A new request


class RequestForm(forms.Form):
    """What the client asks for."""

    title = forms.CharField(
        label="What is it about?",
        max_length=requests.LONGEST_TITLE,
        widget=forms.TextInput(attrs={"placeholder": "The printer at reception prints blank pages"}),
    )
    text = forms.CharField(
        label="Tell us more",
        max_length=requests.LONGEST_TEXT,
        required=False,
        widget=forms.Textarea(attrs={"rows": 6}),
        help_text="Since when, what you have tried, whom we may call. Never a password.",
    )
    urgency = forms.ChoiceField(
        label="How bad is it?",
        choices=[(one.value, one.words) for one in Urgency],
        initial=Urgency.HINDERED.value,
        widget=forms.RadioSelect,
    )
    site = forms.ChoiceField(label="Where?", required=False)
    device = forms.ChoiceField(label="Which device?", required=False, help_text="If it is about one.")

    def __init__(self, *args: object, looking: Looking, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.sites = {str(site.pk): site for site in queries.sites_for_requests(scope=looking.scope)}
        self.devices = {str(device.pk): device for device in queries.devices_for(scope=looking.scope)}
        site, device = self.fields["site"], self.fields["device"]
        site.choices = [("", "Choose"), *((key, one.name) for key, one in self.sites.items())]  # type: ignore[attr-defined]
        device.choices = [("", "None in particular"), *((key, one.name) for key, one in self.devices.items())]  # type: ignore[attr-defined]
        if len(self.sites) < 2:
            del self.fields["site"]
        if not self.devices:
            del self.fields["device"]


@portal_page(permission=Permission.PORTAL_TICKET, methods=("GET", "HEAD", "POST"))
def ticket_new(request: PageRequest, looking: Looking) -> HttpResponse:
    """Ask for something. Staff open a ticket in the console instead."""
    if looking.is_preview:
        return HttpResponseRedirect(f"/portal/{looking.frame.query}")
    form = RequestForm(request.POST or None, looking=looking)
    if request.method == "POST" and form.is_valid():
        asked = form.cleaned_data
        device = form.devices.get(asked.get("device", ""))
        site = form.sites.get(asked.get("site", "")) or (device.site if device else None)
        try:
            opened = requests.request_open(
                title=asked["title"],
                text=asked["text"],
                urgency=Urgency(asked["urgency"]),
                site=None if device else site,
                device=device,
                scope=request.scope,
                now=timezone.now(),
            )
        except TicketError as refusal:
            form.add_error(None, _sentence(refusal))
        else:
            messages.success(request, f"Sent: your request is #{opened.number}.")
            return HttpResponseRedirect(f"/portal/tickets/{opened.number}/")
    context = {
        "form": form,
        "crumbs": SafeString('<a href="/portal/tickets/">Tickets</a>'),
        "sentence": "Tell us what you need. You see here what becomes of it.",
    }
    return render(request, looking, "ticket_new", context, section="tickets", title="New request")


# What the client does with a ticket

Act = Callable[[PageRequest, Ticket, datetime], str]


def _comment(request: PageRequest, ticket: Ticket, now: datetime) -> str:
    waited = ticket.state == TicketState.WAITING
    requests.client_comment(ticket=ticket, text=request.POST.get("text", ""), scope=request.scope, now=now)
    return "Sent. We go on with it." if waited else "Sent."


def _answer(request: PageRequest, ticket: Ticket, now: datetime) -> str:
    asked = tickets.approvals_of(scope=reading_scope(request.scope), ticket=ticket)
    shown = next((one for one in asked if str(one.pk) == request.POST.get("approval")), None)
    if shown is None:
        raise TicketError("this is no longer asked")
    approve = request.POST.get("answer") == "approve"
    approvals.approval_answer(
        approval=shown, approve=approve, reason=request.POST.get("reason", ""), scope=request.scope, now=now
    )
    return f"{'Approved' if approve else 'Declined'}. Thank you; it is on record, and we go on with it."


def _rate(request: PageRequest, ticket: Ticket, now: datetime) -> str:
    score = request.POST.get("score", "")
    if not score.isdecimal() or len(score) > 2:
        raise TicketError("score: choose how it was")
    ratings.rating_give(
        ticket=ticket, score=int(score), comment=request.POST.get("comment", ""), scope=request.scope, now=now
    )
    return "Thank you for telling us."


def _reopen(request: PageRequest, ticket: Ticket, now: datetime) -> str:
    requests.client_reopen(ticket=ticket, reason=request.POST.get("text", ""), scope=request.scope, now=now)
    return f"#{ticket.number} is open again."


ACTS: dict[str, tuple[Permission, Act]] = {
    "comment": (Permission.PORTAL_TICKET, _comment),
    "answer": (Permission.PORTAL_APPROVE, _answer),
    "rate": (Permission.PORTAL_TICKET, _rate),
    "reopen": (Permission.PORTAL_TICKET, _reopen),
}


@page(permission=Permission.PORTAL_VIEW, methods=("POST",))
def ticket_act(request: PageRequest, number: int, act: str) -> HttpResponse:
    """Do one thing with a ticket, and show it again. The service asks who may."""
    permission, do = ACTS[act]
    request.scope.require(permission)
    found = tickets.ticket_for_client(scope=reading_scope(request.scope), number=number)
    try:
        messages.success(request, do(request, found, timezone.now()))
    except TicketError as refusal:
        messages.error(request, _sentence(refusal))
    return HttpResponseRedirect(f"/portal/tickets/{number}/")


def _sentence(refusal: Exception) -> str:
    _field, colon, rest = str(refusal).partition(": ")
    text = rest if colon and _field.isidentifier() else str(refusal)
    return f"{text[:1].upper()}{text[1:]}."
