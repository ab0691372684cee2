"""Which advisories a host is open to."""

from __future__ import annotations

from dataclasses import dataclass

from forestall.server.vulnerabilities.index import Index
from forestall.server.vulnerabilities.types import Finding, Host, Package


@dataclass(frozen=True, slots=True)
class Lookup:
    """What of a package is asked of the index, and how the answer is meant."""

    package: Package
    ecosystem: str
    name: str
    version: str
    module: str = ""
    only_running: bool = False


def lookups(host: Host) -> list[Lookup]:
    """What to ask of the index for a host: package versions under the names that advisories use."""
    raise NotImplementedError


def match_host(index: Index, host: Host) -> list[Finding]:
    """Everything a host is open to, sorted by package, advisory; each (package, advisory) once."""
    raise NotImplementedError
