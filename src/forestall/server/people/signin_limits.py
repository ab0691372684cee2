"""How often somebody may try to sign in, and when they may try again.

Three limits on wrong passwords, so that guessing is hopeless and yet nobody can be kept out by somebody else's
guesses for good:

- from one address, whatever name: 10 a minute;
- for one name from one place: 5 in 5 minutes. A place is a browser that this person signed in with before (a signed
  cookie says so), or else an address: a stranger's guesses use up the stranger's own tries;
- for one name from all browsers that it never signed in with: 100 an hour.

Under a siege from many addresses the person still signs in with a browser used before, with a passkey or by single
sign-on; ``forestall person unlock`` on the server forgets the tries.

Kept in the database, so they hold across threads, processes and restarts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from allauth.core.internal import ratelimit
from django.conf import settings
from django.core import signing
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse

APP = "forestall.signin"
ACTION = "login_failed"
PER_ADDRESS = "10/m/ip"
PER_PLACE = "5/5m/key"
PER_NAME = "100/h/key"

KNOWN_COOKIE = "forestall_known"
KNOWN_SECONDS = 365 * 86400
KNOWN_NAMES = 5
"""So many people's sign-ins one browser remembers."""
_SALT = "forestall.known-browser"


@dataclass(frozen=True, slots=True)
class _Limit:
    rate: str
    key: str | None


class TooManyTriesError(Exception):
    """Carries when the next try is allowed."""

    def __init__(self, again_at: datetime) -> None:
        super().__init__(f"again at {again_at}")
        self.again_at = again_at


@dataclass
class Tries:
    """Tries that were counted; taken back when the password proved right."""

    counted: Sequence[ratelimit.RateLimitUsage]

    def take_back(self) -> None:
        for usage in self.counted:
            usage.rollback()


def count_try(*, request: HttpRequest, name: str) -> Tries:
    """Count a try to sign in as ``name``; TooManyTriesError when there were too many already."""
    counted: list[ratelimit.RateLimitUsage] = []
    for limit in _limits(request, name):
        usage = ratelimit.consume(
            request, app=APP, action=ACTION, config={ACTION: limit.rate}, key=limit.key, limit_get=True
        )
        if usage is None:
            Tries(counted).take_back()
            raise TooManyTriesError(_again_at(request, limit))
        counted.append(usage)
    return Tries(counted)


def forget_tries(*, name: str) -> None:
    """Let ``name`` try again at once, from browsers known and unknown (addresses keep their own count)."""
    cache.set(_generation_key(name), uuid4().hex, None)


def remember_browser(*, request: HttpRequest, response: HttpResponse, name: str) -> None:
    """Note in this browser that ``name`` signed in with it: strangers' wrong tries no longer count for it."""
    known, name = _known(request), name.lower()
    if name in known:
        return
    kept = dict(list(known.items())[-(KNOWN_NAMES - 1) :])
    response.set_cookie(
        KNOWN_COOKIE,
        signing.dumps({**kept, name: uuid4().hex}, salt=_SALT, compress=True),
        max_age=KNOWN_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=bool(settings.SESSION_COOKIE_SECURE) or request.is_secure(),
        path="/accounts/",
    )


def _known(request: HttpRequest) -> dict[str, str]:
    try:
        said = signing.loads(request.COOKIES.get(KNOWN_COOKIE, ""), salt=_SALT, max_age=KNOWN_SECONDS)
    except signing.BadSignature:
        return {}
    return said if isinstance(said, dict) else {}


def _limits(request: HttpRequest, name: str) -> list[_Limit]:
    name = name.lower()
    generation = cache.get(_generation_key(name), "")
    browser = _known(request).get(name)
    limits = [_Limit(PER_ADDRESS, None)]
    if browser is not None:
        return [*limits, _Limit(PER_PLACE, f"{generation}:{name}:browser:{browser}")]
    return [
        *limits,
        _Limit(PER_PLACE, f"{generation}:{name}:from:{ratelimit.get_ip(request)}"),
        _Limit(PER_NAME, f"{generation}:{name}"),
    ]


def _generation_key(name: str) -> str:
    return f"signin-generation:{name.lower()[:150]}"


def _again_at(request: HttpRequest, limit: _Limit) -> datetime:
    """When the oldest counted try of a full limit is forgotten."""
    rate = ratelimit.parse_rate(limit.rate)
    key = ratelimit.get_cache_key(request, app=APP, action=ACTION, rate=rate, key=limit.key)
    tries: list[float] = cache.get(key, [])
    oldest = min(tries, default=time.time())
    return datetime.fromtimestamp(oldest + rate.duration, UTC)
