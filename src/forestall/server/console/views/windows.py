"""Maintenance windows: when they are open next, what they are, and the form that plans or changes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.db.models import Q
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.calendar import queries, services
from forestall.server.calendar.models import MaintenanceWindow, WindowNotice
from forestall.server.calendar.queries import Upcoming, window_rule, window_rules
from forestall.server.calendar.recurrence import blackout_notes, clock_change_notes, overlaps, recurrence_words
from forestall.server.calendar.rules import CalendarError
from forestall.server.calendar.windows import Window, next_window, window_counts
from forestall.server.clients import queries as clients
from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Fact, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.console.views.client_forms import (
    RefusalError,
    WindowForm,
    minutes_of,
    next_sunday,
    recurrence_initial,
)
from forestall.server.inventory import queries as inventory
from forestall.server.people.models import Site
from forestall.server.people.scope import Permission, Scope
from forestall.server.tickets.rules import span

AHEAD_DAYS = 14
MOST_AHEAD_DAYS = 90
SPANS = [("", "14 days"), ("30", "30 days"), ("90", "90 days")]
MOST_SHOWN = 200
UPCOMING_SHOWN = 8
METHODS = ("GET", "HEAD", "POST")
_READ = Scope.system("console")
"""For what belongs to a window that the reader was allowed to load."""


@page(permission=Permission.DEVICE_VIEW)
def windows(request: PageRequest) -> HttpResponse:
    """The agenda of all clients, and the windows behind it."""
    scope, now = request.scope, timezone.now()
    found = queries.windows(scope=scope).filter(Q(ended_at=None) | Q(ended_at__gt=now))
    client = request.GET.get("client", "")
    if client:
        found = found.filter(site__client=_uuid(client))
    listed = list(found.order_by("site__client__name", "site__name", "name"))
    asked = request.GET.get("days", "")
    ahead = min(max(int(asked), 1), MOST_AHEAD_DAYS) if asked.isdecimal() and len(asked) < 4 else AHEAD_DAYS
    rules = window_rules(listed)
    times = queries.upcoming(windows=listed, since=now, until=now + timedelta(days=ahead), rules=rules)
    choices = [("", "All clients"), *((str(pk), name) for pk, name in _clients(scope))]
    context: dict[str, Any] = {
        "sentence": _agenda_in_words(times, now, ahead),
        "filters": parts.Filters(
            [
                parts.choice("client", "Client", choices, client),
                parts.choice("days", "How far ahead", SPANS, "" if ahead == AHEAD_DAYS else str(ahead)),
            ]
        ),
        "agenda": agenda_table(times[:MOST_SHOWN], now, scope),
        "more": max(len(times) - MOST_SHOWN, 0),
        "table": windows_table(listed, now, scope, rules=rules),
        "ahead": ahead,
    }
    if scope.may(Permission.WINDOW_CHANGE):
        context["actions"] = format_html(
            '<a class="button primary" href="/windows/new{}">Plan a window</a>', f"?client={client}" if client else ""
        )
    return render_page(request, "windows", context, section="windows", title="Maintenance windows", data_at=now)


def _clients(scope: Scope) -> list[tuple[UUID, str]]:
    return list(clients.served(scope=scope).order_by("name").values_list("pk", "name"))


def _uuid(typed: str) -> UUID:
    try:
        return UUID(typed)
    except ValueError:
        raise Http404 from None


def _agenda_in_words(times: Sequence[Upcoming], now: datetime, ahead: int) -> parts.Html:
    if not times:
        return f"No window opens in the next {ahead} days: alerts come at any time."
    counting = [one for one in times if counts(one.window)]
    waiting = {one.window.pk for one in times if one.window.needs_approval and not one.window.answer}
    open_now = [one for one in counting if one.occurrence.start <= now]
    upcoming = next((one for one in counting if one.occurrence.start > now), None)
    said: list[parts.Html] = []
    if open_now:
        names = words.listing([f"{one.window.name} at {one.window.site.client.name}" for one in open_now])
        said.append(format_html("<b>{} {} open now</b>", names, words.does(len(open_now), "are")))
    if upcoming is not None:
        window = upcoming.window
        said.append(
            format_html(
                "{} next is <b>{}</b> at {}, {} there",
                "the" if open_now else "The",
                window.name,
                window.site.client.name,
                words.clock_time(upcoming.occurrence.start, now, window.site.zone),
            )
        )
    if waiting:
        said.append(
            f"{words.plural(len(waiting), 'window')} {words.does(len(waiting), 'wait')} for the client's answer"
        )
    return format_html("{}.", parts.joined(said, separator="; "))


def agenda_table(
    times: Sequence[Upcoming], now: datetime, scope: Scope, *, with_client: bool = True, by_day: bool = True
) -> Table:
    """Each time a window is open, under its day: on the site's clock and in UTC."""
    names = _device_names(scope, [one.window for one in times])
    return Table(
        caption="When windows are open",
        columns=[
            Column("Time at the site", "lead"),
            Column("Window", "second"),
            Column("Where"),
            Column("UTC"),
            Column("Client's answer"),
        ],
        rows=[
            Row(
                key=f"time-{one.window.pk}-{one.occurrence.start:%Y%m%d%H%M}",
                group=_day(one) if by_day else "",
                cells=[
                    _local_span(one, now, with_day=not by_day),
                    parts.link(
                        f"/windows/{one.window.pk}/",
                        one.window.name,
                        one.window.site.client.name if with_client else one.window.purpose,
                    ),
                    where_words(one.window, names, with_client=False),
                    f"{one.occurrence.start:%a %H:%M} to {one.occurrence.end:%H:%M}",
                    answer_words(one.window),
                ],
            )
            for one in times
        ],
        empty=Empty(
            "No window opens",
            "In a maintenance window work is expected: alerts wait until it ends, and what needs one may run.",
            href="/windows/new",
            action="Plan a window",
        )
        if scope.may(Permission.WINDOW_CHANGE)
        else Empty("No window opens", "In a maintenance window work is expected: alerts wait until it ends."),
    )


