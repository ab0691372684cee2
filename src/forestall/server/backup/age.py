"""The age file format, version 1 (age-encryption.org/v1): encryption to public keys or a passphrase, as a stream.

Whoever has a backup and its key can read it without Forestall: ``age -d -i KEY FILE | tar xz``. Header: the file's
key, wrapped for each recipient (X25519, or scrypt for a passphrase), under a MAC. Payload: ChaCha20-Poly1305 in chunks
of 64 KiB whose nonce counts, and says which is the last; so nothing can be altered, cut off, moved or appended.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

INTRO = b"age-encryption.org/v1\n"
CHUNK_BYTES = 64 * 1024
TAG_BYTES = 16
FILE_KEY_BYTES = 16
WORK_FACTOR = 16
"""log2 of scrypt's N for new files: 64 MiB and about 0.2 s."""
MOST_WORK_FACTOR = 18
"""Of a file that is read: more (from 512 MiB of memory on) would be an attack by whoever wrote it."""
MAX_HEADER_BYTES = 64 * 1024
_COLUMNS = 64
_X25519_INFO = b"age-encryption.org/v1/X25519"
_SCRYPT_LABEL = b"age-encryption.org/v1/scrypt"


class AgeError(ValueError):
    """Base: the file, key or passphrase cannot be used; the text says why."""


class NotAgeError(AgeError):
    """Not a file of this format, or its header is damaged."""


class WrongKeyError(AgeError):
    """The file is not for this key, or the passphrase is another."""


class DamagedError(AgeError):
    """The content was altered, cut off, or something was appended."""


class KeyTextError(AgeError):
    """A text that is not a key."""


# --- keys ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recipient:
    """A public key: files can be written for it, and not read."""

    public: bytes

    def __str__(self) -> str:
        return _bech32("age", self.public)

    @classmethod
    def parse(cls, text: str) -> Recipient:
        """``age1…``; KeyTextError."""
        return cls(_unbech32("age", text.strip(), what="a public key (age1…)"))


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """A private key: reads what was written for its recipient."""

    secret: bytes

    def __str__(self) -> str:
        return _bech32("age-secret-key-", self.secret).upper()

    @classmethod
    def new(cls) -> Identity:
        key = X25519PrivateKey.generate()
        return cls(key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))

    @classmethod
    def parse(cls, text: str) -> Identity:
        """A line ``AGE-SECRET-KEY-1…``, alone or in a key file with comments; KeyTextError (which never shows it)."""
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        if len(lines) != 1:
            raise KeyTextError(f"not a key file: {len(lines)} lines that are no comment, expected one")
        return cls(_unbech32("age-secret-key-", lines[0], what="a private key (AGE-SECRET-KEY-1…)"))

    @property
    def recipient(self) -> Recipient:
        public = X25519PrivateKey.from_private_bytes(self.secret).public_key()
        return Recipient(public.public_bytes(Encoding.Raw, PublicFormat.Raw))


@dataclass(frozen=True, slots=True, repr=False)
class Passphrase:
    """A passphrase, to write or to read with."""

    text: str


@dataclass(frozen=True, slots=True, repr=False)
class FileKey:
    """The key of one file, as its writer still holds it."""

    key: bytes


