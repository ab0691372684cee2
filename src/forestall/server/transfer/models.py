"""Imports as they were done, so that they can be undone."""

from __future__ import annotations

from django.db import models
from django.db.models import CheckConstraint, Q

from forestall.server.people.models import Person


class ImportRun(models.Model):
    """A file that was imported. It may name several clients, so it is seen by whoever imported it, and by those who
    may change every client."""

    kind = models.CharField(max_length=20)
    """A slug of ``rules.KINDS``."""
    filename = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField()
    by = models.CharField(max_length=150)
    person = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created = models.PositiveIntegerField()
    changed = models.PositiveIntegerField()
    same = models.PositiveIntegerField()
    items = models.JSONField(default=list)
    """What was done, line by line: see ``services.Item``."""
    undone_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-at", "-pk"]
        constraints = [
            CheckConstraint(condition=Q(undone_at=None) | ~Q(undone_by=""), name="import_undone_by_someone"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} from {self.filename or 'a list'}"


class ForgottenDevice(models.Model):
    """A device of a removed client whose samples wait for the worker to drop them: it alone writes there."""

    device_id = models.UUIDField(unique=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return str(self.device_id)
