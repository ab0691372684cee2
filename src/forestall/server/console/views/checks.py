"""The matrix of devices and kinds, and one check: its value, reason, history and evidence, in place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from forestall.server.checks import queries
from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.models import Check
from forestall.server.checks.queries import MatrixRow
from forestall.server.checks.result import Status
from forestall.server.checks.services import NotAcceptableError, target_accept, target_reject
from forestall.server.console import parts, titles, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Empty, Fact, Happening
from forestall.server.console.shell import render_page
from forestall.server.people.scope import Permission, Scope
from forestall.server.tickets import queries as tickets

HISTORY = timedelta(days=30)
A_PAGE = 100
WORST = {
    status: rank for rank, status in enumerate((Status.FAIL, Status.WARN, Status.UNKNOWN, Status.STALE, Status.PASS))
}
CHANGES_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Line:
    """A device of the matrix, ready to show."""

    client: str
    """Heading before it; empty: the same client as the line before."""
    href: str
    name: str
    cells: SafeString
    total: SafeString


@page(permission=Permission.DEVICE_VIEW)
def checks(request: PageRequest) -> HttpResponse:
    scope = request.scope
    rows = queries.matrix(scope=scope)
    search, show = request.GET.get("q", "").strip().lower(), request.GET.get("show", "")
    counts: dict[str, int] = {}
    for row in rows:
        for cell in row.cells.values():
            counts[cell.status] = counts.get(cell.status, 0) + 1
    shown = [row for row in rows if _fits(row, search, show)]
    shown.sort(key=_rank)
    pages, stretch = parts.pages_of(request.GET, len(shown), A_PAGE)
    present = {kind for row in rows for kind in row.cells}
    kinds = [kind for slug, kind in CHECK_KINDS.items() if slug in present]
    asked = request.GET.get("check", "")
    panel = check_panel(request, int(asked)) if asked.isdecimal() else ""
    context = {
        "sentence": _sentence(rows, counts),
        "kinds": [(kind.slug, kind.texts.title, kind.texts.question) for kind in kinds],
        "lines": _lines(shown[stretch], [kind.slug for kind in kinds], request, asked),
        "pages": pages,
        "panel": panel,
        "width": len(kinds) + 2,
        "tally": parts.tally(counts.items()),
        "filters": parts.Filters(
            choices=[
                parts.choice(
                    "show",
                    "Show",
                    [
                        ("", "Every device"),
                        ("problems", "With a problem"),
                        ("unknown", "With an unknown or stale check"),
                    ],
                    show,
                )
            ],
            search=request.GET.get("q", ""),
            placeholder="Filter devices",
        ),
        "empty": Empty("No device fits", "Every device is left out by the filter above.", href="?", action="Show all")
        if rows
        else Empty(
            "Nothing is judged yet",
            "Each device is judged from its first check-in on: disks, services, updates, backups, access and more.",
            href="/devices/",
            action="Devices",
        ),
    }
    newest = max((cell.judged_at for row in rows for cell in row.cells.values()), default=None)
    return render_page(request, "checks", context, section="checks", title="Checks", data_at=newest)


def _fits(row: MatrixRow, search: str, show: str) -> bool:
    statuses = {cell.status for cell in row.cells.values()}
    if show == "problems" and not statuses & {Status.FAIL, Status.WARN}:
        return False
    if show == "unknown" and not statuses & {Status.UNKNOWN, Status.STALE}:
        return False
    text = f"{row.device.name} {row.device.client.name} {row.device.site.name}".lower()
    return all(word in text for word in search.split())


def _rank(row: MatrixRow) -> tuple[str, int, int, str]:
    worst = row.status
    fails = sum(cell.not_passing for cell in row.cells.values() if cell.status is Status.FAIL)
    return (row.device.client.name, WORST.get(worst, 9) if worst else 9, -fails, row.device.name)


def _sentence(rows: list[MatrixRow], counts: dict[str, int]) -> parts.Html:
    if not rows:
        return "No device is judged yet."
    total = sum(counts.values())
    failing = sum(row.status is Status.FAIL for row in rows)
    kinds = words.plural(total, "answer")
    if failing:
        first = format_html(
            "<b>{} of {}</b> {} a failing check",
            failing,
            words.plural(len(rows), "device"),
            words.does(failing, "have"),
        )
    else:
        first = format_html("No check fails on {}", words.plural(len(rows), "device"))
    blind = counts.get(Status.UNKNOWN, 0) + counts.get(Status.STALE, 0)
    second = f"{blind} of {kinds} are unknown or stale" if blind else f"{kinds}, none unknown or stale"
    return format_html("{}; {}.", first, second)


def _lines(rows: list[MatrixRow], kinds: list[str], request: PageRequest, asked: str) -> list[Line]:
    lines, client = [], ""
    # One string for the addresses of all cells: thousands of cells are made on each view.
    base = parts.address(request.GET, check=None, page=request.GET.get("page"))
    base += "&" if len(base) > 1 else ""
    nothing = SafeString("<td></td>")
    for row in rows:
        cells = []
        for kind in kinds:
            cell = row.cells.get(kind)
            if cell is None:
                cells.append(nothing)
                continue
            current = ' aria-current="true"' if asked == str(cell.check_id) else ""
            # The status is a member of Status and the id a number: only the title needs escaping.
            cells.append(
                format_html(
                    '<td><a href="{}check={}" id="c{}" title="{}" data-panel-link hx-get="/checks/{}/panel" '
                    'hx-target="#panel"{}><span class="shape shape-{}"><span class="visually-hidden">{}</span></span>'
                    "</a></td>",
                    SafeString(base),
                    cell.check_id,
                    cell.check_id,
                    f"{titles.kind_title(kind)}: {cell.reason}",
                    cell.check_id,
                    SafeString(current),
                    cell.status.value,
                    cell.status.value,
                )
            )
        statuses: dict[str, int] = {}
        for cell in row.cells.values():
            statuses[cell.status] = statuses.get(cell.status, 0) + 1
        worst = row.status
        total = parts.status(worst, f"{statuses[worst]} {worst}") if worst else parts.none("nothing to judge", "none")
        heading = row.device.client.name if row.device.client.name != client else ""
        client = row.device.client.name
        lines.append(Line(heading, f"/devices/{row.device.pk}/", row.device.name, SafeString("".join(cells)), total))
    return lines


def check_panel(request: PageRequest, pk: int) -> SafeString:
    """Value, reason, thirty days, what it rests on, and what to do. Check.DoesNotExist when it is not visible."""
    scope, now = request.scope, timezone.now()
    found: Check = queries.checks(scope=scope).get(pk=pk)
    kind = CHECK_KINDS.get(found.kind)
    changes = list(queries.changes(scope=scope, device=found.device_id).filter(check_row=found).order_by("-at")[:400])
    known = [(change.at, change.new) for change in reversed(changes) if change.new in set(Status)]
    open_ticket = (
        tickets.tickets_open(scope=scope).filter(ticket_alerts__alert__check_row=found).first()
        if scope.may(Permission.TICKET_VIEW)
        else None
    )
    facts = [
        Fact(
            "Value",
            words.quantity(found.value, found.unit)
            if found.value is not None
            else parts.none("this kind has no number", "none"),
        ),
        Fact("Since", parts.moment(found.since, now)),
        Fact("Judged", parts.moment(found.judged_at, now)),
        Fact("Risk", found.risk),
    ]
    if found.forecast_at:
        facts.append(Fact("Will fail", parts.moment(found.forecast_at, now)))
    if open_ticket:
        facts.append(Fact("Ticket", parts.link(f"/tickets/{open_ticket.number}/", f"#{open_ticket.number}")))
    context: dict[str, Any] = {
        "check": found,
        "title": titles.check_title(found.kind, found.target),
        "facts": facts,
        "why": kind.texts.why if kind else "",
        "remedy": found.remedy or (kind.texts.remedy if kind else ""),
        "strip": parts.history_strip(known, start=now - HISTORY, end=now),
        "history": [
            Happening(change.at, change.reason, status=change.new if change.new in set(Status) else "")
            for change in changes[:CHANGES_SHOWN]
        ],
        "evidence": format_html_join(", ", "<code>{}</code>", ((each,) for each in found.evidence)),
        "may_accept": bool(kind and kind.acceptable) and scope.may(Permission.CHECK_CHANGE),
        "accepted": found.accepted_at is not None,
        "now": now,
        "back": request.get_full_path() if not request.path.endswith("/panel") else f"/checks/?check={found.pk}",
    }
    return render_to_string("parts/check_panel.html", context, request=request)


@page(permission=Permission.DEVICE_VIEW)
def panel(request: PageRequest, pk: int) -> HttpResponse:
    """The panel alone, to be put in place."""
    return HttpResponse(check_panel(request, pk), headers={"Cache-Control": "no-store"})


@page(permission=Permission.DEVICE_VIEW, methods=("POST",), change=Permission.CHECK_CHANGE)
def accept(request: PageRequest, pk: int) -> HttpResponse:
    """Accept a target as it is, or judge it again as before."""
    found: Check = queries.checks(scope=request.scope).get(pk=pk)
    now = timezone.now()
    try:
        if "again" in request.POST:
            target_reject(check=found, scope=request.scope, now=now)
            messages.success(request, f"{titles.check_title(found.kind, found.target)} is judged as before.")
        else:
            target_accept(check=found, scope=request.scope, reason=request.POST.get("reason", ""), now=now)
            messages.success(request, f"{titles.check_title(found.kind, found.target)} is accepted as it is.")
    except NotAcceptableError as refusal:
        messages.error(request, f"{refusal}.")
    return HttpResponseRedirect(f"/checks/?check={found.pk}")


def problems_first(scope: Scope, **which: Any) -> list[Check]:
    """Checks of a device, worst and riskiest first."""
    found = list(queries.checks(scope=scope).filter(**which))
    risks = {"critical": 0, "high": 1, "medium": 2, "low": 3}
    order = list(CHECK_KINDS)
    found.sort(
        key=lambda check: (
            WORST[Status(check.status)],
            risks[check.risk],
            order.index(check.kind) if check.kind in order else len(order),
            check.target,
        )
    )
    return found
