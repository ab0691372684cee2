"""Who may give, take and change which rights. Decisions alone, without I/O.

Three rules hold whatever somebody's role is called:

- nobody gives, takes or changes what exceeds their own permissions at that place;
- nobody gives anything to themselves;
- what clients' own people may do and what staff may do never meets in one person or one role of the provider's own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from forestall.server.people.scope import NOWHERE, NotAllowedError, Permission, Place, Scope

Powers = Mapping[Permission, Place]
"""What somebody may do, and where."""

NO_POWERS: Powers = MappingProxyType({})
PORTAL = frozenset(one for one in Permission if one.is_portal)
STAFF = frozenset(Permission) - PORTAL


class PeopleError(ValueError):
    """A change of people or rights that is refused; the text names the value and says why."""


class ExceedsError(NotAllowedError):
    """More was to be given, taken or changed than whoever asks holds at that place."""

    def __init__(self, exceeding: Collection[Permission], who: str, where: str) -> None:
        first = min(exceeding)
        super().__init__(first, who, where)
        self.exceeding = frozenset(exceeding)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Of whom rights are changed."""

    person_id: int | None
    """None: somebody who is only being made."""
    name: str
    home_client: UUID | None
    """The client whose own person it is; None: of the provider."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A role at a place, until when."""

    role: str
    """In words."""
    permissions: frozenset[Permission]
    place: Place
    where: str
    """The place in words."""
    until: datetime | None = None

    @property
    def powers(self) -> Powers:
        return dict.fromkeys(self.permissions, self.place)


def within(inner: Place, outer: Place) -> bool:
    """Whether every client and site of ``inner``, those to come included, is in ``outer``."""
    if inner.everywhere or outer.everywhere:
        return outer.everywhere
    return all(outer.covers(client) for client in inner.clients) and all(
        outer.covers(client, site) for site, client in inner.sites.items()
    )


def powers_add(every: Iterable[Powers]) -> Powers:
    """What several grants give together."""
    added: dict[Permission, Place] = {}
    for powers in every:
        for permission, place in powers.items():
            added[permission] = added.get(permission, NOWHERE) | place
    return added


def exceeding(*, powers: Powers, giver: Scope) -> frozenset[Permission]:
    """What of ``powers`` the giver does not hold as widely."""
    return frozenset(one for one, place in powers.items() if not within(place, giver.place(one)))


def powers_check(*, powers: Powers, place: Place, giver: Scope, where: str) -> None:
    """NotAllowedError unless the giver changes people at ``place`` and holds all of ``powers`` as widely."""
    if not within(place, giver.place(Permission.PEOPLE_CHANGE)):
        raise NotAllowedError(Permission.PEOPLE_CHANGE, giver.who, where)
    too_much = exceeding(powers=powers, giver=giver)
    if too_much:
        raise ExceedsError(too_much, giver.who, where)


def grant_check(*, wanted: Wanted, receiver: Receiver, giver: Scope, now: datetime) -> None:
    """Whether the giver may give this role to the receiver: NotAllowedError for what exceeds them, PeopleError for what
    nobody may."""
    powers_check(powers=wanted.powers, place=wanted.place, giver=giver, where=wanted.where)
    if receiver.person_id is not None and receiver.person_id == giver.person_id:
        raise PeopleError(f"role: {giver.who} cannot give roles to themselves; somebody else must")
    if wanted.until is not None and wanted.until <= now:
        raise PeopleError(f"until: {wanted.until:%Y-%m-%d %H:%M} UTC is past")
    side_check(wanted=wanted, receiver=receiver)


def side_check(*, wanted: Wanted, receiver: Receiver) -> None:
    """PeopleError when a client's own person would get a role of staff, or staff one of a client's portal."""
    if receiver.home_client is None:
        if wanted.permissions and wanted.permissions <= PORTAL:
            raise PeopleError(
                f"role: {wanted.role} is for a client's own people; {receiver.name} has no home client, and staff see "
                "more already"
            )
        return
    if not wanted.permissions <= PORTAL:
        raise PeopleError(
            f"role: {wanted.role} is for staff; {receiver.name} is a client's own person and can only have portal roles"
        )
    if not within(wanted.place, Place(clients=frozenset({receiver.home_client}))):
        raise PeopleError(f"place: {wanted.where} is not {receiver.name}'s own client; portal roles end there")


def take_check(*, held: Wanted, giver: Scope, owners_left: int, is_owner: bool) -> None:
    """Whether the giver may take a role away, or shorten it. ``owners_left``: active owners without it."""
    powers_check(powers=held.powers, place=held.place, giver=giver, where=held.where)
    if is_owner and not owners_left:
        raise PeopleError("role: this is the last owner; make somebody else owner first")


def person_check(*, receiver: Receiver, powers: Powers, place: Place, giver: Scope) -> None:
    """Whether the giver may change somebody's name, address, password, tokens or state: only of those who may no more
    than they do, for who holds another's password holds their rights. NotAllowedError says what is missing."""
    powers_check(powers=powers, place=place, giver=giver, where=receiver.name)


def deactivate_check(*, receiver: Receiver, giver: Scope, owners_left: int, is_owner: bool) -> None:
    """PeopleError for oneself, and for the last owner."""
    if receiver.person_id == giver.person_id:
        raise PeopleError(f"person: {giver.who} cannot switch themselves off; somebody else must")
    if is_owner and not owners_left:
        raise PeopleError(f"person: {receiver.name} is the last owner; make somebody else owner first")


def role_check(*, permissions: frozenset[Permission], before: frozenset[Permission], giver: Scope) -> None:
    """Whether the giver may make a role of these permissions, or change one into it. A role counts wherever it is
    held, so what is in it, was in it or comes into it must be theirs everywhere. PeopleError when it mixes staff's
    with clients', or holds nothing."""
    giver.require_everywhere(Permission.PEOPLE_CHANGE)
    too_much = frozenset(one for one in permissions | before if not giver.everywhere(one))
    if too_much:
        raise ExceedsError(too_much, giver.who, "the whole installation")
    if not permissions:
        raise PeopleError("permissions: a role without any allows nothing; choose at least one")
    if permissions & PORTAL and permissions & STAFF:
        mixed = ", ".join(sorted(permissions & PORTAL))
        raise PeopleError(f"permissions: {mixed} are for clients' own people and cannot be in a role of staff")
