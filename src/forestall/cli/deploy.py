"""``forestall deploy``: what becomes of updates on devices; install them now; policies and decisions."""

from __future__ import annotations

import re
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich.live import Live
from rich.table import Table
from rich.text import Text

from forestall.cli.client import Api
from forestall.cli.clients import confirmed, find_site
from forestall.cli.desk import everything, find_device
from forestall.cli.errors import CommandError
from forestall.cli.plain import plain
from forestall.cli.show import ago, as_json_option, console, print_json, print_table
from forestall.cli.transfer import find_client

LOOK_SECONDS = 2.0
STYLE = {
    "verified": ("●", "green"),
    "installed": ("◐", "cyan"),
    "pending_reboot": ("◐", "yellow"),
    "installing": ("▶", "cyan"),
    "staged": ("▷", "cyan"),
    "planned": ("○", "white"),
    "blocked": ("■", "yellow"),
    "skipped": ("-", "dim"),
    "failed": ("✖", "red"),
    "regressed": ("✖", "red"),
    "superseded": ("-", "dim"),
    "withdrawn": ("-", "dim"),
}
WORDS = {"pending_reboot": "installed, pending reboot", "installed": "installed, not verified yet"}
OVER = frozenset({"verified", "failed", "superseded", "withdrawn", "regressed", "skipped", "blocked", "planned"})
"""States in which a run that has answered has nothing more to say."""


@click.group()
def deploy() -> None:
    """Updates on devices: what became of each, install now, approve, defer, exclude, set policies."""


def state_text(state: str) -> Text:
    shape, style = STYLE.get(state, ("?", "white"))
    return Text(f"{shape} {WORDS.get(state, state.replace('_', ' '))}", style=style)


@deploy.command("list")
@click.option("--client", help="Of this client.")
@click.option("--device", help="On this device.")
@click.option("--state", default="", help="In this state: planned, blocked, failed, verified …")
@click.option("--package", default="", help="Of this package.")
@click.option("--late", is_flag=True, help="Past their deadline.")
@click.option("--settled", is_flag=True, help="Also what is verified, superseded, withdrawn.")
@as_json_option
def list_command(
    *, client: str | None, device: str | None, state: str, package: str, late: bool, settled: bool, as_json: bool
) -> int:
    """List deployments: one update on one device each, newest first."""
    api = Api.connect()
    found = everything(
        api,
        "/deployments",
        client=find_client(api, client)["id"] if client else None,
        device=find_device(api, device)["id"] if device else None,
        state=state or None,
        name=package or None,
        late="true" if late else None,
        settled="true" if settled else None,
    )
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Id", "Device", "Update", "Version", "State", "Planned for (UTC)", "Due (UTC)", "Why"),
        [
            (
                str(one["id"]),
                one["device"]["name"],
                Text(one["name"], style="bold" if one["security"] else ""),
                one["candidate"],
                state_text(one["state"]),
                _at(one["planned_for"]),
                _due(one),
                one["why"],
            )
            for one in found
        ],
        empty="No update waits. With --settled: what became of those before.",
    )
    return 0


@deploy.command()
@click.argument("deployment_id", type=int)
@as_json_option
def show(*, deployment_id: int, as_json: bool) -> int:
    """Show the story of one deployment: what happened to it, when, by whom, and the log."""
    one = Api.connect().get(f"/deployments/{deployment_id}")
    if as_json:
        print_json(one)
        return 0
    screen = console()
    screen.print(Text(plain(f"{one['name']} {one['candidate']} on {one['device']['name']}"), style="bold"))
    screen.print(state_text(one["state"]), Text(f"since {_at(one['state_since'])} UTC"))
    if one["why"]:
        screen.print(Text(plain(one["why"])))
    facts = {
        "Before": one["installed"],
        "Provider": one["manager"],
        "Severity": one["severity"] or ("security, unrated" if one["security"] else "no security fix"),
        "Planned for": _at(one["planned_for"]),
        "Due": _due(one) + (f" by {one['bound_by']}" if one["bound_by"] else ""),
        "Installed": f"{_at(one['installed_at'])} by {one['installed_by']}" if one["installed_at"] else "",
        "Run": one["job"] or "",
        "Ticket": f"#{one['ticket']}" if one["ticket"] else "",
        "Evidence": one["evidence"],
    }
    for name, value in facts.items():
        if value:
            screen.print(Text(f"{name:<12} {plain(str(value))}"))
    print_table(
        ("When (UTC)", "State", "By", "Why"),
        [(_at(change["at"]), state_text(change["state"]), change["actor"], change["why"]) for change in one["changes"]],
        empty="It has no history yet.",
    )
    if one["log_excerpt"]:
        screen.print(Text("Log", style="bold"))
        screen.print(Text("\n".join(plain(line) for line in one["log_excerpt"].splitlines())))
    return 0


