"""The calendar on the command line, through the REST API: when windows open, blackouts, and other programs' access."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from forestall.cli.client import Api
from forestall.cli.clients import confirmed, find_site, minutes, span
from forestall.cli.desk import everything
from forestall.cli.errors import CommandError
from forestall.cli.show import ago, as_json_option, console, print_json, print_table
from forestall.cli.transfer import find_client

_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2}))?")


@click.group(invoke_without_command=True)
@click.option("--client", help="Only of this client.")
@click.option("--days", type=int, default=30, show_default=True, help="How far ahead the list looks.")
@click.option(
    "--ics", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write a calendar file (RFC 5545)."
)
@as_json_option
@click.pass_context
def calendar(context: click.Context, *, client: str | None, days: int, file: Path | None, as_json: bool) -> int:
    """When windows open, and in which times none does. Without a command: the list.

    \b
    forestall calendar --days 60
    forestall calendar --ics windows.ics
    """
    if context.invoked_subcommand is not None:
        return 0
    api = Api.connect()
    if file is not None:
        content = api.raw("GET", "/calendar.ics")
        file.write_bytes(content)
        click.echo(f"{content.count(b'BEGIN:VEVENT')} events in {file}.")
        return 0
    return _listed(api, client, days, as_json=as_json)


@calendar.command("list")
@click.option("--client", help="Only of this client.")
@click.option("--days", type=int, default=30, show_default=True, help="How far ahead it looks.")
@as_json_option
def listed(*, client: str | None, days: int, as_json: bool) -> int:
    """List when windows open, and the blackouts."""
    return _listed(Api.connect(), client, days, as_json=as_json)


def _listed(api: Api, client: str | None, days: int, *, as_json: bool) -> int:
    of = find_client(api, client)["id"] if client else None
    times = api.get("/window-times", days=days, client=of)
    closed = everything(api, "/blackouts", client=of)
    if as_json:
        print_json({"windows": times, "blackouts": closed})
        return 0
    print_table(
        ("When", "UTC", "Window", "Client", "Site", "Cut by"),
        [
            (
                ago(one["start"]),
                f"{one['start'][:16].replace('T', ' ')} to {one['end'][11:16]}",
                one["name"],
                one["client"]["name"],
                one["site"]["name"],
                one["cut"],
            )
            for one in times
        ],
        empty=f"No window opens within {days} days: forestall windows NAME --plan …",
    )
    if closed:
        _print_blackouts(closed)
    return 0


def _print_blackouts(found: list[dict[str, Any]]) -> None:
    print_table(
        ("#", "Blackout", "Where", "When", "By"),
        [(str(one["id"]), one["why"], _place(one), one["words"], one["created_by"]) for one in found],
        empty="No blackouts: forestall calendar blackout WHY --from DATE --until DATE",
    )


def _place(one: dict[str, Any]) -> str:
    if one["client"] is None:
        return "every client"
    return f"{one['client']['name']} · {one['site']['name']}" if one["site"] else str(one["client"]["name"])


@calendar.command()
@click.argument("why", required=False)
@click.option("--from", "starts", metavar="DATE[ TIME]", help='2026-12-20 or "2026-12-20 18:00".')
@click.option("--until", metavar="DATE[ TIME]", help="From then on windows open again.")
@click.option("--client", help="At this client; without it: everywhere.")
@click.option("--site", help="At this site of it.")
@click.option("--yearly", is_flag=True, help="The same days every year.")
@click.option("--end", type=int, metavar="NUMBER", help="Take back the blackout of this number.")
@click.option("--yes", is_flag=True, help="Do not ask before one that holds everywhere.")
@as_json_option
def blackout(
    *,
    why: str | None,
    starts: str | None,
    until: str | None,
    client: str | None,
    site: str | None,
    yearly: bool,
    end: int | None,
    yes: bool,
    as_json: bool,
) -> int:
    """List blackouts; open no window for a time because of WHY; or take one back.

    Times are on the wall clock of each site.

    \b
    forestall calendar blackout "Christmas freeze" --from "2026-12-20 18:00" --until "2027-01-03 08:00" --yearly
    """
    api = Api.connect()
    if end is not None:
        ended = api.post(f"/blackouts/{end}/end")
        if as_json:
            print_json(ended)
        else:
            click.echo(f"{ended['why']} counts no longer: windows open again.")
        return 0
    if why is None:
        if starts or until:
            raise click.UsageError("say why: it is shown wherever a window stays shut")
        found = everything(api, "/blackouts", client=find_client(api, client)["id"] if client else None)
        if as_json:
            print_json(found)
        else:
            _print_blackouts(found)
        return 0
    if not starts or not until:
        raise click.UsageError("a blackout needs --from and --until")
    if site and not client:
        raise click.UsageError("--site needs --client")
    (starts_on, starts_at), (ends_on, ends_at) = _moment("--from", starts), _moment("--until", until)
    body = {
        "why": why, "starts_on": starts_on, "starts_at": starts_at, "ends_on": ends_on, "ends_at": ends_at,
        "yearly": yearly,
    }  # fmt: skip
    if client and site:
        body["site"] = find_site(api, client, site)["id"]
    elif client:
        body["client"] = find_client(api, client)["id"]
    else:
        confirmed("Open no window at any client then?", yes=yes)
    made = api.post("/blackouts", body)
    if as_json:
        print_json(made)
    else:
        click.echo(f"No window opens at {_place(made)} {made['words']} ({made['id']}).")
    return 0


def _moment(name: str, text: str) -> tuple[str, str]:
    found = _MOMENT.fullmatch(text.strip())
    if found is None:
        raise CommandError(f'{name} {text!r}: expected a date, 2026-12-20, or with a time, "2026-12-20 18:00"')
    return found[1], found[2] or "00:00"


@calendar.command()
@click.argument("client")
@click.argument("longest", required=False, metavar="[TIME]")
@click.option("--site", help="At this site alone.")
@click.option("--none", "no_limit", is_flag=True, help="No limit any more.")
@as_json_option
def limit(*, client: str, longest: str | None, site: str | None, no_limit: bool, as_json: bool) -> int:
    """How long windows of CLIENT may be at most; set it to TIME (4h, 90min).

    \b
    forestall calendar limit "Acme Ltd" 4h
    """
    api = Api.connect()
    path = f"/clients/{find_client(api, client)['id']}/window-limits"
    if longest or no_limit:
        body: dict[str, Any] = {"longest_minutes": minutes(longest) if longest else None}
        if site:
            body["site"] = find_site(api, client, site)["id"]
        api.raw("PUT", path, body)
    found = api.get(path)
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Where", "At most", "Set by"),
        [
            (one["site"]["name"] if one["site"] else "every site", span(one["longest_minutes"]), one["set_by"])
            for one in found
        ],
        empty="No limit was agreed.",
    )
    return 0


@calendar.group(invoke_without_command=True)
@as_json_option
@click.pass_context
def feed(context: click.Context, *, as_json: bool) -> int:
    """Secret addresses of your calendar, for other programs. Without a command: the list."""
    if context.invoked_subcommand is not None:
        return 0
    found = everything(Api.connect(), "/calendar-feeds")
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("#", "Read by", "Shows", "State", "Last read"),
        [
            (
                str(one["id"]),
                one["name"],
                (one["site"] or one["client"] or {"name": "all that you may see"})["name"],
                "revoked" if one["revoked_at"] else "good",
                ago(one["last_used_at"]) if one["last_used_at"] else "never",
            )
            for one in found
        ],
        empty='No address yet: forestall calendar feed new "my phone"',
    )
    return 0


@feed.command("new")
@click.argument("name")
@click.option("--client", help="Show only this client.")
@click.option("--site", help="Show only this site of it.")
@click.option("--portal", is_flag=True, help="Show what the portal shows: for a client's own people.")
@as_json_option
def feed_new(*, name: str, client: str | None, site: str | None, portal: bool, as_json: bool) -> int:
    """Make an address for the program NAME. It is shown once: whoever has it reads the calendar."""
    api = Api.connect()
    body: dict[str, Any] = {"name": name, "portal": portal}
    if client and site:
        body["site"] = find_site(api, client, site)["id"]
    elif client:
        body["client"] = find_client(api, client)["id"]
    made = api.post("/calendar-feeds", body)
    if as_json:
        print_json(made)
        return 0
    console().print(made["address"], markup=False, soft_wrap=True)
    click.echo(f"Shown only now. Take it back with: forestall calendar feed revoke {made['id']}", err=True)
    return 0


@feed.command("revoke")
@click.argument("number", type=int)
def feed_revoke(*, number: int) -> int:
    """Nothing is read under address NUMBER any more."""
    Api.connect().delete(f"/calendar-feeds/{number}")
    click.echo(f"Address {number} shows nothing any more.")
    return 0
