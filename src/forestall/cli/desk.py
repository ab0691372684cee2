"""The desk on the command line: devices, checks, alerts, tickets, jobs and reports, through the REST API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from forestall.cli.check_policies import policy
from forestall.cli.client import Api
from forestall.cli.errors import CommandError
from forestall.cli.show import (
    PRIORITY_STYLE,
    ago,
    as_json_option,
    console,
    print_json,
    print_table,
    status_text,
)

FORECAST_DAYS = 30
"""How far "will break next" looks, here as in the console."""
WORST_FIRST = ("fail", "warn", "stale", "unknown", "pass")
SHORT_ID = 8
"""So many characters of an id name a device."""


def everything(api: Api, path: str, **query: str | int | None) -> list[dict[str, Any]]:
    """All pages of a list."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        answer = api.get(path, cursor=cursor, limit=500, **query)
        found += answer["items"]
        cursor = answer["next_cursor"]
        if cursor is None:
            return found


def find_device(api: Api, name: str) -> dict[str, Any]:
    """The device of that name or id, or the one that begins so; CommandError when there is none, or more than one."""
    every = everything(api, "/devices")
    found = (
        [one for one in every if name in {one["id"], one["name"]}]
        or [one for one in every if len(name) >= SHORT_ID and one["id"].startswith(name)]
        or [one for one in every if name in one["name"]]
    )
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{one['name']} ({one['id'][:SHORT_ID]})" for one in (found or every)[:10])
    raise CommandError(f"{'several devices are' if found else 'no device is'} called {name!r}: {names}")


def _find_site(api: Api, name: str) -> dict[str, Any]:
    every = everything(api, "/sites")
    found = [one for one in every if name in {one["id"], one["name"], f"{one['client']['name']}/{one['name']}"}]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{one['client']['name']}/{one['name']}" for one in (found or every)[:10])
    raise CommandError(f"{'several sites are' if found else 'no site is'} called {name!r}: {known}")


def find_job(api: Api, name: str) -> dict[str, Any]:
    """The job whose id is that or begins so; CommandError when there is none, or more than one."""
    found = [one for one in everything(api, "/jobs") if one["id"].startswith(name)]
    if len(found) == 1:
        return found[0]
    raise CommandError(
        f"{'several jobs have ids that begin' if found else 'no job has an id that begins'} with {name!r}"
    )


@click.command()
@as_json_option
def today(*, as_json: bool) -> int:
    """What needs a person now, and what will break next."""
    api = Api.connect()
    tickets = everything(api, "/tickets", state="open")
    checks = everything(api, "/checks")
    until = (datetime.now(UTC) + timedelta(days=FORECAST_DAYS)).isoformat()
    near = (one for one in checks if one["forecast_at"] and one["forecast_at"] < until)
    coming = sorted(near, key=lambda one: str(one["forecast_at"]))[:10]
    if as_json:
        print_json({"tickets": tickets, "coming": coming})
        return 0
    at_risk = sum(one["clock"]["percent"] >= 75 for one in tickets)
    count = len(tickets)
    console().print(
        f"[bold]{'Nothing needs' if not count else f'{count} ticket' + (' needs' if count == 1 else 's need')} you now"
        f"{f'; {at_risk} of them with an SLA at risk' if at_risk else ''}.[/bold]\n"
    )
    _print_tickets(sorted(tickets, key=lambda one: -one["clock"]["percent"]))
    if coming:
        console().print("\n[bold]Will break next[/bold]")
        rows = [(ago(one["forecast_at"]), one["device"]["name"], one["reason"]) for one in coming]
        print_table(("When", "Device", "Why"), rows, empty="")
    return 0


