"""Updates: what waits where, by when it must be in, whether the next window misses that, and what can be done."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.db.models import Max
from django.http import HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.calendar.rules import CalendarError
from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Fact, Row, Tab, Table
from forestall.server.console.shell import render_page
from forestall.server.inventory import queries as inventory
from forestall.server.patching import obligation_queries as queries
from forestall.server.patching import obligation_services as services
from forestall.server.patching import pending
from forestall.server.patching.models import Deployment, DeploymentState
from forestall.server.patching.obligation_queries import Book, Known, Way, earlier_versions, known_deployments
from forestall.server.patching.obligations import BUILT_IN, ObligationError, worst
from forestall.server.patching.pending import Asked
from forestall.server.patching.planning import PlanningError, update_decide
from forestall.server.people import queries as people
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope

A_PAGE = 50
FAR = datetime(9000, 1, 1, tzinfo=UTC)
"""A deadline that nothing misses for its date: what else keeps a late update is said, not that it is late."""
MOST_PICKED = 200
BY = (("", "By update"), ("device", "By device"), ("obligation", "By obligation"), ("each", "Each one"))
SHOWS = [("", "Everything that waits"), ("late", "Late"), ("misses", "Will miss the deadline")]
SEVERITY_STATUS = {"critical": "fail", "high": "fail", "unrated": "warn", "medium": "warn", "low": "pass"}
STATE_STATUS = {"failed": "fail", "blocked": "warn", "skipped": "unknown", "pending_reboot": "warn"}
ACTS = (("approve", "Approve"), ("defer", "Defer"), ("exclude", "Exclude"), ("except", "Exception"))


@page(permission=Permission.DEVICE_VIEW)
def patches(request: PageRequest) -> HttpResponse:
    """The page's old address."""
    return HttpResponseRedirect("/updates/")


@page(permission=Permission.DEVICE_VIEW)
def updates(request: PageRequest) -> HttpResponse:
    """What waits: by update, by device, by obligation, or each one."""
    scope, now, get = request.scope, timezone.now(), request.GET
    by = get.get("by", "") if get.get("by", "") in dict(BY) else ""
    asked = _asked(request)
    found = pending.waiting(scope=scope, asked=asked, now=now)
    everything = pending.waiting(scope=scope, asked=Asked(), now=now)
    whole = pending.totals(everything, now)
    lacks = pending.lacking(scope=scope, now=now) if whole["misses"] else []
    newest = inventory.devices(scope=scope).order_by().aggregate(at=Max("last_check_in_at"))["at"]
    clients = list(people.clients(scope=scope).order_by("name").values_list("pk", "name"))
    make = {"": _by_update, "device": _by_device, "obligation": _by_obligation, "each": _each}[by]
    table = make(request, found, asked, now)
    may = scope.may(Permission.PATCH_CHANGE) or scope.may(Permission.RISK_ACCEPT)
    context = {
        "sentence": _sentence(whole, lacks, newest is not None),
        "tabs": [
            Tab(title, parts.address(get, by=slug or None, page=None), slug == by)
            for slug, title in BY
            if slug != "each" or by == "each"
        ],
        "filters": _filters(request, clients, asked, by, pending.providers(everything, whole)),
        "table": table,
        "acts": [
            (slug, title)
            for slug, title in ACTS
            if scope.may(Permission.RISK_ACCEPT if slug == "except" else Permission.PATCH_CHANGE)
        ]
        if may and table.pickable
        else [],
        "query": get.urlencode(),
        "soonest": (now + timedelta(days=1)).date().isoformat(),
        "actions": SafeString(
            '<a class="button" href="/updates/compliance/">Compliance</a>'
            '<a class="button" href="/updates/exceptions/">Exceptions</a>'
            '<a class="button" href="/updates/obligations/">Obligations</a>'
        ),
    }
    return render_page(request, "updates", context, section="updates", title="Updates", data_at=newest)


