"""An installation of the first release, with three drills' worth of data, is brought to the newest schema.

The database is a recording of a real one (see ``recorded/README.md``). It is upgraded as an operator would do it: a
process of its own, on a data folder of its own.
"""

from __future__ import annotations

import json
import lzma
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

RECORDED = Path(__file__).parent / "recorded" / "schema-1.sql.xz"

LOOK = """
import json, django
django.setup()
from datetime import UTC, datetime
from forestall.ledger.merkle import Frontier
from forestall.server.evidence.models import ClientLog, Entry
from forestall.server.people.models import Client, Person
from forestall.server.people.queries import scope_of
from forestall.server.people.scope import Permission, Scope
from forestall.server.tickets.queries import tickets

self = Scope.system("test")
log = ClientLog.objects.visible_to(self).get()
frontier = Frontier(size=0, peaks=())
for leaf_hash in Entry.objects.visible_to(self).order_by("index").values_list("leaf_hash", flat=True):
    frontier, _ = frontier.append(bytes(leaf_hash))
admin = scope_of(Person.objects.get(username="admin"))
client = Client.objects.visible_to(self).get()
print(json.dumps({
    "root_holds": frontier.root() == log.frontier.root(),
    "everything": all(admin.everywhere(permission) for permission in Permission),
    "tickets": tickets(scope=admin).count(),
    "client": [client.name, client.operating_model, client.sla_tier, client.removed_at],
}))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data folder whose database the first release left behind."""
    (tmp_path / "server").mkdir()
    with closing(sqlite3.connect(tmp_path / "server" / "forestall.sqlite3")) as database:
        database.executescript(lzma.decompress(RECORDED.read_bytes()).decode())
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FORESTALL_")}
    return {**kept, "FORESTALL_HOME": str(home), "DJANGO_SETTINGS_MODULE": "forestall.server.settings"}


def upgrade(home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "django", "migrate", "--no-input"],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
    )


def rows(home: Path) -> dict[str, int]:
    """Table → number of rows, of the tables that hold what people have."""
    with closing(sqlite3.connect(home / "server" / "forestall.sqlite3")) as database:
        tables = [
            name
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if not name.startswith(("django_", "auth_", "sqlite_"))
        ]
        return {name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}  # noqa: S608


def look(home: Path) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", LOOK], env=environment(home), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def require_whole(home: Path, before: dict[str, int]) -> None:
    after = rows(home)
    assert {name: after[name] for name in before} == before
    assert look(home) == {
        "root_holds": True,
        "everything": True,
        "tickets": before["tickets_ticket"],
        "client": ["My organisation", "outsourced", "standard", None],
    }


def test_an_upgrade_keeps_every_row_and_every_proof(home):
    before = rows(home)
    assert before["evidence_entry"] == 126
    process = upgrade(home)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    require_whole(home, before)


@pytest.mark.parametrize("migration", [1, 3, 6])
def test_v20_an_upgrade_that_was_killed_midway_is_finished_by_the_next(home, migration):
    before = rows(home)
    process = upgrade(home)
    seen = ""
    while seen.count("Applying") < migration and (letter := process.stdout.read(1)):
        seen += letter
    process.kill()
    process.communicate()
    again = upgrade(home)
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    require_whole(home, before)
