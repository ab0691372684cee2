"""Changes of access on devices, and the reviews in which people sign off every account."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint

from forestall.server.inventory.models import Device
from forestall.server.people.models import Client, Person, Site
from forestall.server.people.scope import Permission, ScopedModel


class AccessSeen(ScopedModel):
    """Who had access to a device when it was last looked at: what the next document is compared with."""

    SCOPE_CLIENT: ClassVar[str] = "device__client_id"
    SCOPE_SITE: ClassVar[str] = "device__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    device = models.OneToOneField(Device, on_delete=models.CASCADE, related_name="access_seen")
    shape = models.JSONField()
    """``rules.Shape``."""
    first_at = models.DateTimeField()
    """Since when its accounts are known."""
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"access of {self.device_id}"


class ChangeState(models.TextChoices):
    OPEN = "open", "nobody said yet that it is right"
    ACCEPTED = "accepted", "accepted"
    UNDONE = "undone", "undone again"
    NOTED = "noted", "on record"
    """Nothing a person has to answer: a system's own account, for one."""


class AccessChange(ScopedModel):
    """One difference of accounts, rights, keys or shares of a device."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="access_changes")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="access_changes")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="access_changes")
    at = models.DateTimeField()
    about = models.CharField(max_length=300)
    """``account:eve``, ``sudo:eve``, ``share:smb/public``."""
    field = models.CharField(max_length=200)
    was = models.CharField(max_length=1000, blank=True)
    now = models.CharField(max_length=1000, blank=True)
    words = models.CharField(max_length=1000)
    risk = models.CharField(max_length=10)
    state = models.CharField(max_length=10, choices=ChangeState.choices)
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.CharField(max_length=200, blank=True)
    """Who accepted it, or the job that did it."""
    reason = models.TextField(blank=True)
    ticket_id = models.BigIntegerField(null=True, blank=True)
    evidence_reference = models.CharField(max_length=250, blank=True)

    class Meta:
        ordering = ["-at", "pk"]
        constraints = [
            CheckConstraint(condition=Q(state__in=ChangeState.values), name="access_change_state_known"),
            CheckConstraint(
                condition=~Q(state="accepted") | (~Q(settled_by="") & Q(settled_at__isnull=False)),
                name="access_change_acceptance_has_author",
            ),
        ]
        indexes = [
            models.Index(fields=["device", "state"]),
            models.Index(fields=["state", "-at"]),
            models.Index(fields=["client", "-at"]),
        ]

    def __str__(self) -> str:
        return self.words


class ReviewPlan(ScopedModel):
    """How often access is reviewed at a client, or at one site of it. Without one: quarterly, the client as a whole."""

    SCOPE_SITE: ClassVar[str] = ""
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="review_plans")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, null=True, blank=True, related_name="review_plans")
    """Null: every site that has none of its own."""
    every_months = models.PositiveSmallIntegerField(default=3)
    answer_days = models.PositiveSmallIntegerField(default=14)
    """A review is to be signed off so many days after it began."""
    assigned_to = models.ForeignKey(
        Person, on_delete=models.SET_NULL, null=True, blank=True, related_name="review_plans"
    )
    changed_at = models.DateTimeField()
    changed_by = models.CharField(max_length=150)

    class Meta:
        constraints = [
            UniqueConstraint(fields=["client"], condition=Q(site=None), name="review_plan_once_a_client"),
            UniqueConstraint(fields=["client", "site"], name="review_plan_once_a_site"),
            CheckConstraint(condition=Q(every_months__gte=1, every_months__lte=24), name="review_plan_months"),
            CheckConstraint(condition=Q(answer_days__gte=1, answer_days__lte=90), name="review_plan_days"),
        ]

    def __str__(self) -> str:
        return f"every {self.every_months} months"


class ReviewState(models.TextChoices):
    OPEN = "open", "open"
    SIGNED = "signed", "signed off"
    ENDED = "ended", "ended without sign-off"


class AccessReview(ScopedModel):
    """One review: every account of every device of a client or site, decided by people and signed off."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="access_reviews")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, null=True, blank=True, related_name="access_reviews")
    """Null: the client as a whole, without sites that have a plan of their own."""
    state = models.CharField(max_length=10, choices=ReviewState.choices, default=ReviewState.OPEN)
    begun_at = models.DateTimeField()
    begun_by = models.CharField(max_length=150)
    """``quarterly plan`` when it began by itself."""
    due_at = models.DateTimeField()
    assigned_to = models.ForeignKey(
        Person, on_delete=models.SET_NULL, null=True, blank=True, related_name="access_reviews"
    )
    reminded_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=150, blank=True)
    note = models.TextField(blank=True)
    """Of sign-off, or why it ended without."""
    not_known = models.JSONField(default=list)
    """Names of devices whose accounts were not known when it began: nobody could sign them off."""
    evidence_reference = models.CharField(max_length=250, blank=True)

    class Meta:
        ordering = ["-begun_at", "-pk"]
        constraints = [
            CheckConstraint(condition=Q(state__in=ReviewState.values), name="access_review_state_known"),
            CheckConstraint(
                condition=Q(state="open", ended_at=None)
                | (~Q(state="open") & Q(ended_at__isnull=False) & ~Q(ended_by="")),
                name="access_review_end_has_author",
            ),
            UniqueConstraint(
                fields=["client"], condition=Q(state="open", site=None), name="access_review_open_once_a_client"
            ),
            UniqueConstraint(fields=["site"], condition=Q(state="open"), name="access_review_open_once_a_site"),
        ]
        indexes = [models.Index(fields=["state", "due_at"])]

    def __str__(self) -> str:
        return f"access review of {self.site or self.client}, begun {self.begun_at:%Y-%m-%d}"


