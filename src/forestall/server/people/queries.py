"""Reads of clients, sites and rights."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import OperationalError
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from forestall.server.people import rules
from forestall.server.people.models import ApiToken, Client, Contact, CustomRole, Grant, Person, RolePolicy, Site
from forestall.server.people.roles import ROLE_PERMISSIONS, Role
from forestall.server.people.scope import EVERYWHERE, NOWHERE, Permission, Place, Scope
from forestall.server.people.services import token_digest

log = logging.getLogger(__name__)

LAST_USED_GRAIN = timedelta(minutes=5)
"""A token's last use is written at most this often: a read must not cost a write each time."""


def scope_of(person: Person, *, token: ApiToken | None = None, now: datetime | None = None) -> Scope:
    """What ``person`` may do, and where, now. Read from the database on every request: a change binds the next one.

    Each grant gives its role's permissions at its own place alone. With a ``token``, what is left of that within the
    token's own permissions and place.
    """
    places: dict[Permission, Place] = {}
    moment = now or datetime.now(UTC)
    grants = Grant.objects.filter(person=person).select_related("custom") if person.is_active else ()
    for grant in grants:
        if grant.until is not None and grant.until <= moment:
            continue
        place = _place(grant.client_id, grant.site_id)
        for permission in role_permissions(grant):
            places[permission] = places.get(permission, NOWHERE) | place
    scope = Scope(who=person.username, person_id=person.pk, places=places)
    if person.home_client_id is not None:
        # A client's own person reaches the portal of that client and nothing else, whatever a row may say.
        scope = scope.narrowed(permissions=rules.PORTAL, place=Place(clients=frozenset({person.home_client_id})))
    if token is None:
        return scope
    kept = _known(token.permissions) if token.permissions else None
    return scope.narrowed(permissions=kept, place=_place(token.client_id, token.site_id))


def role_permissions(grant: Grant) -> frozenset[Permission]:
    """What a grant's role may do."""
    return ROLE_PERMISSIONS[Role(grant.role)] if grant.custom is None else _known(grant.custom.permissions)


def _known(values: list[str]) -> frozenset[Permission]:
    # A permission of a newer version, after a step back: nobody has it here.
    return frozenset(Permission(value) for value in values if value in set(Permission))


def _place(client: UUID | None, site: UUID | None) -> Place:
    if client is None:
        return EVERYWHERE
    return Place(clients=frozenset({client})) if site is None else Place(sites={site: client})


def token_row(*, token: str, now: datetime) -> ApiToken | None:
    """The row of a bearer token, with its person; None when it is nobody's, has expired or was revoked, or its
    person is no longer active."""
    found = ApiToken.objects.select_related("person").filter(digest=token_digest(token), revoked_at=None).first()
    if found is None or not found.person.is_active or (found.expires_at and found.expires_at <= now):
        return None
    if found.last_used_at is None or now - found.last_used_at > LAST_USED_GRAIN:
        try:
            ApiToken.objects.filter(pk=found.pk).update(last_used_at=now)
        except OperationalError as error:
            # A full disk, above all: just then somebody has to be able to look.
            log.warning("the last use of token %s was not noted: %s", found.pk, error)
    return found


def person_of_token(*, token: str, now: datetime) -> Person | None:
    """Whose bearer token this is; None as for ``token_row``."""
    found = token_row(token=token, now=now)
    return None if found is None else found.person


def mfa_is_required(*, person: Person) -> bool:
    """Whether a role that the person holds now asks for a second factor."""
    grants = Grant.objects.filter(Q(until=None) | Q(until__gt=datetime.now(UTC)), person=person)
    policies = RolePolicy.objects.filter(mfa_required=True)
    return policies.filter(
        Q(role__in=grants.exclude(role="").values("role")) | Q(custom__in=grants.exclude(custom=None).values("custom"))
    ).exists()


def clients(*, scope: Scope) -> QuerySet[Client]:
    """The clients that ``scope`` may see, without those that were removed."""
    found: QuerySet[Client] = Client.objects.visible_to(scope).filter(removed_at=None)
    return found


def clients_removed(*, scope: Scope) -> QuerySet[Client]:
    """The clients that were removed, of which evidence and reports are left, newest removal first."""
    found: QuerySet[Client] = Client.objects.visible_to(scope).exclude(removed_at=None).order_by("-removed_at")
    return found


def sites(*, scope: Scope) -> QuerySet[Site]:
    """The sites that ``scope`` may see, with their clients; without those of removed clients."""
    found: QuerySet[Site] = Site.objects.visible_to(scope).filter(client__removed_at=None).select_related("client")
    return found


def contacts(*, scope: Scope) -> QuerySet[Contact]:
    """The contacts that ``scope`` may see, with client and site."""
    found: QuerySet[Contact] = Contact.objects.visible_to(scope).select_related("client", "site", "person")
    return found


