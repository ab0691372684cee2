"""OSV: one advisory a file, a list, one a line, a zip of files. Many distributions and languages publish it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from forestall.server.vulnerabilities.feeds import severity
from forestall.server.vulnerabilities.feeds.document import Document, utc
from forestall.server.vulnerabilities.feeds.ecosystems import canonical, normal_name
from forestall.server.vulnerabilities.feeds.records import Advisory, Affected, Record, Span
from forestall.server.vulnerabilities.versions import key_of, scheme_of

# Notices of distributions name the vulnerabilities that they mend as "related"; elsewhere that word means "like it".
NOTICES = re.compile(
    r"(?:AL[SBE]A|R[LX][SBE]A|RH[SBE]A|ELSA|ELBA|ALAS\w*|USN|DSA|DLA|DTSA|SUSE|openSUSE|MGASA|OESA|FEDORA|BELL)[-:]"
)
# Of bug fixes and enhancements only those count that name vulnerabilities.
NOT_SECURITY = re.compile(r"(?:AL[BE]A|R[LX][BE]A|RH[BE]A|ELBA|ELEA|SUSE-[RFO]U|openSUSE-[RFO]U)[-:]")
CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,}")


class Event(msgspec.Struct, gc=False):
    introduced: str | None = None
    fixed: str | None = None
    last_affected: str | None = None
    limit: str | None = None


class Range(msgspec.Struct, gc=False):
    type: str
    events: list[Event]


class PackageName(msgspec.Struct, gc=False):
    ecosystem: str
    name: str
    purl: str | None = None


class Score(msgspec.Struct, gc=False):
    type: str
    score: str


class AffectedPackage(msgspec.Struct, gc=False):
    package: PackageName | None = None
    ranges: list[Range] | None = None
    versions: list[str] | None = None
    severity: list[Score] | None = None
    ecosystem_specific: Any = None
    database_specific: Any = None


class Osv(msgspec.Struct, gc=False):
    id: str
    modified: datetime
    published: datetime | None = None
    withdrawn: datetime | None = None
    aliases: list[str] | None = None
    related: list[str] | None = None
    upstream: list[str] | None = None
    summary: str | None = None
    severity: list[Score] | None = None
    affected: list[AffectedPackage] | None = None
    database_specific: Any = None


def is_osv(document: Document) -> bool:
    first = document.first
    return "id" in first and "modified" in first and not {"bomFormat", "spdxVersion"} & first.keys()


def read(document: Document) -> Iterator[Record]:
    """The advisories of a file."""
    for osv, where in document.each(Osv):
        yield advisory_of(osv, document, where)


def advisory_of(osv: Osv, document: Document, where: str) -> Advisory:
    """One OSV entry. Raises FeedError for ranges that make no sense."""
    if not osv.id.strip():
        raise document.fail("id is empty", where)
    named = [*(osv.aliases or ()), *(osv.upstream or ()), osv.id]
    if NOTICES.match(osv.id):
        named += osv.related or ()
    cves = _cves(named)
    rated = _rating(osv.severity) or _stated(osv.database_specific) or severity.of_summary(osv.summary or "")
    stream = _stream(osv.summary or "")
    affected: list[Affected] = []
    pro: list[Affected] = []
    for place, one in enumerate(osv.affected or ()):
        if one.package is None:
            continue  # a range of commits
        at = f"{where}: affected[{place}]" if where else f"affected[{place}]"
        for made in _affected(one, document, at, stream):
            (pro if made.ecosystem.startswith("Ubuntu:Pro:") else affected).append(made)
    affected += _only_with_pro(pro, affected)
    return Advisory(
        id=osv.id,
        affected=() if NOT_SECURITY.match(osv.id) and not cves else tuple(affected),
        cves=cves,
        severity=rated,
        published_at=utc(osv.published),
        withdrawn_at=utc(osv.withdrawn),
        modified_at=utc(osv.modified),
        title=(osv.summary or "")[:300],
    )


def _cves(names: list[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for name in names:
        match = CVE.search(name)
        if match:
            found[match[0]] = None
    return tuple(sorted(found))


def _rating(scores: list[Score] | None) -> str:
    """A vendor's own word before a score."""
    best = ""
    for one in scores or ():
        if not one.type.startswith("CVSS"):
            stated = severity.word(one.score)
            if stated:
                return stated
        else:
            points = severity.score(one.score)
            if points is not None:
                best = best or severity.of_score(points)
    return best


