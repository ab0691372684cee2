"""Debian changelogs: the maintainers' own words on which version mends which CVE, where no list of advisories is.

A changelog names what was mended, not what is open: what it finds is a lower bound. It also names a CVE now and then
without mending it ("not affected by"). So it counts only for packages of which no other feed of that release says
anything (``Advisory.fallback``).

Format: Debian Policy 4.6.2, section 4.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime

from forestall.server.vulnerabilities.feeds.document import Document, utc
from forestall.server.vulnerabilities.feeds.ecosystems import DEBIAN_CODENAMES
from forestall.server.vulnerabilities.feeds.records import Advisory, Affected, Record, Span

HEAD = re.compile(r"([a-z0-9][a-z0-9+.-]+) \(([^()\s]+)\)((?:\s+[-+0-9a-zA-Z.]+)+); *urgency=\S+.*")
TRAILER = re.compile(r" -- .*<.*> {1,2}(\S.*)")
CVE = re.compile(r"\bCVE-[0-9]{4}-[0-9]{4,}\b", re.IGNORECASE)


def is_changelog(document: Document) -> bool:
    return HEAD.fullmatch(document.start.partition("\n")[0].rstrip()) is not None


def read(document: Document) -> Iterator[Record]:
    """One advisory for each entry that names a CVE, called ``changelog SOURCE VERSION``.

    The release is the newest entry's: older ones were made for ``unstable`` and came along. Nothing for a changelog
    whose newest entry is for no stable release. Raises FeedError for text before the first entry.
    """
    release = ""
    source = version = ""
    cves: dict[str, None] = {}
    dated: datetime | None = None

    def done() -> Iterator[Record]:
        if version and cves and release:
            spans = (Span(fixed=version),)
            yield Advisory(
                f"changelog {source} {version}",
                (Affected(f"Debian:{release}", source, spans),),
                tuple(sorted(cves)),
                published_at=dated,
                title=f"{source} {version}: fixes that its changelog names",
                fallback=True,
            )

    for place, line in enumerate(document.text.split("\n"), 1):
        if head := HEAD.fullmatch(line.rstrip()):
            yield from done()
            if not version:
                release = _release(head[3])
            source, version, cves, dated = head[1], head[2], {}, None
        elif not version:
            if line.strip():
                raise document.fail(f"{line[:80]!r} stands before the first entry", f"line {place}")
        elif trailer := TRAILER.fullmatch(line.rstrip()):
            dated = _date(trailer[1])
        else:
            cves |= dict.fromkeys(found.upper() for found in CVE.findall(line))
    yield from done()


def _release(distributions: str) -> str:
    """``12`` of ``bookworm-security``; empty when it is for no release with a number."""
    for name in distributions.split():
        number = DEBIAN_CODENAMES.get(name.partition("-")[0])
        if number is not None:
            return str(number)
    return ""


def _date(text: str) -> datetime | None:
    # Old entries bear dates that no calendar has; when something was mended is not why we read them.
    try:
        return utc(parsedate_to_datetime(text))
    except ValueError:
        return None
