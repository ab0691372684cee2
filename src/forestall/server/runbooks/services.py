"""Changes of authority documents and jobs. Every one writes its evidence in the same transaction.

The server passes on what operators signed. It checks what it passes on, so that a mistake shows early, but it cannot
make a command: a job without an operator's signature never leaves ``awaiting signature``, and what stands in the
database is never what a device goes by.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID, uuid4

import msgspec
from django.db import transaction
from django.db.models import Max, Q

from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.models import Check
from forestall.server.evidence.forked import device_word_append
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.models import Entry
from forestall.server.evidence.services import evidence_append
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.outbox.events import Event
from forestall.server.outbox.services import event_record
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope
from forestall.server.runbooks import queries, rules
from forestall.server.runbooks.models import (
    OPEN_STATES,
    AuthorityProposal,
    Job,
    JobEvent,
    JobState,
    OrderRecord,
    OrderState,
    ProposalState,
    RevocationRecord,
    RootRecord,
    RunbookRecord,
)
from forestall.server.tickets import queries as tickets
from forestall.server.tickets.models import Ticket
from forestall.server.tickets.services import ticket_note_job
from forestall.trust import authorise, words
from forestall.trust.authorise import Refused, RefusedBecause
from forestall.trust.dsse import EnvelopeError, decode, merge, signers
from forestall.trust.keys import key_id
from forestall.trust.sign import wrap_invocation
from forestall.trust.statements import (
    Continuation,
    Invocation,
    JobResult,
    ParameterValue,
    Revocation,
    RiskClass,
    Root,
    Runbook,
    StandingOrder,
    plain,
    read_statement,
    result_digest,
    statement_bytes,
    statement_digest,
)
from forestall.trust.statements import Job as JobStatement

log = logging.getLogger(__name__)

PATCHING = words.PATCHING
"""Trigger of standing orders that patch policies run under."""
RESTORE_TEST = words.RESTORE_TEST
"""Trigger of standing orders that restore tests of protected systems run under."""
_LOOP = Scope.system("standing orders")
RETRY_AFTER = timedelta(minutes=30)
"""Between two runs for one ticket under standing orders."""
_INTAKE = Scope.system("intake")
_CLOCK = Scope.system("worker")
_AUTHORITY = Scope.system("authority")


class RunbooksError(ValueError):
    """Something that cannot be done with a job, order or runbook; the message names the bad value and what to do."""


class RefusedError(RunbooksError):
    """A device would refuse it: said here already. ``because`` is the device's own code."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(f"{refusal.sentence} ({refusal.because})")
        self.because = refusal.because


class StatementChangedError(RunbooksError):
    """What was signed is not what is prepared (any more): read it again, sign again."""


class NoOrderError(RunbooksError):
    """No standing order allows this run; the message says what is missing."""


class ResultRefusedError(RunbooksError):
    """A result that this device may not report."""


class Bundle(Protocol):
    """What the operator's folder gives to the server (``runbooks.operator.OperatorBundle``)."""

    @property
    def root(self) -> bytes: ...
    @property
    def runbooks(self) -> tuple[bytes, ...]: ...


# --- root and runbooks ------------------------------------------------------------------------------------------


@transaction.atomic
def authority_install(*, bundle: Bundle, now: datetime, scope: Scope | None = None) -> None:
    """Install a root and its runbooks; what is installed already stays. RunbooksError for another root's bundle."""
    scope = scope or Scope.system("forestall up")
    root_install(scope=scope, envelope=bundle.root, now=now)
    for envelope in bundle.runbooks:
        runbook_publish(scope=scope, envelope=envelope, now=now)
    _on_every_record(now)


@transaction.atomic
def root_install(*, scope: Scope, envelope: bytes, now: datetime) -> RootRecord:
    """Install the first root, or the next version signed by the keys of both."""
    scope.require_everywhere(Permission.AUTHORITY_CHANGE)
    try:
        claimed = read_statement(decode(envelope).body(), Root)
    except ValueError as error:
        raise RunbooksError(f"not a root statement: {error}") from None
    known = RootRecord.objects.filter(digest=statement_digest(claimed)).first()
    if known is not None:
        return known
    gone = sorted(queries.revoked_keys() & set(claimed.operator.keys))
    if gone:
        raise RunbooksError(f"the operator's key {gone[0][:16]} was revoked for good: leave it out of the new root")
    current = queries.root_newest() if queries.authority_is_installed() else None
    holders = [signature.keyid for signature in decode(envelope).signatures if signature.keyid in claimed.root.keys]
    try:
        # The first root is pinned by being installed first, by whoever runs this machine; devices pin it themselves.
        root = authorise.accept_root(current=current, pinned_key_id=(holders or [""])[0], envelope=envelope, now=now)
    except Refused as refusal:
        raise RefusedError(refusal) from None
    record = RootRecord.objects.create(
        version=root.version,
        digest=statement_digest(root),
        envelope=envelope,
        installed_at=now,
        installed_by=scope.who,
        expires_at=root.expires_at,
    )
    _on_every_record(now)
    if current is not None:
        _drop_what_no_longer_holds(now, "the root that names its operators was replaced")
    return record


@transaction.atomic
def keys_revoke(*, scope: Scope, envelope: bytes, now: datetime) -> RevocationRecord:
    """End operators' keys for good by a revocation that the root role signed. The same again changes nothing.

    What they alone had signed and no device has begun is cancelled, their standing orders end, and every device is
    told.
    """
    scope.require_everywhere(Permission.AUTHORITY_CHANGE)
    try:
        revocation = authorise.read_revocation(root=queries.root_newest(), envelope=envelope)
    except Refused as refusal:
        raise RefusedError(refusal) from None
    if not revocation.keys or revocation.orders:
        raise RunbooksError("a revocation of keys names keys, and no standing orders: those are revoked by themselves")
    digest = statement_digest(revocation)
    known = RevocationRecord.objects.filter(digest=digest).first()
    if known is not None:
        return known
    record = RevocationRecord.objects.create(
        digest=digest,
        envelope=envelope,
        keys=list(revocation.keys),
        reason=revocation.reason,
        installed_at=now,
        installed_by=scope.who,
    )
    for client in Client.objects.visible_to(_AUTHORITY).order_by("pk"):
        payload = {"keys": record.keys, "reason": revocation.reason, "digest": digest, "by": scope.who}
        evidence_append(client=client, kind=EvidenceKind.KEY_REVOKED, payload=payload, now=now)
    _drop_what_no_longer_holds(now, "an operator's key was revoked")
    return record


