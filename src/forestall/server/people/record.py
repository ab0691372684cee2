"""What is done to people and places goes into the client's evidence log, in the transaction of the act.

People stand on the lowest line of the server and import no higher one, so the log listens (``evidence/apps.py``). With
nobody listening an act is refused: no change of rights goes unrecorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import connection
from django.dispatch import Signal

from forestall.server.people.models import Client

act_done = Signal()
"""Sent with ``client``, ``kind``, ``payload``, ``now`` and ``site_id``."""


class Act(StrEnum):
    """Kinds of evidence that people's own services leave; each is an ``EvidenceKind`` of the same value."""

    CLIENT_CHANGED = "client:changed"
    GRANT_CHANGED = "grant:changed"
    TOKEN_CHANGED = "token:changed"  # noqa: S105 - a kind of record


class UnrecordedError(RuntimeError):
    """An act that nobody would have recorded: outside a transaction, or with no log listening."""


def act_record(
    *,
    clients: Iterable[Client],
    kind: Act,
    what: str,
    name: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    by: str,
    now: datetime,
    site_id: UUID | None = None,
) -> None:
    """Put an act into the log of each of these clients: what it was before (None: it was not), and is now (None: it
    is gone). UnrecordedError outside a transaction."""
    if not connection.in_atomic_block:
        raise UnrecordedError(f"{kind}: record it in the transaction of the act")
    if not act_done.receivers:
        raise UnrecordedError(f"{kind}: no evidence log listens")
    done = "made" if before is None else "removed" if after is None else "changed"
    payload = {"what": what, "name": name, "act": done, "by": by, "before": before or {}, "after": after or {}}
    for client in clients:
        act_done.send(Act, client=client, kind=kind, payload=payload, now=now, site_id=site_id)
