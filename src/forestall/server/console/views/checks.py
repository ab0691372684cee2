"""The matrix of devices and kinds, and one check: its value, reason, history and evidence, in place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Count, Max
from django.http import HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString

from forestall.server.checks import queries
from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.models import Check
from forestall.server.checks.queries import Cell
from forestall.server.checks.result import Status
from forestall.server.checks.services import NotAcceptableError, target_accept, target_reject
from forestall.server.console import parts, titles, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Empty, Fact, Happening
from forestall.server.console.shell import render_page
from forestall.server.console.status_words import worst
from forestall.server.inventory import queries as inventory
from forestall.server.inventory.models import DeviceStatus
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


@dataclass(slots=True)
class Standing:
    """A device and how many of its checks say what: enough to filter and sort, without reading them all."""

    device_id: UUID
    name: str
    client: str
    site: str
    counts: dict[str, int]

    @property
    def worst(self) -> Status | None:
        return worst(self.counts)

    def fits(self, search: str, show: str) -> bool:
        if show == "problems" and not (self.counts.get(Status.FAIL) or self.counts.get(Status.WARN)):
            return False
        if show == "unknown" and not (self.counts.get(Status.UNKNOWN) or self.counts.get(Status.STALE)):
            return False
        text = f"{self.name} {self.client} {self.site}".lower()
        return all(word in text for word in search.split())

    @property
    def rank(self) -> tuple[str, int, int, str]:
        """Within its client the worst first."""
        rank = WORST[self.worst] if self.worst else len(WORST)
        return (self.client, rank, -self.counts.get(Status.FAIL, 0), self.name)


@page(permission=Permission.DEVICE_VIEW)
def checks(request: PageRequest) -> HttpResponse:
    scope = request.scope
    everything, newest = standings(scope)
    search, show = request.GET.get("q", "").strip().lower(), request.GET.get("show", "")
    fitting = sorted((one for one in everything if one.fits(search, show)), key=lambda one: one.rank)
    pages, stretch = parts.pages_of(request.GET, len(fitting), A_PAGE)
    shown = fitting[stretch]
    cells = {row.device.pk: row.cells for row in queries.matrix(scope=scope, devices=[one.device_id for one in shown])}
    present = {kind for own in cells.values() for kind in own}
    kinds = [kind for slug, kind in CHECK_KINDS.items() if slug in present]
    totals: Counter[str] = Counter()
    for one in everything:
        totals.update(one.counts)
    asked = request.GET.get("check", "")
    chosen = parts.number_typed(asked)
    context = {
        "actions": SafeString('<a class="button" href="/checks/policies/">Policies</a>'),
        "sentence": _sentence(everything, totals),
        "kinds": [(kind.slug, kind.texts.title, kind.texts.question) for kind in kinds],
        "lines": _lines(shown, cells, [kind.slug for kind in kinds], request, asked),
        "pages": pages,
        "panel": check_panel(request, chosen) if chosen is not None else "",
        "width": len(kinds) + 2,
        "tally": parts.tally(totals.items()),
        "filters": parts.Filters(
            choices=[
                parts.choice(
                    "show",
                    "Show",
                    [
                        ("", "Every device"),
                        ("problems", "With a problem"),
                        ("unknown", "With something unknown or stale"),
                    ],
                    show,
                )
            ],
            search=request.GET.get("q", ""),
            placeholder="Filter devices",
        ),
        "empty": Empty("No device fits", "Every device is left out by the filter above.", href="?", action="Show all")
        if everything
        else Empty(
            "Nothing is judged yet",
            "Each device is judged from its first check-in on: disks, services, updates, backups, access and more.",
            href="/devices/",
            action="Devices",
        ),
    }
    return render_page(request, "checks", context, section="checks", title="Checks", data_at=newest)


def standings(scope: Scope) -> tuple[list[Standing], datetime | None]:
    """Every device with its counts, and when the newest check was judged. Three queries."""
    devices = inventory.devices(scope=scope).exclude(status=DeviceStatus.REVOKED).order_by()
    found = {
        pk: Standing(pk, name, client, site, {})
        for pk, name, client, site in devices.values_list("pk", "name", "client__name", "site__name")
    }
    own = queries.checks(scope=scope).order_by()
    for device_id, status, number in own.values_list("device_id", "status").annotate(n=Count("pk")):
        if device_id in found:
            found[device_id].counts[status] = number
    return list(found.values()), own.aggregate(at=Max("judged_at"))["at"]


def _sentence(everything: list[Standing], totals: Counter[str]) -> parts.Html:
    if not totals:
        return "No device is judged yet."
    failing, number = sum(one.worst is Status.FAIL for one in everything), len(everything)
    if failing:
        does = words.does(failing, "have")
        first = format_html("<b>{} of {}</b> {} a failing check", failing, words.plural(number, "device"), does)
    else:
        first = format_html("No check fails on {}", words.plural(number, "device"))
    blind, answers = totals[Status.UNKNOWN] + totals[Status.STALE], words.plural(totals.total(), "answer")
    second = f"{blind:,} of {answers} are unknown or stale" if blind else f"{answers}, none unknown or stale"
    return format_html("{}; {}.", first, second)


def _lines(
    shown: list[Standing], cells: Mapping[UUID, Mapping[str, Cell]], kinds: list[str], request: PageRequest, asked: str
) -> list[Line]:
    lines, client = [], ""
    base = parts.address(request.GET, check=None)
    base = escape(base + ("&" if len(base) > 1 else ""))
    names = {kind: titles.kind_title(kind) for kind in kinds}
    for one in shown:
        own = cells.get(one.device_id, {})
        # Thousands of cells on a page: put together by hand, each text in them escaped.
        row = "".join(_cell(own.get(kind), names[kind], base, asked) for kind in kinds)
        state = one.worst
        total = parts.status(state, f"{one.counts[state]} {state}") if state else parts.none("nothing to judge", "none")
        lines.append(
            Line(
                client=one.client if one.client != client else "",
                href=f"/devices/{one.device_id}/",
                name=one.name,
                cells=SafeString(row),
                total=total,
            )
        )
        client = one.client
    return lines


def _cell(cell: Cell | None, kind: str, base: str, asked: str) -> str:
    """A cell of the matrix. What passes says so; what does not says why on hover."""
    if cell is None:
        return "<td></td>"
    status = cell.status.value
    says = status if cell.status is Status.PASS else cell.reason
    current = ' aria-current="true"' if asked == str(cell.check_id) else ""
    return (
        f'<td><a href="{base}check={cell.check_id}" title="{escape(f"{kind}: {says}")}" data-panel-link{current}>'
        f'<span class="shape shape-{status}"><span class="visually-hidden">{status}</span></span></a></td>'
    )


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
