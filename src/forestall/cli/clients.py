"""Clients and how they are served, on the command line through the REST API: sites, contacts, hours, windows, SLA,
routes."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import click
from rich.text import Text

from forestall.cli.client import Api
from forestall.cli.desk import everything, find_device
from forestall.cli.errors import CommandError
from forestall.cli.people import find_place
from forestall.cli.show import ago, as_json_option, console, print_json, print_table
from forestall.cli.transfer import find_client

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
PRIORITIES = ("urgent", "standard", "low")
MODELS = ("outsourced", "co_managed", "in_house", "hourly")
RISKS = ("critical", "high", "medium", "low")
DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


def given(**values: Any) -> dict[str, Any]:
    """What was named on the command line: an empty text empties, what was not named stays."""
    return {name: value for name, value in values.items() if value is not None}


def find_site(api: Api, client: str, site: str) -> dict[str, Any]:
    """The site of that name or id at a client."""
    place = find_place(api, client, site)
    found: dict[str, Any] = api.get(f"/sites/{place['site']}")
    return found


def confirmed(question: str, *, yes: bool) -> None:
    """Ask before what cannot be undone; CommandError when the answer is no."""
    try:
        agreed = yes or click.confirm(question, default=False)
    except click.Abort:  # nobody is there to answer
        agreed = False
    if not agreed:
        raise CommandError("nothing was changed: answer y, or give --yes")


def minutes(text: str) -> int:
    """``4h``, ``30min``, ``1h30``, ``90``: minutes."""
    found = re.fullmatch(r"(?:(\d{1,4})\s*h)?\s*(?:(\d{1,6})\s*(?:min|m)?)?", text.strip().lower())
    if not text.strip() or found is None or not (found[1] or found[2]):
        raise CommandError(f"{text!r} is not a time like 4h, 30min or 1h30")
    return int(found[1] or 0) * 60 + int(found[2] or 0)


def span(number: int) -> str:
    hours, rest = divmod(number, 60)
    return " ".join(filter(None, [f"{hours} h" if hours else "", f"{rest} min" if rest or not hours else ""]))


# --- clients, sites, contacts ---------------------------------------------------------------------------------


@click.command()
@click.argument("name", required=False)
@click.option("--create", is_flag=True, help="Take on the client NAME.")
@click.option("--rename", metavar="NEW", help="Call NAME otherwise.")
@click.option("--timezone", help="IANA name of NAME's time zone: Europe/Berlin.")
@click.option("--country", help="NAME's country (DE, GB, …): its public holidays do not count. Empty: none.")
@click.option("--region", help="NAME's region (BY, ENG, …).")
@click.option("--reference", help="NAME's number in your own accounts.")
@click.option("--model", "operating_model", type=click.Choice(MODELS), help="Who does the work.")
@click.option("--tier", "sla_tier", help="NAME's SLA tier; see `forestall sla`.")
@click.option("--notes", help="For your own people.")
@as_json_option
def clients(*, name: str | None, create: bool, rename: str | None, as_json: bool, **said: str | None) -> int:
    """List clients; take on, show or change the one called NAME.

    SLA clocks count working hours in a client's time zone, without its public holidays.

    \b
    forestall clients "Acme Ltd" --create --timezone Europe/London --country GB --region ENG
    forestall clients "Acme Ltd" --timezone Europe/Berlin --country DE --region BY
    """
    api = Api.connect()
    changed = given(name=rename, **said)
    if create:
        if not name or rename:
            raise click.UsageError("--create needs the name of the client, and no other")
        made = api.post("/clients", {"timezone": "UTC", **changed, "name": name})
        if as_json:
            print_json(made)
        else:
            click.echo(f"{made['name']} is a client. Next: forestall sites {made['name']!r} --add NAME")
        return 0
    if not name:
        if changed:
            raise click.UsageError("name the client that is to be changed")
        found = everything(api, "/clients")
        if as_json:
            print_json(found)
        else:
            _print_clients(api, found)
        return 0
    client = find_client(api, name)
    if changed:
        client = api.patch(f"/clients/{client['id']}", changed)
    shown = api.get(f"/clients/{client['id']}")
    if as_json:
        print_json([{**shown, "overview": api.get(f"/clients/{client['id']}/overview")}])
        return 0
    _print_client(api, shown)
    return 0


def _print_clients(api: Api, found: list[dict[str, Any]]) -> None:
    names = {one["id"]: one["name"] for one in found}
    rows = []
    for one in api.get("/client-overviews"):
        rows.append(
            (
                names[one["client"]["id"]],
                _health(one["health"]),
                str(one["devices"]),
                f"{one['open_tickets']}" + (f", {one['at_risk']} at risk" if one["at_risk"] else ""),
                ago(one["next_window"]["start"]) if one["next_window"] else "none planned",
                one["contact"]["name"] if one["contact"] else "nobody named",
            )
        )
    print_table(
        ("Client", "Health", "Devices", "Open tickets", "Next window", "To call"),
        rows,
        empty='No clients yet: forestall clients "Acme Ltd" --create --timezone Europe/London',
    )


def _health(counts: dict[str, int]) -> str:
    order = ("fail", "warn", "stale", "unknown", "pass")
    return ", ".join(f"{counts[status]} {status}" for status in order if counts.get(status)) or "nothing judged"


def _print_client(api: Api, client: dict[str, Any]) -> None:
    overview = api.get(f"/clients/{client['id']}/overview")
    console().print(Text(client["name"], style="bold"))
    contact = overview["contact"]
    upcoming = overview["next_window"]
    rows = [
        ("Id", client["id"]),
        ("Reference", client["reference"] or "none"),
        ("Who works", client["operating_model"].replace("_", "-")),
        ("Place", " ".join(filter(None, [client["timezone"], client["country"], client["region"]]))),
        ("SLA tier", client["sla_tier"]),
        ("Devices", f"{overview['devices']} at {overview['sites']} sites: {_health(overview['health'])}"),
        ("Tickets", f"{overview['open_tickets']} open, {overview['at_risk']} with an SLA at risk"),
        ("Window", f"{upcoming['name']}, {upcoming['site']['name']}, {ago(upcoming['start'])}" if upcoming else "none"),
        ("To call", " ".join(filter(None, [contact["name"], contact["phone"]])) if contact else "nobody is named"),
    ]  # fmt: skip
    print_table(("What", ""), rows, empty="")
    if client["notes"]:
        console().print(Text(f"\n{client['notes']}"))


@click.command()
@click.argument("client", required=False)
@click.argument("name", required=False)
@click.option("--add", is_flag=True, help="Add the site NAME to CLIENT.")
@click.option("--rename", metavar="NEW", help="Call NAME otherwise.")
@click.option("--timezone", help="IANA name; empty: the client's.")
@click.option("--country", help="Country of the site (its own holidays); empty: the client's.")
@click.option("--region", help="Region of that country.")
@click.option("--address", help="Where it is.")
@as_json_option
def sites(
    *, client: str | None, name: str | None, add: bool, rename: str | None, as_json: bool, **said: str | None
) -> int:
    """List sites, of all clients or of CLIENT; add or change the one called NAME.

    \b
    forestall sites "Acme Ltd" Leeds --add --address "12 Park Row, Leeds"
    """
    api = Api.connect()
    changed = given(name=rename, **said)
    if name and client:
        if add:
            owner = find_client(api, client)
            made = api.post(f"/clients/{owner['id']}/sites", {**changed, "name": name})
        else:
            made = find_site(api, client, name)
            if changed:
                made = api.patch(f"/sites/{made['id']}", changed)
        return _shown(made, as_json=as_json, words=f"{made['name']} of {made['client']['name']}: {made['timezone']}.")
    if changed or add:
        raise click.UsageError("name the client and the site")
    found = everything(api, "/sites", client=find_client(api, client)["id"] if client else None)
    if as_json:
        print_json(found)
        return 0
    rows = [
        (
            one["name"],
            one["client"]["name"],
            one["timezone"],
            " ".join(filter(None, [one["country"], one["region"]])) or "the client's",
            one["address"].replace("\n", ", "),
        )
        for one in found
    ]
    print_table(
        ("Site", "Client", "Time zone", "Holidays", "Address"),
        rows,
        empty="No sites yet: forestall sites CLIENT NAME --add",
    )
    return 0


def _shown(value: Any, *, as_json: bool, words: str) -> int:
    if as_json:
        print_json(value)
    else:
        console().print(words, markup=False)
    return 0


@click.command()
@click.argument("client", required=False)
@click.argument("name", required=False)
@click.option("--add", is_flag=True, help="Add the contact NAME to CLIENT.")
@click.option("--phone", help="Number.")
@click.option("--email", help="Mail address.")
@click.option("--duty", help="What for: approves work, has the key …")
@click.option("--site", help="Of this site; empty: the client as a whole.")
@click.option("--primary", is_flag=True, default=None, help="The one to call first.")
@click.option("--forget", is_flag=True, help="Forget NAME.")
@click.option("--yes", is_flag=True, help="Do not ask before forgetting.")
@as_json_option
def contacts(
    *,
    client: str | None,
    name: str | None,
    add: bool,
    site: str | None,
    primary: bool | None,
    forget: bool,
    yes: bool,
    as_json: bool,
    **said: str | None,
) -> int:
    """List whom to call, at all clients or at CLIENT; add, change or forget the one called NAME.

    \b
    forestall contacts "Acme Ltd" "Bea Berg" --add --phone "+44 113 496 0000" --duty "approves work" --primary
    """
    api = Api.connect()
    owner = find_client(api, client) if client else None
    changed = given(is_primary=primary, **said)
    if site is not None:
        changed["site"] = find_site(api, owner["id"], site)["id"] if site and owner else None
    if name and owner:
        if add:
            made = api.post(f"/clients/{owner['id']}/contacts", {**changed, "name": name})
            return _shown(made, as_json=as_json, words=f"{made['name']} is a contact of {owner['name']}.")
        known = everything(api, "/contacts", client=owner["id"])
        found = [one for one in known if name in {str(one["id"]), one["name"]}]
        if len(found) != 1:
            names = ", ".join(f"{one['name']} ({one['id']})" for one in known) or "nobody"
            raise CommandError(f"{owner['name']} has no one contact called {name!r}: {names}")
        if forget:
            confirmed(f"Forget {found[0]['name']} of {owner['name']}, with number and mail?", yes=yes)
            api.delete(f"/contacts/{found[0]['id']}")
            click.echo(f"{found[0]['name']} is no contact any more.")
            return 0
        made = api.patch(f"/contacts/{found[0]['id']}", changed) if changed else found[0]
        words = ", ".join(filter(None, [made["name"], made["duty"], made["phone"], made["email"]]))
        return _shown(made, as_json=as_json, words=words)
    if changed or add or forget:
        raise click.UsageError("name the client and the contact")
    listed = everything(api, "/contacts", client=owner["id"] if owner else None)
    if as_json:
        print_json(listed)
        return 0
    rows = [
        (
            f"{one['name']}{' (first)' if one['is_primary'] else ''}",
            one["client"]["name"],
            one["site"]["name"] if one["site"] else "the whole client",
            one["phone"],
            one["email"],
            one["duty"],
        )
        for one in listed
    ]
    print_table(
        ("Contact", "Client", "Site", "Phone", "Mail", "Duty"),
        rows,
        empty="Nobody is named yet: forestall contacts CLIENT NAME --add --phone …",
    )
    return 0


# --- hours ----------------------------------------------------------------------------------------------------


@click.command()
@click.argument("client")
@click.option(
    "--set",
    "spans",
    multiple=True,
    metavar="DAYS=SPANS",
    help="mon-fri=09:00-12:30,13:00-17:30 or sat=; days that are not named stay. Repeatable.",
)
@click.option("--close", metavar="DATE", help="Closed on this day (2026-12-28); with --why.")
@click.option("--why", help="With --close.")
@click.option("--open", "reopen", metavar="DATE", help="Not closed on this day after all.")
@click.option("--holidays", type=int, metavar="YEAR", help="List the public holidays of a year.")
@as_json_option
def hours(
    *,
    client: str,
    spans: tuple[str, ...],
    close: str | None,
    why: str | None,
    reopen: str | None,
    holidays: int | None,
    as_json: bool,
) -> int:
    """When CLIENT works: hours, closed days, public holidays, and the next seven days in words.

    \b
    forestall hours "Acme Ltd" --set mon-thu=08:00-17:00 --set fri=08:00-14:00
    forestall hours "Acme Ltd" --close 2026-12-28 --why stocktaking
    """
    api = Api.connect()
    owner = find_client(api, client)
    at = f"/clients/{owner['id']}"
    if close and not why:
        raise click.UsageError("--close needs --why")
    if holidays is not None:
        found = api.get(f"{at}/holidays", year=holidays)
        if as_json:
            print_json(found)
            return 0
        empty = f"No public holidays: {owner['name']} has no country."
        print_table(("Day", "Holiday"), [(one["day"], one["name"]) for one in found], empty=empty)
        return 0
    if spans:
        week = api.get(f"{at}/working-hours")["hours"]
        for one in spans:
            week.update(_days(one))
        api.raw("PUT", f"{at}/working-hours", {"hours": {day: week[day] for day in WEEKDAYS if week.get(day)}})
    if close:
        api.post(f"{at}/closed-days", {"day": close, "why": why})
    if reopen:
        api.delete(f"{at}/closed-days/{reopen}")
    now = api.get(f"{at}/working-hours")
    closed = api.get(f"{at}/closed-days", since=datetime.now(UTC).date().isoformat())
    if as_json:
        print_json({**now, "closed_days": closed})
        return 0
    console().print(Text(f"{owner['name']}, on the clock of {now['timezone']}", style="bold"))
    rows = [(day.capitalize(), _spans(now["hours"].get(day, []))) for day in WEEKDAYS]
    print_table(("Weekday", "Hours"), rows, empty="")
    print_table(("The next days", ""), [(one["day"], one["words"]) for one in now["next_days"]], empty="")
    print_table(("Closed on", "Why"), [(one["day"], one["why"]) for one in closed], empty="No closed days to come.")
    if now["note"]:
        console().print(now["note"], markup=False)
    return 0


def _days(text: str) -> dict[str, list[list[str]]]:
    names, separator, spans = text.partition("=")
    if not separator:
        raise CommandError(f"--set {text!r}: expected DAYS=SPANS, such as mon-fri=09:00-17:30")
    first, _, last = names.strip().lower().partition("-")
    begin, end = (_weekday(one, text) for one in (first, last or first))
    if begin > end:
        raise CommandError(f"--set {text!r}: {last} comes before {first}")
    pairs = [span.strip().partition("-")[::2] for span in spans.split(",") if span.strip()]
    return {WEEKDAYS[number]: [list(pair) for pair in pairs] for number in range(begin, end + 1)}


def _weekday(name: str, text: str) -> int:
    found = [number for number, day in enumerate(WEEKDAYS) if len(name) >= 2 and day.startswith(name)]
    if len(found) != 1:
        raise CommandError(f"--set {text!r}: {name!r} is no weekday (mon, tue, wed, thu, fri, sat, sun)")
    return found[0]


def _spans(spans: list[list[str]]) -> str:
    return ", ".join(f"{start} to {end}" for start, end in spans) or "closed"


# --- windows --------------------------------------------------------------------------------------------------


@click.command()
@click.argument("window", required=False)
@click.option("--client", help="Only of this client; of a new one: the client.")
@click.option("--site", help="Of a new one: the site.")
@click.option("--device", help="Of a new one: this device alone (name or id).")
@click.option("--plan", is_flag=True, help="Plan a new one called WINDOW.")
@click.option("--first", metavar="DATE", help="First day: 2026-11-29.")
@click.option("--at", "starts_at", metavar="TIME", help="Start on the site's wall clock: 22:00.")
@click.option("--lasts", metavar="TIME", help="2h, 90min …")
@click.option("--every", metavar="DAYS", help="day, weekday, or days such as su or mo,we; leave out for once.")
@click.option("--monthly", metavar="NTH-DAY", help="2-tu: the second Tuesday; -1-su: the last Sunday.")
@click.option("--patch-tuesday", type=click.IntRange(0, 14), metavar="DAYS", help="So many days after Patch Tuesday.")
@click.option("--month-day", type=click.IntRange(1, 28), metavar="DAY", help="On this day of each month.")
@click.option("--month-end", type=click.Choice(["day", "workday"]), help="On the last day, or Monday to Friday.")
@click.option(
    "--interval", type=click.IntRange(1, 52), metavar="N", help="Every so many days, weeks, months: 3 months."
)
@click.option("--rule", help="Any RFC 5545 rule, for what these cannot say.")
@click.option("--purpose", help="What is done in it; the client reads it too.")
@click.option("--notice", "notice_hours", type=int, metavar="HOURS", help="So long before each time a mail tells them.")
@click.option("--notice-first/--notice-each", "notice_first_only", default=None, help="Of its first time, or of each.")
@click.option("--catch-up", "catch_up_hours", type=int, metavar="HOURS", help="A device that missed it: so long after.")
@click.option("--ask/--no-ask", "needs_approval", default=None, help="The client's own people approve it first.")
@click.option("--end", is_flag=True, help="End WINDOW for good.")
@click.option("--yes", is_flag=True, help="Do not ask before ending.")
@click.option("--days", type=int, default=14, show_default=True, help="How far ahead the list looks.")
@as_json_option
def windows(
    *,
    window: str | None,
    client: str | None,
    site: str | None,
    device: str | None,
    plan: bool,
    first: str | None,
    starts_at: str | None,
    lasts: str | None,
    every: str | None,
    monthly: str | None,
    patch_tuesday: int | None,
    month_day: int | None,
    month_end: str | None,
    interval: int | None,
    rule: str | None,
    purpose: str | None,
    notice_hours: int | None,
    notice_first_only: bool | None,
    catch_up_hours: int | None,
    needs_approval: bool | None,
    end: bool,
    yes: bool,
    days: int,
    as_json: bool,
) -> int:
    """When maintenance windows are open next; plan, show, change or end WINDOW (a number, or a name).

    \b
    forestall windows "Patch Sunday" --plan --client "Acme Ltd" --site Leeds --first 2026-11-29 --at 22:00 --lasts 2h \\
      --every su
    """
    api = Api.connect()
    rrule = _rule(every, monthly, patch_tuesday, month_day, month_end, interval, rule)
    changed = given(
        starts_on=first, starts_at=starts_at, minutes=minutes(lasts) if lasts else None, rrule=rrule, purpose=purpose,
        notice_hours=notice_hours, notice_first_only=notice_first_only, catch_up_hours=catch_up_hours,
        needs_approval=needs_approval,
    )  # fmt: skip
    if window is None:
        if changed or plan or end:
            raise click.UsageError("name the window")
        return _window_list(api, client, days, as_json=as_json)
    if plan:
        missing = [name for name in ("starts_on", "starts_at", "minutes") if name not in changed]
        if missing or not client or not site:
            raise click.UsageError("--plan needs --client, --site, --first, --at and --lasts")
        place = find_site(api, client, site)
        one = find_device(api, device)["id"] if device else None
        made = api.post("/windows", {**changed, "name": window, "site": place["id"], "device": one})
        return _print_window(made, as_json=as_json)
    found = _find_window(api, window, client)
    if end:
        confirmed(f"End {found['name']} at {found['site']['name']} of {found['client']['name']} for good?", yes=yes)
        found = api.post(f"/windows/{found['id']}/end")
    elif changed:
        found = api.patch(f"/windows/{found['id']}", changed)
    return _print_window(api.get(f"/windows/{found['id']}"), as_json=as_json)


def _rule(
    every: str | None,
    monthly: str | None,
    patch_tuesday: int | None,
    month_day: int | None,
    month_end: str | None,
    interval: int | None,
    rule: str | None,
) -> str | None:
    """The RFC 5545 rule behind the options; None when none was given."""
    asked = (every, monthly, patch_tuesday, month_day, month_end, rule)
    if sum(one is not None for one in asked) > 1:
        raise click.UsageError(
            "--every, --monthly, --patch-tuesday, --month-day, --month-end and --rule exclude each other"
        )
    if rule is not None:
        made: str | None = rule.upper()
    elif monthly is not None:
        nth, _, day = monthly.upper().rpartition("-")
        if nth not in {"1", "2", "3", "4", "-1"} or day not in DAYS:
            raise CommandError(f"--monthly {monthly!r}: expected 1 to 4 or -1, a hyphen, and mo … su, such as 2-tu")
        made = f"FREQ=MONTHLY;BYDAY={nth}{day}"
    elif patch_tuesday is not None:
        # The second Tuesday is one of the days 8 to 14 of its month.
        days = ",".join(str(number + patch_tuesday) for number in range(8, 15))
        made = f"FREQ=MONTHLY;BYDAY={DAYS[(1 + patch_tuesday) % 7]};BYMONTHDAY={days}"
    elif month_day is not None:
        made = f"FREQ=MONTHLY;BYMONTHDAY={month_day}"
    elif month_end is not None:
        made = "FREQ=MONTHLY;" + ("BYMONTHDAY=-1" if month_end == "day" else "BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1")
    else:
        made = None if every is None else _weekly(every)
    if interval is None or interval == 1:
        return made
    if made is None or rule is not None:
        raise click.UsageError("--interval goes with --every, --monthly, --patch-tuesday, --month-day or --month-end")
    frequency, _, by = made.partition(";")
    return ";".join(filter(None, [frequency, f"INTERVAL={interval}", by]))


def _weekly(every: str) -> str:
    if every == "day":
        return "FREQ=DAILY"
    if every == "weekday":
        return "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"
    asked = [one.strip().upper() for one in every.split(",")]
    unknown = [one for one in asked if one not in DAYS]
    if unknown:
        raise CommandError(f"--every {every!r}: {unknown[0].lower()!r} is not day, weekday, or one of mo … su")
    return f"FREQ=WEEKLY;BYDAY={','.join(day for day in DAYS if day in asked)}"


def _find_window(api: Api, name: str, client: str | None) -> dict[str, Any]:
    known = everything(api, "/windows", client=find_client(api, client)["id"] if client else None)
    found = [one for one in known if name in {str(one["id"]), one["name"]}]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{one['id']} {one['name']} at {one['site']['name']}" for one in (found or known)[:10])
    raise CommandError(
        f"{'several windows are' if found else 'no window is'} called {name!r}: {names or 'there is none'}"
    )


def _window_list(api: Api, client: str | None, days: int, *, as_json: bool) -> int:
    found = api.get("/window-times", days=days, client=find_client(api, client)["id"] if client else None)
    if as_json:
        print_json(found)
        return 0
    names = {one["id"]: one["name"] for one in everything(api, "/devices")} if any(o["device"] for o in found) else {}
    rows = [
        (
            ago(one["start"]) if datetime.fromisoformat(one["start"]) > datetime.now(UTC) else "open now",
            f"{one['start'][:16].replace('T', ' ')} to {one['end'][11:16]}",
            str(one["window"]),
            one["name"],
            one["client"]["name"],
            one["site"]["name"],
            names.get(one["device"], "every device") if one["device"] else "every device",
        )
        for one in found
    ]
    print_table(
        ("When", "UTC", "#", "Window", "Client", "Site", "Device"),
        rows,
        empty=f"No window opens within {days} days: forestall windows NAME --plan …",
    )
    every = everything(api, "/windows", client=find_client(api, client)["id"] if client else None)
    proposed = [one for one in every if one["needs_approval"] and one["answer"] != "approved" and not one["ended_at"]]
    if proposed:
        console().print(Text("\nOnly proposed: none of these counts before the client approves it", style="bold"))
        waiting = [
            (
                str(one["id"]),
                one["name"],
                one["client"]["name"],
                one["site"]["name"],
                f"declined: {one['answer_reason']}" if one["answer"] == "declined" else "waits for an answer",
            )
            for one in proposed
        ]
        print_table(("#", "Window", "Client", "Site", "Why"), waiting, empty="")
    return 0


def _print_window(one: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        print_json(one)
        return 0
    console().print(
        Text(f"{one['name']} ({one['id']}) at {one['site']['name']} of {one['client']['name']}", style="bold")
    )
    console().print(
        f"{one['words']} from {one['starts_at']} for {span(one['minutes'])}, {one['timezone']}", markup=False
    )
    if one["ended_at"]:
        console().print(f"Ended by {one['ended_by']}.", markup=False)
    else:
        console().print(f"Opens {ago(one['next_start'])}." if one["next_start"] else "It does not open any more.")
    if one["notice_hours"]:
        which = "its first time" if one["notice_first_only"] else "each time"
        console().print(f"The client's people are told {one['notice_hours']} h before {which}.", markup=False)
    if one["catch_up_hours"]:
        console().print(f"A device that misses it is worked on within {one['catch_up_hours']} h after.", markup=False)
    for note in one["blackouts"]:
        console().print(note, markup=False)
    if one["needs_approval"]:
        answer = f"{one['answer']} by {one['answered_by']}" if one["answer"] else "no answer of the client yet"
        console().print(f"  {answer}{f': {reason}' if (reason := one['answer_reason']) else ''}", markup=False)
    for note in one["clock_changes"][:4]:
        console().print(f"  {note}", markup=False)
    return 0


# --- SLA ------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("name", required=False)
@click.option("--create", is_flag=True, help="Make the tier NAME (small letters, digits, hyphens).")
@click.option("--called", help="Its name in words.")
@click.option("--description", help="It in a sentence.")
@click.option("--urgent", metavar="A/B", help="Answered within A, solved within B, working time: 30min/4h.")
@click.option("--standard", metavar="A/B", help="As --urgent.")
@click.option("--low", metavar="A/B", help="As --urgent.")
@click.option("--client", help="Not a tier: what was agreed with this client alone.")
@click.option("--usual", type=click.Choice(PRIORITIES), multiple=True, help="With --client: its tier's times again.")
@click.option("--remove", is_flag=True, help="Remove the tier NAME, which no client may have.")
@click.option("--yes", is_flag=True, help="Do not ask before removing.")
@as_json_option
def sla(
    *,
    name: str | None,
    create: bool,
    called: str | None,
    description: str | None,
    client: str | None,
    usual: tuple[str, ...],
    remove: bool,
    yes: bool,
    as_json: bool,
    **times: str | None,
) -> int:
    """List SLA tiers; make, change or remove the tier NAME; say what was agreed with a client.

    A change holds for tickets opened from then on.

    \b
    forestall sla gold --create --called Gold --urgent 30min/4h
    forestall sla --client "Acme Ltd" --urgent 15min/2h
    """
    api = Api.connect()
    targets = {priority: _target(times[priority]) for priority in PRIORITIES if times[priority]}
    if client:
        if name or create or remove:
            raise click.UsageError("--client goes without the name of a tier")
        return _client_sla(api, client, targets, usual, as_json=as_json)
    if name is None:
        if targets or create or remove:
            raise click.UsageError("name the tier")
        found = api.get("/sla-tiers")
        if as_json:
            print_json(found)
            return 0
        rows = [(one["slug"], one["name"], *(_times(one["targets"][p]) for p in PRIORITIES), one["description"])
                for one in found]  # fmt: skip
        print_table(("Tier", "Name", "Urgent", "Standard", "Low", "What for"), rows, empty="No tiers.")
        return 0
    if remove:
        confirmed(f"Remove the tier {name}?", yes=yes)
        api.delete(f"/sla-tiers/{name}")
        click.echo(f"The tier {name} is gone.")
        return 0
    changed = given(name=called, description=description, targets=targets or None)
    if create:
        tier = api.post("/sla-tiers", {"targets": {}, **changed, "slug": name, "name": called or name.capitalize()})
    else:
        tier = api.patch(f"/sla-tiers/{name}", changed) if changed else api.get(f"/sla-tiers/{name}")
    words = "; ".join(f"{priority} {_times(tier['targets'][priority])}" for priority in PRIORITIES)
    return _shown(tier, as_json=as_json, words=f"{tier['name']}: {words}.")


def _client_sla(
    api: Api, client: str, targets: dict[str, dict[str, int]], usual: tuple[str, ...], *, as_json: bool
) -> int:
    owner = find_client(api, client)
    for priority, target in targets.items():
        api.raw("PUT", f"/clients/{owner['id']}/sla/{priority}", target)
    for priority in usual:
        api.delete(f"/clients/{owner['id']}/sla/{priority}")
    found = api.get(f"/clients/{owner['id']}/sla")
    if as_json:
        print_json(found)
        return 0
    console().print(Text(f"{owner['name']}: tier {found['tier']}", style="bold"))
    rows = [
        (priority, _times(found["targets"][priority]),
         "agreed with it" if found["targets"][priority]["own"] else "its tier")
        for priority in PRIORITIES
    ]  # fmt: skip
    print_table(("Priority", "Answered, solved within", "By"), rows, empty="")
    return 0


def _target(text: str | None) -> dict[str, int]:
    answered, separator, solved = (text or "").partition("/")
    if not separator:
        raise CommandError(f"{text!r}: expected two times, such as 30min/4h")
    return {"response_minutes": minutes(answered), "resolution_minutes": minutes(solved)}


def _times(target: dict[str, int]) -> str:
    return f"{span(target['response_minutes'])}, {span(target['resolution_minutes'])}"


# --- routes and rules -----------------------------------------------------------------------------------------


@click.command()
@click.argument("name", required=False)
@click.option("--add", metavar="ADDRESS", help="Add the route NAME: an address that apprise understands.")
@click.option("--client", help="Of this client; without it: every client.")
@click.option("--risk", type=click.Choice(RISKS), help="Sends only this risk and worse.")
@click.option("--test", is_flag=True, help="Really send a message over NAME.")
@click.option("--on/--off", "enabled", default=None, help="Switch NAME on or off.")
@click.option("--remove", is_flag=True, help="Remove NAME and its address.")
@click.option("--yes", is_flag=True, help="Do not ask before removing.")
@as_json_option
def routes(
    *,
    name: str | None,
    add: str | None,
    client: str | None,
    risk: str | None,
    test: bool,
    enabled: bool | None,
    remove: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """List where notifications go; add, test, change or remove the route NAME.

    \b
    forestall routes "Night pager" --add mailtos://user:password@mail.example.org?to=night@example.org --risk high
    forestall routes "Night pager" --test
    """
    api = Api.connect()
    owner = find_client(api, client) if client else None
    if add:
        if not name:
            raise click.UsageError("--add needs the name of the route")
        body = {"name": name, "address": add, "client": owner["id"] if owner else None, "minimum_risk": risk or "low"}
        made = api.post("/notification-routes", body)
        return _shown(made, as_json=as_json, words=f"{made['name']} sends to {made['address']}. Try it: --test")
    known = everything(api, "/notification-routes", client=owner["id"] if owner else None)
    if name is None:
        if as_json:
            print_json(known)
            return 0
        rows = [
            (
                str(one["id"]),
                one["name"],
                one["client"]["name"] if one["client"] else "every client",
                f"{one['minimum_risk']} risk or worse",
                "on" if one["enabled"] else "off",
                one["address"],
            )
            for one in known
        ]
        print_table(("#", "Route", "Client", "Sends", "State", "Address"), rows, empty="Nobody is told of alerts yet.")
        return 0
    found = [one for one in known if name in {str(one["id"]), one["name"]}]
    if len(found) != 1:
        raise CommandError(f"{'several routes are' if found else 'no route is'} called {name!r}; use its number")
    at = f"/notification-routes/{found[0]['id']}"
    if remove:
        confirmed(f"Remove the route {found[0]['name']}, and its address?", yes=yes)
        api.delete(at)
        click.echo(f"{found[0]['name']} is gone.")
        return 0
    changed = given(enabled=enabled, minimum_risk=risk)
    route = api.patch(at, changed) if changed else api.get(at)
    if test:
        tried = api.post(f"{at}/test")
        console().print(f"{route['name']}: {tried['words']}", markup=False)
        return 0 if tried["delivered"] else 1
    state = "on" if route["enabled"] else "off"
    return _shown(route, as_json=as_json, words=f"{route['name']} is {state}: {route['address']}")


@click.command()
@click.argument("number", type=int, required=False)
@click.option("--add", "owner", metavar="USER", help="Add a rule: its tickets go to USER.")
@click.option("--client", help="At this client; without it: every client.")
@click.option("--site", help="At this site of the client.")
@click.option("--kind", help="Of this kind of check, such as disk_space, or request.")
@click.option("--risk", type=click.Choice(RISKS), help="With this risk or worse; with --who: with this risk.")
@click.option("--order", type=int, default=0, help="Among rules that are equally particular; lower first.")
@click.option("--remove", is_flag=True, help="Remove rule NUMBER.")
@click.option("--who", is_flag=True, help="Who would get a ticket of --kind at --client and --site?")
@as_json_option
def routing(
    *,
    number: int | None,
    owner: str | None,
    client: str | None,
    site: str | None,
    kind: str | None,
    risk: str | None,
    order: int,
    remove: bool,
    who: bool,
    as_json: bool,
) -> int:
    """List who gets which ticket; add a rule, remove rule NUMBER, or ask who would get one.

    \b
    forestall routing --add bob --client "Acme Ltd" --kind disk_space --risk high
    forestall routing --who --client "Acme Ltd" --site Leeds --kind disk_space
    """
    api = Api.connect()
    place = find_place(api, client, site)
    if who:
        if not place["site"] or not kind:
            raise click.UsageError("--who needs --client, --site and --kind")
        answer = api.get("/routing-answer", site=place["site"], kind=kind, risk=risk or "high")
        words = f"{answer['owner'] or 'Nobody'} gets it: {answer['why']}."
        return _shown(answer, as_json=as_json, words=words)
    if owner:
        made = api.post(
            "/routing-rules", {"owner": owner, "kind": kind or "", "minimum_risk": risk, "order": order, **place}
        )
        return _shown(made, as_json=as_json, words=f"Rule {made['id']}: {made['words']}.")
    if remove:
        if number is None:
            raise click.UsageError("--remove needs the number of the rule")
        api.delete(f"/routing-rules/{number}")
        click.echo(f"Rule {number} is gone. Tickets keep the owner they have.")
        return 0
    found = everything(api, "/routing-rules", client=place["client"])
    if as_json:
        print_json(found)
        return 0
    rows = [(str(one["id"]), str(one["order"]), one["words"]) for one in found]
    print_table(("#", "Order", "Rule"), rows, empty="No rule: a ticket goes to the first owner of its place.")
    return 0
