"""Updates on devices, what binds and what allows them, and the rollouts that carry them out."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import CheckConstraint, F, Q, UniqueConstraint

from forestall.server.inventory.models import Device
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, ScopedModel


class DeploymentState(models.TextChoices):
    """The only truth about one update on one device; ``patching.rules.MOVES`` says what may follow what."""

    PLANNED = "planned", "planned"
    BLOCKED = "blocked", "blocked"
    STAGED = "staged", "staged"
    INSTALLING = "installing", "installing"
    PENDING_REBOOT = "pending_reboot", "installed, pending reboot"
    INSTALLED = "installed", "installed, not verified yet"
    """Installed without the need of a reboot, until a fresh scan and the services say so too."""
    VERIFIED = "verified", "verified"
    FAILED = "failed", "failed"
    SUPERSEDED = "superseded", "superseded"
    SKIPPED = "skipped", "skipped"
    REGRESSED = "regressed", "regressed"
    """It was verified, and a later scan finds the old version again."""
    WITHDRAWN = "withdrawn", "withdrawn"
    """No longer offered, and not installed: its source took it back, or the package was removed."""


SETTLED = ("verified", "superseded", "withdrawn", "regressed")
"""States after which nothing is to be done with this row. What regressed goes on as a new deployment, planned again;
its own ``settled_at`` stays the time at which it was verified."""


class Deployment(ScopedModel):
    """One update on one device, from the moment it is first seen pending until it is verified or needed no more."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="deployments")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="deployments")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="deployments")
    manager = models.CharField(max_length=20)
    """The provider: ``apt``, ``dnf``, ``fwupd``, ``windows-update`` …"""
    name = models.CharField(max_length=200)
    architecture = models.CharField(max_length=20, blank=True)
    installed = models.CharField(max_length=200, blank=True)
    """Version that was there when it was first seen pending."""
    candidate = models.CharField(max_length=200)
    kind = models.CharField(max_length=12, default="system")
    """``system``, ``application``, ``firmware``, ``language``."""
    security = models.BooleanField(default=False)
    severity = models.CharField(max_length=10, blank=True)
    """``critical``, ``high``, ``medium``, ``low``; empty: unrated. The vendor's, or its vulnerabilities' worst."""
    cves = models.JSONField(default=list)
    advisories = models.JSONField(default=list)
    origin = models.CharField(max_length=200, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)
    """When the vendor released it; null: not known, then its obligations count from ``first_seen_at``."""
    first_seen_at = models.DateTimeField()
    state = models.CharField(max_length=16, choices=DeploymentState.choices, default=DeploymentState.PLANNED)
    state_since = models.DateTimeField()
    why = models.TextField(blank=True)
    """Of blocked, failed, skipped, regressed …: the cause, in words."""
    planned_for = models.DateTimeField(null=True, blank=True)
    """Start of the window it is planned for; null: none."""
    job_id = models.UUIDField(null=True, blank=True)
    """The run that stages or installs it, or did so last."""
    rollout = models.ForeignKey("Rollout", on_delete=models.SET_NULL, null=True, blank=True, related_name="deployments")
    attempts = models.PositiveIntegerField(default=0)
    """Runs that tried to install it."""
    next_try_at = models.DateTimeField(null=True, blank=True)
    """Not before then is it tried again; null: as soon as it may."""
    ticket_id = models.BigIntegerField(null=True, blank=True)
    """Number of the ticket that was opened about it."""
    boot_id_before = models.CharField(max_length=64, blank=True)
    """The device's boot when it was installed."""
    needs_reboot = models.BooleanField(null=True, blank=True)
    """Null: not known."""
    services_before = models.JSONField(default=list)
    """Names of the services that ran before it was installed."""
    outdated_before = models.JSONField(default=list)
    """What ran old code before it was installed: ``ssh: /usr/lib/libssl.so.3``."""
    installed_at = models.DateTimeField(null=True, blank=True)
    installed_by = models.CharField(max_length=200, blank=True)
    """Who or which policy; ``outside Forestall`` when a scan found it installed without a run of ours."""
    verified_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    """Since when nothing is to be done; null while it is open."""
    skip_until = models.DateTimeField(null=True, blank=True)
    """Null for a skip without end."""
    skip_by = models.CharField(max_length=150, blank=True)
    log_excerpt = models.TextField(blank=True)
    """The end of what the run wrote."""
    evidence_reference = models.CharField(max_length=250, blank=True)
    """The evidence record of the last change of state."""
    due_at = models.DateTimeField(null=True, blank=True)
    """Earliest deadline of the obligations in force; kept by ``obligations_refresh``. Null: none binds."""
    bound_by = models.CharField(max_length=60, blank=True)
    """Slug of the obligation behind ``due_at``."""
    misses = models.BooleanField(default=False)
    """Whether the next approved window already misses ``due_at``."""

    class Meta:
        ordering = ["device_id", "name", "pk"]
        constraints = [
            CheckConstraint(condition=Q(state__in=DeploymentState.values), name="deployment_state_known"),
            CheckConstraint(
                condition=Q(state__in=SETTLED, settled_at__isnull=False) | (~Q(state__in=SETTLED) & Q(settled_at=None)),
                name="deployment_settled_has_time",
            ),
            CheckConstraint(
                condition=~Q(state__in=["blocked", "failed", "skipped", "regressed"]) | ~Q(why=""),
                name="deployment_says_why",
            ),
            CheckConstraint(
                condition=~Q(state="verified") | Q(verified_at__isnull=False), name="deployment_verified_has_time"
            ),
            CheckConstraint(condition=~Q(state="skipped") | ~Q(skip_by=""), name="deployment_skip_has_author"),
            UniqueConstraint(
                fields=["device", "manager", "name", "architecture", "candidate"],
                condition=Q(settled_at=None),
                name="deployment_open_once",
            ),
        ]
        indexes = [
            models.Index(fields=["client", "state"]),
            models.Index(fields=["device", "state"]),
            models.Index(fields=["name", "candidate"]),
            models.Index(fields=["settled_at", "due_at"]),
            models.Index(fields=["job_id"]),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.candidate} on {self.device_id}"


