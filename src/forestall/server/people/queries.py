"""Reads of clients, sites and rights."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import OperationalError
from django.db.models import Q, QuerySet

from forestall.server.people.models import ApiToken, Client, Contact, Grant, Person, RolePolicy, Site
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
    """Whether a role that the person holds asks for a second factor."""
    grants = Grant.objects.filter(person=person)
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
