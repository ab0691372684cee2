"""The scope: who asks, and what they may do where. Every query names one.

A scope is *permission × place*, never a union of both: whoever works for Acme and audits Bolt works for Acme alone.

A model with a client behind it uses ``ScopedManager``: a query on it that was not narrowed by ``visible_to`` raises
``UnscopedQueryError`` the moment it would touch the database. Forgetting the scope is thus an error in every test
that walks the path, never a leak. Each model names the permission with which one sees it (``SCOPE_VIEW``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Self, TypeVar
from uuid import UUID

from django.db import models
from django.db.models import Q


class Permission(StrEnum):
    """Everything a role can be allowed to do. The words of the product, once."""

    DEVICE_VIEW = "device.view"
    DEVICE_APPROVE = "device.approve"
    DEVICE_CHANGE = "device.change"
    """Name, role, groups, tags and the list of assets."""
    CHECK_CHANGE = "check.change"
    TICKET_VIEW = "ticket.view"
    TICKET_WORK = "ticket.work"
    RUNBOOK_VIEW = "runbook.view"
    JOB_PREPARE = "job.prepare"
    AUTHORITY_CHANGE = "authority.change"
    """Pass on what root and catalogue keys signed. It gives no authority: only the keys do."""
    WINDOW_CHANGE = "window.change"
    PATCH_CHANGE = "patch.change"
    """Plan updates: patch policies, approvals, deferrals, exclusions, rollouts. It installs nothing by itself."""
    RISK_ACCEPT = "risk.accept"
    """Exceptions from obligations, accepted vulnerabilities, marks of false ones."""
    RECOVERY_CHANGE = "recovery.change"
    """Protected systems, their objectives and restore tests, attested proofs."""
    ACCESS_REVIEW = "access.review"
    """Begin access reviews and sign off accounts of devices."""
    BASELINE_CHANGE = "baseline.change"
    """Choose baselines of configuration, accept drift and deviations."""
    RUNBOOK_CHANGE = "runbook.change"
    """Write drafts of runbooks. It gives no authority: only the catalogue's signature does."""
    EVIDENCE_VIEW = "evidence.view"
    EVIDENCE_ERASE = "evidence.erase"
    REPORT_VIEW = "report.view"
    CLIENT_VIEW = "client.view"
    """Contacts, working hours, SLA and how a client is served."""
    CLIENT_CHANGE = "client.change"
    CLIENT_EXPORT = "client.export"
    CLIENT_REMOVE = "client.remove"
    PEOPLE_VIEW = "people.view"
    PEOPLE_CHANGE = "people.change"
    SETTINGS_CHANGE = "settings.change"
    """Sign-in, mail, webhooks: what concerns the whole installation."""
    PORTAL_VIEW = "portal.view"
    PORTAL_TICKET = "portal.ticket"
    PORTAL_APPROVE = "portal.approve"
    PORTAL_REPORT = "portal.report"

    @property
    def is_portal(self) -> bool:
        """Whether it is for a client's own people, who never reach what staff see."""
        return self.value.startswith("portal.")


class NotAllowedError(Exception):
    """The scope lacks a permission, anywhere or at one place."""

    def __init__(self, permission: Permission, who: str, where: str = "") -> None:
        super().__init__(f"{who} may not: {permission}{f' at {where}' if where else ''}")
        self.permission = permission
        self.where = where


class UnscopedQueryError(RuntimeError):
    """A query on clients' data that names no scope. A defect in the program, never a user's mistake."""


