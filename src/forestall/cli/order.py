"""``forestall order``: sign, list and revoke standing orders."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from rich.panel import Panel
from rich.text import Text

from forestall.cli.client import Api
from forestall.cli.desk import everything, find_device
from forestall.cli.errors import CommandError
from forestall.cli.operator import ask_passphrase, folder_option, open_folder
from forestall.cli.show import as_json_option, console, print_json, print_table
from forestall.cli.transfer import find_client
from forestall.server.home import write_private
from forestall.server.runbooks.operator import OperatorError
from forestall.server.runbooks.rules import FEW
from forestall.trust.authorise import ANY, MAX_ORDER_LIFE, Refused, operators_needed, require_value, takes_any
from forestall.trust.dsse import decode, merge, signers
from forestall.trust.keys import private_key
from forestall.trust.sign import new_order, sign_revocation, sign_statement
from forestall.trust.statements import Parameter, ParameterValue, Root, Runbook, StandingOrder, read_statement
from forestall.trust.succession import named
from forestall.trust.words import PATCHING, describe, harmless

SYSTEM_MANAGERS = ("apt", "dnf", "zypper", "pacman", "apk", "flatpak", "snap", "fwupd", "windows-update", "winget")
"""Package managers that a standing order for patching may name."""


@click.group()
def order() -> None:
    """Sign, list and revoke standing orders: what may run unattended."""


@order.command("sign")
@click.argument("runbook")
@click.option("--device", "devices", multiple=True, required=True, help="Name or id of a device. May be repeated.")
@click.option("--trigger", required=True, help="Check kind whose failure runs it, such as service_down.")
@click.option("--allow", multiple=True, metavar="PARAM=VALUE", help="A value a parameter may take. May be repeated.")
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, MAX_ORDER_LIFE.days), help="How long.")
@click.option("--runs-per-day", default=3, show_default=True, type=click.IntRange(1, 1000), help="Most runs a device.")
@click.option("--devices-per-hour", type=click.IntRange(1, 100_000), help="Most devices it reaches in any hour.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it to a file, for a second operator."
)
@click.option("--yes", is_flag=True, help="Sign without asking. What is signed is still shown.")
@folder_option
def sign_command(
    *,
    runbook: str,
    devices: tuple[str, ...],
    trigger: str,
    allow: tuple[str, ...],
    days: int,
    runs_per_day: int,
    devices_per_hour: int | None,
    out: Path | None,
    yes: bool,
    folder: Path,
) -> int:
    """Let RUNBOOK run unattended on devices whenever a check fails.

    A parameter without --allow keeps the runbook's default; one without default needs at least one value.
    """
    operator = open_folder(folder)
    try:
        content, keys = operator.runbook_called(runbook), operator.operator_keys(ask_passphrase)
    except OperatorError as error:
        raise CommandError(str(error)) from None
    allowed = allowed_values(content, allow)
    api = Api.connect()
    chosen = [find_device(api, named) for named in devices]
    clients = {device["client"]["id"] for device in chosen}
    if len(clients) != 1:
        raise CommandError("the devices belong to several clients: sign one order for each client")
    statement = new_order(
        runbook=content,
        trigger=trigger,
        client_id=clients.pop(),
        devices=[device["id"] for device in chosen],
        allowed=allowed,
        runs_per_day=runs_per_day,
        devices_per_hour=devices_per_hour,
        life=timedelta(days=days),
        now=datetime.now(UTC),
    )
    names = {device["id"]: device["name"] for device in chosen}
    return _sign(api, operator.root, statement, content, names, keys, out=out, yes=yes)


def _sign(
    api: Api,
    root: Root,
    statement: StandingOrder,
    content: Runbook,
    names: dict[str, str],
    keys: Sequence[bytes],
    *,
    out: Path | None,
    yes: bool,
) -> int:
    """Show what is signed, ask, sign, and hand it in or write it to ``out``. 1 when it was not signed."""
    screen = console()
    needed = operators_needed(root, statement.risk, len(set(statement.devices)))
    screen.print(_panel(statement, content, names, needed))
    if not yes and not click.confirm("Sign this?"):
        screen.print("Not signed.")
        return 1
    envelope = sign_statement(statement, [private_key(raw) for raw in keys])
    if out is not None:
        write_private(out, envelope)
        screen.print(Text(f"● Signed: {out}. The second operator: forestall order countersign FILE", style="green"))
        return 0
    answer = api.post("/orders", {"envelope": base64.b64encode(envelope).decode()})
    screen.print(Text(f"● In force: order {harmless(answer['digest'][:16])}.", style="green"))
    return 0


@order.command()
@click.argument("client")
@click.option("--site", help="Only devices of this site.")
@click.option("--device", "devices", multiple=True, help="Only this device: name or id. May be repeated.")
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, MAX_ORDER_LIFE.days), help="How long.")
@click.option("--runs-per-day", default=12, show_default=True, type=click.IntRange(1, 1000), help="Most runs a device.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it to a file, for a second operator."
)
@click.option("--yes", is_flag=True, help="Sign without asking. What is signed is still shown.")
@folder_option
def patching(
    *,
    client: str,
    site: str | None,
    devices: tuple[str, ...],
    days: int,
    runs_per_day: int,
    out: Path | None,
    yes: bool,
    folder: Path,
) -> int:
    """Sign the patch policy of CLIENT as a standing order: updates are installed in windows without a signature each.

    It leaves the server the choice of packages and versions alone, and a device installs only what its own signed
    sources offer for what it has. What the policy says of reboots and pre-checks is in it: after a change of the
    policy, sign anew. A reboot that the policy puts off to the next window is an order of its own, signed after it.
    """
    operator = open_folder(folder)
    api = Api.connect()
    owner = find_client(api, client)
    chosen = [one for one in everything(api, "/devices", client=owner["id"]) if one["status"] == "approved"]
    if site is not None:
        chosen = [one for one in chosen if site in (one["site"]["id"], one["site"]["name"])]
    if devices:
        named_devices = {find_device(api, one)["id"] for one in devices}
        chosen = [one for one in chosen if one["id"] in named_devices]
    if not chosen:
        raise CommandError(f"no approved device of {owner['name']} is meant")
    policies = everything(api, "/patch-policies", client=owner["id"])
    sites = {one["site"]["id"] for one in chosen}
    own = [one for one in policies if one["site"] and sites == {one["site"]["id"]}]
    fits = own or [one for one in policies if one["site"] is None]
    if not fits:
        raise CommandError(f"{owner['name']} has no patch policy: forestall deploy policy {client!r} --choose security")
    terms = fits[0]["terms"]
    try:
        install, keys = operator.runbook_called("install-updates"), operator.operator_keys(ask_passphrase)
        restart = operator.runbook_called("reboot")
    except OperatorError as error:
        raise CommandError(str(error)) from None
    said = ("warn_minutes", "least_free_mb", "on_battery", "sessions", "snapshot")
    allowed: dict[str, list[ParameterValue]] = {
        "manager": list(SYSTEM_MANAGERS),
        "choose": ["chosen"],
        "packages": [ANY],
        "reboot": ["when_needed" if terms["reboot"] == "when_needed" else "never"],
        **{name: [terms[name]] for name in said},
    }
    orders = [(install, allowed)]
    if terms["reboot"] == "next_window":
        orders.append((restart, {"warn_minutes": [terms["warn_minutes"]], "reason": ["Updates were installed."]}))
    names = {one["id"]: one["name"] for one in chosen}
    for number, (content, values) in enumerate(orders):
        statement = new_order(
            runbook=content,
            trigger=PATCHING,
            client_id=owner["id"],
            devices=list(names),
            allowed=values,
            runs_per_day=runs_per_day,
            life=timedelta(days=days),
            now=datetime.now(UTC),
        )
        file = out if out is None or number == 0 else out.with_name(f"{out.stem}-{content.slug}{out.suffix}")
        if _sign(api, operator.root, statement, content, names, keys, out=file, yes=yes):
            return 1
    return 0


@order.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Sign without asking. What is signed is still shown.")
@folder_option
def countersign(*, file: Path, yes: bool, folder: Path) -> int:
    """Read, sign and hand in a standing order that another operator signed into FILE. Exit code 1 when not signed."""
    operator = open_folder(folder)
    envelope = file.read_bytes()
    try:
        statement = read_statement(decode(envelope).body(), StandingOrder)
        keys = operator.operator_keys(ask_passphrase)
    except (OperatorError, ValueError) as error:  # EnvelopeError is one
        raise CommandError(harmless(str(error))) from None
    runbook = operator.runbooks.get(statement.runbook)
    if runbook is None:
        raise CommandError(f"the order names runbook {statement.runbook[:16]}…, which your catalogue has not signed")
    holders = {identifier: bytes.fromhex(public) for identifier, public in operator.root.operator.keys.items()}
    _, found = signers(envelope, StandingOrder.PAYLOAD_TYPE, holders)
    needed = operators_needed(operator.root, statement.risk, len(set(statement.devices)))
    screen = console()
    screen.print(_panel(statement, runbook, {}, needed))
    names = operator.names()
    screen.print(Text("Signed already by " + (" and ".join(named(key, names) for key in sorted(found)) or "nobody")))
    if not yes and not click.confirm("Sign this?"):
        screen.print("Not signed.")
        return 1
    both = merge(sign_statement(statement, [private_key(raw) for raw in keys]), envelope)
    answer = Api.connect().post("/orders", {"envelope": base64.b64encode(both).decode()})
    screen.print(Text(f"● In force: order {harmless(answer['digest'][:16])}.", style="green"))
    return 0


def allowed_values(runbook: Runbook, pairs: tuple[str, ...]) -> dict[str, list[ParameterValue]]:
    """``volume=/srv`` … as typed values by parameter. CommandError names what does not fit the runbook."""
    known = {parameter.name: parameter for parameter in runbook.parameters}
    allowed: dict[str, list[ParameterValue]] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not separator or name not in known:
            raise CommandError(f"--allow {pair!r}: expected PARAM=VALUE with PARAM one of {', '.join(known)}")
        value = typed_value(known[name], text)
        try:
            if not takes_any(known[name], (value,)):
                require_value(known[name], value)
        except Refused as refusal:
            raise CommandError(f"--allow {pair!r}: {refusal.sentence}") from None
        if value not in allowed.setdefault(name, []):
            allowed[name].append(value)
    for name, parameter in known.items():
        if parameter.default is None and name not in allowed:
            raise CommandError(f"runbook {runbook.slug} needs --allow {name}=VALUE: {parameter.description}")
    return allowed


def typed_value(parameter: Parameter, text: str) -> ParameterValue:
    """A value from the command line in the parameter's own type; the text itself where it does not fit."""
    if parameter.kind == "integer" and text.lstrip("-").isdecimal():
        return int(text)
    if parameter.kind == "boolean" and text in {"true", "false"}:
        return text == "true"
    return text


