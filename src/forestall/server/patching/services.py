"""Deployments follow scans and runs, and are installed in their windows.

Every act takes the device's row as its lock, so that a scan, a run's answer and the clock take turns on one device.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from forestall.server.inventory.models import Device, DeviceStatus, FactsDocument, FirstSeen
from forestall.server.inventory.rules import believed_time
from forestall.server.patching import rules, tickets
from forestall.server.patching.deciding import SELF, Desk
from forestall.server.patching.models import SETTLED, Deployment, DeviceScan
from forestall.server.patching.obligation_services import obligations_refresh
from forestall.server.patching.rules import Move, State
from forestall.server.patching.scan import Looked, key_of, look, row_of
from forestall.server.patching.writing import moves_write
from forestall.server.runbooks.models import UNDER_WAY, Job, JobState
from forestall.wire.facts import Update

log = logging.getLogger(__name__)

FOLLOWED = frozenset({"updates", "software", "system", "services", "restarts"})
"""Documents whose change may move a deployment."""
LOOK_AGAIN = timedelta(minutes=30)
"""So often waiting updates are decided anew, without anything having been heard: windows move, deferrals end."""
JUST_BEFORE = timedelta(minutes=2)
"""A document that was collected so long before it was looked at may have come after that."""
REMEMBERED = timedelta(days=120)
"""How long after its verification an update is looked at for having come undone."""
SCANNED = "scan"

Moves = list[tuple[Deployment, Move]]


# --- scans ------------------------------------------------------------------------------------------------------


def deployments_follow_scan_by_id(*, device_id: UUID | str, documents: Iterable[str], now: datetime) -> int:
    """``deployments_follow_scan`` when one of these documents matters here, as events name them."""
    return deployments_follow_scan(device_id=UUID(str(device_id)), now=now) if FOLLOWED & set(documents) else 0


@transaction.atomic
def deployments_follow_scan(*, device_id: UUID, now: datetime) -> int:
    """Let a device's deployments follow its newest documents; how many came to another state.

    What is newly offered becomes a deployment; what is offered no more is settled; what was installed is verified, or
    says what is missing. The same documents again change nothing.
    """
    device = _locked(device_id)
    if device is None:
        return 0
    looked = look(scope=SELF, devices=[device]).get(device.pk)
    if looked is None or looked.updates is None:
        return 0
    open_rows = _open_rows(device)
    moves: Moves = []
    touched: set[int] = set()
    replaced: dict[tuple[str, str, str], Deployment] = {}
    for row in open_rows:
        move = rules.after_scan(row_of(row), looked.scan(row))
        if move is None:
            continue
        moves.append((row, move))
        touched.add(row.pk)
        if move.to is State.SUPERSEDED:
            replaced[key_of(row)] = row
    moves += _regressed(device, looked, open_rows, now)
    new = _new_rows(device, looked, open_rows, replaced)
    desk = Desk(devices=[device], now=now, looked={device.pk: looked})
    waiting = [row for row in open_rows if row.pk not in touched and row.state in rules.WAITING]
    moves += _decided(desk, waiting)
    for row in new:
        unfinished = looked.unfinished(row.manager, row.name)
        first = Move(State.FAILED, f"{unfinished}. {rules.REPAIR}") if unfinished else desk.move(row, desk.answer(row))
        if first is not None:
            moves.append((row, first))
    moved = moves_write(moves=moves, actor=SCANNED, now=now)
    still_open = Deployment.objects.visible_to(SELF).filter(device=device, settled_at=None).count()
    DeviceScan.objects.visible_to(SELF).update_or_create(
        device=device, defaults={"followed_at": now, "open_updates": still_open}
    )
    if moved:
        obligations_refresh(device_ids=[device.pk], now=now)
        tickets.tickets_follow(device=device, now=now)
    return moved


def _regressed(device: Device, looked: Looked, open_rows: Sequence[Deployment], now: datetime) -> Moves:
    """Verified updates whose old version is there again. Only the newest of a package can come undone."""
    newest: dict[tuple[str, str, str], Deployment] = {}
    verified = Deployment.objects.visible_to(SELF).filter(
        device=device, state=State.VERIFIED, verified_at__gt=now - REMEMBERED
    )
    for row in verified.select_related("device__client").order_by("verified_at", "pk"):
        newest[key_of(row)] = row
    busy = {key_of(row) for row in open_rows}
    found: Moves = []
    for key, row in newest.items():
        if key in busy:
            continue
        move = rules.after_scan(row_of(row), looked.scan(row))
        if move is not None:
            found.append((row, move))
    return found


def _new_rows(
    device: Device,
    looked: Looked,
    open_rows: Sequence[Deployment],
    replaced: dict[tuple[str, str, str], Deployment],
) -> list[Deployment]:
    """Deployments (unsaved) of what is offered and has none yet."""
    known = {(*key_of(row), row.candidate) for row in open_rows}
    collected = looked.when["updates"].collected
    # What a run has just changed is not news to a list from before it.
    stale = {key_of(row) for row in open_rows if row.installed_at is not None and row.installed_at >= collected}
    offered: list[Update] = []
    for key, updates in looked.offered.items():
        if key in stale:
            continue
        for update in updates:
            # What is listed and installed already was settled by this very scan, or is being verified.
            versions = looked.versions(key)
            if (*key, update.candidate[:200]) not in known and not (versions and update.candidate in versions):
                offered.append(update)
                known.add((*key, update.candidate[:200]))
    if not offered:
        return []
    seen_at = looked.when["updates"].changed
    keys = {f"updates:{one.name}={one.candidate}"[:400] for one in offered}
    first_seen: dict[str, datetime] = {}
    own = FirstSeen.objects.visible_to(SELF).filter(device=device, key__startswith="updates:")
    for name, at in own.values_list("key", "at"):
        if name in keys:
            first_seen[name] = at
    rows = []
    for one in offered:
        manager, name, architecture = looked.key(one)
        clock = rules.Clock(
            first_seen_at=first_seen.get(f"updates:{one.name}={one.candidate}"[:400], seen_at),
            released_at=one.released_at,
            security=one.security,
            severity=one.severity,
        )
        old = replaced.get((manager, name, architecture))
        cves, advisories = list(one.cves), list(one.advisories)
        if old is not None:
            clock = rules.inherited(clock, _clock(old))
            cves += [cve for cve in old.cves if cve not in cves]
            advisories += [advisory for advisory in old.advisories if advisory not in advisories]
        rows.append(
            Deployment(
                client=device.client,
                site_id=device.site_id,
                device=device,
                manager=manager,
                name=name,
                architecture=architecture,
                installed=one.installed[:200],
                candidate=one.candidate[:200],
                kind=one.kind,
                security=clock.security,
                severity=clock.severity,
                cves=cves,
                advisories=advisories,
                origin=one.origin[:200],
                released_at=clock.released_at,
                first_seen_at=clock.first_seen_at,
                needs_reboot=True if one.restart == "reboot" else None,
                ticket_id=None if old is None else old.ticket_id,
            )
        )
    return rows


def _clock(row: Deployment) -> rules.Clock:
    return rules.Clock(row.first_seen_at, row.released_at, row.security, row.severity)


# --- decisions --------------------------------------------------------------------------------------------------


def deployments_decide(*, device_ids: Iterable[UUID], now: datetime, actor: str = SCANNED) -> int:
    """Ask again of what waits whether it may be installed, after what decides about it changed; how many moved."""
    moved = 0
    for device_id in device_ids:
        with transaction.atomic():
            device = _locked(device_id)
            if device is None:
                continue
            desk = Desk(devices=[device], now=now)
            waiting = [row for row in _open_rows(device) if row.state in rules.WAITING]
            done = moves_write(moves=_decided(desk, waiting), actor=actor, now=now)
            if done:
                obligations_refresh(device_ids=[device.pk], now=now)
            moved += done
    return moved


def _decided(desk: Desk, rows: Iterable[Deployment]) -> Moves:
    found: Moves = []
    for row in rows:
        if _awaits_signature(row):
            continue  # its run is prepared: that is what keeps it, and says so
        move = desk.move(row, desk.answer(row))
        if move is not None:
            found.append((row, move))
    return found


SIGNATURE = "Waits for an operator's signature"


def _awaits_signature(row: Deployment) -> bool:
    return row.state == State.BLOCKED and row.job_id is not None and row.why.startswith(SIGNATURE)


# --- runs -------------------------------------------------------------------------------------------------------


@transaction.atomic
def deployments_follow_run(*, job_id: UUID | str, now: datetime) -> int:
    """Let deployments follow what a finished run says, and what the package manager's records say changed."""
    found = Job.objects.visible_to(SELF).select_related("runbook", "order").filter(pk=job_id).first()
    if found is None or found.dry_run:
        return 0
    job: Job = found
    device = _locked(job.device_id)
    if device is None:
        return 0
    changes = _changes(job)
    mine = Deployment.objects.visible_to(SELF).filter(device=device, job_id=job.pk, settled_at=None)
    rows = list(mine.select_related("device__client").exclude(state__in=rules.IN_PLACE))
    if not rows and not changes:
        return 0
    by = installed_by(job)
    _begun(rows, job, now)
    moves: Moves = []
    settled: set[tuple[str, str, str]] = set()
    for row in rows:
        changed = changes.get(key_of(row)) or changes.get((row.manager, row.name, ""))
        settled.add(key_of(row))
        move = rules.after_run(row_of(row), _run_of(job, changed, by, now), attempts=row.attempts + 1)
        moves.append((row, move))
        if move.to is State.SUPERSEDED and changed is not None:
            moves.append(_installed_instead(device, key_of(row), changed, row, job, by, now))
    moves += _unannounced(device, changes, settled, job, by, now)
    moved = moves_write(moves=moves, actor=by, now=now)
    if moved:
        obligations_refresh(device_ids=[device.pk], now=now)
        tickets.tickets_follow(device=device, now=now, job=job)
        waiting = [row for row in _open_rows(device) if row.state in rules.WAITING]
        moves_write(moves=_decided(Desk(devices=[device], now=now), waiting), actor=by, now=now)
    return moved


