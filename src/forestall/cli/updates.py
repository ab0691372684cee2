"""``forestall updates``: what waits, which obligation binds it, exceptions, compliance at any date."""

from __future__ import annotations

import csv
import io
import urllib.parse
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from forestall.cli.client import Api
from forestall.cli.clients import confirmed, find_site, minutes
from forestall.cli.desk import everything, find_device
from forestall.cli.errors import CommandError
from forestall.cli.show import ago, as_json_option, console, print_json, print_table
from forestall.cli.transfer import find_client

SEVERITIES = ("critical", "high", "medium", "low")
KINDS = ("system", "application", "firmware", "language")
OUTCOMES = ("met", "met_late", "late", "open", "excepted")
WEEKDAYS = ("mo", "tu", "we", "th", "fr", "sa", "su")


@click.group()
def updates() -> None:
    """What waits to be installed, by when it must be, and whether it was."""


@updates.command("list")
@click.option("--client", help="Of this client.")
@click.option("--device", help="On this device.")
@click.option("--security", is_flag=True, help="Security updates only.")
@click.option("--late", is_flag=True, help="Past their deadline.")
@click.option("--misses", is_flag=True, help="Those that will miss their deadline as things stand.")
@click.option("--state", default="", help="In this state: planned, blocked, failed …")
@click.option("--provider", default="", help="Of this package manager.")
@click.option("--obligation", default="", help="Bound by this one; see `forestall updates obligations`.")
@click.option("--search", default="", help="In names of packages, devices, clients; a CVE.")
@as_json_option
def list_command(
    *,
    client: str | None,
    device: str | None,
    security: bool,
    late: bool,
    misses: bool,
    state: str,
    provider: str,
    obligation: str,
    search: str,
    as_json: bool,
) -> int:
    """List updates that wait, one line for each version of a package, the earliest due first."""
    if late and misses:
        raise click.UsageError("--late and --misses exclude each other")
    api = Api.connect()
    found = api.get(
        "/updates",
        client=find_client(api, client)["id"] if client else None,
        device=find_device(api, device)["id"] if device else None,
        security="true" if security else None,
        show="late" if late else "misses" if misses else None,
        state=state,
        provider=provider,
        obligation=obligation,
        search=search,
    )
    if as_json:
        print_json(found)
        return 0
    rows = [
        (
            one["name"],
            one["candidate"],
            one["manager"],
            str(one["devices"]),
            _severity(one),
            _due(one["earliest_due_at"]),
            _trouble(one),
            ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in one["states"].items()),
        )
        for one in found
    ]
    print_table(
        ("Update", "Version", "Provider", "Devices", "Severity", "Due", "Trouble", "States"),
        rows,
        empty="No update waits.",
    )
    return 0


@updates.command("show")
@click.argument("name")
@click.option("--client", help="Of this client.")
@as_json_option
def show_command(*, name: str, client: str | None, as_json: bool) -> int:
    """Show where the package NAME waits, device by device, with what binds it."""
    api = Api.connect()
    owner = find_client(api, client)["id"] if client else None
    rows = []
    for outcome in ("late", "open", "excepted"):
        found = api.get("/patch-compliance/rows", client=owner, outcome=outcome, limit=5000)
        rows += [row for row in found if row["name"] == name]
    if as_json:
        print_json(rows)
        return 0
    print_table(
        ("Device", "Client", "Version", "Severity", "Obligation", "Due", "Outcome", "Why"),
        [
            (
                row["device_name"],
                row["client_name"],
                row["candidate"],
                row["severity"] or "none",
                row["obligation"],
                _due(row["due_at"]),
                row["outcome"].replace("_", " "),
                row["why"],
            )
            for row in rows
        ],
        empty=f"No update of {name} waits that an obligation binds: forestall updates list --search {name}",
    )
    return 0


def _severity(one: dict[str, Any]) -> str:
    return f"{one['severity'] or 'none'}{', security' if one['security'] else ''}"


def _due(at: str | None) -> str:
    return ago(at) if at else "not bound"


def _trouble(one: dict[str, Any]) -> str:
    said = [f"{one['late']} late" if one["late"] else "", f"{one['misses']} will miss it" if one["misses"] else ""]
    return ", ".join(word for word in said if word) or "none"


