"""Roles on the command line, through the REST API: what each may do, roles of one's own, second factors asked."""

from __future__ import annotations

import urllib.parse
from typing import Any

import click
from rich.text import Text

from forestall.cli.client import Api
from forestall.cli.errors import CommandError
from forestall.cli.show import as_json_option, console, print_json, print_table


def find_role(api: Api, name: str) -> dict[str, Any]:
    """The role of that slug, number or name; CommandError lists what there is."""
    every = api.get("/roles")
    slug = name.lower().replace("-", "_").replace(" ", "_")
    found = [one for one in every if slug == one["id"] or name.lower() == one["name"].lower()]
    if not found:
        raise CommandError(f"no role is called {name!r}; known: {', '.join(one['name'] for one in every)}")
    role: dict[str, Any] = found[0]
    return role


@click.group(invoke_without_command=True)
@click.pass_context
def roles(context: click.Context) -> None:
    """See what roles may do; make roles of your own."""
    if context.invoked_subcommand is None:
        context.invoke(list_roles)


@roles.command("list")
@as_json_option
def list_roles(*, as_json: bool = False) -> int:
    """List roles, built-in ones first."""
    found = Api.connect().get("/roles")
    if as_json:
        print_json(found)
        return 0
    rows = [
        (
            one["name"],
            "built in" if one["is_built_in"] else "your own",
            str(one["people"]),
            "asked" if one["mfa_required"] else "",
            one["description"],
        )
        for one in found
    ]
    print_table(("Role", "Kind", "People", "Factor", "What for"), rows, empty="")
    return 0


@roles.command()
@as_json_option
def permissions(*, as_json: bool) -> int:
    """List everything a role can be allowed to do."""
    found = Api.connect().get("/permissions")
    if as_json:
        print_json(found)
        return 0
    print_table(("Permission", "What it lets one do"), [(one["permission"], one["words"]) for one in found], empty="")
    return 0


@roles.command()
@click.argument("name")
@click.option("--compare", metavar="OTHER", help="Beside this role.")
@as_json_option
def show(*, name: str, compare: str | None, as_json: bool) -> int:
    """Show what the role NAME may do."""
    api = Api.connect()
    role = find_role(api, name)
    if as_json:
        print_json(role)
        return 0
    other = find_role(api, compare) if compare else None
    console().print(Text(f"{role['name']}: {role['description']}", style="bold"))
    rows = []
    for one in api.get("/permissions"):
        here = one["permission"] in role["permissions"]
        there = other is not None and one["permission"] in other["permissions"]
        if here or there:
            marks = [_mark(here), *([_mark(there)] if other else [])]
            rows.append((one["permission"], *marks, one["words"]))
    columns = ("Permission", role["name"], *((other["name"],) if other else ()), "What it lets one do")
    print_table(columns, rows, empty="It may do nothing.")
    return 0


@roles.command()
@click.argument("name")
@click.option("--may", "allowed", multiple=True, required=True, metavar="PERMISSION", help="Once for each.")
@click.option("--describe", default="", help="What it is for.")
def create(*, name: str, allowed: tuple[str, ...], describe: str) -> int:
    """Make a role NAME of your own.

    \b
    forestall roles create "Night watch" --may ticket.view --may ticket.work --may device.view
    """
    made = Api.connect().post("/roles", {"name": name, "description": describe, "permissions": list(allowed)})
    click.echo(f"{made['name']} is made; nobody holds it yet.")
    return 0


@roles.command()
@click.argument("name")
@click.option("--add", multiple=True, metavar="PERMISSION", help="Once for each.")
@click.option("--remove", multiple=True, metavar="PERMISSION", help="Once for each.")
@click.option("--rename", help="Its new name.")
@click.option("--describe", help="What it is for.")
def change(
    *, name: str, add: tuple[str, ...], remove: tuple[str, ...], rename: str | None, describe: str | None
) -> int:
    """Change your role NAME; it binds the next request of whoever holds it."""
    api = Api.connect()
    role = find_role(api, name)
    absent = sorted(set(remove) - set(role["permissions"]))
    if absent:
        raise CommandError(f"--remove: {', '.join(absent)} is not in {role['name']}")
    body = {"name": rename, "description": describe}
    if add or remove:
        body["permissions"] = sorted({*role["permissions"], *add} - set(remove))  # type: ignore[assignment]
    changed = {key: value for key, value in body.items() if value is not None}
    if not changed:
        raise click.UsageError("say what changes: --add, --remove, --rename or --describe")
    api.raw("PATCH", f"/roles/{_id(role)}", changed)
    click.echo(f"{rename or role['name']} is changed for {role['people']} people, from their next request on.")
    return 0


@roles.command()
@click.argument("name")
def delete(*, name: str) -> int:
    """Delete your role NAME, when nobody holds it."""
    api = Api.connect()
    api.raw("DELETE", f"/roles/{_id(find_role(api, name))}")
    click.echo(f"{name} is deleted.")
    return 0


@roles.command()
@click.argument("name")
@click.argument("asked", type=click.Choice(["on", "off"]))
def factor(*, name: str, asked: str) -> int:
    """Ask a second factor of everybody who holds the role NAME (on), or no longer (off)."""
    api = Api.connect()
    role = find_role(api, name)
    api.raw("PUT", f"/role-policies/{_id(role)}", {"mfa_required": asked == "on"})
    words = "asked of" if asked == "on" else "no longer asked of"
    click.echo(f"A second factor is {words} everybody who is {role['name']}.")
    return 0


def _id(role: dict[str, Any]) -> str:
    return urllib.parse.quote(str(role["id"]), safe="")


def _mark(here: bool) -> str:  # noqa: FBT001 - a cell
    return "●" if here else ""