def _begun(rows: Sequence[Deployment], job: Job, now: datetime) -> None:
    """A run that operators signed later, or that was given up before it was signed, has its deployments elsewhere."""
    if job.queued_at is None:
        return
    waiting = [row for row in rows if row.state != State.INSTALLING]
    moves_write(moves=[(row, Move(State.INSTALLING, "")) for row in waiting], actor=installed_by(job), now=now)


def _changes(job: Job) -> dict[tuple[str, str, str], tuple[str, str]]:
    """(provider, package, architecture) → version before and after, over all steps of a run."""
    found: dict[tuple[str, str, str], tuple[str, str]] = {}
    for step in job.result_steps:
        for one in step.get("packages") or ():
            key = (one["manager"], one["name"], one["architecture"])
            before = found[key][0] if key in found else one["before"]
            found[key] = (before, one["after"])
    return {key: change for key, change in found.items() if change[0] != change[1]}


def _run_of(job: Job, changed: tuple[str, str] | None, by: str, now: datetime) -> rules.Run:
    finished = job.finished_at or now
    return rules.Run(
        outcome=str(job.state),
        at=believed_time(claimed=finished, received=now),
        by=by,
        code=job.result_code,
        detail=job.result_detail,
        was_delivered=job.delivered_at is not None,
        steps=tuple(
            rules.RunStep(step["action"], step["ok"], step["summary"], step.get("output", ""))
            for step in job.result_steps
        ),
        changed=changed,
    )


