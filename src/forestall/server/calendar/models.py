"""Working hours, closed days and maintenance windows."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint

from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, ScopedModel


class WorkingWeek(ScopedModel):
    """A client's working hours. A client without one has Monday to Friday 09:00–17:30."""

    client = models.OneToOneField(Client, on_delete=models.CASCADE, related_name="working_week")
    hours = models.JSONField()
    """``{"monday": [["09:00", "17:30"]], …}``, wall clock of the client's time zone; see ``rules.Week.parse``."""

    def __str__(self) -> str:
        return f"working week of {self.client_id}"


class ClosedDay(ScopedModel):
    """A day on which a client is closed besides its public holidays."""

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="closed_days")
    day = models.DateField()
    why = models.CharField(max_length=100)

    class Meta:
        ordering = ["day"]
        constraints = [UniqueConstraint(fields=["client", "day"], name="closed_day_once_a_client")]

    def __str__(self) -> str:
        return f"{self.day} {self.why}"


class MaintenanceWindow(ScopedModel):
    """When work on a site, or on one device of it, is expected: alerts wait until it ends."""

    SCOPE_CLIENT: ClassVar[str] = "site__client_id"
    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="windows")
    device_id = models.UUIDField(null=True, blank=True)
    """The one device it is for; null: every device of the site. An id only: devices stand on a higher layer."""
    name = models.CharField(max_length=100)
    starts_on = models.DateField()
    """First day, on the site's wall clock."""
    starts_at = models.TimeField()
    """Start, on the site's wall clock."""
    minutes = models.PositiveIntegerField()
    rrule = models.CharField(max_length=200, blank=True)
    """RFC 5545 RRULE value; empty: once."""
    purpose = models.CharField(max_length=300, blank=True)
    """What is done in it, for the client's people too."""
    notice_hours = models.PositiveSmallIntegerField(default=0)
    """How long before its first time the client is to know of it. 0: no promise."""
    needs_approval = models.BooleanField(default=False)
    """Whether the client has to approve it first: until then it counts for nothing (``windows.window_counts``)."""
    answer = models.CharField(max_length=10, blank=True, choices=[(one, one) for one in ("approved", "declined")])
    """The client's answer; empty: none yet, or it was changed since."""
    answered_at = models.DateTimeField(null=True, blank=True)
    answered_by = models.CharField(max_length=150, blank=True)
    answer_reason = models.TextField(blank=True)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)
    ended_at = models.DateTimeField(null=True, blank=True)
    """Set when someone ends it for good; no occurrence lasts beyond this."""
    ended_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            CheckConstraint(condition=Q(minutes__gt=0), name="window_has_length"),
            CheckConstraint(condition=Q(ended_at=None) | ~Q(ended_by=""), name="window_end_has_author"),
            CheckConstraint(condition=Q(answer__in=["", "approved", "declined"]), name="window_answer_known"),
            CheckConstraint(
                condition=Q(answer="") | (Q(answered_at__isnull=False) & ~Q(answered_by="")),
                name="window_answer_has_author",
            ),
            CheckConstraint(condition=~Q(answer="declined") | ~Q(answer_reason=""), name="window_declined_has_reason"),
        ]

    def __str__(self) -> str:
        return self.name
