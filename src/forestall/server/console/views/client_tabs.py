"""The tabs of a client: sites, contacts, hours and holidays, SLA, windows, alerts and routing, people, history.

Each tab shows what holds and carries its own small forms. What is refused comes back beside the field that is wrong,
with everything that was typed still there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.db.models import Count, Q
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.alerts import queries as alerts
from forestall.server.alerts import routes
from forestall.server.alerts.models import NotificationRoute
from forestall.server.calendar import queries as calendar
from forestall.server.calendar.models import MaintenanceWindow
from forestall.server.calendar.queries import Upcoming
from forestall.server.calendar.recurrence import day_words
from forestall.server.calendar.rules import DEFAULT_WEEK, Week, WorkingTime
from forestall.server.calendar.services import closed_day_add, closed_day_remove, working_week_set
from forestall.server.checks.result import Risk
from forestall.server.clients import queries, services
from forestall.server.clients.rules import country_names, timezones
from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Happening, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.console.views.client_forms import (
    PRESETS,
    ClosedDayForm,
    ContactForm,
    HoursForm,
    PlainForm,
    RouteForm,
    RuleForm,
    SiteForm,
    TargetsForm,
    TierForm,
    kind_choices,
)
from forestall.server.console.views.clients import client_page
from forestall.server.console.views.windows import agenda_table, counts, windows_table
from forestall.server.evidence.models import Entry
from forestall.server.inventory.models import DeviceStatus
from forestall.server.people import queries as people
from forestall.server.people.models import Client, Person, Site
from forestall.server.people.queries import scope_of
from forestall.server.people.scope import Permission, Scope
from forestall.server.tickets import routing, sla
from forestall.server.tickets.models import RoutingRule
from forestall.server.tickets.rules import Priority, span
from forestall.server.tickets.sla_models import SlaTier

PREVIEW_DAYS = 7
HISTORY_A_PAGE = 100
AGENDA_DAYS = 30
METHODS = ("GET", "HEAD", "POST")

Answer = HttpResponseRedirect | None
"""Where to go on after an act; None: it was refused, and the page is shown again with what was typed."""


@page(permission=Permission.CLIENT_VIEW, change=Permission.CLIENT_CHANGE, methods=METHODS)
def tab(request: PageRequest, client_id: UUID, tab: str) -> HttpResponse:
    """A tab of one client."""
    shown = _TABS.get(tab)
    if shown is None:
        raise Http404
    return shown(request, queries.served(scope=request.scope).get(pk=client_id))


def tried(form: PlainForm, act: Callable[[], object], done: Callable[[], Answer]) -> Answer:
    """Do it; a refusal goes beside its field."""
    try:
        act()
    except ValueError as refusal:
        form.refuse(refusal)
        return None
    return done()


def _said(request: PageRequest, text: str, where: str = "") -> HttpResponseRedirect:
    messages.success(request, text)
    return HttpResponseRedirect(where or request.path)


def _number(typed: str | None) -> int:
    """The number in a hidden field; 404 for what no page of ours sends."""
    if not typed or not typed.isdecimal() or len(typed) > 18:
        raise Http404
    return int(typed)


# --- sites ----------------------------------------------------------------------------------------------------


def _sites(request: PageRequest, client: Client) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    known = Count("devices", filter=~Q(devices__status=DeviceStatus.REVOKED))
    sites = list(queries.sites_served(scope=scope).filter(client=client).annotate(number=known).order_by("name"))
    asked = request.GET.get("site", "")
    chosen = next((site for site in sites if str(site.pk) == asked), None)
    if asked and chosen is None:
        raise Http404
    form = SiteForm(request.POST if request.method == "POST" else None, site=chosen)
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data

        def keep() -> Site:
            if chosen is None:
                return services.site_add(client=client, scope=scope, now=now, **values)
            return services.site_change(site=chosen, scope=scope, now=now, **values)

        answer = tried(form, keep, lambda: _said(request, f"{values['name']} is kept."))
        if answer:
            return answer
    names = country_names()
    table = Table(
        caption="Sites",
        columns=[
            Column("Site", "lead"), Column("Devices", "second num"), Column("Time zone"), Column("Holidays"),
            Column("Address", "wide"),
        ],
        rows=[
            Row(
                key=f"site-{site.pk}",
                cells=[
                    parts.link(f"?site={site.pk}", site.name),
                    str(site.number),
                    parts.text(site.zone, "" if site.timezone else "the client's"),
                    " ".join(filter(None, [names.get(site.country, site.country), site.region]))
                    or parts.none("those of the client", "the client's"),
                    site.address or parts.none("no address is kept"),
                ],
            )
            for site in sites
        ],
        empty=Empty("No site yet", "A place with its devices, time zone and holidays. Devices enrol at a site."),
    )  # fmt: skip
    context = {"sentence": _sites_in_words(client, sites), "table": table, "form": form, "chosen": chosen}
    return client_page(request, client, "sites", context, template="client_sites")


def _sites_in_words(client: Client, sites: list[Any]) -> str:
    if not sites:
        return f"{client.name} has no site yet that you may see."
    elsewhere = [site.name for site in sites if site.timezone or site.country]
    more = f"; {words.listing(elsewhere)} {words.does(len(elsewhere), 'have')} a place of its own" if elsewhere else ""
    return f"{words.plural(len(sites), 'site')} with {words.plural(sum(s.number for s in sites), 'device')}{more}."


# --- contacts -------------------------------------------------------------------------------------------------


def _contacts(request: PageRequest, client: Client) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    contacts = list(queries.contacts_served(scope=scope).filter(client=client).order_by("-is_primary", "name"))
    asked = request.GET.get("contact", "")
    chosen = next((one for one in contacts if str(one.pk) == asked), None)
    if asked and chosen is None:
        raise Http404
    sites = list(queries.sites_served(scope=scope).filter(client=client).order_by("name"))
    posted = request.method == "POST"
    form = ContactForm(
        request.POST if posted and "remove" not in request.POST else None,
        sites=sites,
        persons=_persons(scope),
        contact=chosen,
    )
    if posted and "remove" in request.POST and chosen is not None:
        blank = PlainForm({})
        answer = tried(
            blank,
            lambda: services.contact_remove(contact=chosen, scope=scope, now=now),
            lambda: _said(request, f"{chosen.name} is no contact any more."),
        )
        if answer:
            return answer
        messages.error(request, " ".join(str(error) for error in blank.non_field_errors()))
    elif posted and form.is_valid():
        values = dict(form.cleaned_data)
        site = next((one for one in sites if str(one.pk) == values["site"]), None)
        person = people.persons(scope=scope).get(pk=values["person"]) if values["person"] else None
        values |= {"site": site, "person": person}

        def keep() -> object:
            if chosen is None:
                return services.contact_add(client=client, scope=scope, now=now, **values)
            return services.contact_change(contact=chosen, scope=scope, now=now, **values)

        answer = tried(form, keep, lambda: _said(request, f"{values['name']} is kept."))
        if answer:
            return answer
    table = Table(
        caption="Contacts",
        columns=[
            Column("Contact", "lead"), Column("Phone", "second"), Column("Mail"), Column("Site"), Column("Signs in as"),
        ],
        rows=[
            Row(
                key=f"contact-{one.pk}",
                cells=[
                    parts.text(
                        parts.link(f"?contact={one.pk}", one.name),
                        parts.joined([parts.tag("call first", "accent") if one.is_primary else "", one.duty]),
                    ),
                    one.phone or parts.none("no number is kept"),
                    one.email or parts.none("no address is kept"),
                    one.site.name if one.site else "the whole client",
                    one.person.username if one.person else parts.none("does not sign in here", "nobody"),
                ],
            )
            for one in contacts
        ],
        empty=Empty("Nobody is named", "Whom to call at night, who approves work, who has the key."),
    )  # fmt: skip
    primary = next((one for one in contacts if one.is_primary), None)
    sentence = (
        f"Call {primary.name} first{f', {primary.phone}' if primary.phone else ''}."
        if primary
        else f"Nobody is named to call at {client.name}."
    )
    context = {"sentence": sentence, "table": table, "form": form, "chosen": chosen}
    return client_page(request, client, "contacts", context, template="client_contacts")


def _persons(scope: Scope) -> list[tuple[int, str]]:
    """Whom the asker may see, by name."""
    found = people.persons(scope=scope).filter(is_active=True).order_by("username")
    return [(person.pk, f"{person.shown_name} ({person.username})") for person in found[:500]]


# --- hours and holidays ---------------------------------------------------------------------------------------


def _hours(request: PageRequest, client: Client) -> HttpResponse:
    scope, now, act = request.scope, timezone.now(), request.POST.get("act", "")
    row = calendar.working_week(scope=scope, client=client)
    week = Week.parse(row.hours) if row else DEFAULT_WEEK
    time = calendar.working_time(scope=scope, client=client)
    form, closing = HoursForm(week=week), ClosedDayForm()
    preview, is_preview = time, False
    if act.startswith("preset-") and act.removeprefix("preset-") in PRESETS:
        form = HoursForm(preset=act.removeprefix("preset-"))
        is_preview = form.is_valid()
    elif act in {"keep", "preview"}:
        form = HoursForm(request.POST)
        is_preview = form.is_valid()
    elif act == "close":
        closing = ClosedDayForm(request.POST)
        if closing.is_valid():
            day, why = closing.cleaned_data["day"], closing.cleaned_data["why"]
            answer = tried(
                closing,
                lambda: closed_day_add(client=client, day=day, why=why, scope=scope, now=now),
                lambda: _said(request, f"{client.name} is closed on {day_words(day)}."),
            )
            if answer:
                return answer
    elif act == "open":
        return _open_again(request, client, now)
    if is_preview:
        asked = form.week()
        if asked is not None:
            preview = WorkingTime(
                timezone=time.timezone, week=asked, holidays=time.holidays, closed=time.closed, note=time.note
            )
            if act == "keep":
                answer = tried(
                    form,
                    lambda: working_week_set(client=client, hours=asked.plain(), scope=scope, now=now),
                    lambda: _said(request, "The working hours are kept; clocks count by them from now on."),
                )
                if answer:
                    return answer
        else:
            is_preview = False
    today = now.astimezone(ZoneInfo(client.timezone)).date()
    context = {
        "sentence": _hours_in_words(client, time, today, is_usual=row is None),
        "form": form,
        "presets": [(slug, title) for slug, (title, _hours_of) in PRESETS.items()],
        "days": [
            (today + timedelta(days=number), preview.day_in_words(today + timedelta(days=number)))
            for number in range(PREVIEW_DAYS)
        ],
        "is_preview": is_preview,
        "closing": closing,
        "closed": _closed_table(scope, client, today, may=scope.may(Permission.CLIENT_CHANGE, on=client)),
        "holidays": [(year, _holidays_table(client, time, year, today)) for year in (today.year, today.year + 1)],
        "opened": _opened(request),
        "elsewhere": queries.sites_served(scope=scope).filter(client=client).exclude(country="", timezone=""),
    }
    return client_page(request, client, "hours", context, template="client_hours")


def _open_again(request: PageRequest, client: Client, now: datetime) -> HttpResponse:
    try:
        day = date.fromisoformat(request.POST.get("day", ""))
    except ValueError:
        raise Http404 from None
    closed = calendar.closed_days(scope=request.scope).get(client=client, day=day)
    why = closed.why
    closed_day_remove(closed=closed, scope=request.scope, now=now)
    return HttpResponseRedirect(f"{request.path}?{urlencode({'opened': day.isoformat(), 'why': why})}")


def _opened(request: PageRequest) -> dict[str, str] | None:
    """The closed day that was just taken away, to be put back with one press."""
    try:
        day = date.fromisoformat(request.GET.get("opened", ""))
    except ValueError:
        return None
    return {"day": day.isoformat(), "words": day_words(day), "why": request.GET.get("why", "")[:100]}


def _hours_in_words(client: Client, time: WorkingTime, today: date, *, is_usual: bool) -> str:
    usual = "; nobody has set other hours" if is_usual else ""
    holidays = "public holidays count as working days" if not client.country else "public holidays do not count"
    note = f" {time.note}" if time.note else ""
    return f"Today {time.day_in_words(today)}, in {client.timezone}; {holidays}{usual}.{note}"


def _closed_table(scope: Scope, client: Client, today: date, *, may: bool) -> Table:
    found = calendar.closed_days(scope=scope).filter(client=client, day__gte=today - timedelta(days=31))
    return Table(
        caption="Closed days",
        columns=[Column("Day", "lead"), Column("Why", "second"), Column("")],
        rows=[
            Row(
                key=f"closed-{one.day}",
                cells=[
                    day_words(one.day),
                    one.why,
                    format_html(
                        '<button class="small" name="day" value="{}" aria-label="Open again on {}">Open again</button>',
                        one.day.isoformat(), one.day.isoformat(),
                    ) if may else "",
                ],
            )
            for one in found
        ],
        empty=Empty("No closed day", "A company holiday, a move, stocktaking: clocks stand still for that day."),
        keep=True,
    )  # fmt: skip


def _holidays_table(client: Client, time: WorkingTime, year: int, today: date) -> Table:
    return Table(
        caption=f"Public holidays {year}",
        columns=[Column("Day", "lead"), Column("Holiday", "second")],
        rows=[
            Row(key=f"holiday-{day}", cells=[
                day_words(day) if day >= today else parts.none("it is over", day_words(day)), name
            ])
            for day, name in calendar.holidays_of(time, year)
        ],
        empty=Empty(
            "No public holidays",
            "They come with a country. Without one, every holiday counts as a working day.",
            href=f"/clients/{client.pk}/change",
            action="Set a country",
        ),
        keep=True,
    )  # fmt: skip


# --- SLA ------------------------------------------------------------------------------------------------------


def _sla(request: PageRequest, client: Client) -> HttpResponse:
    scope, now, act = request.scope, timezone.now(), request.POST.get("act", "")
    own, tiers = sla.own_targets(scope=scope, client=client), list(sla.tiers())
    form = TargetsForm(request.POST if act == "own" else None, targets=own, optional=True)
    if act == "tier":
        blank = PlainForm({})
        answer = tried(
            blank,
            lambda: services.client_change(client=client, sla_tier=request.POST.get("tier", ""), scope=scope, now=now),
            lambda: _said(request, "The tier is kept: tickets opened from now on have its times."),
        )
        if answer:
            return answer
        messages.error(request, " ".join(str(error) for error in blank.non_field_errors()))
    elif act == "own" and form.is_valid():
        asked = form.targets()
        if asked is not None:
            answer = tried(
                form,
                lambda: sla.sla_policies_set(client=client, targets=asked, scope=scope, now=now),
                lambda: _said(request, "Kept: tickets opened from now on have these times."),
            )
            if answer:
                return answer
    tier = next((one for one in tiers if one.slug == client.sla_tier), None)
    of_tier = sla.tier_targets(tier)
    table = targets_table({**of_tier, **own}, own=own)
    context = {
        "sentence": format_html(
            "<b>{}</b>: urgent work is answered within {} and solved within {} of working time.",
            tier.name if tier else client.sla_tier,
            *(span(minutes * 60) for minutes in {**of_tier, **own}[Priority.URGENT]),
        ),
        "table": table,
        "tiers": tiers,
        "form": form,
        "may_tiers": scope.everywhere(Permission.CLIENT_CHANGE),
    }
    return client_page(request, client, "sla", context, template="client_sla")


def targets_table(
    targets: dict[Priority, tuple[int, int]], *, own: Iterable[Priority] = (), of_tier: bool = False
) -> Table:
    columns = [Column("Priority", "lead"), Column("Answered within", "second"), Column("Solved within")]
    if not of_tier:
        columns.append(Column("By"))
    agreed = set(own)
    return Table(
        caption="Times, in working hours",
        columns=columns,
        rows=[
            Row(
                key=f"target-{priority}",
                cells=[
                    priority.capitalize(),
                    *(span(minutes * 60) for minutes in targets[priority]),
                    *([] if of_tier else ["own agreement" if priority in agreed else "its tier"]),
                ],
            )
            for priority in Priority
        ],
        empty=Empty("No times", ""),
        keep=True,
    )


@page(permission=Permission.CLIENT_VIEW, change=Permission.CLIENT_CHANGE, methods=METHODS)
def tiers(request: PageRequest) -> HttpResponse:
    """What the provider offers: every tier with its times, and the form that makes or changes one."""
    scope, now, act = request.scope, timezone.now(), request.POST.get("act", "")
    every = list(sla.tiers())
    asked = request.GET.get("tier", "")
    chosen = next((one for one in every if one.slug == asked), None)
    if asked and chosen is None:
        raise Http404
    data = request.POST if act == "keep" else None
    form = TierForm(data, tier=chosen)
    times = TargetsForm(data, targets=sla.tier_targets(chosen), optional=False)
    if act == "remove" and chosen is not None:
        blank = PlainForm({})
        answer = tried(
            blank,
            lambda: sla.tier_remove(tier=chosen, scope=scope),
            lambda: _said(request, f"The tier {chosen.name} is gone."),
        )
        if answer:
            return answer
        messages.error(request, " ".join(str(error) for error in blank.non_field_errors()))
    elif act == "keep" and all([form.is_valid(), times.is_valid()]):
        targets = times.targets()
        if targets is not None:

            def keep() -> SlaTier:
                if chosen is None:
                    return sla.tier_create(targets=targets, scope=scope, now=now, **form.cleaned_data)
                return sla.tier_change(tier=chosen, targets=targets, scope=scope, now=now, **form.cleaned_data)

            answer = tried(form, keep, lambda: _said(request, "The tier is kept."))
            if answer:
                return answer
    users: dict[str, list[str]] = {}
    for slug, name in queries.served(scope=scope).values_list("sla_tier", "name").order_by("name"):
        users.setdefault(slug, []).append(name)
    may = scope.everywhere(Permission.CLIENT_CHANGE)
    table = Table(
        caption="SLA tiers",
        columns=[
            Column("Tier", "lead"),
            Column("Urgent", "second"),
            Column("Standard"),
            Column("Low"),
            Column("Clients", "wide"),
        ],
        rows=[
            Row(
                key=f"tier-{tier.slug}",
                cells=[
                    parts.link(f"?tier={tier.slug}", tier.name, tier.description)
                    if may
                    else parts.text(tier.name, tier.description),
                    *(_times_words(sla.tier_targets(tier)[priority]) for priority in Priority),
                    words.listing(users.get(tier.slug, []), most=4) or parts.none("no client has it", "none"),
                ],
            )
            for tier in every
        ],
        empty=Empty("No tier", "A tier names the times that many clients have, once."),
    )
    context = {
        "crumbs": SafeString('<a href="/clients/">Clients</a> › SLA tiers'),
        "sentence": "Times are working time, first until an answer, then until it is solved. "
        "A change holds for tickets opened from then on, and is on record at every client that has the tier.",
        "table": table,
        "form": form,
        "times": times,
        "chosen": chosen,
        "may": may,
    }
    return render_page(request, "sla_tiers", context, section="clients", title="SLA tiers", live=False)


def _times_words(times: tuple[int, int]) -> str:
    return f"{span(times[0] * 60)}, {span(times[1] * 60)}"


# --- windows --------------------------------------------------------------------------------------------------


def _windows(request: PageRequest, client: Client) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    found = [
        one
        for one in calendar.windows(scope=scope).filter(site__client=client).order_by("name")
        if one.ended_at is None or one.ended_at > now
    ]
    times = calendar.upcoming(windows=found, since=now, until=now + timedelta(days=AGENDA_DAYS))
    context: dict[str, Any] = {
        "sentence": _windows_in_words(found, times),
        "agenda": agenda_table(times[:100], now, scope, with_client=False),
        "table": windows_table(found, now, scope, with_client=False),
    }
    if scope.may(Permission.WINDOW_CHANGE):
        context["actions"] = format_html(
            '<a class="button primary" href="/windows/new?client={}">Plan a window</a>', client.pk
        )
    return client_page(request, client, "windows", context, template="client_windows")


def _windows_in_words(found: Sequence[MaintenanceWindow], times: Sequence[Upcoming]) -> str:
    """A proposal counts for nothing before the client's answer, and is no time at which a window is open."""
    proposed = sum(not counts(one.window) for one in times)
    open_, also = words.plural(len(times) - proposed, "time"), words.plural(proposed, "time")
    said = f"{words.plural(len(found), 'window')}, open {open_} in the next {AGENDA_DAYS} days"
    return f"{said}; {also} only proposed." if proposed else f"{said}."


