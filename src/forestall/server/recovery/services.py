"""Changes of protected systems and proofs. Every one writes its evidence in the same transaction."""

from __future__ import annotations

import hashlib
import logging
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec
from django.db import transaction

from forestall.server.calendar.queries import WindowBook
from forestall.server.calendar.windows import Allowed
from forestall.server.checks.result import Risk
from forestall.server.evidence.changes import change_record
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.inventory import queries as inventory
from forestall.server.inventory.models import Device, DeviceStatus, FactsDocument
from forestall.server.outbox.events import Event
from forestall.server.outbox.services import event_record
from forestall.server.people.scope import Permission, Scope
from forestall.server.recovery import queries
from forestall.server.recovery.matching import backup_of, engine_and_name
from forestall.server.recovery.models import (
    Attachment,
    KnownBackup,
    Proof,
    ProtectedSystem,
    Source,
    SystemKind,
)
from forestall.server.recovery.queries import RUNBOOK, SELF, Book, Standing
from forestall.server.recovery.rules import LEVELS_OF, Covering
from forestall.server.recovery.terms import plain_terms
from forestall.server.recovery.tickets import tickets_follow
from forestall.server.runbooks import services as runbooks
from forestall.server.runbooks.models import OPEN_STATES, Job, RunbookRecord
from forestall.trust.proofs import RestoreProof
from forestall.trust.words import RESTORE_TEST
from forestall.wire.facts import BackupProof, Backups

log = logging.getLogger(__name__)

MOST_ATTACHED = 5_000_000
"""Bytes of one attachment."""
LONGEST = 2000
MOST_SYSTEMS_A_DEVICE = 200
TRY_AGAIN = timedelta(hours=20)
"""Between two tests of one system that the schedule begins."""
SAME_ATTEMPT = timedelta(minutes=15)
"""What a device reports and what it signs of one attempt may lie so far apart, besides the time that it took."""
_DATABASE = re.compile(r"^[a-z][a-z0-9_-]{1,30}:\S.{0,200}$")
_PATH = re.compile(r"^(/|[A-Za-z]:[\\/]|[A-Za-z]:$|\\\\)")
BOUNDS: Mapping[str, tuple[int, int]] = {
    "rpo_minutes": (1, 366 * 24 * 60),
    "rto_minutes": (1, 366 * 24 * 60),
    "retention_days": (0, 36_500),
    "copies": (1, 20),
    "test_every_days": (1, 3660),
    "test_most_mb": (1, 10_000_000),
    "test_rate_kb": (0, 10_000_000),
    "test_sample": (1, 10_000),
}
"""Number → least and most."""
DEFAULT_RPO = 26 * 60
"""Minutes: a backup every night, and two hours for a run that takes longer or starts later."""


class RecoveryError(ValueError):
    """A protected system or proof that cannot be; the message names the bad value."""


# --- protected systems ------------------------------------------------------------------------------------------


@transaction.atomic
def system_add(
    *,
    device: Device,
    kind: str,
    what: str = "",
    name: str = "",
    terms: Mapping[str, Any] | None = None,
    scope: Scope,
    now: datetime,
) -> ProtectedSystem:
    """Name something that must be recoverable: a device as a whole, a folder of it, or a database.

    ``terms``: what is demanded, by name of the field; what is left out takes its default (the level: ``sample``, of a
    database ``database``). RecoveryError names the value that does not fit; Device.DoesNotExist when the scope does
    not see the device.
    """
    seen = Device.objects.visible_to(scope).select_related("client", "site").get(pk=device.pk)
    scope.require(Permission.RECOVERY_CHANGE, on=seen)
    Device.objects.visible_to(SELF).select_for_update(no_key=True).get(pk=seen.pk)
    kind, what = _kind_and_what(kind, what)
    own = ProtectedSystem.objects.visible_to(SELF).filter(device=seen)
    if own.count() >= MOST_SYSTEMS_A_DEVICE:
        raise RecoveryError(f"device: {seen.name} has {MOST_SYSTEMS_A_DEVICE} protected systems already")
    same = own.filter(kind=kind, what=what, archived_at=None).first()
    if same is not None:
        raise RecoveryError(f"what: {what or seen.name!r} is protected system {same.pk} already: {same.name}")
    given = dict(terms or {})
    given.setdefault("rpo_minutes", DEFAULT_RPO)
    given.setdefault("wanted_level", "database" if kind == "database" else "sample")
    system = ProtectedSystem(
        client=seen.client,
        site=seen.site,
        device=seen,
        kind=kind,
        what=what,
        name=_text("name", name, most=200) or _name(seen, kind, what),
        created_at=now,
        created_by=scope.who,
        changed_at=now,
        changed_by=scope.who,
    )
    _apply(system, given, scope)
    system.save()
    _on_record(system, None, plain_terms(system), scope, now)
    _follow([system.device_id], now)
    return system


