"""Signed roots, runbooks and standing orders as the server passes them on, and the jobs that run."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import CheckConstraint, F, Q, UniqueConstraint

from forestall.server.inventory.models import Device
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, ScopedModel


class RootRecord(models.Model):
    """A version of the root of authority. It belongs to the installation, not to a client."""

    version = models.PositiveIntegerField(unique=True)
    digest = models.CharField(max_length=64, unique=True)
    envelope = models.BinaryField()
    installed_at = models.DateTimeField()
    installed_by = models.CharField(max_length=150)
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["version"]

    def __str__(self) -> str:
        return f"root version {self.version}"


class RevocationRecord(models.Model):
    """A signed revocation of operators' keys. It belongs to the installation, and stays for ever."""

    digest = models.CharField(max_length=64, unique=True)
    envelope = models.BinaryField()
    keys = models.JSONField(default=list)
    """Key ids."""
    reason = models.TextField()
    installed_at = models.DateTimeField()
    installed_by = models.CharField(max_length=150)

    class Meta:
        ordering = ["installed_at", "pk"]

    def __str__(self) -> str:
        return f"revocation of {len(self.keys)} keys"


class ProposalState(models.TextChoices):
    WAITING = "waiting", "waiting for signatures"
    INSTALLED = "installed", "installed"
    SUPERSEDED = "superseded", "superseded"
    WITHDRAWN = "withdrawn", "withdrawn"


class AuthorityProposal(models.Model):
    """A new root or a revocation of keys while holders of root keys sign it. It belongs to the installation."""

    kind = models.CharField(max_length=20)
    """``root`` or ``revocation``."""
    digest = models.CharField(max_length=64, unique=True)
    envelope = models.BinaryField()
    """With the signatures that are there so far."""
    state = models.CharField(max_length=20, choices=ProposalState.choices, default=ProposalState.WAITING)
    missing = models.TextField(blank=True)
    """Why it is not in force yet, in words."""
    proposed_at = models.DateTimeField()
    proposed_by = models.CharField(max_length=150)
    changed_at = models.DateTimeField()
    changed_by = models.CharField(max_length=150)

    class Meta:
        ordering = ["-proposed_at", "-pk"]
        constraints = [CheckConstraint(condition=Q(state__in=ProposalState.values), name="proposal_state_known")]

    def __str__(self) -> str:
        return f"{self.kind} {self.digest[:16]}"


class RunbookRecord(models.Model):
    """A signed runbook. It belongs to the installation, not to a client."""

    slug = models.CharField(max_length=60)
    version = models.PositiveIntegerField()
    digest = models.CharField(max_length=64, unique=True)
    envelope = models.BinaryField()
    title = models.CharField(max_length=200)
    risk = models.CharField(max_length=20)
    published_at = models.DateTimeField()
    published_by = models.CharField(max_length=150)

    class Meta:
        ordering = ["slug", "-version"]
        constraints = [UniqueConstraint(fields=["slug", "version"], name="runbook_version_once")]

    def __str__(self) -> str:
        return f"{self.slug} {self.version}"


class DraftState(models.TextChoices):
    OPEN = "open", "being written"
    SIGNED = "signed", "signed and published"
    DROPPED = "dropped", "dropped"


class RunbookDraft(models.Model):
    """A runbook while people write it. It does nothing: only what the catalogue's key signs can run.

    It belongs to the installation, as the signed runbooks do.
    """

    slug = models.CharField(max_length=60, unique=True)
    base = models.ForeignKey(RunbookRecord, on_delete=models.PROTECT, null=True, blank=True, related_name="drafts")
    """The signed version it was made from; null: a new one."""
    state = models.CharField(max_length=10, choices=DraftState.choices, default=DraftState.OPEN)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)
    changed_at = models.DateTimeField()
    changed_by = models.CharField(max_length=150)

    class Meta:
        ordering = ["slug"]
        constraints = [CheckConstraint(condition=Q(state__in=DraftState.values), name="draft_state_known")]

    def __str__(self) -> str:
        return f"draft of {self.slug}"


