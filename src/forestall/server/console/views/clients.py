"""Clients: the list, one client in a sentence, and the form that makes or changes one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.calendar.queries import Upcoming
from forestall.server.checks.result import Status
from forestall.server.clients import queries, services
from forestall.server.clients.queries import Overview
from forestall.server.clients.rules import OPERATING_WORDS, ClientError, country_names, timezones
from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.clocks import clock_part
from forestall.server.console.parts import Column, Empty, Fact, Row, Tab, Table
from forestall.server.console.shell import render_page
from forestall.server.console.views.client_forms import ClientForm
from forestall.server.people.models import Client, Contact, OperatingModel
from forestall.server.people.scope import Permission
from forestall.server.tickets import sla
from forestall.server.tickets.rules import next_step

A_PAGE = 100
HEALTH = (("fail", "Something fails"), ("warn", "Something warns"), ("well", "All is well"), ("none", "Nothing judged"))
FAR = datetime.max.replace(tzinfo=timezone.get_default_timezone())
TABS = (
    ("", "Overview"),
    ("sites", "Sites"),
    ("contacts", "Contacts"),
    ("hours", "Hours & holidays"),
    ("sla", "SLA"),
    ("windows", "Windows"),
    ("updates", "Updates"),
    ("routing", "Alerts & routing"),
    ("people", "People"),
    ("history", "History"),
)

SORTS: dict[str, Callable[[Overview], Any]] = {
    "name": lambda row: row.client.name.casefold(),
    "devices": lambda row: row.devices,
    "tickets": lambda row: (row.at_risk, row.open_tickets),
    "health": lambda row: tuple(-part for part in row.rank),
    "window": lambda row: row.next_window.occurrence.start if row.next_window else FAR,
    "contact": lambda row: row.contact.name.casefold() if row.contact else "\uffff",
}


def search_address(section: str, client: Client) -> str:
    """The list of a section, searched for what is the client's."""
    return f"/{section}/?{urlencode({'q': client.name})}"


def health_words(row: Overview) -> parts.Html:
    """``■ 3 fail``: how many devices are as bad as the worst."""
    if row.worst is None:
        return parts.none("no device of it was judged yet", "nothing judged")
    return parts.tally(row.checks.items())


def window_words(upcoming: Upcoming | None, now: datetime) -> parts.Html:
    """``Sun 22:00`` on the site's wall clock, with name and site under it."""
    if upcoming is None:
        return parts.none("no window is planned", "none planned")
    at, window = upcoming.occurrence, upcoming.window
    zone = window.site.zone
    shown = "open now" if at.start <= now else words.clock_time(at.start, now, zone)
    return parts.text(parts.link(f"/windows/{window.pk}/", shown), f"{window.name} · {window.site.name}")


def contact_words(contact: Contact | None) -> parts.Html:
    if contact is None:
        return parts.none("nobody is named", "nobody named")
    return parts.text(contact.name, parts.joined([phone_part(contact.phone), contact.email]))


def phone_part(number: str) -> parts.Html:
    """A number that a phone calls when it is touched, and that is never broken over two lines."""
    if not number:
        return ""
    dialled = "".join(each for each in number if each.isdecimal() or each == "+")
    return format_html('<a class="nowrap" href="tel:{}">{}</a>', dialled, number)