class Decision(models.TextChoices):
    NONE = "", "not decided"
    KEEP = "keep", "keep"
    REMOVE = "remove", "remove"
    CHANGE = "change", "change"


class ReviewDevice(ScopedModel):
    """A device in a review. Counts as reviewed from the sign-off on."""

    SCOPE_CLIENT: ClassVar[str] = "device__client_id"
    SCOPE_SITE: ClassVar[str] = "device__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    review = models.ForeignKey(AccessReview, on_delete=models.CASCADE, related_name="devices")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="access_reviews")
    accounts = models.PositiveIntegerField(default=0)
    """All accounts it had then, those that are not asked about too."""
    signed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [UniqueConstraint(fields=["review", "device"], name="review_device_once")]
        indexes = [models.Index(fields=["device", "signed_at"])]

    def __str__(self) -> str:
        return f"{self.device_id} in review {self.review_id}"


class ReviewItem(ScopedModel):
    """One account of one device in a review."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="review_items")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="review_items")
    review = models.ForeignKey(AccessReview, on_delete=models.CASCADE, related_name="items")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="review_items")
    account = models.CharField(max_length=200)
    facts = models.JSONField()
    """What is known of the account, as its reviewer sees it."""
    mark = models.CharField(max_length=32)
    """Digest of its rights (``rules.mark_of``)."""
    unchanged = models.BooleanField(default=False)
    """The same rights as when it was last kept at a sign-off."""
    last_kept_at = models.DateTimeField(null=True, blank=True)
    decision = models.CharField(max_length=10, choices=Decision.choices, blank=True, default=Decision.NONE)
    reason = models.TextField(blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.CharField(max_length=150, blank=True)
    asked_again = models.CharField(max_length=700, blank=True)
    """Why a decision that was made does not count any more."""
    gone_at = models.DateTimeField(null=True, blank=True)
    """When the account was found gone, before or after it was decided."""
    job_id = models.UUIDField(null=True, blank=True)
    """The run that does what was decided."""
    job_note = models.CharField(max_length=500, blank=True)
    """Why no run is prepared."""
    done_at = models.DateTimeField(null=True, blank=True)
    """When the facts showed that it was removed or changed."""
    evidence_reference = models.CharField(max_length=250, blank=True)

    class Meta:
        ordering = ["device__name", "account"]
        constraints = [
            UniqueConstraint(fields=["review", "device", "account"], name="review_item_once"),
            CheckConstraint(condition=Q(decision__in=Decision.values), name="review_item_decision_known"),
            CheckConstraint(
                condition=Q(decision="") | (Q(decided_at__isnull=False) & ~Q(decided_by="")),
                name="review_item_decision_has_author",
            ),
            CheckConstraint(
                condition=~Q(decision__in=["remove", "change"]) | ~Q(reason=""), name="review_item_says_why"
            ),
        ]
        indexes = [
            models.Index(fields=["device", "decision", "done_at"]),
            models.Index(fields=["review", "decision"]),
        ]

    def __str__(self) -> str:
        return f"{self.account} in review {self.review_id}"
