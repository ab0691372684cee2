"""SLA tiers: what the provider offers, of which each client has one."""

from __future__ import annotations

from django.db import models
from django.db.models import CheckConstraint, F, Q, UniqueConstraint

from forestall.server.tickets.rules import Priority


class SlaTier(models.Model):
    """A level of service with a target for each priority. It belongs to the installation; ``Client.sla_tier`` names
    the one that a client has."""

    slug = models.SlugField(max_length=40, unique=True)
    """Never changed: clients name it."""
    name = models.CharField(max_length=60, unique=True)
    description = models.CharField(max_length=300, blank=True)

    class Meta:
        app_label = "tickets"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class SlaTarget(models.Model):
    """A tier's times for one priority. Without a row the default of the field holds (``rules.DEFAULT_TARGETS``)."""

    tier = models.ForeignKey(SlaTier, on_delete=models.CASCADE, related_name="targets")
    priority = models.CharField(max_length=10, choices=[(priority.value, priority.value) for priority in Priority])
    response_minutes = models.PositiveIntegerField()
    """Working minutes."""
    resolution_minutes = models.PositiveIntegerField()

    class Meta:
        app_label = "tickets"
        constraints = [
            UniqueConstraint(fields=["tier", "priority"], name="sla_target_once_a_priority"),
            CheckConstraint(
                condition=Q(response_minutes__gt=0, resolution_minutes__gte=F("response_minutes")),
                name="sla_target_in_order",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tier_id} {self.priority}"
