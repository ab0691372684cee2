"""Sealing of secrets that the server must be able to use again.

Encrypted under keys derived from the server's secret file, one for each purpose: a copy of the database alone, or of
its backup, tells nothing, and what was sealed for one purpose does not open as another.
"""

from __future__ import annotations

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class SealError(ValueError):
    """A sealed value that this server's secret does not open."""


def seal(text: str, *, purpose: str) -> str:
    """Encrypt ``text`` for one ``purpose``, such as ``notification address``."""
    return _box(settings.SECRET_KEY, purpose).encrypt(text.encode()).decode()


def unseal(sealed: str, *, purpose: str) -> str:
    """What was sealed; SealError when it was sealed under another secret or for another purpose, or changed since."""
    try:
        return _box(settings.SECRET_KEY, purpose).decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise SealError(f"the {purpose} was sealed under another server secret: enter it again") from None


@lru_cache(maxsize=32)
def _box(secret: str, purpose: str) -> Fernet:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"forestall {purpose}".encode()).derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(key))