@click.command()
@click.argument("name", required=False)
@click.option("--approve", is_flag=True, help="Approve the device NAME: from then on it may check in.")
@click.option("--revoke", metavar="REASON", help="End the access of the device NAME for good, saying why.")
@click.option("--status", type=click.Choice(["pending", "approved", "revoked"]), help="Only these.")
@as_json_option
def devices(*, name: str | None, approve: bool, revoke: str | None, status: str | None, as_json: bool) -> int:
    """List devices; show, approve or revoke the one called NAME (or by its id, of which 8 characters are enough)."""
    if (approve or revoke is not None) and not name:
        raise click.UsageError(f"{'--approve' if approve else '--revoke'} needs the name of a device")
    if approve and revoke is not None:
        raise click.UsageError("--approve and --revoke exclude each other")
    api = Api.connect()
    if name:
        device = find_device(api, name)
        if approve:
            device = api.post(f"/devices/{device['id']}/approve")
            click.echo(f"{device['name']} is approved.")
            return 0
        if revoke is not None:
            device = api.post(f"/devices/{device['id']}/revoke", {"reason": revoke})
            click.echo(f"{device['name']} is revoked: it can no longer check in, and no job reaches it.")
            return 0
        if as_json:
            print_json(device)
            return 0
        _print_device(api, device)
        return 0
    found = everything(api, "/devices", status=status)
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Device", "Id", "Client", "Site", "State", "Checks", "Seen", "System"),
        [
            (
                one["name"],
                one["id"][:SHORT_ID],
                one["client"]["name"],
                one["site"]["name"],
                one["status"],
                _counts(one["checks"]),
                ago(one["last_check_in_at"]),
                one["os_name"],
            )
            for one in found
        ],
        empty='No devices yet. Enrol one: forestall enrol --site "Main site"',
    )
    return 0


@click.group(invoke_without_command=True)
@click.option("--device", help="Only this device (name or id).")
@click.option("--kind", help="Only this kind, such as disk_space.")
@click.option("--status", type=click.Choice(WORST_FIRST), help="Only this answer.")
@as_json_option
@click.pass_context
def checks(context: click.Context, *, device: str | None, kind: str | None, status: str | None, as_json: bool) -> int:
    """List checks and their results, worst first; ``policy`` is by what they are judged and how often."""
    if context.invoked_subcommand is not None:
        return 0
    api = Api.connect()
    device_id = find_device(api, device)["id"] if device else None
    found = everything(api, "/checks", device=device_id, kind=kind, status=status)
    found.sort(key=lambda one: (WORST_FIRST.index(one["status"]), one["device"]["name"], one["kind"], one["target"]))
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Result", "Device", "Check", "Why"),
        [
            (
                status_text(one["status"]),
                one["device"]["name"],
                f"{one['title']} {one['target']}".strip(),
                one["reason"],
            )
            for one in found
        ],
        empty="No check matches."
        if device or kind or status
        else "No checks: a device is judged from its first check-in on.",
    )
    return 0


checks.add_command(policy)


@click.command()
@click.option("--state", type=click.Choice(["open", "muted", "cleared"]), default="open", show_default=True)
@as_json_option
def alerts(*, state: str, as_json: bool) -> int:
    """List alerts, newest first."""
    api = Api.connect()
    found = everything(api, "/alerts", state=state)
    if as_json:
        print_json(found)
        return 0
    titles = {kind["slug"]: kind["title"] for kind in api.get("/checks/kinds")}
    rows = [
        (
            status_text(one["status"]),
            one["device"]["name"],
            f"{titles[one['kind']]} {one['target']}".strip(),
            one["reason"],
            ago(one["first_seen_at"]),
            _of(one),
        )
        for one in found
    ]
    print_table(("Result", "Device", "Check", "Why", "Since", "Ticket"), rows, empty=f"No alert is {state}.")
    return 0


