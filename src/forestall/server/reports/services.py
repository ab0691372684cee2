"""Issuing service reports."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from forestall.server.evidence import queries as evidence
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.log_key import log_key_read
from forestall.server.evidence.models import Entry
from forestall.server.evidence.services import checkpoints_sign, evidence_append
from forestall.server.people.scope import Scope
from forestall.server.people.voice import public_name
from forestall.server.reports.body import (
    CheckpointOf,
    Done,
    Evidence,
    Party,
    ReportBody,
    Seen,
    SlaClock,
    Step,
    Stretch,
    Verification,
    body_plain,
)
from forestall.server.reports.models import ServiceReport
from forestall.server.reports.rules import page_of
from forestall.server.runbooks import queries as runbooks
from forestall.server.runbooks.models import Job
from forestall.server.tickets import queries as tickets
from forestall.server.tickets.models import EventKind, Ticket, TicketEvent
from forestall.server.tickets.portal import names_of
from forestall.server.tickets.rules import ClockKind, Urgency, clock_explain, clock_view

REPORTS = Scope.system("reports")

RENDER_SECONDS = 30

PEOPLES_ACTS = (
    EventKind.ACKNOWLEDGED,
    EventKind.COMMENTED,
    EventKind.STARTED,
    EventKind.WAITING,
    EventKind.RESUMED,
    EventKind.RESOLVED,
    EventKind.REOPENED,
    EventKind.ASKED,
    EventKind.ANSWERED,
    EventKind.LAPSED,
)

ONLY_FOR_CLIENT = frozenset({EventKind.COMMENTED, EventKind.REOPENED})
"""Kinds whose words may be internal: of these a report has what was written for the client, or nothing."""


class RenderError(RuntimeError):
    """The renderer did not make a PDF; the message is what it said."""


class ReportError(ValueError):
    """A ticket of which no report can be made."""


Renderer = Callable[[dict[str, Any], datetime], bytes]
"""Takes a page (``rules.page_of``) and the time of the report; returns the PDF."""


def render_apart(page: dict[str, Any], made_at: datetime) -> bytes:
    """Render in a process of its own, in an empty folder, bounded in time. RenderError when it fails."""
    asked = json.dumps({"page": page, "made_at": made_at.isoformat()}).encode()
    with tempfile.TemporaryDirectory(prefix="forestall-render-") as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-m", "forestall.server.reports.render"],
                input=asked,
                capture_output=True,
                # Home and temporary files in the empty folder: libraries that look for a home find nothing in it.
                env={"HOME": folder, "TMPDIR": folder},
                cwd=folder,
                timeout=RENDER_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RenderError(f"the renderer took longer than {RENDER_SECONDS} s") from None
    if done.returncode != 0 or not done.stdout.startswith(b"%PDF-"):
        said = done.stderr.decode(errors="replace").strip()[-2000:]
        raise RenderError(f"the renderer failed (exit code {done.returncode}): {said}")
    return done.stdout


def service_report_make_by_id(*, ticket_id: int | str, now: datetime) -> ServiceReport | None:
    """The report of a ticket that was resolved or closed; None when it was opened again since."""
    ticket: Ticket = tickets.ticket(scope=REPORTS, number=int(ticket_id))
    return service_report_make(ticket=ticket, now=now) if ticket.is_done else None


@transaction.atomic
def service_report_make(*, ticket: Ticket, now: datetime, render: Renderer = render_apart) -> ServiceReport:
    """Issue the report of a resolved or closed ticket, with its PDF, and put the PDF's SHA-256 into the client's log.

    A ticket that was resolved, verified or reopened since its last report gets a new one, which takes the place of
    the last; otherwise the last is returned. ReportError for a ticket that is neither resolved nor closed.
    """
    ticket = (
        Ticket.objects.visible_to(REPORTS)
        .select_related("client", "site", "device", "owner", "requested_by")
        .get(pk=ticket.pk)
    )
    if ticket.resolved_at is None:
        raise ReportError(f"ticket {ticket.number} is {ticket.state}: a report is made when it is resolved or closed")
    last = ServiceReport.objects.visible_to(REPORTS).select_for_update().filter(ticket=ticket).order_by("-pk").first()
    if last is not None and _says_the_same(last, ticket):
        found: ServiceReport = last
        return found
    newest = ServiceReport.objects.visible_to(REPORTS).order_by("-pk").first()
    number = f"SR-{(newest.pk if newest else 0) + 1:06}"
    if settings.HOME.log_key.exists():
        # So that every record the report names is provable from the moment it is issued. Where another node holds
        # the key, the report says up to which record the last checkpoint reaches.
        checkpoints_sign(now=now, log_key=log_key_read(home=settings.HOME), client_id=ticket.client_id)
    body = _body(ticket, number=number, supersedes=last.number if last else "", now=now)
    pdf = render(page_of(body), now)
    digest = hashlib.sha256(pdf).hexdigest()
    entry = evidence_append(
        client=ticket.client,
        kind=EvidenceKind.REPORT_ISSUED,
        payload={"report": number, "ticket": ticket.number, "pdf_sha256": digest, "supersedes": body.supersedes},
        now=now,
        device_id=ticket.device_id,
        site_id=ticket.site_id,
        ticket_id=ticket.number,
    )
    report: ServiceReport = ServiceReport.objects.create(
        number=number,
        client=ticket.client,
        site=ticket.site,
        ticket=ticket,
        supersedes=last,
        made_at=now,
        body=body_plain(body),
        pdf=pdf,
        pdf_sha256=digest,
        reference=entry.reference,
        for_client=True,
    )
    return report


def _says_the_same(report: ServiceReport, ticket: Ticket) -> bool:
    resolved_at = datetime.fromisoformat(report.body["resolved_at"])
    verified = report.body["verification"]["state"] == "verified"
    return resolved_at == ticket.resolved_at and verified == (ticket.verified_at is not None)


def _body(ticket: Ticket, *, number: str, supersedes: str, now: datetime) -> ReportBody:
    device = ticket.device
    names = names_of(
        {ticket.acknowledged_by, ticket.resolved_by, ticket.owner.username if ticket.owner else ""},
        client=ticket.client_id,
    )
    clocks = tickets.clocks_of(scope=REPORTS, tickets=[ticket])[ticket.number]
    checkpoint = evidence.checkpoint_latest(client_id=ticket.client_id)
    if ticket.resolved_at is None:
        raise ReportError(f"ticket {ticket.number} is not resolved")
    return ReportBody(
        number=number,
        made_at=now,
        timezone=ticket.client.timezone,
        supersedes=supersedes,
        client=Party(id=str(ticket.client_id), name=ticket.client.name),
        site=Party(id=str(ticket.site_id), name=ticket.site.name),
        device=Party(id=str(device.pk), name=device.name) if device else None,
        device_role=device.role if device else "",
        device_os=device.os_name if device else "",
        ticket=ticket.number,
        title=ticket.title,
        state="closed" if ticket.state == "closed" else "resolved",
        risk=ticket.risk,
        priority=ticket.priority,
        owner=names[ticket.owner.username] if ticket.owner else "",
        first_seen_at=ticket.first_seen_at,
        opened_at=ticket.opened_at,
        acknowledged_at=ticket.acknowledged_at,
        acknowledged_by=names.get(ticket.acknowledged_by, ticket.acknowledged_by),
        resolved_at=ticket.resolved_at,
        resolved_by=names.get(ticket.resolved_by, ticket.resolved_by),
        close_reason=ticket.close_reason,
        resolution=ticket.resolution,
        seen=_seen(ticket),
        done=_done(ticket),
        verification=_verification(ticket),
        sla=[_sla(ticket, clocks, kind, now, names) for kind in ClockKind],
        calendar_note=clocks.work.note,
        evidence=_evidence(ticket),
        checkpoint=CheckpointOf(size=checkpoint.size, root=bytes(checkpoint.root).hex(), at=checkpoint.at)
        if checkpoint
        else None,
        request=_request(ticket),
        requested_by=public_name(ticket.requested_by, client=ticket.client_id),
    )


def _request(ticket: Ticket) -> str:
    if not ticket.is_request:
        return ""
    urgency = Urgency(ticket.urgency).words
    return f"{urgency}. {ticket.text}" if ticket.text else f"{urgency}."


def _seen(ticket: Ticket) -> list[Seen]:
    """Each alert, with what its check said when it was worst: the first time it said that."""
    seen = []
    for alert in tickets.alerts_of(scope=REPORTS, ticket=ticket):
        changes = alert.check_row.changes.filter(at__gte=alert.first_seen_at, new=alert.status).order_by("at")
        worst = changes.first()
        seen.append(
            Seen(
                kind=alert.kind,
                target=alert.target,
                status=alert.status,
                risk=alert.risk,
                reason=worst.reason if worst else alert.reason,
                value=worst.value if worst else None,
                unit=alert.check_row.unit,
                first_seen_at=alert.first_seen_at,
                raised_at=alert.raised_at,
                cleared_at=alert.cleared_at,
            )
        )
    return seen


def _done(ticket: Ticket) -> list[Done]:
    """What people and jobs did, in order of time."""
    jobs = list(runbooks.jobs_of_ticket(scope=REPORTS, ticket_id=ticket.number))
    told = {str(job.pk) for job in jobs}
    events = TicketEvent.objects.visible_to(REPORTS).filter(ticket=ticket, kind__in=[*PEOPLES_ACTS, EventKind.JOB])
    names = names_of({event.actor for event in events}, client=ticket.client_id)
    acts = [
        Done(
            at=event.at,
            who=names.get(event.actor, event.actor),
            authority="",
            text=event.for_client if event.kind in ONLY_FOR_CLIENT else event.text,
            job_id=event.job_id,
            reference=event.reference,
        )
        for event in events
        # The check's own judgements stand under "verified"; jobs are told below, with their steps.
        # What was written for the desk alone is on the ticket, and in no report.
        if event.actor != "check"
        and event.job_id not in told
        and (event.for_client or event.kind not in ONLY_FOR_CLIENT)
    ]
    authors = names_of({job.created_by for job in jobs}, client=ticket.client_id)
    return sorted([*acts, *(_job(job, authors) for job in jobs)], key=lambda done: done.at)


def _job(job: Job, names: Mapping[str, str]) -> Done:
    result = f", {job.result_detail}" if job.result_detail else ""
    what = "Dry run of the runbook" if job.dry_run else "Runbook"
    signers = ", ".join(f"operator {key[:12]}…" for key in job.signed_by) or "nobody"
    if job.order is not None:
        authority = f"standing order {job.order.digest[:12]}… for {job.order.trigger}, signed by {signers}"
    else:
        authority = f"asked for by {names.get(job.created_by, job.created_by)}, signed by {signers}"
    return Done(
        at=job.finished_at or job.queued_at or job.created_at,
        who=job.device.name,
        authority=authority,
        text=f"{what} “{job.runbook.title}”: {job.get_state_display()}{result}",
        job_id=str(job.pk),
        outcome=job.state,
        steps=[
            Step(
                action=str(step["action"]),
                ok=bool(step["ok"]),
                summary=str(step["summary"]),
                changed={str(name): int(count) for name, count in step.get("changed", {}).items()},
            )
            for step in job.result_steps
        ],
        reference=job.evidence_reference,
    )


def _verification(ticket: Ticket) -> Verification:
    if ticket.verified_at is not None:
        shown = ticket.verification
        return Verification(
            state="verified",
            at=datetime.fromisoformat(shown["at"]),
            status=shown["status"],
            reason=shown["reason"],
            value=shown["value"],
            unit=shown["unit"],
            evidence=[str(source) for source in shown["evidence"]],
        )
    if ticket.is_request:
        return Verification(state="by_hand", at=None, status="", reason="", value=None, unit="", evidence=[])
    last = tickets.alerts_of(scope=REPORTS, ticket=ticket).order_by("-check_row__judged_at").first()
    check = last.check_row if last else None
    return Verification(
        state="unverified",
        at=check.judged_at if check else None,
        status=check.status if check else "unknown",
        reason=check.reason if check else "",
        value=check.value if check else None,
        unit=check.unit if check else "",
        evidence=[str(source) for source in check.evidence] if check else [],
    )


def _sla(
    ticket: Ticket, clocks: tickets.ClockSet, kind: ClockKind, now: datetime, names: Mapping[str, str]
) -> SlaClock:
    clock = clocks.get(kind)
    view = clock_view(clock=clock, work=clocks.work, now=now)
    acknowledged = kind is ClockKind.RESPONSE and ticket.acknowledged_at is not None
    by = ticket.acknowledged_by if acknowledged else ticket.resolved_by
    who = "the check" if by == "check" else names.get(by, by)
    return SlaClock(
        kind="response" if kind is ClockKind.RESPONSE else "resolution",
        state=str(view.state),
        used_seconds=view.used_seconds,
        total_seconds=view.total_seconds,
        started_at=clock.started_at,
        stopped_at=clock.stopped_at,
        stopped_by=f"{'acknowledged' if acknowledged else ticket.state} by {who}",
        due_at=view.due_at,
        stretches=[
            Stretch(start=part.start, end=part.end, counted=part.counted, why=part.why)
            for part in clock_explain(clock=clock, work=clocks.work, now=now)
        ],
    )


def _evidence(ticket: Ticket) -> list[Evidence]:
    """The records of the ticket itself, and those of its alerts and of its device's checks of that kind meanwhile."""
    entries = evidence.entries(scope=REPORTS).filter(client=ticket.client_id)
    own = entries.filter(ticket_id=ticket.number)
    if ticket.is_request:
        return [_evidence_line(entry) for entry in own.order_by("index")]
    around = entries.filter(
        device_id=ticket.device_id,
        ticket_id=None,
        at__gte=ticket.first_seen_at,
        at__lte=ticket.verified_at or ticket.resolved_at,
        kind__in=[EvidenceKind.ALERT_RAISED, EvidenceKind.ALERT_CLEARED, EvidenceKind.CHECK_CHANGED],
    )
    of_kind = [entry for entry in around if _is_about(entry.payload, ticket.kind)]
    return [_evidence_line(entry) for entry in sorted([*own, *of_kind], key=lambda entry: entry.index)]


def _evidence_line(entry: Entry) -> Evidence:
    return Evidence(
        reference=entry.reference,
        index=entry.index,
        kind=entry.kind,
        at=entry.at,
        leaf_hash=bytes(entry.leaf_hash).hex(),
        signed_by_device=entry.has_signature,
    )


def _is_about(payload: dict[str, Any], kind: str) -> bool:
    """Whether a record of alerts or checks is about this kind; a device's first judgements are one record together."""
    return any(one.get("kind") == kind for one in (payload, *payload.get("first_judged", ())))
