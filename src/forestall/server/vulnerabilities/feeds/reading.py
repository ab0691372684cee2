"""Files and folders of feeds: what can be read counts, what cannot is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from forestall.server.vulnerabilities.feeds.document import Document
from forestall.server.vulnerabilities.feeds.errors import FeedError
from forestall.server.vulnerabilities.feeds.files import documents
from forestall.server.vulnerabilities.feeds.formats import detect
from forestall.server.vulnerabilities.feeds.records import Record


@dataclass(slots=True)
class Feeds:
    """What was read: the records of every good file, and why others do not count."""

    records: list[Record] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """File that counted → slug of its format. A member of a zip is a file: ``all.zip/ALSA-2026:1.json``."""
    skipped: dict[str, str] = field(default_factory=dict)
    """File that is no feed → what it is instead."""
    errors: list[FeedError] = field(default_factory=list)

    def add(self, other: Feeds) -> None:
        self.records += other.records
        self.files |= other.files
        self.skipped |= other.skipped
        self.errors += other.errors


def read_document(document: Document) -> Feeds:
    """Read one document of any format. A document with anything wrong in it counts for nothing."""
    feeds = Feeds()
    try:
        found = detect(document)
        if isinstance(found, str):
            feeds.skipped[document.name] = found
        else:
            feeds.records = list(found.parse(document))  # the whole before any of it
            feeds.files[document.name] = found.slug
    except FeedError as error:
        feeds.errors.append(error)
    return feeds


def read_file(path: Path) -> Feeds:
    """Read a feed file of any format, or an archive of several."""
    feeds = Feeds()
    try:
        for document in documents(path):
            feeds.add(read_document(document))
    except FeedError as error:
        feeds.errors.append(error)
    return feeds


def read_feeds(paths: Sequence[Path]) -> Feeds:
    """Read files and folders, recursively and in the order of their names."""
    feeds = Feeds()
    for path in paths:
        for file in files_of(path):
            feeds.add(read_file(file))
    return feeds


def files_of(path: Path) -> Iterator[Path]:
    """The files of a folder and those below it; hidden ones are left out, links are not followed out of it."""
    if not path.is_dir():
        yield path
        return
    for one in sorted(path.iterdir()):
        if one.name.startswith("."):
            continue
        if one.is_dir():
            if not one.is_symlink():
                yield from files_of(one)
        elif one.is_file():
            yield one
