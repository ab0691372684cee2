"""``forestall person``: who may sign in, on the server itself. It needs no password: whoever reads the data folder
holds the installation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from forestall.cli.errors import CommandError
from forestall.cli.local import WHO, open_installation, read_secret

if TYPE_CHECKING:
    from forestall.server.people.models import Client, Person, Site

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def person() -> None:
    """Make people, set their password, switch them off and on. On the server itself.

    Passwords are asked for, or read from the first line of standard input; never given as an argument.
    """


@person.command()
@click.argument("name")
@click.option("--role", required=True, help="owner, service_manager, technician, on_call, auditor, or your own role.")
@click.option("--client", "client_name", help="Only at this client (its name).")
@click.option("--site", "site_name", help="Only at this site of the client.")
@click.option("--email", default="", help="Where mails about the sign-in go, and by which a password is reset.")
@click.option("--called", default="", help="The name shown to others.")
def create(*, name: str, role: str, client_name: str | None, site_name: str | None, email: str, called: str) -> None:
    """Make a person who can sign in as NAME."""
    open_installation()
    from datetime import UTC, datetime

    from django.contrib.auth.password_validation import validate_password
    from django.core.exceptions import ValidationError
    from django.db import transaction

    from forestall.server.people.persons import FirstGrant, person_invite
    from forestall.server.people.scope import Scope
    from forestall.server.people.signin_policy import SignInPolicyError, role_named

    client, site = _place(client_name, site_name)
    try:
        given = role_named(role)
    except SignInPolicyError as error:
        raise CommandError(str(error)) from None
    password = read_secret(f"Password for {name}", twice=True)
    try:
        validate_password(password)
        with transaction.atomic():
            made = person_invite(
                username=name,
                display_name=called,
                email=email,
                grants=[FirstGrant(role=given, client=client, site=site)],
                scope=Scope.system(WHO),
                now=datetime.now(UTC),
            )
            made.set_password(password)
            made.save(update_fields=["password"])
    except ValidationError as error:
        raise CommandError("password: " + " ".join(error.messages)) from None
    except ValueError as error:
        raise CommandError(str(error)) from None
    where = site.name if site else client.name if client else "everywhere"
    click.echo(f"{made.username} can sign in now: {role} {'at ' if client else ''}{where}.")


@person.command("list")
@AS_JSON
def list_(*, as_json: bool) -> None:
    """Who there is, with their roles and how they sign in."""
    open_installation()
    from allauth.mfa.models import Authenticator

    from forestall.server.people.models import Person
    from forestall.server.people.queries import mfa_is_required

    found = []
    for one in Person.objects.order_by("username").prefetch_related("grants__custom", "grants__client", "grants__site"):
        factors = sorted(set(Authenticator.objects.filter(user=one).values_list("type", flat=True)))
        found.append(
            {
                "username": one.username,
                "name": one.shown_name,
                "email": one.email,
                "active": one.is_active,
                "roles": [_grant_words(grant) for grant in one.grants.all()],
                "second_factors": [factor for factor in factors if factor != "recovery_codes"],
                "needs_second_factor": mfa_is_required(person=one),
                "last_login": one.last_login.isoformat(timespec="seconds") if one.last_login else None,
            }
        )
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("Name", "State", "Roles", "Second factor", "Last signed in"):
        table.add_column(column)
    for row in found:
        table.add_row(*_line(row))
    Console(highlight=False).print(table)


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    state = "[green]●[/green] on" if row["active"] else "[dim]◌ off[/dim]"
    factor = ", ".join(row["second_factors"]) or (
        "[yellow]▲ missing[/yellow]" if row["needs_second_factor"] else "none"
    )
    return row["username"], state, "\n".join(row["roles"]) or "none", factor, row["last_login"] or "never"


@person.command()
@click.argument("name")
def passwd(*, name: str) -> None:
    """Give NAME a new password; signs them out everywhere."""
    found = _named(name)
    from forestall.server.people.signin import person_set_password

    try:
        person_set_password(
            person=found, password=read_secret(f"New password for {found.username}", twice=True), who=WHO
        )
    except ValueError as error:
        raise CommandError(str(error)) from None
    click.echo(f"{found.username} has a new password, and is signed out everywhere.")


@person.command()
@click.argument("name")
def disable(*, name: str) -> None:
    """Keep NAME out: at once, in every session and with every token."""
    found = _named(name)
    from datetime import UTC, datetime

    from forestall.server.people.persons import person_deactivate
    from forestall.server.people.scope import Scope

    try:
        person_deactivate(person=found, scope=Scope.system(WHO), now=datetime.now(UTC))
    except ValueError as error:
        raise CommandError(str(error)) from None
    click.echo(f"{found.username} is switched off: signed out everywhere, and no token works.")


@person.command()
@click.argument("name")
def enable(*, name: str) -> None:
    """Let NAME in again, with the roles they have."""
    found = _named(name)
    from datetime import UTC, datetime

    from forestall.server.people.persons import person_activate
    from forestall.server.people.scope import Scope

    person_activate(person=found, scope=Scope.system(WHO), now=datetime.now(UTC))
    click.echo(f"{found.username} can sign in again.")


@person.command()
@click.argument("name")
def unlock(*, name: str) -> None:
    """Forget the wrong tries that keep NAME waiting."""
    found = _named(name)
    from forestall.server.people.signin import person_unlock

    person_unlock(person=found, who=WHO)
    click.echo(f"{found.username} can try again now.")


@person.command("mfa-reset")
@click.argument("name")
def mfa_reset(*, name: str) -> None:
    """Take away NAME's second factors and recovery codes: they lost them. Signs them out everywhere."""
    found = _named(name)
    from datetime import UTC, datetime

    from forestall.server.people.persons import factors_reset
    from forestall.server.people.queries import mfa_is_required
    from forestall.server.people.scope import Scope

    number = factors_reset(person=found, scope=Scope.system(WHO), now=datetime.now(UTC))
    next_ = " At the next sign-in they must set one up." if mfa_is_required(person=found) else ""
    click.echo(f"{found.username}: {number} second factors and sets of codes taken away; signed out everywhere.{next_}")


