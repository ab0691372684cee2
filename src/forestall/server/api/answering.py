"""What happens around every handler: who asks, what they may, what they sent, whether it was done before, and how
the answer is marked. One order for all routes, on one screen."""

from __future__ import annotations

import hashlib
from typing import Any

from django.db import connection, transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase

from forestall.server.api.bodies import BODY_BYTES, BodyError, read_body, require_storable
from forestall.server.api.once import done_once
from forestall.server.api.problems import problem
from forestall.server.api.routing import ApiRequest, OpenOperation
from forestall.server.api.sparse import known_fields, read_fields
from forestall.server.people.scope import Permission

FIELDS = "fields"


class UnknownParameterError(ValueError):
    """A query parameter that the route does not have, or one given twice."""


class PreconditionError(ValueError):
    """``If-Match`` names another state than the present one."""


def answer(operation: OpenOperation, request: ApiRequest, names: dict[str, Any]) -> HttpResponseBase:
    """Answer one request."""
    request.operation = operation
    refusal = operation.authenticate(request)
    if refusal is not None:
        return refusal
    try:
        request.scope = request.auth  # type: ignore[attr-defined]
        if isinstance(operation.allow, Permission):
            request.scope.require(operation.allow)
        read_request(operation, request, names)
        key = request.headers.get("Idempotency-Key")
        if key is not None and request.method == "POST" and not operation.manner.repeatable:
            return done_once(request, key=key, do=lambda: run(operation, request, names))
        return run(operation, request, names)
    except Exception as error:  # noqa: BLE001 - the API's own handlers decide; what none takes is raised again
        return operation.api.on_exception(request, error)


def read_request(operation: OpenOperation, request: ApiRequest, names: dict[str, Any]) -> None:
    """Look at everything that was sent before anything is done with it."""
    for name, value in names.items():
        require_storable(str(value), name)
    request.asked_fields = None  # type: ignore[attr-defined]
    known = {
        name
        for model in operation.models
        if model.__ninja_param_source__ == "query"
        for name in model.__ninja_flatten_map__
    }
    shape = answer_shape(operation)
    if shape is not None and request.method == "GET":
        known = known | {FIELDS}
    for name, values in request.GET.lists():
        if name not in known:
            listed = f"known: {', '.join(sorted(known))}" if known else "it takes none"
            raise UnknownParameterError(f"query.{name[:80]}: unknown parameter; {listed}")
        if len(values) > 1:
            raise UnknownParameterError(f"query.{name}: given {len(values)} times")
        require_storable(values[0], f"query.{name}")
    if FIELDS in known and FIELDS in request.GET:
        request.asked_fields = read_fields(request.GET[FIELDS], known_fields(shape))  # type: ignore[attr-defined]
    request.parsed_body = read_body(request, most=operation.manner.body_bytes or BODY_BYTES)  # type: ignore[attr-defined]
    takes_body = any(model.__ninja_param_source__ == "body" for model in operation.models)
    if request.parsed_body and not takes_body:  # type: ignore[attr-defined]
        raise BodyError(422, "Wrong request", "This route takes no body.")


def answer_shape(operation: OpenOperation) -> Any:
    """The type of a successful JSON answer; None where it is a file or nothing."""
    for status, model in operation.response_models.items():
        if isinstance(status, int) and 200 <= status < 300 and hasattr(model, "model_fields"):
            return model.model_fields["response"].annotation
    return None


def run(operation: OpenOperation, request: ApiRequest, names: dict[str, Any]) -> HttpResponseBase:
    """The handler, behind ``If-Match`` where one was given."""
    wanted = request.headers.get("If-Match")
    if request.method == "GET" or wanted is None:
        return marked(request, operation.run_declared(request, names))
    # Look and change in one transaction, and one at a time: between the two nobody else changes it.
    with transaction.atomic():
        _take_turn(request.path)
        refusal = _precondition(operation, request, names, wanted)
        if refusal is not None:
            return refusal
        response = operation.run_declared(request, names)
        if response.status_code >= 500:
            transaction.set_rollback(True)
        return response


def _take_turn(path: str) -> None:
    # SQLite has one writer at a time anyway.
    if connection.vendor == "postgresql":
        number = int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], signed=True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])


def _precondition(
    operation: OpenOperation, request: ApiRequest, names: dict[str, Any], wanted: str
) -> HttpResponseBase | None:
    look = _looks_at(operation, names)
    if look is None:
        raise PreconditionError("If-Match: there is no state to compare here; leave it out")
    allow = look.allow
    if isinstance(allow, Permission):
        request.scope.require(allow)
    held, request.operation = request.operation, look
    try:
        present = look.run_declared(request, {name: names[name] for name in look.path_parameters})
    finally:
        request.operation = held
    if present.status_code != 200:
        return present
    state = state_of(present.headers.get("ETag", ""))
    if wanted.strip() != "*" and state not in {state_of(one) for one in wanted.split(",")}:
        answer = problem(
            412, "Changed meanwhile", "It is no longer as you have seen it: look again, and decide anew.", etag=state
        )
        answer["ETag"] = present.headers.get("ETag", "")
        return answer
    return None


def _looks_at(operation: OpenOperation, names: dict[str, Any]) -> OpenOperation | None:
    """The route that shows what this one changes: the GET of the same path, or for an act of the path above."""
    paths = {path: view for bound in operation.api._get_bound_routers() for path, view in bound.path_operations.items()}
    for path in (operation.path, operation.path.rpartition("/")[0]):
        for one in paths[path].operations if path in paths else ():
            if "GET" in one.methods and isinstance(one, OpenOperation) and "{" in path:
                return one
    return None


def marked(request: ApiRequest, response: HttpResponseBase) -> HttpResponseBase:
    """``304`` for what the asker already has."""
    tag = response.headers.get("ETag")
    if request.method != "GET" or response.status_code != 200 or not tag:
        return response
    have = request.headers.get("If-None-Match")
    if have is not None and (have.strip() == "*" or tag in {one.strip().removeprefix("W/") for one in have.split(",")}):
        unchanged = HttpResponse(status=304)
        unchanged["ETag"] = tag
        del unchanged["Content-Type"]
        return unchanged
    return response


def state_of(tag: str) -> str:
    """The part of a tag that says what state a thing is in, without what changes by itself."""
    return tag.strip().removeprefix("W/").strip('"').partition(".")[0]


def digest(content: bytes) -> str:
    """16 bytes of SHA-256, in hex."""
    return hashlib.sha256(content).hexdigest()[:32]
