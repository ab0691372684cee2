"""Runbooks, jobs and standing orders: what may change devices, what does, and under whose signature."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.checks import queries as checks
from forestall.server.checks.models import Check
from forestall.server.console import parts, titles, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Fact, Happening, Row, Table
from forestall.server.console.proposals import newest_runbooks, parameters_of, sign_command
from forestall.server.console.shell import render_page
from forestall.server.people.scope import Permission
from forestall.server.runbooks import queries, services
from forestall.server.runbooks.models import UNDER_WAY, Job, JobEvent, JobState, OrderRecord, OrderState, RunbookRecord
from forestall.server.tickets import queries as tickets
from forestall.trust.statements import OPERATOR_SIGNATURES, RiskClass, Runbook
from forestall.trust.words import WHEN, step_words

JOBS_A_PAGE = 100
SHAPE_OF_STATE = {
    JobState.SUCCEEDED: "pass",
    JobState.FAILED: "fail",
    JobState.REFUSED: "fail",
    JobState.AWAITING_APPROVAL: "warn",
    JobState.EXPIRED: "stale",
    JobState.CANCELLED: "unknown",
}


def job_state(job: Job) -> parts.Html:
    """The state with a shape once it has an end; refusals stand out."""
    state = JobState(job.state)
    label = str(state.label)
    if state in SHAPE_OF_STATE:
        return parts.status(SHAPE_OF_STATE[state], label)
    return parts.tag(label, "accent" if state == JobState.AWAITING_SIGNATURE else "")


def signatures_in_words(risk: str) -> str:
    number = OPERATOR_SIGNATURES[RiskClass(risk)]
    if number is None:
        return "never by operators"
    return "no signature" if not number else f"{words.plural(number, 'operator')} {words.does(number, 'sign')}"


# --- runbooks ------------------------------------------------------------------------------------------------


@page(permission=Permission.RUNBOOK_VIEW)
def runbooks(request: PageRequest) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    records = list(newest_runbooks(scope).values())
    orders = list(queries.orders(scope=scope))
    in_force = [order for order in orders if order.state == OrderState.IN_FORCE]
    context = {
        "sentence": format_html(
            "{} signed; {} {} without a person asking.",
            words.plural(len(records), "runbook"),
            words.plural(len(in_force), "standing order"),
            words.does(len(in_force), "run"),
        ),
        "table": Table(
            caption="Runbooks",
            columns=[
                Column("Runbook", "lead"),
                Column("Risk", "second"),
                Column("To run it"),
                Column("Version", "num"),
                Column("Published"),
            ],
            rows=[
                Row(
                    key=f"runbook-{record.slug}",
                    cells=[
                        parts.link(
                            f"/runbooks/{record.slug}/", record.title, queries.runbook_content(record).description
                        ),
                        parts.tag(record.risk),
                        signatures_in_words(record.risk),
                        str(record.version),
                        parts.moment(record.published_at, now),
                    ],
                )
                for record in records
            ],
            empty=Empty(
                "No runbook is published",
                "Runbooks are signed by the catalogue's key, which lives with the operator and not on this server.",
                command="forestall operator init",
            ),
        ),
        "orders": _orders_table(orders, now),
        "actions": parts.link("/runbooks/drafts/", "Drafts") if scope.may(Permission.RUNBOOK_CHANGE) else "",
    }
    return render_page(request, "runbooks", context, section="runbooks", title="Runbooks", data_at=now)


def order_title(order: OrderRecord) -> str:
    """``Free disk space when disk space fails``; of an order that no check runs, when else."""
    if order.trigger in WHEN:
        return f"{order.runbook.title}: {WHEN[order.trigger][0].lower()}{WHEN[order.trigger][1:]}"
    return f"{order.runbook.title} when {titles.kind_title(order.trigger).lower()} fails"


def _budget(order: OrderRecord, now: datetime) -> str:
    """How many devices an order has reached this hour, of how many it may."""
    if order.devices_per_hour is None:
        return "any number of its devices in an hour"
    reached = queries.devices_this_hour(order=order, now=now)
    return f"{reached} of {words.plural(order.devices_per_hour, 'device')} in the last hour"


def _orders_table(orders: list[OrderRecord], now: datetime) -> Table:
    return Table(
        caption="Standing orders",
        columns=[
            Column("Standing order", "lead"),
            Column("State", "second"),
            Column("Client"),
            Column("At most"),
            Column("Ends"),
            Column("Signed by"),
        ],
        rows=[
            Row(
                key=f"order-{order.pk}",
                cells=[
                    parts.link(
                        f"/orders/{order.pk}/",
                        order_title(order),
                    ),
                    order.get_state_display(),
                    order.client.name,
                    f"{words.plural(order.runs_per_day, 'run')} a day and device"
                    + ("" if order.devices_per_hour is None else f", {order.devices_per_hour} devices an hour"),
                    parts.moment(order.expires_at, now),
                    _keys(order.signed_by),
                ],
            )
            for order in orders
        ],
        empty=Empty(
            "No standing order",
            "A standing order lets a runbook answer a failing check by itself: signed, limited, at most 30 days long.",
            command="forestall order sign free-disk-space --device NAME --trigger disk_space",
        ),
    )


def _keys(ids: list[str]) -> parts.Html:
    if not ids:
        return parts.none("nobody has signed it", "nobody")
    return parts.joined((format_html('<code title="{}">{}</code>', key, key[:12]) for key in ids), separator=" ")


@page(permission=Permission.RUNBOOK_VIEW)
def runbook(request: PageRequest, slug: str) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    record = queries.runbook(scope=scope, slug=slug)
    content = queries.runbook_content(record)
    ran = list(queries.jobs(scope=scope).filter(runbook__slug=slug)[:20])
    context = {
        "crumbs": format_html('<a href="/runbooks/">Runbooks</a> › {}', record.slug),
        "sentence": content.description,
        "steps": step_words(
            content, {p.name: f"the {p.name} given" if p.default is None else p.default for p in content.parameters}
        ),
        "facts": [
            Fact("Risk", format_html("{} · {}", parts.tag(record.risk), signatures_in_words(record.risk))),
            Fact("Undo", content.undo),
            Fact("Version", str(record.version)),
            Fact("Published", format_html("{} by {}", parts.moment(record.published_at, now), record.published_by)),
            Fact("Digest", format_html("<code>{}</code>", record.digest)),
            Fact(
                "Collects after",
                words.listing(content.collect_after, most=8) or parts.none("it names no facts", "nothing"),
            ),
        ],
        "parameters": _parameters_table(content),
        "jobs": _jobs_table(
            ran, now, Empty("It has not run yet", "Where it runs, and what came of it, will be listed here.")
        ),
    }
    return render_page(request, "runbook", context, section="runbooks", title=record.title, data_at=record.published_at)


def _parameters_table(content: Runbook) -> Table:
    return Table(
        caption="Parameters",
        columns=[
            Column("Parameter", "lead"),
            Column("Default", "second"),
            Column("What it is", "wide"),
            Column("Limits"),
        ],
        rows=[
            Row(
                [
                    parts.text(p.name, p.kind),
                    str(p.default) if p.default is not None else parts.none("must be given", "none"),
                    p.description,
                    f"{p.minimum} to {p.maximum}" if p.minimum is not None or p.maximum is not None else "",
                ]
            )
            for p in content.parameters
        ],
        empty=Empty("No parameters", "It does the same everywhere."),
    )


# --- jobs ----------------------------------------------------------------------------------------------------


@page(permission=Permission.RUNBOOK_VIEW)
def jobs(request: PageRequest) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    found = queries.jobs(scope=scope)
    waiting = found.filter(state=JobState.AWAITING_SIGNATURE).count()
    running = found.filter(state__in=UNDER_WAY).count()
    state = request.GET.get("state", "")
    shown = found.filter(state=state) if state in JobState.values else found
    total = shown.count()
    pages, stretch = parts.pages_of(request.GET, total, JOBS_A_PAGE)
    empty = Empty(
        "No job yet",
        "A job is one run of a runbook on one device. A ticket proposes it, or a standing order starts it.",
        href="/runbooks/",
        action="Runbooks",
    )
    if state:
        empty = Empty("No job fits", "None is in this state.", href="?", action="Show all")
    said = [
        format_html(
            '<a href="?state=awaiting_signature"><b>{}</b></a> {} for a signature',
            words.plural(waiting, "job"),
            words.does(waiting, "wait"),
        )
        if waiting
        else "No job waits for a signature"
    ]
    if running:
        said.append(f"{running} under way")
    context = {
        "sentence": format_html("{}.", parts.joined(said, separator="; ")),
        "table": _jobs_table(list(shown[stretch]), now, empty, pages=pages),
        "filters": parts.Filters(
            [parts.choice("state", "State", [("", "Any state"), *((s.value, str(s.label)) for s in JobState)], state)]
        ),
    }
    return render_page(request, "jobs", context, section="jobs", title="Jobs", data_at=now)


def _jobs_table(found: list[Job], now: datetime, empty: Empty, pages: parts.Pages | None = None) -> Table:
    return Table(
        caption="Jobs, newest first",
        columns=[
            Column("Job", "lead"),
            Column("State", "second"),
            Column("Reason", "wide"),
            Column("By"),
            Column("Prepared"),
        ],
        rows=[
            Row(
                key=f"job-{job.pk}",
                cells=[
                    parts.link(f"/jobs/{job.pk}/", f"{job.runbook.title} on {job.device.name}", job.client.name),
                    job_state(job),
                    parts.text(job.reason, job.result_detail),
                    "standing order" if job.order_id else job.created_by,
                    parts.moment(job.created_at, now),
                ],
            )
            for job in found
        ],
        empty=empty,
        pages=pages,
    )


@page(permission=Permission.RUNBOOK_VIEW)
def job(request: PageRequest, job_id: UUID) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    found: Job = queries.jobs(scope=scope).get(pk=job_id)
    facts = [
        Fact("State", job_state(found)),
        Fact("Device", parts.link(f"/devices/{found.device_id}/", found.device.name)),
        Fact(
            "Runbook",
            parts.link(f"/runbooks/{found.runbook.slug}/", f"{found.runbook.title}, version {found.runbook.version}"),
        ),
        Fact("Risk", parts.tag(found.runbook.risk)),
        Fact("Prepared", format_html("{} by {}", parts.moment(found.created_at, now), found.created_by)),
        Fact("Signed by", _keys(found.signed_by)),
        Fact("Valid until", parts.moment(found.expires_at, now)),
    ]
    if found.order_id:
        facts.insert(1, Fact("Under", parts.link(f"/orders/{found.order_id}/", "a standing order")))
    if found.ticket_id:
        facts.append(Fact("Ticket", parts.link(f"/tickets/{found.ticket_id}/", f"#{found.ticket_id}")))
    if found.evidence_reference:
        facts.append(
            Fact("Evidence", parts.link(f"/evidence/?ref={found.evidence_reference}", found.evidence_reference))
        )
    if found.continues_id:
        facts.append(Fact("Approves", parts.link(f"/jobs/{found.continues_id}/", "the run that stopped")))
    undone = queries.undone_by(found)
    undoable = queries.undoable(found)
    dry = queries.dry_run_of(scope=scope, job=found, now=now) if _may_still_run(found) else None
    may_prepare = scope.may(Permission.JOB_PREPARE)
    context = {
        "continuation": queries.continuation(scope=scope, job=found),
        "dry": dry,
        "undoable": words.plural(undoable, "change") if undoable else "",
        "undone": undone,
        "may_undo": bool(undoable) and undone is None and not found.is_open and may_prepare,
        "may_approve": found.state == JobState.AWAITING_APPROVAL and may_prepare,
        "first_step": queries.steps_before(found) + 1,
        "job": found,
        "crumbs": format_html('<a href="/jobs/">Jobs</a> › {}', str(found.pk)[:8]),
        "sentence": job_sentence(found, now),
        "words": queries.job_words(scope=scope, job=found),
        "facts": facts,
        "steps": found.result_steps,
        "happenings": [
            Happening(event.at, event.text, who=event.actor, status=_event_shape(event))
            for event in JobEvent.objects.visible_to(scope).filter(job=found)
        ],
        "command": sign_command(found) if found.state == JobState.AWAITING_SIGNATURE else "",
        "verification": _verification(request, found),
        "may_cancel": found.state in (JobState.AWAITING_SIGNATURE, JobState.QUEUED)
        and scope.may(Permission.JOB_PREPARE),
    }
    title = f"{found.runbook.title} on {found.device.name}"
    return render_page(request, "job", context, section="jobs", title=title, data_at=now)


def _event_shape(event: Any) -> str:
    return {"succeeded": "pass", "failed": "fail", "refused": "fail", "expired": "stale"}.get(event.what, "")


def job_sentence(found: Job, now: datetime) -> parts.Html:
    """How it stands, and what has to happen next."""
    if found.state == JobState.AWAITING_SIGNATURE:
        return "Prepared, and waiting for an operator's signature. Nothing has been sent to the device."
    if found.state == JobState.AWAITING_APPROVAL:
        asked = found.result_steps[-1]["summary"] if found.result_steps else "an approval"
        return format_html("It did its first steps and {}", asked)
    if found.state == JobState.CONTINUED:
        return "It stopped for an approval, an operator gave it, and it went on."
    if found.state == JobState.QUEUED:
        return "Signed, and waiting for the device's next check-in."
    if found.state == JobState.DELIVERED:
        return "Delivered: the device verifies the signature and runs it."
    if found.state == JobState.REFUSED:
        return format_html("The device refused it ({}): {}", found.result_code, found.result_detail)
    if found.state in (JobState.SUCCEEDED, JobState.FAILED):
        took = words.span_long(found.finished_at - found.started_at) if found.finished_at and found.started_at else ""
        verb = "Succeeded" if found.state == JobState.SUCCEEDED else "Failed"
        return format_html("{}{}: {}", verb, f" after {took}" if took else "", found.result_detail)
    return format_html("{}. It was never run.", str(JobState(found.state).label).capitalize())


def _verification(request: PageRequest, found: Job) -> list[Check]:
    """The checks of the ticket it was for: what they say now is what counts."""
    if not found.ticket_id:
        return []
    return list(checks.checks(scope=request.scope).filter(alerts__ticket_alert__ticket_id=found.ticket_id).distinct())


@page(permission=Permission.RUNBOOK_VIEW, methods=("POST",), change=Permission.JOB_PREPARE)
def job_cancel(request: PageRequest, job_id: UUID) -> HttpResponse:
    found: Job = queries.jobs(scope=request.scope).get(pk=job_id)
    try:
        services.job_cancel(job=found, scope=request.scope, reason=request.POST.get("reason", ""), now=timezone.now())
        messages.success(request, "The job is cancelled.")
    except services.RunbooksError as refusal:
        messages.error(request, f"{refusal}.")
    return HttpResponseRedirect(f"/jobs/{job_id}/")


def _may_still_run(found: Job) -> bool:
    return found.state == JobState.AWAITING_SIGNATURE and not found.dry_run


@page(permission=Permission.RUNBOOK_VIEW, methods=("POST",), change=Permission.JOB_PREPARE)
def job_undo(request: PageRequest, job_id: UUID) -> HttpResponse:
    """Prepare the job that puts back what this one changed. Sends nothing: an operator signs it elsewhere."""
    found: Job = queries.jobs(scope=request.scope).get(pk=job_id)
    reason = request.POST.get("reason", "")
    try:
        undo = services.job_undo_prepare(job=found, scope=request.scope, reason=reason, now=timezone.now())
    except services.RunbooksError as refusal:
        messages.error(request, f"{refusal}.")
        return HttpResponseRedirect(f"/jobs/{job_id}/")
    messages.success(request, f"Prepared. An operator signs it with: {sign_command(undo)}")
    return HttpResponseRedirect(f"/jobs/{undo.pk}/")


@page(permission=Permission.RUNBOOK_VIEW, methods=("POST",), change=Permission.JOB_PREPARE)
def job_approval(request: PageRequest, job_id: UUID) -> HttpResponse:
    """Prepare the approval of a job that stopped for one, again."""
    found: Job = queries.jobs(scope=request.scope).get(pk=job_id)
    try:
        again = services.job_continue(job=found, scope=request.scope, now=timezone.now())
    except services.RunbooksError as refusal:
        messages.error(request, f"{refusal}.")
        return HttpResponseRedirect(f"/jobs/{job_id}/")
    return HttpResponseRedirect(f"/jobs/{again.pk}/")


@page(permission=Permission.TICKET_VIEW, methods=("POST",), change=Permission.JOB_PREPARE)
def prepare(request: PageRequest, number: int, slug: str, check_id: int) -> HttpResponse:
    """Prepare the proposed runbook for a check of a ticket. Sends nothing: an operator signs it elsewhere."""
    scope, now = request.scope, timezone.now()
    ticket = tickets.ticket(scope=scope, number=number)
    check: Check = checks.checks(scope=scope).get(pk=check_id, device=ticket.device_id)
    record: RunbookRecord = queries.runbook(scope=scope, slug=slug)
    try:
        prepared = services.job_prepare(
            scope=scope,
            runbook=record,
            device=check.device,
            parameters=parameters_of(queries.runbook_content(record), check),
            reason=f"Ticket {number}: {check.reason}",
            ticket_id=number,
            now=now,
        )
        messages.success(request, f"Prepared. An operator signs it with: {sign_command(prepared)}")
    except services.RunbooksError as refusal:
        messages.error(request, f"{refusal}.")
    return HttpResponseRedirect(f"/tickets/{number}/")


# --- standing orders -----------------------------------------------------------------------------------------


@page(permission=Permission.RUNBOOK_VIEW)
def order(request: PageRequest, order_id: UUID) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    found: OrderRecord = queries.orders(scope=scope).get(pk=order_id)
    ran = list(queries.jobs(scope=scope).filter(order=found)[:50])
    context = {
        "order": found,
        "crumbs": SafeString('<a href="/runbooks/">Runbooks</a> › Standing orders'),
        "sentence": format_html(
            "{}, {} runs by itself, at most {} a day and device, until {}.",
            WHEN.get(found.trigger, f"When {titles.kind_title(found.trigger).lower()} fails"),
            found.runbook.title,
            words.plural(found.runs_per_day, "time"),
            words.day(found.expires_at, found.client.timezone),
        ),
        "words": queries.order_words(scope=scope, order=found),
        "facts": [
            Fact("State", found.get_state_display()),
            Fact("Client", found.client.name),
            Fact("Signed by", _keys(found.signed_by)),
            Fact("Installed", format_html("{} by {}", parts.moment(found.installed_at, now), found.installed_by)),
            Fact("Ends", parts.moment(found.expires_at, now)),
            Fact("Reaches", _budget(found, now)),
        ],
        "jobs": _jobs_table(
            ran, now, Empty("It has not run yet", "It runs when its check fails on one of its devices.")
        ),
    }
    title = order_title(found)
    return render_page(request, "order", context, section="runbooks", title=title, data_at=now)