@click.command()
@click.argument("number", type=int, required=False)
@click.option("--state", default="open", show_default=True, help="open (all that is not done), resolved, closed, …")
@click.option("--acknowledge", is_flag=True, help="Take the ticket NUMBER.")
@click.option("--comment", metavar="TEXT", help="Write an internal note on NUMBER.")
@click.option("--to-client", metavar="TEXT", help="Write to the client on NUMBER; they are told by mail.")
@click.option("--assign", metavar="USER", help="Give NUMBER an owner.")
@click.option("--wait", metavar="REASON", help="NUMBER waits for the client, who reads why: its clock stops.")
@click.option("--resume", is_flag=True, help="Go on with NUMBER.")
@click.option("--resolve", metavar="TEXT", help="Resolve NUMBER by hand, saying what was done.")
@click.option("--reopen", metavar="REASON", help="Open NUMBER again.")
@click.option("--ask-approval", metavar="QUESTION", help="Ask the client to approve something on NUMBER: it waits.")
@click.option("--what", metavar="TEXT", help="With --ask-approval: what will happen.")
@click.option("--cost", metavar="TEXT", help="With --ask-approval: money and time.")
@click.option("--days", type=click.IntRange(1, 90), help="With --ask-approval: days to answer, then it lapses.")
@click.option("--withdraw", is_flag=True, help="Withdraw the question that is open on NUMBER.")
@click.option("--open", "title", metavar="TITLE", help="Open a ticket by hand; the client reads title and text.")
@click.option("--text", default="", help="With --open: more about it.")
@click.option("--urgency", type=click.Choice(["everybody", "one", "hindered", "question"]), default="hindered")
@click.option("--site", help="With --open: at which site (its name or id).")
@click.option("--device", help="With --open: about which device (its name or id).")
@click.option("--for", "requested_by", metavar="USER", help="With --open: whose request it is.")
@click.option("--clock", is_flag=True, help="Say for each stretch of time why NUMBER's clock counted or not.")
@as_json_option
def tickets(
    *,
    number: int | None,
    state: str,
    clock: bool,
    as_json: bool,
    title: str | None,
    text: str,
    urgency: str,
    site: str | None,
    device: str | None,
    requested_by: str | None,
    ask_approval: str | None,
    what: str | None,
    cost: str | None,
    days: int | None,
    to_client: str | None,
    **acts: str | bool | None,
) -> int:
    """List tickets; show or work the ticket NUMBER; open one.

    \b
    forestall tickets --open "Call from reception" --device reception-pc --for uwe
    forestall tickets 12 --ask-approval "Replace it?" --what "A new one on Friday." --cost "390 EUR"
    """
    api = Api.connect()
    if title is not None:
        if number is not None:
            raise click.UsageError("--open makes a new ticket: leave the number out")
        asked_for = {"title": title, "text": text, "urgency": urgency, "requested_by": requested_by}
        if device:
            asked_for["device"] = find_device(api, device)["id"]
        if site:
            asked_for["site"] = _find_site(api, site)["id"]
        number = int(api.post("/tickets", asked_for)["number"])
    if ask_approval and not what:
        raise click.UsageError("--ask-approval needs --what: say what will happen")
    wanted = [(name, value) for name, value in acts.items() if value]
    if number is None:
        if wanted or clock or ask_approval or to_client:
            raise click.UsageError(
                f"--{wanted[0][0] if wanted else 'clock, --ask-approval or --to-client'} needs the number of a ticket"
            )
        found = everything(api, "/tickets", state=state)
        if as_json:
            print_json(found)
            return 0
        _print_tickets(found)
        return 0
    for name, value in wanted:
        body = None if value is True else {"owner" if name == "assign" else "text": value}
        api.post(f"/tickets/{number}/{name}", body)
    if to_client:
        api.post(f"/tickets/{number}/comment", {"text": to_client, "to_client": True})
    if ask_approval:
        until = (datetime.now(UTC) + timedelta(days=days)).isoformat() if days else None
        asked = {"question": ask_approval, "what_happens": what, "cost": cost or "", "answer_by": until}
        api.post(f"/tickets/{number}/ask", asked)
    if as_json:
        print_json(api.get(f"/tickets/{number}"))
        return 0
    _print_ticket(api, number)
    if clock:
        console().print()
        rows = [
            (one["start"][:19].replace("T", " "), one["end"][:19].replace("T", " "), _counted(one), one["why"])
            for one in api.get(f"/tickets/{number}/clock")
        ]
        print_table(("From (UTC)", "Until (UTC)", "", "Why"), rows, empty="The clock has not started.")
    return 0


