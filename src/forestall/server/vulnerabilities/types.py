"""What matching takes and gives: installed packages of a host in, findings out. Plain values, no I/O, no Django."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package, as advisories would name it."""

    ecosystem: str
    """In OSV's words, with the release: ``Debian:12``, ``AlmaLinux:9``, ``Alpine:v3.19``, ``PyPI``, ``npm``."""
    name: str
    """Of the installed (binary) package."""
    version: str
    """As its manager compares it: epoch, version and release joined."""
    source: str = ""
    """Source package, when it is not named so."""
    source_version: str = ""
    architecture: str = ""
    module: str = ""
    """Module stream of an rpm package: ``nodejs:18``."""


@dataclass(frozen=True, slots=True)
class Host:
    """A host as exported: what is installed, and what runs."""

    name: str
    os_id: str
    """``debian``, ``almalinux``, ``windows`` …"""
    release: str
    """``12``, ``9``, ``Windows Server 2022``."""
    packages: tuple[Package, ...] = ()
    kernel_release: str = ""
    """``uname -r`` of the running kernel."""
    kernel_version: str = ""
    """Package version of the running kernel where it is known; of Windows the build: ``10.0.20348.4648``."""
    kbs_applied: frozenset[str] = frozenset()
    kbs_offered: frozenset[str] = frozenset()
    """That Windows Update itself offered."""
    candidates: dict[str, str] = field(default_factory=dict)
    """Package → newer version that the host's own manager offered when it was scanned."""
    scanned_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One advisory that an installed package is open to."""

    package: str
    """Installed (binary) package; of Windows the system's name."""
    installed: str
    fixed: str
    """Version (or KB) with the fix; empty: there is none yet."""
    advisory: str
    cves: tuple[str, ...] = ()
    severity: str = ""
    """``critical``, ``high``, ``medium``, ``low``; empty: unrated."""
    known_exploited: bool = False
    source: str = ""
    """Source package it was matched by, when another."""
    ecosystem: str = ""
    only_running: bool = False
    """It runs, and is not what is installed: the fix is there, the reboot is not."""
    published_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Exploited:
    """A line of CISA's catalogue of known exploited vulnerabilities."""

    cve: str
    added_on: date
    due_on: date | None = None
    ransomware: bool = False
    title: str = ""
