"""Debian's security tracker: the JSON file of every vulnerability, and the text list of its notices (DSA, DLA)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from forestall.server.vulnerabilities.feeds import severity
from forestall.server.vulnerabilities.feeds.document import MONTHS, Document
from forestall.server.vulnerabilities.feeds.ecosystems import DEBIAN_CODENAMES
from forestall.server.vulnerabilities.feeds.records import Advisory, Affected, Record, Span

NOTICE = re.compile(r"\[(\d{1,2} \w{3} \d{4})\] ((?:DSA|DLA|DTSA)-[0-9]+(?:-[0-9]+)?) ?(.*)")
FIXED = re.compile(r"\s+\[(\w+)\] - (\S+) (\S+)")


class Release(msgspec.Struct, gc=False):
    status: str
    fixed_version: str | None = None
    urgency: str | None = None


class Entry(msgspec.Struct, gc=False):
    releases: dict[str, Release] | list[Release]
    """An empty list, where there are none."""
    description: str | None = None


def is_tracker(document: Document) -> bool:
    """A JSON object: source package → vulnerability → releases."""
    for value in document.keys.values():
        try:
            inner = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
            name, entry = next(iter(inner.items()))
            return re.match(r"(?:CVE|TEMP)-", name) is not None and b'"releases"' in bytes(entry)
        except (msgspec.DecodeError, UnicodeDecodeError, StopIteration):
            return False
    return False


def read_tracker(document: Document) -> Iterator[Record]:
    """One advisory a vulnerability and package, called by the vulnerability's name.

    ``unimportant`` is left out (Debian: no security fault as the package is built), and so is a fixed version of 0
    (never affected) and ``undetermined`` (nobody has looked). ``end-of-life`` is open, and no fix will come.
    """
    for package, entries in document.whole(dict[str, dict[str, Entry]]).items():
        for name, entry in entries.items():
            affected = []
            for codename, release in entry.releases.items() if isinstance(entry.releases, dict) else ():
                number = DEBIAN_CODENAMES.get(codename)
                urgency = (release.urgency or "").strip("*")
                if number is None or urgency == "unimportant" or release.fixed_version == "0":
                    continue
                if release.status not in {"open", "resolved", "undetermined"}:
                    raise document.fail(f"{release.status!r} is no status", f"$.{package}.{name}.releases.{codename}")
                if release.status == "undetermined":
                    continue
                if release.status == "resolved" and not release.fixed_version:
                    raise document.fail("resolved without a fixed version", f"$.{package}.{name}.releases.{codename}")
                affected.append(
                    Affected(
                        f"Debian:{number}",
                        package,
                        (Span(fixed=release.fixed_version or ""),),
                        severity=severity.word(urgency),
                    )
                )
            if affected:
                cves = (name,) if name.startswith("CVE-") else ()
                yield Advisory(name, tuple(affected), cves, title=(entry.description or "")[:300])


def is_notices(document: Document) -> bool:
    return NOTICE.match(document.start) is not None


def read_notices(document: Document) -> Iterator[Record]:
    """The notices. A later update of one (DSA-5356-2) is a notice of its own; one without versions says nothing."""
    notice: tuple[str, datetime, str] | None = None
    cves: tuple[str, ...] = ()
    affected: list[Affected] = []

    def done() -> Iterator[Record]:
        if notice is not None and affected:
            name, published, title = notice
            yield Advisory(name, tuple(affected), cves, published_at=published, title=title[:300])

    for place, line in enumerate(document.text.split("\n"), 1):
        if not line.strip():
            continue
        if not line[0].isspace():
            yield from done()
            found = NOTICE.match(line)
            if found is None:
                raise document.fail(f"{line[:80]!r} begins no notice", f"line {place}")
            notice, cves, affected = (found[2], _day(found[1], document, place), found[3]), (), []
        elif notice is None:
            raise document.fail(f"{line[:80]!r} stands before the first notice", f"line {place}")
        elif line.strip().startswith("{"):
            cves = tuple(re.findall(r"CVE-[0-9]{4}-[0-9]{4,}", line))
        else:
            fixed = FIXED.match(line)
            if fixed and fixed[1] in DEBIAN_CODENAMES and not fixed[3].startswith("<"):
                affected.append(Affected(f"Debian:{DEBIAN_CODENAMES[fixed[1]]}", fixed[2], (Span(fixed=fixed[3]),)))
    yield from done()


def _day(text: str, document: Document, line: int) -> datetime:
    day, month, year = text.split()
    try:
        return datetime(int(year), MONTHS[month], int(day), tzinfo=UTC)
    except (KeyError, ValueError) as error:
        raise document.fail(f"{text!r} is no date", f"line {line}") from error