def answer_words(window: MaintenanceWindow) -> parts.Html:
    """What the client said to a window."""
    if not window.needs_approval:
        return parts.none("it counts without the client's answer", "not asked")
    if window.answer == "approved":
        return parts.status("pass", f"approved by {window.answered_by}")
    if window.answer == "declined":
        return parts.text(parts.status("fail", f"declined by {window.answered_by}"), window.answer_reason)
    return parts.status("unknown", "no answer yet")


def counts(window: MaintenanceWindow) -> bool:
    return window_counts(needs_approval=window.needs_approval, answer=window.answer)


def _day(one: Upcoming) -> str:
    return words.day(one.occurrence.start, one.window.site.zone)


def _local_span(one: Upcoming, now: datetime, *, with_day: bool) -> parts.Html:
    zone = ZoneInfo(one.window.site.zone)
    start, end = one.occurrence.start.astimezone(zone), one.occurrence.end.astimezone(zone)
    until = f"{end:%H:%M}" if end.date() == start.date() else f"{end:%a %H:%M}"
    tag: parts.Html = parts.tag("open now", "accent") if one.occurrence.start <= now else ""
    if one.occurrence.cut:
        tag = format_html("{} {}", tag, parts.tag(f"cut: {one.occurrence.cut}", "warn"))
    if not counts(one.window):
        tag = parts.tag("declined" if one.window.answer else "proposed", "warn")
    return parts.text(
        format_html("{}{} to {} {}", f"{start:%a %-d %b}, " if with_day else "", f"{start:%H:%M}", until, tag),
        one.window.site.zone,
    )