_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def _polymod(values: Sequence[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for index, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if (top >> index) & 1 else 0
    return check


def _expanded(prefix: str) -> list[int]:
    return [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]


def _bech32(prefix: str, data: bytes) -> str:
    """BIP 173."""
    bits = int.from_bytes(data, "big") << (-8 * len(data) % 5)
    count = (8 * len(data) + 4) // 5
    values = [bits >> 5 * (count - 1 - index) & 31 for index in range(count)]
    check = _polymod([*_expanded(prefix), *values, 0, 0, 0, 0, 0, 0]) ^ 1
    return f"{prefix}1" + "".join(_ALPHABET[one] for one in [*values, *(check >> 5 * (5 - i) & 31 for i in range(6))])


def _unbech32(prefix: str, text: str, *, what: str) -> bytes:
    lower = text.lower()
    head, _, tail = lower.rpartition("1")
    if text not in (lower, text.upper()) or head != prefix or not set(tail) <= set(_ALPHABET):
        raise KeyTextError(f"not {what}")
    values = [_ALPHABET.index(letter) for letter in tail]
    if _polymod([*_expanded(head), *values]) != 1:
        raise KeyTextError(f"not {what}: its checksum is wrong, so a letter is")
    values = values[:-6]
    bits = 0
    for value in values:
        bits = bits << 5 | value
    spare = 5 * len(values) - 256
    if not 0 <= spare < 5 or bits & ((1 << spare) - 1):
        raise KeyTextError(f"not {what}: {len(values)} letters")
    return (bits >> spare).to_bytes(32, "big")


# --- header -------------------------------------------------------------------------------------------------------


def _derive(key: bytes, *, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(key)


def _b64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _unb64(text: bytes) -> bytes:
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise NotAgeError(f"the header is damaged: {error}") from None
    if _b64(data) != text:
        raise NotAgeError("the header is damaged: not in its one encoding")
    return data


@dataclass(frozen=True, slots=True)
class _Stanza:
    words: tuple[bytes, ...]
    body: bytes

    def encode(self) -> bytes:
        text = _b64(self.body)
        # The last line is shorter than the others, and empty if need be: so a reader knows where the body ends.
        lines = [text[at : at + _COLUMNS] for at in range(0, len(text) + 1, _COLUMNS)]
        return b"-> " + b" ".join(self.words) + b"\n" + b"\n".join(lines) + b"\n"


def _wrap(wrapping_key: bytes, file_key: bytes) -> bytes:
    return ChaCha20Poly1305(wrapping_key).encrypt(bytes(12), file_key, None)


def _unwrap(wrapping_key: bytes, body: bytes) -> bytes | None:
    if len(body) != FILE_KEY_BYTES + TAG_BYTES:
        return None
    try:
        return ChaCha20Poly1305(wrapping_key).decrypt(bytes(12), body, None)
    except InvalidTag:
        return None


def _x25519_key(*, shared: bytes, ephemeral: bytes, recipient: bytes) -> bytes:
    return _derive(shared, salt=ephemeral + recipient, info=_X25519_INFO)


def _scrypt_key(passphrase: str, salt: bytes, work_factor: int) -> bytes:
    kdf = Scrypt(salt=_SCRYPT_LABEL + salt, length=32, n=1 << work_factor, r=8, p=1)
    return kdf.derive(passphrase.encode())


def _stanza_for(recipient: Recipient, file_key: bytes) -> _Stanza:
    ephemeral = X25519PrivateKey.generate()
    public = ephemeral.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient.public))
    key = _x25519_key(shared=shared, ephemeral=public, recipient=recipient.public)
    return _Stanza((b"X25519", _b64(public)), _wrap(key, file_key))


def _stanza_of_passphrase(passphrase: Passphrase, file_key: bytes, work_factor: int) -> _Stanza:
    salt = os.urandom(16)
    body = _wrap(_scrypt_key(passphrase.text, salt, work_factor), file_key)
    return _Stanza((b"scrypt", _b64(salt), b"%d" % work_factor), body)


def _header_mac(file_key: bytes, header: bytes) -> bytes:
    return hmac.digest(_derive(file_key, salt=b"", info=b"header"), header, "sha256")


def _read_header(file: IO[bytes]) -> tuple[list[_Stanza], bytes, bytes]:
    """Stanzas, MAC, and the bytes under it."""
    budget = MAX_HEADER_BYTES

    def line() -> bytes:
        nonlocal budget
        found = file.readline(budget)
        budget -= len(found)
        if not found.endswith(b"\n"):
            raise NotAgeError("the header is cut off, or longer than can be")
        return found

    if file.readline(len(INTRO)) != INTRO:
        raise NotAgeError("not an age file (its first line is not age-encryption.org/v1)")
    under = bytearray(INTRO)
    stanzas: list[_Stanza] = []
    while True:
        first = line()
        if first.startswith(b"--- "):
            under += b"---"
            return stanzas, _unb64(first[4:-1]), bytes(under)
        if not first.startswith(b"-> ") or not first[3:-1]:
            raise NotAgeError("the header is damaged: a line is neither a recipient nor the MAC")
        under += first
        text = bytearray()
        while True:
            piece = line()
            under += piece
            text += piece[:-1]
            if len(piece) - 1 > _COLUMNS:
                raise NotAgeError("the header is damaged: a line is too long")
            if len(piece) - 1 < _COLUMNS:
                break
        stanzas.append(_Stanza(tuple(first[3:-1].split(b" ")), _unb64(bytes(text))))


def _open_x25519(stanza: _Stanza, identity: Identity) -> bytes | None:
    if len(stanza.words) != 2:
        raise NotAgeError("the header is damaged: an X25519 line has another number of words")
    ephemeral = _unb64(stanza.words[1])
    if len(ephemeral) != 32:
        raise NotAgeError("the header is damaged: an X25519 share is not 32 bytes")
    try:
        shared = X25519PrivateKey.from_private_bytes(identity.secret).exchange(
            X25519PublicKey.from_public_bytes(ephemeral)
        )
    except ValueError:
        return None  # a share of low order: nobody honest wrote that
    key = _x25519_key(shared=shared, ephemeral=ephemeral, recipient=identity.recipient.public)
    return _unwrap(key, stanza.body)


def _open_scrypt(stanza: _Stanza, passphrase: Passphrase) -> bytes | None:
    if len(stanza.words) != 3 or not stanza.words[2].isdigit() or stanza.words[2].startswith(b"0"):
        raise NotAgeError("the header is damaged: the scrypt line is not salt and work factor")
    salt, work_factor = _unb64(stanza.words[1]), int(stanza.words[2][:4])
    if len(salt) != 16 or work_factor > MOST_WORK_FACTOR:
        raise NotAgeError(
            f"the header is damaged, or asks for too much work ({work_factor}, at most {MOST_WORK_FACTOR})"
        )
    return _unwrap(_scrypt_key(passphrase.text, salt, work_factor), stanza.body)


def _file_key(stanzas: Sequence[_Stanza], secret: Identity | Passphrase | FileKey) -> bytes:
    kinds = [stanza.words[0] for stanza in stanzas]
    if b"scrypt" in kinds and len(kinds) != 1:
        raise NotAgeError("the header is damaged: a passphrase beside other recipients")
    if isinstance(secret, FileKey):
        return secret.key
    if isinstance(secret, Passphrase):
        if kinds != [b"scrypt"]:
            raise WrongKeyError("it is not encrypted with a passphrase but for a key: give the key file")
        found = _open_scrypt(stanzas[0], secret)
        if found is None:
            raise WrongKeyError("the passphrase is wrong")
        return found
    if kinds == [b"scrypt"]:
        raise WrongKeyError("it is encrypted with a passphrase: give that")
    for stanza in stanzas:
        if stanza.words[0] == b"X25519" and (found := _open_x25519(stanza, secret)) is not None:
            return found
    raise WrongKeyError(f"it is not for this key ({secret.recipient})")


# --- payload ------------------------------------------------------------------------------------------------------


def _nonce(counter: int, *, last: bool) -> bytes:
    return counter.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


class Encryptor(io.RawIOBase):
    """A file to write plain bytes to. ``finish`` ends it: what was not finished is found to be cut off."""

    def __init__(
        self, file: IO[bytes], to: Sequence[Recipient] | Passphrase, *, work_factor: int = WORK_FACTOR
    ) -> None:
        super().__init__()
        file_key = os.urandom(FILE_KEY_BYTES)
        if isinstance(to, Passphrase):
            stanzas = [_stanza_of_passphrase(to, file_key, work_factor)]
        else:
            stanzas = [_stanza_for(recipient, file_key) for recipient in to]
        if not stanzas:
            raise KeyTextError("no recipient: nobody could read it")
        header = INTRO + b"".join(stanza.encode() for stanza in stanzas) + b"---"
        salt = os.urandom(16)
        file.write(header + b" " + _b64(_header_mac(file_key, header)) + b"\n" + salt)
        self._file = file
        self._cipher = ChaCha20Poly1305(_derive(file_key, salt=salt, info=b"payload"))
        self._counter = 0
        self._held = bytearray()
        self.file_key = FileKey(file_key)
        """For who wrote it and now reads it back."""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # any bytes-like object
        self._held += data
        # A full chunk is held back until more comes: only then is it known not to be the last.
        while len(self._held) > CHUNK_BYTES:
            self._put(bytes(self._held[:CHUNK_BYTES]), last=False)
            del self._held[:CHUNK_BYTES]
        return len(data)

    def finish(self) -> None:
        """Write the last chunk."""
        self._put(bytes(self._held), last=True)
        self._held.clear()

    def _put(self, chunk: bytes, *, last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._counter, last=last), chunk, None))
        self._counter += 1


