"""Red Hat: advisories and VEX files in CSAF 2.0, and the JSON of single vulnerabilities of its security data API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import unquote

import msgspec

from forestall.server.vulnerabilities.feeds import severity
from forestall.server.vulnerabilities.feeds.document import Document, utc
from forestall.server.vulnerabilities.feeds.records import Advisory, Affected, Rating, Record, Span
from forestall.server.vulnerabilities.versions import rpm

CPE = re.compile(
    r"cpe:/[aoh]:redhat:(enterprise_linux|rhel_(?:eus|aus|tus|e4s|els|eus_long_life))(?:_\w+)?:([0-9]+)([0-9.]*)"
)
NEVRA = re.compile(r"(.+)-(?:([0-9]+):)?([^-:]+)-([^-]+)\.(\w+)(?:\.rpm)?")
PURL = re.compile(r"pkg:rpm/[^/]+/([^@?]+)@([^?]+)(?:\?(.*))?")
SOURCE = "src:"
"""Before the name of a source package, in ecosystems whose advisories name installed ones."""
OPEN_STATES = frozenset({"affected", "will not fix", "fix deferred", "out of support scope"})


class Tracking(msgspec.Struct):
    id: str
    initial_release_date: datetime | None = None


class Words(msgspec.Struct):
    text: str = ""


class Head(msgspec.Struct):
    tracking: Tracking
    category: str = ""
    title: str = ""
    aggregate_severity: Words | None = None


class Helper(msgspec.Struct):
    cpe: str = ""
    purl: str = ""


class Product(msgspec.Struct):
    product_id: str
    product_identification_helper: Helper | None = None


class Branch(msgspec.Struct):
    branches: list[Branch] | None = None
    product: Product | None = None


class FullName(msgspec.Struct):
    product_id: str


class Relationship(msgspec.Struct):
    full_product_name: FullName
    product_reference: str
    relates_to_product_reference: str


class Tree(msgspec.Struct):
    branches: list[Branch] | None = None
    relationships: list[Relationship] | None = None


class Status(msgspec.Struct):
    fixed: list[str] | None = None
    known_affected: list[str] | None = None


class Threat(msgspec.Struct):
    category: str = ""
    details: str = ""


class Cvss(msgspec.Struct, rename="camel"):
    base_score: float | None = None
    vector_string: str = ""


class Scored(msgspec.Struct):
    cvss_v3: Cvss | None = None


class Flaw(msgspec.Struct):
    cve: str = ""
    product_status: Status | None = None
    threats: list[Threat] | None = None
    scores: list[Scored] | None = None


class Csaf(msgspec.Struct):
    document: Head
    product_tree: Tree | None = None
    vulnerabilities: list[Flaw] | None = None


def is_csaf(document: Document) -> bool:
    return "document" in document.keys and b'"csaf_version"' in bytes(document.keys["document"])


def read_csaf(document: Document) -> Iterator[Record]:
    """One advisory a file: every package that it fixes on a release of its main stream, with the CVEs of each."""
    csaf = document.whole(Csaf)
    tree = csaf.product_tree or Tree()
    products: dict[str, Helper] = {}
    waiting = list(tree.branches or ())
    while waiting:
        branch = waiting.pop()
        waiting += branch.branches or ()
        if branch.product is not None:
            products[branch.product.product_id] = branch.product.product_identification_helper or Helper()
    parents = {
        one.full_product_name.product_id: (one.product_reference, one.relates_to_product_reference)
        for one in tree.relationships or ()
    }
    every = tuple(sorted({flaw.cve for flaw in csaf.vulnerabilities or () if flaw.cve}))
    cves: dict[tuple[str, str, str, str], set[str]] = {}
    architectures: dict[tuple[str, str, str, str], set[str]] = {}
    for flaw in csaf.vulnerabilities or ():
        status = flaw.product_status or Status()
        for whole, fixed in [(one, True) for one in status.fixed or ()] + [
            (one, False) for one in status.known_affected or ()
        ]:
            place = _place(whole, products, parents)
            if place is None:
                continue
            ecosystem, name, version, module, architecture = place
            if fixed and not version:
                continue
            key = (ecosystem, name if fixed else SOURCE + name, version if fixed else "", module)
            cves.setdefault(key, set()).add(flaw.cve)
            architectures.setdefault(key, set()).add(architecture)
        points = next((one.cvss_v3 for one in flaw.scores or () if one.cvss_v3), None)
        if flaw.cve:
            stated = next((one.details for one in flaw.threats or () if one.category == "impact"), "")
            yield Rating(
                flaw.cve,
                severity.word(stated),
                points.base_score if points else None,
                points.vector_string if points else "",
            )
    affected = tuple(
        Affected(
            ecosystem,
            name,
            (Span(fixed=version),),
            module=module,
            architectures=() if architectures[key] & {"noarch", ""} else tuple(sorted(architectures[key])),
            cves=() if len(found) == len(every) else tuple(sorted(found)),
        )
        for key, found in cves.items()
        for ecosystem, name, version, module in (key,)
    )
    head = csaf.document
    yield Advisory(
        head.tracking.id,
        affected,
        every,
        severity.word(head.aggregate_severity.text) if head.aggregate_severity else "",
        utc(head.tracking.initial_release_date),
        title=head.title[:300],
    )


def release_of(cpe: str) -> str:
    """``Red Hat:9``, or with a stream of its own ``Red Hat:9.2-EUS``; empty: another product."""
    found = CPE.match(cpe)
    if found is None:
        return ""
    product, major, minor = found.groups()
    return f"Red Hat:{major}" if product == "enterprise_linux" else f"Red Hat:{major}{minor}-{product[5:].upper()}"


def _place(
    whole: str, products: dict[str, Helper], parents: dict[str, tuple[str, str]]
) -> tuple[str, str, str, str, str] | None:
    """Release, package, version, module and architecture of a product of the tree; None: not a package of a release."""
    part, module, ecosystem = whole, "", ""
    for _ in range(6):  # a package in a module in a release: two steps
        if part not in parents:
            break
        inner, outer = parents[part]
        helper = products.get(outer, Helper())
        ecosystem = ecosystem or release_of(helper.cpe)
        if helper.purl.startswith("pkg:rpmmod/"):
            module = ":".join(unquote(helper.purl).rpartition("/")[2].replace("@", ":").split(":")[:2])
        if outer in parents:
            around = parents[outer]
            ecosystem = ecosystem or release_of(products.get(around[1], Helper()).cpe)
            inside = products.get(around[0], Helper()).purl
            if inside.startswith("pkg:rpmmod/"):
                module = ":".join(unquote(inside).rpartition("/")[2].replace("@", ":").split(":")[:2])
        part = inner
    if not ecosystem:
        return None
    found = PURL.match(products.get(part, Helper()).purl)
    if found:
        name, version = unquote(found[1]), unquote(found[2])
        extra = dict(one.split("=", 1) for one in unquote(found[3] or "").split("&") if "=" in one)
        architecture = extra.get("arch", "")
        if extra.get("epoch", "0") != "0":
            version = f"{extra['epoch']}:{version}"
        module = ":".join(extra["rpmmod"].split(":")[:2]) if "rpmmod" in extra else module
    else:
        nevra = NEVRA.fullmatch(part)
        if nevra:
            name, epoch, number, release, architecture = nevra.groups()
            version = f"{epoch}:{number}-{release}" if epoch and epoch != "0" else f"{number}-{release}"
        else:
            name, version, architecture = part, "", ""
    return None if architecture == "src" else (ecosystem, name, version, module, architecture)


class FixedIn(msgspec.Struct):
    cpe: str
    package: str = ""
    advisory: str = ""
    release_date: datetime | None = None


class State(msgspec.Struct):
    cpe: str
    package_name: str
    fix_state: str


class Cvss3(msgspec.Struct):
    cvss3_base_score: str = ""
    cvss3_scoring_vector: str = ""


class Hydra(msgspec.Struct):
    name: str
    threat_severity: str = ""
    public_date: datetime | None = None
    cvss3: Cvss3 | None = None
    affected_release: list[FixedIn] | FixedIn | None = None
    package_state: list[State] | State | None = None


class HydraLine(msgspec.Struct):
    CVE: str
    severity: str | None = None
    cvss3_score: str | float | None = None
    cvss3_scoring_vector: str | None = None
    public_date: datetime | None = None
    bugzilla_description: str | None = None


def is_hydra(document: Document) -> bool:
    keys = document.keys.keys()
    return {"name", "threat_severity"} <= keys or {"name", "public_date", "affected_release"} <= keys


def read_hydra(document: Document) -> Iterator[Record]:
    """One vulnerability: source packages with the first fix on each release, and those that have none."""
    hydra = document.whole(Hydra)
    rated = severity.word(hydra.threat_severity)
    points = _points(hydra.cvss3.cvss3_base_score if hydra.cvss3 else "", document)
    yield Rating(
        hydra.name,
        rated,
        points,
        hydra.cvss3.cvss3_scoring_vector if hydra.cvss3 else "",
        published_at=utc(hydra.public_date),
    )
    first: dict[tuple[str, str, str], tuple[str, FixedIn]] = {}
    for fix in _listed(hydra.affected_release):
        ecosystem, found = release_of(fix.cpe), re.fullmatch(r"(.+)-([^-]+-[^-]+)", fix.package)
        if not ecosystem or found is None:
            continue
        module, _, name = found[1].rpartition("/")
        version = found[2]
        place = (ecosystem, name, module)
        if place not in first or rpm.key(version) < rpm.key(first[place][0]):
            first[place] = (version, fix)
    for (ecosystem, name, module), (version, fix) in first.items():
        affected = Affected(ecosystem, SOURCE + name, (Span(fixed=version),), module=module)
        yield Advisory(fix.advisory or hydra.name, (affected,), (hydra.name,), rated, utc(fix.release_date))
    unfixed = []
    for state in _listed(hydra.package_state):
        ecosystem = release_of(state.cpe)
        if ecosystem and state.fix_state.lower() in OPEN_STATES:
            module, _, name = state.package_name.rpartition("/")
            if (ecosystem, name, module) not in first:
                unfixed.append(Affected(ecosystem, SOURCE + name, (Span(),), module=module))
    if unfixed:
        yield Advisory(hydra.name, tuple(unfixed), (hydra.name,), rated, utc(hydra.public_date))


def _listed(value: list[FixedIn] | FixedIn | list[State] | State | None) -> list:  # type: ignore[type-arg]
    return value if isinstance(value, list) else [] if value is None else [value]


def _points(text: str | float | None, document: Document) -> float | None:
    if text in (None, ""):
        return None
    try:
        return float(text)
    except ValueError as error:
        raise document.fail(f"{text!r} is no score") from error


def is_hydra_list(document: Document) -> bool:
    return {"CVE", "bugzilla", "severity"} <= document.first.keys()


def read_hydra_list(document: Document) -> Iterator[Record]:
    """Pages of the list of vulnerabilities: ratings alone, they name no versions that can be compared."""
    for line, _ in document.each(HydraLine):
        yield Rating(
            line.CVE.replace("_", "-"),
            severity.word(line.severity or ""),
            _points(line.cvss3_score, document),
            line.cvss3_scoring_vector or "",
            (line.bugzilla_description or "")[:300],
            utc(line.public_date),
        )
