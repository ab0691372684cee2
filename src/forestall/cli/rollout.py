"""``forestall rollout``: updates that go ring by ring, and updates that are held for everyone."""

from __future__ import annotations

import time
from typing import Any

import click
from rich.live import Live
from rich.table import Table
from rich.text import Text

from forestall.cli.client import Api
from forestall.cli.clients import confirmed
from forestall.cli.desk import everything, find_device
from forestall.cli.errors import CommandError
from forestall.cli.plain import plain
from forestall.cli.show import as_json_option, console, print_json, print_table
from forestall.cli.transfer import find_client

LOOK_SECONDS = 2.0
BAR = 30
STYLE = {
    "running": ("▶", "cyan"),
    "awaiting_promotion": ("▲", "yellow"),
    "paused": ("◍", "yellow"),
    "halted": ("■", "red"),
    "finished": ("●", "green"),
    "cancelled": ("-", "dim"),
}
DEVICE = {
    "healthy": ("●", "green"),
    "failed": ("■", "red"),
    "silent": ("◌", "red"),
    "running": ("▶", "cyan"),
    "waiting": ("○", "dim"),
    "left out": ("-", "dim"),
}
"""State of a device → shape and colour, in the order of a ring's bar."""


@click.group(invoke_without_command=True)
@click.pass_context
def rollout(context: click.Context) -> int:
    """Updates ring by ring: 1 device, 1 %, 10 %, 50 %, all. It halts by itself when a ring does not take them well."""
    return list_() if context.invoked_subcommand is None else 0


def state_text(state: str) -> Text:
    shape, style = STYLE.get(state, ("?", "white"))
    return Text(f"{shape} {state.replace('_', ' ')}", style=style)


def list_(*, client: str | None = None, state: str | None = None, as_json: bool = False) -> int:
    api = Api.connect()
    found = everything(api, "/rollouts", client=find_client(api, client)["id"] if client else None, state=state)
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Id", "Rollout", "Client", "State", "Ring", "Why", "Begun (UTC)"),
        [
            (
                one["id"][:8],
                one["name"],
                one["client"]["name"] if one["client"] else "across clients",
                state_text(one["state"]),
                str(one["ring"]),
                one["why"],
                str(one["created_at"])[:16].replace("T", " "),
            )
            for one in found
        ],
        empty="No rollout yet. See what one would do: forestall rollout start --client NAME --dry-run",
    )
    return 0


@rollout.command("list")
@click.option("--client", help="Of this client.")
@click.option("--state", help="In this state: running, halted, finished …")
@as_json_option
def list_command(*, client: str | None, state: str | None, as_json: bool) -> int:
    """List rollouts, newest first."""
    return list_(client=client, state=state, as_json=as_json)


def find_rollout(api: Api, named: str) -> dict[str, Any]:
    """The rollout with this id (its beginning is enough) or name. CommandError when there is none, or several."""
    found = [one for one in everything(api, "/rollouts") if one["id"].startswith(named.lower()) or one["name"] == named]
    if not found:
        raise CommandError(f"no rollout {named!r}; `forestall rollout list` shows them")
    if len(found) > 1:
        raise CommandError(f"several rollouts fit {named!r}: {', '.join(one['id'][:8] for one in found[:5])}")
    return found[0]