class DeploymentChange(ScopedModel):
    """A change of state of a deployment: its history, and its compliance at any date."""

    SCOPE_CLIENT: ClassVar[str] = "deployment__client_id"
    SCOPE_SITE: ClassVar[str] = "deployment__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="changes")
    at = models.DateTimeField()
    was = models.CharField(max_length=16, blank=True)
    """Empty: the first."""
    state = models.CharField(max_length=16, choices=DeploymentState.choices)
    why = models.TextField(blank=True)
    actor = models.CharField(max_length=200)

    class Meta:
        ordering = ["at", "pk"]
        indexes = [models.Index(fields=["deployment", "at"])]

    def __str__(self) -> str:
        return f"{self.was} → {self.state}"


class DeviceScan(ScopedModel):
    """Until which of a device's documents its deployments were followed."""

    SCOPE_CLIENT: ClassVar[str] = "device__client_id"
    SCOPE_SITE: ClassVar[str] = "device__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    device = models.OneToOneField(Device, on_delete=models.CASCADE, related_name="patch_scan")
    followed_at = models.DateTimeField()
    open_updates = models.PositiveIntegerField(default=0)
    """Deployments that were open then."""

    def __str__(self) -> str:
        return f"scan of {self.device_id}"


class PatchPolicy(ScopedModel):
    """How updates are installed at a client, or at one site of it. Without one: nothing is installed by itself."""

    SCOPE_SITE: ClassVar[str] = ""
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="patch_policies")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, null=True, blank=True, related_name="patch_policies")
    """Null: every site that has none of its own."""
    choose = models.CharField(max_length=10, default="security")
    """``security``, ``all`` or ``nothing``: what is installed in a window without being asked for."""
    approval = models.CharField(max_length=10, default="automatic")
    """``automatic`` or ``manual``: whether each update has to be approved first."""
    defer_days = models.PositiveSmallIntegerField(default=0)
    """How long after its release an update waits; an obligation's deadline overrides it."""
    terms = models.JSONField(default=dict)
    """Pre-checks and reboots: see ``patching.policies.Terms``."""
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)
    changed_at = models.DateTimeField()
    changed_by = models.CharField(max_length=150)

    class Meta:
        ordering = ["client_id", "site_id", "pk"]
        constraints = [
            CheckConstraint(condition=Q(choose__in=["security", "all", "nothing"]), name="patch_policy_choose_known"),
            CheckConstraint(condition=Q(approval__in=["automatic", "manual"]), name="patch_policy_approval_known"),
            UniqueConstraint(fields=["client", "site"], name="patch_policy_once_a_site"),
            UniqueConstraint(fields=["client"], condition=Q(site=None), name="patch_policy_once_a_client"),
        ]

    def __str__(self) -> str:
        return f"patch policy of {self.client_id}"


