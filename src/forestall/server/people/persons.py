"""Making, changing and switching off people. Whoever does it may at least what the other one may: who holds another's
password holds their rights."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from allauth.account.forms import default_token_generator
from allauth.account.models import EmailAddress
from allauth.account.utils import user_pk_to_url_str
from django.core.exceptions import ValidationError
from django.db import transaction
from django.urls import reverse

from forestall.server.people import queries, rules, signin
from forestall.server.people.grants import concerned, grant_give, is_owner, owners_without, receiver_of
from forestall.server.people.models import ApiToken, Client, CustomRole, Person, Site
from forestall.server.people.record import Act, act_record
from forestall.server.people.roles import Role
from forestall.server.people.rules import PeopleError
from forestall.server.people.scope import EVERYWHERE, NOWHERE, Place, Scope
from forestall.server.people.signin_sessions import sessions_end as end_sessions

USERNAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._@+-]{0,79}")
"""Plain letters: names stand in evidence, where two that look the same would be one person to its reader."""
RESERVED = frozenset(
    {"agent", "alerts", "authority", "backup", "checks", "delivery", "desk", "evidence", "forestall", "installation",
     "intake", "nobody", "people", "reports", "restore", "server", "system", "worker"}
)  # fmt: skip
"""Names under which the product itself acts."""
PASSWORD_LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # noqa: S105
PASSWORD_LENGTH = 20


@dataclass(frozen=True, slots=True)
class FirstGrant:
    """The role with which somebody begins."""

    role: Role | CustomRole
    client: Client | None = None
    site: Site | None = None
    until: datetime | None = None


@transaction.atomic
def person_invite(
    *,
    username: str,
    display_name: str = "",
    email: str = "",
    home_client: Client | None = None,
    grants: Sequence[FirstGrant],
    without_grant: bool = False,
    scope: Scope,
    now: datetime,
) -> Person:
    """Somebody new, with their first roles and no password yet: see ``password_link`` and ``password_show``.

    ``home_client``: it is that client's own person and can only have portal roles there. Somebody who may nothing is
    made only when ``without_grant`` says that this is meant. NotAllowedError for roles that exceed whoever invites.
    """
    username = username.strip()
    if not USERNAME.fullmatch(username) or username.lower() in RESERVED:
        raise PeopleError(
            f"username: {username[:80]!r} cannot be one: up to 80 letters a-z, digits and . _ @ + -, and none of the "
            "names under which Forestall itself acts"
        )
    if Person.objects.filter(username__iexact=username).exists():
        raise PeopleError(f"username: there is a {username!r} already")
    if not grants and not without_grant:
        raise PeopleError("grants: nobody is made without a role, unless that is meant: say without_grant")
    if not grants:
        home = Place(clients=frozenset({home_client.pk})) if home_client else EVERYWHERE
        rules.powers_check(powers={}, place=home, giver=scope, where=str(home_client or "the whole installation"))
    person = Person(
        username=username,
        display_name=" ".join(display_name.split()),
        email=email.strip(),
        home_client=home_client,
        date_joined=now,
    )
    person.set_unusable_password()
    _clean(person)
    person.save()
    for one in grants:
        grant_give(
            person=person, role=one.role, client=one.client, site=one.site, until=one.until, scope=scope, now=now
        )
    if home_client is not None or not grants:
        _recorded(person, scope, now, what="person", before=None, after={"home_client": str(home_client or "")})
    return person


@transaction.atomic
def person_change(
    *, person: Person, display_name: str | None = None, email: str | None = None, scope: Scope, now: datetime
) -> Person:
    """Change how somebody is called and reached. None leaves a part as it is.

    A new e-mail address is the only one they can reset a password by, from now on.
    """
    person = _changeable(person, scope, now)
    changed = []
    if display_name is not None and " ".join(display_name.split()) != person.display_name:
        person.display_name = " ".join(display_name.split())
        changed.append("display_name")
    if email is not None and email.strip() != person.email:
        person.email = email.strip()
        changed.append("email")
    if not changed:
        return person
    _clean(person)
    person.save(update_fields=changed)
    if "email" in changed:
        EmailAddress.objects.filter(user=person).delete()
    # Which fields, not their values: evidence is read by more people than e-mail addresses are.
    _recorded(person, scope, now, what="person", before={}, after={"changed": changed})
    return person


@transaction.atomic
def person_deactivate(*, person: Person, scope: Scope, now: datetime) -> Person:
    """Switch somebody off: sessions and tokens are good for nothing from the next request on. Their roles stay, for
    when they come back. PeopleError for oneself and for the last owner."""
    person = _changeable(person, scope, now)
    if not person.is_active:
        return person
    owns = is_owner(person, now=now)
    left = owners_without(person, now=now) if owns else 0
    rules.deactivate_check(receiver=receiver_of(person), giver=scope, owners_left=left, is_owner=owns)
    signin.person_set_active(person=person, active=False, who=scope.who)
    _recorded(person, scope, now, what="person", before={"active": True}, after={"active": False})
    return person


@transaction.atomic
def person_activate(*, person: Person, scope: Scope, now: datetime) -> Person:
    """Switch somebody on again, with the roles they still have. That gives them those, so the rules of giving hold."""
    person = _changeable(person, scope, now)
    if person.is_active:
        return person
    signin.person_set_active(person=person, active=True, who=scope.who)
    _recorded(person, scope, now, what="person", before={"active": False}, after={"active": True})
    return person


@transaction.atomic
def password_show(*, person: Person, scope: Scope, now: datetime) -> str:
    """A new random password, returned once and kept by nobody; ends every session of theirs."""
    person = _passwordable(person, scope, now)
    password = "".join(secrets.choice(PASSWORD_LETTERS) for _ in range(PASSWORD_LENGTH))
    signin.person_set_password(person=person, password=password, who=scope.who)
    _recorded(
        person, scope, now, what="password", before={}, after={"shown_once_to": scope.who}, kind=Act.TOKEN_CHANGED
    )
    return password


@transaction.atomic
def password_link(*, person: Person, scope: Scope, now: datetime) -> str:
    """The path of a page on which they choose their password: good once, and for an hour."""
    person = _passwordable(person, scope, now)
    key = default_token_generator.make_token(person)
    path = reverse("account_reset_password_from_key", kwargs={"uidb36": user_pk_to_url_str(person), "key": key})
    _recorded(person, scope, now, what="password", before={}, after={"link_made_by": scope.who}, kind=Act.TOKEN_CHANGED)
    return path


@transaction.atomic
def factors_reset(*, person: Person, scope: Scope, now: datetime) -> int:
    """Take away the second factors of someone who lost them, and end their sessions; how many there were."""
    person = _changeable(person, scope, now)
    if person.pk == scope.person_id:
        raise PeopleError("person: your own second factors are changed on your account's page")
    number = signin.person_reset_factors(person=person, who=scope.who)
    _recorded(person, scope, now, what="second factor", before={"number": number}, after={"number": 0})
    return number


@transaction.atomic
def sessions_end(*, person: Person, scope: Scope, now: datetime) -> int:
    """End every session of theirs; how many there were."""
    person = _changeable(person, scope, now)
    return end_sessions(person=person)


@transaction.atomic
def token_revoke(*, token: ApiToken, scope: Scope, now: datetime) -> ApiToken:
    """Revoke a token of somebody's for good: from the next request on it opens nothing."""
    person = token.person if token.person_id == scope.person_id else _changeable(token.person, scope, now)
    row = ApiToken.objects.select_for_update().get(pk=token.pk, person=person)
    if row.revoked_at is None:
        row.revoked_at = now
        row.save(update_fields=["revoked_at"])
        _recorded(person, scope, now, what="token", before={"token": row.name}, after=None, kind=Act.TOKEN_CHANGED)
    return row


