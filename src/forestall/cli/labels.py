"""Tags, groups and the list of assets on the command line, through the REST API."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import click

from forestall.cli.client import Api
from forestall.cli.desk import everything, find_device
from forestall.cli.errors import CommandError
from forestall.cli.show import as_json_option, console, print_json, print_table
from forestall.cli.transfer import find_client


@click.command()
@click.argument("devices", nargs=-1)
@click.option("--add", multiple=True, metavar="TAG", help="Put this tag on the DEVICES. Repeatable.")
@click.option("--remove", multiple=True, metavar="TAG", help="Take this tag off the DEVICES. Repeatable.")
@as_json_option
def tags(*, devices: tuple[str, ...], add: tuple[str, ...], remove: tuple[str, ...], as_json: bool) -> int:
    """List the tags in use; put tags on DEVICES (names or ids) and take others off.

    \b
    forestall tags web-01 web-02 --add vip --remove old
    """
    api = Api.connect()
    if devices:
        if not add and not remove:
            raise click.UsageError("name what to --add or --remove")
        ids = [find_device(api, name)["id"] for name in devices]
        changed = api.post("/device-tags", {"devices": ids, "add": list(add), "remove": list(remove)})["changed"]
        click.echo(f"{changed} of {len(ids)} devices changed.")
        return 0
    if add or remove:
        raise click.UsageError("name the devices")
    found = api.get("/device-tags")
    if as_json:
        print_json(found)
        return 0
    rows = [(one["name"], str(one["devices"])) for one in found]
    print_table(("Tag", "Devices"), rows, empty="No device has a tag yet: forestall tags DEVICE --add TAG")
    return 0


@click.command()
@click.argument("name", required=False)
@click.option("--create", is_flag=True, help="Make the group NAME.")
@click.option("--client", help="With --create: of this client; without: across clients.")
@click.option("--description", help="What it is for.")
@click.option("--device", "chosen", multiple=True, help="A device that belongs to it, chosen by name. Repeatable.")
@click.option(
    "--role", "roles", multiple=True, help="Rule: devices of this role belong to it. Repeatable: any of them."
)
@click.option("--tag", "with_tags", multiple=True, help="Rule: devices with this tag. Repeatable: all of them.")
@click.option("--system", help="Rule: devices whose operating system's name holds this.")
@click.option("--delete", is_flag=True, help="Delete the group NAME; its devices stay.")
@as_json_option
def groups(
    *,
    name: str | None,
    create: bool,
    client: str | None,
    description: str | None,
    chosen: tuple[str, ...],
    roles: tuple[str, ...],
    with_tags: tuple[str, ...],
    system: str | None,
    delete: bool,
    as_json: bool,
) -> int:
    """List groups of devices; show, make, change or delete the group NAME.

    \b
    forestall groups "VIP servers" --create --role server --tag vip
    """
    api = Api.connect()
    rule = {"roles": list(roles), "tags": list(with_tags), "system": system or ""}
    given: dict[str, Any] = {}
    if description is not None:
        given["description"] = description
    if chosen:
        given["devices"] = [find_device(api, one)["id"] for one in chosen]
    if roles or with_tags or system is not None:
        given["rule"] = rule
    if name is None:
        if create or delete or given:
            raise click.UsageError("name the group")
        found = everything(api, "/device-groups")
        if as_json:
            print_json(found)
            return 0
        rows = [
            (one["name"], one["client"]["name"] if one["client"] else "across clients", str(one["devices"]),
             one["rule_in_words"], one["description"])
            for one in found
        ]  # fmt: skip
        print_table(
            ("Group", "Client", "Devices", "Holds", "What for"),
            rows,
            empty="No groups yet: forestall groups NAME --create",
        )
        return 0
    if create:
        owner = find_client(api, client)["id"] if client else None
        group = api.post("/device-groups", {"name": name, "client": owner, **given})
        click.echo(f"{group['name']} holds {group['devices']} devices: {group['rule_in_words']}.")
        return 0
    group = _find(everything(api, "/device-groups"), name, "group")
    if delete:
        api.raw("DELETE", f"/device-groups/{group['id']}")
        click.echo(f"The group {group['name']} is gone; its devices stay.")
        return 0
    if given:
        group = _patch(api, f"/device-groups/{group['id']}", given)
    if as_json:
        print_json(group)
        return 0
    console().print(f"{group['name']}: {group['rule_in_words']}", markup=False)
    members = everything(api, f"/device-groups/{group['id']}/devices")
    print_table(("Device", "Id"), [(one["name"], one["id"][:8]) for one in members], empty="It holds no device.")
    return 0


@click.command()
@click.argument("name", required=False)
@click.option("--client", help="Only this client's.")
@click.option("--unwatched", is_flag=True, help="Only what no agent watches.")
@click.option("--add", "site", metavar="SITE", help="Put the asset NAME on the list, at this site.")
@click.option("--set", "values", multiple=True, metavar="FIELD=VALUE", help="A field of NAME: serial=…, role=…")
@click.option("--remove", is_flag=True, help="Take NAME off the list.")
@as_json_option
def assets(
    *,
    name: str | None,
    client: str | None,
    unwatched: bool,
    site: str | None,
    values: tuple[str, ...],
    remove: bool,
    as_json: bool,
) -> int:
    """List assets; add, change or remove the asset NAME. Many at once: forestall import assets FILE

    \b
    forestall assets till-01 --add Munich --set serial=PF3X1 --set warranty_until=2027-02-28
    """
    api = Api.connect()
    owner = find_client(api, client)["id"] if client else None
    fields = dict(_pair(one) for one in values)
    if name is None:
        if site or fields or remove:
            raise click.UsageError("name the asset")
        found = everything(api, "/assets", client=owner, watched="false" if unwatched else None)
        if as_json:
            print_json(found)
            return 0
        rows = [
            (one["name"], one["client"]["name"], one["site"]["name"],
             one["serial"], _warranty(one["warranty_until"]),
             one["device"]["name"] if one["device"] else "◌ unwatched")
            for one in found
        ]  # fmt: skip
        print_table(
            ("Asset", "Client", "Site", "Serial", "Warranty", "Device"),
            rows,
            empty="No assets yet: forestall import assets --template",
        )
        return 0
    if site:
        every = [one for one in everything(api, "/sites", client=owner) if site in {one["id"], one["name"]}]
        if len(every) != 1:
            raise CommandError(
                f"{'several sites are' if every else 'no site is'} called {site!r}: name it with --client"
            )
        asset = api.post("/assets", {"name": name, "site": every[0]["id"], **fields})
        watched = f"it is the device {asset['device']['name']}" if asset["device"] else "nobody watches it yet"
        click.echo(f"{asset['name']} is on the list; {watched}.")
        return 0
    asset = _find(everything(api, "/assets", client=owner), name, "asset")
    if remove:
        api.raw("DELETE", f"/assets/{asset['id']}")
        click.echo(f"{asset['name']} is off the list.")
        return 0
    if fields:
        asset = _patch(api, f"/assets/{asset['id']}", fields)
        click.echo(f"{asset['name']} is changed.")
        return 0
    print_json(asset)
    return 0


def _find(every: list[dict[str, Any]], name: str, what: str) -> dict[str, Any]:
    found = [one for one in every if name in {str(one["id"]), one["name"], one.get("serial") or None}]
    if len(found) == 1:
        return found[0]
    known = ", ".join(one["name"] for one in (found or every)[:10]) or "none"
    raise CommandError(f"{'several' if found else 'no'} {what}s are called {name!r}; known: {known}")


def _patch(api: Api, path: str, body: dict[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(api.raw("PATCH", path, body))
    return changed


def _pair(text: str) -> tuple[str, str | None]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise CommandError(f"--set {text!r}: expected FIELD=VALUE")
    return name, value if value or name not in {"bought_on", "warranty_until", "device"} else None


def _warranty(until: str | None) -> str:
    if not until:
        return ""
    return f"{until} ■ over" if date.fromisoformat(until) < date.today() else until  # noqa: DTZ011 - as the person sees
