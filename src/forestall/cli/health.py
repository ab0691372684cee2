"""``forestall coverage`` and ``forestall health``: who is covered by what, and how well they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from forestall.cli.client import Api
from forestall.cli.errors import CommandError
from forestall.cli.show import STATUS, ago, as_json_option, console, print_json, print_table, status_text

RISK_STYLE = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "dim"}
GAPS_SHOWN = 40
SHORT = {"monitoring": "checks", "patching": "patches", "recovery": "restore", "antivirus": "virus"}
"""Column → its heading where eight of them have to fit."""


@click.group(invoke_without_command=True)
@click.option("--client", help="Of this client.")
@as_json_option
@click.pass_context
def coverage(context: click.Context, *, client: str | None, as_json: bool) -> int:
    """Who is covered by what: agent, patching, backup, verified recovery, antivirus, access review …"""
    if context.invoked_subcommand is not None:
        return 0
    api = Api.connect()
    found = api.get("/coverage", client=_client(api, client))
    if as_json:
        print_json(found)
        return 0
    if not found:
        console().print('[dim]Nothing to cover yet. Enrol a device: forestall enrol --site "Main site"[/dim]')
        return 0
    titles = [SHORT.get(cell["column"], str(cell["column"])) for cell in found[0]["cells"]]
    print_table(
        ("What", *(title.capitalize() for title in titles), "Client"),
        [(_name(line), *(_mark(cell) for cell in line["cells"]), line["client"]["name"]) for line in found],
        empty="",
    )
    number = sum(line["gaps"] for line in found)
    console().print(f"\n{number} gaps: forestall coverage gaps" if number else "\nNothing is left uncovered.")
    return 0


@coverage.command()
@click.option("--client", help="Of this client.")
@as_json_option
def gaps(*, client: str | None, as_json: bool) -> int:
    """List what is not covered, what matters most first."""
    api = Api.connect()
    found = api.get("/coverage/gaps", client=_client(api, client))
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Risk", "What", "Client", "Column", "Result", "Why"),
        [
            (
                Text(one["risk"], style=RISK_STYLE[one["risk"]]),
                _name(one),
                one["client"]["name"],
                one["column"],
                status_text(one["status"]),
                one["why"],
            )
            for one in found[:GAPS_SHOWN]
        ],
        empty="Nothing is left uncovered.",
    )
    if len(found) > GAPS_SHOWN:
        console().print(f"[dim]and {len(found) - GAPS_SHOWN} more: --json has them all[/dim]")
    return 0


@coverage.command()
@click.option("--client", help="Of this client.")
@click.option("--ended", is_flag=True, help="Those that are over, too.")
@as_json_option
def exceptions(*, client: str | None, ended: bool, as_json: bool) -> int:
    """List gaps that were accepted, until when and why."""
    from forestall.cli.desk import everything

    api = Api.connect()
    found = everything(api, "/coverage-exceptions", client=_client(api, client), ended="true" if ended else None)
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Id", "Column", "Where", "Until", "Why", "By"),
        [
            (str(one["id"]), one["column"], _place(one), one["expires_at"][:10], one["reason"], one["granted_by"])
            for one in found
        ],
        empty="No gap is accepted: every one counts.",
    )
    return 0


@coverage.command("except")
@click.argument("column")
@click.option("--client", help="All of this client.")
@click.option("--site", metavar="CLIENT/SITE", help="All of this site.")
@click.option("--device", help="This device.")
@click.option("--system", type=int, metavar="ID", help="This protected system.")
@click.option("--until", required=True, metavar="DATE|DAYSd", help="When it counts again: 2027-03-31 or 90d.")
@click.option("--reason", required=True, help="Why it need not be covered until then.")
@as_json_option
def except_command(
    *,
    column: str,
    client: str | None,
    site: str | None,
    device: str | None,
    system: int | None,
    until: str,
    reason: str,
    as_json: bool,
) -> int:
    """Accept a gap in COLUMN until a date, with the reason."""
    from forestall.cli.clients import find_site
    from forestall.cli.desk import find_device

    if [client, site, device, system].count(None) != 3:
        raise CommandError("name exactly one of --client, --site, --device and --system")
    api = Api.connect()
    body: dict[str, Any] = {"column": column, "reason": reason, "expires_at": _until(until)}
    if client is not None:
        body["client"] = _client(api, client)
    elif site is not None:
        owner, slash, name = site.partition("/")
        if not slash:
            raise CommandError(f"--site: {site!r}: write it as CLIENT/SITE")
        body["site"] = find_site(api, owner, name)["id"]
    elif device is not None:
        body["device"] = find_device(api, device)["id"]
    else:
        body["system"] = system
    made = api.post("/coverage-exceptions", body)
    if as_json:
        print_json(made)
        return 0
    console().print(f"Exception {made['id']}: {made['column']}, {_place(made)}, until {made['expires_at'][:10]}.")
    return 0


@coverage.command()
@click.argument("number", type=int)
@as_json_option
def end(*, number: int, as_json: bool) -> int:
    """End exception NUMBER before its time: the gap counts again."""
    ended = Api.connect().post(f"/coverage-exceptions/{number}/end")
    if as_json:
        print_json(ended)
        return 0
    console().print(f"Exception {ended['id']} has ended: {ended['column']} of {_place(ended)} counts again.")
    return 0


@coverage.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--client", help="Of this client.")
def csv(*, file: Path, client: str | None) -> int:
    """Save the matrix as CSV, a row a cell."""
    import csv as writing
    import io

    api = Api.connect()
    text = io.StringIO()
    writer = writing.writer(text)
    writer.writerow(["client", "site", "thing", "name", "column", "status", "why", "seen_at", "risk", "excepted_until"])
    rows = [
        [
            line["client"]["name"], line["site"]["name"], line["sort"], line["name"], cell["column"], cell["status"],
            cell["why"], cell["at"] or "", cell["risk"] or "", cell["excepted_until"] or "",
        ]
        for line in api.get("/coverage", client=_client(api, client))
        for cell in line["cells"]
        if cell["status"] is not None
    ]  # fmt: skip
    for row in rows:
        # A cell that a spreadsheet would take for a formula gets an apostrophe.
        writer.writerow([f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value for value in row])
    file.write_text(text.getvalue(), encoding="utf-8")
    console().print(f"{len(rows)} cells in {file}")
    return 0


@click.group(invoke_without_command=True)
@click.pass_context
def health(context: click.Context) -> int:
    """How healthy clients and devices are, and the checks behind every lost point."""
    return show_all() if context.invoked_subcommand is None else 0


def show_all(*, client: str | None = None, as_json: bool = False) -> int:
    api = Api.connect()
    found = api.get("/health", client=_client(api, client))
    if as_json:
        print_json(found)
        return 0
    rows: list[tuple[str | Text, ...]] = []
    for one in found:
        rows.append((_score(one["score"]), one["client"]["name"], "", f"{len(one['devices'])} devices"))
        rows += [
            (_score(each["score"]), "", each["device"]["name"], _short(each))
            for each in (one["devices"] if client else one["devices"][:5])
        ]
    print_table(("Score", "Client", "Device", "Why"), rows, empty="No approved device yet: nothing is judged.")
    return 0


@health.command()
@click.argument("name", required=False)
@click.option("--client", help="Of this client.")
@as_json_option
def show(*, name: str | None, client: str | None, as_json: bool) -> int:
    """Show scores; of the device NAME every lost point with the check behind it."""
    from forestall.cli.desk import find_device

    if name is None:
        return show_all(client=client, as_json=as_json)
    api = Api.connect()
    found = api.get("/health", device=find_device(api, name)["id"])
    if as_json:
        print_json(found)
        return 0
    for one in [each for client_ in found for each in client_["devices"]]:
        console().print(
            f"[bold]{one['device']['name']} stands at {one['score']} of 100[/bold], by {one['checks']} checks.\n"
        )
        print_table(
            ("Points", "Result", "Check", "Risk", "Why"),
            [
                (
                    f"-{lost['points']:.1f}",
                    status_text(lost["status"]),
                    f"#{lost['check']} {lost['kind']} {lost['target']}".strip()
                    + (f" and {len(lost['others'])} more" if lost["others"] else ""),
                    lost["risk"],
                    lost["reason"],
                )
                for lost in one["lost"]
            ],
            empty="Nothing is lost: every check passes."
            if one["checks"]
            else "Nothing is judged yet, so nothing counts.",
        )
    return 0


@health.command()
@click.option("--client", required=True, help="The client.")
@as_json_option
def run(*, client: str, as_json: bool) -> int:
    """Judge all devices of a client now, and keep how it stands. Every morning this happens by itself."""
    api = Api.connect()
    made = api.post("/health-runs", {"client": _client(api, client)})
    if as_json:
        print_json(made)
        return 0
    console().print(Text(made["summary"][0], style="bold"))
    for line in made["summary"][1:]:
        console().print(Text(f"- {line}"))
    console().print(f"[dim]{made['judged']} of {made['devices']} devices judged in {made['seconds']:.1f} s[/dim]")
    return 0


@health.command()
@click.option("--client", help="Of this client.")
@as_json_option
def history(*, client: str | None, as_json: bool) -> int:
    """List past runs, newest first."""
    from forestall.cli.desk import everything

    api = Api.connect()
    found = everything(api, "/health-runs", client=_client(api, client))
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Day", "Client", "Score", "Devices", "Fail", "Warn", "Gaps", "Told", "Made"),
        [
            (
                one["day"],
                one["client"]["name"],
                _score(None if one["score"] is None else int(one["score"])),
                str(one["devices"]),
                str(one["counts"].get("fail", 0)),
                str(one["counts"].get("warn", 0)),
                str(one["gaps"]),
                ", ".join(one["told"]) or ("nobody" if one["scheduled"] else f"asked for by {one['by']}"),
                ago(one["at"]),
            )
            for one in found
        ],
        empty="No run yet: each client has one every morning at 06:00 of its own clock. Now: forestall health run",
    )
    return 0


def _client(api: Api, name: str | None) -> str | None:
    from forestall.cli.transfer import find_client

    return None if name is None else str(find_client(api, name)["id"])


def _name(line: dict[str, Any]) -> str:
    more = {"system": " (must be recoverable)", "asset": " (no agent)"}.get(line["sort"], "")
    return f"{line['name']}{more}"


def _mark(cell: dict[str, Any]) -> Text:
    if cell["status"] is None:
        return Text("-", style="dim")
    if cell["excepted_until"]:
        return Text("○ excepted", style="dim")
    shape, style = STATUS[cell["status"]]
    return Text(f"{shape} {cell['status']}", style=style)


def _score(value: int | None) -> Text:
    if value is None:
        return Text("-", style="dim")
    return Text(str(value), style="green" if value >= 90 else "yellow" if value >= 60 else "red")


def _short(one: dict[str, Any]) -> str:
    if not one["checks"]:
        return "nothing is judged yet"
    names = list(dict.fromkeys(lost["kind"].replace("_", " ") for lost in one["lost"]))
    return f"{', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''}" or "every check passes"


def _place(one: dict[str, Any]) -> str:
    if one["system"] is not None:
        return f"protected system {one['system']}"
    if one["device"]:
        return f"device {one['device']['name']}"
    return f"site {one['client']['name']}/{one['site']['name']}" if one["site"] else f"client {one['client']['name']}"


def _until(text: str) -> str:
    try:
        if text.endswith("d") and text[:-1].isdecimal() and len(text) <= 5:
            return (datetime.now(UTC) + timedelta(days=int(text[:-1]))).isoformat()
        return datetime.fromisoformat(text).replace(tzinfo=UTC).isoformat()
    except ValueError:
        raise CommandError(f"--until: {text!r} is no date like 2027-03-31, and no number of days like 90d") from None
