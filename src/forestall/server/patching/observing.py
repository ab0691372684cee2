"""What is known of the devices of a rollout, gathered for ``rings.judge_device``: a few queries, however many devices.

Every time in it is the server's own: when it delivered a run, heard the answer, saw the scan. What devices say of the
time is not asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from forestall.server.checks.models import Check, CheckChange
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.patching.models import Deployment, DeploymentState, Rollout, RolloutDevice
from forestall.server.patching.rings import Observation, Terms
from forestall.server.people.scope import Scope
from forestall.server.runbooks.models import Job, JobEvent

_SELF = Scope.system("rollouts")
MOST = 500
"""Ids in one statement."""


def observations(
    *, rollout: Rollout, members: Sequence[RolloutDevice], terms: Terms, now: datetime
) -> dict[UUID, Observation]:
    """Device id → what is known of it, for devices that were touched."""
    ids = [one.device_id for one in members]
    deployments = _deployments(rollout, ids)
    runs = _runs([one for member in members for one in member.jobs])
    worse = _worse(members, terms)
    found: dict[UUID, Observation] = {}
    for one in members:
        seen = _observed(one, deployments.get(one.device_id, []), [runs[job] for job in one.jobs if job in runs])
        if one.device_id in worse:
            since, why = worse[one.device_id]
            seen.worse_since, seen.worse_why = since.timestamp(), why
        found[one.device_id] = seen
    quiet = timedelta(minutes=terms.silence_minutes)
    silent = [
        one for one in members if one.device.last_check_in_at is None or now - one.device.last_check_in_at > quiet
    ]
    for site_id in {one.site_id for one in silent}:
        if _site_is_silent(rollout, site_id, now - quiet):
            for one in silent:
                found[one.device_id].site_is_silent |= one.site_id == site_id
    return found


def _observed(
    member: RolloutDevice, deployments: Sequence[Deployment], runs: Sequence[tuple[Job, datetime | None]]
) -> Observation:
    seen = Observation(steady=bool(member.baseline.get("steady", True)))
    seen.touched_at = None if member.touched_at is None else member.touched_at.timestamp()
    heard = member.device.last_check_in_at
    seen.last_heard_at = None if heard is None else heard.timestamp()
    delivered = [job.delivered_at for job, _ in runs if job.delivered_at is not None]
    if delivered:
        seen.delivered_at = max(delivered).timestamp()
    states = {str(one.state) for one in deployments}
    broken = [one for one in deployments if one.state in (DeploymentState.FAILED, DeploymentState.REGRESSED)]
    if broken:
        seen.outcome, seen.outcome_why = "failed", f"{broken[0].name} {broken[0].candidate}: {broken[0].why}"[:500]
        return seen
    if DeploymentState.INSTALLING in states:
        return seen
    done = [one for one in deployments if one.installed_at is not None]
    answers = [at for _, at in runs if at is not None]
    if not done:
        kept = [one for one in deployments if one.state == DeploymentState.BLOCKED]
        if deployments and states <= {DeploymentState.SUPERSEDED, DeploymentState.WITHDRAWN}:
            seen.outcome, seen.outcome_why = "blocked", "its updates are offered no more"
        elif kept and answers:
            seen.outcome, seen.outcome_why = "blocked", kept[0].why[:500]
        else:
            # Between two attempts, or waiting for a signature: nothing was changed so far.
            seen.delivered_at = None
        return seen
    since = max(one.state_since for one in done).timestamp()
    seen.outcome, seen.answered_at = "done", max(answers).timestamp() if answers else since
    if seen.delivered_at is None:
        seen.delivered_at = seen.answered_at  # installed outside a run of ours
    if DeploymentState.PENDING_REBOOT in states:
        seen.needs_reboot = True
        return seen
    if DeploymentState.INSTALLED not in states:
        verified = [one.state_since for one in done]
        seen.verified_at = max(verified).timestamp()
    return seen


def _deployments(rollout: Rollout, ids: Sequence[UUID]) -> dict[UUID, list[Deployment]]:
    found: dict[UUID, list[Deployment]] = defaultdict(list)
    for part in _parts(ids):
        rows = Deployment.objects.visible_to(_SELF).filter(rollout=rollout, device__in=part)
        for one in rows.defer("log_excerpt", "cves", "advisories", "services_before"):
            found[one.device_id].append(one)
    return found


def _runs(ids: Sequence[str]) -> dict[str, tuple[Job, datetime | None]]:
    """Run id → the run, and when its answer came here."""
    found: dict[str, tuple[Job, datetime | None]] = {}
    for part in _parts(ids):
        answered = dict(
            JobEvent.objects.visible_to(_SELF)
            .filter(job__in=part, what__in=["succeeded", "failed", "refused"])
            .order_by("at")
            .values_list("job_id", "at")
        )
        for job in Job.objects.visible_to(_SELF).filter(pk__in=part).only("pk", "state", "delivered_at"):
            found[str(job.pk)] = (job, answered.get(job.pk))
    return found


def _worse(members: Sequence[RolloutDevice], terms: Terms) -> dict[UUID, tuple[datetime, str]]:
    """Devices with a watched check that fails since after they were touched, and that did not come and go before."""
    touched = {one.device_id: one.touched_at for one in members if one.touched_at is not None}
    found: dict[UUID, tuple[datetime, str]] = {}
    for part in _parts(list(touched)):
        failing = list(
            Check.objects.visible_to(_SELF)
            .filter(device__in=part, kind__in=terms.kinds, status="fail", gone_at=None)
            .values_list("pk", "device_id", "kind", "target", "reason", "since")
        )
        late = [one for one in failing if one[5] >= touched[one[1]]]
        if not late:
            continue
        quiet = timedelta(days=terms.quiet_days)
        restless = {
            check
            for check, at in CheckChange.objects.visible_to(_SELF)
            .filter(check_row__in=[one[0] for one in late])
            .exclude(old="")
            .values_list("check_row_id", "at")
            for device in [next(one[1] for one in late if one[0] == check)]
            if touched[device] - quiet <= at < touched[device]
        }
        for pk, device, kind, target, reason, since in late:
            if pk not in restless and (device not in found or since < found[device][0]):
                found[device] = (since, f"{kind} {target}".strip() + f": {reason}"[:400])
    return found


def _site_is_silent(rollout: Rollout, site_id: UUID, since: datetime) -> bool:
    """Whether the site's devices that were not touched are silent, too (two at least): then it is the line."""
    touched = RolloutDevice.objects.visible_to(_SELF).filter(rollout=rollout, touched_at__isnull=False)
    others = Device.objects.visible_to(_SELF).filter(
        site=site_id, status=DeviceStatus.APPROVED, last_check_in_at__isnull=False
    )
    others = others.exclude(pk__in=touched.values("device_id"))
    heard = list(others.order_by("-last_check_in_at").values_list("last_check_in_at", flat=True)[:2])
    return len(heard) > 1 and heard[0] <= since


def _parts(ids: Sequence[Any]) -> Iterable[list[Any]]:
    for start in range(0, len(ids), MOST):
        yield list(ids[start : start + MOST])
