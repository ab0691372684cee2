"""Alpine's secdb: for each release and repository, which version of a source package fixes what."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from forestall.server.vulnerabilities.feeds.document import Document
from forestall.server.vulnerabilities.feeds.records import Advisory, Affected, Record, Span


class Fixes(msgspec.Struct):
    name: str
    secfixes: dict[str, list[str] | None]


class Entry(msgspec.Struct):
    pkg: Fixes


class SecDb(msgspec.Struct):
    packages: list[Entry] | None
    distroversion: str = ""


def is_secdb(document: Document) -> bool:
    return {"packages", "reponame"} <= document.keys.keys()


def read(document: Document) -> Iterator[Record]:
    """One advisory a vulnerability and package. A fixed version of 0 says: never affected."""
    secdb = document.whole(SecDb)
    ecosystem = f"Alpine:{secdb.distroversion}" if secdb.distroversion else "Wolfi"
    for entry in secdb.packages or ():
        for version, names in entry.pkg.secfixes.items():
            for name in names or ():
                words = name.split()
                if not words or version == "0":
                    continue
                cves = tuple(one for one in words if one.startswith("CVE-"))
                affected = Affected(ecosystem, entry.pkg.name, (Span(fixed=version),))
                yield Advisory(cves[0] if cves else words[0], (affected,), cves)
