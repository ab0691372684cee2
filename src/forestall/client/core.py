"""How requests go out and answers come in: what every generated method rests on."""

from __future__ import annotations

import http.client
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import UNSET

T = TypeVar("T")

BASE = "/api/v1"
ATTEMPTS = 3
"""How often a request is sent that may be sent again: a GET, and a POST under its own Idempotency-Key."""
PAUSE_SECONDS = 0.5
AGAIN = frozenset({502, 503, 504})


class UnreachableError(Exception):
    """The server did not answer."""


class ApiError(Exception):
    """The server refused, in its own words."""

    def __init__(self, status: int, title: str, detail: str, errors: list[Any]) -> None:
        super().__init__(f"{detail or title} (HTTP {status})")
        self.status, self.title, self.detail, self.errors = status, title, detail, errors


class WrongRequestError(ApiError):
    """400, 413, 415, 422: it cannot be done like this; ``errors`` names each field that is wrong."""


class NotSignedInError(ApiError):
    """401: the token is missing, unknown, revoked or expired."""


class NotAllowedError(ApiError):
    """403: the token's person lacks the permission, or the token was cut down."""


class NotFoundError(ApiError):
    """404: it is not there, or it is somebody else's."""


class ConflictError(ApiError):
    """409: not in the state it is in now."""


class ChangedError(ApiError):
    """412: it changed since you looked."""


ERRORS: Mapping[int, type[ApiError]] = {
    400: WrongRequestError,
    401: NotSignedInError,
    403: NotAllowedError,
    404: NotFoundError,
    409: ConflictError,
    412: ChangedError,
    413: WrongRequestError,
    415: WrongRequestError,
    422: WrongRequestError,
}


class Pages(Generic[T]):
    """A list, page after page: iterate over it. Each iteration asks anew."""

    def __init__(self, ask: Callable[[str | None], bytes], kind: Any) -> None:
        self._ask = ask
        self._decoder = msgspec.json.Decoder(kind)

    def __iter__(self) -> Iterator[T]:
        cursor: str | None = None
        while True:
            page = self._decoder.decode(self._ask(cursor))
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return


class Transport:
    """One server and one token. Not for several threads at once."""

    etag: str = ""
    """Of the latest answer: what ``if_match`` wants, to change a thing only as you saw it."""

    def __init__(
        self, url: str, *, token: str, timeout_seconds: float = 30, context: ssl.SSLContext | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url: {url!r} is no address like https://forestall.example.org")
        self._token = token
        self._prefix = parts.path.rstrip("/")
        if parts.scheme == "https":
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=timeout_seconds, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> bytes:
        """The bytes of an answer; ApiError when the server refuses, UnreachableError when it does not answer."""
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        content: bytes | None = None
        if body is not None:
            content = msgspec.json.encode({name: value for name, value in body.items() if value is not UNSET})
            headers["Content-Type"] = "application/json"
        if if_match is not None:
            headers["If-Match"] = if_match
        if method == "POST":
            headers["Idempotency-Key"] = idempotency_key or str(uuid.uuid4())
        named = {name: _plain(value) for name, value in (query or {}).items() if value is not None}
        where = f"{self._prefix}{BASE}{path}" + (f"?{urlencode(named)}" if named else "")
        attempts = ATTEMPTS if method in ("GET", "POST") else 1
        for attempt in range(1, attempts + 1):
            try:
                self._connection.request(method, where, content, headers)
                answer = self._connection.getresponse()
                received = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if attempt == attempts:
                    raise UnreachableError(f"{self._connection.host} does not answer: {error}") from error
            else:
                if answer.status not in AGAIN or attempt == attempts:
                    self.etag = answer.headers.get("ETag") or ""
                    if answer.status >= 400:
                        raise _refusal(answer.status, answer.reason, received)
                    return received
            time.sleep(PAUSE_SECONDS * attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")


def segment(value: object) -> str:
    """One part of a path."""
    return quote(str(value), safe="")


def _plain(value: Any) -> str:
    found = msgspec.to_builtins(value)
    return found if isinstance(found, str) else msgspec.json.encode(found).decode()


def _refusal(status: int, reason: str, received: bytes) -> ApiError:
    try:
        problem = msgspec.json.decode(received)
        title, detail, errors = problem["title"], problem["detail"], problem.get("errors", [])
    except (msgspec.DecodeError, KeyError, TypeError):
        title, detail, errors = reason, "", []
    return ERRORS.get(status, ApiError)(status, title, detail, errors)
