"""Advisories, laid out so that one package version finds its own at once; in memory or opened from a folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from forestall.server.vulnerabilities.feeds.records import Likelihood, Rating, Record
from forestall.server.vulnerabilities.types import Exploited


@dataclass(frozen=True, slots=True)
class VersionFinding:
    """An advisory that one version of a package is open to."""

    advisory: str
    cves: tuple[str, ...]
    fixed: str
    """Version with the fix; empty: there is none."""
    severity: str
    published_at: datetime | None
    known_exploited: bool = False
    title: str = ""


class Index:
    """All advisories by ecosystem and package name. Immutable; safe to share between threads that only read."""

    digest: str = ""
    """Of everything in it."""

    @classmethod
    def build(cls, records: Iterable[Record]) -> Index:
        raise NotImplementedError

    @classmethod
    def open(cls, folder: Path) -> Index:
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    def findings_of(
        self, ecosystem: str, name: str, version: str, module: str = "", *, architecture: str = ""
    ) -> tuple[VersionFinding, ...]:
        """What version ``version`` of ``name`` is open to. Withdrawn advisories and bug fixes are not among it."""
        raise NotImplementedError

    def names_of(self, ecosystem: str) -> frozenset[str]:
        """Packages of the ecosystem that some advisory is about."""
        raise NotImplementedError

    def digest_of(self, ecosystem: str, name: str) -> str:
        """Digest of what is known of one package; empty: nothing. Equal digests give equal findings."""
        raise NotImplementedError

    @property
    def exploited(self) -> dict[str, Exploited]:
        raise NotImplementedError

    @property
    def likelihoods(self) -> dict[str, Likelihood]:
        raise NotImplementedError

    @property
    def ratings(self) -> dict[str, Rating]:
        raise NotImplementedError
