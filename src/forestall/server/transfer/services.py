"""Lists of clients, sites, contacts, people and assets: what they would do, doing it, and undoing it.

A preview is the import itself, taken back before it is committed: what it shows is what will happen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db import transaction
from django.db.models import Model, ProtectedError, Q

from forestall.server.clients import services as clients
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.inventory.assets import asset_change, asset_create, asset_delete
from forestall.server.inventory.models import Asset
from forestall.server.people import queries as people
from forestall.server.people.custom_roles import role_named
from forestall.server.people.models import Client, Contact, CustomRole, Person, Site
from forestall.server.people.persons import FirstGrant, person_invite
from forestall.server.people.roles import ROLE_PERMISSIONS, Role
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.server.transfer import queries
from forestall.server.transfer.models import ImportRun
from forestall.server.transfer.rules import Kind, Line, TableError, kind_of, read_lines

_SELF = Scope.system("import")

MODELS: Mapping[str, type[Model]] = {
    "clients": Client, "sites": Site, "contacts": Contact, "people": Person, "assets": Asset,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Done:
    """What became, or would become, of a line."""

    line: int
    act: str
    """``create``, ``change``, ``same`` or ``error``."""
    name: str
    """What it is about, in words."""
    changes: Mapping[str, Sequence[Any]]
    """Field → what it was and what it is now."""
    error: str = ""
    pk: str = ""
    client: str = ""
    """Id of the client it belongs to."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What an import would do."""

    kind: Kind
    lines: Sequence[Done]

    def count(self, act: str) -> int:
        return sum(one.act == act for one in self.lines)

    @property
    def sentence(self) -> str:
        """``12 new, 3 changed, 40 as they are; 1 line cannot be taken.``"""
        wrong = self.count("error")
        words = f"{self.count('create')} new, {self.count('change')} changed, {self.count('same')} as they are"
        return f"{words}; {wrong} {'line' if wrong == 1 else 'lines'} cannot be taken." if wrong else f"{words}."


class LinesError(TableError):
    """Some lines cannot be taken, so none was."""

    def __init__(self, preview: Preview) -> None:
        wrong = [one for one in preview.lines if one.act == "error"]
        super().__init__(
            f"{len(wrong)} of {len(preview.lines)} lines cannot be taken, so none was. "
            f"Line {wrong[0].line}: {wrong[0].error}"
        )
        self.preview = preview


class UndoError(ValueError):
    """What an import did can no longer be taken back; the text names what stands in the way."""


class _TakenBackError(Exception):
    """Ends the transaction of a preview."""


def import_preview(*, kind: str, content: bytes, scope: Scope, now: datetime) -> Preview:
    """What the file would do, line by line, without doing it. TableError when it cannot be read as such a list."""
    chosen = kind_of(kind)
    lines = read_lines(content, chosen)
    done: list[Done] = []
    try:
        with transaction.atomic():
            done = [_take(chosen, line, scope, now) for line in lines]
            raise _TakenBackError
    except _TakenBackError:
        return Preview(kind=chosen, lines=done)


@transaction.atomic
def import_apply(*, kind: str, content: bytes, filename: str = "", scope: Scope, now: datetime) -> ImportRun:
    """Import a list: all of it or nothing.

    LinesError names the lines that cannot be taken. Each change asks for the permission it would ask for by itself.
    """
    chosen = kind_of(kind)
    lines = read_lines(content, chosen)
    done = [_take(chosen, line, scope, now) for line in lines]
    preview = Preview(kind=chosen, lines=done)
    if preview.count("error"):
        raise LinesError(preview)
    run = ImportRun.objects.create(
        kind=kind,
        filename="".join(letter for letter in filename if letter.isprintable())[:200],
        at=now,
        by=scope.who,
        person_id=scope.person_id,
        created=preview.count("create"),
        changed=preview.count("change"),
        same=preview.count("same"),
        items=[
            {"act": one.act, "pk": one.pk, "name": one.name, "client": one.client, "changes": _plain(one.changes)}
            for one in done
            if one.act in {"create", "change"}
        ],
    )
    _on_record(run, EvidenceKind.IMPORT_DONE, scope, now)
    return run


