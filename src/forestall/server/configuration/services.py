"""Changes of baselines: judging devices, following their drift, accepting it, leave to deviate, results of others."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from forestall.server.checks.result import Risk
from forestall.server.configuration import drift as drifting
from forestall.server.configuration.controls import DOCUMENTS, LEVELS, ROLES, baseline, controls, judge
from forestall.server.configuration.drift import Difference
from forestall.server.configuration.models import (
    BaselineAssignment,
    Deviation,
    DeviceConfiguration,
    Drift,
    ImportedAssessment,
)
from forestall.server.configuration.queries import deviating_controls, level_for, results_of
from forestall.server.configuration.rules import BAD, ConfigurationError, tally
from forestall.server.evidence.changes import change_record
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.inventory.queries import facts_of
from forestall.server.outbox.events import Event
from forestall.server.outbox.services import event_record
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope
from forestall.server.tickets.models import Ticket
from forestall.server.tickets.services import condition_found, condition_gone
from forestall.wire.facts import Assessment, Facts

log = logging.getLogger(__name__)

SELF = Scope.system("configuration")
KIND = "configuration"
"""Of the ticket about a device's drift."""
LONGEST_DEVIATION = timedelta(days=366)
MOST_REASON = 2000
KEPT_ASSESSMENTS = 12
"""Runs of each tool and profile that are kept of a device."""
_NAMED = 10


# --- judging and drift -------------------------------------------------------------------------------------------


def device_follow_by_id(*, device_id: UUID | str, documents: Collection[str] | None, now: datetime) -> None:
    """A device sent these documents (None: any): judge it anew, and see whether it drifted."""
    if documents is not None and not set(documents) & {*DOCUMENTS, "assessments"}:
        return
    device = (
        Device.objects.visible_to(SELF)
        .select_related("client", "site")
        .filter(pk=device_id)
        .exclude(status=DeviceStatus.REVOKED)
        .first()
    )
    if device is None:
        return
    facts = facts_of(scope=SELF, device=device)
    if documents is None or "assessments" in documents:
        _assessments_keep(device, facts, now)
    device_judge(device=device, facts=facts, now=now)


@transaction.atomic
def device_judge(*, device: Device, now: datetime, facts: Facts | None = None) -> DeviceConfiguration | None:
    """Judge a device by the baseline that holds for it, and compare its state with the accepted one.

    None: it has sent nothing yet that a baseline could be judged by.
    """
    facts = facts_of(scope=SELF, device=device) if facts is None else facts
    present = drifting.state_of(facts)
    if not present:
        return None
    Device.objects.visible_to(SELF).select_for_update(no_key=True).get(pk=device.pk)
    rows = DeviceConfiguration.objects.visible_to(SELF).select_for_update(of=("self",))
    row: DeviceConfiguration | None = rows.filter(device=device).first()
    if row is None:
        row = DeviceConfiguration(device=device, client=device.client, site=device.site, accepted_at=now)
        row.accepted_reason = "as it was found at first"
    row.client, row.site, row.judged_at = device.client, device.site, now
    row.present = {**row.present, **present}
    # What is seen for the first time differs from nothing: it joins what was accepted.
    row.accepted = drifting.with_new_areas(row.accepted, row.present)
    _judge_into(row, device, facts, now)
    row.save()
    _drift_follow(row, device, now)
    return row


def _judge_into(row: DeviceConfiguration, device: Device, facts: Facts, now: datetime) -> None:
    row.level = level_for(scope=SELF, device=device).level
    judged = judge(facts, baseline(device.role, row.level))
    row.results = [[one.control, one.outcome.value, one.why] for one in judged]
    _count_into(row, device, now)


def _count_into(row: DeviceConfiguration, device: Device, now: datetime) -> None:
    counts = tally([one for _, one in results_of(row)], deviating_controls(scope=SELF, device=device, now=now))
    row.passed, row.failed, row.deviating = counts.passed, counts.failed, counts.deviating
    row.unknown, row.not_applicable = counts.unknown, counts.not_applicable


