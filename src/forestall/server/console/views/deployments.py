"""Updates of a device, the story of one, installing now; and a client's patch policy."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.clients.queries import served
from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Fact, Happening, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.console.views.client_forms import PlainForm
from forestall.server.console.views.clients import client_page
from forestall.server.inventory import queries as inventory
from forestall.server.inventory.models import Device
from forestall.server.patching import installing, planning, queries
from forestall.server.patching.deciding import decision_covers
from forestall.server.patching.models import Deployment, PatchPolicy, UpdateDecision
from forestall.server.patching.policies import Terms, read_terms
from forestall.server.patching.rules import IN_PLACE, MEANING, WAITING, State, spoken
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission
from forestall.server.runbooks.models import JobState

A_PAGE = 100
METHODS = ("GET", "HEAD", "POST")
CHOICES: dict[str, installing.Choice] = {"security": "security", "all": "all", "chosen": "chosen"}
LOOKS = {
    State.VERIFIED: "pass",
    State.INSTALLED: "info",
    State.PENDING_REBOOT: "warn",
    State.BLOCKED: "warn",
    State.FAILED: "fail",
    State.REGRESSED: "fail",
}


def state_tag(state: str) -> SafeString:
    """A state in its word, with a colour where it needs one."""
    return parts.tag(spoken(state), LOOKS.get(State(state), ""))


# --- a device's updates -----------------------------------------------------------------------------------------


def device_tab(request: PageRequest, device: Device, now: datetime, *, known: list[Fact]) -> dict[str, Any]:
    """The tab Updates of a device: what waits and why, and what became of those before. ``known``: of its facts."""
    scope = request.scope
    every = queries.deployments(scope=scope).filter(device=device)
    settled = request.GET.get("show", "") == "settled"
    rows = (
        every.filter(state__in=("verified", "superseded", "withdrawn", "regressed"))
        if settled
        else every.filter(settled_at=None)
    )
    rows = rows.order_by("-settled_at", "-pk") if settled else rows.order_by("-security", "due_at", "name", "pk")
    counts = queries.states_of(scope=scope, device=device)
    total = sum(number for state, number in counts.items() if (State(state) not in _OPEN) == settled)
    pages, stretch = parts.pages_of(request.GET, total, A_PAGE)
    policy = queries.policy_for(scope=scope, device=device)
    may = scope.may(Permission.PATCH_CHANGE, on=device) and scope.may(Permission.JOB_PREPARE, on=device)
    facts = [
        Fact("Policy", _policy_link(policy, device)),
        *(
            Fact(spoken(state).capitalize(), str(counts[state]))
            for state in State
            if counts.get(state) and state in _OPEN
        ),
        Fact("Settled", parts.link("?show=settled", f"{sum(counts.get(s, 0) for s in State if s not in _OPEN):,}")),
    ]
    return {
        "table": _table(list(rows[stretch]), now, pages, settled=settled),
        "facts": [*facts, *(one for one in known if one.name not in ("Security", "Other"))],
        "shown_settled": settled,
        "may_deploy": may and any(counts.get(state) for state in (*WAITING,)),
        "security": every.filter(settled_at=None, security=True, state__in=[str(s) for s in WAITING]).count(),
    }


_OPEN = frozenset(State) - {State.VERIFIED, State.SUPERSEDED, State.WITHDRAWN, State.REGRESSED}


def _policy_link(policy: PatchPolicy | None, device: Device) -> SafeString:
    where = f"/clients/{device.client_id}/updates/"
    if policy is None:
        return format_html('<a href="{}">none</a>: nothing is installed by itself', where)
    return parts.link(where, policy_in_words(policy))


def policy_in_words(policy: PatchPolicy) -> str:
    """What a policy installs by itself, in a few words."""
    what = {"security": "security fixes", "all": "every update", "nothing": "nothing by itself"}[policy.choose]
    after = f", {words.plural(policy.defer_days, 'day')} after release" if policy.defer_days else ""
    return f"{what}{', once approved' if policy.approval == 'manual' else ''}{after}"


def _table(rows: list[Deployment], now: datetime, pages: parts.Pages | None, *, settled: bool) -> Table:
    return Table(
        caption="Updates",
        columns=[
            Column("Update", "lead"),
            Column("State", "second"),
            Column("Why", "wide"),
            Column("When" if settled else "Planned for"),
            Column("Due"),
        ],
        rows=[
            Row(
                key=f"deployment-{one.pk}",
                cells=[
                    parts.link(f"/deployments/{one.pk}/", one.name, f"{one.installed or 'new'} → {one.candidate}"),
                    parts.joined([state_tag(one.state), parts.tag("security", "fail") if one.security else ""], " "),
                    one.why or parts.none("nothing keeps it", "–"),
                    parts.moment(one.settled_at if settled else one.planned_for, now, "no window"),
                    due(one, now),
                ],
            )
            for one in rows
        ],
        empty=Empty(
            "Nothing was settled yet",
            "What is verified, superseded or withdrawn is here.",
            href="?",
            action="What waits",
        )
        if settled
        else Empty(
            "No update waits",
            "What a scan finds pending is here, from its first sight until it is verified.",
            href="?show=settled",
            action="What became of those before",
        ),
        pages=pages,
    )


def due(one: Deployment, now: datetime) -> SafeString:
    """The deadline that binds, and whether it is lost already."""
    if one.due_at is None:
        return parts.none("no obligation binds it", "none")
    shown = parts.moment(one.due_at, now)
    if one.settled_at is None and one.state not in IN_PLACE and one.due_at < now:
        return format_html("{} {}", shown, parts.tag("late", "fail"))
    if one.misses:
        return format_html("{} {}", shown, parts.tag("will be missed", "warn"))
    return shown


# --- install now ------------------------------------------------------------------------------------------------


@page(permission=Permission.PATCH_CHANGE, methods=("POST",))
def deploy_now(request: PageRequest, device_id: UUID) -> HttpResponse:
    """Prepare the run that installs now; then to the run, which says what is missing."""
    scope = request.scope
    device = inventory.devices(scope=scope).get(pk=device_id)
    choose = CHOICES.get(request.POST.get("choose", "security"))
    package = request.POST.get("package", "")
    back = f"/devices/{device.pk}/updates/"
    if choose is None:
        raise Http404
    try:
        begun = installing.deploy_now(
            scope=scope,
            device=device,
            choose=choose,
            packages=[package] if package else [],
            reason=request.POST.get("reason", "")[:300],
            now=timezone.now(),
        )
    except ValueError as refusal:
        messages.error(request, str(refusal)[:500].capitalize())
        return HttpResponseRedirect(back)
    job = begun.jobs[0]
    waits = job.state == JobState.AWAITING_SIGNATURE
    said = f"{words.plural(begun.updates, 'update')} {'prepared: sign the run' if waits else 'on the way'}."
    messages.success(request, said)
    return HttpResponseRedirect(f"/jobs/{job.pk}/")


# --- one deployment ---------------------------------------------------------------------------------------------


class DecisionForm(PlainForm):
    decision = forms.ChoiceField(
        label="Decision",
        choices=[
            ("approve", "Approve: install it in the next window"),
            ("defer", "Defer until a day"),
            ("exclude", "Leave it out"),
        ],
    )
    where = forms.ChoiceField(label="Where")
    every = forms.BooleanField(label="Every version, not only this one", required=False)
    until = forms.DateTimeField(
        label="Until",
        required=False,
        help_text="Day and time, UTC. A deferral needs one.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
    )
    reason = forms.CharField(
        label="Why",
        max_length=planning.LONGEST_REASON,
        required=False,
        help_text="Everybody who sees the update reads it.",
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def __init__(self, data: Any = None, *, device: Device) -> None:
        super().__init__(data, name="decision")
        self.fields["where"] = forms.ChoiceField(
            label="Where",
            choices=[("device", f"On {device.name}"), ("client", f"On every device of {device.client.name}")],
        )


@page(permission=Permission.DEVICE_VIEW, change=Permission.PATCH_CHANGE, methods=METHODS)
def deployment(request: PageRequest, deployment_id: int) -> HttpResponse:
    """The story of one update on one device, and what may be decided about it."""
    scope, now = request.scope, timezone.now()
    found = queries.deployments(scope=scope).get(pk=deployment_id)
    device = found.device
    if request.method == "POST":
        scope.require(Permission.PATCH_CHANGE, on=device)
    form = DecisionForm(request.POST if request.POST.get("act") == "decide" else None, device=device)
    if request.method == "POST" and request.POST.get("act") == "undo":
        return _undone(request, found, now)
    if form.is_bound and form.is_valid():
        said = form.cleaned_data
        try:
            planning.update_decide(
                scope=scope,
                client=found.client,
                device=device if said["where"] == "device" else None,
                decision=said["decision"],
                manager=found.manager,
                name=found.name,
                candidate="" if said["every"] else found.candidate,
                until=said["until"],
                reason=said["reason"],
                now=now,
            )
        except ValueError as refusal:
            form.refuse(refusal)
        else:
            messages.success(request, "Kept. It can be taken back below.")
            return HttpResponseRedirect(request.path)
    changes = queries.changes_of(scope=scope, deployment=found)
    may = scope.may(Permission.PATCH_CHANGE, on=device)
    held = [
        one
        for one in queries.decisions(scope=scope, in_force_at=now).filter(client=found.client_id)
        if decision_covers(one, found)
    ]
    context = {
        "crumbs": format_html(
            '<a href="/devices/">Devices</a> › <a href="/devices/{}/updates/">{}</a>', device.pk, device.name
        ),
        "sentence": _sentence(found, now),
        "deployment": found,
        "happenings": [
            Happening(at=one.at, what=spoken(one.state).capitalize(), who=one.actor, note=one.why) for one in changes
        ][::-1],
        "facts": _facts(found, now),
        "form": form,
        "decisions": [(one, _decision_words(one)) for one in held],
        "may_decide": may and found.settled_at is None,
        "may_deploy": may and scope.may(Permission.JOB_PREPARE, on=device) and State(found.state) in WAITING,
        "may": may,
    }
    return render_page(
        request,
        "deployment",
        context,
        section="devices",
        title=f"{found.name} {found.candidate}",
        data_at=device.last_check_in_at,
        live=not form.is_bound,
    )


def _undone(request: PageRequest, found: Deployment, now: datetime) -> HttpResponse:
    number = parts.number_typed(request.POST.get("decision", ""))
    rows = queries.decisions(scope=request.scope).filter(client=found.client_id)
    decision = rows.get(pk=number or 0)
    try:
        planning.decision_end(scope=request.scope, decision=decision, now=now)
    except ValueError as refusal:
        messages.error(request, str(refusal).capitalize())
    else:
        messages.success(request, "Taken back.")
    return HttpResponseRedirect(request.path)


def _sentence(one: Deployment, now: datetime) -> SafeString:
    return format_html(
        "{} on {}: {} {}",
        state_tag(one.state),
        one.device.name,
        one.why or MEANING[State(one.state)],
        format_html('<span class="muted">Since {}.</span>', parts.moment(one.state_since, now)),
    )


def _facts(one: Deployment, now: datetime) -> list[Fact]:
    rated = one.severity or ("unrated" if one.security else "")
    facts = [
        Fact("Version before", one.installed or parts.none("it was not installed", "none")),
        Fact("New version", one.candidate),
        Fact("Provider", one.manager),
        Fact("Fixes security", f"yes, {rated}" if one.security else "no"),
        Fact("First seen", parts.moment(one.first_seen_at, now)),
        Fact("Released", parts.moment(one.released_at, now, "the provider does not say")),
        Fact("Due", due(one, now)),
    ]
    if one.bound_by:
        facts.append(Fact("Bound by", one.bound_by.replace("_", " ")))
    if one.cves:
        shown = ", ".join(one.cves[:6]) + (f" and {len(one.cves) - 6} more" if len(one.cves) > 6 else "")
        facts.append(Fact("Fixes", shown))
    if one.planned_for is not None:
        facts.append(Fact("Planned for", parts.moment(one.planned_for, now)))
    if one.installed_at is not None:
        facts.append(Fact("Installed", format_html("{} by {}", parts.moment(one.installed_at, now), one.installed_by)))
    if one.needs_reboot is not None:
        facts.append(Fact("Needs a reboot", "yes" if one.needs_reboot else "no"))
    if one.services_before:
        facts.append(Fact("Ran before it", ", ".join(one.services_before[:12])))
    if one.attempts:
        facts.append(Fact("Attempts", str(one.attempts)))
    if one.job_id is not None:
        facts.append(Fact("Run", parts.link(f"/jobs/{one.job_id}/", "the last run")))
    if one.ticket_id is not None:
        facts.append(Fact("Ticket", parts.link(f"/tickets/{one.ticket_id}/", f"#{one.ticket_id}")))
    if one.evidence_reference:
        facts.append(Fact("Evidence", one.evidence_reference))
    return facts


def _decision_words(one: UpdateDecision) -> str:
    verb = {"approve": "Approved", "defer": "Deferred", "exclude": "Left out"}[one.decision]
    where = "on this device" if one.device_id else "at the client"
    until = f" until {one.until:%Y-%m-%d %H:%M} UTC" if one.until else ""
    return f"{verb} {where}{until} by {one.by}{f': {one.reason}' if one.reason else ''}"


# --- a client's policy ------------------------------------------------------------------------------------------


class PolicyForm(PlainForm):
    choose = forms.ChoiceField(
        label="Installs in windows",
        choices=[("security", "Security fixes"), ("all", "Every update"), ("nothing", "Nothing by itself")],
    )
    approval = forms.ChoiceField(
        label="Approval", choices=[("automatic", "Not needed"), ("manual", "Each update is approved first")]
    )
    defer_days = forms.IntegerField(
        label="Days to wait after the release",
        min_value=0,
        max_value=90,
        help_text="A deadline does not wait for it.",
    )
    reboot = forms.ChoiceField(
        label="Reboot",
        choices=[
            ("never", "A person restarts the machine"),
            ("when_needed", "At the end of the run, when needed"),
            ("next_window", "In the window after that"),
        ],
    )
    warn_minutes = forms.IntegerField(label="Minutes of warning before it", min_value=0, max_value=1440)
    sessions = forms.ChoiceField(
        label="People signed in", choices=[("ignore", "Do not matter"), ("block", "Keep it from being installed")]
    )
    on_battery = forms.ChoiceField(
        label="On battery", choices=[("block", "Nothing is installed"), ("allow", "Installs all the same")]
    )
    snapshot = forms.ChoiceField(
        label="Snapshot before",
        choices=[("never", "No"), ("when_possible", "Where the system can"), ("required", "Always, or not at all")],
    )
    backup = forms.ChoiceField(
        label="A backup that is too old",
        choices=[("ignore", "Does not matter"), ("warn", "Is said with the run"), ("block", "Blocks it")],
    )
    backup_hours = forms.IntegerField(label="A good backup may be so many hours old", min_value=1, max_value=8784)
    backup_restored_days = forms.IntegerField(
        label="A proved restore may be so many days old", min_value=0, max_value=3660, help_text="0: not asked."
    )
    least_free_mb = forms.IntegerField(label="Free space to leave, MB", min_value=0, max_value=1_000_000)
    minutes_needed = forms.IntegerField(label="Minutes that a window must have left", min_value=1, max_value=1440)
    rings = forms.BooleanField(
        label="Ring by ring", required=False, help_text="Rollouts start by themselves, and halt by themselves."
    )

    def __init__(self, data: Any = None, *, policy: PatchPolicy | None) -> None:
        terms = Terms() if policy is None else read_terms(policy.terms)
        initial = {"choose": "security", "approval": "automatic", "defer_days": 0, **msgspec.to_builtins(terms)}
        if policy is not None:
            initial |= {"choose": policy.choose, "approval": policy.approval, "defer_days": policy.defer_days}
        super().__init__(data, name="policy", initial=initial)

    def terms(self) -> dict[str, Any]:
        own = set(Terms.__struct_fields__)
        return {name: value for name, value in self.cleaned_data.items() if name in own}


@page(permission=Permission.CLIENT_VIEW, change=Permission.PATCH_CHANGE, methods=METHODS)
def client_updates(request: PageRequest, client_id: UUID) -> HttpResponse:
    """A client's patch policies and what was decided about updates there."""
    scope, now = request.scope, timezone.now()
    client: Client = served(scope=scope).get(pk=client_id)
    policies = list(queries.policies(scope=scope).filter(client=client).order_by("site__name", "pk"))
    sites = list(Site.objects.visible_to(scope).filter(client=client).order_by("name"))
    asked = request.POST.get("site", request.GET.get("site", ""))
    site = next((one for one in sites if str(one.pk) == asked), None)
    if asked and site is None:
        raise Http404
    if request.method == "POST":
        scope.require(Permission.PATCH_CHANGE, on=site or client)
    chosen = next((one for one in policies if one.site_id == (site.pk if site else None)), None)
    act = request.POST.get("act", "")
    form = PolicyForm(request.POST if act == "keep" else None, policy=chosen)
    if act == "undo":
        rows = queries.decisions(scope=scope).filter(client=client)
        planning.decision_end(
            scope=scope, decision=rows.get(pk=parts.number_typed(request.POST.get("decision", "")) or 0), now=now
        )
        return _kept(request, "Taken back.")
    if act == "remove":
        if chosen is None:
            raise Http404
        planning.policy_remove(scope=scope, policy=chosen, now=now)
        return _kept(request, "Removed: nothing is installed by itself there any more.")
    if form.is_bound and form.is_valid():
        said = form.cleaned_data
        try:
            planning.policy_set(
                scope=scope,
                client=client,
                site=site,
                choose=said["choose"],
                approval=said["approval"],
                defer_days=said["defer_days"],
                terms=form.terms(),
                now=now,
            )
        except ValueError as refusal:
            form.refuse(refusal)
        else:
            return _kept(request, "The policy is kept.")
    decisions = list(queries.decisions(scope=scope, in_force_at=now).filter(client=client)[:200])
    may = scope.may(Permission.PATCH_CHANGE, on=site or client)
    whole = next((one for one in policies if one.site_id is None), None)
    context = {
        "sentence": f"Installed in windows: {policy_in_words(whole)}."
        if whole is not None
        else "No patch policy: nothing is installed by itself.",
        "policies": _policies_table(policies, now),
        "decided": decisions,
        "decisions": _decisions_table(decisions, now),
        "form": form,
        "chosen": chosen,
        "site": site,
        "sites": sites,
        "may": may,
        "command": f'forestall order patching "{client.name}"',
    }
    return client_page(request, client, "updates", context, template="client_updates")