# --- obligations ------------------------------------------------------------------------------------------------


@updates.command("obligations")
@click.argument("client", required=False)
@click.option("--set", "slug", metavar="SLUG", help="Give CLIENT its own terms of this one, or one of its own.")
@click.option("--title", help="With --set: its name in words.")
@click.option("--within", metavar="TIME", help="With --set: 72h or 14d after release.")
@click.option("--monthly", is_flag=True, help="With --set: by the end of the month.")
@click.option("--quarterly", is_flag=True, help="With --set: by the end of the quarter.")
@click.option("--weekday", metavar="2-tu", help="With --set: by the second Tuesday of a month; -1-fr: the last Friday.")
@click.option("--least-days", type=click.IntRange(0, 92), help="Of calendar dates: at least so many days after.")
@click.option("--from-first-seen", is_flag=True, help="Count from first sight on the device, not from release.")
@click.option("--severity", "severities", multiple=True, type=click.Choice(SEVERITIES), help="About these.")
@click.option("--cvss", type=click.FloatRange(0, 10), help="About this base score or more.")
@click.option("--unrated/--rated", "unrated", default=None, help="About those nobody rated, too.")
@click.option("--security/--any", "security", default=None, help="About security updates alone.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="About these kinds alone.")
@click.option("--test-device", help="With --set: the device on which it is tested first.")
@click.option("--off", is_flag=True, help="With --set: switch it off at CLIENT.")
@click.option("--built-in", is_flag=True, help="With --set: end CLIENT's own terms; the built-in ones hold again.")
@click.option("--reason", help="Why. Needed to change anything.")
@click.option("--at", metavar="DATE", help="As they were in force then.")
@click.option("--history", is_flag=True, help="CLIENT's own terms, ended ones too.")
@as_json_option
def obligations_command(
    *,
    client: str | None,
    slug: str | None,
    reason: str | None,
    at: str | None,
    history: bool,
    built_in: bool,
    as_json: bool,
    **said: Any,
) -> int:
    """List obligations: the built-in ones, or those of CLIENT; give it terms of its own.

    \b
    forestall updates obligations "Acme Ltd" --set contract --within 24h --reason "Agreed in March"
    forestall updates obligations "Acme Ltd" --set firmware-quarterly --test-device lab-01 --reason "The lab's own"
    forestall updates obligations "Acme Ltd" --set cyber-essentials --off --reason "Not certified"
    """
    api = Api.connect()
    if not client:
        if slug or history:
            raise click.UsageError("name the client")
        return _print_obligations(api.get("/obligations"), as_json=as_json)
    owner = find_client(api, client)
    if slug and built_in:
        rules = everything(api, "/obligation-rules", client=owner["id"], slug=slug)
        current = next((one for one in rules if one["in_force_until"] is None), None)
        if current is None:
            raise CommandError(f"{owner['name']} has no terms of its own of {slug!r}")
        api.post(f"/obligation-rules/{current['id']}/end")
    elif slug:
        if not reason:
            raise click.UsageError("--set needs a --reason: whoever reads compliance later sees it")
        terms = _terms(api, slug, **said)
        if not terms:
            raise click.UsageError("--set needs what is to be different: --within 24h, --severity high, --off …")
        api.post("/obligation-rules", {"client": owner["id"], "slug": slug, "terms": terms, "reason": reason})
    elif reason or any(value not in (None, False, ()) for value in said.values()):
        raise click.UsageError("terms go with --set SLUG")
    if history:
        return _print_history(everything(api, "/obligation-rules", client=owner["id"]), as_json=as_json)
    moment = _moment(at).isoformat() if at else None
    return _print_obligations(api.get("/obligations", client=owner["id"], at=moment), as_json=as_json)


def _terms(api: Api, slug: str, **said: Any) -> dict[str, Any]:
    if said["off"]:
        return {"off": True}
    chosen = [name for name in ("within", "monthly", "quarterly", "weekday") if said[name]]
    if len(chosen) > 1:
        raise click.UsageError(f"--{chosen[0]} and --{chosen[1]} exclude each other")
    terms: dict[str, Any] = {}
    if chosen:
        terms["deadline"] = _deadline(chosen[0], **said)
    elif said["least_days"] is not None or said["from_first_seen"]:
        raise click.UsageError("--least-days and --from-first-seen go with --within, --monthly, --quarterly, --weekday")
    for name, option in (
        ("title", said["title"]),
        ("severities", list(said["severities"]) or None),
        ("cvss_at_least", said["cvss"]),
        ("unrated", said["unrated"]),
        ("security", said["security"]),
        ("kinds", list(said["kinds"]) or None),
    ):
        if option is not None:
            terms[name] = option
    if said["test_device"]:
        terms |= {"test_device": find_device(api, said["test_device"])["id"], "needs_test": True}
    known = {one["slug"] for one in api.get("/obligations")}
    if terms and "title" not in terms and slug not in known:
        terms["title"] = slug.replace("-", " ").capitalize()
    return terms


def _deadline(kind: str, **said: Any) -> dict[str, Any]:
    counts_from = "first_seen" if said["from_first_seen"] else "release"
    least = said["least_days"] or 0
    if kind == "within":
        return {"kind": "after", "hours": _hours(said["within"]), "counts_from": counts_from}
    if kind == "weekday":
        nth, _, day = said["weekday"].lower().rpartition("-")
        if nth not in {"1", "2", "3", "4", "-1"} or day not in WEEKDAYS:
            raise CommandError(f"--weekday {said['weekday']!r}: expected 1 to 4 or -1, a hyphen, and mo … su: 2-tu")
        found = {"kind": "weekday", "nth": int(nth), "weekday": WEEKDAYS.index(day)}
    else:
        found = {"kind": "month_end" if kind == "monthly" else "quarter_end"}
    return {**found, "least_days": least, "counts_from": counts_from}


def _hours(text: str) -> int:
    number, unit = text.strip().lower()[:-1], text.strip().lower()[-1:]
    if not number.isdecimal() or unit not in {"h", "d"}:
        raise CommandError(f"--within {text!r}: expected hours or days, such as 72h or 14d")
    return int(number) * (24 if unit == "d" else 1)


def _print_obligations(found: list[dict[str, Any]], *, as_json: bool) -> int:
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Obligation", "About", "Deadline", "Own", "Source"),
        [
            (
                one["slug"],
                one["about"] + (", tested first" if one["needs_test"] else ""),
                one["deadline"]["words"],
                "its own" if one["own"] else "built in",
                one["source"],
            )
            for one in found
        ],
        empty="None: nothing has a deadline.",
    )
    return 0