@transaction.atomic
def authority_submit(*, scope: Scope, envelope: bytes, now: datetime) -> AuthorityProposal:
    """Take a new root or a revocation of keys, signed by some holders of root keys; in force once enough have signed.

    RunbooksError when it is neither, or signed by nobody it concerns; RefusedError when it cannot come into force
    whoever signs.
    """
    scope.require_everywhere(Permission.AUTHORITY_CHANGE)
    try:
        decoded = decode(envelope)
        kind = {Root.PAYLOAD_TYPE: "root", Revocation.PAYLOAD_TYPE: "revocation"}.get(decoded.payloadType)
        if kind is None:
            raise RunbooksError(f"{decoded.payloadType!r} is neither a root nor a revocation")
        body = decoded.body()
        statement: Root | Revocation = (
            read_statement(body, Root) if kind == "root" else read_statement(body, Revocation)
        )
    except ValueError as error:
        raise RunbooksError(f"not a signed root or revocation: {error}") from None
    digest = statement_digest(statement)
    expected = queries.root_newest().version + 1
    known = RootRecord.objects.filter(digest=digest).exists()
    if isinstance(statement, Root) and statement.version != expected and not known:
        raise RunbooksError(f"root version {statement.version}, expected {expected}: propose it anew from the newest")
    found = AuthorityProposal.objects.select_for_update(of=("self",)).filter(digest=digest).first()
    if found is not None and found.state != ProposalState.WAITING:
        return found
    if found is not None:
        envelope = merge(envelope, bytes(found.envelope))
    envelope = _only_by(envelope, statement)
    proposal = found or AuthorityProposal(kind=kind, digest=digest, proposed_at=now, proposed_by=scope.who)
    proposal.envelope, proposal.changed_at, proposal.changed_by = envelope, now, scope.who
    install = root_install if kind == "root" else keys_revoke
    try:
        with transaction.atomic():
            install(scope=scope, envelope=envelope, now=now)
        proposal.state, proposal.missing = ProposalState.INSTALLED, ""
    except RefusedError as refusal:
        if refusal.because is not RefusedBecause.SIGNATURES_MISSING:
            raise
        proposal.missing = str(refusal)
    proposal.save()
    if kind == "root" and proposal.state == ProposalState.INSTALLED:
        others = AuthorityProposal.objects.filter(kind="root", state=ProposalState.WAITING)
        others.update(state=ProposalState.SUPERSEDED, changed_at=now, changed_by=scope.who)
    return proposal


@transaction.atomic
def proposal_withdraw(*, scope: Scope, digest: str, now: datetime) -> AuthorityProposal:
    """Take a proposal off the table. AuthorityProposal.DoesNotExist, or RunbooksError when it waits no more."""
    scope.require_everywhere(Permission.AUTHORITY_CHANGE)
    proposal = AuthorityProposal.objects.select_for_update(of=("self",)).get(digest=digest)
    if proposal.state != ProposalState.WAITING:
        raise RunbooksError(f"the proposal is {proposal.get_state_display()}: it cannot be withdrawn")
    proposal.state, proposal.changed_at, proposal.changed_by = ProposalState.WITHDRAWN, now, scope.who
    proposal.save()
    return proposal


def _only_by(envelope: bytes, statement: Root | Revocation) -> bytes:
    """The envelope with the valid signatures of root keys alone, old and new. RunbooksError when there is none."""
    root = queries.root_newest()
    named = {**root.root.keys, **(statement.root.keys if isinstance(statement, Root) else {})}
    try:
        keys = {identifier: bytes.fromhex(public) for identifier, public in named.items()}
    except ValueError as error:
        raise RunbooksError(f"the root role names a key that is not hex: {error}") from None
    _, signed_by = signers(envelope, statement.PAYLOAD_TYPE, keys)
    if not signed_by:
        raise RunbooksError("no holder of a root key has signed it")
    decoded = decode(envelope)
    kept = {signature.keyid: signature for signature in decoded.signatures if signature.keyid in signed_by}
    held = msgspec.structs.replace(decoded, signatures=tuple(kept[identifier] for identifier in sorted(kept)))
    return msgspec.json.encode(held, order="deterministic")


def _drop_what_no_longer_holds(now: datetime, why: str) -> None:
    """Cancel commands and end orders that devices would refuse from now on, and void signatures that count no more."""
    root, revoked = queries.root_newest(), queries.revoked_keys()
    counted = frozenset(root.operator.keys) - revoked
    for order in OrderRecord.objects.visible_to(_AUTHORITY).filter(state=OrderState.IN_FORCE).select_related("client"):
        try:
            authorise.authorise_order(
                root=root,
                runbooks=_runbooks(order.runbook),
                envelope=bytes(order.envelope),
                situation=_situation_of(order, now),
            )
        except Refused as refusal:
            order.state, order.announced = OrderState.REVOKED, False
            order.revoked_at, order.revoked_by = now, why
            order.save()
            payload = {"digest": order.digest, "reason": f"{why}: {refusal.sentence}", "by": _AUTHORITY.who}
            evidence_append(client=order.client, kind=EvidenceKind.ORDER_REVOKED, payload=payload, now=now)
            for job in Job.objects.visible_to(_AUTHORITY).filter(order=order, state=JobState.QUEUED):
                job_cancel(job=job, scope=_AUTHORITY, reason=why, now=now)
    waiting = Job.objects.visible_to(_AUTHORITY).filter(
        order=None, state__in=[JobState.QUEUED, JobState.AWAITING_SIGNATURE]
    )
    for job in waiting.select_related("device", "runbook"):
        if not set(job.signed_by) - counted:
            continue
        enough = authorise.operators_needed(root, RiskClass(job.runbook.risk))
        if job.state == JobState.QUEUED and len(counted & set(job.signed_by)) >= enough:
            continue
        if job.state == JobState.QUEUED:
            job_cancel(job=job, scope=_AUTHORITY, reason=why, now=now)
        else:
            job.envelope, job.signed_by = b"", []
            job.save(update_fields=["envelope", "signed_by"])
            _event(job, what="changed", actor=_AUTHORITY.who, text=f"Its signatures are void: {why}.", now=now)


def _situation_of(order: OrderRecord, now: datetime) -> authorise.Situation:
    statement = queries.order_content(order)
    return authorise.Situation(
        device_id=statement.devices[0],
        client_id=statement.client_id,
        now=now,
        local=now,
        last_counter=0,
        revoked_keys=queries.revoked_keys(),
    )


@transaction.atomic
def runbook_publish(*, scope: Scope, envelope: bytes, now: datetime) -> RunbookRecord:
    """Publish a runbook that the catalogue role signed. The same again changes nothing."""
    scope.require_everywhere(Permission.AUTHORITY_CHANGE)
    try:
        runbook, digest = authorise.read_runbook(root=queries.root_newest(), envelope=envelope)
    except Refused as refusal:
        raise RefusedError(refusal) from None
    known = RunbookRecord.objects.filter(digest=digest).first()
    if known is not None:
        return known
    if RunbookRecord.objects.filter(slug=runbook.slug, version=runbook.version).exists():
        raise RunbooksError(f"runbook {runbook.slug} version {runbook.version} exists with another content")
    record = RunbookRecord.objects.create(
        slug=runbook.slug,
        version=runbook.version,
        digest=digest,
        envelope=envelope,
        title=runbook.title,
        risk=runbook.risk,
        published_at=now,
        published_by=scope.who,
    )
    _on_every_record(now)
    from forestall.server.runbooks.draft_services import drafts_signed  # it uses this module's errors

    drafts_signed(runbook=runbook, now=now)
    return record


