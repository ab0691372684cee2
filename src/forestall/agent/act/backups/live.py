"""Rows in the tables of the live databases that a backup protects, where they can be asked.

Taken before and after the backup's command: a table with the same number both times has it in the backup, too. The
clients are run as the user of the real server where the agent is root and the settings name no other (``PGUSER``,
``PGPASSFILE``, ``MYSQL_HOME`` … in ``environment``).
"""

# ruff: noqa: S608 - names come from the server itself and are quoted as it wants them

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence

from forestall.agent.act.backups.running import Done, User, run
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.backup_settings import BackupSetting

MOST_TABLES = 2_000
MOST_ROWS = 1_000_000
"""Tables that the server itself thinks larger are not counted."""
MOST_SECONDS = 120.0
_POSTGRES = ("pg_dump", "pg_basebackup")
_MARIA = ("mariadb_dump",)


def live_tables(backup: BackupSetting, ctx: Context) -> dict[str, int]:
    """``database`` tab ``table`` → rows. Empty where nothing answers: then nothing is compared with it."""
    if backup.tool not in (*_POSTGRES, *_MARIA):
        return {}
    asking = Context(
        agent_home=ctx.agent_home, timeout_seconds=min(MOST_SECONDS, ctx.seconds_left), environment=ctx.environment
    )
    found: dict[str, int] = {}
    try:
        for database in backup.databases:
            tables = _postgres_tables(backup, asking, database)
            if backup.tool in _MARIA:
                tables = _maria_tables(backup, asking, database)
            found |= {f"{database}\t{name}": rows for name, rows in tables.items()}
    except ActionFailed:
        return {}  # no client, or too slow: the backup itself must not wait for this
    return found


def _postgres_tables(backup: BackupSetting, ctx: Context, database: str) -> dict[str, int]:
    if backup.tool not in _POSTGRES:
        return {}
    sql = (
        "select format('%I.%I', nspname, relname) from pg_class c join pg_namespace n on n.oid = relnamespace "
        "where relkind = 'r' and nspname not in ('pg_catalog', 'information_schema') "
        f"and reltuples <= {MOST_ROWS} order by 1 limit {MOST_TABLES}"
    )
    names = _rows(_psql(backup, ctx, database, sql))
    if not names:
        return {}
    each = " union all ".join(f"select {_literal(name)}, count(*) from {name}" for name in names)
    return _counted(_psql(backup, ctx, database, each))


def _maria_tables(backup: BackupSetting, ctx: Context, database: str) -> dict[str, int]:
    sql = (
        "select table_name from information_schema.tables where table_type = 'BASE TABLE' "
        f"and table_schema = {_literal(database)} and coalesce(table_rows, 0) <= {MOST_ROWS} "
        f"order by 1 limit {MOST_TABLES}"
    )
    names = _rows(_mariadb(backup, ctx, database, sql))
    if not names:
        return {}
    tables = [(name, "`" + name.replace("`", "``") + "`") for name in names]
    each = " union all ".join(f"select {_literal(name)}, count(*) from {quoted}" for name, quoted in tables)
    return _counted(_mariadb(backup, ctx, database, each))


def _psql(backup: BackupSetting, ctx: Context, database: str, sql: str) -> Done:
    argv = ["psql", "--no-psqlrc", "--quiet", "--no-password", "--tuples-only", "--no-align", "--field-separator=\t"]
    user = None if "PGUSER" in backup.environment else _user("postgres")
    return _ask(backup, ctx, [*argv, f"--dbname={database}", f"--command={sql}"], user)


def _mariadb(backup: BackupSetting, ctx: Context, database: str, sql: str) -> Done:
    return _ask(backup, ctx, ["mariadb", "--batch", "--skip-column-names", f"--execute={sql}", database], None)


def _ask(backup: BackupSetting, ctx: Context, argv: Sequence[str], user: User | None) -> Done:
    return run(argv, ctx, environment=backup.environment, user=user)


def _user(name: str) -> User | None:
    if os.geteuid() != 0:
        return None
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return User(uid=found.pw_uid, gid=found.pw_gid, name=name)


def _rows(done: Done) -> list[str]:
    if done.exit_code != 0:
        return []
    return [line for line in done.output.decode(errors="replace").splitlines() if line]


def _counted(done: Done) -> dict[str, int]:
    pairs = (line.rpartition("\t") for line in _rows(done))
    return {name: int(rows) for name, _, rows in pairs if rows.isdigit()}


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
