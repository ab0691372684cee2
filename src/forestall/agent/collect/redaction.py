"""Keeping secrets out of documents: command lines and addresses may carry passwords."""

from __future__ import annotations

import re

HIDDEN = "[hidden]"

_ASSIGNMENT = re.compile(
    r"(?i)\b(\w*(?:pass(?:word|wd|phrase)?|secret|token|api_?key|access_?key)\w*=)(\"[^\"]*\"|'[^']*'|\S+)"
)
_FLAG = re.compile(r"(?i)(--?(?:pass(?:word|wd|phrase)?|secret|token|api-?key)[ =])(\"[^\"]*\"|'[^']*'|\S+)")
_SHORT_PASSWORD = re.compile(r"(\b(?:mysql|mysqldump|mysqladmin|mariadb|mariadb-dump|sshpass)\b[^|;&]*?\s-p)(\S+)")
# Begins only where a word begins: else a long word without an address would be tried from each of its letters.
_ADDRESS = re.compile(r"((?<![a-z0-9+.-])[a-z0-9+.-]+://[^\s/:@]*):[^\s/@]+@", re.IGNORECASE)


def redact(text: str) -> str:
    """``text`` with what looks like a password, token or key replaced by ``[hidden]``."""
    text = _ADDRESS.sub(rf"\1:{HIDDEN}@", text)
    text = _FLAG.sub(rf"\1{HIDDEN}", text)
    text = _ASSIGNMENT.sub(rf"\1{HIDDEN}", text)
    return _SHORT_PASSWORD.sub(rf"\1{HIDDEN}", text)
