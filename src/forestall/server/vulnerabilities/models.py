"""What is known of vulnerabilities, which installed versions have them, and which devices have those.

A vulnerability is matched with a *version of a package*, not with each device: ten thousand devices share a few
thousand versions. A device's findings are its ``DeviceVulnerability`` rows joined with ``PackageVulnerability``.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import CheckConstraint, F, Q, UniqueConstraint

from forestall.server.inventory.models import Device
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, ScopedModel


class Feed(models.Model):
    """A source of advisories. It belongs to the installation."""

    slug = models.CharField(max_length=60, unique=True)
    title = models.CharField(max_length=200)
    format = models.CharField(max_length=30)
    """``osv``, ``debian-tracker``, ``kev``, ``epss`` …: see ``vulnerabilities.feeds.FORMATS``."""
    url = models.CharField(max_length=500, blank=True)
    """Where it is downloaded from; empty: it is only imported from files."""
    ecosystem = models.CharField(max_length=60, blank=True)
    """Whose packages it is about: ``Debian``, ``Ubuntu:22.04``; empty: of several, or of vulnerabilities themselves."""
    built_in = models.BooleanField(default=False)
    """One of ``definitions.DEFINITIONS``, made because a device needs it."""
    enabled = models.BooleanField(default=True)
    every_hours = models.PositiveSmallIntegerField(default=24)
    etag = models.CharField(max_length=200, blank=True)
    last_modified = models.CharField(max_length=100, blank=True)
    digest = models.CharField(max_length=64, blank=True)
    """SHA-256 of the file in force."""
    index = models.CharField(max_length=64, blank=True)
    """Digest of what was made of it: name of the folder it lies in."""
    bytes = models.PositiveBigIntegerField(default=0)
    advisories = models.PositiveIntegerField(default=0)
    data_at = models.DateTimeField(null=True, blank=True)
    """How new the feed says it is."""
    tried_at = models.DateTimeField(null=True, blank=True)
    good_at = models.DateTimeField(null=True, blank=True)
    """When what is in force was taken."""
    error = models.TextField(blank=True)
    """Why the last try was not taken; the last good stays in force."""
    asked_at = models.DateTimeField(null=True, blank=True)
    """Somebody wants it fetched now; null: at its own time."""

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


class Vulnerability(models.Model):
    """One vulnerability, as far as some device or update has it."""

    name = models.CharField(max_length=60, unique=True)
    """``CVE-2026-23667``, or the advisory's own id when it has no CVE."""
    title = models.TextField(blank=True)
    severity = models.CharField(max_length=10, blank=True)
    """``critical``, ``high``, ``medium``, ``low``; empty: unrated."""
    cvss = models.FloatField(null=True, blank=True)
    cvss_vector = models.CharField(max_length=200, blank=True)
    epss = models.FloatField(null=True, blank=True)
    """Probability of exploitation within 30 days (FIRST), 0 to 1."""
    epss_percentile = models.FloatField(null=True, blank=True)
    kev_added_on = models.DateField(null=True, blank=True)
    """Since when CISA knows it exploited; null: not known to be."""
    kev_due_on = models.DateField(null=True, blank=True)
    ransomware = models.BooleanField(default=False)
    published_at = models.DateTimeField(null=True, blank=True)
    score = models.PositiveSmallIntegerField(default=0)
    """What of its rank is the same on every device: see ``ranking.score_of``."""
    rated_with = models.CharField(max_length=64, blank=True)
    """Digest of the catalogues (KEV, EPSS, ratings) that this comes from."""
    changed_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]
        indexes = [models.Index(fields=["kev_added_on"]), models.Index(fields=["severity"])]

    def __str__(self) -> str:
        return self.name


class PackageVersion(models.Model):
    """A version of a package in an ecosystem: what is matched with advisories, once for all devices."""

    ecosystem = models.CharField(max_length=60)
    """``Debian:12``, ``AlmaLinux:9``, ``Windows``: as ``vulnerabilities.types.Package`` names it."""
    name = models.CharField(max_length=200)
    """Source package where the ecosystem's advisories name those."""
    version = models.CharField(max_length=200)
    source = models.CharField(max_length=200, blank=True)
    """Source package it is made from, where ``name`` is a binary one: what is upgraded together."""
    module = models.CharField(max_length=100, blank=True)
    matched_with = models.CharField(max_length=64, blank=True)
    """Digest of the advisories about this package it was last matched with; empty: never."""
    fixable = models.BinaryField(default=b"")
    """Ids of its vulnerabilities that have a fix: little-endian uint32, sorted. A copy of ``vulnerabilities``."""
    unfixable = models.BinaryField(default=b"")
    """Of those that have none, likewise."""
    fix = models.CharField(max_length=200, blank=True)
    """The version that has every fix there is; empty: there is none."""

    class Meta:
        constraints = [UniqueConstraint(fields=["ecosystem", "name", "version", "module"], name="package_version_once")]
        indexes = [models.Index(fields=["ecosystem", "name"])]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class PackageVulnerability(models.Model):
    """A version of a package has a vulnerability. Never deleted: history at a past date rests on it."""

    package = models.ForeignKey(PackageVersion, on_delete=models.CASCADE, related_name="vulnerabilities")
    vulnerability = models.ForeignKey(Vulnerability, on_delete=models.CASCADE, related_name="packages")
    advisory = models.CharField(max_length=100)
    fixed = models.CharField(max_length=200, blank=True)
    """Version with the fix; empty: there is none."""
    severity = models.CharField(max_length=10, blank=True)
    """In the vendor's rating for this package; empty: unrated."""
    known_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True, blank=True)
    """When a feed took it back."""

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["package", "vulnerability", "advisory"], condition=Q(gone_at=None), name="package_has_it_once"
            )
        ]
        indexes = [models.Index(fields=["vulnerability", "gone_at"])]

    def __str__(self) -> str:
        return f"{self.vulnerability_id} in {self.package_id}"


