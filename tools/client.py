"""Make ``forestall.client`` from the API's description: ``python tools/client.py``; ``--check`` only says whether it is
out of date."""

from __future__ import annotations

import json
import keyword
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "src" / "forestall" / "client" / "operations.py"
HEAD = '''# ruff: noqa - made by tools/client.py from the API's description; do not edit
"""Every shape and operation of the API. Made by ``tools/client.py`` from the API's own description: do not edit."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any, Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType, field
from msgspec.json import decode

from forestall.client.core import Pages, Transport, segment

__all__ = ["Client"]
'''
FORMATS = {"uuid": "UUID", "date-time": "datetime", "date": "date", "time": "time"}
PLAIN = {"integer": "int", "number": "float", "boolean": "bool", "null": "None"}
CENTRAL = {"fields", "cursor", "limit"}
UNPROMISED = {"Problem"}


def description() -> dict[str, Any]:
    """What the server of this checkout says of itself."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "forestall.server.settings")
    if "FORESTALL_HOME" not in os.environ:
        os.environ["FORESTALL_HOME"] = tempfile.mkdtemp(prefix="forestall-client-")
    import django

    django.setup()
    from forestall.server.api.urls import api

    found: dict[str, Any] = json.loads(json.dumps(api.get_openapi_schema(path_prefix="/api/v1/")))
    return found


class Writer:
    """Turns a description into a module."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found
        self.schemas: dict[str, Any] = found["components"]["schemas"]

    def module(self) -> str:
        used = self._reachable()
        shapes = [self._shape(name) for name in sorted(used) if name not in UNPROMISED]
        methods = [
            self._method(path, verb, operation)
            for path, verbs in self.found["paths"].items()
            for verb, operation in verbs.items()
        ]
        # By name, not by path: a new route moves none of the others.
        methods.sort(key=lambda one: re.findall(r"def (\w+)", one)[0])
        body = "\n\n".join(shapes)
        client = 'class Client(Transport):\n    """Forestall, as one token sees it."""\n\n' + "\n".join(methods)
        return f"{HEAD}\n\n{body}\n\n\n{client}"

    def _reachable(self) -> set[str]:
        waiting = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(self.found["paths"])))
        reached: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting |= set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(self.schemas[name])))
        return reached

    def type_of(self, schema: dict[str, Any]) -> str:
        """The Python type of a schema."""
        if "$ref" in schema:
            return self._name(schema["$ref"].rpartition("/")[2])
        if "const" in schema:
            return f"Literal[{schema['const']!r}]"
        if "enum" in schema:
            return f"Literal[{', '.join(repr(one) for one in schema['enum'])}]"
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                return self._union([self.type_of(one) for one in schema[key]])
        kind = schema.get("type")
        if isinstance(kind, list):
            return self._union([self.type_of({**schema, "type": one}) for one in kind])
        if kind == "string":
            return FORMATS.get(schema.get("format", ""), "str")
        if kind == "array":
            return f"list[{self.type_of(schema.get('items', {}))}]"
        if kind == "object":
            more = schema.get("additionalProperties")
            return f"dict[str, {self.type_of(more)}]" if isinstance(more, dict) and more else "dict[str, Any]"
        return PLAIN.get(str(kind), "Any")

    def _union(self, kinds: list[str]) -> str:
        kinds = list(dict.fromkeys(kinds))
        texts = [one for one in kinds if one in {"str", *FORMATS.values()} or one.startswith("Literal[")]
        objects = [one for one in kinds if one.startswith("dict[") or one in map(self._name, self.schemas)]
        # Two kinds of text, or of objects, look the same in JSON: what came is passed on as it is.
        if "Any" in kinds or len(texts) > 1 or len(objects) > 1:
            return "Any"
        return " | ".join(sorted(kinds, key=lambda one: one == "None"))

    def _name(self, name: str) -> str:
        if self.schemas.get(name, {}).get("type") != "object" and "properties" not in self.schemas.get(name, {}):
            return self.type_of(self.schemas[name])
        return re.sub(r"\W+", "_", name).strip("_")

    def _shape(self, name: str) -> str:
        schema = self.schemas[name]
        if "properties" not in schema:
            return ""
        required = set(schema.get("required", ()))
        lines = []
        for field_name, one in sorted(schema["properties"].items(), key=lambda item: item[0] not in required):
            python = safe(field_name)
            kind = self.type_of(one)
            renamed = f"field(name={field_name!r})" if python != field_name else ""
            if field_name not in required:
                kind += " | UnsetType" if kind != "Any" else ""
                renamed = f"field(default=UNSET, name={field_name!r})" if renamed else "UNSET"
            lines.append(f"    {python}: {kind}{f' = {renamed}' if renamed else ''}")
            if one.get("description"):
                lines.append(indented(one["description"], 4))
        words = (schema.get("description") or "See the operations that use it.").strip()
        return f"class {self._name(name)}(Struct, kw_only=True):\n{indented(words, 4)}\n\n" + "\n".join(lines)

    def _method(self, path: str, verb: str, operation: dict[str, Any]) -> str:
        name = operation["operationId"]
        parameters = [self._resolved(one) for one in operation["parameters"]]
        placed = [one for one in parameters if one["in"] == "path"]
        asked = [one for one in parameters if one["in"] == "query" and one["name"] not in CENTRAL]
        signature = [f"{one['name']}: {self.type_of(one['schema'])}" for one in placed]
        keywords: list[str] = []
        fields = self._body(operation)
        for field_name, one, is_required in fields:
            kind = self.type_of(one)
            more = "" if is_required else " = UNSET"
            kind += "" if is_required or kind == "Any" else " | UnsetType"
            keywords.append(f"{safe(field_name)}: {kind}{more}")
        for one in asked:
            kind = self.type_of(one["schema"])
            nullable = kind if kind == "Any" or kind.endswith("| None") else f"{kind} | None"
            keywords.append(f"{safe(one['name'])}: {kind if one['required'] else f'{nullable} = None'}")
        paged, kind, page = self._answer(operation)
        if paged:
            keywords.append("limit: int = 100")
        more = []
        if verb != "get":
            keywords.append("if_match: str | None = None")
            more.append("if_match=if_match")
        if verb == "post":
            keywords.append("idempotency_key: str | None = None")
            more.append("idempotency_key=idempotency_key")
        where = re.sub(r"{(\w+)}", r"{segment(\1)}", path.removeprefix("/api/v1"))
        where = f'f"{where}"' if placed else f'"{where}"'
        named = {one["name"]: safe(one["name"]) for one in asked}
        if fields or (operation.get("requestBody")):
            more.insert(0, "body={" + ", ".join(f"{one!r}: {safe(one)}" for one, _, _ in fields) + "}")
        words = operation["summary"] + "."
        if operation.get("description"):
            words += "\n\n" + operation["description"]
        arguments = ", ".join(["self", *signature, *(["*", *keywords] if keywords else [])])
        lines = [f"    def {name}({arguments}) -> {kind}:", indented(words, 8)]
        if paged:
            query = ", ".join([*(f"{one!r}: {python}" for one, python in named.items()), "'limit': limit"])
            lines += [
                "        def ask(cursor: str | None) -> bytes:",
                f"            return self.request('GET', {where}, query={{{query}, 'cursor': cursor}})",
                "",
                f"        return Pages(ask, {page})",
            ]
        else:
            if named:
                query = ", ".join(f"{one!r}: {python}" for one, python in named.items())
                more.insert(0, f"query={{{query}}}")
            call = f"self.request({verb.upper()!r}, {where}{''.join(f', {one}' for one in more)})"
            if kind == "None":
                lines.append(f"        {call}")
            elif kind == "bytes":
                lines.append(f"        return {call}")
            else:
                lines.append(f"        return decode({call}, type={kind})")
        return "\n".join(lines) + "\n"

    def _resolved(self, parameter: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in parameter:
            found: dict[str, Any] = self.found["components"]["parameters"][parameter["$ref"].rpartition("/")[2]]
            return found
        return parameter

    def _body(self, operation: dict[str, Any]) -> list[tuple[str, dict[str, Any], bool]]:
        content = operation.get("requestBody", {}).get("content", {})
        if not content:
            return []
        schema = content["application/json"]["schema"]
        for key in ("allOf", "anyOf"):
            if key in schema:
                schema = next(one for one in schema[key] if one.get("type") != "null")
        shape = self.schemas[schema["$ref"].rpartition("/")[2]]
        required = set(shape.get("required", ()))
        found = [(name, one, name in required) for name, one in shape["properties"].items()]
        return sorted(found, key=lambda one: not one[2])

    def _answer(self, operation: dict[str, Any]) -> tuple[bool, str, str]:
        """Whether it is paged, the type, and of a page the page's own."""
        for status, answer in sorted(operation["responses"].items()):
            if not status.startswith("2"):
                continue
            content = answer.get("content", {})
            if not content:
                return False, "None", ""
            if "application/json" not in content:
                return False, "bytes", ""
            schema = content["application/json"]["schema"]
            if schema.get("$ref", "").rpartition("/")[2].startswith("Page_"):
                shape = self.schemas[schema["$ref"].rpartition("/")[2]]
                return True, f"Pages[{self.type_of(shape['properties']['items']['items'])}]", self.type_of(schema)
            return False, self.type_of(schema), ""
        return False, "None", ""


def safe(name: str) -> str:
    """A name that Python takes, and that shadows nothing a method needs."""
    return f"{name}_" if keyword.iskeyword(name) or name in {"self", "if_match", "idempotency_key"} else name


def indented(words: str, spaces: int) -> str:
    """A docstring."""
    clean = words.replace("\\", "\\\\").replace('"""', "'''").strip()
    paragraphs = [textwrap.fill(part, 116 - spaces) for part in clean.split("\n\n")]
    text = "\n\n".join(paragraphs)
    quotes = f'"""{text}"""' if "\n" not in text and not text.endswith('"') else f'"""{text}\n"""'
    return textwrap.indent(quotes, " " * spaces, lambda line: bool(line.strip()))


def generated() -> str:
    """The module as it should be."""
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(TARGET), "-"],
        input=Writer(description()).module(),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if done.returncode:
        raise SystemExit(f"what was made is not Python: {done.stderr}")
    return done.stdout


def main() -> None:
    fresh = generated()
    if "--check" in sys.argv:
        if TARGET.read_text() != fresh:
            raise SystemExit(f"{TARGET.relative_to(ROOT)} is out of date: python tools/client.py")
        return
    TARGET.write_text(fresh)
    print(f"{TARGET.relative_to(ROOT)}: {fresh.count('    def ')} operations")


if __name__ == "__main__":
    main()
