"""Changes of clients, their sites and contacts. Each leaves what was before and after in the client's evidence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NoReturn
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from forestall.server.clients.rules import MOST, ClientError, require_place, require_timezone, text
from forestall.server.evidence.changes import change_record
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.people import queries as people
from forestall.server.people.models import Client, Contact, OperatingModel, Person, Site
from forestall.server.people.scope import Permission, Scope
from forestall.server.tickets.sla import STANDARD, tiers

_SELF = Scope.system("clients")

CLIENT_FIELDS = ("name", "reference", "timezone", "country", "region", "operating_model", "sla_tier", "notes")
SITE_FIELDS = ("name", "timezone", "country", "region", "address")
CONTACT_FIELDS = ("name", "email", "phone", "duty", "is_primary")


# Clients


@transaction.atomic
def client_add(
    *,
    name: str,
    timezone: str,
    scope: Scope,
    now: datetime,
    country: str = "",
    region: str = "",
    reference: str = "",
    operating_model: str = OperatingModel.OUTSOURCED,
    sla_tier: str = STANDARD,
    notes: str = "",
) -> Client:
    """A new client. NotAllowedError unless one may change every client; ClientError names what is wrong."""
    scope.require_everywhere(Permission.CLIENT_CHANGE)
    client = Client(created_at=now)
    _client_fill(
        client,
        {
            "name": name, "timezone": timezone, "country": country, "region": region, "reference": reference,
            "operating_model": operating_model, "sla_tier": sla_tier, "notes": notes,
        },
    )  # fmt: skip
    client.save()
    _record(client, "client", client.name, None, _plain(client, CLIENT_FIELDS), scope, now)
    return client


@transaction.atomic
def client_change(
    *,
    client: Client,
    scope: Scope,
    now: datetime,
    name: str | None = None,
    timezone: str | None = None,
    country: str | None = None,
    region: str | None = None,
    reference: str | None = None,
    operating_model: str | None = None,
    sla_tier: str | None = None,
    notes: str | None = None,
) -> Client:
    """Change what is said of a client; None leaves as it is. Clocks count by its place from now on; tickets keep the
    times that held when they were opened."""
    found = _client(client, scope)
    before = _plain(found, CLIENT_FIELDS)
    if country is not None and country != found.country and region is None:
        region = ""  # a region of another country is none
    _client_fill(
        found,
        {
            "name": name, "timezone": timezone, "country": country, "region": region, "reference": reference,
            "operating_model": operating_model, "sla_tier": sla_tier, "notes": notes,
        },
    )  # fmt: skip
    found.save()
    _record(found, "client", found.name, before, _plain(found, CLIENT_FIELDS), scope, now)
    return found


def _client_fill(client: Client, asked: Mapping[str, str | None]) -> None:
    wanted = {field: getattr(client, field) if value is None else value for field, value in asked.items()}
    client.name = text("name", wanted["name"], most=MOST["name"], empty=False)
    client.reference = text("reference", wanted["reference"], most=MOST["reference"])
    client.notes = text("notes", wanted["notes"], most=MOST["notes"])
    client.timezone = require_timezone(wanted["timezone"])
    require_place(wanted["country"], wanted["region"])
    client.country, client.region = wanted["country"], wanted["region"]
    if wanted["operating_model"] not in OperatingModel.values:
        raise ClientError(
            f"operating_model: {wanted['operating_model'][:40]!r} is not one of {', '.join(OperatingModel.values)}"
        )
    client.operating_model = wanted["operating_model"]
    if wanted["sla_tier"] != client.sla_tier and not tiers().filter(slug=wanted["sla_tier"]).exists():
        known = ", ".join(tiers().values_list("slug", flat=True))
        raise ClientError(f"sla_tier: there is no tier {wanted['sla_tier'][:40]!r}; known: {known}")
    client.sla_tier = wanted["sla_tier"]
    # Whoever may see one client only learns here that a name is taken: names are the provider's, and unique.
    others = Client.objects.visible_to(_SELF).filter(removed_at=None).exclude(pk=client.pk)
    if others.filter(name=client.name).exists():
        raise ClientError(f"name: there is a client called {client.name!r} already")
    if client.reference and others.filter(reference=client.reference).exists():
        raise ClientError(f"reference: {client.reference!r} is another client's")


def _client(client: Client, scope: Scope) -> Client:
    seen = people.clients(scope=scope).select_for_update().get(pk=client.pk)
    scope.require(Permission.CLIENT_CHANGE, on=seen)
    return seen


# Sites


@transaction.atomic
def site_add(
    *,
    client: Client,
    name: str,
    scope: Scope,
    now: datetime,
    timezone: str = "",
    country: str = "",
    region: str = "",
    address: str = "",
) -> Site:
    """A new site of a client. Empty ``timezone`` and ``country``: the client's. ClientError names what is wrong."""
    seen = _client(client, scope)
    site = Site(client=seen)
    _site_fill(site, {"name": name, "timezone": timezone, "country": country, "region": region, "address": address})
    site.save()
    _record(seen, "site", site.name, None, _plain(site, SITE_FIELDS), scope, now, site_id=site.pk)
    return site


