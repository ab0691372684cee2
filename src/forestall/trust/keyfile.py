"""The file of a private key: plain, or under a passphrase. No I/O.

Plain is 64 hexadecimal digits. Under a passphrase it is JSON: the key in ChaCha20-Poly1305 (RFC 8439) under a key that
scrypt (RFC 7914) makes of the passphrase. The public key stands beside it, authenticated, so that a file can be told
from another without its passphrase.
"""

from __future__ import annotations

import unicodedata
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from forestall.trust.keys import private_key, public_bytes

COST = 1 << 17
"""scrypt's n: with r = 8 one guess takes 128 MiB and some tenths of a second."""
MAX_COST = 1 << 20
BLOCK = 8
LEAST_PASSPHRASE = 12
"""Characters."""


class KeyFileError(ValueError):
    """Not a key file, or not its passphrase."""


class Sealed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A private key under a passphrase. All values in hex."""

    format: Literal["forestall-key-1"] = "forestall-key-1"
    public: str
    cost: int
    salt: str
    nonce: str
    sealed: str


def seal(raw: bytes, passphrase: str, *, salt: bytes, nonce: bytes, cost: int = COST) -> bytes:
    """The file of a raw private key under a passphrase. ``salt`` (16 bytes) and ``nonce`` (12) are random, never used
    twice. KeyFileError for a passphrase that is too short."""
    if len(passphrase) < LEAST_PASSPHRASE:
        raise KeyFileError(f"the passphrase has {len(passphrase)} characters; take {LEAST_PASSPHRASE} at least")
    public = public_bytes(private_key(raw))
    box = ChaCha20Poly1305(_derived(passphrase, salt, cost)).encrypt(nonce, raw, public)
    file = Sealed(public=public.hex(), cost=cost, salt=salt.hex(), nonce=nonce.hex(), sealed=box.hex())
    return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"


def is_sealed(content: bytes) -> bool:
    """Whether it takes a passphrase to open this file."""
    return content.lstrip().startswith(b"{")


def public_of(content: bytes) -> bytes:
    """The raw public key of a file, with no passphrase. KeyFileError when it is no key file."""
    if is_sealed(content):
        return _hex(_read(content).public, 32)
    return public_bytes(private_key(unseal(content, "")))


def unseal(content: bytes, passphrase: str) -> bytes:
    """The raw private key of a file. The passphrase of a plain one is not looked at. KeyFileError: what is wrong."""
    if not is_sealed(content):
        return _hex(content.decode("ascii", errors="replace").strip(), 32)
    file = _read(content)
    if not 1 < file.cost <= MAX_COST or file.cost & (file.cost - 1):
        raise KeyFileError(f"cost: {file.cost} is not a power of two up to {MAX_COST}")
    key, public = _derived(passphrase, _hex(file.salt, 16), file.cost), _hex(file.public, 32)
    try:
        raw = ChaCha20Poly1305(key).decrypt(_hex(file.nonce, 12), _hex(file.sealed, 48), public)
    except InvalidTag:
        raise KeyFileError("not its passphrase, or the file was changed") from None
    if public_bytes(private_key(raw)) != public:
        raise KeyFileError("the public key in it is another key's")
    return raw


def _read(content: bytes) -> Sealed:
    try:
        return msgspec.json.decode(content, type=Sealed)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise KeyFileError(f"not a key file: {error}") from None


def _hex(text: str, size: int) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError as error:
        raise KeyFileError(f"not hexadecimal: {error}") from None
    if len(raw) != size:
        raise KeyFileError(f"{len(raw)} bytes, expected {size}")
    return raw


def _derived(passphrase: str, salt: bytes, cost: int) -> bytes:
    # One spelling, however the keyboard composes an accent.
    words = unicodedata.normalize("NFKC", passphrase).encode()
    return Scrypt(salt=salt, length=32, n=cost, r=BLOCK, p=1).derive(words)
