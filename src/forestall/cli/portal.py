"""The client's portal on the command line, for the client's own people, through the REST API."""

from __future__ import annotations

from typing import Any

import click
from rich.text import Text

from forestall.cli.client import Api
from forestall.cli.desk import everything
from forestall.cli.errors import CommandError
from forestall.cli.show import ago, as_json_option, console, print_json, print_table, status_text

URGENCIES = ("everybody", "one", "hindered", "question")
HEALTH = {
    "well": "pass",
    "needs attention": "warn",
    "has a fault": "fail",
    "not seen": "stale",
    "not judged yet": "unknown",
}


@click.group()
def portal() -> None:
    """Your devices, tickets and planned work, as a client of the provider.

    \b
    forestall portal tickets --open "The printer prints blank pages" --urgency one
    forestall portal tickets 12 --approve --reason "The grey one."
    forestall portal devices
    """


@portal.command()
@click.argument("number", type=int, required=False)
@click.option("--done", is_flag=True, help="List those that are done, too.")
@click.option("--open", "title", metavar="TITLE", help="Ask for something.")
@click.option("--text", default="", help="With --open: more about it.")
@click.option("--urgency", type=click.Choice(URGENCIES), default="hindered", show_default=True, help="With --open.")
@click.option("--site", help="With --open: at which site (its name).")
@click.option("--device", help="With --open: about which device (its name).")
@click.option("--comment", metavar="TEXT", help="Write on NUMBER. One that waits for you goes on.")
@click.option("--approve", is_flag=True, help="Approve what is asked on NUMBER; on record with your name.")
@click.option("--decline", is_flag=True, help="Decline it; needs --reason.")
@click.option("--reason", default="", help="With --approve or --decline.")
@click.option("--rate", type=click.IntRange(1, 5), help="Rate NUMBER once it is done: 1 (bad) to 5 (very good).")
@click.option("--because", default="", help="With --rate: what was good, what was not.")
@click.option("--reopen", metavar="TEXT", help="Say that your request NUMBER is not done.")
@as_json_option
def tickets(*, number: int | None, title: str | None, done: bool, as_json: bool, **how: Any) -> int:
    """List your tickets, open one, or show and answer NUMBER."""
    api = Api.connect()
    if title is not None:
        if number is not None:
            raise click.UsageError("--open makes a new ticket: leave the number out")
        number = _open(api, title, how)
    elif number is None:
        if any(how[name] for name in ("comment", "approve", "decline", "rate", "reopen")):
            raise click.UsageError("name the number of a ticket")
        found = everything(api, "/portal/tickets", state=None if done else "open")
        if as_json:
            print_json(found)
            return 0
        _print_tickets(found)
        return 0
    _act(api, number, how)
    if as_json:
        print_json(api.get(f"/portal/tickets/{number}"))
        return 0
    _print_ticket(api, number)
    return 0


def _open(api: Api, title: str, how: dict[str, Any]) -> int:
    body = {"title": title, "text": how["text"], "urgency": how["urgency"]}
    if how["device"]:
        body["device"] = _named(api.get("/portal/devices"), how["device"], "device")["id"]
    elif how["site"]:
        body["site"] = _named(api.get("/portal/sites"), how["site"], "site")["id"]
    number: int = api.post("/portal/tickets", body)["number"]
    return number


def _act(api: Api, number: int, how: dict[str, Any]) -> None:
    if how["approve"] and how["decline"]:
        raise click.UsageError("--approve and --decline exclude each other")
    if how["approve"] or how["decline"]:
        asked = [one for one in api.get(f"/portal/tickets/{number}/approvals") if one["state"] == "asked"]
        if not asked:
            raise CommandError(f"nothing is asked on ticket {number}")
        body = {"answer": "approve" if how["approve"] else "decline", "reason": how["reason"]}
        api.post(f"/portal/approvals/{asked[0]['id']}/answer", body)
    if how["comment"]:
        api.post(f"/portal/tickets/{number}/comment", {"text": how["comment"]})
    if how["rate"]:
        api.post(f"/portal/tickets/{number}/rate", {"score": how["rate"], "comment": how["because"]})
    if how["reopen"]:
        api.post(f"/portal/tickets/{number}/reopen", {"text": how["reopen"]})


