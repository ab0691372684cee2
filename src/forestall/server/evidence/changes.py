"""Records of a change: what a thing was before, and what it is now."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.models import Entry
from forestall.server.evidence.services import evidence_append
from forestall.server.people.models import Client


def change_record(
    *,
    client: Client,
    kind: EvidenceKind,
    what: str,
    name: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    by: str,
    now: datetime,
    site_id: UUID | None = None,
    device_id: UUID | None = None,
) -> Entry | None:
    """Put a change on the client's record: only the values that differ. None when nothing does.

    ``what`` is the thing in a word or two (``contact``, ``working hours``), ``name`` which one. ``before`` is None for
    what was made, ``after`` None for what is gone. Call it in the transaction of the change.
    """
    old, new = dict(before or {}), dict(after or {})
    if before is not None and after is not None:
        differing = [field for field in {**old, **new} if old.get(field) != new.get(field)]
        if not differing:
            return None
        old = {field: old.get(field) for field in differing}
        new = {field: new.get(field) for field in differing}
    act = "made" if before is None else "removed" if after is None else "changed"
    payload = {"what": what, "name": name, "act": act, "by": by, "before": old, "after": new}
    return evidence_append(client=client, kind=kind, payload=payload, now=now, site_id=site_id, device_id=device_id)