def _device_names(scope: Scope, windows: Sequence[MaintenanceWindow]) -> dict[UUID, str]:
    wanted = {one.device_id for one in windows if one.device_id}
    if not wanted:
        return {}
    return dict(inventory.devices(scope=scope).filter(pk__in=wanted).values_list("pk", "name"))


def where_words(window: MaintenanceWindow, names: dict[UUID, str], *, with_client: bool = True) -> parts.Html:
    site = f"{window.site.client.name} · {window.site.name}" if with_client else window.site.name
    if window.device_id is None:
        return parts.text(site, "every device")
    return parts.text(site, names.get(window.device_id, "one device"))


def windows_table(
    found: Sequence[MaintenanceWindow],
    now: datetime,
    scope: Scope,
    *,
    with_client: bool = True,
    rules: Mapping[int, Window] | None = None,
) -> Table:
    names, rules = _device_names(scope, found), window_rules(found) if rules is None else rules
    return Table(
        caption="Windows",
        columns=[
            Column("Window", "lead"),
            Column("When", "second"),
            Column("Where"),
            Column("Next"),
            Column("Planned by"),
        ],
        rows=[
            Row(
                key=f"window-{one.pk}",
                cells=[
                    parts.link(f"/windows/{one.pk}/", one.name, one.purpose),
                    when_words(one),
                    where_words(one, names, with_client=with_client),
                    _next(one, rules[one.pk], now),
                    one.created_by,
                ],
            )
            for one in found
        ],
        empty=Empty("No window is planned", "Weekly on Sunday night, on the second Tuesday of a month, or once."),
    )


def when_words(window: MaintenanceWindow) -> parts.Html:
    """``Every Sunday from 22:00`` with the length under it."""
    rule = recurrence_words(window.rrule, window.starts_on)
    return parts.text(f"{rule[:1].upper()}{rule[1:]} from {window.starts_at:%H:%M}", f"for {span(window.minutes * 60)}")


def _next(window: MaintenanceWindow, rule: Window, now: datetime) -> parts.Html:
    upcoming = next_window([rule], now)
    if upcoming is None:
        return parts.none("its rule has no further time", "never again")
    return parts.exact_moment(upcoming.start, words.clock_time(upcoming.start, now, window.site.zone))


# --- one window -----------------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW, change=Permission.WINDOW_CHANGE, methods=METHODS)
def window(request: PageRequest, window_id: int) -> HttpResponse:
    """One window: when it opens, what meets it, and its form."""
    scope, now = request.scope, timezone.now()
    found = queries.windows(scope=scope).get(pk=window_id)
    may = scope.may(Permission.WINDOW_CHANGE, on=found) and found.ended_at is None
    act = request.POST.get("act", "")
    if act == "end":
        services.window_end(window=found, scope=scope, now=now)
        messages.success(request, f"{found.name} has ended: alerts come again.")
        return HttpResponseRedirect(f"/windows/{found.pk}/")
    initial = {
        "name": found.name, "purpose": found.purpose, "starts_on": found.starts_on,
        "starts_at": f"{found.starts_at:%H:%M}", "length": span(found.minutes * 60),
        "notice_hours": found.notice_hours, "needs_approval": found.needs_approval,
        "notice_first_only": found.notice_first_only, "catch_up_hours": found.catch_up_hours,
        **recurrence_initial(found.rrule),
    }  # fmt: skip
    form = WindowForm(request.POST if act == "keep" else None, sites=[], initial=initial, fixed=True)
    if act == "keep" and form.is_valid():
        asked = form.cleaned_data
        try:
            services.window_change(
                window=found, name=asked["name"], purpose=asked["purpose"], starts_on=asked["starts_on"],
                starts_at=asked["starts_at"], minutes=_minutes(asked["length"]), rrule=form.recurrence().rrule(),
                scope=scope, now=now, **form.more(),
            )  # fmt: skip
        except CalendarError as refusal:
            form.refuse(refusal)
        else:
            messages.success(request, "The window is kept, and on record with what it was before.")
            return HttpResponseRedirect(f"/windows/{found.pk}/")
    rule = window_rule(found)
    times = queries.upcoming(windows=[found], since=now, until=now + timedelta(days=400))[:UPCOMING_SHOWN]
    names = _device_names(scope, [found])
    context = {
        "crumbs": format_html('<a href="/windows/">Windows</a> › {}', found.site.client.name),
        "sentence": _window_in_words(found, now),
        "window": found,
        "agenda": agenda_table(times, now, scope, with_client=False, by_day=False),
        "notes": _notes(found, rule, scope, now) if found.ended_at is None else [],
        "facts": [
            Fact("Client", parts.link(f"/clients/{found.site.client_id}/", found.site.client.name)),
            Fact("Where", where_words(found, names, with_client=False)),
            Fact("Time zone", found.site.zone),
            Fact("Rule", format_html("<code>{}</code>", found.rrule) if found.rrule else "once"),
            Fact("Lasts", span(found.minutes * 60)),
            Fact("Notice", _notice_words(found, now)),
            Fact(
                "When a device misses it",
                f"made up for within {span(found.catch_up_hours * 3600)}"
                if found.catch_up_hours
                else "waits for the next time",
            ),
            Fact("Client's answer", answer_words(found)),
            Fact("Planned", format_html("{} by {}", parts.moment(found.created_at, now), found.created_by)),
            *(
                [Fact("Ended", format_html("{} by {}", parts.moment(found.ended_at, now), found.ended_by))]
                if found.ended_at
                else []
            ),
        ],
        "form": form,
        "may": may,
        "open_form": act == "keep",
    }
    return render_page(request, "window", context, section="windows", title=found.name, live=False)