# --- alerts and routing ---------------------------------------------------------------------------------------


def _routing(request: PageRequest, client: Client) -> HttpResponse:
    return _routing_page(request, client)


@page(permission=Permission.CLIENT_VIEW, change=Permission.CLIENT_CHANGE, methods=METHODS)
def routing_everywhere(request: PageRequest) -> HttpResponse:
    """Routes and rules that hold for every client: for those who see every client."""
    request.scope.require_everywhere(Permission.CLIENT_VIEW)
    return _routing_page(request, None)


def _routing_page(request: PageRequest, client: Client | None) -> HttpResponse:
    scope, now, act = request.scope, timezone.now(), request.POST.get("act", "")
    sites = list(queries.sites_served(scope=scope).filter(client=client).order_by("name")) if client else []
    workers = _workers(scope, client)
    route_form = RouteForm(request.POST if act == "route" else None)
    rule_form = RuleForm(
        request.POST if act == "rule" else None, sites=sites, persons=workers, everywhere=client is None
    )
    answer: Answer = None
    if act == "route" and route_form.is_valid():
        asked = route_form.cleaned_data
        answer = tried(
            route_form,
            lambda: routes.route_create(
                name=asked["name"], url=asked["address"], minimum_risk=Risk(asked["minimum_risk"]), client=client,
                scope=scope, now=now,
            ),
            lambda: _said(request, f"{asked['name']} is kept. Send a test to see that it arrives."),
        )  # fmt: skip
    elif act == "rule" and rule_form.is_valid():
        values = rule_form.cleaned_data
        answer = tried(
            rule_form,
            lambda: routing.routing_rule_add(
                owner=Person.objects.get(pk=values["owner"]),
                client=client,
                site=next((one for one in sites if str(one.pk) == values.get("site")), None),
                kind=values["kind"],
                minimum_risk=Risk(values["minimum_risk"]) if values["minimum_risk"] else None,
                order=values["order"],
                scope=scope,
                now=now,
            ),
            lambda: _said(request, "The rule is kept: it holds for tickets opened from now on."),
        )
    elif act in {"test", "on", "off", "forget"}:
        answer = _act_on_route(request, act, now)
    elif act == "drop":
        rule = routing.routing_rules(scope=scope).get(pk=_number(request.POST.get("rule")))
        routing.routing_rule_remove(rule=rule, scope=scope, now=now)
        answer = _said(request, "The rule is gone. Tickets keep the owner they have.")
    if answer:
        return answer
    found_routes = [one for one in alerts.routes(scope=scope) if one.client_id in {None, client and client.pk}]
    rules = [one for one in routing.routing_rules(scope=scope) if one.client_id in {None, client and client.pk}]
    context: dict[str, Any] = {
        "sentence": _routing_in_words(found_routes, rules, client),
        "routes": [(one, _route_mine(one, client)) for one in found_routes],
        "route_form": route_form,
        "rules": [(one, routing.rule_words(one), one.client_id == (client and client.pk)) for one in rules],
        "rule_form": rule_form,
        "workers": workers,
        "sites": sites,
        "kinds": kind_choices("choose a kind")[1:],
        "risks": [risk.value for risk in Risk],
        "asked": request.GET,
        "answer": _who_gets(request, sites),
    }
    if client is not None:
        return client_page(request, client, "routing", context, template="client_routing")
    context |= {
        "crumbs": SafeString('<a href="/clients/">Clients</a> › Routing for all'),
        "timezones": timezones(),
        "may_change": scope.everywhere(Permission.CLIENT_CHANGE),
    }
    return render_page(request, "client_routing", context, section="clients", title="Routing for all", live=False)