def _asked(request: PageRequest) -> Asked:
    get = request.GET
    state, show = get.get("state", ""), get.get("show", "")
    return Asked(
        client=_uuid(get.get("client", "")),
        device=_uuid(get.get("device", "")),
        security=get.get("security") == "yes",
        show=show if show in pending.SHOWS else "",
        state=state if state in pending.OPEN_STATES else "",
        provider=get.get("provider", "")[:20],
        obligation=get.get("obligation", "")[:60],
        search=get.get("q", "")[:200],
    )


def _uuid(typed: str) -> UUID | None:
    try:
        return UUID(typed)
    except ValueError:
        return None


def _filters(
    request: PageRequest, clients: Sequence[tuple[UUID, str]], asked: Asked, by: str, providers: Sequence[str]
) -> parts.Filters:
    get = request.GET
    states = [(one, DeploymentState(one).label.capitalize()) for one in pending.OPEN_STATES]
    choices = [
        parts.choice(
            "client",
            "Client",
            [("", "All clients"), *((str(pk), name) for pk, name in clients)],
            str(asked.client or ""),
        ),
        parts.choice("show", "Show", SHOWS, asked.show),
        parts.choice(
            "security", "Kind", [("", "All updates"), ("yes", "Security updates")], "yes" if asked.security else ""
        ),
        parts.choice("state", "State", [("", "Any state"), *states], asked.state),
    ]
    if len(providers) > 1:
        choices.append(
            parts.choice(
                "provider", "Provider", [("", "Every provider"), *((one, one) for one in providers)], asked.provider
            )
        )
    kept = [("by", by)] if by else []
    return parts.Filters(
        choices,
        search=get.get("q", ""),
        placeholder="Filter packages, devices, CVEs",
        keep=[*kept, *((name, get[name]) for name in ("obligation", "device") if get.get(name))],
    )


def _sentence(whole: dict[str, Any], lacks: Sequence[str], seen: bool) -> parts.Html:  # noqa: FBT001 - it is what was asked
    number, late, misses = whole["updates"], whole["late"], whole["misses"]
    if not number:
        return (
            "No update waits: every device that has reported its updates has none pending."
            if seen
            else "No device has reported its updates yet."
        )
    said: list[parts.Html] = []
    if late:
        said.append(
            format_html(
                '<a href="?show=late"><b>{} {} late</b></a>', words.plural(late, "update"), words.does(late, "are")
            )
        )
    if misses:
        said.append(
            format_html(
                '<a href="?show=misses">{} will miss {}</a>{}',
                words.plural(misses, "update"),
                "its deadline" if misses == 1 else "their deadlines",
                f": {' and '.join(lacks)}" if lacks else "",
            )
        )
    waits = format_html(
        "{} {} on {}, {} of them security",
        words.plural(number, "update"),
        words.does(number, "wait"),
        words.plural(whole["devices"], "device"),
        f"{whole['fixes']:,}",
    )
    if not said:
        return format_html("{}; none is late, and every deadline has a window before it.", waits)
    return format_html("{}.", parts.joined([*said, waits], separator="; "))


def _empty(request: PageRequest) -> Empty:
    if any(request.GET.get(name) for name in ("q", "client", "show", "security", "state", "provider", "obligation")):
        return Empty("Nothing of that kind waits", "No update fits the filter.", href="?", action="Show all that wait")
    return Empty(
        "No update waits",
        "Devices report what their package managers offer as it changes; each update then stands here with the "
        "obligation that binds it, its deadline, and whether the next window meets it.",
        href="/devices/",
        action="Devices",
    )


def _page_of(request: PageRequest, groups: Any) -> tuple[list[dict[str, Any]], parts.Pages | None]:
    """The groups of the page that is asked for, and the way to the others."""
    number = parts.number_typed(request.GET.get("page", "1")) or 1
    rows, total = pending.page_of(groups, number, A_PAGE)
    return rows, parts.pages_of(request.GET, total, A_PAGE)[0]


# --- by update --------------------------------------------------------------------------------------------------


