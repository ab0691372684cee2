"""Answers kept so that a request made twice is done once."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import UniqueConstraint


class KeptAnswer(models.Model):
    """What a POST with an ``Idempotency-Key`` was answered, for a day.

    The answer is sealed under a key that only who asked can derive (their token and the key): a copy of the database
    shows none of it, not even a token that was shown once.
    """

    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    route = models.CharField(max_length=100)
    """Operation id."""
    key_digest = models.CharField(max_length=64)
    request_digest = models.CharField(max_length=64)
    at = models.DateTimeField()
    status = models.PositiveSmallIntegerField(default=0)
    """0: still being done, in the transaction that wrote this row."""
    sealed = models.BinaryField(default=b"")

    class Meta:
        constraints = [UniqueConstraint(fields=["person", "route", "key_digest"], name="kept_answer_once_a_key")]

    def __str__(self) -> str:
        return f"answer of {self.route}"