@rollout.command()
@click.option("--client", help="At this client; without it across all clients.")
@click.option("--security", "choose", flag_value="security", default=True, help="Security fixes (the default).")
@click.option("--all", "choose", flag_value="all", help="Every update that is pending.")
@click.option("--package", "packages", multiple=True, metavar="NAME[=VERSION]", help="This one. May be repeated.")
@click.option("--pilot", "pilots", multiple=True, metavar="DEVICE", help="Goes first. May be repeated.")
@click.option("--name", default="", help="What it is called.")
@click.option("--approve-each", is_flag=True, help="A person promotes each healthy ring.")
@click.option("--dry-run", is_flag=True, help="Show which device would be in which ring, and start nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json_option
def start(
    *,
    client: str | None,
    choose: str,
    packages: tuple[str, ...],
    pilots: tuple[str, ...],
    name: str,
    approve_each: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Start a rollout of what is pending, after showing its rings."""
    api = Api.connect()
    body: dict[str, Any] = {
        "client": find_client(api, client)["id"] if client else None,
        "name": name,
        "choose": "chosen" if packages else choose,
        "packages": list(packages),
        "pilots": [find_device(api, pilot)["id"] for pilot in pilots],
        "terms": {"promotion": "approval"} if approve_each else {},
    }
    seen = api.post("/rollouts/preview", body)
    if dry_run and as_json:
        print_json(seen)
        return 0
    if not as_json:
        _preview(seen)
    if dry_run:
        return 0
    confirmed(f"Start with {seen['rings'][0]['devices']} of {seen['devices']} devices?", yes=yes)
    made = api.post("/rollouts", body)
    if as_json:
        print_json(made)
    else:
        console().print(
            Text(f"● Ring 1 is open. Watch: forestall rollout show {made['id'][:8]} --watch", style="green")
        )
    return 0


def _preview(seen: dict[str, Any]) -> None:
    updates = [plain(one) for one in seen["updates"]]
    console().print(Text(f"{len(updates)} updates: {', '.join(updates[:5])}{' …' if len(updates) > 5 else ''}"))
    print_table(
        ("Ring", "At most touched", "New in it", "Devices"),
        [
            (
                str(ring["number"]),
                f"{ring['cap']:,}",
                f"{ring['devices']:,}",
                ", ".join(ring["names"][:6]) + (" …" if ring["devices"] > 6 else ""),
            )
            for ring in seen["rings"]
        ],
        empty="",
    )
    for one in seen["left_out"][:10]:
        console().print(Text(f"  left out: {plain(one['device'])}: {plain(one['why'])}", style="dim"))
    for held in seen["held"]:
        console().print(Text(f"■ held for everyone: {plain(held)}", style="yellow"))


@rollout.command()
@click.argument("named", metavar="ROLLOUT")
@click.option("--watch", is_flag=True, help="Stay, and show it live until it ends.")
@as_json_option
def show(*, named: str, watch: bool, as_json: bool) -> int:
    """Show a rollout ring by ring. ROLLOUT: its name, or the beginning of its id. Exit code 1 when it was halted."""
    api = Api.connect()
    number = find_rollout(api, named)["id"]
    one = api.get(f"/rollouts/{number}")
    if as_json:
        print_json(one)
        return 0
    screen = console()
    if watch and screen.is_terminal:
        with Live(_picture(one), console=screen, refresh_per_second=4) as live:
            while one["state"] not in ("halted", "finished", "cancelled"):
                time.sleep(LOOK_SECONDS)
                one = api.get(f"/rollouts/{number}")
                live.update(_picture(one))
    else:
        told = ""
        while True:
            said = f"ring {one['ring']} {one['state'].replace('_', ' ')}: {one['why']}"
            if watch and said != told:
                click.echo(plain(said))
                told = said
            if not watch or one["state"] in ("halted", "finished", "cancelled"):
                break
            time.sleep(LOOK_SECONDS)
            one = api.get(f"/rollouts/{number}")
        screen.print(_picture(one))
    bad = [
        each
        for state in ("failed", "silent")
        for each in everything(api, f"/rollouts/{number}/devices", state=state)[:20]
    ]
    for each in bad:
        screen.print(Text(f"■ {plain(each['device']['name'])}: {plain(each['why'])}", style="red"))
    return int(one["state"] == "halted")


def _picture(one: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("Ring", "", "Healthy", "Touched", "At most", "State"):
        table.add_column(name, no_wrap=name != "State")
    table.title = Text(plain(one["name"]), style="bold").append(" ").append(state_text(one["state"]))
    table.title_justify = table.caption_justify = "left"
    for ring in one["rings"]:
        states = ring["states"]
        table.add_row(
            str(ring["number"]),
            _bar(states, ring["devices"]),
            f"{states.get('healthy', 0)} of {ring['needed']} needed",
            f"{ring['touched']:,}",
            f"{ring['cap']:,}",
            _ring_words(one, ring),
        )
    table.caption = Text(plain(one["why"]), style="dim")
    return table


def _bar(states: dict[str, int], total: int) -> Text:
    """The ring's devices as a bar: each state with its own shape, so that it reads without colour."""
    text, used = Text(), 0
    for state, (shape, style) in DEVICE.items():
        count = states.get(state, 0)
        if count:
            width = max(1, round(count / max(total, 1) * BAR))
            width = min(width, BAR - used)
            text.append(shape * width, style=style)
            used += width
    return text.append("·" * (BAR - used), style="dim")


def _ring_words(one: dict[str, Any], ring: dict[str, Any]) -> Text:
    if ring["verdict"] == "healthy":
        return Text("● healthy", style="green")
    if ring["verdict"] == "failed":
        return Text(f"■ {plain(ring['why'])}", style="red")
    if ring["number"] == one["ring"]:
        return Text("▶ under way", style="cyan")
    return Text("○ not begun", style="dim")


@rollout.command()
@click.argument("named", metavar="ROLLOUT")
def promote(*, named: str) -> int:
    """Let the next ring begin, once this one is healthy."""
    api = Api.connect()
    done = api.post(f"/rollouts/{find_rollout(api, named)['id']}/promote")
    console().print(Text(f"● Ring {done['ring']} is open.", style="green"))
    return 0


@rollout.command()
@click.argument("named", metavar="ROLLOUT")
@click.option("--reason", required=True, help="Why.")
def pause(*, named: str, reason: str) -> int:
    """Touch nothing more until it is resumed. What no device has taken yet is taken back."""
    return _act(named, "pause", reason, "Paused. Go on: forestall rollout resume")


@rollout.command()
@click.argument("named", metavar="ROLLOUT")
@click.option("--reason", default="", help="Why; needed after a halt.")
def resume(*, named: str, reason: str) -> int:
    """Go on after a pause; after a halt without the devices that failed, which are set aside."""
    return _act(named, "resume", reason, "It goes on.")


@rollout.command()
@click.argument("named", metavar="ROLLOUT")
@click.option("--reason", required=True, help="Why.")
def cancel(*, named: str, reason: str) -> int:
    """End it where it is. What is installed stays."""
    return _act(named, "cancel", reason, "Ended.")


def _act(named: str, verb: str, reason: str, words: str) -> int:
    api = Api.connect()
    api.post(f"/rollouts/{find_rollout(api, named)['id']}/{verb}", {"reason": reason})
    console().print(Text(f"● {words}", style="green"))
    return 0


@rollout.command()
@click.option("--ended", is_flag=True, help="Also those that hold no more.")
@click.option("--end", "end_id", type=int, metavar="ID", help="End this one, for every client; with --reason.")
@click.option("--override", "override_id", type=int, metavar="ID", help="Install it all the same at --client.")
@click.option("--client", help="With --override: at this client.")
@click.option("--reason", default="", help="With --end and --override: why.")
@as_json_option
def holds(
    *, ended: bool, end_id: int | None, override_id: int | None, client: str | None, reason: str, as_json: bool
) -> int:
    """List updates that nobody installs for now, because a first ring went wrong somewhere; end or override one."""
    api = Api.connect()
    if end_id is not None:
        done = api.post(f"/update-holds/{end_id}/end", {"reason": reason})
        console().print(Text(f"● {plain(done['name'])} {plain(done['candidate'])} is held no more.", style="green"))
        return 0
    if override_id is not None:
        if not client:
            raise CommandError("say where: --client")
        body = {"client": find_client(api, client)["id"], "hold": override_id, "reason": reason}
        done = api.post("/update-holds/override", body)
        console().print(
            Text(f"● {plain(client)} installs {plain(done['name'])} {plain(done['candidate'])}.", style="green")
        )
        return 0
    found = everything(api, "/update-holds", ended="true" if ended else None)
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Id", "Update", "Version", "Why", "Since (UTC)", "Installed all the same at"),
        [
            (
                str(one["id"]),
                f"{one['name']} ({one['manager']})",
                one["candidate"],
                f"ended: {one['ended_why']}" if one["ended_at"] else one["why"],
                str(one["since"])[:16].replace("T", " "),
                ", ".join(each["name"] for each in one["overridden_by"]),
            )
            for one in found
        ],
        empty="No update is held.",
    )
    return 0