def _by_update(request: PageRequest, found: Any, asked: Asked, now: datetime) -> Table:
    shown, pages = _page_of(request, pending.by_update(found, now))
    samples = {
        row["pk"]: row
        for row in Deployment.objects.visible_to(request.scope)
        .filter(pk__in=[group["sample"] for group in shown])
        .order_by()
        .values("pk", "cves", "bound_by", "installed")
    }
    scores = queries.scores_of(cve for sample in samples.values() for cve in sample["cves"])
    titles = _titles(request.scope)
    scope = request.scope
    return Table(
        caption="Updates that wait",
        columns=[
            Column("Update", "lead"),
            Column("Due", "second"),
            Column("Severity"),
            Column("Devices", "num"),
            Column("Obligation"),
            Column("State", "wide"),
        ],
        rows=[
            Row(
                key=f"update-{group['sample']}",
                pick=f"{group['manager']}|{group['name']}|{group['candidate']}",
                pick_label=f"pick {group['name']} {group['candidate']}",
                cells=[
                    parts.link(
                        parts.address(request.GET, by="each", q=group["name"], page=None),
                        group["name"],
                        f"{group['candidate']} · {group['manager']}",
                    ),
                    _due(group["earliest"], now, late=group["late"], misses=group["misses"]),
                    _severity(group["rank"], samples[group["sample"]]["cves"], scores, now),
                    words.plural(group["devices"], "device").partition(" ")[0],
                    titles.get(samples[group["sample"]]["bound_by"])
                    or parts.none("no obligation is about it", "none binds"),
                    _states(group),
                ],
            )
            for group in shown
        ],
        empty=_empty(request),
        query=request.GET,
        pages=pages,
        pickable=bool(shown) and (scope.may(Permission.PATCH_CHANGE) or scope.may(Permission.RISK_ACCEPT)),
    )


def _severity(rank: int, cves: Sequence[str], scores: dict[str, queries.Score], now: datetime) -> parts.Html:
    own = pending.RANKS[rank] if rank < len(pending.RANKS) else ""
    severity = worst([own, *(scores[cve].severity for cve in cves if cve in scores)]) or own
    shown = (
        parts.status(SEVERITY_STATUS[severity], severity) if severity else parts.none("it fixes no known hole", "none")
    )
    exploited = any(
        (score := scores.get(cve)) is not None and score.kev_added_on and score.kev_added_on <= now.date()
        for cve in cves
    )
    said: list[parts.Html] = [parts.tag("exploited", "fail")] if exploited else []
    if cves:
        said.append(format_html('<span title="{}">{}</span>', " ".join(cves[:20]), words.plural(len(cves), "CVE")))
    return parts.text(shown, parts.joined(said, separator=" ")) if said else shown


def _due(at: datetime | None, now: datetime, *, late: int = 0, misses: int = 0) -> parts.Html:
    if at is None:
        return parts.none("no obligation is about it", "no deadline")
    state = "fail" if at <= now else "warn" if misses else "pass"
    word = f"{words.span_short(abs(at - now))} {'late' if at <= now else 'left'}"
    sub = ", ".join(
        one
        for one in (
            f"{late} late" if late > 1 else "",
            f"{misses} will miss it" if misses > 1 else "will be missed" if misses else "",
        )
        if one
    )
    shown = format_html('<span title="{}">{}</span>', words.exact(at), parts.status(state, word))
    return parts.text(shown, sub) if sub else shown


def _states(group: dict[str, Any]) -> parts.Html:
    return parts.joined(
        parts.status(STATE_STATUS[state], f"{number} {_state_word(state)}")
        if state in STATE_STATUS
        else f"{number} {_state_word(state)}"
        for state in pending.OPEN_STATES
        if (number := group[f"in_{state}"])
    )


def _state_word(state: str) -> str:
    return {"pending_reboot": "waits for a reboot", "installed": "not verified yet"}.get(state, state)


