"""From SQLite to PostgreSQL: every row, and the proof that none differs, before anything is switched.

The source is only read, under a lock that keeps writers out. The target must be empty; what a failed move has made
there is removed again. Afterwards a file in the data folder names the target, and the SQLite file stays as it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
from django.apps import apps
from django.core.management.color import no_style
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from psycopg import sql

from forestall.ledger import merkle
from forestall.server.database.roles import RolesError, connect, roles_ensure, secure
from forestall.server.database.url import VARIABLE, DatabaseUrl
from forestall.server.home import Home, write_private

SOURCE, TARGET = "default", "target"
PAGE = 500
"""Rows read at once."""
_MODULUS = 1 << 256

Tell = Callable[[str, int, int], None]
"""What is being done, and how many rows of how many are."""


class MoveError(RuntimeError):
    """The move cannot be done, or was not; SQLite is as it was. The message says why."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A table as a whole: how many rows, and a number that changes with any of them, in whatever order they come."""

    rows: int = 0
    sum: int = 0


@dataclass(frozen=True, slots=True)
class Moved:
    """What a move has done."""

    tables: int
    rows: int
    logs: int
    """Evidence logs whose Merkle root was computed anew from the target's entries."""


def move(*, home: Home, to: DatabaseUrl, tell: Tell, roles: bool = True) -> Moved:
    """Copy everything to ``to``, compare, and name it in the data folder. MoveError leaves everything as it was.

    Nothing of Forestall may run on the data folder meanwhile (the caller holds its lock). With ``roles``, the parts'
    roles and the walls are made, too, so that a server that does not let them in is found before the switch.
    """
    if not home.database.exists():
        raise MoveError(f"{home.database} is not there: nothing to move")
    _require_migrated()
    _require_empty(to)
    connections.settings[TARGET] = {**_defaults(), **to.settings(), "CONN_HEALTH_CHECKS": False}
    done = False
    try:
        with _writers_kept_out(home):
            tell("Making the tables", 0, 1)
            _migrate(to)
            tell("Making the tables", 1, 1)
            total = sum(count for _, count in _sizes())
            _copy(total, tell)
            differing = compare(total=total, tell=tell)
            if differing:
                raise MoveError(f"the copy differs from SQLite in {', '.join(differing)}")
            logs = _logs_hold(tell)
            if roles:
                with closing(connect(to)) as owner:
                    secure(owner, roles=roles_ensure(url=to, home=home))
        write_private(home.database_url, to.secret.encode() + b"\n")
        done = True
        return Moved(tables=len(_models()), rows=total, logs=logs)
    except (DatabaseError, psycopg.Error) as error:
        raise MoveError(" ".join(str(error).split())) from error
    except RolesError as error:
        raise MoveError(str(error)) from error
    finally:
        connections[TARGET].close()
        if not done:
            _empty(to)


def compare(*, total: int, tell: Tell) -> list[str]:
    """Read every row of every table on both sides; the tables that differ, each with how."""
    differing, done = [], 0
    for model in _models():
        sides = []
        for alias in (SOURCE, TARGET):
            digest = Digest()
            for rows, counted in _digests(model, alias):
                digest = rows
                tell("Comparing", min(2 * total, done + counted), 2 * total)
            done += digest.rows
            sides.append(digest)
        source, target = sides
        if source.rows != target.rows:
            differing.append(f"{model._meta.db_table} ({source.rows:,} rows there, {target.rows:,} here)")
        elif source != target:
            differing.append(f"{model._meta.db_table} (content of at least one of {source.rows:,} rows)")
    return differing


def row_hash(values: Sequence[Any]) -> int:
    """A row as a number: the same for the same values, whichever database they were read from."""
    hashed = hashlib.sha256()
    for value in values:
        kind, content = _plain(value)
        hashed.update(b"%b%d:" % (kind, len(content)))
        hashed.update(content)
    return int.from_bytes(hashed.digest(), "big")