@transaction.atomic
def system_change(
    *, system: ProtectedSystem, values: Mapping[str, Any], scope: Scope, now: datetime
) -> ProtectedSystem:
    """Change what is demanded of a system, its name, or the backups that are named for it. RecoveryError names the
    value that does not fit."""
    found = _locked(system, scope)
    if found.archived_at is not None:
        raise RecoveryError(f"system {found.pk} is archived: restore it first")
    before = plain_terms(found)
    values = dict(values)
    if "name" in values:
        found.name = _text("name", values.pop("name"), most=200) or _name(found.device, found.kind, found.what)
    _apply(found, values, scope)
    if plain_terms(found) == before:
        return found
    found.changed_at, found.changed_by = now, scope.who
    found.save()
    _on_record(found, before, plain_terms(found), scope, now)
    _follow([found.device_id], now)
    return found


@transaction.atomic
def system_archive(*, system: ProtectedSystem, why: str, scope: Scope, now: datetime) -> ProtectedSystem:
    """Say that a system need not be recoverable any more. Its proofs stay; ``system_restore`` brings it back."""
    found = _locked(system, scope)
    if found.archived_at is not None:
        raise RecoveryError(f"system {found.pk} was archived by {found.archived_by} already")
    why = _text("why", why)
    if not why:
        raise RecoveryError("why: empty; say why it need not be recoverable any more")
    found.archived_at, found.archived_by, found.archived_why = now, scope.who, why
    found.save(update_fields=["archived_at", "archived_by", "archived_why"])
    _on_record(found, {"archived": ""}, {"archived": why}, scope, now)
    _follow([found.device_id], now)
    return found


@transaction.atomic
def system_restore(*, system: ProtectedSystem, scope: Scope, now: datetime) -> ProtectedSystem:
    """Take an archived system back: it must be recoverable again. RecoveryError when it is not archived, or another
    one is named for the same thing meanwhile."""
    found = _locked(system, scope)
    if found.archived_at is None:
        raise RecoveryError(f"system {found.pk} is not archived")
    same = ProtectedSystem.objects.visible_to(SELF).filter(
        device=found.device_id, kind=found.kind, what=found.what, archived_at=None
    )
    other = same.first()
    if other is not None:
        raise RecoveryError(f"system {found.pk}: {other.name} (system {other.pk}) is named for the same thing now")
    why = found.archived_why
    found.archived_at, found.archived_by, found.archived_why = None, "", ""
    found.save(update_fields=["archived_at", "archived_by", "archived_why"])
    _on_record(found, {"archived": why}, {"archived": ""}, scope, now)
    _follow([found.device_id], now)
    return found


def _locked(system: ProtectedSystem, scope: Scope) -> ProtectedSystem:
    rows = ProtectedSystem.objects.visible_to(scope).select_for_update(of=("self",))
    found: ProtectedSystem = rows.select_related("client", "site", "device").get(pk=system.pk)
    scope.require(Permission.RECOVERY_CHANGE, on=found)
    return found


def _name(device: Device, kind: str, what: str) -> str:
    if kind == "machine":
        return device.name
    return f"{engine_and_name(what)[1] if kind == 'database' else what} on {device.name}"[:200]


