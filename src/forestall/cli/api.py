"""Any route of the API from the command line: whatever has no command of its own yet."""

from __future__ import annotations

import json
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import click

from forestall.cli.client import Api
from forestall.cli.errors import CommandError
from forestall.cli.show import print_json

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@click.command()
@click.argument("method", type=click.Choice(METHODS, case_sensitive=False))
@click.argument("path")
@click.option("--field", "-f", "fields", multiple=True, metavar="NAME=VALUE", help="Of the query, or of the body.")
@click.option("--input", "-i", "source", metavar="FILE", help="The body, as JSON, from a file; `-`: standard input.")
@click.option("--all", "every", is_flag=True, help="All pages of a list, as one.")
@click.option("--key", metavar="KEY", help="Idempotency-Key: sent again with it, a POST is done once.")
@click.option("--if-match", metavar="ETAG", help="Only if it is still as you saw it.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Into a file, byte by byte.")
@click.option("--json", "as_json", is_flag=True, help="As it always is.")
def api(
    *,
    method: str,
    path: str,
    fields: tuple[str, ...],
    source: str | None,
    every: bool,
    key: str | None,
    if_match: str | None,
    output: Path | None,
    as_json: bool,
) -> int:
    """Ask the API: `forestall api GET /devices -f status=pending`. /api/v1/openapi.json lists what there is.

    A value is JSON if it can be read so (3, true, null, ["a"]), else a text.
    """
    method = method.upper()
    if not path.startswith("/"):
        raise CommandError(f"{path[:80]!r}: a path begins with /, as in /devices")
    path = path.removeprefix("/api/v1")
    server = Api.connect()
    given = dict(_pair(one) for one in fields)
    if method in ("GET", "DELETE"):
        named = {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
        if named:
            path += ("&" if "?" in path else "?") + urllib.parse.urlencode(named)
        body = None
    else:
        body = _body(source, given)
    if every:
        if method != "GET":
            raise CommandError("--all is for lists: GET")
        print_json(_all_pages(server, path))
        return 0
    headers = {"Idempotency-Key": key, "If-Match": if_match}
    content = server.raw(method, path, body, headers={name: value for name, value in headers.items() if value})
    if output is not None:
        output.write_bytes(content)
        return 0
    if not content:
        return 0
    try:
        print_json(json.loads(content))
    except ValueError:
        raise CommandError(f"{path} answers with a file: say where to put it with --output FILE") from None
    return 0


def _all_pages(server: Api, path: str) -> list[Any]:
    found: list[Any] = []
    cursor = ""
    while True:
        page = json.loads(server.raw("GET", path + (("&" if "?" in path else "?") + cursor if cursor else "")))
        if not isinstance(page, dict) or "items" not in page:
            raise CommandError(f"{path} answers with no pages: leave --all out")
        found += page["items"]
        if page.get("next_cursor") is None:
            return found
        cursor = urllib.parse.urlencode({"cursor": page["next_cursor"]})


def _body(source: str | None, given: dict[str, Any]) -> Any:
    if source is None:
        return given or None
    try:
        body = json.loads(sys.stdin.read() if source == "-" else Path(source).read_text())
    except json.JSONDecodeError as error:
        raise CommandError(f"--input {source}: not JSON: {error}") from None
    if given:
        if not isinstance(body, dict):
            raise CommandError("--field goes with a body that is an object")
        return {**body, **given}
    return body


def _pair(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise CommandError(f"--field {text[:80]!r}: expected NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
