"""The formats that are understood: one list, each recognised by what stands in the file, not by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from forestall.server.vulnerabilities.feeds import (
    alpine,
    changelog,
    csaf,
    debian,
    exploited,
    msrc,
    nvd,
    osv,
    packages,
    trivy,
    vex,
)
from forestall.server.vulnerabilities.feeds.document import Document
from forestall.server.vulnerabilities.feeds.errors import FeedError
from forestall.server.vulnerabilities.feeds.files import documents
from forestall.server.vulnerabilities.feeds.records import Record


@dataclass(frozen=True, slots=True)
class Format:
    """A format of feeds."""

    slug: str
    title: str
    matches: Callable[[Document], bool]
    parse: Callable[[Document], Iterator[Record]]

    def read(self, path: Path) -> Iterator[Record]:
        """The records of a file, plain, packed (gz, xz, bz2) or a zip of such files.

        Raises FeedError when any part is not of this format or is wrong: then nothing of the file may be used, so
        take the whole before using any of it.
        """
        for document in documents(path):
            if not self.matches(document):
                if document.is_json:
                    _ = document.items  # says where broken JSON breaks
                raise FeedError(document.name, f"is not {self.title}")
            yield from self.parse(document)


FORMATS: dict[str, Format] = {
    one.slug: one
    for one in (
        Format("osv", "OSV", osv.is_osv, osv.read),
        Format("debian-tracker", "Debian's security tracker (JSON)", debian.is_tracker, debian.read_tracker),
        Format("debian-notices", "Debian's list of notices (DSA, DLA)", debian.is_notices, debian.read_notices),
        Format("debian-changelog", "Debian changelog", changelog.is_changelog, changelog.read),
        Format("csaf", "CSAF 2.0 (Red Hat)", csaf.is_csaf, csaf.read_csaf),
        Format("hydra", "Red Hat security data (one vulnerability)", csaf.is_hydra, csaf.read_hydra),
        Format("hydra-list", "Red Hat security data (list)", csaf.is_hydra_list, csaf.read_hydra_list),
        Format("openvex", "OpenVEX (Ubuntu)", vex.is_vex, vex.read),
        Format("secdb", "Alpine secdb", alpine.is_secdb, alpine.read),
        Format("msrc", "Microsoft: CVE to KB and build", msrc.is_mapping, msrc.read),
        Format("windows-versions", "Windows: latest builds", msrc.is_latest, msrc.read_latest),
        Format("nvd", "NVD 2.0", nvd.is_nvd, nvd.read),
        Format("kev", "CISA known exploited vulnerabilities (JSON)", exploited.is_kev, exploited.read_kev),
        Format("kev-csv", "CISA known exploited vulnerabilities (CSV)", exploited.is_kev_csv, exploited.read_kev_csv),
        Format("epss", "EPSS (CSV)", exploited.is_epss_csv, exploited.read_epss_csv),
        Format("epss-json", "EPSS (JSON)", exploited.is_epss_json, exploited.read_epss_json),
        Format("packages", "Debian package index", packages.is_index, packages.read),
        Format("trivy", "Trivy data base (YAML)", trivy.is_trivy, trivy.read),
    )
}

# What lies about in folders of feeds and is none → a telling member of its first JSON object.
OTHERS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"jsonVersion", "family"}), "an exported host"),
    (frozenset({"identifier", "item", "schema"}), "a record that another program made of a feed"),
    (frozenset({"SchemaVersion", "Results"}), "the result of a scan"),
    (frozenset({"queries", "answers"}), "recorded answers of an API"),
    (frozenset({"test", "queries"}), "recorded answers of an API"),
    (frozenset({"bomFormat"}), "an SBOM"),
    (frozenset({"spdxVersion"}), "an SBOM"),
    (frozenset({"$schema"}), "a JSON schema"),
    (frozenset({"image", "package", "label"}), "labels of matches"),
    (frozenset({"source", "installed", "candidate"}), "fixes taken from changelogs"),
    (frozenset({"Name", "Version"}), "a list of packages"),
)


def detect(document: Document) -> Format | str:
    """The format of a document, or what it is instead. Raises FeedError for JSON that is broken."""
    for one in FORMATS.values():
        if one.matches(document):
            return one
    if document.is_json:
        if not document.items:
            return "an empty list"
        members = document.first.keys()
        for telling, what in OTHERS:
            if telling <= members:
                return what
        return "JSON of no format that is known"
    return "of no format that is known"
