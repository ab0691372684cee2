"""RPM versions: ``[epoch:]version[-release]``, as ``rpmvercmp`` has it.

Runs of letters and of digits are compared one by one, whatever stands between them; numbers are newer than letters,
more is newer than less, ``~`` is before the end and ``^`` just after it.
"""

from __future__ import annotations

import re

from forestall.server.vulnerabilities.versions.numbers import number

PIECES = re.compile(r"[0-9]+|[A-Za-z]+|~|\^")
TILDE, END, CARET, LETTERS, DIGITS = b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"


def _part(text: str) -> bytes:
    out = []
    for piece in PIECES.findall(text):
        if piece == "~":
            out.append(TILDE)
        elif piece == "^":
            out.append(CARET)
        elif piece[0] <= "9":
            out.append(DIGITS + number(piece))
        else:
            out.append(LETTERS + piece.encode() + b"\x00")
    out.append(END)
    return b"".join(out)


def split(version: str) -> tuple[str, str, str]:
    """Epoch (empty: none), version, release (empty: none)."""
    version = version.strip()
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "", version
    elif not (epoch.isascii() and epoch.isdigit()):
        epoch = ""  # "(none)"
    number_, dash, release = rest.rpartition("-")
    return (epoch, number_, release) if dash else (epoch, rest, "")


def key(version: str) -> bytes:
    """The version as bytes that sort as rpm sorts. One without a release is before all with one."""
    epoch, upstream, release = split(version)
    return number(epoch) + _part(upstream) + (_part(release) if release else b"")