@page(permission=Permission.CLIENT_VIEW)
def clients(request: PageRequest) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    every = queries.overviews(scope=scope, now=now)
    found = _filtered(request, every)
    sort = request.GET.get("sort", "name")
    found.sort(key=SORTS.get(sort.removeprefix("-"), SORTS["name"]), reverse=sort.startswith("-"))
    pages, stretch = parts.pages_of(request.GET, len(found), A_PAGE)
    table = Table(
        caption="Clients",
        columns=[
            Column("Client", "lead", sort="name"),
            Column("Health of its devices", "second", sort="health"),
            Column("Devices", "num", sort="devices"),
            Column("Open tickets", "num", sort="tickets", hint="newest"),
            Column("Next window", sort="window"),
            Column("To call", sort="contact"),
        ],
        rows=[
            Row(
                key=f"client-{row.client.pk}",
                cells=[
                    parts.link(
                        f"/clients/{row.client.pk}/",
                        row.client.name,
                        parts.joined([row.client.reference, OperatingModel(row.client.operating_model).label]),
                    ),
                    health_words(row),
                    parts.link(f"/devices/?client={row.client.pk}", str(row.devices)),
                    _tickets(row),
                    window_words(row.next_window, now),
                    contact_words(row.contact),
                ],
            )
            for row in found[stretch]
        ],
        empty=_empty(any_client=bool(every)),
        query=request.GET,
        sort=sort,
        pages=pages,
    )
    context: dict[str, Any] = {"sentence": _all_in_words(every), "table": table, "filters": _filters(request)}
    if scope.everywhere(Permission.CLIENT_CHANGE):
        context["actions"] = SafeString(
            '<a class="button" href="/import/">Import</a><a class="button" href="/sla/">SLA tiers</a>'
            '<a class="button" href="/routing/">Routing for all</a>'
            '<a class="button primary" href="/clients/new">Take on a client</a>'
        )
    return render_page(request, "clients", context, section="clients", title="Clients", data_at=now)


def _tickets(row: Overview) -> parts.Html:
    shown = parts.link(search_address("tickets", row.client), str(row.open_tickets))
    if not row.at_risk:
        return shown
    return format_html("{} {}", shown, parts.tag(f"{row.at_risk} SLA at risk", "warn"))


def _filtered(request: PageRequest, every: list[Overview]) -> list[Overview]:
    asked, health = request.GET.get("q", "").casefold().split(), request.GET.get("health", "")
    model, tier = request.GET.get("model", ""), request.GET.get("tier", "")

    def fits(row: Overview) -> bool:
        client = row.client
        text = f"{client.name} {client.reference} {row.contact.name if row.contact else ''}".casefold()
        if not all(word in text for word in asked):
            return False
        if (model and client.operating_model != model) or (tier and client.sla_tier != tier):
            return False
        if health == "well":
            return row.worst is Status.PASS
        if health == "none":
            return row.worst is None
        return not health or bool(row.checks.get(health))

    return [row for row in every if fits(row)]


def _filters(request: PageRequest) -> parts.Filters:
    models = [("", "Any way of working"), *((one.value, str(one.label)) for one in OperatingModel)]
    tiers = [("", "Any tier"), *sla.tiers().values_list("slug", "name")]
    return parts.Filters(
        [
            parts.choice("health", "Health", [("", "Any health"), *HEALTH], request.GET.get("health", "")),
            parts.choice("model", "Who does the work", models, request.GET.get("model", "")),
            parts.choice("tier", "SLA tier", tiers, request.GET.get("tier", "")),
        ],
        search=request.GET.get("q", ""),
        placeholder="Name, reference, contact",
        keep=[("sort", request.GET["sort"])] if "sort" in request.GET else [],
    )


def _empty(*, any_client: bool) -> Empty:
    if any_client:
        return Empty("No client fits", "None is like this.", href="?", action="Show all")
    return Empty(
        "No client yet",
        "A client has sites, its sites have devices. How it is served is kept here: hours, SLA, windows, whom to call.",
        command='forestall clients "Acme Ltd" --create --timezone Europe/London --country GB --region ENG',
    )


def _all_in_words(every: list[Overview]) -> parts.Html:
    failing = [row for row in every if row.checks.get("fail")]
    risky = [row for row in every if row.at_risk]
    unnamed = [row for row in every if row.contact is None]
    if not every:
        return "There is no client yet that you may see."
    said: list[parts.Html] = [format_html("<b>{}</b>", words.plural(len(every), "client"))]
    said.append(
        format_html(
            '<a href="?health=fail&amp;sort=-health">{} {} failing devices</a>',
            words.plural(len(failing), "client"),
            words.does(len(failing), "have"),
        )
        if failing
        else "nothing fails"
    )
    if risky:
        said.append(
            format_html('<a href="?sort=-tickets">{}</a>', f"{words.plural(len(risky), 'client')} with an SLA at risk")
        )
    if unnamed:
        said.append(f"of {len(unnamed)} nobody is named to call")
    return format_html("{}.", parts.joined(said, separator="; "))


