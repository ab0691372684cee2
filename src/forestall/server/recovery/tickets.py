"""Protected systems that need a person: one ticket a device, until everything it was about is shown to be well."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from forestall.server.checks.result import Risk, Status
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.recovery.models import ProtectedSystem
from forestall.server.recovery.queries import SELF, Standing, proofs_of
from forestall.server.recovery.rules import RecoveryGap
from forestall.server.tickets.models import DONE_STATES, Ticket
from forestall.server.tickets.services import condition_found, condition_gone

KIND = "recovery"
_NAMED = 3
_OTHERS = {"too_old": "backup_age", "never_ran": "backup_age"}
"""Gap → kind of check whose ticket says the same: one condition, one ticket."""


def tickets_follow(*, device_id: UUID, standings: Sequence[Standing], now: datetime) -> Ticket | None:
    """Open, add to or resolve the ticket about a device's protected systems. ``standings``: all of that device."""
    device = Device.objects.visible_to(SELF).get(pk=device_id)
    if device.status != DeviceStatus.APPROVED:
        return None
    open_kinds = set(
        Ticket.objects.visible_to(SELF)
        .filter(device=device, kind__in=[KIND, *_OTHERS.values()])
        .exclude(state__in=DONE_STATES)
        .values_list("kind", flat=True)
    )
    trouble = [(one, said) for one in standings if (said := _trouble(one, open_kinds))]
    rows = ProtectedSystem.objects.visible_to(SELF).filter(device=device)
    told = dict(rows.exclude(ticket_id=None).values_list("pk", "ticket_said"))
    now_said = {one.system.pk: ",".join(sorted({gap.code for gap in gaps}))[:200] for one, gaps in trouble}
    if trouble and KIND in open_kinds and told == now_said:
        return None  # its sentences differ by the hour: it is told again when something else is wrong
    if trouble:
        ticket = condition_found(
            device=device,
            kind=KIND,
            title=_title([one for one, _ in trouble], device),
            reason=_reason(trouble),
            risk=min((Risk(one.system.importance) for one, _ in trouble), key=lambda risk: risk.rank),
            actor=KIND,
            now=now,
        )
        for pk, codes in now_said.items():
            rows.filter(pk=pk).update(ticket_id=ticket.pk, ticket_said=codes)
        rows.filter(ticket_id=ticket.pk).exclude(pk__in=now_said).update(ticket_id=None, ticket_said="")
        return ticket
    if KIND in open_kinds:
        for ticket in Ticket.objects.visible_to(SELF).filter(device=device, kind=KIND).exclude(state__in=DONE_STATES):
            about = [one for one in standings if one.system.ticket_id == ticket.pk]
            well = [one for one in about if one.status is not Status.FAIL]
            condition_gone(
                ticket=ticket,
                reason=f"{_names(well)} can be brought back again" if well else "nothing that it was about is kept",
                proved=bool(well),
                evidence=_evidence(well),
                now=now,
            )
        rows.exclude(ticket_id=None).update(ticket_id=None, ticket_said="")
    return None


def _trouble(one: Standing, open_kinds: set[str]) -> list[RecoveryGap]:
    """What of a system needs a person, and no other ticket is about."""
    return [gap for gap in one.judged.gaps if gap.status is Status.FAIL and _OTHERS.get(gap.code) not in open_kinds]


def _title(found: Sequence[Standing], device: Device) -> str:
    if len(found) == 1:
        return f"{found[0].system.name} may not be recoverable"
    return f"{len(found)} protected systems of {device.name} may not be recoverable"


def _reason(trouble: Sequence[tuple[Standing, list[RecoveryGap]]]) -> str:
    said = [f"{one.system.name}: {' '.join(gap.sentence for gap in gaps)}" for one, gaps in trouble[:_NAMED]]
    more = len(trouble) - _NAMED
    return "\n".join(said) + (f"\nand {more} more" if more > 0 else "")


def _names(found: Sequence[Standing]) -> str:
    names = [one.system.name for one in found]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _evidence(found: Sequence[Standing]) -> list[str]:
    references = {
        proof.evidence_reference
        for one in found
        for proof in proofs_of(scope=SELF, standing=one, most=1)
        if proof.evidence_reference
    }
    return sorted(references)