@transaction.atomic
def import_undo(*, run: ImportRun, scope: Scope, now: datetime) -> ImportRun:
    """Take an import back, all of it or nothing: what it made goes, what it changed is as it was.

    UndoError when something it touched was changed since, or something else rests on it by now.
    """
    found = queries.imports(scope=scope).select_for_update(of=("self",)).get(pk=run.pk)
    if found.undone_at is not None:
        raise UndoError(f"import {found.pk} was undone already, by {found.undone_by}")
    for item in reversed(found.items):
        row = MODELS[found.kind]._default_manager.all()
        if hasattr(row, "visible_to"):
            row = row.visible_to(_SELF)
        thing: Any = row.filter(pk=item["pk"]).first()
        if thing is None:
            raise UndoError(f"{item['name']}: it is no longer there")
        for field, (_, after) in item["changes"].items():
            if _value(getattr(thing, field)) != after:
                raise UndoError(f"{item['name']}: {field} was changed since; change it by hand")
        try:
            with transaction.atomic():
                _UNDO[found.kind](thing, item, scope, now)
        except ProtectedError:
            raise UndoError(f"{item['name']}: something else rests on it by now") from None
    found.undone_at, found.undone_by = now, scope.who
    found.save(update_fields=["undone_at", "undone_by"])
    _on_record(found, EvidenceKind.IMPORT_UNDONE, scope, now)
    return found


# --- one line ----------------------------------------------------------------------------------------------------


def _take(kind: Kind, line: Line, scope: Scope, now: datetime) -> Done:
    name = " · ".join(str(line.values[key]) for key in ("client", "site", "name", "username") if key in line.values)
    if line.errors:
        return Done(line=line.number, act="error", name=name, changes={}, error="; ".join(line.errors))
    try:
        with transaction.atomic():
            thing, before, after = _TAKE[kind.slug](dict(line.values), scope, now)
    except (ValueError, NotAllowedError) as error:
        return Done(line=line.number, act="error", name=name, changes={}, error=str(error))
    changes = {field: (before.get(field), value) for field, value in after.items() if before.get(field) != value}
    return Done(
        line=line.number,
        act="create" if not before else "change" if changes else "same",
        name=name,
        changes=changes,
        pk=str(thing.pk),
        client=_client_id(thing),
    )


Taken = tuple[Any, dict[str, Any], dict[str, Any]]
"""The thing, what was known of it before (empty: it is new), and what is now, field by field."""


def _client_named(name: str, scope: Scope) -> Client:
    found = list(people.clients(scope=scope).filter(Q(name__iexact=name) | Q(reference=name))[:2])
    if len(found) == 1:
        return found[0]
    raise TableError(f"client: {'several clients are' if found else 'no client is'} called {name!r}")


def _site_named(name: str, client: Client, scope: Scope) -> Site:
    found = people.sites(scope=scope).filter(client=client, name__iexact=name).first()
    if found is None:
        known = ", ".join(people.sites(scope=scope).filter(client=client).values_list("name", flat=True))
        raise TableError(f"site: {client.name} has no site {name!r}; known: {known or 'none'}")
    return found


def _take_client(values: dict[str, Any], scope: Scope, now: datetime) -> Taken:
    there = people.clients(scope=scope).filter(name__iexact=values["name"]).first()
    if there is None:
        values.setdefault("timezone", "UTC")
        made = clients.client_add(**values, scope=scope, now=now)
        return made, {}, _fields(made, values)
    values.pop("name")
    before = _fields(there, values)
    return clients.client_change(client=there, **values, scope=scope, now=now), before, values


