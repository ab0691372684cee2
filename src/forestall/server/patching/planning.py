"""What people decide about updates: patch policies, approvals, deferrals, exclusions. Each on record, each undone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.inventory.models import Device
from forestall.server.patching.deciding import SELF, decision_covers
from forestall.server.patching.models import Deployment, DeviceScan, PatchPolicy, UpdateDecision
from forestall.server.patching.policies import plain_terms, read_terms
from forestall.server.patching.rules import Move, State
from forestall.server.patching.services import deployments_decide
from forestall.server.patching.writing import moves_write
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, Scope

AT_ONCE = 25
"""Devices that are decided anew at once; of more the clock takes care, some in each turn."""
LONGEST_REASON = 2000
LONGEST_DEFERRAL = timedelta(days=366)


class PlanningError(ValueError):
    """A policy or decision that cannot be; the message names the bad value."""


# --- policies ---------------------------------------------------------------------------------------------------


@transaction.atomic
def policy_set(
    *,
    scope: Scope,
    client: Client,
    site: Site | None = None,
    choose: str = "security",
    approval: str = "automatic",
    defer_days: int = 0,
    terms: dict[str, Any] | None = None,
    now: datetime,
) -> PatchPolicy:
    """Set the patch policy of a client, or of one site of it; it takes the place of the one before.

    It installs nothing by itself: a window, and a standing order or an operator's signature, do. PlanningError names
    the value that does not fit.
    """
    scope.require(Permission.PATCH_CHANGE, on=client if site is None else site)
    if site is not None and site.client_id != client.pk:
        raise PlanningError(f"site: {site.name} is no site of {client.name}")
    if choose not in ("security", "all", "nothing"):
        raise PlanningError(f"choose: {choose!r} is not security, all or nothing")
    if approval not in ("automatic", "manual"):
        raise PlanningError(f"approval: {approval!r} is not automatic or manual")
    if not 0 <= defer_days <= 90:
        raise PlanningError(f"defer_days: {defer_days} is not between 0 and 90")
    try:
        kept = plain_terms(read_terms(terms or {}))
    except ValueError as error:
        raise PlanningError(f"terms: {error}") from None
    Client.objects.visible_to(SELF).select_for_update(of=("self",), no_key=True).get(pk=client.pk)
    found = PatchPolicy.objects.visible_to(SELF).filter(client=client, site=site).first()
    policy: PatchPolicy = found or PatchPolicy(client=client, site=site, created_at=now, created_by=scope.who)
    policy.choose, policy.approval, policy.defer_days, policy.terms = choose, approval, defer_days, kept
    policy.changed_at, policy.changed_by = now, scope.who
    policy.save()
    _policy_on_record(policy, {**_said(policy), "by": scope.who}, now)
    _decide_anew(Device.objects.visible_to(SELF).filter(_covered(policy)), now, scope.who)
    return policy


@transaction.atomic
def policy_remove(*, scope: Scope, policy: PatchPolicy, now: datetime) -> None:
    """Take a patch policy away: nothing is installed by itself there any more, unless the client's own covers it."""
    policy = PatchPolicy.objects.visible_to(scope).select_related("client", "site").get(pk=policy.pk)
    scope.require(Permission.PATCH_CHANGE, on=policy.site or policy.client)
    _policy_on_record(policy, {**_said(policy), "removed": True, "by": scope.who}, now)
    covered, pk = _covered(policy), policy.pk
    PatchPolicy.objects.visible_to(SELF).filter(pk=pk).delete()
    _decide_anew(Device.objects.visible_to(SELF).filter(covered), now, scope.who)


def _covered(policy: PatchPolicy) -> Q:
    return Q(client=policy.client_id) if policy.site_id is None else Q(site=policy.site_id)


def _said(policy: PatchPolicy) -> dict[str, Any]:
    return {
        "site": policy.site.name if policy.site is not None else "",
        "choose": policy.choose,
        "approval": policy.approval,
        "defer_days": policy.defer_days,
        "terms": policy.terms,
    }


def _policy_on_record(policy: PatchPolicy, payload: dict[str, Any], now: datetime) -> None:
    evidence_append(
        client=policy.client, kind=EvidenceKind.PATCH_POLICY_CHANGED, payload=payload, now=now, site_id=policy.site_id
    )


# --- decisions --------------------------------------------------------------------------------------------------