def _on_every_record(now: datetime) -> None:
    for client in Client.objects.visible_to(_AUTHORITY).order_by("pk"):
        _on_record(client, now)


def _on_record(client: Client, now: datetime) -> None:
    """Write roots and runbooks that a client's log does not have yet into it.

    A client that comes later gets them before the first act that rests on them: its log alone says who may sign what.
    """
    kinds = (EvidenceKind.ROOT_INSTALLED, EvidenceKind.RUNBOOK_PUBLISHED)
    known = "".join(
        Entry.objects.visible_to(_AUTHORITY).filter(client=client, kind__in=kinds).values_list("content", flat=True)
    )
    for root in RootRecord.objects.order_by("version"):
        if root.digest in known:
            continue
        content = read_statement(decode(bytes(root.envelope)).body(), Root)
        payload: dict[str, Any] = {
            "version": root.version,
            "digest": root.digest,
            "root_keys": sorted(content.root.keys),
            "operator_keys": sorted(content.operator.keys),
            "catalogue_keys": sorted(content.catalogue.keys),
            "limits": msgspec.to_builtins(content.limits),
            "single_signature_devices": content.single_signature_devices,
            "expires_at": root.expires_at,
            "by": root.installed_by,
        }
        evidence_append(client=client, kind=EvidenceKind.ROOT_INSTALLED, payload=payload, now=now)
    for runbook in RunbookRecord.objects.order_by("slug", "version"):
        if runbook.digest in known:
            continue
        payload = {
            "slug": runbook.slug,
            "version": runbook.version,
            "digest": runbook.digest,
            "risk": runbook.risk,
            "by": runbook.published_by,
        }
        evidence_append(client=client, kind=EvidenceKind.RUNBOOK_PUBLISHED, payload=payload, now=now)


# --- jobs -------------------------------------------------------------------------------------------------------


@transaction.atomic
def job_prepare(
    *,
    scope: Scope,
    runbook: RunbookRecord | str,
    device: Device,
    parameters: Mapping[str, ParameterValue],
    reason: str,
    ticket_id: int | None = None,
    dry_run: bool = False,
    until: datetime | None = None,
    now: datetime,
) -> Job:
    """Prepare a job for an operator to sign. ``runbook``: a version of one, or the slug of the newest.

    ``dry_run``: it only says what it would do, and needs the same signatures. ``until``: it expires then already, as
    what belongs into a maintenance window does.

    RefusedError when the device would refuse it (parameters), RunbooksError for a device that takes no jobs, an empty
    reason, or the same job open already; DoesNotExist when the scope does not see the device or the ticket.
    """
    # The device's row is the lock: the same job is not prepared twice at once, nor one while the device is revoked.
    devices = Device.objects.visible_to(scope).select_for_update(of=("self",), no_key=True)
    device = devices.select_related("client", "site").get(pk=device.pk)
    scope.require(Permission.JOB_PREPARE, on=device)
    _require_able(device)
    if isinstance(runbook, str):
        runbook = queries.runbook(scope=scope, slug=runbook)
    if not reason.strip():
        raise RunbooksError("reason: empty; say why this is to be done")
    if ticket_id is not None and tickets.ticket(scope=scope, number=ticket_id).device_id != device.pk:
        raise RunbooksError(f"ticket {ticket_id} is about another device than {device.name}")
    _require_parameters(queries.runbook_content(runbook), parameters)
    _require_not_open(device, runbook, parameters, dry_run=dry_run)
    job_id = uuid4()
    counter = _next_counter(device)
    statement = _job_statement(
        job_id=job_id,
        device=device,
        runbook=runbook,
        parameters=parameters,
        reason=reason,
        counter=counter,
        dry_run=dry_run,
        until=until,
        now=now,
    )
    job: Job = Job.objects.create(
        id=job_id,
        client=device.client,
        site=device.site,
        device=device,
        runbook=runbook,
        ticket_id=ticket_id,
        parameters=dict(parameters),
        dry_run=dry_run,
        reason=reason,
        state=JobState.AWAITING_SIGNATURE,
        counter=counter,
        statement=statement_bytes(statement),
        created_at=now,
        created_by=scope.who,
        expires_at=statement.expires_at,
    )
    _event(job, what="prepared", actor=scope.who, text="Prepared; waits for an operator's signature.", now=now)
    return job


@transaction.atomic
def job_change(*, job: Job, scope: Scope, parameters: Mapping[str, ParameterValue], reason: str, now: datetime) -> Job:
    """Change a job that nobody has signed yet. Signatures over what it was no longer fit."""
    job = _locked(job, scope)
    scope.require(Permission.JOB_PREPARE, on=job)
    if job.state != JobState.AWAITING_SIGNATURE:
        raise RunbooksError(f"job {job.pk} is {job.get_state_display()}: only an unsigned job can be changed")
    if job.continues_id is not None and dict(parameters) != job.parameters:
        raise RunbooksError(f"job {job.pk} approves one that stopped: its parameters cannot be others")
    if not reason.strip():
        raise RunbooksError("reason: empty; say why this is to be done")
    _require_parameters(queries.runbook_content(job.runbook), parameters)
    job.parameters, job.reason = dict(parameters), reason
    _restate(job, now)
    _event(job, what="changed", actor=scope.who, text="Changed before it was signed.", now=now)
    return job


@transaction.atomic
def job_cancel(*, job: Job, scope: Scope, now: datetime, reason: str = "") -> Job:
    """Take back a job that has not been delivered. RunbooksError when it is too late."""
    job = _locked(job, scope)
    scope.require(Permission.JOB_PREPARE, on=job)
    if job.state not in (JobState.AWAITING_SIGNATURE, JobState.QUEUED):
        raise RunbooksError(f"job {job.pk} is {job.get_state_display()}: it can no longer be cancelled")
    was = job.state
    job.state, job.finished_at = JobState.CANCELLED, now
    job.save(update_fields=["state", "finished_at"])
    _tell(
        job, what=JobState.CANCELLED, actor=scope.who, text=f"Cancelled: {reason}" if reason else "Cancelled.", now=now
    )
    if job.continues_id is not None and was == JobState.AWAITING_SIGNATURE:
        declined = (
            f"The approval was declined{f': {reason}' if reason else ''}. It does not go on; what it changed stays."
        )
        _move_stopped(job, JobState.CANCELLED, text=declined, actor=scope.who, now=now)
    elif job.continues_id is not None:
        _move_stopped(job, JobState.AWAITING_APPROVAL, text="Its approval was taken back.", actor=scope.who, now=now)
    return job


