"""OpenVEX, as Canonical publishes it: which packages of which Ubuntu releases a vulnerability affects.

Of what is fixed, Canonical names the version that is in the archive now, not the first with the fix; that bounds
nothing and is not taken (Ubuntu's OSV files tell it). Taken is what is ``affected``: up to the version named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import unquote

import msgspec

from forestall.server.vulnerabilities.feeds.document import Document, utc
from forestall.server.vulnerabilities.feeds.ecosystems import UBUNTU_CODENAMES
from forestall.server.vulnerabilities.feeds.records import Advisory, Affected, Record, Span

PURL = re.compile(r"pkg:deb/ubuntu/([^@?]+)@([^?]+)\?(.*)")
STATUSES = frozenset({"not_affected", "affected", "fixed", "under_investigation"})


class Named(msgspec.Struct):
    name: str
    description: str = ""


class Product(msgspec.Struct):
    id: str = msgspec.field(name="@id")


class Statement(msgspec.Struct):
    vulnerability: Named
    status: str
    products: list[Product] | None = None
    timestamp: datetime | None = None


class Vex(msgspec.Struct):
    statements: list[Statement]


def is_vex(document: Document) -> bool:
    return b"openvex" in bytes(document.keys.get("@context", b""))


def read(document: Document) -> Iterator[Record]:
    for place, one in enumerate(document.whole(Vex).statements):
        if one.status not in STATUSES:
            raise document.fail(f"{one.status!r} is no status", f"$.statements[{place}].status")
        if one.status != "affected":
            continue
        affected = []
        for product in one.products or ():
            found = PURL.match(product.id)
            if found is None:
                continue
            extra = dict(part.split("=", 1) for part in found[3].split("&") if "=" in part)
            release = UBUNTU_CODENAMES.get(extra.get("distro", "").rpartition("/")[2])
            if extra.get("arch") == "source" and release:
                span = Span(last=unquote(found[2]))
                affected.append(Affected(f"Ubuntu:{release}", unquote(found[1]), (span,)))
        if affected:
            name = one.vulnerability.name
            cves = (name,) if name.startswith("CVE-") else ()
            title = one.vulnerability.description[:300]
            yield Advisory(name, tuple(affected), cves, published_at=utc(one.timestamp), title=title)