@transaction.atomic
def update_decide(
    *,
    scope: Scope,
    client: Client,
    decision: str,
    name: str,
    device: Device | None = None,
    manager: str = "",
    candidate: str = "",
    until: datetime | None = None,
    reason: str = "",
    now: datetime,
) -> UpdateDecision:
    """Approve, defer or exclude an update at a client, or on one device. The newest decision about an update counts.

    An approval also lets an update that failed be tried again. PlanningError names what is missing or does not fit.
    """
    scope.require(Permission.PATCH_CHANGE, on=client if device is None else device)
    if decision not in ("approve", "defer", "exclude"):
        raise PlanningError(f"decision: {decision!r} is not approve, defer or exclude")
    name, reason = name.strip(), reason.strip()
    if not name or len(name) > 200 or "*" in name[:-1] or name == "*":
        raise PlanningError(f"name: {name!r} is no package; * at its end stands for anything")
    if decision != "approve" and not reason:
        raise PlanningError(f"reason: empty; say why it is {'deferred' if decision == 'defer' else 'excluded'}")
    if len(reason) > LONGEST_REASON:
        raise PlanningError(f"reason: {len(reason):,} characters, at most {LONGEST_REASON:,}")
    if decision == "defer" and until is None:
        raise PlanningError("until: a deferral says when it ends; to leave it out for good, exclude it")
    if until is not None and not now < until <= now + LONGEST_DEFERRAL:
        raise PlanningError(f"until: {until:%Y-%m-%d %H:%M} is not within the next {LONGEST_DEFERRAL.days} days")
    if device is not None and device.client_id != client.pk:
        raise PlanningError(f"device: {device.name} is no device of {client.name}")
    row: UpdateDecision = UpdateDecision.objects.create(
        client=client,
        device_id=None if device is None else device.pk,
        manager=manager.strip(),
        name=name,
        candidate=candidate.strip(),
        decision=decision,
        until=until,
        reason=reason,
        at=now,
        by=scope.who,
    )
    _decision_on_record(row, {}, device, scope, now)
    _follow(row, scope.who, now, retry=decision == "approve")
    return row


@transaction.atomic
def decision_end(*, scope: Scope, decision: UpdateDecision, now: datetime) -> UpdateDecision:
    """Take a decision back: what it said holds no more. PlanningError when it has ended already."""
    rows = UpdateDecision.objects.visible_to(scope).select_for_update(of=("self",)).select_related("client")
    row: UpdateDecision = rows.get(pk=decision.pk)
    device = None
    if row.device_id is not None:
        device = Device.objects.visible_to(scope).filter(pk=row.device_id).first()
    scope.require(Permission.PATCH_CHANGE, on=device or row.client)
    if row.ended_at is not None:
        raise PlanningError(f"decision {row.pk} was taken back by {row.ended_by} on {row.ended_at:%Y-%m-%d}")
    row.ended_at, row.ended_by = now, scope.who
    row.save(update_fields=["ended_at", "ended_by"])
    _decision_on_record(row, {"taken_back": True}, device, scope, now)
    _follow(row, scope.who, now, retry=False)
    return row


def _follow(row: UpdateDecision, actor: str, now: datetime, *, retry: bool) -> None:
    pending = Deployment.objects.visible_to(SELF).filter(client=row.client_id, settled_at=None)
    if row.device_id is not None:
        pending = pending.filter(device=row.device_id)
    pending = (
        pending.filter(name__startswith=row.name[:-1]) if row.name.endswith("*") else pending.filter(name=row.name)
    )
    if retry:
        failed = list(pending.filter(state=State.FAILED).select_related("device__client"))
        again = {"attempts": 0, "next_try_at": None}
        moves = [(one, Move(State.PLANNED, "Tried again.", again)) for one in failed if decision_covers(row, one)]
        moves_write(moves=moves, actor=actor, now=now)
    devices = Device.objects.visible_to(SELF).filter(pk__in=pending.order_by().values("device_id"))
    _decide_anew(devices, now, actor)


def _decision_on_record(
    row: UpdateDecision, more: dict[str, Any], device: Device | None, scope: Scope, now: datetime
) -> None:
    payload = {
        "decision": row.decision,
        "package": row.name,
        "manager": row.manager,
        "version": row.candidate,
        "device": "" if device is None else device.name,
        "until": row.until,
        "reason": row.reason,
        "by": scope.who,
        **more,
    }
    evidence_append(
        client=row.client,
        kind=EvidenceKind.UPDATE_DECIDED,
        payload=payload,
        now=now,
        device_id=row.device_id,
        site_id=None if device is None else device.site_id,
    )


def _decide_anew(devices: Any, now: datetime, actor: str) -> None:
    """Decide about what waits on these devices: at once where they are few, else by the clock."""
    ids: Sequence[UUID] = list(devices.order_by("pk").values_list("pk", flat=True))
    scans = DeviceScan.objects.visible_to(SELF)
    scans.filter(device__in=ids[AT_ONCE:]).update(followed_at=now - timedelta(days=365))
    deployments_decide(device_ids=ids[:AT_ONCE], now=now, actor=actor)