def _installed_instead(
    device: Device,
    key: tuple[str, str, str],
    changed: tuple[str, str],
    old: Deployment | None,
    job: Job,
    by: str,
    now: datetime,
) -> tuple[Deployment, Move]:
    """A version that a run installed and nobody had seen pending: on record too, with its own proof to come."""
    run = _run_of(job, changed, by, now)
    manager, name, architecture = key
    row = Deployment(
        client=device.client,
        site_id=device.site_id,
        device=device,
        manager=manager[:20],
        name=name[:200],
        architecture=architecture[:20],
        installed=changed[0][:200],
        candidate=changed[1][:200],
        first_seen_at=run.at,
        job_id=job.pk,
        needs_reboot=None,
        boot_id_before=device.boot_id if old is None else old.boot_id_before,
    )
    if old is not None:
        clock = rules.inherited(rules.Clock(run.at, None, security=False), _clock(old))
        row.first_seen_at, row.released_at = clock.first_seen_at, clock.released_at
        row.security, row.severity, row.kind = clock.security, clock.severity, old.kind
        row.cves, row.advisories, row.origin = old.cves, old.advisories, old.origin
        row.services_before, row.outdated_before = old.services_before, old.outdated_before
        row.rollout_id, row.ticket_id = old.rollout_id, old.ticket_id
    fields = {"installed_at": run.at, "installed_by": by, "attempts": 1, "log_excerpt": rules.log_of(run)}
    return row, Move(State.INSTALLED, "Installed; waits for a scan after it.", fields)


