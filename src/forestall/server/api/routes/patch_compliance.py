"""Compliance of updates with their obligations, at any date."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.http import HttpResponse
from ninja import Field
from pydantic import AwareDatetime

from forestall.server.api.asking import current_time
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.patching import compliance
from forestall.server.patching.compliance import Counted, Ledger, Names, Outcome, Report, Tally
from forestall.server.people.scope import Permission, Scope

router = Routes(tags=["obligations"])

MOST_ROWS = 5000
OutcomeWord = Literal["", "met", "met_late", "late", "open", "excepted"]


class ComplianceTallyOut(Schema):
    due: int = Field(description="Those whose time was up, and those met before: what the percentage is of.")
    met: int
    met_late: int
    late: int = Field(description="Open, and past the deadline.")
    open: int = Field(description="Open, and in time.")
    excepted: int
    percent: float | None = Field(description="Met in time, of those that were due; null while none was.")


class CompliancePartOut(ComplianceTallyOut):
    part: str = Field(description="Slug, severity, or name.")
    id: UUID | None


class ComplianceRowOut(Schema):
    deployment: int
    device: UUID
    device_name: str
    client: UUID
    client_name: str
    manager: str
    name: str
    candidate: str
    severity: str = Field(description="As it counts: a security update that nobody rated counts as high.")
    obligation: str
    binds: bool = Field(description="The strictest of the update's obligations.")
    counted_from: datetime
    due_at: datetime
    outcome: str
    done_at: datetime | None = Field(description="When it was verified.")
    why: str = Field(description="Of late ones: why.")


class ComplianceOut(Schema):
    at: datetime
    days: int = Field(description="What was met longer before `at` is not counted.")
    total: ComplianceTallyOut = Field(description="Each update once, by its strictest obligation.")
    clients: list[CompliancePartOut]
    devices: list[CompliancePartOut]
    severities: list[CompliancePartOut]
    obligations: list[CompliancePartOut] = Field(description="Each obligation by itself, also where another binds.")


@router.get(
    "/patch-compliance",
    allow=Permission.DEVICE_VIEW,
    response=ComplianceOut,
    summary="How many updates were due at a date, and how many were in in time",
    volatile={"at"},
)
def patch_compliance(
    request: ApiRequest,
    at: AwareDatetime | None = None,
    days: int = compliance.DAYS,
    client: UUID | None = None,
    device: UUID | None = None,
) -> dict[str, Any]:
    report, _ledger = _report(request.scope, at, days, client, device)
    names = Names.load(report.rows, scope=request.scope)
    return {
        "at": report.at,
        "days": days,
        "total": _tally(report.total()),
        "clients": _parts((names.clients.get(pk, ""), pk, tally) for pk, tally in report.by_client().items()),
        "devices": _parts((names.devices.get(pk, ""), pk, tally) for pk, tally in report.by_device().items()),
        "severities": _parts((one or "none", None, tally) for one, tally in report.by_severity().items()),
        "obligations": _parts((slug, None, tally) for slug, tally in report.by_obligation().items()),
    }


@router.get(
    "/patch-compliance/rows",
    allow=Permission.DEVICE_VIEW,
    response=list[ComplianceRowOut],
    summary="The updates behind the numbers, with why late ones are late",
)
def patch_compliance_rows(
    request: ApiRequest,
    at: AwareDatetime | None = None,
    days: int = compliance.DAYS,
    client: UUID | None = None,
    device: UUID | None = None,
    outcome: OutcomeWord = "",
    obligation: str = "",
    limit: int = 500,
) -> list[dict[str, Any]]:
    if not 1 <= limit <= MOST_ROWS:
        raise ValueError(f"limit: {limit} is not between 1 and {MOST_ROWS}")
    report, ledger = _report(request.scope, at, days, client, device)
    rows = chosen(report, outcome, obligation)[:limit]
    rows = compliance.explained(rows, ledger, at=report.at, now=current_time())
    names = Names.load(rows, scope=request.scope)
    return [_row(row, names) for row in rows]


@router.get(
    "/patch-compliance.csv",
    allow=Permission.DEVICE_VIEW,
    files="text/csv",
    summary="The updates behind the numbers as CSV, for audits",
)
def patch_compliance_export(
    request: ApiRequest,
    at: AwareDatetime | None = None,
    days: int = compliance.DAYS,
    client: UUID | None = None,
    device: UUID | None = None,
    outcome: OutcomeWord = "",
    obligation: str = "",
) -> HttpResponse:
    report, ledger = _report(request.scope, at, days, client, device)
    rows = compliance.explained(chosen(report, outcome, obligation), ledger, at=report.at, now=current_time())
    content = compliance.csv_of(rows, Names.load(rows, scope=request.scope))
    answer = HttpResponse(content, content_type="text/csv")
    answer["Content-Disposition"] = f'attachment; filename="patch-compliance-{report.at:%Y-%m-%d}.csv"'
    return answer


def chosen(report: Report, outcome: str, obligation: str) -> list[Counted]:
    """The rows of one outcome and obligation: without an obligation each update once, by the strictest."""
    rows: Iterable[Counted] = report.rows if obligation else report.binding
    found = [
        row
        for row in rows
        if (not obligation or row.due.slug == obligation) and (not outcome or row.outcome.name.lower() == outcome)
    ]
    return sorted(found, key=lambda row: (row.due.binding_due_at, row.known.pk))


def _report(
    scope: Scope, at: datetime | None, days: int, client: UUID | None, device: UUID | None
) -> tuple[Report, Ledger]:
    now = current_time()
    if at is not None and at > now:
        raise ValueError(f"at: {at:%Y-%m-%d %H:%M} is still to come")
    return compliance.compliance_at(scope=scope, at=at or now, days=days, client=client, device=device)


def _tally(tally: Tally) -> dict[str, Any]:
    counts = {one.name.lower(): tally.counts[one] for one in Outcome}
    return {**counts, "due": tally.due, "percent": None if tally.percent is None else round(tally.percent, 1)}


def _parts(found: Iterable[tuple[str, UUID | None, Tally]]) -> list[dict[str, Any]]:
    return [{"part": name, "id": pk, **_tally(tally)} for name, pk, tally in sorted(found, key=lambda one: one[0])]


def _row(row: Counted, names: Names) -> dict[str, Any]:
    known = row.known
    return {
        "deployment": known.pk,
        "device": known.device_id,
        "device_name": names.devices.get(known.device_id, ""),
        "client": known.client_id,
        "client_name": names.clients.get(known.client_id, ""),
        "manager": known.manager,
        "name": known.name,
        "candidate": known.candidate,
        "severity": row.severity,
        "obligation": row.due.slug,
        "binds": row.binds,
        "counted_from": row.due.counted_from,
        "due_at": row.due.binding_due_at,
        "outcome": row.outcome.name.lower(),
        "done_at": row.done_at,
        "why": row.why,
    }