@order.command("list")
@as_json_option
def list_command(*, as_json: bool) -> int:
    """List standing orders, newest first."""
    found = everything(Api.connect(), "/orders")
    if as_json:
        print_json(found)
        return 0
    rows = [
        (
            one["digest"][:16],
            one["runbook"],
            one["trigger"],
            ", ".join(device["name"] for device in one["devices"]),
            one["state"].replace("_", " "),
            one["expires_at"][:16].replace("T", " "),
        )
        for one in found
    ]
    print_table(
        ("Order", "Runbook", "When", "Devices", "State", "Until (UTC)"),
        rows,
        empty="No standing orders: nothing runs unattended. Sign one with `forestall order sign`.",
    )
    return 0


@order.command()
@click.argument("digest")
@click.option("--reason", required=True, help="Why; goes into the evidence.")
@folder_option
def revoke(*, digest: str, reason: str, folder: Path) -> int:
    """End the standing order whose digest begins with DIGEST, at once."""
    operator = open_folder(folder)
    api = Api.connect()
    matching = [one for one in everything(api, "/orders") if one["digest"].startswith(digest)]
    if len(matching) != 1:
        raise CommandError(f"{len(matching)} standing orders have a digest that begins with {digest!r}")
    try:
        keys = operator.operator_keys(ask_passphrase)
    except OperatorError as error:
        raise CommandError(str(error)) from None
    envelope = sign_revocation(orders=[matching[0]["digest"]], reason=reason, now=datetime.now(UTC), keys=keys)
    api.post("/orders/revocations", {"envelope": base64.b64encode(envelope).decode()})
    click.echo("Revoked. Its devices are told at their next check-in.")
    return 0


def _panel(statement: StandingOrder, runbook: Runbook, names: dict[str, str], needed: int) -> Panel:
    spoken = {device: f"{name}, as the server calls it" for device, name in names.items()}
    lines = describe(statement, runbook=runbook, device_names=spoken)
    devices = len(set(statement.devices))
    lines.append(
        f"Names {devices} device{'s' * (devices != 1)} of client {harmless(statement.client_id)}; needs {needed} "
        f"signature{'s' * (needed != 1)}, two where it reaches over a tenth of the client and more than {FEW} devices"
    )
    return Panel(Text("\n".join(lines)), title="Standing order", title_align="left", border_style="cyan")
