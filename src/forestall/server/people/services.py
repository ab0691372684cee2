"""Changes of clients, sites, persons and their rights."""

from __future__ import annotations

import hashlib
import secrets
import zoneinfo
from collections.abc import Iterable
from datetime import datetime

import holidays
from django.db import transaction

from forestall.server.people.models import ApiToken, Client, Grant, Person, Site
from forestall.server.people.roles import Role
from forestall.server.people.scope import Permission, Scope

TOKEN_PREFIX = "fsp_"  # noqa: S105 - a recognisable beginning, for secret scanners


def token_digest(token: str) -> str:
    """What is kept of a token. It is 256 random bits, so one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def client_create(*, name: str, timezone: str, country: str = "", region: str = "") -> Client:
    """A new client. ValueError for a time zone the system does not know."""
    _require_timezone(timezone)
    client: Client = Client.objects.create(name=name, timezone=timezone, country=country, region=region)
    return client


def client_place(*, client: Client, timezone: str, country: str, region: str, scope: Scope) -> Client:
    """Where a client is: its time zone and public holidays, by which its clocks count from now on.

    ``country`` (ISO 3166-1 alpha-2) and ``region`` as the holidays library names them; empty: no holidays.
    NotAllowedError without ``client.change``; ValueError names what is not known.
    """
    found: Client = Client.objects.visible_to(scope).get(pk=client.pk)
    scope.require(Permission.CLIENT_CHANGE, on=found)
    _require_timezone(timezone)
    known = holidays.list_supported_countries()
    if country and country not in known:
        raise ValueError(f"country: no public holidays are known for {country!r}; known: {', '.join(sorted(known))}")
    if region and region not in known.get(country, []):
        names = ", ".join(known.get(country, [])) or "none"
        raise ValueError(f"region: {region!r} is no region of {country or 'no country'}; known: {names}")
    found.timezone, found.country, found.region = timezone, country, region
    found.save()
    return found


def site_create(*, client: Client, name: str, timezone: str = "") -> Site:
    """A new site. ValueError for a time zone the system does not know."""
    if timezone:
        _require_timezone(timezone)
    site: Site = Site.objects.create(client=client, name=name, timezone=timezone)
    return site


@transaction.atomic
def person_create(
    *, username: str, password: str, role: Role, client: Client | None = None, site: Site | None = None
) -> Person:
    """Someone who can sign in, with one role: everywhere, on a client, or on a site of it."""
    person = Person(username=username)
    person.set_password(password)
    person.save()
    Grant.objects.create(person=person, role=role, client=client or (site.client if site else None), site=site)
    return person


def token_create(
    *,
    person: Person,
    name: str,
    expires_at: datetime | None = None,
    permissions: Iterable[Permission] = (),
    client: Client | None = None,
    site: Site | None = None,
) -> str:
    """A new bearer token of ``person``: returned once, kept only as a digest.

    It may what its person may, cut down to ``permissions`` (none: all of them) and to the client or site.
    """
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    ApiToken.objects.create(
        person=person,
        name=name,
        digest=token_digest(token),
        expires_at=expires_at,
        permissions=sorted(permissions),
        client=client or (site.client if site else None),
        site=site,
    )
    return token


def _require_timezone(name: str) -> None:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"timezone: {name!r} is not a known IANA time zone") from None
