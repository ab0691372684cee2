"""Reads of imports."""

from __future__ import annotations

from django.db.models import QuerySet

from forestall.server.people.scope import Permission, Scope
from forestall.server.transfer.models import ImportRun


def imports(*, scope: Scope) -> QuerySet[ImportRun]:
    """The imports that ``scope`` may see, newest first: one's own; all of them for who may change every client."""
    every = ImportRun.objects.all()
    if scope.everywhere(Permission.CLIENT_CHANGE):
        return every
    return every.filter(person_id=scope.person_id) if scope.person_id is not None else every.none()
