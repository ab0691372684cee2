"""``forestall checks policy``: by what checks are judged and how often, where that differs from the defaults."""

from __future__ import annotations

import json
from typing import Any

import click

from forestall.cli.client import Api
from forestall.cli.errors import CommandError
from forestall.cli.show import as_json_option, console, print_json, print_table


@click.group(invoke_without_command=True)
@click.pass_context
def policy(context: click.Context) -> int:
    """By what checks are judged and how often: for a client, a site or a device. Without a command: list."""
    return list_() if context.invoked_subcommand is None else 0


def list_(*, client: str | None = None, kind: str | None = None, as_json: bool = False) -> int:
    from forestall.cli.desk import everything
    from forestall.cli.transfer import find_client

    api = Api.connect()
    client_id = find_client(api, client)["id"] if client else None
    found = everything(api, "/check-policies", client=client_id, kind=kind)
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Check", "Where", "Settings", "Why", "Set by"),
        [(one["kind"], _where(one), _settings(one["values"]), one["reason"], one["set_by"]) for one in found],
        empty="Every check is judged by its defaults. Set one: forestall checks policy set KIND --client NAME …",
    )
    return 0


@policy.command("list")
@click.option("--client", help="Of this client.")
@click.option("--kind", help="Of this kind, such as disk_space.")
@as_json_option
def list_command(*, client: str | None, kind: str | None, as_json: bool) -> int:
    """List what differs from the defaults, and where."""
    return list_(client=client, kind=kind, as_json=as_json)


@policy.command("set")
@click.argument("kind")
@click.argument("settings", nargs=-1, metavar="NAME=VALUE…")
@click.option("--client", help="For this client.")
@click.option("--site", metavar="CLIENT/SITE", help="For this site.")
@click.option("--device", help="For this device.")
@click.option("--every", type=click.IntRange(1, 44640), metavar="MINUTES", help="Judged at least this often.")
@click.option("--reason", required=True, help="Why; goes on record.")
@as_json_option
def set_command(
    *,
    kind: str,
    settings: tuple[str, ...],
    client: str | None,
    site: str | None,
    device: str | None,
    every: int | None,
    reason: str,
    as_json: bool,
) -> int:
    """Set the policy of KIND in one place, in place of what was set there. VALUE is JSON, or else text."""
    values = dict(map(_setting, settings))
    if every is not None:
        values["every_minutes"] = every
    if not values:
        raise CommandError("name a setting, or --every MINUTES; `forestall checks policy remove` takes all back")
    return _send(kind, values, client, site, device, reason, as_json=as_json)


@policy.command()
@click.argument("kind")
@click.option("--client", help="For this client.")
@click.option("--site", metavar="CLIENT/SITE", help="For this site.")
@click.option("--device", help="For this device.")
@click.option("--reason", required=True, help="Why; goes on record.")
@as_json_option
def remove(*, kind: str, client: str | None, site: str | None, device: str | None, reason: str, as_json: bool) -> int:
    """Take back what is set for KIND in one place: what the wider scope says holds again."""
    return _send(kind, {}, client, site, device, reason, as_json=as_json)


@policy.command()
@click.option("--client", help="Of this client.")
@click.option("--kind", help="Of this kind.")
@as_json_option
def history(*, client: str | None, kind: str | None, as_json: bool) -> int:
    """List who changed what and why, newest first."""
    from forestall.cli.desk import everything
    from forestall.cli.transfer import find_client

    api = Api.connect()
    client_id = find_client(api, client)["id"] if client else None
    found = everything(api, "/check-policy-changes", client=client_id, kind=kind)
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("#", "When (UTC)", "Check", "Where", "Before", "After", "Why", "By"),
        [
            (
                str(one["id"]),
                one["at"][:16].replace("T", " "),
                one["kind"],
                _where(one),
                _settings(one["old"]),
                _settings(one["new"]),
                one["reason"],
                one["by"],
            )
            for one in found
        ],
        empty="No policy was changed yet.",
    )
    return 0


@policy.command()
@click.argument("number", type=int)
@as_json_option
def undo(*, number: int, as_json: bool) -> int:
    """Set a policy back to what it was before change NUMBER, which must be the newest of its place and kind."""
    answer = Api.connect().post(f"/check-policy-changes/{number}/undo")
    return _told(answer, as_json=as_json)


def _send(
    kind: str,
    values: dict[str, Any],
    client: str | None,
    site: str | None,
    device: str | None,
    reason: str,
    *,
    as_json: bool,
) -> int:
    from forestall.cli.clients import find_site
    from forestall.cli.desk import find_device
    from forestall.cli.transfer import find_client

    if [client, site, device].count(None) != 2:
        raise CommandError("name exactly one of --client, --site and --device")
    api = Api.connect()
    body: dict[str, Any] = {"kind": kind, "values": values, "reason": reason}
    if client is not None:
        body["client"] = find_client(api, client)["id"]
    elif site is not None:
        owner, slash, name = site.partition("/")
        if not slash:
            raise CommandError(f"--site: {site!r}: write it as CLIENT/SITE")
        body["site"] = find_site(api, owner, name)["id"]
    else:
        body["device"] = find_device(api, str(device))["id"]
    return _told(api.post("/check-policies", body), as_json=as_json)


def _told(answer: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        print_json(answer)
        return 0
    made = answer["policy"]
    if made is None:
        console().print("Nothing is set there any more; devices there are judged anew at once.")
    else:
        console().print(
            f"{made['kind']}, {_where(made)}: {_settings(made['values'])}. Devices are judged anew at once."
        )
    return 0


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise CommandError(f"{text!r}: write a setting as NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _where(one: dict[str, Any]) -> str:
    if one["device"]:
        return f"device {one['device']['name']}"
    return f"site {one['client']['name']}/{one['site']['name']}" if one["site"] else f"client {one['client']['name']}"


def _settings(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in values.items()) or "defaults"
