"""Ruby versions: segments of numbers and letters; letters make a pre-release, trailing zeros do not count."""

from __future__ import annotations

import re

from forestall.server.vulnerabilities.versions.numbers import number

PIECES = re.compile(r"[0-9]+|[a-z]+", re.IGNORECASE)
LETTERS, END, DIGITS = b"\x01", b"\x02", b"\x03"


def key(version: str) -> bytes:
    """The version as bytes that sort as ``Gem::Version`` does."""
    text = version.strip().replace("-", ".pre.")
    pieces = [(piece.isdigit(), piece) for piece in PIECES.findall(text)]
    # Zeros before the first letter and at the end do not count: 1.0.a is 1.a, 1.0 is 1.
    first_letter = next((place for place, (digits, _) in enumerate(pieces) if not digits), len(pieces))
    kept = []
    for part in (pieces[:first_letter], pieces[first_letter:]):
        part = list(part)
        while part and part[-1][0] and not part[-1][1].strip("0"):
            part.pop()
        kept.extend(part)
    out = []
    for digits, piece in kept:
        out.append(_digits(piece) if digits else LETTERS + piece.encode() + b"\x00")
    return b"".join(out) + END


def _digits(piece: str) -> bytes:
    # A missing segment counts as zero: 1 against 1.0.1 is 1.0 against 1.0.1; the end sorts as zeros without end.
    return DIGITS + number(piece)
