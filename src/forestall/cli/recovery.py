"""``forestall recovery``: what must be recoverable, what covers it, restore tests and what they proved."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from forestall.cli.client import Api
from forestall.cli.clients import minutes, span
from forestall.cli.desk import everything, find_device
from forestall.cli.errors import CommandError
from forestall.cli.plain import plain
from forestall.cli.show import ago, as_json_option, console, print_json, print_table, status_text
from forestall.cli.transfer import find_client

LEVELS = ("integrity", "sample", "whole", "database", "application")
MOST_ATTACHED = 5_000_000
RUNG = {"proved": ("●", "green"), "lapsed": ("◍", "magenta"), "failed": ("■", "red"), "never": ("○", "dim")}
BRING_BACK = {"yes": ("●", "green"), "perhaps": ("◌", "cyan"), "no": ("■", "red")}
SAID = {"signed": "signed by the device", "reported": "reported by the device", "attested": "attested by a person"}


@click.group()
def recovery() -> None:
    """What must be recoverable: what covers it, and when it was last brought back."""


@recovery.command("list")
@click.option("--client", help="Of this client.")
@click.option("--device", help="On this device.")
@click.option("--archived", is_flag=True, help="Also what need not be recoverable any more.")
@as_json_option
def list_command(*, client: str | None, device: str | None, archived: bool, as_json: bool) -> int:
    """List protected systems. Exit code 1 when one could not be brought back today."""
    api = Api.connect()
    found = everything(
        api,
        "/protected-systems",
        client=find_client(api, client)["id"] if client else None,
        device=find_device(api, device)["id"] if device else None,
        archived="true" if archived else None,
    )
    lost = [one for one in found if one["bring_back"] == "no" and not one["archived_at"]]
    if as_json:
        print_json(found)
        return int(bool(lost))
    print_table(
        ("Id", "System", "Back today", "Proved", "Backup", "Why"),
        [
            (
                str(one["id"]),
                f"{one['name']}{' (archived)' if one['archived_at'] else ''}\n"
                f"{one['device']['name']}, {one['client']['name']}",
                _text(BRING_BACK, one["bring_back"]),
                f"{one['level']}, {one['proved_by']}\n{ago(one['verified_at'])}" if one["level"] else "nothing",
                ago(one["backup_at"]),
                Text.assemble(status_text(one["status"]), "\n", plain(one["why"])),
            )
            for one in found
        ],
        empty="Nothing is named as recoverable yet: forestall recovery suggest lists what looks as if it should be.",
    )
    return int(bool(lost))


@recovery.command()
@click.argument("system")
@as_json_option
def show(*, system: str, as_json: bool) -> int:
    """Show SYSTEM: its gaps, the ladder of proofs, what covers it and its objectives."""
    api = Api.connect()
    one = api.get(f"/protected-systems/{find_system(api, system)['id']}")
    if as_json:
        print_json(one)
        return 0
    screen = console()
    screen.print(Text(plain(f"{one['name']} ({one['kind']} {one['what']})".replace(" )", ")")), style="bold"))
    screen.print(status_text(one["status"]), Text(plain(one["why"])))
    for gap in one["gaps"][1:]:
        screen.print(status_text(gap["status"]), Text(plain(gap["sentence"])))
    screen.print(Text("Ladder of proofs", style="bold"))
    for rung in one["rungs"]:
        line = _text(RUNG, rung["state"])
        line.append(f" {rung['level']:<12}", style="bold" if rung["wanted"] else "")
        if rung["at"]:
            line.append(f" {ago(rung['at'])}, {SAID.get(rung['source'], rung['source'])}")
        line.append(" (wanted)" if rung["wanted"] else "")
        screen.print(line)
    facts = {
        "Where": f"{one['client']['name']}, {one['site']['name']}, {one['device']['name']}",
        "Point": f"{span(one['rpo_minutes'])}; newest backup {ago(one['backup_at'])}",
        "Time": f"{span(one['rto_minutes']) if one['rto_minutes'] else 'no objective'}; {_took(one)}",
        "Copies": f"{one['copies_found']} of {one['copies']}; off-site {_known(one['off_site_found'])}, "
        f"out of reach {_known(one['offline_found'])}",
        "Tests": f"level {one['wanted_level']} every {one['test_every_days']} days, "
        f"{'by itself' if one['test_by_itself'] else 'when somebody asks'}; at most {one['test_most_mb']} MB"
        + (f", {one['test_rate_kb']} kB/s" if one["test_rate_kb"] else ""),
        "No test": one["test_why_not"],
        "Ticket": f"#{one['ticket']}" if one["ticket"] else "",
        "Note": one["note"],
        "Archived": one["archived_why"],
    }
    for name, value in facts.items():
        if value:
            screen.print(Text(f"{name:<9} {plain(value)}"))
    print_table(
        ("Backup", "Tool", "Told by", "Holds", "Last good", "Why"),
        [
            (one["backup"], one["tool"], one["device"]["name"], one["cover"], ago(one["last_success_at"]), one["why"])
            for one in one["covering"]
        ],
        empty="No backup that any device tells of holds it.",
    )
    return 0


def _terms(command: Any) -> Any:
    for option in reversed(
        (
            click.option("--name", help="What it is called."),
            click.option("--point", "rpo", metavar="TIME", help="Recovery point objective: 26h, 30min."),
            click.option("--time", "rto", metavar="TIME|none", help="Recovery time objective: 4h; none: no objective."),
            click.option("--level", type=click.Choice(["reported", *LEVELS]), help="Level that must be proved."),
            click.option("--every", "every", type=int, metavar="DAYS", help="How long a proof counts."),
            click.option("--importance", type=click.Choice(["critical", "high", "medium", "low"])),
            click.option("--retention", type=int, metavar="DAYS", help="How far back one must be able to go."),
            click.option("--copies", type=int, help="Copies, the live one included."),
            click.option("--off-site/--no-off-site", default=None, help="One copy must lie elsewhere."),
            click.option("--offline/--no-offline", default=None, help="One copy must be offline or immutable."),
            click.option("--tests/--no-tests", "by_itself", default=None, help="Test restores in windows by itself."),
            click.option("--most-mb", type=int, help="Most that one test restores."),
            click.option("--rate-kb", type=int, help="Most kB a second that one test reads; 0: no bound."),
            click.option("--sample", type=int, help="Files of a sample."),
            click.option(
                "--backup", "backups", multiple=True, metavar="[DEVICE:]NAME", help="A backup that holds it, by name."
            ),
            click.option("--note", help="Anything else worth knowing."),
        )
    ):
        command = option(command)
    return command


def _body(api: Api, given: dict[str, Any], device: dict[str, Any]) -> dict[str, Any]:
    names = {
        "rpo": "rpo_minutes", "rto": "rto_minutes", "level": "wanted_level", "every": "test_every_days",
        "retention": "retention_days", "by_itself": "test_by_itself", "most_mb": "test_most_mb",
        "rate_kb": "test_rate_kb", "sample": "test_sample",
    }  # fmt: skip
    body: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or value == ():
            continue
        if name == "rpo":
            value = minutes(value)
        if name == "rto":
            value = None if value == "none" else minutes(value)
        if name == "backups":
            value = [] if value == ("",) else [_backup(api, one, device) for one in value]
        body[names.get(name, name)] = value
    return body


def _backup(api: Api, text: str, device: dict[str, Any]) -> dict[str, Any]:
    where, colon, name = text.partition(":")
    if not colon:
        return {"device": device["id"], "backup": text}
    return {"device": find_device(api, where)["id"], "backup": name}


@recovery.command()
@click.argument("device")
@click.option("--folder", metavar="PATH", help="A folder of the device; without it the whole machine.")
@click.option("--database", metavar="ENGINE:NAME", help="A database: postgresql:shop.")
@_terms
@as_json_option
def add(*, device: str, folder: str | None, database: str | None, as_json: bool, **given: Any) -> int:
    """Name something on DEVICE that must be recoverable: the machine, a folder or a database."""
    if folder and database:
        raise CommandError("say one: --folder or --database")
    api = Api.connect()
    found = find_device(api, device)
    body = {
        **_body(api, given, found),
        "device": found["id"],
        "kind": "folder" if folder else "database" if database else "machine",
        "what": folder or database or "",
    }
    made = api.post("/protected-systems", body)
    if as_json:
        print_json(made)
        return 0
    console().print(status_text(made["status"]), Text(plain(f"{made['name']} (system {made['id']}): {made['why']}")))
    return 0


@recovery.command()
@click.argument("system")
@_terms
@as_json_option
def change(*, system: str, as_json: bool, **given: Any) -> int:
    """Change what is demanded of SYSTEM. `--backup ""`: backups are found by what is in them again."""
    api = Api.connect()
    found = find_system(api, system)
    body = _body(api, given, found["device"])
    if not body:
        raise CommandError("nothing to change: give an option, such as --point 26h")
    made = api.patch(f"/protected-systems/{found['id']}", body)
    if as_json:
        print_json(made)
        return 0
    console().print(status_text(made["status"]), Text(plain(f"{made['name']}: {made['why']}")))
    return 0


@recovery.command()
@click.argument("system")
@click.option("--why", help="Why it need not be recoverable any more.")
@click.option("--undo", is_flag=True, help="Take it back: it must be recoverable again.")
def remove(*, system: str, why: str | None, undo: bool) -> int:
    """Archive SYSTEM: it is asked for no more. Its proofs stay, and --undo brings it back."""
    api = Api.connect()
    found = find_system(api, system, archived=True)
    if undo:
        made = api.post(f"/protected-systems/{found['id']}/restore")
        console().print(status_text(made["status"]), Text(plain(f"{made['name']} is asked for again: {made['why']}")))
        return 0
    if not why:
        raise CommandError("--why: say why it need not be recoverable any more")
    made = api.post(f"/protected-systems/{found['id']}/archive", {"why": why})
    console().print(
        Text(f"● {plain(made['name'])} is archived. Take it back: forestall recovery remove {made['id']} --undo")
    )
    return 0


@recovery.command()
@click.option("--client", help="At this client.")
@click.option("--add", "take", is_flag=True, help="Name all of them, with the usual objectives.")
@as_json_option
def suggest(*, client: str | None, take: bool, as_json: bool) -> int:
    """List devices and databases that look as if they had to be recoverable, and that nobody has named."""
    api = Api.connect()
    found = api.get("/protected-systems/suggestions", client=find_client(api, client)["id"] if client else None)
    if take:
        for one in found:
            body = {"device": one["device"]["id"], "kind": one["kind"], "what": one["what"], "name": one["name"]}
            made = api.post("/protected-systems", body)
            console().print(status_text(made["status"]), Text(plain(f"{made['name']}: {made['why']}")))
        return 0
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Client", "Device", "Kind", "What", "Why"),
        [
            (one["client"]["name"], one["device"]["name"], one["kind"], one["what"] or "all of it", one["why"])
            for one in found
        ],
        empty="Everything that looks as if it had to be recoverable is named.",
    )
    return 0


@recovery.command()
@click.argument("system")
@click.option("--level", type=click.Choice(LEVELS), help="At this level; without it the wanted one.")
@as_json_option
def test(*, system: str, level: str | None, as_json: bool) -> int:
    """Begin a restore test of SYSTEM now. Without a standing order for `restore_test` a signature is needed."""
    api = Api.connect()
    found = find_system(api, system)
    begun = api.post(f"/protected-systems/{found['id']}/test", {"level": level or ""})
    if as_json:
        print_json(begun)
        return 0
    said = f"the restore of {begun['parameters']['backup']} on {begun['device']['name']}"
    if begun["state"] == "awaiting_signature":
        console().print(Text(plain(f"■ Prepared: {said}. Sign: forestall sign {begun['job'][:8]}"), style="yellow"))
    else:
        console().print(Text(plain(f"▶ On its way: {said}. Follow: forestall jobs {begun['job'][:8]}"), style="cyan"))
    return 0


@recovery.command()
@click.argument("system")
@click.option("--level", type=click.Choice(["reported", *LEVELS]), required=True, help="What was shown.")
@click.option("--failed", is_flag=True, help="It could not be brought back.")
@click.option("--at", "moment", metavar="DATE[ TIME]", help="When (UTC); without it now.")
@click.option("--took", metavar="TIME", help="How long the restore took: 4h, 30min.")
@click.option("--detail", required=True, help="What was restored, where to, and how it was compared.")
@click.option(
    "--attach", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A protocol or picture; up to 5 MB."
)
@as_json_option
def attest(
    *,
    system: str,
    level: str,
    failed: bool,
    moment: str | None,
    took: str | None,
    detail: str,
    attach: Path | None,
    as_json: bool,
) -> int:
    """Put a restore test of SYSTEM that was done by hand on record, under your name."""
    api = Api.connect()
    found = find_system(api, system)
    attachment = None
    if attach is not None:
        if attach.stat().st_size > MOST_ATTACHED:
            raise CommandError(f"--attach: {attach} has {attach.stat().st_size:,} bytes, at most {MOST_ATTACHED:,}")
        attachment = {"name": attach.name[-200:], "content": base64.b64encode(attach.read_bytes()).decode()}
    made = api.post(
        f"/protected-systems/{found['id']}/attest",
        {
            "level": level,
            "ok": not failed,
            "at": None if moment is None else _moment(moment),
            "detail": detail,
            "seconds": None if took is None else minutes(took) * 60,
            "attachment": attachment,
        },
    )
    if as_json:
        print_json(made)
        return 0
    console().print(
        Text(
            f"● On record under your name: proof {made['id']}. Take it back: forestall recovery withdraw {made['id']}",
            style="green",
        )
    )
    return 0


@recovery.command()
@click.argument("proof", type=int)
@click.option("--why", required=True, help="Why it counts no more.")
def withdraw(*, proof: int, why: str) -> int:
    """Take an attested PROOF back: it counts no more, and stays on record."""
    made = Api.connect().post(f"/proofs/{proof}/withdraw", {"why": why})
    console().print(Text(f"● Proof {made['id']} counts no more.", style="green"))
    return 0


@recovery.command()
@click.argument("system", required=False)
@click.option("--client", help="Of this client.")
@as_json_option
def proofs(*, system: str | None, client: str | None, as_json: bool) -> int:
    """List proofs, the newest first: of SYSTEM, or of all."""
    api = Api.connect()
    found = everything(
        api,
        "/proofs",
        system=find_system(api, system, archived=True)["id"] if system else None,
        client=find_client(api, client)["id"] if client else None,
    )
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Id", "When", "Backup", "Device", "Level", "Outcome", "Took", "On whose word", "Why"),
        [
            (
                str(one["id"]),
                ago(one["at"]),
                one["backup"] or "by hand",
                one["device"]["name"],
                one["level"],
                Text("- withdrawn", style="dim")
                if one["withdrawn_at"]
                else Text("● ok", style="green")
                if one["ok"]
                else Text("■ failed", style="red"),
                "" if one["seconds"] is None else _seconds(one["seconds"]),
                SAID[one["source"]] + (f": {one['by']}" if one["by"] else ""),
                one["withdrawn_why"] or one["detail"],
            )
            for one in found
        ],
        empty="Nothing was put to the proof yet: forestall recovery test SYSTEM",
    )
    return 0


@recovery.command()
@click.option("--client", help="Of this client.")
@as_json_option
def gaps(*, client: str | None, as_json: bool) -> int:
    """List everything that is missing, the worst first. Exit code 1 when something fails."""
    api = Api.connect()
    found = api.get("/protected-systems/gaps", client=find_client(api, client)["id"] if client else None)
    failing = any(one["status"] == "fail" for one in found)
    if as_json:
        print_json(found)
        return int(failing)
    print_table(
        ("Status", "System", "Where", "Why", "What to do"),
        [
            (
                status_text(one["status"]),
                one["name"],
                f"{one['client']['name']}, {one['device']['name']}",
                one["sentence"],
                one["fix"],
            )
            for one in found
        ],
        empty="Nothing is missing of what is named. forestall recovery suggest: what nobody has named.",
    )
    return int(failing)


def find_system(api: Api, name: str, *, archived: bool = False) -> dict[str, Any]:
    """The protected system of that id or name; CommandError when there is none, or more than one."""
    every = everything(api, "/protected-systems", archived="true" if archived else None)
    found = (
        [one for one in every if name == str(one["id"])]
        or [one for one in every if name == one["name"]]
        or [one for one in every if name.lower() in one["name"].lower()]
    )
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{one['name']} ({one['id']})" for one in (found or every)[:10])
    raise CommandError(f"{'several systems are' if found else 'no system is'} called {name!r}: {names or 'none yet'}")


def _text(shapes: dict[str, tuple[str, str]], word: str) -> Text:
    shape, style = shapes.get(word, ("?", ""))
    return Text(f"{shape} {word}", style=style)


def _known(value: bool | None) -> str:  # noqa: FBT001 - one of three words
    return "not known" if value is None else "yes" if value else "no"


def _took(one: dict[str, Any]) -> str:
    if one["recovery_seconds"] is None:
        return "never measured"
    said = _seconds(one["recovery_seconds"])
    return f"measured {said}" if one["recovery_measured"] else f"about {said} by a sample"


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value < 120 else span(round(value / 60))


def _moment(text: str) -> str:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d)?", text):
        raise CommandError(f"--at {text[:40]!r}: expected 2026-11-24 or '2026-11-24 14:30'")
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).isoformat()
    except ValueError as error:
        raise CommandError(f"--at {text!r}: {error}") from None
