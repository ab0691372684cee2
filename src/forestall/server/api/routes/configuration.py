"""Configuration: baselines and their controls, how devices meet them, deviations, drift, results of other tools."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Field
from pydantic import AwareDatetime

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.configuration import queries, services
from forestall.server.configuration.controls import LEVELS, ROLES, Control, Judged, controls
from forestall.server.configuration.models import (
    BaselineAssignment,
    Deviation,
    DeviceConfiguration,
    Drift,
    ImportedAssessment,
)
from forestall.server.inventory import queries as inventory
from forestall.server.people import queries as people
from forestall.server.people.scope import Permission
from forestall.wire.facts import Assessment, AssessmentFinding

router = Routes(tags=["configuration"])

MOST_FINDINGS = 3000


class ControlOut(Schema):
    id: str
    cis: str = Field(description="Number of the recommendation of the CIS Debian Linux 12 Benchmark; empty: none.")
    level: int
    risk: str
    title: str
    why: str
    remedy: str
    runbook: str = Field(description="Slug of the runbook that sets it right; empty: none does.")
    roles: list[str]


class BaselineOut(Schema):
    id: int
    client: Named
    device: UUID | None
    role: str = Field(description="Empty: every role.")
    level: int = Field(description="0: none; 1; 2.")
    reason: str
    assigned_at: datetime
    assigned_by: str
    ended_at: datetime | None
    ended_by: str


class BaselineIn(Schema):
    client: UUID
    device: UUID | None = Field(None, description="Null: the client's devices (of `role`).")
    role: Literal["", "server", "cloud", "endpoint"] = ""
    level: int = Field(ge=0, le=2)
    reason: str = Field(min_length=1, max_length=2000)


class ConfigurationOut(Schema):
    device: UUID
    device_name: str
    client: Named
    level: int
    judged_at: datetime
    percent: int | None = Field(description="Of what applies; unknown counts against it.")
    passed: int
    failed: int
    deviating: int
    unknown: int
    not_applicable: int
    drifted: int = Field(description="Open differences from what was accepted.")
    accepted_at: datetime | None
    accepted_by: str = Field(description="Empty: nobody yet, it is what was found at first.")
    accepted_reason: str


class ControlResultOut(Schema):
    control: str
    title: str
    cis: str
    level: int
    risk: str
    outcome: str = Field(description="`pass`, `fail`, `unknown`, `not_applicable`.")
    why: str
    remedy: str
    runbook: str
    deviates_until: datetime | None


class DriftOut(Schema):
    id: int
    device: UUID
    device_name: str
    area: str
    name: str
    before: str = Field(description="Empty: it was not there.")
    after: str = Field(description="Empty: it is not there.")
    seen_at: datetime
    settled_at: datetime | None
    settled: str = Field(description="`accepted`, `gone`; empty: open.")
    settled_by: str
    reason: str


class ConfigurationDetailOut(ConfigurationOut):
    level_because: str
    results: list[ControlResultOut]
    drift: list[DriftOut]


class DriftAcceptIn(Schema):
    reason: str = Field(min_length=1, max_length=2000)
    drift: list[int] | None = Field(None, max_length=2000, description="Null: all that is open.")


class DriftAcceptedOut(Schema):
    accepted: int


class DeviationOut(Schema):
    id: int
    client: Named
    device: UUID | None
    control: str
    reason: str
    accepted_at: datetime
    accepted_by: str
    ends_at: datetime
    ended_at: datetime | None
    ended_by: str


class DeviationIn(Schema):
    client: UUID
    device: UUID | None = Field(None, description="Null: every device of the client.")
    control: str = Field(max_length=60)
    reason: str = Field(min_length=1, max_length=2000)
    ends_at: AwareDatetime = Field(description="At most a year from now.")


class AssessmentFindingSchema(Schema):
    id: str = Field(max_length=200)
    title: str = Field("", max_length=300)
    result: Literal["pass", "fail", "warning", "suggestion", "error", "unknown", "not_applicable", "not_checked"]
    severity: str = Field("", max_length=20)
    detail: str = Field("", max_length=2000)


class AssessmentIn(Schema):
    """What `forestall facts parse lynis` and `… openscap` make of a report: the server reads no XML."""

    device: UUID
    tool: Literal["lynis", "openscap"]
    version: str = Field("", max_length=40)
    profile: str = Field("", max_length=200)
    at: AwareDatetime | None = None
    score: float | None = Field(None, ge=0, le=100)
    findings: list[AssessmentFindingSchema] = Field(max_length=MOST_FINDINGS)


class AssessmentOut(Schema):
    id: int
    device: UUID
    device_name: str
    tool: str
    version: str
    profile: str
    at: datetime
    score: float | None
    passed: int
    failed: int
    came_by: str = Field(description="`device`: its agent found it; `person`: somebody brought it.")
    imported_by: str


class OverlapOut(Schema):
    agree: list[list[str]] = Field(description="Control and test of the tool: both find fault.")
    only_here: list[str] = Field(description="Controls that fail where the tool's tests find nothing wrong.")
    only_there: list[list[str]] = Field(description="Control that does not fail, and test that finds fault.")
    no_counterpart: list[str] = Field(description="Tests that find fault and that no control looks at.")
    not_known_there: list[str] = Field(description="Controls that fail and that the tool does not look at.")


class AssessmentDetailOut(AssessmentOut):
    findings: list[AssessmentFindingSchema]
    overlap: OverlapOut | None = Field(description="Null: the device was not judged by a baseline yet.")


@router.get(
    "/controls",
    allow=Permission.DEVICE_VIEW,
    response=list[ControlOut],
    summary="Controls of the baselines; of a role and level, or all",
)
def control_list(request: ApiRequest, role: str = "", level: int = 2) -> list[Control]:
    if role and role not in ROLES:
        raise ValueError(f"role: {role[:40]!r} has no baseline; those that have: {', '.join(ROLES)}")
    if level not in LEVELS:
        raise ValueError(f"level: {level} is none of 1, 2")
    return [one for one in controls().values() if one.level <= level and (not role or role in one.roles)]


@router.get(
    "/baselines",
    allow=Permission.DEVICE_VIEW,
    response=Page[BaselineOut],
    summary="Levels that were chosen, the newest first; without a choice level 1 holds",
)
def baseline_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    in_force: bool = True,  # noqa: FBT001, FBT002 - a query parameter
) -> dict[str, Any]:
    found = queries.assignments(scope=request.scope)
    if in_force:
        found = found.filter(ended_at=None)
    if client is not None:
        found = found.filter(client=client)
    return page(found, shape=_baseline, cursor=paging.cursor, limit=paging.limit)


@router.post(
    "/baselines",
    allow=Permission.BASELINE_CHANGE,
    response={201: BaselineOut},
    summary="Choose a level for a client, a role of its devices, or one device",
)
def baseline_assign(request: ApiRequest, body: BaselineIn) -> tuple[int, dict[str, Any]]:
    scope = request.scope
    owner = people.clients(scope=scope).get(pk=body.client)
    if body.device is not None:
        inventory.devices(scope=scope).get(pk=body.device)
    made = services.baseline_assign(
        client=owner, level=body.level, reason=body.reason, role=body.role, device_id=body.device, scope=scope,
        now=current_time(),
    )  # fmt: skip
    return 201, _baseline(made)


@router.get(
    "/configuration",
    allow=Permission.DEVICE_VIEW,
    response=Page[ConfigurationOut],
    summary="How devices meet their baseline",
)
def configuration_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    drifted: bool = False,  # noqa: FBT001, FBT002 - a query parameter
) -> dict[str, Any]:
    found = queries.configurations(scope=request.scope).order_by("pk")
    if client is not None:
        found = found.filter(client=client)
    if drifted:
        found = found.filter(drifted__gt=0)
    return page(found, shape=_configuration, cursor=paging.cursor, limit=paging.limit)


@router.get(
    "/configuration/{device_id}",
    allow=Permission.DEVICE_VIEW,
    response=ConfigurationDetailOut,
    summary="Each control on a device, and how it differs from what was accepted",
)
def configuration_show(request: ApiRequest, device_id: UUID) -> dict[str, Any]:
    scope, now = request.scope, current_time()
    device = inventory.devices(scope=scope).get(pk=device_id)
    row = queries.configuration_of(scope=scope, device=device)
    if row is None:
        # It has sent nothing yet: nothing is known, and nothing is well.
        row = DeviceConfiguration(device=device, client=device.client, site=device.site, judged_at=now)
    leave = queries.deviating_controls(scope=scope, device=device, now=now)
    drift = queries.drifts_open(scope=scope).filter(device=device)
    return {
        **_configuration(row),
        "level_because": queries.level_for(scope=scope, device=device).why,
        "results": [_result(control, judged, leave.get(control.id)) for control, judged in queries.results_of(row)],
        "drift": [_drift(one) for one in drift[:1000]],
    }


@router.post(
    "/configuration/{device_id}/accept",
    allow=Permission.BASELINE_CHANGE,
    response=DriftAcceptedOut,
    summary="Accept what drifted as how it is meant to be from now on",
)
def drift_accept(request: ApiRequest, device_id: UUID, body: DriftAcceptIn) -> dict[str, int]:
    device = inventory.devices(scope=request.scope).get(pk=device_id)
    number = services.drift_accept(
        device=device, reason=body.reason, drift_ids=body.drift, scope=request.scope, now=current_time()
    )
    return {"accepted": number}


@router.get(
    "/drift",
    allow=Permission.DEVICE_VIEW,
    response=Page[DriftOut],
    summary="Differences from what was accepted, the newest first",
)
def drift_list(
    request: ApiRequest,
    paging: PagingQuery,
    device: UUID | None = None,
    client: UUID | None = None,
    open: bool = True,  # noqa: A002, FBT001, FBT002 - a query parameter
) -> dict[str, Any]:
    found = queries.drifts_open(scope=request.scope) if open else queries.drifts(scope=request.scope)
    if device is not None:
        found = found.filter(device=device)
    if client is not None:
        found = found.filter(client=client)
    return page(found, shape=_drift, cursor=paging.cursor, limit=paging.limit)


@router.get(
    "/deviations",
    allow=Permission.DEVICE_VIEW,
    response=Page[DeviationOut],
    summary="Controls that need not be met for a while, the newest first",
)
def deviation_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    in_force: bool = False,  # noqa: FBT001, FBT002 - a query parameter
) -> dict[str, Any]:
    scope = request.scope
    found = (
        queries.deviations_in_force(scope=scope, now=current_time()) if in_force else queries.deviations(scope=scope)
    )
    if client is not None:
        found = found.filter(client=client)
    return page(found, shape=_deviation, cursor=paging.cursor, limit=paging.limit)


@router.post(
    "/deviations",
    allow=Permission.BASELINE_CHANGE,
    response={201: DeviationOut},
    summary="Give leave not to meet a control for a while",
)
def deviation_accept(request: ApiRequest, body: DeviationIn) -> tuple[int, dict[str, Any]]:
    scope = request.scope
    owner = people.clients(scope=scope).get(pk=body.client)
    if body.device is not None:
        inventory.devices(scope=scope).get(pk=body.device)
    made = services.deviation_accept(
        client=owner, device_id=body.device, control=body.control, reason=body.reason, ends_at=body.ends_at,
        scope=scope, now=current_time(),
    )  # fmt: skip
    return 201, _deviation(made)


@router.post(
    "/deviations/{deviation_id}/end",
    allow=Permission.BASELINE_CHANGE,
    response=DeviationOut,
    summary="End a deviation before its time",
)
def deviation_end(request: ApiRequest, deviation_id: int) -> dict[str, Any]:
    found = queries.deviations(scope=request.scope).get(pk=deviation_id)
    return _deviation(services.deviation_end(deviation=found, scope=request.scope, now=current_time()))


@router.get(
    "/assessments",
    allow=Permission.DEVICE_VIEW,
    response=Page[AssessmentOut],
    summary="Runs of Lynis and OpenSCAP, the newest first",
)
def assessment_list(request: ApiRequest, paging: PagingQuery, device: UUID | None = None) -> dict[str, Any]:
    found = queries.assessments(scope=request.scope)
    if device is not None:
        found = found.filter(device=device)
    return page(found, shape=_assessment, cursor=paging.cursor, limit=paging.limit)


@router.post(
    "/assessments",
    allow=Permission.BASELINE_CHANGE,
    response={201: AssessmentOut},
    summary="Bring what another tool found on a device",
)
def assessment_import(request: ApiRequest, body: AssessmentIn) -> tuple[int, dict[str, Any]]:
    device = inventory.devices(scope=request.scope).get(pk=body.device)
    given = body.model_dump(exclude={"device", "findings"})
    assessment = Assessment(**given, findings=tuple(AssessmentFinding(**one.model_dump()) for one in body.findings))
    made = services.assessment_import(device=device, assessment=assessment, scope=request.scope, now=current_time())
    return 201, _assessment(made)


@router.get(
    "/assessments/{assessment_id}",
    allow=Permission.DEVICE_VIEW,
    response=AssessmentDetailOut,
    summary="What another tool found, and how that meets the controls",
)
def assessment_show(request: ApiRequest, assessment_id: int) -> dict[str, Any]:
    found = queries.assessments(scope=request.scope).get(pk=assessment_id)
    row = queries.configuration_of(scope=request.scope, device=found.device_id)
    met = queries.overlap_of(row, found) if row is not None and row.results else None
    return {
        **_assessment(found),
        "findings": found.findings,
        "overlap": None
        if met is None
        else {
            "agree": [list(pair) for pair in met.agree],
            "only_here": list(met.only_here),
            "only_there": [list(pair) for pair in met.only_there],
            "no_counterpart": list(met.no_counterpart),
            "not_known_there": list(met.not_known_there),
        },
    }


def _baseline(one: BaselineAssignment) -> dict[str, Any]:
    names = ("client", "role", "level", "reason", "assigned_at", "assigned_by", "ended_at", "ended_by")
    return {"id": one.pk, "device": one.device_id, **{name: getattr(one, name) for name in names}}


def _configuration(one: DeviceConfiguration) -> dict[str, Any]:
    names = (
        "client", "level", "judged_at", "percent", "passed", "failed", "deviating", "unknown", "not_applicable",
        "drifted", "accepted_at", "accepted_by", "accepted_reason",
    )  # fmt: skip
    return {
        "device": one.device_id,
        "device_name": one.device.name,
        **{name: getattr(one, name) for name in names},
    }


def _result(control: Control, judged: Judged, leave: Deviation | None) -> dict[str, Any]:
    return {
        "control": control.id,
        "title": control.title,
        "cis": control.cis,
        "level": control.level,
        "risk": control.risk.value,
        "outcome": judged.outcome.value,
        "why": judged.why,
        "remedy": control.remedy,
        "runbook": control.runbook,
        "deviates_until": leave.ends_at if leave else None,
    }


def _drift(one: Drift) -> dict[str, Any]:
    names = ("area", "name", "before", "after", "seen_at", "settled_at", "settled", "settled_by", "reason")
    plain = {name: getattr(one, name) for name in names}
    return {"id": one.pk, "device": one.device_id, "device_name": one.device.name, **plain}


def _deviation(one: Deviation) -> dict[str, Any]:
    names = ("client", "control", "reason", "accepted_at", "accepted_by", "ends_at", "ended_at", "ended_by")
    return {"id": one.pk, "device": one.device_id, **{name: getattr(one, name) for name in names}}


def _assessment(one: ImportedAssessment) -> dict[str, Any]:
    names = ("tool", "version", "profile", "at", "score", "passed", "failed", "came_by", "imported_by")
    plain = {name: getattr(one, name) for name in names}
    return {"id": one.pk, "device": one.device_id, "device_name": one.device.name, **plain}