def persons(*, scope: Scope) -> QuerySet[Person]:
    """The persons whom ``scope`` may see: those with a role at a place where it holds ``people.view``, and oneself.

    Staff with a role everywhere are seen by those who may see people everywhere.
    """
    place = scope.place(Permission.PEOPLE_VIEW)
    every = Person.objects.all()
    if place.everywhere:
        return every
    inside = Q(client__in=place.clients) | Q(site__in=place.sites)
    mine = Q(pk__in=Grant.objects.filter(inside).values("person")) | Q(home_client__in=place.clients)
    return every.filter(mine | Q(pk=scope.person_id))


def persons_found(
    *,
    scope: Scope,
    now: datetime,
    words: str = "",
    role: Role | CustomRole | None = None,
    client: UUID | None = None,
) -> QuerySet[Any]:
    """The persons whom ``scope`` may see, narrowed by words of their names and by what they hold now; each with
    ``has_factor``."""
    found = with_second_factor(persons(scope=scope)).select_related("home_client")
    for word in words.split()[:6]:
        found = found.filter(Q(username__icontains=word) | Q(display_name__icontains=word) | Q(email__icontains=word))
    if role is not None or client is not None:
        held = grants(scope=scope, now=now).order_by()
        if role is not None:
            held = held.filter(custom=role) if isinstance(role, CustomRole) else held.filter(role=role.value)
        if client is not None:
            # Who works everywhere works there too.
            held = held.filter(Q(client=client) | Q(client=None))
        found = found.filter(pk__in=held.values("person"))
    return found


# --- what people may do, and who says so ------------------------------------------------------------------------


def grant_place(grant: Grant) -> Place:
    """Where a grant counts."""
    return _place(grant.client_id, grant.site_id)


def grant_powers(grant: Grant) -> rules.Powers:
    """What a grant gives, and where, whether or not it counts now."""
    return dict.fromkeys(role_permissions(grant), grant_place(grant))


def grant_where(grant: Grant) -> str:
    """The place in words: ``everywhere``, ``Acme``, ``Acme, Munich``."""
    if grant.client is None:
        return "everywhere"
    return grant.client.name if grant.site is None else f"{grant.client.name}, {grant.site.name}"


def grants(*, scope: Scope, now: datetime | None = None) -> QuerySet[Grant]:
    """The grants that ``scope`` may see: those at places where it sees people, and one's own. With ``now``: without
    those that have ended by then."""
    place = scope.place(Permission.PEOPLE_VIEW)
    found = Grant.objects.select_related("person", "custom", "client", "site")
    if not place.everywhere:
        inside = Q(client__in=place.clients) | Q(site__in=list(place.sites))
        found = found.filter(inside | Q(person=scope.person_id))
    if now is not None:
        found = found.filter(Q(until=None) | Q(until__gt=now))
    return found.order_by("person__username", "client__name", "site__name", "pk")


@dataclass(frozen=True, slots=True)
class Standing:
    """How far somebody reaches, though they be switched off."""

    powers: rules.Powers
    """What their grants give."""
    reach: Place
    """Where whoever changes them must be allowed to change people: wherever they have a role; without any, their home
    client, or everywhere for staff."""


def standings(people: Iterable[Person], *, now: datetime) -> dict[int, Standing]:
    """How far each of these people reaches, by their number; one query for all."""
    homes = {one.pk: _place(one.home_client_id, None) for one in people}
    held: dict[int, list[Grant]] = {}
    live = Grant.objects.filter(Q(until=None) | Q(until__gt=now), person__in=list(homes)).select_related("custom")
    for grant in live:
        held.setdefault(grant.person_id, []).append(grant)
    found = {}
    for pk, home in homes.items():
        reach = NOWHERE
        for grant in held.get(pk, ()):
            reach |= grant_place(grant)
        powers = rules.powers_add(grant_powers(grant) for grant in held.get(pk, ()))
        found[pk] = Standing(powers=powers, reach=home if reach.is_empty else reach)
    return found


def standing_of(person: Person, *, now: datetime) -> Standing:
    """How far one person reaches."""
    return standings([person], now=now)[person.pk]


def sees_whole(person: Person, *, scope: Scope, now: datetime) -> bool:
    """Whether ``scope`` sees people wherever this person has a role, or is that person: then it also sees their
    tokens, sessions and sign-ins."""
    if person.pk == scope.person_id:
        return True
    return rules.within(standing_of(person, now=now).reach, scope.place(Permission.PEOPLE_VIEW))


def changeable(people: Iterable[Person], *, scope: Scope, now: datetime) -> frozenset[int]:
    """Which of these people ``scope`` may change: those who may no more than itself, by their number."""
    place = scope.place(Permission.PEOPLE_CHANGE)
    return frozenset(
        pk
        for pk, standing in standings(people, now=now).items()
        if rules.within(standing.reach, place) and not rules.exceeding(powers=standing.powers, giver=scope)
    )


def owners(*, now: datetime) -> QuerySet[Grant]:
    """The grants by which active people own the installation for good."""
    return Grant.objects.filter(
        role=Role.OWNER, client=None, site=None, until=None, person__is_active=True, person__home_client=None
    )


