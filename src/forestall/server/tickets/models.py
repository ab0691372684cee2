"""Tickets: work with an owner, a priority, an SLA clock and a resolution."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import CheckConstraint, F, Q, UniqueConstraint

from forestall.server.alerts.models import Alert
from forestall.server.checks.result import Risk
from forestall.server.inventory.models import Device
from forestall.server.people.models import Client, Person, Site
from forestall.server.people.scope import Permission, ScopedModel
from forestall.server.tickets.rules import REQUEST_KIND, Priority, Urgency
from forestall.server.tickets.sla_models import SlaTarget, SlaTier

__all__ = ["SlaTarget", "SlaTier"]


class TicketState(models.TextChoices):
    OPEN = "open", "open"
    """Nobody has taken it yet."""
    ACKNOWLEDGED = "acknowledged", "acknowledged"
    IN_PROGRESS = "in_progress", "in progress"
    WAITING = "waiting", "waiting for client"
    RESOLVED = "resolved", "resolved"
    """A person or a runbook worked on it, and it is done."""
    CLOSED = "closed", "closed"
    """Cleared by itself."""


DONE_STATES = (TicketState.RESOLVED, TicketState.CLOSED)


class EventKind(models.TextChoices):
    """Every kind of line in a ticket's timeline."""

    OPENED = "opened", "opened"
    JOINED = "joined", "another alert joined"
    WORSENED = "worsened", "got worse"
    CLEARED = "cleared", "an alert cleared"
    ASSIGNED = "assigned", "assigned"
    ACKNOWLEDGED = "acknowledged", "acknowledged"
    STARTED = "started", "work started"
    COMMENTED = "commented", "comment"
    WAITING = "waiting", "waiting for client"
    RESUMED = "resumed", "work resumed"
    SLA_WARNING = "sla_warning", "SLA warning"
    SLA_BREACH = "sla_breach", "SLA breach"
    JOB = "job", "job"
    RESOLVED = "resolved", "resolved"
    VERIFIED = "verified", "verified"
    CLOSED = "closed", "closed"
    REOPENED = "reopened", "reopened"
    ASKED = "asked", "the client was asked to approve"
    ANSWERED = "answered", "the client answered"
    WITHDRAWN = "withdrawn", "a question was withdrawn"
    LAPSED = "lapsed", "nobody answered in time"
    RATED = "rated", "rated"


REQUEST = REQUEST_KIND


