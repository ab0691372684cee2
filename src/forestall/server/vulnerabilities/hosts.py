"""Hosts, as others export them and as our own agents tell them."""

from __future__ import annotations

from pathlib import Path

from forestall.server.vulnerabilities.types import Host, Package
from forestall.wire.facts import Software, System


def packages_of(system: System, software: Software) -> list[Package]:
    """Installed packages of a device, from its facts, named as advisories name them."""
    raise NotImplementedError


def host_of(system: System, software: Software) -> Host:
    """A device as a host, from its facts."""
    raise NotImplementedError


def read_host(path: Path, *, system: str = "") -> Host:
    """Read an exported host. ``system``: ``debian:12``, for lists that do not say of which system they are."""
    raise NotImplementedError