def _route_mine(route: NotificationRoute, client: Client | None) -> bool:
    """Whether it is changed on this page: a route for every client is changed on the page for all."""
    return route.client_id == (client.pk if client else None)


def _act_on_route(request: PageRequest, act: str, now: datetime) -> Answer:
    scope = request.scope
    route = alerts.routes(scope=scope).get(pk=_number(request.POST.get("route")))
    if act == "test":
        tried_ = routes.route_test(route=route, scope=scope, now=now)
        (messages.success if tried_.delivered else messages.error)(request, f"{route.name}: {tried_.words}.")
        return HttpResponseRedirect(request.path)
    if act == "forget":
        routes.route_remove(route=route, scope=scope, now=now)
        return _said(request, f"{route.name} is gone, and its address with it.")
    routes.route_enable(route=route, enabled=act == "on", scope=scope, now=now)
    return _said(request, f"{route.name} is switched {act}.")


def _workers(scope: Scope, client: Client | None) -> list[tuple[int, str]]:
    """Who may work tickets there, of those whom the asker may see."""
    found = []
    for person in people.persons(scope=scope).filter(is_active=True).order_by("username")[:200]:
        theirs = scope_of(person)
        place = theirs.place(Permission.TICKET_WORK)
        if place.everywhere or (client is not None and place.touches(client.pk)):
            found.append((person.pk, f"{person.shown_name} ({person.username})"))
    return found