def _drift_follow(row: DeviceConfiguration, device: Device, now: datetime) -> None:
    """Open, change and close differences, and the ticket about them."""
    wanted = {(one.area, one.name[:400]): one for one in drifting.differences(row.accepted, row.present)}
    open_rows = {
        (one.area, one.name): one for one in Drift.objects.visible_to(SELF).filter(device=device, settled_at=None)
    }
    gone = [one for key, one in open_rows.items() if key not in wanted or one.after != wanted[key].after]
    for one in gone:
        one.settled_at, one.settled = now, "gone"
        one.save(update_fields=["settled_at", "settled"])
    fresh = [one for key, one in wanted.items() if key not in open_rows or open_rows[key].after != one.after]
    Drift.objects.bulk_create(
        Drift(
            client=device.client, site=device.site, device=device, area=one.area, name=one.name[:400],
            before=one.before, after=one.after, seen_at=now,
        )
        for one in fresh
    )  # fmt: skip
    if row.drifted != len(wanted):
        row.drifted = len(wanted)
        row.save(update_fields=["drifted"])
    if fresh:
        _drift_recorded(device, fresh, now)
    _ticket_follow(row, device, list(wanted.values()), now)


def _drift_recorded(device: Device, fresh: Sequence[Difference], now: datetime) -> None:
    payload = {
        "device": str(device.pk),
        "differences": [
            {"area": one.area, "name": one.name, "before": one.before[:500], "after": one.after[:500]}
            for one in fresh[:100]
        ],
        "total": len(fresh),
    }
    evidence_append(
        client=device.client, kind=EvidenceKind.DRIFT_FOUND, payload=payload, now=now, site_id=device.site_id,
        device_id=device.pk,
    )  # fmt: skip
    event_record(
        event=Event.BASELINE_DRIFTED, subject=str(device.pk), at=now,
        detail={"device": str(device.pk), "total": len(fresh), "areas": sorted({one.area for one in fresh})},
    )  # fmt: skip


def _ticket_follow(row: DeviceConfiguration, device: Device, found: Sequence[Difference], now: datetime) -> None:
    serious = [one for one in found if one.area in drifting.SERIOUS]
    if serious:
        said = [drifting.in_words(one) for one in serious[:_NAMED]]
        more = f"\nand {len(serious) - _NAMED} more" if len(serious) > _NAMED else ""
        ticket = condition_found(
            device=device,
            kind=KIND,
            title=f"{device.name} is not set up as it was accepted",
            reason="\n".join(said) + more,
            risk=Risk.HIGH if any(one.area in drifting.HIGH for one in serious) else Risk.MEDIUM,
            actor=KIND,
            now=now,
        )
        if row.ticket_id != ticket.pk:
            row.ticket_id = ticket.pk
            row.save(update_fields=["ticket_id"])
        return
    if row.ticket_id is None:
        return
    ticket_row = (
        Ticket.objects.visible_to(SELF).filter(pk=row.ticket_id, verified_at=None).exclude(state="closed").first()
    )
    if ticket_row is not None:
        condition_gone(ticket=ticket_row, reason="it is set up as it was accepted", proved=True, evidence=[], now=now)
    row.ticket_id = None
    row.save(update_fields=["ticket_id"])


def deviations_expire(*, now: datetime) -> int:
    """Count again the devices of clients whose deviations ended by time since they were counted; how many changed."""
    changed = 0
    ended = Deviation.objects.visible_to(SELF).filter(
        ended_at=None, ends_at__lte=now, ends_at__gt=now - timedelta(days=2)
    )
    clients = set(ended.values_list("client_id", flat=True))
    rows = (
        DeviceConfiguration.objects.visible_to(SELF)
        .select_related("device")
        .filter(client__in=clients, deviating__gt=0)
    )
    for row in rows:
        before = row.failed
        _count_into(row, row.device, now)
        if row.failed != before:
            row.save(update_fields=["passed", "failed", "deviating", "unknown", "not_applicable"])
            changed += 1
    return changed