def _print_history(found: list[dict[str, Any]], *, as_json: bool) -> int:
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("#", "Obligation", "Terms", "From", "Until", "By", "Reason"),
        [
            (
                str(one["id"]),
                one["slug"],
                "switched off" if one["terms"].get("off") else one["terms"]["title"],
                one["in_force_from"][:16].replace("T", " "),
                one["in_force_until"][:16].replace("T", " ") if one["in_force_until"] else "in force",
                one["created_by"],
                one["reason"],
            )
            for one in found
        ],
        empty="It has the built-in ones alone.",
    )
    return 0


# --- exceptions -------------------------------------------------------------------------------------------------


@updates.command("exceptions")
@click.option("--client", help="Of this client.")
@click.option("--all", "everything_ever", is_flag=True, help="Those that are over, too.")
@click.option("--end", "number", type=int, metavar="NUMBER", help="End this one: its obligations count from now.")
@click.option("--yes", is_flag=True, help="Do not ask before ending.")
@as_json_option
def exceptions_command(
    *, client: str | None, everything_ever: bool, number: int | None, yes: bool, as_json: bool
) -> int:
    """List exceptions from obligations; end one."""
    api = Api.connect()
    if number is not None:
        shown = api.get(f"/exceptions/{number}")
        confirmed(f"End exception {number} ({shown['reason']})?", yes=yes)
        ended = api.post(f"/exceptions/{number}/end")
        if as_json:
            print_json(ended)
        else:
            console().print(f"Exception {number} has ended: its obligations count again.", markup=False)
        return 0
    owner = find_client(api, client)["id"] if client else None
    found = everything(api, "/exceptions", client=owner, in_force=None if everything_ever else "true")
    if as_json:
        print_json(found)
        return 0
    names = {one["id"]: one["name"] for one in everything(api, "/devices")} if found else {}
    print_table(
        ("#", "Client", "Device", "Update", "Obligation", "Until", "By", "Instead", "Reason"),
        [
            (
                str(one["id"]),
                one["client"]["name"],
                names.get(one["device"], "one device") if one["device"] else "every device",
                f"{one['name'] or 'every one'} {one['candidate']}".strip(),
                one["obligation"] or "every one",
                f"ended by {one['ended_by']}" if one["ended_at"] else one["expires_at"][:16].replace("T", " "),
                one["granted_by"],
                one["compensating_control"],
                one["reason"],
            )
            for one in found
        ],
        empty="No exception is in force.",
    )
    return 0


