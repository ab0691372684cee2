"""Fetching one file of a feed over an unreliable line: only when it has changed, from where it broke off, never more
than agreed, and never half a file.

What arrives goes to a file beside (``*.part``), with the server's mark of its state (``*.state``). A download that
breaks off goes on from there with ``Range`` and ``If-Range``: of another state the server sends the whole again.
"""

from __future__ import annotations

import gzip
import http.client
import ipaddress
import json
import lzma
import socket
import ssl
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from forestall import __version__

TIMEOUT_SECONDS = 30.0
"""Without a byte."""
MOST_SECONDS = 1800.0
TRIES = 4
"""So often a download that breaks off is taken up again at once; the part is kept for the next time all the same."""
PIECE = 1 << 20
MOST_UNPACKED = 6 << 30
"""An archive that unpacks to more is not taken."""
MOST_MEMBERS = 2_000_000


class DownloadError(Exception):
    """A feed that could not be fetched, in words for the feeds page."""


class ArchiveError(Exception):
    """A file that is broken, or made to hurt."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a download gave."""

    path: Path | None
    """None: the server says nothing has changed."""
    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True)
class _State:
    """Of which state of the file the part is."""

    url: str
    etag: str
    last_modified: str

    @property
    def validator(self) -> str:
        """For ``If-Range``: only strong marks may be used there."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


class _SameKind(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to http."""

    max_redirections = 5

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        url_check(newurl)
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise DownloadError(f"it leads from https to {newurl[:100]}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def url_check(url: str) -> None:
    """DownloadError for an address from which no feed is fetched: other than http(s), or of a cloud's metadata."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise DownloadError(f"url: {url[:100]!r} is no http or https address")
    if parts.username or parts.password:
        raise DownloadError("url: an address with a password in it is not taken")
    try:
        literal = ipaddress.ip_address(parts.hostname)
    except ValueError:
        return  # a name
    if literal.is_link_local:
        raise DownloadError(f"url: {parts.hostname} is link-local: a cloud keeps its credentials there")


def fetch(
    *,
    url: str,
    into: Path,
    etag: str = "",
    last_modified: str = "",
    most_bytes: int,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Fetched:
    """Fetch ``url`` to ``into`` unless it is as ``etag`` or ``last_modified`` say. DownloadError says what failed."""
    url_check(url)
    into.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    until = clock() + MOST_SECONDS
    for number in range(TRIES):
        try:
            return _attempt(url, into, etag, last_modified, most_bytes, until, clock)
        except (TimeoutError, http.client.HTTPException, ConnectionError, ssl.SSLError) as error:
            broken = error
        except urllib.error.HTTPError as error:
            raise DownloadError(f"{_host(url)} answered HTTP {error.code} {error.reason}"[:300]) from None
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionError | TimeoutError):
                raise DownloadError(_words(url, error.reason)) from None
            broken = error.reason
        if number + 1 < TRIES:
            pause(0.5 * 2**number)
    have = _part(into).stat().st_size if _part(into).exists() else 0
    kept = f"; the first {have:,} bytes are kept and the next try goes on from there" if have else ""
    raise DownloadError(f"{_words(url, broken)}{kept}")


def _attempt(
    url: str, into: Path, etag: str, last_modified: str, most: int, until: float, clock: Callable[[], float]
) -> Fetched:
    part, state = _part(into), _read_state(into)
    have = part.stat().st_size if part.exists() else 0
    if have and (state is None or state.url != url or not state.validator):
        part.unlink()
        have, state = 0, None
    headers = {"User-Agent": f"Forestall/{__version__}", "Accept-Encoding": "identity"}
    if have and state is not None:
        headers |= {"Range": f"bytes={have}-", "If-Range": state.validator}
    else:
        headers |= {name: value for name, value in
                    (("If-None-Match", etag), ("If-Modified-Since", last_modified)) if value}  # fmt: skip
    opener = urllib.request.build_opener(_SameKind())
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - url_check
    try:
        answer = opener.open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 304 and not have:
            return Fetched(None, etag, last_modified)
        if error.code == 416 and have:
            # What is here is more than there is: begin anew.
            part.unlink()
            raise ConnectionError("the server has less than was fetched before") from None
        raise
    with answer:
        got: Message = answer.headers
        marks = _State(url, got.get("ETag", "")[:200], got.get("Last-Modified", "")[:100])
        goes_on = answer.status == 206 and _begins(got) == have and have > 0
        if answer.status == 206 and not goes_on:
            part.unlink(missing_ok=True)
            raise ConnectionError("the server sent another part than was asked for")
        begun = have if goes_on else 0
        expected = got.get("Content-Length", "")
        length = int(expected) if expected.isdecimal() else None
        if length is not None and begun + length > most:
            raise DownloadError(f"{_host(url)} would send {begun + length:,} bytes; {most:,} are taken at most")
        if not goes_on:
            _write_state(into, marks)
        arrived = _receive(answer, part, begun, most, until, clock, url)
        if length is not None and arrived != length:
            raise ConnectionError(f"it broke off after {begun + arrived:,} of {begun + length:,} bytes")
    part.replace(into)
    _state_path(into).unlink(missing_ok=True)
    kept = state if goes_on and state is not None else marks
    return Fetched(into, kept.etag, kept.last_modified)


def _receive(answer: Any, part: Path, begun: int, most: int, until: float, clock: Callable[[], float], url: str) -> int:
    """Append what comes to the part; how many bytes came."""
    arrived = 0
    with part.open("ab" if begun else "wb") as file:
        while True:
            try:
                piece = answer.read1(PIECE)
            except http.client.IncompleteRead as error:
                file.write(error.partial)
                raise ConnectionError("it broke off") from None
            if not piece:
                return arrived
            arrived += len(piece)
            if begun + arrived > most:
                file.close()
                part.unlink()
                raise DownloadError(f"{_host(url)} sends more than the {most:,} bytes that are taken at most")
            if clock() > until:
                raise DownloadError(f"not done after {MOST_SECONDS / 60:.0f} min; the next try goes on from there")
            file.write(piece)


def _begins(headers: Message) -> int:
    """Where a part begins, by its ``Content-Range``; -1: it does not say."""
    unit, _, rest = headers.get("Content-Range", "").partition(" ")
    first = rest.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdecimal() else -1


def _part(into: Path) -> Path:
    return into.with_name(into.name + ".part")


def _state_path(into: Path) -> Path:
    return into.with_name(into.name + ".state")


def _read_state(into: Path) -> _State | None:
    try:
        known = json.loads(_state_path(into).read_text())
        return _State(str(known["url"]), str(known["etag"]), str(known["last_modified"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none, or half written when the power went: the part is fetched anew


def _write_state(into: Path, state: _State) -> None:
    text = json.dumps({"url": state.url, "etag": state.etag, "last_modified": state.last_modified})
    _state_path(into).write_text(text)


def _host(url: str) -> str:
    return urlsplit(url).hostname or url[:60]


def _words(url: str, error: object) -> str:
    host = _host(url)
    if isinstance(error, socket.gaierror):
        return f"the name {host} leads nowhere: is this server allowed out to the internet?"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {host} is not to be trusted: {error.verify_message}"[:300]
    if isinstance(error, TimeoutError):
        return f"{host} sent nothing for {TIMEOUT_SECONDS:.0f} s"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {host}"
    return f"{host}: {getattr(error, 'strerror', None) or error or type(error).__name__}"[:300]


def archive_check(path: Path, *, most_unpacked: int = MOST_UNPACKED) -> None:
    """ArchiveError when an archive is cut off or damaged, or unpacks to more than ``most_unpacked`` bytes.

    Of a file that is no archive there is nothing to check.
    """
    with path.open("rb") as file:
        head = file.read(6)
    try:
        if head[:2] == b"PK":
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
                if len(members) > MOST_MEMBERS:
                    raise ArchiveError(f"it holds {len(members):,} files; {MOST_MEMBERS:,} are taken at most")
                # What it says of itself is what the reader takes at most: zipfile stops there, and compares.
                _bounded(sum(one.file_size for one in members), most_unpacked)
        elif head[:2] == b"\x1f\x8b":
            with gzip.open(path) as packed:
                _drain(packed, most_unpacked)
        elif head == b"\xfd7zXZ\x00":
            with lzma.open(path) as unxz:
                _drain(unxz, most_unpacked)
    except EOFError:
        raise ArchiveError("it ends in the middle: it was cut off") from None
    except (zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise ArchiveError(f"it is damaged or cut off: {error}"[:200]) from None


def _drain(packed: Any, most: int) -> None:
    size = 0
    while piece := packed.read(PIECE):
        size += len(piece)
        _bounded(size, most)


def _bounded(size: int, most: int) -> None:
    if size > most:
        raise ArchiveError(f"it unpacks to more than the {most:,} bytes that are taken at most")
