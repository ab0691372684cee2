"""What the console itself keeps: a person's saved views."""

from __future__ import annotations

from django.db import models
from django.db.models import UniqueConstraint

from forestall.server.people.models import Person


class SavedView(models.Model):
    """A list with its filters and order, under a name of the person's own."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="saved_views")
    section = models.CharField(max_length=20)
    """Which list: ``devices``, ``tickets``."""
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=1000)
    """The address's question, without the question mark."""

    class Meta:
        ordering = ["name"]
        constraints = [UniqueConstraint(fields=["person", "section", "name"], name="saved_view_once_a_name")]

    def __str__(self) -> str:
        return self.name
