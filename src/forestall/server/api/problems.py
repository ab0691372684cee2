"""Every refusal under ``/api/`` is an RFC 9457 problem, also those that no route of ours answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase

PREFIX = "/api/"
PROBLEM = "application/problem+json"
WORDS = {
    400: ("Wrong request", "The request could not be read."),
    404: ("Not found", "There is nothing at this address; /api/v1/openapi.json lists what there is."),
    405: ("Method not allowed", "This address does not take that method."),
    500: ("Failed", "The server could not do this; its log says why."),
}


def problem(status: int, title: str, detail: str, **more: Any) -> HttpResponse:
    """An RFC 9457 problem."""
    return JsonResponse(
        {"type": "about:blank", "title": title, "status": status, "detail": detail, **more},
        status=status,
        content_type=PROBLEM,
    )


class ProblemMiddleware:
    """Turns Django's own error pages into problems where a program asked."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        words = WORDS.get(response.status_code)
        if words is None or not request.path.startswith(PREFIX) or response.headers["Content-Type"] == PROBLEM:
            return response
        answer = problem(response.status_code, *words)
        if "Allow" in response.headers:
            answer["Allow"] = response.headers["Allow"]
        return answer
