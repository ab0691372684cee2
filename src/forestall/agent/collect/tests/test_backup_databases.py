"""Backups of databases as the servers' own programs write them, read by their adapters."""

from __future__ import annotations

import gzip
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forestall import testing_cluster
from forestall.agent.collect import backups
from forestall.agent.collect.host import LocalHost
from forestall.wire.facts import BackupRepository


def identity(name: str) -> dict[str, int | list[int]]:
    """As root a server runs as its own user; without one, the test is skipped."""
    if os.geteuid() != 0:
        return {}
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        pytest.skip(f"there is no user {name}")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A socket's path must be short."""
    folder = Path(tempfile.mkdtemp(prefix="fs-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def look(tmp_path, monkeypatch):
    home = tmp_path / "agent"
    home.mkdir()
    monkeypatch.setenv("FORESTALL_AGENT_HOME", str(home))

    def read(tool: str, folder: Path, pattern: str = "") -> BackupRepository:
        lines = ["[[backup]]", 'name = "shop"', f'tool = "{tool}"', f'repository = "{folder}"']
        (home / "backups.toml").write_text("\n".join([*lines, f'pattern = "{pattern}"' if pattern else ""]))
        (home / "backups.toml").chmod(0o600)
        return next(each for each in backups.collect(LocalHost()).repositories if each.name == "shop")

    return read


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


@pytest.mark.skipif(testing_cluster.programs() is None, reason="PostgreSQL's programs are not here")
def test_postgresql_dumps_and_base_backups(short_folder, look):
    programs = testing_cluster.programs()
    assert programs is not None
    user = identity("postgres")
    run_as = {"check": True, "cwd": "/", "capture_output": True, **user}
    if user:
        os.chown(short_folder, user["user"], user["group"])
    data = short_folder / "data"
    initdb = [programs / "initdb", "-D", data, "-U", "ada", "--auth=trust", "--no-sync", "--locale=C.UTF-8"]
    subprocess.run(initdb, **run_as)
    options = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "log_min_messages=fatal"]
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, "-k", short_folder, *options], cwd="/", stderr=subprocess.DEVNULL, **user
    )
    try:
        connect = ["-h", short_folder, "-U", "ada"]
        for _ in range(100):
            if subprocess.run([programs / "pg_isready", *connect], check=False, capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        sql = "create database shop"
        subprocess.run([programs / "psql", *connect, "-c", sql, "postgres"], **run_as)
        rows = "create table orders as select generate_series(1, 20000) as id, 'chair' as what"
        subprocess.run([programs / "psql", *connect, "-c", rows, "shop"], **run_as)
        dumps = short_folder / "dumps"
        dumps.mkdir()
        dumps.chmod(0o777)
        pg_dump = [programs / "pg_dump", *connect]
        subprocess.run([*pg_dump, "-Fc", "-f", dumps / "shop.dump", "shop"], **run_as)
        subprocess.run([*pg_dump, "--create", "-f", dumps / "shop.sql", "shop"], **run_as)
        base = short_folder / "base"
        base.mkdir()
        base.chmod(0o777)
        backup = [programs / "pg_basebackup", *connect, "--checkpoint=fast", "-X", "stream"]
        subprocess.run([*backup, "-D", base / "monday"], **run_as)
        subprocess.run([*backup, "-D", base / "tuesday", "-Ft", "-z"], **run_as)
    finally:
        server.terminate()
        server.wait(20)

    archive = look("pg_dump", dumps, "*.dump")
    assert (archive.protects, archive.snapshots, archive.last_run_ok) == (("postgresql:shop",), 1, None)
    assert abs(archive.last_success_at - datetime.now(UTC)) < timedelta(minutes=5), "the time stands in the dump"
    text = look("pg_dump", dumps, "*.sql")
    assert (text.protects, text.last_run_ok) == (("postgresql:shop",), None)
    assert text.size_bytes > 100_000
    packed = dumps / "shop.sql.gz"
    packed.write_bytes(gzip.compress((dumps / "shop.sql").read_bytes()))
    assert look("pg_dump", dumps, "*.gz").protects == ("postgresql:shop",)
    cut(dumps / "shop.sql", 0.5)
    broken = look("pg_dump", dumps, "*.sql")
    assert (broken.last_run_ok, broken.last_success_at) == (False, None)
    assert broken.last_run_detail == "shop.sql is cut off: it does not end with 'dump complete'"

    found = look("pg_basebackup", base)
    assert {each.id for each in found.history} == {"monday", "tuesday"}
    assert {each.kind for each in found.history} == {"full"}
    assert found.size_bytes > 20_000_000
    assert found.protects == ("postgresql:*",)
    plain = look("pg_basebackup", base / "monday")
    assert (plain.chain_ok, plain.last_run_ok) == (True, None)
    assert plain.chain_detail.startswith("all 1 segments of write-ahead log")
    segment = next(path for path in (base / "monday/pg_wal").iterdir() if len(path.name) == 24)
    segment.rename(segment.with_name("0" * 24))
    assert look("pg_basebackup", base / "monday").chain_ok in (False, None)
    (base / "monday/backup_manifest").unlink()
    unfinished = look("pg_basebackup", base / "monday")
    assert (unfinished.last_run_ok, unfinished.last_run_detail) == (False, "monday has no manifest: it did not end")


@pytest.mark.skipif(shutil.which("mariadb-install-db") is None, reason="MariaDB is not installed")
def test_a_dump_of_mariadb(short_folder, look):
    user = identity("mysql")
    run_as = {"check": True, "cwd": "/", "capture_output": True, **user}
    if user:
        os.chown(short_folder, user["user"], user["group"])
    data, socket = short_folder / "data", short_folder / "s"
    install = [
        "mariadb-install-db",
        "--no-defaults",
        f"--datadir={data}",
        "--skip-test-db",
        "--auth-root-authentication-method=normal",
    ]
    subprocess.run(install, **run_as)
    program = shutil.which("mariadbd", path="/usr/sbin:/usr/bin:/usr/local/sbin") or "mariadbd"
    server = subprocess.Popen(
        [program, "--no-defaults", f"--datadir={data}", f"--socket={socket}", "--skip-networking", "--innodb-flush-log-at-trx-commit=0"],  # noqa: E501
        cwd="/", stderr=subprocess.DEVNULL, **user,
    )  # fmt: skip
    connect = ["--no-defaults", f"--socket={socket}", "--user=root"]
    try:
        for _ in range(200):
            if subprocess.run(["mariadb-admin", *connect, "ping"], check=False, capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        sql = "create database shop; use shop; create table orders as select seq from seq_1_to_5000"
        subprocess.run(["mariadb", *connect, "-e", sql], **run_as)
        dump = subprocess.run(["mariadb-dump", *connect, "shop"], **run_as)
    finally:
        server.terminate()
        server.wait(30)
    dumps = short_folder / "dumps"
    dumps.mkdir()
    (dumps / "shop.sql").write_bytes(dump.stdout)
    found = look("mariadb_dump", dumps)
    assert (found.protects, found.snapshots, found.last_run_ok) == (("mariadb:shop",), 1, None)
    assert abs(found.last_success_at - datetime.now(UTC)) < timedelta(minutes=5)
    cut(dumps / "shop.sql", 0.9)
    assert look("mariadb_dump", dumps).last_run_detail.endswith("is cut off: it does not end with 'Dump completed'")
