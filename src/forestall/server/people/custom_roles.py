"""Roles of the provider's own, and what is asked of everybody who holds a role."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from django.db import transaction

from forestall.server.people import queries, rules
from forestall.server.people.grants import concerned, permissions_of
from forestall.server.people.models import Client, CustomRole, Grant, RolePolicy
from forestall.server.people.record import Act, act_record
from forestall.server.people.roles import Role
from forestall.server.people.rules import PeopleError
from forestall.server.people.scope import NOWHERE, Permission, Scope

MAX_NAME = 60


@transaction.atomic
def role_create(
    *, name: str, permissions: Collection[Permission], description: str = "", scope: Scope, now: datetime
) -> CustomRole:
    """A role of permissions chosen from the fixed list. It can hold what its maker holds everywhere, and no more.

    PeopleError for a name that is taken, and for permissions of staff mixed with those of clients' own people.
    """
    chosen = frozenset(permissions)
    rules.role_check(permissions=chosen, before=frozenset(), giver=scope)
    return CustomRole.objects.create(
        name=_name(name),
        description=description.strip(),
        permissions=sorted(chosen),
        created_at=now,
        created_by=scope.who,
    )


@transaction.atomic
def role_change(
    *,
    role: CustomRole,
    name: str | None = None,
    permissions: Collection[Permission] | None = None,
    description: str | None = None,
    scope: Scope,
    now: datetime,
) -> CustomRole:
    """Change a role; whoever holds it may more or less from their next request on. None leaves a part as it is.

    What is in it, and what comes into it, must be the changer's own everywhere. A role that is held cannot go over
    from staff to clients' own people or back.
    """
    role = CustomRole.objects.select_for_update().get(pk=role.pk)
    old, old_name = permissions_of(role), role.name
    new = old if permissions is None else frozenset(permissions)
    rules.role_check(permissions=new, before=old, giver=scope)
    held = list(Grant.objects.filter(custom=role).select_related("person", "client", "site"))
    if held and bool(new & rules.PORTAL) != bool(old & rules.PORTAL):
        raise PeopleError(f"permissions: {role} is held by {_who(held)}, who are on the other side; take it first")
    role.permissions = sorted(new)
    role.description = role.description if description is None else description.strip()
    role.name = role.name if name is None else _name(name, but=role)
    role.save()
    if new != old or role.name != old_name:
        before = {"name": old_name, "permissions": sorted(old - new)}
        after = {"name": role.name, "permissions": sorted(new - old)}
        _recorded(role, held, before=before, after=after, scope=scope, now=now)
    return role


@transaction.atomic
def role_delete(*, role: CustomRole, scope: Scope) -> None:
    """Delete a role that nobody holds. PeopleError names the holders: no one loses rights by a role's deletion."""
    role = CustomRole.objects.select_for_update().get(pk=role.pk)
    held_permissions = permissions_of(role) or frozenset({Permission.PEOPLE_CHANGE})
    rules.role_check(permissions=held_permissions, before=frozenset(), giver=scope)
    held = list(Grant.objects.filter(custom=role).select_related("person"))
    if held:
        raise PeopleError(f"role: {role} is held by {_who(held)}; take it from them first")
    role.delete()


@transaction.atomic
def policy_set(*, role: Role | CustomRole, mfa_required: bool, scope: Scope, now: datetime) -> RolePolicy:
    """Whether everybody who holds a role must have a second factor. It binds their next request: who has none reaches
    nothing but the page on which one is set up. It concerns the sign-in of the whole installation, hence
    ``settings.change`` everywhere."""
    scope.require_everywhere(Permission.SETTINGS_CHANGE)
    own = {"custom": role} if isinstance(role, CustomRole) else {"role": role.value}
    policy, _ = RolePolicy.objects.get_or_create(**own)
    if policy.mfa_required == mfa_required:
        return policy
    policy.mfa_required = mfa_required
    policy.save(update_fields=["mfa_required"])
    held = Grant.objects.filter(**own)
    place = NOWHERE
    for grant in held:
        place |= queries.grant_place(grant)
    act_record(
        clients=concerned(place),
        kind=Act.GRANT_CHANGED,
        what="second factor asked of a role",
        name=role.words if isinstance(role, Role) else role.name,
        before={"mfa_required": not mfa_required},
        after={"mfa_required": mfa_required},
        by=scope.who,
        now=now,
    )
    return policy


def role_named(name: str, *, scope: Scope) -> Role | CustomRole:
    """The role of that slug, number or name. CustomRole.DoesNotExist when there is none."""
    word = name.strip()
    slug = word.lower().replace(" ", "_").replace("-", "_")
    if slug in set(Role):
        return Role(slug)
    own = queries.custom_roles(scope=scope)
    if word.isdecimal() and len(word) < 10:
        return own.get(pk=int(word))
    return own.get(name__iexact=word)


def can_change(*, role: CustomRole, scope: Scope) -> bool:
    """Whether ``scope`` may change or delete it: what a page offers."""
    held = permissions_of(role) | {Permission.PEOPLE_CHANGE}
    return all(scope.everywhere(one) for one in held)


def _name(name: str, *, but: CustomRole | None = None) -> str:
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME:
        raise PeopleError(f"name: {name[:80]!r} has {len(name)} characters; a role's name has 1 to {MAX_NAME}")
    if name.isdecimal() or name.lower().replace(" ", "_").replace("-", "_") in set(Role):
        raise PeopleError(f"name: {name!r} means another role already")
    taken = CustomRole.objects.filter(name__iexact=name)
    if (taken if but is None else taken.exclude(pk=but.pk)).exists():
        raise PeopleError(f"name: there is a role {name!r} already")
    return name


def _recorded(
    role: CustomRole,
    held: Collection[Grant],
    *,
    before: Mapping[str, object],
    after: Mapping[str, object],
    scope: Scope,
    now: datetime,
) -> None:
    """On the record of each client where somebody holds it, with those people: of others it says nothing."""
    by_client: dict[UUID, tuple[Client, set[str]]] = {}
    for grant in held:
        for client in concerned(queries.grant_place(grant)):
            by_client.setdefault(client.pk, (client, set()))[1].add(grant.person.username)
    for client, names in by_client.values():
        act_record(
            clients=[client],
            kind=Act.GRANT_CHANGED,
            what="permissions of a role",
            name=role.name,
            before=before,
            after={**after, "held_by": sorted(names)},
            by=scope.who,
            now=now,
        )


def _who(held: Collection[Grant]) -> str:
    names = sorted({grant.person.username for grant in held})
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
