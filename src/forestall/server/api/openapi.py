"""The API's description: what every route has in common is written here once, not in each of them."""

from __future__ import annotations

import copy
import inspect
import re
import sys
from typing import TYPE_CHECKING, Any

from ninja.openapi.schema import OpenAPISchema

from forestall.server.api.problems import PROBLEM
from forestall.server.api.routing import OpenOperation, Route, route_table
from forestall.server.api.sparse import PART
from forestall.server.people.scope import Permission

if TYPE_CHECKING:
    from ninja import NinjaAPI

Json = dict[str, Any]

REFUSALS = {
    "400": ("Refused", "It cannot be done, or not like this: `detail` names the value that is wrong."),
    "401": ("NotSignedIn", "The bearer token is missing, unknown, revoked or expired."),
    "403": ("NotAllowed", "The token's person lacks the permission, or the token was cut down."),
    "404": ("NotFound", "It is not there, or belongs to somebody else: the answer is the same."),
    "409": ("Conflict", "Not in the state it is in now, or another did the same at the same time."),
    "412": ("Changed", "`If-Match` names another state than the present one; nothing was changed."),
    "413": ("TooLarge", "The body is larger than this route takes."),
    "415": ("WrongType", "The body is not `application/json`, or is encoded."),
    "422": ("WrongRequest", "A field or parameter is unknown, missing or of the wrong kind: `errors` names each."),
    "503": ("StorageFailed", "The disk or the database took nothing; nothing was changed. Try again."),
}
PROBLEM_SCHEMA: Json = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"where": {"type": "string"}, "why": {"type": "string"}},
                "required": ["where", "why"],
            },
        },
        "etag": {"type": "string"},
    },
    "examples": [
        {"type": "about:blank", "title": "Not found", "status": 404, "detail": "There is no such thing here."}
    ],
}
PARAMETERS: Json = {
    "Fields": {
        "in": "query",
        "name": "fields",
        "required": False,
        "description": "Only these fields, by comma; of a list, of each item: `name,client.name`.",
        "schema": {"type": "string", "maxLength": 1000},
    },
    "IfNoneMatch": {
        "in": "header",
        "name": "If-None-Match",
        "required": False,
        "description": "An `ETag` from before: answers 304 when nothing changed.",
        "schema": {"type": "string"},
    },
    "IfMatch": {
        "in": "header",
        "name": "If-Match",
        "required": False,
        "description": "The `ETag` of the thing as you saw it: answers 412 when it changed since.",
        "schema": {"type": "string"},
    },
    "IdempotencyKey": {
        "in": "header",
        "name": "Idempotency-Key",
        "required": False,
        "description": "1 to 255 visible characters of your choice. Sent again within 24 hours with the same body, the "
        "request is answered as the first time and not done again.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    },
}
ETAG: Json = {"description": "State of the answer, for `If-None-Match` and `If-Match`.", "schema": {"type": "string"}}
EXAMPLES = {
    "uuid": "7b0c9f3e-5a44-4a53-9d8e-0d6a3c1f2b11",
    "date-time": "2026-03-02T08:15:00Z",
    "date": "2026-03-02",
    "time": "08:15:00",
    "email": "ada@example.org",
    "uri": "https://example.org/hook",
}


class SchemaNameError(TypeError):
    """Two shapes of one name: the description could show only one of them."""


class Description(OpenAPISchema):
    """ninja's description, which notices when two shapes have one name."""

    def add_schema_definitions(self, definitions: Json) -> None:
        for name, found in definitions.items():
            known = self.schemas.get(name)
            if known is not None and set(known.get("properties", ())) != set(found.get("properties", ())):
                raise SchemaNameError(f"two schemas are called {name!r}: rename one")
        super().add_schema_definitions(definitions)


def describe(api: NinjaAPI, prefix: str) -> Json:
    """The whole description, OpenAPI 3.1."""
    found: Json = Description(api, prefix)
    components = found["components"]
    components["schemas"]["Problem"] = PROBLEM_SCHEMA
    components["parameters"] = copy.deepcopy(PARAMETERS)
    components["responses"] = {
        name: {
            "description": words,
            "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for name, words in REFUSALS.values()
    }
    for name, scheme in components.get("securitySchemes", {}).items():
        scheme["description"] = f"{name}: a token of yours, made at /account/tokens/ or by POST /tokens."
    tags: dict[str, str] = {}
    for route in route_table(api):
        path = re.sub(r"{\w+:", "{", route.path)
        operation = found["paths"]["/" + prefix.strip("/") + path][route.method.lower()]
        _complete(operation, route, components["schemas"])
        words = inspect.getdoc(sys.modules[route.operation.view_func.__module__]) or ""
        for tag in operation.get("tags", ()):
            tags.setdefault(tag, words.partition("\n\n")[0])
    found["tags"] = [{"name": name, "description": words} for name, words in sorted(tags.items())]
    return found


def _complete(operation: Json, route: Route, schemas: Json) -> None:
    declared = route.operation
    if not isinstance(declared, OpenOperation):
        return
    operation["x-forestall-allow"] = declared.allow.value if isinstance(declared.allow, Permission) else "signed_in"
    operation["responses"] = {str(status): answer for status, answer in operation["responses"].items()}
    refusals = ["400", "401", "403", "404", "422", "503"]
    parameters = operation["parameters"]
    has_json = any("application/json" in one.get("content", {}) for one in operation["responses"].values())
    if declared.manner.files:
        shape = {"type": "string", "contentMediaType": declared.manner.files}
        operation["responses"]["200"]["content"] = {declared.manner.files: {"schema": shape}}
    elif route.is_read and has_json:
        parameters += [_parameter("Fields"), _parameter("IfNoneMatch")]
        operation["responses"]["200"]["content"][PART] = {"schema": {"type": ["object", "array"]}}
        operation["responses"]["200"]["headers"] = {"ETag": ETAG}
        operation["responses"]["304"] = {"description": "Unchanged."}
    if not route.is_read:
        refusals += ["409", "412", "413", "415"]
        parameters.append(_parameter("IfMatch"))
    if route.method == "POST" and not declared.manner.repeatable:
        parameters.append(_parameter("IdempotencyKey"))
    for status in refusals:
        operation["responses"].setdefault(status, {"$ref": f"#/components/responses/{REFUSALS[status][0]}"})
    for parameter in parameters:
        if parameter.get("in") == "path":
            parameter.setdefault("example", example_of(parameter["schema"], schemas))
    for content in operation.get("requestBody", {}).get("content", {}).values():
        content.setdefault("example", example_of(content["schema"], schemas))
    for answer in operation["responses"].values():
        for kind, content in answer.get("content", {}).items():
            if kind == "application/json":
                content.setdefault("example", example_of(content["schema"], schemas))


def _parameter(name: str) -> Json:
    return {"$ref": f"#/components/parameters/{name}"}


def example_of(schema: Json, schemas: Json, depth: int = 0) -> Any:
    """Something that fits a schema: its own example or default, else the plainest value."""
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].rpartition("/")[2]], schemas, depth + 1)
    for key in ("example", "default", "const"):
        if key in schema:
            return schema[key]
    if schema.get("examples"):
        return schema["examples"][0]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("allOf", "anyOf", "oneOf"):
        if key in schema:
            kinds = [one for one in schema[key] if one.get("type") != "null"] or schema[key]
            return example_of(kinds[0], schemas, depth)
    kind = schema.get("type")
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: example_of(one, schemas, depth + 1) for name, one in properties.items()} if depth < 8 else {}
    if kind == "array":
        return [example_of(schema["items"], schemas, depth + 1)] if schema.get("items") and depth < 8 else []
    if kind == "string":
        plain = EXAMPLES.get(schema.get("format", ""), "/" if schema.get("pattern") == "^/" else "text")
        return plain.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength", 200)]
    return {
        "integer": schema.get("minimum", 1),
        "number": schema.get("minimum", 1.5),
        "boolean": True,
        "null": None,
    }.get(str(kind), "text")
