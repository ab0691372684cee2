"""Where a device's memory and this log part: the server was restored from a backup, or somebody rewrote the log."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.models import Entry
from forestall.server.evidence.rules import ForeignCheckpointError
from forestall.server.evidence.services import evidence_append
from forestall.server.people.models import Client

log = logging.getLogger(__name__)


def device_word_append(
    *,
    client: Client,
    kind: EvidenceKind,
    payload: Mapping[str, Any],
    now: datetime,
    device_id: UUID,
    envelope: bytes,
    signer: bytes,
    site_id: UUID | None = None,
    ticket_id: int | None = None,
    job_id: str = "",
) -> Entry:
    """Append a device's own signed words. When they name a checkpoint that this log never had, they go on record as
    ``device:forked``: the server's word that the device said so, with the device's signature in it.

    As the device's own record it would spoil the proof of all of its client's evidence; left out, a device would be
    deaf and dumb after every restored backup, and a fork would be known to nobody.
    """
    try:
        return evidence_append(
            client=client,
            kind=kind,
            payload=payload,
            now=now,
            device_id=device_id,
            site_id=site_id,
            ticket_id=ticket_id,
            job_id=job_id,
            envelope=envelope,
            signer=signer,
        )
    except ForeignCheckpointError as error:
        log.warning("%s", error)
        return evidence_append(
            client=client,
            kind=EvidenceKind.DEVICE_FORKED,
            payload={"kind": str(kind), "says": dict(payload), "why": str(error), "envelope": envelope.decode()},
            now=now,
            device_id=device_id,
            site_id=site_id,
            ticket_id=ticket_id,
            job_id=job_id,
        )