def _kind_and_what(kind: str, what: str) -> tuple[str, str]:
    what = what.strip()
    if kind not in SystemKind.values:
        raise RecoveryError(f"kind: {kind!r} is not machine, folder or database")
    if kind == "machine":
        if what:
            raise RecoveryError(f"what: {what!r}: of a machine nothing is named, it is meant as a whole")
        return kind, ""
    if len(what) > 500 or "\n" in what:
        raise RecoveryError(f"what: {what[:60]!r}… is longer than 500 characters or has several lines")
    if kind == "folder":
        if not _PATH.match(what):
            raise RecoveryError(f"what: {what!r} is no whole path: /srv/data, C:\\Data")
        # One spelling of each folder, so that it is named only once.
        return kind, what.rstrip("/\\") or what[:1] if not re.match(r"^[A-Za-z]:", what) else what.rstrip("\\/")
    if not _DATABASE.match(what):
        raise RecoveryError(f"what: {what!r} is no database: write its engine before it, postgresql:shop, mariadb:shop")
    return kind, ":".join(engine_and_name(what))


def _text(field: str, value: Any, *, most: int = LONGEST) -> str:
    text = str(value or "").strip()
    if len(text) > most:
        raise RecoveryError(f"{field}: {len(text):,} characters, at most {most:,}")
    return text


def _apply(system: ProtectedSystem, values: Mapping[str, Any], scope: Scope) -> None:
    """Take terms over; RecoveryError for one that is unknown or does not fit."""
    for field, value in values.items():
        if field in BOUNDS:
            if value is None and field == "rto_minutes":
                system.rto_minutes = None
                continue
            least, most = BOUNDS[field]
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise RecoveryError(f"{field}: {value!r} is not a whole number from {least:,} to {most:,}")
            setattr(system, field, value)
        elif field in {"off_site", "offline", "test_by_itself"}:
            if not isinstance(value, bool):
                raise RecoveryError(f"{field}: {value!r} is neither true nor false")
            setattr(system, field, value)
        elif field == "importance":
            if value not in {one.value for one in Risk}:
                raise RecoveryError(f"importance: {value!r} is not critical, high, medium or low")
            system.importance = value
        elif field == "wanted_level":
            levels = LEVELS_OF[system.kind]
            if value not in levels:
                raise RecoveryError(f"wanted_level: {value!r} is not for a {system.kind}: {', '.join(levels)}")
            system.wanted_level = value
        elif field == "note":
            system.note = _text("note", value)
        elif field == "backups":
            system.backups = _backups(system, value, scope)
        else:
            raise RecoveryError(f"{field}: no such term; known: {', '.join([*BOUNDS, 'off_site', 'offline'])} …")


def _backups(system: ProtectedSystem, value: Any, scope: Scope) -> list[dict[str, str]]:
    """The backups that a person names for a system: of devices of its client that they see."""
    kept: dict[tuple[str, str], dict[str, str]] = {}
    if len(value) > 20:
        raise RecoveryError(f"backups: {len(value)}, at most 20")
    for one in value:
        try:
            device, name = UUID(str(one["device"])), str(one["backup"]).strip()
        except (KeyError, TypeError, ValueError):
            raise RecoveryError(f"backups: {one!r} names no device and backup") from None
        known = KnownBackup.objects.visible_to(scope).filter(client=system.client_id, device=device, name=name)
        if not known.exists():
            raise RecoveryError(f"backups: no device of this client tells of a backup {name!r} on {device}")
        kept[str(device), name] = {"device": str(device), "backup": name}
    return [kept[key] for key in sorted(kept)]


def _on_record(
    system: ProtectedSystem,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    scope: Scope,
    now: datetime,
) -> None:
    change_record(
        client=system.client,
        kind=EvidenceKind.RECOVERY_CHANGED,
        what="protected system",
        name=system.name,
        before=before,
        after=after,
        by=scope.who,
        now=now,
        site_id=system.site_id,
        device_id=system.device_id,
    )


