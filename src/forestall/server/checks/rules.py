"""Decisions about checks without I/O: policies, the worst of several answers."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import msgspec

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.result import Status

WORST_FIRST = (Status.FAIL, Status.WARN, Status.UNKNOWN, Status.STALE, Status.PASS)


EVERY_MINUTES = "every_minutes"
"""A setting of every kind: judged at least this often. Not set: the kind's own cadence."""
MOST_MINUTES = 31 * 24 * 60


class PolicyError(ValueError):
    """A policy that cannot be: the message names the setting and the bad value."""


class KindError(ValueError):
    """No kind of check is called so."""


def kind_of(slug: str) -> CheckKind:
    """The kind called ``slug``; KindError names the bad value and what there is."""
    if slug not in CHECK_KINDS:
        raise KindError(f"kind: {slug!r} is no kind of check; there are {', '.join(CHECK_KINDS)}")
    return CHECK_KINDS[slug]


def policy_of(kind: CheckKind, overrides: Sequence[Mapping[str, Any]] = ()) -> Any:
    """The policy of a kind: its defaults, over them each override in turn (widest scope first). PolicyError."""
    cadence_of(kind, overrides)
    values: dict[str, Any] = {}
    for override in overrides:
        values.update(override)
    values.pop(EVERY_MINUTES, None)
    known = [field.name for field in fields(kind.policy)]
    for name in values:
        if name not in known:
            has = ", ".join([*known, EVERY_MINUTES])
            raise PolicyError(f"{kind.slug}: {name!r} is no setting of this kind; there are {has}")
    try:
        return msgspec.convert(values, kind.policy)
    except msgspec.ValidationError as error:
        # msgspec ends with the place: "Expected `float`, got `str` - at `$.warn_percent`".
        text, _, place = str(error).partition(" - at `$.")
        name = place.rstrip("`").split("[")[0]
        if name in values:
            raise PolicyError(f"{kind.slug}: {name}: {values[name]!r} cannot be: {text}") from None
        raise PolicyError(f"{kind.slug}: {text}") from None
    except ValueError as error:
        raise PolicyError(f"{kind.slug}: {error}") from None


def cadence_of(kind: CheckKind, overrides: Sequence[Mapping[str, Any]] = ()) -> int:
    """How often a kind is judged at least, in seconds: its own cadence, or what the narrowest override says."""
    seconds = kind.cadence_seconds
    for override in overrides:
        if EVERY_MINUTES not in override:
            continue
        minutes = override[EVERY_MINUTES]
        if isinstance(minutes, bool) or not isinstance(minutes, int) or not 1 <= minutes <= MOST_MINUTES:
            raise PolicyError(
                f"{kind.slug}: {EVERY_MINUTES}: {minutes!r} cannot be: a whole number of minutes, 1 to {MOST_MINUTES:,}"
            )
        seconds = 60 * minutes
    return seconds


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a policy, as pages and docs show it."""

    name: str
    default: Any
    text: str


@cache
def settings_of(kind: CheckKind) -> tuple[Setting, ...]:
    """The settings of a kind with their defaults and the docstrings under them, in the order of the class."""
    body = ast.parse(inspect.getsource(kind.policy)).body[0]
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - the source of a class is one
    texts: dict[str, str] = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            texts[before.target.id] = inspect.cleandoc(str(after.value.value))
    return tuple(Setting(field.name, field.default, texts.get(field.name, "")) for field in fields(kind.policy))


def worst(statuses: Iterable[Status]) -> Status | None:
    """The one a person should hear of first; None of none."""
    return min(statuses, key=WORST_FIRST.index, default=None)
