"""Alerts, what was sent about them, and where to send."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint

from forestall.server.alerts.sealing import seal, unseal
from forestall.server.checks.models import Check
from forestall.server.checks.result import Risk, Status
from forestall.server.inventory.models import Device
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, ScopedModel


class AlertState(models.TextChoices):
    MUTED = "muted", "muted"
    """Seen, and nobody was told yet: a window, flapping or an offline device is why."""
    OPEN = "open", "open"
    CLEARED = "cleared", "cleared"


class Alert(ScopedModel):
    """A check that is not passing, from raise to clear. One row for each time it stops passing."""

    SCOPE_CLIENT: ClassVar[str] = "device__client_id"
    SCOPE_SITE: ClassVar[str] = "device__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    check_row = models.ForeignKey(Check, on_delete=models.PROTECT, related_name="alerts", db_column="check_id")
    """``check`` is a name that Django takes for itself."""
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="alerts")
    kind = models.CharField(max_length=40)
    target = models.CharField(max_length=500, blank=True)
    status = models.CharField(max_length=10, choices=[(status.value, status.value) for status in Status])
    """The worst the check said while the alert was open."""
    risk = models.CharField(max_length=10, choices=[(risk.value, risk.value) for risk in Risk])
    reason = models.TextField()
    """What the check says now, or said last."""
    state = models.CharField(max_length=10, choices=AlertState.choices)
    group = models.CharField(max_length=600)
    """Device and condition: alerts of one group are one piece of work. See ``rules.group_of``."""
    first_seen_at = models.DateTimeField()
    """When the check stopped passing."""
    raised_at = models.DateTimeField(null=True, blank=True)
    """When people were told; null while, or because it ended while, it was muted."""
    cleared_at = models.DateTimeField(null=True, blank=True)
    cleared_because = models.TextField(blank=True)
    muted_until = models.DateTimeField(null=True, blank=True)
    """When a muted alert is looked at again; null: when the device is back."""
    muted_because = models.CharField(max_length=300, blank=True)
    clears_at = models.DateTimeField(null=True, blank=True)
    """Set when a flapping check passes: the alert clears then, if it still does."""
    flaps = models.PositiveIntegerField(default=0)
    """Changes between passing and not, within the last half hour, when last looked at."""

    class Meta:
        ordering = ["-first_seen_at", "-pk"]
        constraints = [
            CheckConstraint(condition=Q(state__in=AlertState.values), name="alert_state_known"),
            CheckConstraint(condition=~Q(state="open") | Q(raised_at__isnull=False), name="alert_open_was_raised"),
            CheckConstraint(condition=~Q(state="muted") | ~Q(muted_because=""), name="alert_muted_has_reason"),
            CheckConstraint(
                condition=Q(state="cleared", cleared_at__isnull=False) | ~Q(state="cleared") & Q(cleared_at=None),
                name="alert_cleared_has_time",
            ),
            UniqueConstraint(
                fields=["device", "kind", "target"], condition=~Q(state="cleared"), name="alert_once_a_condition"
            ),
        ]
        indexes = [models.Index(fields=["state", "device"]), models.Index(fields=["group", "state"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.target} on {self.device_id}: {self.state}"


class NotificationRoute(ScopedModel):
    """Where to send: an address of one of the services that apprise knows.

    The address often holds a password or token, so it is sealed with a key derived from the server's secret file
    and never shown whole.
    """

    SCOPE_WHOLE: ClassVar[bool] = True
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.CLIENT_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, null=True, blank=True, related_name="routes")
    """Null: every client."""
    name = models.CharField(max_length=100)
    minimum_risk = models.CharField(max_length=10, choices=[(risk.value, risk.value) for risk in Risk])
    """Nothing below this is sent."""
    sealed_url = models.TextField()
    shown_url = models.CharField(max_length=500)
    """The address with its secrets left out."""
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def url(self) -> str:
        """The whole address: for sending only."""
        return unseal(self.sealed_url)

    @url.setter
    def url(self, value: str) -> None:
        self.sealed_url = seal(value)


class NotificationState(models.TextChoices):
    WAITING = "waiting", "waiting"
    SENDING = "sending", "sending"
    SENT = "sent", "sent"
    FAILED = "failed", "failed"


class Notification(ScopedModel):
    """Something that was, or will be, sent to someone: what, to whom, and what became of it."""

    SCOPE_VIEW: ClassVar[Permission | None] = Permission.CLIENT_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="notifications")
    route = models.ForeignKey(NotificationRoute, on_delete=models.SET_NULL, null=True, related_name="notifications")
    sent_to = models.CharField(max_length=620)
    """Name of the route and its address without secrets, as it was then."""
    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, null=True, blank=True, related_name="notifications")
    about = models.CharField(max_length=60, blank=True)
    """What else it is about: ``ticket 12``."""
    title = models.CharField(max_length=250)
    text = models.TextField()
    made_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=NotificationState.choices, default=NotificationState.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField()
    """Not tried before this; while sending: when another worker may take it over."""
    sent_at = models.DateTimeField(null=True, blank=True)
    result = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-made_at", "-pk"]
        constraints = [
            CheckConstraint(condition=Q(state__in=NotificationState.values), name="notification_state_known"),
            CheckConstraint(condition=~Q(state="sent") | Q(sent_at__isnull=False), name="notification_sent_has_time"),
        ]
        indexes = [models.Index(fields=["state", "not_before"])]

    def __str__(self) -> str:
        return f"{self.title} to {self.sent_to}"