def _unannounced(
    device: Device,
    changes: dict[tuple[str, str, str], tuple[str, str]],
    settled: set[tuple[str, str, str]],
    job: Job,
    by: str,
    now: datetime,
) -> Moves:
    """What a run changed beyond what it was made for: packages that others needed, or all of a run made by hand."""
    rest = {key: change for key, change in changes.items() if key not in settled and change[1]}
    if not rest:
        return []
    open_rows = {key_of(row): row for row in _open_rows(device) if row.state not in rules.IN_PLACE}
    already = {
        (*key_of(row), row.candidate)
        for row in Deployment.objects.visible_to(SELF).filter(device=device, job_id=job.pk)
    }
    moves: Moves = []
    for key, change in rest.items():
        row = open_rows.get(key)
        if row is None:
            if (*key, change[1]) not in already:
                moves.append(_installed_instead(device, key, change, None, job, by, now))
            continue
        row.job_id = job.pk
        row.boot_id_before = row.boot_id_before or device.boot_id
        if row.state != State.INSTALLING:
            moves_write(moves=[(row, Move(State.INSTALLING, ""))], actor=by, now=now)
        move = rules.after_run(row_of(row), _run_of(job, change, by, now), attempts=row.attempts + 1)
        moves.append((row, move))
        if move.to is State.SUPERSEDED:
            moves.append(_installed_instead(device, key, change, row, job, by, now))
    return moves


@transaction.atomic
def deployments_release(*, job_ids: Iterable[UUID], now: datetime) -> int:
    """Let go of updates whose runs were cancelled before the device had them; how many."""
    rows = Deployment.objects.visible_to(SELF).filter(job_id__in=list(job_ids), settled_at=None)
    free = rows.filter(state__in=[State.INSTALLING, State.BLOCKED]).select_related("device__client")
    gone = {
        job.pk for job in Job.objects.visible_to(SELF).filter(pk__in=list(job_ids), state=JobState.CANCELLED).only("pk")
    }
    moves = [
        (row, Move(State.PLANNED, "Its run was cancelled.", {"job_id": None, "next_try_at": now + rules.REFUSED_AGAIN}))
        for row in free
        if row.job_id in gone
    ]
    return moves_write(moves=moves, actor=SELF.who, now=now)


# --- the clock --------------------------------------------------------------------------------------------------

MOST_DEVICES = 60
"""Looked at in one turn of the clock."""


