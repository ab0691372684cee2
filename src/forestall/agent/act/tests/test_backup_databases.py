"""Omar's nightly dump is loaded into a server of its own; whatever else it holds, it does no harm there."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from bench.backup_faults import Live, World, healthy_rsync

from forestall.agent.act.backups import servers
from forestall.agent.act.backups.running import can_cut_off
from forestall.agent.act.backups.servers import postgres_programs
from forestall.agent.act.context import ActionFailed


def has_postgres() -> bool:
    try:
        return bool(postgres_programs()) and shutil.which("psql") is not None and shutil.which("rsync") is not None
    except ActionFailed:
        return False


pytestmark = pytest.mark.skipif(not has_postgres(), reason="PostgreSQL's server, psql or rsync is not installed")

DUMP = """--
-- PostgreSQL database dump
--
CREATE TABLE public.orders (id integer, words text);
ALTER TABLE public.orders OWNER TO omar;
COPY public.orders (id, words) FROM stdin;
1\tO'Brien
2\tGröße
\\.
{more}
--
-- PostgreSQL database dump complete
--
"""


@pytest.fixture
def nightly(tmp_path):
    """A backup of files, the dump of a database among them."""

    def make(more: str = "") -> World:
        world = World(tmp_path / "shop", "rsync", random.Random(3), Live(tmp_path / "live"))
        (world.source / "dumps").mkdir()
        (world.source / "dumps" / "orders.sql").write_text(DUMP.format(more=more))
        healthy_rsync(world)
        world.say(databases=["orders"], query="select count(*) from orders", expect="2")
        return world

    return make


def test_a_dump_among_the_files_is_loaded_asked_and_leaves_nothing(nightly, monkeypatch):
    made: list[Path] = []
    real = servers.tempfile.mkdtemp

    def recording(**named: str) -> str:
        made.append(Path(real(**named)))
        return str(made[-1])

    world = nightly()
    monkeypatch.setattr(servers.tempfile, "mkdtemp", recording)
    answer = 'test "$(psql --no-psqlrc -tAc "select words from orders where id = 2")" = "Größe"'
    world.say(check=["sh", "-c", answer])
    proof = world.prove("application")
    assert proof.ok, proof.detail
    for words in ("a private PostgreSQL started", "answered as expected", "check sh passed", "1 tables were loaded"):
        assert words in proof.detail
    assert made
    assert not any(folder.exists() for folder in made)  # of its sockets
    assert list((world.home / "restore-tests").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only then the server runs as another user")
def test_what_a_dump_runs_has_no_rights_no_network_and_no_say(nightly, tmp_path):
    mine, theirs = tmp_path / "mine", Path(tempfile.mkdtemp())  # pytest's own folder is closed to others
    theirs.chmod(0o777)
    world = nightly(
        f"\\! id -u > {theirs}/who; cat /proc/net/dev > {theirs}/net; touch {mine} {tmp_path}/shop/agent/x\n"
        f"COPY (SELECT 1) TO PROGRAM 'id -u > {theirs}/server';"
    )
    world.say(query="select count(*) from orders", expect="3")
    proof = world.prove("database")
    assert not proof.ok
    assert "the query answers '2', expected is '3'" in proof.detail
    assert not mine.exists()
    assert not (world.home / "x").exists()
    assert (theirs / "who").read_text().strip() == (theirs / "server").read_text().strip() != "0"
    net = (theirs / "net").read_text()
    shutil.rmtree(theirs)
    if can_cut_off():
        devices = [line.partition(":")[0].strip() for line in net.splitlines() if ":" in line]
        assert devices == ["lo"]


def test_a_dump_that_is_not_among_the_files_is_missed(nightly):
    world = nightly()
    world.say(databases=["ledger"])
    proof = world.prove("database")
    assert not proof.ok
    assert "there is no dump of ledger among the restored files" in proof.detail
