"""One file from many, and back: a tar archive, compressed, encrypted (``age``). Streams in both directions.

The manifest is the first member, the files follow in its order. Reading trusts nothing: names, order and sizes must
be those of the manifest, which must be sound; everything was authenticated before it is looked at.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from forestall.server.backup.age import (
    AgeError,
    DamagedError,
    Decryptor,
    Encryptor,
    FileKey,
    Identity,
    Passphrase,
    Recipient,
)
from forestall.server.backup.snapshot import FORMAT, FileEntry, Manifest, Tick

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
COMPRESSION = 1
"""zlib's level. Most of a large backup is samples, packed already: the next levels take twice the time for little."""
BLOCK_BYTES = 1024 * 1024
_SOUND_PATH = re.compile(r"server(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+")
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Manifest)


def write(
    *, manifest: Manifest, folder: Path, file: IO[bytes], to: Sequence[Recipient] | Passphrase, tick: Tick
) -> FileKey:
    """Write the files of ``manifest`` below ``folder`` into ``file``; the file's key, to read it back with."""
    sealed = Encryptor(file, to)
    buffered = io.BufferedWriter(cast(Any, sealed), BLOCK_BYTES)
    # No name and no time: the stream says nothing beside the archive itself.
    with (
        gzip.GzipFile(fileobj=buffered, mode="wb", filename="", mtime=0, compresslevel=COMPRESSION) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=BLOCK_BYTES) as archive,
    ):
        head = _encoder.encode(manifest)
        archive.addfile(_member(MANIFEST, len(head)), io.BytesIO(head))
        for entry in manifest.files:
            with (folder / entry.path).open("rb") as content:
                archive.addfile(_member(entry.path, entry.size), cast(IO[bytes], _Ticking(content, tick)))
    buffered.flush()
    sealed.finish()
    return sealed.file_key


def read(
    *,
    file: IO[bytes],
    secret: Identity | Passphrase | FileKey,
    folder: Path | None,
    tick: Tick,
    room: Tick | None = None,
) -> Manifest:
    """Unpack into ``folder`` (None: look at every byte and keep nothing); what the backup says it holds, all of which
    was compared. ``room`` is asked for the files' bytes before the first is written. AgeError (DamagedError for what
    does not hold)."""
    plain = io.BufferedReader(Decryptor(file, secret), BLOCK_BYTES)
    packed = gzip.GzipFile(fileobj=plain, mode="rb")
    try:
        with tarfile.open(fileobj=packed, mode="r|", bufsize=BLOCK_BYTES) as archive:
            manifest = _manifest(archive)
            if room is not None:
                room(manifest.size)
            for entry in manifest.files:
                _extract(archive, entry, folder, tick)
            if archive.next() is not None:
                raise DamagedError("the archive holds more than its manifest names")
        # To the very end: only there is known that nothing was cut off or appended.
        while packed.read(BLOCK_BYTES):
            pass
        if plain.read(1):
            raise DamagedError("something follows the archive")
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DamagedError(f"the archive is damaged: {error}") from error
    return manifest


class _Ticking:
    """A file that says how much was read of it."""

    def __init__(self, file: IO[bytes], tick: Tick) -> None:
        self._file = file
        self._tick = tick

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._tick(len(data))
        return data


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info


def _manifest(archive: tarfile.TarFile) -> Manifest:
    member = archive.next()
    content = archive.extractfile(member) if member is not None and member.name == MANIFEST else None
    if member is None or content is None or member.size > MAX_MANIFEST_BYTES:
        raise DamagedError("not a backup of Forestall: it does not begin with a manifest")
    try:
        manifest = _decoder.decode(content.read())
    except msgspec.DecodeError as error:
        raise DamagedError(f"not a backup of Forestall: its manifest cannot be read: {error}") from None
    if manifest.format != FORMAT:
        raise AgeError(f"the backup has the format {manifest.format!r}; this version reads {FORMAT!r}")
    paths = [entry.path for entry in manifest.files]
    if len(set(paths)) != len(paths) or not all(_SOUND_PATH.fullmatch(path) for path in paths):
        raise DamagedError("the manifest names a file that cannot be")
    return manifest


def _extract(archive: tarfile.TarFile, entry: FileEntry, folder: Path | None, tick: Tick) -> None:
    member = archive.next()
    content = archive.extractfile(member) if member is not None and member.isreg() else None
    if member is None or content is None or (member.name, member.size) != (entry.path, entry.size):
        raise DamagedError(f"the archive does not hold {entry.path} where its manifest names it")
    target = None if folder is None else folder / entry.path
    digest = hashlib.sha256()
    if target is not None:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(target or os.devnull, os.O_WRONLY | (os.O_CREAT | os.O_EXCL if target else 0), 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while block := content.read(BLOCK_BYTES):
            digest.update(block)
            file.write(block)
            tick(len(block))
        if target is not None:
            file.flush()
            os.fsync(file.fileno())
    if digest.hexdigest() != entry.sha256:
        raise DamagedError(f"{entry.path} is not what the manifest names")