# --- choosing a level --------------------------------------------------------------------------------------------


@transaction.atomic
def baseline_assign(
    *,
    client: Client,
    level: int,
    reason: str,
    scope: Scope,
    now: datetime,
    role: str = "",
    device_id: UUID | None = None,
) -> BaselineAssignment:
    """Choose the level of the baseline for a client, for its devices of one role, or for one device.

    0: no baseline. It takes the place of what was chosen for the same before. ConfigurationError names what is wrong.
    """
    seen = Client.objects.visible_to(scope).filter(removed_at=None).get(pk=client.pk)
    device = _device(seen, device_id, scope)
    scope.require(Permission.BASELINE_CHANGE, on=device or seen)
    if level not in (0, *LEVELS):
        raise ConfigurationError(f"level: {level} is none of 0, 1, 2")
    if role and role not in ROLES:
        raise ConfigurationError(f"role: {role!r} has no baseline; those that have: {', '.join(ROLES)}")
    if role and device is not None:
        raise ConfigurationError("role: a device is chosen by itself, whatever its role")
    reason = _said(reason)
    before = (
        BaselineAssignment.objects.visible_to(SELF)
        .select_for_update(of=("self",))
        .filter(client=seen, role=role, device=device, ended_at=None)
        .first()
    )
    if before is not None:
        before.ended_at, before.ended_by = now, scope.who
        before.save(update_fields=["ended_at", "ended_by"])
    made: BaselineAssignment = BaselineAssignment.objects.create(
        client=seen, role=role, device=device, level=level, reason=reason, assigned_at=now, assigned_by=scope.who
    )
    change_record(
        client=seen,
        kind=EvidenceKind.BASELINE_CHANGED,
        what="baseline",
        name=device.name if device else role or "every role",
        before=None if before is None else {"level": before.level, "reason": before.reason},
        after={"level": level, "reason": reason},
        by=scope.who,
        now=now,
        site_id=None if device is None else device.site_id,
        device_id=device_id,
    )
    _judge_all(seen, device, role, now)
    return made


def _judge_all(client: Client, device: Device | None, role: str, now: datetime) -> None:
    rows = DeviceConfiguration.objects.visible_to(SELF).select_related("device").filter(client=client)
    if device is not None:
        rows = rows.filter(device=device)
    if role:
        rows = rows.filter(device__role=role)
    for row in rows:
        _judge_into(row, row.device, facts_of(scope=SELF, device=row.device), now)
        row.save(update_fields=["level", "results", "passed", "failed", "deviating", "unknown", "not_applicable"])


# --- deviations --------------------------------------------------------------------------------------------------


@transaction.atomic
def deviation_accept(
    *,
    client: Client,
    control: str,
    reason: str,
    ends_at: datetime,
    scope: Scope,
    now: datetime,
    device_id: UUID | None = None,
) -> Deviation:
    """Leave not to meet a control until ``ends_at``, at most a year: of one device, or (None) all of the client.

    ConfigurationError names what is wrong.
    """
    seen = Client.objects.visible_to(scope).filter(removed_at=None).get(pk=client.pk)
    device = _device(seen, device_id, scope)
    scope.require(Permission.BASELINE_CHANGE, on=device or seen)
    if control not in controls():
        raise ConfigurationError(f"control: {control[:60]!r} is none; `forestall configuration controls` lists them")
    reason = _said(reason)
    if not now < ends_at <= now + LONGEST_DEVIATION:
        raise ConfigurationError(f"ends_at: {ends_at:%Y-%m-%d %H:%M} is not within a year from now")
    same = Deviation.objects.visible_to(SELF).filter(client=seen, device=device, control=control, ended_at=None)
    if same.filter(ends_at__gt=now).exists():
        raise ConfigurationError(f"control: {control} deviates with leave already; end that first")
    made: Deviation = Deviation.objects.create(
        client=seen, device=device, control=control, reason=reason, accepted_at=now, accepted_by=scope.who,
        ends_at=ends_at,
    )  # fmt: skip
    _deviation_recorded(made, before=None, after=_deviation_plain(made), scope=scope, now=now)
    _count_all(made, now)
    return made


