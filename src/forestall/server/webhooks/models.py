"""Who wants to hear of what, and what became of each message."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import CheckConstraint, Index, Q

from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, ScopedModel


class WebhookState(models.TextChoices):
    ACTIVE = "active", "active"
    PAUSED = "paused", "paused"
    """By a person."""
    DISABLED = "disabled", "disabled"
    """By itself: it failed for days."""


class Webhook(ScopedModel):
    """An address that is told of events, of one client or (without one) of all."""

    SCOPE_WHOLE: ClassVar[bool] = True
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.CLIENT_CHANGE

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    client = models.ForeignKey(Client, on_delete=models.CASCADE, null=True, blank=True, related_name="webhooks")
    """Null: of all clients."""
    name = models.CharField(max_length=100)
    host = models.CharField(max_length=260)
    """Scheme, name and port of the address: what may be shown."""
    sealed_address = models.TextField()
    """The whole address, sealed: its path or query may be a secret."""
    sealed_secret = models.TextField()
    """The key of its signatures, sealed."""
    events = models.JSONField(default=list)
    """Names of ``Event``; empty: all."""
    state = models.CharField(max_length=10, choices=WebhookState.choices, default=WebhookState.ACTIVE)
    failing_since = models.DateTimeField(null=True, blank=True)
    """When the first of the failures came that nothing has succeeded after."""
    disabled_because = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)
    last_success_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            CheckConstraint(condition=Q(state__in=WebhookState.values), name="webhook_state_known"),
            CheckConstraint(condition=~Q(state="disabled") | ~Q(disabled_because=""), name="webhook_disabled_says_why"),
        ]

    def __str__(self) -> str:
        return self.name


class DeliveryState(models.TextChoices):
    WAITING = "waiting", "waiting"
    DONE = "done", "done"
    FAILED = "failed", "failed"
    """Tried for a day, or the webhook was paused or disabled meanwhile."""


class Delivery(ScopedModel):
    """One message to one webhook, and how its latest attempt ended."""

    SCOPE_CLIENT: ClassVar[str] = "webhook__client_id"
    SCOPE_WHOLE: ClassVar[bool] = True
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.CLIENT_CHANGE

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=40)
    body = models.TextField()
    """The very bytes that are signed and sent, as JSON."""
    made_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=DeliveryState.choices, default=DeliveryState.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(null=True, blank=True)
    """When it is tried (again); null: it is over."""
    leased_until = models.DateTimeField(null=True, blank=True)
    """Taken by a worker until then."""
    tried_at = models.DateTimeField(null=True, blank=True)
    status = models.PositiveIntegerField(null=True, blank=True)
    """HTTP status of the latest answer; null: none came."""
    milliseconds = models.PositiveIntegerField(null=True, blank=True)
    error = models.CharField(max_length=300, blank=True)
    again_of = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    """What a person had sent again."""

    class Meta:
        ordering = ["-made_at", "-pk"]
        verbose_name_plural = "deliveries"
        indexes = [Index(fields=["state", "next_at"], name="delivery_due")]
        constraints = [
            CheckConstraint(condition=Q(state__in=DeliveryState.values), name="delivery_state_known"),
            CheckConstraint(
                condition=(Q(state="waiting") & Q(next_at__isnull=False)) | (~Q(state="waiting") & Q(next_at=None)),
                name="delivery_waits_for_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.webhook}"