class UpdateDecision(ScopedModel):
    """What somebody decided about an update at a client: approve, defer or exclude it."""

    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="update_decisions")
    device_id = models.UUIDField(null=True, blank=True)
    """The one device it is about; null: every device of the client."""
    manager = models.CharField(max_length=20, blank=True)
    """Empty: of every provider."""
    name = models.CharField(max_length=200)
    """Package; ``*`` at its end stands for anything."""
    candidate = models.CharField(max_length=200, blank=True)
    """Empty: every version."""
    decision = models.CharField(max_length=10)
    until = models.DateTimeField(null=True, blank=True)
    reason = models.TextField(blank=True)
    at = models.DateTimeField()
    by = models.CharField(max_length=150)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-at", "-pk"]
        constraints = [
            CheckConstraint(condition=Q(decision__in=["approve", "defer", "exclude"]), name="update_decision_known"),
            CheckConstraint(condition=~Q(decision="defer") | Q(until__isnull=False), name="update_deferral_ends"),
            CheckConstraint(
                condition=~Q(decision__in=["defer", "exclude"]) | ~Q(reason=""), name="update_decision_says_why"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.decision} {self.name} {self.candidate}".strip()


class UpdateHold(models.Model):
    """An update that no client installs for now, because it went wrong somewhere. It does not say where."""

    manager = models.CharField(max_length=20)
    name = models.CharField(max_length=200)
    candidate = models.CharField(max_length=200)
    why = models.CharField(max_length=300)
    """For every client to read: never names one."""
    since = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=150, blank=True)
    ended_why = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-since", "-pk"]
        constraints = [
            UniqueConstraint(
                fields=["manager", "name", "candidate"], condition=Q(ended_at=None), name="update_hold_open_once"
            ),
            CheckConstraint(condition=Q(ended_at=None) | ~Q(ended_by=""), name="update_hold_end_has_author"),
        ]

    def __str__(self) -> str:
        return f"hold of {self.name} {self.candidate}"


class HoldOverride(ScopedModel):
    """A client installs a held update all the same."""

    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="hold_overrides")
    hold = models.ForeignKey(UpdateHold, on_delete=models.CASCADE, related_name="overrides")
    reason = models.TextField()
    at = models.DateTimeField()
    by = models.CharField(max_length=150)

    class Meta:
        ordering = ["-at", "-pk"]
        constraints = [
            UniqueConstraint(fields=["client", "hold"], name="hold_override_once"),
            CheckConstraint(condition=~Q(reason=""), name="hold_override_says_why"),
        ]

    def __str__(self) -> str:
        return f"{self.client_id} installs {self.hold} all the same"


class ObligationRule(ScopedModel):
    """A client's own terms of an obligation: another deadline, switched off, or one of its own.

    The built-in ones (``patching.obligations.BUILT_IN``) hold without a row. A row is never changed: it ends, and
    another begins, so that compliance at a past date counts by what was in force then.
    """

    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="obligation_rules")
    slug = models.CharField(max_length=60)
    """Of the built-in it replaces, or of the client's own."""
    terms = models.JSONField(default=dict)
    """``patching.obligations.Terms`` as plain values; ``{"off": true}`` switches a built-in one off."""
    reason = models.TextField(blank=True)
    in_force_from = models.DateTimeField()
    in_force_until = models.DateTimeField(null=True, blank=True)
    created_by = models.CharField(max_length=150)
    ended_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["slug", "in_force_from"]
        constraints = [
            UniqueConstraint(
                fields=["client", "slug"], condition=Q(in_force_until=None), name="obligation_rule_open_once"
            ),
            CheckConstraint(
                condition=Q(in_force_until=None) | Q(in_force_until__gte=F("in_force_from")),
                name="obligation_rule_ends_after_it_begins",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.slug} at {self.client_id}"


class ObligationException(ScopedModel):
    """Leave to miss an obligation for a while: a reason, what is done instead, and an end."""

    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="obligation_exceptions")
    device_id = models.UUIDField(null=True, blank=True)
    """Null: every device of the client."""
    manager = models.CharField(max_length=20, blank=True)
    name = models.CharField(max_length=200, blank=True)
    """Package; ``*`` at its end stands for anything; empty: every one."""
    candidate = models.CharField(max_length=200, blank=True)
    obligation = models.CharField(max_length=60, blank=True)
    """Slug; empty: whichever binds."""
    reason = models.TextField()
    compensating_control = models.TextField(blank=True)
    """What is done instead, until then."""
    granted_at = models.DateTimeField()
    granted_by = models.CharField(max_length=150)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-granted_at", "-pk"]
        constraints = [
            CheckConstraint(condition=~Q(reason=""), name="exception_says_why"),
            CheckConstraint(condition=Q(expires_at__gt=F("granted_at")), name="exception_ends_after_it_begins"),
        ]

    def __str__(self) -> str:
        return f"exception for {self.name or 'everything'} until {self.expires_at:%Y-%m-%d}"