class Ticket(ScopedModel):
    """Work on one condition of one device, or on what a person asked for."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.TICKET_VIEW

    number = models.BigAutoField(primary_key=True)
    """The one number it has: in its address, in evidence and on reports."""
    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="tickets")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="tickets")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="tickets", null=True, blank=True)
    """Null: a request that is about no one device."""
    kind = models.CharField(max_length=40)
    """Slug of the check that opened it, or ``REQUEST``."""
    target = models.CharField(max_length=500, blank=True)
    """Target of the alert that opened it."""
    condition = models.CharField(max_length=560)
    """What is one piece of work on the device: see ``alerts.rules.condition_of``."""
    title = models.CharField(max_length=250)
    text = models.TextField(blank=True)
    """Of a request: what is asked for, in the words of who asked. The client reads it."""
    urgency = models.CharField(max_length=15, blank=True, choices=[(one.value, one.words) for one in Urgency])
    """Of a request: how bad it is, as who asked sees it. Its priority follows by rule."""
    opened_by = models.CharField(max_length=150, blank=True)
    """User name of who opened it; empty: a check."""
    requested_by = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, blank=True, related_name="requests")
    """Of a request: whose it is. They see it, whatever else they may see."""
    risk = models.CharField(max_length=10, choices=[(risk.value, risk.value) for risk in Risk])
    priority = models.CharField(max_length=10, choices=[(priority.value, priority.value) for priority in Priority])
    state = models.CharField(max_length=15, choices=TicketState.choices, default=TicketState.OPEN)
    owner = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, blank=True, related_name="tickets")

    first_seen_at = models.DateTimeField()
    """When the check stopped passing: may lie before the opening (a window, flapping)."""
    opened_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=150, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    """When it was resolved or closed."""
    resolved_by = models.CharField(max_length=150, blank=True)
    close_reason = models.TextField(blank=True)
    """Why it is resolved or closed, in words."""
    resolution = models.TextField(blank=True)
    """What a person wrote about what was done."""
    verified_at = models.DateTimeField(null=True, blank=True)
    """When a check showed that it is fixed; null: nobody has shown it."""
    verification = models.JSONField(default=dict)
    """The passing check: status, reason, value, unit, at."""
    reopened = models.PositiveIntegerField(default=0)
    touched = models.BooleanField(default=False)
    """A person did something with it."""
    remediated = models.BooleanField(default=False)
    """A job ran for it."""

    response_minutes = models.PositiveIntegerField()
    """Working minutes, as agreed when it was opened: a later policy does not rewrite history."""
    resolution_minutes = models.PositiveIntegerField()
    response_warned = models.PositiveSmallIntegerField(default=0)
    """Per cent of the last warning that was given."""
    resolution_warned = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["-number"]
        constraints = [
            CheckConstraint(condition=Q(state__in=TicketState.values), name="ticket_state_known"),
            CheckConstraint(condition=Q(priority__in=[p.value for p in Priority]), name="ticket_priority_known"),
            CheckConstraint(
                condition=~Q(state__in=["resolved", "closed"]) | (Q(resolved_at__isnull=False) & ~Q(close_reason="")),
                name="ticket_done_has_time_and_reason",
            ),
            CheckConstraint(
                condition=Q(state__in=["resolved", "closed"]) | Q(resolved_at=None), name="ticket_open_is_not_resolved"
            ),
            CheckConstraint(
                condition=Q(acknowledged_at=None) | ~Q(acknowledged_by=""), name="ticket_acknowledged_by_someone"
            ),
            CheckConstraint(condition=Q(resolution_minutes__gte=F("response_minutes")), name="ticket_targets_in_order"),
            CheckConstraint(condition=Q(device__isnull=False) | Q(kind=REQUEST), name="ticket_of_a_check_has_device"),
            CheckConstraint(
                condition=~Q(kind=REQUEST) | (~Q(urgency="") & ~Q(opened_by="")), name="ticket_request_has_urgency"
            ),
            UniqueConstraint(
                fields=["device", "condition"],
                condition=~Q(state__in=["resolved", "closed"]),
                name="ticket_once_a_condition",
            ),
        ]
        indexes = [models.Index(fields=["state", "client"]), models.Index(fields=["device", "-opened_at"])]

    def __str__(self) -> str:
        return f"#{self.number} {self.title}"

    @property
    def is_done(self) -> bool:
        return self.state in DONE_STATES

    @property
    def is_request(self) -> bool:
        """Opened by a person: no check says whether it is done."""
        return self.kind == REQUEST

    @property
    def about(self) -> str:
        """The device it is about, or the site."""
        return self.device.name if self.device is not None else self.site.name


class TicketAlert(ScopedModel):
    """An alert that a ticket is about. The first one opened it, the others joined."""

    SCOPE_CLIENT: ClassVar[str] = "ticket__client_id"
    SCOPE_SITE: ClassVar[str] = "ticket__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.TICKET_VIEW

    ticket = models.ForeignKey(Ticket, on_delete=models.CASCADE, related_name="ticket_alerts")
    alert = models.OneToOneField(Alert, on_delete=models.CASCADE, related_name="ticket_alert")
    joined_at = models.DateTimeField()

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"alert {self.alert_id} of ticket {self.ticket_id}"


class TicketEvent(ScopedModel):
    """A line of a ticket's timeline."""

    SCOPE_CLIENT: ClassVar[str] = "ticket__client_id"
    SCOPE_SITE: ClassVar[str] = "ticket__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.TICKET_VIEW

    ticket = models.ForeignKey(Ticket, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    kind = models.CharField(max_length=15, choices=EventKind.choices)
    actor = models.CharField(max_length=200)
    """Who: a person's user name, ``check``, ``SLA clock``, ``standing order …``."""
    text = models.TextField()
    """As the desk reads it."""
    for_client = models.TextField(blank=True)
    """As the client reads it; empty: internal. What a client is shown is this field and no other."""
    by_client = models.BooleanField(default=False)
    """One of the client's own people did it."""
    job_id = models.CharField(max_length=64, blank=True)
    detail = models.JSONField(default=dict)
    reference = models.CharField(max_length=250, blank=True)
    """The evidence record of it: ``client/#index``."""

    class Meta:
        ordering = ["at", "pk"]
        constraints = [CheckConstraint(condition=Q(kind__in=EventKind.values), name="ticket_event_kind_known")]

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"

    @property
    def is_internal(self) -> bool:
        return not self.for_client


class TicketPause(ScopedModel):
    """A time in which the resolution clock stood still."""

    SCOPE_CLIENT: ClassVar[str] = "ticket__client_id"
    SCOPE_SITE: ClassVar[str] = "ticket__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.TICKET_VIEW

    ticket = models.ForeignKey(Ticket, on_delete=models.CASCADE, related_name="pauses")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    why = models.CharField(max_length=100)
    """``waiting for client``, ``resolved`` (between a resolution and its reopening)."""

    class Meta:
        ordering = ["started_at"]
        constraints = [
            UniqueConstraint(fields=["ticket"], condition=Q(ended_at=None), name="ticket_pause_one_open"),
            CheckConstraint(
                condition=Q(ended_at=None) | Q(ended_at__gte=F("started_at")), name="ticket_pause_in_order"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.why} since {self.started_at}"


class ApprovalState(models.TextChoices):
    ASKED = "asked", "asked"
    APPROVED = "approved", "approved"
    DECLINED = "declined", "declined"
    WITHDRAWN = "withdrawn", "withdrawn"
    """The desk no longer needs the answer."""
    LAPSED = "lapsed", "not answered in time"


class TicketApproval(ScopedModel):
    """Something the client was asked to approve, and what it answered."""

    SCOPE_CLIENT: ClassVar[str] = "ticket__client_id"
    SCOPE_SITE: ClassVar[str] = "ticket__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.TICKET_VIEW

    ticket = models.ForeignKey(Ticket, on_delete=models.CASCADE, related_name="approvals")
    question = models.CharField(max_length=300)
    what_happens = models.TextField()
    """What will be done once it is approved, in the client's words."""
    cost = models.CharField(max_length=300, blank=True)
    """Money and time, as a note; empty: nothing beyond the contract."""
    asked_at = models.DateTimeField()
    asked_by = models.CharField(max_length=150)
    answer_by = models.DateTimeField(null=True, blank=True)
    """After this it lapses: what it would cost and when it could be done may no longer hold."""
    state = models.CharField(max_length=10, choices=ApprovalState.choices, default=ApprovalState.ASKED)
    answered_at = models.DateTimeField(null=True, blank=True)
    answered_by = models.CharField(max_length=150, blank=True)
    reason = models.TextField(blank=True)
    reference = models.CharField(max_length=250, blank=True)
    """Evidence record of the answer: ``client/#index``."""

    class Meta:
        ordering = ["asked_at", "pk"]
        constraints = [
            CheckConstraint(condition=Q(state__in=ApprovalState.values), name="approval_state_known"),
            CheckConstraint(
                condition=~Q(state__in=["approved", "declined"]) | (Q(answered_at__isnull=False) & ~Q(answered_by="")),
                name="approval_answer_has_author",
            ),
            CheckConstraint(condition=~Q(state="declined") | ~Q(reason=""), name="approval_declined_has_reason"),
            UniqueConstraint(fields=["ticket"], condition=Q(state="asked"), name="approval_one_asked_a_ticket"),
        ]

    def __str__(self) -> str:
        return f"{self.state}: {self.question}"


class TicketRating(ScopedModel):
    """How content the client was with a ticket, once it was done."""

    SCOPE_CLIENT: ClassVar[str] = "ticket__client_id"
    SCOPE_SITE: ClassVar[str] = "ticket__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.TICKET_VIEW

    ticket = models.OneToOneField(Ticket, on_delete=models.CASCADE, related_name="rating")
    score = models.PositiveSmallIntegerField()
    """1 (bad) to 5 (very good)."""
    comment = models.TextField(blank=True)
    person = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    given_by = models.CharField(max_length=150)
    given_at = models.DateTimeField()
    """The first time: from here on it can be changed for ``rules.RATING_CHANGEABLE``."""
    changed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-given_at"]
        constraints = [CheckConstraint(condition=Q(score__gte=1, score__lte=5), name="rating_from_one_to_five")]

    def __str__(self) -> str:
        return f"{self.score} of 5 for ticket {self.ticket_id}"


class MailState(models.TextChoices):
    WAITING = "waiting", "waiting"
    SENT = "sent", "sent"
    FAILED = "failed", "failed"
    NOT_SENT = "not_sent", "not sent"
    """Nowhere to send it: no mail server, or no address. ``result`` says which."""


class ClientMail(ScopedModel):
    """A mail to one of the client's people about a ticket or a window. Written with what it tells of, sent after."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.TICKET_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="+")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="+")
    ticket = models.ForeignKey(Ticket, on_delete=models.CASCADE, null=True, blank=True, related_name="mails")
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="+")
    address = models.EmailField(blank=True)
    subject = models.CharField(max_length=250)
    text = models.TextField()
    calendar = models.TextField(blank=True)
    """Calendar file (RFC 5545) that goes with it; empty: none."""
    state = models.CharField(max_length=10, choices=MailState.choices, default=MailState.WAITING)
    result = models.CharField(max_length=300, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    made_at = models.DateTimeField()
    not_before = models.DateTimeField()
    """Next attempt; while one is being made, when its claim runs out."""
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["made_at", "pk"]
        constraints = [CheckConstraint(condition=Q(state__in=MailState.values), name="client_mail_state_known")]
        indexes = [models.Index(fields=["state", "not_before"])]

    def __str__(self) -> str:
        return f"{self.subject} to {self.person_id}"


class RoutingRule(ScopedModel):
    """Who gets a ticket. The most particular rule wins; without one the first owner of the place does."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.CLIENT_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, null=True, blank=True)
    site = models.ForeignKey(Site, on_delete=models.CASCADE, null=True, blank=True)
    kind = models.CharField(max_length=40, blank=True)
    minimum_risk = models.CharField(max_length=10, blank=True, choices=[(risk.value, risk.value) for risk in Risk])
    owner = models.ForeignKey(Person, on_delete=models.CASCADE)
    order = models.IntegerField(default=0)

    class Meta:
        ordering = ["order", "pk"]
        constraints = [
            CheckConstraint(condition=Q(site=None) | ~Q(client=None), name="routing_site_names_its_client"),
        ]

    def __str__(self) -> str:
        return f"{self.kind or 'everything'} to {self.owner_id}"


class SlaPolicy(ScopedModel):
    """A client's SLA for one priority. Without a row the default of the field holds (``rules.DEFAULT_TARGETS``)."""

    SCOPE_VIEW: ClassVar[Permission | None] = Permission.CLIENT_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="sla_policies")
    priority = models.CharField(max_length=10, choices=[(priority.value, priority.value) for priority in Priority])
    response_minutes = models.PositiveIntegerField()
    resolution_minutes = models.PositiveIntegerField()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["client", "priority"], name="sla_once_a_priority"),
            CheckConstraint(
                condition=Q(response_minutes__gt=0, resolution_minutes__gte=F("response_minutes")),
                name="sla_targets_in_order",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.client_id} {self.priority}"
