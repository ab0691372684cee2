"""Opening feed files: plain, packed, zips; told apart by their first bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from forestall.server.vulnerabilities.feeds.document import Document
from forestall.server.vulnerabilities.feeds.errors import FeedError

LARGEST = 1 << 30
"""Bytes of one document, unpacked."""
MOST_MEMBERS = 1_000_000
TAR_MAGIC, TAR_MAGIC_AT = b"ustar", 257


def documents(path: Path) -> Iterator[Document]:
    """The documents of a file: itself, unpacked, or each member of a zip or tar. Raises FeedError."""
    try:
        with path.open("rb") as stream:
            yield from unpacked(str(path), stream)
    except OSError as error:
        raise FeedError(str(path), error.strerror or str(error)) from error


def unpacked(name: str, stream: IO[bytes], *, depth: int = 0) -> Iterator[Document]:
    """The documents of a stream of bytes."""
    start = stream.read(6)
    stream.seek(0)
    if start.startswith(b"PK\x03\x04"):
        yield from _members(name, stream, depth)
        return
    try:
        if start.startswith(b"\x1f\x8b"):
            data = _limited(name, gzip.GzipFile(fileobj=stream))
        elif start == b"\xfd7zXZ\x00":
            data = _limited(name, lzma.LZMAFile(stream))  # noqa: SIM115 - whoever opened the stream closes it
        elif start.startswith(b"BZh"):
            data = _limited(name, bz2.BZ2File(stream))
        else:
            data = _limited(name, stream)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, OSError) as error:
        raise FeedError(name, f"cannot be unpacked: {error}") from error
    if data.startswith(TAR_MAGIC, TAR_MAGIC_AT):
        yield from _tar_members(name, data, depth)
    elif depth < 2 and data.startswith((b"PK\x03\x04", b"\x1f\x8b")):
        yield from unpacked(name, io.BytesIO(data), depth=depth + 1)
    else:
        yield Document(name, data)


def _limited(name: str, stream: IO[bytes] | gzip.GzipFile | lzma.LZMAFile | bz2.BZ2File) -> bytes:
    data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise FeedError(name, f"is over {LARGEST >> 20} MiB")
    return data


def _tar_members(name: str, data: bytes, depth: int) -> Iterator[Document]:
    if depth > 1:
        raise FeedError(name, "is packed too many times over")
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for place, member in enumerate(archive):
                if place >= MOST_MEMBERS:
                    raise FeedError(name, f"holds over {MOST_MEMBERS} files")
                inner = archive.extractfile(member) if member.isfile() else None
                if inner is not None:
                    yield from unpacked(f"{name}/{member.name}", io.BytesIO(inner.read()), depth=depth + 1)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise FeedError(name, f"cannot be unpacked: {error}") from error


def _members(name: str, stream: IO[bytes], depth: int) -> Iterator[Document]:
    if depth > 1:
        raise FeedError(name, "is packed too many times over")
    try:
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            if len(members) > MOST_MEMBERS:
                raise FeedError(name, f"holds over {MOST_MEMBERS} files")
            for member in members:
                if member.filename.endswith("/") or stat.S_ISLNK(member.external_attr >> 16):
                    continue
                if member.file_size > LARGEST:
                    raise FeedError(f"{name}/{member.filename}", f"is over {LARGEST >> 20} MiB")
                with archive.open(member) as inner:
                    data = inner.read(LARGEST + 1)
                yield from unpacked(f"{name}/{member.filename}", io.BytesIO(data), depth=depth + 1)
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,  # a member with a password
        ValueError,
    ) as error:
        raise FeedError(name, f"cannot be unpacked: {error}") from error
