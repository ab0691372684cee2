"""A person's own bearer tokens. None of them may more than whoever made it: not at the moment, and not later."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from forestall.server.people.grants import concerned
from forestall.server.people.models import ApiToken, Client, Person, Site
from forestall.server.people.queries import scope_of
from forestall.server.people.record import Act, act_record
from forestall.server.people.rules import within
from forestall.server.people.scope import EVERYWHERE, Permission, Place, Scope
from forestall.server.people.services import token_create, token_digest

USUAL_LIFETIME = timedelta(days=90)
MOST = 50
"""Tokens of one person that are good at the same time."""


class TokenError(ValueError):
    """A token that cannot be; the message names what is wrong."""


def tokens_own(*, scope: Scope) -> QuerySet[ApiToken]:
    """One's own tokens, newest first, the revoked ones included."""
    return ApiToken.objects.filter(person=scope.person_id).select_related("client", "site").order_by("-pk")


@transaction.atomic
def token_make(
    *,
    person: Person,
    name: str,
    permissions: Collection[Permission] = (),
    client: Client | None = None,
    site: Site | None = None,
    expires_at: datetime | None,
    issuer: ApiToken | None = None,
    scope: Scope,
    now: datetime,
) -> tuple[ApiToken, str]:
    """A new token of one's own; its row, and the token itself, which nobody sees a second time.

    ``permissions`` (none: all that the person has), ``client`` or ``site``, and ``expires_at`` (None: never) cut it
    down. ``issuer``: the token that asks for it; what it makes stays within it in all three. TokenError names what
    would exceed.
    """
    client = client or (site.client if site is not None else None)
    if not name.strip():
        raise TokenError("name: say what the token is for")
    if expires_at is not None and expires_at <= now:
        raise TokenError(f"expires_at: {expires_at:%Y-%m-%d %H:%M} UTC is past")
    Person.objects.select_for_update().get(pk=person.pk)
    alive = ApiToken.objects.filter(person=person, revoked_at=None).exclude(expires_at__lte=now)
    if alive.count() >= MOST:
        raise TokenError(f"tokens: {MOST} are good at the moment; revoke some first")
    place = _place(client, site)
    wanted = frozenset(permissions)
    for permission in sorted(wanted):
        if (scope.place(permission) & place).is_empty:
            raise TokenError(f"permissions: {permission} is not yours to give{_at(client, site)}")
    if issuer is not None:
        _require_within(issuer, wanted, place, expires_at)
    token = token_create(
        person=person, name=name.strip(), expires_at=expires_at, permissions=wanted, client=client, site=site
    )
    row = ApiToken.objects.select_related("client", "site").get(digest=token_digest(token))
    reach = scope_of(person, token=row, now=now)
    if reach.place().is_empty:
        raise TokenError(f"place: you may nothing{_at(client, site)}")
    for permission, where in reach.places.items():
        if not within(where, scope.place(permission)):
            raise TokenError(f"permissions: {permission} would reach further than you do")
    shown = {"token": row.name, "permissions": sorted(wanted) or "all", "expires_at": _moment(expires_at)}
    act_record(
        clients=concerned(reach.place()),
        kind=Act.TOKEN_CHANGED,
        what="token",
        name=person.username,
        before=None,
        after=shown,
        by=scope.who,
        now=now,
    )
    return row, token


def _require_within(issuer: ApiToken, wanted: frozenset[Permission], place: Place, expires_at: datetime | None) -> None:
    # By what they say, and not only by what they are good for now: its person may be given more tomorrow.
    held = frozenset(issuer.permissions)
    if held and (not wanted or not {one.value for one in wanted} <= held):
        raise TokenError(f"permissions: this token may only {', '.join(sorted(held))}; name some of these")
    if not within(place, _place(issuer.client, issuer.site)):
        raise TokenError(f"place: this token is for {issuer.site or issuer.client} only; name that, or a part of it")
    if issuer.expires_at is not None and (expires_at is None or expires_at > issuer.expires_at):
        raise TokenError(
            f"expires_at: this token ends at {issuer.expires_at:%Y-%m-%d %H:%M} UTC, and what it makes too"
        )


def _place(client: Client | None, site: Site | None) -> Place:
    if site is not None:
        return Place(sites={site.pk: site.client_id})
    return EVERYWHERE if client is None else Place(clients=frozenset({client.pk}))


def _at(client: Client | None, site: Site | None) -> str:
    return f" at {site or client}" if site or client else ""


def _moment(moment: datetime | None) -> str:
    return "never" if moment is None else moment.isoformat()
