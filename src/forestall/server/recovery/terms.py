"""A protected system's row as rules and records read it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from forestall.server.recovery.matching import Wanted
from forestall.server.recovery.models import ProtectedSystem
from forestall.server.recovery.rules import Terms
from forestall.trust.proofs import ProofLevel


def terms_of(system: ProtectedSystem) -> Terms:
    """What is demanded of a system."""
    return Terms(
        rpo=timedelta(minutes=system.rpo_minutes),
        rto=None if system.rto_minutes is None else timedelta(minutes=system.rto_minutes),
        retention=timedelta(days=system.retention_days),
        copies=system.copies,
        off_site=system.off_site,
        offline=system.offline,
        level=cast(ProofLevel, system.wanted_level),
        every=timedelta(days=system.test_every_days),
        created_at=system.created_at,
    )


def wanted_of(system: ProtectedSystem) -> Wanted:
    """A system as it is looked for in backups."""
    device = system.device
    return Wanted(
        device=system.device_id,
        names=tuple({name for name in (device.hostname, device.name) if name}),
        kind=system.kind,
        what=system.what,
        named=frozenset((UUID(one["device"]), one["backup"]) for one in system.backups),
    )


def plain_terms(system: ProtectedSystem) -> dict[str, Any]:
    """What is demanded of a system, as evidence names it."""
    fields = (
        "kind", "what", "name", "importance", "rpo_minutes", "rto_minutes", "retention_days", "copies", "off_site",
        "offline", "wanted_level", "test_every_days", "test_by_itself", "test_most_mb", "test_rate_kb", "test_sample",
        "backups", "note",
    )  # fmt: skip
    return {name: getattr(system, name) for name in fields}