# --- what devices tell of ---------------------------------------------------------------------------------------


def backups_follow_by_id(*, device_id: UUID | str, documents: Collection[str], now: datetime) -> int:
    """``backups_follow`` when a device's backups are among the documents that changed; how many backups it tells of."""
    if "backups" not in documents:
        return 0
    device = Device.objects.visible_to(SELF).select_related("client", "site").filter(pk=device_id).first()
    return 0 if device is None else backups_follow(device=device, now=now)


@transaction.atomic
def backups_follow(*, device: Device, now: datetime) -> int:
    """Keep what a device tells of its backups, and what it reports of proofs; how many backups it tells of."""
    document = inventory.facts_of(scope=SELF, device=device).backups
    if document is None:
        return 0
    rows = KnownBackup.objects.visible_to(SELF).filter(device=device)
    known = {row.name: row for row in rows.select_for_update(of=("self",))}
    told = {repository.name[:200]: repository for repository in document.repositories}
    for name, repository in told.items():
        backup = backup_of(repository)
        row = known.get(name) or KnownBackup(
            client=device.client, site=device.site, device=device, name=name, first_seen_at=now
        )
        row.tool, row.location, row.told = backup.tool[:40], backup.location[:500], backup.told
        row.state, row.last_success_at = msgspec.to_builtins(backup), backup.last_success_at
        row.seen_at, row.gone_at = now, None
        row.save()
    rows.filter(gone_at=None).exclude(name__in=told).update(gone_at=now)
    _reported(device, document, now)
    _follow(_systems_touched(device), now)
    return len(told)


def _reported(device: Device, document: Backups, now: datetime) -> None:
    """Keep the proofs that a device reports in its facts. What its signed result says already is not said twice."""
    for repository in document.repositories:
        for proof in repository.proofs:
            at = min(proof.at, now)
            same = Proof.objects.visible_to(SELF).filter(
                device=device, backup=repository.name[:200], level=proof.level, system=None
            )
            if same.filter(source=Source.REPORTED, at=at).exists() or _signed_twin(same, proof, at):
                continue
            row = Proof(
                client=device.client,
                site=device.site,
                device=device,
                backup=repository.name[:200],
                tool=repository.tool[:40],
                level=proof.level,
                ok=proof.ok,
                at=at,
                source=Source.REPORTED,
                snapshot=proof.snapshot[:200],
                snapshot_at=proof.snapshot_at,
                seconds=_seconds(proof.seconds),
                files=_whole(proof.files),
                compared=_whole(proof.compared),
                bytes=_whole(proof.bytes),
                detail=proof.detail[:LONGEST],
                recorded_at=now,
            )
            _recorded(row, now)


def _signed_twin(same: Any, proof: BackupProof, at: datetime) -> bool:
    """Whether a signed result tells of the same attempt."""
    slack = SAME_ATTEMPT + timedelta(seconds=_seconds(proof.seconds) or 0.0)
    return bool(same.filter(source=Source.SIGNED, ok=proof.ok, at__gte=at - slack, at__lte=at + slack).exists())


def _seconds(value: float | None) -> float | None:
    return None if value is None or not 0 <= value < 1e9 else float(value)


def _whole(value: int) -> int:
    return min(max(int(value), 0), 2**62)


def proofs_follow_job_by_id(*, job_id: UUID | str, now: datetime) -> list[Proof]:
    """Keep what a finished job's signed result shows of backups; the proofs that are new."""
    rows = Job.objects.visible_to(SELF).select_related("client", "site", "device", "runbook")
    job = rows.filter(pk=job_id).first()
    return [] if job is None else proofs_follow_job(job=job, now=now)