class Decryptor(io.RawIOBase):
    """A file to read plain bytes from; every byte it gives was authenticated. Read it to its end: only there is known
    that nothing was cut off or appended. NotAgeError, WrongKeyError, DamagedError."""

    def __init__(self, file: IO[bytes], secret: Identity | Passphrase | FileKey) -> None:
        super().__init__()
        stanzas, mac, header = _read_header(file)
        file_key = _file_key(stanzas, secret)
        if not hmac.compare_digest(mac, _header_mac(file_key, header)):
            raise NotAgeError("the header is damaged: its MAC does not fit")
        salt = file.read(16)
        if len(salt) != 16:
            raise DamagedError("the file is cut off behind its header")
        self._file = file
        self._cipher = ChaCha20Poly1305(_derive(file_key, salt=salt, info=b"payload"))
        self._counter = 0
        self._plain = memoryview(b"")
        self._ahead = file.read(CHUNK_BYTES + TAG_BYTES)
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # any writable buffer
        while not self._plain and not self._ended:
            self._next()
        count = min(len(buffer), len(self._plain))
        buffer[:count] = self._plain[:count]
        self._plain = self._plain[count:]
        return count

    def _next(self) -> None:
        chunk, self._ahead = self._ahead, self._file.read(CHUNK_BYTES + TAG_BYTES)
        last = not self._ahead
        at = self._counter
        try:
            plain = self._cipher.decrypt(_nonce(at, last=last), chunk, None)
        except InvalidTag:
            where = f"chunk {at + 1}, from byte {at * CHUNK_BYTES:,} of the content"
            raise DamagedError(f"the file was altered, or cut off, or something was appended ({where})") from None
        if last and not plain and at > 0:
            raise DamagedError("the file ends with an empty chunk")
        self._counter += 1
        self._plain = memoryview(plain)
        self._ended = last
