"""The REST API from the command line: where the server is, who asks, and its errors in one line."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forestall.cli.errors import CommandError
from forestall.cli.plain import plain, plain_all
from forestall.cli.profile import profile_chosen, profile_named
from forestall.server.home import current_home

TIMEOUT_SECONDS = 30


class ApiError(CommandError):
    """The server said no; ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Api:
    """One server and one token."""

    url: str
    token: str

    @classmethod
    def connect(cls) -> Api:
        """From the profile that is named, else from ``FORESTALL_URL`` and ``FORESTALL_TOKEN``, else from the profile
        that is used by default, else from this machine's ``first-run.json``."""
        named = profile_chosen() if profile_named() else None
        if named is not None:
            return cls(url=named.url, token=named.token)
        url, token = os.environ.get("FORESTALL_URL"), os.environ.get("FORESTALL_TOKEN")
        if url and token:
            return cls(url=url.rstrip("/"), token=token)
        if url or token:
            raise CommandError("set both FORESTALL_URL and FORESTALL_TOKEN, or neither")
        usual = profile_chosen()
        if usual is not None:
            return cls(url=usual.url, token=usual.token)
        path = current_home().first_run
        first_run = read_first_run(path)
        return cls(url=first_run["console_url"].rstrip("/"), token=first_run["api_token"])

    def get(self, path: str, **query: str | int | bool | None) -> Any:
        """The JSON answer of ``GET /api/v1{path}``."""
        named = {name: value for name, value in query.items() if value not in (None, "")}
        return _read(self.raw("GET", path + (f"?{urllib.parse.urlencode(named)}" if named else "")))

    def post(self, path: str, body: object = None) -> Any:
        """The JSON answer of ``POST /api/v1{path}``."""
        return _read(self.raw("POST", path, body))

    def patch(self, path: str, body: object) -> Any:
        """The JSON answer of ``PATCH /api/v1{path}``."""
        return _read(self.raw("PATCH", path, body))

    def delete(self, path: str) -> None:
        """``DELETE /api/v1{path}``."""
        self.raw("DELETE", path)

    def raw(self, method: str, path: str, body: object = None, *, headers: Mapping[str, str] | None = None) -> bytes:
        """The bytes of an answer; ApiError with the server's own words for anything but success."""
        request = urllib.request.Request(  # noqa: S310 - the address is the operator's own
            f"{self.url}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", **(headers or {})},
        )
        context = ssl.create_default_context() if self.url.startswith("https:") else None
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=context) as answer:  # noqa: S310
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, _words(error)) from None
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            raise CommandError(f"{self.url} does not answer ({reason}). Is it running? Try: forestall status") from None


def read_first_run(path: Path) -> dict[str, str]:
    """What ``forestall up`` wrote when everything was ready."""
    try:
        content: dict[str, str] = json.loads(path.read_text())
    except FileNotFoundError:
        raise CommandError(
            f"{path} is not there: start Forestall with `forestall up`, or set FORESTALL_URL and FORESTALL_TOKEN"
        ) from None
    except PermissionError:
        raise CommandError(
            f"{path} belongs to another user: run as that user, or set FORESTALL_URL and FORESTALL_TOKEN"
        ) from None
    except json.JSONDecodeError as error:
        raise CommandError(f"{path} is not JSON: {error}") from None
    return content


def _read(answer: bytes) -> Any:
    # Names of devices, titles of tickets: they go to a terminal.
    return plain_all(json.loads(answer or b"null"))


def _words(error: urllib.error.HTTPError) -> str:
    body = error.read()
    try:
        problem = json.loads(body)
        return plain(f"{problem.get('detail') or problem.get('title')} (HTTP {error.code})")
    except (json.JSONDecodeError, AttributeError):
        return f"the server answered HTTP {error.code} {error.reason}"
