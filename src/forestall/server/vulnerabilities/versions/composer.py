"""Composer's versions: dotted numbers and a stability (dev, alpha, beta, RC, stable, patch)."""

from __future__ import annotations

import re

from forestall.server.vulnerabilities.versions import generic
from forestall.server.vulnerabilities.versions.numbers import number

WHOLE = re.compile(
    r"v?([0-9]+)(?:\.([0-9]+|x))?(?:\.([0-9]+|x))?(?:\.([0-9]+|x))?"
    r"(?:[._-]?(stable|beta|b|rc|alpha|a|patch|pl|p)((?:[.-]?[0-9]+)*)?)?([.-]?dev)?(?:\+\S*)?"
)
STABILITY = {"alpha": 1, "a": 1, "beta": 2, "b": 2, "rc": 3, None: 4, "stable": 4, "patch": 5, "pl": 5, "p": 5}


def key(version: str) -> bytes:
    """The version as bytes that sort as ``composer/semver`` does; branches (``dev-main``) are before everything."""
    version = version.strip().lower()
    found = WHOLE.fullmatch(version)
    if found is None:
        return b"\x00" + generic.key(version)
    numbers = b"".join(number("9999999" if part == "x" else part or "") for part in found.groups()[:4])
    stability = 0 if found[7] else STABILITY[found[5]]
    digits = re.findall("[0-9]+", found[6] or "")
    return b"\x01" + numbers + bytes((stability,)) + b"".join(b"\x02" + number(one) for one in digits) + b"\x01"