@updates.command("except")
@click.argument("name", required=False, default="")
@click.option("--client", help="At this client: every device.")
@click.option("--device", help="On this device alone.")
@click.option("--version", "candidate", default="", help="Of this version alone.")
@click.option("--provider", default="", help="Of this package manager alone.")
@click.option("--obligation", default="", help="From this one alone; without it: from whichever binds.")
@click.option("--until", required=True, metavar="DATE", help="When it ends: 2026-12-31, or 14d from now.")
@click.option("--reason", required=True, help="Why it is missed.")
@click.option("--instead", "control", required=True, help="Compensating control: what is done instead until then.")
@as_json_option
def except_command(
    *,
    name: str,
    client: str | None,
    device: str | None,
    candidate: str,
    provider: str,
    obligation: str,
    until: str,
    reason: str,
    control: str,
    as_json: bool,
) -> int:
    """Grant leave to miss an obligation for the package NAME (* at its end: anything; without it: for all).

    \b
    forestall updates except openssl --device web-01 --until 14d --reason "The vendor checks it" \\
        --instead "Port 443 is shut in the firewall"
    """
    if bool(client) == bool(device):
        raise click.UsageError("name the --client or the --device, one of them")
    api = Api.connect()
    found = find_device(api, device) if device else None
    owner = found["client"]["id"] if found else find_client(api, client or "")["id"]
    body = {
        "client": owner, "device": found["id"] if found else None, "manager": provider, "name": name,
        "candidate": candidate, "obligation": obligation, "reason": reason, "compensating_control": control,
        "expires_at": _until(until).isoformat(),
    }  # fmt: skip
    made = api.post("/exceptions", body)
    if as_json:
        print_json(made)
    else:
        console().print(
            f"Exception {made['id']} is on record until {made['expires_at'][:16].replace('T', ' ')} UTC; then its "
            "obligations count again.",
            markup=False,
        )
    return 0


@updates.command("emergency-window")
@click.option("--client", help="Whose site it is.")
@click.option("--site", help="At this site: every device.")
@click.option("--device", help="For this device alone.")
@click.option("--start", metavar="TIME", help="UTC, such as 2026-11-24T20:00; without it: now.")
@click.option("--for", "length", default="2h", show_default=True, metavar="TIME", help="How long: 90min, 2h.")
@click.option("--reason", default="", help="What for; the client's people read it.")
@as_json_option
def emergency_command(
    *,
    client: str | None,
    site: str | None,
    device: str | None,
    start: str | None,
    length: str,
    reason: str,
    as_json: bool,
) -> int:
    """Open a maintenance window now, or before a deadline, for what would miss it.

    \b
    forestall updates emergency-window --device web-01 --reason "openssl before Thursday"
    """
    api = Api.connect()
    if device:
        if client or site:
            raise click.UsageError("--device goes without --client and --site")
        found = find_device(api, device)
        place = {"site": found["site"]["id"], "device": found["id"]}
    elif client and site:
        place = {"site": find_site(api, client, site)["id"], "device": None}
    else:
        raise click.UsageError("name the --device, or the --client and the --site")
    starts_at = _moment(start).isoformat() if start else None
    made = api.post(
        "/emergency-windows", {**place, "starts_at": starts_at, "minutes": minutes(length), "reason": reason}
    )
    if as_json:
        print_json(made)
    else:
        span = f"{made['start'][:16].replace('T', ' ')} to {made['end'][11:16]} UTC"
        console().print(f"Window {made['window']}, {made['name']}: {span}.", markup=False)
    return 0


# --- compliance -------------------------------------------------------------------------------------------------