def holders(*, permission: Permission, client: UUID, site: UUID | None = None, now: datetime) -> list[Person]:
    """The active people who may do it at that place now, by user name."""
    here = Q(client=None) | Q(client=client, site=None)
    if site is not None:
        here |= Q(client=client, site=site)
    near = list(Person.objects.filter(is_active=True, pk__in=Grant.objects.filter(here).values("person")))
    found = standings(near, now=now)
    return [
        one
        for one in near
        if found[one.pk].powers.get(permission, NOWHERE).covers(client, site)
        # As in ``scope_of``: a client's own person has the portal of that client alone.
        and (one.home_client_id is None or (permission.is_portal and one.home_client_id == client))
    ]


@dataclass(frozen=True, slots=True)
class Reason:
    """One grant, and whether it is why."""

    grant: Grant
    gives: bool
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why somebody may, or may not, do something at a place."""

    may: bool
    why: str
    reasons: list[Reason]
    """The grants that ``scope`` may see; those that give come first."""


def explain(
    *, person: Person, permission: Permission, client: Client, site: Site | None, scope: Scope, now: datetime
) -> Explanation:
    """Why ``person`` may do it at that place, or why not, by the grants that ``scope`` may see or that give it."""
    may = scope_of(person, now=now).place(permission).covers(client.pk, site.pk if site else None)
    seen = set(grants(scope=scope).filter(person=person).values_list("pk", flat=True))
    found = Grant.objects.filter(person=person).select_related("custom", "client", "site")
    reasons = [_reason(grant, permission, client, site, now) for grant in found.order_by("pk")]
    reasons = [one for one in reasons if one.gives or one.grant.pk in seen]
    reasons.sort(key=lambda one: not one.gives)
    giving = [one.grant for one in reasons if one.gives]
    where = f"{client.name}, {site.name}" if site else client.name
    if not person.is_active:
        why = f"{person.username} is switched off and may do nothing."
    elif may:
        named = " and ".join(f"{grant.role_name} ({grant_where(grant)})" for grant in giving)
        why = f"{person.username} may do {permission} at {where}: {named} {'gives' if len(giving) == 1 else 'give'} it."
    elif giving:
        why = f"{person.username} is a client's own person: a role of staff gives them nothing."
    else:
        why = f"{person.username} may not do {permission} at {where}: no grant gives it there."
    return Explanation(may=may, why=why, reasons=reasons)


def _reason(grant: Grant, permission: Permission, client: Client, site: Site | None, now: datetime) -> Reason:
    if grant.until is not None and grant.until <= now:
        return Reason(grant, gives=False, why=f"ended on {grant.until:%Y-%m-%d %H:%M} UTC")
    if permission not in role_permissions(grant):
        return Reason(grant, gives=False, why=f"{grant.role_name} does not include it")
    if not grant_place(grant).covers(client.pk, site.pk if site else None):
        return Reason(grant, gives=False, why=f"counts at {grant_where(grant)} only")
    ends = f" until {grant.until:%Y-%m-%d %H:%M} UTC" if grant.until else ""
    return Reason(grant, gives=True, why=f"given by {grant.granted_by or 'the server itself'}{ends}")


def custom_roles(*, scope: Scope) -> QuerySet[CustomRole]:
    """The provider's own roles. They belong to the installation: whoever may see people may read them."""
    scope.require(Permission.PEOPLE_VIEW)
    return CustomRole.objects.all()


def holders_of_roles(*, scope: Scope, now: datetime) -> dict[str, int]:
    """How many people whom ``scope`` sees hold each role now: by slug, and by number for the provider's own."""
    found: dict[str, int] = {}
    live = grants(scope=scope, now=now).order_by()
    for row in live.values("role", "custom").annotate(people=Count("person", distinct=True)):
        found[row["role"] or str(row["custom"])] = row["people"]
    return found


def roles_asking_for_factor() -> frozenset[str]:
    """The roles whose holders must have a second factor: slugs, and numbers of the provider's own."""
    asking = RolePolicy.objects.filter(mfa_required=True)
    return frozenset(role or str(custom) for role, custom in asking.values_list("role", "custom"))


def with_second_factor(found: QuerySet[Person]) -> QuerySet[Any]:
    """Persons with ``has_factor``: whether they set up an authenticator app or a passkey."""
    from allauth.mfa.models import Authenticator

    own = Authenticator.objects.filter(
        user=OuterRef("pk"), type__in=[Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]
    )
    return found.annotate(has_factor=Exists(own))


def grants_by_person(people: Iterable[Person], *, scope: Scope, now: datetime) -> dict[int, list[Grant]]:
    """The live grants of these people that ``scope`` may see."""
    found: dict[int, list[Grant]] = {one.pk: [] for one in people}
    for grant in grants(scope=scope, now=now).filter(person__in=list(found)):
        found[grant.person_id].append(grant)
    return found
