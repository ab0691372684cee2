"""``forestall db``: what the database is, and the move from SQLite to PostgreSQL."""

from __future__ import annotations

import dataclasses
import json
import os
import sys

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from forestall.cli.errors import CommandError
from forestall.cli.local import open_installation
from forestall.server.database.url import NO_ROLES, SWITCH, VARIABLE, DatabaseUrl, DatabaseUrlError
from forestall.server.home import current_home
from forestall.server.supervisor import AlreadyRunningError, hold, running_parts


@click.group()
def db() -> None:
    """Look at the database; move it from SQLite to PostgreSQL."""


@db.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(*, as_json: bool) -> int:
    """Say which database this is, how large, and what is in it.

    Exit code 1 when migrations wait or, on PostgreSQL, roles or row-level security are not as they should be:
    `forestall up` puts that right.
    """
    open_installation()
    from django.db import DatabaseError

    from forestall.server.database.status import status as look

    home = current_home()
    try:
        found = look(home)
    except DatabaseError as error:
        raise CommandError(f"the database cannot be read: {' '.join(str(error).split())}") from None
    well = not found.pending and found.walls >= found.walls_wanted and (not found.walls_wanted or len(found.roles) == 3)
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(found), "well": well}))
        return 0 if well else 1
    console = Console(highlight=False, soft_wrap=True)
    name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[found.engine]
    console.print(f"[bold]{name} {found.version}[/bold]  {found.bytes / 1_000_000:,.1f} MB  ", end="")
    console.print(found.where, markup=False)
    if found.pending:
        waiting = ", ".join(found.pending)
        console.print(Text.assemble(("▲ ", "yellow"), f"{len(found.pending)} migrations wait for `up`: {waiting}"))
    else:
        console.print(Text.assemble(("● ", "green"), f"{found.applied} migrations, none waits"))
    if found.engine == "postgresql":
        mark = ("● ", "green") if well else ("▲ ", "yellow")
        if found.walls_wanted:
            text = (
                f"{found.walls} of {found.walls_wanted} tables of clients behind row-level security; "
                f"roles: {', '.join(found.roles) or 'none'}"
            )
        else:
            text = f"{SWITCH}={NO_ROLES}: no roles and no row-level security"
        console.print(Text.assemble(mark, text))
    table = Table(box=None, pad_edge=False)
    table.add_column("Table")
    table.add_column("Rows", justify="right")
    for one, rows in found.rows.items():
        if rows:
            table.add_row(one, f"{rows:,}")
    console.print(table)
    empty = sum(not rows for rows in found.rows.values())
    console.print(f"[dim]and {empty} empty tables[/dim]")
    return 0 if well else 1


@db.command()
@click.option(
    "--to",
    "address",
    required=True,
    metavar="URL",
    help="postgresql://user@host/name of an empty database; - reads it from standard input.",
)
@click.option("--stop", is_flag=True, help="Stop Forestall first when it runs here.")
def move(*, address: str, stop: bool) -> None:
    """Move everything from SQLite to an empty PostgreSQL database.

    Copies every row, reads both sides again and compares them row by row, computes the root of every evidence log from
    the copy, and only then makes this installation use it. SQLite is only read: when anything goes wrong, Forestall
    starts on it as before. With a password in the address, give `--to -` and type it, so that it is in no list of
    processes.
    """
    home = current_home()
    try:
        to = DatabaseUrl.parse(sys.stdin.readline() if address == "-" else address, source="--to")
    except DatabaseUrlError as error:
        raise CommandError(str(error)) from None
    if os.environ.get(VARIABLE) or home.database_url.exists():
        named = VARIABLE if os.environ.get(VARIABLE) else home.database_url
        raise CommandError(f"this installation is on PostgreSQL already: {named} says so")
    open_installation()
    if running_parts(home):
        if not stop:
            raise CommandError(
                f"Forestall runs on {home.root}; nothing may be written during the move: add --stop, or stop it"
            )
        _stop()
    from forestall.server.database.move import MoveError
    from forestall.server.database.move import move as move_to

    console = Console(highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with hold(home), Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("", total=None)

            def tell(what: str, done: int, total: int) -> None:
                progress.update(task, description=what, completed=done, total=total)

            moved = move_to(home=home, to=to, tell=tell, roles=os.environ.get(SWITCH) != NO_ROLES)
    except AlreadyRunningError:
        raise CommandError(f"Forestall was started on {home.root} meanwhile; stop it and try again") from None
    except MoveError as error:
        raise CommandError(f"{error}. Nothing was moved: Forestall starts on SQLite as before") from None
    console.print(Text.assemble(("● ", "green"), f"{moved.rows:,} rows of {moved.tables} tables copied; none differs"))
    console.print(Text.assemble(("● ", "green"), f"{moved.logs} evidence logs add up to their roots in the copy"))
    console.print(Text.assemble(("● ", "green"), f"{home.database_url} names {to}"))
    console.print("Start on it: forestall up. SQLite stays as it was, in:")
    console.print(str(home.database), markup=False)


def _stop() -> None:
    from forestall.cli.up import down

    down.callback()  # type: ignore[misc]
