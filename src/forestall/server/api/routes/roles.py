"""Roles: what each may do, roles of the provider's own, and what is asked of those who hold one."""

from __future__ import annotations

from typing import Any

from ninja import Field

from forestall.server.api.asking import current_time
from forestall.server.api.routing import SIGNED_IN, ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.people import custom_roles, queries
from forestall.server.people.grants import permissions_of
from forestall.server.people.models import CustomRole
from forestall.server.people.roles import PERMISSION_WORDS, ROLE_WORDS, Role
from forestall.server.people.rules import PeopleError
from forestall.server.people.scope import Permission, Scope

router = Routes(tags=["roles"])


class PermissionOut(Schema):
    permission: str
    words: str
    is_portal: bool = Field(description="For clients' own people; never in one role with the others.")


class RoleOut(Schema):
    id: str = Field(description="Slug of a built-in role, number of one of the provider's own.")
    name: str
    description: str
    is_built_in: bool
    permissions: list[str]
    people: int = Field(description="How many of the people you see hold it now.")
    mfa_required: bool


class RoleIn(Schema):
    name: str = Field(max_length=60)
    description: str = Field("", max_length=300)
    permissions: list[Permission] = Field(max_length=len(Permission))


class RoleChangeIn(Schema):
    name: str | None = Field(None, max_length=60)
    description: str | None = Field(None, max_length=300)
    permissions: list[Permission] | None = Field(None, max_length=len(Permission))


class PolicyIn(Schema):
    mfa_required: bool


class PolicyOut(Schema):
    role: str
    name: str
    mfa_required: bool


@router.get(
    "/permissions", allow=SIGNED_IN, response=list[PermissionOut], summary="Everything a role can be allowed to do"
)
def permission_list(request: ApiRequest) -> Any:
    return [{"permission": one, "words": words, "is_portal": one.is_portal} for one, words in PERMISSION_WORDS.items()]


@router.get("/roles", allow=Permission.PEOPLE_VIEW, response=list[RoleOut], summary="List roles, built-in ones first")
def role_list(request: ApiRequest) -> Any:
    own = queries.custom_roles(scope=request.scope)
    return _roles([*Role, *own], request.scope)


@router.post("/roles", allow=Permission.PEOPLE_CHANGE, response={201: RoleOut}, summary="Make a role of your own")
def role_create(request: ApiRequest, body: RoleIn) -> Any:
    made = custom_roles.role_create(
        name=body.name,
        description=body.description,
        permissions=body.permissions,
        scope=request.scope,
        now=current_time(),
    )
    return _roles([made], request.scope)[0]


@router.get("/roles/{role_id}", allow=Permission.PEOPLE_VIEW, response=RoleOut, summary="Show a role")
def role_show(request: ApiRequest, role_id: str) -> Any:
    return _roles([custom_roles.role_named(role_id, scope=request.scope)], request.scope)[0]


@router.patch(
    "/roles/{role_id}",
    allow=Permission.PEOPLE_CHANGE,
    response=RoleOut,
    summary="Change a role of your own; it binds the next request of whoever holds it",
)
def role_change(request: ApiRequest, role_id: str, body: RoleChangeIn) -> Any:
    changed = custom_roles.role_change(
        role=_own(role_id, request.scope),
        name=body.name,
        description=body.description,
        permissions=body.permissions,
        scope=request.scope,
        now=current_time(),
    )
    return _roles([changed], request.scope)[0]


@router.delete("/roles/{role_id}", allow=Permission.PEOPLE_CHANGE, summary="Delete a role that nobody holds")
def role_delete(request: ApiRequest, role_id: str) -> None:
    custom_roles.role_delete(role=_own(role_id, request.scope), scope=request.scope)


@router.get(
    "/role-policies", allow=Permission.PEOPLE_VIEW, response=list[PolicyOut], summary="What is asked of each role"
)
def role_policy_list(request: ApiRequest) -> Any:
    own = queries.custom_roles(scope=request.scope)
    return [
        {"role": one["id"], "name": one["name"], "mfa_required": one["mfa_required"]}
        for one in _roles([*Role, *own], request.scope)
    ]


@router.put(
    "/role-policies/{role_id}",
    allow=Permission.SETTINGS_CHANGE,
    response=PolicyOut,
    summary="Ask a second factor of everybody who holds a role, or no longer",
)
def role_policy_set(request: ApiRequest, role_id: str, body: PolicyIn) -> Any:
    role = custom_roles.role_named(role_id, scope=request.scope)
    policy = custom_roles.policy_set(role=role, mfa_required=body.mfa_required, scope=request.scope, now=current_time())
    name = role.words if isinstance(role, Role) else role.name
    return {"role": _id(role), "name": name, "mfa_required": policy.mfa_required}


def _own(role_id: str, scope: Scope) -> CustomRole:
    found = custom_roles.role_named(role_id, scope=scope)
    if isinstance(found, Role):
        scope.require_everywhere(Permission.PEOPLE_CHANGE)
        raise PeopleError(f"role: {found.words} is built in and cannot be changed; make one of your own")
    return found


def _id(role: Role | CustomRole) -> str:
    return role.value if isinstance(role, Role) else str(role.pk)


def _roles(roles: list[Role | CustomRole], scope: Scope) -> list[dict[str, Any]]:
    held = queries.holders_of_roles(scope=scope, now=current_time())
    asking = queries.roles_asking_for_factor()
    return [
        {
            "id": _id(one),
            "name": one.words if isinstance(one, Role) else one.name,
            "description": ROLE_WORDS[one] if isinstance(one, Role) else one.description,
            "is_built_in": isinstance(one, Role),
            "permissions": sorted(permissions_of(one)),
            "people": held.get(_id(one), 0),
            "mfa_required": _id(one) in asking,
        }
        for one in roles
    ]
