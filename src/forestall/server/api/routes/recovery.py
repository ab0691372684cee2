"""Protected systems: what must be recoverable, what covers it, restore tests and proofs."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.http import HttpResponse
from ninja import Field
from pydantic import AwareDatetime

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.inventory import queries as inventory
from forestall.server.people.scope import Permission
from forestall.server.recovery import queries, services
from forestall.server.recovery.models import Proof, ProtectedSystem
from forestall.server.recovery.queries import Standing, Suggestion
from forestall.server.recovery.rules import Covering, RecoveryGap, Rung

router = Routes(tags=["recovery"])

Level = Literal["reported", "integrity", "sample", "whole", "database", "application"]
Kind = Literal["machine", "folder", "database"]
Importance = Literal["critical", "high", "medium", "low"]
StatusWord = Literal["pass", "warn", "fail", "unknown", "stale"]


class RecoveryGapOut(Schema):
    code: str
    status: StatusWord
    sentence: str
    fix: str


class CoveringOut(Schema):
    device: Named
    backup: str = Field(description="In words where its device is not yours to see.")
    tool: str
    cover: Literal["whole", "part", "unsaid"]
    why: str
    last_success_at: datetime | None
    last_run_ok: bool | None
    remote: bool | None
    offline: bool | None
    immutable: bool | None


class RungOut(Schema):
    level: Level
    state: Literal["proved", "lapsed", "failed", "never"]
    at: datetime | None
    until: datetime | None
    source: str = Field(description="`signed` or `reported` by the device, or `attested` by a person.")
    wanted: bool


class NamedBackup(Schema):
    device: UUID
    backup: str = Field(max_length=200)


class ProtectedSystemOut(Schema):
    id: int
    client: Named
    site: Named
    device: Named
    kind: Kind
    what: str
    name: str
    importance: Importance
    status: StatusWord
    why: str
    bring_back: Literal["yes", "perhaps", "no"] = Field(
        description="Whether it could be brought back today: `yes` only when a restore is proved and counts."
    )
    covered: bool
    backup_at: datetime | None = Field(description="Newest good backup that holds all of it.")
    level: Level | None = Field(description="The strongest level that is proved and has not lapsed.")
    proved_at: datetime | None
    proved_by: str
    lapses_at: datetime | None = Field(description="When the wanted level is proved no more; null: it is not now.")
    verified_at: datetime | None = Field(description="When it was last brought back, however long ago.")
    verified_level: Level | None
    recovery_seconds: float | None
    recovery_measured: bool | None = Field(description="False: worked out from a sample.")
    copies_found: int
    off_site_found: bool | None
    offline_found: bool | None
    gaps: list[RecoveryGapOut]
    rpo_minutes: int
    rto_minutes: int | None
    retention_days: int
    copies: int
    off_site: bool
    offline: bool
    wanted_level: Level
    test_every_days: int
    test_by_itself: bool
    test_most_mb: int
    test_rate_kb: int
    test_sample: int
    backups: list[NamedBackup]
    note: str
    ticket: int | None
    created_at: datetime
    created_by: str
    archived_at: datetime | None
    archived_why: str


class ProtectedSystemWholeOut(ProtectedSystemOut):
    rungs: list[RungOut]
    covering: list[CoveringOut]
    test_due_at: datetime | None
    test_why_not: str = Field(description="Why no restore test can run; empty: one can.")


class ProtectedSystemTermsIn(Schema):
    importance: Importance | None = None
    rpo_minutes: int | None = Field(None, ge=1, description="Recovery point objective.")
    rto_minutes: int | None = Field(None, ge=1, description="Recovery time objective.")
    retention_days: int | None = Field(None, ge=0)
    copies: int | None = Field(None, ge=1, description="The live one included.")
    off_site: bool | None = None
    offline: bool | None = None
    wanted_level: Level | None = None
    test_every_days: int | None = Field(None, ge=1)
    test_by_itself: bool | None = None
    test_most_mb: int | None = Field(None, ge=1)
    test_rate_kb: int | None = Field(None, ge=0, description="0: no bound.")
    test_sample: int | None = Field(None, ge=1)
    backups: list[NamedBackup] | None = Field(None, description="Empty: found by what is in them.")
    note: str | None = Field(None, max_length=2000)


class ProtectedSystemIn(ProtectedSystemTermsIn):
    device: UUID
    kind: Kind = "machine"
    what: str = Field("", max_length=500, description="Path of a folder; `postgresql:shop` of a database.")
    name: str = Field("", max_length=200)


class ProtectedSystemChangeIn(ProtectedSystemTermsIn):
    """What is not named stays; `rto_minutes: null` takes the objective away."""

    name: str | None = Field(None, max_length=200)


class ProtectedSystemEndIn(Schema):
    why: str = Field(min_length=1, max_length=2000)


class RestoreTestIn(Schema):
    level: Literal["", "integrity", "sample", "whole", "database", "application"] = Field(
        "", description="Empty: the wanted one."
    )


class RestoreTestOut(Schema):
    job: UUID
    state: str = Field(description="`queued` under a standing order, or `awaiting_signature`.")
    device: Named
    parameters: dict[str, Any]


class AttachmentIn(Schema):
    name: str = Field(max_length=200)
    content: str = Field(description="Base64; 5 MB at most.")


class ProofAttestIn(Schema):
    level: Level
    ok: bool = True
    at: AwareDatetime | None = Field(None, description="When it was tested; null: now.")
    detail: str = Field(min_length=1, max_length=2000, description="What was restored, where to, how compared.")
    seconds: float | None = Field(None, gt=0, description="How long the restore took.")
    attachment: AttachmentIn | None = None


class ProofOut(Schema):
    id: int
    client: Named
    device: Named
    system: int | None = Field(description="Of an attested proof.")
    backup: str
    tool: str
    level: Level
    ok: bool
    at: datetime
    source: Literal["signed", "reported", "attested"]
    snapshot: str
    snapshot_at: datetime | None
    seconds: float | None
    files: int
    compared: int
    bytes: int
    detail: str
    differences: list[str]
    job: UUID | None
    by: str
    attachment_name: str
    attachment_sha256: str
    evidence: str
    withdrawn_at: datetime | None
    withdrawn_by: str
    withdrawn_why: str


class RecoveryGapOfSystemOut(RecoveryGapOut):
    system: int
    name: str
    client: Named
    device: Named
    importance: Importance


class SuggestionOut(Schema):
    client: Named
    device: Named
    kind: Kind
    what: str
    name: str
    why: str


@router.get(
    "/protected-systems",
    allow=Permission.DEVICE_VIEW,
    response=Page[ProtectedSystemOut],
    summary="What must be recoverable, and how each stands now",
)
def protected_system_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    device: UUID | None = None,
    archived: bool = False,  # noqa: FBT001, FBT002 - a query parameter
) -> dict[str, Any]:
    scope, now = request.scope, current_time()
    found = queries.systems(scope=scope, archived=archived)
    if client is not None:
        found = found.filter(client=client)
    if device is not None:
        found = found.filter(device=device)
    answer = page(found, shape=lambda row: row, cursor=paging.cursor, limit=paging.limit)
    rows: list[ProtectedSystem] = answer["items"]
    book = queries.Book.load(clients={row.client_id for row in rows}, scope=scope)
    answer["items"] = [_system(Standing(row, book.judge(row, now), now)) for row in rows]
    return answer


@router.post(
    "/protected-systems",
    allow=Permission.RECOVERY_CHANGE,
    response={201: ProtectedSystemWholeOut},
    summary="Name something that must be recoverable",
)
def protected_system_add(request: ApiRequest, body: ProtectedSystemIn) -> tuple[int, dict[str, Any]]:
    scope, now = request.scope, current_time()
    device = inventory.devices(scope=scope).get(pk=body.device)
    made = services.system_add(
        device=device,
        kind=body.kind,
        what=body.what,
        name=body.name,
        terms=_terms(body, {"device", "kind", "what", "name"}),
        scope=scope,
        now=now,
    )
    return 201, _whole(queries.standing_of(scope=scope, system=made, now=now))


@router.get(
    "/protected-systems/suggestions",
    allow=Permission.DEVICE_VIEW,
    response=list[SuggestionOut],
    summary="Devices and databases that look as if they had to be recoverable, and that nobody has named",
)
def protected_system_suggest(request: ApiRequest, client: UUID | None = None) -> list[dict[str, Any]]:
    return [_suggestion(one) for one in queries.suggestions(scope=request.scope, client=client)]


@router.get(
    "/protected-systems/gaps",
    allow=Permission.DEVICE_VIEW,
    response=list[RecoveryGapOfSystemOut],
    summary="Everything that is missing, the worst of the most important first",
)
def protected_system_gaps(request: ApiRequest, client: UUID | None = None) -> list[dict[str, Any]]:
    return [
        {
            **_gap(gap),
            "system": one.system.pk,
            "name": one.system.name,
            "client": one.system.client,
            "device": one.system.device,
            "importance": one.system.importance,
        }
        for one, gap in queries.gaps(scope=request.scope, now=current_time())
        if client is None or one.client_id == client
    ]


@router.get(
    "/protected-systems/{protected_system_id}",
    allow=Permission.DEVICE_VIEW,
    response=ProtectedSystemWholeOut,
    summary="Show a protected system: its ladder of proofs and what covers it",
)
def protected_system_show(request: ApiRequest, protected_system_id: int) -> dict[str, Any]:
    return _shown(request, protected_system_id)


@router.patch(
    "/protected-systems/{protected_system_id}",
    allow=Permission.RECOVERY_CHANGE,
    response=ProtectedSystemWholeOut,
    summary="Change what is demanded of a protected system",
)
def protected_system_change(
    request: ApiRequest, protected_system_id: int, body: ProtectedSystemChangeIn
) -> dict[str, Any]:
    found = queries.systems(scope=request.scope, archived=True).get(pk=protected_system_id)
    services.system_change(system=found, values=_terms(body, set()), scope=request.scope, now=current_time())
    return _shown(request, protected_system_id)


@router.post(
    "/protected-systems/{protected_system_id}/archive",
    allow=Permission.RECOVERY_CHANGE,
    response=ProtectedSystemWholeOut,
    summary="Say that it need not be recoverable any more",
)
def protected_system_archive(
    request: ApiRequest, protected_system_id: int, body: ProtectedSystemEndIn
) -> dict[str, Any]:
    found = queries.systems(scope=request.scope, archived=True).get(pk=protected_system_id)
    services.system_archive(system=found, why=body.why, scope=request.scope, now=current_time())
    return _shown(request, protected_system_id)


@router.post(
    "/protected-systems/{protected_system_id}/restore",
    allow=Permission.RECOVERY_CHANGE,
    response=ProtectedSystemWholeOut,
    summary="Take an archived system back",
)
def protected_system_restore(request: ApiRequest, protected_system_id: int) -> dict[str, Any]:
    found = queries.systems(scope=request.scope, archived=True).get(pk=protected_system_id)
    services.system_restore(system=found, scope=request.scope, now=current_time())
    return _shown(request, protected_system_id)


@router.post(
    "/protected-systems/{protected_system_id}/test",
    allow=Permission.RECOVERY_CHANGE,
    response={201: RestoreTestOut},
    summary="Begin a restore test now",
)
def protected_system_test(
    request: ApiRequest, protected_system_id: int, body: RestoreTestIn
) -> tuple[int, dict[str, Any]]:
    found = queries.systems(scope=request.scope).get(pk=protected_system_id)
    job = services.restore_test_prepare(system=found, level=body.level, scope=request.scope, now=current_time())
    return 201, {"job": job.pk, "state": job.state, "device": job.device, "parameters": job.parameters}


@router.post(
    "/protected-systems/{protected_system_id}/attest",
    allow=Permission.RECOVERY_CHANGE,
    body_bytes=8_000_000,
    response={201: ProofOut},
    summary="Put a restore test done by hand on record",
)
def proof_attest(request: ApiRequest, protected_system_id: int, body: ProofAttestIn) -> tuple[int, dict[str, Any]]:
    scope, now = request.scope, current_time()
    found = queries.systems(scope=scope).get(pk=protected_system_id)
    attachment = None
    if body.attachment is not None:
        try:
            content = base64.b64decode(body.attachment.content, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("attachment.content: not base64") from None
        attachment = (body.attachment.name, content)
    made = services.proof_attest(
        system=found, level=body.level, ok=body.ok, at=body.at or now, detail=body.detail, seconds=body.seconds,
        attachment=attachment, scope=scope, now=now,
    )  # fmt: skip
    return 201, _proof(queries.proofs(scope=scope).get(pk=made.pk))


@router.get("/proofs", allow=Permission.DEVICE_VIEW, response=Page[ProofOut], summary="Proofs, the newest first")
def proof_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    device: UUID | None = None,
    system: int | None = None,
    backup: str = "",
    level: str = "",
) -> dict[str, Any]:
    scope = request.scope
    found = queries.proofs(scope=scope)
    if system is not None:
        row = queries.systems(scope=scope, archived=True).get(pk=system)
        standing = queries.standing_of(scope=scope, system=row, now=current_time())
        found = found.filter(standing.proofs)
    asked = {"client": client, "device": device, "backup": backup, "level": level}
    found = found.filter(**{name: value for name, value in asked.items() if value})
    return page(found, shape=_proof, cursor=paging.cursor, limit=paging.limit)


@router.get("/proofs/{proof_id}", allow=Permission.DEVICE_VIEW, response=ProofOut, summary="Show a proof")
def proof_show(request: ApiRequest, proof_id: int) -> dict[str, Any]:
    return _proof(queries.proofs(scope=request.scope).get(pk=proof_id))


@router.get(
    "/proofs/{proof_id}/attachment",
    allow=Permission.DEVICE_VIEW,
    files="application/octet-stream",
    summary="The file that was handed in with an attested proof",
)
def proof_attachment(request: ApiRequest, proof_id: int) -> HttpResponse:
    proof = queries.proofs(scope=request.scope).get(pk=proof_id)
    if proof.attachment is None:
        raise ValueError(f"proof {proof.pk} has no attachment")
    answer = HttpResponse(bytes(proof.attachment.content), content_type="application/octet-stream")
    answer["Content-Disposition"] = f'attachment; filename="{proof.attachment_name}"'
    return answer


@router.post(
    "/proofs/{proof_id}/withdraw",
    allow=Permission.RECOVERY_CHANGE,
    response=ProofOut,
    summary="Take an attested proof back: it counts no more",
)
def proof_withdraw(request: ApiRequest, proof_id: int, body: ProtectedSystemEndIn) -> dict[str, Any]:
    found = queries.proofs(scope=request.scope).get(pk=proof_id)
    services.proof_withdraw(proof=found, why=body.why, scope=request.scope, now=current_time())
    return _proof(queries.proofs(scope=request.scope).get(pk=proof_id))


def _terms(body: ProtectedSystemTermsIn, without: set[str]) -> dict[str, Any]:
    given = body.model_dump(exclude_unset=True, exclude=without)
    return {name: value for name, value in given.items() if value is not None or name == "rto_minutes"}


def _shown(request: ApiRequest, pk: int) -> dict[str, Any]:
    found = queries.systems(scope=request.scope, archived=True).get(pk=pk)
    return _whole(queries.standing_of(scope=request.scope, system=found, now=current_time()))


def _system(one: Standing) -> dict[str, Any]:
    row, judged = one.system, one.judged
    same = (
        "client", "site", "device", "kind", "what", "name", "importance", "rpo_minutes", "rto_minutes",
        "retention_days", "copies", "off_site", "offline", "wanted_level", "test_every_days", "test_by_itself",
        "test_most_mb", "test_rate_kb", "test_sample", "backups", "note", "created_at", "created_by", "archived_at",
        "archived_why",
    )  # fmt: skip
    return {
        "id": row.pk,
        **{name: getattr(row, name) for name in same},
        "status": judged.status,
        "why": judged.why,
        "bring_back": judged.bring_back,
        "covered": judged.covered,
        "backup_at": judged.backup_at,
        "level": judged.level,
        "proved_at": judged.proved_at,
        "proved_by": judged.proved_by,
        "lapses_at": judged.lapses_at,
        "verified_at": judged.verified.at if judged.verified else None,
        "verified_level": judged.verified.level if judged.verified else None,
        "recovery_seconds": judged.recovery.seconds if judged.recovery else None,
        "recovery_measured": judged.recovery.measured if judged.recovery else None,
        "copies_found": judged.copies,
        "off_site_found": judged.off_site,
        "offline_found": judged.offline,
        "gaps": [_gap(gap) for gap in judged.gaps],
        "ticket": row.ticket_id,
    }


def _whole(one: Standing) -> dict[str, Any]:
    return {
        **_system(one),
        "rungs": [_rung(rung) for rung in one.judged.rungs],
        "covering": [_covering(covering) for covering in one.judged.covering],
        "test_due_at": one.judged.test_due_at,
        "test_why_not": services.why_untestable(one),
    }


def _gap(gap: RecoveryGap) -> dict[str, Any]:
    return {"code": gap.code, "status": gap.status, "sentence": gap.sentence, "fix": gap.fix}


def _rung(rung: Rung) -> dict[str, Any]:
    return {
        "level": rung.level,
        "state": rung.state,
        "at": rung.proof.at if rung.proof else None,
        "until": rung.until,
        "source": rung.proof.source if rung.proof else "",
        "wanted": rung.wanted,
    }


def _covering(one: Covering) -> dict[str, Any]:
    holding, backup = one.holding, one.holding.backup
    return {
        "device": {"id": holding.device, "name": holding.device_name},
        "backup": holding.shown if holding.hidden else backup.name,
        "tool": backup.tool,
        "cover": str(one.match.cover),
        "why": one.match.why,
        "last_success_at": backup.last_success_at,
        "last_run_ok": backup.last_run_ok,
        "remote": True if holding.hidden else backup.remote,
        "offline": backup.offline,
        "immutable": backup.immutable,
    }


def _proof(row: Proof) -> dict[str, Any]:
    same = (
        "client", "device", "backup", "tool", "level", "ok", "at", "source", "snapshot", "snapshot_at", "seconds",
        "files", "compared", "bytes", "detail", "differences", "by", "attachment_name", "withdrawn_at", "withdrawn_by",
        "withdrawn_why",
    )  # fmt: skip
    return {
        "id": row.pk,
        **{name: getattr(row, name) for name in same},
        "system": row.system_id,
        "job": row.job_id,
        "attachment_sha256": row.attachment.sha256 if row.attachment else "",
        "evidence": row.evidence_reference,
    }


def _suggestion(one: Suggestion) -> dict[str, Any]:
    return {
        "client": one.device.client, "device": one.device, "kind": one.kind, "what": one.what, "name": one.name,
        "why": one.why,
    }  # fmt: skip