def _titles(scope: Scope) -> dict[str, str]:
    """Slug → title of every obligation that may bind, clients' own included."""
    own = queries.rules(scope=scope).filter(in_force_until=None).values_list("slug", "terms")
    return {
        **{slug: str(terms.get("title", slug)) for slug, terms in own if not terms.get("off")},
        **{slug: terms.title for slug, terms in BUILT_IN.items()},
    }


# --- by device, by obligation, each one -------------------------------------------------------------------------


def _by_device(request: PageRequest, found: Any, asked: Asked, now: datetime) -> Table:
    shown, pages = _page_of(request, pending.by_device(found, now))
    return Table(
        caption="Devices with updates that wait",
        columns=[
            Column("Device", "lead"),
            Column("Due", "second"),
            Column("Updates", "num"),
            Column("Security", "num"),
            Column("State", "wide"),
            Column("Last check-in"),
        ],
        rows=[
            Row(
                key=f"device-{row['device_id']}",
                cells=[
                    parts.link(
                        parts.address(request.GET, by="each", device=str(row["device_id"]), page=None),
                        row["device__name"],
                        f"{row['client__name']} · {row['site__name']}",
                    ),
                    _due(row["earliest"], now, late=row["late"], misses=row["misses"]),
                    f"{row['updates']:,}",
                    f"{row['fixes']:,}",
                    parts.joined(
                        parts.status(status, f"{row[name]} {word}")
                        for name, status, word in (
                            ("failed", "fail", "failed"),
                            ("blocked", "warn", "blocked"),
                            ("reboots", "warn", "wait for a reboot"),
                        )
                        if row[name]
                    )
                    or "planned",
                    parts.moment(row["device__last_check_in_at"], now),
                ],
            )
            for row in shown
        ],
        empty=_empty(request),
        query=request.GET,
        pages=pages,
    )


def _by_obligation(request: PageRequest, found: Any, asked: Asked, now: datetime) -> Table:
    titles = _titles(request.scope)
    rows = sorted(pending.by_obligation(found, now), key=lambda row: (not row["bound_by"], row["earliest"] or now))
    return Table(
        caption="Obligations that bind",
        columns=[
            Column("Obligation", "lead"),
            Column("Earliest due", "second"),
            Column("Binds", "num"),
            Column("Late", "num"),
            Column("Will miss it", "num"),
            Column("Deadline", "wide"),
        ],
        rows=[
            Row(
                key=f"obligation-{row['bound_by'] or 'none'}",
                cells=[
                    parts.link(
                        parts.address(request.GET, by="each", obligation=slug, page=None),
                        titles.get(slug, slug),
                        BUILT_IN[slug].source if slug in BUILT_IN else "the client's own",
                    )
                    if (slug := row["bound_by"])
                    else parts.none("no obligation is about these", "none binds"),
                    _due(row["earliest"], now),
                    format_html("{} on {}", f"{row['updates']:,}", words.plural(row["devices"], "device")),
                    f"{row['late']:,}",
                    f"{row['misses']:,}",
                    BUILT_IN[slug].deadline.words if slug in BUILT_IN else "",
                ],
            )
            for row in rows
        ],
        empty=_empty(request),
    )