@dataclass(frozen=True, slots=True)
class Place:
    """Some clients as a whole, and single sites of others. A site counts only inside its client."""

    everywhere: bool = False
    clients: frozenset[UUID] = frozenset()
    """Clients with all their sites, those to come included."""
    sites: Mapping[UUID, UUID] = field(default_factory=lambda: MappingProxyType({}))
    """Single sites → their client."""

    @property
    def is_empty(self) -> bool:
        return not (self.everywhere or self.clients or self.sites)

    @property
    def touched_clients(self) -> frozenset[UUID]:
        """Clients of which at least one site is in it."""
        return self.clients | frozenset(self.sites.values())

    def covers(self, client: UUID, site: UUID | None = None) -> bool:
        """Whether the site, or without one the client as a whole, is in it."""
        return self.everywhere or client in self.clients or (site is not None and self.sites.get(site) == client)

    def touches(self, client: UUID) -> bool:
        """Whether anything of the client is in it."""
        return self.everywhere or client in self.touched_clients

    def __or__(self, other: Place) -> Place:
        if self.everywhere or other.everywhere:
            return EVERYWHERE
        return Place(clients=self.clients | other.clients, sites={**self.sites, **other.sites})

    def __and__(self, other: Place) -> Place:
        if self.everywhere:
            return other
        if other.everywhere:
            return self
        sites = {
            site: client
            for one, another in ((self, other), (other, self))
            for site, client in one.sites.items()
            if another.covers(client, site)
        }
        return Place(clients=self.clients & other.clients, sites=sites)


EVERYWHERE = Place(everywhere=True)
NOWHERE = Place()


@dataclass(frozen=True, slots=True)
class Scope:
    """What someone may do, and where."""

    who: str
    """Name for logs and evidence: a person's user name, ``worker``, ``api token of ada``."""
    person_id: int | None
    places: Mapping[Permission, Place]

    @classmethod
    def system(cls, who: str) -> Scope:
        """The product itself at work (the loop, a command on the server): everything, under its own name."""
        return cls(who=who, person_id=None, places=_ALL)

    @classmethod
    def at(
        cls,
        who: str,
        person_id: int | None,
        permissions: Iterable[Permission],
        *,
        clients: Iterable[UUID] | None = None,
        sites: Mapping[UUID, UUID] | None = None,
    ) -> Scope:
        """The same permissions at one place: the ``clients`` as a whole and the ``sites``; everywhere without both."""
        everywhere = clients is None and sites is None
        place = Place(everywhere=everywhere, clients=frozenset(clients or ()), sites=dict(sites or {}))
        return cls(who=who, person_id=person_id, places=dict.fromkeys(permissions, place))

    @property
    def permissions(self) -> frozenset[Permission]:
        """What they may do somewhere."""
        return frozenset(self.places)

    def place(self, permission: Permission | None = None) -> Place:
        """Where they may do it; without a permission: where they may do anything at all."""
        if permission is not None:
            return self.places.get(permission, NOWHERE)
        found = NOWHERE
        for place in self.places.values():
            found |= place
        return found

    def everywhere(self, permission: Permission) -> bool:
        """Whether they may do it for every client, those to come included."""
        return self.place(permission).everywhere

    def may(self, permission: Permission, *, on: models.Model | None = None) -> bool:
        """Whether they may do it somewhere; with ``on``: to that client, site, or thing of a client."""
        place = self.place(permission)
        if on is None:
            return not place.is_empty
        client, site = place_of(on)
        return place.covers(client, site)

    def require(self, permission: Permission, *, on: models.Model | None = None) -> None:
        """NotAllowedError unless ``may``."""
        if not self.may(permission, on=on):
            raise NotAllowedError(permission, self.who, "" if on is None else str(on))

    def require_everywhere(self, permission: Permission) -> None:
        """NotAllowedError unless they may do it for every client: for what concerns the whole installation."""
        if not self.everywhere(permission):
            raise NotAllowedError(permission, self.who, "the whole installation")

    def narrowed(self, *, permissions: Iterable[Permission] | None = None, place: Place = EVERYWHERE) -> Scope:
        """What of this scope lies within these permissions (None: all) and this place. Never more than it was."""
        kept = frozenset(Permission) if permissions is None else frozenset(permissions)
        places = {one: where & place for one, where in self.places.items() if one in kept}
        return replace(self, places={one: where for one, where in places.items() if not where.is_empty})


