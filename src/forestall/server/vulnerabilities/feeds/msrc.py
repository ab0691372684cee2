"""Microsoft: which update (KB) of which month mends which CVE on which Windows, with the build that has it.

Windows updates are cumulative: whoever runs a build of the same branch that is not lower has the fix. The package is
called by its branch (``20348``), the version is the build (``20348.4893``), the advisory is the KB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime

import msgspec

from forestall.server.vulnerabilities.feeds import severity
from forestall.server.vulnerabilities.feeds.document import MONTHS, Document
from forestall.server.vulnerabilities.feeds.records import Advisory, Affected, Record, Span
from forestall.server.vulnerabilities.windows import branches_of

MONTH = re.compile(r"(20[0-9]{2})-(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)")


class Patch(msgspec.Struct, rename="camel"):
    os: str
    kb: str
    fixed_build: str
    severity: str | float | None = None
    exploit_status: str | None = None


class Mapped(msgspec.Struct):
    cve: str
    patches: list[Patch]


def is_mapping(document: Document) -> bool:
    return {"cve", "patches"} <= document.first.keys()


def published_in(name: str) -> datetime | None:
    """The second Tuesday of the month in a file's name: the mappings hold no dates. None: the name has no month."""
    found = MONTH.search(name)
    if found is None:
        return None
    first = date(int(found[1]), MONTHS[found[2]], 1)
    tuesday = 1 + (1 - first.weekday()) % 7 + 7
    return datetime(first.year, first.month, tuesday, tzinfo=UTC)


def read(document: Document) -> Iterator[Record]:
    """One advisory a KB: the branches it is for with the builds that have it, and the CVEs of each."""
    builds: dict[str, dict[tuple[str, str], dict[str, None]]] = {}
    scores: dict[str, float] = {}
    exploited: set[str] = set()
    for mapped, where in document.each(Mapped):
        if not mapped.cve.startswith("CVE-"):
            raise document.fail(f"{mapped.cve!r} is no CVE", where)
        for patch in mapped.patches:
            if not re.fullmatch(r"KB[0-9]{6,8}", patch.kb):
                raise document.fail(f"{patch.kb!r} is no KB ({mapped.cve})", where)
            for branch, build in branches_of(patch.os, patch.fixed_build):
                builds.setdefault(patch.kb, {}).setdefault((branch, build), {})[mapped.cve] = None
            points = _points(patch.severity, document, where)
            scores[patch.kb] = max(scores.get(patch.kb, 0), points)
            if "Exploited:Yes" in (patch.exploit_status or ""):
                exploited.add(patch.kb)
    published = published_in(document.name)
    for kb, places in sorted(builds.items()):
        affected = tuple(
            Affected("Windows", branch, (Span(fixed=build),), cves=tuple(sorted(cves)))
            for (branch, build), cves in places.items()
        )
        every = tuple(sorted({cve for cves in places.values() for cve in cves}))
        yield Advisory(kb, affected, every, severity.of_score(scores[kb]), published, exploited=kb in exploited)


def _points(text: str | float | None, document: Document, where: str) -> float:
    if text in (None, "", "N/A"):
        return 0.0
    try:
        return float(text)
    except ValueError as error:
        word = severity.word(str(text))
        if word:
            return {"critical": 9.0, "high": 7.0, "medium": 4.0, "low": 1.0}[word]
        raise document.fail(f"{text!r} is no severity", where) from error


class Latest(msgspec.Struct, rename="camel"):
    os: str
    build: str
    latest_kb: str = msgspec.field(name="latestKB")
    release_date: date


def is_latest(document: Document) -> bool:
    return {"os", "build", "latestKB"} <= document.first.keys()


def read_latest(document: Document) -> Iterator[Record]:
    """The newest build of each Windows: checked, but it names no vulnerability and so gives no advisory."""
    for latest, where in document.each(Latest):
        if not latest.os:
            raise document.fail("os is empty", where)
    yield from ()
