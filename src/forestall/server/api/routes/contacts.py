"""Contacts: whom to call at a client."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from ninja import Field

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.clients import queries, services
from forestall.server.clients.rules import MOST
from forestall.server.people import queries as people
from forestall.server.people.models import Contact
from forestall.server.people.scope import Permission, Scope

router = Routes(tags=["contacts"])

ORDER = ("client__name", "name", "pk")


class ContactOut(Schema):
    id: int
    client: Named
    site: Named | None = Field(description="Null: of the client as a whole.")
    name: str
    email: str
    phone: str
    duty: str = Field(description="`approves work`, `has the key` …")
    is_primary: bool = Field(description="One of a client is.")
    person: str | None = Field(description="User name, when it is somebody who signs in.")


class ContactIn(Schema):
    name: str = Field(max_length=MOST["contact"])
    email: str = Field("", max_length=200)
    phone: str = Field("", max_length=MOST["phone"])
    duty: str = Field("", max_length=MOST["duty"])
    is_primary: bool = Field(default=False, description="The first one is, and a new one takes the place of the old.")
    site: UUID | None = None
    person: int | None = Field(None, description="Number of somebody who signs in.")


class ContactChangeIn(Schema):
    """What is not named stays as it is; null of site and person means none."""

    name: str | None = Field(None, max_length=MOST["contact"])
    email: str | None = Field(None, max_length=200)
    phone: str | None = Field(None, max_length=MOST["phone"])
    duty: str | None = Field(None, max_length=MOST["duty"])
    is_primary: bool | None = None
    site: UUID | None = None
    person: int | None = None


@router.get("/contacts", allow=Permission.CLIENT_VIEW, response=Page[ContactOut], summary="List contacts")
def contact_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    primary: bool | None = None,  # noqa: FBT001 - a query parameter
    search: str | None = None,
) -> dict[str, Any]:
    found = queries.contacts_served(scope=request.scope)
    if client is not None:
        found = found.filter(client=client)
    if primary is not None:
        found = found.filter(is_primary=primary)
    if search:
        found = found.filter(name__icontains=search)
    return page(found, shape=_contact, cursor=paging.cursor, limit=paging.limit, order=ORDER)


@router.post(
    "/clients/{client_id}/contacts",
    allow=Permission.CLIENT_CHANGE,
    response={201: ContactOut},
    summary="Add a contact",
)
def contact_create(request: ApiRequest, client_id: UUID, body: ContactIn) -> tuple[int, dict[str, Any]]:
    scope = request.scope
    client = queries.served(scope=scope).get(pk=client_id)
    made = services.contact_add(
        client=client, scope=scope, now=current_time(), **body.model_dump(exclude={"site", "person"}),
        **_links(scope, body.model_dump(include={"site", "person"})),
    )  # fmt: skip
    return 201, _contact(made)


@router.get("/contacts/{contact_id}", allow=Permission.CLIENT_VIEW, response=ContactOut, summary="Show a contact")
def contact_show(request: ApiRequest, contact_id: int) -> dict[str, Any]:
    return _contact(queries.contacts_served(scope=request.scope).get(pk=contact_id))


@router.patch("/contacts/{contact_id}", allow=Permission.CLIENT_CHANGE, response=ContactOut, summary="Change a contact")
def contact_change(request: ApiRequest, contact_id: int, body: ContactChangeIn) -> dict[str, Any]:
    scope = request.scope
    contact = queries.contacts_served(scope=scope).get(pk=contact_id)
    links = _links(scope, body.model_dump(include={"site", "person"}, exclude_unset=True))
    changed = body.model_dump(exclude_none=True, exclude={"site", "person"})
    return _contact(services.contact_change(contact=contact, scope=scope, now=current_time(), **changed, **links))


@router.delete("/contacts/{contact_id}", allow=Permission.CLIENT_CHANGE, summary="Forget a contact")
def contact_delete(request: ApiRequest, contact_id: int) -> tuple[int, None]:
    contact = queries.contacts_served(scope=request.scope).get(pk=contact_id)
    services.contact_remove(contact=contact, scope=request.scope, now=current_time())
    return 204, None


def _links(scope: Scope, asked: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "site" in asked:
        found["site"] = asked["site"] and queries.sites_served(scope=scope).get(pk=asked["site"])
    if "person" in asked:
        number = asked["person"]
        found["person"] = None if number is None else people.persons(scope=scope).get(pk=number)
    return found


def _contact(contact: Contact) -> dict[str, Any]:
    return {
        "id": contact.pk,
        "client": contact.client,
        "site": contact.site,
        "name": contact.name,
        "email": contact.email,
        "phone": contact.phone,
        "duty": contact.duty,
        "is_primary": contact.is_primary,
        "person": contact.person.username if contact.person else None,
    }
