"""Row-level security: the second wall, generated from what every model says of its client and site.

A model that belongs to a client declares ``SCOPE_CLIENT`` and ``SCOPE_SITE`` (``people/scope.py``); from these alone
come the policies of its table. The wall is coarser than the scope: it knows places, not permissions, and lets rows of
a client as a whole (no site) through to whoever has one of its sites, because acts at a site read and write them (the
client's log). A row of another client, or of another site, it shows to nobody and takes from nobody.

Rows without a client (a routing rule for everybody) are read by whoever is bound, written only from everywhere; of a
model that says ``SCOPE_NULL_HIDDEN`` (a rollout across clients) they are read from everywhere alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import models
from psycopg import sql

_ON = "(SELECT current_setting('forestall.everywhere', true) = 'on')"
_BOUND = "(SELECT current_setting('forestall.everywhere', true) IN ('on', 'off'))"
READ, INSERT, UPDATE, DELETE, ALL = (
    "forestall_read", "forestall_insert", "forestall_update", "forestall_delete", "forestall_all",
)  # fmt: skip


class WallError(RuntimeError):
    """A model declares its client and site in a way from which no policy can be made."""


@dataclass(frozen=True, slots=True)
class Wall:
    """What the policies of a table ask of a row."""

    table: str
    read: str
    write: str


def scoped_models() -> list[type[models.Model]]:
    """Every table that belongs to clients, the link tables between them included."""
    return [one for one in apps.get_models(include_auto_created=True) if _is_scoped(one) or _links(one)]


def walls() -> list[Wall]:
    """The wall of every table that belongs to clients."""
    return [wall_of(model) for model in scoped_models()]


def wall_of(model: Any) -> Wall:
    """The wall of one model. WallError names the model whose paths do not fit together."""
    table = model._meta.db_table
    if not _is_scoped(model):
        parents = " AND ".join(_parent_visible(table, field) for field in _links(model))
        return Wall(table, f"{_ON} OR ({parents})", f"{_ON} OR ({parents})")
    hop, _, rest = model.SCOPE_CLIENT.partition("__")
    if rest:
        field = model._meta.get_field(hop)
        parent = field.related_model
        site_fits = model.SCOPE_SITE in ("", f"{hop}__{parent.SCOPE_SITE}") or (
            parent.SCOPE_SITE == "pk" and field.attname == model.SCOPE_SITE
        )
        if not _is_scoped(parent) or rest != parent.SCOPE_CLIENT or not site_fits:
            raise WallError(
                f"{model.__name__}: SCOPE_CLIENT {model.SCOPE_CLIENT!r} and SCOPE_SITE {model.SCOPE_SITE!r} do not lead"
                f" through {parent.__name__}'s own"
            )
        visible = f"{_ON} OR {_parent_visible(table, field)}"
        return Wall(table, visible, visible)
    client = _column(model, model.SCOPE_CLIENT)
    column = f"{_quoted(table)}.{_quoted(client.column)}"
    whole = f"{column} = ANY (ARRAY{_ids('clients')})"
    of_site = f"{column} = ANY (ARRAY{_ids('site_clients')})"
    if model.SCOPE_SITE:
        of_site = f"({of_site} AND {_site_visible(model)})"
    inside = f"{_ON} OR {whole} OR {of_site}"
    shared = client.null and not getattr(model, "SCOPE_NULL_HIDDEN", False)
    read = f"{inside} OR ({column} IS NULL AND {_BOUND})" if shared else inside
    return Wall(table, read, inside)


def policies(wall: Wall, *, console: str, others: Sequence[str]) -> Iterator[sql.Composed]:
    """Statements that build a wall: the console's role behind it, the others' in front."""
    table, role = sql.Identifier(wall.table), sql.Identifier(console)
    read, write = (sql.SQL("({})").format(sql.SQL(one)) for one in (wall.read, wall.write))
    for name in (READ, INSERT, UPDATE, DELETE, ALL):
        yield sql.SQL("DROP POLICY IF EXISTS {} ON {}").format(sql.Identifier(name), table)
    yield sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table)
    for name, command, clause in (
        (READ, "SELECT", sql.SQL("USING {}").format(read)),
        (INSERT, "INSERT", sql.SQL("WITH CHECK {}").format(write)),
        (UPDATE, "UPDATE", sql.SQL("USING {0} WITH CHECK {0}").format(write)),
        (DELETE, "DELETE", sql.SQL("USING {}").format(write)),
    ):
        yield sql.SQL("CREATE POLICY {} ON {} FOR {} TO {} {}").format(
            sql.Identifier(name), table, sql.SQL(command), role, clause
        )
    yield sql.SQL("CREATE POLICY {} ON {} TO {} USING (true) WITH CHECK (true)").format(
        sql.Identifier(ALL), table, sql.SQL(", ").join(map(sql.Identifier, others))
    )


def digest(wall: Wall, *, console: str, others: Sequence[str]) -> str:
    """By which a wall that stands already is recognised."""
    text = "\n".join([wall.table, wall.read, wall.write, console, *others])
    return hashlib.sha256(text.encode()).hexdigest()


def walls_build(connection: Any, *, console: str, others: Sequence[str]) -> int:
    """Build, as the owner, every wall that does not stand as it should; how many. Each table changes in one step."""
    standing = dict(
        connection.execute(
            "SELECT c.relname, obj_description(p.oid, 'pg_policy')"
            " FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid"
            " WHERE p.polname = %s AND c.relrowsecurity"
            " AND (SELECT count(*) FROM pg_policy q WHERE q.polrelid = c.oid) = 5"
            " AND c.relnamespace = 'public'::regnamespace",
            (READ,),
        ).fetchall()
    )
    built, there = 0, tables(connection)
    for wall in walls():
        if wall.table not in there:
            continue  # its migration is still to come
        mark = digest(wall, console=console, others=others)
        if standing.get(wall.table) == mark:
            continue
        with connection.transaction():
            for statement in policies(wall, console=console, others=others):
                connection.execute(statement)
            connection.execute(
                sql.SQL("COMMENT ON POLICY {} ON {} IS {}").format(
                    sql.Identifier(READ), sql.Identifier(wall.table), sql.Literal(mark)
                )
            )
        built += 1
    return built


def tables(connection: Any) -> set[str]:
    """Names of the tables there are."""
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {name for (name,) in rows}


def _is_scoped(model: Any) -> bool:
    return hasattr(model, "SCOPE_CLIENT") and not model._meta.abstract and not model._meta.proxy


def _links(model: Any) -> list[Any]:
    """The foreign keys of an automatic link table that lead to things of clients."""
    if not model._meta.auto_created:
        return []
    return [field for field in model._meta.fields if field.is_relation and _is_scoped(field.related_model)]


def _site_visible(model: Any) -> str:
    hop, _, rest = model.SCOPE_SITE.partition("__")
    field = _column(model, hop)
    column = f"{_quoted(model._meta.db_table)}.{_quoted(field.column)}"
    if not rest:
        at_site = f"{column} = ANY (ARRAY{_ids('sites')})"
        return f"({at_site} OR {column} IS NULL)" if field.null else at_site
    visible = _parent_visible(model._meta.db_table, field)
    return f"({visible} OR {column} IS NULL)" if field.null else visible


def _column(model: Any, name: str) -> Any:
    if name == "pk":
        return model._meta.pk
    for field in model._meta.fields:
        if name in (field.name, field.attname):
            return field
    raise WallError(f"{model.__name__}: {name!r} is no column of it")


def _parent_visible(table: str, field: Any) -> str:
    # The policy of the parent's table decides in turn: a sub-select of a policy stands behind the wall, too.
    parent = field.related_model._meta
    same = f"above.{_quoted(parent.pk.column)} = {_quoted(table)}.{_quoted(field.column)}"
    return f"EXISTS (SELECT 1 FROM {_quoted(parent.db_table)} above WHERE {same})"  # noqa: S608 - names of our own models


def _ids(name: str) -> str:
    # A sub-select without the row in it is evaluated once for a query, not once for a row.
    return f"(SELECT unnest(string_to_array(current_setting('forestall.{name}', true), ','))::uuid)"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
