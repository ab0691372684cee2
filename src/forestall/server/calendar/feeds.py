"""Secret addresses of calendars. Whoever has one reads the calendar, so it is kept like a token: as a digest alone."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from django.db import OperationalError, transaction

from forestall.server.calendar.models import CalendarFeed
from forestall.server.calendar.rules import CalendarError
from forestall.server.people.grants import concerned
from forestall.server.people.models import ApiToken, Client, Person, Site
from forestall.server.people.queries import scope_of
from forestall.server.people.record import Act, act_record
from forestall.server.people.rules import within
from forestall.server.people.scope import EVERYWHERE, Permission, Place, Scope
from forestall.server.people.services import token_digest

MOST = 20
"""Addresses of one person that are good at the same time."""
LAST_USED_GRAIN = timedelta(minutes=5)
PREFIX = "cal_"


@transaction.atomic
def feed_make(
    *,
    person: Person,
    name: str,
    portal: bool,
    client: Client | None = None,
    site: Site | None = None,
    issuer: ApiToken | None = None,
    scope: Scope,
    now: datetime,
) -> tuple[CalendarFeed, str]:
    """A new address of one's own calendar: its row, and the secret in it, which nobody sees a second time.

    ``portal``: what the portal shows, else what the console does. ``client`` or ``site`` (visible to ``scope``) cut it
    down. ``issuer``: the API token that asks: what it makes stays within its place, and ends with it. CalendarError.
    """
    client = client or (site.client if site is not None else None)
    if not name.strip():
        raise CalendarError("name: say which program will read it")
    place = _place(client, site)
    permission = Permission.PORTAL_VIEW if portal else Permission.DEVICE_VIEW
    if (scope.place(permission) & place).is_empty:
        at = f" at {site or client}" if client else ""
        raise CalendarError(f"place: you see no {'portal' if portal else 'windows'}{at}")
    if issuer is not None and not within(place, _place(issuer.client, issuer.site)):
        raise CalendarError(f"place: this token is for {issuer.site or issuer.client} only; name that, or a part of it")
    Person.objects.select_for_update().get(pk=person.pk)
    if CalendarFeed.objects.filter(person=person, revoked_at=None).exclude(expires_at__lte=now).count() >= MOST:
        raise CalendarError(f"feeds: {MOST} addresses are good at the moment; revoke some first")
    secret = PREFIX + secrets.token_urlsafe(32)
    made = CalendarFeed.objects.create(
        person=person,
        name=name.strip()[:100],
        digest=token_digest(secret),
        portal=portal,
        client=client,
        site=site,
        created_at=now,
        expires_at=None if issuer is None else issuer.expires_at,
    )
    _recorded(made, scope, now, made=True)
    return made, secret


@transaction.atomic
def feed_revoke(*, feed: CalendarFeed, scope: Scope, now: datetime) -> None:
    """Nothing is read under this address any more. Twice changes nothing. One's own alone."""
    found = CalendarFeed.objects.select_related("person", "client", "site").get(pk=feed.pk, person=scope.person_id)
    if CalendarFeed.objects.filter(pk=found.pk, revoked_at=None).update(revoked_at=now):
        _recorded(found, scope, now, made=False)


def feed_of(*, secret: str, now: datetime) -> CalendarFeed | None:
    """The address with this secret; None when it is nobody's, was revoked, has ended, or its person is switched off."""
    found = (
        CalendarFeed.objects.select_related("person", "client", "site")
        .filter(digest=token_digest(secret), revoked_at=None)
        .first()
    )
    if found is None or not found.person.is_active or (found.expires_at is not None and found.expires_at <= now):
        return None
    if found.last_used_at is None or now - found.last_used_at > LAST_USED_GRAIN:
        try:
            CalendarFeed.objects.filter(pk=found.pk).update(last_used_at=now)
        except OperationalError:
            # A full disk, above all: whoever reads the calendar needs it all the same.
            return found
    return found


def feed_scope(*, feed: CalendarFeed, now: datetime) -> Scope:
    """What the address shows at this moment: what its person may see now, cut down to what it was made for."""
    return scope_of(feed.person, now=now).narrowed(place=_place(feed.client, feed.site))


def _place(client: Client | None, site: Site | None) -> Place:
    if site is not None:
        return Place(sites={site.pk: site.client_id})
    return EVERYWHERE if client is None else Place(clients=frozenset({client.pk}))


def _recorded(feed: CalendarFeed, scope: Scope, now: datetime, *, made: bool) -> None:
    permission = Permission.PORTAL_VIEW if feed.portal else Permission.DEVICE_VIEW
    shown = {"calendar": feed.name, "portal": feed.portal, "where": str(feed.site or feed.client or "everywhere")}
    act_record(
        clients=concerned(scope.place(permission) & _place(feed.client, feed.site)),
        kind=Act.TOKEN_CHANGED,
        what="calendar address",
        name=feed.person.username,
        before=None if made else shown,
        after=shown if made else None,
        by=scope.who,
        now=now,
    )
