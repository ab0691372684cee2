"""Obligations: by when updates have to be in, exceptions from them, and windows in an emergency."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from ninja import Field
from pydantic import AwareDatetime

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.calendar.models import MaintenanceWindow
from forestall.server.clients.queries import sites_served
from forestall.server.inventory import queries as inventory
from forestall.server.patching import obligation_queries as queries
from forestall.server.patching import obligation_services as services
from forestall.server.patching import pending
from forestall.server.patching.models import ObligationException, ObligationRule
from forestall.server.patching.obligations import BUILT_IN, LONGEST_HOURS, MOST_LEAST_DAYS, Rule
from forestall.server.people import queries as people
from forestall.server.people.scope import Permission

router = Routes(tags=["obligations"])

Severity = Literal["critical", "high", "medium", "low"]
Kind = Literal["system", "application", "firmware", "language"]


class DeadlineOut(Schema):
    kind: str = Field(description="`after`, `kev`, `month_end`, `quarter_end`, `weekday`.")
    hours: int
    least_days: int
    nth: int
    weekday: int
    counts_from: str
    words: str = Field(description="`72 h after vendor release`.")


class ObligationOut(Schema):
    slug: str
    title: str
    source: str = Field(description="Who demands it.")
    clause: str = Field(description="What it says.")
    about: str = Field(description="Which updates it is about, in words.")
    deadline: DeadlineOut
    security: bool
    exploited: bool
    kinds: list[str]
    severities: list[str]
    cvss_at_least: float | None
    unrated: bool
    needs_test: bool
    test_device: str
    own: bool = Field(description="The client's own, or its own terms of a built-in one.")


class DeadlineIn(Schema):
    kind: Literal["after", "kev", "month_end", "quarter_end", "weekday"]
    hours: int = Field(0, ge=0, le=LONGEST_HOURS, description="Of `after`.")
    least_days: int = Field(0, ge=0, le=MOST_LEAST_DAYS, description="Of calendar ends: at least so many days after.")
    nth: int = Field(0, ge=-1, le=4, description="Of `weekday`: 1 to 4; -1: the month's last.")
    weekday: int = Field(0, ge=0, le=6, description="Of `weekday`: 0 is Monday.")
    counts_from: Literal["release", "first_seen"] = "release"


class ObligationTermsIn(Schema):
    """What is not named stays as it is in force now."""

    off: bool | None = Field(None, description="Switch the obligation off; nothing else then.")
    title: str | None = Field(None, min_length=1, max_length=100)
    source: str | None = Field(None, max_length=300)
    clause: str | None = Field(None, max_length=1000)
    deadline: DeadlineIn | None = None
    security: bool | None = None
    exploited: bool | None = None
    kinds: list[Kind] | None = None
    severities: list[Severity] | None = None
    cvss_at_least: float | None = Field(None, ge=0, le=10)
    unrated: bool | None = None
    needs_test: bool | None = None
    test_device: str | None = Field(None, max_length=36)


class ObligationRuleIn(Schema):
    client: UUID
    slug: str = Field(max_length=60, description="Of the built-in it replaces, or of the client's own.")
    terms: ObligationTermsIn
    reason: str = Field(min_length=1, max_length=2000)


class ObligationRuleOut(Schema):
    id: int
    client: Named
    slug: str
    terms: dict[str, Any] = Field(description='As kept; `{"off": true}`: it is switched off.')
    reason: str
    in_force_from: datetime
    in_force_until: datetime | None
    created_by: str
    ended_by: str


class ObligationExceptionIn(Schema):
    client: UUID
    device: UUID | None = Field(None, description="Null: every device of the client.")
    manager: str = Field("", max_length=20)
    name: str = Field("", max_length=200, description="Package; `*` at its end stands for anything; empty: every one.")
    candidate: str = Field("", max_length=200)
    obligation: str = Field("", max_length=60, description="Empty: whichever binds.")
    reason: str = Field(min_length=1, max_length=2000)
    compensating_control: str = Field(min_length=1, max_length=2000, description="What is done instead, until then.")
    expires_at: AwareDatetime = Field(description="At most a year from now.")


class ObligationExceptionOut(Schema):
    id: int
    client: Named
    device: UUID | None
    manager: str
    name: str
    candidate: str
    obligation: str
    reason: str
    compensating_control: str
    granted_at: datetime
    granted_by: str
    expires_at: datetime
    ended_at: datetime | None
    ended_by: str


class EmergencyWindowIn(Schema):
    site: UUID
    device: UUID | None = Field(None, description="Null: every device of the site.")
    starts_at: AwareDatetime | None = Field(None, description="Null: now.")
    minutes: int = Field(services.EMERGENCY_MINUTES, ge=1, le=24 * 60)
    reason: str = Field("", max_length=300)


class EmergencyWindowOut(Schema):
    window: int
    name: str
    start: datetime
    end: datetime


class WaitingUpdateOut(Schema):
    manager: str
    name: str
    candidate: str
    devices: int
    late: int
    misses: int = Field(description="On so many devices the next window misses the deadline.")
    security: bool
    severity: str = Field(description="The worst known; `unrated`: a security update that nobody rated.")
    earliest_due_at: datetime | None
    states: dict[str, int]


@router.get(
    "/updates",
    allow=Permission.DEVICE_VIEW,
    response=list[WaitingUpdateOut],
    summary="Updates that wait, one row for each version of a package, the earliest due first",
)
def update_list(
    request: ApiRequest,
    client: UUID | None = None,
    device: UUID | None = None,
    security: bool = False,  # noqa: FBT001, FBT002 - a query parameter
    show: Literal["", "late", "misses"] = "",
    state: str = "",
    provider: str = "",
    obligation: str = "",
    search: str = "",
    limit: int = 500,
) -> list[dict[str, Any]]:
    if not 1 <= limit <= 5000:
        raise ValueError(f"limit: {limit} is not between 1 and 5000")
    now = current_time()
    asked = pending.Asked(client, device, security, show, state, provider, obligation, search)
    found = pending.by_update(pending.waiting(scope=request.scope, asked=asked, now=now), now)
    return [
        {
            "manager": row["manager"],
            "name": row["name"],
            "candidate": row["candidate"],
            "devices": row["devices"],
            "late": row["late"],
            "misses": row["misses"],
            "security": bool(row["fixes"]),
            "severity": pending.RANKS[row["rank"]] if row["rank"] < len(pending.RANKS) else "",
            "earliest_due_at": row["earliest"],
            "states": {one: row[f"in_{one}"] for one in pending.OPEN_STATES if row[f"in_{one}"]},
        }
        for row in found[:limit]
    ]


@router.get(
    "/obligations",
    allow=Permission.DEVICE_VIEW,
    response=list[ObligationOut],
    summary="Obligations in force: of a client, now or then; without one the built-in ones",
)
def obligation_list(
    request: ApiRequest, client: UUID | None = None, at: AwareDatetime | None = None
) -> list[dict[str, Any]]:
    if client is None:
        return [_obligation(Rule(slug, terms)) for slug, terms in BUILT_IN.items()]
    owner = people.clients(scope=request.scope).get(pk=client)
    return [
        _obligation(rule) for rule in queries.obligations_of(scope=request.scope, client=owner, at=at or current_time())
    ]


@router.get(
    "/obligation-rules",
    allow=Permission.DEVICE_VIEW,
    response=Page[ObligationRuleOut],
    summary="Clients' own rules, ended ones too, the newest first",
)
def obligation_rule_list(
    request: ApiRequest, paging: PagingQuery, client: UUID | None = None, slug: str = ""
) -> dict[str, Any]:
    found = queries.rules(scope=request.scope)
    if client is not None:
        found = found.filter(client=client)
    if slug:
        found = found.filter(slug=slug)
    return page(found, shape=lambda row: row, cursor=paging.cursor, limit=paging.limit)


@router.post(
    "/obligation-rules",
    allow=Permission.RISK_ACCEPT,
    response={201: ObligationRuleOut},
    summary="Give a client its own terms of an obligation, from now on",
)
def obligation_rule_set(request: ApiRequest, body: ObligationRuleIn) -> tuple[int, ObligationRule]:
    scope = request.scope
    owner = people.clients(scope=scope).get(pk=body.client)
    terms = {name: value for name, value in body.terms.model_dump(exclude_unset=True).items() if value is not None}
    return 201, services.obligation_rule_set(
        client=owner, slug=body.slug, terms=terms, reason=body.reason, scope=scope, now=current_time()
    )


@router.get(
    "/obligation-rules/{obligation_rule_id}",
    allow=Permission.DEVICE_VIEW,
    response=ObligationRuleOut,
    summary="Show a client's own rule",
)
def obligation_rule_show(request: ApiRequest, obligation_rule_id: int) -> ObligationRule:
    return queries.rules(scope=request.scope).get(pk=obligation_rule_id)


@router.post(
    "/obligation-rules/{obligation_rule_id}/end",
    allow=Permission.RISK_ACCEPT,
    response=ObligationRuleOut,
    summary="End a client's own rule: the built-in one holds again",
)
def obligation_rule_end(request: ApiRequest, obligation_rule_id: int) -> ObligationRule:
    found = queries.rules(scope=request.scope).get(pk=obligation_rule_id)
    return services.obligation_rule_end(rule=found, scope=request.scope, now=current_time())


@router.get(
    "/exceptions",
    allow=Permission.DEVICE_VIEW,
    response=Page[ObligationExceptionOut],
    summary="Exceptions from obligations, the newest first",
)
def exception_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    in_force: bool = False,  # noqa: FBT001, FBT002 - a query parameter
) -> dict[str, Any]:
    scope = request.scope
    found = (
        queries.exceptions_in_force(scope=scope, now=current_time()) if in_force else queries.exceptions(scope=scope)
    )
    if client is not None:
        found = found.filter(client=client)
    return page(found, shape=_exception, cursor=paging.cursor, limit=paging.limit)


@router.post(
    "/exceptions",
    allow=Permission.RISK_ACCEPT,
    response={201: ObligationExceptionOut},
    summary="Grant leave to miss an obligation for a while",
)
def exception_grant(request: ApiRequest, body: ObligationExceptionIn) -> tuple[int, dict[str, Any]]:
    scope = request.scope
    owner = people.clients(scope=scope).get(pk=body.client)
    if body.device is not None:
        inventory.devices(scope=scope).get(pk=body.device)
    made = services.exception_grant(
        client=owner, device_id=body.device, scope=scope, now=current_time(),
        **body.model_dump(exclude={"client", "device"}),
    )  # fmt: skip
    return 201, _exception(made)


@router.get(
    "/exceptions/{exception_id}",
    allow=Permission.DEVICE_VIEW,
    response=ObligationExceptionOut,
    summary="Show an exception",
)
def exception_show(request: ApiRequest, exception_id: int) -> dict[str, Any]:
    return _exception(queries.exceptions(scope=request.scope).get(pk=exception_id))


@router.post(
    "/exceptions/{exception_id}/end",
    allow=Permission.RISK_ACCEPT,
    response=ObligationExceptionOut,
    summary="End an exception before its time",
)
def exception_end(request: ApiRequest, exception_id: int) -> dict[str, Any]:
    found = queries.exceptions(scope=request.scope).get(pk=exception_id)
    return _exception(services.exception_end(exception=found, scope=request.scope, now=current_time()))


@router.post(
    "/emergency-windows",
    allow=Permission.WINDOW_CHANGE,
    response={201: EmergencyWindowOut},
    summary="A window now, or at a time, for what would miss its obligation",
)
def emergency_window_open(request: ApiRequest, body: EmergencyWindowIn) -> tuple[int, dict[str, Any]]:
    scope, now = request.scope, current_time()
    site = sites_served(scope=scope).get(pk=body.site)
    device = None
    if body.device is not None:
        device = inventory.devices(scope=scope).get(pk=body.device)
        if device.site_id != site.pk:
            raise ValueError(f"device: {body.device} is not a device of {site.name}")
    made = services.emergency_window(
        site=site, device=device, starts_at=body.starts_at, minutes=body.minutes, reason=body.reason, scope=scope,
        now=now,
    )  # fmt: skip
    return 201, _emergency(made, body.starts_at or now.replace(second=0, microsecond=0))


def _emergency(window: MaintenanceWindow, start: datetime) -> dict[str, Any]:
    return {
        "window": window.pk,
        "name": window.name,
        "start": start,
        "end": start + timedelta(minutes=window.minutes),
    }


def _obligation(rule: Rule) -> dict[str, Any]:
    plain = rule.terms.plain()
    plain["deadline"]["words"] = rule.terms.deadline.words
    return {**plain, "slug": rule.slug, "own": rule.own, "about": rule.terms.about}


def _exception(one: ObligationException) -> dict[str, Any]:
    plain = (
        "client", "manager", "name", "candidate", "obligation", "reason", "compensating_control", "granted_at",
        "granted_by", "expires_at", "ended_at", "ended_by",
    )  # fmt: skip
    return {"id": one.pk, "device": one.device_id, **{name: getattr(one, name) for name in plain}}