def _take_site(values: dict[str, Any], scope: Scope, now: datetime) -> Taken:
    client = _client_named(values.pop("client"), scope)
    there = people.sites(scope=scope).filter(client=client, name__iexact=values["name"]).first()
    if there is None:
        made = clients.site_add(client=client, **values, scope=scope, now=now)
        return made, {}, _fields(made, values)
    values.pop("name")
    before = _fields(there, values)
    return clients.site_change(site=there, **values, scope=scope, now=now), before, values


def _take_contact(values: dict[str, Any], scope: Scope, now: datetime) -> Taken:
    client = _client_named(values.pop("client"), scope)
    if "site" in values:
        values["site"] = _site_named(values["site"], client, scope)
    if "primary" in values:
        values["is_primary"] = values.pop("primary")
    there = people.contacts(scope=scope).filter(client=client, name__iexact=values["name"]).first()
    if there is None:
        made = clients.contact_add(client=client, **values, scope=scope, now=now)
        return made, {}, _fields(made, values)
    values.pop("name")
    before = _fields(there, values)
    changed = clients.contact_change(contact=there, **values, scope=scope, now=now)
    return changed, before, _fields(changed, values)


def _take_person(values: dict[str, Any], scope: Scope, now: datetime) -> Taken:
    there = people.persons(scope=scope).filter(username__iexact=values["username"]).first()
    if there is not None:
        # Roles are given and taken one by one, with what that means in words; a list must not do it in passing.
        return there, {"username": there.username}, {"username": there.username}
    client = _client_named(values["client"], scope) if "client" in values else None
    if "site" in values and client is None:
        raise TableError(f"site: {values['site']!r} names no client")
    site = _site_named(values["site"], client, scope) if client is not None and "site" in values else None
    try:
        role = role_named(values["role"], scope=scope)
    except CustomRole.DoesNotExist:
        raise TableError(f"role: there is no role {values['role']!r}; known: {', '.join(Role)}, and your own") from None
    held = ROLE_PERMISSIONS[role] if isinstance(role, Role) else {Permission(one) for one in role.permissions}
    at_home = client if all(permission.is_portal for permission in held) else None
    made = person_invite(
        username=values["username"],
        display_name=values.get("name", ""),
        email=values.get("email", ""),
        home_client=at_home,
        grants=[FirstGrant(role=role, client=client, site=site)],
        scope=scope,
        now=now,
    )
    return made, {}, {"username": made.username, "email": made.email}


def _take_asset(values: dict[str, Any], scope: Scope, now: datetime) -> Taken:
    client = _client_named(values.pop("client"), scope)
    site = _site_named(values.pop("site"), client, scope)
    there = Asset.objects.visible_to(scope).filter(client=client)
    serial = values.get("serial", "")
    found = (
        (there.filter(serial=serial).first() if serial else None)
        or there.filter(name__iexact=values["name"], **({"serial": ""} if serial else {})).first()
    )  # fmt: skip
    if found is None:
        made = asset_create(site=site, values=values, scope=scope, now=now)
        return made, {}, _fields(made, values)
    if found.site_id != site.pk:
        raise TableError(f"site: {found.name} stands at {found.site}; an asset stays at its site")
    before = _fields(found, values)
    changed = asset_change(asset=found, values=values, scope=scope)
    return changed, before, _fields(changed, values)


_TAKE: Mapping[str, Callable[[dict[str, Any], Scope, datetime], Taken]] = {
    "clients": _take_client,
    "sites": _take_site,
    "contacts": _take_contact,
    "people": _take_person,
    "assets": _take_asset,
}


# --- taking back -------------------------------------------------------------------------------------------------


def _undo_client(client: Client, item: Mapping[str, Any], scope: Scope, now: datetime) -> None:
    if item["act"] == "change":
        clients.client_change(client=client, **_before(item), scope=scope, now=now)
        return
    scope.require_everywhere(Permission.CLIENT_CHANGE)
    for rests, words in ((client.sites, "sites"), (client.devices, "devices"), (client.contacts, "contacts")):
        if rests.exists():
            raise UndoError(f"{client.name}: it has {words} by now; take those away first")
    # Its record has begun, and records stay: the client is removed like any other that leaves.
    client.removed_at, client.removed_by, client.removed_reason = now, scope.who, "its import was undone"
    client.save(update_fields=["removed_at", "removed_by", "removed_reason"])


