"""Clients: who is served, where, and how."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.db.models import Q
from ninja import Field

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, ordered, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.clients import queries, services
from forestall.server.clients.rules import MOST
from forestall.server.people.models import Client, OperatingModel
from forestall.server.people.scope import Permission

router = Routes(tags=["clients"])

TIMEZONE = "IANA name: `Europe/Berlin`."
COUNTRY = "ISO 3166-1 alpha-2; empty: no public holidays."
REGION = "As the holidays library names it: `BY`, `ENG`."


class ClientOut(Named):
    reference: str = Field(description="The provider's own number for it.")
    timezone: str = Field(description=TIMEZONE)
    country: str = Field(description=COUNTRY)
    region: str = Field(description=REGION)
    operating_model: OperatingModel
    sla_tier: str = Field(description="Slug of its tier; see `/sla-tiers`.")
    notes: str


class ClientIn(Schema):
    name: str = Field(max_length=MOST["name"])
    timezone: str = Field(description=TIMEZONE, max_length=64)
    country: str = Field("", max_length=2, description=COUNTRY)
    region: str = Field("", max_length=10, description=REGION)
    reference: str = Field("", max_length=MOST["reference"])
    operating_model: OperatingModel = OperatingModel.OUTSOURCED
    sla_tier: str = Field("standard", max_length=40)
    notes: str = Field("", max_length=MOST["notes"])


class ClientChangeIn(Schema):
    """What is not named stays as it is."""

    name: str | None = Field(None, max_length=MOST["name"])
    timezone: str | None = Field(None, description=TIMEZONE, max_length=64)
    country: str | None = Field(None, max_length=2, description=COUNTRY)
    region: str | None = Field(None, max_length=10, description=REGION)
    reference: str | None = Field(None, max_length=MOST["reference"])
    operating_model: OperatingModel | None = None
    sla_tier: str | None = Field(None, max_length=40)
    notes: str | None = Field(None, max_length=MOST["notes"])


class PlaceIn(Schema):
    timezone: str = Field(description=TIMEZONE, max_length=64)
    country: str = Field("", max_length=2, description=COUNTRY)
    region: str = Field("", max_length=10, description=REGION)


class NextWindowOut(Schema):
    window: int
    name: str
    site: Named
    start: datetime
    end: datetime


class PrimaryContactOut(Schema):
    id: int
    name: str
    email: str
    phone: str
    duty: str


class ClientOverviewOut(Schema):
    client: Named
    sites: int
    devices: int
    health: dict[str, int] = Field(description="Status → number of devices whose worst check says so.")
    worst: str | None = Field(description="Null: nothing was judged yet.")
    open_tickets: int
    at_risk: int = Field(description="Of the open tickets: half their time used or more.")
    next_window: NextWindowOut | None
    contact: PrimaryContactOut | None


@router.get("/clients", allow=Permission.CLIENT_VIEW, response=Page[ClientOut], summary="List clients")
def client_list(
    request: ApiRequest,
    paging: PagingQuery,
    search: str | None = None,
    operating_model: OperatingModel | None = None,
    sla_tier: str | None = None,
    country: str | None = None,
    ordering: Literal["name", "-name", "created_at", "-created_at"] = "name",
) -> dict[str, Any]:
    """``search`` looks into names and references."""
    found = queries.served(scope=request.scope)
    if search:
        found = found.filter(Q(name__icontains=search) | Q(reference__icontains=search))
    for field, value in (("operating_model", operating_model), ("sla_tier", sla_tier), ("country", country)):
        if value is not None:
            found = found.filter(**{field: value})
    return page(found, shape=lambda row: row, cursor=paging.cursor, limit=paging.limit, order=ordered(ordering))


@router.post("/clients", allow=Permission.CLIENT_CHANGE, response={201: ClientOut}, summary="Take on a client")
def client_create(request: ApiRequest, body: ClientIn) -> tuple[int, Client]:
    return 201, services.client_add(scope=request.scope, now=current_time(), **body.model_dump())


@router.get("/clients/{client_id}", allow=Permission.CLIENT_VIEW, response=ClientOut, summary="Show a client")
def client_show(request: ApiRequest, client_id: UUID) -> Client:
    return queries.served(scope=request.scope).get(pk=client_id)


@router.patch("/clients/{client_id}", allow=Permission.CLIENT_CHANGE, response=ClientOut, summary="Change a client")
def client_change(request: ApiRequest, client_id: UUID, body: ClientChangeIn) -> Client:
    client = queries.served(scope=request.scope).get(pk=client_id)
    changed = body.model_dump(exclude_none=True)
    return services.client_change(client=client, scope=request.scope, now=current_time(), **changed)


@router.post(
    "/clients/{client_id}/place",
    allow=Permission.CLIENT_CHANGE,
    response=ClientOut,
    summary="Say where a client is: its clocks count by it",
)
def client_place(request: ApiRequest, client_id: UUID, body: PlaceIn) -> Client:
    client = queries.served(scope=request.scope).get(pk=client_id)
    return services.client_change(client=client, scope=request.scope, now=current_time(), **body.model_dump())


@router.get(
    "/clients/{client_id}/overview",
    allow=Permission.CLIENT_VIEW,
    response=ClientOverviewOut,
    summary="A client in one line: health, tickets, next window, whom to call",
)
def client_overview(request: ApiRequest, client_id: UUID) -> dict[str, Any]:
    scope, now = request.scope, current_time()
    client = queries.served(scope=scope).get(pk=client_id)
    return _overview(queries.overview(scope=scope, client=client, now=now))


@router.get(
    "/client-overviews",
    allow=Permission.CLIENT_VIEW,
    response=list[ClientOverviewOut],
    summary="Every client in one line, by name",
)
def client_overviews(request: ApiRequest) -> list[dict[str, Any]]:
    return [_overview(one) for one in queries.overviews(scope=request.scope, now=current_time())]


def _overview(one: queries.Overview) -> dict[str, Any]:
    upcoming = one.next_window
    return {
        "client": one.client,
        "sites": one.sites,
        "devices": one.devices,
        "health": one.checks,
        "worst": one.worst,
        "open_tickets": one.open_tickets,
        "at_risk": one.at_risk,
        "contact": one.contact,
        "next_window": upcoming
        and {
            "window": upcoming.window.pk,
            "name": upcoming.window.name,
            "site": upcoming.window.site,
            "start": upcoming.occurrence.start,
            "end": upcoming.occurrence.end,
        },
    }