def _notice_words(found: MaintenanceWindow, now: datetime) -> parts.Html:
    """What is promised, and what was told last."""
    if not found.notice_hours:
        return parts.none("no notice is promised", "none")
    which = "its first time" if found.notice_first_only else "each time"
    told = WindowNotice.objects.visible_to(_READ).filter(window=found).order_by("-told_at").first()
    if told is None:
        return parts.text(f"{found.notice_hours} h before {which}", "nobody was told yet")
    said = "called off" if told.withdrawn_at else words.clock_time(told.starts_at, now, found.site.zone)
    return parts.text(
        f"{found.notice_hours} h before {which}",
        format_html(
            "{} told {} ({}{})", words.plural(told.people, "person", "people"), parts.moment(told.told_at, now), said,
            ", late" if told.late else "",
        ),
    )  # fmt: skip


def _minutes(typed: str) -> int:
    try:
        return minutes_of(typed)
    except RefusalError as refusal:
        raise CalendarError(f"length: {refusal}") from None


def _window_in_words(found: MaintenanceWindow, now: datetime) -> parts.Html:
    rule = recurrence_words(found.rrule, found.starts_on)
    text = f"{rule[:1].upper()}{rule[1:]} from {found.starts_at:%H:%M} for {span(found.minutes * 60)}"
    if found.ended_at is not None:
        return f"{text}. Ended by {found.ended_by}: it does not open any more."
    upcoming = next_window([window_rule(found)], now)
    if upcoming is None:
        return f"{text}. It does not open any more."
    return f"{text}, next {words.clock_time(upcoming.start, now, found.site.zone)} in {found.site.zone}."


def _notes(found: MaintenanceWindow, rule: Window, scope: Scope, now: datetime) -> list[str]:
    """What to know before it opens: clock changes, other windows at the same time, too short notice."""
    notes = clock_change_notes(rule, now)[:4]
    shut = blackout_notes(rule, now)
    notes += shut[:4]
    if len(shut) > 4:
        notes.append(f"And {len(shut) - 4} more times that a blackout takes, or cuts, in the next 400 days.")
    same = queries.windows(scope=scope).filter(site=found.site_id, ended_at=None).exclude(pk=found.pk)
    if found.device_id is not None:
        same = same.filter(Q(device_id=None) | Q(device_id=found.device_id))
    for other, first in overlaps(rule, list(window_rules(same[:50]).values()), now):
        at = words.clock_time(first.start, now, found.site.zone)
        notes.append(f"“{other.name}” is open at the same time, first {at}: alerts wait until the last of them ends.")
    upcoming = next_window([rule], now)
    notice = timedelta(hours=found.notice_hours)
    if upcoming is not None and notice and found.created_at + notice > upcoming.start > now:
        notes.append(
            f"It opens {words.ago(upcoming.start, now)}, but the client is to know {found.notice_hours} h before."
        )
    return notes


