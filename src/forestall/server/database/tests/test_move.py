"""A move from SQLite to PostgreSQL: everything arrives, and whatever differs is found before anything is switched."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.server.database.move import row_hash

on_postgresql = pytest.mark.postgresql

FILL = """
from datetime import UTC, datetime
from django.db import connection, transaction
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import checkpoints_sign, evidence_append
from forestall.server.inventory.models import Device
from forestall.server.outbox.models import OutboxEvent
from forestall.server.people.services import client_create, site_create
from forestall.server.home import current_home
from forestall.trust.keys import private_key
NOW = datetime(2026, 11, 23, 9, 0, 0, 123456, tzinfo=UTC)
for name in ("Bäckerei „Krümel“", "Clinic ☤ \\t\\n"):
    client = client_create(name=name, timezone="Europe/Berlin")
    site = site_create(client=client, name="Shop")
    with transaction.atomic():
        device = Device.objects.create(client=client, site=site, name="pc", public_key=bytes(range(32)),
                                       enrolled_at=NOW, clock_offset_seconds=-0.1)
        for number in range(37):
            evidence_append(client=client, kind=EvidenceKind.TICKET_OPENED, payload={"n": number, "ü": [1.5, None]},
                            now=NOW, site_id=site.pk, device_id=device.pk)
        for number in range(600):
            OutboxEvent.objects.create(name="x", subject=str(number), at=NOW, detail={"b": 1, "a": [True, 0.1, "ß"]})
        OutboxEvent.objects.order_by("-pk").first().delete()
checkpoints_sign(now=NOW, log_key=private_key(current_home().log_key.read_bytes()))
"""

MOVE = """
import sys
from forestall.server.database import move
from forestall.server.database.url import DatabaseUrl
from forestall.server.home import current_home
told = []
def go():
    try:
        done = move.move(home=current_home(), to=DatabaseUrl.parse(sys.argv[1]), tell=lambda *what: told.append(what),
                         roles=False)
    except move.MoveError as error:
        print("MoveError:", error)
    else:
        print(f"moved {done.rows} rows, {done.logs} logs")
real = move._copy_table
def damaged_by(statement):
    def copy(raw, model, tell):
        count = real(raw, model, tell)
        if model._meta.db_table in statement.split():
            raw.execute(statement)
        return count
    move._copy_table = copy
