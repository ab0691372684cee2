"""The main database on PostgreSQL: dumped by ``pg_dump`` as it is at one moment, proved in a database made for that.

The account must read every row and make a database: the owner of the tables, with CREATEDB. The roles of console,
intake and worker can do neither. Grants and policies are not restored: ``forestall up`` makes them anew, because they
name roles of the cluster.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from forestall.server.backup.errors import BackupError, NotEmptyError, NotProvedError
from forestall.server.backup.snapshot import ClientRoot, Position, SnapshotError, Tick, client_root
from forestall.server.database.roles import connect
from forestall.server.database.url import VARIABLE, DatabaseUrl

DUMP = "server/forestall.pgdump"
PROOF = "_proof_"
"""In the name of databases made for a proof: ``forestall_proof_1a2b3c4d``."""
_NOT_RESTORED = re.compile(
    r"^\d+; \d+ \d+ (POLICY|ROW SECURITY|ACL|DEFAULT ACL|COMMENT \S+ (?:POLICY|SCHEMA)|SCHEMA - public)\b"
)


@dataclass(frozen=True, slots=True)
class PostgresMain:
    """A main database on PostgreSQL."""

    url: DatabaseUrl
    engine: str = "postgresql"
    path: str = DUMP

    def size(self) -> int:
        with _connected(self.url) as connection:
            return int(_one(connection, "SELECT pg_database_size(current_database())"))

    @contextmanager
    def snapshot(self) -> Iterator[PostgresSnapshot]:
        with _connected(self.url) as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            name = _one(connection, "SELECT pg_export_snapshot()")
            yield PostgresSnapshot(connection, self.url, str(name))


@dataclass(frozen=True, slots=True)
class PostgresSnapshot:
    """A database as one transaction sees it, and whoever it hands its snapshot to."""

    connection: psycopg.Connection[Any]
    url: DatabaseUrl
    name: str

    def position(self) -> Position:
        found = self.connection.execute("SELECT journal, row FROM inventory_journalposition WHERE id = 1").fetchone()
        return Position(*found) if found else Position("", 0)

    def copy(self, home: Path, tick: Tick) -> None:
        target = home / DUMP
        # Not compressed: the whole archive is, once.
        command = ["--format=custom", "--compress=0", "--no-owner", "--no-privileges", f"--snapshot={self.name}"]
        process = subprocess.Popen(
            [program("pg_dump"), *command, f"--file={target}", "--no-password"],
            env=_environment(self.url),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            done = 0
            while process.poll() is None:
                time.sleep(0.05)
                size = target.stat().st_size if target.exists() else 0
                tick(size - done)
                done = size
        except BaseException:
            process.kill()
            raise
        finally:
            _, said = process.communicate()
        if process.returncode != 0:
            raise SnapshotError(f"pg_dump: {_last(said)}")
        target.chmod(0o600)

    def rows(self) -> dict[str, int]:
        return _rows(self.connection)

    def logs(self) -> tuple[ClientRoot, ...]:
        return _logs(self.connection)


class PostgresRestored:
    """A restored database."""

    def __init__(self, url: DatabaseUrl, connection: psycopg.Connection[Any]) -> None:
        self._url = url
        self._connection = connection

    def damage(self) -> str | None:
        return None  # pg_restore ended well: every index and constraint was built from the rows

    def rows(self) -> dict[str, int]:
        return _rows(self._connection)

    def logs(self) -> tuple[ClientRoot, ...]:
        return _logs(self._connection)

    def environment(self) -> Mapping[str, str]:
        return {VARIABLE: self._url.secret}


@contextmanager
def postgres_proof(url: DatabaseUrl, dump: Path) -> Iterator[PostgresRestored]:
    """The dump, restored into a database of its own beside the real one, which is dropped afterwards."""
    name = f"{url.name[:40]}{PROOF}{secrets.token_hex(4)}"
    scratch = replace(url, name=name)
    with _connected(url) as owner:
        # Of a proof that was killed: nobody else is at one, the lock is held.
        left = owner.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (url.name[:40] + PROOF,))
        for (old,) in left.fetchall():
            owner.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(old)))
        try:
            owner.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege:
            raise BackupError(
                f"{owner.info.user} may not make a database to restore the backup into, so it cannot be proved. As an"
                f' administrator of the database, run once: ALTER ROLE "{owner.info.user}" CREATEDB'
            ) from None
        try:
            postgres_restore(scratch, dump)
            with _connected(scratch) as connection:
                yield PostgresRestored(scratch, connection)
        finally:
            owner.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def postgres_target(url: DatabaseUrl, dump: Path) -> Iterator[PostgresRestored]:
    """The dump, restored into the empty database ``url`` names; emptied again when what follows fails."""
    with _connected(url) as connection:
        there = _tables(connection)
        if there:
            raise NotEmptyError(f"the database {url} is not empty ({len(there)} tables); restore into an empty one")
        try:
            postgres_restore(url, dump)
            yield PostgresRestored(url, connection)
        except BaseException:
            for table in _tables(connection):
                connection.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(sql.Identifier(table)))
            raise


def postgres_restore(url: DatabaseUrl, dump: Path) -> None:
    """Restore a dump into an empty database. NotProvedError with pg_restore's words."""
    listed = subprocess.run([program("pg_restore"), "--list", str(dump)], capture_output=True, check=False)
    if listed.returncode != 0:
        raise NotProvedError(f"pg_restore: {_last(listed.stderr)}")
    wanted = [line for line in listed.stdout.decode().splitlines() if not _NOT_RESTORED.match(line)]
    chosen = dump.with_name(f".{dump.name}.list")
    chosen.write_text("\n".join(wanted) + "\n")
    try:
        options = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", "--no-password"]
        done = subprocess.run(
            [program("pg_restore"), *options, f"--use-list={chosen}", f"--dbname={url.name}", str(dump)],
            env=_environment(url),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    finally:
        chosen.unlink()
    if done.returncode != 0:
        raise NotProvedError(f"pg_restore: {_last(done.stderr)}")


def program(name: str) -> str:
    """Path of one of PostgreSQL's programs: on the PATH, or the newest of Debian's. BackupError."""
    if found := shutil.which(name):
        return found
    versions = [one for one in Path("/usr/lib/postgresql").glob(f"*/bin/{name}") if one.parent.parent.name.isdecimal()]
    if not versions:
        raise BackupError(f"{name} is not installed; on Debian: apt-get install postgresql-client")
    return str(max(versions, key=lambda one: int(one.parent.parent.name)))


@contextmanager
def _connected(url: DatabaseUrl) -> Iterator[psycopg.Connection[Any]]:
    try:
        connection = connect(url)
    except psycopg.OperationalError as error:
        raise BackupError(f"{url}: {' '.join(str(error).split())}") from None
    with connection:
        try:
            yield connection
        except psycopg.Error as error:
            raise BackupError(f"{url}: {' '.join(str(error).split())}") from error


def _one(connection: psycopg.Connection[Any], query: LiteralString) -> Any:
    found = connection.execute(query).fetchone()
    return found[0] if found else None


def _tables(connection: psycopg.Connection[Any]) -> list[str]:
    found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
    return [name for (name,) in found]


def _rows(connection: psycopg.Connection[Any]) -> dict[str, int]:
    counted = {}
    for name in _tables(connection):
        found = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))).fetchone()
        counted[name] = int(found[0]) if found else 0
    return counted


def _logs(connection: psycopg.Connection[Any]) -> tuple[ClientRoot, ...]:
    found = connection.execute("SELECT client_id::text, size, peaks FROM evidence_clientlog ORDER BY client_id::text")
    return tuple(client_root(*row) for row in found)


def _environment(url: DatabaseUrl) -> dict[str, str]:
    """For libpq's programs: nothing secret on a command line, which anybody on the machine can read."""
    named = {"PGDATABASE": url.name, "PGHOST": url.host, "PGPORT": url.port, "PGUSER": url.user,
             "PGPASSWORD": url.password}  # fmt: skip
    named |= {f"PG{key.upper()}": value for key, value in url.options if key.startswith("ssl")}
    return {**os.environ, **{name: value for name, value in named.items() if value}}


def _last(said: bytes) -> str:
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "no answer")[:500]
