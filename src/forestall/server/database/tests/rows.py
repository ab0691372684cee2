"""A row in every table that belongs to clients, made from the models alone: what comes tomorrow is tried, too.

The values mean nothing: the tables' CHECK constraints are dropped in the copy of the database these rows live in.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, models
from psycopg import sql

from forestall.server.database.walls import _is_scoped

_number = itertools.count(1000)
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@dataclass
class Place:
    """A site of a client, and the row of each table that belongs there."""

    client: UUID
    site: UUID
    rows: dict[type[models.Model], dict[str, Any]] = field(default_factory=dict)


class Planter:
    """Inserts rows with a connection of the owner."""

    def __init__(self, owner: Any) -> None:
        self._owner = owner
        self._shared: dict[type[models.Model], dict[str, Any]] = {}

    def plant(self, model: Any, place: Place) -> dict[str, Any]:
        """The model's row at a place (or the one for all places, when it has none); made when there is none yet."""
        kept = place.rows if belongs(model) else self._shared
        if model not in kept:
            row = self.row(model, place)
            self._owner.execute(*insert(model, row))
            kept[model] = row
        return kept[model]

    def row(self, model: Any, place: Place) -> dict[str, Any]:
        """Column → value of a new row at a place, with everything it needs above it."""
        row: dict[str, Any] = {}
        at = {model.SCOPE_CLIENT: place.client, model.SCOPE_SITE: place.site} if _is_scoped(model) else {}
        hops = {path.partition("__")[0] for path in at if "__" in path}
        for one in model._meta.concrete_fields:
            if at.get(one.attname) or (one.primary_key and at.get("pk")):
                row[one.column] = at.get(one.attname) or at["pk"]
            elif one.is_relation and (not one.null or one.name in hops) and one.related_model is not model:
                above = self.plant(one.related_model, place)
                row[one.column] = above[one.target_field.column]
            elif not one.null and not isinstance(one, models.AutoField | models.BigAutoField):
                row[one.column] = one.get_db_prep_save(_value(one), connection)
        pk = model._meta.pk
        if pk.column not in row:
            row[pk.column] = next(_number)
        return row


def belongs(model: Any) -> bool:
    """Whether rows of it belong to a place."""
    return _is_scoped(model) or any(
        one.is_relation and _is_scoped(one.related_model) and not one.null for one in model._meta.concrete_fields
    )


def has_site(model: Any) -> bool:
    """Whether a row of it belongs to one site, and not to the client as a whole."""
    if not _is_scoped(model):
        return any(has_site(one.related_model) for one in model._meta.concrete_fields if one.is_relation)
    hop, _, rest = model.SCOPE_CLIENT.partition("__")
    return bool(model.SCOPE_SITE) or (bool(rest) and has_site(model._meta.get_field(hop).related_model))


def insert(model: Any, row: dict[str, Any]) -> tuple[sql.Composed, list[Any]]:
    columns = sql.SQL(", ").join(map(sql.Identifier, row))
    values = sql.SQL(", ").join([sql.Placeholder()] * len(row))
    statement = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})")
    return statement.format(sql.Identifier(model._meta.db_table), columns, values), list(row.values())


def _value(one: Any) -> Any:
    number = next(_number)
    if isinstance(one, models.UUIDField):
        return uuid4()
    if isinstance(one, models.BooleanField):
        return False
    if isinstance(one, models.DateTimeField):
        return NOW
    if isinstance(one, models.DateField):
        return date(2026, 11, 23)
    if isinstance(one, models.TimeField):
        return time(9)
    if isinstance(one, models.JSONField):
        return {}
    if isinstance(one, models.BinaryField):
        return str(number).encode()
    if isinstance(one, models.GenericIPAddressField):
        return "192.0.2.1"
    if isinstance(one, models.DurationField):
        return NOW - NOW
    if isinstance(one, models.FloatField | models.DecimalField):
        return 1
    if isinstance(one, models.IntegerField):
        return number
    return str(number)[-(one.max_length or 10) :]
