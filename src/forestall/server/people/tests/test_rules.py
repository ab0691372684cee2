"""Nobody rises by what people may do with people: 1,000 random givers, receivers and acts against a plain model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestall.server.people import rules
from forestall.server.people.roles import PERMISSION_WORDS, ROLE_PERMISSIONS, Role
from forestall.server.people.rules import PORTAL, STAFF, ExceedsError, PeopleError, Receiver, Wanted
from forestall.server.people.scope import EVERYWHERE, NotAllowedError, Permission, Place, Scope

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
CLIENTS = [UUID(int=number) for number in (1, 2, 3)]
SITES = {UUID(int=100 * client.int + number): client for client in CLIENTS for number in (1, 2)}
ACME, BOLT, _ = CLIENTS
MUNICH, BERLIN = [site for site, client in SITES.items() if client == ACME]

places = st.one_of(
    st.just(EVERYWHERE),
    st.sampled_from(CLIENTS).map(lambda client: Place(clients=frozenset({client}))),
    st.sampled_from(sorted(SITES)).map(lambda site: Place(sites={site: SITES[site]})),
)
permission_sets = st.one_of(
    st.sampled_from(Role).map(ROLE_PERMISSIONS.__getitem__),
    st.frozensets(st.sampled_from(sorted(Permission)), min_size=1, max_size=6),
)
grants = st.tuples(permission_sets, places)


def points(permissions, place: Place) -> set[tuple[Permission, object]]:
    """The model: every (permission, single place) a grant is worth; what is to come counts as a place of its own."""
    if place.everywhere:
        where = {"a client to come", *CLIENTS, *SITES, *((client, "a site to come") for client in CLIENTS)}
    else:
        where = set(place.sites) | set(place.clients)
        where |= {site for site, client in SITES.items() if client in place.clients}
        where |= {(client, "a site to come") for client in place.clients}
    return {(permission, one) for permission in permissions for one in where}


def scope_with(held, person_id: int = 1) -> Scope:
    powers = rules.powers_add(dict.fromkeys(permissions, place) for permissions, place in held)
    return Scope(who="giver", person_id=person_id, places=powers)


def wanted(permissions, place: Place, until=None) -> Wanted:
    return Wanted(role="a role", permissions=frozenset(permissions), place=place, where="there", until=until)


@settings(max_examples=1000, deadline=None)
@given(
    giver=st.lists(grants, max_size=4),
    home=st.none() | st.sampled_from(CLIENTS),
    act=grants,
    to_oneself=st.booleans(),
)
def test_v3_nobody_gives_what_they_do_not_hold(giver, home, act, to_oneself):
    """What the receiver gains lies within what the giver holds, whoever they are and whatever is given."""
    permissions, place = act
    receiver = Receiver(person_id=1 if to_oneself else 2, name="receiver", home_client=home)
    held = set().union(*(points(*one) for one in giver))
    gained = points(permissions, place)
    fits = permissions <= PORTAL and place.touched_clients == {home} if home else not permissions <= PORTAL
    changes_people = points({Permission.PEOPLE_CHANGE}, place) <= held
    may = changes_people and gained <= held and fits and not to_oneself
    try:
        rules.grant_check(wanted=wanted(permissions, place), receiver=receiver, giver=scope_with(giver), now=NOW)
    except (NotAllowedError, PeopleError):
        assert not may
    else:
        assert may
        assert gained <= held


@settings(max_examples=1000, deadline=None)
@given(giver=st.lists(grants, max_size=4), receiver=st.lists(grants, max_size=3))
def test_nobody_changes_a_person_who_may_more(giver, receiver):
    held = set().union(*(points(*one) for one in giver))
    theirs = set().union(*(points(*one) for one in receiver))
    reach = EVERYWHERE
    for number, (_, place) in enumerate(receiver):
        reach = place if number == 0 else reach | place
    powers = rules.powers_add(dict.fromkeys(permissions, place) for permissions, place in receiver)
    who = Receiver(person_id=2, name="receiver", home_client=None)
    may = theirs <= held and points({Permission.PEOPLE_CHANGE}, reach) <= held
    try:
        rules.person_check(receiver=who, powers=powers, place=reach, giver=scope_with(giver))
    except NotAllowedError:
        assert not may
    else:
        assert may


@settings(max_examples=300, deadline=None)
@given(giver=st.lists(grants, max_size=4), before=permission_sets, after=permission_sets)
def test_nobody_makes_a_role_that_gives_more_than_they_hold_everywhere(giver, before, after):
    held = set().union(*(points(*one) for one in giver))
    may = points(before | after | {Permission.PEOPLE_CHANGE}, EVERYWHERE) <= held
    may = may and (after <= PORTAL or after <= STAFF)
    try:
        rules.role_check(permissions=frozenset(after), before=frozenset(before), giver=scope_with(giver))
    except (NotAllowedError, PeopleError):
        assert not may
    else:
        assert may


@settings(max_examples=300, deadline=None)
@given(one=st.lists(places, max_size=3), other=st.lists(places, max_size=3))
def test_within_means_every_single_place(one, other):
    inner, outer = Place(), Place()
    for place in one:
        inner |= place
    for place in other:
        outer |= place
    expected = points({Permission.DEVICE_VIEW}, inner) <= points({Permission.DEVICE_VIEW}, outer)
    # All of a client's sites of today are not the client: one may come tomorrow.
    assert rules.within(inner, outer) is expected


def test_what_is_missing_is_named():
    manager = scope_with([({Permission.PEOPLE_CHANGE, Permission.TICKET_VIEW}, Place(clients=frozenset({ACME})))])
    receiver = Receiver(person_id=2, name="bob", home_client=None)
    act = wanted({Permission.TICKET_VIEW, Permission.TICKET_WORK}, Place(sites={MUNICH: ACME}))
    with pytest.raises(ExceedsError, match=r"giver may not: ticket\.work at there") as refusal:
        rules.grant_check(wanted=act, receiver=receiver, giver=manager, now=NOW)
    assert refusal.value.exceeding == {Permission.TICKET_WORK}
    elsewhere = wanted({Permission.TICKET_VIEW}, Place(clients=frozenset({BOLT})))
    with pytest.raises(NotAllowedError, match=r"people\.change at there"):
        rules.grant_check(wanted=elsewhere, receiver=receiver, giver=manager, now=NOW)


def test_a_role_that_has_ended_before_it_begins_is_refused():
    with pytest.raises(PeopleError, match="2026-11-23 08:59 UTC is past"):
        rules.grant_check(
            wanted=wanted({Permission.TICKET_VIEW}, EVERYWHERE, until=NOW - timedelta(minutes=1)),
            receiver=Receiver(person_id=2, name="bob", home_client=None),
            giver=Scope.system("test"),
            now=NOW,
        )


@pytest.mark.parametrize(
    ("home", "permissions", "place", "why"),
    [
        (ACME, {Permission.TICKET_VIEW}, Place(clients=frozenset({ACME})), "is for staff"),
        (ACME, {Permission.PORTAL_VIEW}, Place(clients=frozenset({BOLT})), "portal roles end there"),
        (ACME, {Permission.PORTAL_VIEW}, EVERYWHERE, "portal roles end there"),
        (None, {Permission.PORTAL_VIEW}, Place(clients=frozenset({ACME})), "has no home client"),
        (ACME, {Permission.PORTAL_VIEW}, Place(clients=frozenset({ACME})), ""),
        (ACME, {Permission.PORTAL_VIEW}, Place(sites={MUNICH: ACME}), ""),
        (None, {Permission.PORTAL_VIEW, Permission.TICKET_VIEW}, EVERYWHERE, ""),
    ],
)
def test_staff_and_clients_own_people_are_told_apart(home, permissions, place, why):
    receiver = Receiver(person_id=2, name="carol", home_client=home)
    if not why:
        rules.side_check(wanted=wanted(permissions, place), receiver=receiver)
        return
    with pytest.raises(PeopleError, match=why):
        rules.side_check(wanted=wanted(permissions, place), receiver=receiver)


def test_the_last_owner_stays():
    owner = Scope.system("ada")
    held = wanted(Permission, EVERYWHERE)
    rules.take_check(held=held, giver=owner, owners_left=1, is_owner=True)
    rules.take_check(held=held, giver=owner, owners_left=0, is_owner=False)
    with pytest.raises(PeopleError, match="last owner"):
        rules.take_check(held=held, giver=owner, owners_left=0, is_owner=True)
    bob = Receiver(person_id=2, name="bob", home_client=None)
    rules.deactivate_check(receiver=bob, giver=owner, owners_left=1, is_owner=True)
    with pytest.raises(PeopleError, match="bob is the last owner"):
        rules.deactivate_check(receiver=bob, giver=owner, owners_left=0, is_owner=True)
    with pytest.raises(PeopleError, match="cannot switch themselves off"):
        rules.deactivate_check(receiver=bob, giver=scope_with([], person_id=2), owners_left=3, is_owner=False)


def test_a_role_needs_a_permission_and_does_not_mix_the_sides():
    everything = Scope.system("ada")
    with pytest.raises(PeopleError, match="allows nothing"):
        rules.role_check(permissions=frozenset(), before=frozenset(), giver=everything)
    with pytest.raises(PeopleError, match=r"portal\.view are for clients' own people"):
        rules.role_check(
            permissions=frozenset({Permission.PORTAL_VIEW, Permission.TICKET_VIEW}),
            before=frozenset(),
            giver=everything,
        )


def test_a_role_holds_no_more_than_its_maker_everywhere():
    maker = scope_with([({Permission.PEOPLE_CHANGE, Permission.TICKET_VIEW}, EVERYWHERE)])
    before = frozenset({Permission.TICKET_WORK})
    for permissions in (frozenset({Permission.TICKET_WORK}), frozenset({Permission.TICKET_VIEW})):
        with pytest.raises(ExceedsError, match=r"ticket\.work at the whole installation"):
            rules.role_check(permissions=permissions, before=before, giver=maker)
    rules.role_check(permissions=frozenset({Permission.TICKET_VIEW}), before=frozenset(), giver=maker)


def test_every_permission_has_its_words():
    assert set(PERMISSION_WORDS) == set(Permission)
