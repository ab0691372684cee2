"""Whole numbers as bytes that sort as the numbers do, however long."""

from __future__ import annotations

from functools import lru_cache

LONGEST = 0xFE


@lru_cache(maxsize=1 << 14)
def number(digits: str) -> bytes:
    """Key of a number written in ASCII digits; empty is zero."""
    digits = digits.lstrip("0")
    length = len(digits)
    if length < LONGEST:
        return bytes((length,)) + digits.encode()
    return b"\xfe" + length.to_bytes(4, "big") + digits.encode()
