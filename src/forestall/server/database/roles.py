"""A database role for each process: console, intake and worker connect as their own, with the least they need.

The owner of the tables (whom ``FORESTALL_DATABASE_URL`` names) migrates, makes the roles and grants; nothing that
listens on a network connects as the owner. Passwords are made at random and kept in the data folder.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from django.apps import apps
from psycopg import sql

from forestall.server.database import walls
from forestall.server.database.url import NO_ROLES, PARTS, SWITCH, DatabaseUrl, part_passwords
from forestall.server.home import Home, write_private

READ = ("SELECT",)
CHANGE = ("SELECT", "INSERT", "UPDATE", "DELETE")

APPEND_ONLY: dict[str, tuple[str, ...]] = {
    # Nothing ever leaves a log. What an erasure takes out of an entry is named by column.
    "evidence.Entry": ("SELECT", "INSERT", "UPDATE (erased_by, salt, content, envelope, signer)"),
    "evidence.LogNode": ("SELECT", "INSERT"),
    "evidence.CheckpointRecord": ("SELECT", "INSERT"),
    "evidence.ClientLog": ("SELECT", "INSERT", "UPDATE"),
    # Nor does a key that was revoked come back.
    "runbooks.RevocationRecord": ("SELECT", "INSERT"),
    # Removing a client keeps its row (and its proofs).
    "people.Client": ("SELECT", "INSERT", "UPDATE"),
}
CONSOLE: dict[str, tuple[str, ...]] = {
    **APPEND_ONLY,
    # The worker alone moves it.
    "inventory.JournalPosition": READ,
}
WORKER: dict[str, tuple[str, ...]] = {
    **APPEND_ONLY,
    # Who may sign in and what they may do is people's business.
    "people.Person": READ,
    "people.Grant": READ,
    "people.CustomRole": READ,
    "people.RolePolicy": READ,
    "people.ApiToken": READ,
    "calendar.CalendarFeed": READ,
}
INTAKE: dict[str, tuple[str, ...]] = {
    "people.Client": READ,
    "people.Site": READ,
    # Enrolment: a device, its evidence, and the news of it.
    "inventory.EnrolmentToken": ("SELECT", "UPDATE (used_at, used_by_id)"),
    "inventory.Device": ("SELECT", "INSERT"),
    "evidence.ClientLog": ("SELECT", "INSERT", "UPDATE"),
    "evidence.Entry": ("SELECT", "INSERT"),
    "evidence.LogNode": ("SELECT", "INSERT"),
    "outbox.OutboxEvent": ("INSERT", "SELECT (id)"),
    # What waits for devices.
    "evidence.CheckpointRecord": READ,
    "inventory.FactsWanted": READ,
    "inventory.JournalPosition": READ,
    "checks.PolicyOverride": READ,
    "runbooks.RootRecord": READ,
    "runbooks.RevocationRecord": READ,
    "runbooks.RunbookRecord": READ,
    "runbooks.OrderRecord": READ,
    "runbooks.OrderRecord_devices": READ,
    "runbooks.Job": READ,
}


class RolesError(RuntimeError):
    """The roles cannot be made, or cannot sign in; the message says what an administrator has to do."""


@dataclass(frozen=True, slots=True)
class Roles:
    """Names of the parts' roles on one database."""

    console: str
    intake: str
    worker: str

    @classmethod
    def of(cls, url: DatabaseUrl) -> Roles:
        return cls(*(url.role(part) for part in PARTS))