def deployments_tick(*, now: datetime, most: int = MOST_DEVICES) -> int:
    """What nobody says: proofs that came by an unchanged scan, runs signed or cancelled, windows that moved.

    Looks at some devices in each turn: those whose deployments were never followed, those with something to be
    verified, and those that were last looked at longest ago.
    """
    _follow_jobs(now)
    todo: list[UUID] = list(_never_followed(most))
    approved = DeviceScan.objects.visible_to(SELF).filter(device__status=DeviceStatus.APPROVED)
    proof = approved.filter(
        Exists(Deployment.objects.visible_to(SELF).filter(device=OuterRef("device"), state__in=rules.IN_PLACE)),
        # A scan may come with what it says unchanged: nobody tells of that.
        Exists(
            FactsDocument.objects.visible_to(SELF).filter(
                device=OuterRef("device"), collected_at__gt=OuterRef("followed_at") - JUST_BEFORE
            )
        ),
    )
    todo += proof.order_by("followed_at").values_list("device_id", flat=True)[:most]
    old = DeviceScan.objects.visible_to(SELF).filter(
        followed_at__lte=now - LOOK_AGAIN, open_updates__gt=0, device__status=DeviceStatus.APPROVED
    )
    todo += old.order_by("followed_at").values_list("device_id", flat=True)[:most]
    moved = 0
    for device_id in dict.fromkeys(todo):
        moved += deployments_follow_scan(device_id=device_id, now=now)
    return moved


def _never_followed(most: int) -> Iterable[UUID]:
    documents = FactsDocument.objects.visible_to(SELF).filter(
        name="updates", device__status=DeviceStatus.APPROVED, device__patch_scan=None
    )
    found: Iterable[UUID] = documents.order_by("device_id").values_list("device_id", flat=True)[:most]
    return found


def _follow_jobs(now: datetime) -> None:
    """Runs that were signed, cancelled or answered without our hearing of it."""
    rows = Deployment.objects.visible_to(SELF).filter(
        Q(state=State.INSTALLING) | Q(state=State.BLOCKED, why__startswith=SIGNATURE), job_id__isnull=False
    )
    ids = list(rows.order_by().values_list("job_id", flat=True).distinct())
    jobs = {job.pk: job for job in Job.objects.visible_to(SELF).filter(pk__in=ids).only("pk", "state", "order_id")}
    cancelled = [pk for pk, job in jobs.items() if job.state == JobState.CANCELLED]
    if cancelled:
        deployments_release(job_ids=cancelled, now=now)
    signed = [pk for pk, job in jobs.items() if job.state in UNDER_WAY]
    waiting = rows.filter(state=State.BLOCKED, job_id__in=signed).select_related("device__client")
    moves_write(moves=[(row, Move(State.INSTALLING, "")) for row in waiting], actor="operator", now=now)
    over = [pk for pk, job in jobs.items() if job.state not in UNDER_WAY and job.state != JobState.AWAITING_SIGNATURE]
    for pk in over:
        deployments_follow_run(job_id=pk, now=now)


# --- parts ------------------------------------------------------------------------------------------------------


def installed_by(job: Job) -> str:
    """Who or what installs by a run."""
    if job.order_id is not None:
        return job.created_by
    return f"{job.created_by}, signed by {', '.join(f'key {key[:8]}' for key in job.signed_by) or 'nobody'}"


def _locked(device_id: UUID) -> Device | None:
    """The device, its row locked; None when it takes no part any more."""
    devices = Device.objects.visible_to(SELF).select_for_update(of=("self",), no_key=True)
    found: Device | None = (
        devices.select_related("client", "site").filter(pk=device_id, status=DeviceStatus.APPROVED).first()
    )
    return found


def _open_rows(device: Device) -> list[Deployment]:
    rows = list(Deployment.objects.visible_to(SELF).filter(device=device).exclude(state__in=SETTLED).order_by("pk"))
    for row in rows:
        row.device = device
    return rows
