"""``forestall access``: who may get in where, what changed of it, and the reviews that sign every account off."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import click

from forestall.cli.client import Api
from forestall.cli.clients import find_site
from forestall.cli.desk import everything, find_device
from forestall.cli.errors import CommandError
from forestall.cli.plain import plain
from forestall.cli.show import ago, as_json_option, console, print_json, print_table
from forestall.cli.transfer import find_client

DECISIONS = ("keep", "remove", "change")
SHOWN = ("undecided", *DECISIONS)


@click.group()
def access() -> None:
    """Who may get in where, what changed of it, and reviews of every account."""


@access.command("accounts")
@click.option("--client", help="Of this client.")
@click.option("--device", help="On this device.")
@click.option("--name", default="", help="Called so, wherever.")
@click.option("--administrators", is_flag=True, help="Administrators only.")
@click.option("--all", "all_of_them", is_flag=True, help="The systems' own accounts, too.")
@as_json_option
def accounts_command(
    *, client: str | None, device: str | None, name: str, administrators: bool, all_of_them: bool, as_json: bool
) -> int:
    """List the accounts by which somebody may get in, device by device."""
    api = Api.connect()
    found = api.get(
        "/accounts",
        client=find_client(api, client)["id"] if client else None,
        device=find_device(api, device)["id"] if device else None,
        name=name,
        administrators="true" if administrators else None,
        everything="true" if all_of_them else None,
    )
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Device", "Account", "Person", "Kind", "Rights", "Password", "Keys", "Last sign-in"),
        [
            (
                one["device_name"],
                one["name"],
                one["full_name"],
                one["kind"],
                ", ".join(one["administrator_because"]) or "ordinary",
                "ended" if one["disabled"] else one["password"],
                "not known" if one["ssh_keys"] is None else str(one["ssh_keys"]),
                ago(one["last_login"]) if one["last_login"] else "never, or not known",
            )
            for one in found
        ],
        empty="No account: no agent has told its accounts yet, or none is asked for so.",
    )
    return 0


@access.command("changes")
@click.option("--client", help="Of this client.")
@click.option("--device", help="On this device.")
@click.option("--all", "all_of_them", is_flag=True, help="Those that were answered, too.")
@click.option("--accept", "accepted", type=int, multiple=True, metavar="ID", help="Say of this one that it is right.")
@click.option("--reason", default="", help="With --accept: who asked for it, or why it is right.")
@as_json_option
def changes_command(
    *, client: str | None, device: str | None, all_of_them: bool, accepted: tuple[int, ...], reason: str, as_json: bool
) -> int:
    """List what changed of access and waits for an answer. Exit code 1 while something waits."""
    api = Api.connect()
    if accepted:
        if not reason.strip():
            raise CommandError("--reason: say who asked for it, or why it is right; it goes on record")
        by_device: dict[str, list[int]] = {}
        for number in accepted:
            by_device.setdefault(api.get(f"/access-changes/{number}")["device"], []).append(number)
        for device_id, numbers in by_device.items():
            body = {"device": device_id, "changes": numbers, "reason": reason}
            for one in api.post("/access-changes/accept", body):
                console().print(f"Accepted: {plain(one['words'])}")
        return 0
    found = everything(
        api,
        "/access-changes",
        client=find_client(api, client)["id"] if client else None,
        device=find_device(api, device)["id"] if device else None,
        state=None if all_of_them else "open",
    )
    if as_json:
        print_json(found)
    else:
        print_table(
            ("Id", "What changed", "Device", "Risk", "Seen", "State", "Ticket"),
            [
                (
                    str(one["id"]),
                    one["words"],
                    one["device_name"],
                    one["risk"],
                    ago(one["at"]),
                    f"{one['state']} {one['settled_by']}".strip(),
                    f"#{one['ticket_id']}" if one["ticket_id"] else "none",
                )
                for one in found
            ],
            empty="Every change of access was answered.",
        )
    return int(any(one["state"] == "open" for one in found))


@access.command("standings")
@click.option("--client", help="Of this client.")
@as_json_option
def standings_command(*, client: str | None, as_json: bool) -> int:
    """Show how each device stands with its reviews. Exit code 1 when one fails."""
    api = Api.connect()
    found = api.get("/access-standings", client=find_client(api, client)["id"] if client else None)
    failing = any(one["status"] == "fail" for one in found)
    if as_json:
        print_json(found)
        return int(failing)
    names = {one["id"]: one["name"] for one in everything(api, "/devices")}
    print_table(
        ("Device", "Status", "Signed off", "Due", "Why"),
        [
            (
                names.get(one["device_id"], one["device_id"]),
                one["status"],
                ago(one["reviewed_at"]) if one["reviewed_at"] else "never",
                one["due_at"][:10] if one["due_at"] else "not known",
                one["why"],
            )
            for one in found
        ],
        empty="No device is approved yet.",
    )
    return int(failing)


@access.command("reviews")
@click.option("--client", help="Of this client.")
@click.option("--open", "only_open", is_flag=True, help="Open ones only.")
@as_json_option
def reviews_command(*, client: str | None, only_open: bool, as_json: bool) -> int:
    """List access reviews, the newest first."""
    api = Api.connect()
    owner = find_client(api, client)["id"] if client else None
    found = everything(api, "/access-reviews", client=owner, state="open" if only_open else None)
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Id", "Of", "State", "Accounts", "To decide", "To remove or change", "Due", "Whose"),
        [
            (
                str(one["id"]),
                one["site_name"] or one["client"]["name"],
                one["state"],
                str(one["accounts"]),
                str(one["undecided"]),
                f"{one['removals']}, {one['undone']} as before" if one["removals"] else "0",
                one["due_at"][:10],
                one["assigned_to"] or "nobody",
            )
            for one in found
        ],
        empty="No review yet: forestall access begin CLIENT, or wait for the quarter.",
    )
    return 0


@access.command("begin")
@click.argument("client")
@click.option("--site", help="This site only.")
def begin_command(*, client: str, site: str | None) -> int:
    """Begin a review of CLIENT now."""
    api = Api.connect()
    owner = find_client(api, client)["id"]
    body = {"client": owner, "site": find_site(api, client, site)["id"] if site else None}
    made = api.post("/access-reviews", body)
    console().print(f"Review {made['id']} has begun: {made['accounts']} accounts to decide by {made['due_at'][:10]}.")
    return 0


@access.command("review")
@click.argument("review", type=int)
@click.option("--show", type=click.Choice(SHOWN), help="Only those.")
@click.option("--search", default="", help="In names of accounts and devices.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all of it there.")
@as_json_option
def review_command(*, review: int, show: str | None, search: str, csv_file: Path | None, as_json: bool) -> int:
    """Show the accounts of REVIEW and their decisions. Exit code 1 while one is not decided."""
    api = Api.connect()
    told = api.get(f"/access-reviews/{review}")
    found = everything(api, f"/access-reviews/{review}/items", decision=show, search=search)
    if csv_file is not None:
        csv_file.write_text(_csv(found), encoding="utf-8")
    if as_json:
        print_json({**told, "items": found})
        return int(bool(told["undecided"]))
    print_table(
        ("Id", "Device", "Account", "Rights", "Opens by", "Decision", "Why"),
        [
            (
                str(one["id"]),
                one["device_name"],
                one["account"],
                ", ".join(one["facts"].get("administrator") or []) or "ordinary",
                _opens_by(one["facts"]),
                _decision(one),
                one["asked_again"] or one["reason"] or ("unchanged since last kept" if one["unchanged"] else ""),
            )
            for one in found
        ],
        empty="No account of this review is asked for so.",
    )
    if told["not_known"]:
        console().print(f"Not known, and so not signed off: {plain(', '.join(told['not_known']))}")
    return int(bool(told["undecided"]))


@access.command("decide")
@click.argument("review", type=int)
@click.argument("decision", type=click.Choice((*DECISIONS, "keep-unchanged")))
@click.argument("accounts", nargs=-1)
@click.option("--reason", default="", help="Why; needed to remove or change.")
def decide_command(*, review: int, decision: str, accounts: tuple[str, ...], reason: str) -> int:
    """Decide ACCOUNTS of REVIEW: their ids, names (on every device), or NAME@DEVICE.

    With keep-unchanged, and without accounts: every one that has the same rights as when it was last kept.
    """
    api = Api.connect()
    if decision == "keep-unchanged":
        done = api.post(f"/access-reviews/{review}/keep-unchanged", {"reason": reason})
    else:
        items = everything(api, f"/access-reviews/{review}/items")
        wanted = {one["id"] for text in accounts for one in _named(items, text)}
        if not wanted:
            raise CommandError("accounts: name those that are decided; see `forestall access review ID`")
        body = {"items": sorted(wanted), "decision": decision, "reason": reason}
        done = api.post(f"/access-reviews/{review}/decide", body)
    for one in done:
        more = f", run {one['job_id']} waits for a signature" if one["job_id"] and one["decision"] == "remove" else ""
        more += f" (no run: {one['job_note']})" if one["job_note"] else ""
        console().print(f"{plain(one['account'])} on {plain(one['device_name'])}: {one['decision']}{plain(more)}")
    return 0


@access.command("sign")
@click.argument("review", type=int)
@click.option("--note", default="", help="Goes on record.")
def sign_command(*, review: int, note: str) -> int:
    """Sign REVIEW off with your name: every account is decided."""
    done = Api.connect().post(f"/access-reviews/{review}/sign", {"note": note})
    console().print(
        f"Signed off: {done['accounts']} accounts, {done['undone']} still to be removed or changed. "
        f"On record as {done['evidence_reference']}.",
    )
    return 0


@access.command("end")
@click.argument("review", type=int)
@click.option("--reason", required=True, help="Why it ends without a sign-off.")
def end_command(*, review: int, reason: str) -> int:
    """End REVIEW without a sign-off. Nothing counts as reviewed by it."""
    Api.connect().post(f"/access-reviews/{review}/end", {"reason": reason})
    console().print("Ended. Nothing counts as reviewed by it.")
    return 0


@access.command("plan")
@click.argument("client", required=False)
@click.option("--site", help="Of this site on its own.")
@click.option("--months", type=click.IntRange(1, 24), help="From one sign-off to the next.")
@click.option("--days", type=click.IntRange(1, 90), default=14, show_default=True, help="To answer in.")
@as_json_option
def plan_command(*, client: str | None, site: str | None, months: int | None, days: int, as_json: bool) -> int:
    """List the plans of reviews, or with --months give CLIENT (or a site of it) one of its own."""
    api = Api.connect()
    owner = find_client(api, client)["id"] if client else None
    if months is not None:
        if owner is None:
            raise CommandError("client: say whose plan it is")
        place = find_site(api, client or "", site)["id"] if site else None
        body = {"client": owner, "site": place, "every_months": months, "answer_days": days}
        api.raw("PUT", "/review-plans", body)
    found = api.get("/review-plans", client=owner)
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Client", "Site", "Every", "To answer in", "Whose"),
        [
            (
                one["client"]["name"],
                one["site"] or "every site",
                f"{one['every_months']} months",
                f"{one['answer_days']} days",
                one["assigned_to"] or "whoever may",
            )
            for one in found
        ],
        empty="No plan of its own anywhere: every three months, 14 days to answer.",
    )
    return 0


def _named(items: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    if text.isdecimal():
        found = [one for one in items if one["id"] == int(text)]
    else:
        name, _, device = text.partition("@")
        found = [one for one in items if one["account"] == name and (not device or one["device_name"] == device)]
    if not found:
        raise CommandError(f"accounts: {text!r} is not in this review")
    return found


def _opens_by(facts: dict[str, Any]) -> str:
    if facts.get("disabled"):
        return "ended"
    said = [facts["password"]] if facts.get("password") in ("set", "empty", "unknown") else []
    keys = facts.get("ssh_keys")
    said += ["keys not known"] if keys is None else [f"{keys} keys"] if keys else []
    return ", ".join(said) or "nothing"


def _decision(one: dict[str, Any]) -> str:
    if not one["decision"]:
        return "gone" if one["gone_at"] else "asked again" if one["asked_again"] else "to decide"
    if one["decision"] == "keep":
        return f"keep, {one['decided_by']}"
    return f"{one['decision']}, {'done' if one['done_at'] else 'not done yet'}"


def _csv(found: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    names = (
        "device_name",
        "account",
        "decision",
        "reason",
        "decided_by",
        "decided_at",
        "done_at",
        "evidence_reference",
    )
    writer.writerow(names)
    for one in found:
        values = [str(one[name] if one[name] is not None else "") for name in names]
        # A spreadsheet runs what begins so.
        writer.writerow([f"'{value}" if value[:1] in ("=", "+", "-", "@") else value for value in values])
    return out.getvalue()