@transaction.atomic
def job_submit_signed(*, scope: Scope, envelope: bytes, now: datetime) -> Job:
    """Queue a job that operators signed; with too few signatures yet, keep them and wait for the others'.

    StatementChangedError when what was signed is not what is prepared; RefusedError when the device would refuse it;
    Job.DoesNotExist when the scope sees no such job.
    """
    try:
        decoded = decode(envelope)
        statement = read_statement(decoded.body(), JobStatement)
        job_id = UUID(statement.job_id)
    except ValueError as error:
        raise RunbooksError(f"not a signed job: {error}") from None
    job = _locked(Job(pk=job_id), scope)
    scope.require(Permission.JOB_PREPARE, on=job)
    if job.state != JobState.AWAITING_SIGNATURE:
        raise RunbooksError(f"job {job.pk} is {job.get_state_display()}: it takes no signature")
    if decoded.body() != bytes(job.statement):
        raise StatementChangedError(
            f"job {job.pk} was changed or numbered anew after it was read for signing: read it again and sign that"
        )
    if job.envelope:
        envelope = merge(envelope, bytes(job.envelope))
    root = queries.root_newest()
    _asked(authorise.operators_needed, root, statement.risk, len(statement.devices))
    reach = queries.job_reach(scope=_LOOP, job=job, now=now)
    operators = {identifier: bytes.fromhex(public) for identifier, public in root.operator.keys.items()}
    _, signed_by = signers(envelope, JobStatement.PAYLOAD_TYPE, operators)
    counted = authorise.operators_counted(
        root=root,
        signed_by=signed_by,
        risk=statement.risk,
        client_id=statement.client_id,
        devices=len(statement.devices),
        revoked_keys=queries.revoked_keys(),
    )
    if 0 < len(counted) < reach.needed:
        job.envelope, job.signed_by = envelope, sorted(counted)
        job.save(update_fields=["envelope", "signed_by"])
        text = f"{len(counted)} of {reach.needed} operators have signed{_wide(reach)}."
        _event(job, what="signed", actor=scope.who, text=text, now=now)
        return job
    authorised = _authorised_job(job, envelope, now)
    job.envelope, job.signed_by = envelope, sorted(authorised.signers)
    job.state, job.queued_at = JobState.QUEUED, now
    job.save(update_fields=["envelope", "signed_by", "state", "queued_at"])
    _on_record(job.client, now)
    _evidence(
        job,
        EvidenceKind.JOB_QUEUED,
        {"signed_by": job.signed_by, "statement": _plain_statement(statement), "by": scope.who},
        now,
    )
    by = "an operator" if len(job.signed_by) == 1 else f"{len(job.signed_by)} operators"
    text = f"{job.runbook.title} on {job.device.name}: signed by {by} ({_short(job.signed_by)}) and queued."
    _tell(job, what=JobState.QUEUED, actor=scope.who, text=text, now=now)
    if job.continues_id is not None:
        _move_stopped(job, JobState.CONTINUED, text="Approved: it goes on.", actor=scope.who, now=now)
    _renumber_behind(job, now)
    return job


@transaction.atomic
def job_delivered(*, job_id: str | UUID, device: Device, now: datetime) -> None:
    """Note that a job went to its device. A job that is not queued (delivered before, answered meanwhile): nothing."""
    jobs = Job.objects.visible_to(_INTAKE).filter(pk=job_id, device=device, state=JobState.QUEUED)
    if jobs.update(state=JobState.DELIVERED, delivered_at=now) != 1:
        return
    job = Job.objects.visible_to(_INTAKE).select_related("client", "device", "runbook").get(pk=job_id)
    _evidence(job, EvidenceKind.JOB_DELIVERED, {"counter": job.counter}, now)
    _tell(job, what=JobState.DELIVERED, actor="intake", text=f"Delivered to {job.device.name}.", now=now)


@transaction.atomic
def job_result_receive(*, device: Device, envelope: bytes, now: datetime) -> Job | None:
    """Take a device's signed answer to a command. None when it answers a command this server never gave.

    Such a refusal goes on record too: somebody tried. A second answer to a job that has one changes nothing.
    ResultRefusedError when the device did not sign it or it is about another device or client.
    """
    public_key = bytes(device.public_key)
    try:
        body, signed_by = signers(envelope, JobResult.PAYLOAD_TYPE, {key_id(public_key): public_key})
        result = read_statement(body, JobResult)
    except (EnvelopeError, ValueError) as error:
        raise ResultRefusedError(f"not a job result: {error}") from None
    if not signed_by:
        raise ResultRefusedError(f"the result of job {result.job_id} is not signed by {device.name}")
    if (result.device_id, result.client_id) != (str(device.pk), str(device.client_id)):
        raise ResultRefusedError(f"{device.name} reports on device {result.device_id} of client {result.client_id}")
    job = _job_of_result(device, result)
    if job is not None and job.result_envelope:
        return job
    entry = device_word_append(
        client=device.client,
        kind=EvidenceKind.JOB_RESULT,
        payload={
            "outcome": result.outcome,
            "code": result.code,
            "detail": result.detail,
            "runbook": result.runbook,
            "known": job is not None,
        },
        now=now,
        device_id=device.pk,
        site_id=device.site_id,
        ticket_id=None if job is None else job.ticket_id,
        job_id=result.job_id,
        envelope=envelope,
        signer=public_key,
    )
    if job is None:
        log.warning("device %s answered %s to an unknown command %r", device.pk, result.code, result.job_id)
        return None
    job.state = JobState(result.outcome)
    job.started_at, job.finished_at = result.started_at, result.finished_at
    job.result_code, job.result_detail = result.code, result.detail
    job.result_steps = [msgspec.to_builtins(step) for step in result.steps]
    job.result_envelope, job.evidence_reference = envelope, entry.reference
    job.save()
    said = {
        "succeeded": "Succeeded",
        "failed": "Failed",
        "refused": "Refused",
        "awaiting_approval": "Stopped for an approval",
    }[result.outcome]
    said = f"Dry run: {said.lower()}" if job.dry_run else said
    code = "" if result.outcome == "succeeded" else f" ({result.code})"
    _tell(
        job,
        what=job.state,
        actor=device.name,
        text=f"{said} on {device.name}{code}: {result.detail or 'no details'}",
        now=now,
        reference=entry.reference,
    )
    if result.outcome == "awaiting_approval":
        _continuation_prepare(job, scope=_INTAKE, now=now)
        return job
    if result.outcome == "refused" and job.continues_id is not None:
        text = f"The device refused the approval: {result.detail}"
        _move_stopped(job, JobState.AWAITING_APPROVAL, text=text, actor=device.name, now=now)
    event_record(event=Event.JOB_FINISHED, subject=job.pk, at=now, detail=_finished(job))
    return job


def _job_of_result(device: Device, result: JobResult) -> Job | None:
    try:
        job_id = UUID(result.job_id)
    except ValueError:
        return None
    found = Job.objects.visible_to(_INTAKE).select_for_update(of=("self",)).filter(pk=job_id, device=device)
    job: Job | None = found.select_related("client", "site", "device", "runbook", "order").first()
    # An answer about a job that was never signed is no answer to it: the device saw a forgery under its id.
    return job if job is not None and job.queued_at is not None else None


