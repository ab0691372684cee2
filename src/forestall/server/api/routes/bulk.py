"""Many requests in one, each with its own authorisation and answer."""

from __future__ import annotations

import io
import json
import logging
from typing import Any, Literal
from urllib.parse import unquote

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve
from ninja import Field

from forestall.server.api.problems import PROBLEM, WORDS, problem
from forestall.server.api.routing import SIGNED_IN, ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.api.sparse import PART

log = logging.getLogger(__name__)

router = Routes(tags=["bulk"])

MOST = 100
BASE = "/api/v1"


class BulkStepIn(Schema):
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str = Field(
        min_length=1,
        max_length=2000,
        pattern="^/",
        description="Below `/api/v1`, with its query.",
        examples=["/devices"],
    )
    body: Any = None
    if_match: str | None = Field(None, max_length=200, description="As the header `If-Match`.")
    idempotency_key: str | None = Field(None, max_length=255, description="As the header `Idempotency-Key`.")


class BulkIn(Schema):
    steps: list[BulkStepIn] = Field(min_length=1, max_length=MOST)
    stop_on_error: bool = Field(default=False, description="Leave out what comes after the first refusal.")


class BulkStepOut(Schema):
    status: int = Field(description="HTTP status; 0: left out after a refusal.")
    body: Any
    etag: str | None


class BulkOut(Schema):
    results: list[BulkStepOut] = Field(description="One for each step, in order.")
    refused: int = Field(description="How many were refused or left out.")


@router.post("/bulk", allow=SIGNED_IN, response=BulkOut, summary="Do up to 100 requests, one after the other")
def bulk_do(request: ApiRequest, body: BulkIn) -> dict[str, Any]:
    """Each step is a request of its own: what one changes stays when another is refused. Files and `/bulk` itself
    are not answered here."""
    results: list[dict[str, Any]] = []
    refused = 0
    for step in body.steps:
        if body.stop_on_error and refused:
            refused += 1
            results.append({"status": 0, "body": None, "etag": None})
            continue
        answer = _step(request, step)
        refused += answer.status_code >= 400
        content = json.loads(answer.content) if isinstance(answer, HttpResponse) and answer.content else None
        results.append({"status": answer.status_code, "body": content, "etag": answer.headers.get("ETag")})
    return {"results": results, "refused": refused}


def _step(request: ApiRequest, step: BulkStepIn) -> HttpResponseBase:
    path, _, query = step.path.partition("?")
    where = BASE + unquote(path)
    try:
        found = resolve(where)
    except Resolver404:
        return problem(404, *WORDS[404])
    if where.rstrip("/") == f"{BASE}/bulk" or "api" not in found.namespaces:
        return problem(400, "Wrong request", f"{step.path[:80]!r} cannot be a step: ask for it by itself.")
    asked = _request(request, step, where, query)
    try:
        answer: HttpResponseBase = found.func(asked, *found.args, **found.kwargs)
    except Exception:
        # As for a request of its own: said here, told in the log, and the other steps go on.
        log.exception("a step of a bulk request failed: %s %s", step.method, where)
        return problem(500, *WORDS[500])
    if isinstance(answer, HttpResponse) and answer.headers.get("Content-Type", "").startswith(
        ("application/json", PART, PROBLEM)
    ):
        return answer
    if answer.status_code in WORDS:
        return problem(answer.status_code, *WORDS[answer.status_code])
    if isinstance(answer, HttpResponse) and not answer.content:
        return answer
    return problem(400, "Wrong request", f"{step.path[:80]!r} answers with a file: ask for it by itself.")


def _request(request: ApiRequest, step: BulkStepIn, where: str, query: str) -> WSGIRequest:
    own = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IDEMPOTENCY_KEY", "CONTENT_TYPE", "CONTENT_LENGTH")
    environ = {name: value for name, value in request.environ.items() if name not in own}  # type: ignore[attr-defined]
    content = b"" if step.body is None else json.dumps(step.body).encode()
    environ |= {
        "REQUEST_METHOD": step.method,
        "PATH_INFO": where.encode().decode("latin-1"),
        "QUERY_STRING": query,
        "wsgi.input": io.BytesIO(content),
        "CONTENT_LENGTH": str(len(content)),
        "CONTENT_TYPE": "application/json",
    }
    if step.if_match is not None:
        environ["HTTP_IF_MATCH"] = step.if_match
    if step.idempotency_key is not None:
        environ["HTTP_IDEMPOTENCY_KEY"] = step.idempotency_key
    return WSGIRequest(environ)
