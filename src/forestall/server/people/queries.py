"""Reads of clients, sites and rights."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db import OperationalError
from django.db.models import QuerySet

from forestall.server.people.models import ApiToken, Client, Person, Site
from forestall.server.people.roles import ROLE_PERMISSIONS, Role
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.services import token_digest

log = logging.getLogger(__name__)

LAST_USED_GRAIN = timedelta(minutes=5)
"""A token's last use is written at most this often: a read must not cost a write each time."""


def scope_of(person: Person) -> Scope:
    """What ``person`` may see and do now. Read from the database on every request: a change binds the next one.

    A person with several grants gets the union of the places and of the permissions.
    """
    permissions: set[Permission] = set()
    clients: set[object] = set()
    sites: set[object] = set()
    every_client = every_site = False
    for grant in person.grants.all() if person.is_active else ():
        permissions |= ROLE_PERMISSIONS[Role(grant.role)]
        if grant.client_id is None:
            every_client = every_site = True
        elif grant.site_id is None:
            clients.add(grant.client_id)
            sites.update(
                Site.objects.visible_to(Scope.system("scope"))
                .filter(client=grant.client_id)
                .values_list("pk", flat=True)
            )
        else:
            clients.add(grant.client_id)
            sites.add(grant.site_id)
    return Scope(
        who=person.username,
        person_id=person.pk,
        clients=None if every_client else frozenset(clients),  # type: ignore[arg-type]
        sites=None if every_site else frozenset(sites),  # type: ignore[arg-type]
        permissions=frozenset(permissions),
    )


def person_of_token(*, token: str, now: datetime) -> Person | None:
    """Whose bearer token this is; None when it is nobody's, has expired, or its person is no longer active."""
    found = ApiToken.objects.select_related("person").filter(digest=token_digest(token)).first()
    if found is None or not found.person.is_active or (found.expires_at and found.expires_at <= now):
        return None
    if found.last_used_at is None or now - found.last_used_at > LAST_USED_GRAIN:
        try:
            ApiToken.objects.filter(pk=found.pk).update(last_used_at=now)
        except OperationalError as error:
            # A full disk, above all: just then somebody has to be able to look.
            log.warning("the last use of token %s was not noted: %s", found.pk, error)
    return found.person


def clients(*, scope: Scope) -> QuerySet[Client]:
    """The clients that ``scope`` may see."""
    found: QuerySet[Client] = Client.objects.visible_to(scope)
    return found


def sites(*, scope: Scope) -> QuerySet[Site]:
    """The sites that ``scope`` may see, with their clients."""
    found: QuerySet[Site] = Site.objects.visible_to(scope).select_related("client")
    return found
