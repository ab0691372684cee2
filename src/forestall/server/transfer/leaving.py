"""Everything of one client in one file; and a client that leaves, of which the proofs stay."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.apps import apps
from django.db import models, transaction
from django.db.models import ProtectedError

from forestall.server.calendar.models import CalendarFeed
from forestall.server.evidence.bundle import bundle_lines
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.metrics.store import Store
from forestall.server.people import queries as people
from forestall.server.people.models import ApiToken, Client, Grant, Person
from forestall.server.people.scope import Permission, Scope, ScopedModel
from forestall.server.plaintext import cell_inert
from forestall.server.transfer.models import ForgottenDevice

SAMPLES_KEPT = timedelta(days=770)
HOUR = 3600
PROOFS = frozenset({"people.client", "people.site", "reports.servicereport"}) | {
    f"evidence.{name}" for name in ("clientlog", "entry", "lognode", "checkpointrecord")
}
"""What stays of a client that was removed. A ticket that a report names stays without what was written in it, and its
device, revoked, as a name."""
NOT_EXPORTED = frozenset({"alerts.notificationroute.sealed_url", "inventory.enrolmenttoken.digest"})
"""Secrets of ours: sealed addresses and digests of tokens. They are no data of the client."""
SECRET_WORDS = ("secret", "sealed", "digest_of_token")
Progress = Callable[[str], None]

_SELF = Scope.system("leaving")

README = """This is everything that Forestall kept of {client} on {at}.

data/       one file a kind of thing, one JSON object a line; times are UTC
people.jsonl  who may sign in and what they may do at this client
samples/    hourly mean, minimum, maximum and count of each series of each device
reports/    the service reports as they were issued
evidence.bundle  the tamper-evident log, whole. Check it offline:
                 forestall verify evidence.bundle
manifest.json    SHA-256 and size of each file
"""


class LeavingError(ValueError):
    """A removal that is refused; says why."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removal did."""

    client: Client
    rows: dict[str, int]
    """Kind of thing → how many of it were deleted."""
    reference: str
    """The evidence record of the removal."""


def scoped_models() -> list[Any]:
    """Every kind of thing that belongs to a client, by name."""
    found = [model for model in apps.get_models() if issubclass(model, ScopedModel)]
    return sorted(found, key=lambda model: str(model._meta.label_lower))


def rows_of(model: Any, client: Client) -> models.QuerySet[Any]:
    """The rows of a kind that belong to the client."""
    found: models.QuerySet[Any] = model.objects.visible_to(_SELF).filter(**{model.SCOPE_CLIENT: client.pk})
    return found


# --- export ------------------------------------------------------------------------------------------------------


def client_export(
    *,
    client: Client,
    path: Path,
    scope: Scope,
    now: datetime,
    log_key: Ed25519PrivateKey,
    store: Store,
    root: bytes | None = None,
    on_progress: Progress | None = None,
) -> dict[str, int]:
    """Write everything kept of the client to ``path``, a ZIP; file → its size in bytes.

    NotAllowedError without ``client.export`` there; DoesNotExist. On record before it begins: an export that failed
    half-way may have been read all the same.
    """
    seen = Client.objects.visible_to(scope).get(pk=client.pk)
    scope.require(Permission.CLIENT_EXPORT, on=seen)
    with transaction.atomic():
        evidence_append(client=seen, kind=EvidenceKind.CLIENT_EXPORTED, payload={"by": scope.who}, now=now)
    tell = on_progress or (lambda _: None)
    manifest: dict[str, dict[str, Any]] = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _files(seen, scope, now, log_key, store, root, tell):
            digest, size = hashlib.sha256(), 0
            with archive.open(name, "w", force_zip64=True) as file:
                for part in content:
                    file.write(part)
                    digest.update(part)
                    size += len(part)
            manifest[name] = {"sha256": digest.hexdigest(), "bytes": size}
        archive.writestr("manifest.json", json.dumps(manifest, indent=1))
    return {name: entry["bytes"] for name, entry in manifest.items()}


