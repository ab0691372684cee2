"""Service reports: what was seen, done and verified, as the client keeps it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, ScopedModel
from forestall.server.tickets.models import Ticket


class ServiceReport(ScopedModel):
    """A report as it was issued. Never changed: a later resolution of the same ticket gets a report of its own."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.REPORT_VIEW

    number = models.CharField(max_length=20, unique=True)
    """``SR-000001``."""
    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="reports")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="reports")
    ticket = models.ForeignKey(Ticket, on_delete=models.PROTECT, related_name="reports")
    supersedes = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="superseded_by"
    )
    made_at = models.DateTimeField()
    body = models.JSONField()
    """See ``body.ReportBody``."""
    pdf = models.BinaryField()
    pdf_sha256 = models.CharField(max_length=64)
    """In hex; the evidence record of the issue names it, too."""
    reference = models.CharField(max_length=250)
    """Evidence record of the issue: ``client/#index``."""
    for_client = models.BooleanField(default=False)
    """The portal shows it: made since comments are internal unless they were written for the client."""

    class Meta:
        ordering = ["-made_at", "-pk"]
        indexes = [models.Index(fields=["client", "-made_at"])]

    def __str__(self) -> str:
        return self.number
