"""Runs that install: in open windows by themselves, or at once when a person asks.

What may be installed is decided by ``rules.may_install_now``; what runs is the signed runbook ``install-updates``,
under a standing order that operators signed for ``patching``, or prepared for an operator's signature. The server
chooses among what the device's own signed sources offer, and nothing more.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Q

from forestall.server.calendar.queries import WindowBook
from forestall.server.calendar.windows import allowed_at
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.patching import rollouts, rules
from forestall.server.patching.deciding import RUNBOOK, SELF, Desk
from forestall.server.patching.models import SETTLED, Deployment, DeviceScan
from forestall.server.patching.policies import packed, run_parameters
from forestall.server.patching.rules import Move, State
from forestall.server.patching.services import SIGNATURE, deployments_decide
from forestall.server.patching.writing import moves_write
from forestall.server.people.scope import Permission, Scope
from forestall.server.runbooks import services as runbooks
from forestall.server.runbooks.models import OPEN_STATES, Job, JobState
from forestall.trust.statements import ParameterValue

log = logging.getLogger(__name__)

DECIDE_AGAIN = timedelta(minutes=5)
"""In an open window: how often what is blocked there is decided anew."""
MOST_DEVICES = 200
"""Begun with in one turn of the clock; the next turn takes the others, those first that waited longest."""
TRIED = (State.PLANNED, State.STAGED, State.BLOCKED)
Choice = Literal["security", "all", "chosen"]


class DeployError(ValueError):
    """Something that cannot be installed now; the message says what and why."""


class _NotNow(Exception):  # noqa: N818 - it carries an answer, and rolls a transaction back
    """Rings or holds say no to a run that was just made."""


@dataclass(slots=True)
class Begun:
    """What became of one device's ready updates."""

    jobs: list[Job] = field(default_factory=list)
    updates: int = 0
    left: list[tuple[Deployment, str]] = field(default_factory=list)
    """Asked for and not taken, with why."""


# --- windows ----------------------------------------------------------------------------------------------------


def deployments_deploy(*, now: datetime) -> int:
    """Begin what is ready in the windows that are open now; how many runs. A device that fails stops no other."""
    begun = 0
    for device in _devices_in_windows(now):
        try:
            begun += len(device_deploy(device_id=device, now=now).jobs)
        except runbooks.RunbooksError:
            log.exception("updates of device %s were not begun", device)
    return begun + _reboots_in_windows(now)


def _devices_in_windows(now: datetime) -> list[UUID]:
    """Devices in an open window of which something is due, or was not decided about in this window yet."""
    book = WindowBook.load(scope=SELF, since=now - timedelta(days=8))
    open_sites = {site for site in book.sites if book.allowed(site, None, now) is not None}
    own = {device for device, windows in book.devices.items() if allowed_at(windows, now) is not None}
    if not open_sites and not own:
        return []
    waiting = Deployment.objects.visible_to(SELF).filter(
        Q(site__in=open_sites) | Q(device__in=own),
        Q(next_try_at=None) | Q(next_try_at__lte=now),
        state__in=TRIED,
        device__status=DeviceStatus.APPROVED,
    )
    is_due = Q(planned_for__lte=now) & ~Q(state=State.BLOCKED)
    places = waiting.order_by().values_list("device_id", "site_id", "device__patch_scan__followed_at")
    chosen = []
    for device_id, site_id, followed, due in places.annotate(due=Count("pk", filter=is_due)):
        allowed = book.allowed(site_id, device_id, now)
        if allowed is None:
            continue
        if due or followed is None or followed < allowed.start or followed <= now - DECIDE_AGAIN:
            chosen.append((followed or allowed.start, device_id))
    return [device_id for _, device_id in sorted(chosen)[:MOST_DEVICES]]


@transaction.atomic
def device_deploy(*, device_id: UUID, now: datetime) -> Begun:
    """Begin what is ready on one device, each provider's updates in runs of their own."""
    device = _device(SELF, device_id)
    DeviceScan.objects.visible_to(SELF).filter(device=device).update(followed_at=now)
    deployments_decide(device_ids=[device.pk], now=now)
    desk = Desk(devices=[device], now=now)
    rows = [row for row in _waiting(device) if row.state in TRIED]
    ready = [row for row in rows if isinstance(desk.answer(row), rules.Ready) and not _prepared(row)]
    window, _ = desk.window(device)
    if not ready or window is None:
        return Begun()
    because = f"patch policy of {device.client.name}, window {window[2]}"
    looked, terms = desk.looked.get(device.pk), desk.terms(device)
    warning = looked.backup_why(terms, now) if looked is not None and terms.backup == "warn" else ""
    because += f" ({warning.rstrip('.')})" if warning else ""
    return _begin(desk=desk, device=device, rows=ready, because=because, until=window[1], scope=SELF, now=now)


