"""NVD: what is known of each CVE itself. Its product lists (CPE) are not matched: distributions fix by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from forestall.server.vulnerabilities.feeds import severity
from forestall.server.vulnerabilities.feeds.document import Document, utc
from forestall.server.vulnerabilities.feeds.records import Rating, Record


class Data(msgspec.Struct, rename="camel"):
    base_score: float
    vector_string: str = ""


class Metric(msgspec.Struct, rename="camel"):
    cvss_data: Data
    type: str = ""


class Metrics(msgspec.Struct):
    v40: list[Metric] = msgspec.field(name="cvssMetricV40", default_factory=list)
    v31: list[Metric] = msgspec.field(name="cvssMetricV31", default_factory=list)
    v30: list[Metric] = msgspec.field(name="cvssMetricV30", default_factory=list)
    v2: list[Metric] = msgspec.field(name="cvssMetricV2", default_factory=list)


class Text(msgspec.Struct):
    lang: str
    value: str


class Cve(msgspec.Struct, rename="camel"):
    id: str
    published: datetime | None = None
    vuln_status: str = ""
    descriptions: list[Text] = []
    metrics: Metrics | None = None


class Wrapped(msgspec.Struct):
    cve: Cve


class Page(msgspec.Struct):
    vulnerabilities: list[Wrapped]


def is_nvd(document: Document) -> bool:
    return b"NVD_CVE" in bytes(document.keys.get("format", b""))


def read(document: Document) -> Iterator[Record]:
    """A rating of each CVE that NVD has not rejected: NVD's own, before that of who reported it."""
    for one in document.whole(Page).vulnerabilities:
        cve = one.cve
        if cve.vuln_status == "Rejected":
            continue
        every = cve.metrics or Metrics()
        ranked = [*every.v31, *every.v30, *every.v40, *every.v2]
        best = next((metric for metric in ranked if metric.type == "Primary"), ranked[0] if ranked else None)
        title = next((text.value for text in cve.descriptions if text.lang == "en"), "")
        yield Rating(
            cve.id,
            severity.of_score(best.cvss_data.base_score) if best else "",
            best.cvss_data.base_score if best else None,
            best.cvss_data.vector_string if best else "",
            title[:300],
            utc(cve.published),
        )
