"""Sealing of notification addresses: they hold passwords and tokens."""

from __future__ import annotations

from forestall.server import sealing
from forestall.server.sealing import SealError

__all__ = ["SealError", "seal", "unseal"]

PURPOSE = "notification address"


def seal(text: str) -> str:
    """Encrypt an address under a key of this server's."""
    return sealing.seal(text, purpose=PURPOSE)


def unseal(sealed: str) -> str:
    """The address; SealError when it was sealed under another secret or changed since."""
    try:
        return sealing.unseal(sealed, purpose=PURPOSE)
    except SealError:
        raise SealError("the address was sealed under another server secret: enter it again") from None
