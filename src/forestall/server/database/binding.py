"""Binding the scope of a request to its database connection, where row-level security reads it.

``bind(scope)`` where console and API have made the scope; ``ScopeMiddleware`` takes it back at the end of the request.
What is not bound sees nothing: a request that forgot to bind, and a connection that broke and came back, fail closed.
On SQLite, and for the roles of intake and worker (which see every row), all of this does nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import Any, Protocol, TypeVar
from uuid import UUID

from django.db import OperationalError, connection
from django.db.backends.signals import connection_created
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

log = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 3
"""How often an act is tried that the database ended to solve a deadlock."""
_RETRY = frozenset({"40001", "40P01"})
"""SQLSTATE of a serialization failure and of a deadlock: nothing was changed, and the same again may succeed."""
_SET = (
    "SELECT set_config('forestall.everywhere', %s, false), set_config('forestall.clients', %s, false),"
    " set_config('forestall.sites', %s, false), set_config('forestall.site_clients', %s, false)"
)


class Place(Protocol):
    """``people.scope.Place``, as far as this lower layer knows it."""

    @property
    def everywhere(self) -> bool: ...
    @property
    def clients(self) -> Collection[UUID]: ...
    @property
    def sites(self) -> Mapping[UUID, UUID]: ...


class Scope(Protocol):
    """``people.scope.Scope``, likewise."""

    def place(self) -> Place: ...


@dataclass(frozen=True, slots=True)
class Bound:
    """The values of the session's settings, in the order of ``_SET``."""

    everywhere: str = ""
    """``on``; ``off``: only what the other three name; empty: nothing is bound."""
    clients: str = ""
    sites: str = ""
    site_clients: str = ""

    @classmethod
    def of(cls, place: Place) -> Bound:
        if place.everywhere:
            return EVERYWHERE
        return cls("off", _join(place.clients), _join(place.sites), _join(place.sites.values()))


NOTHING = Bound()
EVERYWHERE = Bound(everywhere="on")

applied: list[Callable[[Any, Bound], None]] = []
"""Told of every change of a connection's binding: the tests switch the role here, as an installation does by login."""


class _Thread(threading.local):
    bound: Bound = NOTHING


_thread = _Thread()


def bind(scope: Scope) -> None:
    """From now on, this thread's connection shows what ``scope`` may see by any of its permissions, and no more."""
    _change(Bound.of(scope.place()))


def unbind() -> None:
    """Nothing is visible from now on."""
    if _thread.bound is not NOTHING:
        _change(NOTHING)


@contextmanager
def everywhere() -> Iterator[None]:
    """For an act that must look beyond the scope of who asked (is a name taken anywhere?) and says so by this."""
    before = _thread.bound
    if before is NOTHING:
        # Not in a request of console or API: intake, worker and commands see every row by their role.
        yield
        return
    _change(EVERYWHERE)
    try:
        yield
    finally:
        _change(before)


def _change(bound: Bound) -> None:
    _thread.bound = bound
    if connection.vendor == "postgresql" and connection.connection is not None:
        _apply(connection, bound)


def _apply(wrapper: Any, bound: Bound) -> None:
    raw = wrapper.connection
    if wrapper.in_atomic_block and wrapper.needs_rollback:
        return  # the rollback that follows brings back what was bound before the transaction
    try:
        # Past Django's cursor: this is not one of the request's own queries.
        raw.execute(_SET, astuple(bound))
        for hear in applied:
            hear(raw, bound)
    except Exception as error:  # noqa: BLE001 - whatever it was, this connection must not be used with another's scope
        log.warning("a database connection is closed: its scope could not be bound: %s", error)
        wrapper.close()


def _connected(sender: object, connection: Any, **named: Any) -> None:
    if connection.vendor == "postgresql" and connection.alias == "default" and _thread.bound is not NOTHING:
        _apply(connection, _thread.bound)


connection_created.connect(_connected, dispatch_uid="forestall.database.binding")


class ScopeMiddleware:
    """Outermost: takes the binding back when the request ends."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        unbind()
        try:
            response = self._get_response(request)
            if isinstance(response, StreamingHttpResponse) and not response.is_async:
                # Its content is still to be read from the database, maybe by another thread.
                content: Any = response.streaming_content
                response.streaming_content = _bound_while(_thread.bound, content)
            return response
        finally:
            unbind()


def tried_again(act: Callable[[], T]) -> T:
    """Do ``act``, and do it again when the database ended its transaction only because another was in its way.

    Nothing of the first attempt is left then. Inside a transaction there is one attempt: its owner has to try again.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return act()
        except OperationalError as error:
            if connection.in_atomic_block or getattr(error.__cause__, "sqlstate", None) not in _RETRY:
                raise
            log.info("tried again: %s", error)
    return act()


def _bound_while(bound: Bound, content: Iterable[bytes]) -> Iterator[bytes]:
    before = _thread.bound
    _change(bound)
    try:
        yield from content
    finally:
        _change(before)


def _join(ids: Iterable[UUID]) -> str:
    return ",".join(sorted(map(str, ids)))