@deploy.command()
@click.argument("device")
@click.option("--security", "choose", flag_value="security", default=True, help="Security fixes (the default).")
@click.option("--all", "choose", flag_value="all", help="Every update that is pending.")
@click.option("--package", "packages", multiple=True, metavar="NAME[=VERSION]", help="This one. May be repeated.")
@click.option("--reason", default="", help="Why now; goes into what is signed.")
@click.option("--watch", is_flag=True, help="Stay, and show what becomes of each update until it is verified.")
@as_json_option
def now(*, device: str, choose: str, packages: tuple[str, ...], reason: str, watch: bool, as_json: bool) -> int:
    """Install updates on DEVICE now, whatever the policy and the windows say.

    The run needs a signature (`forestall sign`), unless a standing order for patching allows it. Exit code 1 when,
    with --watch, an update failed.
    """
    api = Api.connect()
    found = find_device(api, device)
    body = {"choose": "chosen" if packages else choose, "packages": list(packages), "reason": reason}
    begun = api.post(f"/devices/{found['id']}/deploy", body)
    if as_json:
        print_json(begun)
    else:
        screen = console()
        updates = f"{begun['updates']} update{'s' * (begun['updates'] != 1)}"
        if begun["awaiting_signature"]:
            screen.print(Text(f"■ {updates} prepared on {plain(found['name'])}. Sign: forestall sign", style="yellow"))
        else:
            screen.print(Text(f"▶ {updates} on their way to {plain(found['name'])}.", style="cyan"))
        for left in begun["left"]:
            screen.print(Text(f"  left out: {plain(left['name'])}: {plain(left['why'])}", style="dim"))
    return _watch(api, begun["jobs"]) if watch else 0


@deploy.command()
@click.argument("device")
def watch(*, device: str) -> int:
    """Watch the newest run that installs on DEVICE, until each update is verified or has failed."""
    api = Api.connect()
    found = find_device(api, device)
    rows = [one for one in everything(api, "/deployments", device=found["id"], settled="true") if one["job"]]
    if not rows:
        raise CommandError(f"no run has installed anything on {found['name']} yet")
    newest = max(rows, key=lambda one: str(one["state_since"]))
    return _watch(api, [newest["job"]])


def _watch(api: Api, jobs: list[str]) -> int:
    """Show the runs' updates as they move, until nothing more is to come. 1 when one failed."""
    screen = console()
    if not screen.is_terminal:
        return _follow(api, jobs)
    with Live(console=screen, refresh_per_second=4) as live:
        while True:
            rows, states = _look(api, jobs)
            live.update(_progress(rows, states))
            if _is_over(rows, states):
                return int(any(row["state"] in ("failed", "regressed") for row in rows))
            time.sleep(LOOK_SECONDS)


def _follow(api: Api, jobs: list[str]) -> int:
    told: dict[int, str] = {}
    while True:
        rows, states = _look(api, jobs)
        for row in rows:
            said = f"{row['state']} {row['why']}".strip()
            if told.get(row["id"]) != said:
                told[row["id"]] = said
                click.echo(plain(f"{datetime.now(UTC):%H:%M:%S} {row['name']} {row['candidate']}: {said}"))
        if _is_over(rows, states):
            return int(any(row["state"] in ("failed", "regressed") for row in rows))
        time.sleep(LOOK_SECONDS)