def _plain(value: Any) -> tuple[bytes, bytes]:
    match value:
        case None:
            return b"n", b""
        case bool():
            return b"b", b"1" if value else b"0"
        case int():
            return b"i", b"%d" % value
        case float():
            return b"f", value.hex().encode()
        case str():
            return b"s", value.encode("utf-8", "surrogatepass")
        case bytes() | bytearray() | memoryview():
            return b"y", bytes(value)
        case datetime():
            return b"t", value.astimezone(UTC).isoformat().encode()
        case date() | time():
            return b"d", value.isoformat().encode()
        case timedelta():
            return b"u", str(value / timedelta(microseconds=1)).encode()
        case UUID():
            return b"g", value.bytes
        case Decimal():
            return b"m", str(value.normalize()).encode()
        case dict() | list():
            return b"j", json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
        case _:
            raise TypeError(f"a column of type {type(value).__name__} cannot be compared")


def _models() -> list[Any]:
    found = apps.get_models(include_auto_created=True)
    return [model for model in found if model._meta.managed and not model._meta.proxy]


def _fields(model: Any) -> list[Any]:
    return sorted(model._meta.concrete_fields, key=lambda one: one.column)


def _rows(model: Any, alias: str) -> Iterator[tuple[Any, ...]]:
    # The plain manager: a move concerns every client, and says so by being run on the server itself.
    names = [one.attname for one in _fields(model)]
    rows = model._base_manager.using(alias).order_by().values_list(*names)
    return iter(rows.iterator(chunk_size=PAGE))


def _digests(model: Any, alias: str) -> Iterator[tuple[Digest, int]]:
    digest = Digest()
    for row in _rows(model, alias):
        digest = Digest(digest.rows + 1, (digest.sum + row_hash(row)) % _MODULUS)
        if digest.rows % PAGE == 0:
            yield digest, digest.rows
    yield digest, digest.rows


def _sizes() -> list[tuple[Any, int]]:
    return [(model, model._base_manager.using(SOURCE).count()) for model in _models()]


def _defaults() -> Mapping[str, Any]:
    return {"ATOMIC_REQUESTS": False, "AUTOCOMMIT": True, "TIME_ZONE": None, "DISABLE_SERVER_SIDE_CURSORS": False}


def _require_migrated() -> None:
    executor = MigrationExecutor(connections[SOURCE])
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        raise MoveError(
            f"SQLite lacks {len(plan)} migrations of this version (first: {plan[0][0]}): run `forestall up` once"
        )
    known = {model._meta.db_table for model in _models()} | {"django_migrations"}
    strange = sorted(set(connections[SOURCE].introspection.table_names()) - known)
    if strange:
        raise MoveError(f"SQLite has tables that this version does not know: {', '.join(strange)}")


def _tables_of(raw: psycopg.Connection[Any]) -> list[str]:
    rows = raw.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()
    return [name for (name,) in rows]


def _require_empty(to: DatabaseUrl) -> None:
    try:
        with closing(connect(to)) as raw:
            there = _tables_of(raw)
            encoding, may_create = raw.execute(
                "SELECT pg_encoding_to_char(encoding), has_schema_privilege('public', 'CREATE')"
                " FROM pg_database WHERE datname = current_database()"
            ).fetchone() or ("", False)
    except psycopg.OperationalError as error:
        raise MoveError(f"{to}: {' '.join(str(error).split())}") from None
    if there:
        more = f" and {len(there) - 3} more" if len(there) > 3 else ""
        raise MoveError(f"{to} is not empty: it has the tables {', '.join(there[:3])}{more}")
    if encoding != "UTF8":
        raise MoveError(f"{to} is encoded in {encoding}, not UTF8")
    if not may_create:
        raise MoveError(f"{to}: {to.user} may not make tables in it; make it the owner of the database")


def _empty(to: DatabaseUrl) -> None:
    """Take back what a move has made, so that it can be tried again. It was empty before."""
    try:
        with closing(connect(to)) as raw, raw.transaction():
            for name in _tables_of(raw):
                raw.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.Identifier(name)))
    except psycopg.Error:
        # Its server is gone, most likely; the next try names the tables that are left.
        return