class DeviceSoftware(ScopedModel):
    """The package versions of a device, as a sorted list of 32-bit ids: looked through by the thousand."""

    SCOPE_CLIENT: ClassVar[str] = "device__client_id"
    SCOPE_SITE: ClassVar[str] = "device__site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    device = models.OneToOneField(Device, on_delete=models.CASCADE, related_name="software_versions")
    digest = models.BinaryField(max_length=32, default=b"")
    """Of the documents it was made from."""
    packages = models.BinaryField(default=b"")
    """Little-endian uint32, sorted."""
    detail = models.BinaryField(default=b"")
    """Of each of them what a device's row says besides: see ``upkeep.Piece``."""
    kernel = models.CharField(max_length=100, blank=True)
    """Release of the running kernel."""
    stale = models.BooleanField(default=True)
    """The documents have changed since: it is made anew with the next round of upkeep."""
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["stale"], condition=Q(stale=True), name="device_software_stale")]

    def __str__(self) -> str:
        return f"software of {self.device_id}"


class DeviceVulnerability(ScopedModel):
    """A device has (had) a version of a package that has vulnerabilities."""

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="device_vulnerabilities")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="device_vulnerabilities")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="vulnerabilities")
    package = models.ForeignKey(PackageVersion, on_delete=models.PROTECT, related_name="devices")
    binaries = models.JSONField(default=list)
    """Names of the installed packages made from it."""
    only_running = models.BooleanField(default=False)
    """It is not installed any more but still runs (a kernel before its reboot)."""
    exposed = models.CharField(max_length=200, blank=True)
    """What of it listens beyond the machine itself: ``nginx on tcp/443``; empty: nothing that we know of."""
    first_seen_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True, blank=True)
    """When a scan no longer found this version; null while it is there."""

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["device", "package", "only_running"],
                condition=Q(gone_at=None),
                name="device_has_version_once",
            )
        ]
        indexes = [models.Index(fields=["package", "gone_at"]), models.Index(fields=["client", "gone_at"])]

    def __str__(self) -> str:
        return f"{self.package_id} on {self.device_id}"


class VulnerabilityMark(ScopedModel):
    """What somebody said of a vulnerability at a client: accepted for a while, false, or not applicable."""

    SCOPE_VIEW: ClassVar[Permission | None] = Permission.DEVICE_VIEW

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="vulnerability_marks")
    device_id = models.UUIDField(null=True, blank=True)
    """Null: every device of the client."""
    vulnerability = models.CharField(max_length=60)
    """Name: ``CVE-…``."""
    package = models.CharField(max_length=200, blank=True)
    """Empty: in every package."""
    mark = models.CharField(max_length=16)
    reason = models.TextField()
    expires_at = models.DateTimeField(null=True, blank=True)
    at = models.DateTimeField()
    by = models.CharField(max_length=150)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-at", "-pk"]
        constraints = [
            CheckConstraint(
                condition=Q(mark__in=["accepted", "false_positive", "not_applicable"]), name="vulnerability_mark_known"
            ),
            CheckConstraint(
                condition=~Q(mark="accepted") | Q(expires_at__isnull=False), name="vulnerability_acceptance_ends"
            ),
            CheckConstraint(condition=~Q(reason=""), name="vulnerability_mark_says_why"),
            CheckConstraint(
                condition=Q(expires_at=None) | Q(expires_at__gt=F("at")), name="vulnerability_mark_ends_later"
            ),
        ]
        indexes = [models.Index(fields=["client", "vulnerability"])]

    def __str__(self) -> str:
        return f"{self.vulnerability} {self.mark}"


class Upkeep(models.Model):
    """How far matching has come. One row; whoever matches holds it, so that two workers never do the same."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    revision = models.PositiveBigIntegerField(default=0)
    """Counts up whenever something that ranks or totals rest on has changed."""
    indexes = models.CharField(max_length=64, blank=True)
    """Digest of the indexes that every version in use was matched with."""
    after = models.PositiveBigIntegerField(default=0)
    """Last version matched with newer ones, of a round that has not ended."""

    def __str__(self) -> str:
        return str(self.revision)
