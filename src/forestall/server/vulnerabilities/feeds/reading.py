"""Files and folders of feeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from forestall.server.vulnerabilities.feeds.errors import FeedError
from forestall.server.vulnerabilities.feeds.records import Record


@dataclass(slots=True)
class Feeds:
    """What was read: the records of every good file, and why others do not count."""

    records: list[Record] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """File that counted → slug of its format."""
    skipped: dict[str, str] = field(default_factory=dict)
    """File that is no feed → what it is instead."""
    errors: list[FeedError] = field(default_factory=list)


def read_file(path: Path) -> Feeds:
    """Read a feed file of any format, or an archive of several."""
    raise NotImplementedError


def read_feeds(paths: Sequence[Path]) -> Feeds:
    """Read files and folders, recursively and in the order of their names."""
    raise NotImplementedError
