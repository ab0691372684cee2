"""People: who there is, what they may do and why, and how one is made, changed and switched off."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.db.models import Q
from django.http import HttpResponse
from ninja import Field
from pydantic import AwareDatetime

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.people import grants, persons, queries, signin
from forestall.server.people.access_review import access_review_csv
from forestall.server.people.custom_roles import role_named
from forestall.server.people.models import ApiToken, Client, CustomRole, Grant, Person, Site
from forestall.server.people.roles import Role
from forestall.server.people.rules import PeopleError
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.server.people.signin_sessions import sessions_of
from forestall.server.tickets.handover import person_leave

router = Routes(tags=["people"])


class WhoOut(Schema):
    id: int
    username: str


class GrantOut(Schema):
    id: int
    person: WhoOut
    role: str = Field(description="Slug of a built-in role, number of one of the provider's own.")
    role_name: str
    client: Named | None = Field(description="Null: everywhere.")
    site: Named | None = Field(description="Null: the client as a whole.")
    granted_by: str
    granted_at: datetime
    until: datetime | None = Field(description="When it ends by itself.")
    counts_now: bool


class PersonOut(Schema):
    id: int
    username: str
    display_name: str
    email: str
    home_client: Named | None = Field(description="The client whose own person it is; null: of the provider.")
    is_active: bool
    has_second_factor: bool
    last_sign_in_at: datetime | None
    grants: list[GrantOut] = Field(description="Those that count now, at places where you see people.")
    may_be_changed: bool = Field(description="Whether you may change them: only who may no more than you do.")


class RoleAtIn(Schema):
    role: str = Field(description="Slug, number or name of a role.", max_length=80)
    client: UUID | None = Field(None, description="Without it: everywhere.")
    site: UUID | None = None
    until: AwareDatetime | None = None


class PersonIn(Schema):
    username: str = Field(max_length=150)
    display_name: str = Field("", max_length=150)
    email: str = Field("", max_length=254)
    home_client: UUID | None = Field(None, description="For a client's own person, who can only have portal roles.")
    grants: list[RoleAtIn] = Field([], max_length=50)
    without_grant: bool = Field(default=False, description="Somebody who may nothing yet is meant.")


class PersonChangeIn(Schema):
    display_name: str | None = Field(None, max_length=150)
    email: str | None = Field(None, max_length=254)


class LeaveIn(Schema):
    successor: str | None = Field(None, description="User name of who takes over their open tickets.", max_length=150)


class LeftOut(Schema):
    person: PersonOut
    tickets_given: int


class PasswordIn(Schema):
    how: Literal["link", "shown"] = Field("link", description="A link, good once and for an hour; or a new password.")


class PasswordOut(Schema):
    """Shown once, kept by nobody."""

    url: str = ""
    password: str = ""


class UntilIn(Schema):
    until: AwareDatetime | None = Field(description="When it ends by itself; null: never.")


class WhyLineOut(Schema):
    grant: GrantOut
    gives: bool
    why: str


class WhyOut(Schema):
    may: bool
    why: str
    reasons: list[WhyLineOut]


class TokenOut(Schema):
    id: int
    name: str
    permissions: list[str] = Field(description="Empty: all that its person has.")
    client: Named | None
    site: Named | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class SessionOut(Schema):
    ip: str
    user_agent: str
    created_at: datetime
    last_seen_at: datetime


class SignInOut(Schema):
    at: datetime
    kind: str
    detail: str
    address: str


class CountOut(Schema):
    number: int


@router.get("/people", allow=Permission.PEOPLE_VIEW, response=Page[PersonOut], summary="List people, by user name")
def person_list(
    request: ApiRequest,
    paging: PagingQuery,
    *,
    q: str | None = None,
    role: str | None = None,
    client: UUID | None = None,
    state: Literal["active", "inactive"] | None = None,
    second_factor: bool | None = None,
    signed_in_before: AwareDatetime | None = None,
) -> dict[str, Any]:
    """``role`` and ``client`` find who holds a role now, so named or at that client. ``signed_in_before`` also finds
    who never signed in."""
    scope, now = request.scope, current_time()
    found = queries.persons_found(
        scope=scope, now=now, words=q or "", role=None if role is None else _role(role, scope), client=client
    )
    if state is not None:
        found = found.filter(is_active=state == "active")
    if signed_in_before is not None:
        found = found.filter(Q(last_login=None) | Q(last_login__lt=signed_in_before))
    if second_factor is not None:
        found = found.filter(has_factor=second_factor)
    answer = page(found, shape=lambda row: row, cursor=paging.cursor, limit=paging.limit, order=("username", "pk"))
    answer["items"] = _people(answer["items"], scope, now)
    return answer


@router.post("/people", allow=Permission.PEOPLE_CHANGE, response={201: PersonOut}, summary="Make a person")
def person_create(request: ApiRequest, body: PersonIn) -> dict[str, Any]:
    """They cannot sign in before they have a password: see ``/people/{person_id}/password``."""
    scope, now = request.scope, current_time()
    made = persons.person_invite(
        username=body.username,
        display_name=body.display_name,
        email=body.email,
        home_client=queries.clients(scope=scope).get(pk=body.home_client) if body.home_client else None,
        grants=[_first(one, scope) for one in body.grants],
        without_grant=body.without_grant,
        scope=scope,
        now=now,
    )
    return _person(made, scope, now)


@router.get("/people/{person_id}", allow=Permission.PEOPLE_VIEW, response=PersonOut, summary="Show a person")
def person_show(request: ApiRequest, person_id: int) -> dict[str, Any]:
    return _person(_seen(request, person_id), request.scope, current_time())


@router.patch("/people/{person_id}", allow=Permission.PEOPLE_CHANGE, response=PersonOut, summary="Change a person")
def person_change(request: ApiRequest, person_id: int, body: PersonChangeIn) -> dict[str, Any]:
    scope, now = request.scope, current_time()
    changed = persons.person_change(
        person=_seen(request, person_id), display_name=body.display_name, email=body.email, scope=scope, now=now
    )
    return _person(changed, scope, now)


@router.post(
    "/people/{person_id}/deactivate",
    allow=Permission.PEOPLE_CHANGE,
    response=LeftOut,
    summary="Switch a person off; their next request is refused",
)
def person_deactivate(request: ApiRequest, person_id: int, body: LeaveIn) -> dict[str, Any]:
    scope, now = request.scope, current_time()
    person, successor = _seen(request, person_id), None
    if body.successor:
        successor = queries.persons(scope=scope).filter(username=body.successor, is_active=True).first()
        if successor is None:
            raise PeopleError(f"successor: {body.successor!r} is nobody who can sign in")
    given = person_leave(person=person, successor=successor, scope=scope, now=now)
    return {"person": _person(_seen(request, person_id), scope, now), "tickets_given": given}


@router.post(
    "/people/{person_id}/activate", allow=Permission.PEOPLE_CHANGE, response=PersonOut, summary="Switch a person on"
)
def person_activate(request: ApiRequest, person_id: int) -> dict[str, Any]:
    scope, now = request.scope, current_time()
    return _person(persons.person_activate(person=_seen(request, person_id), scope=scope, now=now), scope, now)


@router.post(
    "/people/{person_id}/password",
    allow=Permission.PEOPLE_CHANGE,
    response=PasswordOut,
    repeatable=True,
    summary="A link by which they choose a password, or a new password, shown once",
)
def person_password(request: ApiRequest, person_id: int, body: PasswordIn) -> dict[str, Any]:
    scope, now, person = request.scope, current_time(), _seen(request, person_id)
    if body.how == "shown":
        return {"password": persons.password_show(person=person, scope=scope, now=now)}
    return {"url": request.build_absolute_uri(persons.password_link(person=person, scope=scope, now=now))}


@router.post(
    "/people/{person_id}/reset-factors",
    allow=Permission.PEOPLE_CHANGE,
    response=CountOut,
    summary="Take away lost second factors",
)
def person_reset_factors(request: ApiRequest, person_id: int) -> dict[str, Any]:
    person = _seen(request, person_id)
    return {"number": persons.factors_reset(person=person, scope=request.scope, now=current_time())}


@router.get(
    "/people/{person_id}/sessions",
    allow=Permission.PEOPLE_VIEW,
    response=list[SessionOut],
    summary="A person's open sessions, the last used first",
)
def person_sessions(request: ApiRequest, person_id: int) -> Any:
    return sessions_of(person=_seen_whole(request, person_id))


@router.post(
    "/people/{person_id}/end-sessions",
    allow=Permission.PEOPLE_CHANGE,
    response=CountOut,
    summary="End every session of a person",
)
def person_end_sessions(request: ApiRequest, person_id: int) -> dict[str, Any]:
    person = _seen(request, person_id)
    return {"number": persons.sessions_end(person=person, scope=request.scope, now=current_time())}


@router.get(
    "/people/{person_id}/signins",
    allow=Permission.PEOPLE_VIEW,
    response=list[SignInOut],
    summary="What happened to a person's sign-in, newest first",
)
def person_signins(request: ApiRequest, person_id: int) -> Any:
    return signin.signin_events(person=_seen_whole(request, person_id))


@router.get(
    "/people/{person_id}/why",
    allow=Permission.PEOPLE_VIEW,
    response=WhyOut,
    summary="Why a person may, or may not, do something at a place",
)
def person_why(
    request: ApiRequest, person_id: int, permission: Permission, client: UUID, site: UUID | None = None
) -> dict[str, Any]:
    scope, now, person = request.scope, current_time(), _seen(request, person_id)
    at_client, at_site = _place(client, site, scope)
    assert at_client is not None  # noqa: S101 - asked for
    answer = queries.explain(person=person, permission=permission, client=at_client, site=at_site, scope=scope, now=now)
    reasons = [{"grant": _grant(one.grant, now), "gives": one.gives, "why": one.why} for one in answer.reasons]
    return {"may": answer.may, "why": answer.why, "reasons": reasons}


# --- grants -----------------------------------------------------------------------------------------------------


@router.get(
    "/people/{person_id}/grants",
    allow=Permission.PEOPLE_VIEW,
    response=list[GrantOut],
    summary="A person's roles, those that have ended included",
)
def person_grants(request: ApiRequest, person_id: int) -> Any:
    now, person = current_time(), _seen(request, person_id)
    return [_grant(one, now) for one in queries.grants(scope=request.scope).filter(person=person)]


@router.post(
    "/people/{person_id}/grants",
    allow=Permission.PEOPLE_CHANGE,
    response={201: GrantOut},
    summary="Give a person a role; nobody gives what they do not hold",
)
def grant_create(request: ApiRequest, person_id: int, body: RoleAtIn) -> dict[str, Any]:
    scope, now, person = request.scope, current_time(), _seen(request, person_id)
    first = _first(body, scope)
    made = grants.grant_give(
        person=person, role=first.role, client=first.client, site=first.site, until=first.until, scope=scope, now=now
    )
    return _grant(made, now)


@router.get("/grants", allow=Permission.PEOPLE_VIEW, response=Page[GrantOut], summary="List who may what, newest first")
def grant_list(
    request: ApiRequest,
    paging: PagingQuery,
    *,
    person: int | None = None,
    client: UUID | None = None,
    ended: bool | None = None,
) -> dict[str, Any]:
    now = current_time()
    found = queries.grants(scope=request.scope)
    if person is not None:
        found = found.filter(person=person)
    if client is not None:
        found = found.filter(client=client)
    if ended is not None:
        found = found.filter(until__lte=now) if ended else found.filter(Q(until=None) | Q(until__gt=now))
    return page(found, shape=lambda row: _grant(row, now), cursor=paging.cursor, limit=paging.limit)


@router.get(
    "/grants.csv",
    allow=Permission.PEOPLE_VIEW,
    files="text/csv",
    summary="Access review: every grant, one line each, as CSV",
)
def grant_export(request: ApiRequest) -> HttpResponse:
    answer = HttpResponse(access_review_csv(scope=request.scope, now=current_time()), content_type="text/csv")
    answer["Content-Disposition"] = 'attachment; filename="access-review.csv"'
    return answer


@router.get("/grants/{grant_id}", allow=Permission.PEOPLE_VIEW, response=GrantOut, summary="Show a grant")
def grant_show(request: ApiRequest, grant_id: int) -> dict[str, Any]:
    return _grant(queries.grants(scope=request.scope).get(pk=grant_id), current_time())


@router.patch(
    "/grants/{grant_id}", allow=Permission.PEOPLE_CHANGE, response=GrantOut, summary="Move the end of a grant"
)
def grant_change(request: ApiRequest, grant_id: int, body: UntilIn) -> dict[str, Any]:
    now, found = current_time(), queries.grants(scope=request.scope).get(pk=grant_id)
    return _grant(grants.grant_change(grant=found, until=body.until, scope=request.scope, now=now), now)


@router.delete("/grants/{grant_id}", allow=Permission.PEOPLE_CHANGE, summary="Take a role away")
def grant_delete(request: ApiRequest, grant_id: int) -> None:
    found = queries.grants(scope=request.scope).get(pk=grant_id)
    grants.grant_take(grant=found, scope=request.scope, now=current_time())


# --- tokens of others -------------------------------------------------------------------------------------------


@router.get(
    "/people/{person_id}/tokens",
    allow=Permission.PEOPLE_VIEW,
    response=list[TokenOut],
    summary="A person's API tokens; never the tokens themselves",
)
def person_tokens(request: ApiRequest, person_id: int) -> Any:
    return _tokens(request, person_id)


@router.delete(
    "/people/{person_id}/tokens/{token_id}", allow=Permission.PEOPLE_CHANGE, summary="Revoke a person's API token"
)
def person_token_revoke(request: ApiRequest, person_id: int, token_id: int) -> None:
    found = _tokens(request, person_id).get(pk=token_id)
    persons.token_revoke(token=found, scope=request.scope, now=current_time())


def _tokens(request: ApiRequest, person_id: int) -> Any:
    return ApiToken.objects.select_related("client", "site", "person").filter(person=_seen_whole(request, person_id))


def _seen(request: ApiRequest, person_id: int) -> Person:
    person: Person = queries.persons(scope=request.scope).get(pk=person_id)
    return person


def _seen_whole(request: ApiRequest, person_id: int) -> Person:
    """For sign-in data: only who sees people wherever this one has a role."""
    person = _seen(request, person_id)
    if not queries.sees_whole(person, scope=request.scope, now=current_time()):
        raise NotAllowedError(Permission.PEOPLE_VIEW, request.scope.who, f"every place of {person.username}")
    return person


def _place(client: UUID | None, site: UUID | None, scope: Scope) -> tuple[Client | None, Site | None]:
    found = queries.sites(scope=scope).get(pk=site) if site else None
    if client is None:
        return (found.client if found else None), found
    return queries.clients(scope=scope).get(pk=client), found


def _first(body: RoleAtIn, scope: Scope) -> persons.FirstGrant:
    client, site = _place(body.client, body.site, scope)
    return persons.FirstGrant(role=_role(body.role, scope), client=client, site=site, until=body.until)


def _role(name: str, scope: Scope) -> Role | CustomRole:
    try:
        return role_named(name, scope=scope)
    except CustomRole.DoesNotExist:
        raise PeopleError(f"role: {name!r} is none; /api/v1/roles lists them") from None


def _grant(grant: Grant, now: datetime) -> dict[str, Any]:
    return {
        "id": grant.pk,
        "person": grant.person,
        "role": grant.role or str(grant.custom_id),
        "role_name": grant.role_name,
        "client": grant.client,
        "site": grant.site,
        "granted_by": grant.granted_by,
        "granted_at": grant.granted_at,
        "until": grant.until,
        "counts_now": grant.person.is_active and (grant.until is None or grant.until > now),
    }


def _person(person: Person, scope: Scope, now: datetime) -> dict[str, Any]:
    return _people(
        list(queries.with_second_factor(Person.objects.filter(pk=person.pk).select_related("home_client"))), scope, now
    )[0]


def _people(people: list[Person], scope: Scope, now: datetime) -> list[dict[str, Any]]:
    held = queries.grants_by_person(people, scope=scope, now=now)
    changeable = queries.changeable(people, scope=scope, now=now)
    return [
        {
            "id": one.pk,
            "username": one.username,
            "display_name": one.display_name,
            "email": one.email,
            "home_client": one.home_client,
            "is_active": one.is_active,
            "has_second_factor": one.has_factor,  # type: ignore[attr-defined]
            "last_sign_in_at": one.last_login,
            "grants": [_grant(grant, now) for grant in held[one.pk]],
            "may_be_changed": one.pk in changeable,
        }
        for one in people
    ]
