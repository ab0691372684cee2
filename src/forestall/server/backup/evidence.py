"""What is asked of a restored installation by the product's own code, in a process of its own.

``python -m forestall.server.backup.evidence verify|settle`` with FORESTALL_HOME naming the restored data folder:

- ``verify`` exports every client's evidence there and has the stand-alone verifier recompute every root and check
  every checkpoint's signature. Prints JSON: client → entries and root.
- ``settle`` makes a restored installation fit to take up its work (see ``settle``). Prints JSON: what it did.

Exit code 1 and one line on stderr when it does not hold.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import django
import msgspec

from forestall.server.home import Home, current_home

COUNTER_STEP = 10_000
"""How far commands' counters are moved on: further than any device can have been commanded since the backup, and far
below the million that a device takes as one step."""


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What ``settle`` did."""

    devices: int
    jobs: int
    clients: int


def verify(home: Home) -> dict[str, tuple[int, str]]:
    """Client → entries and root of its log, as the verifier computed them. ValueError when a log does not hold."""
    from forestall.server.evidence.bundle import NothingToExportError, bundle_write
    from forestall.server.people.scope import Scope
    from forestall.trust.keys import key_id, private_key, public_bytes
    from forestall.verify.bundle import verify_bundle

    log_key = private_key(home.log_key.read_bytes())
    bundle = home.root / "evidence.bundle"
    try:
        now = datetime.now(UTC)
        bundle_write(scope=Scope.system("backup"), client_id=None, path=bundle, now=now, log_key=log_key)
        verdict = verify_bundle(bundle, pinned_log_key=key_id(public_bytes(log_key)))
    except NothingToExportError:
        return {}
    finally:
        bundle.unlink(missing_ok=True)
    if verdict.problem is not None:
        raise ValueError(f"the evidence does not hold: {verdict.problem}")
    return {log.id: (log.entries, log.root) for log in verdict.clients}


def settle(*, backup_of: str, now: datetime) -> Settled:
    """Move every device's command counter on, give unsigned jobs a counter beyond it, and put on record in every
    client's log that it was restored, and from the backup of which time."""
    from django.db import transaction
    from django.db.models import F

    from forestall.server.evidence.kinds import EvidenceKind
    from forestall.server.evidence.services import evidence_append
    from forestall.server.inventory.models import Device
    from forestall.server.people.models import Client
    from forestall.server.people.scope import Scope
    from forestall.server.runbooks.services import jobs_renumber

    scope = Scope.system("restore")
    with transaction.atomic():
        devices = Device.objects.visible_to(scope).update(job_counter=F("job_counter") + COUNTER_STEP)
        jobs = jobs_renumber(now=now)
        clients = list(Client.objects.visible_to(scope))
        for client in clients:
            payload = {"backup_of": backup_of, "counters_moved_by": COUNTER_STEP}
            evidence_append(client=client, kind=EvidenceKind.SERVER_RESTORED, payload=payload, now=now)
    return Settled(devices=devices, jobs=jobs, clients=len(clients))


def main(arguments: list[str]) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "forestall.server.settings")
    import logging

    django.setup()
    logging.getLogger().setLevel(logging.WARNING)
    home = current_home()
    try:
        answer = verify(home) if arguments[:1] == ["verify"] else settle(backup_of=arguments[1], now=datetime.now(UTC))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer: this installation does not work
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    return 0


def command(what: str, *arguments: str) -> list[str]:
    """The command line of this module."""
    return [sys.executable, "-m", "forestall.server.backup.evidence", what, *arguments]


def environment_of(home: Path) -> dict[str, str]:
    """The environment in which a process works on the data folder ``home``, and on nothing else."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("FORESTALL_")},
        "FORESTALL_HOME": str(home),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
