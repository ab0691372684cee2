"""Clients, sites, persons and what they may do."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint
from django.utils import timezone as clock

from forestall.server.people.roles import Role
from forestall.server.people.scope import Permission, ScopedModel
from forestall.server.people.signin_models import CacheEntry, SignInEvent

__all__ = [
    "ApiToken",
    "CacheEntry",
    "Client",
    "Contact",
    "CustomRole",
    "Grant",
    "OperatingModel",
    "Person",
    "RolePolicy",
    "SignInEvent",
    "Site",
]

ROLE_CHOICES = [(role.value, role.words) for role in Role]


class OperatingModel(models.TextChoices):
    """Who does the work at a client."""

    OUTSOURCED = "outsourced", "outsourced"
    """The provider does it all."""
    CO_MANAGED = "co_managed", "co-managed"
    """The client's own IT works beside the provider."""
    IN_HOUSE = "in_house", "in-house with oversight"
    """The client's own IT does the work, the provider watches and proves."""
    HOURLY = "hourly", "hourly"
    """By the hour, when called."""


class Client(ScopedModel):
    """A tenant."""

    SCOPE_CLIENT: ClassVar[str] = "pk"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200)
    """Of one client only; a client that was removed no longer holds its name."""
    timezone = models.CharField(max_length=64, default="UTC")
    """IANA name; SLA clocks and windows count in it."""
    country = models.CharField(max_length=2, blank=True)
    """ISO 3166-1 alpha-2; decides the public holidays. Empty: none."""
    region = models.CharField(max_length=10, blank=True)
    """Subdivision as the holidays library names it (``BY``, ``ENG``)."""
    reference = models.CharField(max_length=40, blank=True)
    """The provider's own number for it, as in its accounts. Empty, or of one client only."""
    operating_model = models.CharField(max_length=12, choices=OperatingModel.choices, default=OperatingModel.OUTSOURCED)
    sla_tier = models.CharField(max_length=40, default="standard")
    """Slug of the tier its tickets' targets come from (``tickets.SlaTier``)."""
    notes = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    removed_at = models.DateTimeField(null=True, blank=True)
    """When it was removed: its data are gone, its evidence and reports stay."""
    removed_by = models.CharField(max_length=150, blank=True)
    removed_reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            CheckConstraint(
                condition=Q(operating_model__in=OperatingModel.values), name="client_operating_model_known"
            ),
            CheckConstraint(
                condition=Q(removed_at=None) | (~Q(removed_by="") & ~Q(removed_reason="")),
                name="client_removal_has_author_and_reason",
            ),
            UniqueConstraint(fields=["name"], condition=Q(removed_at=None), name="client_name_once"),
            UniqueConstraint(
                fields=["reference"], condition=~Q(reference="") & Q(removed_at=None), name="client_reference_once"
            ),
        ]

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
    country = models.CharField(max_length=2, blank=True)
    """Empty: the client's, with its region."""
    region = models.CharField(max_length=10, blank=True)
    address = models.TextField(blank=True)

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

    display_name = models.CharField(max_length=150, blank=True)
    home_client = models.ForeignKey(Client, on_delete=models.PROTECT, null=True, blank=True, related_name="people")
    """The client whose own person this is; null: of the provider."""

    class Meta:
        ordering = ["username"]
        verbose_name = "person"
        verbose_name_plural = "persons"

    @property
    def shown_name(self) -> str:
        return self.display_name or self.get_full_name() or self.username


class Contact(ScopedModel):
    """Whom to call at a client. Need not be someone who signs in."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.CLIENT_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="contacts")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, null=True, blank=True, related_name="contacts")
    """Null: of the client as a whole."""
    name = models.CharField(max_length=150)
    email = models.EmailField(blank=True)
    phone = models.CharField(max_length=60, blank=True)
    duty = models.CharField(max_length=100, blank=True)
    """``IT contact``, ``approves work``, ``has the key`` …"""
    is_primary = models.BooleanField(default=False)
    person = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, blank=True, related_name="contacts")

    class Meta:
        ordering = ["-is_primary", "name"]
        constraints = [
            UniqueConstraint(fields=["client"], condition=Q(is_primary=True), name="contact_one_primary_a_client"),
        ]

    def __str__(self) -> str:
        return self.name


class CustomRole(models.Model):
    """A role of the provider's own: permissions chosen from the fixed list. It belongs to the installation."""

    name = models.CharField(max_length=60, unique=True)
    description = models.CharField(max_length=300, blank=True)
    permissions = models.JSONField(default=list)
    """Values of ``Permission``."""
    created_at = models.DateTimeField(default=clock.now)
    created_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class RolePolicy(models.Model):
    """What is asked of everybody who holds a role."""

    role = models.CharField(max_length=20, choices=ROLE_CHOICES, blank=True)
    custom = models.OneToOneField(CustomRole, on_delete=models.CASCADE, null=True, blank=True, related_name="policy")
    mfa_required = models.BooleanField(default=False)
    """They must have a second factor, and reach nothing before they have set one up."""

    class Meta:
        constraints = [
            CheckConstraint(
                condition=(Q(custom=None) & ~Q(role="")) | (Q(custom__isnull=False) & Q(role="")),
                name="role_policy_names_one_role",
            ),
            UniqueConstraint(fields=["role"], condition=~Q(role=""), name="role_policy_once_a_role"),
        ]

    def __str__(self) -> str:
        return f"policy of {self.custom or self.role}"


class Grant(models.Model):
    """A role of a person: everywhere, on one client, or on one site."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="grants")
    role = models.CharField(max_length=20, choices=ROLE_CHOICES, blank=True)
    """Empty: the custom one."""
    custom = models.ForeignKey(CustomRole, on_delete=models.PROTECT, null=True, blank=True, related_name="grants")
    client = models.ForeignKey(Client, on_delete=models.CASCADE, null=True, blank=True)
    site = models.ForeignKey(Site, on_delete=models.CASCADE, null=True, blank=True)
    granted_at = models.DateTimeField(default=clock.now)
    granted_by = models.CharField(max_length=150, blank=True)
    until = models.DateTimeField(null=True, blank=True)
    """When it ends by itself."""

    class Meta:
        constraints = [
            CheckConstraint(condition=Q(role__in=["", *(role.value for role in Role)]), name="grant_role_known"),
            CheckConstraint(
                condition=(Q(custom=None) & ~Q(role="")) | (Q(custom__isnull=False) & Q(role="")),
                name="grant_names_one_role",
            ),
            CheckConstraint(condition=Q(site=None) | ~Q(client=None), name="grant_site_names_its_client"),
            UniqueConstraint(
                fields=["person", "role", "custom", "client", "site"], name="grant_once_a_place", nulls_distinct=False
            ),
        ]

    def __str__(self) -> str:
        return f"{self.person} {self.role_name}"

    @property
    def role_name(self) -> str:
        """The role in words."""
        return str(self.custom) if self.custom_id is not None else Role(self.role).words


class ApiToken(models.Model):
    """A bearer token: may at most what its person may, and less if it says so. Only its digest is kept."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)
    """SHA-256 of the token, in hex."""
    permissions = models.JSONField(default=list)
    """Values of ``Permission``; empty: all that its person has."""
    client = models.ForeignKey(Client, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    """The place it is cut down to; neither: wherever its person may."""
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            CheckConstraint(condition=Q(site=None) | ~Q(client=None), name="token_site_names_its_client"),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.person}"
