"""The one place that changes a deployment's state: the row, its history, its evidence and its event, together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.inventory.models import Device
from forestall.server.outbox.events import Event
from forestall.server.outbox.services import event_record
from forestall.server.patching import rules
from forestall.server.patching.models import Deployment, DeploymentChange
from forestall.server.patching.rules import Move, State
from forestall.server.people.scope import Scope

SELF = Scope.system("patching")

_KEPT = (
    "state", "state_since", "why", "planned_for", "job_id", "attempts", "next_try_at", "ticket_id", "boot_id_before",
    "needs_reboot", "services_before", "outdated_before", "installed_at", "installed_by", "verified_at", "settled_at",
    "skip_until", "skip_by", "log_excerpt", "evidence_reference",
)  # fmt: skip
_SAYS_WHY = (State.BLOCKED, State.FAILED, State.SKIPPED, State.REGRESSED)
MOST_AT_ONCE = 500
"""Rows in one statement to the database."""


@transaction.atomic
def moves_write(*, moves: Sequence[tuple[Deployment, Move]], actor: str, now: datetime) -> int:
    """Carry out moves of deployments, new (unsaved) ones among them; how many came to another state.

    One evidence record and one event for each device, however many of its updates moved. MoveError for a move that
    ``rules.MOVES`` does not have: then nothing is written. Deployments come with their device and its client.
    """
    by_device: dict[Device, list[tuple[Deployment, Move]]] = defaultdict(list)
    for deployment, move in moves:
        by_device[deployment.device].append((deployment, move))
    return sum(_write_device(device, own, actor, now) for device, own in by_device.items())


def _write_device(device: Device, moves: Sequence[tuple[Deployment, Move]], actor: str, now: datetime) -> int:
    changes: list[tuple[Deployment, str]] = []
    for deployment, move in moves:
        was = "" if deployment.pk is None else str(deployment.state)
        _apply(deployment, move, was, now)
        if was != move.to:
            changes.append((deployment, was))
    if changes:
        entry = evidence_append(
            client=device.client,
            kind=EvidenceKind.DEPLOYMENT_CHANGED,
            payload={
                "device": device.name,
                "by": actor,
                "changes": [_said(deployment, was) for deployment, was in changes],
            },
            now=now,
            device_id=device.pk,
            site_id=device.site_id,
            job_id=_one_job(changes),
        )
        for deployment, _ in changes:
            deployment.evidence_reference = entry.reference
    new = [deployment for deployment, _ in moves if deployment.pk is None]
    known = [deployment for deployment, _ in moves if deployment.pk is not None]
    # What is settled makes room first: an update may go and come back in one scan.
    known.sort(key=lambda deployment: deployment.settled_at is None)
    Deployment.objects.visible_to(SELF).bulk_update(known, _KEPT, batch_size=MOST_AT_ONCE)
    Deployment.objects.bulk_create(new, batch_size=MOST_AT_ONCE)
    DeploymentChange.objects.bulk_create(
        [
            DeploymentChange(
                deployment=deployment, at=now, was=was, state=deployment.state, why=deployment.why, actor=actor
            )
            for deployment, was in changes
        ],
        batch_size=MOST_AT_ONCE,
    )
    if changes:
        event_record(
            event=Event.DEPLOYMENT_CHANGED,
            subject=device.pk,
            at=now,
            detail={
                "client": str(device.client_id),
                "deployments": [deployment.pk for deployment, _ in changes],
                "states": dict(Counter(str(deployment.state) for deployment, _ in changes)),
                "rollouts": sorted({str(one.rollout_id) for one, _ in changes if one.rollout_id is not None}),
            },
        )
    return len(changes)


def _apply(deployment: Deployment, move: Move, was: str, now: datetime) -> None:
    rules.move_check(was, move.to)
    if move.to in _SAYS_WHY and not move.why:
        raise rules.MoveError(f"{deployment}: {move.to} without saying why")
    for name, value in move.fields.items():
        setattr(deployment, name, value)
    deployment.why = move.why
    if was == move.to:
        return
    deployment.state, deployment.state_since = move.to, now
    if move.to == State.VERIFIED and deployment.verified_at is None:
        deployment.verified_at = now
    if move.to in rules.SETTLED and deployment.settled_at is None:
        deployment.settled_at = now
    if move.to != State.SKIPPED:
        deployment.skip_by, deployment.skip_until = "", None
    if move.to not in (State.PLANNED, State.STAGED, State.BLOCKED):
        deployment.planned_for = None


def _said(deployment: Deployment, was: str) -> dict[str, Any]:
    said: dict[str, Any] = {
        "manager": deployment.manager,
        "package": deployment.name,
        "from": deployment.installed,
        "to": deployment.candidate,
        "state": str(deployment.state),
    }
    optional = {
        "architecture": deployment.architecture,
        "was": was,
        "why": deployment.why,
        "security": deployment.security,
        "installed_by": deployment.installed_by,
        "skipped_by": deployment.skip_by,
        "log": deployment.log_excerpt if deployment.state == State.FAILED else "",
    }
    return said | {name: value for name, value in optional.items() if value}


def _one_job(changes: Sequence[tuple[Deployment, str]]) -> str:
    """The run that all of these are about; empty when they are about several, or none."""
    jobs = {deployment.job_id for deployment, _ in changes}
    only = jobs.pop() if len(jobs) == 1 else None
    return "" if only is None else str(only)
