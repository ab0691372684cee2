"""Changes of clients, sites, persons and their rights."""

from __future__ import annotations

import hashlib
import secrets
import zoneinfo
from datetime import datetime

from django.db import transaction

from forestall.server.people.models import ApiToken, Client, Grant, Person, Site
from forestall.server.people.roles import Role

TOKEN_PREFIX = "fsp_"  # noqa: S105 - a recognisable beginning, for secret scanners


def token_digest(token: str) -> str:
    """What is kept of a token. It is 256 random bits, so one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def client_create(*, name: str, timezone: str, country: str = "", region: str = "") -> Client:
    """A new client. ValueError for a time zone the system does not know."""
    _require_timezone(timezone)
    client: Client = Client.objects.create(name=name, timezone=timezone, country=country, region=region)
    return client


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


def token_create(*, person: Person, name: str, expires_at: datetime | None = None) -> str:
    """A new bearer token of ``person``: returned once, kept only as a digest."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    ApiToken.objects.create(person=person, name=name, digest=token_digest(token), expires_at=expires_at)
    return token


def _require_timezone(name: str) -> None:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"timezone: {name!r} is not a known IANA time zone") from None
