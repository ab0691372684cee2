"""A device: what it is, how it is, what happened to it, and everything it reported."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect, JsonResponse
from django.utils import timezone
from django.utils.html import format_html, strip_tags

from forestall.server.checks import queries as checks
from forestall.server.checks.models import Check
from forestall.server.checks.result import Status
from forestall.server.console import parts, samples, svg, titles, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Fact, Happening, Row, Tab, Table
from forestall.server.console.shell import render_page
from forestall.server.console.status_words import is_silent, state_in_words
from forestall.server.console.views import access, configuration, deployments, recovery, vulnerabilities
from forestall.server.console.views.checks import check_panel, problems_first
from forestall.server.console.views.device_tabs import FACTS_TABS, Known, Section
from forestall.server.console.views.evidence import entries_table
from forestall.server.evidence import queries as evidence
from forestall.server.inventory import queries as inventory
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.inventory.services import DeviceStateError, device_approve, device_revoke
from forestall.server.metrics import queries as metrics
from forestall.server.people.scope import Permission, Scope
from forestall.server.plaintext import cell_inert
from forestall.server.runbooks import queries as runbooks
from forestall.server.tickets import queries as tickets

HAPPENINGS = 30
EVIDENCE_SHOWN = 200
TABS = (
    ("", "Overview"),
    ("metrics", "Metrics"),
    *((slug, title) for slug, (title, _) in FACTS_TABS.items()),
    ("configuration", "Configuration"),
    ("vulnerabilities", "Vulnerabilities"),
    ("evidence", "Evidence"),
)
CHARTS_OF_OVERVIEW = ("cpu", "memory")


@page(permission=Permission.DEVICE_VIEW)
def device(request: PageRequest, device_id: UUID, tab: str = "") -> HttpResponse:
    scope, now = request.scope, timezone.now()
    found: Device = inventory.devices(scope=scope).get(pk=device_id)
    if tab not in {slug for slug, _ in TABS}:
        raise Http404
    own = problems_first(scope, device=found)
    context = {
        "device": found,
        "crumbs": format_html(
            '<a href="/devices/">Devices</a> › <a href="/devices/?client={}">{}</a> › {}',
            found.client_id,
            found.client.name,
            found.site.name,
        ),
        "sentence": device_sentence(found, own, now),
        "tabs": _tabs(found, tab, own),
        "is_pending": found.status == DeviceStatus.PENDING and scope.may(Permission.DEVICE_APPROVE),
        "is_silent": found.status == DeviceStatus.APPROVED and is_silent(found, now),
        "tab": tab,
    }
    if tab == "":
        context |= _overview(request, found, own, now)
    elif tab == "metrics":
        context |= _metrics(request, found, now)
    elif tab == "configuration":
        context |= configuration.device_tab(request, found, now)
    elif tab == "vulnerabilities":
        context |= vulnerabilities.device_tab(request, found, now)
    elif tab == "updates":
        reported = _facts_tab(request, found, tab, now)
        context |= reported | deployments.device_tab(request, found, now, known=reported["facts"])
    elif tab == "backups":
        reported = _facts_tab(request, found, tab, now)
        systems, proofs = recovery.device_sections(scope=scope, device=found, now=now)
        sections = [
            Section("What must be recoverable", systems),
            Section("Backups", reported["sections"][0].table),
            Section("Proofs", proofs),
        ]
        context |= reported | {"sections": sections}
    elif tab == "access":
        context |= _facts_tab(request, found, tab, now) | access.device_tab(request, found, now)
    elif tab == "evidence":
        scope.require(Permission.EVIDENCE_VIEW)
        rows = list(evidence.entries(scope=scope).filter(device_id=found.pk).order_by("-at", "-index")[:EVIDENCE_SHOWN])
        context |= {"table": entries_table(rows, now)}
    else:
        context |= _facts_tab(request, found, tab, now)
    own_template = tab in {"metrics", "vulnerabilities", "updates", "evidence", "access", "configuration"}
    return render_page(
        request,
        f"device_{tab if own_template else 'facts' if tab else 'overview'}",
        context,
        section="devices",
        title=found.name,
        data_at=found.last_check_in_at,
        live=tab != "metrics",
    )


def _tabs(found: Device, tab: str, own: list[Check]) -> list[Tab]:
    numbers: dict[str, str] = {}
    pending = sum(int(c.value or 0) for c in own if c.kind in {"security_updates", "other_updates"})
    if pending:
        numbers["updates"] = str(pending)
    base = f"/devices/{found.pk}/"
    return [Tab(title, f"{base}{slug}/" if slug else base, slug == tab, numbers.get(slug, "")) for slug, title in TABS]


def device_sentence(found: Device, own: list[Check], now: datetime) -> parts.Html:
    """What is true of this device, worst first."""
    counts = Counter(check.status for check in own)
    if found.status == DeviceStatus.PENDING:
        return format_html(
            "Enrolled {} and waits for approval; until then it may not check in.", words.ago(found.enrolled_at, now)
        )
    if found.status == DeviceStatus.REVOKED:
        return "Its access was ended. What it reported until then stays readable."
    state = state_in_words(found, counts, now)
    worst = next((check for check in own if check.status in {Status.FAIL, Status.WARN}), None)
    if worst is None:
        silent = is_silent(found, now)
        rest = "nothing newer is known." if silent else "nothing needs a person here."
        return format_html("{}; {}", state, rest)
    more = sum(counts[s] for s in (Status.FAIL, Status.WARN)) - 1
    tail = f" And {words.plural(more, 'other check')} {words.does(more, 'do')} not pass." if more else ""
    return format_html("{}. {}{}", state, worst.reason, tail)


# --- overview ------------------------------------------------------------------------------------------------


def _overview(request: PageRequest, found: Device, own: list[Check], now: datetime) -> dict[str, Any]:
    scope = request.scope
    facts = inventory.facts_of(scope=scope, device=found)
    system = facts.system
    identity = [
        Fact("State", state_in_words(found, Counter(check.status for check in own), now)),
        Fact("Role", found.role),
        Fact(
            "Tags",
            parts.joined(
                (
                    format_html('<a href="/devices/?tag={}">{}</a>', name, parts.tag(name))
                    for _, name in inventory.tags_of(scope=scope, devices=[found.pk])
                ),
                separator=" ",
            )
            or parts.none("nobody has put a tag on it"),
        ),
        Fact("System", found.os_name or parts.none("it has not reported its system yet", "unknown")),
    ]
    if system:
        identity += [
            Fact("Kernel", system.kernel),
            Fact("Processor", f"{system.cpu_count} × {system.cpu_model or system.architecture}"),
            Fact("Memory", words.size(system.memory_bytes)),
            Fact(
                "Hardware",
                " ".join(filter(None, (system.manufacturer, system.model))) or system.virtualisation or "unknown",
            ),
            Fact("Started", parts.moment(system.booted_at, now, "unknown")),
        ]
    identity += [
        Fact("Last check-in", parts.moment(found.last_check_in_at, now)),
        Fact("Clock", _clock_offset(found)),
        Fact("Agent", found.agent_version or parts.none("it has not said", "unknown")),
        Fact("Enrolled", parts.moment(found.enrolled_at, now)),
    ]
    if found.approved_at:
        identity.append(
            Fact("Approved", format_html("{} by {}", parts.moment(found.approved_at, now), found.approved_by))
        )
    chosen = parts.number_typed(request.GET.get("check", ""))
    open_tickets = (
        list(tickets.tickets_open(scope=scope).filter(device=found)) if scope.may(Permission.TICKET_VIEW) else []
    )
    may_describe = scope.may(Permission.DEVICE_CHANGE, on=found)
    return {
        "actions": format_html(
            '<a class="button" href="/health/devices/{0}/">Health</a>'
            '<a class="button" href="/checks/policies/?place=device:{0}">Policies</a>'
            '<a class="button" href="/devices/{0}/describe">Describe</a>',
            found.pk,
        )
        if may_describe
        else "",
        "facts": identity,
        "table": _checks_table([check for check in own if check.status != Status.PASS], now, bool(own)),
        "passing": _checks_table([check for check in own if check.status == Status.PASS], now, bool(own)),
        "panel": check_panel(request, chosen) if chosen is not None else "",
        "happenings": happenings_of(scope=scope, device=found, since=now - timedelta(days=30), until=now),
        "open_tickets": open_tickets,
        "refusals": list(inventory.refusals(scope=scope, device=found)[:5]),
        "may_revoke": scope.may(Permission.DEVICE_APPROVE) and found.status != DeviceStatus.REVOKED,
    }


def _clock_offset(found: Device) -> parts.Html:
    offset = found.clock_offset_seconds
    if offset is None:
        return parts.none("not measured yet", "unknown")
    if abs(offset) < 1:
        return "within a second of this server"
    return f"{abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} this server"


def _checks_table(own: list[Check], now: datetime, judged: bool) -> Table:  # noqa: FBT001 - says which empty text fits
    return Table(
        caption="Checks",
        columns=[Column("Check", "lead"), Column("Answer", "second"), Column("Reason", "wide"), Column("Since")],
        rows=[
            Row(
                key=f"check-{check.pk}",
                cells=[
                    format_html(
                        '<a href="?check={}" data-panel-link>{}</a>',
                        check.pk,
                        titles.check_title(check.kind, check.target),
                    ),
                    parts.status(check.status),
                    check.reason,
                    parts.moment(check.since, now),
                ],
            )
            for check in own
        ],
        empty=Empty("Every check passes", "Nothing fails, warns, is unknown or is stale here.")
        if judged
        else Empty(
            "Not judged yet",
            "Checks appear with the first check-in after approval. The agent checks in every minute.",
            command="forestall agent check-in",
        ),
    )


def happenings_of(*, scope: Scope, device: Device, since: datetime, until: datetime) -> list[Happening]:
    """Everything noted about a device in a span, newest first: checks, facts, tickets and jobs on one line of time."""
    found: list[Happening] = []
    changes = checks.changes(scope=scope, device=device).filter(at__gte=since, at__lte=until).exclude(old="")
    for change in changes[:HAPPENINGS]:
        known = change.new in set(Status)
        found.append(
            Happening(
                change.at,
                titles.check_title(change.check_row.kind, change.check_row.target)
                + (f" {_verb(change.new)}" if known else " is gone"),
                status=change.new if known else "",
                note=change.reason,
            )
        )
    for fact in inventory.facts_changes(scope=scope, device=device).filter(at__gte=since, at__lte=until)[:HAPPENINGS]:
        found.append(Happening(fact.at, f"{fact.name.capitalize()}: {fact.summary}"))
    if scope.may(Permission.TICKET_VIEW):
        for ticket in tickets.tickets(scope=scope).filter(device=device, opened_at__range=(since, until))[:HAPPENINGS]:
            href = f"/tickets/{ticket.number}/"
            found.append(Happening(ticket.opened_at, f"Ticket #{ticket.number} opened", href=href, note=ticket.title))
            if ticket.resolved_at:
                found.append(
                    Happening(
                        ticket.resolved_at,
                        f"Ticket #{ticket.number} {ticket.state}",
                        href=href,
                        note=ticket.close_reason,
                    )
                )
    if scope.may(Permission.RUNBOOK_VIEW):
        for job in runbooks.jobs(scope=scope).filter(device=device, created_at__range=(since, until))[:HAPPENINGS]:
            found.append(
                Happening(
                    job.finished_at or job.created_at,
                    f"{job.runbook.title}: {job.get_state_display()}",
                    href=f"/jobs/{job.pk}/",
                    note=job.result_detail or job.reason,
                    status="fail" if job.state in {"failed", "refused"} else "",
                )
            )
    found.append(Happening(device.enrolled_at, "Enrolled"))
    if device.approved_at:
        found.append(Happening(device.approved_at, "Approved", who=device.approved_by))
    return [h for h in parts.timeline_of(found) if since <= h.at <= until][:HAPPENINGS]


def _verb(status: str) -> str:
    return {"pass": "passes", "warn": "warns", "fail": "fails"}.get(status, f"is {status}")


# --- metrics -------------------------------------------------------------------------------------------------


def _metrics(request: PageRequest, found: Device, now: datetime) -> dict[str, Any]:
    scope = request.scope
    span = samples.span_of(request.GET, now, since=found.enrolled_at)
    charts = samples.charts_of(metrics.series_names(scope=scope, device=found))
    noted = happenings_of(scope=scope, device=found, since=span.start, until=span.end)
    drawn = samples.draw(scope=scope, device=found, charts=charts, span=span, now=now, marks=_marks(noted))
    shown_as_table = request.GET.get("table", "")
    return {
        "ranges": samples.ranges_of(span, found.site.zone, now),
        "charts": [_figure(found, each, shown_as_table) for each in drawn],
        "happenings": noted,
        "empty": Empty(
            "No samples yet",
            "The agent sends samples with every check-in: processor, memory, volumes, disks, network.",
            command="forestall agent check-in",
        ),
    }


def _marks(noted: Sequence[Happening]) -> list[svg.Mark]:
    return [svg.Mark(each.at.timestamp(), strip_tags(str(each.what)), each.status) for each in noted]


def _figure(found: Device, drawn: samples.Drawn, shown_as_table: str) -> dict[str, Any]:
    key = drawn.chart.key
    base = f"/devices/{found.pk}/series"
    table = None
    if shown_as_table == key:
        columns = [
            Column("Time (UTC)", "lead"),
            *(Column(name, "second num" if not n else "num") for n, name in enumerate(drawn.columns)),
        ]
        rows = [
            Row([f"{at:%Y-%m-%d %H:%M}", *("" if v is None else f"{v:,.2f}" for v in values)])
            for at, values in drawn.rows()
        ]
        table = Table(f"{drawn.chart.title} as a table", columns, rows, Empty("No samples", "None in this span."))
    return {
        "key": f"chart-{key}",
        "title": drawn.chart.title,
        "reading": drawn.reading,
        "href": f"{base}.json?chart={_quoted(key)}",
        "csv": f"{base}.csv?chart={_quoted(key)}&{drawn.span.query}",
        "table": f"?{drawn.span.query}&table={_quoted(key)}#chart-{_quoted(key)}",
        "drawing": drawn.drawing(),
        "data": table,
    }


def _quoted(text: str) -> str:
    return quote(text, safe="")


@page(permission=Permission.DEVICE_VIEW)
def series(request: PageRequest, device_id: UUID, form: str) -> HttpResponse:
    """One chart's samples, for the browser's chart (``json``) or to take away (``csv``)."""
    scope, now = request.scope, timezone.now()
    found: Device = inventory.devices(scope=scope).get(pk=device_id)
    charts = samples.charts_of(metrics.series_names(scope=scope, device=found))
    wanted = [chart for chart in charts if chart.key == request.GET.get("chart", "")]
    if not wanted:
        raise Http404
    span = samples.span_of(request.GET, now, since=found.enrolled_at)
    noted = happenings_of(scope=scope, device=found, since=span.start, until=span.end) if form == "json" else []
    drawn = samples.draw(scope=scope, device=found, charts=wanted, span=span, now=now, marks=_marks(noted))[0]
    if form == "json":
        return JsonResponse(drawn.plain(), headers={"Cache-Control": "no-store"})
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(["time", *(cell_inert(name) for name in drawn.columns)])
    for at, values in drawn.rows():
        writer.writerow([at.isoformat(), *("" if value is None else value for value in values)])
    name = "".join(c if c.isalnum() else "-" for c in f"{found.name}-{drawn.chart.key}").strip("-")
    return HttpResponse(
        written.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"', "Cache-Control": "no-store"},
    )


# --- facts ---------------------------------------------------------------------------------------------------


def _facts_tab(request: PageRequest, found: Device, tab: str, now: datetime) -> dict[str, Any]:
    scope = request.scope
    latest = metrics.samples_latest(
        scope=scope, devices=[found], metrics=["disk.used_percent", "disk.free_bytes", "inodes.used_percent"]
    )
    known = Known(
        facts=inventory.facts_of(scope=scope, device=found),
        meta=inventory.facts_meta(scope=scope, device=found),
        latest={name: value for name, (_, value) in latest.get(found.pk, {}).items()},
        first_seen=inventory.first_seen(scope=scope, device=found) if tab == "updates" else {},
        query=request.GET,
        now=now,
    )
    return FACTS_TABS[tab][1](known)


# --- acts ----------------------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW, methods=("POST",), change=Permission.DEVICE_APPROVE)
def device_act(request: PageRequest, device_id: UUID, act: str) -> HttpResponse:
    """Approve a device, or end its access."""
    found: Device = inventory.devices(scope=request.scope).get(pk=device_id)
    now = timezone.now()
    try:
        if act == "approve":
            device_approve(device=found, scope=request.scope, now=now)
            messages.success(request, f"{found.name} is approved and may check in.")
        else:
            device_revoke(device=found, scope=request.scope, reason=request.POST.get("reason", ""), now=now)
            messages.success(request, f"The access of {found.name} has ended.")
    except (DeviceStateError, ValueError) as refusal:
        messages.error(request, f"{str(refusal)[:1].upper()}{str(refusal)[1:]}.")
    return HttpResponseRedirect(f"/devices/{device_id}/")
