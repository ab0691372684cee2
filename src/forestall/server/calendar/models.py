"""Working hours, closed days, maintenance windows and what bounds them, and addresses of calendar feeds."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint

from forestall.server.people.models import Client, Person, Site
from forestall.server.people.scope import Permission, ScopedModel


class WorkingWeek(ScopedModel):
    """A client's working hours. A client without one has Monday to Friday 09:00–17:30."""

    client = models.OneToOneField(Client, on_delete=models.CASCADE, related_name="working_week")
    hours = models.JSONField()
    """``{"monday": [["09:00", "17:30"]], …}``, wall clock of the client's time zone; see ``rules.Week.parse``."""

    def __str__(self) -> str:
        return f"working week of {self.client_id}"


class ClosedDay(ScopedModel):
    """A day on which a client is closed besides its public holidays."""

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="closed_days")
    day = models.DateField()
    why = models.CharField(max_length=100)

    class Meta:
        ordering = ["day"]
        constraints = [UniqueConstraint(fields=["client", "day"], name="closed_day_once_a_client")]

    def __str__(self) -> str:
        return f"{self.day} {self.why}"


class MaintenanceWindow(ScopedModel):
    """When work on a site, or on one device of it, is expected: alerts wait until it ends."""

    SCOPE_CLIENT: ClassVar[str] = "site__client_id"
    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="windows")
    device_id = models.UUIDField(null=True, blank=True)
    """The one device it is for; null: every device of the site. An id only: devices stand on a higher layer."""
    name = models.CharField(max_length=100)
    starts_on = models.DateField()
    """First day, on the site's wall clock."""
    starts_at = models.TimeField()
    """Start, on the site's wall clock."""
    minutes = models.PositiveIntegerField()
    rrule = models.CharField(max_length=200, blank=True)
    """RFC 5545 RRULE value; empty: once."""
    purpose = models.CharField(max_length=300, blank=True)
    """What is done in it, for the client's people too."""
    notice_hours = models.PositiveSmallIntegerField(default=0)
    """How long before its time the client's people are told of it by mail. 0: no promise."""
    notice_first_only = models.BooleanField(default=False)
    """Whether they are told of its first time alone, and not of each one."""
    missed = models.CharField(max_length=10, default="next", choices=[(one, one) for one in ("next", "catch_up")])
    """What happens to work whose device missed it: it waits for the ``next`` time, or is made up for (``catch_up``)."""
    catch_up_hours = models.PositiveSmallIntegerField(default=0)
    """How long after its end it may be caught up. 0: not at all."""
    changed_at = models.DateTimeField(null=True, blank=True)
    """When what it says was last changed; null: never since it was made."""
    needs_approval = models.BooleanField(default=False)
    """Whether the client has to approve it first: until then it counts for nothing (``windows.window_counts``)."""
    answer = models.CharField(max_length=10, blank=True, choices=[(one, one) for one in ("approved", "declined")])
    """The client's answer; empty: none yet, or it was changed since."""
    answered_at = models.DateTimeField(null=True, blank=True)
    answered_by = models.CharField(max_length=150, blank=True)
    answer_reason = models.TextField(blank=True)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)
    ended_at = models.DateTimeField(null=True, blank=True)
    """Set when someone ends it for good; no occurrence lasts beyond this."""
    ended_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            CheckConstraint(condition=Q(minutes__gt=0), name="window_has_length"),
            CheckConstraint(condition=Q(ended_at=None) | ~Q(ended_by=""), name="window_end_has_author"),
            CheckConstraint(condition=Q(answer__in=["", "approved", "declined"]), name="window_answer_known"),
            CheckConstraint(
                condition=Q(answer="") | (Q(answered_at__isnull=False) & ~Q(answered_by="")),
                name="window_answer_has_author",
            ),
            CheckConstraint(condition=~Q(answer="declined") | ~Q(answer_reason=""), name="window_declined_has_reason"),
            CheckConstraint(
                condition=Q(missed="next", catch_up_hours=0) | Q(missed="catch_up", catch_up_hours__gt=0),
                name="window_missed_rule_is_whole",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class WindowLimit(ScopedModel):
    """How long a window may be at most at a client, or at one site of it: as was agreed."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="window_limits")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, null=True, blank=True, related_name="window_limits")
    """Null: every site that has none of its own."""
    longest_minutes = models.PositiveIntegerField()
    set_at = models.DateTimeField()
    set_by = models.CharField(max_length=150)

    class Meta:
        constraints = [
            CheckConstraint(condition=Q(longest_minutes__gt=0), name="window_limit_is_a_length"),
            UniqueConstraint(fields=["client", "site"], name="window_limit_once_a_place", nulls_distinct=False),
        ]

    def __str__(self) -> str:
        return f"at most {self.longest_minutes} minutes"


class Blackout(ScopedModel):
    """A time in which no window is open: at one site, at a client, or, without a client, everywhere."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, null=True, blank=True, related_name="blackouts")
    """Null: of every client. What it says is then read by every client."""
    site = models.ForeignKey(Site, on_delete=models.CASCADE, null=True, blank=True, related_name="blackouts")
    """Null: every site."""
    why = models.CharField(max_length=200)
    starts_on = models.DateField()
    starts_at = models.TimeField()
    """On the wall clock of each site."""
    ends_on = models.DateField()
    ends_at = models.TimeField()
    """From this moment on work is allowed again."""
    yearly = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)
    ended_at = models.DateTimeField(null=True, blank=True)
    """Set when someone takes it back; what lies before stays as it was."""
    ended_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["starts_on", "pk"]
        constraints = [
            CheckConstraint(condition=~Q(why=""), name="blackout_says_why"),
            CheckConstraint(condition=Q(site=None) | Q(client__isnull=False), name="blackout_site_names_its_client"),
            CheckConstraint(condition=Q(ended_at=None) | ~Q(ended_by=""), name="blackout_end_has_author"),
        ]

    def __str__(self) -> str:
        return self.why


