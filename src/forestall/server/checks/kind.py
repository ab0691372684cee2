"""What a check kind is. ``kinds/__init__.py`` lists them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from forestall.server.checks.result import Known, Result, Risk, Status


@dataclass(frozen=True, slots=True)
class Texts:
    """A kind in words. Shown on pages, in the audit, in tickets and in docs."""

    title: str
    """``Disk space``."""
    question: str
    """What it asks: ``Does every volume have room, and will it next week?``"""
    why: str
    """Why it matters."""
    remedy: str
    """What to do when it does not pass."""


@dataclass(frozen=True, slots=True)
class Level:
    """A threshold that intake compares samples with, so that a crossing is judged at once."""

    metric: str
    value: float


@dataclass(frozen=True, slots=True)
class CheckKind:
    """A kind of check: a rule, its words, its defaults."""

    slug: str
    texts: Texts
    risk: Risk
    rests_on: tuple[str, ...]
    """Facts documents it needs."""
    metrics: tuple[str, ...]
    """Metrics (series without labels) it needs."""
    history_seconds: int
    """How far back the samples it is given reach; 0: only the latest."""
    cadence_seconds: int
    """Judged at least this often; twice this without word from the device and the result is stale.

    A document is sent when it changes and re-affirmed daily. So it is as fresh as the last check-in, as long as it
    was affirmed within two days (or twice the cadence, if that is longer).
    """
    policy: type
    """Frozen dataclass of its settings, every field with a default and a docstring."""
    judge: Callable[[Known, Any, datetime, Mapping[str, Status]], Sequence[Result]]
    levels: Callable[[Any], Sequence[Level]]
    """Policy → thresholds for intake."""
    also_reads: tuple[str, ...] = ()
    """Facts documents it looks at when they are there, and does without when they are not."""
    remedies: tuple[str, ...] = ()
    """Slugs of runbooks that may repair it."""
    acceptable: bool = False
    """A person may accept a target as it is; it then passes, and says that it was accepted."""
    about_link: bool = False
    """It judges the connection with the device itself: old input is its subject and never makes it stale, and it
    has no meaning in an audit without a server."""
