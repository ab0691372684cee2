"""Protected systems, the backups that devices tell of, and what was proved of them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint

from forestall.server.checks.result import Risk
from forestall.server.inventory.models import Device
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, ScopedModel
from forestall.trust.proofs import PROOF_LEVELS


class SystemKind(models.TextChoices):
    MACHINE = "machine", "machine"
    FOLDER = "folder", "folder"
    DATABASE = "database", "database"


class Source(models.TextChoices):
    """On whose word a proof rests."""

    SIGNED = "signed", "signed by the device"
    """The device's signed result of a job says so."""
    REPORTED = "reported", "reported by the device"
    """The device's facts say so."""
    ATTESTED = "attested", "attested by a person"


class ProtectedSystem(ScopedModel):
    """Something that must be recoverable: a machine, a folder or a database, and how soon and how well."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="protected_systems")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="protected_systems")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="protected_systems")
    """Where it lives."""
    kind = models.CharField(max_length=10, choices=SystemKind.choices)
    what = models.CharField(max_length=500, blank=True)
    """Of a folder its path, of a database ``postgresql:shop``; empty: the machine as a whole."""
    name = models.CharField(max_length=200)
    importance = models.CharField(max_length=10, choices=[(one.value, one.value) for one in Risk], default=Risk.HIGH)
    """How bad it is when it cannot be brought back: ranks gaps and sets tickets' priority."""
    rpo_minutes = models.PositiveIntegerField()
    """Recovery point objective: how old the newest backup may be."""
    rto_minutes = models.PositiveIntegerField(null=True, blank=True)
    """Recovery time objective: how long bringing it back may take. Null: nobody has said."""
    retention_days = models.PositiveIntegerField(default=0)
    """How far back one must be able to go; 0: no demand."""
    copies = models.PositiveSmallIntegerField(default=3)
    """Copies of the data, the live one included."""
    off_site = models.BooleanField(default=True)
    """Whether one copy must lie on another machine, away from this one."""
    offline = models.BooleanField(default=True)
    """Whether one copy must be out of an attacker's reach: on a medium that is not attached, or immutable."""
    wanted_level = models.CharField(max_length=12, choices=[(one, one) for one in PROOF_LEVELS], default="sample")
    test_every_days = models.PositiveIntegerField(default=90)
    """How long a proof counts."""
    test_by_itself = models.BooleanField(default=True)
    """Whether restore tests are started in maintenance windows when they come due."""
    test_most_mb = models.PositiveIntegerField(default=2000)
    """Most that one test restores."""
    test_rate_kb = models.PositiveIntegerField(default=0)
    """Most kB a second that one test reads; 0: no bound."""
    test_sample = models.PositiveIntegerField(default=20)
    """Files of a sample."""
    backups = models.JSONField(default=list)
    """Backups that a person says hold it, as ``{"device": id, "backup": name}``; empty: matched by their content."""
    note = models.TextField(blank=True)
    tried_at = models.DateTimeField(null=True, blank=True)
    """When a restore test was last begun by the schedule."""
    tried_why = models.TextField(blank=True)
    """What stood in its way; empty: nothing did."""
    lapses_at = models.DateTimeField(null=True, blank=True)
    """When its wanted level is proved no more, as it was last judged; null: it is not proved."""
    ticket_id = models.BigIntegerField(null=True, blank=True)
    """Number of the ticket that is open about it."""
    ticket_said = models.CharField(max_length=200, blank=True)
    """Codes of the gaps that the ticket was told of."""
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)
    changed_at = models.DateTimeField()
    changed_by = models.CharField(max_length=150)
    archived_at = models.DateTimeField(null=True, blank=True)
    """Since when it need not be recoverable any more; null: it must be."""
    archived_by = models.CharField(max_length=150, blank=True)
    archived_why = models.TextField(blank=True)

    class Meta:
        ordering = ["client__name", "name", "pk"]
        constraints = [
            CheckConstraint(condition=Q(kind__in=SystemKind.values), name="protected_system_kind_known"),
            CheckConstraint(condition=Q(kind="machine") | ~Q(what=""), name="protected_system_says_what"),
            CheckConstraint(condition=Q(wanted_level__in=PROOF_LEVELS), name="protected_system_level_known"),
            CheckConstraint(condition=Q(rpo_minutes__gte=1), name="protected_system_has_objective"),
            CheckConstraint(condition=Q(copies__gte=1), name="protected_system_has_a_copy"),
            CheckConstraint(condition=Q(test_every_days__gte=1), name="protected_system_is_tested"),
            CheckConstraint(condition=Q(archived_at=None) | ~Q(archived_why=""), name="protected_system_archived_why"),
            UniqueConstraint(
                fields=["device", "kind", "what"],
                condition=Q(archived_at=None),
                name="protected_system_once_a_device",
            ),
        ]
        indexes = [
            models.Index(fields=["client", "archived_at"]),
            models.Index(fields=["device"]),
            models.Index(fields=["lapses_at"]),
        ]

    def __str__(self) -> str:
        return self.name


