"""Obligations of a client, exceptions from them, and compliance at any date."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.console import parts, svg, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.inventory import queries as inventory
from forestall.server.patching import compliance as counting
from forestall.server.patching import obligation_queries as queries
from forestall.server.patching import obligation_services as services
from forestall.server.patching.compliance import Counted, Ledger, Names, Outcome, Report, Tally
from forestall.server.patching.models import ObligationException, ObligationRule
from forestall.server.patching.obligations import BUILT_IN, SEVERITIES, ObligationError, Rule
from forestall.server.people import queries as people
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope

A_PAGE = 100
MONTHS = 12
METHODS = ("GET", "HEAD", "POST")
OUTCOME_STATUS = {
    Outcome.MET: "pass",
    Outcome.MET_LATE: "warn",
    Outcome.LATE: "fail",
    Outcome.OPEN: "unknown",
    Outcome.EXCEPTED: "warn",
}
CRUMBS = SafeString('<a href="/updates/">Updates</a>')
KEPT_SECONDS = 60
_kept: dict[tuple[Any, ...], tuple[datetime, Any]] = {}
"""What was counted last, until something it rests on changes, or a minute is over."""


def _uuid(typed: str) -> UUID | None:
    try:
        return UUID(typed)
    except ValueError:
        return None


# --- obligations of a client ------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW, change=Permission.RISK_ACCEPT, methods=METHODS)
def obligations(request: PageRequest) -> HttpResponse:
    """What is in force, by client; and the form by which a client gets terms of its own."""
    scope, now = request.scope, timezone.now()
    wanted = _uuid(request.POST.get("client", "") or request.GET.get("client", ""))
    clients = list(people.clients(scope=scope).order_by("name"))
    client = next((one for one in clients if one.pk == wanted), None)
    if wanted is not None and client is None:
        raise Client.DoesNotExist
    if client is None and len(clients) == 1:
        client = clients[0]
    if request.method == "POST":
        if client is None:
            raise Client.DoesNotExist
        return _change_rule(request, client, now)
    found = (
        queries.obligations_of(scope=scope, client=client, at=now)
        if client is not None
        else [Rule(slug, terms) for slug, terms in BUILT_IN.items()]
    )
    own = list(queries.rules(scope=scope).filter(client=client).order_by("-in_force_from")) if client else []
    off = [row.slug for row in own if row.in_force_until is None and row.terms.get("off")]
    may = client is not None and scope.may(Permission.RISK_ACCEPT, on=client)
    context = {
        "crumbs": CRUMBS,
        "sentence": _rules_in_words(client, found, off),
        "filters": parts.Filters(
            [
                parts.choice(
                    "client",
                    "Client",
                    [("", "Built in"), *((str(one.pk), one.name) for one in clients)],
                    str(client.pk) if client else "",
                )
            ]
        ),
        "table": _rules_table(found),
        "history": _history_table(own, now),
        "own": own,
        "client": client,
        "may": may,
        "slugs": [(slug, terms.title) for slug, terms in BUILT_IN.items()],
        "devices": list(inventory.devices(scope=scope).filter(client=client).order_by("name")[:500]) if may else [],
    }
    return render_page(request, "obligations", context, section="updates", title="Obligations", live=False)


def _rules_in_words(client: Client | None, found: Sequence[Rule], off: Sequence[str]) -> parts.Html:
    if client is None:
        return "These hold at every client that has not agreed on something else; the strictest one binds each update."
    own = sum(rule.own for rule in found)
    said = f"{words.plural(len(found), 'obligation')} {words.does(len(found), 'are')} in force at {client.name}"
    more = [
        f"{own} on its own terms" if own else "",
        f"{words.plural(len(off), 'one', 'ones')} switched off" if off else "",
    ]
    return f"{', '.join([said, *filter(None, more)])}; the strictest one binds each update."


def _rules_table(found: Sequence[Rule]) -> Table:
    return Table(
        caption="Obligations in force",
        columns=[
            Column("Obligation", "lead"),
            Column("Deadline", "second"),
            Column("About", "wide"),
            Column("Who demands it", "wide"),
        ],
        rows=[
            Row(
                key=f"rule-{rule.slug}",
                cells=[
                    parts.text(rule.terms.title, "its own terms" if rule.own else rule.slug),
                    rule.terms.deadline.words,
                    rule.terms.about + (", tested on a named device first" if rule.terms.needs_test else ""),
                    parts.text(rule.terms.source, rule.terms.clause),
                ],
            )
            for rule in found
        ],
        empty=Empty("None is in force", "Every one was switched off: nothing has a deadline."),
    )


def _history_table(own: Sequence[ObligationRule], now: datetime) -> Table:
    return Table(
        caption="Its own terms",
        columns=[
            Column("Obligation", "lead"),
            Column("Terms", "second"),
            Column("From"),
            Column("Until"),
            Column("Why", "wide"),
        ],
        rows=[
            Row(
                key=f"own-{row.pk}",
                cells=[
                    row.slug,
                    "switched off" if row.terms.get("off") else str(row.terms.get("title", "")),
                    parts.text(parts.moment(row.in_force_from, now), row.created_by),
                    parts.text(parts.moment(row.in_force_until, now), row.ended_by)
                    if row.in_force_until
                    else parts.tag("in force", "accent"),
                    row.reason,
                ],
            )
            for row in own[:A_PAGE]
        ],
        empty=Empty("No terms of its own", "The built-in ones hold."),
    )


def _change_rule(request: PageRequest, client: Client, now: datetime) -> HttpResponse:
    post, scope = request.POST, request.scope
    slug, what = post.get("slug", ""), post.get("what", "")
    back = HttpResponseRedirect(f"/updates/obligations/?client={client.pk}")
    try:
        if what == "built-in":
            scope.require(Permission.RISK_ACCEPT, on=client)
            row = queries.rules(scope=scope).filter(client=client, slug=slug, in_force_until=None).first()
            if row is None:
                raise ObligationError(f"{client.name} has no terms of its own of {slug[:60]!r}")
            services.obligation_rule_end(rule=row, scope=scope, now=now)
        else:
            services.obligation_rule_set(
                client=client,
                slug=slug,
                terms=_terms_of(post, what),
                reason=post.get("reason", ""),
                scope=scope,
                now=now,
            )
    except ObligationError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, "Kept, and on record; what held until now still counts for until now.")
    return back


def _terms_of(post: Any, what: str) -> dict[str, Any]:
    if what == "off":
        return {"off": True}
    device = post.get("test_device", "")
    terms: dict[str, Any] = {"test_device": device, "needs_test": True} if device else {}
    number = parts.number_typed(post.get("number", ""))
    if what in {"hours", "days"}:
        if number is None:
            raise ObligationError(f"number: {post.get('number', '')[:20]!r} is no number of {what}")
        terms["deadline"] = {"kind": "after", "hours": number * (24 if what == "days" else 1)}
    elif what in {"month_end", "quarter_end"}:
        terms["deadline"] = {"kind": what, "least_days": number or 0}
    if not terms:
        raise ObligationError("Say what is to be different.")
    return terms


# --- exceptions -------------------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW)
def exceptions(request: PageRequest) -> HttpResponse:
    """Leave to miss obligations: what is in force, and what was."""
    scope, now, get = request.scope, timezone.now(), request.GET
    everything = get.get("show", "") == "all"
    in_force = queries.exceptions_in_force(scope=scope, now=now)
    found = queries.exceptions(scope=scope) if everything else in_force
    client = _uuid(get.get("client", ""))
    if client is not None:
        found = found.filter(client=client)
    number = in_force.count()
    soon = in_force.filter(expires_at__lte=now + timedelta(days=7)).count()
    total = found.count()
    pages, stretch = parts.pages_of(get, total, A_PAGE)
    shown = list(found.order_by("expires_at" if not everything else "-granted_at", "pk")[stretch])
    names = dict(
        inventory.devices(scope=scope)
        .filter(pk__in=[one.device_id for one in shown if one.device_id])
        .values_list("pk", "name")
    )
    clients = list(people.clients(scope=scope).order_by("name").values_list("pk", "name"))
    context = {
        "crumbs": CRUMBS,
        "sentence": _exceptions_in_words(number, soon),
        "filters": parts.Filters(
            [
                parts.choice(
                    "client", "Client", [("", "All clients"), *((str(pk), n) for pk, n in clients)], str(client or "")
                ),
                parts.choice(
                    "show", "Show", [("", "In force"), ("all", "Those that are over, too")], get.get("show", "")
                ),
            ]
        ),
        "table": _exceptions_table(shown, names, scope, now, pages),
        "endable": [
            one for one in shown if one.ended_at is None and one.expires_at > now and scope.may(Permission.RISK_ACCEPT)
        ],
    }
    return render_page(request, "exceptions", context, section="updates", title="Exceptions", live=False)


def _exceptions_in_words(number: int, soon: int) -> str:
    if not number:
        return "No exception is in force: every obligation counts."
    said = f"{words.plural(number, 'exception')} {words.does(number, 'are')} in force"
    if soon:
        said += f"; {soon} {words.does(soon, 'end')} within a week, and then the obligation counts again"
    return f"{said}."


def _state(one: ObligationException, now: datetime) -> parts.Html:
    if one.ended_at is not None:
        return parts.text(parts.moment(one.ended_at, now), f"ended by {one.ended_by}")
    if one.expires_at <= now:
        return parts.text(parts.moment(one.expires_at, now), "expired: it counts again")
    return parts.moment(one.expires_at, now)


def _exceptions_table(
    shown: Sequence[ObligationException], names: dict[UUID, str], scope: Scope, now: datetime, pages: parts.Pages | None
) -> Table:
    return Table(
        caption="Exceptions",
        columns=[
            Column("Update", "lead"),
            Column("Ends", "second"),
            Column("Where"),
            Column("Obligation"),
            Column("Why, and what is done instead", "wide"),
            Column("Granted"),
        ],
        rows=[
            Row(
                key=f"exception-{one.pk}",
                cells=[
                    parts.text(one.name or "every update", f"#{one.pk} {one.candidate} {one.manager}".strip()),
                    _state(one, now),
                    parts.text(
                        names.get(one.device_id, "one device") if one.device_id else "every device", one.client.name
                    ),
                    one.obligation or "every one",
                    parts.text(one.reason, one.compensating_control),
                    parts.text(parts.moment(one.granted_at, now), one.granted_by),
                ],
            )
            for one in shown
        ],
        empty=Empty(
            "No exception",
            "Where an obligation cannot be met, an exception says why, what is done instead, and until when. It is "
            "granted on the page of an update, and counts again when it ends.",
            href="/updates/?show=misses",
            action="What misses its deadline",
        ),
        pages=pages,
    )


@page(permission=Permission.DEVICE_VIEW, change=Permission.RISK_ACCEPT, methods=("POST",))
def exception_end(request: PageRequest, exception_id: int) -> HttpResponse:
    """End an exception before its time."""
    found = queries.exceptions(scope=request.scope).get(pk=exception_id)
    try:
        services.exception_end(exception=found, scope=request.scope, now=timezone.now())
    except ObligationError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, "It has ended: its obligations count again.")
    return HttpResponseRedirect("/updates/exceptions/")


# --- compliance -------------------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW)
def compliance(request: PageRequest) -> HttpResponse:
    """How many were due at a date, how many were in in time, and why others were not."""
    scope, now, get = request.scope, timezone.now(), request.GET
    at, days, client, outcome, slug = _question(request, now)
    report, ledger = _kept_report(scope, at or now, days, client, now)
    total = report.total()
    rows = _chosen(report, outcome, slug)
    pages, stretch = parts.pages_of(get, len(rows), A_PAGE)
    shown = counting.explained(rows[stretch], ledger, at=report.at, now=now)
    names = Names.load(report.rows, scope=scope)
    clients = list(people.clients(scope=scope).order_by("name").values_list("pk", "name"))
    context = {
        "crumbs": CRUMBS,
        "sentence": _report_in_words(report, total, at),
        "filters": parts.Filters(
            [
                parts.choice(
                    "client", "Client", [("", "All clients"), *((str(pk), n) for pk, n in clients)], str(client or "")
                ),
                parts.choice(
                    "days", "Met within", [("30", "30 days"), ("", "90 days"), ("365", "a year")], get.get("days", "")
                ),
                parts.choice(
                    "outcome",
                    "Outcome",
                    [("", "Any outcome"), *((o.name.lower(), o.value.capitalize()) for o in Outcome)],
                    outcome,
                ),
            ],
            keep=[(name, get[name]) for name in ("at", "obligation") if get.get(name)],
        ),
        "at": get.get("at", ""),
        "today": now.date().isoformat(),
        "keep": [(name, get[name]) for name in ("client", "days", "outcome", "obligation") if get.get(name)],
        "trend": _trend(scope, client, now),
        "summary": _summary(request, report, names),
        "table": _rows_table(shown, names, now, pages, request),
        "csv": f"/updates/compliance.csv{parts.address(get, page=None)}",
    }
    return render_page(
        request, "compliance", context, section="updates", title="Compliance of updates", data_at=report.at, live=False
    )


@page(permission=Permission.DEVICE_VIEW)
def compliance_csv(request: PageRequest) -> HttpResponse:
    """The rows behind the numbers, as CSV."""
    scope, now = request.scope, timezone.now()
    at, days, client, outcome, slug = _question(request, now)
    report, ledger = _kept_report(scope, at or now, days, client, now)
    rows = counting.explained(_chosen(report, outcome, slug), ledger, at=report.at, now=now)
    answer = HttpResponse(counting.csv_of(rows, Names.load(rows, scope=scope)), content_type="text/csv")
    answer["Content-Disposition"] = f'attachment; filename="patch-compliance-{report.at:%Y-%m-%d}.csv"'
    return answer


def _question(request: PageRequest, now: datetime) -> tuple[datetime | None, int, UUID | None, str, str]:
    get = request.GET
    try:
        day = date.fromisoformat(get.get("at", ""))
        at = min(datetime.combine(day + timedelta(days=1), time(), UTC), now)
    except (ValueError, OverflowError):
        at = None
    days = min(max(parts.number_typed(get.get("days", "")) or counting.DAYS, 1), counting.MOST_DAYS)
    outcome = get.get("outcome", "")
    known = {one.name.lower() for one in Outcome}
    return at, days, _uuid(get.get("client", "")), outcome if outcome in known else "", get.get("obligation", "")[:60]


def _chosen(report: Report, outcome: str, slug: str) -> list[Counted]:
    rows = report.rows if slug else list(report.binding)
    order = {Outcome.LATE: 0, Outcome.MET_LATE: 1, Outcome.EXCEPTED: 2, Outcome.OPEN: 3, Outcome.MET: 4}
    found = [
        row
        for row in rows
        if (not slug or row.due.slug == slug) and (not outcome or row.outcome.name.lower() == outcome)
    ]
    return sorted(found, key=lambda row: (order[row.outcome], row.due.binding_due_at, row.known.pk))


def _remember(key: tuple[Any, ...], now: datetime, make: Callable[[], Any]) -> Any:
    """What was made for ``key`` within the last minute, or it made now. A handful is kept."""
    found = _kept.get(key)
    if found is not None and now - found[0] < timedelta(seconds=KEPT_SECONDS):
        return found[1]
    made = make()
    if len(_kept) >= 8:
        _kept.pop(next(iter(_kept)), None)
    _kept[key] = (now, made)
    return made


def _place(scope: Scope) -> tuple[Any, ...]:
    place = scope.place(Permission.DEVICE_VIEW)
    return (place.everywhere, place.clients, tuple(sorted(place.sites)))


def _kept_report(scope: Scope, at: datetime, days: int, client: UUID | None, now: datetime) -> tuple[Report, Ledger]:
    # Now is a minute long: whoever turns the page sees the same report.
    moment = at if at < now else now.replace(second=0, microsecond=0)
    key = ("report", _place(scope), counting.fingerprint(scope=scope), moment, days, client)
    found: tuple[Report, Ledger] = _remember(
        key, now, partial(counting.compliance_at, scope=scope, at=moment, days=days, client=client)
    )
    return found


def _trend(scope: Scope, client: UUID | None, now: datetime) -> parts.Html:
    ends = [now.replace(second=0, microsecond=0)]
    first = now.date().replace(day=1)
    for _ in range(MONTHS - 1):
        ends.append(datetime.combine(first, time(), UTC))
        first = (first - timedelta(days=1)).replace(day=1)
    ends.reverse()
    key = ("trend", _place(scope), counting.fingerprint(scope=scope), ends[-1].date(), client)
    tallies: list[Tally] = _remember(key, now, partial(counting.trend, scope=scope, ends=ends, client=client))
    known = [tally.percent for tally in tallies if tally.percent is not None]
    if len(known) < 2:
        return ""
    label = f"in time, of those due in each of the last {len(known)} months: from {known[0]:.0f} % to {known[-1]:.0f} %"
    return format_html("{} <span>{}</span>", svg.sparkline(known, top=100, label=label), label)


def _report_in_words(report: Report, total: Tally, at: datetime | None) -> parts.Html:
    when = f"At {report.at.astimezone(UTC):%-d %b %Y, %H:%M} UTC" if at is not None else "As of now"
    if total.percent is None:
        waits = total.counts[Outcome.OPEN]
        return f"{when}: nothing was due yet{f'; {waits} open, in time' if waits else ''}."
    late, excepted = total.counts[Outcome.LATE], total.counts[Outcome.EXCEPTED]
    said = [
        format_html(
            "<b>{} % in time</b> of {}",
            f"{total.percent:.0f}",
            words.plural(total.due, "update that was due", "updates that were due"),
        ),
        format_html('<a href="?outcome=late">{} still open and late</a>', f"{late:,}")
        if late
        else "none is open and late",
        f"{excepted} excepted" if excepted else "",
    ]
    return format_html("{}: {}.", when, parts.joined(said, separator="; "))


def _summary(request: PageRequest, report: Report, names: Names) -> Table:
    titles = {slug: terms.title for slug, terms in BUILT_IN.items()}
    rows: list[tuple[str, str, dict[str, str], Tally]] = [("All", "", {}, report.total())]
    rows += [
        (titles.get(slug, slug), "By obligation", {"obligation": slug}, tally)
        for slug, tally in sorted(report.by_obligation().items())
    ]
    rows += [
        (one or "no security update", "By severity", {}, tally)
        for one, tally in sorted(report.by_severity().items(), key=_worst_first)
    ]
    by_client = report.by_client()
    if len(by_client) > 1:
        rows += [
            (names.clients.get(pk, ""), "By client", {"client": str(pk)}, tally)
            for pk, tally in sorted(by_client.items(), key=lambda item: names.clients.get(item[0], ""))
        ]
    worst = sorted(report.by_device().items(), key=lambda item: -item[1].counts[Outcome.LATE])[:5]
    rows += [
        (names.devices.get(pk, ""), "Devices with the most that are late", {}, tally)
        for pk, tally in worst
        if tally.counts[Outcome.LATE]
    ]

    def cell(tally: Tally, outcome: Outcome, more: dict[str, str]) -> parts.Html:
        number = tally.counts[outcome]
        if not number:
            return "0"
        href = parts.address(request.GET, outcome=outcome.name.lower(), page=None, **more)
        return format_html('<a href="{}#rows">{}</a>', href, f"{number:,}")

    return Table(
        caption="In numbers",
        columns=[
            Column("", "lead"),
            Column("In time", "second"),
            Column("Due", "num"),
            Column("Met in time", "num"),
            Column("Met late", "num"),
            Column("Late", "num"),
            Column("Open, in time", "num"),
            Column("Excepted", "num"),
        ],
        rows=[
            Row(
                group=group,
                cells=[
                    name,
                    _percent(tally),
                    f"{tally.due:,}",
                    *(
                        cell(tally, outcome, more)
                        for outcome in (Outcome.MET, Outcome.MET_LATE, Outcome.LATE, Outcome.OPEN, Outcome.EXCEPTED)
                    ),
                ],
            )
            for name, group, more, tally in rows
        ],
        empty=Empty("Nothing to count", ""),
    )


def _worst_first(item: tuple[str, Tally]) -> int:
    return SEVERITIES.index(item[0]) if item[0] in SEVERITIES else len(SEVERITIES)


def _percent(tally: Tally) -> parts.Html:
    if tally.percent is None:
        return parts.none("none was due", "none due")
    return parts.status(
        "pass" if tally.percent >= 99.5 else "warn" if tally.percent >= 90 else "fail", f"{tally.percent:.0f} %"
    )


def _rows_table(
    shown: Sequence[Counted], names: Names, now: datetime, pages: parts.Pages | None, request: PageRequest
) -> Table:
    return Table(
        caption="Updates behind the numbers",
        columns=[
            Column("Update", "lead"),
            Column("Outcome", "second"),
            Column("Device"),
            Column("Obligation"),
            Column("Due"),
            Column("Done"),
            Column("Why", "wide"),
        ],
        rows=[
            Row(
                key=f"row-{row.known.pk}-{row.due.slug}",
                cells=[
                    parts.link(f"/updates/{row.known.pk}/", row.known.name, row.known.candidate),
                    parts.status(OUTCOME_STATUS[row.outcome], row.outcome.value),
                    parts.link(
                        f"/devices/{row.known.device_id}/updates/",
                        names.devices.get(row.known.device_id, ""),
                        names.clients.get(row.known.client_id, ""),
                    ),
                    parts.text(row.due.title, row.due.why),
                    parts.moment(row.due.binding_due_at, now),
                    parts.moment(row.done_at, now, "not yet"),
                    row.why,
                ],
            )
            for row in shown
        ],
        empty=Empty(
            "No update of that kind", "At this date no obligation was about any.", href="?", action="As of now"
        ),
        query=request.GET,
        pages=pages,
    )
