"""Updates that need a person: one ticket a device, from the first that fails until the last is shown to be in order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from forestall.server.checks.result import Risk
from forestall.server.inventory.models import Device
from forestall.server.patching.models import SETTLED, Deployment, DeploymentState
from forestall.server.people.scope import Scope
from forestall.server.runbooks.models import Job
from forestall.server.tickets.models import Ticket
from forestall.server.tickets.services import condition_found, condition_gone, ticket_note_job

KIND = "patching"
_SELF = Scope.system("patching")
_NAMED = 3


def tickets_follow(*, device: Device, now: datetime, job: Job | None = None) -> Ticket | None:
    """Open, add to or resolve the ticket about a device's updates, after some of them moved. In their transaction.

    A ticket goes on while an update that it is about is neither verified nor needed any more: also when the update was
    replaced by a newer version meanwhile, which then has to be verified.
    """
    rows = Deployment.objects.visible_to(_SELF).filter(device=device)
    failed = list(rows.filter(state=DeploymentState.FAILED).order_by("name", "pk"))
    undone = list(rows.filter(state=DeploymentState.REGRESSED, ticket_id=None).order_by("name", "pk"))
    trouble = failed + undone
    ticket: Ticket | None = None
    if trouble:
        worst = any(one.security for one in trouble)
        ticket = condition_found(
            device=device,
            kind=KIND,
            title=f"Updates of {device.name} need a person",
            reason=_reason(trouble),
            risk=Risk.HIGH if worst else Risk.MEDIUM,
            actor=KIND,
            now=now,
        )
        again = rows.exclude(state__in=SETTLED).filter(name__in=[one.name for one in undone])
        about = [one.pk for one in trouble] + [one.pk for one in again]
        rows.filter(pk__in=about).exclude(ticket_id=ticket.pk).update(ticket_id=ticket.pk)
        if job is not None:
            ticket_note_job(
                ticket=ticket, job_id=str(job.pk), text=f"Update run: {job.result_detail or job.state}.",
                kind=str(job.state), now=now, actor=device.name, reference=job.evidence_reference,
            )  # fmt: skip
        return ticket
    numbers = set(rows.exclude(ticket_id=None).exclude(state__in=SETTLED).values_list("ticket_id", flat=True))
    standing = Ticket.objects.visible_to(_SELF).filter(device=device, kind=KIND, verified_at=None)
    for one in standing.exclude(state="closed").exclude(pk__in=numbers):
        _settle(one, rows.filter(ticket_id=one.pk, state__in=SETTLED), now)
    return ticket


def _settle(ticket: Ticket, rows: Sequence[Deployment], now: datetime) -> None:
    verified = [one for one in rows if one.state == DeploymentState.VERIFIED]
    reason = f"verified: {_names(verified)}" if verified else "the updates it was about are offered no more"
    references = sorted({one.evidence_reference for one in verified if one.evidence_reference})
    condition_gone(ticket=ticket, reason=reason, proved=bool(verified), evidence=references, now=now)


def _reason(trouble: Sequence[Deployment]) -> str:
    said = [f"{one.name} {one.candidate} {_what(one)}: {one.why}" for one in trouble[:_NAMED]]
    more = len(trouble) - _NAMED
    return "\n".join(said) + (f"\nand {more} more" if more > 0 else "")


def _what(one: Deployment) -> str:
    return "came undone" if one.state == DeploymentState.REGRESSED else "failed"


def _names(rows: Sequence[Deployment]) -> str:
    names = [f"{one.name} {one.candidate}" for one in rows]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
