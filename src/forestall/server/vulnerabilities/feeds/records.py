"""What a feed says, in one shape for all of them: advisories, exploited vulnerabilities, likelihoods, ratings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from forestall.server.vulnerabilities.types import Exploited

SEVERITIES = ("critical", "high", "medium", "low")


@dataclass(frozen=True, slots=True)
class Span:
    """Versions from ``introduced`` (inclusive; empty: from the first) until ``fixed`` (exclusive) or ``last``."""

    introduced: str = ""
    fixed: str = ""
    """First version without the fault; empty: none is known."""
    last: str = ""
    """Last version with the fault (inclusive), where the feed names that and not the fixed one."""


@dataclass(frozen=True, slots=True)
class Affected:
    """A package that an advisory is about."""

    ecosystem: str
    """Canonical, see ``ecosystems.canonical``: ``Debian:12``, ``Red Hat:9``, ``PyPI``, ``Windows``."""
    name: str
    """As the feed names it: the source package in Debian, Ubuntu, Alpine and Rocky, the binary one elsewhere."""
    spans: tuple[Span, ...] = ()
    versions: tuple[str, ...] = ()
    """Single versions with the fault, besides those of ``spans``."""
    module: str = ""
    """Only packages of this module stream (``nodejs:18``)."""
    architectures: tuple[str, ...] = ()
    """Only these; empty: all."""
    severity: str = ""
    """Where the feed rates it for this package apart from the advisory."""
    cves: tuple[str, ...] = ()
    """Of this package alone; empty: all of the advisory."""
    binaries: tuple[str, ...] = ()
    """What is made from it, where it names a source package and the feed tells."""


@dataclass(frozen=True, slots=True)
class Advisory:
    """A security notice: which packages have which vulnerabilities, and which version mends them."""

    id: str
    affected: tuple[Affected, ...]
    cves: tuple[str, ...] = ()
    severity: str = ""
    published_at: datetime | None = None
    withdrawn_at: datetime | None = None
    title: str = ""
    modified_at: datetime | None = None
    """Of two with one id the later counts; where a feed does not say, they are parts of one."""
    exploited: bool = False
    """The vendor itself says that it is exploited."""
    fallback: bool = False
    """Counts only for packages of which nothing else of that ecosystem says anything."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """EPSS: how likely a vulnerability is exploited within 30 days."""

    cve: str
    probability: float
    percentile: float


@dataclass(frozen=True, slots=True)
class Rating:
    """What is said of a vulnerability itself, whatever package has it (NVD, Red Hat)."""

    cve: str
    severity: str = ""
    cvss: float | None = None
    vector: str = ""
    title: str = ""
    published_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """A package is made from a source package of another name."""

    system: str
    """First word of the ecosystem: ``Debian``."""
    binary: str
    source: str


@dataclass(frozen=True, slots=True)
class SameAs:
    """A feed's own number for a release, and the ecosystem that it means."""

    number: str
    ecosystem: str


Record = Advisory | Exploited | Likelihood | Rating | MadeFrom | SameAs