# --- one client ------------------------------------------------------------------------------------------------


def client_page(
    request: PageRequest, client: Client, tab: str, context: dict[str, Any], *, template: str, live: bool = False
) -> HttpResponse:
    """A tab of a client, with head and tabs around it."""
    may_change = request.scope.may(Permission.CLIENT_CHANGE, on=client)
    context = {
        "client": client,
        "may_change": may_change,
        "timezones": timezones(),
        "crumbs": format_html('<a href="/clients/">Clients</a> › {}', client.reference or client.name),
        "tabs": [
            Tab(title=title, href=f"/clients/{client.pk}/{f'{slug}/' if slug else ''}", current=slug == tab)
            for slug, title in TABS
            if slug != "people" or queries.people_at(scope=request.scope, client=client)
        ],
        **context,
    }
    if may_change and tab == "":
        context["actions"] = format_html('<a class="button" href="/clients/{}/change">Change</a>', client.pk)
    now = timezone.now()
    return render_page(
        request, template, context, section="clients", title=client.name, data_at=now if live else None, live=live
    )


@page(permission=Permission.CLIENT_VIEW)
def client(request: PageRequest, client_id: UUID) -> HttpResponse:
    """What is true about a client now, in a sentence, and the record behind it."""
    scope, now = request.scope, timezone.now()
    found = queries.served(scope=scope).get(pk=client_id)
    row = queries.overview(scope=scope, client=found, now=now)
    tier = sla.tiers().filter(slug=found.sla_tier).first()
    model = OperatingModel(found.operating_model)
    country = country_names().get(found.country, found.country)
    context = {
        "sentence": client_in_words(row, now),
        "due": Table(
            caption="SLA at risk",
            columns=[Column("Ticket", "lead"), Column("Clock", "second"), Column("Next")],
            rows=[
                Row(
                    key=f"ticket-{ticket.number}",
                    cells=[
                        parts.link(f"/tickets/{ticket.number}/", f"#{ticket.number} {ticket.title}"),
                        parts.clock(clock_part(view)),
                        next_step(state=ticket.state, owner=bool(ticket.owner_id)),
                    ],
                )
                for ticket, view in row.due[:10]
            ],
            empty=Empty("No clock is at risk", "A ticket stands here once half of its time is used."),
        ),
        "health": health_words(row),
        "row": row,
        "may_export": scope.may(Permission.CLIENT_EXPORT, on=found),
        "may_remove": scope.may(Permission.CLIENT_REMOVE, on=found),
        "checks_of_it": search_address("checks", found),
        "tickets_of_it": search_address("tickets", found),
        "window": window_words(row.next_window, now),
        "facts": [
            Fact("Reference", found.reference or parts.none("no number in your accounts is named", "none")),
            Fact("Who works", parts.text(str(model.label), OPERATING_WORDS[model])),
            Fact("SLA tier", parts.link(f"/clients/{found.pk}/sla/", tier.name if tier else found.sla_tier)),
            Fact("Time zone", f"{found.timezone}, now {words.clock_time(now, now, found.timezone)}"),
            Fact(
                "Holidays",
                parts.link(f"/clients/{found.pk}/hours/", " ".join(filter(None, [country, found.region])))
                if found.country
                else parts.none("no country is set: public holidays count as working days", "none"),
            ),
            Fact("To call", contact_words(row.contact)),
            Fact("Since", parts.moment(found.created_at, now)),
        ],
        "notes": found.notes,
    }
    return client_page(request, found, "", context, template="client", live=True)


