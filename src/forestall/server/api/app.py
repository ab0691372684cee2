"""The API as a whole: who asks, what an error looks like, where the routes are."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist, RequestDataTooBig, ValidationError
from django.db import DataError, IntegrityError, OperationalError, connection, transaction
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError
from ninja.errors import ValidationError as RequestError
from ninja.operation import Operation, PathView
from ninja.renderers import BaseRenderer
from ninja.router import BoundRouter
from ninja.security import HttpBearer

from forestall import __version__
from forestall.server.api.answering import PreconditionError, UnknownParameterError, answer_shape, digest
from forestall.server.api.bodies import BodyError, StrictParser
from forestall.server.api.openapi import describe
from forestall.server.api.paging import Page
from forestall.server.api.problems import problem
from forestall.server.api.routing import OpenOperation
from forestall.server.api.sparse import PART, UnknownFieldError, shown_only
from forestall.server.database.binding import bind
from forestall.server.inventory.services import DeviceStateError
from forestall.server.people.queries import scope_of, token_row
from forestall.server.people.scope import NotAllowedError, Scope
from forestall.server.runbooks.queries import NoAuthorityError

log = logging.getLogger(__name__)


class BearerToken(HttpBearer):
    """A token such as the one in ``first-run.json``. What it may do is its person's scope, read anew each time."""

    def authenticate(self, request: HttpRequest, token: str) -> Scope | None:
        now = datetime.now(UTC)
        found = token_row(token=token, now=now)
        if found is None:
            return None
        request.token, request.person = found, found.person  # type: ignore[attr-defined]
        scope = scope_of(found.person, token=found, now=now)
        bind(scope)
        return scope


class JsonRenderer(BaseRenderer):
    """JSON with whole times (microseconds, ``Z``) and without what JSON has no word for."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return msgspec.json.encode(data, enc_hook=str)


class ForestallApi(NinjaAPI):
    """The API. Answers to GET carry a strong ``ETag``: the state of the thing, a dot, the bytes of the answer."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self._described: dict[str, dict[str, Any]] = {}

    def _get_bound_routers(self) -> list[BoundRouter]:
        """Several files may have methods of one path: ninja would answer all but the first with 405."""
        is_first = self._bound_routers_cache is None
        bound = super()._get_bound_routers()
        if is_first:
            views: dict[str, PathView] = {}
            for one in bound:
                for path in list(one.path_operations):
                    known = views.setdefault(one.prefix + path, one.path_operations[path])
                    if known is not one.path_operations[path]:
                        known.operations += one.path_operations.pop(path).operations
        return bound

    def _get_urls(self) -> list[Any]:
        """What is written out goes before what is a name: `/checks/kinds` is no check."""
        return sorted(super()._get_urls(), key=lambda one: [part[:1] == "<" for part in str(one.pattern).split("/")])

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return str(operation.view_func.__name__)

    def get_openapi_schema(self, *, path_prefix: str | None = None, path_params: Any = None) -> Any:
        """Made once: it takes a second, anybody may ask for it, and it is the same as long as the program runs."""
        prefix = self.get_root_path(path_params or {}) if path_prefix is None else path_prefix
        if prefix not in self._described:
            self._described[prefix] = describe(self, prefix)
        return self._described[prefix]

    def create_response(
        self,
        request: HttpRequest,
        data: Any,
        *,
        status: int | None = None,
        temporal_response: HttpResponse | None = None,
    ) -> HttpResponse:
        asked = getattr(request, "asked_fields", None)
        if asked is not None and (temporal_response is None or temporal_response.status_code == 200):
            shape = answer_shape(request.operation)  # type: ignore[attr-defined]
            is_page = isinstance(shape, type) and issubclass(shape, Page)
            shown = shown_only(data, asked, is_page=is_page)
        else:
            shown = data
        answer = super().create_response(request, shown, status=status, temporal_response=temporal_response)
        if shown is not data:
            answer["Content-Type"] = PART
        operation = getattr(request, "operation", None)
        if isinstance(operation, OpenOperation) and "GET" in operation.methods and answer.status_code == 200:
            body = digest(answer.content)
            volatile = operation.manner.volatile
            if shown is data and not volatile:
                state = body
            else:
                kept = {k: v for k, v in data.items() if k not in volatile} if isinstance(data, dict) else data
                state = digest(msgspec.json.encode(kept, enc_hook=str))
            answer["ETag"] = f'"{state}.{body}"'
        return answer