@transaction.atomic
def proofs_follow_job(*, job: Job, now: datetime) -> list[Proof]:
    """``proofs_follow_job_by_id`` of one that is at hand. A job that proved nothing, or was answered before: none."""
    if job.dry_run or not job.result_envelope:
        return []
    made = []
    for number, step in enumerate(job.result_steps):
        if "proof" not in step:
            continue
        said = msgspec.convert(step["proof"], RestoreProof)
        at, name = min(said.started_at, now), said.backup[:200]
        if Proof.objects.visible_to(SELF).filter(job_id=job.pk, step=number).exists():
            continue
        slack = SAME_ATTEMPT + timedelta(seconds=_seconds(said.seconds) or 0.0)
        Proof.objects.visible_to(SELF).filter(
            device=job.device, backup=name, level=said.level, ok=said.ok, source=Source.REPORTED,
            at__gte=at - slack, at__lte=at + slack,
        ).delete()  # fmt: skip
        row = Proof(
            client=job.client,
            site=job.site,
            device=job.device,
            backup=name,
            tool=said.tool[:40],
            level=said.level,
            ok=said.ok,
            at=at,
            source=Source.SIGNED,
            snapshot=said.snapshot[:200],
            snapshot_at=said.snapshot_at,
            seconds=_seconds(said.seconds),
            files=_whole(said.files),
            compared=_whole(said.compared),
            bytes=_whole(said.bytes),
            detail=said.detail[:LONGEST],
            differences=list(said.differences)[:50],
            job_id=job.pk,
            step=number,
            recorded_at=now,
        )
        _recorded(row, now, result=job.evidence_reference)
        made.append(row)
    if made:
        _follow(_systems_touched(job.device), now)
    return made


def _recorded(proof: Proof, now: datetime, *, result: str = "") -> None:
    payload: dict[str, Any] = {
        "device": proof.device.name,
        "backup": proof.backup,
        "tool": proof.tool,
        "level": proof.level,
        "ok": proof.ok,
        "at": proof.at,
        "source": str(proof.source),
        "snapshot": proof.snapshot,
        "snapshot_at": proof.snapshot_at,
        "seconds": None if proof.seconds is None else round(proof.seconds, 3),
        "files": proof.files,
        "compared": proof.compared,
        "bytes": proof.bytes,
        "detail": proof.detail,
        "result": result,
    }
    entry = evidence_append(
        client=proof.client,
        kind=EvidenceKind.PROOF_RECORDED,
        payload={name: value for name, value in payload.items() if value not in ("", None)},
        now=now,
        device_id=proof.device_id,
        site_id=proof.site_id,
        job_id="" if proof.job_id is None else str(proof.job_id),
    )
    proof.evidence_reference = entry.reference
    proof.save()
    event_record(
        event=Event.PROOF_RECORDED,
        subject=proof.pk,
        at=now,
        detail={"device": str(proof.device_id), "backup": proof.backup, "level": proof.level, "ok": proof.ok},
    )


# --- attested proofs --------------------------------------------------------------------------------------------


@transaction.atomic
def proof_attest(
    *,
    system: ProtectedSystem,
    level: str,
    ok: bool,
    at: datetime,
    detail: str,
    seconds: float | None = None,
    attachment: tuple[str, bytes] | None = None,
    scope: Scope,
    now: datetime,
) -> Proof:
    """Put a person's word for a restore test done by hand on record, with a file that shows it if there is one.

    ``attachment``: name and content. RecoveryError names the value that does not fit.
    """
    found = _locked(system, scope)
    levels = LEVELS_OF[found.kind]
    if level not in levels:
        raise RecoveryError(f"level: {level!r} is not for a {found.kind}: {', '.join(levels)}")
    if not now - timedelta(days=3660) <= at <= now:
        raise RecoveryError(f"at: {at:%Y-%m-%d %H:%M} is not within the last ten years")
    detail = _text("detail", detail)
    if not detail:
        raise RecoveryError("detail: empty; say what was restored, where to, and how it was compared")
    if seconds is not None and not 0 < seconds < 366 * 86_400:
        raise RecoveryError(f"seconds: {seconds:g} is no time that a restore takes")
    kept, name = (None, "") if attachment is None else _attached(found, *attachment, now=now)
    proof: Proof = Proof.objects.create(
        client=found.client,
        site=found.site,
        device=found.device,
        system=found,
        level=level,
        ok=ok,
        at=at,
        source=Source.ATTESTED,
        seconds=seconds,
        detail=detail,
        by=scope.who,
        attachment=kept,
        attachment_name=name,
        recorded_at=now,
    )
    _attested(
        proof, {"attachment": {"name": name, "sha256": kept.sha256, "size": kept.size}} if kept else {}, scope, now
    )
    event_record(
        event=Event.PROOF_RECORDED,
        subject=proof.pk,
        at=now,
        detail={"device": str(proof.device_id), "system": found.pk, "level": level, "ok": ok},
    )
    _follow([found.device_id], now)
    return proof


