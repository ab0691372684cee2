"""Who speaks for a client: its own people, never those who serve it.

Whoever works for the provider may look at the portal as the client sees it, but an approval, a rating or a request
"by the client" that the provider itself could write would prove nothing.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import models
from django.db.models import Q

from forestall.server.people.models import Client, Grant, Person, Site
from forestall.server.people.queries import role_permissions, scope_of
from forestall.server.people.scope import NotAllowedError, Permission, Place, Scope

STAFF_PERMISSIONS = frozenset(permission for permission in Permission if not permission.is_portal)
ONLY_ITS_OWN = "a client for whom only its own people speak"


def is_staff(scope: Scope, *, on: models.Model | None = None) -> bool:
    """Whether they may do anything that is not the portal's: somewhere, or at the place of ``on``."""
    return any(scope.may(permission, on=on) for permission in STAFF_PERMISSIONS)


def speaks_for(*, scope: Scope, permission: Permission, on: models.Model, now: datetime | None = None) -> bool:
    """Whether they may do this of the portal at that place, as one of the client's own people.

    Judged by all that the person may, not by what a token was cut down to: whoever works at that place serves the
    client there, and does not speak for it.
    """
    if scope.person_id is None or not scope.may(permission, on=on):
        return False
    person = Person.objects.filter(pk=scope.person_id).first()
    if person is None:
        return False
    return not is_staff(scope_of(person, now=now), on=on)


def voice_require(*, scope: Scope, permission: Permission, on: models.Model) -> Person:
    """Who speaks; NotAllowedError unless ``speaks_for``."""
    scope.require(permission, on=on)
    if scope.person_id is None or not speaks_for(scope=scope, permission=permission, on=on):
        raise NotAllowedError(permission, scope.who, ONLY_ITS_OWN)
    return Person.objects.get(pk=scope.person_id)


def voices(*, client: Client, site: Site, permission: Permission, now: datetime) -> list[Person]:
    """The client's own people who may do this at a site, by user name."""
    here = Q(client=client, site=None) | Q(site=site) | Q(client=None)
    running = Q(until=None) | Q(until__gt=now)
    grants = Grant.objects.filter(here, running, person__is_active=True).select_related("person", "custom")
    candidates = {grant.person for grant in grants if permission in role_permissions(grant)}
    found = [
        person
        for person in candidates
        if speaks_for(scope=scope_of(person, now=now), permission=permission, on=site, now=now)
    ]
    return sorted(found, key=lambda person: person.username)


def reading_scope(scope: Scope, *, client: UUID | None = None) -> Scope:
    """What of a scope the portal shows; with ``client``: of that client alone. For reading only.

    Staff who may look at the portal (``portal.view``) see it as a client's manager does wherever they may see tickets.
    """
    kept = {permission: where for permission, where in scope.places.items() if permission.is_portal}
    seen = scope.place(Permission.PORTAL_VIEW)
    as_manager = scope.place(Permission.PORTAL_APPROVE) | (seen & scope.place(Permission.TICKET_VIEW))
    kept[Permission.PORTAL_APPROVE] = as_manager & seen
    if client is not None:
        sites = {site: of for site, of in seen.sites.items() if of == client}
        whole = Place(clients=frozenset({client})) if seen.covers(client) else Place(sites=sites)
        kept = {permission: where & whole for permission, where in kept.items()}
    places = {permission: where for permission, where in kept.items() if not where.is_empty}
    return Scope(who=scope.who, person_id=scope.person_id, places=places)


def public_name(person: Person | None, *, client: UUID) -> str:
    """A person as the client's people read them: their own people by name, staff by the name they chose to show."""
    if person is None:
        return ""
    if person.home_client_id == client:
        return person.shown_name
    return person.display_name or person.get_full_name() or SERVICE_DESK


SERVICE_DESK = "Service desk"
