"""Semantic versions (npm, Go, crates.io, Hex, Pub, Swift), and NuGet's, which have four numbers and ignore case."""

from __future__ import annotations

import re

from forestall.server.vulnerabilities.versions import generic
from forestall.server.vulnerabilities.versions.numbers import number

WHOLE = re.compile(
    r"[vV=]*\s*([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:\.([0-9]+))?(?:-?([0-9A-Za-z][0-9A-Za-z.-]*))?(?:\+[0-9A-Za-z.+-]*)?"
)
END, NUMERIC, TEXT, RELEASE = b"\x00", b"\x01", b"\x02", b"\x03"


def _key(version: str, *, fold: bool) -> bytes:
    version = version.strip()
    if fold:
        version = version.lower()
    found = WHOLE.fullmatch(version.removeprefix("go"))
    if found is None:
        return b"\x00" + generic.key(version)
    major, minor, patch, fourth, before = found.groups()
    numbers = b"".join(number(part or "") for part in (major, minor, patch, fourth))
    if not before:
        return b"\x01" + numbers + RELEASE
    out = []
    for part in before.split("."):
        if part.isascii() and part.isdigit():
            out.append(NUMERIC + number(part))
        else:
            out.append(TEXT + part.encode() + b"\x00")
    return b"\x01" + numbers + b"".join(out) + END


def key(version: str) -> bytes:
    """The version as bytes that sort by the rules of semver.org; a leading ``v`` or ``go`` is not part of it."""
    return _key(version, fold=False)


def nuget_key(version: str) -> bytes:
    """The same, for NuGet: the case of letters does not count."""
    return _key(version, fold=True)
