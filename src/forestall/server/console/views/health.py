"""Health: scores of clients and devices, the checks behind every lost point, and the runs of past mornings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.console import parts, svg, titles, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.health import queries, services
from forestall.server.health.models import HealthRun
from forestall.server.health.queries import ClientHealth, DeviceHealth
from forestall.server.health.rules import device_weight
from forestall.server.inventory import queries as inventory
from forestall.server.people import queries as people
from forestall.server.people.scope import Permission

A_PAGE = 100
RUNS_SHOWN = 30
CRUMBS = SafeString('<a href="/health/">Health</a>')
WELL, POOR = 90, 60
"""From where a score counts as well, and below which as failing."""


@page(permission=Permission.DEVICE_VIEW)
def health(request: PageRequest) -> HttpResponse:
    """All clients, or one with its devices and its mornings."""
    scope, now = request.scope, timezone.now()
    wanted = _uuid(request.GET.get("client", ""))
    found = queries.health(scope=scope, client=wanted)
    clients = [(str(one.client_id), one.name) for one in found] if wanted is None else []
    one = found[0] if wanted is not None and found else found[0] if len(found) == 1 else None
    history = list(queries.runs(scope=scope).filter(client=one.client_id)[:RUNS_SHOWN]) if one is not None else []
    devices = list(one.devices) if one is not None else [each for client in found for each in client.devices]
    devices.sort(key=lambda each: (each.score.exact, each.name.lower()))
    pages, stretch = parts.pages_of(request.GET, len(devices), A_PAGE)
    runnable = one is not None and scope.place(Permission.CHECK_CHANGE).covers(one.client_id, None)
    context = {
        "crumbs": CRUMBS if wanted is not None else "",
        "sentence": _in_words(found, one, history, now),
        "actions": SafeString('<a class="button" href="/coverage/">Coverage</a>'),
        "clients": _clients_table(found) if one is None and len(found) > 1 else "",
        "devices": _devices_table(devices[stretch], one, pages),
        "one": one,
        "runnable": runnable,
        "runs": _runs_table(history, now) if one is not None else "",
        "trend": _trend(history),
        "summary": history[0] if history else None,
        "known_clients": clients,
    }
    return render_page(
        request, "health", context, section="health", title=one.name if one is not None and wanted else "Health",
        data_at=now, live=False,
    )  # fmt: skip


@page(permission=Permission.DEVICE_VIEW)
def health_device(request: PageRequest, device_id: UUID) -> HttpResponse:
    """One device: every lost point with the check behind it."""
    scope, now = request.scope, timezone.now()
    device = inventory.devices(scope=scope).get(pk=device_id)
    found = queries.health(scope=scope, devices=[device.pk])
    one = found[0].devices[0] if found else None
    lost = one.score.lost if one is not None else ()
    behind = [check.check_id for each in lost for check in (each.check, *each.others[:5])]
    reasons = queries.reasons_of(scope=scope, checks=behind)
    past = [
        (run, run.scores.get(str(device.pk)))
        for run in queries.runs(scope=scope).filter(client=device.client_id)[:RUNS_SHOWN]
    ]
    known = [score for _, score in reversed(past) if score is not None]
    context = {
        "crumbs": format_html(
            '<a href="/health/">Health</a> › <a href="/health/?client={}">{}</a>', device.client_id, device.client.name
        ),
        "sentence": _device_in_words(one),
        "actions": format_html('<a class="button" href="/devices/{}/">Its page</a>', device.pk),
        "table": _lost_table(one, reasons),
        "trend": _sparkline(known),
        "now": now,
    }
    return render_page(
        request, "health_device", context, section="health", title=f"Health of {device.name}", data_at=now, live=False
    )


@page(permission=Permission.DEVICE_VIEW, change=Permission.CHECK_CHANGE, methods=("POST",))
def health_run(request: PageRequest, client_id: UUID) -> HttpResponse:
    """Judge all devices of a client now, and keep how it stands."""
    client = people.clients(scope=request.scope).get(pk=client_id)
    made = services.health_run(client=client, scope=request.scope, now=timezone.now())
    messages.success(request, f"{made.summary[0]} {made.judged} of {made.devices} were judged just now.")
    return HttpResponseRedirect(f"/health/?client={client.pk}")


def _uuid(typed: str) -> UUID | None:
    try:
        return UUID(typed)
    except ValueError:
        return None


def score_status(value: float) -> str:
    return "pass" if value >= WELL else "warn" if value >= POOR else "fail"


def score_part(value: int | None) -> parts.Html:
    """A score with shape and colour; the number is the word."""
    if value is None:
        return parts.none("no approved device", "no score")
    return parts.status(score_status(value), f"{value} of 100")


def _in_words(
    found: Sequence[ClientHealth], one: ClientHealth | None, history: Sequence[HealthRun], now: datetime
) -> parts.Html:
    if not found:
        return "Nothing has a score yet: a device is judged from its first check-in on."
    if one is not None:
        if one.value is None:
            return f"{one.name} has no approved device, so nothing has a score."
        poor = sum(each.score.value < POOR for each in one.devices)
        before = next((run for run in history if run.scheduled and run.score is not None), None)
        was = (
            f"; {int(before.score + 1e-9)} at the run of {before.day:%-d %b}"
            if before and before.score is not None
            else ""
        )
        return format_html(
            "{} stands at <b>{} of 100</b>{}; {} of {} below {}.",
            one.name, one.value, was, poor, words.plural(len(one.devices), "device"), POOR,
        )  # fmt: skip
    known = [each for each in found if each.value is not None]
    worst = min(known, key=lambda each: each.score or 0.0) if known else None
    if worst is None:
        return "No client has an approved device, so nothing has a score."
    well = sum((each.value or 0) >= WELL for each in known)
    return format_html(
        '{} of {} at {} or better; <a href="/health/?client={}"><b>{}</b></a> stands lowest, at {} of 100.',
        well, words.plural(len(known), "client"), WELL, worst.client_id, worst.name, worst.value,
    )  # fmt: skip


def _clients_table(found: Sequence[ClientHealth]) -> Table:
    return Table(
        caption="Clients",
        columns=[
            Column("Client", "lead"),
            Column("Score", "second"),
            Column("Devices", "num"),
            Column("Lowest", "wide"),
        ],
        rows=[
            Row(
                key=f"client-{one.client_id}",
                cells=[
                    parts.link(f"/health/?client={one.client_id}", one.name),
                    score_part(one.value),
                    f"{len(one.devices):,}",
                    parts.link(
                        f"/health/devices/{one.devices[0].device_id}/",
                        one.devices[0].name,
                        f"{one.devices[0].score.value} of 100",
                    )
                    if one.devices
                    else parts.none("no approved device"),
                ],
            )
            for one in sorted(found, key=lambda each: (each.score is None, each.score or 0.0, each.name))
        ],
        empty=Empty("No client yet", "Scores appear with the first approved device."),
    )


def _short(one: DeviceHealth) -> parts.Html:
    if not one.score.checks:
        return "nothing is judged yet, so nothing counts"
    if not one.score.lost:
        return "every check passes"
    named = [
        format_html("{} −{}", titles.kind_title(each.check.kind), f"{each.points:.1f}") for each in one.score.lost[:3]
    ]
    more = len(one.score.lost) - 3
    return parts.joined([*named, f"{more} more" if more > 0 else ""], separator=", ")


def _devices_table(devices: Sequence[DeviceHealth], one: ClientHealth | None, pages: parts.Pages | None) -> Table:
    total = sum(device_weight(each.role) for each in one.devices) if one is not None else 0.0
    columns = [Column("Device", "lead"), Column("Score", "second")]
    if one is not None:
        columns.append(Column("Costs the client", "num"))
    rows = []
    for each in devices:
        cells: list[parts.Html] = [
            parts.link(
                f"/health/devices/{each.device_id}/",
                each.name,
                each.site if one is not None else f"{each.client} · {each.site}",
            ),
            score_part(each.score.value),
        ]
        if one is not None:
            cells.append(f"{(100 - each.score.exact) * device_weight(each.role) / total:.1f}")
        cells.append(_short(each))
        rows.append(Row(key=f"device-{each.device_id}", cells=cells))
    return Table(
        caption="Devices, the least healthy first",
        columns=[*columns, Column("Points lost to", "wide")],
        rows=rows,
        empty=Empty(
            "No score yet",
            "A device has a score from its first check-in on: 100, less what its checks cost.",
            href="/devices/",
            action="Devices",
        ),
        pages=pages,
    )


def _device_in_words(one: DeviceHealth | None) -> parts.Html:
    if one is None:
        return "It is not approved, so it has no score."
    if not one.score.checks:
        return "Nothing is judged yet, and what is not known counts for nothing: 0 of 100."
    if not one.score.lost:
        return format_html("It stands at <b>100 of 100</b>: all of {} pass.", words.plural(one.score.checks, "check"))
    first = one.score.lost[0]
    return format_html(
        "It stands at <b>{} of 100</b>; {} {} points, {} most.",
        one.score.value,
        words.plural(len(one.score.lost), "kind of check", "kinds of checks"),
        words.does(len(one.score.lost), "cost"),
        titles.check_title(first.check.kind, first.check.target),
    )


def _lost_table(one: DeviceHealth | None, reasons: Mapping[int, str]) -> Table:
    rows = []
    for lost in one.score.lost if one is not None else ():
        assert one is not None  # noqa: S101 - there would be no rows
        check = lost.check
        others = parts.joined(
            [
                parts.link(f"/devices/{one.device_id}/?check={each.check_id}", each.target or each.kind)
                for each in lost.others[:5]
            ],
            separator=", ",
        )
        more = f" and {len(lost.others) - 5} more" if len(lost.others) > 5 else ""
        rows.append(
            Row(
                key=f"lost-{check.check_id}",
                cells=[
                    f"−{lost.points:.1f}",
                    parts.link(
                        f"/devices/{one.device_id}/?check={check.check_id}",
                        titles.check_title(check.kind, check.target),
                    ),
                    parts.status(
                        check.status,
                        f"{check.status}, last answer {check.answered}"
                        if check.answered and check.answered != check.status
                        else check.status,
                    ),
                    check.risk,
                    parts.text(
                        reasons.get(check.check_id, ""), format_html("also: {}{}", others, more) if lost.others else ""
                    ),
                ],
            )
        )
    return Table(
        caption="Points lost, and the check behind each",
        columns=[
            Column("Points", "num"), Column("Check", "lead"), Column("Result", "second"), Column("Risk"),
            Column("Why", "wide"),
        ],
        rows=rows,
        empty=Empty("Nothing is lost", "Every check passes.")
        if one is not None and one.score.checks
        else Empty("Nothing is judged yet", "Scores follow the first check-in."),
    )  # fmt: skip


def _trend(history: Sequence[HealthRun]) -> parts.Html:
    return _sparkline([run.score for run in reversed(history) if run.score is not None and run.scheduled])


def _sparkline(known: Sequence[float]) -> parts.Html:
    if len(known) < 2:
        return ""
    label = f"the last {len(known)} mornings: from {int(known[0])} to {int(known[-1])} of 100"
    return format_html("{} <span>{}</span>", svg.sparkline(list(known), top=100, label=label), label)


def _runs_table(history: Sequence[HealthRun], now: datetime) -> Table:
    return Table(
        caption="Health runs",
        columns=[
            Column("Day", "lead"),
            Column("Score", "second"),
            Column("Fail", "num"),
            Column("Warn", "num"),
            Column("No answer", "num"),
            Column("Gaps", "num"),
            Column("Told", "wide"),
        ],
        rows=[
            Row(
                key=f"run-{run.pk}",
                cells=[
                    parts.text(f"{run.day:%a %-d %b %Y}", parts.moment(run.at, now)),
                    score_part(None if run.score is None else int(run.score + 1e-9)),
                    f"{run.counts.get('fail', 0):,}",
                    f"{run.counts.get('warn', 0):,}",
                    f"{run.counts.get('unknown', 0) + run.counts.get('stale', 0):,}",
                    f"{run.gaps:,}",
                    _told(run),
                ],
            )
            for run in history
        ],
        empty=Empty(
            "No run yet",
            "Every morning at 06:00 of the client's own clock its devices are judged, and whoever gets its tickets is "
            "told how it stands. Whoever sees only a part of the client sees no run of the whole.",
        ),
    )


def _told(run: HealthRun) -> parts.Html:
    if not run.scheduled:
        return f"asked for by {run.by}"
    if not run.told:
        return parts.none("no routing rule fits, and nobody has the role owner here", "nobody")
    return parts.joined(
        [format_html('<span title="{}">{}</span>', one["why"], one["person"]) for one in run.told], ", "
    )