@transaction.atomic
def proof_withdraw(*, proof: Proof, why: str, scope: Scope, now: datetime) -> Proof:
    """Take an attested proof back: it counts no more, and stays on record. RecoveryError for one that a device gave."""
    rows = Proof.objects.visible_to(scope).select_for_update(of=("self",)).select_related("client", "system", "device")
    found: Proof = rows.get(pk=proof.pk)
    scope.require(Permission.RECOVERY_CHANGE, on=found)
    if found.source != Source.ATTESTED:
        raise RecoveryError(f"proof {found.pk} is {found.get_source_display()}: only a person's word can be taken back")
    if found.withdrawn_at is not None:
        raise RecoveryError(f"proof {found.pk} was withdrawn by {found.withdrawn_by} already")
    why = _text("why", why)
    if not why:
        raise RecoveryError("why: empty; say why it counts no more")
    found.withdrawn_at, found.withdrawn_by, found.withdrawn_why = now, scope.who, why
    found.save(update_fields=["withdrawn_at", "withdrawn_by", "withdrawn_why"])
    _attested(found, {"withdrawn": why}, scope, now)
    _follow([found.device_id], now)
    return found


def _attached(system: ProtectedSystem, name: str, content: bytes, *, now: datetime) -> tuple[Attachment, str]:
    if not content:
        raise RecoveryError("attachment: the file is empty")
    if len(content) > MOST_ATTACHED:
        raise RecoveryError(f"attachment: {len(content):,} bytes, at most {MOST_ATTACHED:,}")
    # Of the name only its last part, without what could steer a terminal or a header.
    last = re.sub(r"[^\w.,()\- ]+", "_", name.replace("\\", "/").rsplit("/", 1)[-1]).strip(". ")[-200:] or "attachment"
    digest = hashlib.sha256(content).hexdigest()
    same = Attachment.objects.visible_to(SELF).filter(site=system.site_id, sha256=digest).first()
    kept: Attachment = same or Attachment.objects.create(
        client=system.client, site=system.site, sha256=digest, size=len(content), content=content, at=now
    )
    return kept, last


def _attested(proof: Proof, more: Mapping[str, Any], scope: Scope, now: datetime) -> None:
    system = proof.system
    payload = {
        "system": "" if system is None else system.name,
        "device": proof.device.name,
        "level": proof.level,
        "ok": proof.ok,
        "at": proof.at,
        "seconds": proof.seconds,
        "detail": proof.detail,
        "by": scope.who,
        **more,
    }
    entry = evidence_append(
        client=proof.client,
        kind=EvidenceKind.PROOF_ATTESTED,
        payload=payload,
        now=now,
        device_id=proof.device_id,
        site_id=proof.site_id,
    )
    proof.evidence_reference = entry.reference
    proof.save(update_fields=["evidence_reference"])


# --- restore tests ----------------------------------------------------------------------------------------------


def restore_test_parameters(system: ProtectedSystem, backup: str, level: str) -> dict[str, str | int | bool]:
    """What the runbook of restore tests is given."""
    return {
        "backup": backup,
        "level": level,
        "most_mb": system.test_most_mb,
        "rate_kb": system.test_rate_kb,
        "sample": system.test_sample,
    }