def _each(request: PageRequest, found: Any, asked: Asked, now: datetime) -> Table:
    total = found.count()
    pages, stretch = parts.pages_of(request.GET, total, A_PAGE)
    wanted = found.order_by("due_at", "name", "device__name", "pk").values_list("pk", flat=True)[stretch]
    picked = list(wanted)
    rows = {
        row.pk: row
        for row in Deployment.objects.visible_to(request.scope).filter(pk__in=picked).select_related("device", "client")
    }
    known = {
        one.pk: one for one in known_deployments(Deployment.objects.visible_to(request.scope).filter(pk__in=picked))
    }
    way = _way(list(known.values()), now)
    titles = _titles(request.scope)
    shown = [rows[pk] for pk in picked if pk in rows]
    return Table(
        caption="Updates on devices",
        columns=[
            Column("Update", "lead"),
            Column("Due", "second"),
            Column("Device"),
            Column("Obligation", "wide"),
            Column("State", "wide"),
            Column("Next window", "wide"),
        ],
        rows=[
            Row(
                key=f"deployment-{row.pk}",
                cells=[
                    parts.link(f"/updates/{row.pk}/", row.name, f"{row.installed or 'new'} → {row.candidate}"),
                    _due(row.due_at, now),
                    parts.link(f"/devices/{row.device_id}/updates/", row.device.name, row.client.name),
                    titles.get(row.bound_by) or parts.none("no obligation is about it", "none binds"),
                    parts.text(
                        parts.status(STATE_STATUS.get(row.state, "pass"), _state_word(row.state)), row.why[:200]
                    ),
                    _window(row, known[row.pk], way, now),
                ],
            )
            for row in shown
        ],
        empty=_empty(request),
        query=request.GET,
        pages=pages,
    )


def _way(rows: Sequence[Known], now: datetime) -> Way:
    clients = {one.client_id for one in rows}
    return Way.load(rows, Book.load(clients=clients, cves=()), now=now)


def _window(row: Deployment, known: Known, way: Way, now: datetime) -> parts.Html:
    why = way.why_missed(known, row.due_at) if row.due_at is None or row.due_at > now else way.why_missed(known, FAR)
    if why:
        return format_html('{} <a href="/updates/{}/#remedies">Remedies</a>', why[:1].upper() + why[1:] + ".", row.pk)
    opens = way.opens(known.site_id, known.device_id)
    if opens is None:
        return parts.none("no window is planned", "none planned")
    shown: parts.Html = "open now" if opens <= now else parts.moment(opens, now)
    late = row.due_at is not None and row.due_at <= now
    return format_html('{} · <a href="/updates/{}/#remedies">Remedies</a>', shown, row.pk) if late else shown


# --- one update on one device, and what can be done -------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW)
def update(request: PageRequest, deployment_id: int) -> HttpResponse:
    """Which obligations count, whether the next window misses the deadline, and the remedies."""
    scope, now = request.scope, timezone.now()
    row = (
        Deployment.objects.visible_to(scope)
        .select_related("device__site", "client", "site__client")
        .get(pk=deployment_id)
    )
    known = known_deployments(Deployment.objects.visible_to(scope).filter(pk=row.pk))
    one = known[0]
    older = earlier_versions(known, now=now).get(one.key, [])
    book = Book.load(clients={row.client_id}, cves={cve for each in (one, *older) for cve in each.cves})
    bound = book.binding(one, now, older)
    way = Way.load(known, book, now=now)
    due = bound.due_at if bound else None
    why = way.why_missed(one, due)
    start = services.emergency_start(due_at=due, now=now, timezone=row.site.zone)
    may_plan, may_accept = (
        scope.may(Permission.WINDOW_CHANGE, on=row.site),
        scope.may(Permission.RISK_ACCEPT, on=row),
    )
    context = {
        "crumbs": format_html('<a href="/updates/">Updates</a> › {}', row.device.name),
        "sentence": _one_in_words(row, due, why, now),
        "row": row,
        "dues": _dues_table(bound.dues if bound else (), bound.slug if bound else "", now),
        "facts": [
            Fact("Device", parts.link(f"/devices/{row.device_id}/updates/", row.device.name, row.client.name)),
            Fact("Version", f"{row.installed or 'none'} → {row.candidate}"),
            Fact("Provider", row.manager),
            Fact("Severity", book.rated(one).severity or ("not rated: counts as high" if row.security else "none")),
            Fact("CVEs", ", ".join(row.cves[:12]) or parts.none("none is known", "none known")),
            Fact("Released", parts.moment(row.released_at, now, "not known")),
            Fact("First seen", parts.moment(row.first_seen_at, now)),
            Fact("State", parts.text(DeploymentState(row.state).label, row.why)),
        ],
        "misses": why,
        "start": start,
        "start_shown": "now" if start <= now else words.clock_time(start, now, row.site.zone) + f" in {row.site.zone}",
        "minutes": services.EMERGENCY_MINUTES,
        "may_plan": may_plan and row.settled_at is None,
        "may_accept": may_accept and row.settled_at is None,
        "may_approve": scope.may(Permission.PATCH_CHANGE, on=row) and row.settled_at is None,
        "month": (now + timedelta(days=30)).date().isoformat(),
        "soonest": (now + timedelta(days=1)).date().isoformat(),
    }
    return render_page(request, "update", context, section="updates", title=row.name, live=False)