@transaction.atomic
def jobs_expire(*, now: datetime) -> int:
    """Give up jobs whose time is over, end expired orders, and stop announcing documents; how many jobs.

    A delivered job may still be running at its expiry; it is given up only when its answer is overdue, and even then
    a late answer counts.
    """
    over = Q(state__in=[JobState.AWAITING_SIGNATURE, JobState.QUEUED], expires_at__lte=now) | Q(
        state=JobState.DELIVERED, expires_at__lte=now - rules.ANSWER_GRACE
    )
    expired = 0
    due = Job.objects.visible_to(_CLOCK).filter(over).order_by("pk").values_list("pk", "state")
    for pk, state in list(due):
        jobs = Job.objects.visible_to(_CLOCK).filter(pk=pk, state=state)
        if jobs.update(state=JobState.EXPIRED, finished_at=now) != 1:
            continue  # answered meanwhile
        job = Job.objects.visible_to(_CLOCK).select_related("client", "device", "runbook").get(pk=pk)
        text = {
            JobState.AWAITING_SIGNATURE: "Expired: no operator signed it in time.",
            JobState.QUEUED: f"Expired: {job.device.name} did not check in in time.",
            JobState.DELIVERED: f"Expired: {job.device.name} has not answered.",
        }[JobState(state)]
        _evidence(job, EvidenceKind.JOB_EXPIRED, {"was": state}, now)
        _tell(job, what=JobState.EXPIRED, actor="worker", text=text, now=now)
        if job.continues_id is not None:
            _move_stopped(job, JobState.AWAITING_APPROVAL, text="No approval came in time.", actor="worker", now=now)
        event_record(event=Event.JOB_FINISHED, subject=job.pk, at=now, detail=_finished(job))
        expired += 1
    orders = OrderRecord.objects.visible_to(_CLOCK)
    orders.filter(state=OrderState.IN_FORCE, expires_at__lte=now).update(state=OrderState.EXPIRED)
    settled = Q(expires_at__lte=now) | Q(state=OrderState.IN_FORCE, installed_at__lte=now - rules.ANNOUNCED)
    orders.filter(settled, announced=True).update(announced=False)
    return expired


# --- approvals and undoing ---------------------------------------------------------------------------------------


@transaction.atomic
def job_continue(*, job: Job, scope: Scope, now: datetime) -> Job:
    """Prepare the approval of a job that stopped for one, again: the first was prepared by itself, and has expired.

    RunbooksError when it does not wait for one, one is prepared already, or it stopped too long ago.
    """
    job = _locked(job, scope)
    scope.require(Permission.JOB_PREPARE, on=job)
    if job.state != JobState.AWAITING_APPROVAL:
        raise RunbooksError(f"job {job.pk} is {job.get_state_display()}: it does not wait for an approval")
    waiting = Job.objects.visible_to(_LOOP).filter(continues=job, state__in=OPEN_STATES).first()
    if waiting is not None:
        raise RunbooksError(f"its approval is {waiting.get_state_display()} already: job {waiting.pk}")
    if job.finished_at is not None and now - job.finished_at > authorise.MAX_APPROVAL_WAIT:
        raise RunbooksError(
            f"it stopped at {job.finished_at:%Y-%m-%d %H:%M} UTC, more than {authorise.MAX_APPROVAL_WAIT.days} days "
            "ago: the device has forgotten it; prepare the job anew"
        )
    return _continuation_prepare(job, scope=scope, now=now)


def _continuation_prepare(stopped: Job, *, scope: Scope, now: datetime) -> Job:
    """The job that lets a stopped one go on, for an operator to sign: prepared at once, so that nobody has to know."""
    device = Device.objects.visible_to(_LOOP).select_for_update(of=("self",), no_key=True).get(pk=stopped.device_id)
    result = read_statement(decode(bytes(stopped.result_envelope)).body(), JobResult)
    step = queries.steps_before(stopped) + len(result.steps) - 1
    continues = Continuation(job=str(stopped.pk), step=step, result=result_digest(result))
    runbook = queries.runbook_content(stopped.runbook)
    asked = runbook.steps[step].approval if 0 <= step < len(runbook.steps) else msgspec.UNSET
    if asked is msgspec.UNSET or stopped.dry_run:
        raise ResultRefusedError(f"job {stopped.pk} says that it waits before step {step + 1}, which asks for nothing")
    job_id, counter = uuid4(), _next_counter(device)
    reason = f"Approve: {asked}"
    statement = _job_statement(
        job_id=job_id,
        device=device,
        runbook=stopped.runbook,
        parameters=stopped.parameters,
        reason=reason,
        counter=counter,
        dry_run=False,
        continues=continues,
        now=now,
    )
    job: Job = Job.objects.create(
        id=job_id,
        client=stopped.client,
        site=stopped.site,
        device=device,
        runbook=stopped.runbook,
        continues=stopped,
        ticket_id=stopped.ticket_id,
        parameters=stopped.parameters,
        reason=reason,
        state=JobState.AWAITING_SIGNATURE,
        counter=counter,
        statement=statement_bytes(statement),
        created_at=now,
        created_by=scope.who,
        expires_at=statement.expires_at,
    )
    text = f"{stopped.runbook.title} on {device.name} waits for an operator's approval: {asked}"
    _tell(job, what="prepared", actor=scope.who, text=text, now=now)
    return job


def _move_stopped(continuation: Job, state: JobState, *, text: str, actor: str, now: datetime) -> None:
    """Note on the job that stopped what became of its approval."""
    stopped = Job.objects.visible_to(_LOOP).get(pk=continuation.continues_id)
    stopped.state = state
    stopped.save(update_fields=["state"])
    _event(stopped, what=state, actor=actor, text=text, now=now)


@transaction.atomic
def job_undo_prepare(*, job: Job, scope: Scope, reason: str, now: datetime) -> Job:
    """Prepare the job that puts back what another changed, for an operator to sign.

    RunbooksError when the device's undo journal has nothing of it, it was undone already, or it still goes on.
    """
    job = _locked(job, scope)
    scope.require(Permission.JOB_PREPARE, on=job)
    if job.is_open:
        raise RunbooksError(f"job {job.pk} is {job.get_state_display()}: it can be undone once it has ended")
    if queries.undoable(job) == 0:
        raise RunbooksError(f"nothing that job {job.pk} changed is in its device's undo journal")
    undone = queries.undone_by(job)
    if undone is not None:
        raise RunbooksError(f"job {job.pk} was undone already, by job {undone.pk}")
    return job_prepare(
        scope=scope,
        runbook=rules.UNDO_CHANGE,
        device=job.device,
        parameters={"job": str(job.pk)},
        reason=reason,
        ticket_id=job.ticket_id,
        now=now,
    )


# --- standing orders --------------------------------------------------------------------------------------------