def _stated(specific: Any) -> str:
    stated = specific.get("severity") if isinstance(specific, dict) else None
    return severity.word(stated) if isinstance(stated, str) else ""


def _stream(summary: str) -> str:
    """The module stream that a notice is about: ``Important: nodejs:18 security update``. Empty: none, or several."""
    found = re.findall(r"(?<!\S)([A-Za-z][\w.+-]*:[\w.+-]+)(?=[ ,])", summary.partition(": ")[2])
    return found[0] if len(set(found)) == 1 else ""


def _affected(one: AffectedPackage, document: Document, where: str, stream: str) -> Iterator[Affected]:
    assert one.package is not None  # noqa: S101 - checked by the caller
    ecosystem = canonical(one.package.ecosystem)
    specific = one.ecosystem_specific if isinstance(one.ecosystem_specific, dict) else {}
    if specific.get("urgency") == "unimportant":
        return  # Debian: not a vulnerability in how the package is built or used
    spans = [
        span
        for found in one.ranges or ()
        if found.type in {"ECOSYSTEM", "SEMVER"}
        for span in _spans(found.events, document, where)
    ]
    name = normal_name(ecosystem, one.package.name)
    if not name:
        raise document.fail("package.name is empty", where)
    versions = _besides(ecosystem, spans, one.versions or [])
    rated = _rating(one.severity) or _stated(specific) or _stated(one.database_specific)
    module = ""
    for place in (specific, one.database_specific):
        if isinstance(place, dict) and isinstance(place.get("module"), str):
            module = place["module"]
    if not module and any(".module" in span.fixed for span in spans):
        module = stream
    binaries = specific.get("binaries")
    if ecosystem.startswith(("SUSE:", "openSUSE:")) and isinstance(binaries, list):
        # SUSE names the source package and lists what is made from it, each with its own version.
        for entry in binaries:
            for binary, version in entry.items() if isinstance(entry, dict) else ():
                if isinstance(version, str):
                    yield Affected(ecosystem, binary, (Span(fixed=version),), severity=rated)
        return
    made: tuple[str, ...] = ()
    if isinstance(binaries, list):
        names = (entry.get("binary_name") for entry in binaries if isinstance(entry, dict))
        made = tuple(sys.intern(one) for one in names if isinstance(one, str) and one != name)
    yield Affected(ecosystem, name, tuple(spans), tuple(versions), module=module, severity=rated, binaries=made)


def _spans(events: list[Event], document: Document, where: str) -> Iterator[Span]:
    """Events as they stand: each ``introduced`` opens a span, ``fixed`` or ``last_affected`` ends it."""
    introduced: str | None = None
    for event in events:
        if event.introduced is not None:
            if introduced is not None:
                yield Span(introduced)
            introduced = "" if event.introduced == "0" else event.introduced
        elif event.fixed is not None:
            if not event.fixed:
                raise document.fail("an event's fixed version is empty", where)
            yield Span(introduced or "", fixed=event.fixed)
            introduced = None
        elif event.last_affected is not None:
            yield Span(introduced or "", last=event.last_affected)
            introduced = None
    if introduced is not None:
        yield Span(introduced)


def _besides(ecosystem: str, spans: list[Span], versions: list[str]) -> list[str]:
    """Listed versions that the ranges do not hold already. Debian's and Ubuntu's lists only spell their ranges out."""
    if not spans:
        return versions
    if scheme_of(ecosystem) == "deb" or not versions:
        return []
    key = key_of(ecosystem)
    limits = [
        (key(one.introduced) if one.introduced else None, key(one.fixed) if one.fixed else None, one.last)
        for one in spans
    ]
    left = []
    for version in versions:
        mine = key(version)
        for introduced, fixed, last in limits:
            if (
                (introduced is None or mine >= introduced)
                and (fixed is None or mine < fixed)
                and (not last or mine <= key(last))
            ):
                break
        else:
            left.append(version)
    return left


def _only_with_pro(pro: list[Affected], others: list[Affected]) -> Iterator[Affected]:
    """What only subscribers of Ubuntu Pro get a fix for is open on the release itself too; its fix says ``esm``."""
    known = {(one.ecosystem, one.name) for one in others}
    for one in pro:
        ecosystem = "Ubuntu:" + one.ecosystem.removeprefix("Ubuntu:Pro:")
        if re.fullmatch(r"Ubuntu:[0-9.]+", ecosystem) and (ecosystem, one.name) not in known:
            yield Affected(ecosystem, one.name, one.spans, one.versions, severity=one.severity, binaries=one.binaries)