def _one_in_words(row: Deployment, due: datetime | None, why: str, now: datetime) -> parts.Html:
    if row.settled_at is not None:
        return f"Nothing is left to do: it is {DeploymentState(row.state).label}."
    if due is None:
        return "It waits, and no obligation is about it."
    if due <= now:
        return format_html("<b>It is late</b> since {}.", words.exact(due))
    if why:
        return format_html("<b>It will miss its deadline</b>: {}.", why)
    return format_html("Due {}, and a window before that is open for it.", words.ago(due, now))


def _dues_table(dues: Sequence[Any], slug: str, now: datetime) -> Table:
    return Table(
        caption="Obligations about it",
        columns=[Column("Obligation", "lead"), Column("Due", "second"), Column("Why", "wide")],
        rows=[
            Row(
                cells=[
                    format_html("{} {}", due.title, parts.tag("binds", "accent") if due.slug == slug else ""),
                    _due(due.due_at, now),
                    due.why,
                ]
            )
            for due in sorted(dues, key=lambda due: due.due_at)
        ],
        empty=Empty("No obligation is about it", "It may be installed when it fits."),
    )


def _of(request: PageRequest, deployment_id: int) -> Deployment:
    found: Deployment = (
        Deployment.objects.visible_to(request.scope)
        .select_related("device__site", "client", "site__client")
        .get(pk=deployment_id)
    )
    return found


@page(permission=Permission.DEVICE_VIEW, change=Permission.PATCH_CHANGE, methods=("POST",))
def update_approve(request: PageRequest, deployment_id: int) -> HttpResponse:
    """Approve it on this device."""
    row, scope = _of(request, deployment_id), request.scope
    try:
        update_decide(
            scope=scope, client=row.client, device=row.device, decision="approve", manager=row.manager, name=row.name,
            candidate=row.candidate, now=timezone.now(),
        )  # fmt: skip
    except PlanningError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, "Approved: it is installed in the next window.")
    return HttpResponseRedirect(f"/updates/{row.pk}/")


@page(permission=Permission.DEVICE_VIEW, change=Permission.WINDOW_CHANGE, methods=("POST",))
def update_window(request: PageRequest, deployment_id: int) -> HttpResponse:
    """Open an emergency window for the device, or for its site."""
    row, scope, now = _of(request, deployment_id), request.scope, timezone.now()
    scope.require(Permission.WINDOW_CHANGE, on=row.site)
    start = services.emergency_start(due_at=row.due_at, now=now, timezone=row.site.zone)
    try:
        made = services.emergency_window(
            site=row.site, device=None if request.POST.get("whole") else row.device,
            starts_at=start if start > now else None, reason=f"{row.name} before its deadline", scope=scope, now=now,
        )  # fmt: skip
    except (ObligationError, CalendarError) as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"{made.name} is planned.")
    return HttpResponseRedirect(f"/updates/{row.pk}/")