def _files(
    client: Client,
    scope: Scope,
    now: datetime,
    log_key: Ed25519PrivateKey,
    store: Store,
    root: bytes | None,
    tell: Progress,
) -> Iterator[tuple[str, Iterator[bytes]]]:
    yield "README.txt", iter([README.format(client=client.name, at=f"{now:%Y-%m-%d %H:%M} UTC").encode()])
    for model in scoped_models():
        label = model._meta.label_lower
        if label.startswith("evidence."):
            continue  # whole, with its proofs, in the bundle
        tell(str(model._meta.verbose_name_plural))
        yield f"data/{label}.jsonl", _json_lines(model, client)
    yield "people.jsonl", _people_lines(client)
    tell("evidence")
    exporter = Scope.at(scope.who, scope.person_id, {Permission.EVIDENCE_VIEW}, clients=[client.pk])
    # There is one at least: that the client is being exported.
    content = bundle_lines(scope=exporter, client_id=client.pk, now=now, log_key=log_key, root=root)
    yield "evidence.bundle", content
    reports = apps.get_model("reports", "ServiceReport")
    for report in rows_of(reports, client).order_by("pk").iterator(chunk_size=20):
        yield f"reports/{report.number}.pdf", iter([bytes(report.pdf)])
    for device in rows_of(Device, client).order_by("pk"):
        tell(f"samples of {device.name}")
        yield f"samples/{device.pk}.csv", _sample_lines(device, store, now)


def _json_lines(model: Any, client: Client) -> Iterator[bytes]:
    for row in rows_of(model, client).order_by("pk").iterator(chunk_size=200):
        values = {
            field.attname: _json_value(getattr(row, field.attname))
            for field in model._meta.concrete_fields
            if f"{model._meta.label_lower}.{field.attname}" not in NOT_EXPORTED
            and not any(word in field.attname for word in SECRET_WORDS)
            and not (model._meta.label_lower == "reports.servicereport" and field.attname == "pdf")
        }
        yield json.dumps(values, ensure_ascii=False, sort_keys=True).encode() + b"\n"


def _json_value(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value) if isinstance(value, UUID | Decimal) else value


def _people_lines(client: Client) -> Iterator[bytes]:
    grants = Grant.objects.filter(client=client).select_related("person", "custom", "site").order_by("person", "pk")
    for grant in grants:
        person = grant.person
        values = {
            "username": person.username, "name": person.shown_name, "email": person.email, "role": grant.role_name,
            "site": str(grant.site or ""), "granted_at": _json_value(grant.granted_at), "granted_by": grant.granted_by,
            "until": _json_value(grant.until), "active": person.is_active,
        }  # fmt: skip
        yield json.dumps(values, ensure_ascii=False).encode() + b"\n"


def _sample_lines(device: Device, store: Store, now: datetime) -> Iterator[bytes]:
    yield b"series,time,mean,min,max,count\r\n"
    for name in store.series_names(device_id=device.pk):
        found = store.range(
            device_id=device.pk, names=[name], start=now - SAMPLES_KEPT, end=now + timedelta(hours=1), step_seconds=HOUR
        )
        for points in found.values():
            out = io.StringIO()
            writer = csv.writer(out, lineterminator="\r\n")
            columns = (points.times, points.mean, points.min, points.max, points.count)
            for at, mean, least, most, count in zip(*columns, strict=True):
                writer.writerow([cell_inert(name), int(at), mean, least, most, int(count)])
            yield out.getvalue().encode()


# --- removal -----------------------------------------------------------------------------------------------------


def removal_counts(*, client: Client, scope: Scope) -> dict[str, int]:
    """What a removal would delete: kind of thing, in words → how many."""
    seen = people.clients(scope=scope).get(pk=client.pk)
    scope.require(Permission.CLIENT_REMOVE, on=seen)
    found = {
        str(model._meta.verbose_name_plural): rows_of(model, seen).count()
        for model in scoped_models()
        if model._meta.label_lower not in PROOFS
    }
    return {words: number for words, number in found.items() if number}


