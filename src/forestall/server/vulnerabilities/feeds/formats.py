"""The formats that are understood: one list, each recognised by what stands in the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from forestall.server.vulnerabilities.feeds.records import Record


@dataclass(frozen=True, slots=True)
class Format:
    """A format: ``read(path)`` gives its records; it raises ``FeedError`` and then nothing of the file counts."""

    slug: str
    title: str
    read: Callable[[Path], Iterator[Record]]


FORMATS: dict[str, Format] = {}