class PlannedWork(ScopedModel):
    """Work on a ticket that is to be done in one time of a window."""

    SCOPE_CLIENT: ClassVar[str] = "window__site__client_id"
    SCOPE_SITE: ClassVar[str] = "window__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.TICKET_VIEW

    window = models.ForeignKey(MaintenanceWindow, on_delete=models.CASCADE, related_name="work")
    starts_at = models.DateTimeField()
    """Start of the window's time it is planned for."""
    minutes = models.PositiveIntegerField()
    """How long the work takes: never longer than the window is open."""
    ticket_number = models.PositiveIntegerField()
    """A number only: tickets stand on a higher layer."""
    planned_at = models.DateTimeField()
    planned_by = models.CharField(max_length=150)
    ended_at = models.DateTimeField(null=True, blank=True)
    """When it was planned otherwise, or taken back."""
    ended_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["starts_at", "pk"]
        constraints = [
            CheckConstraint(condition=Q(minutes__gt=0), name="planned_work_takes_time"),
            CheckConstraint(condition=Q(ended_at=None) | ~Q(ended_by=""), name="planned_work_end_has_author"),
            UniqueConstraint(fields=["ticket_number"], condition=Q(ended_at=None), name="planned_work_once_a_ticket"),
        ]

    def __str__(self) -> str:
        return f"ticket {self.ticket_number} at {self.starts_at:%Y-%m-%d %H:%M}"


class WindowNotice(ScopedModel):
    """The client's people were told of one time of a window: that it comes, that it is another, that it does not."""

    SCOPE_CLIENT: ClassVar[str] = "window__site__client_id"
    SCOPE_SITE: ClassVar[str] = "window__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    window = models.ForeignKey(MaintenanceWindow, on_delete=models.CASCADE, related_name="notices")
    starts_at = models.DateTimeField()
    """Start of the time they were told of."""
    ends_at = models.DateTimeField()
    told_at = models.DateTimeField()
    people = models.PositiveIntegerField(default=0)
    """How many were written to."""
    late = models.BooleanField(default=False)
    """Whether it was told later than was promised, because the window was planned later."""
    sequence = models.PositiveIntegerField(default=0)
    """SEQUENCE of RFC 5545 of what was sent last: a calendar takes a later one in the place of an earlier."""
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    """When they were told that it does not come."""

    class Meta:
        ordering = ["starts_at", "pk"]
        constraints = [UniqueConstraint(fields=["window", "starts_at"], name="window_notice_once_a_time")]

    def __str__(self) -> str:
        return f"notice of {self.window_id} at {self.starts_at:%Y-%m-%d %H:%M}"


class NoticeWish(models.Model):
    """Whether a person wants mails about planned work. Without one: who approves for the client gets them."""

    person = models.OneToOneField(Person, on_delete=models.CASCADE, related_name="notice_wish")
    wanted = models.BooleanField()
    changed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.person}: {'wanted' if self.wanted else 'not wanted'}"


class CalendarFeed(models.Model):
    """A secret address under which a person's calendar can be read by other programs. Only its digest is kept.

    It shows at each request what its person may see then, never more than it was made for.
    """

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="calendar_feeds")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)
    """SHA-256 of the secret, in hex."""
    portal = models.BooleanField(default=False)
    """Whether it shows what the portal shows, as to the client's own people."""
    client = models.ForeignKey(Client, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    """The place it is cut down to; neither: wherever its person may."""
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    """When it ends by itself: with the token that made it. Null: never."""
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            CheckConstraint(condition=Q(site=None) | Q(client__isnull=False), name="feed_site_names_its_client"),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.person}"