@person.command()
@click.argument("name")
@click.option("--end", is_flag=True, help="Sign them out everywhere.")
@AS_JSON
def sessions(*, name: str, end: bool, as_json: bool) -> None:
    """Where NAME is signed in, and what happened to their sign-in lately."""
    found = _named(name)
    from forestall.server.people.signin import signin_events
    from forestall.server.people.signin_browsers import browser_name
    from forestall.server.people.signin_events import note
    from forestall.server.people.signin_models import SignInEventKind
    from forestall.server.people.signin_sessions import sessions_end, sessions_of

    if end:
        number = sessions_end(person=found)
        note(person=found, kind=SignInEventKind.SESSION_ENDED, detail=f"{number} by {WHO}")
        click.echo(f"{found.username} is signed out of {number} browsers.")
        return
    open_ones = [
        {
            "browser": browser_name(session.user_agent),
            "address": session.ip,
            "signed_in_at": session.created_at.isoformat(timespec="seconds"),
            "last_used_at": session.last_seen_at.isoformat(timespec="seconds"),
        }
        for session in sessions_of(person=found)
    ]
    events = [
        {"at": event.at.isoformat(timespec="seconds"), "kind": event.kind, "detail": event.detail,
         "address": event.address, "browser": browser_name(event.user_agent) if event.user_agent else ""}
        for event in signin_events(person=found, limit=20)
    ]  # fmt: skip
    if as_json:
        click.echo(json.dumps({"sessions": open_ones, "events": events}, indent=2))
        return
    console = Console(highlight=False)
    if not open_ones:
        console.print(f"{found.username} is signed in nowhere.")
    for rows, title in ((open_ones, "Signed in"), (events, "What happened")):
        if rows:
            table = Table(box=None, pad_edge=False, title=title, title_justify="left")
            for column in rows[0]:
                table.add_column(column.replace("_", " "))
            for row in rows:
                table.add_row(*row.values())
            console.print(table)


def _named(name: str) -> Person:
    open_installation()
    from forestall.server.people.models import Person

    found = Person.objects.filter(username__iexact=name).first()
    if found is None:
        names = ", ".join(Person.objects.order_by("username").values_list("username", flat=True)[:20])
        raise CommandError(f"nobody here is called {name!r}; there are: {names or 'none'}")
    return found


def _place(client_name: str | None, site_name: str | None) -> tuple[Client | None, Site | None]:
    from forestall.server.people.queries import clients, sites
    from forestall.server.people.scope import Scope

    scope = Scope.system(WHO)
    if client_name is None:
        if site_name is not None:
            raise CommandError("--site: name its client too (--client)")
        return None, None
    client = clients(scope=scope).filter(name=client_name).first()
    if client is None:
        raise CommandError(f"--client: no client is called {client_name!r}")
    if site_name is None:
        return client, None
    site = sites(scope=scope).filter(client=client, name=site_name).first()
    if site is None:
        raise CommandError(f"--site: {client_name} has no site {site_name!r}")
    return client, site


def _grant_words(grant: Any) -> str:
    where = (
        f"{grant.client} · {grant.site}" if grant.site_id else str(grant.client) if grant.client_id else "everywhere"
    )
    return f"{grant.role_name} ({where})"
