"""A request's body: read once, strictly, and refused within milliseconds when it is made to hurt."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser

BODY_BYTES = 1 << 20
"""How large a body may be where a route says nothing else."""
DRAINED, CHUNK = 1 << 24, 1 << 16
DEPTH = 32
"""How many lists and objects may lie inside each other."""
NODES = 50_000
"""How many lists and objects there may be in all."""
DIGITS = 19
LONG = re.compile(rf"\d{{{DIGITS}}}")
LEAST, MOST = -(2**63), 2**63 - 1
JSON = "application/json"
TEXTS = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
"""A text of JSON. Without its end it goes to the end of everything: what begins is never looked at twice."""
NO_BRACKETS = re.compile(r"[^\[\]{}]+")


class BodyError(ValueError):
    """A body that cannot be taken; ``status`` is the HTTP status."""

    def __init__(self, status: int, title: str, message: str) -> None:
        super().__init__(message)
        self.status, self.title = status, title


class StrictParser(Parser):
    """Hands ninja what ``read_body`` has read."""

    def parse_body(self, request: HttpRequest) -> Any:
        return request.parsed_body  # type: ignore[attr-defined]


def read_body(request: HttpRequest, *, most: int) -> Any:
    """The JSON of a request, None without a body. BodyError says what is wrong with it."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        # Nothing is ever unpacked: a small body stays small.
        raise BodyError(415, "Wrong encoding", f"Content-Encoding: {encoding[:40]!r} is not taken; send it as it is.")
    length = request.headers.get("Content-Length", "") or "0"
    if length.isdecimal() and (len(length) > 12 or int(length) > most):
        _drain(request)
        raise BodyError(413, "Too large", f"A request's body may have {most:,} bytes here, not {length[:12]}.")
    body = request.body
    if not body:
        return None
    if len(body) > most:
        raise BodyError(413, "Too large", f"A request's body may have {most:,} bytes here, not {len(body):,}.")
    kind = (request.content_type or "").lower()
    if kind != JSON:
        raise BodyError(415, "Wrong content type", f"Content-Type: {kind[:80]!r} is not taken; send {JSON}.")
    return parse(body)


def _drain(request: HttpRequest) -> None:
    # Whoever still sends when the connection closes never sees the answer. Read on for a while, and keep nothing.
    try:
        for _ in range(DRAINED // CHUNK):
            if not request.read(CHUNK):
                return
    except OSError:
        return  # they have given up


def parse(body: bytes) -> Any:
    """JSON as RFC 8259 has it, without what no route can mean: deep nesting, numbers beyond 64 bits, names given
    twice, characters that no database keeps."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise BodyError(400, "Wrong request", f"The body is not UTF-8: byte {error.start}.") from None
    nodes = text.count("[") + text.count("{")
    if nodes > NODES:
        raise BodyError(413, "Too large", f"The body holds {nodes:,} lists and objects, at most {NODES:,} are taken.")
    if nodes > DEPTH:
        _require_shallow(text)
    # Numbers are looked at one by one only where one is long: half a million of short ones must not take long either.
    integer = _integer if LONG.search(text) else None
    try:
        value = json.loads(
            text, parse_int=integer, parse_float=_number, parse_constant=_constant, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        raise BodyError(400, "Wrong request", f"The body is not JSON: {error.msg} at {error.pos}.") from None
    if "\\u" in text:
        for one in _strings(value):
            require_storable(one, "the body")
    return value


def require_storable(text: str, where: str) -> None:
    """BodyError for a NUL or half a character."""
    if "\0" in text:
        raise BodyError(422, "Wrong request", f"A NUL character in {where} cannot be kept.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BodyError(
            422, "Wrong request", f"Half a character (a lone surrogate) in {where} cannot be kept."
        ) from None


def _require_shallow(text: str) -> None:
    # At the speed of C, and in time that grows with the length alone: texts away, all but brackets away, then one
    # level after the other from within.
    brackets = NO_BRACKETS.sub("", TEXTS.sub("", text))
    for _ in range(DEPTH):
        brackets = brackets.replace("[]", "").replace("{}", "")
        if not brackets:
            return
    raise BodyError(400, "Wrong request", f"The body nests deeper than {DEPTH} levels, or its brackets do not match.")


def _integer(text: str) -> int:
    if len(text) > DIGITS + 1 or not LEAST <= int(text) <= MOST:
        raise BodyError(422, "Wrong request", f"The number {text[:24]}… in the body is beyond 64 bits.")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise BodyError(422, "Wrong request", f"The number {text[:24]} in the body is too large.")
    return value


def _constant(text: str) -> float:
    raise BodyError(400, "Wrong request", f"The body is not JSON: {text} is no number of JSON.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BodyError(400, "Wrong request", f"The body gives {twice[:80]!r} twice.")
    return found


def _strings(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            waiting += one.keys()
            waiting += one.values()
