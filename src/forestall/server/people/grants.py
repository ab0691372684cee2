"""Giving and taking roles. Each act is on the record of every client it concerns, in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from forestall.server.people import queries, rules
from forestall.server.people.models import Client, CustomRole, Grant, Person, Site
from forestall.server.people.record import Act, act_record
from forestall.server.people.roles import ROLE_PERMISSIONS, Role
from forestall.server.people.rules import PeopleError, Receiver, Wanted
from forestall.server.people.scope import NOWHERE, NotAllowedError, Permission, Place, Scope

FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)
_SELF = Scope.system("people")


def receiver_of(person: Person) -> Receiver:
    """Who receives, as the rules see them."""
    return Receiver(person_id=person.pk, name=person.username, home_client=person.home_client_id)


def concerned(place: Place) -> list[Client]:
    """The clients on whose record an act at ``place`` belongs. What counts everywhere concerns each of them: each has
    its own log, and its auditors must find in it whoever may touch it."""
    every = Client.objects.visible_to(_SELF).filter(removed_at=None)
    return list(every if place.everywhere else every.filter(pk__in=place.touched_clients))


def grant_proposed(
    *,
    person: Person,
    role: Role | CustomRole,
    client: Client | None = None,
    site: Site | None = None,
    until: datetime | None = None,
    scope: Scope,
    now: datetime,
) -> Grant:
    """The grant that ``grant_give`` would make; raises what it would raise, and changes nothing."""
    client = site.client if site is not None and client is None else client
    if site is not None and client is not None and site.client_id != client.pk:
        raise PeopleError(f"site: {site} is no site of {client}")
    grant = Grant(
        person=person,
        role=role.value if isinstance(role, Role) else "",
        custom=role if isinstance(role, CustomRole) else None,
        client=client,
        site=site,
        granted_at=now,
        granted_by=scope.who,
        until=until,
    )
    wanted = wanted_of(grant)
    rules.grant_check(wanted=wanted, receiver=receiver_of(person), giver=scope, now=now)
    _lasting_check(wanted, scope)
    if _same(grant).exclude(until__lte=now).exists():
        raise PeopleError(f"role: {person.username} is {wanted.role} {_at(wanted)} already")
    return grant


@transaction.atomic
def grant_give(
    *,
    person: Person,
    role: Role | CustomRole,
    client: Client | None = None,
    site: Site | None = None,
    until: datetime | None = None,
    scope: Scope,
    now: datetime,
) -> Grant:
    """Give somebody a role: everywhere, at a client, or at a site of it; for good or ``until``.

    It counts from their next request on. NotAllowedError for what exceeds the giver, also in time: who holds a role
    for a week cannot pass it on for longer. PeopleError for what nobody may, and for a role they have already.
    """
    grant = grant_proposed(person=person, role=role, client=client, site=site, until=until, scope=scope, now=now)
    # One that has ended counts for nothing, and would be in the way.
    _same(grant).filter(until__lte=now).delete()
    grant.save()
    _recorded(grant, before=None, after=grant_words(grant), by=scope.who, now=now)
    return grant


@transaction.atomic
def grant_change(*, grant: Grant, until: datetime | None, scope: Scope, now: datetime) -> Grant:
    """Let a role end at another time (None: never by itself). The rules of giving hold, as it may then last longer."""
    grant = _locked(grant, scope)
    before = grant_words(grant)
    _take_check(grant, scope, now=now, taken=until is not None)
    grant.until = until
    wanted = wanted_of(grant)
    rules.grant_check(wanted=wanted, receiver=receiver_of(grant.person), giver=scope, now=now)
    _lasting_check(wanted, scope)
    grant.save(update_fields=["until"])
    _recorded(grant, before=before, after=grant_words(grant), by=scope.who, now=now)
    return grant


@transaction.atomic
def grant_take(*, grant: Grant, scope: Scope, now: datetime) -> None:
    """Take a role away; it no longer counts at the next request. PeopleError for the last owner."""
    grant = _locked(grant, scope)
    _take_check(grant, scope, now=now, taken=True)
    _recorded(grant, before=grant_words(grant), after=None, by=scope.who, now=now)
    grant.delete()


def can_take(*, grant: Grant, scope: Scope, now: datetime) -> bool:
    """Whether ``scope`` may take it away: what a page offers."""
    try:
        _take_check(grant, scope, now=now, taken=True)
    except (PeopleError, NotAllowedError):
        return False
    return True


def permissions_of(role: Role | CustomRole) -> frozenset[Permission]:
    """What a role allows."""
    if isinstance(role, Role):
        return ROLE_PERMISSIONS[role]
    return frozenset(Permission(value) for value in role.permissions if value in set(Permission))


def wanted_of(grant: Grant) -> Wanted:
    """A grant as the rules see it."""
    return Wanted(
        role=grant.role_name,
        permissions=queries.role_permissions(grant),
        place=queries.grant_place(grant),
        where=queries.grant_where(grant),
        until=grant.until,
    )


def grant_words(grant: Grant) -> dict[str, Any]:
    """A grant as evidence tells it."""
    return {
        "role": grant.role_name,
        "place": queries.grant_where(grant),
        "until": None if grant.until is None else grant.until.astimezone(UTC).isoformat(timespec="seconds"),
        "given_by": grant.granted_by,
    }


def owners_without(person: Person, *, now: datetime) -> int:
    """How many active people own the installation for good, ``person`` left out. Locks their grants: two owners who
    take each other's role away wait for one another."""
    owning = queries.owners(now=now).select_for_update(of=("self",)).order_by("pk")
    return len({grant.person_id for grant in owning} - {person.pk})


