"""V7: an act and its evidence commit together or not at all. Errors and kills at every statement boundary."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import connection, transaction

from forestall.server.evidence import services
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.models import ClientLog, Entry, LogNode
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Scope
from forestall.server.people.services import client_create, site_create

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
EVERYTHING = Scope.system("test")


class PulledPlugError(Exception):
    pass


def open_a_site(client: Client, name: str) -> None:
    """An act and its evidence, as every service writes them."""
    with transaction.atomic():
        site = site_create(client=client, name=name)
        services.evidence_append(
            client=client, kind=EvidenceKind.TICKET_OPENED, payload={"name": name}, now=NOW, site_id=site.pk
        )


def everything() -> list[object]:
    models = (Site, Entry, LogNode, ClientLog)
    return [list(model.objects.visible_to(EVERYTHING).order_by("pk").values()) for model in models]


def fails_before(statement: int, act: Callable[[], object]) -> bool:
    """Run ``act`` in a transaction and pull the plug before its statement of this number, or else before the commit;
    whether it was before a statement."""
    count, finished = 0, False

    def fault(execute, sql, params, many, context):
        nonlocal count
        if count == statement and not finished:
            raise PulledPlugError(sql)
        count += 1
        return execute(sql, params, many, context)

    try:
        with connection.execute_wrapper(fault), transaction.atomic():
            act()
            finished = True
            raise PulledPlugError("before the commit")
    except PulledPlugError:
        return not finished


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("entries_before", [0, 1, 7])
def test_v7_an_error_at_any_statement_leaves_neither_act_nor_evidence(entries_before: int) -> None:
    client = client_create(name="Acme", timezone="UTC")
    for n in range(entries_before):
        open_a_site(client, f"site {n}")
    before, statement = everything(), 0
    while fails_before(statement, lambda: open_a_site(client, "new")):
        assert everything() == before, f"statement {statement}"
        statement += 1
    assert everything() == before, "before the commit"
    # On SQLite the BEGIN is a statement of its own, too.
    assert statement >= 7
    open_a_site(client, "new")
    changed = [after != was for after, was in zip(everything(), before, strict=True)]
    assert changed == [True, True, entries_before % 2 == 1, True]


@pytest.mark.django_db(transaction=True)
def test_v7_an_error_during_an_erasure_leaves_the_content_and_no_word_of_it() -> None:
    client = client_create(name="Acme", timezone="UTC")
    open_a_site(client, "shop")
    (entry,) = Entry.objects.visible_to(EVERYTHING)

    def erase() -> None:
        services.payload_erase(entry=entry, scope=EVERYTHING, reason="asked", now=NOW)

    before, statement = everything(), 0
    while fails_before(statement, erase):
        assert everything() == before, f"statement {statement}"
        statement += 1
    assert everything() == before, "before the commit"
    assert statement >= 8
    erase()
    assert [row.erased_by for row in Entry.objects.visible_to(EVERYTHING).order_by("index")] == [1, None]


# A server of its own, in a folder of its own, so that its processes can be killed for good.
SERVER = """
import json, os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
import django
django.setup()
from django.core.management import call_command
from django.db import connection, transaction
from forestall.server.evidence import bundle, services
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.models import Entry
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Scope
from forestall.server.people.services import client_create, site_create
from forestall.server.settings import HOME
from forestall.trust.keys import private_key

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ALL = Scope.system("test")
HOME.server.mkdir(parents=True)
call_command("migrate", run_syncdb=True, verbosity=0)
client = client_create(name="Acme", timezone="UTC")

def act(name):
    with transaction.atomic():
        site = site_create(client=client, name=name)
        services.evidence_append(client=client, kind=EvidenceKind.TICKET_OPENED, payload={"name": name}, now=NOW,
                                 site_id=site.pk)

def child(work):
    connection.close()  # an open SQLite file must not be carried over a fork
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid

def killed_at(boundary, after, name):
    def work():
        count = 0
        def wrapper(execute, sql, params, many, context):
            nonlocal count
            if count == boundary and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = execute(sql, params, many, context)
            if count == boundary:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            return result
        with connection.execute_wrapper(wrapper):
            act(name)
    return os.waitstatus_to_exitcode(os.waitpid(child(work), 0)[1]) == -signal.SIGKILL

def state():
    sites = sorted(Site.objects.visible_to(ALL).values_list("name", flat=True))
    words = sorted(entry.payload["name"] for entry in Entry.objects.visible_to(ALL))
    return sites, words

kills, torn, boundary = 0, [], 0
while True:
    alive = 0
    for after in (False, True):
        name = f"{boundary} {after}"
        before = state()
        if killed_at(boundary, after, name):
            kills += 1
            if state() != before:
                torn.append(name)
        else:
            alive += 1
            if state() != (sorted([*before[0], name]), sorted([*before[1], name])):
                torn.append(name)
    if alive:
        break
    boundary += 1

def crowd(number):
    return child(lambda: [act(f"crowd {number} {n}") for n in range(25)])

for pid in [crowd(number) for number in range(4)]:
    os.waitpid(pid, 0)
sites, words = state()
bundle.bundle_write(scope=ALL, client_id=None, path=Path(sys.argv[1]), now=NOW, log_key=private_key(bytes(32)))
crowded = len([word for word in words if "crowd" in word])
print(json.dumps({"kills": kills, "torn": torn, "same": sites == words, "crowd": crowded}))
"""


def test_v7_a_kill_at_any_statement_and_a_crowd_of_writers_leave_one_whole_log(tmp_path: Path) -> None:
    """Real processes on a real file: killed before and after each statement; then four append at the same moment."""
    from forestall.verify import verify_bundle

    environment = {
        **os.environ,
        "FORESTALL_HOME": str(tmp_path / "home"),
        "DJANGO_SETTINGS_MODULE": "forestall.server.settings",
    }
    path = tmp_path / "bundle"
    done = subprocess.run(
        [sys.executable, "-c", SERVER, str(path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["torn"] == []
    assert found["same"]
    assert found["kills"] >= 10
    assert found["crowd"] == 100
    verdict = verify_bundle(path)
    assert verdict.valid
    assert verdict.entries >= 100
