"""Rollouts: an update goes ring by ring, and stops by itself when a ring does not take it well.

No device is touched unless it was claimed (``device_claim``) in the transaction that makes its run: the claim locks the
rollout's row and asks whether its ring is open, so that no worker slips past a halt or past a ring's cap. Which device
is in which ring is fixed when the rollout starts; the ring that is open only rises, by conditional update, when
``rings.next_step`` says so (or a person does, where the terms ask for one).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec
from django.db import transaction

from forestall.ledger.merkle import leaf_hash, root_of
from forestall.server.checks.models import CheckChange
from forestall.server.database.binding import everywhere
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.outbox.events import Event
from forestall.server.outbox.services import event_record
from forestall.server.patching import rings as rules
from forestall.server.patching.models import (
    Deployment,
    DeploymentState,
    HoldOverride,
    PatchPolicy,
    Rollout,
    RolloutDevice,
    RolloutRing,
    RolloutState,
    UpdateHold,
)
from forestall.server.patching.observing import observations
from forestall.server.patching.rings import Candidate, Cap, Tally, Terms, terms_read
from forestall.server.patching.rollout_queries import (
    LIVE,
    OPEN,
    Allowed,
    Gate,
    Update,
    concerns,
    title_of,
    updates_of,
)
from forestall.server.patching.rules import BY_RINGS, covers
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope
from forestall.server.runbooks.models import Job, JobState
from forestall.server.runbooks.services import RunbooksError, job_cancel

__all__ = [
    "Allowed",
    "Gate",
    "RolloutError",
    "device_allowed",
    "device_claim",
    "hold_end",
    "hold_override",
    "job_reason",
    "results_root",
    "rollout_cancel",
    "rollout_follow_check",
    "rollout_follow_device",
    "rollout_pause",
    "rollout_preview",
    "rollout_promote",
    "rollout_resume",
    "rollout_start",
    "rollouts_tick",
]

_SELF = Scope.system("rollouts")
POLICY = Scope.system("patch policy")
POLICY_EVERY = timedelta(hours=6)
"""Between two rollouts that policies start at one client."""
Choose = Literal["security", "all", "chosen"]
STEADY_ROLES = ("server", "network", "cloud")
"""Roles of devices that are always on. Others may be closed and carried away."""
HERE = timedelta(minutes=30)
"""A device heard of so lately is here."""
LONGEST = timedelta(days=30)
"""After so long, devices of the last ring that never came are left out, and the rollout ends."""
WAITING = (DeploymentState.PLANNED, DeploymentState.BLOCKED, DeploymentState.STAGED, DeploymentState.FAILED)


class RolloutError(ValueError):
    """Something that cannot be done with a rollout or a held update; the message says what and why."""


# --- the gate -----------------------------------------------------------------------------------------------------


def device_allowed(*, scope: Scope, device_id: UUID, manager: str, name: str, candidate: str, now: datetime) -> Allowed:
    """Whether rings and holds let this update onto this device now; of many devices ask one ``Gate``.

    NotAllowedError or Device.DoesNotExist when the scope does not see the device.
    """
    scope.require(Permission.DEVICE_VIEW)
    device = Device.objects.visible_to(scope).get(pk=device_id)
    gate = Gate(now=now, device_ids=[device_id])
    return gate.allowed(
        device_id=device_id, client_id=device.client_id, manager=manager, name=name, candidate=candidate
    )


@transaction.atomic
def device_claim(*, device_id: UUID, updates: Iterable[Update], job_id: UUID, now: datetime) -> Allowed:
    """Claim a device for a run that brings these updates, in the transaction that makes the run.

    When the answer is not ok, the run must not be made: roll back. Updates that no rollout carries need no claim, and
    are allowed when they are not held.
    """
    wanted = list(updates)
    with everywhere():
        client_id = Device.objects.visible_to(_SELF).values_list("client_id", flat=True).get(pk=device_id)
        members = RolloutDevice.objects.visible_to(_SELF).filter(device=device_id).values_list("rollout_id", flat=True)
        # The rollout's row is the lock: a halt and a claim take turns, in the order of the ids.
        locked = Rollout.objects.visible_to(_SELF).filter(pk__in=list(members), state__in=LIVE)
        carrying = [
            one for one in locked.select_for_update(of=("self",)).order_by("pk") if set(updates_of(one)) & set(wanted)
        ]
        gate = Gate(now=now, device_ids=[device_id])
        for manager, name, candidate in wanted:
            answer = gate.allowed(
                device_id=device_id, client_id=client_id, manager=manager, name=name, candidate=candidate
            )
            if not answer.ok:
                return answer
        for rollout in carrying:
            own = RolloutDevice.objects.visible_to(_SELF).get(rollout=rollout, device=device_id)
            own.touched_at = own.touched_at or now
            own.state, own.job_id, own.why, own.judged_at = "running", job_id, "", None
            own.jobs = [*own.jobs, str(job_id)]
            own.baseline = {**own.baseline, "is": "sent"}
            own.save()
    return Allowed(ok=True)


def job_reason(*, device_id: UUID, updates: Iterable[Update], now: datetime) -> str:
    """What a run's reason says of its rollout: the ring, and the Merkle root of the ring before; empty without one.

    It goes into the text that operators sign: their signature covers what the promotion rested on.
    """
    wanted = set(updates)
    with everywhere():
        own = RolloutDevice.objects.visible_to(_SELF).filter(device=device_id, rollout__state__in=OPEN)
        for rollout_id, ring in list(own.values_list("rollout_id", "ring")):
            rollout = Rollout.objects.visible_to(_SELF).get(pk=rollout_id)
            if not wanted & set(updates_of(rollout)):
                continue
            before = RolloutRing.objects.visible_to(_SELF).filter(rollout=rollout, number=ring - 1).first()
            root = "" if before is None or not before.results_root else f", after results {before.results_root}"
            return f"ring {ring} of rollout {str(rollout.pk)[:8]}{root}"
    return ""


# --- what would be in it ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Preview:
    """What a rollout would do, before it is started."""

    updates: list[Update]
    rings: list[tuple[Cap, list[Device]]]
    left_out: list[tuple[Device, str]]
    terms: Terms
    deployments: list[int] = field(default_factory=list)
    candidates: dict[UUID, Candidate] = field(default_factory=dict)
    held: list[Update] = field(default_factory=list)
    """Updates of it that nobody installs for now: their devices wait until the hold ends."""

    @property
    def total(self) -> int:
        return sum(len(devices) for _, devices in self.rings)


def rollout_preview(
    *,
    scope: Scope,
    client: Client | None,
    choose: Choose = "security",
    packages: Sequence[str] = (),
    pilots: Collection[UUID] = (),
    terms: Mapping[str, Any] | None = None,
    only: Collection[int] | None = None,
    now: datetime,
) -> Preview:
    """Which device would be in which ring, and which stay out. ``client`` None: across clients; ``only``: no other
    deployments than these.

    NotAllowedError without ``patch.change`` for the client as a whole (or everywhere); RolloutError when nothing is
    pending that fits, or a pilot has nothing pending; ValueError for terms that do not fit.
    """
    _require(scope, client)
    read = terms_read(terms or {})
    if choose not in ("security", "all", "chosen"):
        raise RolloutError(f"choose: {choose!r} is none of security, all, chosen")
    if choose == "chosen" and not packages:
        raise RolloutError("packages: none; name at least one, or choose security or all")
    rows = Deployment.objects.visible_to(scope).filter(settled_at=None, device__status=DeviceStatus.APPROVED)
    rows = rows.filter(state__in=(*WAITING, DeploymentState.SKIPPED)).exclude(rollout__state__in=LIVE)
    if client is not None:
        rows = rows.filter(client=client)
    if choose == "security":
        rows = rows.filter(security=True)
    wanted = [one.partition("=") for one in packages]
    taken: dict[UUID, list[int]] = defaultdict(list)
    kept_out: dict[UUID, str] = {}
    updates: dict[Update, None] = {}
    for pk, device_id, manager, name, candidate, state, why in rows.order_by("name", "pk").values_list(
        "pk", "device_id", "manager", "name", "candidate", "state", "why"
    ):
        if only is not None and pk not in only:
            continue
        if choose == "chosen" and not any(
            covers(pattern=one, name=name) and version in ("", candidate) for one, _, version in wanted
        ):
            continue
        if state == DeploymentState.SKIPPED or why.startswith("Forestall only lists"):
            kept_out.setdefault(device_id, why or "skipped")
            continue
        taken[device_id].append(pk)
        updates[manager, name, candidate] = None
    ids = [*taken, *(one for one in kept_out if one not in taken)]
    devices = {
        device.pk: device
        for part in _parts(ids)
        for device in Device.objects.visible_to(scope).filter(pk__in=part).select_related("client", "site")
    }
    policies = set(PatchPolicy.objects.visible_to(scope).values_list("client_id", "site_id"))
    left = [(devices[one], why) for one, why in kept_out.items() if one not in taken and one in devices]
    candidates: dict[UUID, Candidate] = {}
    named = set(pilots)
    for device_id in taken:
        device = devices[device_id]
        if not {(device.client_id, device.site_id), (device.client_id, None)} & policies:
            left.append((device, "no patch policy covers it: nothing is installed there by itself"))
            continue
        candidates[device_id] = _candidate(device, pilot=device_id in named, now=now)
    if not candidates:
        raise RolloutError(f"nothing is pending that could be rolled out: {left[0][1] if left else 'no update fits'}")
    strangers = named - set(candidates)
    if strangers:
        raise RolloutError(f"pilot {min(map(str, strangers))} has nothing pending that is rolled out here")
    caps = rules.caps(len(candidates), read)
    seed = hashlib.sha256(repr(sorted(updates)).encode()).hexdigest()
    placed = rules.assign(list(candidates.values()), read, seed)
    by_ring: dict[int, list[Device]] = defaultdict(list)
    for device_id, ring in placed.items():
        by_ring[ring].append(devices[UUID(device_id)])
    open_holds = set(UpdateHold.objects.filter(ended_at=None).values_list("manager", "name", "candidate"))
    return Preview(
        updates=list(updates),
        rings=[(cap, by_ring[cap.number]) for cap in caps],
        left_out=left,
        terms=read,
        deployments=[pk for device_id in candidates for pk in taken[device_id]],
        candidates=candidates,
        held=[update for update in updates if update in open_holds],
    )


def _candidate(device: Device, *, pilot: bool, now: datetime) -> Candidate:
    seen = device.last_check_in_at
    groups = (f"site:{device.site.name}", f"role:{device.role}", f"system:{device.os_name or 'unknown'}")
    return Candidate(
        id=str(device.pk),
        groups=groups,
        pilot=pilot,
        steady=device.role in STEADY_ROLES,
        here=seen is not None and now - seen <= HERE,
    )


def _require(scope: Scope, client: Client | None) -> None:
    if client is None:
        scope.require_everywhere(Permission.PATCH_CHANGE)
    else:
        scope.require(Permission.PATCH_CHANGE, on=client)


# --- a person's acts ------------------------------------------------------------------------------------------------


@transaction.atomic
def rollout_start(
    *,
    scope: Scope,
    client: Client | None,
    name: str = "",
    choose: Choose = "security",
    packages: Sequence[str] = (),
    pilots: Collection[UUID] = (),
    terms: Mapping[str, Any] | None = None,
    only: Collection[int] | None = None,
    now: datetime,
) -> Rollout:
    """Start a rollout of what is pending; its first ring is open at once, and each device waits for its own window.

    Errors as ``rollout_preview``.
    """
    seen = rollout_preview(
        scope=scope, client=client, choose=choose, packages=packages, pilots=pilots, terms=terms, only=only, now=now
    )
    what = {
        "choose": choose,
        "packages": list(packages),
        "pilots": sorted(map(str, pilots)),
        "updates": [list(update) for update in seen.updates],
    }
    rollout: Rollout = Rollout.objects.create(
        client=client,
        name=(name.strip() or _name_for(choose, seen.updates))[:200],
        what=what,
        terms=msgspec.to_builtins(_kept(seen.terms, [cap for cap, _ in seen.rings])),
        state=RolloutState.RUNNING,
        ring=1,
        created_at=now,
        created_by=scope.who,
        changed_at=now,
    )
    RolloutRing.objects.bulk_create(
        [
            RolloutRing(rollout=rollout, number=cap.number, cap=cap.most, started_at=now if cap.number == 1 else None)
            for cap, _ in seen.rings
        ]
    )
    RolloutDevice.objects.bulk_create(
        [
            _member(rollout, device, cap.number, seen.candidates[device.pk])
            for cap, devices in seen.rings
            for device in devices
        ],
        batch_size=500,
    )
    for part in _parts(seen.deployments):
        Deployment.objects.visible_to(scope).filter(pk__in=part).update(rollout=rollout)
    _record(
        rollout,
        "started",
        by=scope.who,
        now=now,
        updates=[" ".join(update) for update in seen.updates[:50]],
        rings=[cap.most for cap, _ in seen.rings],
    )
    return rollout


def _kept(terms: Terms, caps: Sequence[Cap]) -> Terms:
    """The terms with the rings that there are: those that would add nobody are gone, the last one takes the rest."""
    rings = [cap.terms for cap in caps]
    rings[-1] = msgspec.structs.replace(rings[-1], percent=100)
    return msgspec.structs.replace(terms, rings=tuple(rings), strict_rings=min(terms.strict_rings, len(rings)))


def _member(rollout: Rollout, device: Device, ring: int, candidate: Candidate) -> RolloutDevice:
    return RolloutDevice(
        rollout=rollout,
        client_id=device.client_id,
        site_id=device.site_id,
        device=device,
        ring=ring,
        baseline={"steady": candidate.steady, "groups": list(candidate.groups), "is": "waiting"},
    )


def _name_for(choose: Choose, updates: Sequence[Update]) -> str:
    names = list(dict.fromkeys(name for _, name, _ in updates))
    if choose == "chosen":
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    what = "Security updates" if choose == "security" else "All updates"
    return f"{what} ({len(names)} package{'s' * (len(names) != 1)})"


@transaction.atomic
def rollout_pause(*, scope: Scope, rollout: Rollout, reason: str, now: datetime) -> Rollout:
    """Touch nothing more until it is resumed; runs that were not delivered are taken back."""
    rollout = _locked(scope, rollout)
    _move(rollout, OPEN, RolloutState.PAUSED, why=_reason(reason), now=now)
    _take_back(rollout, "its rollout was paused", now)
    _record(rollout, "paused", by=scope.who, now=now, reason=reason.strip())
    return rollout


@transaction.atomic
def rollout_resume(*, scope: Scope, rollout: Rollout, reason: str = "", now: datetime) -> Rollout:
    """Go on after a pause; after a halt only with a reason, and without the devices that failed, which are set aside.

    RolloutError while an update of it is held for everyone, and when it is not paused or halted.
    """
    rollout = _locked(scope, rollout)
    if rollout.state == RolloutState.HALTED:
        reason = _reason(reason)
        held = _held_of(rollout)
        if held:
            manager, name, candidate = held[0]
            raise RolloutError(f"{name} {candidate} ({manager}) is held for everyone: end the hold, or override it")
        bad = RolloutDevice.objects.visible_to(_SELF).filter(rollout=rollout, state__in=["failed", "silent"])
        bad.update(state="left out", why=f"set aside by {scope.who}: {reason}", judged_at=now)
        rings = RolloutRing.objects.visible_to(_SELF).filter(rollout=rollout, number=rollout.ring)
        rings.update(verdict="", judged_at=None, why="")
    _move(rollout, (RolloutState.PAUSED, RolloutState.HALTED), RolloutState.RUNNING, why="", now=now)
    _record(rollout, "resumed", by=scope.who, now=now, reason=reason.strip())
    return rollout


@transaction.atomic
def rollout_cancel(*, scope: Scope, rollout: Rollout, reason: str, now: datetime) -> Rollout:
    """End it where it is. What is installed stays; the rest is free for policies and other rollouts again."""
    rollout = _locked(scope, rollout)
    _move(rollout, LIVE, RolloutState.CANCELLED, why=_reason(reason), now=now)
    _take_back(rollout, "its rollout was cancelled", now)
    Deployment.objects.visible_to(_SELF).filter(rollout=rollout, settled_at=None, state__in=WAITING).update(
        rollout=None
    )
    _record(rollout, "cancelled", by=scope.who, now=now, reason=reason.strip())
    return rollout


@transaction.atomic
def rollout_promote(*, scope: Scope, rollout: Rollout, now: datetime) -> Rollout:
    """Let the next ring begin, by a person, once the ring before is healthy. RolloutError when it is not."""
    rollout = _locked(scope, rollout)
    if rollout.state not in OPEN:
        raise RolloutError(f"the rollout is {rollout.get_state_display()}: nothing is to be promoted")
    _judge(rollout, now)
    step = _next(rollout, now)
    if isinstance(step, rules.Halt):
        raise RolloutError(f"ring {rollout.ring} does not promote: {step.why}")
    if not isinstance(step, rules.Promote):
        raise RolloutError(f"ring {rollout.ring} is not ready: {step.why}")
    _promote(rollout, step, by=scope.who, now=now)
    return rollout


def _locked(scope: Scope, rollout: Rollout) -> Rollout:
    """The rollout as it is now, its row locked. Rollout.DoesNotExist when the scope does not see it; NotAllowedError
    without ``patch.change`` there."""
    found = Rollout.objects.visible_to(scope).select_for_update(of=("self",)).get(pk=rollout.pk)
    _require(scope, None if found.client_id is None else Client.objects.visible_to(scope).get(pk=found.client_id))
    locked: Rollout = found
    return locked


def _move(
    rollout: Rollout, was: Collection[str], to: RolloutState, *, why: str, now: datetime, ring: int | None = None
) -> None:
    """Change its state, only from one of ``was`` and the ring it had. RolloutError when it is another by now."""
    ended = now if to in (RolloutState.FINISHED, RolloutState.CANCELLED) else None
    rows = Rollout.objects.visible_to(_SELF).filter(pk=rollout.pk, state__in=list(was), ring=rollout.ring)
    number = rollout.ring if ring is None else ring
    if rows.update(state=to, why=why, changed_at=now, ended_at=ended, ring=number) != 1:
        raise RolloutError(f"the rollout is {rollout.get_state_display()}: that cannot be done now")
    rollout.state, rollout.why, rollout.changed_at, rollout.ended_at, rollout.ring = to, why, now, ended, number


def _reason(reason: str) -> str:
    if not reason.strip():
        raise RolloutError("reason: empty; say why")
    return reason.strip()[:1000]


def _take_back(rollout: Rollout, why: str, now: datetime) -> None:
    """Cancel the runs of it that no device has taken."""
    from forestall.server.patching.services import deployments_release

    jobs = list(
        Deployment.objects.visible_to(_SELF)
        .filter(rollout=rollout, settled_at=None, job_id__isnull=False)
        .values_list("job_id", flat=True)
        .distinct()
    )
    cancelled = []
    for part in _parts(jobs):
        waiting = Job.objects.visible_to(_SELF).filter(
            pk__in=part, state__in=[JobState.QUEUED, JobState.AWAITING_SIGNATURE]
        )
        for job in waiting:
            try:
                job_cancel(job=job, scope=_SELF, now=now, reason=why)
            except RunbooksError:
                continue  # the device has taken it meanwhile: its answer counts
            cancelled.append(job.pk)
    if cancelled:
        deployments_release(job_ids=cancelled, now=now)
        own = RolloutDevice.objects.visible_to(_SELF).filter(rollout=rollout, job_id__in=cancelled, state="running")
        own.update(state="waiting", why="", touched_at=None)


# --- following ------------------------------------------------------------------------------------------------------


def rollout_follow_device(*, device_id: UUID | str, now: datetime) -> int:
    """Judge a device anew in the rollouts that run, after news of it; a failure halts at once. How many rollouts."""
    own = RolloutDevice.objects.visible_to(_SELF).filter(
        device=str(device_id), rollout__state__in=OPEN, touched_at__isnull=False
    )
    found = list(own.values_list("rollout_id", flat=True))
    for rollout_id in found:
        with transaction.atomic():
            rollout = _under_way(rollout_id)
            if rollout is None:
                continue
            _judge(rollout, now, device_id=UUID(str(device_id)))
            _step(rollout, now)
    return len(found)


def rollout_follow_check(*, change_id: int | str, now: datetime) -> int:
    """``rollout_follow_device`` for the device of a check that changed, when a rollout touched it."""
    touched = RolloutDevice.objects.visible_to(_SELF).filter(rollout__state__in=OPEN, touched_at__isnull=False)
    if not touched.exists():
        return 0
    change = CheckChange.objects.visible_to(_SELF).filter(pk=change_id).values_list("check_row__device_id", flat=True)
    return sum(rollout_follow_device(device_id=device, now=now) for device in list(change))


def rollouts_tick(*, now: datetime) -> int:
    """What nobody says: silence, soaking that is over, devices that came or went, what policies roll out by
    themselves; how many rollouts moved."""
    moved = policies_roll_out(now=now)
    for pk in list(Rollout.objects.visible_to(_SELF).filter(state__in=OPEN).values_list("pk", flat=True)):
        with transaction.atomic():
            rollout = _under_way(pk)
            if rollout is None:
                continue
            _gather(rollout, now)
            _judge(rollout, now)
            _refill(rollout)
            moved += _step(rollout, now)
    return moved


def policies_roll_out(*, now: datetime) -> int:
    """Start a rollout at each client whose patch policy goes ring by ring and has updates waiting; how many.

    One a client and ``POLICY_EVERY``: what one scan finds goes together, and what comes while it runs goes with the
    next, or joins it when it is the same update on another device.
    """
    waiting: dict[UUID, list[int]] = defaultdict(list)
    rows = Deployment.objects.visible_to(_SELF).filter(
        settled_at=None, rollout=None, state=DeploymentState.BLOCKED, why=BY_RINGS, device__status=DeviceStatus.APPROVED
    )
    for pk, client_id in rows.order_by("client_id", "pk").values_list("pk", "client_id"):
        waiting[client_id].append(pk)
    lately = Rollout.objects.visible_to(_SELF).filter(created_by=POLICY.who, created_at__gt=now - POLICY_EVERY)
    for client_id in lately.values_list("client_id", flat=True):
        waiting.pop(client_id, None)
    for client in Client.objects.visible_to(_SELF).filter(pk__in=list(waiting)):
        name = f"Patch policy, {now:%Y-%m-%d}"
        rollout_start(scope=POLICY, client=client, name=name, choose="all", only=set(waiting[client.pk]), now=now)
    return len(waiting)


def _under_way(pk: UUID) -> Rollout | None:
    found: Rollout | None = (
        Rollout.objects.visible_to(_SELF).select_for_update(of=("self",)).filter(pk=pk, state__in=OPEN).first()
    )
    return found


def _gather(rollout: Rollout, now: datetime) -> None:
    """Devices that came join the last ring; those that went, and those that never come, are left out."""
    members = RolloutDevice.objects.visible_to(_SELF).filter(rollout=rollout)
    gone = members.filter(state="waiting").exclude(device__status=DeviceStatus.APPROVED)
    gone.update(state="left out", why="no longer approved", judged_at=now)
    last = RolloutRing.objects.visible_to(_SELF).filter(rollout=rollout).order_by("-number").first()
    if last is None:
        return
    carried = set(updates_of(rollout))
    fresh = Deployment.objects.visible_to(_SELF).filter(
        settled_at=None, rollout=None, state__in=WAITING, first_seen_at__gte=rollout.created_at - LONGEST,
        name__in=sorted({name for _, name, _ in carried})[:500], device__status=DeviceStatus.APPROVED,
    )  # fmt: skip
    if rollout.client_id is not None:
        fresh = fresh.filter(client=rollout.client_id)
    joining: dict[UUID, list[int]] = defaultdict(list)
    for pk, device_id, client_id, manager, name, candidate in fresh.values_list(
        "pk", "device_id", "client_id", "manager", "name", "candidate"
    ):
        if (manager, name, candidate) in carried and concerns(rollout, client_id):
            joining[device_id].append(pk)
    known = set(members.filter(device__in=list(joining)).values_list("device_id", flat=True))
    new = [one for one in joining if one not in known]
    for device in Device.objects.visible_to(_SELF).filter(pk__in=new).select_related("site"):
        _member(rollout, device, last.number, _candidate(device, pilot=False, now=now)).save()
    if new:
        # Only the last ring grows: the earlier rings' caps are what they were.
        RolloutRing.objects.visible_to(_SELF).filter(pk=last.pk).update(cap=last.cap + len(new))
    for pks in joining.values():
        Deployment.objects.visible_to(_SELF).filter(pk__in=pks).update(rollout=rollout)
    started = last.started_at
    if rollout.ring == last.number and started is not None and now - started > LONGEST:
        rest = members.filter(ring=last.number, state__in=["waiting", "running"])
        rest.update(state="left out", why=f"not updated within {LONGEST.days} days", judged_at=now)


_KEPT_STATE = {"sent": "running", "soaking": "running", "doubtful": "running", "away": "silent"}
"""Finer states of the rules → what is kept in the row; the rest are kept as they are."""


def _judge(rollout: Rollout, now: datetime, device_id: UUID | None = None) -> None:
    """Judge the devices that were touched, and write down what they are."""
    members = RolloutDevice.objects.visible_to(_SELF).filter(rollout=rollout, touched_at__isnull=False)
    members = members.exclude(state__in=["failed", "left out"]).select_related("device")
    if device_id is not None:
        members = members.filter(device=device_id)
    terms = terms_read(rollout.terms)
    caps = {cap.number: cap for cap in _caps(rollout, terms)}
    rows = list(members)
    seen = observations(rollout=rollout, members=rows, terms=terms, now=now)
    changed = []
    for row in rows:
        found = seen[row.device_id]
        verdict = rules.judge_device(found, terms, caps[row.ring].terms.soak_minutes, now.timestamp())
        if verdict.state == "left out" and row.ring > terms.strict_rings:
            # Tried again in its next window. Only strict rings need another in its place.
            verdict = rules.Verdict("sent", verdict.why)
        kept = _KEPT_STATE.get(verdict.state, verdict.state)
        times = {
            "is": verdict.state,
            "verified": found.verified_at,
            "delivered": found.delivered_at,
            "answered": found.answered_at,
        }
        if (row.state, row.why) == (kept, verdict.why) and all(row.baseline.get(k) == v for k, v in times.items()):
            continue
        row.state, row.why, row.baseline = kept, verdict.why, {**row.baseline, **times}
        row.judged_at = now if kept in ("healthy", "failed", "silent", "left out") else None
        if verdict.state == "soaking" and found.verified_at is not None and row.settled_at is None:
            row.settled_at = datetime.fromtimestamp(found.verified_at, UTC)
        if kept == "left out":
            row.touched_at = None  # its signed answer says that nothing was changed
        changed.append(row)
    fields = ["state", "why", "baseline", "judged_at", "settled_at", "touched_at"]
    RolloutDevice.objects.visible_to(_SELF).bulk_update(changed, fields, batch_size=300)


def _caps(rollout: Rollout, terms: Terms) -> list[Cap]:
    """The rollout's rings as they were fixed when it started. Only the last one's cap grows since."""
    kept = RolloutRing.objects.visible_to(_SELF).filter(rollout=rollout).order_by("number")
    return [Cap(number=one.number, most=one.cap, terms=ring) for one, ring in zip(kept, terms.rings, strict=True)]


def _tallies(rollout: Rollout) -> tuple[dict[int, Tally], dict[str, Tally]]:
    rings: dict[int, Tally] = defaultdict(Tally)
    groups: dict[str, Tally] = defaultdict(Tally)
    members = RolloutDevice.objects.visible_to(_SELF).filter(rollout=rollout)
    for ring, state, touched_at, why, baseline in members.values_list("ring", "state", "touched_at", "why", "baseline"):
        exact = baseline.get("is", state)
        # What a person or the clock wrote into the row counts more than the last judgement.
        fine = exact if _KEPT_STATE.get(exact, exact) == state else state
        at, steady = None if touched_at is None else touched_at.timestamp(), bool(baseline.get("steady", True))
        rules.add(rings[ring], fine, at, why, steady=steady)
        for name in baseline.get("groups", ()):
            rules.add(groups[name], fine, at, why, steady=steady)
    return rings, groups


def _next(rollout: Rollout, now: datetime) -> rules.Step:
    terms = terms_read(rollout.terms)
    rings, groups = _tallies(rollout)
    return rules.next_step(
        terms=terms,
        rings=_caps(rollout, terms),
        ring=rollout.ring,
        tallies=rings,
        groups=groups,
        now=now.timestamp(),
    )


def _step(rollout: Rollout, now: datetime) -> int:
    step = _next(rollout, now)
    match step:
        case rules.Halt(why=why):
            _halt(rollout, why, now)
        case rules.Finish(why=why):
            _close_ring(rollout, why=why, by="", now=now)
            _move(rollout, OPEN, RolloutState.FINISHED, why=why, now=now)
            _record(rollout, "finished", by=_SELF.who, now=now, why=why)
        case rules.Promote() as promote if terms_read(rollout.terms).promotion == "automatic":
            _promote(rollout, promote, by=_SELF.who, now=now)
        case rules.Promote(why=why):
            if rollout.state == RolloutState.AWAITING_PROMOTION:
                return 0
            _move(rollout, OPEN, RolloutState.AWAITING_PROMOTION, why=f"{why}; a person promotes", now=now)
            _record(rollout, "awaits promotion", by=_SELF.who, now=now, ring=rollout.ring)
        case rules.Wait(why=why):
            if rollout.why == why and rollout.state == RolloutState.RUNNING:
                return 0
            _move(rollout, OPEN, RolloutState.RUNNING, why=why, now=now)
            return 0
    return 1


def _halt(rollout: Rollout, why: str, now: datetime) -> None:
    rings = RolloutRing.objects.visible_to(_SELF).filter(rollout=rollout, number=rollout.ring)
    rings.update(verdict="failed", judged_at=now, why=why)
    _move(rollout, OPEN, RolloutState.HALTED, why=why, now=now)
    _take_back(rollout, "its rollout was halted", now)
    _record(rollout, "halted", by=_SELF.who, now=now, ring=rollout.ring, **({"why": why} if rollout.client_id else {}))
    if rollout.ring <= terms_read(rollout.terms).strict_rings:
        _hold(rollout, now)


def _promote(rollout: Rollout, step: rules.Promote, *, by: str, now: datetime) -> None:
    done = rollout.ring
    root = _close_ring(rollout, why=step.why, by=by, now=now)
    _move(rollout, OPEN, RolloutState.RUNNING, why="", now=now, ring=step.ring)
    RolloutRing.objects.visible_to(_SELF).filter(rollout=rollout, number=step.ring).update(started_at=now)
    _record(rollout, "promoted", by=by, now=now, ring=done, to_ring=step.ring, results_root=root, why=step.why)


def _close_ring(rollout: Rollout, *, why: str, by: str, now: datetime) -> str:
    """Judge the ring under way as healthy, and fix the root of its signed results."""
    members = list(RolloutDevice.objects.visible_to(_SELF).filter(rollout=rollout, ring=rollout.ring))
    ids = [one for member in members for one in member.jobs]
    answered = {
        str(pk)
        for part in _parts(ids)
        for pk in Job.objects.visible_to(_SELF)
        .filter(pk__in=part)
        .exclude(result_envelope=b"")
        .values_list("pk", flat=True)
    }
    for member in members:
        member.in_root = sorted(one for one in member.jobs if one in answered)
    RolloutDevice.objects.visible_to(_SELF).bulk_update(members, ["in_root"], batch_size=300)
    root = results_root(rollout=rollout, ring=rollout.ring)
    rings = RolloutRing.objects.visible_to(_SELF).filter(rollout=rollout, number=rollout.ring, judged_at=None)
    rings.update(
        verdict="healthy", judged_at=now, why=why, results_root=root, promoted_by=by, promoted_at=now if by else None
    )
    return root


def results_root(*, rollout: Rollout, ring: int) -> str:
    """Merkle root (RFC 6962, hex) of the results of a ring that its devices signed, as they are kept now.

    The leaves are the envelopes byte for byte, in the order of the runs' ids. Equal to ``RolloutRing.results_root``
    unless a result was changed, lost or added since.
    """
    lists = RolloutDevice.objects.visible_to(_SELF).filter(rollout=rollout, ring=ring).values_list("in_root", flat=True)
    ids = sorted(one for own in lists for one in own)
    envelopes: dict[str, bytes] = {}
    for part in _parts(ids):
        rows = Job.objects.visible_to(_SELF).filter(pk__in=part).values_list("pk", "result_envelope")
        envelopes.update({str(pk): bytes(envelope) for pk, envelope in rows})
    return root_of([leaf_hash(envelopes.get(one, b"")) for one in ids]).hex()


def _refill(rollout: Rollout) -> None:
    """Devices of the next ring move up into places of a strict ring that are free."""
    terms = terms_read(rollout.terms)
    rings, _ = _tallies(rollout)
    free = rules.places_free(_caps(rollout, terms), rollout.ring, rings, terms)
    if not free:
        return
    waiting = RolloutDevice.objects.visible_to(_SELF).filter(
        rollout=rollout, state="waiting", ring__gt=rollout.ring, touched_at=None
    )
    chosen = sorted(waiting, key=lambda one: (one.ring, not one.baseline.get("steady", True), one.pk))[:free]
    for one in chosen:
        waiting.filter(pk=one.pk).update(ring=rollout.ring)


# --- holds for everyone ---------------------------------------------------------------------------------------------

HOLD_WHY = "it went wrong elsewhere, in a first ring"


def _hold(rollout: Rollout, now: datetime) -> None:
    """Hold for every client what a failed first ring brought. It does not say where."""
    failed = list(
        RolloutDevice.objects.visible_to(_SELF)
        .filter(rollout=rollout, state__in=["failed", "silent"])
        .values_list("device_id", flat=True)
    )
    rows = Deployment.objects.visible_to(_SELF).filter(rollout=rollout, device__in=failed)
    bad = rows.filter(state__in=[DeploymentState.FAILED, DeploymentState.REGRESSED])
    named = set((bad if bad.exists() else rows).values_list("manager", "name", "candidate"))
    for manager, name, candidate in sorted(named & set(updates_of(rollout))):
        UpdateHold.objects.get_or_create(
            manager=manager, name=name, candidate=candidate, ended_at=None,
            defaults={"why": HOLD_WHY, "since": now},
        )  # fmt: skip
    if named:
        event_record(event=Event.ROLLOUT_CHANGED, subject=rollout.pk, at=now, detail=_detail(rollout, "held"))


def _held_of(rollout: Rollout) -> list[Update]:
    """Updates of a rollout that are held, and that its client does not install all the same."""
    gate = Gate(now=datetime.now(UTC), device_ids=())
    found = []
    for update in updates_of(rollout):
        client = rollout.client_id or UUID(int=0)
        if gate.held(client, update):
            found.append(update)
    return found


@transaction.atomic
def hold_end(*, scope: Scope, hold: UpdateHold, reason: str, now: datetime) -> UpdateHold:
    """Let every client install a held update again. An act for the whole installation; RolloutError without a reason,
    or when it has ended."""
    scope.require_everywhere(Permission.PATCH_CHANGE)
    why = _reason(reason)[:300]
    rows = UpdateHold.objects.filter(pk=hold.pk, ended_at=None)
    if rows.update(ended_at=now, ended_by=scope.who, ended_why=why) != 1:
        raise RolloutError(f"the hold of {hold.name} {hold.candidate} has ended already")
    hold.refresh_from_db()
    return hold


@transaction.atomic
def hold_override(*, scope: Scope, hold: UpdateHold, client: Client, reason: str, now: datetime) -> HoldOverride:
    """Let one client install a held update all the same. It goes into the client's evidence, with the reason."""
    scope.require(Permission.PATCH_CHANGE, on=client)
    why = _reason(reason)
    if hold.ended_at is not None:
        raise RolloutError(f"the hold of {hold.name} {hold.candidate} has ended already")
    override, made = HoldOverride.objects.visible_to(scope).get_or_create(
        client=client, hold=hold, defaults={"reason": why, "at": now, "by": scope.who}
    )
    if not made:
        raise RolloutError(f"{client.name} installs {hold.name} {hold.candidate} all the same already")
    evidence_append(
        client=client,
        kind=EvidenceKind.ROLLOUT_CHANGED,
        payload={
            "what": "hold overridden",
            "update": f"{hold.manager} {hold.name} {hold.candidate}",
            "reason": why,
            "by": scope.who,
        },
        now=now,
    )
    kept: HoldOverride = override
    return kept


