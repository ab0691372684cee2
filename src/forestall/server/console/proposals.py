"""What the system proposes for a ticket: a signed runbook that may repair it, prepared but never run from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.models import Check
from forestall.server.checks.result import Status
from forestall.server.inventory.models import Device
from forestall.server.people.scope import Permission, Scope
from forestall.server.runbooks import queries as runbooks
from forestall.server.runbooks.models import Job, JobState, RunbookRecord
from forestall.server.runbooks.rules import PARAMETER_OF_TRIGGER
from forestall.server.tickets.models import Ticket
from forestall.trust.authorise import Refused
from forestall.trust.statements import ParameterValue, Runbook
from forestall.trust.words import step_words


@dataclass(frozen=True, slots=True)
class Proposal:
    """The next step: what it would do, on what, how to undo it; or the job that is on its way already."""

    title: str
    """``Free disk space on web-01``."""
    steps: Sequence[str]
    risk: str
    undo: str
    slug: str
    because: str
    check_id: int
    job: Job | None
    command: str
    """What an operator runs to sign the job that waits; empty when none does."""
    may_prepare: bool


def sign_command(job: Job) -> str:
    """What an operator runs where the keys are."""
    return f"forestall sign {job.pk}"


def parameters_of(runbook: Runbook, check: Check) -> dict[str, ParameterValue]:
    """The parameters that follow from the check: its target goes where the runbook wants it."""
    wanted = PARAMETER_OF_TRIGGER.get(check.kind)
    names = {parameter.name for parameter in runbook.parameters}
    return {wanted: check.target} if wanted in names else {}


def proposals_of(*, scope: Scope, ticket: Ticket, checks: Sequence[Check], now: datetime) -> list[Proposal]:
    """At most one proposal for each runbook that may repair a failing check of the ticket."""
    if not scope.may(Permission.RUNBOOK_VIEW):
        return []
    jobs = list(runbooks.jobs_of_ticket(scope=scope, ticket_id=ticket.number))
    newest = newest_runbooks(scope)
    found: list[Proposal] = []
    for check in checks:
        kind = CHECK_KINDS.get(check.kind)
        if kind is None or check.status not in {Status.FAIL, Status.WARN}:
            continue
        for slug in kind.remedies:
            if slug in newest and all(proposal.slug != slug for proposal in found):
                found.append(_proposal(scope, newest[slug], check.device, check, jobs))
    return found


def newest_runbooks(scope: Scope) -> Mapping[str, RunbookRecord]:
    """Slug → newest version."""
    found: dict[str, RunbookRecord] = {}
    for record in runbooks.runbooks(scope=scope).order_by("slug", "version"):
        found[record.slug] = record
    return found


def _proposal(scope: Scope, record: RunbookRecord, device: Device, check: Check, jobs: Sequence[Job]) -> Proposal:
    content = runbooks.runbook_content(record)
    under_way = [job for job in jobs if job.runbook.slug == record.slug and job.is_open and not job.dry_run]
    job = under_way[-1] if under_way else None
    waits = job is not None and job.state == JobState.AWAITING_SIGNATURE
    defaults = {p.name: p.default for p in content.parameters if p.default is not None}
    try:
        steps = step_words(content, {**defaults, **parameters_of(content, check)})
    except Refused as refusal:
        steps = [refusal.sentence]
    return Proposal(
        title=f"{record.title} on {device.name}",
        steps=steps,
        risk=record.risk,
        undo=content.undo,
        slug=record.slug,
        because=check.reason,
        check_id=check.pk,
        job=job,
        command=sign_command(job) if waits and job else "",
        may_prepare=scope.may(Permission.JOB_PREPARE),
    )