@transaction.atomic
def site_change(
    *,
    site: Site,
    scope: Scope,
    now: datetime,
    name: str | None = None,
    timezone: str | None = None,
    country: str | None = None,
    region: str | None = None,
    address: str | None = None,
    client_id: UUID | None = None,
) -> Site:
    """Change a site; None leaves as it is. ``client_id`` of another client is refused: a site stays with its client."""
    found = people.sites(scope=scope).select_for_update(of=("self",)).get(pk=site.pk)
    scope.require(Permission.CLIENT_CHANGE, on=found)
    if client_id is not None and client_id != found.client_id:
        _stays(f"site {found.name!r}")
    before = _plain(found, SITE_FIELDS)
    if country is not None and country != found.country and region is None:
        region = ""
    _site_fill(found, {"name": name, "timezone": timezone, "country": country, "region": region, "address": address})
    found.save()
    _record(found.client, "site", found.name, before, _plain(found, SITE_FIELDS), scope, now, site_id=found.pk)
    return found


def _stays(thing: str) -> NoReturn:
    raise ClientError(
        f"client: {thing} stays with its client: its devices, tickets and evidence name both. Make one at the other "
        "client instead"
    )


def _site_fill(site: Site, asked: Mapping[str, str | None]) -> None:
    wanted = {field: getattr(site, field) if value is None else value for field, value in asked.items()}
    site.name = text("name", wanted["name"], most=MOST["name"], empty=False)
    site.address = text("address", wanted["address"], most=MOST["address"])
    site.timezone = require_timezone(wanted["timezone"]) if wanted["timezone"] else ""
    require_place(wanted["country"], wanted["region"])
    site.country, site.region = wanted["country"], wanted["region"]
    if Site.objects.visible_to(_SELF).filter(client=site.client, name=site.name).exclude(pk=site.pk).exists():
        raise ClientError(f"name: {site.client.name} has a site called {site.name!r} already")


# Contacts


@transaction.atomic
def contact_add(
    *,
    client: Client,
    name: str,
    scope: Scope,
    now: datetime,
    site: Site | None = None,
    email: str = "",
    phone: str = "",
    duty: str = "",
    is_primary: bool = False,
    person: Person | None = None,
) -> Contact:
    """Whom to call at a client. The first of a client is its primary one; a new primary takes the place of the old."""
    seen = _client(client, scope)
    contact = Contact(client=seen, site=_site_of(site, seen, scope), person=_person(person, scope))
    first = not Contact.objects.visible_to(_SELF).filter(client=seen, is_primary=True).exists()
    _contact_fill(contact, name=name, email=email, phone=phone, duty=duty)
    _contact_save(contact, is_primary=is_primary or first, scope=scope, now=now)
    _record(seen, "contact", contact.name, None, contact_plain(contact), scope, now, site_id=contact.site_id)
    return contact


KEEP: Any = object()
"""Leaves site or person of a contact as it is: None means that it has none."""


