"""Trivy's data base as YAML, as its fixtures have it: buckets of releases, of packages, of advisories."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from forestall.server.vulnerabilities.feeds import severity
from forestall.server.vulnerabilities.feeds.csaf import release_of
from forestall.server.vulnerabilities.feeds.document import Document, utc
from forestall.server.vulnerabilities.feeds.ecosystems import LANGUAGES, ecosystem_of, normal_name
from forestall.server.vulnerabilities.feeds.records import Advisory, Affected, Rating, Record, SameAs, Span

LEVELS = ("", "low", "medium", "high", "critical")
NOT_AFFECTED = 1
LANGUAGE_WORDS = {"pip": "pypi", "rubygems": "gem", "go": "golang", "erlang": "hex"}
CONSTRAINT = re.compile(r"(>=|<=|>|<|=)?\s*([^\s,<>=|]+)")
INTERVAL = re.compile(r"([\[(])\s*([^,\[\]()]*)\s*(?:,\s*([^,\[\]()]*)\s*)?([\])])")


def is_trivy(document: Document) -> bool:
    return document.start.startswith("- bucket: ")


def read(document: Document) -> Iterator[Record]:
    """Advisories by vulnerability; details of vulnerabilities; Red Hat's numbers of releases."""
    try:
        import yaml  # only who reads such files needs it
    except ModuleNotFoundError as error:
        raise document.fail("is YAML, and PyYAML is not installed here") from error

    try:
        loaded = yaml.load(document.text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise document.fail(" ".join(str(error).split())[:300]) from error
    for bucket in _list(loaded, document, "$"):
        name = _text(bucket, "bucket", document, "$")
        pairs = _list(bucket.get("pairs"), document, name)
        if name == "vulnerability":
            yield from _details(pairs, document)
        elif name == "Red Hat CPE":
            yield from _numbers(pairs, document)
        else:
            ecosystem = "" if name == "Red Hat" else _ecosystem(name)
            if ecosystem or name == "Red Hat":
                yield from _advisories(ecosystem, pairs, document, name)


def _list(value: Any, document: Document, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise document.fail("a list of buckets or pairs was expected", where)
    return value


def _text(pair: dict[str, Any], field: str, document: Document, where: str) -> str:
    value = pair.get(field)
    if not isinstance(value, str):
        raise document.fail(f"{field} is {value!r}", where)
    return value


def _ecosystem(name: str) -> str:
    language, colons, _ = name.partition("::")
    if colons:
        return LANGUAGES.get(LANGUAGE_WORDS.get(language, language), "")
    found = re.match(r"openSUSE Leap ([0-9.]+)", name)
    if found:
        return f"openSUSE:Leap:{found[1]}"
    found = re.match(r"SUSE Linux Enterprise (?:Server )?([0-9]+)(?:-SP([0-9]+))?", name)
    if found:
        return f"SUSE:Linux Enterprise Server:{found[1]}.{found[2] or 0}"
    system, _, release = name.rpartition(" ")
    return ecosystem_of(system.lower().replace(" linux", ""), release)


def _details(pairs: list[dict[str, Any]], document: Document) -> Iterator[Record]:
    for pair in pairs:
        cve, value = _text(pair, "key", document, "vulnerability"), pair.get("value")
        if not isinstance(value, dict):
            raise document.fail(f"value is {value!r}", cve)
        published = value.get("PublishedDate")
        try:
            moment = utc(datetime.fromisoformat(published)) if isinstance(published, str) else None
        except ValueError as error:
            raise document.fail(f"PublishedDate is {published!r}", cve) from error
        yield Rating(
            cve,
            severity.word(str(value.get("Severity", ""))),
            published_at=moment,
            title=str(value.get("Title", ""))[:300],
        )


def _numbers(pairs: list[dict[str, Any]], document: Document) -> Iterator[Record]:
    for bucket in pairs:
        if bucket.get("bucket") != "cpe":
            continue
        for pair in _list(bucket.get("pairs"), document, "cpe"):
            ecosystem = release_of(str(pair.get("value", "")))
            if ecosystem:
                yield SameAs(f"Red Hat CPE:{pair.get('key')}", ecosystem)


def _advisories(ecosystem: str, pairs: list[dict[str, Any]], document: Document, bucket: str) -> Iterator[Record]:
    for package in pairs:
        name = _text(package, "bucket", document, bucket)
        where = f"{bucket}: {name}"
        for pair in _list(package.get("pairs"), document, where):
            key, value = _text(pair, "key", document, where), pair.get("value")
            if not isinstance(value, dict):
                raise document.fail(f"value is {value!r}", f"{where}: {key}")
            try:
                affected = tuple(_affected(ecosystem, name, value))
            except (TypeError, AttributeError, IndexError) as error:
                raise document.fail(f"{type(error).__name__}: {error}", f"{where}: {key}") from error
            cves = (key,) if key.startswith("CVE-") else ()
            if affected and any(one.cves for one in affected):
                cves = tuple(sorted({*cves, *(cve for one in affected for cve in one.cves)}))
            yield Advisory(key, affected, cves, _level(value.get("Severity")))


def _level(value: Any) -> str:
    return LEVELS[int(value)] if isinstance(value, int | float) and 0 <= value < len(LEVELS) else ""


def _affected(ecosystem: str, name: str, value: dict[str, Any]) -> Iterator[Affected]:
    if not ecosystem:
        for entry in value.get("Entries") or ():
            cves = tuple(one["ID"] for one in entry.get("Cves") or () if "ID" in one)
            span = Span(fixed=entry.get("FixedVersion") or "")
            level = max((_level(one.get("Severity")) for one in entry.get("Cves") or ()), key=LEVELS.index, default="")
            if entry.get("Status") == NOT_AFFECTED:
                continue
            for number in entry.get("Affected") or ():
                yield Affected(
                    f"Red Hat CPE:{number}",
                    name,
                    (span,),
                    architectures=tuple(entry.get("Arches") or ()),
                    severity=level,
                    cves=cves,
                )
    elif "VulnerableVersions" in value or "PatchedVersions" in value:
        spans = [span for text in value.get("VulnerableVersions") or () for span in constraint(text)]
        patched = [str(one) for one in value.get("PatchedVersions") or ()]
        if len(spans) == 1 and len(patched) == 1 and spans[0].last:
            spans = [Span(spans[0].introduced, fixed=patched[0])]
        yield Affected(ecosystem, normal_name(ecosystem, name), tuple(spans))
    elif value.get("Status") != NOT_AFFECTED:
        yield Affected(ecosystem, name, (Span(fixed=str(value.get("FixedVersion") or "")),))


def constraint(text: str) -> Iterator[Span]:
    """Spans of ``>= 1.0, < 1.2 || >= 2.0, < 2.1`` or ``[1.0,1.2)``."""
    for part in text.split("||"):
        intervals = list(INTERVAL.finditer(part))
        for found in intervals:
            _, low, high, close = found.groups()
            high = low if high is None else high
            yield Span(low, fixed=high if close == ")" else "", last=high if close == "]" else "")
        if intervals:
            continue
        low = fixed = last = ""
        for operator, version in CONSTRAINT.findall(part):
            if operator in {">=", ">"}:  # ">" would need a version just after: no feed here uses it with a fix below
                low = "" if version == "0" else version
            elif operator == "<":
                fixed = version
            elif operator == "<=":
                last = version
            else:
                low = last = version
        yield Span(low, fixed=fixed, last=last)