@page(permission=Permission.DEVICE_VIEW, change=Permission.RISK_ACCEPT, methods=("POST",))
def update_except(request: PageRequest, deployment_id: int) -> HttpResponse:
    """Grant an exception on this device."""
    row, scope, post = _of(request, deployment_id), request.scope, request.POST
    try:
        scope.require(Permission.RISK_ACCEPT, on=row)
        services.exception_grant(
            client=row.client, device_id=row.device_id, manager=row.manager, name=row.name, obligation=row.bound_by,
            reason=post.get("reason", ""), compensating_control=post.get("instead", ""),
            expires_at=_end_of(post.get("until", "")), scope=scope, now=timezone.now(),
        )  # fmt: skip
    except ObligationError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, "The exception is on record; when it ends, the obligation counts again.")
    return HttpResponseRedirect(f"/updates/{row.pk}/")


def _end_of(typed: str) -> datetime:
    """The end of a day that was typed."""
    try:
        return datetime.combine(date.fromisoformat(typed) + timedelta(days=1), time(), UTC)
    except (ValueError, OverflowError):
        raise ObligationError(f"until: {typed[:20]!r} is no day") from None


@page(permission=Permission.DEVICE_VIEW, change=Permission.PATCH_CHANGE, methods=("POST",))
def act(request: PageRequest) -> HttpResponse:
    """Approve, defer or exclude the picked updates."""
    return _act(request, request.POST.get("act", ""))


@page(permission=Permission.DEVICE_VIEW, change=Permission.RISK_ACCEPT, methods=("POST",))
def except_picked(request: PageRequest) -> HttpResponse:
    """Grant an exception for the picked updates."""
    return _act(request, "except")


def _act(request: PageRequest, act: str) -> HttpResponse:
    """Do it to the picked updates at every client that has them, all or none."""
    scope, now, post = request.scope, timezone.now(), request.POST
    back = post.get("back", "")
    back = back if back.startswith("/updates/") and "//" not in back else "/updates/"
    client = _uuid(post.get("client", ""))
    picked = [tuple(one.split("|", 2)) for one in post.getlist("pick")[:MOST_PICKED] if one.count("|") >= 2]
    try:
        if not picked:
            raise ObligationError("Pick the updates first.")
        with transaction.atomic():
            number = sum(
                _decide(scope, act, manager, name, candidate, post.get("reason", ""), post.get("instead", ""),
                        post.get("until", ""), client, now)
                for manager, name, candidate in picked
            )  # fmt: skip
    except (ObligationError, PlanningError) as refusal:
        messages.error(request, str(refusal))
    else:
        done = {"approve": "approved", "defer": "deferred", "exclude": "excluded"}.get(act, "excepted")
        messages.success(
            request, f"{words.plural(len(picked), 'update')} {done} at {words.plural(number, 'place')}; on record."
        )
    return HttpResponseRedirect(back)


def _decide(
    scope: Scope, act: str, manager: str, name: str, candidate: str, reason: str, instead: str, until: str,
    client: UUID | None, now: datetime,
) -> int:  # fmt: skip
    """Decide about one update; how many decisions that took: one a client, or one a device where only that is ours."""
    permission = Permission.RISK_ACCEPT if act == "except" else Permission.PATCH_CHANGE
    asked = Asked(client=client)
    found = pending.waiting(scope=scope, asked=asked, now=now).filter(manager=manager, name=name, candidate=candidate)
    by_client: dict[Client, list[Deployment]] = {}
    for row in found.select_related("client", "device"):
        by_client.setdefault(row.client, []).append(row)
    number = 0
    for owner, rows in by_client.items():
        devices = [None] if scope.may(permission, on=owner) else [row.device for row in rows]
        for device in devices:
            if act == "except":
                services.exception_grant(
                    client=owner, device_id=None if device is None else device.pk, manager=manager, name=name,
                    candidate=candidate, reason=reason, compensating_control=instead, expires_at=_end_of(until),
                    scope=scope, now=now,
                )  # fmt: skip
            else:
                update_decide(
                    scope=scope, client=owner, device=device, decision=act, manager=manager, name=name,
                    candidate=candidate, until=_end_of(until) if act == "defer" else None, reason=reason, now=now,
                )  # fmt: skip
            number += 1
    if not number:
        raise ObligationError(f"{name} {candidate} waits nowhere any more.")
    return number