def _changeable(person: Person, scope: Scope, now: datetime) -> Person:
    """The person, locked; DoesNotExist when the scope does not see them, NotAllowedError when they may more."""
    seen = queries.persons(scope=scope).get(pk=person.pk)
    standing = queries.standing_of(seen, now=now)
    rules.person_check(receiver=receiver_of(seen), powers=standing.powers, place=standing.reach, giver=scope)
    Person.objects.select_for_update().get(pk=seen.pk)
    return seen


def _passwordable(person: Person, scope: Scope, now: datetime) -> Person:
    person = _changeable(person, scope, now)
    if person.pk == scope.person_id:
        raise PeopleError("person: your own password is changed on your account's page")
    if not person.is_active:
        raise PeopleError(f"person: {person.username} is switched off; switch them on first")
    return person


def _clean(person: Person) -> None:
    try:
        person.full_clean(exclude=["password", "home_client"])
    except ValidationError as error:
        wrong = "; ".join(f"{name}: {' '.join(why)}" for name, why in error.message_dict.items())
        raise PeopleError(wrong) from None


def _recorded(
    person: Person,
    scope: Scope,
    now: datetime,
    *,
    what: str,
    before: dict[str, object] | None,
    after: dict[str, object] | None,
    kind: Act = Act.GRANT_CHANGED,
) -> None:
    """On the record of each client where they may something, or whose own person they are."""
    place = NOWHERE
    for held in queries.standing_of(person, now=now).powers.values():
        place |= held
    if person.home_client_id is not None:
        place |= Place(clients=frozenset({person.home_client_id}))
    act_record(
        clients=concerned(place),
        kind=kind,
        what=what,
        name=person.username,
        before=before,
        after=after,
        by=scope.who,
        now=now,
    )