@transaction.atomic
def order_install(*, scope: Scope, envelope: bytes, now: datetime) -> OrderRecord:
    """Take a signed standing order into use. The same again changes nothing.

    RefusedError when a device it names would refuse it; RunbooksError when it names a device the scope does not see.
    """
    scope.require(Permission.JOB_PREPARE)
    try:
        order = read_statement(decode(envelope).body(), StandingOrder)
        order_id, named = UUID(order.order_id), [UUID(device) for device in order.devices]
    except ValueError as error:
        raise RunbooksError(f"not a signed standing order: {error}") from None
    if order.trigger not in CHECK_KINDS and order.trigger not in words.WHEN:
        known_kinds = ", ".join([*words.WHEN, *sorted(CHECK_KINDS)])
        raise RunbooksError(f"trigger: {order.trigger!r} is no kind of check; known: {known_kinds}")
    digest = statement_digest(order)
    known: OrderRecord | None = OrderRecord.objects.visible_to(scope).filter(digest=digest).first()
    if known is not None:
        return known
    devices = list(Device.objects.visible_to(scope).filter(pk__in=named).select_related("client", "site"))
    missing = set(named) - {device.pk for device in devices}
    if missing or not named:
        raise RunbooksError(f"the order names no device, or one that is not here: {', '.join(map(str, missing))}")
    record = RunbookRecord.objects.filter(digest=order.runbook).first()
    if record is None:
        raise RunbooksError(f"the order names runbook {order.runbook[:16]}, which is not published here")
    if OrderRecord.objects.visible_to(Scope.system("order ids")).filter(pk=order_id).exists():
        raise RunbooksError(f"another order has the id {order_id}")
    signed_by: frozenset[str] = frozenset()
    for device in devices:
        scope.require(Permission.JOB_PREPARE, on=device)
        _, _, signed_by = _asked(
            authorise.authorise_order,
            root=queries.root_newest(),
            runbooks=_runbooks(record),
            envelope=envelope,
            situation=_situation(device, last_counter=0, now=now),
        )
    reach = queries.reach_of(
        client_id=devices[0].client_id,
        slug=record.slug,
        devices=[device.pk for device in devices],
        needed=authorise.operators_needed(queries.root_newest(), order.risk, len(devices)),
        standing=True,
        now=now,
    )
    if len(signed_by) < reach.needed:
        raise RunbooksError(f"{len(signed_by)} of {reach.needed} operators have signed{_wide(reach)}")
    installed: OrderRecord = OrderRecord.objects.create(
        id=order_id,
        client=devices[0].client,
        runbook=record,
        trigger=order.trigger,
        allowed={name: list(values) for name, values in order.allowed.items()},
        runs_per_day=order.runs_per_day,
        devices_per_hour=None if order.devices_per_hour is msgspec.UNSET else order.devices_per_hour,
        not_before=order.not_before,
        expires_at=order.expires_at,
        digest=digest,
        envelope=envelope,
        signed_by=sorted(signed_by),
        announced=True,
        installed_at=now,
        installed_by=scope.who,
    )
    installed.devices.set(devices)
    _on_record(installed.client, now)
    evidence_append(
        client=installed.client,
        kind=EvidenceKind.ORDER_INSTALLED,
        payload={"digest": digest, "signed_by": installed.signed_by, "order": plain(order), "by": scope.who},
        now=now,
    )
    return installed


@transaction.atomic
def order_revoke(*, scope: Scope, envelope: bytes, now: datetime) -> list[OrderRecord]:
    """End standing orders by a signed revocation: no more runs from now on, and the devices are told.

    OrderRecord.DoesNotExist when the scope sees none of them.
    """
    scope.require(Permission.JOB_PREPARE)
    try:
        revocation = _revocation_of_orders(envelope)
        # A run that is being queued under it is queued first, and then cancelled below.
        named = OrderRecord.objects.visible_to(scope).filter(digest__in=revocation.orders).order_by("pk")
        list(named.select_for_update(no_key=True).values_list("pk"))
        found = list(queries.orders(scope=scope).filter(digest__in=revocation.orders))
        for client_id in {str(order.client_id) for order in found}:
            _revocation_of_orders(envelope, client_id=client_id)
    except Refused as refusal:
        raise RefusedError(refusal) from None
    if not found:
        raise OrderRecord.DoesNotExist("the revocation names no standing order that is known here")
    for order in found:
        for device in order.devices.all():
            scope.require(Permission.JOB_PREPARE, on=device)
        if order.state == OrderState.REVOKED:
            continue
        order.state, order.revocation, order.announced = OrderState.REVOKED, envelope, order.expires_at > now
        order.revoked_at, order.revoked_by = now, scope.who
        order.save()
        evidence_append(
            client=order.client,
            kind=EvidenceKind.ORDER_REVOKED,
            payload={"digest": order.digest, "reason": revocation.reason, "by": scope.who},
            now=now,
        )
        for job in Job.objects.visible_to(_LOOP).filter(order=order, state=JobState.QUEUED):
            job_cancel(job=job, scope=_LOOP, reason="its standing order was revoked", now=now)
    return found


def _revocation_of_orders(envelope: bytes, client_id: str | None = None) -> Revocation:
    return authorise.read_revocation(
        root=queries.root_newest(), envelope=envelope, revoked_keys=queries.revoked_keys(), client_id=client_id
    )


def orders_consider_by_id(*, ticket_id: int | str, now: datetime) -> Job | None:
    """``orders_consider`` for the failing checks of a ticket, worst first; the first job it leads to."""
    ticket = tickets.ticket(scope=_LOOP, number=int(ticket_id))
    checks = Check.objects.visible_to(_LOOP).filter(alerts__ticket_alert__ticket=ticket).distinct().order_by("pk")
    for check in checks:
        job = orders_consider(ticket=ticket, check=check, now=now)
        if job is not None:
            return job
    return None


def orders_consider_waiting(*, now: datetime) -> int:
    """``orders_consider`` for open tickets that no job works on; how many jobs that led to.

    For what their opening could not know: an order signed later, a check that got worse since, a run that failed or
    expired. After a run the next waits ``RETRY_AFTER``, and the order's runs a day bound them all.
    """
    triggers = set(
        OrderRecord.objects.visible_to(_LOOP).filter(state=OrderState.IN_FORCE).values_list("trigger", flat=True)
    )
    started = 0
    for ticket in tickets.tickets_open(scope=_LOOP).filter(kind__in=triggers).order_by("number") if triggers else ():
        jobs = Job.objects.visible_to(_LOOP).filter(ticket_id=ticket.pk, dry_run=False)
        if jobs.filter(created_at__gt=now - RETRY_AFTER).exists():
            continue
        started += orders_consider_by_id(ticket_id=ticket.pk, now=now) is not None
    return started