def _routing_in_words(found: list[NotificationRoute], rules: list[RoutingRule], client: Client | None) -> str:
    on = [one for one in found if one.enabled]
    told = words.listing([one.name for one in on]) if on else ""
    first = f"{told} {words.does(len(on), 'are')} told" if on else "Nobody is told of an alert"
    more = f"{words.plural(len(rules), 'rule')} {words.does(len(rules), 'say')} who gets a ticket"
    return f"{first}; {more if rules else 'no rule says who gets a ticket: the first owner of the place does'}."


def _who_gets(request: PageRequest, sites: list[Site]) -> routing.Answer | None:
    site = next((one for one in sites if str(one.pk) == request.GET.get("at", "")), None)
    kind, risk = request.GET.get("kind", ""), request.GET.get("risk", "")
    if site is None or risk not in set(Risk) or kind not in dict(kind_choices("")):
        return None
    return routing.who_gets(client=site.client, site=site, kind=kind, risk=Risk(risk))


# --- people and history ---------------------------------------------------------------------------------------


def _people(request: PageRequest, client: Client) -> HttpResponse:
    if not queries.people_at(scope=request.scope, client=client):
        raise Http404
    scope, now = request.scope, timezone.now()
    found = people.grants(scope=scope, now=now).filter(client=client).select_related("person", "site", "custom")
    table = Table(
        caption="People with a role at this client",
        columns=[Column("Person", "lead"), Column("Role", "second"), Column("Where"), Column("Until")],
        rows=[
            Row(
                key=f"grant-{grant.pk}",
                cells=[
                    parts.link(f"/people/{grant.person_id}/", grant.person.shown_name, grant.person.username),
                    grant.role_name,
                    grant.site.name if grant.site else "the whole client",
                    parts.moment(grant.until, now, never="without end"),
                ],
            )
            for grant in found.order_by("person__username", "pk")
        ],
        empty=Empty(
            "Nobody has a role at this client alone",
            "Who has a role everywhere works here too, and is listed with all people.",
            href="/people/",
            action="All people",
        ),
    )
    context = {
        "sentence": "Who has a role at this client, or at one of its sites. Roles are given under People.",
        "table": table,
    }
    return client_page(request, client, "people", context, template="client_people")


