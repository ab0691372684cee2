"""Pages by cursor: stable while rows come and go, and as fast on the last page as on the first."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from django.db.models import Model, Q, QuerySet

from forestall.server.api.schema import Schema

T = TypeVar("T")
M = TypeVar("M", bound=Model)

MOST = 500
DEFAULT = 100


class CursorError(ValueError):
    """A cursor that this server did not give."""


def ordered(ordering: str, *then: str) -> tuple[str, ...]:
    """What ``ordering=-name`` means for ``page(order=...)``: that field, and what decides where it is equal."""
    return (ordering, *(one for one in then or ("pk",) if one.lstrip("-") != ordering.lstrip("-")))


class Page(Schema, Generic[T]):
    """One page of a list. ``next_cursor`` is null on the last."""

    items: list[T]
    next_cursor: str | None = None


def page(
    queryset: QuerySet[M],
    *,
    shape: Callable[[M], Any],
    cursor: str | None,
    limit: int,
    order: Sequence[str] = ("-pk",),
) -> dict[str, Any]:
    """The rows after ``cursor`` in ``order`` (whose last field must be unique), at most ``limit``."""
    fields = [name.lstrip("-") for name in order]
    rows = queryset.order_by(*order)
    if cursor:
        rows = rows.filter(_after(order, _decode(cursor, order)))
    found = list(rows[: limit + 1])
    more = len(found) > limit
    return {
        "items": [shape(row) for row in found[:limit]],
        "next_cursor": _encode(order, [_value(found[limit - 1], name) for name in fields]) if more else None,
    }


def _after(order: Sequence[str], values: Sequence[str]) -> Q:
    # (a, b, c) after (x, y, z): a > x, or a = x and b > y, or …; each field in its own direction.
    condition, equal = Q(pk__in=[]), Q()
    for name, value in zip(order, values, strict=True):
        field = name.lstrip("-")
        condition |= equal & Q(**{f"{field}__{'lt' if name.startswith('-') else 'gt'}": value})
        equal &= Q(**{field: value})
    return condition


def _value(row: Model, path: str) -> str:
    value: Any = row
    for part in path.split("__"):
        value = getattr(value, part)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _encode(order: Sequence[str], values: Sequence[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps([",".join(order), *values]).encode()).decode().rstrip("=")


def _decode(cursor: str, order: Sequence[str]) -> list[str]:
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise CursorError(f"cursor: {cursor[:80]!r} was not given by this list")
    if values[:1] != [",".join(order)] or len(values) != len(order) + 1:
        raise CursorError(f"cursor: {cursor[:80]!r} was not given by this list in this order")
    return values[1:]


def page_of(found: Sequence[Any], *, cursor: str | None, limit: int, order: str) -> tuple[Sequence[Any], str | None]:
    """A stretch of a list that was ranked in memory, and the cursor of the next; ``order`` names how it was ranked.

    Such a list may change between two pages: what moves up meanwhile is seen twice or missed.
    """
    start = 0
    if cursor:
        values = _decode(cursor, (order,))
        if not values[0].isdecimal() or len(values[0]) > 9:
            raise CursorError(f"cursor: {cursor[:80]!r} was not given by this list")
        start = int(values[0])
    stop = start + limit
    return found[start:stop], _encode((order,), [str(stop)]) if stop < len(found) else None