@transaction.atomic
def orders_consider(*, ticket: Ticket, check: Check, now: datetime) -> Job | None:
    """Queue a job when a standing order answers this check; None when none does.

    An order applies when it is in force, its trigger is the check's kind and the check fails, it names the device,
    allows the parameters that follow from the check's target, and has runs left today; and no job is open for the
    ticket. The device counts the runs again, by itself.
    """
    # The device's row is the lock: an event and the clock may consider the same ticket at once.
    devices = Device.objects.visible_to(_LOOP).select_for_update(of=("self",), no_key=True)
    device = devices.select_related("client", "site").get(pk=check.device_id)
    if device.status != DeviceStatus.APPROVED or check.gone_at is not None:
        return None
    if Job.objects.visible_to(_LOOP).filter(ticket_id=ticket.pk, state__in=OPEN_STATES, dry_run=False).exists():
        return None
    trigger = rules.Trigger(kind=check.kind, target=check.target, status=check.status, reason=check.reason)
    candidates = (
        OrderRecord.objects.visible_to(_LOOP)
        .filter(client=device.client, devices=device, trigger=check.kind, state=OrderState.IN_FORCE)
        .select_for_update(of=("self",), no_key=True)
        .select_related("runbook")
        .order_by("installed_at", "pk")
    )
    # What was tried for this ticket least comes first: when one remedy did not help, another may.
    tried = Counter(Job.objects.visible_to(_LOOP).filter(ticket_id=ticket.pk).values_list("order_id", flat=True))
    for record in sorted(candidates, key=lambda one: tried[one.pk]):
        order, runbook = queries.order_content(record), queries.runbook_content(record.runbook)
        parameters = rules.parameters_for(order=order, runbook=runbook, trigger=trigger)
        if parameters is None or not rules.is_in_force(order=order, now=now):
            continue
        runs = Job.objects.visible_to(_LOOP).filter(order=record, device=device, created_at__gt=now - rules.DAY)
        if not rules.runs_left(order=order, runs=runs.exclude(state=JobState.CANCELLED).count()):
            log.info("order %s has no runs left on %s today", record.pk, device.pk)
            continue
        over = rules.budget_refuses(
            order=order, devices_this_hour=queries.devices_this_hour(order=record, without=device.pk, now=now)
        )
        if over:
            log.info("order %s waits with %s: %s", record.pk, device.pk, over)
            continue
        if _open_jobs(device, record.runbook, parameters).exists():
            continue
        because = f"{trigger.kind} {trigger.target}: {trigger.reason}"
        return _invoke(record, device, ticket, because, parameters, now)
    return None


@transaction.atomic
def order_run(
    *,
    device: Device,
    slug: str,
    parameters: Mapping[str, ParameterValue],
    because: str,
    trigger: str = PATCHING,
    until: datetime | None = None,
    now: datetime,
) -> Job:
    """Queue a run of a runbook on a device under a standing order for ``trigger``. Without a ticket of its own.

    ``trigger``: a word of ``trust.words.WHEN``. ``until``: the device must have begun it by then; an hour from now at
    most.

    NoOrderError, saying why, when no standing order in force allows it: then an operator has to sign. The device
    checks the order and counts its runs again, by itself.
    """
    devices = Device.objects.visible_to(_LOOP).select_for_update(of=("self",), no_key=True)
    device = devices.select_related("client", "site").get(pk=device.pk)
    _require_able(device)
    records = (
        OrderRecord.objects.visible_to(_LOOP)
        .filter(client=device.client, devices=device, trigger=trigger, runbook__slug=slug, state=OrderState.IN_FORCE)
        .select_for_update(of=("self",), no_key=True)
        .select_related("runbook")
        .order_by("-installed_at", "pk")
    )
    why = f"no standing order lets {slug} run on {device.name} for {trigger}"
    for record in records:
        order, runbook = queries.order_content(record), queries.runbook_content(record.runbook)
        runs = Job.objects.visible_to(_LOOP).filter(order=record, device=device, created_at__gt=now - rules.DAY)
        why = rules.order_refuses(
            order=order,
            runbook=runbook,
            parameters=parameters,
            runs=runs.exclude(state=JobState.CANCELLED).count(),
            now=now,
        ) or rules.budget_refuses(
            order=order, devices_this_hour=queries.devices_this_hour(order=record, without=device.pk, now=now)
        )
        if why:
            continue
        _require_not_open(device, record.runbook, parameters, dry_run=False)
        return _invoke(record, device, None, because, parameters, now, until=until)
    raise NoOrderError(why)


def _invoke(
    record: OrderRecord,
    device: Device,
    ticket: Ticket | None,
    because: str,
    parameters: Mapping[str, ParameterValue],
    now: datetime,
    until: datetime | None = None,
) -> Job:
    counter = _next_counter(device)
    invocation = Invocation(
        job_id=str(uuid4()),
        order=record.digest,
        device_id=str(device.pk),
        counter=counter,
        parameters=dict(parameters),
        because=because,
        expires_at=now + rules.INVOCATION_LIFE if until is None else min(until, now + rules.INVOCATION_LIFE),
    )
    job: Job = Job.objects.create(
        id=UUID(invocation.job_id),
        client=device.client,
        site=device.site,
        device=device,
        runbook=record.runbook,
        order=record,
        ticket_id=None if ticket is None else ticket.pk,
        parameters=dict(parameters),
        reason=because,
        state=JobState.QUEUED,
        counter=counter,
        statement=statement_bytes(invocation),
        envelope=wrap_invocation(invocation),
        signed_by=record.signed_by,
        created_at=now,
        created_by=f"standing order {record.runbook.slug}",
        expires_at=invocation.expires_at,
        queued_at=now,
    )
    _on_record(job.client, now)
    _evidence(
        job,
        EvidenceKind.JOB_QUEUED,
        {"order": record.digest, "signed_by": record.signed_by, "statement": _plain_statement(invocation)},
        now,
    )
    text = f"{record.runbook.title} on {device.name}: queued by the standing order for {record.trigger}."
    _tell(job, what=JobState.QUEUED, actor=job.created_by, text=text, now=now)
    _renumber_behind(job, now)
    return job


# --- helpers ----------------------------------------------------------------------------------------------------


def _require_able(device: Device) -> None:
    if device.status != DeviceStatus.APPROVED:
        raise RunbooksError(f"{device.name} is {device.get_status_display()}: only an approved device takes jobs")


def _require_parameters(runbook: Runbook, parameters: Mapping[str, ParameterValue]) -> None:
    _asked(authorise.complete_parameters, runbook, parameters)


def _require_not_open(
    device: Device, runbook: RunbookRecord, parameters: Mapping[str, ParameterValue], *, dry_run: bool
) -> None:
    same = _open_jobs(device, runbook, parameters, dry_run=dry_run).first()
    if same is not None:
        raise RunbooksError(f"the same job is {same.get_state_display()} already: {same.pk}")


def _open_jobs(
    device: Device, runbook: RunbookRecord, parameters: Mapping[str, ParameterValue], *, dry_run: bool = False
) -> Any:
    jobs = Job.objects.visible_to(_LOOP).filter(dry_run=dry_run)
    return jobs.filter(device=device, runbook=runbook, state__in=OPEN_STATES, parameters=dict(parameters))


def _asked(rule: Any, *args: Any, **kwargs: Any) -> Any:
    """A rule of the device asked on the server; its refusal as the service's error."""
    try:
        return rule(*args, **kwargs)
    except Refused as refusal:
        raise RefusedError(refusal) from None


