"""Readers of advisory feeds: the vendors' own formats in, :mod:`records` out."""

from __future__ import annotations

from forestall.server.vulnerabilities.feeds.errors import FeedError
from forestall.server.vulnerabilities.feeds.formats import FORMATS, Format
from forestall.server.vulnerabilities.feeds.reading import Feeds, read_feeds, read_file
from forestall.server.vulnerabilities.feeds.records import (
    Advisory,
    Affected,
    Likelihood,
    Rating,
    Record,
    Span,
)

__all__ = [
    "FORMATS",
    "Advisory",
    "Affected",
    "FeedError",
    "Feeds",
    "Format",
    "Likelihood",
    "Rating",
    "Record",
    "Span",
    "read_feeds",
    "read_file",
]