class KnownBackup(ScopedModel):
    """A backup as its device last told of it: what of its facts a protected system is judged by."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="known_backups")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="known_backups")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="known_backups")
    """That tells of it: the protected machine itself, or a backup server."""
    name = models.CharField(max_length=200)
    tool = models.CharField(max_length=40)
    location = models.CharField(max_length=500, blank=True)
    told = models.BooleanField(default=False)
    """Named in the device's settings: restore tests can run."""
    state = models.JSONField(default=dict)
    """``recovery.rules.Backup`` as plain values."""
    last_success_at = models.DateTimeField(null=True, blank=True)
    first_seen_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    """When the device last told of it."""
    gone_at = models.DateTimeField(null=True, blank=True)
    """Since when it tells of it no more; null: it does."""

    class Meta:
        ordering = ["device_id", "name"]
        constraints = [UniqueConstraint(fields=["device", "name"], name="known_backup_once_a_device")]
        indexes = [models.Index(fields=["client", "gone_at"])]

    def __str__(self) -> str:
        return f"{self.name} of {self.device_id}"


class Attachment(ScopedModel):
    """A file that was handed in with an attested proof, kept by the hash of its content. Never changed."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="proof_attachments")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="proof_attachments")
    sha256 = models.CharField(max_length=64)
    size = models.PositiveIntegerField()
    """Bytes."""
    content = models.BinaryField()
    at = models.DateTimeField()

    class Meta:
        constraints = [UniqueConstraint(fields=["site", "sha256"], name="attachment_once_a_site")]

    def __str__(self) -> str:
        return self.sha256[:16]


class Proof(ScopedModel):
    """One attempt to show what a backup is worth: that it succeeded, or that it did not."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="proofs")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="proofs")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="proofs")
    """That holds the backup; of an attested proof: where the system lives."""
    system = models.ForeignKey(
        ProtectedSystem, on_delete=models.CASCADE, null=True, blank=True, related_name="attested_proofs"
    )
    """Of an attested proof: what was brought back. Null: the proof counts for whatever the backup covers."""
    backup = models.CharField(max_length=200, blank=True)
    tool = models.CharField(max_length=40, blank=True)
    level = models.CharField(max_length=12, choices=[(one, one) for one in PROOF_LEVELS])
    ok = models.BooleanField()
    at = models.DateTimeField()
    """When it was put to the proof, by the device's clock or the person's word."""
    source = models.CharField(max_length=10, choices=Source.choices)
    snapshot = models.CharField(max_length=200, blank=True)
    snapshot_at = models.DateTimeField(null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True)
    """The restore took so long; null: not measured."""
    files = models.PositiveBigIntegerField(default=0)
    compared = models.PositiveBigIntegerField(default=0)
    bytes = models.PositiveBigIntegerField(default=0)
    detail = models.TextField(blank=True)
    differences = models.JSONField(default=list)
    job_id = models.UUIDField(null=True, blank=True)
    step = models.PositiveSmallIntegerField(default=0)
    """Of a signed proof: which step of its job showed it."""
    by = models.CharField(max_length=150, blank=True)
    """Of an attested proof: who says so."""
    attachment = models.ForeignKey(Attachment, on_delete=models.PROTECT, null=True, blank=True, related_name="proofs")
    attachment_name = models.CharField(max_length=200, blank=True)
    evidence_reference = models.CharField(max_length=250, blank=True)
    recorded_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    """Of an attested proof that was taken back: it counts no more."""
    withdrawn_by = models.CharField(max_length=150, blank=True)
    withdrawn_why = models.TextField(blank=True)

    class Meta:
        ordering = ["-at", "-pk"]
        constraints = [
            CheckConstraint(condition=Q(level__in=PROOF_LEVELS), name="proof_level_known"),
            CheckConstraint(condition=Q(source__in=Source.values), name="proof_source_known"),
            CheckConstraint(
                condition=~Q(source="attested") | (Q(system__isnull=False) & ~Q(by="")),
                name="proof_attested_by_someone",
            ),
            CheckConstraint(condition=~Q(source="signed") | Q(job_id__isnull=False), name="proof_signed_names_its_job"),
            UniqueConstraint(
                fields=["job_id", "step"], condition=Q(job_id__isnull=False), name="proof_once_a_step_of_a_job"
            ),
            UniqueConstraint(
                fields=["device", "backup", "level", "at"], condition=Q(source="reported"), name="proof_reported_once"
            ),
        ]
        indexes = [models.Index(fields=["device", "backup", "-at"]), models.Index(fields=["client", "-at"])]

    def __str__(self) -> str:
        return f"{self.level} of {self.backup or self.system_id}"