@click.command()
@click.argument("job_id", required=False)
@click.option("--state", help="awaiting_signature, awaiting_approval, queued, delivered, succeeded, failed, refused …")
@click.option("--prepare", metavar="RUNBOOK", help="Prepare a job; it waits for an operator's signature.")
@click.option("--device", help="With --prepare: on which device (name or id).")
@click.option("--set", "values", multiple=True, metavar="NAME=VALUE", help="With --prepare: a parameter. Repeatable.")
@click.option("--reason", help="With --prepare: why; goes into what is signed.")
@click.option("--dry-run", is_flag=True, help="With --prepare: only say what it would do. It is signed all the same.")
@click.option("--undo", is_flag=True, help="Prepare the job that puts back what JOB_ID changed; needs --reason.")
@as_json_option
def jobs(
    *,
    job_id: str | None,
    state: str | None,
    prepare: str | None,
    device: str | None,
    values: tuple[str, ...],
    reason: str | None,
    dry_run: bool,
    undo: bool,
    as_json: bool,
) -> int:
    """List jobs, newest first; show the one called JOB_ID; prepare one, or the undoing of one.

    \b
    forestall jobs --prepare restart-service --device web-01 --set service=nginx --reason "hangs since noon"
    forestall jobs 3f2a91bc --undo --reason "the wrong machine"
    """
    api = Api.connect()
    if undo:
        if not job_id or not reason:
            raise click.UsageError("--undo needs JOB_ID and --reason")
        job = api.post(f"/jobs/{find_job(api, job_id)['id']}/undo", {"reason": reason})
        if as_json:
            print_json(job)
            return 0
        console().print(Text(f"Prepared {job['runbook']} on {job['device']['name']}. Nothing runs until it is signed:"))
        click.echo(f"  forestall sign {job['id']}")
        return 0
    if prepare:
        if not device or not reason:
            raise click.UsageError("--prepare needs --device and --reason")
        job = api.post(
            "/jobs",
            {
                "runbook": prepare,
                "device": find_device(api, device)["id"],
                "parameters": dict(_value(pair) for pair in values),
                "reason": reason,
                "dry_run": dry_run,
            },
        )
        if as_json:
            print_json(job)
            return 0
        console().print(Text(f"Prepared {job['runbook']} on {job['device']['name']}. Nothing runs until it is signed:"))
        click.echo(f"  forestall sign {job['id']}")
        return 0
    if job_id:
        job = find_job(api, job_id)
        if as_json:
            print_json(job)
            return 0
        console().print(Text(f"{job['runbook']} on {job['device']['name']}: {job['state']}", style="bold"))
        console().print(Text(job["reason"]))
        rows = [(one["at"][:19].replace("T", " "), one["what"], one["actor"], one["text"]) for one in _events(api, job)]
        print_table(("When (UTC)", "What", "Who", ""), rows, empty="Nothing happened yet.")
        for step in job["steps"]:
            console().print(Text(f"{'●' if step['ok'] else '■'} {step['action']}: {step['summary']}"))
        return 0
    found = everything(api, "/jobs", state=state)
    if as_json:
        print_json(found)
        return 0
    lines = [
        (
            one["id"][:SHORT_ID],
            one["runbook"],
            one["device"]["name"],
            one["state"],
            one["detail"],
            ago(one["created_at"]),
        )
        for one in found
    ]
    print_table(
        ("Job", "Runbook", "Device", "State", "Result", "Made"),
        lines,
        empty=f"No job has the state {state}."
        if state
        else "No jobs yet: a ticket proposes them, or a standing order runs them.",
    )
    return 0


@click.command()
@click.option("--save", "number", metavar="NUMBER", help="Save this report as PDF.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Where to (default: NUMBER.pdf).")
@as_json_option
def reports(*, number: str | None, out: Path | None, as_json: bool) -> int:
    """List service reports, newest first; save one as PDF."""
    api = Api.connect()
    if number:
        path = out or Path(f"{number}.pdf")
        path.write_bytes(api.raw("GET", f"/reports/{number}/pdf"))
        click.echo(f"Saved {path}.")
        return 0
    found = everything(api, "/reports")
    if as_json:
        print_json(found)
        return 0
    rows = [(one["number"], f"#{one['ticket']}", one["client"]["name"], ago(one["made_at"])) for one in found]
    print_table(
        ("Report", "Ticket", "Client", "Made"), rows, empty="No service reports yet: each resolved ticket makes one."
    )
    return 0


