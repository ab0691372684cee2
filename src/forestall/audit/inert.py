"""Text from a device, made harmless to look at. It is data wherever it is shown (threat model, D6 and V17)."""

from __future__ import annotations

import unicodedata

MOST = 2000
"""Longest text from a device that is shown in full."""


def inert(text: str) -> str:
    """The text without what a terminal or a page could obey, or what makes it look like another text.

    Control characters (escape sequences among them), marks that turn the direction of writing, invisible characters
    and lone surrogates become ``\\N{REPLACEMENT CHARACTER}``; line breaks and tabs a space.
    """
    if len(text) > MOST:
        text = text[:MOST] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(_inert(character) for character in text)


def _inert(character: str) -> str:
    if character in "\n\r\t":
        return " "
    # Cc: control; Cf: format (direction marks, zero-width joiners); Cs: lone surrogate; Co/Cn: private or unassigned.
    category = unicodedata.category(character)
    if category in {"Cc", "Cf", "Cs", "Co", "Cn"} or category in {"Zl", "Zp"}:
        return "\N{REPLACEMENT CHARACTER}"
    return character