def _waiting(device: Device) -> list[Deployment]:
    rows = list(
        Deployment.objects.visible_to(SELF)
        .filter(device=device, state__in=(*TRIED, State.FAILED, State.SKIPPED))
        .order_by("-security", "due_at", "name", "pk")
    )
    for row in rows:
        row.device = device
    return rows


def _prepared(row: Deployment) -> bool:
    return row.state == State.BLOCKED and row.job_id is not None and row.why.startswith(SIGNATURE)


def _begin(
    *,
    desk: Desk,
    device: Device,
    rows: Sequence[Deployment],
    because: str,
    until: datetime | None,
    scope: Scope,
    now: datetime,
) -> Begun:
    begun = Begun()
    by_manager: dict[str, list[Deployment]] = defaultdict(list)
    for row in rows:
        by_manager[row.manager].append(row)
    for manager, own in by_manager.items():
        if _busy(device, manager):
            continue  # one run of a provider at a time: the next comes when that is over
        names = [_package(row) for row in own]
        for chosen in packed(names):
            part = [own[index] for index in chosen]
            job = _run(
                desk=desk, device=device, manager=manager, rows=part, packages=" ".join(names[i] for i in chosen),
                because=because, until=until, scope=scope, now=now,
            )  # fmt: skip
            if job is None:
                break
            begun.jobs.append(job)
            begun.updates += len(part)
            if job.state == JobState.QUEUED:
                break  # what does not fit goes into the next run, when this one has answered
    return begun


def _busy(device: Device, manager: str) -> bool:
    jobs = Job.objects.visible_to(SELF).filter(
        device=device, runbook__slug=RUNBOOK, state__in=OPEN_STATES, dry_run=False
    )
    return any(job.parameters.get("manager", "apt") == manager for job in jobs)


def _package(row: Deployment) -> str:
    named = (
        f"{row.name}:{row.architecture}" if row.manager == "apt" and row.architecture not in ("", "all") else row.name
    )
    return f"{named}={row.candidate}"


def _run(
    *,
    desk: Desk,
    device: Device,
    manager: str,
    rows: Sequence[Deployment],
    packages: str,
    because: str,
    until: datetime | None,
    scope: Scope,
    now: datetime,
) -> Job | None:
    """One run: made, claimed in its rollouts, and its deployments taken, all or nothing. None when rings say no."""
    updates = [(row.manager, row.name, row.candidate) for row in rows]
    reason = _reason(because, rows, rollouts.job_reason(device_id=device.pk, updates=updates, now=now))
    parameters = run_parameters(terms=desk.terms(device), manager=manager, packages=packages)
    try:
        with transaction.atomic():
            try:
                job = runbooks.order_run(
                    device=device, slug=RUNBOOK, parameters=parameters, because=reason, until=until, now=now
                )
                why = ""
            except runbooks.NoOrderError as error:
                job = runbooks.job_prepare(
                    scope=scope, runbook=RUNBOOK, device=device, parameters=parameters, reason=reason, until=until,
                    now=now,
                )  # fmt: skip
                why = f"{SIGNATURE} ({error}): forestall sign {job.pk}"
            allowed = rollouts.device_claim(device_id=device.pk, updates=updates, job_id=job.pk, now=now)
            if not allowed.ok:
                raise _NotNow(allowed.why)
            _take(desk=desk, device=device, rows=rows, job=job, why=why, now=now)
            return job
    except _NotNow as answer:
        log.info("device %s: %s", device.pk, answer)
        return None


def _take(*, desk: Desk, device: Device, rows: Sequence[Deployment], job: Job, why: str, now: datetime) -> None:
    # Claimed by conditional update: of two workers one takes each of them, and the other's run is rolled back.
    free = Deployment.objects.visible_to(SELF).filter(pk__in=[row.pk for row in rows]).exclude(state__in=SETTLED)
    taken = free.filter(state__in=(*TRIED, State.FAILED, State.SKIPPED)).update(job_id=job.pk)
    if taken != len(rows):
        raise _NotNow("another run has taken some of these updates")
    looked = desk.looked.get(device.pk)
    fields = {
        "job_id": job.pk,
        "boot_id_before": device.boot_id,
        "services_before": looked.services_running() if looked is not None else [],
        "outdated_before": looked.outdated() if looked is not None else [],
    }
    to = State.BLOCKED if why else State.INSTALLING
    moves = [(row, Move(to, why, fields)) for row in rows]
    moves_write(moves=moves, actor=job.created_by, now=now)


def _reason(because: str, rows: Sequence[Deployment], ring: str) -> str:
    fixes = sum(row.security for row in rows)
    what = f"{len(rows)} update{'s' * (len(rows) != 1)}" + (f", {fixes} of them security fixes" if fixes else "")
    return f"{because}: {what}" + (f"; {ring}" if ring else "")


# --- reboots ----------------------------------------------------------------------------------------------------


