"""Alpine versions: ``1.2.3a_rc1_p2-r4``, as apk-tools has it.

Numbers after the first that begin with a zero count as fractions (1.02 is before 1.1); ``_alpha``, ``_beta``, ``_pre``
and ``_rc`` are before the end, ``_cvs``, ``_svn``, ``_git``, ``_hg`` and ``_p`` after it.
"""

from __future__ import annotations

import re

from forestall.server.vulnerabilities.versions import generic
from forestall.server.vulnerabilities.versions.numbers import number

WHOLE = re.compile(
    r"([0-9]+)((?:\.[0-9]+)*)([a-z]?)((?:_(?:alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*)*)(?:~[0-9a-f]+)?(?:-r([0-9]+))?"
)
SUFFIX = re.compile(r"_([a-z]+)([0-9]*)")
BEFORE = {"alpha": b"\x01", "beta": b"\x02", "pre": b"\x03", "rc": b"\x04"}
AFTER = {"cvs": b"\x01", "svn": b"\x02", "git": b"\x03", "hg": b"\x04", "p": b"\x05"}
PRE, END, REVISION, NUMBER_OF_SUFFIX, POST, LETTER, DIGIT = (bytes((0x10 + place,)) for place in range(7))


def key(version: str) -> bytes:
    """The version as bytes that sort as apk sorts."""
    version = version.strip()
    found = WHOLE.fullmatch(version)
    if found is None:
        return b"\x00" + generic.key(version)
    first, more, letter, suffixes, revision = found.groups()
    out = [b"\x01", number(first)]
    for digits in more.split(".")[1:]:
        if digits[0] == "0":  # how many zeros it begins with, the more the smaller; then the rest
            rest = digits.lstrip("0")
            zeros = len(digits) - len(rest)
            out.append(
                DIGIT + b"\x00" + bytes((max(0, 0xFF - zeros),)) + (DIGIT + b"\x01" + number(rest) if rest else b"")
            )
        else:
            out.append(DIGIT + b"\x01" + number(digits))
    if letter:
        out.append(LETTER + letter.encode())
    for word, digits in SUFFIX.findall(suffixes):
        out.append(PRE + BEFORE[word] if word in BEFORE else POST + AFTER[word])
        if digits:
            out.append(NUMBER_OF_SUFFIX + number(digits))
    if revision is not None:
        out.append(REVISION + number(revision))
    out.append(END)
    return b"".join(out)
