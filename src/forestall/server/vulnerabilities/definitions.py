"""The feeds Forestall knows by itself: whose they are, where their publishers keep them, and who needs them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from urllib.parse import quote

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Definition:
    """A feed of a publisher, or a family of them: one for each release."""

    slug: str
    title: str
    format: str
    """See ``feeds.FORMATS``."""
    url: str
    """``{ecosystem}`` and ``{release}`` are filled in where there is one for each release."""
    ecosystem: str = ""
    """Whose packages it is about; empty: of vulnerabilities themselves, whatever has them."""
    each_release: bool = False
    every_hours: int = 12
    most_bytes: int = 256 * MIB
    """Larger is not taken."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A feed that some device needs."""

    slug: str
    title: str
    url: str
    ecosystem: str
    definition: Definition


_OSV = "https://osv-vulnerabilities.storage.googleapis.com"

DEFINITIONS: tuple[Definition, ...] = (
    Definition(
        "kev", "CISA: known exploited vulnerabilities", "kev",
        "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json",
        every_hours=6, most_bytes=32 * MIB,
    ),
    Definition(
        "epss", "FIRST: how likely exploitation is (EPSS)", "epss",
        "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz",
        every_hours=24, most_bytes=64 * MIB,
    ),
    Definition(
        "debian-tracker", "Debian security tracker", "debian-tracker",
        "https://security-tracker.debian.org/tracker/data/json", "Debian", most_bytes=512 * MIB,
    ),
    Definition(
        "ubuntu", "Ubuntu {release} security notices (OSV)", "osv", _OSV + "/{ecosystem}/all.zip", "Ubuntu",
        each_release=True, most_bytes=1024 * MIB,
    ),
    Definition("almalinux", "AlmaLinux errata (OSV)", "osv", _OSV + "/AlmaLinux/all.zip", "AlmaLinux"),
    Definition("rocky", "Rocky Linux errata (OSV)", "osv", _OSV + "/Rocky%20Linux/all.zip", "Rocky Linux"),
    Definition("red-hat", "Red Hat errata (OSV)", "osv", _OSV + "/Red%20Hat/all.zip", "Red Hat",
               most_bytes=1024 * MIB),
    Definition("opensuse", "openSUSE errata (OSV)", "osv", _OSV + "/openSUSE/all.zip", "openSUSE",
               most_bytes=1024 * MIB),
    Definition("suse", "SUSE Linux Enterprise errata (OSV)", "osv", _OSV + "/SUSE/all.zip", "SUSE",
               most_bytes=1024 * MIB),
    Definition(
        "alpine-main", "Alpine {release} security database: main", "secdb",
        "https://secdb.alpinelinux.org/{release}/main.json", "Alpine", each_release=True, most_bytes=64 * MIB,
    ),
    Definition(
        "alpine-community", "Alpine {release} security database: community", "secdb",
        "https://secdb.alpinelinux.org/{release}/community.json", "Alpine", each_release=True, most_bytes=64 * MIB,
    ),
    Definition("pypi", "Python packages (OSV)", "osv", _OSV + "/PyPI/all.zip", "PyPI", every_hours=24),
    Definition("npm", "npm packages (OSV)", "osv", _OSV + "/npm/all.zip", "npm", every_hours=24,
               most_bytes=1024 * MIB),
)  # fmt: skip


def wanted(ecosystems: Collection[str]) -> Iterator[Wanted]:
    """The feeds that devices with packages of these ecosystems (``Debian:12``, ``PyPI``) need; none without any."""
    for one in DEFINITIONS:
        fitting = sorted(each for each in ecosystems if not one.ecosystem or each.partition(":")[0] == one.ecosystem)
        if not fitting:
            continue
        if not one.each_release:
            yield Wanted(one.slug, one.title, one.url, one.ecosystem, one)
            continue
        for ecosystem in fitting:
            release = ecosystem.partition(":")[2]
            if release:
                yield Wanted(
                    f"{one.slug}-{release}".lower().replace(":", "-").replace(".", "-")[:60],
                    one.title.format(release=release.replace(":", " ")),
                    one.url.format(ecosystem=quote(_published(ecosystem), safe=":"), release=quote(release)),
                    ecosystem,
                    one,
                )


def _published(ecosystem: str) -> str:
    """As OSV spells it: Ubuntu's long-term releases carry a word for that."""
    name, _, release = ecosystem.partition(":")
    year, _, month = release.partition(".")
    if name == "Ubuntu" and month == "04" and year.isdecimal() and int(year) % 2 == 0:
        return f"{ecosystem}:LTS"
    return ecosystem