@updates.command("compliance")
@click.option("--at", metavar="DATE", help="At this date: 2026-10-31 (its end), or a time; without it: now.")
@click.option("--days", default=90, show_default=True, type=click.IntRange(1, 1100), help="Met within so many days.")
@click.option("--client", help="Of this client.")
@click.option("--device", help="Of this device.")
@click.option("--outcome", type=click.Choice(OUTCOMES), help="List the updates of this outcome, and why.")
@click.option("--obligation", default="", help="List, or save, by this obligation alone.")
@click.option("--csv", "file", type=click.Path(dir_okay=False, path_type=Path), help="Save every update to FILE.")
@as_json_option
def compliance_command(
    *,
    at: str | None,
    days: int,
    client: str | None,
    device: str | None,
    outcome: str | None,
    obligation: str,
    file: Path | None,
    as_json: bool,
) -> int:
    """Say how many updates were due at a date, how many were in in time, and why others were not."""
    api = Api.connect()
    asked = {
        "at": _moment(at, end_of_day=True).isoformat() if at else None,
        "days": days,
        "client": find_client(api, client)["id"] if client else None,
        "device": find_device(api, device)["id"] if device else None,
    }
    if file is not None:
        named = {k: v for k, v in {**asked, "outcome": outcome, "obligation": obligation}.items() if v}
        content = api.raw("GET", f"/patch-compliance.csv?{urllib.parse.urlencode(named)}")
        file.write_bytes(content)
        rows = list(csv.reader(io.StringIO(content.decode())))
        console().print(f"{file}: {len(rows) - 1} updates.", markup=False)
        return 0
    if outcome or obligation:
        rows = api.get("/patch-compliance/rows", **asked, outcome=outcome, obligation=obligation, limit=5000)
        return _print_rows(rows, as_json=as_json)
    found = api.get("/patch-compliance", **asked)
    if as_json:
        print_json(found)
        return 0
    total = found["total"]
    percent = "nothing was due" if total["percent"] is None else f"{total['percent']:g} % in time"
    console().print(Text(f"{found['at'][:16].replace('T', ' ')} UTC: {percent}", style="bold"))
    parts = [("all", total), *((one["part"], one) for one in found["obligations"])]
    parts += [(f"severity {one['part']}", one) for one in found["severities"]]
    parts += [(one["part"], one) for one in found["clients"]]
    print_table(
        ("", "In time %", "Due", "In time", "Met late", "Late", "Open in time", "Excepted"),
        [
            (
                name,
                "none due" if one["percent"] is None else f"{one['percent']:g}",
                *(str(one[key]) for key in ("due", "met", "met_late", "late", "open", "excepted")),
            )
            for name, one in parts
        ],
        empty="",
    )
    if total["late"]:
        console().print("\nWhy: forestall updates compliance --outcome late", markup=False)
    return 0


def _print_rows(rows: list[dict[str, Any]], *, as_json: bool) -> int:
    if as_json:
        print_json(rows)
        return 0
    print_table(
        ("Device", "Client", "Update", "Version", "Obligation", "Due", "Outcome", "Why"),
        [
            (
                row["device_name"],
                row["client_name"],
                row["name"],
                row["candidate"],
                row["obligation"],
                row["due_at"][:16].replace("T", " "),
                row["outcome"].replace("_", " "),
                row["why"] or "none",
            )
            for row in rows
        ],
        empty="None.",
    )
    return 0


def _until(text: str) -> datetime:
    """``14d`` from now, or the end of a day, or a time."""
    if text[:-1].isdecimal() and text.endswith("d"):
        return datetime.now(UTC) + timedelta(days=int(text[:-1]))
    return _moment(text, end_of_day=True)


def _moment(text: str, *, end_of_day: bool = False) -> datetime:
    """A date or a time of UTC; a date alone means its start, or its end. CommandError for anything else."""
    try:
        if len(text) == 10:
            day = date.fromisoformat(text)
            found = datetime.combine(day + timedelta(days=1 if end_of_day else 0), time(), UTC)
            # The end of today is still to come: so far as it goes.
            return min(found, datetime.now(UTC)) if end_of_day and day == datetime.now(UTC).date() else found
        found = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is not a date like 2026-10-31 or a time like 2026-10-31T22:00") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