def _reboots_in_windows(now: datetime) -> int:
    """Start machines again in a window, where the policy put off the reboot until then."""
    pending = Deployment.objects.visible_to(SELF).filter(
        state=State.PENDING_REBOOT, device__status=DeviceStatus.APPROVED, installed_at__isnull=False
    )
    begun = 0
    for device_id in pending.order_by().values_list("device_id", flat=True).distinct():
        begun += device_reboot(device_id=device_id, now=now) is not None
    return begun


@transaction.atomic
def device_reboot(*, device_id: UUID, now: datetime) -> Job | None:
    """A run of ``reboot`` in an open window, for a device whose policy says ``next_window``; None: not now."""
    device = _device(SELF, device_id)
    desk = Desk(devices=[device], now=now)
    terms, (window, _) = desk.terms(device), desk.window(device)
    if terms.reboot != "next_window" or window is None:
        return None
    if (window[1] - now) < timedelta(minutes=terms.warn_minutes + terms.minutes_needed):
        return None
    waiting = Deployment.objects.visible_to(SELF).filter(device=device, state=State.PENDING_REBOOT)
    if waiting.filter(installed_at__gte=window[0]).exists():
        return None  # installed in this very window: the next one restarts it
    jobs = Job.objects.visible_to(SELF).filter(device=device, runbook__slug="reboot", dry_run=False)
    if jobs.filter(Q(state__in=OPEN_STATES) | Q(created_at__gte=window[0])).exists():
        return None
    names = ", ".join(waiting.order_by("name").values_list("name", flat=True)[:5])
    reason = f"updates wait for a reboot: {names}"
    parameters: dict[str, ParameterValue] = {"warn_minutes": terms.warn_minutes, "reason": "Updates were installed."}
    try:
        return runbooks.order_run(
            device=device, slug="reboot", parameters=parameters, because=reason, until=window[1], now=now
        )
    except runbooks.NoOrderError:
        return runbooks.job_prepare(
            scope=SELF, runbook="reboot", device=device, parameters=parameters, reason=reason, until=window[1], now=now
        )


# --- at once ----------------------------------------------------------------------------------------------------


@transaction.atomic
def deploy_now(
    *,
    scope: Scope,
    device: Device,
    now: datetime,
    choose: Choice = "security",
    packages: Iterable[str] = (),
    reason: str = "",
) -> Begun:
    """Install now what a person asks for on a device: no policy, approval or window is needed, a signature is.

    What somebody excluded or deferred, what is held for everyone and what this server cannot install stays out, and
    is in the answer with the cause. NotAllowedError without ``patch.change`` and ``job.prepare`` there; DeployError
    when nothing is left to install, naming the first cause; Device.DoesNotExist when the scope does not see it.
    """
    device = _device(scope, device.pk)
    scope.require(Permission.PATCH_CHANGE, on=device)
    scope.require(Permission.JOB_PREPARE, on=device)
    wanted = list(packages)
    rows = _waiting(device)
    if choose == "chosen" or wanted:
        unknown = [one for one in wanted if not any(_named(row, one) for row in rows)]
        if unknown or not wanted:
            raise DeployError(
                f"package {unknown[0]!r} has no pending update on {device.name}" if unknown else "packages: none"
            )
        rows = [row for row in rows if any(_named(row, one) for one in wanted)]
    elif choose == "security":
        rows = [row for row in rows if row.security]
    rows = [row for row in rows if not _prepared(row)]
    desk = Desk(devices=[device], now=now)
    answers = [(row, desk.answer(row, asked_by=scope.who)) for row in rows]
    ready = [row for row, answer in answers if isinstance(answer, rules.Ready)]
    left = [(row, _words(answer)) for row, answer in answers if not isinstance(answer, rules.Ready)]
    if not ready:
        why = f": {left[0][0].name}: {left[0][1]}" if left else ""
        raise DeployError(f"nothing to install now on {device.name}{why}")
    because = f"{scope.who} installs now" + (f" ({reason.strip()})" if reason.strip() else "")
    begun = _begin(desk=desk, device=device, rows=ready, because=because, until=None, scope=scope, now=now)
    begun.left = left
    if not begun.jobs:
        raise DeployError(f"a run that installs updates is open on {device.name} already")
    return begun


def _named(row: Deployment, wanted: str) -> bool:
    name, _, version = wanted.partition("=")
    return rules.covers(pattern=name, name=row.name) and version in ("", row.candidate)


def _words(answer: rules.Answer) -> str:
    match answer:
        case rules.Blocked(why=why):
            return why
        case rules.Skipped(decided=decided):
            return f"skipped by {decided.by}: {decided.why}"
        case rules.Planned(at=at):
            return f"planned for {at:%Y-%m-%d %H:%M} UTC"
        case rules.Ready():
            return ""


def _device(scope: Scope, device_id: UUID) -> Device:
    devices = Device.objects.visible_to(scope).select_for_update(of=("self",), no_key=True)
    found: Device = devices.select_related("client", "site").get(pk=device_id)
    return found