def _migrate(to: DatabaseUrl) -> None:
    # In a process of its own, to which the target is the database there is: a migration that fills in rows writes
    # them where they belong.
    done = subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--no-input", "--verbosity", "0"],
        env={**os.environ, VARIABLE: to.secret, "DJANGO_SETTINGS_MODULE": "forestall.server.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise MoveError(f"the tables could not be made: {done.stderr.strip().rpartition(chr(10))[2]}")


@contextmanager
def _writers_kept_out(home: Home) -> Iterator[None]:
    """SQLite's own write lock, held but not used: a command that would change something waits, and then gives up."""
    with closing(sqlite3.connect(home.database, isolation_level=None, timeout=10)) as lock:
        try:
            lock.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise MoveError(f"{home.database}: something is writing to it: {error}") from None
        try:
            yield
        finally:
            lock.execute("ROLLBACK")


def _copy(total: int, tell: Tell) -> None:
    """All rows in one transaction: the target has everything, or nothing."""
    target = connections[TARGET]
    target.ensure_connection()
    raw: psycopg.Connection[Any] = target.connection
    done = 0
    with raw.transaction():
        # What migrations put there on their own (content types, permissions) comes from the source, with its ids.
        names = sql.SQL(", ").join(sql.Identifier(model._meta.db_table) for model in _models())
        raw.execute(sql.SQL("TRUNCATE {}").format(names))
        for model in _models():
            done += _copy_table(raw, model, partial(_told, tell, done, total))
        _reset_sequences(raw)


def _told(tell: Tell, before: int, total: int, count: int) -> None:
    tell("Copying", before + count, total)


def _copy_table(raw: psycopg.Connection[Any], model: Any, tell: Callable[[int], None]) -> int:
    fields, count = _fields(model), 0
    columns = sql.SQL(", ").join(sql.Identifier(one.column) for one in fields)
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(model._meta.db_table), columns)
    try:
        with raw.cursor().copy(statement) as copy:
            for row in _rows(model, SOURCE):
                copy.write_row(
                    [one.get_db_prep_save(value, connections[TARGET]) for one, value in zip(fields, row, strict=True)]
                )
                count += 1
                if count % PAGE == 0:
                    tell(count)
    except psycopg.DataError as error:
        # What SQLite let in (it does not keep to lengths) and PostgreSQL does not.
        where = error.diag.context or f"{model._meta.db_table}, row {count + 1}"
        raise MoveError(f"{model._meta.db_table}: PostgreSQL does not take a row: {error} ({where})") from error
    tell(count)
    return count


def _reset_sequences(raw: psycopg.Connection[Any]) -> None:
    for statement in connections[TARGET].ops.sequence_reset_sql(no_style(), _models()):
        raw.execute(statement)
    with connections[SOURCE].cursor() as cursor:
        # A number that was given once is never given again, also when its row has gone (tickets, above all).
        cursor.execute("SELECT name, seq FROM sqlite_sequence WHERE seq > 0")
        given = dict(cursor.fetchall())
    for model in _models():
        pk = model._meta.pk
        if last := given.get(model._meta.db_table):
            raw.execute(
                "SELECT setval(s, greatest(%s, nextval(s) - 1)) FROM pg_get_serial_sequence(%s, %s) AS s"
                " WHERE s IS NOT NULL",
                (last, f'"{model._meta.db_table}"', pk.column),
            )


def _logs_hold(tell: Tell) -> int:
    """Compute every evidence log's Merkle root from the target's own entries; how many logs there are."""
    logs = apps.get_model("evidence.ClientLog")._base_manager.using(TARGET).order_by("pk")
    entries = apps.get_model("evidence.Entry")._base_manager.using(TARGET)
    total = logs.count()
    for number, log in enumerate(logs, 1):
        frontier = merkle.EMPTY
        leaves = entries.filter(client=log.client_id).order_by("index").values_list("leaf_hash", flat=True)
        for leaf in leaves.iterator(chunk_size=PAGE):
            frontier, _ = frontier.append(bytes(leaf))
        if (frontier.size, frontier.to_bytes()) != (log.size, bytes(log.peaks)):
            raise MoveError(f"the evidence log of client {log.client_id} does not add up to its root in the copy")
        tell("Computing the evidence logs' roots", number, total)
    return total
