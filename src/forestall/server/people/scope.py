"""The scope: who asks, and which clients and sites they may see. Every query names one.

A model with a client behind it uses ``ScopedManager``: a query on it that was not narrowed by ``visible_to`` raises
``UnscopedQueryError`` the moment it would touch the database. Forgetting the scope is thus an error in every test
that walks the path, never a leak.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Generic, Self, TypeVar
from uuid import UUID

from django.db import models


class Permission(StrEnum):
    """Everything a role can be allowed to do. The words of the product, once."""

    DEVICE_VIEW = "device.view"
    DEVICE_APPROVE = "device.approve"
    CHECK_CHANGE = "check.change"
    TICKET_VIEW = "ticket.view"
    TICKET_WORK = "ticket.work"
    RUNBOOK_VIEW = "runbook.view"
    JOB_PREPARE = "job.prepare"
    WINDOW_CHANGE = "window.change"
    EVIDENCE_VIEW = "evidence.view"
    REPORT_VIEW = "report.view"
    PEOPLE_CHANGE = "people.change"


class NotAllowedError(Exception):
    """The scope lacks a permission."""

    def __init__(self, permission: Permission, who: str) -> None:
        super().__init__(f"{who} may not: {permission}")
        self.permission = permission


class UnscopedQueryError(RuntimeError):
    """A query on clients' data that names no scope. A defect in the program, never a user's mistake."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What someone may see and do.

    ``clients`` and ``sites`` are ids; None means every one. A site counts only inside its client: a scope of one
    site names that site in ``sites`` and its client in ``clients``.
    """

    who: str
    """Name for logs and evidence: a person's user name, ``worker``, ``api token of ada``."""
    person_id: int | None
    clients: frozenset[UUID] | None
    sites: frozenset[UUID] | None
    permissions: frozenset[Permission]

    @classmethod
    def system(cls, who: str) -> Scope:
        """The product itself at work (the loop, a command on the server): everything, under its own name."""
        return cls(who=who, person_id=None, clients=None, sites=None, permissions=frozenset(Permission))

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """NotAllowedError unless the scope holds ``permission``."""
        if permission not in self.permissions:
            raise NotAllowedError(permission, self.who)


M = TypeVar("M", bound=models.Model)


class ScopedQuerySet(models.QuerySet[M]):
    """A queryset that refuses to run before ``visible_to`` (or before it hangs on an object that was visible)."""

    _scoped: bool = False

    def visible_to(self, scope: Scope) -> Self:
        """Narrow to what ``scope`` may see."""
        narrowed: Self = self.all()
        model: Any = self.model
        client_path: str = model.SCOPE_CLIENT
        site_path: str = model.SCOPE_SITE
        if scope.clients is not None:
            narrowed = narrowed.filter(**{f"{client_path}__in": scope.clients})
        if scope.sites is not None and site_path:
            narrowed = narrowed.filter(**{f"{site_path}__in": scope.sites})
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


class ScopedManager(models.Manager.from_queryset(ScopedQuerySet), Generic[M]):  # type: ignore[misc]
    """Manager of every model that belongs to a client."""


class ScopedModel(models.Model):
    """Base of every model that belongs to a client. Says by which path its client and site are reached."""

    SCOPE_CLIENT: ClassVar[str] = "client_id"
    SCOPE_SITE: ClassVar[str] = ""
    """Empty: the thing belongs to the client as a whole."""

    objects: ClassVar[ScopedManager[Any]] = ScopedManager()

    class Meta:
        abstract = True
