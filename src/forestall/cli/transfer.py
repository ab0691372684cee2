"""Lists into Forestall, a client's data out of it, a client's removal; through the REST API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.text import Text

from forestall.cli.client import Api
from forestall.cli.desk import everything
from forestall.cli.errors import CommandError
from forestall.cli.show import ago, as_json_option, console, print_json, print_table

KINDS = ("clients", "sites", "contacts", "people", "assets")
SHOWN = 40
"""Lines of a preview that are shown; the wrong ones always are."""


@click.command("import")
@click.argument("kind", type=click.Choice(KINDS), required=False)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.option("--apply", "apply_it", is_flag=True, help="Do it. Without, it is only shown what would happen.")
@click.option("--template", is_flag=True, help="Print an example of a list of KIND, and what its columns mean.")
@click.option("--undo", type=int, metavar="IMPORT", help="Take the import of this number back.")
@as_json_option
def import_list(
    *, kind: str | None, file: Path | None, apply_it: bool, template: bool, undo: int | None, as_json: bool
) -> int:
    """Import a CSV list: see what it would do, do it, take it back. Without FILE: the imports so far.

    \b
    forestall import clients --template > clients.csv
    forestall import clients clients.csv            # only shows
    forestall import clients clients.csv --apply
    forestall import --undo 3
    """
    api = Api.connect()
    if undo is not None:
        run = api.post(f"/imports/{undo}/undo")
        click.echo(f"Import {run['id']} is undone: {run['created']} taken away, {run['changed']} as they were.")
        return 0
    if template:
        if kind is None:
            raise click.UsageError("--template needs a KIND")
        _print_template(next(one for one in api.get("/imports/kinds") if one["slug"] == kind))
        return 0
    if kind is None or file is None:
        if kind is not None:
            raise click.UsageError(f"which file? An example: forestall import {kind} --template")
        _print_imports(everything(api, "/imports"), as_json=as_json)
        return 0
    body = {"kind": kind, "content": _read(file), "filename": file.name}
    with console().status("Trying every line…"):
        found = api.post("/imports/preview", body)
    if as_json and not apply_it:
        print_json(found)
        return 1 if found["errors"] else 0
    if not as_json:
        _print_preview(found)
    if found["errors"]:
        raise CommandError(f"{found['errors']} of {len(found['lines'])} lines cannot be taken: nothing was imported")
    if not apply_it:
        click.echo("Nothing was changed. To do it, add --apply.")
        return 0
    with console().status("Importing…"):
        run = api.post("/imports", body)
    if as_json:
        print_json(run)
        return 0
    click.echo(f"Imported. To take it back: forestall import --undo {run['id']}")
    return 0


@click.command("export")
@click.argument("client")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Where to (default: CLIENT.zip).")
def export_client(*, client: str, out: Path | None) -> int:
    """Everything kept of CLIENT as a ZIP: data, samples, reports, and the evidence with its proofs."""
    api = Api.connect()
    found = find_client(api, client)
    path = out or Path(f"{found['name'].replace('/', '-')}.zip")
    if path.exists():
        raise CommandError(f"{path} is there already: name another file with --out")
    with console().status(f"Gathering everything of {found['name']}…"):
        content = api.raw("POST", f"/clients/{found['id']}/export", {})
    path.touch(mode=0o600)
    path.write_bytes(content)
    click.echo(f"Saved {path} ({len(content):,} bytes). It holds personal data: only you can read it.")
    return 0


@click.command("remove-client")
@click.argument("client")
@click.option("--reason", required=True, help="Why; goes on record.")
@click.option("--confirm", metavar="NAME", help="The client's name, letter by letter; asked for when it is missing.")
def remove_client(*, client: str, reason: str, confirm: str | None) -> int:
    """Remove CLIENT for good: its devices, tickets and people. Evidence and service reports stay.

    Take its data along before: forestall export CLIENT
    """
    api = Api.connect()
    found = find_client(api, client)
    deleted = api.get(f"/clients/{found['id']}/removal")["deleted"]
    if confirm is None:
        console().print(Text(f"This deletes, for good, of {found['name']}:", style="bold"))
        _print_counts(deleted)
        console().print("Its evidence, with every proof, and its service reports stay. There is no way back.")
        confirm = click.prompt("The client's name, letter by letter")
    removed = api.post(f"/clients/{found['id']}/remove", {"confirm": confirm, "reason": reason})
    click.echo(f"{found['name']} is removed. Evidence: {removed['reference']}")
    return 0


def find_client(api: Api, name: str) -> dict[str, Any]:
    """The client of that name, number or id; CommandError when there is none, or more than one."""
    every = everything(api, "/clients")
    found = [one for one in every if name in {one["id"], one["name"], one.get("reference") or None}]
    if len(found) == 1:
        return found[0]
    known = ", ".join(one["name"] for one in every[:20]) or "none"
    raise CommandError(f"{'several clients are' if found else 'no client is'} called {name!r}; known: {known}")


def _read(file: Path) -> str:
    content = file.read_bytes()
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise CommandError(f"{file}: neither UTF-8 nor Windows-1252")


def _print_template(kind: dict[str, Any]) -> None:
    # Control characters of what the server sends arrive as pictures of themselves; a line end of CSV is no word.
    click.echo(kind["template"].replace("\u240d\n", "\n").replace("\r\n", "\n"), nl=False)
    for column in kind["columns"]:
        needed = ", needed" if column["required"] else ""
        also = f" (also: {', '.join(column['also'])})" if column["also"] else ""
        # Beside the list, so that the list itself can be sent into a file.
        click.echo(f"  {column['name']}: {column['words']}{needed}{also}", err=True)


def _print_preview(found: dict[str, Any]) -> None:
    words = {"create": "● new", "change": "▲ changed", "same": "○ as it is", "error": "■ cannot be taken"}
    notable = [one for one in found["lines"] if one["act"] != "same"]
    shown = [one for one in notable if one["act"] == "error"] + [one for one in notable if one["act"] != "error"]
    rows = [(str(one["line"]), words[one["act"]], one["name"], _why(one)) for one in shown[:SHOWN]]
    print_table(("Line", "What", "Which", "Why"), rows, empty="Every line is as it is already.")
    if len(shown) > SHOWN:
        console().print(f"[dim]… and {len(shown) - SHOWN} more[/dim]")
    console().print(Text(found["sentence"], style="bold"))


def _why(line: dict[str, Any]) -> str:
    if line["error"]:
        return str(line["error"])
    if line["act"] == "create":
        return ""
    return "; ".join(
        f"{field}: {old or 'nothing'} → {new or 'nothing'}" for field, (old, new) in line["changes"].items()
    )


def _print_imports(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    rows = [
        (
            str(one["id"]), one["kind"], one["filename"], one["by"], ago(one["at"]),
            f"{one['created']} new, {one['changed']} changed",
            f"undone by {one['undone_by']}" if one["undone_at"] else "",
        )
        for one in found
    ]  # fmt: skip
    print_table(
        ("#", "List", "File", "By", "Made", "What", ""),
        rows,
        empty="Nothing was imported yet. Begin with an example: forestall import clients --template",
    )


def _print_counts(counts: dict[str, int]) -> None:
    rows = [(words, f"{number:,}") for words, number in sorted(counts.items(), key=lambda one: -one[1])]
    print_table(("What", "How many"), rows, empty="Nothing: it has no data.")