@transaction.atomic
def deviation_end(*, deviation: Deviation, scope: Scope, now: datetime) -> Deviation:
    """End a deviation before its time: the control counts again. ConfigurationError when it is over."""
    found: Deviation = (
        Deviation.objects.visible_to(scope)
        .select_for_update(of=("self",))
        .select_related("client", "device")
        .get(pk=deviation.pk)
    )
    scope.require(Permission.BASELINE_CHANGE, on=found.device or found)
    if found.ended_at is not None or found.ends_at <= now:
        raise ConfigurationError(f"deviation {found.pk}: is over already")
    found.ended_at, found.ended_by = now, scope.who
    found.save(update_fields=["ended_at", "ended_by"])
    _deviation_recorded(found, before=_deviation_plain(found), after=None, scope=scope, now=now)
    _count_all(found, now)
    return found


def _deviation_plain(one: Deviation) -> dict[str, Any]:
    return {
        "device": str(one.device_id or ""),
        "control": one.control,
        "reason": one.reason,
        "ends_at": one.ends_at.isoformat(),
    }


def _deviation_recorded(
    one: Deviation, *, before: dict[str, Any] | None, after: dict[str, Any] | None, scope: Scope, now: datetime
) -> None:
    change_record(
        client=one.client,
        kind=EvidenceKind.BASELINE_CHANGED,
        what="deviation",
        name=f"{one.pk}: {one.control}",
        before=before,
        after=after,
        by=scope.who,
        now=now,
        site_id=one.device.site_id if one.device else None,
        device_id=one.device_id,
    )


def _count_all(one: Deviation, now: datetime) -> None:
    rows = DeviceConfiguration.objects.visible_to(SELF).select_related("device").filter(client=one.client_id)
    if one.device_id is not None:
        rows = rows.filter(device=one.device_id)
    for row in rows:
        _count_into(row, row.device, now)
        row.save(update_fields=["passed", "failed", "deviating", "unknown", "not_applicable"])


# --- accepting drift ---------------------------------------------------------------------------------------------


@transaction.atomic
def drift_accept(
    *, device: Device, reason: str, scope: Scope, now: datetime, drift_ids: Collection[int] | None = None
) -> int:
    """Accept differences of a device (None: all that are open) as how it is meant to be from now on; how many.

    ConfigurationError when nothing is open, or one of ``drift_ids`` is not.
    """
    seen = Device.objects.visible_to(scope).select_related("client", "site").get(pk=device.pk)
    scope.require(Permission.BASELINE_CHANGE, on=seen)
    reason = _said(reason)
    row = DeviceConfiguration.objects.visible_to(SELF).select_for_update(of=("self",)).filter(device=seen).first()
    found = list(Drift.objects.visible_to(SELF).filter(device=seen, settled_at=None))
    if drift_ids is not None:
        unknown = set(drift_ids) - {one.pk for one in found}
        if unknown:
            raise ConfigurationError(f"drift: {', '.join(map(str, sorted(unknown)))} is not open on {seen.name}")
        found = [one for one in found if one.pk in set(drift_ids)]
    if row is None or not found:
        raise ConfigurationError(f"device: nothing has drifted on {seen.name}")
    chosen = [Difference(one.area, one.name, one.before, one.after) for one in found]
    row.accepted = drifting.with_accepted(row.accepted, chosen)
    row.accepted_at, row.accepted_by, row.accepted_reason = now, scope.who, reason
    row.save(update_fields=["accepted", "accepted_at", "accepted_by", "accepted_reason"])
    for one in found:
        one.settled_at, one.settled, one.settled_by, one.reason = now, "accepted", scope.who, reason
        one.save(update_fields=["settled_at", "settled", "settled_by", "reason"])
    evidence_append(
        client=seen.client,
        kind=EvidenceKind.DRIFT_ACCEPTED,
        payload={
            "device": str(seen.pk),
            "by": scope.who,
            "reason": reason,
            "accepted": [drifting.in_words(one)[:600] for one in chosen[:100]],
            "total": len(chosen),
        },
        now=now,
        site_id=seen.site_id,
        device_id=seen.pk,
    )
    _drift_follow(row, seen, now)
    return len(found)


