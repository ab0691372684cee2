"""Appending to a client's log, signing its checkpoints, erasing what must be forgotten."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection, transaction

from forestall.ledger import merkle, records
from forestall.ledger.signed import signed_text
from forestall.server.evidence import rules
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.models import MAX_JOB_ID, CheckpointRecord, ClientLog, Entry, LogNode
from forestall.server.evidence.rules import EvidenceError
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope
from forestall.trust.statements import Checkpoint

_SELF = Scope.system("evidence")


class OutsideTransactionError(RuntimeError):
    """Evidence was to be written outside the transaction of the act it records."""


class ForkedError(RuntimeError):
    """Another writer appended to this client's log at the same place; the transaction must be tried again."""


def evidence_append(
    *,
    client: Client,
    kind: EvidenceKind,
    payload: Mapping[str, Any],
    now: datetime,
    device_id: UUID | None = None,
    site_id: UUID | None = None,
    ticket_id: int | None = None,
    job_id: str = "",
    envelope: bytes | None = None,
    signer: bytes | None = None,
) -> Entry:
    """Append a record to the client's log, in the transaction of the act it records: both are kept, or neither.

    ``payload`` is plain JSON (datetimes and UUIDs are written as text) and may be erased later; ids of persons belong
    there, never in kinds. ``envelope`` and ``signer`` (raw key) go with the kinds that are a device's own words
    (``job:result``, ``device:notice``) and with no other; such a record names ``device_id`` (and ``job_id``).

    EvidenceError for a record that would not verify later, naming the bad value; ForeignCheckpointError (one of them)
    when the device names a checkpoint that this log never had: refuse the message, do not try again.
    """
    if not connection.in_atomic_block:
        raise OutsideTransactionError(f"{kind}: append evidence in the transaction of the act")
    if now.tzinfo is None:
        raise EvidenceError(f"{kind}: the time {now} names no time zone")
    if len(job_id) > MAX_JOB_ID:
        raise EvidenceError(f"{kind}: a job id of {len(job_id)} characters, at most {MAX_JOB_ID}")
    # The row lock (PostgreSQL) or the write transaction (SQLite) makes appenders take turns. The conditional update
    # below holds even where neither was taken.
    rows = ClientLog.objects.visible_to(_SELF).filter(client=client)
    log = rows.select_for_update().first()
    if log is None:
        rows.get_or_create(client=client)
        log = rows.select_for_update().get()
    salt, device = secrets.token_bytes(records.SALT_BYTES), None if device_id is None else str(device_id)
    try:
        content = records.content_bytes(
            payload=payload,
            device=device,
            site=None if site_id is None else str(site_id),
            ticket=ticket_id,
            job=job_id,
        )
        commitment = records.commitment_of(salt=salt, content=content, envelope=envelope or b"", signer=signer or b"")
        rules.record_check(
            kind=kind,
            content=records.content_read(content),
            client=str(client.pk),
            index=log.size,
            envelope=envelope or b"",
            signer=signer or b"",
            bound_key=lambda device: _bound_key(client, device),
            checkpoint_root=lambda size: _checkpoint_root(client, size),
        )
    except records.RecordError as error:
        raise EvidenceError(f"{kind}: {error}") from error
    leaf = records.leaf_bytes(index=log.size, at=now, kind=kind, client=str(client.pk), commitment=commitment)
    frontier, done = log.frontier.append(merkle.leaf_hash(leaf))
    moved = (
        ClientLog.objects.visible_to(_SELF)
        .filter(pk=log.pk, size=log.size)
        .update(size=frontier.size, peaks=frontier.to_bytes())
    )
    if moved != 1:
        raise ForkedError(f"the log of {client} moved on from {log.size} entries while {kind} was appended")
    entry = Entry.objects.create(
        client=client,
        index=log.size,
        kind=kind,
        at=now,
        device_id=device_id,
        site_id=site_id,
        ticket_id=ticket_id,
        job_id=job_id,
        leaf=leaf.decode(),
        leaf_hash=done[0].hash,
        salt=salt,
        content=content.decode(),
        envelope=envelope or b"",
        signer=signer or b"",
    )
    LogNode.objects.bulk_create(
        [LogNode(client=client, level=node.level, index=node.index, hash=node.hash) for node in done[1:]]
    )
    created: Entry = entry
    return created


