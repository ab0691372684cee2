"""What the database is and how it stands: for ``forestall db status``."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from forestall.server.database import walls
from forestall.server.database.url import NO_ROLES, PARTS, SWITCH, database_url
from forestall.server.home import Home


@dataclass(frozen=True, slots=True)
class Status:
    """A database at one moment."""

    engine: str
    """``sqlite`` or ``postgresql``."""
    version: str
    where: str
    """Path, or address without password."""
    bytes: int
    applied: int
    """Migrations that were applied."""
    pending: tuple[str, ...]
    """Migrations of this version that were not."""
    rows: dict[str, int]
    """Table → rows."""
    roles: tuple[str, ...]
    """PostgreSQL: the parts' roles that there are."""
    walls: int
    """Tables behind row-level security."""
    walls_wanted: int
    """Tables that belong to clients; 0 on SQLite, and where the parts have no roles."""


def status(home: Home) -> Status:
    """Look. Errors of the database are the caller's."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    tables = set(connection.introspection.table_names())
    url = database_url(home)
    common: dict[str, Any] = {
        "applied": len(executor.loader.applied_migrations or ()),
        "pending": tuple(f"{migration.app_label}.{migration.name}" for migration, _ in plan),
        "rows": _rows(tables),
    }
    if url is None:
        files = [home.database, *(home.database.with_name(home.database.name + end) for end in ("-wal", "-shm"))]
        size = sum(file.stat().st_size for file in files if file.exists())
        version = sqlite3.sqlite_version
        return Status(
            engine="sqlite", version=version, where=str(home.database), bytes=size, roles=(), walls=0, walls_wanted=0,
            **common,
        )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version'), pg_database_size(current_database())")
        version, size = cursor.fetchone()
        cursor.execute(
            "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) ORDER BY 1", [[url.role(part) for part in PARTS]]
        )
        roles = tuple(name for (name,) in cursor.fetchall())
        cursor.execute("SELECT relname FROM pg_class WHERE relrowsecurity")
        standing = {name for (name,) in cursor.fetchall()}
    wanted = {model._meta.db_table for model in walls.scoped_models()} & tables
    return Status(
        engine="postgresql",
        version=str(version),
        where=str(url),
        bytes=int(size),
        roles=roles,
        walls=len(wanted & standing),
        walls_wanted=0 if os.environ.get(SWITCH) == NO_ROLES else len(wanted),
        **common,
    )


def _rows(tables: set[str]) -> dict[str, int]:
    found = {}
    for model in apps.get_models(include_auto_created=True):
        if model._meta.db_table in tables:
            # The plain manager: counts of the whole installation, asked for on the server itself.
            found[model._meta.db_table] = model._base_manager.count()
    return dict(sorted(found.items()))
