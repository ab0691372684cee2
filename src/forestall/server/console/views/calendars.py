"""The calendar: what happens when, month by month: windows, blackouts, closed days, rollouts and planned updates; and
the secret addresses under which other programs read it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.db.models import Count, Q
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.calendar import feeds, queries, services
from forestall.server.calendar.blackouts import closed_times
from forestall.server.calendar.models import Blackout, MaintenanceWindow
from forestall.server.calendar.queries import blackout_rule
from forestall.server.calendar.recurrence import MONTHS, blackout_words, patch_tuesday
from forestall.server.calendar.rules import CalendarError
from forestall.server.clients import queries as clients
from forestall.server.console import parts, words
from forestall.server.console.access import SIGNED_IN, PageRequest, page
from forestall.server.console.parts import Column, Empty, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.console.views.client_forms import BlackoutForm
from forestall.server.console.views.windows import counts
from forestall.server.patching import queries as patching
from forestall.server.patching import rollout_queries as rollouts
from forestall.server.patching.models import SETTLED, RolloutRing
from forestall.server.people.models import Site
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.voice import is_staff

FIRST_YEAR, LAST_YEAR = 2000, 2100
MOST_A_DAY = 6
"""More than this stands behind "and 3 more"."""
VIEWS = [("", "Month"), ("agenda", "Agenda")]


@dataclass(frozen=True, slots=True)
class Item:
    """Something on a day."""

    day: date
    clock: str
    """``22:00 to 00:00``; empty: the whole day."""
    title: str
    sub: str
    kind: str
    """``window``, ``proposed``, ``shut``, ``blackout``, ``closed``, ``work``, ``updates``, ``ring``, ``vendor``."""
    href: str = ""
    why: str = ""

    @property
    def word(self) -> str:
        """What it is, in a word, for those who do not see its colour."""
        return _WORDS[self.kind]


_WORDS = {
    "window": "window",
    "proposed": "proposed window",
    "shut": "stays shut",
    "blackout": "blackout",
    "closed": "closed",
    "work": "planned work",
    "updates": "updates",
    "ring": "rollout",
    "vendor": "vendor's day",
}
_ORDER = {kind: number for number, kind in enumerate(("blackout", "closed", "vendor", "window", "proposed", "shut"))}


@dataclass(frozen=True, slots=True)
class Day:
    """A field of the month."""

    day: date
    items: Sequence[Item]
    more: Sequence[Item]
    is_today: bool
    is_past: bool
    is_other_month: bool

    @property
    def words(self) -> str:
        return f"{self.day:%A} {self.day.day} {MONTHS[self.day.month - 1]}"


@page(permission=Permission.DEVICE_VIEW)
def calendar(request: PageRequest) -> HttpResponse:
    """One month, whole weeks, as a grid or as a list of days; on a phone always the list."""
    scope, now = request.scope, timezone.now()
    sites = list(clients.sites_served(scope=scope).select_related("client").order_by("client__name", "name"))
    chosen_client, chosen_site = _chosen(request.GET.get("client", ""), request.GET.get("site", ""), sites)
    here = [
        site
        for site in sites
        if (chosen_client is None or site.client_id == chosen_client) and chosen_site in {None, site.pk}
    ]
    zone = ZoneInfo(here[0].zone) if len({site.zone for site in here}) == 1 else UTC
    today = now.astimezone(zone).date()
    first = _month(request.GET.get("month", ""), today)
    start = first - timedelta(days=first.weekday())
    following = (first + timedelta(days=31)).replace(day=1)
    end = following + timedelta(days=-following.weekday() % 7)
    view = "agenda" if request.GET.get("view") == "agenda" else ""
    items = list(_items(scope, here, start, end, now))
    days = _days(items, start, end, first, today, whole=view == "agenda")
    may_change = scope.may(Permission.WINDOW_CHANGE)
    blackouts = list(_blackouts(scope, here).filter(ended_at=None).order_by("starts_on", "pk"))
    form = BlackoutForm(None, places=_places(scope, sites)) if may_change else None
    context: dict[str, Any] = {
        "sentence": _sentence(items, today, first),
        "filters": _filters(sites, chosen_client, chosen_site, view, first, today),
        "days": days,
        "view": view,
        "month": f"{MONTHS[first.month - 1]} {first.year}",
        "earlier": parts.address(request.GET, month=f"{first - timedelta(days=1):%Y-%m}"),
        "later": parts.address(request.GET, month=f"{following:%Y-%m}"),
        "this": parts.address(request.GET, month=None),
        "is_this_month": first == today.replace(day=1),
        "weekdays": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        "blackouts": [(one, blackout_words(blackout_rule(one)), _may_end(scope, one)) for one in blackouts],
        "form": form,
        "zones": sorted({site.zone for site in here}),
    }
    actions = [SafeString('<a class="button" href="/calendar/feeds">Open it in another program</a>')]
    if may_change:
        actions.append(SafeString('<a class="button primary" href="/windows/new">Plan a window</a>'))
    context["actions"] = parts.joined(actions, separator=" ")
    return render_page(request, "calendar", context, section="calendar", title="Calendar", data_at=now, live=False)


def _month(typed: str, today: date) -> date:
    """``2026-12`` as its first day; this month for what is none."""
    try:
        found = datetime.strptime(typed, "%Y-%m").date()  # noqa: DTZ007 - a month has no zone
    except ValueError:
        return today.replace(day=1)
    return found if FIRST_YEAR <= found.year <= LAST_YEAR else today.replace(day=1)


def _chosen(client: str, site: str, sites: Sequence[Site]) -> tuple[UUID | None, UUID | None]:
    """The client and site that the filter names; absent for what is not there (V8)."""
    try:
        wanted = UUID(client) if client else None
        place = UUID(site) if site else None
    except ValueError:
        raise Http404 from None
    if wanted is not None and not any(one.client_id == wanted for one in sites):
        raise Http404
    if place is not None and not any(one.pk == place for one in sites):
        raise Http404
    return wanted, place


def _filters(
    sites: Sequence[Site], client: UUID | None, site: UUID | None, view: str, first: date, today: date
) -> parts.Filters:
    names = dict.fromkeys((str(one.client_id), one.client.name) for one in sites)
    places = [one for one in sites if client is None or one.client_id == client]
    shown = [(str(one.pk), one.name if client else f"{one.client.name} · {one.name}") for one in places]
    return parts.Filters(
        [
            parts.choice("client", "Client", [("", "All clients"), *names], str(client or "")),
            parts.choice("site", "Site", [("", "All sites"), *shown], str(site or "")),
            parts.choice("view", "View", VIEWS, view),
        ],
        keep=[("month", f"{first:%Y-%m}")] if first != today.replace(day=1) else [],
    )


def _sentence(items: Sequence[Item], today: date, first: date) -> str:
    month = [one for one in items if (one.day.year, one.day.month) == (first.year, first.month)]
    windows = sum(one.kind == "window" for one in month)
    shut = sum(one.kind == "shut" for one in month)
    ahead = next((one for one in sorted(items, key=lambda o: (o.day, o.clock)) if one.kind == "window"
                  and one.day >= today), None)  # fmt: skip
    said = f"Windows open {words.plural(windows, 'time')} in {MONTHS[first.month - 1]}"
    if shut:
        said += f"; a blackout keeps them shut {words.plural(shut, 'time')}"
    if ahead is not None and ahead.day.month == first.month:
        when = "today" if ahead.day == today else f"on {ahead.day:%A} {ahead.day.day}"
        said += f"; {'the next is' if ahead.day != today else 'next is'} {ahead.title} at {ahead.sub}, {when}"
    return f"{said}."


def _days(items: Sequence[Item], start: date, end: date, first: date, today: date, *, whole: bool) -> list[Day]:
    by_day: dict[date, list[Item]] = defaultdict(list)
    for item in items:
        by_day[item.day].append(item)
    found = []
    for number in range((end - start).days):
        day = start + timedelta(days=number)
        own = sorted(by_day[day], key=lambda one: (one.clock, _ORDER.get(one.kind, 9), one.title))
        cut = len(own) if whole or len(own) <= MOST_A_DAY + 1 else MOST_A_DAY
        found.append(Day(day, own[:cut], own[cut:], day == today, day < today, day.month != first.month))
    return found


# --- what stands on the days ----------------------------------------------------------------------------------


def _items(scope: Scope, sites: Sequence[Site], start: date, end: date, now: datetime) -> Iterator[Item]:
    """Everything from ``start`` until before ``end``, each on the day of its own site. A fixed number of queries."""
    # A day more on both sides: no offset from UTC is lost. What lies on another day falls out at the end.
    since = datetime.combine(start, datetime.min.time(), UTC) - timedelta(days=1)
    until = datetime.combine(end, datetime.min.time(), UTC) + timedelta(days=1)
    every = (
        *_window_items(scope, sites, since, until),
        *_blackout_items(scope, sites, since, until),
        *_free_items(scope, sites, start, end),
        *_work_items(scope, sites, since, until),
        *_update_items(scope, sites, since, until),
        *_ring_items(scope, sites, since, until),
        *_vendor_items(start, end),
    )
    yield from (one for one in every if start <= one.day < end)


def _window_items(scope: Scope, sites: Sequence[Site], since: datetime, until: datetime) -> Iterator[Item]:
    found = list(
        queries.windows(scope=scope)
        .filter(Q(ended_at=None) | Q(ended_at__gt=since), site__in=sites)
        .exclude(answer="declined")
    )
    rules = queries.window_rules(found)
    for one in queries.upcoming(windows=found, since=since, until=until, rules=rules):
        window, zone = one.window, ZoneInfo(one.window.site.zone)
        first, last = one.occurrence.start.astimezone(zone), one.occurrence.end.astimezone(zone)
        yield Item(
            day=first.date(),
            clock=f"{first:%H:%M} to {last:%H:%M}",
            title=window.name,
            sub=_where(window),
            kind="window" if counts(window) else "proposed",
            href=f"/windows/{window.pk}/",
            why=f"closes early: {one.occurrence.cut}" if one.occurrence.cut else "",
        )
    for shut in queries.kept_shut(windows=found, since=since, until=until, rules=rules):
        if shut.fate.opens is None and shut.fate.blackout is not None and counts(shut.window):
            first = shut.fate.start.astimezone(ZoneInfo(shut.window.site.zone))
            yield Item(
                day=first.date(), clock=f"{first:%H:%M}", title=shut.window.name, sub=_where(shut.window), kind="shut",
                href=f"/windows/{shut.window.pk}/", why=shut.fate.blackout.why,
            )  # fmt: skip


def _where(window: MaintenanceWindow) -> str:
    return f"{window.site.client.name} · {window.site.name}"


def _blackouts(scope: Scope, sites: Sequence[Site]) -> Any:
    """Those that count at one of these sites at least."""
    of_client = Q(client__in={site.client_id for site in sites}, site=None)
    return queries.blackouts(scope=scope).filter(Q(client=None) | of_client | Q(site__in=sites))


def _blackout_items(scope: Scope, sites: Sequence[Site], since: datetime, until: datetime) -> Iterator[Item]:
    for row in _blackouts(scope, sites):
        # On the wall clock, whichever zone: the days are the same at every site.
        zone = row.site.zone if row.site else row.client.timezone if row.client else "UTC"
        where = str(row.site or row.client or "every client")
        for one in closed_times([blackout_rule(row)], zone, since, until):
            first, last = (at.astimezone(ZoneInfo(zone)) for at in (one.start, one.end - timedelta(microseconds=1)))
            for number in range((last.date() - first.date()).days + 1):
                day = first.date() + timedelta(days=number)
                if since.date() <= day <= until.date():
                    yield Item(
                        day=day,
                        clock="",
                        title=f"No work: {row.why}",
                        sub=where,
                        kind="blackout",
                        href=f"#blackout-{row.pk}" if row.ended_at is None else "",
                        why=blackout_words(one.blackout),
                    )


def _free_items(scope: Scope, sites: Sequence[Site], start: date, end: date) -> Iterator[Item]:
    """Closed days and public holidays; those of many clients are one line."""
    times = queries.working_times(scope=scope, sites=sites)
    who: dict[tuple[date, str], dict[UUID, str]] = defaultdict(dict)
    for site in sites:
        time = times[site.pk]
        for number in range((end - start).days):
            day = start + timedelta(days=number)
            why = time.closed.get(day) or time.holidays.get(day)
            if why:
                who[day, why][site.client_id] = site.client.name
    every = {site.client_id for site in sites}
    for (day, why), names in who.items():
        sub = "" if len(names) == len(every) else words.listing(sorted(names.values()), most=3)
        href = f"/clients/{next(iter(names))}/hours/" if len(names) == 1 else ""
        yield Item(day=day, clock="", title=why, sub=sub, kind="closed", href=href)


def _work_items(scope: Scope, sites: Sequence[Site], since: datetime, until: datetime) -> Iterator[Item]:
    for one in queries.planned_work(scope=scope).filter(
        starts_at__gte=since, starts_at__lt=until, window__site__in=sites
    ):
        first = one.starts_at.astimezone(ZoneInfo(one.window.site.zone))
        yield Item(
            day=first.date(), clock=f"{first:%H:%M}", title=f"Ticket #{one.ticket_number}, {one.minutes} min",
            sub=f"in {one.window.name}", kind="work", href=f"/tickets/{one.ticket_number}/",
        )  # fmt: skip


def _update_items(scope: Scope, sites: Sequence[Site], since: datetime, until: datetime) -> Iterator[Item]:
    by_site = {site.pk: site for site in sites}
    rows = (
        patching.deployments(scope=scope)
        .filter(planned_for__gte=since, planned_for__lt=until, site__in=sites)
        .exclude(state__in=SETTLED)
        .order_by()
        .values("site", "planned_for")
        .annotate(updates=Count("pk"), machines=Count("device", distinct=True))
    )
    for row in rows:
        site = by_site[row["site"]]
        first = (row["planned_for"] or since).astimezone(ZoneInfo(site.zone))
        yield Item(
            day=first.date(),
            clock=f"{first:%H:%M}",
            title=f"{words.plural(row['updates'], 'update')} on {words.plural(row['machines'], 'device')}",
            sub=f"{site.client.name} · {site.name}",
            kind="updates",
            href="/updates/",
        )


def _ring_items(scope: Scope, sites: Sequence[Site], since: datetime, until: datetime) -> Iterator[Item]:
    """Rings of rollouts that began, or were judged, in this time."""
    seen = rollouts.rollouts(scope=scope)
    here = {site.client_id for site in sites}
    rings = (
        RolloutRing.objects.visible_to(scope)
        .filter(started_at__gte=since, started_at__lt=until, rollout__in=seen)
        .select_related("rollout__client")
    )
    for ring in rings:
        rollout = ring.rollout
        if rollout.client_id is not None and rollout.client_id not in here:
            continue
        zone = ZoneInfo(rollout.client.timezone) if rollout.client is not None else UTC
        first = (ring.started_at or since).astimezone(zone)
        verdict = f", {ring.verdict}" if ring.verdict else ", under way"
        yield Item(
            day=first.date(), clock=f"{first:%H:%M}", title=f"Ring {ring.number} of {rollout.name}{verdict}",
            sub=str(rollout.client or "across clients"), kind="ring", href=f"/rollouts/{rollout.pk}/", why=ring.why,
        )  # fmt: skip


def _vendor_items(start: date, end: date) -> Iterator[Item]:
    month = start.replace(day=1)
    while month < end:
        yield Item(
            day=patch_tuesday(month.year, month.month), clock="", title="Patch Tuesday", sub="", kind="vendor",
            why="The second Tuesday: Microsoft and others publish their updates.",
        )  # fmt: skip
        month = (month + timedelta(days=31)).replace(day=1)


# --- blackouts ------------------------------------------------------------------------------------------------


def _places(scope: Scope, sites: Sequence[Site]) -> list[tuple[str, str]]:
    """Where this person may set a blackout."""
    place = scope.place(Permission.WINDOW_CHANGE)
    names = dict.fromkeys((one.client_id, one.client.name) for one in sites)
    found = [(f"client:{pk}", name) for pk, name in names if place.covers(pk)]
    found += [
        (f"site:{one.pk}", f"{one.client.name} · {one.name}") for one in sites if place.covers(one.client_id, one.pk)
    ]
    return [*([("", "Every client")] if place.everywhere else []), *sorted(found, key=lambda one: one[1].casefold())]


def _may_end(scope: Scope, row: Blackout) -> bool:
    if row.client is None:
        return scope.everywhere(Permission.WINDOW_CHANGE)
    return scope.may(Permission.WINDOW_CHANGE, on=row.client if row.site is None else row.site)


@page(permission=Permission.WINDOW_CHANGE, methods=("POST",))
def blackout_new(request: PageRequest) -> HttpResponse:
    """Open no window for a time."""
    scope = request.scope
    sites = list(clients.sites_served(scope=scope).select_related("client"))
    kind, _, key = request.POST.get("place", "").partition(":")
    site = next((one for one in sites if kind == "site" and str(one.pk) == key), None)
    client = next((one.client for one in sites if kind == "client" and str(one.client_id) == key), None)
    if kind and site is None and client is None:
        raise Http404  # another's, or nobody's: the same answer (V8)
    if site is not None or client is not None:
        scope.require(Permission.WINDOW_CHANGE, on=site or client)
    form = BlackoutForm(request.POST, places=_places(scope, sites))
    if form.is_valid():
        asked = form.cleaned_data
        try:
            made = services.blackout_add(
                client=client, site=site, why=asked["why"], starts_on=asked["starts_on"],
                starts_at=asked["starts_at"], ends_on=asked["ends_on"], ends_at=asked["ends_at"],
                yearly=asked["yearly"], scope=scope, now=timezone.now(),
            )  # fmt: skip
        except CalendarError as refusal:
            form.refuse(refusal)
        else:
            where = made.site or made.client or "every client"
            said = blackout_words(blackout_rule(made))
            messages.success(request, f"No window opens at {where} {said}. Who was told of one is told of this.")
            return HttpResponseRedirect(f"/calendar/?month={made.starts_on:%Y-%m}")
    context = {
        "crumbs": SafeString('<a href="/calendar/">Calendar</a> › Blackout'),
        "sentence": "No window is open in a blackout: work and updates wait until it is over.",
        "form": form,
        "sites": sites,
        "action": "Open no window then",
        "back": "/calendar/",
    }
    return render_page(request, "window_form", context, section="calendar", title="A blackout", live=False)


@page(permission=Permission.DEVICE_VIEW, change=Permission.WINDOW_CHANGE, methods=("POST",))
def blackout_end(request: PageRequest, blackout_id: int) -> HttpResponse:
    """Take it back."""
    found = queries.blackouts(scope=request.scope).get(pk=blackout_id)
    services.blackout_end(blackout=found, scope=request.scope, now=timezone.now())
    messages.success(request, f"“{found.why}” counts no longer: windows open again.")
    return HttpResponseRedirect("/calendar/")


# --- addresses for other programs -----------------------------------------------------------------------------


@page(permission=SIGNED_IN, methods=("GET", "HEAD", "POST"), fresh=True)
def calendar_feeds(request: PageRequest) -> HttpResponse:
    """One's own addresses, and the form for a new one. Whoever has an address reads the calendar, so the page asks
    first that they prove who they are."""
    now, scope = timezone.now(), request.scope
    made, refused = "", ""
    if request.method == "POST":
        try:
            made = _make_feed(request, now)
        except CalendarError as error:
            refused = str(error).partition(": ")[2] or str(error)
    places = [("", "wherever you may see it")]
    places += [(f"client:{one.pk}", one.name) for one in clients.served(scope=scope).order_by("name")]
    context = {
        "crumbs": SafeString('<a href="/calendar/">Calendar</a> › In other programs') if is_staff(scope) else "",
        "sentence": "Your phone's or your office's calendar can show windows, blackouts and closed days by itself.",
        "made": made,
        "refused": refused[:1].upper() + refused[1:],
        "name": request.POST.get("name", "") if refused else "",
        "places": places,
        "table": _feed_table(request, now),
    }
    response = render_page(
        request, "calendar_feeds", context, section="calendar", title="Your calendar in other programs", live=False
    )
    response["Cache-Control"] = "no-store"
    return response


def _make_feed(request: PageRequest, now: datetime) -> str:
    kind, _, key = request.POST.get("place", "").partition(":")
    client = None
    if kind:
        try:
            client = clients.served(scope=request.scope).get(pk=UUID(key))
        except ValueError:
            raise CalendarError(f"place: {key[:60]!r} is none of the choices") from None
    _, secret = feeds.feed_make(
        person=request.person,
        name=request.POST.get("name", "")[:100],
        portal=not is_staff(request.scope),
        client=client,
        scope=request.scope,
        now=now,
    )
    return feeds.feed_address(request, secret)


def _feed_table(request: PageRequest, now: datetime) -> Table:
    return Table(
        caption="Addresses",
        columns=[
            Column("Read by", "lead"),
            Column("State", "second"),
            Column("Shows"),
            Column("Last read"),
            Column("Made"),
        ],
        rows=[
            Row(
                [
                    row.name,
                    format_html("revoked {}", parts.moment(row.revoked_at, now))
                    if row.revoked_at
                    else format_html(
                        '{} <form method="post" action="/calendar/feeds/{}/revoke"><input type="hidden"'
                        ' name="csrfmiddlewaretoken" value="{}"><button class="small">Revoke'
                        '<span class="visually-hidden"> {}</span></button></form>',
                        "good",
                        row.pk,
                        get_token(request),
                        row.name,
                    ),
                    str(row.site or row.client or "all that you may see"),
                    parts.moment(row.last_used_at, now),
                    parts.moment(row.created_at, now),
                ]
            )
            for row in queries.feeds_own(scope=request.scope)
        ],
        empty=Empty("No address yet", "Make one for each program, so that one can be taken back without the others."),
    )


@page(permission=SIGNED_IN, methods=("POST",))
def calendar_feed_revoke(request: PageRequest, feed_id: int) -> HttpResponse:
    """Nothing is read under it any more."""
    row = queries.feeds_own(scope=request.scope).get(pk=feed_id)
    feeds.feed_revoke(feed=row, scope=request.scope, now=timezone.now())
    messages.success(request, f"{row.name} reads nothing any more.")
    return HttpResponseRedirect("/calendar/feeds")
