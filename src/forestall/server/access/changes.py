"""Changes of access: each new document is compared with the last, and what differs becomes a ticket with the diff."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from forestall.server.access import rules
from forestall.server.access.models import AccessChange, AccessSeen, ChangeState
from forestall.server.access.rules import Difference, Shape
from forestall.server.checks.result import Risk
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.inventory.models import Device
from forestall.server.outbox.events import Event
from forestall.server.outbox.services import event_record
from forestall.server.people.scope import Permission, Scope
from forestall.server.runbooks.models import Job, JobState
from forestall.server.tickets.models import Ticket
from forestall.server.tickets.services import condition_found, condition_gone
from forestall.wire.facts import Access

KIND = "access_changed"
"""The condition of tickets about changed access."""
OUR_RUNBOOKS = ("lock-account", "remove-ssh-key", "expire-password")
JOB_REACH = timedelta(days=2)
"""What a run of ours did is told by the next documents; later than this it was somebody else."""
_SELF = Scope.system("access")
_MOST_IN_TICKET = 30


class AccessError(ValueError):
    """Something that cannot be done with access changes or reviews; the message names the bad value."""


def changes_follow(*, device: Device, document: Access, now: datetime) -> list[AccessChange]:
    """Compare a device's access with what was seen last, and keep what differs. In the transaction of its event.

    The first document is what later ones are compared with. A difference that takes an open one back settles it.
    """
    shape = rules.shape_of(document)
    if shape is None:
        return []
    kept = AccessSeen.objects.visible_to(_SELF).select_for_update().filter(device=device).first()
    if kept is None:
        AccessSeen.objects.create(device=device, shape=shape, first_at=now, seen_at=now)
        return []
    old: Shape = kept.shape
    kept.shape, kept.seen_at = rules.merged(old, shape), now
    kept.save(update_fields=["shape", "seen_at"])
    found = rules.differences(old, shape)
    if not found:
        return []
    made = _keep(device, found, now)
    entry = evidence_append(
        client=device.client,
        kind=EvidenceKind.ACCESS_CHANGED,
        payload={
            "device_id": str(device.pk),
            "device": device.name,
            "differences": [
                {"about": row.about, "was": row.was, "now": row.now, "words": row.words, "state": row.state}
                for row in made
            ],
        },
        now=now,
        device_id=device.pk,
        site_id=device.site_id,
    )
    rows = AccessChange.objects.visible_to(_SELF).filter(pk__in=[row.pk for row in made])
    rows.update(evidence_reference=entry.reference)
    tickets_follow(device=device, now=now)
    event_record(
        event=Event.ACCESS_CHANGED,
        subject=device.pk,
        at=now,
        detail={"changes": [row.pk for row in made], "words": rules.in_words(found)[:2000]},
    )
    return made


def _keep(device: Device, found: Sequence[Difference], now: datetime) -> list[AccessChange]:
    jobs = _jobs_of_ours(device, now)
    rows = AccessChange.objects.visible_to(_SELF)
    made = []
    for one in found:
        values: dict[str, Any] = {"state": ChangeState.OPEN if one.matters else ChangeState.NOTED}
        standing = rows.filter(device=device, about=one.about, field=one.field, state=ChangeState.OPEN)
        first = standing.order_by("at", "pk").first()
        if first is not None and first.was == one.now[:1000]:
            standing.update(state=ChangeState.UNDONE, settled_at=now, settled_by="the facts")
            values = {"state": ChangeState.UNDONE, "settled_at": now, "settled_by": "the facts"}
        elif (job := _job_behind(one, jobs)) is not None:
            values = {
                "state": ChangeState.ACCEPTED, "settled_at": now, "settled_by": f"job {job.pk}"[:200],
                "reason": f"done by the runbook {job.runbook.slug}: {job.reason}"[:2000],
            }  # fmt: skip
        made.append(
            AccessChange.objects.create(
                client=device.client,
                site=device.site,
                device=device,
                at=now,
                about=one.about[:300],
                field=one.field[:200],
                was=one.was[:1000],
                now=one.now[:1000],
                words=one.words[:1000],
                risk=one.risk,
                **values,
            )
        )
    return made


def _jobs_of_ours(device: Device, now: datetime) -> list[Job]:
    jobs = Job.objects.visible_to(_SELF).filter(device=device, state=JobState.SUCCEEDED, dry_run=False)
    recent = jobs.filter(runbook__slug__in=OUR_RUNBOOKS, finished_at__gte=now - JOB_REACH)
    return list(recent.select_related("runbook"))


def _job_behind(one: Difference, jobs: Iterable[Job]) -> Job | None:
    """The run that did this: it took away from just that account. What gives more rights is never ours."""
    if one.risk.rank < Risk.LOW.rank:
        return None
    return next((job for job in jobs if one.about == f"account:{job.parameters.get('account')}"), None)


def tickets_follow(*, device: Device, now: datetime) -> Ticket | None:
    """Open, add to or resolve the ticket about a device's changed access, after some changes moved."""
    rows = AccessChange.objects.visible_to(_SELF).filter(device=device)
    standing = list(rows.filter(state=ChangeState.OPEN).order_by("at", "pk"))
    if standing:
        reason = "\n".join(f"{one.words[:1].upper()}{one.words[1:]}." for one in standing[:_MOST_IN_TICKET])
        more = len(standing) - _MOST_IN_TICKET
        ticket = condition_found(
            device=device,
            kind=KIND,
            title=f"Access changed on {device.name}: {standing[0].words}",
            reason=reason + (f"\nand {more} more" if more > 0 else ""),
            risk=min((Risk(one.risk) for one in standing), key=lambda risk: risk.rank),
            actor=KIND,
            now=now,
        )
        rows.filter(state=ChangeState.OPEN).update(ticket_id=ticket.pk)
        return ticket
    last: Ticket | None = None
    for ticket in (
        Ticket.objects.visible_to(_SELF).filter(device=device, kind=KIND, verified_at=None).exclude(state="closed")
    ):
        about = list(rows.filter(ticket_id=ticket.pk).exclude(state=ChangeState.OPEN).order_by("settled_at", "pk"))
        words = [f"{one.words}: {_settled(one)}" for one in about[:5]]
        others = f" and {len(about) - 5} more" if len(about) > 5 else ""
        last = condition_gone(
            ticket=ticket,
            reason="; ".join(words) + others or "every difference is settled",
            proved=True,
            evidence=sorted({one.evidence_reference for one in about if one.evidence_reference}),
            now=now,
        )
    return last