def _undo_site(site: Site, item: Mapping[str, Any], scope: Scope, now: datetime) -> None:
    if item["act"] == "change":
        clients.site_change(site=site, **_before(item), scope=scope, now=now)
        return
    scope.require(Permission.CLIENT_CHANGE, on=site.client)
    for rests, words in ((site.contacts, "contacts"), (site.assets, "assets"), (site.windows, "windows")):
        if rests.exists():
            raise UndoError(f"{site.name}: it has {words} by now; take those away first")
    site.delete()


def _undo_contact(contact: Contact, item: Mapping[str, Any], scope: Scope, now: datetime) -> None:
    if item["act"] == "create":
        clients.contact_remove(contact=contact, scope=scope, now=now)
        return
    values = _before(item)
    if "site" in values:
        values["site"] = people.sites(scope=scope).filter(client=contact.client, name=values["site"]).first()
    clients.contact_change(contact=contact, **values, scope=scope, now=now)


def _undo_person(person: Person, item: Mapping[str, Any], scope: Scope, now: datetime) -> None:
    people.persons(scope=scope).get(pk=person.pk)
    for grant in person.grants.all():
        if grant.site is not None:
            scope.require(Permission.PEOPLE_CHANGE, on=grant.site)
        elif grant.client is not None:
            scope.require(Permission.PEOPLE_CHANGE, on=grant.client)
        else:
            scope.require_everywhere(Permission.PEOPLE_CHANGE)
    if person.last_login is not None or person.has_usable_password():
        raise UndoError(f"{person.username}: has signed in since; switch them off instead")
    person.delete()


def _undo_asset(asset: Asset, item: Mapping[str, Any], scope: Scope, now: datetime) -> None:
    if item["act"] == "create":
        asset_delete(asset=asset, scope=scope)
        return
    values = _before(item)
    for name in ("bought_on", "warranty_until"):
        if values.get(name):
            values[name] = date.fromisoformat(values[name])
    asset_change(asset=asset, values=values, scope=scope)


_UNDO: Mapping[str, Callable[[Any, Mapping[str, Any], Scope, datetime], None]] = {
    "clients": _undo_client,
    "sites": _undo_site,
    "contacts": _undo_contact,
    "people": _undo_person,
    "assets": _undo_asset,
}


# --- parts -------------------------------------------------------------------------------------------------------


def _client_id(thing: Client | Person | Site | Contact | Asset) -> str:
    if isinstance(thing, Client):
        return str(thing.pk)
    return str((thing.home_client_id if isinstance(thing, Person) else thing.client_id) or "")


def _fields(thing: Model, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(getattr(thing, name)) for name in values}


def _value(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    return value if value is None or isinstance(value, bool) else str(value)


def _plain(changes: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    return {field: [_value(one) for one in pair] for field, pair in changes.items()}


def _before(item: Mapping[str, Any]) -> dict[str, Any]:
    return {field: before for field, (before, _) in item["changes"].items()}


def _on_record(run: ImportRun, kind: EvidenceKind, scope: Scope, now: datetime) -> None:
    """On the record of every client the list touched: that it came from a list, and how many lines concerned it."""
    counts: dict[str, int] = {}
    for item in run.items:
        if item["client"]:
            counts[item["client"]] = counts.get(item["client"], 0) + 1
    for client in Client.objects.visible_to(_SELF).filter(pk__in=counts):
        evidence_append(
            client=client,
            kind=kind,
            payload={"import": run.pk, "kind": run.kind, "lines": counts[str(client.pk)], "by": scope.who},
            now=now,
        )