@click.command()
@click.option("--site", required=True, help="Name or id of the site the device belongs to.")
@as_json_option
def enrol(*, site: str, as_json: bool) -> int:
    """Make a token with which one device can enrol: single use, one day, one site."""
    api = Api.connect()
    every = everything(api, "/sites")
    found = [one for one in every if site in {one["id"], one["name"]}]
    if len(found) != 1:
        known = ", ".join(f"{one['name']} ({one['client']['name']})" for one in every)
        raise CommandError(f"{'several sites are' if found else 'no site is'} called {site!r}; known: {known}")
    answer = api.post("/enrolment-tokens", {"site": found[0]["id"]})
    if as_json:
        print_json(answer)
        return 0
    console().print("Run this on the device (once, within a day), with SERVER as it reaches this machine:\n")
    click.echo(f"  {answer['command']}")
    console().print("\nThen approve it: [bold]forestall devices NAME --approve[/bold]")
    return 0


def _print_device(api: Api, device: dict[str, Any]) -> None:
    console().print(Text(device["name"], style="bold"))
    console().print(
        Text(
            f"{device['client']['name']}, {device['site']['name']}; {device['status']}; {device['os_name']}; "
            f"agent {device['agent_version']}; last check-in {ago(device['last_check_in_at'])}\n"
        )
    )
    found = everything(api, "/checks", device=device["id"])
    found.sort(key=lambda one: (WORST_FIRST.index(one["status"]), one["kind"], one["target"]))
    rows = [(status_text(one["status"]), one["title"], one["target"], one["reason"]) for one in found]
    print_table(("Result", "Check", "Target", "Why"), rows, empty="Not judged yet.")


def _print_tickets(found: list[dict[str, Any]]) -> None:
    print_table(
        ("#", "Priority", "Device", "Title", "State", "Owner", "Clock"),
        [
            (
                str(one["number"]),
                Text(one["priority"], style=PRIORITY_STYLE.get(one["priority"], "")),
                one["device"]["name"] if one["device"] else one["site"]["name"],
                one["title"],
                one["state"].replace("_", " "),
                one["owner"] or "nobody",
                one["clock"]["text"],
            )
            for one in found
        ],
        empty="No tickets here. One opens by itself when a check fails.",
    )


def _kind_of_line(line: dict[str, Any]) -> str:
    """What happened; of words, who reads them: nobody should have to guess that."""
    if line["kind"] == "commented":
        if line.get("by_client"):
            return "the client wrote"
        return "to the client" if line.get("visibility") == "client" else "internal note"
    return str(line["kind"]).replace("_", " ")


def _print_ticket(api: Api, number: int) -> None:
    ticket = api.get(f"/tickets/{number}")
    console().print(Text(f"#{number} {ticket['title']}", style="bold"))
    console().print(
        Text(
            f"{ticket['priority']}, {ticket['state'].replace('_', ' ')}, owner {ticket['owner'] or 'nobody'}; "
            f"{ticket['clock']['kind']}: {ticket['clock']['text']}\n"
        )
    )
    rows = [
        (one["at"][:19].replace("T", " "), one["actor"], f"{_kind_of_line(one)}: {one['text']}")
        for one in api.get(f"/tickets/{number}/timeline")
    ]
    print_table(("When (UTC)", "Who", ""), rows, empty="")


def _value(pair: str) -> tuple[str, str | int | bool]:
    name, separator, text = pair.partition("=")
    if not separator or not name:
        raise CommandError(f"--set {pair!r}: expected NAME=VALUE")
    if text in {"true", "false"}:
        return name, text == "true"
    return name, int(text) if text.lstrip("-").isdecimal() else text


def _events(api: Api, job: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(f"/jobs/{job['id']}/events")
    return found


def _counts(counts: dict[str, int]) -> Text:
    lines = [
        Text(f"{counts[status]} ").append_text(status_text(status)) for status in WORST_FIRST if counts.get(status)
    ]
    return Text("\n").join(lines) or Text("not judged yet", style="dim")


def _counted(segment: dict[str, Any]) -> Text:
    return Text("● counted", style="green") if segment["counted"] else Text("◌ not", style="dim")


def _of(alert: dict[str, Any]) -> str:
    return f"#{alert['ticket']}" if alert["ticket"] else ""
