"""Rollouts: updates that go ring by ring, live while they run; and updates that are held for everyone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from forestall.server.clients import queries as clients
from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Fact, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.patching import rollout_queries as queries
from forestall.server.patching import rollouts as services
from forestall.server.patching.models import Rollout, RolloutDevice, RolloutState, UpdateHold
from forestall.server.patching.rings import terms_read
from forestall.server.patching.rollout_queries import RingCount
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope
from forestall.server.tickets.rules import span

A_PAGE = 50
DEVICES_A_PAGE = 50
SHAPES = {
    RolloutState.RUNNING: "accent",
    RolloutState.AWAITING_PROMOTION: "accent",
    RolloutState.PAUSED: "stale",
    RolloutState.HALTED: "fail",
    RolloutState.FINISHED: "pass",
    RolloutState.CANCELLED: "unknown",
}
DEVICE_SHAPES = {"healthy": "pass", "failed": "fail", "silent": "fail", "left out": "unknown"}
ACTS = {"pause": "Paused.", "resume": "It goes on.", "cancel": "Ended.", "promote": "The next ring is open."}


def state_of(rollout: Rollout) -> parts.Html:
    shape, word = SHAPES.get(RolloutState(rollout.state), ""), rollout.get_state_display()
    return parts.tag(word, shape) if shape in ("", "accent") else parts.status(shape, word)


def device_state(member: RolloutDevice) -> parts.Html:
    if member.state in DEVICE_SHAPES:
        return parts.status(DEVICE_SHAPES[member.state], member.state)
    return parts.tag(
        "being updated" if member.state == "running" else member.state, "accent" * (member.state == "running")
    )


# --- the list -----------------------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW)
def rollouts(request: PageRequest) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    found = queries.rollouts(scope=scope)
    asked = request.GET.get("state", "")
    shown = found.filter(state=asked) if asked in RolloutState.values else found
    counts = dict.fromkeys(RolloutState.values, 0)
    for state in found.order_by().values_list("state", flat=True):
        counts[state] += 1
    total = counts[asked] if asked in counts else sum(counts.values())
    pages, stretch = parts.pages_of(request.GET, total, A_PAGE)
    holds = list(queries.holds(scope=scope).filter(ended_at=None)[:A_PAGE])
    own = {(one.hold_id, one.client.name) for one in queries.overrides(scope=scope).filter(hold__in=holds)}
    may = scope.may(Permission.PATCH_CHANGE)
    empty = Empty(
        "No rollout yet",
        "A rollout brings updates to one device first, then to 1 %, 10 %, 50 % and all, and stops by itself when they"
        " are not taken well.",
        href="/rollouts/new" if may else "",
        action="Start a rollout" if may else "",
    )
    if asked:
        empty = Empty("No rollout fits", "None is in this state.", href="?", action="Show all")
    context: dict[str, Any] = {
        "sentence": _sentence(counts, len(holds)),
        "filters": parts.Filters(
            [
                parts.choice(
                    "state", "State", [("", "Any state"), *((s.value, str(s.label)) for s in RolloutState)], asked
                )
            ]
        ),
        "table": Table(
            caption="Rollouts",
            columns=[
                Column("Rollout", "lead"),
                Column("State", "second"),
                Column("Client"),
                Column("Ring", "num"),
                Column("What it waits for, or why it stopped", "wide"),
                Column("Begun"),
            ],
            rows=[
                Row(
                    key=f"rollout-{one.pk}",
                    cells=[
                        parts.link(f"/rollouts/{one.pk}/", one.name),
                        state_of(one),
                        one.client.name if one.client is not None else "across clients",
                        str(one.ring),
                        one.why or parts.none("nothing to wait for", "on its way"),
                        parts.moment(one.created_at, now),
                    ],
                )
                for one in shown[stretch]
            ],
            empty=empty,
            query=request.GET,
            pages=pages,
        ),
        "holds": _holds_table(holds, own, scope, now) if holds else None,
        "may_end": scope.everywhere(Permission.PATCH_CHANGE),
        "may_override": may,
        "held": holds,
        "clients": _clients(scope) if holds and may else [],
    }
    if may:
        context["actions"] = SafeString('<a class="button primary" href="/rollouts/new">Start a rollout</a>')
    return render_page(request, "rollouts", context, section="rollouts", title="Rollouts", data_at=now)


def _sentence(counts: dict[str, int], held: int) -> parts.Html:
    said: list[parts.Html] = []
    for state, does in (
        ("halted", "halted"),
        ("awaiting_promotion", "waiting for you to promote"),
        ("running", "running"),
    ):
        if counts[state]:
            said.append(format_html('<a href="?state={}"><b>{} {}</b></a>', state, counts[state], does))
    if held:
        said.append(f"{words.plural(held, 'update')} {words.does(held, 'are')} held for everyone")
    return format_html("{}.", parts.joined(said, separator="; ")) if said else "Nothing is being rolled out."


def _holds_table(holds: Sequence[UpdateHold], own: set[tuple[int, str]], scope: Scope, now: datetime) -> Table:
    return Table(
        caption="Held for everyone",
        columns=[
            Column("Update", "lead"),
            Column("Why", "second"),
            Column("Since"),
            Column("Installed all the same at"),
        ],
        rows=[
            Row(
                key=f"hold-{hold.pk}",
                cells=[
                    parts.text(f"{hold.name} {hold.candidate}", hold.manager),
                    parts.status("fail", hold.why),
                    parts.moment(hold.since, now),
                    ", ".join(sorted(name for number, name in own if number == hold.pk))
                    or parts.none("no client you see overrides it", "nobody"),
                ],
            )
            for hold in holds
        ],
        empty=Empty("No update is held", ""),
    )


def _clients(scope: Scope) -> list[tuple[UUID, str]]:
    place = scope.place(Permission.PATCH_CHANGE)
    rows = clients.served(scope=scope).order_by("name").values_list("pk", "name")
    return [(pk, name) for pk, name in rows if place.covers(pk)]


# --- start --------------------------------------------------------------------------------------------------------


@page(permission=Permission.PATCH_CHANGE, methods=("GET", "HEAD", "POST"), change=Permission.PATCH_CHANGE)
def rollout_new(request: PageRequest) -> HttpResponse:
    """The form; with a client chosen, which device would be in which ring; then the start."""
    scope, now = request.scope, timezone.now()
    said = request.POST if request.method == "POST" else request.GET
    everywhere = scope.everywhere(Permission.PATCH_CHANGE)
    choices = [(str(pk), name) for pk, name in _clients(scope)]
    context: dict[str, Any] = {
        "clients": choices,
        "everywhere": everywhere,
        "said": {name: said.get(name, "") for name in ("client", "choose", "packages", "name", "promotion")},
    }
    if "client" in said:
        client = None
        if said["client"] != "all":
            client = Client.objects.visible_to(scope).get(pk=_uuid(said["client"]))
        asked: dict[str, Any] = {
            "scope": scope,
            "client": client,
            "choose": said.get("choose") or "security",
            "packages": said.get("packages", "").split(),
            "terms": {"promotion": "approval"} if said.get("promotion") == "approval" else {},
            "now": now,
        }
        try:
            if request.method == "POST":
                made = services.rollout_start(name=said.get("name", ""), **asked)
                messages.success(request, "Ring 1 is open: its device is updated in its next window.")
                return HttpResponseRedirect(f"/rollouts/{made.pk}/")
            context["preview"] = services.rollout_preview(**asked)
            context |= _preview(context["preview"])
        except ValueError as error:
            context["refused"] = str(error)
    return render_page(request, "rollout_new", context, section="rollouts", title="Start a rollout", live=False)


def _preview(seen: services.Preview) -> dict[str, Any]:
    names = [f"{name} {candidate}" for _, name, candidate in seen.updates]
    first = seen.rings[0][1]
    return {
        "updates": words.listing(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else ""),
        "first": words.listing([device.name for device in first[:5]]),
        "rings": Table(
            caption="Rings",
            columns=[
                Column("Ring", "lead"),
                Column("Devices at most, in all", "num second"),
                Column("New in it", "num"),
                Column("Watched for"),
                Column("Which", "wide"),
            ],
            rows=[
                Row(
                    cells=[
                        f"Ring {cap.number}",
                        f"{cap.most:,}",
                        f"{len(devices):,}",
                        span(60 * cap.terms.soak_minutes),
                        ", ".join(device.name for device in devices[:8])
                        + (f" and {len(devices) - 8} more" if len(devices) > 8 else ""),
                    ]
                )
                for cap, devices in seen.rings
            ],
            empty=Empty("No ring", ""),
        ),
        "left_out": [(device.name, why) for device, why in seen.left_out[:20]],
        "left_more": max(0, len(seen.left_out) - 20),
        "held_names": words.listing([f"{name} {candidate}" for _, name, candidate in seen.held]),
    }


def _uuid(typed: str) -> UUID:
    try:
        return UUID(typed)
    except ValueError:
        raise Http404 from None


# --- one rollout --------------------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW)
def rollout(request: PageRequest, rollout_id: UUID) -> HttpResponse:
    """Ring by ring: what is touched, what waits, what happens next."""
    scope, now = request.scope, timezone.now()
    found = queries.rollout(scope=scope, number=rollout_id)
    rings = queries.ring_counts(scope=scope, rollout=found)
    ring, state = request.GET.get("ring", ""), request.GET.get("state", "")
    members = queries.members(scope=scope, rollout=found)
    counts = [
        count
        for one in rings
        for name, count in one.states.items()
        if (not state or name == state) and (not ring or ring == str(one.ring.number))
    ]
    if state:
        members = members.filter(state=state)
    if ring:
        members = members.filter(ring=parts.number_typed(ring[:4]) or 0)
    numbers = [(str(one.ring.number), f"Ring {one.ring.number}") for one in rings]
    pages, stretch = parts.pages_of(request.GET, sum(counts), DEVICES_A_PAGE)
    may = scope.may(Permission.PATCH_CHANGE, on=found) if found.client_id else scope.everywhere(Permission.PATCH_CHANGE)
    context: dict[str, Any] = {
        "crumbs": SafeString('<a href="/rollouts/">Rollouts</a>'),
        "rollout": found,
        "sentence": _state_in_words(found, rings),
        "next": _next_in_words(found, rings, now),
        "rings": _rings_table(found, rings, now),
        "facts": _facts(found, now),
        "filters": parts.Filters(
            [
                parts.choice("ring", "Ring", [("", "Any ring"), *numbers], ring),
                parts.choice("state", "State", [("", "Any state"), *((s, s) for s in queries.WORST_FIRST)], state),
            ]
        ),
        "devices": _devices_table(list(members[stretch]), request, pages, now),
        "may": may,
        "acts": _acts(found) if may else [],
    }
    if may and found.state == RolloutState.AWAITING_PROMOTION:
        context["promote"] = True
    return render_page(request, "rollout", context, section="rollouts", title=found.name, data_at=now)


def _acts(rollout: Rollout) -> list[dict[str, Any]]:
    live = rollout.state in queries.OPEN
    said = []
    if live:
        said.append(("pause", "Pause it", "Nothing more is touched; what no device has taken is taken back.", True))
    if rollout.state in (RolloutState.PAUSED, RolloutState.HALTED):
        halted = rollout.state == RolloutState.HALTED
        what = "It goes on without the devices that failed, which are set aside." if halted else "It goes on."
        said.append(("resume", "Let it go on", what, halted))
    if rollout.state in queries.LIVE:
        said.append(("cancel", "End it for good", "What is installed stays; nothing more is installed by it.", True))
    return [{"act": act, "title": title, "what": what, "reason": reason} for act, title, what, reason in said]


def _state_in_words(rollout: Rollout, rings: Sequence[RingCount]) -> parts.Html:
    touched, total = sum(one.touched for one in rings), sum(one.members for one in rings)
    healthy = sum(one.states.get("healthy", 0) for one in rings)
    bad = sum(one.states.get(state, 0) for one in rings for state in ("failed", "silent"))
    head = {
        RolloutState.RUNNING: f"Ring {rollout.ring} of {len(rings)} is under way",
        RolloutState.AWAITING_PROMOTION: f"Ring {rollout.ring} of {len(rings)} is healthy and waits for a person",
        RolloutState.PAUSED: f"Paused in ring {rollout.ring} of {len(rings)}",
        RolloutState.HALTED: f"Halted in ring {rollout.ring} of {len(rings)}",
        RolloutState.FINISHED: "Finished",
        RolloutState.CANCELLED: f"Ended in ring {rollout.ring} of {len(rings)}",
    }.get(RolloutState(rollout.state), rollout.get_state_display())
    failed = format_html("; <b>{} failed</b>", bad) if bad else ""
    return format_html(
        "<b>{}</b>: {} of {} touched, {} healthy{}.", head, f"{touched:,}", words.plural(total, "device"),
        f"{healthy:,}", failed,
    )  # fmt: skip


def _next_in_words(rollout: Rollout, rings: Sequence[RingCount], now: datetime) -> parts.Html:
    """What it waits for, what happens next, and when at the earliest."""
    if rollout.state in (RolloutState.HALTED, RolloutState.PAUSED, RolloutState.CANCELLED, RolloutState.FINISHED):
        return rollout.why
    current = next((one for one in rings if one.ring.number == rollout.ring), None)
    if current is None:
        return rollout.why
    last = rollout.ring == len(rings)
    then = (
        "it is finished" if last else f"ring {rollout.ring + 1} opens: up to {rings[rollout.ring].ring.cap:,} devices"
    )
    approval = terms_read(rollout.terms).promotion == "approval" and not last
    began = current.ring.started_at
    earliest = None if began is None else began + timedelta(minutes=current.soak_minutes)
    when: parts.Html = ""
    if earliest is not None and earliest > now:
        when = format_html(", not before {}", parts.exact_moment(earliest, words.clock_time(earliest, now, "UTC")))
    return format_html(
        "{} When {} of {} {} healthy, each watched for {}, {}{}{}.",
        f"{rollout.why}." if rollout.why else "Its devices are updated in their windows.",
        f"{current.needed:,}",
        words.plural(current.members - current.states.get("left out", 0), "device"),
        words.does(current.needed, "are"),
        span(60 * current.soak_minutes),
        then,
        " once somebody promotes it" if approval else "",
        when,
    )


def _rings_table(rollout: Rollout, rings: Sequence[RingCount], now: datetime) -> Table:
    return Table(
        caption="Rings",
        columns=[
            Column("Ring", "lead"),
            Column("State", "second"),
            Column("Devices", "wide"),
            Column("Healthy", "num"),
            Column("Touched", "num"),
            Column("At most, in all", "num"),
            Column("Signed results"),
        ],
        rows=[
            Row(
                key=f"ring-{one.ring.number}",
                cells=[
                    parts.link(
                        f"?ring={one.ring.number}#devices",
                        f"Ring {one.ring.number}",
                        f"watched for {span(60 * one.soak_minutes)}",
                    ),
                    _ring_state(rollout, one, now),
                    ring_bar(one),
                    parts.text(f"{one.states.get('healthy', 0):,}", f"{one.needed:,} needed"),
                    f"{one.touched:,}",
                    f"{one.ring.cap:,}",
                    format_html('<code title="{}">{}</code>', one.ring.results_root, one.ring.results_root[:12])
                    if one.ring.results_root
                    else parts.none("fixed when the ring is promoted", "not yet"),
                ],
            )
            for one in rings
        ],
        empty=Empty("No ring", "The rollout has no devices."),
    )


def _ring_state(rollout: Rollout, one: RingCount, now: datetime) -> parts.Html:
    ring = one.ring
    if ring.verdict == "healthy":
        by = "promoted by itself" if ring.promoted_by == "rollouts" else f"promoted by {ring.promoted_by}"
        by = by if ring.promoted_by else ""
        return parts.text(parts.status("pass", "healthy"), by)
    if ring.verdict == "failed":
        return parts.text(parts.status("fail", "failed"), parts.moment(ring.judged_at, now))
    if ring.number == rollout.ring:
        healthy = one.states.get("healthy", 0)
        return parts.text(parts.tag("under way", "accent"), f"{healthy:,} of {one.needed:,} needed healthy")
    return parts.tag("not begun")


BAR = (("healthy", "healthy"), ("failed", "failed"), ("silent", "silent"), ("running", "being updated"))


def ring_bar(one: RingCount) -> SafeString:
    """The ring's devices as a bar, with the counts as words beside it: nothing is told by colour alone."""
    at, pieces = 0.0, []
    for state, _ in BAR:
        count = one.states.get(state, 0)
        if count:
            width = max(1.5, 100 * count / max(one.members, 1))
            pieces.append((state, f"{at:.1f}", f"{width:.1f}"))
            at += width
    mark = 100 * one.needed / max(one.members, 1)
    said = [
        f"{one.states[state]:,} {word}"
        for state, word in (*BAR, ("waiting", "waiting"), ("left out", "left out"))
        if one.states.get(state)
    ]
    return format_html(
        '<span class="ring-bar"><svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="6" rx="1"/>{}<path class="needed" d="M{} -1V7"/></svg>'
        '<span class="words">{}</span></span>',
        format_html_join("", '<rect class="ring-{}" x="{}" width="{}" height="6"/>', pieces),
        f"{min(mark, 99.6):.1f}",
        ", ".join(said) or "nobody",
    )