@portal.command()
@as_json_option
def devices(*, as_json: bool) -> int:
    """How your devices are, the worst first, and what is done about it."""
    found = Api.connect().get("/portal/devices")
    if as_json:
        print_json(found)
        return 0
    rows = [
        (
            one["name"],
            one["site"]["name"],
            Text.assemble(status_text(HEALTH[one["health"]]), f" {one['health']}"),
            "\n".join(_trouble(trouble) for trouble in one["troubles"]),
            ago(one["last_seen_at"]),
        )
        for one in found
    ]
    print_table(("Device", "Site", "State", "Why", "Seen"), rows, empty="No device of yours is watched yet.")
    return 0


@portal.command()
@click.argument("window", type=int, required=False)
@click.option("--approve", is_flag=True, help="Approve the proposed WINDOW; on record with your name.")
@click.option("--decline", is_flag=True, help="Decline it; needs --reason.")
@click.option("--reason", default="", help="With --approve or --decline.")
@as_json_option
def windows(*, window: int | None, approve: bool, decline: bool, reason: str, as_json: bool) -> int:
    """List planned and proposed work at your sites; answer WINDOW."""
    api = Api.connect()
    if approve or decline:
        if window is None or approve == decline:
            raise click.UsageError("name one window, and either --approve or --decline")
        api.post(f"/portal/windows/{window}/answer", {"answer": "approve" if approve else "decline", "reason": reason})
    found = api.get("/portal/windows")
    if as_json:
        print_json(found)
        return 0
    rows = [
        (
            str(one["id"]),
            one["name"],
            one["site"]["name"],
            f"{one['words']} from {one['starts_at']}, {one['minutes']} min ({one['timezone']})",
            one["answer"] or ("waits for an answer" if one["needs_approval"] else "planned"),
        )
        for one in found
    ]
    print_table(("Id", "Work", "Site", "Why", "State"), rows, empty="No work at your sites is planned.")
    return 0


def _named(found: list[dict[str, Any]], name: str, what: str) -> dict[str, Any]:
    fitting = [one for one in found if name in {one["id"], one["name"]}]
    if len(fitting) == 1:
        return fitting[0]
    known = ", ".join(one["name"] for one in found[:20]) or "none"
    raise CommandError(f"{'several' if fitting else 'no'} {what} is called {name!r}; known: {known}")


def _trouble(trouble: dict[str, Any]) -> str:
    done = f"#{trouble['ticket']}" if trouble["ticket"] else "in hand" if trouble["in_hand"] else "seen"
    return f"{trouble['what']} ({done})"


def _print_tickets(found: list[dict[str, Any]]) -> None:
    rows = [
        (
            str(one["number"]),
            one["title"],
            one["device"]["name"] if one["device"] else one["site"]["name"],
            one["words"],
            one["promise"],
        )
        for one in found
    ]
    empty = 'No ticket is open. Ask for something: forestall portal tickets --open "…"'
    print_table(("#", "Title", "About", "State", ""), rows, empty=empty)


def _print_ticket(api: Api, number: int) -> None:
    ticket = api.get(f"/portal/tickets/{number}")
    console().print(Text(f"#{number} {ticket['title']}", style="bold"))
    console().print(Text(f"{ticket['words']}. {ticket['promise']}\n"))
    rows = [
        (one["at"][:19].replace("T", " "), one["who"], one["text"])
        for one in api.get(f"/portal/tickets/{number}/timeline")
    ]
    print_table(("When (UTC)", "Who", ""), rows, empty="Nothing was written for you on it yet.")
