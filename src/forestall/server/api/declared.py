"""Every address of the server declares who may use it, or the server does not start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured
from django.urls import URLPattern, URLResolver

from forestall.server.api.routing import OpenOperation, SignedIn, route_table
from forestall.server.people.scope import Permission

API = "api/v1/"
OPEN = frozenset({"api/v1/openapi.json", "api/v1/"})
"""The API's own description: the same for everybody, with no client's data in it."""
SIGN_IN = "accounts/"
"""The pages of signing in, which look after themselves: whoever opens them is nobody yet."""
DECLARED = "forestall_permission"
"""Attribute that the console's ``@page`` gives to a view."""


@register()
def every_route_declares_who_may_call_it(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """System check: a route without ``allow``, two routes of one name, an address that is declared nowhere."""
    patterns = import_module(settings.ROOT_URLCONF).urlpatterns
    from forestall.server.api.app import api

    found: list[CheckMessage] = []
    table = route_table(api)
    for route in table:
        if not isinstance(route.operation, OpenOperation) or not isinstance(route.allow, Permission | SignedIn):
            found.append(
                Error(f"{route.method} {route.path} declares no authorisation: use Routes and allow=", id="api.E001")
            )
    for name, number in Counter(route.name for route in table).items():
        if number > 1:
            found.append(Error(f"{number} routes are called {name!r}: operation ids are unique", id="api.E002"))
    known = {API + "".join(_plain(route.path)).lstrip("/") for route in table} | OPEN
    for where, view in _addresses(patterns):
        if where.startswith(SIGN_IN) or hasattr(view, DECLARED) or _plain(where) in known:
            continue
        found.append(Error(f"the address {where!r} declares nowhere who may use it", id="api.E003"))
    return found


def require_declared() -> None:
    """ImproperlyConfigured when an address is declared nowhere: called before the first request."""
    found = every_route_declares_who_may_call_it(None)
    if found:
        raise ImproperlyConfigured("; ".join(error.msg for error in found))


def _plain(path: str) -> str:
    # `<uuid:client_id>`, `{client_id}` and `<client_id>` are one and the same.
    found, inside = "", ""
    for character in path:
        if character in "<{":
            inside = "{"
        elif character in ">}":
            found += inside.rpartition(":")[2].strip("{") and "{" + inside.rpartition(":")[2].strip("{") + "}"
            inside = ""
        elif inside:
            inside += character
        else:
            found += character
    return found


def _addresses(patterns: Sequence[URLPattern | URLResolver], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        where = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _addresses(pattern.url_patterns, where)
        else:
            yield where, pattern.callback
