"""Changes of checks: judging devices, accepting targets, setting policies."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Case, DateTimeField, Value, When

from forestall.server.checks import queries
from forestall.server.checks.judging import judge_kind
from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.models import (
    GONE,
    Check,
    CheckChange,
    DeviceSchedule,
    PolicyChange,
    PolicyOverride,
)
from forestall.server.checks.result import Known, Result, Status
from forestall.server.checks.rules import PolicyError, cadence_of, kind_of, policy_of
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.outbox.events import Event
from forestall.server.outbox.services import event_record
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, Scope

log = logging.getLogger(__name__)

CHECKS = Scope.system("checks")
LEASE = timedelta(minutes=2)
"""How long a worker may take over one device before another one tries."""
SETTLING = timedelta(minutes=10)
AGAIN_WHILE_SETTLING = timedelta(seconds=10)
"""A device that has just enrolled sends its documents and first samples within moments: what is still unknown is
looked at again soon, so that its baseline is there when somebody looks."""
ANSWERS = frozenset({Status.PASS, Status.WARN, Status.FAIL})
"""Definite answers; unknown and stale say something about us."""
VALUE_FIELDS = (
    "value", "unit", "reason", "evidence", "risk", "remedy", "forecast_at", "judged_at", "due_at",
)  # fmt: skip


class NotAcceptableError(ValueError):
    """A target of this kind cannot be accepted as it is."""


# --- judging -----------------------------------------------------------------------------------------------


def checks_judge_due(*, now: datetime, most: int = 200) -> int:
    """Judge devices whose time has come, longest overdue first; how many were judged.

    A device is claimed by moving its due time in one conditional update, so that several workers may run: whoever
    moved it judges it. A worker that dies leaves its claim to run out.
    """
    _schedule_new_devices(now)
    due = DeviceSchedule.objects.filter(due_at__lte=now).order_by("due_at").values_list("pk", "due_at")[:most]
    waiting = list(due)
    devices = _devices().in_bulk([pk for pk, _ in waiting])
    overrides: dict[UUID, list[PolicyOverride]] = {}
    done = 0
    for pk, due_at in waiting:
        claimed = DeviceSchedule.objects.filter(pk=pk, due_at=due_at).update(due_at=now + LEASE)
        if claimed != 1:
            continue  # another worker has it
        try:
            device = devices[pk]
            if device.client_id not in overrides:
                overrides[device.client_id] = queries.overrides_of(scope=CHECKS, client_id=device.client_id)
            _judge(device, kinds=None, only_due=True, now=now, overrides=overrides[device.client_id])
            done += 1
        except Exception:
            # One device must not keep the others from being judged. Its claim runs out and it is tried again; until
            # then its checks grow stale, which the console shows.
            log.exception("device %s could not be judged", pk)
    return done


def device_judge(*, device: Device, kinds: Iterable[str] | None, now: datetime) -> list[Check]:
    """Judge a device now by ``kinds`` (slugs; None: all). The checks whose status changed. KindError for no kind."""
    chosen = None if kinds is None else [kind_of(slug) for slug in kinds]
    overrides = queries.overrides_of(scope=CHECKS, client_id=device.client_id)
    return _judge(device, kinds=chosen, only_due=False, now=now, overrides=overrides)


def device_judge_by_id(
    *,
    device_id: UUID | str,
    now: datetime,
    documents: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
) -> list[Check]:
    """Judge a device by the kinds that rest on these documents or metrics (series or metric names); none named: all.

    A device that is no longer there has nothing to judge.
    """
    device = _devices().filter(pk=device_id).first()
    if device is None:
        return []
    if documents is None and metrics is None:
        return device_judge(device=device, kinds=None, now=now)
    of_documents = frozenset(documents or ())
    of_metrics = frozenset(name.partition("{")[0] for name in metrics or ())
    kinds = [
        kind.slug
        for kind in CHECK_KINDS.values()
        if of_documents & {*kind.rests_on, *kind.also_reads} or of_metrics & set(kind.metrics)
    ]
    return device_judge(device=device, kinds=kinds, now=now)


def _schedule_new_devices(now: datetime) -> None:
    missing = (
        Device.objects.visible_to(CHECKS)
        .filter(check_schedule=None)
        .exclude(status=DeviceStatus.REVOKED)
        .values_list("pk", flat=True)
    )
    DeviceSchedule.objects.bulk_create(
        [DeviceSchedule(device_id=pk, due_at=now) for pk in missing], ignore_conflicts=True
    )


def _devices() -> Any:
    return Device.objects.visible_to(CHECKS).select_related("client", "site")


@dataclass(slots=True)
class _Writing:
    """What one judgement of a device has to write."""

    new: list[tuple[Check, CheckChange]] = field(default_factory=list)
    changed: list[tuple[Check, CheckChange]] = field(default_factory=list)
    values: list[Check] = field(default_factory=list)
    """Same status, other value or words."""
    same: list[Check] = field(default_factory=list)


@transaction.atomic
def _judge(
    device: Device, *, kinds: Sequence[CheckKind] | None, only_due: bool, now: datetime,
    overrides: Sequence[PolicyOverride],
) -> list[Check]:  # fmt: skip
    """Judge, and write only what changed. ``kinds`` None: all, or with ``only_due`` those whose time has come."""
    # The row is the lock: a second judgement of the same device (an event meanwhile) waits for this one.
    schedule = DeviceSchedule.objects.select_for_update().filter(device=device).first()
    if schedule is None:
        DeviceSchedule.objects.bulk_create([DeviceSchedule(device=device, due_at=now)], ignore_conflicts=True)
        schedule = DeviceSchedule.objects.select_for_update().get(device=device)
    known_due: dict[str, float] = schedule.kinds
    chosen = list(CHECK_KINDS.values() if kinds is None else kinds)
    applicable = {DeviceStatus.PENDING: ["pending_enrolment"], DeviceStatus.REVOKED: []}.get(
        DeviceStatus(device.status), list(CHECK_KINDS)
    )
    chosen = [kind for kind in chosen if kind.slug in applicable]
    if only_due:
        chosen = [kind for kind in chosen if known_due.get(kind.slug, 0) <= now.timestamp()]
    rows = list(Check.objects.visible_to(CHECKS).filter(device=device))
    writing = _Writing()
    if device.status == DeviceStatus.REVOKED:
        for row in rows:
            _close(row, "The device was revoked.", now, writing)
    known = queries.known_of(
        scope=CHECKS, device=device, now=now, kinds=chosen, rows=[row for row in rows if row.gone_at is None]
    )
    for kind in chosen:
        own = {row.target: row for row in rows if row.kind == kind.slug}
        values = queries.override_values(overrides, kind=kind, site_id=device.site_id, device_id=device.pk)
        kind = _at_its_cadence(kind, values)
        due_at = now + timedelta(seconds=kind.cadence_seconds)
        results = _results(kind, known, values, own, now)
        if now - device.enrolled_at < SETTLING and any(result.status is Status.UNKNOWN for result in results):
            due_at = min(due_at, now + AGAIN_WHILE_SETTLING)
        known_due[kind.slug] = due_at.timestamp()
        _take(device, kind, own, results, now, due_at, writing)
    _write(device, writing, now)
    if device.status == DeviceStatus.REVOKED:
        schedule.delete()
    else:
        schedule.kinds = known_due
        # A kind that was never judged is due at once: a first document must not put off all the others.
        next_due = min(known_due.get(slug, now.timestamp()) for slug in applicable)
        schedule.due_at = datetime.fromtimestamp(next_due, UTC)
        schedule.save(update_fields=["kinds", "due_at"])
    return [check for check, _ in (*writing.new, *writing.changed)]


def _at_its_cadence(kind: CheckKind, values: Sequence[Mapping[str, Any]]) -> CheckKind:
    try:
        seconds = cadence_of(kind, values)
    except PolicyError:
        return kind  # the judgement says that the policy is wrong
    return kind if seconds == kind.cadence_seconds else replace(kind, cadence_seconds=seconds)


def _results(
    kind: CheckKind, known: Known, values: Sequence[Mapping[str, Any]], own: Mapping[str, Check], now: datetime
) -> list[Result]:
    previous = {target: Status(row.answered or row.status) for target, row in own.items() if row.gone_at is None}
    try:
        policy = policy_of(kind, values)
    except PolicyError as error:
        # Refused when it is set; here only after a setting changed its meaning between versions.
        log.exception("policy of %s", kind.slug)
        return [
            Result(Status.UNKNOWN, f"Could not be judged: the policy is wrong: {error}", target=target)
            for target in previous or ("",)
        ]
    return judge_kind(kind, known, policy, now, previous)


def _take(
    device: Device, kind: CheckKind, own: Mapping[str, Check], results: Sequence[Result], now: datetime,
    due_at: datetime, writing: _Writing,
) -> None:  # fmt: skip
    """Compare the results of a kind with its rows."""
    for result in results:
        row = own.get(result.target[:500])
        if row is None:
            row = Check(device=device, kind=kind.slug, target=result.target[:500], status="", since=now)
            _fill(row, kind, result, now, due_at)
            writing.new.append((row, _change(row, "", now)))
            continue
        old_status, old_said, gone = row.status, _said(row), row.gone_at is not None
        _fill(row, kind, result, now, due_at)
        if gone or row.status != old_status:
            row.since, row.gone_at = now, None
            writing.changed.append((row, _change(row, GONE if gone else old_status, now)))
        elif _said(row) != old_said:
            writing.values.append(row)
        else:
            writing.same.append(row)
    there = {result.target[:500] for result in results}
    for target, row in own.items():
        if target not in there:
            _close(row, f"No longer on the device: {target or kind.texts.title}.", now, writing)


def _said(row: Check) -> tuple[Any, ...]:
    return row.value, row.unit, row.reason, list(row.evidence), row.risk, row.remedy, row.forecast_at


def _fill(row: Check, kind: CheckKind, result: Result, now: datetime, due_at: datetime) -> None:
    row.status = result.status.value
    if result.status in ANSWERS:
        row.answered = result.status.value
        row.problem_since = (row.problem_since or now) if result.status.is_problem else None
    row.value, row.unit, row.reason = result.value, result.unit, result.reason
    row.evidence, row.remedy, row.forecast_at = list(result.evidence), result.remedy, result.forecast_at
    row.risk = (result.risk or kind.risk).value
    row.judged_at, row.due_at = now, due_at


def _close(row: Check, why: str, now: datetime, writing: _Writing) -> None:
    if row.gone_at is not None:
        return
    old = row.status
    row.status, row.answered, row.problem_since = Status.PASS.value, "", None
    row.reason, row.since, row.gone_at, row.judged_at = why, now, now, now
    row.value, row.unit, row.forecast_at = None, "", None
    change = _change(row, old, now)
    change.new = GONE
    writing.changed.append((row, change))


def _change(row: Check, old: str, now: datetime) -> CheckChange:
    return CheckChange(check_row=row, old=old, new=row.status, value=row.value, reason=row.reason, at=now)


def _write(device: Device, writing: _Writing, now: datetime) -> None:
    if writing.same:
        due = {row.kind: row.due_at for row in writing.same}
        whens = [When(kind=slug, then=Value(due_at)) for slug, due_at in due.items()]
        Check.objects.visible_to(CHECKS).filter(pk__in=[row.pk for row in writing.same]).update(
            judged_at=now, due_at=Case(*whens, output_field=DateTimeField())
        )
    if writing.values:
        Check.objects.visible_to(CHECKS).bulk_update(writing.values, VALUE_FIELDS)
    if writing.new:
        Check.objects.bulk_create([row for row, _ in writing.new])
    for row, _ in writing.changed:
        row.save()
    changes = [change for _, change in (*writing.new, *writing.changed)]
    if not changes:
        return
    for change in changes:
        change.check_row_id = change.check_row.pk
    CheckChange.objects.bulk_create(changes)
    _tell_on(device, writing, now)


def _tell_on(device: Device, writing: _Writing, now: datetime) -> None:
    """Evidence and events, in the transaction of the change.

    The first judgements of a device are one record together: its baseline. A check that begins with a pass has
    nothing to tell on; every other change is a record and an event of its own.
    """
    if writing.new:
        _evidence(device, {"first_judged": [_plain(row, change) for row, change in writing.new]}, now)
    for row, change in writing.changed:
        _evidence(device, _plain(row, change), now)
    for row, change in (*writing.new, *writing.changed):
        if change.old or Status(row.status) is not Status.PASS:
            detail = {"check": row.pk, "device": str(device.pk), "old": change.old, "new": change.new}
            event_record(event=Event.CHECK_CHANGED, subject=change.pk, at=now, detail=detail)


def _evidence(device: Device, payload: Mapping[str, Any], now: datetime) -> None:
    evidence_append(
        client=device.client, kind=EvidenceKind.CHECK_CHANGED, payload=payload, now=now, device_id=device.pk,
        site_id=device.site_id,
    )  # fmt: skip


def _plain(row: Check, change: CheckChange) -> dict[str, Any]:
    return {
        "check": row.pk, "kind": row.kind, "target": row.target, "old": change.old, "new": change.new,
        "value": row.value, "unit": row.unit, "reason": row.reason, "evidence": list(row.evidence),
    }  # fmt: skip


# --- accepting ---------------------------------------------------------------------------------------------


@transaction.atomic
def target_accept(*, check: Check, scope: Scope, reason: str, now: datetime) -> Check:
    """Accept a target as it is, with the reason: it passes from now on. NotAcceptableError, NotAllowedError."""
    row: Check = Check.objects.visible_to(scope).select_related("device__client", "device__site").get(pk=check.pk)
    scope.require(Permission.CHECK_CHANGE, on=row)
    _take_turn(row.device_id)
    if not kind_of(row.kind).acceptable:
        titles = ", ".join(kind.texts.title for kind in CHECK_KINDS.values() if kind.acceptable)
        raise NotAcceptableError(f"{row.kind}: only these can be accepted as they are: {titles}")
    if not reason.strip():
        raise NotAcceptableError("reason: say why this may stay as it is")
    row.accepted_at, row.accepted_by, row.accepted_reason = now, scope.who, reason.strip()
    row.save(update_fields=["accepted_at", "accepted_by", "accepted_reason"])
    return _acceptance_changed(row, scope, now, accepted=True)


@transaction.atomic
def target_reject(*, check: Check, scope: Scope, now: datetime) -> Check:
    """Take an acceptance back: the target is judged as before. NotAllowedError."""
    row: Check = Check.objects.visible_to(scope).select_related("device__client", "device__site").get(pk=check.pk)
    scope.require(Permission.CHECK_CHANGE, on=row)
    _take_turn(row.device_id)
    row.accepted_at, row.accepted_by, row.accepted_reason = None, "", ""
    row.save(update_fields=["accepted_at", "accepted_by", "accepted_reason"])
    return _acceptance_changed(row, scope, now, accepted=False)


def _take_turn(device_id: UUID) -> None:
    # As a judgement does, and before anything is written: two that took their locks in another order would block.
    DeviceSchedule.objects.select_for_update().filter(device=device_id).first()


def _acceptance_changed(row: Check, scope: Scope, now: datetime, *, accepted: bool) -> Check:
    device = row.device
    evidence_append(
        client=device.client,
        kind=EvidenceKind.CHECK_ACCEPTED,
        payload={
            "check": row.pk, "kind": row.kind, "target": row.target, "accepted": accepted, "by": scope.who,
            "reason": row.accepted_reason,
        },
        now=now,
        device_id=device.pk,
        site_id=device.site_id,
    )  # fmt: skip
    device_judge(device=device, kinds=[row.kind], now=now)
    row.refresh_from_db()
    return row


# --- policies ----------------------------------------------------------------------------------------------


@transaction.atomic
def policy_set(
    *, kind: str, values: Mapping[str, Any], scope: Scope, now: datetime, client: Client | None = None,
    site: Site | None = None, device: Device | None = None, reason: str = "",
) -> PolicyOverride | None:  # fmt: skip
    """Set the policy of a kind for one client, site or device; empty ``values`` take it back (None).

    The values replace those set before in this place; what they don't name comes from the wider scope. PolicyError
    names a setting that does not exist, or a value that cannot be, together with what holds in the wider scope.
    KindError, NotAllowedError. Devices it concerns come due at once.
    """
    scope.require(Permission.CHECK_CHANGE)
    chosen = kind_of(kind)
    if [client, site, device].count(None) != 2:
        raise PolicyError("name exactly one of client, site and device")
    if device is not None:
        device = Device.objects.visible_to(scope).get(pk=device.pk)
        site = device.site
    if site is not None:
        site = Site.objects.visible_to(scope).get(pk=site.pk)
    owner = Client.objects.visible_to(scope).get(pk=site.client_id if site else client.pk if client else None)
    scope.require(Permission.CHECK_CHANGE, on=device or site or owner)
    place = {"kind": kind, "client": owner, "site": site, "device": device}
    others = [
        each
        for each in queries.overrides_of(scope=CHECKS, client_id=owner.pk)
        if (each.site_id, each.device_id) != (site.pk if site else None, device.pk if device else None)
    ]
    wider = queries.override_values(
        others, kind=chosen, site_id=site.pk if site else None, device_id=device.pk if device else None
    )
    policy_of(chosen, [*wider, values])
    old = PolicyOverride.objects.visible_to(scope).filter(**place).select_for_update().first()
    before = dict(old.values) if old is not None else {}
    if not values:
        if old is not None:
            old.delete()
        override = None
    else:
        override = old or PolicyOverride(**place)
        override.values, override.reason = dict(values), reason
        override.set_by, override.set_at = scope.who, now
        override.save()
    if before != dict(values):
        _policy_changed(place, before, dict(values), reason, scope, now)
    concerned = DeviceSchedule.objects.filter(device__client=owner)
    if site is not None:
        concerned = concerned.filter(device__site=site)
    if device is not None:
        concerned = concerned.filter(device=device)
    for schedule in concerned:
        schedule.kinds.pop(kind, None)
        schedule.due_at = now
        schedule.save(update_fields=["kinds", "due_at"])
    return override


def _policy_changed(
    place: Mapping[str, Any], before: dict[str, Any], after: dict[str, Any], reason: str, scope: Scope, now: datetime
) -> None:
    """History and evidence, in the transaction of the change."""
    row = PolicyChange.objects.create(old=before, new=after, reason=reason, by=scope.who, at=now, **place)
    site, device = place["site"], place["device"]
    evidence_append(
        client=place["client"],
        kind=EvidenceKind.CHECK_POLICY_CHANGED,
        payload={
            "change": row.pk, "kind": place["kind"], "where": row.where, "old": before, "new": after, "reason": reason,
            "by": scope.who,
        },
        now=now,
        device_id=device.pk if device is not None else None,
        site_id=site.pk if site is not None else None,
    )  # fmt: skip


@transaction.atomic
def policy_undo(*, change: PolicyChange, scope: Scope, now: datetime, reason: str = "") -> PolicyOverride | None:
    """Set a policy to what it was before a change; that is a change of its own. PolicyError, NotAllowedError.

    Refused when it was changed again since: whoever undoes an old change would undo the newer ones unseen.
    """
    row = PolicyChange.objects.visible_to(scope).select_related("client", "site", "device").get(pk=change.pk)
    newest = (
        PolicyChange.objects.visible_to(CHECKS)
        .filter(kind=row.kind, client=row.client, site=row.site, device=row.device)
        .order_by("-pk")
        .first()
    )
    if newest is not None and newest.pk != row.pk:
        raise PolicyError(
            f"change {row.pk} is not the newest of {row.kind} for {row.where}: undo change {newest.pk} first"
        )
    where: dict[str, Any] = (
        {"device": row.device} if row.device else {"site": row.site} if row.site else {"client": row.client}
    )
    return policy_set(
        kind=row.kind,
        values=row.old,
        scope=scope,
        now=now,
        reason=reason.strip() or f"Undo of change {row.pk}.",
        **where,
    )


def levels_for_intake() -> dict[str, list[float]]:
    """Metric → every value at which some policy in force changes its answer, rising, each once."""
    levels: dict[str, set[float]] = {}
    overrides = list(PolicyOverride.objects.visible_to(CHECKS).values_list("kind", "values"))
    for slug, kind in CHECK_KINDS.items():
        policies = [policy_of(kind)]
        for values in (values for name, values in overrides if name == slug):
            try:
                policies.append(policy_of(kind, [values]))
            except PolicyError:
                # It holds only together with what a wider scope sets. Judging by cadence finds what this misses.
                log.warning("levels of %s: an override cannot stand alone: %s", slug, values)
        for policy in policies:
            for level in kind.levels(policy):
                levels.setdefault(level.metric, set()).add(level.value)
    return {metric: sorted(values) for metric, values in levels.items()}