@transaction.atomic
def client_remove(*, client: Client, confirm: str, reason: str, scope: Scope, now: datetime) -> Removed:
    """Remove a client for good: its devices can no longer check in, its data are deleted, its own people are switched
    off. Evidence, with its proofs, and service reports stay.

    ``confirm`` must be the client's name. NotAllowedError without ``client.remove`` there; LeavingError.
    """
    seen = people.clients(scope=scope).select_for_update().get(pk=client.pk)
    scope.require(Permission.CLIENT_REMOVE, on=seen)
    if confirm != seen.name:
        raise LeavingError(f"confirm: {confirm[:80]!r} is not the client's name, {seen.name!r}")
    if not reason.strip():
        raise LeavingError("reason: empty; a removal is for good and must say why")
    devices = list(rows_of(Device, seen).values_list("pk", flat=True))
    ForgottenDevice.objects.bulk_create([ForgottenDevice(device_id=device, at=now) for device in devices])
    rows = _delete(seen, now)
    home = Person.objects.filter(home_client=seen)
    home.update(is_active=False, email="", display_name="")
    rows["grants"] = Grant.objects.filter(client=seen).delete()[0]
    rows["api tokens"] = (ApiToken.objects.filter(client=seen) | ApiToken.objects.filter(person__in=home)).delete()[0]
    feeds = CalendarFeed.objects.filter(client=seen) | CalendarFeed.objects.filter(person__in=home)
    rows["calendar addresses"] = feeds.delete()[0]
    seen.removed_at, seen.removed_by, seen.removed_reason = now, scope.who, reason.strip()[:500]
    seen.notes = ""
    seen.save(update_fields=["removed_at", "removed_by", "removed_reason", "notes"])
    entry = evidence_append(
        client=seen,
        kind=EvidenceKind.CLIENT_REMOVED,
        payload={"by": scope.who, "reason": reason.strip(), "deleted": rows},
        now=now,
    )
    return Removed(client=seen, rows=rows, reference=entry.reference)


def _delete(client: Client, now: datetime) -> dict[str, int]:
    """Delete all that is no proof. Things protect what they rest on, so it goes in rounds, from the leaves inwards."""
    tickets = apps.get_model("tickets", "Ticket")
    reported = rows_of(apps.get_model("reports", "ServiceReport"), client).values("ticket")
    told = list(rows_of(tickets, client).filter(pk__in=reported).values_list("pk", "device_id"))
    kept = {tickets: {number for number, _ in told}, Device: {device for _, device in told if device}}
    rows_of(tickets, client).filter(pk__in=kept[tickets]).update(resolution="", owner=None)
    rows_of(Device, client).filter(pk__in=kept[Device]).update(
        status=DeviceStatus.REVOKED, revoked_at=now, revoked_reason="its client was removed",
        hostname="", machine_id="", boot_id="", os_name="",
    )  # fmt: skip
    waiting = [model for model in scoped_models() if model._meta.label_lower not in PROOFS]
    deleted: dict[str, int] = {}
    while waiting:
        left = []
        for model in waiting:
            rows = rows_of(model, client).exclude(pk__in=kept.get(model, ()))
            number = rows.count()
            try:
                with transaction.atomic():
                    rows.delete()
            except ProtectedError:
                left.append(model)
            else:
                if number:
                    deleted[str(model._meta.verbose_name_plural)] = number
        if len(left) == len(waiting):
            names = ", ".join(str(model._meta.verbose_name_plural) for model in left)
            raise LeavingError(f"these cannot be deleted, for others rest on them: {names}")
        waiting = left
    return deleted


def samples_forget(*, store: Store) -> int:
    """Drop the samples of devices whose client was removed; how many devices. The worker's: it alone writes there."""
    waiting = list(ForgottenDevice.objects.values_list("pk", "device_id"))
    if not waiting:
        return 0
    store.forget(device_ids=[device for _, device in waiting])
    ForgottenDevice.objects.filter(pk__in=[pk for pk, _ in waiting]).delete()
    return len(waiting)
