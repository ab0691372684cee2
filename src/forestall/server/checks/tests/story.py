"""Telling a rule a story: what is known of a device, a moment, and what the check then says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from forestall.server.checks.judging import judge_kind
from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.result import Known, Result, Series, Status
from forestall.server.checks.rules import policy_of
from forestall.wire.facts import Document, Facts, System

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ENROLLED = NOW - timedelta(days=60)
PASS, WARN, FAIL, UNKNOWN, STALE = Status.PASS, Status.WARN, Status.FAIL, Status.UNKNOWN, Status.STALE

DEBIAN = System(
    hostname="web-01",
    os_id="debian",
    os_name="Debian GNU/Linux 13 (trixie)",
    os_version="13.6",
    virtualisation="none",
    memory_bytes=8_000_000_000,
    reboot_required=False,
    booted_at=NOW - timedelta(days=3),
)


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def known_with(*documents: Document, **others: Any) -> Known:
    """A device that checked in just now and has just sent these documents."""
    facts = Facts()
    for document in documents:
        facts = facts.with_document(document)
    defaults: dict[str, Any] = {
        "facts": facts,
        "collected_at": {document.name(): NOW for document in documents},
        "enrolled_at": ENROLLED,
        "last_check_in_at": NOW,
    }
    return Known(**{**defaults, **others})


def series(*values: float, step: float = 60, end: datetime = NOW) -> Series:
    """Samples ``step`` seconds apart, the last one at ``end``."""
    last = end.timestamp()
    return Series(times=[last - step * (len(values) - 1 - index) for index in range(len(values))], values=list(values))


def judged(
    kind: str, known: Known, *, previous: Mapping[str, Status] | None = None, at: datetime = NOW, **policy: Any
) -> dict[str, Result]:
    """What the kind says, by target."""
    chosen = CHECK_KINDS[kind]
    results = judge_kind(chosen, known, policy_of(chosen, [policy]), at, previous or {})
    return {result.target: result for result in results}
