"""Checks, how they changed, the policies they are judged by, and when devices are due."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint

from forestall.server.checks.result import Risk, Status
from forestall.server.inventory.models import Device
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, ScopedModel

STATUS_CHOICES = [(status.value, status.value) for status in Status]
RISK_CHOICES = [(risk.value, risk.value) for risk in Risk]
GONE = "gone"
"""What a change row says when the target of a check is no longer on the device."""


class Check(ScopedModel):
    """The newest result of a kind about one target of a device."""

    SCOPE_CLIENT: ClassVar[str] = "device__client_id"
    SCOPE_SITE: ClassVar[str] = "device__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="checks")
    kind = models.CharField(max_length=40)
    target = models.CharField(max_length=500, blank=True)
    status = models.CharField(max_length=10, choices=STATUS_CHOICES)
    answered = models.CharField(max_length=10, blank=True)
    """The last of pass, warn and fail: what hysteresis goes by. An hour without word must not make it forget."""
    value = models.FloatField(null=True, blank=True)
    unit = models.CharField(max_length=20, blank=True)
    reason = models.TextField()
    evidence = models.JSONField(default=list)
    """What it rests on: commands, files, series names."""
    risk = models.CharField(max_length=10, choices=RISK_CHOICES)
    remedy = models.TextField(blank=True)
    """What to do in this case; empty: the kind's own remedy."""
    forecast_at = models.DateTimeField(null=True, blank=True)
    """When it will fail if nothing changes."""
    since = models.DateTimeField()
    """Since when the status is this."""
    problem_since = models.DateTimeField(null=True, blank=True)
    """Since when it has not been passing (warn or fail); null while it passes. Unknown and stale leave it alone."""
    judged_at = models.DateTimeField()
    due_at = models.DateTimeField()
    """When it is judged again at the latest."""
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.CharField(max_length=150, blank=True)
    accepted_reason = models.TextField(blank=True)
    gone_at = models.DateTimeField(null=True, blank=True)
    """When its target vanished from the device (volume unmounted, service removed). The row stays for its history,
    with the status ``pass`` so that what was raised about it clears; pages and queries leave it out."""

    class Meta:
        ordering = ["device", "kind", "target"]
        constraints = [
            UniqueConstraint(fields=["device", "kind", "target"], name="check_once_a_target"),
            CheckConstraint(condition=Q(status__in=[status.value for status in Status]), name="check_status_known"),
            CheckConstraint(condition=Q(risk__in=[risk.value for risk in Risk]), name="check_risk_known"),
            CheckConstraint(condition=Q(gone_at=None) | Q(status=Status.PASS.value), name="check_gone_is_closed"),
            CheckConstraint(condition=Q(accepted_at=None) | ~Q(accepted_reason=""), name="check_acceptance_has_reason"),
        ]
        indexes = [models.Index(fields=["status", "kind"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.target}".strip()


class CheckChange(ScopedModel):
    """A check that became another status."""

    SCOPE_CLIENT: ClassVar[str] = "check_row__device__client_id"
    SCOPE_SITE: ClassVar[str] = "check_row__device__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    check_row = models.ForeignKey(Check, on_delete=models.CASCADE, related_name="changes", db_column="check_id")
    """``check`` is a name that Django takes for itself."""
    old = models.CharField(max_length=10, blank=True)
    """Empty: it was judged for the first time."""
    new = models.CharField(max_length=10)
    """A status, or ``gone``."""
    value = models.FloatField(null=True, blank=True)
    reason = models.TextField()
    at = models.DateTimeField()

    class Meta:
        ordering = ["-at", "-pk"]
        constraints = [
            CheckConstraint(
                condition=Q(new__in=[*(status.value for status in Status), GONE]), name="check_change_status_known"
            ),
            CheckConstraint(condition=~Q(old=models.F("new")), name="check_change_changes"),
        ]
        indexes = [models.Index(fields=["check_row", "-at"]), models.Index(fields=["-at"])]

    def __str__(self) -> str:
        return f"{self.old or 'new'} -> {self.new}"


class PolicyOverride(ScopedModel):
    """Settings of a kind that differ from its defaults: for a client, a site of it, or one device."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    kind = models.CharField(max_length=40)
    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="policies")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, null=True, blank=True, related_name="policies")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, null=True, blank=True, related_name="policies")
    values = models.JSONField()
    """Name of a setting → its value; what is not named comes from the wider scope."""
    reason = models.TextField(blank=True)
    set_by = models.CharField(max_length=150)
    set_at = models.DateTimeField()

    class Meta:
        ordering = ["kind", "pk"]
        constraints = [
            UniqueConstraint(
                fields=["kind", "client", "site", "device"], name="policy_once_a_scope", nulls_distinct=False
            ),
            CheckConstraint(condition=Q(device=None) | ~Q(site=None), name="policy_device_names_its_site"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.device or self.site or self.client}"


class PolicyChange(ScopedModel):
    """A policy that was set, changed or taken back: who, why, and what was before."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    kind = models.CharField(max_length=40)
    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="policy_changes")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, null=True, blank=True, related_name="policy_changes")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, null=True, blank=True, related_name="policy_changes")
    old = models.JSONField(default=dict)
    """Settings before; empty: none were set here."""
    new = models.JSONField(default=dict)
    """Settings after; empty: taken back."""
    reason = models.TextField(blank=True)
    by = models.CharField(max_length=150)
    at = models.DateTimeField()

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["kind", "client", "-at"])]

    @property
    def where(self) -> str:
        """The narrowest place it holds for: ``device web-01``."""
        if self.device is not None:
            return f"device {self.device.name}"
        return f"site {self.site.name}" if self.site is not None else f"client {self.client.name}"

    def __str__(self) -> str:
        return f"{self.kind} of {self.where}"


class DeviceSchedule(models.Model):
    """When a device is to be judged again. Claimed by moving ``due_at``, so that several workers may judge."""

    device = models.OneToOneField(Device, on_delete=models.CASCADE, primary_key=True, related_name="check_schedule")
    due_at = models.DateTimeField(db_index=True)
    """Also the lease: while a worker judges, it lies in the future; a killed worker's devices come due again."""
    kinds = models.JSONField(default=dict)
    """Slug of a kind → Unix time at which it is due."""

    def __str__(self) -> str:
        return f"{self.device_id} at {self.due_at:%H:%M:%S}"
