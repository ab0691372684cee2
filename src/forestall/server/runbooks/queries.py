"""Reads of roots, runbooks, standing orders and jobs, and what waits for devices."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet

from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.people.scope import Permission, Scope
from forestall.server.runbooks import drafting, rules
from forestall.server.runbooks.models import (
    OPEN_STATES,
    UNDER_WAY,
    AuthorityProposal,
    Job,
    JobState,
    OrderRecord,
    OrderState,
    RevocationRecord,
    RootRecord,
    RunbookDraft,
    RunbookRecord,
)
from forestall.server.runbooks.rules import Reach
from forestall.trust.authorise import operators_needed
from forestall.trust.dsse import decode
from forestall.trust.statements import Invocation, RiskClass, Root, Runbook, StandingOrder, read_statement
from forestall.trust.statements import Job as JobStatement
from forestall.trust.words import describe

_DELIVERY = Scope.system("delivery")
AUTHORITY_ANNOUNCED = timedelta(days=7)
"""How long a new root or revocation goes to every device: as long as a spool lasts. Later it goes with commands."""


class NoAuthorityError(Exception):
    """No root statement is installed yet: nothing can be signed or enrolled."""


# --- root and runbooks: they belong to the installation ---


def authority_is_installed() -> bool:
    """Whether a root statement is installed."""
    return RootRecord.objects.exists()


def root_newest() -> Root:
    """The root statement in force. NoAuthorityError when none is installed."""
    return read_statement(decode(root_envelope()).body(), Root)


def root_envelope() -> bytes:
    """Envelope of the newest root statement. NoAuthorityError when none is installed."""
    newest = RootRecord.objects.order_by("-version").values_list("envelope", flat=True).first()
    if newest is None:
        raise NoAuthorityError("no root statement is installed: run `forestall up`, or install the operator's root")
    return bytes(newest)


def root_key_id() -> str:
    """Key id that enrolment tokens pin: of a key that signed the newest root statement and is in its root role."""
    envelope = decode(root_envelope())
    holders = read_statement(envelope.body(), Root).root.keys
    return sorted(signature.keyid for signature in envelope.signatures if signature.keyid in holders)[0]


def revoked_keys() -> frozenset[str]:
    """Key ids of operators whose signatures count no more."""
    return frozenset(key for keys in RevocationRecord.objects.values_list("keys", flat=True) for key in keys)


def roots(*, scope: Scope) -> QuerySet[RootRecord]:
    """Every version of the root, oldest first. NotAllowedError without ``runbook.view``."""
    scope.require(Permission.RUNBOOK_VIEW)
    return RootRecord.objects.all()


def revocations(*, scope: Scope) -> QuerySet[RevocationRecord]:
    """Every revocation of keys, oldest first. NotAllowedError without ``runbook.view``."""
    scope.require(Permission.RUNBOOK_VIEW)
    return RevocationRecord.objects.all()


def proposals(*, scope: Scope) -> QuerySet[AuthorityProposal]:
    """New roots and revocations of keys, newest first. NotAllowedError without ``authority.change`` everywhere."""
    scope.require_everywhere(Permission.AUTHORITY_CHANGE)
    return AuthorityProposal.objects.all()


def runbooks(*, scope: Scope) -> QuerySet[RunbookRecord]:
    """Every signed runbook, newest version of each slug first. NotAllowedError without ``runbook.view``."""
    scope.require(Permission.RUNBOOK_VIEW)
    return RunbookRecord.objects.all()


def runbook(*, scope: Scope, slug: str) -> RunbookRecord:
    """The newest version of a runbook. RunbookRecord.DoesNotExist when there is none of that name."""
    found = runbooks(scope=scope).filter(slug=slug).order_by("-version").first()
    if found is None:
        raise RunbookRecord.DoesNotExist(f"no runbook is called {slug!r}")
    return found


def runbook_content(record: RunbookRecord) -> Runbook:
    """What a signed runbook says."""
    return read_statement(decode(bytes(record.envelope)).body(), Runbook)


def version_newest(slug: str) -> int:
    """Version of the newest signed runbook of that name; 0 when there is none."""
    found = RunbookRecord.objects.filter(slug=slug).order_by("-version").values_list("version", flat=True).first()
    return found or 0


def drafts(*, scope: Scope) -> QuerySet[RunbookDraft]:
    """Drafts of runbooks, by name. NotAllowedError without ``runbook.change``."""
    scope.require(Permission.RUNBOOK_CHANGE)
    return RunbookDraft.objects.select_related("base").prefetch_related("versions")


def draft(*, scope: Scope, slug: str) -> RunbookDraft:
    """One draft; RunbookDraft.DoesNotExist when there is none of that name."""
    return drafts(scope=scope).get(slug=slug)


def draft_difference(*, draft: RunbookDraft, number: int | None = None) -> list[str]:
    """How a version of a draft (the newest) differs from the signed runbook, as a unified diff."""
    versions = list(draft.versions.all())
    shown = next((one for one in versions if number in (None, one.number)), None)
    signed = RunbookRecord.objects.filter(slug=draft.slug).order_by("-version").first()
    before = "" if signed is None else drafting.pretty(runbook_content(signed))
    try:
        after = "" if shown is None else drafting.pretty(drafting.read_draft(shown.text))
    except ValueError:
        after = "" if shown is None else shown.text  # not a runbook yet: as it was written
    name = "not signed yet" if signed is None else f"signed version {signed.version}"
    return drafting.difference(before, after, names=(name, f"draft {0 if shown is None else shown.number}"))


# --- orders and jobs: they belong to clients ---


def orders(*, scope: Scope) -> QuerySet[OrderRecord]:
    """Standing orders all of whose devices the scope sees, newest first.

    An order that also names a device of a foreign site stays hidden: its text would show that device.
    """
    found: QuerySet[OrderRecord] = OrderRecord.objects.visible_to(scope).select_related("client", "runbook")
    place = scope.place(Permission.RUNBOOK_VIEW)
    if place.sites:
        seen = Q(device__client__in=place.clients) | Q(device__site__in=place.sites)
        partly = OrderRecord.devices.through.objects.exclude(seen).values("orderrecord_id")
        # An order whose devices are all gone from here is the client's own affair.
        found = found.exclude(pk__in=partly).filter(Q(client__in=place.clients) | Q(devices__isnull=False)).distinct()
    return found


def order_content(record: OrderRecord) -> StandingOrder:
    """What a standing order says."""
    return read_statement(decode(bytes(record.envelope)).body(), StandingOrder)


def order_words(*, scope: Scope, order: OrderRecord) -> list[str]:
    """The order in words, made from its signed bytes."""
    names = {str(device.pk): device.name for device in order.devices.visible_to(scope)}
    return describe(order_content(order), runbook=runbook_content(order.runbook), device_names=names)


def jobs(*, scope: Scope) -> QuerySet[Job]:
    """Jobs with their device, client and runbook, newest first."""
    found: QuerySet[Job] = Job.objects.visible_to(scope).select_related("client", "site", "device", "runbook", "order")
    return found


def jobs_awaiting_signature(*, scope: Scope) -> QuerySet[Job]:
    """Jobs that an operator has to sign, oldest first."""
    return jobs(scope=scope).filter(state=JobState.AWAITING_SIGNATURE).order_by("created_at")


def jobs_of_ticket(*, scope: Scope, ticket_id: int) -> QuerySet[Job]:
    """Jobs that were made for a ticket, oldest first."""
    return jobs(scope=scope).filter(ticket_id=ticket_id).order_by("created_at")


def job_words(*, scope: Scope, job: Job) -> list[str]:
    """The job in words, made from the statement that is signed. Job.DoesNotExist when the scope does not see it."""
    job = jobs(scope=scope).get(pk=job.pk)
    body = bytes(job.statement)
    return describe(
        read_statement(body, JobStatement) if job.order_id is None else read_statement(body, Invocation),
        runbook=runbook_content(job.runbook),
        device_names={str(job.device_id): job.device.name},
    )


def job_reach(*, scope: Scope, job: Job, now: datetime) -> Reach:
    """How far the job reaches with the others of its runbook and client, and how many operators that takes.

    Job.DoesNotExist when the scope does not see it. The numbers are of the whole client, sites the scope does not see
    included: a tenth of a client is a tenth of a client.
    """
    job = jobs(scope=scope).get(pk=job.pk)
    return reach_of(
        client_id=job.client_id,
        slug=job.runbook.slug,
        devices=[job.device_id],
        needed=operators_needed(root_newest(), RiskClass(job.runbook.risk)),
        alone=job.dry_run,
        now=now,
    )


def reach_of(
    *,
    client_id: UUID,
    slug: str,
    devices: Collection[UUID],
    needed: int,
    now: datetime,
    standing: bool = False,
    alone: bool = False,
) -> Reach:
    """The reach of one more statement over ``devices``, of those that one operator signed for the same runbook: jobs
    of the last 24 hours, or (``standing``) the standing orders in force.

    ``needed``: operators that its risk class asks for. ``alone``: it counts no others (a dry run changes nothing).
    """
    if standing:
        orders_of = OrderRecord.objects.visible_to(_DELIVERY).filter(client=client_id, runbook__slug=slug)
        given = orders_of.filter(state=OrderState.IN_FORCE).values_list("devices__id", "signed_by")
    else:
        jobs_of = Job.objects.visible_to(_DELIVERY).filter(client=client_id, runbook__slug=slug, order=None)
        given = jobs_of.filter(dry_run=False, queued_at__gt=now - rules.DAY).values_list("device_id", "signed_by")
    others = () if alone else given
    covered = set(devices) | {device for device, signed_by in others if device and len(signed_by) < 2}
    fleet = Device.objects.visible_to(_DELIVERY).filter(client=client_id, status=DeviceStatus.APPROVED).count()
    return rules.reach(covered=len(covered), client_devices=fleet, needed=needed)


def devices_this_hour(*, order: OrderRecord, without: UUID | None = None, now: datetime) -> int:
    """Devices that an order ran on, or was queued for, in the last 60 minutes; ``without``: one that does not count."""
    jobs_of = Job.objects.visible_to(_DELIVERY).filter(order=order, created_at__gt=now - rules.HOUR)
    count: int = (
        jobs_of.exclude(state=JobState.CANCELLED).exclude(device=without).values("device_id").distinct().count()
    )
    return count


def steps_before(job: Job) -> int:
    """The number of the runbook's step that a job's first result is about: a continuation begins in the middle."""
    if job.continues_id is None:
        return 0
    continues = read_statement(bytes(job.statement), JobStatement).continues
    return 0 if continues is None else continues.step


def undoable(job: Job) -> int:
    """How many changes of a job, and of those it continues, its device's undo journal had when it answered.

    Of a run that was cut short nobody knows: 1, so that it can be tried.
    """
    if job.dry_run:
        return 0
    if job.result_code == "interrupted":
        return 1
    count = sum(int(step.get("changed", {}).get("undoable", 0)) for step in job.result_steps)
    if any(
        step.get("part") == "undo" and step.get("ok") and step["action"] == "changes.undo" for step in job.result_steps
    ):
        return 0  # it put everything back by itself
    if job.continues_id is not None:
        count += undoable(Job.objects.visible_to(_DELIVERY).get(pk=job.continues_id))
    return count


def undone_by(job: Job) -> Job | None:
    """The job that put back what this one changed, or is about to; None when there is none."""
    undoing = Job.objects.visible_to(_DELIVERY).filter(
        device=job.device_id, runbook__slug=rules.UNDO_CHANGE, dry_run=False, parameters={"job": str(job.pk)}
    )
    found: Job | None = undoing.filter(state__in=[*OPEN_STATES, JobState.SUCCEEDED]).order_by("-created_at").first()
    return found


def continuation(*, scope: Scope, job: Job) -> Job | None:
    """The newest job that lets this one go on after its approval; None when there is none."""
    return jobs(scope=scope).filter(continues=job).order_by("-created_at").first()


def dry_run_of(*, scope: Scope, job: Job, now: datetime) -> Job | None:
    """The newest dry run of just this (runbook, device, parameters) in the last 24 hours that came to its end."""
    return (
        jobs(scope=scope)
        .filter(
            device=job.device_id,
            runbook=job.runbook_id,
            parameters=job.parameters,
            dry_run=True,
            state=JobState.SUCCEEDED,
            created_at__gt=now - rules.DAY,
        )
        .first()
    )


# --- what waits for devices ---


def deliveries_for(
    *, device_ids: Iterable[UUID], now: datetime | None = None
) -> dict[UUID, tuple[list[bytes], list[bytes]]]:
    """Device id → (commands by rising counter, documents they rest on), for the devices with something waiting.

    Roots and revocations of keys go first, with everything that waits, and to every device for a week after a change.
    Commands are delivered until their result is here: a reply may be lost, and the device runs each only once. Asked
    every second for all devices, so its cost follows the commands that are open, not the devices.
    """
    wanted = set(device_ids)
    waiting: dict[UUID, tuple[list[bytes], list[bytes]]] = {}
    authority, news = _authority(now or datetime.now(UTC))
    if news:
        waiting = {device_id: ([], list(authority)) for device_id in wanted}
    open_jobs = (
        Job.objects.visible_to(_DELIVERY)
        .filter(state__in=UNDER_WAY)
        .order_by("device_id", "counter")
        .values_list("device_id", "envelope", "runbook__envelope", "order__envelope")
    )
    for device_id, envelope, runbook_envelope, order_envelope in open_jobs:
        if device_id not in wanted:
            continue
        commands, documents = waiting.setdefault(device_id, ([], list(authority)))
        commands.append(bytes(envelope))
        _add(documents, runbook_envelope, order_envelope)
    announced = (
        OrderRecord.objects.visible_to(_DELIVERY)
        .filter(announced=True)
        .values_list("devices__id", "state", "envelope", "revocation", "runbook__envelope")
    )
    for device_id, state, envelope, revocation, runbook_envelope in announced:
        if device_id not in wanted:
            continue
        _, documents = waiting.setdefault(device_id, ([], list(authority)))
        if state == OrderState.REVOKED:
            _add(documents, revocation)
        else:
            _add(documents, runbook_envelope, envelope)
    return waiting


def _authority(now: datetime) -> tuple[list[bytes], bool]:
    """Roots and revocations of keys, and whether there is one lately that every device has to hear of."""
    # The whole chain, oldest first: a device that was away follows it step by step. Revocations are for ever.
    chain = list(RootRecord.objects.values_list("envelope", "installed_at"))
    ended = list(RevocationRecord.objects.values_list("envelope", "installed_at"))
    # Not of the first root: devices pin that one when they enrol.
    news = any(installed_at > now - AUTHORITY_ANNOUNCED for _, installed_at in [*chain[1:], *ended])
    return [bytes(envelope) for envelope, _ in [*chain, *ended]], news


def _add(documents: list[bytes], *envelopes: bytes | None) -> None:
    for envelope in envelopes:
        if envelope is not None and bytes(envelope) not in documents:
            documents.append(bytes(envelope))
