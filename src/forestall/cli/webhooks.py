"""Webhooks from the command line."""

from __future__ import annotations

from typing import Any

import click

from forestall.cli.client import Api
from forestall.cli.desk import everything
from forestall.cli.errors import CommandError
from forestall.cli.show import ago, as_json_option, print_json, print_table

SHORT_ID = 8


@click.group()
def webhooks() -> None:
    """Programs that are told, signed, when something happens here."""


@webhooks.command("list")
@as_json_option
def webhook_list(*, as_json: bool) -> int:
    """List webhooks."""
    found = everything(Api.connect(), "/webhooks")
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Id", "Webhook", "To", "Of", "Events", "State", "Arrived"),
        [
            (
                one["id"][:SHORT_ID],
                one["name"],
                one["host"],
                one["client"]["name"] if one["client"] else "all clients",
                ", ".join(one["events"]) or "all",
                "failing" if one["state"] == "active" and one["failing_since"] else one["state"],
                ago(one["last_success_at"]),
            )
            for one in found
        ],
        empty="No program is told of anything. Make a webhook with: forestall webhooks make NAME --url https://…",
    )
    return 0


@webhooks.command("make")
@click.argument("name")
@click.option("--url", required=True, help="https, or http inside your own network.")
@click.option("--client", help="Only of this client: name or id. Left out: of all.")
@click.option("--event", "events", multiple=True, help="Such as ticket.opened; several times. None: all.")
@as_json_option
def webhook_make(*, name: str, url: str, client: str | None, events: tuple[str, ...], as_json: bool) -> int:
    """Tell an address of what happens. The secret of its signatures is shown this once."""
    api = Api.connect()
    body: dict[str, Any] = {"name": name, "url": url, "events": list(events)}
    if client is not None:
        body["client"] = _client(api, client)
    made = api.post("/webhooks", body)
    if as_json:
        print_json(made)
        return 0
    click.echo(made["secret"])
    click.echo("The secret is shown only now; docs/protocol/webhooks.md shows how a receiver uses it.", err=True)
    return 0


@webhooks.command("log")
@click.argument("which", metavar="WEBHOOK")
@click.option("--state", type=click.Choice(["waiting", "done", "failed"]), help="Only these.")
@as_json_option
def webhook_log(*, which: str, state: str | None, as_json: bool) -> int:
    """What was sent in the last thirty days, and what came back."""
    api = Api.connect()
    found = everything(api, f"/webhooks/{_find(api, which)['id']}/deliveries", state=state)
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Id", "Event", "State", "Made", "Attempts", "Answer", "Took", "Why"),
        [
            (
                one["id"][:SHORT_ID],
                one["event"],
                one["state"],
                ago(one["made_at"]),
                str(one["attempts"]),
                f"HTTP {one['status']}" if one["status"] else "none",
                "" if one["milliseconds"] is None else f"{one['milliseconds']} ms",
                one["error"] + (f" (again {ago(one['next_at'])})" if one["next_at"] and one["attempts"] else ""),
            )
            for one in found
        ],
        empty="Nothing was sent.",
    )
    return 0


@webhooks.command("repeat")
@click.argument("which", metavar="WEBHOOK")
@click.argument("delivery")
def webhook_repeat(*, which: str, delivery: str) -> int:
    """Send the message DELIVERY again, under the id it had."""
    api = Api.connect()
    address = f"/webhooks/{_find(api, which)['id']}/deliveries"
    fits = [one for one in everything(api, address) if one["id"].startswith(delivery)]
    if len(fits) != 1 or len(delivery) < SHORT_ID:
        raise CommandError(f"no message, or not one alone, has an id that begins with {delivery[:40]!r}")
    api.post(f"{address}/{fits[0]['id']}/repeat")
    click.echo("It is on its way again.")
    return 0


def _act(name: str, words: str, help_line: str) -> None:
    @webhooks.command(name, help=help_line)
    @click.argument("which", metavar="WEBHOOK")
    @as_json_option
    def act(*, which: str, as_json: bool) -> int:
        api = Api.connect()
        found = _find(api, which)
        answer = api.post(f"/webhooks/{found['id']}/{name}")
        if as_json:
            print_json(answer)
        else:
            click.echo(words.format(**{**found, **answer}))
        return 0


_act("ping", "A test message to {name} is on its way: see `forestall webhooks log`.", "Send a test message.")
_act("pause", "{name} is told nothing for the time being.", "Tell it nothing for the time being.")
_act("resume", "{name} is told of what happens from now on.", "Tell it of what happens from now on.")
_act("rotate", "{secret}", "A new secret, shown this once; the old one signs nothing any more.")


@webhooks.command("remove")
@click.argument("which", metavar="WEBHOOK")
def webhook_remove(*, which: str) -> int:
    """Remove a webhook with its log."""
    api = Api.connect()
    found = _find(api, which)
    api.raw("DELETE", f"/webhooks/{found['id']}")
    click.echo(f"{found['name']} is removed.")
    return 0


def _find(api: Api, name: str) -> dict[str, Any]:
    every = everything(api, "/webhooks")
    fits = [one for one in every if name in {one["id"], one["name"]}]
    fits = fits or [one for one in every if len(name) >= SHORT_ID and one["id"].startswith(name)]
    if len(fits) == 1:
        return fits[0]
    known = ", ".join(f"{one['name']} ({one['id'][:SHORT_ID]})" for one in (fits or every)[:10]) or "none"
    raise CommandError(f"{'several webhooks are' if fits else 'no webhook is'} called {name!r}: {known}")


def _client(api: Api, name: str) -> str:
    every = everything(api, "/clients")
    fits = [one for one in every if name in {one["id"], one["name"]}]
    if len(fits) == 1:
        return str(fits[0]["id"])
    raise CommandError(f"no client is called {name!r}; known: {', '.join(one['name'] for one in every[:20])}")
