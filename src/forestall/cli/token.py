"""One's own API tokens."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from forestall.cli.client import Api
from forestall.cli.desk import everything
from forestall.cli.errors import CommandError
from forestall.cli.show import ago, as_json_option, print_json, print_table

SPAN = re.compile(r"(\d{1,5})([hdw])")
UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


@click.group()
def token() -> None:
    """Your API tokens: each may at most what you may, and less if you say so."""


@token.command("list")
@as_json_option
def token_list(*, as_json: bool) -> int:
    """List your tokens."""
    found = everything(Api.connect(), "/tokens")
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Id", "Token", "May", "Where", "Ends", "Used", "State"),
        [
            (
                str(one["id"]),
                one["name"] + (" (this one)" if one["is_this"] else ""),
                ", ".join(one["permissions"]) or "all that you may",
                _where(one),
                ago(one["expires_at"]),
                ago(one["last_used_at"]),
                _state(one),
            )
            for one in found
        ],
        empty="No token yet.",
    )
    return 0


@token.command("make")
@click.argument("name")
@click.option("--may", multiple=True, metavar="PERMISSION", help="Such as device.view; several times. None: all yours.")
@click.option("--client", help="Only there: name or id.")
@click.option("--site", help="Only there: name or id.")
@click.option("--ends", metavar="SPAN", help="12h, 30d, 4w, or `never`; 90 days if nothing is said.")
@as_json_option
def token_make(
    *, name: str, may: tuple[str, ...], client: str | None, site: str | None, ends: str | None, as_json: bool
) -> int:
    """Make a token called NAME; it is shown this once."""
    api = Api.connect()
    body: dict[str, Any] = {"name": name, "permissions": list(may)}
    if client is not None:
        body["client"] = _find(api, "/clients", "client", client)
    if site is not None:
        body["site"] = _find(api, "/sites", "site", site)
    if ends is not None:
        body["expires_at"] = None if ends == "never" else _moment(ends)
    made = api.post("/tokens", body)
    if as_json:
        print_json(made)
        return 0
    click.echo(made["token"])
    click.echo(f"It is shown only now. It ends {ago(made['expires_at']) if made['expires_at'] else 'never'}.", err=True)
    return 0


@token.command("revoke")
@click.argument("which", metavar="ID")
def token_revoke(*, which: str) -> int:
    """Revoke the token ID of yours: from the next request on it opens nothing."""
    if not which.isdecimal():
        raise CommandError(f"{which[:40]!r} is no id of a token; `forestall token list` shows them")
    Api.connect().raw("DELETE", f"/tokens/{which}")
    click.echo(f"Token {which} is revoked.")
    return 0


def _find(api: Api, path: str, noun: str, name: str) -> str:
    every = everything(api, path)
    found = [one for one in every if name in {one["id"], one["name"]}]
    if len(found) != 1:
        known = ", ".join(one["name"] for one in every[:20])
        raise CommandError(f"{f'several {noun}s are' if found else f'no {noun} is'} called {name!r}; known: {known}")
    return str(found[0]["id"])


def _moment(text: str) -> str:
    found = SPAN.fullmatch(text)
    if found is None:
        raise CommandError(f"--ends {text[:40]!r}: expected a span such as 12h, 30d or 4w, or `never`")
    return (datetime.now(UTC) + int(found[1]) * UNITS[found[2]]).isoformat()


def _where(one: dict[str, Any]) -> str:
    place = one["site"] or one["client"]
    return str(place["name"]) if place else "wherever you may"


def _state(one: dict[str, Any]) -> str:
    if one["revoked_at"]:
        return "revoked"
    ended = one["expires_at"] and datetime.fromisoformat(one["expires_at"]) <= datetime.now(UTC)
    return "ended" if ended else "good"
