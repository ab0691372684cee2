"""Debian's package indices (``Packages``): no advisories, but from which source each package is made."""

from __future__ import annotations

import re
from collections.abc import Iterator

from forestall.server.vulnerabilities.feeds.document import Document
from forestall.server.vulnerabilities.feeds.records import MadeFrom, Record


def is_index(document: Document) -> bool:
    return document.start.startswith("Package: ") and "\nFilename: " in document.text


def stanzas(document: Document) -> Iterator[dict[str, str]]:
    """The paragraphs of an index, each field's first line. Raises FeedError for a line that is no field."""
    fields: dict[str, str] = {}
    for place, line in enumerate(document.text.split("\n"), 1):
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif line[0] not in " \t":
            name, colon, value = line.partition(":")
            if not colon:
                raise document.fail(f"{line[:80]!r} is no field", f"line {place}")
            fields[name] = value.strip()
    if fields:
        yield fields


def read(document: Document) -> Iterator[Record]:
    for fields in stanzas(document):
        source = re.sub(r" \(.*\)", "", fields.get("Source", ""))
        if source and source != fields.get("Package"):
            system = "Ubuntu" if "ubuntu" in fields.get("Version", "") else "Debian"
            yield MadeFrom(system, fields.get("Package", ""), source)