def _history(request: PageRequest, client: Client) -> HttpResponse:
    found = queries.history(scope=request.scope, client=client)
    pages, stretch = parts.pages_of(request.GET, found.count(), HISTORY_A_PAGE)
    context = {
        "sentence": "Every change of how this client is served: what it was, what it became, and by whom. "
        "None of it can be altered later.",
        "happenings": [_happening(entry) for entry in found[stretch]],
        "pages": pages,
        "empty": Empty(
            "Nothing on record that you may see",
            "Changes of a whole client are shown to those who see the client as a whole.",
        ),
    }
    return client_page(request, client, "history", context, template="client_history")


HIDDEN = frozenset({"id", "device_id"})
"""Numbers in a record that tell a person nothing."""
GRANT_ACTS = {"made": "given to", "changed": "changed of", "removed": "taken from"}


def _happening(entry: Entry) -> Happening:
    payload = entry.payload or {}
    what, name, act = (str(payload.get(key, "")) for key in ("what", "name", "act"))
    before, after = payload.get("before") or {}, payload.get("after") or {}
    lines = [
        f"{field.replace('_', ' ')}: {_shown(before[field])} → {_shown(after.get(field))}"
        if field in before and act == "changed"
        else f"{field.replace('_', ' ')}: {_shown(value)}"
        for field, value in (after or before).items()
        if field not in HIDDEN and (act == "changed" or value not in ("", None, [], {}, False))
    ]  # fmt: skip
    title = " ".join(filter(None, [what.capitalize(), f"“{name}”" if name else "", act])) or str(entry.kind)
    if what == "role" and entry.kind == "grant:changed":
        title = f"Role {GRANT_ACTS.get(act, act)} {name}"
    return Happening(
        at=entry.at,
        what=title,
        who=str(payload.get("by", "")),
        note=format_html("{} · {}", entry.reference, entry.kind),
        quote="\n".join(lines)[:2000],
        href=f"/evidence/?{urlencode({'ref': entry.reference})}",
    )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value in ("", None, [], {}):
        return "nothing"
    if isinstance(value, list):
        return ", ".join(" to ".join(map(str, one)) if isinstance(one, list) else str(one) for one in value)
    return str(value)


_TABS: dict[str, Callable[[PageRequest, Client], HttpResponse]] = {
    "sites": _sites,
    "contacts": _contacts,
    "hours": _hours,
    "sla": _sla,
    "windows": _windows,
    "routing": _routing,
    "people": _people,
    "history": _history,
}
