# ruff: noqa: E402 - Django is set up before the models are imported
"""The rest of the server, for tests of the real intake process: its own process on the same data folder.

Reads one JSON request a line (``{"do": name, ...}``), answers one line.
"""

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "forestall.server.settings")

import django

django.setup()

from django.core.management import call_command
from django.db import connection

from forestall.server.certificates import ca_fingerprint, certificates_ensure
from forestall.server.evidence.queries import entries
from forestall.server.home import current_home, intake_address, read_or_make_secret, write_private
from forestall.server.intake.apply import journal_apply
from forestall.server.inventory import queries, services
from forestall.server.metrics.store import open_store
from forestall.server.outbox.models import OutboxEvent
from forestall.server.people.queries import clients, sites
from forestall.server.people.scope import Scope
from forestall.server.people.services import client_create, site_create
from forestall.server.runbooks.operator import operator_init
from forestall.server.runbooks.services import authority_install
from forestall.trust.keys import new_key, private_bytes

HOME = current_home()
SCOPE = Scope.system("test")
STORE = open_store(HOME)


def now():
    return datetime.now(UTC)


def setup():
    HOME.server.mkdir(parents=True, exist_ok=True)
    read_or_make_secret(HOME.session_secret)
    write_private(HOME.log_key, private_bytes(new_key()))
    call_command("migrate", run_syncdb=True, interactive=False, verbosity=0)
    certificates_ensure(home=HOME, address=intake_address(), now=now())
    authority_install(bundle=operator_init(folder=HOME.operator, now=now()), now=now())
    for name in ("Acme", "Globex"):
        client = client_create(name=name, timezone="UTC")
        site_create(client=client, name="Main site")
    return HOME.ca_file.read_text()


def token(client="Acme", hours=24):
    site = sites(scope=SCOPE).get(client__name=client)
    return services.enrolment_token_create(
        site=site,
        scope=SCOPE,
        now=now(),
        lifetime=timedelta(hours=hours),
        ca_fingerprint=ca_fingerprint(HOME),
        root_fingerprint="0" * 64,
    )


def device(device):
    return queries.devices(scope=SCOPE).get(pk=UUID(device))


def approve(device_id):
    services.device_approve(device=device(device_id), scope=SCOPE, now=now())


def revoke(device_id):
    services.device_revoke(device=device(device_id), scope=SCOPE, reason="stolen", now=now())


def apply():
    done = 0
    while count := journal_apply(home=HOME, store=STORE, now=now()):
        done += count
    return done


def samples(device_id, name):
    start = now() - timedelta(days=9)
    found = STORE.range(device_id=UUID(device_id), names=[name], start=start, end=now() + timedelta(hours=1))
    return found[name].mean.tolist() if name in found else []


def state(device_id):
    found = device(device_id)
    return {
        "name": found.name,
        "status": found.status,
        "last_check_in_at": found.last_check_in_at and found.last_check_in_at.timestamp(),
        "clock_offset_seconds": found.clock_offset_seconds,
        "boot_id": found.boot_id,
        "facts": sorted(queries.facts_meta(scope=SCOPE, device=found)),
        "refusals": {row.code: row.count for row in queries.refusals(scope=SCOPE, device=found)},
        "set_aside": [[row.part, row.error] for row in queries.set_aside(scope=SCOPE, device=found)],
        "evidence": [entry.kind for entry in entries(scope=SCOPE).filter(device_id=found.pk).order_by("index")],
        "changes": [row.summary for row in queries.facts_changes(scope=SCOPE, device=found)],
    }


def events(name):
    return [[row.subject, row.detail] for row in OutboxEvent.objects.filter(name=name)]


def client_ids():
    return {one.name: str(one.pk) for one in clients(scope=SCOPE)}


def hold_database(seconds):
    """Keep the main database's write lock for a while, as a long transaction would."""
    import time

    with connection.cursor() as cursor:
        cursor.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        cursor.execute("ROLLBACK")


ACTS = {
    act.__name__: act
    for act in (setup, token, approve, revoke, apply, samples, state, events, client_ids, hold_database)
}

for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = {"answer": ACTS[request.pop("do")](**request)}
    except Exception as error:  # noqa: BLE001 - told to the test, which fails with it
        import traceback

        answer = {"error": f"{type(error).__name__}: {error}\n{traceback.format_exc()}"}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
