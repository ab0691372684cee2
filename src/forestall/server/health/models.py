"""Exceptions from coverage, and what each daily health run saw."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import CheckConstraint, F, Q, UniqueConstraint

from forestall.server.inventory.models import Device
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, ScopedModel
from forestall.server.recovery.models import ProtectedSystem


class CoverageException(ScopedModel):
    """Leave not to be covered in one column for a while: a reason, and an end."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="coverage_exceptions")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, null=True, blank=True, related_name="coverage_exceptions")
    """Null: every site."""
    device = models.ForeignKey(
        Device, on_delete=models.CASCADE, null=True, blank=True, related_name="coverage_exceptions"
    )
    system = models.ForeignKey(
        ProtectedSystem, on_delete=models.CASCADE, null=True, blank=True, related_name="coverage_exceptions"
    )
    """A protected system; null: devices."""
    column = models.CharField(max_length=20)
    """See ``health.rules.Column``."""
    reason = models.TextField()
    granted_at = models.DateTimeField()
    granted_by = models.CharField(max_length=150)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-granted_at", "-pk"]
        constraints = [
            CheckConstraint(condition=~Q(reason=""), name="coverage_exception_says_why"),
            CheckConstraint(condition=Q(expires_at__gt=F("granted_at")), name="coverage_exception_ends_later"),
            CheckConstraint(
                condition=(Q(device=None) & Q(system=None)) | ~Q(site=None), name="coverage_exception_names_its_site"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.column} until {self.expires_at:%Y-%m-%d}"


class HealthRun(ScopedModel):
    """One health run of a client: how it stood that morning. Never changed."""

    SCOPE_WHOLE: ClassVar[bool] = True
    """It counts every device of the client: for those who see them all."""
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="health_runs")
    day = models.DateField()
    """By the client's own clock."""
    scheduled = models.BooleanField(default=True)
    """The run of the morning; false: somebody asked for it."""
    at = models.DateTimeField()
    seconds = models.FloatField(default=0)
    by = models.CharField(max_length=150)
    score = models.FloatField(null=True, blank=True)
    """0 to 100; null: the client has no device."""
    devices = models.PositiveIntegerField(default=0)
    judged = models.PositiveIntegerField(default=0)
    """Devices judged in this very run; the others count as they were last judged, within their cadences."""
    counts = models.JSONField(default=dict)
    """Status → checks."""
    gaps = models.PositiveIntegerField(default=0)
    """Gaps of coverage."""
    scores = models.JSONField(default=dict)
    """Device → its score."""
    summary = models.JSONField(default=list)
    """What the mail said, line by line."""
    told = models.JSONField(default=list)
    """Who was told, and why them."""

    class Meta:
        ordering = ["-at", "-pk"]
        constraints = [
            UniqueConstraint(fields=["client", "day"], condition=Q(scheduled=True), name="health_run_once_a_day"),
            CheckConstraint(
                condition=Q(score=None) | (Q(score__gte=0) & Q(score__lte=100)), name="health_run_score_bounded"
            ),
        ]
        indexes = [models.Index(fields=["client", "-at"])]

    def __str__(self) -> str:
        return f"{self.client_id} on {self.day}"