def person_act_append(
    sender: type[Any],
    *,
    client: Client,
    kind: str,
    payload: Mapping[str, Any],
    now: datetime,
    site_id: UUID | None,
    **_: Any,
) -> None:
    """Append what ``people.record`` says was done to somebody's rights."""
    evidence_append(client=client, kind=EvidenceKind(kind), payload=payload, now=now, site_id=site_id)


@transaction.atomic
def payload_erase(*, entry: Entry, scope: Scope, reason: str, now: datetime) -> Entry:
    """Erase what an entry says, and who signed it; its leaf and every proof stay. Returns the entry that says so.

    An owner's act. EvidenceError for a reason that is missing, for an entry whose content is gone already, and for
    the kinds that other records rest on.
    """
    entry = Entry.objects.visible_to(scope).get(pk=entry.pk)
    scope.require(Permission.EVIDENCE_ERASE, on=entry)
    if not reason.strip():
        raise EvidenceError("an erasure needs a reason")
    if entry.kind in records.LASTING_KINDS:
        raise EvidenceError(f"{entry.reference} is {entry.kind}: other records rest on it")
    says = evidence_append(
        client=entry.client,
        kind=EvidenceKind.EVIDENCE_ERASED,
        payload={"index": entry.index, "kind": entry.kind, "reason": reason, "by": scope.who},
        now=now,
        site_id=entry.site_id,
        device_id=entry.device_id,
    )
    erased = (
        Entry.objects.visible_to(scope)
        .filter(pk=entry.pk, erased_by=None)
        .update(erased_by=says.index, salt=b"", content="", envelope=b"", signer=b"")
    )
    if erased != 1:
        raise EvidenceError(f"{entry.reference} has no content to erase")
    return says


def checkpoints_sign(*, now: datetime, log_key: Ed25519PrivateKey, client_id: UUID | None = None) -> int:
    """Sign the root of every log (or of one client's) that has entries its last checkpoint does not cover; how many.

    Called every 20 seconds, so that new entries are covered within 60 (threat model, D4).
    """
    signed = 0
    logs = ClientLog.objects.visible_to(_SELF).exclude(size=0).order_by("pk")
    for pk in list((logs if client_id is None else logs.filter(client=client_id)).values_list("pk", flat=True)):
        with transaction.atomic():
            log = ClientLog.objects.visible_to(_SELF).select_for_update().get(pk=pk)
            covered = CheckpointRecord.objects.visible_to(_SELF).filter(client=log.client_id, size=log.size)
            if covered.exists():
                continue
            root = log.frontier.root()
            checkpoint = Checkpoint(client_id=str(log.client_id), size=log.size, root=root.hex(), at=now)
            CheckpointRecord.objects.create(
                client_id=log.client_id,
                size=log.size,
                root=root,
                at=now,
                envelope=signed_text(checkpoint, log_key).encode(),
            )
            signed += 1
    return signed


def _bound_key(client: Client, device: str) -> bytes | None:
    entries = Entry.objects.visible_to(_SELF).filter(client=client, kind=EvidenceKind.DEVICE_ENROLLED)
    found: Entry | None = entries.filter(device_id=device).order_by("index").first()
    return None if found is None else records.enrolment_key(records.content_read(found.content.encode()))


def _checkpoint_root(client: Client, size: int) -> str | None:
    checkpoints = CheckpointRecord.objects.visible_to(_SELF).filter(client=client, size=size)
    found: CheckpointRecord | None = checkpoints.first()
    return None if found is None else bytes(found.root).hex()
