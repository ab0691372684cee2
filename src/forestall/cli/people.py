"""People on the command line, through the REST API: who may what, where, until when and why.

``forestall person`` is another thing: it works on the server's own data folder, without anybody's token.
"""

from __future__ import annotations

import urllib.parse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from forestall.cli.client import Api
from forestall.cli.desk import everything
from forestall.cli.errors import CommandError
from forestall.cli.show import ago, as_json_option, console, print_json, print_table

WHERE = (
    click.option("--client", help="At this client (name or id); without it: everywhere."),
    click.option("--site", help="At this site of the client."),
)


def placed(command: Any) -> Any:
    """``--client`` and ``--site``."""
    for option in reversed(WHERE):
        command = option(command)
    return command


def find_person(api: Api, name: str) -> dict[str, Any]:
    """The person of that user name; CommandError when there is none you see."""
    found = [one for one in everything(api, "/people", q=name) if one["username"].lower() == name.lower()]
    if not found:
        raise CommandError(f"you see nobody called {name!r}")
    return found[0]


def find_place(api: Api, client: str | None, site: str | None) -> dict[str, str | None]:
    """The ids of a client and a site, named by name or id."""
    if site and not client:
        raise click.UsageError("--site needs --client")
    if not client:
        return {"client": None, "site": None}
    owner = _named("client", client, everything(api, "/clients"))
    if not site:
        return {"client": owner["id"], "site": None}
    sites = [one for one in everything(api, "/sites") if one["client"]["id"] == owner["id"]]
    return {"client": owner["id"], "site": _named("site", site, sites)["id"]}


PORTAL_ROLES = frozenset({"client_manager", "client_user"})


@click.group(invoke_without_command=True)
@click.pass_context
def people(context: click.Context) -> None:
    """See and change people and what they may do.

    Nobody gives, takes or changes what exceeds their own rights at that place.
    """
    if context.invoked_subcommand is None:
        context.invoke(list_people)


@people.command("list")
@click.option("--search", help="Words of the name or e-mail address.")
@click.option("--role", help="Who holds this role now.")
@click.option("--client", help="Who may something at this client.")
@click.option("--state", type=click.Choice(["active", "inactive"]), help="Switched on, or off.")
@click.option("--second-factor", type=click.Choice(["yes", "no"]), help="Who set one up, or did not.")
@as_json_option
def list_people(
    *,
    search: str | None = None,
    role: str | None = None,
    client: str | None = None,
    state: str | None = None,
    second_factor: str | None = None,
    as_json: bool = False,
) -> int:
    """List people, by user name."""
    api = Api.connect()
    where = find_place(api, client, None)["client"]
    factor = None if second_factor is None else str(second_factor == "yes").lower()
    found = everything(api, "/people", q=search, role=role, client=where, state=state, second_factor=factor)
    if as_json:
        print_json(found)
        return 0
    rows = [
        (
            one["username"],
            one["display_name"],
            "; ".join(_at(grant) for grant in one["grants"]) or "no role",
            "yes" if one["has_second_factor"] else "no",
            ago(one["last_sign_in_at"]),
            "active" if one["is_active"] else "switched off",
        )
        for one in found
    ]
    print_table(("Person", "Name", "Roles", "Factor", "Seen", "State"), rows, empty="Nobody fits.")
    return 0


@people.command()
@click.argument("name")
@as_json_option
def show(*, name: str, as_json: bool) -> int:
    """Show NAME: roles, tokens, sessions."""
    api = Api.connect()
    person = find_person(api, name)
    every = api.get(f"/people/{person['id']}/grants")
    if as_json:
        print_json(person | {"grants": every})
        return 0
    called = f" ({person['display_name']})" if person["display_name"] else ""
    home = f", of {person['home_client']['name']}" if person["home_client"] else ""
    state = "active" if person["is_active"] else "switched off"
    factor = "a second factor" if person["has_second_factor"] else "no second factor"
    console().print(Text(f"{person['username']}{called}{home}: {state}", style="bold"))
    console().print(
        Text(f"{person['email'] or 'no e-mail'}; {factor}; last sign-in {ago(person['last_sign_in_at'])}\n")
    )
    _print_grants(every)
    return 0


