"""Comparing versions, each ecosystem as its own package manager does.

Every scheme turns a version into a *key*: comparing keys compares versions. Keys are bytes (of Maven, an object); they
are made once and kept with the advisories. A text that is no version of its scheme gets the key of :mod:`generic`,
below every real version, so that nothing raises: a strange version is never silently newer than a fix.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from forestall.server.vulnerabilities.versions import apk, deb, gem, generic, maven, pep440, rpm, semver
from forestall.server.vulnerabilities.versions import composer as composer_scheme

Key = Callable[[str], Any]

SCHEMES: dict[str, Key] = {
    "deb": deb.key,
    "rpm": rpm.key,
    "apk": apk.key,
    "semver": semver.key,
    "nuget": semver.nuget_key,
    "pep440": pep440.key,
    "maven": maven.key,
    "gem": gem.key,
    "composer": composer_scheme.key,
    "generic": generic.key,
}

# The first word of the ecosystem's name says how it counts.
ECOSYSTEMS = {
    "Debian": "deb",
    "Ubuntu": "deb",
    "AlmaLinux": "rpm",
    "Rocky Linux": "rpm",
    "Red Hat": "rpm",
    "Oracle Linux": "rpm",
    "Amazon Linux": "rpm",
    "Fedora": "rpm",
    "SUSE": "rpm",
    "openSUSE": "rpm",
    "Azure Linux": "rpm",
    "Photon OS": "rpm",
    "openEuler": "rpm",
    "Mageia": "rpm",
    "Alpine": "apk",
    "Wolfi": "apk",
    "Chainguard": "apk",
    "npm": "semver",
    "Go": "semver",
    "crates.io": "semver",
    "Hex": "semver",
    "Pub": "semver",
    "SwiftURL": "semver",
    "NuGet": "nuget",
    "PyPI": "pep440",
    "Maven": "maven",
    "RubyGems": "gem",
    "Packagist": "composer",
}


@lru_cache(maxsize=1024)
def scheme_of(ecosystem: str) -> str:
    """The scheme by which an ecosystem (``Debian:12``, ``PyPI``) counts; ``generic`` for those we do not know."""
    return ECOSYSTEMS.get(ecosystem.partition(":")[0], "generic")


def key_of(ecosystem: str) -> Key:
    """The function that makes keys of this ecosystem's versions."""
    return SCHEMES[scheme_of(ecosystem)]


def compare(ecosystem: str, one: str, other: str) -> int:
    """-1, 0 or 1: ``one`` is older than, the same as or newer than ``other``."""
    key = key_of(ecosystem)
    a, b = key(one), key(other)
    return int(a > b) - int(a < b)
