"""What sign-in keeps beside allauth's own tables: the log of events, and counted tries."""

from __future__ import annotations

from enum import StrEnum

from django.db import models
from django.db.models import CheckConstraint, Q
from django.utils import timezone


class SignInEventKind(StrEnum):
    """Everything that can happen to somebody's sign-in. The names are never changed later."""

    IN = "signin:in"
    OUT = "signin:out"
    FAILED = "signin:failed"
    REFUSED = "signin:refused"
    CONFIRMED = "signin:confirmed"
    PASSWORD_CHANGED = "password:changed"  # noqa: S105 - the name of an event
    PASSWORD_RESET = "password:reset"  # noqa: S105
    FACTOR_ADDED = "factor:added"
    FACTOR_REMOVED = "factor:removed"
    FACTOR_FAILED = "factor:failed"
    FACTOR_RESET = "factor:reset"
    CODES_MADE = "codes:made"
    CODE_USED = "codes:used"
    SESSION_ENDED = "session:ended"
    SSO_LINKED = "sso:linked"
    SSO_UNLINKED = "sso:unlinked"
    MAIL_FAILED = "mail:failed"
    DISABLED = "person:disabled"
    ENABLED = "person:enabled"
    UNLOCKED = "person:unlocked"


class SignInEvent(models.Model):
    """One thing that happened to somebody's sign-in: for themselves and for administrators to read."""

    person = models.ForeignKey("people.Person", on_delete=models.CASCADE, related_name="signin_events")
    kind = models.CharField(max_length=20, choices=[(kind.value, kind.value) for kind in SignInEventKind])
    at = models.DateTimeField(default=timezone.now)
    address = models.CharField(max_length=45, blank=True)
    """The client's network address; empty: a command on the server."""
    user_agent = models.CharField(max_length=200, blank=True)
    detail = models.CharField(max_length=200, blank=True)
    """By what or by whom, in words."""

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [models.Index(fields=["person", "-at"], name="signin_event_of_person")]
        constraints = [
            CheckConstraint(
                condition=Q(kind__in=[kind.value for kind in SignInEventKind]), name="signin_event_kind_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.person_id}"


class CacheEntry(models.Model):
    """A row of Django's cache: counted tries and used codes. The table belongs to ``django.core.cache``'s backend."""

    cache_key = models.CharField(max_length=255, primary_key=True)
    value = models.TextField()
    expires = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "people_cache"

    def __str__(self) -> str:
        return self.cache_key