@people.command()
@click.argument("name")
@click.option("--called", default="", help="The name shown to others.")
@click.option("--email", default="", help="By which they can reset their password.")
@click.option(
    "--home-client", help="They are this client's own person: portal roles only. Of a portal role: its client, unsaid."
)
@click.option("--role", help="Their first role.")
@placed
@click.option("--until", help="When the role ends by itself: 2027-01-31, or with a time.")
@click.option("--without-role", is_flag=True, help="They may nothing yet, and that is meant.")
@click.option("--shown", is_flag=True, help="Make a password and show it once, instead of a link.")
def invite(
    *,
    name: str,
    called: str,
    email: str,
    home_client: str | None,
    role: str | None,
    client: str | None,
    site: str | None,
    until: str | None,
    without_role: bool,
    shown: bool,
) -> int:
    """Make a person who signs in as NAME, and a link by which they choose their password.

    \b
    forestall people invite bob --called "Bob Brown" --role technician --client Acme
    forestall people invite carol --home-client Acme --role client_user --client Acme
    """
    api = Api.connect()
    if role and role.replace("-", "_").replace(" ", "_").lower() in PORTAL_ROLES and home_client is None:
        # These are for a client's own people: at whose portal, is whose person.
        home_client = client
    place = find_place(api, client or home_client, site) if role else {}
    made = api.post(
        "/people",
        {
            "username": name,
            "display_name": called,
            "email": email,
            "home_client": find_place(api, home_client, None)["client"],
            "grants": [{"role": role, **place, "until": _moment(until)}] if role else [],
            "without_grant": without_role,
        },
    )
    console().print(Text(f"{made['username']} is made: {'; '.join(map(_at, made['grants'])) or 'without a role'}."))
    _print_password(api, made, shown=shown)
    return 0


@people.command()
@click.argument("name")
@click.option("--called", help="The name shown to others.")
@click.option("--email", help="By which they can reset their password.")
def change(*, name: str, called: str | None, email: str | None) -> int:
    """Change how NAME is called and reached."""
    if called is None and email is None:
        raise click.UsageError("say what changes: --called or --email")
    api = Api.connect()
    body = {key: value for key, value in (("display_name", called), ("email", email)) if value is not None}
    api.raw("PATCH", f"/people/{find_person(api, name)['id']}", body)
    click.echo(f"{name} is changed.")
    return 0


@people.command()
@click.argument("name")
@click.argument("role")
@placed
@click.option("--until", help="When it ends by itself: 2027-01-31, or with a time.")
def give(*, name: str, role: str, client: str | None, site: str | None, until: str | None) -> int:
    """Give NAME a ROLE: everywhere, at a client, or at a site of it."""
    api = Api.connect()
    body = {"role": role, **find_place(api, client, site), "until": _moment(until)}
    grant = api.post(f"/people/{find_person(api, name)['id']}/grants", body)
    click.echo(f"{name} is {_at(grant)} from their next request on.")
    return 0


@people.command()
@click.argument("name")
@click.argument("role")
@placed
def take(*, name: str, role: str, client: str | None, site: str | None) -> int:
    """Take a ROLE away from NAME."""
    api = Api.connect()
    place = find_place(api, client, site)
    held = api.get(f"/people/{find_person(api, name)['id']}/grants")
    known = {role.lower(), role.lower().replace("-", "_").replace(" ", "_")}
    fits = [
        one
        for one in held
        if known & {one["role"], one["role_name"].lower()}
        and all((one[key]["id"] if one[key] else None) == place[key] for key in place)
    ]
    if not fits:
        raise CommandError(f"{name} is not {role!r} there; has: {'; '.join(map(_at, held)) or 'no role'}")
    api.raw("DELETE", f"/grants/{fits[0]['id']}")
    click.echo(f"{name} is no longer {_at(fits[0])}.")
    return 0