@transaction.atomic
def contact_change(
    *,
    contact: Contact,
    scope: Scope,
    now: datetime,
    name: str | None = None,
    email: str | None = None,
    phone: str | None = None,
    duty: str | None = None,
    is_primary: bool | None = None,
    site: Site | None = KEEP,
    person: Person | None = KEEP,
) -> Contact:
    """Change a contact; None leaves as it is, and so does ``KEEP`` for site and person.

    A primary contact stays so until another takes its place: ClientError for making it an ordinary one.
    """
    found = _contact(contact, scope)
    before = contact_plain(found)
    if is_primary is False and found.is_primary:
        raise ClientError(f"is_primary: {found.name!r} is the primary contact until another one is made so")
    if site is not KEEP:
        found.site = _site_of(site, found.client, scope)
    if person is not KEEP:
        found.person = _person(person, scope)
    _contact_fill(
        found,
        name=found.name if name is None else name,
        email=found.email if email is None else email,
        phone=found.phone if phone is None else phone,
        duty=found.duty if duty is None else duty,
    )
    _contact_save(found, is_primary=found.is_primary if is_primary is None else is_primary, scope=scope, now=now)
    _record(found.client, "contact", found.name, before, contact_plain(found), scope, now, site_id=found.site_id)
    return found


@transaction.atomic
def contact_remove(*, contact: Contact, scope: Scope, now: datetime) -> None:
    """Forget a contact. ClientError for the primary one while there are others: choose another first."""
    found = _contact(contact, scope)
    others = Contact.objects.visible_to(_SELF).filter(client=found.client).exclude(pk=found.pk)
    if found.is_primary and others.exists():
        raise ClientError(f"{found.name!r} is the primary contact: make another one primary first")
    _record(found.client, "contact", found.name, contact_plain(found), None, scope, now, site_id=found.site_id)
    found.delete()


def contact_plain(contact: Contact) -> dict[str, Any]:
    """A contact in plain values, as evidence keeps it."""
    return {
        **_plain(contact, CONTACT_FIELDS),
        "site": contact.site.name if contact.site else "",
        "person": contact.person.username if contact.person else "",
    }


def _contact(contact: Contact, scope: Scope) -> Contact:
    found = people.contacts(scope=scope).filter(client__removed_at=None).get(pk=contact.pk)
    scope.require(Permission.CLIENT_CHANGE, on=found.client)
    return found


def _contact_fill(contact: Contact, *, name: str, email: str, phone: str, duty: str) -> None:
    contact.name = text("name", name, most=MOST["contact"], empty=False)
    contact.phone = text("phone", phone, most=MOST["phone"])
    contact.duty = text("duty", duty, most=MOST["duty"])
    contact.email = text("email", email, most=200)
    if contact.email:
        try:
            validate_email(contact.email)
        except ValidationError:
            raise ClientError(f"email: {contact.email[:80]!r} is no mail address") from None


def _contact_save(contact: Contact, *, is_primary: bool, scope: Scope, now: datetime) -> None:
    if is_primary and not contact.is_primary:
        before = Contact.objects.visible_to(_SELF).filter(client=contact.client, is_primary=True).exclude(pk=contact.pk)
        for other in before.select_related("site", "person"):
            old = contact_plain(other)
            other.is_primary = False
            other.save(update_fields=["is_primary"])
            _record(contact.client, "contact", other.name, old, contact_plain(other), scope, now, site_id=other.site_id)
    contact.is_primary = is_primary
    contact.save()


def _site_of(site: Site | None, client: Client, scope: Scope) -> Site | None:
    if site is None:
        return None
    seen = people.sites(scope=scope).get(pk=site.pk)
    if seen.client_id != client.pk:
        raise ClientError(f"site: {seen.name!r} is a site of another client")
    return seen


def _person(person: Person | None, scope: Scope) -> Person | None:
    return None if person is None else people.persons(scope=scope).get(pk=person.pk)


# Parts


def _plain(row: Client | Site | Contact, fields: tuple[str, ...]) -> dict[str, Any]:
    # `str`: a choice that was just set is an enumeration member, and evidence keeps plain text.
    return {field: value if isinstance(value := getattr(row, field), bool) else str(value) for field in fields}


def _record(
    client: Client,
    what: str,
    name: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    scope: Scope,
    now: datetime,
    *,
    site_id: UUID | None = None,
) -> None:
    change_record(
        client=client,
        kind=EvidenceKind.CLIENT_CHANGED,
        what=what,
        name=name,
        before=before,
        after=after,
        by=scope.who,
        now=now,
        site_id=site_id,
    )
