"""An installation in a folder, made by the product's own steps in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from forestall.server.backup.rules import Settings
from forestall.server.home import Home

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)

POPULATE = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "forestall.server.settings"
import django; django.setup()
import sqlite3
from datetime import UTC, datetime, timedelta
from uuid import uuid4
from django.db import transaction
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import checkpoints_sign, evidence_append
from forestall.server.home import current_home
from forestall.server.intake.journal import Entry, EntryKind, Group, JournalFile
from forestall.server.inventory.models import Device, JournalPosition
from forestall.server.metrics.store import Batch, open_store
from forestall.server.people.models import Client, Site
from forestall.trust.keys import new_key, private_key, public_bytes
import numpy as np
home, now = current_home(), datetime(2026, 11, 23, 11, tzinfo=UTC)
log_key = private_key(home.log_key.read_bytes())
for name in ("Acme Ltd", "Bolt AG"):
    client = Client.objects.create(name=name, timezone="Europe/Berlin")
    site = Site.objects.create(client=client, name="Head office")
    device = Device.objects.create(client=client, site=site, name="web-01", public_key=public_bytes(new_key()),
        enrolled_at=now, status="approved", approved_at=now, job_counter=7)
    for number in range(40):
        with transaction.atomic():
            evidence_append(client=client, kind=EvidenceKind.CHECK_CHANGED, payload={"number": number}, now=now)
        if number % 10 == 9:
            checkpoints_sign(now=now + timedelta(seconds=number), log_key=log_key)
journal = JournalFile(home.journal)
journal.open()
group = Group()
group.entries = [Entry(EntryKind.CHECK_IN, device.pk.bytes, n, 1, None, "", b"x" * 2000, None) for n in range(1, 61)]
journal.commit(group)
JournalPosition.objects.update_or_create(pk=1, defaults={"journal": journal.name, "row": 20})
journal.commit(Group(trim_to=20))
journal.close()
store = open_store(home)
store.append([Batch(device.pk, ("cpu.used_percent",), [n * 60_000 for n in range(500)], np.random.rand(500, 1))])
"""


def environment(home: Path, **extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FORESTALL_")}
    return {**kept, "FORESTALL_HOME": str(home), **extra}


def run(home: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(home, **extra),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def installation(folder: Path, **extra: str) -> Home:
    """Keys, database, two clients with evidence, a journal with unapplied check-ins, samples."""
    for arguments in (("-m", "forestall.server.installation", "prepare"), ("-c", POPULATE)):
        done = run(folder, *arguments, **extra)
        assert done.returncode == 0, done.stderr
    return Home(folder)


def settings(home: Home) -> Settings:
    return Settings(home.backups)
