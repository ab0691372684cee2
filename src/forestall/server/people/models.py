"""Clients, sites, persons and what they may do."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint

from forestall.server.people.roles import Role
from forestall.server.people.scope import ScopedModel


class Client(ScopedModel):
    """A tenant."""

    SCOPE_CLIENT: ClassVar[str] = "pk"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200, unique=True)
    timezone = models.CharField(max_length=64, default="UTC")
    """IANA name; SLA clocks and windows count in it."""
    country = models.CharField(max_length=2, blank=True)
    """ISO 3166-1 alpha-2; decides the public holidays. Empty: none."""
    region = models.CharField(max_length=10, blank=True)
    """Subdivision as the holidays library names it (``BY``, ``ENG``)."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Site(ScopedModel):
    """A place of a client."""

    SCOPE_SITE: ClassVar[str] = "pk"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="sites")
    name = models.CharField(max_length=200)
    timezone = models.CharField(max_length=64, blank=True)
    """Empty: the client's."""

    class Meta:
        ordering = ["client__name", "name"]
        constraints = [UniqueConstraint(fields=["client", "name"], name="site_name_once_a_client")]

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> str:
        return self.timezone or self.client.timezone


class Person(AbstractUser):
    """Someone who signs in."""

    class Meta:
        ordering = ["username"]
        verbose_name = "person"
        verbose_name_plural = "persons"


class Grant(models.Model):
    """A role of a person: everywhere, on one client, or on one site."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="grants")
    role = models.CharField(max_length=20, choices=[(role.value, role.value) for role in Role])
    client = models.ForeignKey(Client, on_delete=models.CASCADE, null=True, blank=True)
    site = models.ForeignKey(Site, on_delete=models.CASCADE, null=True, blank=True)

    class Meta:
        constraints = [
            CheckConstraint(condition=Q(role__in=[role.value for role in Role]), name="grant_role_known"),
            CheckConstraint(condition=Q(site=None) | ~Q(client=None), name="grant_site_names_its_client"),
        ]

    def __str__(self) -> str:
        return f"{self.person} {self.role}"


class ApiToken(models.Model):
    """A bearer token. Only its digest is kept."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)
    """SHA-256 of the token, in hex."""
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} of {self.person}"
