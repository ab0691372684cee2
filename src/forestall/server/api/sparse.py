"""``fields=name,client.name``: of each thing only what is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel

from forestall.server.api.paging import Page

MOST_TEXT = 1000
PART = "application/vnd.forestall.part+json"
"""Media type of an answer with some of the fields: the description promises less of it than of a whole one."""

Tree: TypeAlias = "dict[str, Tree] | None"
"""Known names with what is below each; None: a plain value, or an object whose names are data."""


class UnknownFieldError(ValueError):
    """A field asked for that no answer of this route has."""


def known_fields(annotation: Any) -> Tree:
    """What may be asked for in an answer of this type; for a page or a list: of its items."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if issubclass(annotation, Page):
            return known_fields(annotation.model_fields["items"].annotation)
        return {field.alias or name: known_fields(field.annotation) for name, field in annotation.model_fields.items()}
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is list:
        return known_fields(inner[0])
    if origin is Union or type(annotation).__name__ == "UnionType":
        return next((tree for one in inner if (tree := known_fields(one)) is not None), None)
    return None


def read_fields(text: str, known: Tree) -> Tree:
    """The tree of what ``text`` asks for; UnknownFieldError names what is not known."""
    if len(text) > MOST_TEXT:
        raise UnknownFieldError(f"fields: at most {MOST_TEXT} characters, not {len(text)}")
    asked: dict[str, Tree] = {}
    whole: set[str] = set()
    for path in filter(None, (one.strip() for one in text.split(","))):
        here, below = asked, known
        parts = path.split(".")
        for number, part in enumerate(parts):
            if below is None or part not in below:
                names = "; known: " + ", ".join(sorted(below)) if below else ""
                raise UnknownFieldError(f"fields: {path[:80]!r} is not known{names}")
            below = below[part]
            if number == len(parts) - 1:
                here[part] = None
                whole.add(path)
            elif here.get(part, {}) is None:
                break  # the whole of it was asked for already
            else:
                here = here.setdefault(part, {})  # type: ignore[assignment]
    if not asked:
        raise UnknownFieldError("fields: names nothing; leave it out for everything")
    return asked


def shown_only(value: Any, asked: Tree, *, is_page: bool) -> Any:
    """The answer with only what was asked for; of a page, of its items."""
    if is_page:
        return {**value, "items": pruned(value["items"], asked)}
    return pruned(value, asked)


def pruned(value: Any, asked: Tree) -> Any:
    """The value with only what was asked for."""
    if asked is None:
        return value
    if isinstance(value, list):
        return [pruned(one, asked) for one in value]
    if isinstance(value, Mapping):
        return {name: pruned(one, asked[name]) for name, one in value.items() if name in asked}
    return value