_ALL: Mapping[Permission, Place] = MappingProxyType(dict.fromkeys(Permission, EVERYWHERE))


def place_of(row: models.Model) -> tuple[UUID, UUID | None]:
    """The client and site a row belongs to, by the paths its model declares. The site is None for what belongs to a
    client as a whole."""
    model: Any = type(row)
    if not issubclass(model, ScopedModel):
        raise TypeError(f"{model.__name__} belongs to no client")
    return _follow(row, model.SCOPE_CLIENT), _follow(row, model.SCOPE_SITE) if model.SCOPE_SITE else None


def _follow(row: models.Model, path: str) -> Any:
    value: Any = row
    for part in path.split("__"):
        value = getattr(value, part)
    return value


M = TypeVar("M", bound=models.Model)


class ScopedQuerySet(models.QuerySet[M]):
    """A queryset that refuses to run before ``visible_to`` (or before it hangs on an object that was visible)."""

    _scoped: bool = False

    def visible_to(self, scope: Scope, *, by: Permission | None = None) -> Self:
        """Narrow to what ``scope`` may see: where it holds the model's ``SCOPE_VIEW``, or ``by`` in its stead."""
        model: Any = self.model
        place = scope.place(by or model.SCOPE_VIEW)
        narrowed: Self = self.all() if place.everywhere else self.filter(_inside(model, place))
        narrowed._scoped = True
        return narrowed

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]
        clone._scoped = self._scoped
        return clone

    def _require_scope(self) -> None:
        # A related manager (`ticket.events`) starts from an object somebody was allowed to load.
        if not self._scoped and "instance" not in getattr(self, "_hints", {}):
            raise UnscopedQueryError(f"query on {self.model.__name__} without a scope: call .visible_to(scope) first")

    def _fetch_all(self) -> None:
        if self._result_cache is None:
            self._require_scope()
        super()._fetch_all()

    def iterator(self, chunk_size: int | None = None) -> Iterator[M]:
        self._require_scope()
        return super().iterator(chunk_size)

    def count(self) -> int:
        self._require_scope()
        return super().count()

    def exists(self) -> bool:
        self._require_scope()
        return super().exists()

    def aggregate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        self._require_scope()
        return super().aggregate(*args, **kwargs)

    def update(self, **kwargs: Any) -> int:
        self._require_scope()
        return super().update(**kwargs)

    def delete(self) -> tuple[int, dict[str, int]]:
        self._require_scope()
        return super().delete()


def _inside(model: Any, place: Place) -> Q:
    if place.is_empty:
        return Q(pk__in=[])
    client_path, site_path = model.SCOPE_CLIENT, model.SCOPE_SITE
    if not site_path:
        # Of the client as a whole. Whoever sees one site of it sees the client's own row, and what it shares.
        clients = place.clients if model.SCOPE_WHOLE else place.touched_clients
        return Q(**{f"{client_path}__in": clients})
    inside = Q(**{f"{client_path}__in": place.clients}) if place.clients else Q()
    if place.sites:
        inside |= Q(**{f"{site_path}__in": place.sites})
    return inside


class ScopedManager(models.Manager.from_queryset(ScopedQuerySet), Generic[M]):  # type: ignore[misc]
    """Manager of every model that belongs to a client."""


class ScopedModel(models.Model):
    """Base of every model that belongs to a client. Says by which path its client and site are reached."""

    SCOPE_CLIENT: ClassVar[str] = "client_id"
    SCOPE_SITE: ClassVar[str] = ""
    """Empty: the thing belongs to the client as a whole."""
    SCOPE_WHOLE: ClassVar[bool] = False
    """Of a thing without a site: whether only those see it who see the client as a whole."""
    SCOPE_VIEW: ClassVar[Permission | None] = None
    """With which permission one sees it; None: with any at that place."""

    objects: ClassVar[ScopedManager[Any]] = ScopedManager()

    class Meta:
        abstract = True
