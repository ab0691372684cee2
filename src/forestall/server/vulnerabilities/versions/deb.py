"""Debian versions: ``[epoch:]upstream[-revision]``, as ``dpkg --compare-versions`` has it.

A part is read as text, number, text, number …  In text ``~`` is before the end, the end before letters, letters before
everything else. The key writes that down byte by byte: 1 for ``~``, 2 for the end of a text, letters as themselves, the
other characters after them.
"""

from __future__ import annotations

import re

from forestall.server.vulnerabilities.versions.numbers import number

PIECES = re.compile(r"([^0-9]*)([0-9]*)")


def _ranks() -> bytes:
    ranks = bytearray(range(256))
    others = [code for code in range(33, 127) if not chr(code).isalnum() and chr(code) != "~"]
    for place, code in enumerate(others):
        ranks[code] = 0x80 + place
    ranks[ord("~")] = 1
    for code in (*range(33), *range(127, 256)):  # no version has them
        ranks[code] = 0xFF
    return bytes(ranks)


RANKS = _ranks()


def _part(text: str) -> bytes:
    out = []
    for letters, digits in PIECES.findall(text):
        if not letters and not digits:
            break
        if letters:
            out.append(letters.encode("utf-8", "replace").translate(RANKS))
        out.append(b"\x02")
        out.append(number(digits))
    if not out:
        return b"\x02\x00\x02"  # nothing is the same as "0"
    out.append(b"\x02")
    return b"".join(out)


def key(version: str) -> bytes:
    """The version as bytes that sort as dpkg sorts versions."""
    version = version.strip()
    epoch, colon, rest = version.partition(":")
    if not colon or not (epoch.isascii() and epoch.isdigit()):
        epoch, rest = "", version
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, ""
    return number(epoch) + _part(upstream) + _part(revision)