@people.command()
@click.argument("name")
@click.option("--tickets-to", metavar="USER", help="Who takes over their open tickets, in the same step.")
def off(*, name: str, tickets_to: str | None) -> int:
    """Switch NAME off: sessions and tokens open nothing from the next request on. Roles stay."""
    api = Api.connect()
    done = api.post(f"/people/{find_person(api, name)['id']}/deactivate", {"successor": tickets_to})
    given = f"; {done['tickets_given']} open tickets went to {tickets_to}" if tickets_to else ""
    click.echo(f"{name} is switched off{given}.")
    return 0


@people.command()
@click.argument("name")
def on(*, name: str) -> int:
    """Switch NAME on again, with the roles they still have."""
    api = Api.connect()
    person = api.post(f"/people/{find_person(api, name)['id']}/activate")
    click.echo(f"{name} is switched on: {'; '.join(map(_at, person['grants'])) or 'without a role'}.")
    return 0


@people.command()
@click.argument("name")
@click.option("--shown", is_flag=True, help="Make a password and show it once, instead of a link.")
def password(*, name: str, shown: bool) -> int:
    """A link, good once and for an hour, by which NAME chooses a password."""
    api = Api.connect()
    _print_password(api, find_person(api, name), shown=shown)
    return 0


@people.command("reset-factors")
@click.argument("name")
def reset_factors(*, name: str) -> int:
    """Take away NAME's lost second factors, and end their sessions."""
    api = Api.connect()
    done = api.post(f"/people/{find_person(api, name)['id']}/reset-factors")
    click.echo(f"{done['number']} taken from {name}; every session of theirs has ended.")
    return 0


@people.command()
@click.argument("name")
@click.option("--end", is_flag=True, help="End them all.")
@as_json_option
def sessions(*, name: str, end: bool, as_json: bool) -> int:
    """List NAME's open sessions, or end them."""
    api = Api.connect()
    number = find_person(api, name)["id"]
    if end:
        click.echo(f"{api.post(f'/people/{number}/end-sessions')['number']} sessions of {name} have ended.")
        return 0
    found = api.get(f"/people/{number}/sessions")
    if as_json:
        print_json(found)
        return 0
    rows = [(one["ip"], ago(one["created_at"]), ago(one["last_seen_at"]), one["user_agent"]) for one in found]
    print_table(("From", "Since", "Seen", ""), rows, empty=f"{name} is signed in nowhere.")
    return 0


@people.command()
@click.argument("name")
@click.option("--revoke", metavar="ID", type=int, help="Revoke this one for good.")
@as_json_option
def tokens(*, name: str, revoke: int | None, as_json: bool) -> int:
    """List NAME's API tokens, or revoke one."""
    api = Api.connect()
    number = find_person(api, name)["id"]
    if revoke is not None:
        api.raw("DELETE", f"/people/{number}/tokens/{revoke}")
        click.echo(f"Token {revoke} of {name} is revoked.")
        return 0
    found = api.get(f"/people/{number}/tokens")
    if as_json:
        print_json(found)
        return 0
    rows = [
        (
            str(one["id"]),
            one["name"],
            ", ".join(one["permissions"]) or "all of its person's",
            "revoked" if one["revoked_at"] else ago(one["expires_at"]) if one["expires_at"] else "never ends",
            ago(one["last_used_at"]),
        )
        for one in found
    ]
    print_table(("Id", "Token", "May", "State", "Seen"), rows, empty=f"{name} has no tokens.")
    return 0


