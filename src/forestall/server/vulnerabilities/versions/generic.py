"""Versions of anything: dotted numbers, with words between them. Windows builds are such.

Numbers are compared as numbers; a word (``rc``, ``beta``) is before a number and before the end, except ``p``, ``pl``,
``patch``, ``sp`` and ``u``, and a single letter directly after a number (``1.0.2k``), which are after the end.
"""

from __future__ import annotations

import re

from forestall.server.vulnerabilities.versions.numbers import number

PIECES = re.compile(r"[0-9]+|[A-Za-z]+")
WORD, END, LATER, DIGITS = b"\x01", b"\x02", b"\x03", b"\x04"
AFTER_THE_END = frozenset({"p", "pl", "patch", "sp", "u", "update", "post", "r", "rev"})


def key(version: str) -> bytes:
    """The version as bytes that sort as a person would sort it."""
    out: list[bytes] = []
    last_end = -1
    for found in PIECES.finditer(version.strip()):
        piece = found[0].lower()
        if piece[0].isdigit():
            out.append(DIGITS + number(piece))
        elif piece == "v" and not out:
            continue
        else:
            touching = len(piece) == 1 and found.start() == last_end
            after = piece in AFTER_THE_END or touching
            _without_zeros(out)
            out.append((LATER if after else WORD) + piece.encode() + b"\x00")
        last_end = found.end()
    _without_zeros(out)
    return b"".join(out) + END


def _without_zeros(out: list[bytes]) -> None:
    """1.0 is 1, and 1.0-rc1 is 1-rc1."""
    while out and out[-1] == DIGITS + b"\x00":
        out.pop()