def backup_to_test(standing: Standing) -> Covering | None:
    """The backup that a test of a system restores: the newest good one of those whose device knows how."""
    fit = [
        one
        for one in standing.judged.covering
        if one.is_whole and one.holding.backup.told and one.holding.backup.last_success_at is not None
    ]
    return fit[0] if fit else None


def why_untestable(standing: Standing) -> str:
    """Why no test can run; empty: one can."""
    if backup_to_test(standing) is not None:
        return ""
    whole = [one for one in standing.judged.covering if one.is_whole]
    if not whole:
        return "no backup holds all of it"
    if all(one.holding.backup.last_success_at is None for one in whole):
        return "no backup of it was ever completed"
    return (
        f"{whole[0].holding.shown} is not named in the device's backups.toml, so the agent does not know how to "
        "restore it: test it by hand and attest that"
    )


@transaction.atomic
def restore_test_prepare(
    *,
    system: ProtectedSystem,
    level: str = "",
    trigger: Literal["person", "schedule"] = "person",
    until: datetime | None = None,
    scope: Scope,
    now: datetime,
) -> Job:
    """Begin a restore test of a system: queued where a standing order allows it, else prepared for a signature.

    RecoveryError says why none can run; RunbooksError when the device takes no jobs or the same test is under way.
    """
    found = ProtectedSystem.objects.visible_to(scope).select_related("client", "site", "device").get(pk=system.pk)
    scope.require(Permission.RECOVERY_CHANGE, on=found)
    if found.archived_at is not None:
        raise RecoveryError(f"system {found.pk} is archived: restore it first")
    level = level or found.wanted_level
    if level not in LEVELS_OF[found.kind] or level == "reported":
        levels = [one for one in LEVELS_OF[found.kind] if one != "reported"]
        raise RecoveryError(f"level: {level!r} cannot be tested on a {found.kind}: {', '.join(levels)}")
    standing = queries.standing_of(scope=scope, system=found, now=now)
    chosen = backup_to_test(standing)
    if chosen is None:
        raise RecoveryError(f"{found.name} cannot be tested: {why_untestable(standing)}")
    device = Device.objects.visible_to(SELF).select_related("client", "site").get(pk=chosen.holding.device)
    if not scope.may(Permission.DEVICE_VIEW, on=device):
        raise RecoveryError(f"{found.name} is tested on a device that you do not see")
    parameters = restore_test_parameters(found, chosen.holding.backup.name, level)
    whose = "scheduled" if trigger == "schedule" else f"asked for by {scope.who}"
    because = f"restore test of {found.name} at level {level}, {whose}"
    # A job that names the same backup at another level waits for this one: both restore into the same scratch place.
    open_jobs = Job.objects.visible_to(SELF).filter(
        device=device, runbook__slug=RUNBOOK, state__in=OPEN_STATES, dry_run=False
    )
    for job in open_jobs:
        if job.parameters.get("backup") == parameters["backup"]:
            raise RecoveryError(f"a restore test of {parameters['backup']} is {job.get_state_display()}: job {job.pk}")
    try:
        with transaction.atomic():
            job = runbooks.order_run(
                device=device, slug=RUNBOOK, parameters=parameters, because=because, trigger=RESTORE_TEST, until=until,
                now=now,
            )  # fmt: skip
    except runbooks.NoOrderError as why:
        job = runbooks.job_prepare(
            scope=scope, runbook=RUNBOOK, device=device, parameters=parameters, reason=f"{because} ({why})",
            until=until, now=now,
        )  # fmt: skip
    ProtectedSystem.objects.visible_to(SELF).filter(pk=found.pk).update(tried_at=now, tried_why="")
    return job