api = ForestallApi(
    title="Forestall",
    version=__version__,
    urls_namespace="api",
    description="Everything the console shows and does. Lists are paged by cursor; errors are RFC 9457 problems.",
    auth=BearerToken(),
    docs_url=None,
    openapi_url="/openapi.json",
    renderer=JsonRenderer(),
    parser=StrictParser(),
)


@api.exception_handler(AuthenticationError)
def not_signed_in(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    answer = problem(401, "Not signed in", "The bearer token is missing, unknown or expired.")
    answer["WWW-Authenticate"] = 'Bearer realm="forestall"'
    return answer


@api.exception_handler(NotAllowedError)
def not_allowed(request: HttpRequest, error: NotAllowedError) -> HttpResponse:
    where = f" at {error.where}" if error.where else ""
    return problem(403, "Not allowed", f"This token's person lacks the permission {error.permission}{where}.")


@api.exception_handler(ObjectDoesNotExist)
@api.exception_handler(Http404)
def absent(request: HttpRequest, error: Exception) -> HttpResponse:
    # The same words whether it is foreign or was never there: nobody learns that another client's thing exists.
    return problem(404, "Not found", "There is no such thing here.")


@api.exception_handler(RequestError)
def wrong_request(request: HttpRequest, error: RequestError) -> HttpResponse:
    wrong = [{"where": ".".join(str(part) for part in one["loc"]), "why": one["msg"]} for one in error.errors]
    return problem(422, "Wrong request", "; ".join(f"{one['where']}: {one['why']}" for one in wrong), errors=wrong)


@api.exception_handler(HttpError)
def plain_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return problem(error.status_code, "Refused", str(error))


@api.exception_handler(RequestDataTooBig)
def too_large(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    return problem(413, "Too large", f"A request's body may have {settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,} bytes.")


@api.exception_handler(BodyError)
def wrong_body(request: HttpRequest, error: BodyError) -> HttpResponse:
    return problem(error.status, error.title, str(error))


@api.exception_handler(UnknownParameterError)
@api.exception_handler(UnknownFieldError)
def wrong_query(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem(422, "Wrong request", str(error))


@api.exception_handler(PreconditionError)
def wrong_precondition(request: HttpRequest, error: PreconditionError) -> HttpResponse:
    return problem(400, "Wrong request", str(error))


@api.exception_handler(IntegrityError)
def conflict(request: HttpRequest, error: IntegrityError) -> HttpResponse:
    # Two did the same at once, and the database took one of them: nothing of the other stays.
    if connection.in_atomic_block:
        transaction.set_rollback(True)
    log.info("conflict at %s %s: %s", request.method, request.path, error)
    return problem(409, "Cannot be done now", "It contradicts something that is there already: look again.")


@api.exception_handler(DataError)
def value_the_database_cannot_hold(request: HttpRequest, error: DataError) -> HttpResponse:
    # PostgreSQL keeps to lengths, ranges and text without zero bytes, where SQLite takes anything.
    log.info("refused %s %s: %s", request.method, request.path, error)
    return problem(400, "Cannot be done", "A value is too long, out of range, or has a character that cannot be kept.")


@api.exception_handler(OperationalError)
def storage_failed(request: HttpRequest, error: OperationalError) -> HttpResponse:
    if connection.in_atomic_block:
        transaction.set_rollback(True)
    # A full disk, above all: nothing was changed, and the same request may be made again.
    log.error("storage failed at %s %s: %s", request.method, request.path, error)
    return problem(503, "Storage failed", f"Nothing was changed: {error}.")


@api.exception_handler(OverflowError)
@api.exception_handler(ValueError)
def wrong_value(request: HttpRequest, error: Exception) -> HttpResponse:
    # Services raise ValueError (and its kin) for input that cannot be taken, and name the bad value.
    log.info("refused %s %s: %s", request.method, request.path, error)
    return problem(400, "Cannot be done", str(error))


@api.exception_handler(ValidationError)
def wrong_model_value(request: HttpRequest, error: ValidationError) -> HttpResponse:
    return problem(400, "Cannot be done", "; ".join(error.messages))


@api.exception_handler(DeviceStateError)
@api.exception_handler(NoAuthorityError)
def not_now(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem(409, "Cannot be done now", str(error))
