"""Baselines, how devices meet them, what deviates with leave, what drifted, and what other tools found."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint

from forestall.server.inventory.models import Device
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, ScopedModel


class BaselineAssignment(ScopedModel):
    """Which level of the baseline holds: at a client, for its devices of one role, or for one device."""

    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="baselines")
    role = models.CharField(max_length=40, blank=True)
    """Empty: every role."""
    device = models.ForeignKey(Device, on_delete=models.CASCADE, null=True, blank=True, related_name="baselines")
    level = models.PositiveSmallIntegerField()
    """0: none; 1; 2."""
    reason = models.TextField()
    assigned_at = models.DateTimeField()
    assigned_by = models.CharField(max_length=150)
    ended_at = models.DateTimeField(null=True, blank=True)
    """Null: in force."""
    ended_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-assigned_at", "-pk"]
        constraints = [
            CheckConstraint(condition=Q(level__lte=2), name="baseline_level_known"),
            CheckConstraint(condition=Q(device=None) | Q(role=""), name="baseline_of_role_or_device"),
            CheckConstraint(condition=Q(ended_at=None) | ~Q(ended_by=""), name="baseline_end_has_author"),
            UniqueConstraint(
                fields=["client", "role"], condition=Q(ended_at=None, device=None), name="baseline_of_role_once"
            ),
            UniqueConstraint(fields=["device"], condition=Q(ended_at=None), name="baseline_of_device_once"),
        ]

    def __str__(self) -> str:
        return f"baseline {self.level} of {self.client_id} {self.role} {self.device_id or ''}"


class Deviation(ScopedModel):
    """Leave not to meet a control, with reason and end."""

    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="deviations")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, null=True, blank=True, related_name="deviations")
    """Null: every device of the client."""
    control = models.CharField(max_length=60)
    reason = models.TextField()
    accepted_at = models.DateTimeField()
    accepted_by = models.CharField(max_length=150)
    ends_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-accepted_at", "-pk"]
        constraints = [
            CheckConstraint(condition=~Q(reason=""), name="deviation_says_why"),
            CheckConstraint(condition=Q(ended_at=None) | ~Q(ended_by=""), name="deviation_end_has_author"),
        ]
        indexes = [models.Index(fields=["client", "ends_at"])]

    def __str__(self) -> str:
        return f"deviation from {self.control}"


class DeviceConfiguration(ScopedModel):
    """How one device stands: the controls it was judged by, its state, and the state that was accepted."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="configurations")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="configurations")
    device = models.OneToOneField(Device, on_delete=models.CASCADE, related_name="configuration")
    judged_at = models.DateTimeField()
    level = models.PositiveSmallIntegerField(default=0)
    results = models.JSONField(default=list)
    """As ``[control, outcome, why]``, in the order of the baseline."""
    passed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    """Without those that deviate with leave."""
    deviating = models.PositiveIntegerField(default=0)
    unknown = models.PositiveIntegerField(default=0)
    not_applicable = models.PositiveIntegerField(default=0)
    present = models.JSONField(default=dict)
    """Area → name → value, as last seen."""
    accepted = models.JSONField(default=dict)
    """The same, as last accepted."""
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.CharField(max_length=150, blank=True)
    """Empty: nobody yet; it is what was found at first."""
    accepted_reason = models.TextField(blank=True)
    drifted = models.PositiveIntegerField(default=0)
    """Differences that are open."""
    ticket_id = models.BigIntegerField(null=True, blank=True)

    @property
    def percent(self) -> int | None:
        """Share of what applies that passes or deviates with leave; unknown counts against it. None: nothing does."""
        of = self.passed + self.failed + self.deviating + self.unknown
        return None if not of else (self.passed + self.deviating) * 100 // of

    class Meta:
        ordering = ["-failed", "device_id"]
        indexes = [models.Index(fields=["client", "site"])]

    def __str__(self) -> str:
        return f"configuration of {self.device_id}"


class Drift(ScopedModel):
    """One difference from the accepted state, from when it was first seen until it was accepted or is gone."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="drifts")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="drifts")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="drifts")
    area = models.CharField(max_length=20)
    name = models.CharField(max_length=400, blank=True)
    before = models.TextField(blank=True)
    """Empty: it was not there."""
    after = models.TextField(blank=True)
    seen_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)
    """Null: open."""
    settled = models.CharField(max_length=10, blank=True)
    """``accepted``, or ``gone``: it is again as it was accepted, or something else by now."""
    settled_by = models.CharField(max_length=150, blank=True)
    reason = models.TextField(blank=True)

    class Meta:
        ordering = ["-seen_at", "-pk"]
        constraints = [
            CheckConstraint(
                condition=Q(settled_at=None, settled="")
                | Q(settled_at__isnull=False, settled__in=["accepted", "gone"]),
                name="drift_settled_has_how",
            ),
            CheckConstraint(
                condition=~Q(settled="accepted") | (~Q(settled_by="") & ~Q(reason="")), name="drift_accepted_says_why"
            ),
            UniqueConstraint(fields=["device", "area", "name"], condition=Q(settled_at=None), name="drift_open_once"),
        ]
        indexes = [models.Index(fields=["device", "settled_at"]), models.Index(fields=["client", "settled_at"])]

    def __str__(self) -> str:
        return f"{self.area} {self.name}"


class ImportedAssessment(ScopedModel):
    """A run of another auditing tool on a device: found by its agent, or brought by a person."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="assessments")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="assessments")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="assessments")
    tool = models.CharField(max_length=20)
    version = models.CharField(max_length=40, blank=True)
    profile = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField()
    """When the tool ran; where it does not say, when its result came here."""
    score = models.FloatField(null=True, blank=True)
    findings = models.JSONField(default=list)
    """As ``{"id", "title", "result", "severity", "detail"}``."""
    passed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    """Failed, warned or suggested."""
    came_by = models.CharField(max_length=10, default="device")
    """``device``: its agent found it; ``person``: somebody brought it."""
    imported_at = models.DateTimeField()
    imported_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-at", "-pk"]
        constraints = [
            CheckConstraint(condition=Q(came_by="device") | ~Q(imported_by=""), name="assessment_import_has_author"),
            UniqueConstraint(fields=["device", "tool", "profile", "at"], name="assessment_once"),
        ]
        indexes = [models.Index(fields=["device", "-at"])]

    def __str__(self) -> str:
        return f"{self.tool} of {self.at:%Y-%m-%d}"
