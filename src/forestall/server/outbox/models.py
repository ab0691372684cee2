"""What happened and has to be told on."""

from __future__ import annotations

from django.db import models


class OutboxEvent(models.Model):
    """Something that happened, written in the transaction in which it happened. ``loop.py`` says who hears of it."""

    name = models.CharField(max_length=40)
    subject = models.CharField(max_length=64)
    """Primary key of what it happened to."""
    detail = models.JSONField(default=dict)
    at = models.DateTimeField()
    attempts = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField(null=True, blank=True)
    """Set after a failed attempt: when to try again."""
    last_error = models.TextField(blank=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.name} {self.subject}"
