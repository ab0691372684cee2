"""Sites: the places of a client."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from ninja import Field

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.clients import COUNTRY, REGION, TIMEZONE
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.clients import queries, services
from forestall.server.clients.rules import MOST
from forestall.server.people.models import Site
from forestall.server.people.scope import Permission

router = Routes(tags=["sites"])

OWN = " Empty: the client's."
ORDER = ("client__name", "name", "pk")


class SiteOut(Named):
    client: Named
    timezone: str = Field(description=TIMEZONE + " In force: its own, else the client's.")
    own_timezone: str = Field(description=TIMEZONE + OWN)
    country: str = Field(description="ISO 3166-1 alpha-2." + OWN)
    region: str = Field(description=REGION)
    address: str


class SiteIn(Schema):
    name: str = Field(max_length=MOST["name"])
    timezone: str = Field("", description=TIMEZONE + OWN, max_length=64)
    country: str = Field("", max_length=2, description=COUNTRY + OWN)
    region: str = Field("", max_length=10, description=REGION)
    address: str = Field("", max_length=MOST["address"])


class SiteChangeIn(Schema):
    """What is not named stays as it is."""

    name: str | None = Field(None, max_length=MOST["name"])
    timezone: str | None = Field(None, description=TIMEZONE + OWN, max_length=64)
    country: str | None = Field(None, max_length=2, description=COUNTRY + OWN)
    region: str | None = Field(None, max_length=10, description=REGION)
    address: str | None = Field(None, max_length=MOST["address"])
    client: UUID | None = Field(None, description="Another than its own is refused: a site stays with its client.")


@router.get("/sites", allow=Permission.CLIENT_VIEW, response=Page[SiteOut], summary="List sites")
def site_list(
    request: ApiRequest, paging: PagingQuery, client: UUID | None = None, search: str | None = None
) -> dict[str, Any]:
    found = queries.sites_served(scope=request.scope)
    if client is not None:
        found = found.filter(client=client)
    if search:
        found = found.filter(name__icontains=search)
    return page(found, shape=_site, cursor=paging.cursor, limit=paging.limit, order=ORDER)


@router.get(
    "/clients/{client_id}/sites", allow=Permission.CLIENT_VIEW, response=Page[SiteOut], summary="List a client's sites"
)
def client_site_list(request: ApiRequest, paging: PagingQuery, client_id: UUID) -> dict[str, Any]:
    client = queries.served(scope=request.scope).get(pk=client_id)
    found = queries.sites_served(scope=request.scope).filter(client=client)
    return page(found, shape=_site, cursor=paging.cursor, limit=paging.limit, order=ORDER)


@router.post(
    "/clients/{client_id}/sites", allow=Permission.CLIENT_CHANGE, response={201: SiteOut}, summary="Add a site"
)
def site_create(request: ApiRequest, client_id: UUID, body: SiteIn) -> tuple[int, dict[str, Any]]:
    client = queries.served(scope=request.scope).get(pk=client_id)
    made = services.site_add(client=client, scope=request.scope, now=current_time(), **body.model_dump())
    return 201, _site(made)


@router.get("/sites/{site_id}", allow=Permission.CLIENT_VIEW, response=SiteOut, summary="Show a site")
def site_show(request: ApiRequest, site_id: UUID) -> dict[str, Any]:
    return _site(queries.sites_served(scope=request.scope).get(pk=site_id))


@router.patch("/sites/{site_id}", allow=Permission.CLIENT_CHANGE, response=SiteOut, summary="Change a site")
def site_change(request: ApiRequest, site_id: UUID, body: SiteChangeIn) -> dict[str, Any]:
    site = queries.sites_served(scope=request.scope).get(pk=site_id)
    changed = body.model_dump(exclude_none=True, exclude={"client"})
    return _site(
        services.site_change(site=site, client_id=body.client, scope=request.scope, now=current_time(), **changed)
    )


def _site(site: Site) -> dict[str, Any]:
    return {
        "id": site.pk,
        "name": site.name,
        "client": site.client,
        "timezone": site.zone,
        "own_timezone": site.timezone,
        "country": site.country,
        "region": site.region,
        "address": site.address,
    }