def is_owner(person: Person, *, now: datetime) -> bool:
    """Whether an active person owns the installation for good."""
    return queries.owners(now=now).filter(person=person).exists()


def only_by(grant: Grant, *, now: datetime) -> list[Permission]:
    """What its person may at that place by this grant alone: what they gain with it, and lose without it."""
    live = Grant.objects.filter(Q(until=None) | Q(until__gt=now), person=grant.person).select_related("custom")
    others = rules.powers_add(queries.grant_powers(one) for one in live if one.pk != grant.pk)
    place = queries.grant_place(grant)
    mine = queries.role_permissions(grant)
    return [one for one in Permission if one in mine and not rules.within(place, others.get(one, NOWHERE))]


def _same(grant: Grant) -> QuerySet[Grant]:
    return Grant.objects.filter(
        person=grant.person, role=grant.role, custom=grant.custom, client=grant.client, site=grant.site
    )


def _take_check(grant: Grant, scope: Scope, *, now: datetime, taken: bool) -> None:
    owns = taken and queries.owners(now=now).filter(pk=grant.pk).exists()
    left = owners_without(grant.person, now=now) if owns else 0
    rules.take_check(held=wanted_of(grant), giver=scope, owners_left=left, is_owner=owns)


def _lasting_check(wanted: Wanted, scope: Scope) -> None:
    """What the giver holds only for a while, they pass on for no longer."""
    if scope.person_id is None:
        return
    giver = Person.objects.get(pk=scope.person_id)
    last = FOR_EVER if wanted.until is None else wanted.until - timedelta.resolution
    then = queries.scope_of(giver, now=last)
    too_long = rules.exceeding(powers=wanted.powers, giver=then)
    if too_long:
        raise PeopleError(
            f"until: {scope.who} holds {min(too_long)} at {wanted.where} for a shorter time than that; choose an "
            "earlier end"
        )


def _locked(grant: Grant, scope: Scope) -> Grant:
    # Seen first, so that what is foreign and what was never there are the same; locked by its own row alone.
    seen: Grant = queries.grants(scope=scope).get(pk=grant.pk)
    Grant.objects.select_for_update().get(pk=seen.pk)
    return seen


def _recorded(
    grant: Grant, *, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, by: str, now: datetime
) -> None:
    act_record(
        clients=concerned(queries.grant_place(grant)),
        kind=Act.GRANT_CHANGED,
        what="role",
        name=grant.person.username,
        before=before,
        after=after,
        by=by,
        now=now,
        site_id=grant.site_id,
    )


def _at(wanted: Wanted) -> str:
    return wanted.where if wanted.place.everywhere else f"at {wanted.where}"
