"""Coverage: every device and protected system × what must look after it; what is missing, by risk; exceptions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString

from forestall.server.checks.result import Risk, Status
from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column as Head
from forestall.server.console.parts import Empty, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.health import queries, services
from forestall.server.health.models import CoverageException
from forestall.server.health.queries import Gap, Line, Subject
from forestall.server.health.rules import Cell, Column
from forestall.server.inventory import queries as inventory
from forestall.server.people import queries as people
from forestall.server.people.scope import Permission, Scope
from forestall.server.recovery import queries as recovery

A_PAGE = 100
GAPS_SHOWN = 12
SORTS = {"device": "", "asset": "no agent", "system": "must be recoverable"}
METHODS = ("GET", "HEAD", "POST")


@dataclass(frozen=True, slots=True)
class Shown:
    """A row of the matrix, ready to show."""

    client: str
    """Heading before it; empty: the same client as the line before."""
    href: str
    name: str
    note: str
    cells: SafeString
    total: SafeString


@page(permission=Permission.DEVICE_VIEW)
def coverage(request: PageRequest) -> HttpResponse:
    scope, now, get = request.scope, timezone.now(), request.GET
    client = _uuid(get.get("client", ""))
    everything = queries.coverage(scope=scope, now=now, client=client)
    found = queries.gaps(everything)
    lines = _chosen(everything, get.get("q", ""), get.get("show", ""), get.get("column", ""))
    pages, stretch = parts.pages_of(get, len(lines), A_PAGE)
    clients = list(people.clients(scope=scope).order_by("name").values_list("pk", "name"))
    context = {
        "actions": SafeString(
            '<a class="button" href="/coverage/exceptions/">Exceptions</a><a class="button" href="/health/">Health</a>'
        ),
        "sentence": _in_words(everything, found),
        "columns": [(column.heading, column.question) for column in Column],
        "lines": _lines(lines[stretch]),
        "width": len(Column) + 2,
        "pages": pages,
        "gaps": _gaps_table(found[:GAPS_SHOWN], now, may=scope.may(Permission.RISK_ACCEPT)),
        "more": len(found) - GAPS_SHOWN,
        "tally": parts.tally(_tally(everything).items()),
        "csv": f"/coverage/coverage.csv{parts.address(get, page=None)}",
        "filters": parts.Filters(
            [
                parts.choice(
                    "client", "Client", [("", "All clients"), *((str(pk), n) for pk, n in clients)], str(client or "")
                ),
                parts.choice(
                    "show",
                    "Show",
                    [
                        ("", "Everything"),
                        ("gaps", "With a gap"),
                        ("devices", "Devices"),
                        ("systems", "What must be recoverable"),
                        ("unwatched", "Machines without an agent"),
                        ("excepted", "With an exception"),
                    ],
                    get.get("show", ""),
                ),
                parts.choice(
                    "column",
                    "Gap in",
                    [("", "Any column"), *((column.value, column.heading) for column in Column)],
                    get.get("column", ""),
                ),
            ],
            search=get.get("q", ""),
            placeholder="Filter by name",
        ),
        "empty": Empty("Nothing fits", "Everything is left out by the filter above.", href="?", action="Show all")
        if everything
        else Empty(
            "Nothing to cover yet",
            "Each device, each machine on the list of assets and each protected system will be a row here, with what "
            "looks after it and what does not.",
            href="/devices/enrol",
            action="Enrol a device",
        ),
    }
    return render_page(request, "coverage", context, section="coverage", title="Coverage", data_at=now, live=False)


@page(permission=Permission.DEVICE_VIEW)
def coverage_gaps(request: PageRequest) -> HttpResponse:
    """Every gap, the one that matters most first."""
    scope, now, get = request.scope, timezone.now(), request.GET
    client = _uuid(get.get("client", ""))
    found = queries.gaps(queries.coverage(scope=scope, now=now, client=client))
    column, risk = get.get("column", ""), get.get("risk", "")
    shown = [gap for gap in found if (not column or gap.column == column) and (not risk or gap.risk == risk)]
    pages, stretch = parts.pages_of(get, len(shown), A_PAGE)
    context = {
        "crumbs": SafeString('<a href="/coverage/">Coverage</a>'),
        "sentence": _gaps_in_words(found),
        "filters": parts.Filters(
            [
                parts.choice("risk", "Risk", [("", "Any risk"), *((each.value, each.value) for each in Risk)], risk),
                parts.choice(
                    "column", "Column", [("", "Any column"), *((each.value, each.heading) for each in Column)], column
                ),
            ],
            keep=[("client", str(client))] if client else [],
        ),
        "table": _gaps_table(shown[stretch], now, may=scope.may(Permission.RISK_ACCEPT), pages=pages),
    }
    return render_page(request, "listing", context, section="coverage", title="Gaps", data_at=now, live=False)


@page(permission=Permission.DEVICE_VIEW)
def coverage_csv(request: PageRequest) -> HttpResponse:
    """The matrix as CSV, a row a cell."""
    get, now = request.GET, timezone.now()
    lines = queries.coverage(scope=request.scope, now=now, client=_uuid(get.get("client", "")))
    lines = _chosen(lines, get.get("q", ""), get.get("show", ""), get.get("column", ""))
    answer = HttpResponse(queries.csv_of(lines), content_type="text/csv")
    answer["Content-Disposition"] = f'attachment; filename="coverage-{now:%Y-%m-%d}.csv"'
    return answer


def _uuid(typed: str) -> UUID | None:
    try:
        return UUID(typed)
    except ValueError:
        return None


def _chosen(lines: Sequence[Line], search: str, show: str, column: str) -> list[Line]:
    sort = {"devices": "device", "systems": "system", "unwatched": "asset"}.get(show)
    wanted = [one for one in Column if one.value == column]
    asked = search.lower().split()

    def fits(line: Line) -> bool:
        one = line.subject
        if sort is not None and one.sort != sort:
            return False
        if show == "gaps" and not line.gaps:
            return False
        if show == "excepted" and not any(cell.excepted_until for cell in line.cells.values()):
            return False
        if wanted and not line.cells[wanted[0]].is_gap:
            return False
        text = f"{one.name} {one.client} {one.site}".lower()
        return all(word in text for word in asked)

    return [line for line in lines if fits(line)]


def _tally(lines: Sequence[Line]) -> Counter[str]:
    return Counter(cell.status.value for line in lines for cell in line.cells.values() if cell.status is not None)


def _in_words(lines: Sequence[Line], found: Sequence[Gap]) -> parts.Html:
    if not lines:
        return "Nothing is to be covered yet: no device has enrolled."
    whole = sum(not line.gaps for line in lines)
    if not found:
        return format_html("<b>Nothing is left uncovered</b> on {}.", words.plural(len(lines), "row"))
    grave = sum(gap.risk in {Risk.CRITICAL, Risk.HIGH} for gap in found)
    most = Counter(gap.column for gap in found).most_common(1)[0]
    return format_html(
        '<a href="/coverage/gaps/"><b>{}</b></a>, {} of high or critical risk, most of them in {} ({}); '
        "{} of {} have none.",
        words.plural(len(found), "gap"),
        f"{grave:,}",
        most[0].heading.lower(),
        f"{most[1]:,}",
        f"{whole:,}",
        words.plural(len(lines), "row"),
    )


def _gaps_in_words(found: Sequence[Gap]) -> str:
    if not found:
        return "Nothing is left uncovered."
    counts = Counter(gap.risk for gap in found)
    said = ", ".join(f"{counts[risk]:,} {risk}" for risk in Risk if counts[risk])
    return f"{words.plural(len(found), 'gap')}: {said}. What one puts at risk ranks it; the button leads to its fix."


def _lines(lines: Sequence[Line]) -> list[Shown]:
    shown, client = [], ""
    for line in lines:
        one = line.subject
        # Hundreds of cells on a page: put together by hand, each text in them escaped.
        cells = "".join(_cell(column, cell) for column, cell in line.cells.items())
        total = parts.status("fail", words.plural(line.gaps, "gap")) if line.gaps else parts.status("pass", "covered")
        shown.append(
            Shown(
                one.client if one.client != client else "",
                one.href,
                one.name,
                SORTS[one.sort],
                SafeString(cells),
                total,
            )
        )
        client = one.client
    return shown


def _cell(column: Column, cell: Cell) -> str:
    title = escape(f"{column.heading}: {cell.why}")
    if cell.status is None:
        return f'<td><span class="none" title="{title}">n/a</span></td>'
    status = cell.status.value
    if cell.excepted_until is not None:
        until = escape(f"{title}. Excepted until {cell.excepted_until:%Y-%m-%d}: {cell.exception_reason}")
        said = f'<span class="tag">excepted</span><span class="visually-hidden">{status}</span>'
        return f'<td><a href="{escape(cell.href)}" title="{until}">{said}</a></td>'
    shape = f'<span class="shape shape-{status}"><span class="visually-hidden">{status}</span></span>'
    return f'<td><a href="{escape(cell.href)}" title="{title}">{shape}</a></td>'


RISK_TAG = {Risk.CRITICAL: "fail", Risk.HIGH: "fail", Risk.MEDIUM: "warn", Risk.LOW: ""}


def _except_href(subject: Subject, column: Column) -> str:
    place = f"system:{subject.system_id}" if subject.sort == "system" else f"device:{subject.device_id}"
    return f"/coverage/exceptions/?place={place}&column={column.value}#grant"


def _gaps_table(found: Sequence[Gap], now: datetime, *, may: bool, pages: parts.Pages | None = None) -> Table:
    return Table(
        caption="Gaps by risk",
        columns=[
            Head("Risk"),
            Head("What", "lead"),
            Head("Is missing", "second"),
            Head("Why", "wide"),
            Head("Seen"),
            Head(""),
        ],
        rows=[
            Row(
                key=f"gap-{gap.subject.sort}-{gap.subject.id}-{gap.column}",
                cells=[
                    parts.tag(gap.risk.value, RISK_TAG[gap.risk]),
                    parts.link(
                        gap.subject.href,
                        gap.subject.name,
                        " · ".join(filter(None, [gap.subject.client, gap.subject.site, SORTS[gap.subject.sort]])),
                    ),
                    format_html(
                        '<a href="{}" title="{}">{}</a>',
                        gap.cell.href,
                        gap.cell.fix or "Open",
                        parts.status(gap.cell.status or Status.UNKNOWN, gap.column.heading),
                    ),
                    gap.cell.why,
                    parts.moment(gap.cell.at, now, never="never"),
                    parts.joined(
                        [
                            parts.link(gap.cell.href, gap.cell.fix or "Open"),
                            parts.link(_except_href(gap.subject, gap.column), "Except")
                            if may and gap.subject.sort != "asset"
                            else "",
                        ]
                    ),
                ],
            )
            for gap in found
        ],
        empty=Empty("Nothing is left uncovered", "Every row passes in every column, or an exception says why not."),
        pages=pages,
    )


# --- exceptions -------------------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW, change=Permission.RISK_ACCEPT, methods=METHODS)
def coverage_exceptions(request: PageRequest) -> HttpResponse:
    """Gaps that were accepted for a while; and the form that accepts one."""
    scope, now = request.scope, timezone.now()
    if request.method == "POST":
        return _grant(request, now)
    get = request.GET
    everything = get.get("show", "") == "all"
    found = queries.exceptions(scope=scope, in_force_at=None if everything else now)
    pages, stretch = parts.pages_of(get, found.count(), A_PAGE)
    shown = list(found.order_by("expires_at", "pk")[stretch])
    in_force = [one for one in shown if one.ended_at is None and one.expires_at > now]
    may = scope.may(Permission.RISK_ACCEPT)
    context = {
        "crumbs": SafeString('<a href="/coverage/">Coverage</a>'),
        "sentence": _exceptions_in_words(in_force, now),
        "filters": parts.Filters(
            [parts.choice("show", "Show", [("", "In force"), ("all", "Those that are over, too")], get.get("show", ""))]
        ),
        "table": _exceptions_table(shown, now, pages),
        "endable": in_force if may else [],
        "may": may,
        "places": _places(scope, get.get("place", "")) if may else [],
        "place": get.get("place", ""),
        "columns": [(one.value, one.heading) for one in Column],
        "column": get.get("column", ""),
        "until": (now + timedelta(days=90)).date().isoformat(),
        "soonest": (now + timedelta(days=1)).date().isoformat(),
    }
    return render_page(
        request, "coverage_exceptions", context, section="coverage", title="Exceptions from coverage", live=False
    )


def _exceptions_in_words(found: Sequence[CoverageException], now: datetime) -> str:
    if not found:
        return "No gap is accepted: every one counts."
    soon = sum(one.expires_at <= now + timedelta(days=14) for one in found)
    said = f"{words.plural(len(found), 'gap')} {words.does(len(found), 'are')} accepted for now"
    return f"{said}; {soon} {words.does(soon, 'count')} again within two weeks." if soon else f"{said}."


def _exceptions_table(shown: Sequence[CoverageException], now: datetime, pages: parts.Pages | None) -> Table:
    return Table(
        caption="Exceptions",
        columns=[
            Head("Where", "lead"),
            Head("Column"),
            Head("Ends", "second"),
            Head("Why", "wide"),
            Head("Granted"),
        ],
        rows=[
            Row(
                key=f"exception-{one.pk}",
                cells=[
                    parts.text(services.where_of(one), one.client.name),
                    Column(one.column).heading,
                    parts.text(parts.moment(one.ended_at, now), f"ended by {one.ended_by}")
                    if one.ended_at is not None
                    else parts.text(
                        parts.moment(one.expires_at, now), "expired: it counts again" if one.expires_at <= now else ""
                    ),
                    one.reason,
                    parts.text(parts.moment(one.granted_at, now), one.granted_by),
                ],
            )
            for one in shown
        ],
        empty=Empty(
            "No exception",
            "Where something need not be covered for a while, an exception says why and until when. It stays in the "
            "matrix, and counts again when it ends.",
            href="/coverage/gaps/",
            action="Gaps by risk",
        ),
        pages=pages,
    )


def _places(scope: Scope, chosen: str) -> list[tuple[str, str]]:
    from forestall.server.clients.queries import served, sites_served

    found: list[tuple[str, str]] = []
    sort, _, key = chosen.partition(":")
    if sort == "device" and (pk := _uuid(key)) is not None:
        found += [(chosen, f"device {one.name}") for one in inventory.devices(scope=scope).filter(pk=pk)]
    if sort == "system" and (number := parts.number_typed(key)) is not None:
        found += [(chosen, f"protected system {one.name}") for one in recovery.systems(scope=scope).filter(pk=number)]
    found += [(f"client:{one.pk}", f"all of {one.name}") for one in served(scope=scope).order_by("name")]
    sites = sites_served(scope=scope).select_related("client").order_by("client__name", "name")
    return found + [(f"site:{one.pk}", f"{one.client.name}, {one.name}") for one in sites]


def _grant(request: PageRequest, now: datetime) -> HttpResponse:
    from forestall.server.clients.queries import served, sites_served

    scope, post = request.scope, request.POST
    sort, _, key = post.get("place", "").partition(":")
    pk, number = _uuid(key), parts.number_typed(key)
    about: dict[str, Any] = {}
    if sort == "device" and pk:
        about["device"] = inventory.devices(scope=scope).get(pk=pk)
    elif sort == "site" and pk:
        about["site"] = sites_served(scope=scope).get(pk=pk)
    elif sort == "client" and pk:
        about["client"] = served(scope=scope).get(pk=pk)
    elif sort == "system" and number is not None:
        about["system"] = recovery.systems(scope=scope).get(pk=number)
    back = HttpResponseRedirect("/coverage/exceptions/")
    try:
        day = date.fromisoformat(post.get("until", ""))
    except ValueError:
        scope.require(Permission.RISK_ACCEPT, on=next(iter(about.values()), None))
        messages.error(request, f"until: {post.get('until', '')[:20]!r} is no day.")
        return back
    try:
        services.coverage_except(
            column=post.get("column", ""), reason=post.get("reason", ""), scope=scope, now=now,
            expires_at=datetime.combine(day, time(23, 59), UTC), **about,
        )  # fmt: skip
    except services.CoverageError as refusal:
        messages.error(request, f"{refusal}.")
    else:
        messages.success(request, f"Accepted until {day}, and on record; then it counts again.")
    return back


@page(permission=Permission.DEVICE_VIEW, change=Permission.RISK_ACCEPT, methods=("POST",))
def coverage_exception_end(request: PageRequest, coverage_exception_id: int) -> HttpResponse:
    """End an exception before its time."""
    found = queries.exceptions(scope=request.scope).get(pk=coverage_exception_id)
    try:
        services.coverage_exception_end(exception=found, scope=request.scope, now=timezone.now())
    except services.CoverageError as refusal:
        messages.error(request, f"{refusal}.")
    else:
        messages.success(request, "It has ended: the gap counts again.")
    return HttpResponseRedirect("/coverage/exceptions/")