def roles_ensure(*, url: DatabaseUrl, home: Home) -> Roles:
    """Make the parts' roles, or find them; afterwards each can sign in with the password in the data folder.

    RolesError when the owner may not make them, or when the server does not let them in.
    """
    roles, passwords = Roles.of(url), part_passwords(home)
    with connect(url) as owner:
        there = {name for (name,) in owner.execute("SELECT rolname FROM pg_roles")}
        for part in PARTS:
            role = getattr(roles, part)
            if role in there and role in passwords and _problem(url.as_user(role, passwords[role])) is None:
                continue
            password = secrets.token_urlsafe(24)
            # Kept first: a role whose password nobody knows would need an administrator.
            passwords[role] = password
            write_private(home.database_roles, json.dumps(passwords, indent=2).encode() + b"\n")
            _set_role(owner, role, password, exists=role in there)
            problem = _problem(url.as_user(role, password))
            if problem is not None:
                raise RolesError(
                    f"the role {role} cannot sign in to {url.name}: {problem}; let it in by password (scram-sha-256) in"
                    " the server's pg_hba.conf"
                )
    return roles


def grants_apply(connection: Any, *, roles: Roles) -> None:
    """Give each role what it needs on every table there is, and nothing else. Run as the owner after migrations."""
    schema = sql.Identifier("public")
    everyone = sql.SQL(", ").join(sql.Identifier(role) for role in (roles.console, roles.intake, roles.worker))
    there = walls.tables(connection)
    with connection.transaction():
        connection.execute(sql.SQL("REVOKE CREATE ON SCHEMA {} FROM PUBLIC").format(schema))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, everyone))
        connection.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}").format(schema, everyone))
        for role, wanted in (
            (roles.console, _everything_but(CONSOLE)),
            (roles.worker, _everything_but(WORKER)),
            (roles.intake, INTAKE),
        ):
            for label, privileges in wanted.items():
                table = apps.get_model(label)._meta.db_table
                if table in there:
                    connection.execute(
                        sql.SQL("GRANT {} ON {} TO {}").format(
                            sql.SQL(", ").join(map(sql.SQL, privileges)),
                            sql.Identifier(table),
                            sql.Identifier(role),
                        )
                    )


def secure(connection: Any, *, roles: Roles) -> int:
    """Grants and walls on a migrated database, by a connection of the owner; how many walls were built anew."""
    grants_apply(connection, roles=roles)
    return walls.walls_build(connection, console=roles.console, others=(roles.intake, roles.worker))


def connect(url: DatabaseUrl) -> psycopg.Connection[Any]:
    """A connection of its own, in autocommit. psycopg.OperationalError when there is none to be had."""
    return psycopg.connect(
        dbname=url.name,
        user=url.user or None,
        password=url.password or None,
        host=url.host or None,
        port=url.port or None,
        autocommit=True,
        **{"connect_timeout": "10", **dict(url.options)},  # type: ignore[arg-type]
    )


def _everything_but(narrower: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for model in apps.get_models(include_auto_created=True):
        if model._meta.managed and not model._meta.proxy:
            found[model._meta.label] = narrower.get(model._meta.label, CHANGE)
    return found


def _set_role(owner: psycopg.Connection[Any], role: str, password: str, *, exists: bool) -> None:
    # Only the verifier goes to the server: a log of statements must not hold a password.
    verifier = owner.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    attributes = sql.SQL("LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT") if not exists else sql.SQL("LOGIN")
    statement = sql.SQL("{} ROLE {} {} PASSWORD {}").format(
        sql.SQL("ALTER" if exists else "CREATE"), sql.Identifier(role), attributes, sql.Literal(verifier)
    )
    try:
        owner.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        user = owner.info.user
        raise RolesError(
            f"{user} may not make the role {role}. As an administrator of the database, run once:"
            f' ALTER ROLE "{user}" CREATEROLE; then start Forestall, and afterwards take it back if you like'
            f' (ALTER ROLE "{user}" NOCREATEROLE). Or set {SWITCH}={NO_ROLES}: then every part connects as {user}, and'
            " there is no row-level security"
        ) from None


def _problem(url: DatabaseUrl) -> str | None:
    try:
        connect(url).close()
    except psycopg.OperationalError as error:
        return " ".join(str(error).split())
    return None
