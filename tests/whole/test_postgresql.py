"""A whole installation on PostgreSQL: each part with its own role, and the move from SQLite to there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from installation import Installation, eventually

pytestmark = [pytest.mark.serial, pytest.mark.postgresql]

DRILL = "disk" if os.geteuid() == 0 else "backup"


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    one = Installation(home=tmp_path / "home")
    yield one
    one.stop()


def roles_at_work(url: str) -> set[str]:
    with psycopg.connect(url) as raw:
        rows = raw.execute("SELECT usename FROM pg_stat_activity WHERE datname = current_database()").fetchall()
    return {name.rpartition("_")[2] for (name,) in rows}


def environment_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text()


def test_the_loop_closes_on_postgresql(installation: Installation, empty_database: str) -> None:
    installation.extra["FORESTALL_DATABASE_URL"] = empty_database
    installation.start()
    assert not (installation.home / "server" / "forestall.sqlite3").exists()
    installation.forestall("drill", DRILL, timeout=200)
    assert {"console", "intake", "worker"} <= roles_at_work(empty_database)
    # No part holds the owner's password.
    owners = empty_database.partition("@")[0]
    for name, pid in installation.parts().items():
        assert name == "supervisor" or owners not in environment_of(pid), name
    status = json.loads(installation.forestall("db", "status", "--json").stdout)
    assert status["well"]
    assert status["engine"] == "postgresql"
    assert status["walls"] == status["walls_wanted"] > 30
    reports = installation.api.get("/reports")["items"]
    assert installation.api.raw("GET", f"/reports/{reports[0]['number']}/pdf").startswith(b"%PDF-")
    bundle = installation.home / "bundle"
    installation.forestall("evidence", "export", "--out", str(bundle))
    installation.forestall("verify", str(bundle))
    for log in ("console", "intake", "worker"):
        assert "Traceback" not in (installation.home / "logs" / f"{log}.log").read_text(), log
    installation.stop()


def test_a_live_installation_moves_and_its_device_goes_on(installation: Installation, empty_database: str) -> None:
    installation.start()
    device, before = installation.device(), json.loads(installation.forestall("db", "status", "--json").stdout)
    assert before["engine"] == "sqlite"
    refused = installation.forestall("db", "move", "--to", empty_database, check=False)
    assert refused.returncode == 2
    assert "add --stop" in refused.stderr
    moved = installation.forestall("db", "move", "--to", empty_database, "--stop", timeout=300).stdout
    assert "none differs" in moved
    assert installation.process is not None
    installation.process.wait(20)
    installation.process = None

    installation.start()
    after = json.loads(installation.forestall("db", "status", "--json").stdout)
    assert (after["engine"], after["well"]) == ("postgresql", True)
    assert all(after["rows"][table] >= before["rows"][table] for table in ("evidence_entry", "checks_check"))
    same = installation.device()
    assert same["id"] == device["id"]
    eventually(
        lambda: installation.device()["last_check_in_at"] > device["last_check_in_at"],
        seconds=90,
        what="a check-in after the move",
    )
    again = installation.forestall("db", "move", "--to", empty_database, check=False)
    assert "on PostgreSQL already" in again.stderr
