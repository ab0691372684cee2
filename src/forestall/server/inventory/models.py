"""Devices, their identity and enrolment, and the facts known of them."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint

from forestall.server.people.models import Client, Person, Site
from forestall.server.people.scope import Permission, ScopedModel


class DeviceStatus(models.TextChoices):
    PENDING = "pending", "pending approval"
    APPROVED = "approved", "approved"
    REVOKED = "revoked", "revoked"


class Device(ScopedModel):
    """A machine. Its identity is (client, site, device): a site never changes client, a device never changes either."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="devices")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="devices")
    name = models.CharField(max_length=200)
    hostname = models.CharField(max_length=200, blank=True)
    """What the machine calls itself. The name follows it until a person gives another."""
    role = models.CharField(max_length=40, default="server")
    """``server``, ``endpoint``, ``network``, ``printer``, ``cloud``."""
    status = models.CharField(max_length=10, choices=DeviceStatus.choices, default=DeviceStatus.PENDING)
    public_key = models.BinaryField(max_length=32)
    """Raw Ed25519 key made on the device."""
    machine_id = models.CharField(max_length=64, blank=True)
    agent_version = models.CharField(max_length=40, blank=True)
    enrolled_at = models.DateTimeField()
    approved_at = models.DateTimeField(null=True, blank=True)
    approved_by = models.CharField(max_length=150, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_reason = models.CharField(max_length=500, blank=True)
    last_check_in_at = models.DateTimeField(null=True, blank=True)
    """When intake received the last check-in (the server's clock)."""
    last_made_at = models.DateTimeField(null=True, blank=True)
    """When the device says it made that check-in (the device's clock)."""
    clock_offset_seconds = models.FloatField(null=True, blank=True)
    """Device clock minus server clock, of a check-in that was sent at once (never of a replayed one)."""
    boot_id = models.CharField(max_length=64, blank=True)
    job_counter = models.PositiveBigIntegerField(default=0)
    """Last counter given to a job of this device."""
    os_name = models.CharField(max_length=200, blank=True)
    """Copied from the ``system`` document for lists and filters."""

    class Meta:
        ordering = ["client__name", "name"]
        constraints = [
            CheckConstraint(condition=Q(status__in=DeviceStatus.values), name="device_status_known"),
            CheckConstraint(
                condition=~Q(status=DeviceStatus.APPROVED) | Q(approved_at__isnull=False),
                name="device_approval_has_time",
            ),
            CheckConstraint(
                condition=~Q(status=DeviceStatus.REVOKED) | (Q(revoked_at__isnull=False) & ~Q(revoked_reason="")),
                name="device_revocation_has_time_and_reason",
            ),
        ]
        indexes = [models.Index(fields=["client", "site"]), models.Index(fields=["last_check_in_at"])]

    def __str__(self) -> str:
        return self.name


class EnrolmentToken(ScopedModel):
    """Single-use permission to enrol one device at one site. Only its digest is kept."""

    SCOPE_CLIENT: ClassVar[str] = "site__client_id"
    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_APPROVE

    site = models.ForeignKey(Site, on_delete=models.CASCADE)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    used_by = models.ForeignKey(Device, on_delete=models.SET_NULL, null=True, blank=True)

    def __str__(self) -> str:
        return f"token for {self.site} of {self.created_at:%Y-%m-%d}"


class FactsDocument(ScopedModel):
    """The newest document of one name of one device."""

    SCOPE_CLIENT: ClassVar[str] = "device__client_id"
    SCOPE_SITE: ClassVar[str] = "device__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="facts")
    name = models.CharField(max_length=20)
    digest = models.BinaryField(max_length=32)
    body = models.BinaryField()
    """zlib-compressed MessagePack of the ``wire.facts`` document."""
    collected_at = models.DateTimeField()
    """Last time the device collected it and it was this (affirmations move it)."""
    changed_at = models.DateTimeField()
    """When this content was first collected."""

    class Meta:
        constraints = [UniqueConstraint(fields=["device", "name"], name="facts_document_once_a_device")]

    def __str__(self) -> str:
        return f"{self.name} of {self.device_id}"


class FactsChange(ScopedModel):
    """A document that became another: what changed, for the device's timeline."""

    SCOPE_CLIENT: ClassVar[str] = "device__client_id"
    SCOPE_SITE: ClassVar[str] = "device__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="facts_changes")
    name = models.CharField(max_length=20)
    at = models.DateTimeField()
    summary = models.CharField(max_length=500)
    """In words: ``3 packages upgraded: libc6, …``."""

    class Meta:
        ordering = ["-at"]
        indexes = [models.Index(fields=["device", "-at"])]

    def __str__(self) -> str:
        return self.summary


class FirstSeen(ScopedModel):
    """Since when something is there without a break: an obligation counts from then."""

    SCOPE_CLIENT: ClassVar[str] = "device__client_id"
    SCOPE_SITE: ClassVar[str] = "device__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="first_seen")
    key = models.CharField(max_length=400)
    """``updates:openssl=3.0.18-1``, ``access:ada`` (see ``rules.first_seen_keys``)."""
    at = models.DateTimeField()

    class Meta:
        constraints = [UniqueConstraint(fields=["device", "key"], name="first_seen_once_a_device")]

    def __str__(self) -> str:
        return f"{self.key} since {self.at:%Y-%m-%d}"


class FactsWanted(ScopedModel):
    """A document the device affirmed but the server does not hold so: the next reply asks for it whole."""

    SCOPE_CLIENT: ClassVar[str] = "device__client_id"
    SCOPE_SITE: ClassVar[str] = "device__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="facts_wanted")
    name = models.CharField(max_length=20)

    class Meta:
        constraints = [UniqueConstraint(fields=["device", "name"], name="facts_wanted_once_a_device")]

    def __str__(self) -> str:
        return f"{self.name} of {self.device_id}"


class IntakeRefusal(ScopedModel):
    """Refusals of a device's messages, counted per code and hour, so that a flood is one row."""

    SCOPE_CLIENT: ClassVar[str] = "device__client_id"
    SCOPE_SITE: ClassVar[str] = "device__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="refusals")
    code = models.CharField(max_length=30)
    hour = models.DateTimeField()
    count = models.PositiveIntegerField(default=0)
    last_detail = models.CharField(max_length=500)
    last_at = models.DateTimeField()

    class Meta:
        constraints = [UniqueConstraint(fields=["device", "code", "hour"], name="refusal_once_a_code_and_hour")]

    def __str__(self) -> str:
        return f"{self.code} x{self.count}"


class SetAside(ScopedModel):
    """A part of an acknowledged check-in that could not be applied: kept with its error, so that it stops no other."""

    SCOPE_CLIENT: ClassVar[str] = "device__client_id"
    SCOPE_SITE: ClassVar[str] = "device__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="set_aside", null=True)
    """Null: no device of this id is known."""
    sequence = models.PositiveBigIntegerField()
    part = models.CharField(max_length=40)
    """``facts:software``, ``record:0``, ``check-in`` …"""
    error = models.CharField(max_length=500)
    body = models.BinaryField()
    """The check-in as received."""
    at = models.DateTimeField()

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.part} of check-in {self.sequence}: {self.error}"