@people.command()
@click.argument("name")
@click.argument("permission")
@click.option("--client", required=True, help="At this client (name or id).")
@click.option("--site", help="At this site of the client.")
@as_json_option
def why(*, name: str, permission: str, client: str, site: str | None, as_json: bool) -> int:
    """Say why NAME may, or may not, do PERMISSION at a place. Exit code 1: may not.

    \b
    forestall people why bob ticket.work --client Acme --site Munich
    """
    api = Api.connect()
    place = find_place(api, client, site)
    answer = api.get(f"/people/{find_person(api, name)['id']}/why", permission=permission, **place)
    if as_json:
        print_json(answer)
    else:
        console().print(Text(answer["why"], style="bold"))
        rows = [("●" if one["gives"] else "◌", _at(one["grant"]), one["why"]) for one in answer["reasons"]]
        print_table(("", "Role", "Why"), rows, empty="No role to be seen.")
    return 0 if answer["may"] else 1


@click.command()
@click.option("--person", help="Only this person's.")
@click.option("--ended", type=click.Choice(["yes", "no"]), default="no", show_default=True)
@click.option("--until", nargs=2, metavar="ID DATE", help="Let the grant ID end then; DATE may be never.")
@click.option("--csv", "file", type=click.Path(dir_okay=False, path_type=Path), help="Save the access review as CSV.")
@as_json_option
def grants(*, person: str | None, ended: str, until: tuple[str, str] | None, file: Path | None, as_json: bool) -> int:
    """List who may what; move a grant's end; save the list for an access review."""
    api = Api.connect()
    if file:
        file.write_bytes(api.raw("GET", "/grants.csv"))
        click.echo(f"Saved {file}.")
        return 0
    if until:
        end = None if until[1] == "never" else _moment(until[1])
        api.raw("PATCH", f"/grants/{urllib.parse.quote(until[0], safe='')}", {"until": end})
        click.echo(f"Grant {until[0]} ends {ago(end) if end else 'never by itself'}.")
        return 0
    number = find_person(api, person)["id"] if person else None
    found = everything(api, "/grants", person=number, ended=str(ended == "yes").lower())
    if as_json:
        print_json(found)
        return 0
    _print_grants(found, with_person=True)
    return 0


def _print_grants(found: list[dict[str, Any]], *, with_person: bool = False) -> None:
    rows = [
        (
            str(one["id"]),
            *((one["person"]["username"],) if with_person else ()),
            _at(one),
            f"{one['granted_by'] or 'the server'}, {ago(one['granted_at'])}",
            _end(one),
        )
        for one in found
    ]
    columns = ("Id", *(("Person",) if with_person else ()), "Role", "Given", "Ends")
    print_table(columns, rows, empty="No role.")


def _print_password(api: Api, person: dict[str, Any], *, shown: bool) -> None:
    made = api.post(f"/people/{person['id']}/password", {"how": "shown" if shown else "link"})
    if shown:
        console().print("Their password, shown only now:\n")
        click.echo(f"  {made['password']}")
    else:
        console().print("Send them this link. It is good once, for an hour:\n")
        click.echo(f"  {made['url']}")


def _at(grant: dict[str, Any]) -> str:
    if grant["client"] is None:
        return f"{grant['role_name']} everywhere"
    site = f", {grant['site']['name']}" if grant["site"] else ""
    return f"{grant['role_name']} at {grant['client']['name']}{site}"


def _end(grant: dict[str, Any]) -> str:
    if grant["until"] is None:
        return "" if grant["counts_now"] else "switched off"
    return f"{grant['until'][:16].replace('T', ' ')} UTC" + ("" if grant["counts_now"] else ", counts no more")


def _named(what: str, name: str, every: list[dict[str, Any]]) -> dict[str, Any]:
    found = [one for one in every if name in {one["id"], one["name"]}]
    if len(found) == 1:
        return found[0]
    known = ", ".join(one["name"] for one in (found or every)[:10])
    raise CommandError(f"{f'several {what}s are' if found else f'no {what} is'} called {name!r}; known: {known}")


def _moment(text: str | None) -> str | None:
    """A date (its end, UTC) or a time as the API takes it."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is no date; write 2027-01-31 or 2027-01-31T18:00+01:00") from None
    if len(text) <= len("2027-01-31"):
        moment = moment.replace(hour=23, minute=59, second=59)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