def _settled(one: AccessChange) -> str:
    return "undone again" if one.state == ChangeState.UNDONE else f"accepted by {one.settled_by}"


@transaction.atomic
def changes_accept(
    *, scope: Scope, device_id: UUID, change_ids: Iterable[int], reason: str, now: datetime
) -> list[AccessChange]:
    """Say of a device's changes that they are known and right; the ticket is done when none is left open.

    AccessError without a reason, or for a change that is not open; NotAllowedError without ``access.review`` there.
    """
    device = Device.objects.visible_to(scope).select_related("client", "site").get(pk=device_id)
    scope.require(Permission.ACCESS_REVIEW, on=device)
    reason = said("reason", reason, "say who asked for it, or why it is right")
    wanted = set(change_ids)
    if not wanted:
        raise AccessError("changes: none was named")
    rows = list(AccessChange.objects.visible_to(scope).select_for_update().filter(device=device, pk__in=wanted))
    missing = wanted - {row.pk for row in rows}
    if missing:
        raise AccessError(f"changes: {min(missing)} is not a change of {device.name}")
    for row in rows:
        if row.state != ChangeState.OPEN:
            raise AccessError(f"changes: {row.pk} ({row.words}) is {row.get_state_display()} already")
    _accept(rows, device=device, reason=reason, by=scope.who, now=now)
    return rows


def _accept(rows: Sequence[AccessChange], *, device: Device, reason: str, by: str, now: datetime) -> None:
    entry = evidence_append(
        client=device.client,
        kind=EvidenceKind.ACCESS_CHANGED,
        payload={
            "device_id": str(device.pk), "device": device.name, "accepted": [row.words for row in rows],
            "reason": reason, "by": by,
        },
        now=now,
        device_id=device.pk,
        site_id=device.site_id,
    )  # fmt: skip
    for row in rows:
        row.state, row.settled_at, row.settled_by, row.reason = ChangeState.ACCEPTED, now, by, reason
        row.evidence_reference = entry.reference
        row.save(update_fields=["state", "settled_at", "settled_by", "reason", "evidence_reference"])
    tickets_follow(device=device, now=now)


def account_accept(*, device: Device, account: str, reason: str, by: str, now: datetime) -> None:
    """A review keeps an account: what was open about it is known and right."""
    rows = AccessChange.objects.visible_to(_SELF).select_for_update()
    found = list(
        rows.filter(device=device, state=ChangeState.OPEN, about__in=[f"account:{account}", f"sudo:{account}"])
    )
    if found:
        _accept(found, device=device, reason=reason, by=by, now=now)


def said(field: str, value: str, hint: str) -> str:
    """A text that may not be empty; AccessError with the hint."""
    value = value.strip()
    if not value:
        raise AccessError(f"{field}: {hint}")
    if len(value) > 2000:
        raise AccessError(f"{field}: {len(value)} characters, at most 2000")
    return value
