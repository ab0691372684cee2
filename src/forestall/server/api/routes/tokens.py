"""One's own bearer tokens: each may at most what its person may, and less if it says so."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Field

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import SIGNED_IN, ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.people import queries
from forestall.server.people.models import ApiToken
from forestall.server.people.persons import token_revoke
from forestall.server.people.scope import Permission
from forestall.server.people.tokens import USUAL_LIFETIME, token_make, tokens_own

router = Routes(tags=["tokens"])


class OwnTokenOut(Schema):
    id: int
    name: str
    permissions: list[str] = Field(description="Empty: all that its person has.")
    client: Named | None = Field(description="Null: wherever its person may.")
    site: Named | None
    created_at: datetime
    expires_at: datetime | None = Field(description="Null: never.")
    last_used_at: datetime | None = Field(description="To within five minutes.")
    revoked_at: datetime | None
    is_this: bool = Field(description="Whether it is the token that asks.")


class NewTokenOut(OwnTokenOut):
    token: str = Field(description="Shown once.")


class OwnTokenIn(Schema):
    name: str = Field(min_length=1, max_length=100, description="What it is for.", examples=["nightly report"])
    permissions: list[Permission] = Field(
        default_factory=list, max_length=len(Permission), description="None: all of yours."
    )
    client: UUID | None = Field(None, description="Only there.")
    site: UUID | None = Field(None, description="Only there.")
    expires_at: datetime | None = Field(None, description="Left out: in 90 days. Null: never.")


@router.get("/tokens", allow=SIGNED_IN, response=Page[OwnTokenOut], summary="List your tokens, newest first")
def token_list(request: ApiRequest, paging: PagingQuery) -> dict[str, Any]:
    found = tokens_own(scope=request.scope)
    return page(found, shape=lambda row: _token(row, request), cursor=paging.cursor, limit=paging.limit)


@router.get("/tokens/{token_id}", allow=SIGNED_IN, response=OwnTokenOut, summary="Show a token of yours")
def token_show(request: ApiRequest, token_id: int) -> dict[str, Any]:
    return _token(tokens_own(scope=request.scope).get(pk=token_id), request)


@router.post("/tokens", allow=SIGNED_IN, response={201: NewTokenOut}, summary="Make a token: shown this once")
def token_make_own(request: ApiRequest, body: OwnTokenIn) -> dict[str, Any]:
    now = current_time()
    site = queries.sites(scope=request.scope).get(pk=body.site) if body.site is not None else None
    client = queries.clients(scope=request.scope).get(pk=body.client) if body.client is not None else None
    if site is not None and client is not None and site.client_id != client.pk:
        raise ValueError(f"site: {site} is no site of {client}")
    row, token = token_make(
        person=request.person,
        name=body.name,
        permissions=body.permissions,
        client=client,
        site=site,
        expires_at=body.expires_at if "expires_at" in body.model_fields_set else now + USUAL_LIFETIME,
        issuer=request.token,
        scope=request.scope,
        now=now,
    )
    return {**_token(row, request), "token": token}


@router.delete("/tokens/{token_id}", allow=SIGNED_IN, summary="Revoke a token of yours")
def token_remove(request: ApiRequest, token_id: int) -> None:
    token_revoke(token=tokens_own(scope=request.scope).get(pk=token_id), scope=request.scope, now=current_time())


def _token(row: ApiToken, request: ApiRequest) -> dict[str, Any]:
    fields = ("name", "permissions", "client", "site", "created_at", "expires_at", "last_used_at", "revoked_at")
    return {"id": row.pk, "is_this": row.pk == request.token.pk, **{name: getattr(row, name) for name in fields}}