def client_in_words(row: Overview, now: datetime) -> SafeString:
    """A client in a sentence: devices, health, tickets, clocks, window, contact."""
    pk = row.client.pk
    at = f" at {words.plural(row.sites, 'site')}" if row.sites else ""
    said: list[parts.Html] = [
        format_html('<a href="/devices/?client={}"><b>{}</b></a>{}', pk, words.plural(row.devices, "device"), at)
        if row.devices
        else format_html("No device{} yet", at)
    ]
    failing, warning = row.checks.get("fail", 0), row.checks.get("warn", 0)
    if failing or warning:
        bad = [f"{failing} {words.does(failing, 'fail')}"] if failing else []
        bad += [f"{warning} {words.does(warning, 'warn')}"] if warning else []
        said.append(format_html('<a href="{}">{}</a>', search_address("checks", row.client), " and ".join(bad)))
    elif row.worst is Status.PASS:
        said.append("all are well")
    tickets = words.plural(row.open_tickets, "open ticket") if row.open_tickets else "no open ticket"
    said.append(format_html('<a href="{}">{}</a>', search_address("tickets", row.client), tickets))
    if row.at_risk:
        said.append(format_html("<b>{} at risk</b>", words.plural(row.at_risk, "SLA")))
    if row.next_window is None:
        said.append(format_html('<a href="/clients/{}/windows/">no window planned</a>', pk))
    else:
        at_, zone = row.next_window.occurrence, row.next_window.window.site.zone
        when = "a window is open now" if at_.start <= now else f"next window {words.clock_time(at_.start, now, zone)}"
        said.append(format_html('<a href="/windows/{}/">{}</a>', row.next_window.window.pk, when))
    if row.contact is None:
        said.append(format_html('<a href="/clients/{}/contacts/">nobody is named to call</a>', pk))
    else:
        number = format_html(", {}", phone_part(row.contact.phone)) if row.contact.phone else ""
        said.append(format_html('call <a href="/clients/{}/contacts/">{}</a>{}', pk, row.contact.name, number))
    return format_html("{}.", parts.joined(said, separator="; "))


@page(permission=Permission.CLIENT_CHANGE, methods=("GET", "HEAD", "POST"))
def client_form(request: PageRequest, client_id: UUID | None = None) -> HttpResponse:
    """Take on a client, or change what is said of one."""
    scope, now = request.scope, timezone.now()
    found = None
    if client_id is None:
        scope.require_everywhere(Permission.CLIENT_CHANGE)
    else:
        found = queries.served(scope=scope).get(pk=client_id)
        scope.require(Permission.CLIENT_CHANGE, on=found)
    form = ClientForm(request.POST if request.method == "POST" else None, tiers=sla.tiers(), client=found)
    if request.method == "POST" and form.is_valid():
        asked = form.cleaned_data
        try:
            if found is None:
                made = services.client_add(scope=scope, now=now, **asked)
                messages.success(request, f"{made.name} is a client. Next: a site, and somebody to call.")
                return HttpResponseRedirect(f"/clients/{made.pk}/sites/")
            services.client_change(client=found, scope=scope, now=now, **asked)
        except ClientError as refusal:
            form.refuse(refusal)
        else:
            messages.success(request, "Kept, and on record with what it was before.")
            return HttpResponseRedirect(f"/clients/{found.pk}/")
    title = f"Change {found.name}" if found else "Take on a client"
    context = {
        "crumbs": format_html('<a href="/clients/">Clients</a> › {}', "Change" if found else "New"),
        "sentence": "What is set here holds from now on: open tickets keep the times they were opened with."
        if found
        else "A name and a time zone are enough to begin. Hours, SLA, windows and contacts follow on its own pages.",
        "form": form,
        "timezones": timezones(),
        "action": f"Keep the changes of {found.name}" if found else "Take on this client",
        "back": f"/clients/{found.pk}/" if found else "/clients/",
    }
    return render_page(request, "client_form", context, section="clients", title=title, live=False)