def restore_tests_schedule(*, now: datetime) -> int:
    """Begin the restore tests that are due, of devices whose maintenance window is open; how many. A system that
    cannot be tested says why, and stops no other."""
    due = queries.systems(scope=SELF).filter(test_by_itself=True, device__status=DeviceStatus.APPROVED)
    due = due.exclude(tried_at__gt=now - TRY_AGAIN)
    windows = WindowBook.load(scope=SELF, since=now - timedelta(days=1))
    if not windows.sites and not windows.devices:
        return 0
    begun = 0
    sites: dict[UUID, UUID] = {}
    for standing in queries.standings(scope=SELF, now=now, systems_of=due):
        at, chosen = standing.judged.test_due_at, backup_to_test(standing)
        if at is None or at > now or chosen is None:
            continue
        device = chosen.holding.device
        if device not in sites:
            site = Device.objects.visible_to(SELF).values_list("site_id", flat=True).get(pk=device)
            sites[device] = site
        allowed: Allowed | None = windows.allowed(sites[device], device, now)
        if allowed is None or allowed.caught_up:
            continue
        why = ""
        try:
            restore_test_prepare(system=standing.system, trigger="schedule", until=allowed.until, scope=SELF, now=now)
            begun += 1
        except (RecoveryError, runbooks.RunbooksError) as error:
            why = str(error)
        except RunbookRecord.DoesNotExist:
            why = f"the runbook {RUNBOOK} is not published here"
        if why:
            log.info("restore test of system %s was not begun: %s", standing.system.pk, why)
            rows = ProtectedSystem.objects.visible_to(SELF).filter(pk=standing.system.pk)
            rows.update(tried_at=now, tried_why=why[:LONGEST])
    return begun


# --- tickets ----------------------------------------------------------------------------------------------------


_caught_up = False
"""Whether this process has read the backups of devices that told of them before anything kept them."""


def recovery_tick(*, now: datetime) -> int:
    """Bring the tickets about protected systems up to date with the clock: proofs lapse and backups grow old; of how
    many devices."""
    global _caught_up
    if not _caught_up:
        backups_catch_up(now=now)
        _caught_up = True
    devices = set(queries.systems(scope=SELF).order_by().values_list("device_id", flat=True))
    devices |= set(
        ProtectedSystem.objects.visible_to(SELF).exclude(ticket_id=None).order_by().values_list("device_id", flat=True)
    )
    _follow(devices, now)
    return len(devices)


def backups_catch_up(*, now: datetime) -> int:
    """``backups_follow`` of devices whose facts tell of backups and of which none is kept; how many devices."""
    kept = KnownBackup.objects.visible_to(SELF).order_by().values("device_id")
    told = FactsDocument.objects.visible_to(SELF).filter(name=Backups.name()).exclude(device__in=kept)
    devices = Device.objects.visible_to(SELF).select_related("client", "site").filter(pk__in=told.values("device_id"))
    for device in list(devices):
        backups_follow(device=device, now=now)
    return len(devices)


def _systems_touched(device: Device) -> Sequence[UUID]:
    """Devices whose systems a device's backups may hold: its own, and where it holds other machines all of the client's
    that have any."""
    rows = queries.systems(scope=SELF).filter(client=device.client_id).order_by()
    own = KnownBackup.objects.visible_to(SELF).filter(device=device).values_list("state", flat=True)
    named = rows.exclude(backups=[]).values_list("device_id", flat=True)
    if any(state.get("hosts") or any(":" in item for item in state.get("protects", ())) for state in own):
        return sorted(set(rows.values_list("device_id", flat=True)), key=str)
    return sorted({device.pk, *named}, key=str)


def _follow(devices: Collection[UUID], now: datetime) -> None:
    """Tickets of these devices, from how their systems stand now."""
    rows = list(queries.systems(scope=SELF).filter(device__in=list(devices)).order_by("pk"))
    of_device: dict[UUID, list[Standing]] = defaultdict(list)
    if rows:
        book = Book.load(clients={row.client_id for row in rows}, scope=SELF, within_sites=True)
        for row in rows:
            judged = book.judge(row, now)
            of_device[row.device_id].append(Standing(row, judged, now))
            if row.lapses_at != judged.lapses_at:
                ProtectedSystem.objects.visible_to(SELF).filter(pk=row.pk).update(lapses_at=judged.lapses_at)
    for device in sorted(devices, key=str):
        with transaction.atomic():
            tickets_follow(device_id=device, standings=of_device.get(device, []), now=now)
