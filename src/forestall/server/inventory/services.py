"""Changes of devices: enrolment, approval, revocation, facts."""

from __future__ import annotations

import hashlib
import logging
import secrets
import zlib
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from django.db import transaction

from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.inventory import rules
from forestall.server.inventory.assets import asset_meets_device
from forestall.server.inventory.models import (
    Device,
    DeviceStatus,
    EnrolmentToken,
    FactsChange,
    FactsDocument,
    FactsWanted,
    FirstSeen,
    IntakeRefusal,
)
from forestall.server.inventory.queries import decode_document
from forestall.server.outbox.events import Event
from forestall.server.outbox.services import event_record
from forestall.server.people.models import Site
from forestall.server.people.scope import Permission, Scope
from forestall.wire.checkin import FactsAffirmed, FactsReport, SpoolGap
from forestall.wire.facts import DOCUMENT_BY_NAME, Document, System

log = logging.getLogger(__name__)

TOKEN_LIFETIME = timedelta(hours=24)

_INTAKE = Scope.system("intake")
_encoder = msgspec.msgpack.Encoder()


class EnrolmentError(Exception):
    """A device that cannot be enrolled."""


class TokenUnusableError(EnrolmentError):
    """The token is unknown, used, or expired. One message for all three: a guesser learns nothing."""

    def __init__(self) -> None:
        super().__init__("this enrolment token cannot be used: unknown, already used, or expired")


class DeviceStateError(Exception):
    """An act that the device's state does not allow."""


def enrolment_token_create(
    *,
    site: Site,
    scope: Scope,
    now: datetime,
    lifetime: timedelta = TOKEN_LIFETIME,
    ca_fingerprint: str,
    root_fingerprint: str,
) -> str:
    """A token with which one device can enrol at ``site`` until ``now + lifetime``. Returned once, kept as a digest.

    NotAllowedError without ``device.approve``; Site.DoesNotExist when the scope does not see the site.
    """
    seen = Site.objects.visible_to(scope).get(pk=site.pk)
    scope.require(Permission.DEVICE_APPROVE, on=seen)
    secret = secrets.token_urlsafe(32)
    EnrolmentToken.objects.create(
        site=site, digest=_digest(secret), created_at=now, created_by=scope.who, expires_at=now + lifetime
    )
    return rules.token_text(secret=secret, ca_fingerprint=ca_fingerprint, root_fingerprint=root_fingerprint)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@transaction.atomic
def device_enrol(
    *, token_secret: str, public_key: bytes, hostname: str, machine_id: str, agent_version: str, now: datetime
) -> Device:
    """A new pending device at the token's site. TokenUnusableError when the token is unknown, used or expired.

    The same token with the same key again gives the same device: an agent whose answer was lost asks once more.
    ValueError for a key that is not 32 bytes.
    """
    if len(public_key) != 32:
        raise ValueError(f"public_key: {len(public_key)} bytes, expected 32")
    tokens = EnrolmentToken.objects.visible_to(_INTAKE).filter(digest=_digest(token_secret))
    # Claimed by one conditional update: of two devices with one token, one gets it.
    if tokens.filter(used_at=None, expires_at__gt=now).update(used_at=now) != 1:
        again = tokens.select_related("used_by__client", "used_by__site").first()
        holder: Device | None = None if again is None else again.used_by
        if holder is not None and bytes(holder.public_key) == public_key:
            return holder
        raise TokenUnusableError
    token = tokens.select_related("site__client").get()
    name = rules.clean_name(hostname, otherwise="unnamed device")
    device: Device = Device.objects.create(
        client=token.site.client,
        site=token.site,
        name=name,
        hostname=name,
        public_key=public_key,
        machine_id=rules.clean_name(machine_id, otherwise="")[:64],
        agent_version=rules.clean_name(agent_version, otherwise="")[:40],
        enrolled_at=now,
    )
    tokens.update(used_by=device)
    evidence_append(
        client=device.client,
        kind=EvidenceKind.DEVICE_ENROLLED,
        payload={
            "device_id": str(device.pk),
            "name": device.name,
            "public_key": public_key.hex(),
            "client": device.client.name,
            "site": device.site.name,
            "token_of": token.created_by,
        },
        now=now,
        device_id=device.pk,
        site_id=device.site_id,
    )
    event_record(event=Event.DEVICE_ENROLLED, subject=device.pk, at=now)
    return device


@transaction.atomic
def device_approve(*, device: Device, scope: Scope, now: datetime) -> None:
    """Let a pending device check in.

    NotAllowedError without ``device.approve``; DeviceStateError when it is not pending.
    """
    scope.require(Permission.DEVICE_APPROVE, on=Device.objects.visible_to(scope).get(pk=device.pk))
    approved = (
        Device.objects.visible_to(scope)
        .filter(pk=device.pk, status=DeviceStatus.PENDING)
        .update(status=DeviceStatus.APPROVED, approved_at=now, approved_by=scope.who)
    )
    device.refresh_from_db()
    if approved != 1:
        raise DeviceStateError(f"{device.name} is {device.status}; only a pending device can be approved")
    evidence_append(
        client=device.client,
        kind=EvidenceKind.DEVICE_APPROVED,
        payload={"device_id": str(device.pk), "name": device.name, "by": scope.who},
        now=now,
        device_id=device.pk,
        site_id=device.site_id,
    )
    asset_meets_device(device=device)
    event_record(event=Event.DEVICE_APPROVED, subject=device.pk, at=now)


