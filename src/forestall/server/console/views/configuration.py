"""Configuration: how devices meet their baseline, what drifted from what was accepted, what deviates with leave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from forestall.server.configuration import queries, services
from forestall.server.configuration.controls import ROLES, Control, Judged, Outcome, controls
from forestall.server.configuration.drift import AREAS
from forestall.server.configuration.models import Deviation, DeviceConfiguration, Drift
from forestall.server.configuration.rules import ConfigurationError, Overlap
from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Fact, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.inventory import queries as inventory
from forestall.server.inventory.models import Device
from forestall.server.people import queries as people
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope

A_PAGE = 100
METHODS = ("GET", "HEAD", "POST")
CRUMBS = SafeString('<a href="/configuration/">Configuration</a>')
OUTCOME_STATUS = {
    Outcome.PASS: "pass",
    Outcome.FAIL: "fail",
    Outcome.UNKNOWN: "unknown",
    Outcome.NOT_APPLICABLE: "stale",
}
LEVEL_WORDS = {0: "no baseline", 1: "level 1", 2: "level 2"}
SHOWN_VALUE = 300


def _uuid(typed: str) -> UUID | None:
    try:
        return UUID(typed)
    except ValueError:
        return None


# --- devices ----------------------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW)
def configuration(request: PageRequest) -> HttpResponse:
    """How every device meets its baseline, the worst first."""
    scope, now, get = request.scope, timezone.now(), request.GET
    found = queries.configurations(scope=scope).defer("present", "accepted", "results")
    client, show = _uuid(get.get("client", "")), get.get("show", "")
    if client is not None:
        found = found.filter(client=client)
    totals = list(found.values_list("failed", "drifted", "unknown", "judged_at"))
    if show == "drifted":
        found = found.filter(drifted__gt=0)
    elif show == "failing":
        found = found.filter(failed__gt=0)
    total = {"drifted": sum(bool(one[1]) for one in totals), "failing": sum(bool(one[0]) for one in totals)}.get(
        show, len(totals)
    )
    pages, stretch = parts.pages_of(get, total, A_PAGE)
    clients = list(people.clients(scope=scope).order_by("name").values_list("pk", "name"))
    context = {
        "sentence": _in_words(totals),
        "filters": parts.Filters(
            [
                parts.choice(
                    "client", "Client", [("", "All clients"), *((str(pk), n) for pk, n in clients)], str(client or "")
                ),
                parts.choice(
                    "show",
                    "Show",
                    [("", "Every device"), ("drifted", "Drifted"), ("failing", "Not meeting a control")],
                    show,
                ),
            ]
        ),
        "table": _devices_table(list(found[stretch]), now, pages, request),
        "actions": format_html_join(
            "",
            '<a class="button" href="{}">{}</a>',
            (("/configuration/controls/", "Controls"), ("/configuration/deviations/", "Deviations")),
        ),
    }
    return render_page(
        request,
        "configuration",
        context,
        section="configuration",
        title="Configuration",
        data_at=max((one[3] for one in totals), default=None),
    )


def _in_words(totals: Sequence[tuple[int, int, int, datetime]]) -> parts.Html:
    if not totals:
        return "No device has told yet how it is set up; agents do within minutes of their approval."
    met = sum(not one[0] and not one[2] for one in totals)
    drifted = sum(bool(one[1]) for one in totals)
    failing = sum(bool(one[0]) for one in totals)
    said: list[parts.Html] = [
        f"{met:,} of {words.plural(len(totals), 'device')} {words.does(met, 'meet')} the baseline"
    ]
    if failing:
        said.append(format_html('<a href="?show=failing">{} {} not</a>', f"{failing:,}", words.does(failing, "do")))
    said.append(
        format_html(
            '<a href="?show=drifted"><b>{} drifted</b></a> from what was accepted', words.plural(drifted, "device")
        )
        if drifted
        else "none has drifted from what was accepted"
    )
    return format_html("{}.", parts.joined(said, separator="; "))


def _devices_table(
    rows: Sequence[DeviceConfiguration], now: datetime, pages: parts.Pages | None, request: PageRequest
) -> Table:
    return Table(
        caption="Devices",
        columns=[
            Column("Device", "lead"),
            Column("Baseline", "second"),
            Column("Met", "num"),
            Column("Not met", "num"),
            Column("Not known", "num"),
            Column("Drift"),
            Column("Accepted"),
        ],
        rows=[
            Row(
                key=f"device-{row.device_id}",
                cells=[
                    parts.link(f"/devices/{row.device_id}/configuration/", row.device.name, row.client.name),
                    _standing(row),
                    parts.none("nothing applies") if row.percent is None else f"{row.percent} %",
                    f"{row.failed:,}",
                    f"{row.unknown:,}",
                    parts.status("warn", words.plural(row.drifted, "difference"))
                    if row.drifted
                    else parts.status("pass", "as accepted"),
                    parts.text(
                        parts.moment(row.accepted_at, now),
                        f"by {row.accepted_by}" if row.accepted_by else "as it was found at first",
                    ),
                ],
            )
            for row in rows
        ],
        empty=Empty(
            "No device to show",
            "Agents tell how their machine is set up: kernel, mounts, files, SSH, firewall, sign-in. It is compared "
            "with a baseline, and with what was accepted before.",
            href="/configuration/" if request.GET else "/devices/enrol",
            action="Every device" if request.GET else "Enrol a device",
        ),
        query=request.GET,
        pages=pages,
    )


def _standing(row: DeviceConfiguration) -> parts.Html:
    if not row.level:
        return parts.none("no baseline holds here", "no baseline")
    status = "fail" if row.failed else "unknown" if row.unknown else "pass"
    return parts.text(parts.status(status), LEVEL_WORDS[row.level])


# --- controls ---------------------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW)
def configuration_controls(request: PageRequest) -> HttpResponse:
    """Every control, and on how many devices it is not met."""
    scope, get = request.scope, request.GET
    role, client = get.get("role", ""), _uuid(get.get("client", ""))
    rows = queries.configurations(scope=scope).order_by()
    if client is not None:
        rows = rows.filter(client=client)
    counts: Counter[tuple[str, str]] = Counter()
    for results in rows.values_list("results", flat=True):
        counts.update((one[0], one[1]) for one in results)
    shown = [one for one in controls().values() if not role or role in one.roles]
    shown.sort(key=lambda one: -counts[one.id, "fail"])
    clients = list(people.clients(scope=scope).order_by("name").values_list("pk", "name"))
    context = {
        "crumbs": CRUMBS,
        "sentence": _controls_in_words(shown, counts),
        "filters": parts.Filters(
            [
                parts.choice("role", "Role", [("", "Every role"), *((one, one) for one in ROLES)], role),
                parts.choice(
                    "client", "Client", [("", "All clients"), *((str(pk), n) for pk, n in clients)], str(client or "")
                ),
            ]
        ),
        "table": Table(
            caption="Controls",
            columns=[
                Column("Control", "lead"),
                Column("Not met", "second num"),
                Column("Not known", "num"),
                Column("Met", "num"),
                Column("Level", "num"),
                Column("CIS"),
                Column("Remedy", "wide"),
            ],
            rows=[
                Row(
                    key=f"control-{one.id}",
                    cells=[
                        parts.text(one.title, one.why),
                        parts.status("fail", str(counts[one.id, "fail"])) if counts[one.id, "fail"] else "0",
                        str(counts[one.id, "unknown"]),
                        str(counts[one.id, "pass"]),
                        str(one.level),
                        one.cis or parts.none("no recommendation of CIS asks for it"),
                        _remedy(one),
                    ],
                )
                for one in shown
            ],
            empty=Empty("No control", "No control is for this role."),
        ),
    }
    return render_page(
        request, "configuration_controls", context, section="configuration", title="Controls", live=False
    )


def _controls_in_words(shown: Sequence[Control], counts: Counter[tuple[str, str]]) -> parts.Html:
    worst = shown[0] if shown and counts[shown[0].id, "fail"] else None
    said = f"{words.plural(len(shown), 'control')}, in our own words; the numbers are those of the CIS benchmark"
    if worst is None:
        return f"{said}."
    number = counts[worst.id, "fail"]
    return format_html("{}. Most often not met: <b>{}</b> ({}).", said, worst.title, words.plural(number, "device"))


def _remedy(control: Control) -> parts.Html:
    if not control.runbook:
        return control.remedy
    return parts.text(control.remedy, format_html('<a href="/runbooks/{}/">{}</a>', control.runbook, control.runbook))


# --- deviations -------------------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW)
def deviations(request: PageRequest) -> HttpResponse:
    """What need not be met for a while, and why."""
    scope, now, get = request.scope, timezone.now(), request.GET
    everything = get.get("show", "") == "all"
    in_force = queries.deviations_in_force(scope=scope, now=now)
    found = queries.deviations(scope=scope) if everything else in_force
    number, total = in_force.count(), found.count()
    pages, stretch = parts.pages_of(get, total, A_PAGE)
    shown = list(found[stretch])
    known = controls()
    context = {
        "crumbs": CRUMBS,
        "sentence": f"{words.plural(number, 'deviation')} {words.does(number, 'are')} in force; each ends by itself."
        if number
        else "No deviation is in force: every control counts.",
        "filters": parts.Filters(
            [parts.choice("show", "Show", [("", "In force"), ("all", "Those that are over, too")], get.get("show", ""))]
        ),
        "table": Table(
            caption="Deviations",
            columns=[
                Column("Control", "lead"),
                Column("Ends", "second"),
                Column("Where"),
                Column("Why", "wide"),
                Column("Accepted"),
            ],
            rows=[
                Row(
                    key=f"deviation-{one.pk}",
                    cells=[
                        parts.text(known[one.control].title if one.control in known else one.control, one.control),
                        parts.text(parts.moment(one.ended_at, now), f"ended by {one.ended_by}")
                        if one.ended_at
                        else parts.moment(one.ends_at, now),
                        parts.text(one.device.name if one.device else "every device", one.client.name),
                        one.reason,
                        parts.text(parts.moment(one.accepted_at, now), one.accepted_by),
                    ],
                )
                for one in shown
            ],
            empty=Empty(
                "No deviation",
                "Where a control cannot be met, a deviation says why and until when. It is given on a device's page, "
                "under Configuration.",
                href="/configuration/?show=failing",
                action="What is not met",
            ),
            pages=pages,
        ),
        "endable": [
            one for one in shown
            if one.ended_at is None and one.ends_at > now and scope.may(Permission.BASELINE_CHANGE, on=one.client)
        ],
    }  # fmt: skip
    return render_page(request, "deviations", context, section="configuration", title="Deviations", live=False)


@page(permission=Permission.DEVICE_VIEW, change=Permission.BASELINE_CHANGE, methods=("POST",))
def deviation_end(request: PageRequest, deviation_id: int) -> HttpResponse:
    """End a deviation before its time."""
    found = queries.deviations(scope=request.scope).get(pk=deviation_id)
    try:
        services.deviation_end(deviation=found, scope=request.scope, now=timezone.now())
    except ConfigurationError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, "It has ended: the control counts again.")
    return HttpResponseRedirect("/configuration/deviations/")


# --- one device -------------------------------------------------------------------------------------------------


def device_tab(request: PageRequest, device: Device, now: datetime) -> dict[str, Any]:
    """The tab Configuration of a device."""
    scope = request.scope
    row = queries.configuration_of(scope=scope, device=device)
    chosen = queries.level_for(scope=scope, device=device)
    may = scope.may(Permission.BASELINE_CHANGE, on=device)
    results = queries.results_of(row) if row is not None else []
    leave = queries.deviating_controls(scope=scope, device=device, now=now)
    drift = list(queries.drifts_open(scope=scope).filter(device=device).order_by("area", "name")[:500])
    order = {Outcome.FAIL: 0, Outcome.UNKNOWN: 1, Outcome.PASS: 2, Outcome.NOT_APPLICABLE: 3}
    results.sort(key=lambda pair: (order[pair[1].outcome], pair[0].id in leave, pair[0].risk.rank))
    found = queries.latest_assessments(scope=scope, device=device)
    return {
        "configured": row,
        "facts": _device_facts(row, chosen.level, chosen.why, now),
        "may": may,
        "level": chosen.level,
        "levels": [(number, LEVEL_WORDS[number]) for number in (0, 1, 2)],
        "drift": _drift_table(drift, now, may=may),
        "drifted": len(drift),
        "results": _results_table(results, leave, now),
        "failing": [control for control, one in results if one.outcome is Outcome.FAIL and control.id not in leave],
        "assessments": _assessments_table(row, found, now),
        "history": _history(scope, device, now),
    }


def _device_facts(row: DeviceConfiguration | None, level: int, why: str, now: datetime) -> list[Fact]:
    facts = [Fact("Baseline", parts.text(LEVEL_WORDS[level], why))]
    if row is None:
        return [*facts, Fact("State", "it has not told yet how it is set up")]
    facts.append(Fact("Met", "nothing applies" if row.percent is None else f"{row.percent} %"))
    facts.append(Fact("Judged", parts.moment(row.judged_at, now)))
    accepted = f"by {row.accepted_by}: {row.accepted_reason}" if row.accepted_by else row.accepted_reason
    facts.append(Fact("State accepted", parts.text(parts.moment(row.accepted_at, now), accepted)))
    return facts


def _value(text: str) -> parts.Html:
    if not text:
        return parts.none("it was not there, or is not", "not there")
    return text if len(text) <= SHOWN_VALUE else f"{text[:SHOWN_VALUE]}…"


def _drift_table(rows: Sequence[Drift], now: datetime, *, may: bool) -> Table:
    return Table(
        caption="Differences from what was accepted",
        columns=[
            Column("What", "lead"),
            Column("Accepted", "second"),
            Column("Now", "second"),
            Column("Since"),
        ],
        rows=[
            Row(
                key=f"drift-{one.pk}",
                pick=str(one.pk),
                pick_label=f"{AREAS.get(one.area, one.area)} {one.name}",
                group=AREAS.get(one.area, one.area),
                cells=[
                    one.name or AREAS.get(one.area, one.area),
                    _value(one.before),
                    _value(one.after),
                    parts.moment(one.seen_at, now),
                ],
            )
            for one in rows
        ],
        empty=Empty(
            "It is set up as it was accepted", "When something changes, it stands here until it is accepted or gone."
        ),
        pickable=may and bool(rows),
    )


def _results_table(results: Sequence[tuple[Control, Judged]], leave: dict[str, Deviation], now: datetime) -> Table:
    return Table(
        caption="Controls",
        columns=[
            Column("Control", "lead"),
            Column("Result", "second"),
            Column("Why", "wide"),
            Column("CIS"),
            Column("Remedy", "wide"),
        ],
        rows=[
            Row(
                key=f"control-{control.id}",
                cells=[
                    parts.text(control.title, control.id),
                    _outcome(control, one, leave.get(control.id), now),
                    one.why,
                    control.cis or "",
                    _remedy(control) if one.outcome is Outcome.FAIL else "",
                ],
            )
            for control, one in results
        ],
        empty=Empty(
            "Not judged yet",
            "The device has not told how it is set up, or no baseline holds for its role.",
        ),
    )


def _outcome(control: Control, one: Judged, leave: Deviation | None, now: datetime) -> parts.Html:
    if one.outcome is Outcome.FAIL and leave is not None:
        return parts.text(
            parts.status("warn", "deviates with leave"),
            format_html("until {}: {}", parts.moment(leave.ends_at, now), leave.reason),
        )
    if one.outcome is Outcome.FAIL:
        return parts.text(parts.status("fail", "not met"), f"risk {control.risk.value}")
    word = {Outcome.PASS: "met", Outcome.UNKNOWN: "not known", Outcome.NOT_APPLICABLE: "does not apply"}[one.outcome]
    return parts.status(OUTCOME_STATUS[one.outcome], word)


def _assessments_table(row: DeviceConfiguration | None, found: Sequence[Any], now: datetime) -> Table:
    rows = []
    for one in found:
        met = queries.overlap_of(row, one) if row is not None and row.results else None
        rows.append(
            Row(
                key=f"assessment-{one.pk}",
                cells=[
                    parts.text({"lynis": "Lynis", "openscap": "OpenSCAP"}[one.tool], one.version),
                    parts.moment(one.at, now),
                    parts.none("it gives none") if one.score is None else f"{one.score:g} of 100",
                    f"{one.failed:,}",
                    _overlap(met),
                    "its agent" if one.came_by == "device" else one.imported_by,
                ],
            )
        )
    return Table(
        caption="What other tools found",
        columns=[
            Column("Tool", "lead"),
            Column("Ran", "second"),
            Column("Its score"),
            Column("Findings", "num"),
            Column("Beside our controls", "wide"),
            Column("Came by"),
        ],
        rows=rows,
        empty=Empty(
            "No other tool has looked",
            "Run `lynis audit system` on the device, and its agent brings the report; results of OpenSCAP are taken "
            "from /var/log/openscap, or brought by `forestall configuration import`.",
        ),
    )


def _overlap(met: Overlap | None) -> parts.Html:
    if met is None:
        return parts.none("the device was not judged yet", "not compared")
    said = [f"both find fault with {words.plural(len(met.agree), 'control')}"]
    if met.only_there:
        said.append(f"it alone with {len(met.only_there)}")
    if met.only_here:
        said.append(f"we alone with {len(met.only_here)}")
    if met.no_counterpart:
        said.append(f"{len(met.no_counterpart)} of its findings are about what no control asks")
    return "; ".join(said)


def _history(scope: Scope, device: Device, now: datetime) -> Table:
    rows = queries.drifts(scope=scope).filter(device=device).exclude(settled_at=None).order_by("-settled_at")[:20]
    return Table(
        caption="Settled",
        columns=[Column("What", "lead"), Column("How", "second"), Column("When"), Column("Why", "wide")],
        rows=[
            Row(
                key=f"settled-{one.pk}",
                cells=[
                    parts.text(
                        f"{AREAS.get(one.area, one.area)} {one.name}".strip(), f"{one.before[:80]} → {one.after[:80]}"
                    ),
                    parts.text("accepted", one.settled_by) if one.settled == "accepted" else "set back",
                    parts.moment(one.settled_at, now),
                    one.reason,
                ],
            )
            for one in rows
        ],
        empty=Empty("Nothing yet", "What drifted and was accepted or set back stands here."),
    )


@page(permission=Permission.DEVICE_VIEW, change=Permission.BASELINE_CHANGE, methods=("POST",))
def configuration_accept(request: PageRequest, device_id: UUID) -> HttpResponse:
    """Accept what drifted: what was picked, or all."""
    scope, post = request.scope, request.POST
    device = inventory.devices(scope=scope).get(pk=device_id)
    picked = [number for one in post.getlist("pick") if (number := parts.number_typed(one)) is not None]
    try:
        scope.require(Permission.BASELINE_CHANGE, on=device)
        if post.get("act") == "picked" and not picked:
            raise ConfigurationError("Nothing is picked.")
        number = services.drift_accept(
            device=device, reason=post.get("reason", ""), scope=scope, now=timezone.now(),
            drift_ids=picked if post.get("act") == "picked" else None,
        )  # fmt: skip
    except ConfigurationError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"{words.plural(number, 'difference')} accepted, and on record.")
    return HttpResponseRedirect(f"/devices/{device.pk}/configuration/")


@page(permission=Permission.DEVICE_VIEW, change=Permission.BASELINE_CHANGE, methods=("POST",))
def configuration_deviate(request: PageRequest, device_id: UUID) -> HttpResponse:
    """Leave not to meet a control: of this device, or of its client."""
    scope, post, now = request.scope, request.POST, timezone.now()
    device = inventory.devices(scope=scope).get(pk=device_id)
    try:
        scope.require(Permission.BASELINE_CHANGE, on=device)
        services.deviation_accept(
            client=device.client, control=post.get("control", ""), reason=post.get("reason", ""),
            ends_at=_end(post.get("until", "")), scope=scope, now=now,
            device_id=None if post.get("where") == "client" else device.pk,
        )  # fmt: skip
    except ConfigurationError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, "It may deviate until then, and that is on record.")
    return HttpResponseRedirect(f"/devices/{device.pk}/configuration/")


def _end(typed: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(typed), time(23, 59), UTC)
    except ValueError:
        raise ConfigurationError(f"until: {typed[:20]!r} is no day, as in 2027-03-31") from None


@page(permission=Permission.DEVICE_VIEW, change=Permission.BASELINE_CHANGE, methods=("POST",))
def configuration_assign(request: PageRequest, device_id: UUID) -> HttpResponse:
    """Choose the level of the baseline: of this device, its role, or its client."""
    scope, post = request.scope, request.POST
    device = inventory.devices(scope=scope).get(pk=device_id)
    where = post.get("where", "device")
    try:
        scope.require(Permission.BASELINE_CHANGE, on=device)
        level = parts.number_typed(post.get("level", ""))
        if level is None:
            raise ConfigurationError("level: choose one")
        services.baseline_assign(
            client=_client(scope, device), level=level, reason=post.get("reason", ""), scope=scope,
            now=timezone.now(), role=device.role if where == "role" else "",
            device_id=device.pk if where == "device" else None,
        )  # fmt: skip
    except ConfigurationError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, "Chosen, and judged anew.")
    return HttpResponseRedirect(f"/devices/{device.pk}/configuration/")


def _client(scope: Scope, device: Device) -> Client:
    found: Client = people.clients(scope=scope).get(pk=device.client_id)
    return found
