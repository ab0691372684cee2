"""Authorized keys: type, strength, fingerprint and the age of the file they stand in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from forestall.agent.collect.access.accounts import PasswdEntry
from forestall.agent.collect.host import FileMissing, HostError
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.redaction import redact
from forestall.wire.facts import SshKey

_TYPE = re.compile(
    r"(?:ssh-(?:rsa|dss|ed25519|ed448)|ecdsa-sha2-nistp\d+|sk-[a-z0-9-]+@openssh\.com)(?:-cert-v01@openssh\.com)?$"
)
_CURVES = {"nistp256": 256, "nistp384": 384, "nistp521": 521}
MOST_KEYS = 200
"""Of one account: what is beyond is counted, not described."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What opens one account."""

    count: int | None
    """None: the file could not be read."""
    described: tuple[SshKey, ...] = ()


def count_keys(text: str) -> int:
    """Keys in an authorized_keys file: lines that are neither blank nor comments."""
    return sum(1 for _ in _lines(text))


def parse_keys(text: str, *, file: str = "", changed_at: datetime | None = None) -> list[SshKey]:
    """The keys of an authorized_keys file that can be read as such (sshd(8)), in order."""
    found = []
    for line in _lines(text):
        words = _words(line)
        at = next((index for index, word in enumerate(words[:2]) if _TYPE.match(word)), None)
        if at is None or len(words) < at + 2:
            continue
        try:
            blob = base64.b64decode(words[at + 1], validate=True)
        except (binascii.Error, ValueError):
            continue
        found.append(
            SshKey(
                type=words[at],
                bits=_bits(words[at], blob),
                fingerprint="SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("="),
                comment=" ".join(words[at + 2 :])[:200],
                options=redact(words[0])[:500] if at else "",
                file=file,
                changed_at=changed_at,
            )
        )
    return found


def keys_of(notes: Notes, entry: PasswdEntry) -> Keys:
    """The keys that open an account, in the two files where sshd looks by default."""
    count = 0
    described: list[SshKey] = []
    for name in ("authorized_keys", "authorized_keys2"):
        path = f"{entry.home.rstrip('/')}/.ssh/{name}"
        try:
            text = notes.host.read_text(path)
            changed = datetime.fromtimestamp(notes.host.status(path).modified_ns // 1_000_000_000, UTC)
        except FileMissing:
            continue
        except HostError:
            return Keys(None)
        notes.used("~/.ssh/authorized_keys")
        count += count_keys(text)
        described += parse_keys(text, file=path, changed_at=changed)
    return Keys(count, tuple(described[:MOST_KEYS]))


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def _words(line: str) -> list[str]:
    """Split at blanks that are not inside double quotes: options may hold ``command="a b"``."""
    return re.findall(r'(?:[^\s"]|"(?:\\.|[^"\\])*"|")+', line)


def _bits(kind: str, blob: bytes) -> int | None:
    """Length of a key; of RSA and DSA that of the modulus in the blob (RFC 4253, 6.6)."""
    plain = kind.removesuffix("-cert-v01@openssh.com")
    if "ed25519" in plain:
        return 256
    if plain == "ssh-ed448":
        return 448
    for curve, bits in _CURVES.items():
        if curve in plain:
            return bits
    if plain not in ("ssh-rsa", "ssh-dss") or plain != kind:
        return None
    fields = []
    rest = blob
    while len(rest) >= 4:
        length = int.from_bytes(rest[:4], "big")
        fields.append(rest[4 : 4 + length])
        rest = rest[4 + length :]
    # ssh-rsa: name, exponent, modulus; ssh-dss: name, p, …
    index = 2 if plain == "ssh-rsa" else 1
    return int.from_bytes(fields[index], "big").bit_length() if len(fields) > index else None