@transaction.atomic
def device_revoke(*, device: Device, scope: Scope, reason: str, now: datetime) -> None:
    """End a device's access for good. NotAllowedError without ``device.approve``; DeviceStateError when it has ended
    already; ValueError without a reason."""
    scope.require(Permission.DEVICE_APPROVE, on=Device.objects.visible_to(scope).get(pk=device.pk))
    if not reason.strip():
        raise ValueError("reason: empty; a revocation is on record for good and must say why")
    revoked = (
        Device.objects.visible_to(scope)
        .filter(pk=device.pk)
        .exclude(status=DeviceStatus.REVOKED)
        .update(status=DeviceStatus.REVOKED, revoked_at=now, revoked_reason=reason.strip()[:500])
    )
    device.refresh_from_db()
    if revoked != 1:
        raise DeviceStateError(f"{device.name} was revoked already")
    evidence_append(
        client=device.client,
        kind=EvidenceKind.DEVICE_REVOKED,
        payload={"device_id": str(device.pk), "name": device.name, "by": scope.who, "reason": reason.strip()},
        now=now,
        device_id=device.pk,
        site_id=device.site_id,
    )


@transaction.atomic
def facts_receive(*, device: Device, report: FactsReport, now: datetime) -> bool:
    """Keep a document of ``device`` received at ``now``; whether it is another than the one kept before.

    A change is written to the timeline in words, recorded as evidence by its digest, and told to the checks. The
    same document again only moves the time of its collection.
    """
    document, name = report.document, report.document.name()
    seen = rules.believed_time(claimed=report.collected_at, received=now)
    kept = FactsDocument.objects.visible_to(_INTAKE).filter(device=device, name=name).first()
    FactsWanted.objects.visible_to(_INTAKE).filter(device=device, name=name).delete()
    if kept is not None and bytes(kept.digest) == report.digest:
        _affirm(kept, seen)
        return False
    summary = ""
    if kept is None:
        kept = FactsDocument(device=device, name=name)
    else:
        summary = rules.summarise_change(decode_document(name=name, body=kept.body), document)
    kept.digest = report.digest
    kept.body = zlib.compress(_encoder.encode(document), 6)
    kept.collected_at = kept.changed_at = seen
    kept.save()
    if summary:
        FactsChange.objects.create(device=device, name=name, at=seen, summary=summary)
    _remember_first_seen(device, document, seen)
    if isinstance(document, System):
        _copy_system(device, document)
    evidence_append(
        client=device.client,
        kind=EvidenceKind.FACTS_CHANGED,
        payload={"device_id": str(device.pk), "document": name, "digest": report.digest.hex(), "summary": summary},
        now=now,
        device_id=device.pk,
        site_id=device.site_id,
    )
    event_record(event=Event.FACTS_CHANGED, subject=device.pk, at=now, detail={"documents": [name]})
    return True


def facts_affirm(*, device: Device, affirmed: FactsAffirmed, now: datetime) -> bool:
    """Note that a document was collected again and is unchanged; False when another (or none) is kept here, which
    the next reply to the device then asks for whole."""
    kept = FactsDocument.objects.visible_to(_INTAKE).filter(device=device, name=affirmed.name).first()
    if kept is not None and bytes(kept.digest) == affirmed.digest:
        _affirm(kept, rules.believed_time(claimed=affirmed.collected_at, received=now))
        return True
    if affirmed.name in DOCUMENT_BY_NAME:
        FactsWanted.objects.visible_to(_INTAKE).get_or_create(device=device, name=affirmed.name)
    else:
        # A newer agent may know documents that this server does not; asking for one would never end.
        log.info("device %s affirms the unknown document %.40r", device.pk, affirmed.name)
    return False


def _affirm(kept: FactsDocument, seen: datetime) -> None:
    if seen > kept.collected_at:
        FactsDocument.objects.visible_to(_INTAKE).filter(pk=kept.pk).update(collected_at=seen)


def _remember_first_seen(device: Device, document: Document, seen: datetime) -> None:
    keys = rules.first_seen_keys(document)
    if keys is None:
        return
    own = FirstSeen.objects.visible_to(_INTAKE).filter(device=device, key__startswith=f"{document.name()}:")
    known = set(own.values_list("key", flat=True))
    # What went away and comes back is new again.
    own.filter(key__in=known - keys).delete()
    FirstSeen.objects.bulk_create([FirstSeen(device=device, key=key, at=seen) for key in sorted(keys - known)])


def _copy_system(device: Device, system: System) -> None:
    hostname = rules.clean_name(system.hostname, otherwise=device.hostname)
    device.name = hostname if device.name == device.hostname else device.name
    device.hostname = hostname
    device.os_name = rules.clean_name(system.os_name, otherwise="")
    device.boot_id = system.boot_id[:64]
    device.save(update_fields=["name", "hostname", "os_name", "boot_id"])


def spool_gap_note(*, device: Device, gap: SpoolGap, now: datetime) -> None:
    """Show on the device's timeline that its spool had to drop check-ins. The signed notice of it is evidence."""
    first, last = (rules.believed_time(claimed=one, received=now) for one in (gap.first, gap.last))
    FactsChange.objects.create(
        device=device,
        name="spool",
        at=now,
        summary=f"{gap.check_ins} check-ins dropped by a full spool: {first:%Y-%m-%d %H:%M} to {last:%d %H:%M} UTC",
    )


def refusals_note(*, device_id: UUID, code: str, detail: str, count: int, at: datetime) -> None:
    """Count refused messages of a device, per code and hour. A device that is not known is left out."""
    if not Device.objects.visible_to(_INTAKE).filter(pk=device_id).exists():
        return
    row, _ = IntakeRefusal.objects.visible_to(_INTAKE).get_or_create(
        device_id=device_id,
        code=code,
        hour=at.replace(minute=0, second=0, microsecond=0),
        defaults={"last_at": at, "last_detail": ""},
    )
    row.count += count
    row.last_at = max(row.last_at, at)
    row.last_detail = rules.clean_name(detail, otherwise="")
    row.save()