def _kept(request: PageRequest, text: str) -> HttpResponseRedirect:
    messages.success(request, text)
    return HttpResponseRedirect(request.path)


def _policies_table(policies: list[PatchPolicy], now: datetime) -> Table:
    return Table(
        caption="Patch policies",
        columns=[
            Column("Where", "lead"),
            Column("Installs", "second"),
            Column("Reboot"),
            Column("Backup"),
            Column("Changed"),
        ],
        rows=[
            Row(
                cells=[
                    parts.link(
                        f"?site={one.site_id}" if one.site_id else "?", one.site.name if one.site else "Every site"
                    ),
                    policy_in_words(one),
                    read_terms(one.terms).reboot.replace("_", " "),
                    read_terms(one.terms).backup,
                    format_html("{} by {}", parts.moment(one.changed_at, now), one.changed_by),
                ]
            )
            for one in policies
        ],
        empty=Empty(
            "No patch policy",
            "Set one below. It installs nothing without a maintenance window, and a standing order or a signature.",
        ),
        keep=True,
    )


def _decisions_table(decisions: list[UpdateDecision], now: datetime) -> Table:
    return Table(
        caption="Decisions in force",
        columns=[
            Column("Update", "lead"),
            Column("Decision", "second"),
            Column("Until"),
            Column("Why", "wide"),
            Column("By"),
        ],
        rows=[
            Row(
                cells=[
                    parts.text(one.name, one.candidate or "every version"),
                    one.decision,
                    parts.moment(one.until, now, "for good"),
                    one.reason or parts.none("an approval needs no reason", "–"),
                    format_html("{} {}", one.by, parts.moment(one.at, now)),
                ]
            )
            for one in decisions
        ],
        empty=Empty("Nothing was decided", "Approve, defer or leave out an update on its own page."),
    )