class DeviceTag(ScopedModel):
    """A word on a device. Tags are words, not rows: whoever does not see the device does not see the word."""

    SCOPE_CLIENT: ClassVar[str] = "device__client_id"
    SCOPE_SITE: ClassVar[str] = "device__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="tags")
    name = models.CharField(max_length=40)
    """Lower case: see ``rules.tag_name``."""

    class Meta:
        ordering = ["name"]
        constraints = [UniqueConstraint(fields=["device", "name"], name="tag_once_a_device")]
        indexes = [models.Index(fields=["name"])]

    def __str__(self) -> str:
        return self.name


class DeviceGroup(ScopedModel):
    """Devices under one name: chosen one by one, by a rule, or both. Of one client, or across clients."""

    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, null=True, blank=True, related_name="device_groups")
    """Null: across clients, for those who see every client."""
    name = models.CharField(max_length=80)
    description = models.CharField(max_length=300, blank=True)
    devices = models.ManyToManyField(Device, blank=True, related_name="groups")
    """Chosen one by one."""
    rule = models.JSONField(default=dict)
    """By what others belong to it: see ``rules.GroupRule``."""
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            UniqueConstraint(fields=["client", "name"], name="group_once_a_client"),
            UniqueConstraint(fields=["name"], condition=Q(client=None), name="group_once_across_clients"),
        ]

    def __str__(self) -> str:
        return self.name


class Asset(ScopedModel):
    """A machine as a list says it: bought, guaranteed, and perhaps watched by an agent."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="assets")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="assets")
    name = models.CharField(max_length=200)
    role = models.CharField(max_length=40, default="endpoint")
    """As for devices: ``server``, ``endpoint``, ``network``, ``printer``, ``cloud``; or ``other``."""
    manufacturer = models.CharField(max_length=100, blank=True)
    model = models.CharField(max_length=100, blank=True)
    serial = models.CharField(max_length=100, blank=True)
    location = models.CharField(max_length=200, blank=True)
    bought_on = models.DateField(null=True, blank=True)
    warranty_until = models.DateField(null=True, blank=True)
    notes = models.TextField(blank=True)
    device = models.OneToOneField(Device, on_delete=models.SET_NULL, null=True, blank=True, related_name="asset")
    """The device it is, once an agent runs on it; null: nobody watches it."""
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)

    class Meta:
        ordering = ["client__name", "name", "pk"]
        constraints = [
            UniqueConstraint(fields=["client", "serial"], condition=~Q(serial=""), name="asset_serial_once_a_client"),
        ]

    def __str__(self) -> str:
        return self.name


class JournalPosition(models.Model):
    """How far the worker has applied intake's journal. One row; moves in the transaction of what it applies."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    journal = models.CharField(max_length=32, blank=True)
    """Name of the journal file it counts in: a new file counts from 0 again."""
    row = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.row)


__all__ = [
    "Asset",
    "Client",
    "Device",
    "DeviceGroup",
    "DeviceStatus",
    "DeviceTag",
    "EnrolmentToken",
    "FactsChange",
    "FactsDocument",
    "FactsWanted",
    "FirstSeen",
    "IntakeRefusal",
    "JournalPosition",
    "Person",
    "SetAside",
    "Site",
]
