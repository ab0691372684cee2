"""Who may call which route. A route that declares no authorisation stops the server from starting.

``Routes`` is the only way to a route: its verbs need ``allow``, a permission or ``SIGNED_IN``. Before the handler
runs, ``request.scope`` is set from the token, read afresh from the database, and refused with 403 when it holds the
permission nowhere. Where the permission is held is for queries (absent and foreign: 404) and services (403).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from ninja import Router
from ninja.constants import NOT_SET
from ninja.operation import Operation, PathView

from forestall.server.database.binding import tried_again
from forestall.server.people.scope import Permission, Scope

if TYPE_CHECKING:
    from ninja import NinjaAPI

    from forestall.server.people.models import ApiToken, Person

F = TypeVar("F", bound=Callable[..., Any])


class SignedIn:
    """The authorisation of a route that concerns only oneself: any good token."""

    def __str__(self) -> str:
        return "signed in"


SIGNED_IN = SignedIn()
Allow = Permission | SignedIn


class ApiRequest(HttpRequest):
    """What a handler receives."""

    scope: Scope
    person: Person
    token: ApiToken
    operation: OpenOperation
    """The route that answers."""


class UndeclaredError(TypeError):
    """A route without a declared authorisation."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a route behaves beyond its handler."""

    volatile: frozenset[str] = frozenset()
    """Fields that change by themselves (a clock): they do not count when ``If-Match`` asks for the same state."""
    body_bytes: int = 0
    """How large a body may be; 0: as everywhere."""
    files: str = ""
    """Media type of an answer that is a file; empty: JSON."""
    repeatable: bool = False
    """A POST that changes nothing: it takes no ``Idempotency-Key``."""


class OpenOperation(Operation):
    """One route: method, path, who may call it, and how."""

    allow: Allow | None = None
    manner: Manner = Manner()

    def clone(self) -> OpenOperation:
        cloned = cast(OpenOperation, super().clone())
        cloned.allow, cloned.manner = self.allow, self.manner
        return cloned

    @property
    def path_parameters(self) -> tuple[str, ...]:
        """Names in the path, in order."""
        return tuple(re.findall(r"{(?:\w+:)?(\w+)}", self.path))

    def run(self, request: HttpRequest, **kw: Any) -> HttpResponseBase:
        from forestall.server.api.answering import answer

        return answer(self, cast(ApiRequest, request), kw)

    def run_declared(self, request: HttpRequest, kw: dict[str, Any]) -> HttpResponseBase:
        """The handler alone, once everything around it was done."""
        try:
            temporal = self.api.create_temporal_response(request)
            values = self._get_values(request, kw, temporal)
            result = tried_again(lambda: self.view_func(request, **values))
            return self._result_to_response(request, result, temporal)
        except Exception as error:  # noqa: BLE001 - the API's own handlers decide; what none takes is raised again
            return self.api.on_exception(request, error)

    def authenticate(self, request: HttpRequest) -> HttpResponseBase | None:
        """The refusal, or None when somebody known asks."""
        return self._run_checks(request)


class OpenPathView(PathView):
    """One path with its methods."""

    def clone(self) -> OpenPathView:
        cloned = OpenPathView()
        cloned.is_async, cloned.url_name = self.is_async, self.url_name
        cloned.operations = [one.clone() for one in self.operations]
        return cloned


class Routes(Router):
    """The routes of one family of nouns.

    ::

        router = Routes(tags=["clients"])

        @router.get("/clients/{client_id}", allow=Permission.CLIENT_VIEW, response=ClientOut, summary="Show a client")
        def client_show(request: ApiRequest, client_id: UUID) -> Client:
            return people.clients(scope=request.scope).get(pk=client_id)
    """

    # The signatures are narrower than ninja's on purpose: `allow`, `summary` and `response` are no choice.

    def get(self, path: str, *, allow: Allow, **more: Any) -> Callable[[F], F]:  # type: ignore[override]
        return self._declare("GET", path, allow, more)

    def post(self, path: str, *, allow: Allow, **more: Any) -> Callable[[F], F]:  # type: ignore[override]
        return self._declare("POST", path, allow, more)

    def put(self, path: str, *, allow: Allow, **more: Any) -> Callable[[F], F]:  # type: ignore[override]
        return self._declare("PUT", path, allow, more)

    def patch(self, path: str, *, allow: Allow, **more: Any) -> Callable[[F], F]:  # type: ignore[override]
        return self._declare("PATCH", path, allow, more)

    def delete(self, path: str, *, allow: Allow, **more: Any) -> Callable[[F], F]:  # type: ignore[override]
        return self._declare("DELETE", path, allow, more)

    def _declare(self, method: str, path: str, allow: Allow, more: dict[str, Any]) -> Callable[[F], F]:
        files = more.pop("files", "")
        manner = Manner(
            volatile=frozenset(more.pop("volatile", ())),
            body_bytes=more.pop("body_bytes", 0),
            files="application/octet-stream" if files is True else str(files),
            repeatable=more.pop("repeatable", False),
        )
        response = more.pop("response", NOT_SET)
        if method == "DELETE" and response is NOT_SET:
            response = {204: None}

        def declare(view: F) -> F:
            operation = OpenOperation(path, [method], view, response=response, **more)
            operation.allow, operation.manner = allow, manner
            paths = self.path_operations.setdefault(path, OpenPathView())
            paths.operations.append(operation)
            return view

        return declare


@dataclass(frozen=True, slots=True)
class Route:
    """A row of the route table."""

    method: str
    path: str
    """Below ``/api/v1``, with ``{names}``."""
    operation: Operation

    @property
    def allow(self) -> Allow | None:
        return getattr(self.operation, "allow", None)

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(re.findall(r"{(?:\w+:)?(\w+)}", self.path))

    @property
    def name(self) -> str:
        """The operation's id: its function's name."""
        return str(self.operation.view_func.__name__)

    @property
    def is_read(self) -> bool:
        return self.method == "GET"


def route_table(api: NinjaAPI) -> Sequence[Route]:
    """Every route of the API, by path and method."""
    found = (
        Route(method=method, path=bound.prefix + path, operation=operation)
        for bound, path, operation in _operations(api)
        for method in operation.methods
    )
    return sorted(found, key=lambda one: (one.path, one.method))


def _operations(api: NinjaAPI) -> Iterator[tuple[Any, str, Operation]]:
    for bound in api._get_bound_routers():
        for path, view in bound.path_operations.items():
            for operation in view.operations:
                yield bound, path, operation