# --- results of other tools --------------------------------------------------------------------------------------


@transaction.atomic
def assessment_import(*, device: Device, assessment: Assessment, scope: Scope, now: datetime) -> ImportedAssessment:
    """Keep a run of another tool that a person brings. ConfigurationError when it is there, or holds nothing."""
    seen = Device.objects.visible_to(scope).select_related("client", "site").get(pk=device.pk)
    scope.require(Permission.BASELINE_CHANGE, on=seen)
    if not assessment.findings:
        raise ConfigurationError("findings: it holds none")
    if assessment.at is not None and assessment.at > now + timedelta(hours=26):
        raise ConfigurationError(f"at: {assessment.at:%Y-%m-%d %H:%M} is still to come")
    made = _assessment_write(seen, assessment, came_by="person", by=scope.who, now=now)
    if made is None:
        raise ConfigurationError(f"at: the run of {assessment.tool} of that time is here already")
    evidence_append(
        client=seen.client,
        kind=EvidenceKind.ASSESSMENT_IMPORTED,
        payload={
            "device": str(seen.pk), "tool": made.tool, "version": made.version, "profile": made.profile,
            "at": made.at.isoformat(), "score": made.score, "passed": made.passed, "failed": made.failed,
            "by": scope.who,
        },
        now=now,
        site_id=seen.site_id,
        device_id=seen.pk,
    )  # fmt: skip
    return made


def _assessments_keep(device: Device, facts: Facts, now: datetime) -> None:
    for one in facts.assessments.assessments if facts.assessments else ():
        _assessment_write(device, one, came_by="device", by="", now=now)


def _assessment_write(
    device: Device, one: Assessment, *, came_by: str, by: str, now: datetime
) -> ImportedAssessment | None:
    at = one.at or now
    rows = ImportedAssessment.objects.visible_to(SELF).filter(device=device, tool=one.tool, profile=one.profile[:200])
    if rows.filter(at=at).exists():
        return None
    made: ImportedAssessment = ImportedAssessment.objects.create(
        client=device.client, site=device.site, device=device, tool=one.tool, version=one.version[:40],
        profile=one.profile[:200], at=at, score=one.score,
        findings=[
            {name: getattr(each, name) for name in ("id", "title", "result", "severity", "detail")}
            for each in one.findings
        ],
        passed=sum(each.result == "pass" for each in one.findings),
        failed=sum(each.result in BAD for each in one.findings),
        came_by=came_by, imported_at=now, imported_by=by,
    )  # fmt: skip
    keep = list(rows.order_by("-at").values_list("pk", flat=True)[:KEPT_ASSESSMENTS])
    rows.exclude(pk__in=keep).delete()
    return made


def _device(client: Client, device_id: UUID | None, scope: Scope) -> Device | None:
    if device_id is None:
        return None
    found: Device | None = Device.objects.visible_to(scope).filter(pk=device_id, client=client).first()
    if found is None:
        raise ConfigurationError(f"device: {device_id} is not a device of {client.name}")
    return found


def _said(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        raise ConfigurationError("reason: say why, for whoever reads it later")
    if len(reason) > MOST_REASON:
        raise ConfigurationError(f"reason: {len(reason)} characters, at most {MOST_REASON}")
    return reason