def _look(api: Api, jobs: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
    rows = [row for job in jobs for row in everything(api, "/deployments", job=job)]
    return rows, [api.get(f"/jobs/{job}")["state"] for job in jobs]


def _is_over(rows: list[dict[str, Any]], states: list[str]) -> bool:
    if any(state in ("awaiting_signature", "queued", "delivered") for state in states):
        return False
    return all(row["state"] in OVER for row in rows)


def _progress(rows: list[dict[str, Any]], states: list[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("Update", "Version", "State", "Why"):
        table.add_column(name, ratio=1 if name == "Why" else None, no_wrap=name == "State")
    for row in rows:
        table.add_row(
            Text(plain(row["name"])), Text(plain(row["candidate"])), state_text(row["state"]), Text(plain(row["why"]))
        )
    counted = Counter(row["state"] for row in rows)
    done = ", ".join(f"{number} {WORDS.get(state, state.replace('_', ' '))}" for state, number in counted.items())
    runs = ", ".join(sorted({state.replace("_", " ") for state in states}))
    table.caption = Text(f"Run {runs}. {done}.", style="dim")
    return table


# --- decisions --------------------------------------------------------------------------------------------------


def _place(command: Any) -> Any:
    for option in (
        click.option("--provider", default="", help="Of this provider only: apt, winget …"),
        click.option("--version", "candidate", default="", help="This version only."),
        click.option("--device", help="On this device only."),
        click.option("--client", help="At this client; not needed with --device."),
    ):
        command = option(command)
    return command


def _decide(decision: str, package: str, client: str | None, device: str | None, **said: str | datetime | None) -> int:
    api = Api.connect()
    until = said.get("until")
    machine = find_device(api, device) if device else None
    if machine is None and not client:
        raise CommandError("say where: --client or --device")
    owner = machine["client"]["id"] if machine is not None else find_client(api, str(client))["id"]
    body = {
        "client": owner,
        "device": None if machine is None else machine["id"],
        "name": package,
        "decision": decision,
        "manager": said["manager"],
        "candidate": said["candidate"],
        "reason": said.get("reason", ""),
        "until": until.isoformat() if isinstance(until, datetime) else None,
    }
    made = api.post("/update-decisions", body)
    words = {"approve": "Approved", "defer": "Deferred", "exclude": "Excluded"}[decision]
    console().print(
        Text(f"● {words}: {plain(package)}. Take it back: forestall deploy undo {made['id']}", style="green")
    )
    return 0


@deploy.command()
@click.argument("package")
@_place
def approve(*, package: str, client: str | None, device: str | None, candidate: str, provider: str) -> int:
    """Approve PACKAGE: it is installed in the next window. What failed is tried again."""
    return _decide("approve", package, client, device, manager=provider, candidate=candidate)


@deploy.command()
@click.argument("package")
@_place
@click.option("--until", required=True, metavar="DATE|DAYS", help="2026-12-24, or 7d.")
@click.option("--reason", required=True, help="Why; everybody who sees the update reads it.")
def defer(
    *, package: str, client: str | None, device: str | None, candidate: str, provider: str, until: str, reason: str
) -> int:
    """Defer PACKAGE until a day. Its deadline does not move: that takes an exception (`forestall updates`)."""
    return _decide(
        "defer", package, client, device, manager=provider, candidate=candidate, until=_until(until), reason=reason
    )


@deploy.command()
@click.argument("package")
@_place
@click.option("--until", metavar="DATE|DAYS", help="2026-12-24, or 7d; without it for good.")
@click.option("--reason", required=True, help="Why; everybody who sees the update reads it.")
def exclude(
    *,
    package: str,
    client: str | None,
    device: str | None,
    candidate: str,
    provider: str,
    until: str | None,
    reason: str,
) -> int:
    """Leave PACKAGE out (`linux-*` stands for all that begin so)."""
    end = None if until is None else _until(until)
    return _decide("exclude", package, client, device, manager=provider, candidate=candidate, until=end, reason=reason)


@deploy.command()
@click.argument("decision_id", type=int)
def undo(*, decision_id: int) -> int:
    """Take a decision back; `forestall deploy decisions` lists them."""
    done = Api.connect().post(f"/update-decisions/{decision_id}/end")
    console().print(Text(f"● Taken back: {done['decision']} {plain(done['name'])}.", style="green"))
    return 0


@deploy.command()
@click.option("--client", help="Of this client.")
@click.option("--ended", is_flag=True, help="Also those that hold no more.")
@as_json_option
def decisions(*, client: str | None, ended: bool, as_json: bool) -> int:
    """List approvals, deferrals and exclusions, newest first."""
    api = Api.connect()
    found = everything(
        api,
        "/update-decisions",
        client=find_client(api, client)["id"] if client else None,
        ended="true" if ended else None,
    )
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Id", "Client", "Decision", "Update", "Version", "Until (UTC)", "By", "When", "Why"),
        [
            (
                str(one["id"]),
                one["client"]["name"],
                one["decision"] + (" (ended)" if one["ended_at"] else ""),
                one["name"],
                one["candidate"] or "every",
                _at(one["until"]),
                one["by"],
                ago(one["at"]),
                one["reason"],
            )
            for one in found
        ],
        empty="Nothing was decided about updates.",
    )
    return 0


# --- policies ---------------------------------------------------------------------------------------------------


@deploy.command()
@click.argument("client", required=False)
@click.option("--site", help="Of this site of the client alone.")
@click.option("--choose", type=click.Choice(["security", "all", "nothing"]), help="What is installed by itself.")
@click.option("--approval", type=click.Choice(["automatic", "manual"]), help="Whether each has to be approved first.")
@click.option("--defer-days", type=click.IntRange(0, 90), help="So long after its release an update waits.")
@click.option("--set", "terms", multiple=True, metavar="NAME=VALUE", help="A term: reboot=when_needed … Repeatable.")
@click.option("--remove", is_flag=True, help="Take the policy away: nothing is installed by itself any more.")
@click.option("--yes", is_flag=True, help="With --remove: do not ask.")
@as_json_option
def policy(
    *,
    client: str | None,
    site: str | None,
    choose: str | None,
    approval: str | None,
    defer_days: int | None,
    terms: tuple[str, ...],
    remove: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Show patch policies; set or remove the one of CLIENT. What is not named stays as it is.

    It installs nothing by itself: that takes a window, and a standing order (`forestall order patching CLIENT`) or a
    signature each time.
    """
    api = Api.connect()
    owner = find_client(api, client)["id"] if client else None
    place = find_site(api, client, site)["id"] if client and site else None
    found = everything(api, "/patch-policies", client=owner)
    own = next((one for one in found if (one["site"] or {"id": None})["id"] == place), None) if owner else None
    if remove:
        if own is None:
            raise CommandError("there is no such patch policy")
        confirmed("Nothing will be installed by itself any more. Remove the policy?", yes=yes)
        api.delete(f"/patch-policies/{own['id']}")
        console().print(Text("● Removed.", style="green"))
        return 0
    if owner and (choose or approval or defer_days is not None or terms):
        body = {
            "client": owner,
            "site": place,
            "choose": choose or (own or {"choose": "security"})["choose"],
            "approval": approval or (own or {"approval": "automatic"})["approval"],
            "defer_days": defer_days if defer_days is not None else (own or {"defer_days": 0})["defer_days"],
            "terms": {**(own or {"terms": {}})["terms"], **dict(_term(one) for one in terms)},
        }
        found = [api.post("/patch-policies", body)]
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Client", "Site", "Installs", "Approval", "Waits", "Terms", "Changed"),
        [
            (
                one["client"]["name"],
                one["site"]["name"] if one["site"] else "every site",
                one["choose"],
                one["approval"],
                f"{one['defer_days']} days" if one["defer_days"] else "no",
                ", ".join(f"{name}={_said(value)}" for name, value in one["terms"].items() if USUAL.get(name) != value)
                or "the usual",
                f"{ago(one['changed_at'])} by {one['changed_by']}",
            )
            for one in found
        ],
        empty="No patch policy: nothing is installed by itself. Set one: forestall deploy policy CLIENT --choose …",
    )
    return 0


USUAL = {
    "reboot": "never", "warn_minutes": 5, "least_free_mb": 500, "on_battery": "block", "sessions": "ignore",
    "snapshot": "never", "backup": "warn", "backup_hours": 48, "backup_restored_days": 0, "minutes_needed": 15,
    "rings": True,
}  # fmt: skip
"""Terms that a policy has when nothing else was said; ``--json`` shows all."""


def _term(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise CommandError(f"--set {text!r}: expected NAME=VALUE")
    if value in ("true", "false"):
        return name, value == "true"
    return name, int(value) if value.isdecimal() else value


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _until(text: str) -> datetime:
    days = re.fullmatch(r"(\d{1,3})d", text.strip())
    if days is not None:
        return datetime.now(UTC) + timedelta(days=int(days[1]))
    try:
        given = datetime.fromisoformat(text.strip())
    except ValueError:
        raise CommandError(f"--until {text!r}: expected a day such as 2026-12-24, or 7d") from None
    return given if given.tzinfo is not None else given.replace(tzinfo=UTC)


def _at(moment: str | None) -> str:
    return "" if not moment else moment[:16].replace("T", " ")


def _due(one: dict[str, Any]) -> str:
    if not one["due_at"]:
        return ""
    late = one["settled_at"] is None and datetime.fromisoformat(one["due_at"]) < datetime.now(UTC)
    return _at(one["due_at"]) + (" late" if late else " will be missed" if one["misses"] else "")