def _runbooks(record: RunbookRecord) -> dict[str, Runbook]:
    return {record.digest: queries.runbook_content(record)}


def _situation(
    device: Device,
    *,
    last_counter: int,
    now: datetime,
    suspended: Mapping[str, authorise.Suspended] | None = None,
) -> authorise.Situation:
    return authorise.Situation(
        suspended=suspended or {},
        device_id=str(device.pk),
        client_id=str(device.client_id),
        now=now,
        local=now,
        last_counter=last_counter,
        revoked_keys=queries.revoked_keys(),
    )


def _wide(reach: rules.Reach) -> str:
    """In words, when it is more than one signature may cover; else empty."""
    if not reach.is_wide:
        return ""
    return (
        f"; with it one runbook reaches {reach.covered} of the client's {reach.client_devices} devices, and one "
        f"signature covers {reach.limit}"
    )


def _authorised_job(job: Job, envelope: bytes, now: datetime) -> authorise.Authorised:
    sent = Job.objects.visible_to(_LOOP).filter(device=job.device).exclude(queued_at=None)
    last = sent.aggregate(last=Max("counter"))["last"] or 0
    authorised: authorise.Authorised = _asked(
        authorise.authorise_job,
        root=queries.root_newest(),
        runbooks=_runbooks(job.runbook),
        envelope=envelope,
        situation=_situation(job.device, last_counter=last, now=now, suspended=_suspended(job)),
    )
    return authorised


def _suspended(job: Job) -> dict[str, authorise.Suspended]:
    """The run that a job approves, as its device told it; the device itself goes by what it remembers."""
    if job.continues_id is None:
        return {}
    stopped = Job.objects.visible_to(_LOOP).select_related("runbook").get(pk=job.continues_id)
    result = read_statement(decode(bytes(stopped.result_envelope)).body(), JobResult)
    runbook = queries.runbook_content(stopped.runbook)
    told = authorise.Suspended(
        job_id=str(stopped.pk),
        runbook=stopped.runbook.digest,
        parameters=authorise.complete_parameters(runbook, stopped.parameters),
        step=queries.steps_before(stopped) + len(result.steps) - 1,
        result=result_digest(result),
        stopped_at=result.finished_at,
    )
    return {told.job_id: told}


def _next_counter(device: Device) -> int:
    """The next counter of the device's commands. Claimed by conditional update: no two commands share one."""
    devices = Device.objects.visible_to(_LOOP).filter(pk=device.pk)
    while True:
        last: int = devices.values_list("job_counter", flat=True).get()
        if devices.filter(job_counter=last).update(job_counter=last + 1) == 1:
            return last + 1


def _job_statement(
    *,
    job_id: UUID,
    device: Device,
    runbook: RunbookRecord,
    parameters: Mapping[str, ParameterValue],
    reason: str,
    counter: int,
    dry_run: bool,
    until: datetime | None = None,
    continues: Continuation | None = None,
    now: datetime,
) -> JobStatement:
    return JobStatement(
        job_id=str(job_id),
        runbook=runbook.digest,
        parameters=dict(parameters),
        client_id=str(device.client_id),
        devices={str(device.pk): counter},
        not_before=now - rules.CLOCK_TOLERANCE,
        expires_at=now + rules.JOB_LIFE if until is None else min(until, now + rules.JOB_LIFE),
        risk=queries.runbook_content(runbook).risk,
        reason=reason,
        dry_run=dry_run,
        continues=continues,
    )


def _restate(job: Job, now: datetime) -> None:
    """Make an unsigned job's statement anew, under the next counter. Signatures it had are void."""
    job.counter = _next_counter(job.device)
    statement = _job_statement(
        job_id=job.pk,
        device=job.device,
        runbook=job.runbook,
        parameters=job.parameters,
        reason=job.reason,
        counter=job.counter,
        dry_run=job.dry_run,
        continues=read_statement(bytes(job.statement), JobStatement).continues,
        # Prepared for less than its usual life: it keeps its end.
        until=job.expires_at if job.expires_at < job.created_at + rules.JOB_LIFE else None,
        now=now,
    )
    job.statement, job.expires_at = statement_bytes(statement), statement.expires_at
    job.envelope, job.signed_by = b"", []
    job.save()


def _renumber_behind(sent: Job, now: datetime) -> None:
    """Give jobs that still wait for a signature a counter behind the one that was just sent.

    The device takes only rising counters: signed later under its old number, such a job would be refused.
    """
    waiting = Job.objects.visible_to(_LOOP).filter(
        device=sent.device, state=JobState.AWAITING_SIGNATURE, counter__lt=sent.counter
    )
    for job in waiting.select_related("device", "runbook").order_by("counter"):
        _restate(job, now)


@transaction.atomic
def jobs_renumber(*, now: datetime) -> int:
    """Give every job that waits for a signature a new counter, after the devices' were moved on; how many jobs."""
    waiting = Job.objects.visible_to(_LOOP).filter(state=JobState.AWAITING_SIGNATURE)
    jobs = list(waiting.select_related("device", "runbook").order_by("counter"))
    for job in jobs:
        _restate(job, now)
    return len(jobs)


def _locked(job: Job, scope: Scope) -> Job:
    """The job as it is now, its row locked to the end of the transaction. Job.DoesNotExist when the scope sees none."""
    jobs = Job.objects.visible_to(scope).select_for_update(of=("self",))
    locked: Job = jobs.select_related("client", "site", "device", "runbook").get(pk=job.pk)
    return locked


def _plain_statement(statement: JobStatement | Invocation) -> dict[str, Any]:
    return plain(statement)


def _short(key_ids: Iterable[str]) -> str:
    return ", ".join(f"key {identifier[:8]}" for identifier in key_ids)


def _finished(job: Job) -> dict[str, Any]:
    return {"device": str(job.device_id), "ticket": job.ticket_id, "state": job.state, "runbook": job.runbook.slug}


def _evidence(job: Job, kind: EvidenceKind, payload: Mapping[str, Any], now: datetime) -> None:
    evidence_append(
        client=job.client,
        kind=kind,
        payload={"runbook": job.runbook.slug, "digest": job.runbook.digest, "device": job.device.name, **payload},
        now=now,
        device_id=job.device_id,
        site_id=job.site_id,
        ticket_id=job.ticket_id,
        job_id=str(job.pk),
    )


def _event(job: Job, *, what: str, actor: str, text: str, now: datetime) -> None:
    JobEvent.objects.create(job=job, at=now, what=what, actor=actor, text=text)


def _tell(job: Job, *, what: str, actor: str, text: str, now: datetime, reference: str = "") -> None:
    """Write a step into the job's timeline, and into its ticket's."""
    _event(job, what=what, actor=actor, text=text, now=now)
    if job.ticket_id is not None:
        ticket = tickets.ticket(scope=_LOOP, number=job.ticket_id)
        ticket_note_job(
            ticket=ticket, job_id=str(job.pk), text=text, kind=what, now=now, actor=actor, reference=reference
        )