"""


def run(home: Path, script: str, *arguments: str, **environment: str) -> str:
    """Run a script with Django set up on a data folder; what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FORESTALL_")}
    code = "import django\ndjango.setup()\n" + script
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={
            **clean,
            "FORESTALL_HOME": str(home),
            "DJANGO_SETTINGS_MODULE": "forestall.server.settings",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation on SQLite with two clients in it."""
    home = tmp_path_factory.mktemp("filled")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FORESTALL_")}
    subprocess.run(
        [sys.executable, "-m", "forestall.server.installation", "prepare"],
        env={**clean, "FORESTALL_HOME": str(home)}, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    run(home, FILL)
    return home


@pytest.fixture
def home(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "home"))


def content(home: Path) -> str:
    return hashlib.sha256((home / "server" / "forestall.sqlite3").read_bytes()).hexdigest()


def tables(url: str) -> list[str]:
    with psycopg.connect(url) as raw:
        return [name for (name,) in raw.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]


def nothing_happened(home: Path, url: str, before: str) -> bool:
    return content(home) == before and not (home / "server" / "database.url").exists() and tables(url) == []


@on_postgresql
def test_everything_arrives_and_goes_on_from_there(home: Path, empty_database: str) -> None:
    before = content(home)
    script = MOVE + "go()\nassert {what for what, *_ in told} >= {'Copying', 'Comparing'}"
    assert run(home, script, empty_database).startswith("moved ")
    assert content(home) == before, "SQLite stays as it was"
    address = home / "server" / "database.url"
    assert oct(address.stat().st_mode)[-3:] == "600"
    assert run(
        home,
        """
from django.db import connection
from forestall.server.evidence.models import ClientLog
from forestall.server.outbox.models import OutboxEvent
from forestall.server.people.models import Client
from forestall.server.people.scope import Scope
everything = Scope.system("test")
print(connection.vendor, OutboxEvent.objects.count(), OutboxEvent.objects.first().detail)
print([client.name for client in Client.objects.visible_to(everything).order_by("created_at")][1:])
print([log.size for log in ClientLog.objects.visible_to(everything).filter(size=37)])
last = OutboxEvent.objects.order_by("-pk").first().pk
from datetime import UTC, datetime
print(OutboxEvent.objects.create(name="x", subject="", at=datetime.now(UTC)).pk - last)
""",
    ).splitlines() == [
        "postgresql 1198 {'a': [True, 0.1, 'ß'], 'b': 1}",
        "['Bäckerei „Krümel“', 'Clinic ☤ \\t\\n']",
        "[37, 37]",
        # The number of the row that was deleted last is not given again.
        "2",
    ]


@on_postgresql
def test_a_copy_that_differs_is_taken_back_and_nothing_is_switched(home: Path, empty_database: str) -> None:
    before = content(home)
    damage = "UPDATE people_site SET name = name || ' ' WHERE name = 'Shop'"
    said = run(home, MOVE + f"damaged_by({damage!r})\ngo()", empty_database)
    assert said == "MoveError: the copy differs from SQLite in people_site (content of at least one of 3 rows)"
    assert nothing_happened(home, empty_database, before)


DAMAGE = {
    "UPDATE inventory_device SET clock_offset_seconds = -0.10000000000000002": "inventory_device (content",
    "UPDATE outbox_outboxevent SET at = at + interval '1 microsecond' WHERE subject = '7'": "outbox_outboxevent (",
    """UPDATE outbox_outboxevent SET detail = '{"a": [true, 0.1, "s"], "b": 1}'""": "outbox_outboxevent (content",
    "UPDATE evidence_entry SET leaf_hash = decode(repeat('00', 32), 'hex') WHERE index = 7": "evidence_entry (content",
    "UPDATE people_client SET country = 'DE'": "people_client (content",
    "UPDATE inventory_device SET approved_by = 'mallory'": "inventory_device (content",
    "DELETE FROM evidence_lognode WHERE index = 3": "evidence_lognode (",
    "INSERT INTO django_session VALUES ('stray', '', now())": "django_session (0 rows there, 1 here)",
    # The sum over a table does not depend on the order of its rows, but on which values stand in one row.
    "UPDATE people_client SET timezone = CASE timezone WHEN 'UTC' THEN 'Europe/Berlin' ELSE 'UTC' END": "people_client",
}


COMPARE = """
import json
from django.db import connections, transaction
go()
move.connections.settings["target"] = {**move._defaults(), **DatabaseUrl.parse(sys.argv[1]).settings()}
quiet = lambda *what: None
found = [move.compare(total=1, tell=quiet)]
for damage in json.loads(sys.argv[2]):
    with transaction.atomic(using="target"):
        connections["target"].connection.execute(damage)
        found.append(move.compare(total=1, tell=quiet))
        transaction.set_rollback(True, using="target")
with transaction.atomic(using="target"):
    connections["target"].connection.execute(
        "UPDATE evidence_clientlog SET peaks = decode('00', 'hex') || substr(peaks, 2)")
    try:
        move._logs_hold(quiet)
    except move.MoveError as error:
        found.append([str(error)])
    transaction.set_rollback(True, using="target")
print(json.dumps(found))
"""


@on_postgresql
def test_whatever_differs_in_the_copy_is_found(home: Path, empty_database: str) -> None:
    said = run(home, MOVE + COMPARE, empty_database, json.dumps(list(DAMAGE)), FORESTALL_DATABASE_URL="").splitlines()
    undamaged, *found, log = json.loads(said[-1])
    assert undamaged == []
    for (damage, expected), differing in zip(DAMAGE.items(), found, strict=True):
        assert len(differing) == 1, damage
        assert differing[0].startswith(expected), damage
    assert "does not add up to its root in the copy" in log[0]


@on_postgresql
def test_a_target_that_is_not_empty_is_refused_and_left_alone(home: Path, empty_database: str) -> None:
    with psycopg.connect(empty_database) as raw:
        raw.execute("CREATE TABLE of_somebody_else (id int)")
    said = run(home, MOVE + "go()", empty_database)
    assert "is not empty: it has the tables of_somebody_else" in said
    assert tables(empty_database) == ["of_somebody_else"]


@on_postgresql
def test_what_postgresql_does_not_take_is_named(home: Path, empty_database: str) -> None:
    with closing(sqlite3.connect(home / "server" / "forestall.sqlite3")) as database, database:
        database.execute("UPDATE people_site SET name = 'a' || char(0) || 'b' WHERE rowid = 2")
    before = content(home)
    said = run(home, MOVE + "go()", empty_database)
    assert said.startswith("MoveError: people_site: PostgreSQL does not take a row")
    assert nothing_happened(home, empty_database, before)


@on_postgresql
def test_a_writer_is_waited_for_and_then_named(home: Path, empty_database: str) -> None:
    script = (
        "import sqlite3\nother = sqlite3.connect(current_home().database)\nother.execute('BEGIN IMMEDIATE')\n"
        "move.sqlite3 = type('Q', (), {'connect': lambda *a, **k: sqlite3.connect(*a, **{**k, 'timeout': 0}),"
        " 'OperationalError': sqlite3.OperationalError})\ngo()"
    )
    assert "something is writing to it" in run(home, MOVE + script, empty_database)


@on_postgresql
def test_a_server_that_is_not_there_is_named_without_the_password(home: Path) -> None:
    said = run(home, MOVE + "go()", "postgresql://ada:a-secret@/none?host=/nowhere")
    assert said.startswith("MoveError: postgresql://ada@/none?host=/nowhere: ")
    assert "a-secret" not in said


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(), st.uuids(),
    st.datetimes(timezones=st.just(UTC)), st.dates(), st.times(), st.lists(st.integers()),
    st.dictionaries(st.text(), st.integers()),
)  # fmt: skip


@given(st.lists(values), st.lists(values))
def test_rows_are_the_same_number_only_when_they_are_the_same(one, other) -> None:
    def typed(row):
        return [(type(value).__name__, value.hex() if isinstance(value, float) else value) for value in row]

    assert (row_hash(one) == row_hash(other)) == (typed(one) == typed(other))


def test_the_same_value_read_from_either_database_is_the_same() -> None:
    berlin = timezone(timedelta(hours=1))
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert row_hash([noon, b"x"]) == row_hash([noon.astimezone(berlin), memoryview(b"x")])
    assert row_hash([{"a": 1, "b": 2}]) == row_hash([{"b": 2, "a": 1}])
    assert row_hash([date(2026, 1, 1)]) != row_hash([time(0)])
    assert row_hash(["ab", "c"]) != row_hash(["a", "bc"])
    assert row_hash([UUID(int=1)]) != row_hash([str(UUID(int=1))])
    with pytest.raises(TypeError, match="a column of type object"):
        row_hash([object()])
