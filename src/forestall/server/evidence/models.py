"""A client's log: its entries, the completed nodes of its Merkle tree, and its signed checkpoints."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint
from django.utils.text import slugify

from forestall.ledger import records
from forestall.ledger.merkle import Frontier
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, ScopedModel

MAX_JOB_ID = 64


class ClientLog(ScopedModel):
    """Where a client's log ends. Whoever appends takes this row, so that two writers cannot fork the log."""

    SCOPE_VIEW: ClassVar[Permission | None] = Permission.EVIDENCE_VIEW

    client = models.OneToOneField(Client, on_delete=models.PROTECT, related_name="evidence_log")
    size = models.PositiveBigIntegerField(default=0)
    peaks = models.BinaryField(default=b"")
    """``Frontier.to_bytes``: 32 bytes for each 1 in the binary form of ``size``."""

    def __str__(self) -> str:
        return f"log of {self.client_id}: {self.size} entries"

    @property
    def frontier(self) -> Frontier:
        return Frontier.from_bytes(size=self.size, data=bytes(self.peaks))


class Entry(ScopedModel):
    """A record of a client's log.

    ``leaf`` is what the tree hashes; ``salt``, ``content``, ``envelope`` and ``signer`` are what it commits to and may
    be erased, together, by a later entry. The columns beside them repeat what lists and filters need.
    """

    SCOPE_SITE: ClassVar[str] = "site_id"
    SCOPE_VIEW: ClassVar[Permission | None] = Permission.EVIDENCE_VIEW

    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="evidence")
    index = models.PositiveBigIntegerField()
    """Place in the client's log, from 0 without holes."""
    kind = models.CharField(max_length=40)
    at = models.DateTimeField()
    device_id = models.UUIDField(null=True, blank=True)
    site_id = models.UUIDField(null=True, blank=True)
    ticket_id = models.BigIntegerField(null=True, blank=True)
    job_id = models.CharField(max_length=MAX_JOB_ID, blank=True)
    leaf = models.TextField()
    leaf_hash = models.BinaryField(max_length=32)
    salt = models.BinaryField(max_length=32)
    content = models.TextField()
    envelope = models.BinaryField(blank=True, default=b"")
    """DSSE envelope signed by the device; empty when the record is the server's word alone."""
    signer = models.BinaryField(max_length=32, blank=True, default=b"")
    """Raw public key of that device."""
    erased_by = models.PositiveBigIntegerField(null=True, blank=True)
    """Index of the entry that erased this one's content."""

    class Meta:
        ordering = ["client", "index"]
        verbose_name_plural = "entries"
        constraints = [
            UniqueConstraint(fields=["client", "index"], name="entry_index_once_a_client"),
            CheckConstraint(
                condition=Q(erased_by=None) | Q(salt=b"", content="", envelope=b"", signer=b""),
                name="entry_erased_whole",
            ),
        ]
        indexes = [
            models.Index(fields=["client", "-at"]),
            models.Index(fields=["device_id", "-at"]),
            models.Index(fields=["ticket_id"]),
            models.Index(fields=["job_id"]),
        ]

    def __str__(self) -> str:
        return self.reference

    @property
    def reference(self) -> str:
        """Short text by which people name this entry: ``acme-ltd/#17``."""
        return f"{slugify(self.client.name) or self.client_id}/#{self.index}"

    @property
    def payload(self) -> dict[str, Any]:
        """What the record says; empty once erased."""
        return {} if self.erased_by is not None else records.content_read(self.content.encode()).payload

    @property
    def has_signature(self) -> bool:
        """Whether these are a device's own words."""
        return bool(self.envelope)


class LogNode(ScopedModel):
    """Root of a completed perfect subtree above the leaves: with these, any proof takes O(log n) reads."""

    SCOPE_VIEW: ClassVar[Permission | None] = Permission.EVIDENCE_VIEW

    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="+")
    level = models.PositiveSmallIntegerField()
    """From 1; level 0 is the entries' own ``leaf_hash``."""
    index = models.PositiveBigIntegerField()
    hash = models.BinaryField(max_length=32)

    class Meta:
        constraints = [UniqueConstraint(fields=["client", "level", "index"], name="node_once_a_client")]

    def __str__(self) -> str:
        return f"node {self.level}/{self.index} of {self.client_id}"


class CheckpointRecord(ScopedModel):
    """A signed root of a client's log."""

    SCOPE_VIEW: ClassVar[Permission | None] = Permission.EVIDENCE_VIEW

    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="checkpoints")
    size = models.PositiveBigIntegerField()
    root = models.BinaryField(max_length=32)
    at = models.DateTimeField()
    envelope = models.BinaryField()
    """DSSE envelope of a ``trust.statements.Checkpoint``, signed by the log's key."""

    class Meta:
        ordering = ["client", "size"]
        constraints = [UniqueConstraint(fields=["client", "size"], name="checkpoint_size_once_a_client")]

    def __str__(self) -> str:
        return f"checkpoint over {self.size} of {self.client_id}"
