"""What was signed with the keys of an operator's folder, kept beside them: ``signed.jsonl``.

The server counts how many devices one signature reaches, and a server that was taken over can lie. This file is the
operator's own count. No Django, no database.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from forestall.trust.statements import Job

JOURNAL = "signed.jsonl"
DAY = timedelta(hours=24)
KEPT_BYTES = 4 * 1024 * 1024
"""How much of the file's end is looked at: more than a day's work."""


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """One signature."""

    at: datetime
    job_id: str
    client_id: str
    slug: str
    devices: list[str]
    dry_run: bool = False


def journal_add(folder: Path, *, statement: Job, slug: str, now: datetime) -> None:
    """Note that a job was signed. OSError when it cannot be noted."""
    line = Signed(
        at=now,
        job_id=statement.job_id,
        client_id=statement.client_id,
        slug=slug,
        devices=sorted(statement.devices),
        dry_run=statement.dry_run,
    )
    descriptor = os.open(folder / JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")


def covered_devices(folder: Path, *, client_id: str, slug: str, now: datetime) -> set[str]:
    """Devices of a client that jobs with this runbook, signed here in the last 24 hours, reach. Dry runs do not count,
    nor do lines that cannot be read."""
    found: set[str] = set()
    try:
        with (folder / JOURNAL).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - KEPT_BYTES))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return found
    for line in lines:
        try:
            signed = msgspec.json.decode(line, type=Signed)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # torn by a crash, or cut at the beginning of what was read
        if (signed.client_id, signed.slug) == (client_id, slug) and not signed.dry_run and now - signed.at < DAY:
            found |= set(signed.devices)
    return found