@page(permission=Permission.WINDOW_CHANGE, methods=METHODS)
def window_new(request: PageRequest) -> HttpResponse:
    """Plan a window at a site, or for one device of it."""
    scope, now = request.scope, timezone.now()
    place = scope.place(Permission.WINDOW_CHANGE)
    sites = [
        site
        for site in clients.sites_served(scope=scope).order_by("client__name", "name")
        if place.covers(site.client_id, site.pk)
    ]
    wanted, only = request.GET.get("site", ""), request.GET.get("client", "")
    offered = [site for site in sites if not only or str(site.client_id) == only] or sites
    device = request.GET.get("device", "")
    if device and not wanted:
        wanted = str(inventory.devices(scope=scope).get(pk=_uuid(device)).site_id)
    chosen = next((site for site in sites if str(site.pk) == (request.POST.get("site") or wanted)), None)
    listed = [chosen] if chosen else offered if only else []
    initial = {
        "site": str(chosen.pk) if chosen else "", "device": device, "starts_on": next_sunday(now.date()),
        "starts_at": "22:00", "length": "2 h", "repeat": "weekly", "days": ["SU"], "notice_hours": 48,
    }  # fmt: skip
    posted = request.method == "POST"
    form = WindowForm(request.POST if posted else None, sites=offered, devices=_devices(scope, listed), initial=initial)
    if not listed:
        form.fields["device"].help_text = "For one device, begin on the page of its client, under Windows."
    if posted and form.is_valid() and chosen is not None:
        asked = form.cleaned_data
        try:
            made = services.window_create(
                site=chosen, device_id=_device_of(scope, chosen, asked["device"]), name=asked["name"],
                purpose=asked["purpose"], starts_on=asked["starts_on"], starts_at=asked["starts_at"],
                minutes=_minutes(asked["length"]), rrule=form.recurrence().rrule(),
                scope=scope, now=now, **form.more(),
            )  # fmt: skip
        except CalendarError as refusal:
            form.refuse(refusal)
        else:
            proposed = "proposed: it counts once the client has approved it" if made.needs_approval else "planned"
            messages.success(request, f"{made.name} is {proposed}.")
            return HttpResponseRedirect(f"/windows/{made.pk}/")
    context = {
        "crumbs": SafeString('<a href="/windows/">Windows</a> › New'),
        "sentence": "While it is open, alerts of its devices wait until it ends, and what needs a window may run.",
        "form": form,
        "sites": sites,
        "action": "Plan this window",
        "back": "/windows/",
    }
    return render_page(request, "window_form", context, section="windows", title="Plan a window", live=False)


def _devices(scope: Scope, sites: Sequence[Site]) -> list[tuple[str, str]]:
    """The devices of these sites, by name."""
    if not sites:
        return []
    found = inventory.devices(scope=scope).filter(site__in=[site.pk for site in sites]).order_by("name")[:500]
    return [(str(one.pk), one.name if len(sites) == 1 else f"{one.name} · {one.site.name}") for one in found]


def _device_of(scope: Scope, site: Site, typed: str) -> UUID | None:
    if not typed:
        return None
    found = inventory.devices(scope=scope).filter(pk=_uuid(typed), site=site).first()
    if found is None:
        raise CalendarError(f"device: it is not a device of {site.name}")
    return found.pk