class RolloutState(models.TextChoices):
    PLANNED = "planned", "planned"
    RUNNING = "running", "running"
    AWAITING_PROMOTION = "awaiting_promotion", "awaiting promotion"
    PAUSED = "paused", "paused"
    HALTED = "halted", "halted"
    FINISHED = "finished", "finished"
    CANCELLED = "cancelled", "cancelled"


class Rollout(ScopedModel):
    """A staged installation of updates: ring by ring, at one client or across clients."""

    SCOPE_NULL_HIDDEN: ClassVar[bool] = True
    """One across clients is only for those who see every client, in the database too."""
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    client = models.ForeignKey(Client, on_delete=models.CASCADE, null=True, blank=True, related_name="rollouts")
    """Null: across clients, for those who see every client."""
    name = models.CharField(max_length=200)
    what = models.JSONField(default=dict)
    """Which updates: see ``patching.rollouts.What``."""
    terms = models.JSONField(default=dict)
    """Rings, soak time, what counts as failure, promotion by itself or by a person: ``patching.rings.Terms``."""
    state = models.CharField(max_length=20, choices=RolloutState.choices, default=RolloutState.PLANNED)
    why = models.TextField(blank=True)
    ring = models.PositiveSmallIntegerField(default=0)
    """Number of the ring under way, from 1; 0: none yet."""
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)
    changed_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            CheckConstraint(condition=Q(state__in=RolloutState.values), name="rollout_state_known"),
            CheckConstraint(condition=~Q(state__in=["halted", "paused"]) | ~Q(why=""), name="rollout_says_why"),
        ]

    def __str__(self) -> str:
        return self.name


class RolloutRing(ScopedModel):
    """One ring of a rollout: how many it may touch at most, and how it went."""

    SCOPE_CLIENT: ClassVar[str] = "rollout__client_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="rings")
    number = models.PositiveSmallIntegerField()
    """From 1."""
    cap = models.PositiveIntegerField()
    """Most devices touched when this ring is done, the earlier rings' included."""
    started_at = models.DateTimeField(null=True, blank=True)
    judged_at = models.DateTimeField(null=True, blank=True)
    verdict = models.CharField(max_length=10, blank=True)
    """``healthy``, ``failed``; empty: under way."""
    why = models.TextField(blank=True)
    results_root = models.CharField(max_length=64, blank=True)
    """Merkle root (RFC 6962, hex) of the ring's device-signed results: what the promotion to the next ring rests on."""
    promoted_by = models.CharField(max_length=200, blank=True)
    promoted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["number"]
        constraints = [
            UniqueConstraint(fields=["rollout", "number"], name="ring_once_a_rollout"),
            CheckConstraint(condition=Q(verdict__in=["", "healthy", "failed"]), name="ring_verdict_known"),
        ]

    def __str__(self) -> str:
        return f"ring {self.number}"


class RolloutDevice(ScopedModel):
    """A device in a rollout: in which ring, and how it is."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="rollout_devices")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="rollout_devices")
    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="members")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="rollouts")
    ring = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=12, default="waiting")
    """``waiting``, ``running``, ``healthy``, ``failed``, ``silent``, ``left out``."""
    why = models.TextField(blank=True)
    job_id = models.UUIDField(null=True, blank=True)
    touched_at = models.DateTimeField(null=True, blank=True)
    judged_at = models.DateTimeField(null=True, blank=True)
    jobs = models.JSONField(default=list)
    """Ids of the runs that touched it, oldest first."""
    in_root = models.JSONField(default=list)
    """Ids of its runs whose signed results are under the ring's ``results_root``."""
    settled_at = models.DateTimeField(null=True, blank=True)
    """When its runs were answered and its updates were in; from here it soaks."""
    baseline = models.JSONField(default=dict)
    """How it was when it was touched: ``checks`` (id → status), ``services`` that ran, ``boot_id``."""

    class Meta:
        ordering = ["ring", "pk"]
        constraints = [
            UniqueConstraint(fields=["rollout", "device"], name="rollout_device_once"),
            CheckConstraint(
                condition=Q(state__in=["waiting", "running", "healthy", "failed", "silent", "left out"]),
                name="rollout_device_state_known",
            ),
        ]
        indexes = [models.Index(fields=["rollout", "ring", "state"])]

    def __str__(self) -> str:
        return f"{self.device_id} in ring {self.ring}"