# --- record ---------------------------------------------------------------------------------------------------------


def _record(rollout: Rollout, what: str, *, by: str, now: datetime, **said: Any) -> None:
    """Evidence in the log of every client that is concerned, and the event. Of another client it says nothing."""
    if rollout.client_id is not None:
        clients = list(Client.objects.visible_to(_SELF).filter(pk=rollout.client_id))
    else:
        members = RolloutDevice.objects.visible_to(_SELF).filter(rollout=rollout)
        ids = set(members.order_by().values_list("client_id", flat=True).distinct())
        clients = list(Client.objects.visible_to(_SELF).filter(pk__in=ids).order_by("pk"))
        said = {name: value for name, value in said.items() if name in ("ring", "to_ring", "results_root", "updates")}
        by = by if by == _SELF.who else "the provider"
    for client in clients:
        payload = {"rollout": str(rollout.pk), "name": title_of(rollout), "what": what, "by": by, **said}
        own = RolloutDevice.objects.visible_to(_SELF).filter(rollout=rollout, client=client)
        payload["devices"] = own.count()
        evidence_append(client=client, kind=EvidenceKind.ROLLOUT_CHANGED, payload=payload, now=now)
    event_record(event=Event.ROLLOUT_CHANGED, subject=rollout.pk, at=now, detail=_detail(rollout, what))


def _detail(rollout: Rollout, what: str) -> dict[str, Any]:
    client = {} if rollout.client_id is None else {"client": str(rollout.client_id)}
    return {"what": what, "ring": rollout.ring, "state": str(rollout.state), **client}


def _parts(ids: Sequence[Any], most: int = 500) -> Iterable[list[Any]]:
    """The ids in parts that a statement can hold."""
    for start in range(0, len(ids), most):
        yield list(ids[start : start + most])