class RunbookDraftVersion(models.Model):
    """What a draft said at a time. Never changed: an undo is one more version."""

    draft = models.ForeignKey(RunbookDraft, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    text = models.TextField()
    """JSON as it was written, sound or not."""
    problems = models.JSONField(default=list)
    """``[{"path": "$.steps[0].action", "what": "..."}]``; empty: it can be signed."""
    note = models.CharField(max_length=300, blank=True)
    at = models.DateTimeField()
    by = models.CharField(max_length=150)

    class Meta:
        ordering = ["-number"]
        constraints = [UniqueConstraint(fields=["draft", "number"], name="draft_version_once")]

    def __str__(self) -> str:
        return f"{self.draft.slug}, version {self.number} of its draft"


class OrderState(models.TextChoices):
    IN_FORCE = "in_force", "in force"
    REVOKED = "revoked", "revoked"
    EXPIRED = "expired", "expired"


class OrderRecord(ScopedModel):
    """A standing order: the signed permission to run a runbook unattended."""

    SCOPE_VIEW: ClassVar[Permission | None] = Permission.RUNBOOK_VIEW

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="orders")
    runbook = models.ForeignKey(RunbookRecord, on_delete=models.PROTECT, related_name="orders")
    trigger = models.CharField(max_length=40)
    """Check kind whose failure runs it."""
    devices = models.ManyToManyField(Device, related_name="orders")
    allowed = models.JSONField(default=dict)
    """Parameter → values it may take."""
    runs_per_day = models.PositiveIntegerField()
    devices_per_hour = models.PositiveIntegerField(null=True, blank=True)
    """Most devices on which it runs in any hour; null: as many as it names."""
    not_before = models.DateTimeField()
    expires_at = models.DateTimeField()
    digest = models.CharField(max_length=64, unique=True)
    envelope = models.BinaryField()
    signed_by = models.JSONField(default=list)
    """Key ids of the operators."""
    state = models.CharField(max_length=10, choices=OrderState.choices, default=OrderState.IN_FORCE)
    announced = models.BooleanField(default=False)
    """Whether its documents go with every reply to its devices, and not only with jobs: for an hour after it was
    installed, and from its revocation until it would have ended."""
    installed_at = models.DateTimeField()
    installed_by = models.CharField(max_length=150)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=150, blank=True)
    revocation = models.BinaryField(default=b"")
    """Envelope of the signed revocation."""

    class Meta:
        ordering = ["-installed_at"]
        constraints = [
            CheckConstraint(condition=Q(state__in=OrderState.values), name="order_state_known"),
            CheckConstraint(
                condition=~Q(state="revoked") | Q(revoked_at__isnull=False), name="order_revocation_has_time"
            ),
            CheckConstraint(condition=Q(runs_per_day__gte=1), name="order_runs_at_least_once"),
            CheckConstraint(condition=Q(expires_at__gt=F("not_before")), name="order_ends_after_it_begins"),
        ]
        indexes = [models.Index(fields=["client", "trigger", "state"])]

    def __str__(self) -> str:
        return f"{self.runbook.slug} on {self.trigger}"


class JobState(models.TextChoices):
    AWAITING_SIGNATURE = "awaiting_signature", "awaiting signature"
    QUEUED = "queued", "queued"
    DELIVERED = "delivered", "delivered"
    SUCCEEDED = "succeeded", "succeeded"
    FAILED = "failed", "failed"
    REFUSED = "refused", "refused"
    AWAITING_APPROVAL = "awaiting_approval", "stopped for an approval"
    CONTINUED = "continued", "approved and continued"
    EXPIRED = "expired", "expired"
    CANCELLED = "cancelled", "cancelled"


OPEN_STATES = (JobState.AWAITING_SIGNATURE, JobState.QUEUED, JobState.DELIVERED)
UNDER_WAY = (JobState.QUEUED, JobState.DELIVERED)
"""States in which a command may still reach the device, or run there."""


class Job(ScopedModel):
    """One run of a runbook on one device."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.RUNBOOK_VIEW

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="jobs")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="jobs")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="jobs")
    runbook = models.ForeignKey(RunbookRecord, on_delete=models.PROTECT, related_name="jobs")
    order = models.ForeignKey(OrderRecord, on_delete=models.PROTECT, null=True, blank=True, related_name="jobs")
    """The standing order it runs under; null: operators sign this very run."""
    continues = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="continuations")
    """The job that stopped for the approval that this one is; null: a run of its own."""
    ticket_id = models.BigIntegerField(null=True, blank=True)
    """Number of the ticket it is for."""
    parameters = models.JSONField(default=dict)
    dry_run = models.BooleanField(default=False)
    """It only says what it would do."""
    reason = models.TextField()
    state = models.CharField(max_length=20, choices=JobState.choices)
    counter = models.PositiveBigIntegerField()
    statement = models.BinaryField()
    """The canonical bytes that operators sign, or of the invocation: what runs is exactly this."""
    envelope = models.BinaryField(default=b"")
    """As delivered; empty until it is signed."""
    signed_by = models.JSONField(default=list)
    """Key ids of the operators, of this run or of its standing order."""
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)
    expires_at = models.DateTimeField()
    queued_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    """By the device's clock."""
    finished_at = models.DateTimeField(null=True, blank=True)
    """By the device's clock; of a job without answer: when it was given up."""
    result_code = models.CharField(max_length=60, blank=True)
    result_detail = models.TextField(blank=True)
    result_steps = models.JSONField(default=list)
    """``StepResult`` as plain values."""
    result_envelope = models.BinaryField(default=b"")
    """The result as the device signed it."""
    evidence_reference = models.CharField(max_length=250, blank=True)
    """The evidence record of the result."""

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            CheckConstraint(condition=Q(state__in=JobState.values), name="job_state_known"),
            CheckConstraint(
                condition=~Q(state__in=["queued", "delivered"]) | ~Q(envelope=b""), name="job_under_way_has_envelope"
            ),
            CheckConstraint(
                condition=~Q(state__in=["succeeded", "failed", "refused", "awaiting_approval", "continued"])
                | ~Q(result_envelope=b""),
                name="job_result_is_signed",
            ),
            UniqueConstraint(fields=["device", "counter"], name="job_counter_once_a_device"),
        ]
        indexes = [
            models.Index(fields=["state", "device"]),
            models.Index(fields=["ticket_id"]),
            models.Index(fields=["order", "device", "-created_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.runbook.slug} on {self.device}"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES


class JobEvent(ScopedModel):
    """A step in the life of a job, for its timeline."""

    SCOPE_CLIENT: ClassVar[str] = "job__client_id"
    SCOPE_SITE: ClassVar[str] = "job__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.RUNBOOK_VIEW

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    what = models.CharField(max_length=30)
    """``prepared``, ``changed``, or the state it came to."""
    actor = models.CharField(max_length=200)
    text = models.TextField()

    class Meta:
        ordering = ["at", "pk"]

    def __str__(self) -> str:
        return f"{self.what}: {self.text}"