def _facts(rollout: Rollout, now: datetime) -> list[Fact]:
    updates = [f"{name} {candidate}" for _, name, candidate in queries.updates_of(rollout)]
    shown = words.listing(updates[:5]) + (f" and {len(updates) - 5} more" if len(updates) > 5 else "")
    terms = terms_read(rollout.terms)
    return [
        Fact("Client", rollout.client.name if rollout.client is not None else "across clients"),
        Fact("Updates", shown),
        Fact("Begun", parts.text(parts.moment(rollout.created_at, now), f"by {rollout.created_by}")),
        Fact("Promotion", "by a person" if terms.promotion == "approval" else "by itself, when a ring is healthy"),
        Fact(
            "Halts at",
            f"any failure in the first {words.plural(terms.strict_rings, 'ring')}; later at more than chance",
        ),
        Fact("Silence", f"counts as failure after {span(60 * terms.silence_minutes)}"),
    ]


def _devices_table(
    members: Sequence[RolloutDevice], request: PageRequest, pages: parts.Pages | None, now: datetime
) -> Table:
    return Table(
        caption="Devices",
        columns=[
            Column("Device", "lead"),
            Column("State", "second"),
            Column("Ring", "num"),
            Column("Site"),
            Column("Why", "wide"),
            Column("Touched"),
        ],
        rows=[
            Row(
                key=f"member-{one.pk}",
                cells=[
                    parts.link(f"/devices/{one.device_id}/updates/", one.device.name),
                    device_state(one),
                    str(one.ring),
                    parts.text(one.site.name, one.client.name),
                    one.why or parts.none("nothing to say", "–"),
                    parts.moment(one.touched_at, now, never="not yet"),
                ],
            )
            for one in members
        ],
        empty=Empty("No device fits", "None is in this ring and state.", href="?", action="Show all"),
        query=request.GET,
        pages=pages,
    )


