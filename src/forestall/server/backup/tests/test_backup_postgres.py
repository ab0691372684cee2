"""V21 on PostgreSQL: dumped at one moment with the journal, proved in a database of its own, restored into another."""

from __future__ import annotations

import secrets
from contextlib import closing

import pytest
from psycopg import sql

from forestall.server.backup.age import Identity
from forestall.server.backup.engines import OWNER_VARIABLE, main_database
from forestall.server.backup.errors import BackupError, NotEmptyError
from forestall.server.backup.postgres import DUMP, PROOF
from forestall.server.backup.services import backup_make, backup_verify, restore
from forestall.server.backup.tests.backup_world import NOON, installation, run, settings
from forestall.server.database.roles import connect
from forestall.server.database.url import VARIABLE, DatabaseUrl
from forestall.server.home import Home

pytestmark = pytest.mark.postgresql


def rows(url: str) -> dict[str, list]:
    with closing(connect(DatabaseUrl.parse(url))) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        every = {one: connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(one))) for (one,) in names}
        return {name: sorted(map(repr, found.fetchall())) for name, found in every.items()}


def databases(url: str) -> set[str]:
    with closing(connect(DatabaseUrl.parse(url))) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


@pytest.fixture
def another_database(empty_database):
    url = DatabaseUrl.parse(empty_database)
    name = f"forestall_{secrets.token_hex(4)}"
    with closing(connect(url)) as owner:
        owner.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield empty_database.replace(url.name, name)
    with closing(connect(url)) as owner:
        owner.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_v21_on_postgresql(empty_database, another_database, tmp_path, monkeypatch):
    home = installation(tmp_path / "home", **{VARIABLE: empty_database})
    monkeypatch.setenv(VARIABLE, empty_database)
    made = backup_make(home=home, settings=settings(home), now=NOON)
    assert (made.proof.entries, made.proof.logs) == (80, 2)
    assert not [name for name in databases(empty_database) if PROOF in name], "the database of the proof is dropped"
    key = Identity.parse(home.backup_key.read_text())
    assert backup_verify(home=home, file=made.file, secret=key, now=NOON).rows == made.proof.rows

    with pytest.raises(NotEmptyError, match="tables"):
        restore(file=made.file, home=Home(tmp_path / "onto"), secret=key)
    new = Home(tmp_path / "new")
    monkeypatch.setenv(VARIABLE, another_database)
    restore(file=made.file, home=new, secret=key)
    before, after = rows(empty_database), rows(another_database)
    differs = {name for name in before | after if before.get(name) != after.get(name)}
    assert differs <= {"inventory_device", "evidence_clientlog", "evidence_entry", "evidence_lognode"}
    assert set(after["evidence_entry"]) > set(before["evidence_entry"])
    assert not (new.root / DUMP).exists()
    # Without the variable: the restored installation knows its own database, makes its walls, and works.
    monkeypatch.delenv(VARIABLE)
    started = run(new.root, "-m", "forestall.server.installation", "prepare")
    assert started.returncode == 0, started.stderr
    exported = run(new.root, "-m", "forestall.cli.main", "evidence", "export", "--out", str(tmp_path / "bundle"))
    assert exported.returncode == 0, exported.stderr


def test_the_workers_role_is_told_what_it_lacks(empty_database, tmp_path):
    worker = DatabaseUrl.parse(empty_database)
    worker = worker.as_user(worker.role("worker"), "secret-password")
    with pytest.raises(BackupError, match=OWNER_VARIABLE) as caught:
        main_database(Home(tmp_path), {VARIABLE: worker.secret})
    assert "secret-password" not in str(caught.value)
    named = {VARIABLE: worker.secret, OWNER_VARIABLE: empty_database}
    assert main_database(Home(tmp_path), named).engine == "postgresql"


def test_an_account_that_may_not_make_a_database_is_told_so(empty_database, tmp_path, monkeypatch):
    home = installation(tmp_path / "home", **{VARIABLE: empty_database})
    url = DatabaseUrl.parse(empty_database)
    role = f"reader_{secrets.token_hex(4)}"
    with closing(connect(url)) as owner:
        owner.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'p' IN ROLE {}").format(
            sql.Identifier(role), sql.Identifier(owner.info.user)
        ))  # fmt: skip
    try:
        monkeypatch.setenv(OWNER_VARIABLE, url.as_user(role, "p").secret)
        with pytest.raises(BackupError, match="CREATEDB"):
            backup_make(home=home, settings=settings(home), now=NOON)
        assert [one.name for one in home.backups.iterdir()] == []
    finally:
        with closing(connect(url)) as owner:
            owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_nobody_answers(tmp_path):
    url = "postgresql://ada:secret-password@127.0.0.1:1/forestall"
    with pytest.raises(BackupError) as caught:
        main_database(Home(tmp_path), {VARIABLE: url}).size()
    assert "secret-password" not in str(caught.value)