@page(permission=Permission.DEVICE_VIEW, methods=("POST",), change=Permission.PATCH_CHANGE)
def rollout_act(request: PageRequest, rollout_id: UUID, act: str) -> HttpResponse:
    found = queries.rollout(scope=request.scope, number=rollout_id)
    said: dict[str, Any] = {"scope": request.scope, "rollout": found, "now": timezone.now()}
    reason = request.POST.get("reason", "")
    try:
        if act == "pause":
            services.rollout_pause(reason=reason, **said)
        elif act == "resume":
            services.rollout_resume(reason=reason, **said)
        elif act == "cancel":
            services.rollout_cancel(reason=reason, **said)
        else:
            services.rollout_promote(**said)
        messages.success(request, ACTS[act])
    except services.RolloutError as error:
        messages.error(request, str(error))
    return HttpResponseRedirect(f"/rollouts/{found.pk}/")


@page(permission=Permission.DEVICE_VIEW, methods=("POST",), change=Permission.PATCH_CHANGE)
def hold_end(request: PageRequest, hold_id: int) -> HttpResponse:
    hold = queries.holds(scope=request.scope).get(pk=hold_id)
    try:
        services.hold_end(scope=request.scope, hold=hold, reason=request.POST.get("reason", ""), now=timezone.now())
        messages.success(request, f"{hold.name} {hold.candidate} is held no more.")
    except services.RolloutError as error:
        messages.error(request, str(error))
    return HttpResponseRedirect("/rollouts/")


@page(permission=Permission.DEVICE_VIEW, methods=("POST",), change=Permission.PATCH_CHANGE)
def hold_override(request: PageRequest) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    client = Client.objects.visible_to(scope).get(pk=_uuid(request.POST.get("client", "")))
    scope.require(Permission.PATCH_CHANGE, on=client)
    hold = queries.holds(scope=scope).filter(pk=parts.number_typed(request.POST.get("hold", "")) or 0).first()
    try:
        if hold is None:
            raise services.RolloutError("that update is held no more")
        services.hold_override(scope=scope, hold=hold, client=client, reason=request.POST.get("reason", ""), now=now)
        messages.success(request, f"{client.name} installs {hold.name} {hold.candidate} all the same.")
    except services.RolloutError as error:
        messages.error(request, str(error))
    return HttpResponseRedirect("/rollouts/")
