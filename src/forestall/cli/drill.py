"""``forestall drill``: make a real fault on this machine and show, live, how the loop repairs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import click
from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from forestall.cli.client import Api, read_first_run
from forestall.cli.errors import CommandError
from forestall.drills.authority import revoke_order, sign_order
from forestall.drills.backup import BackupFault
from forestall.drills.disk import DiskFault
from forestall.drills.fault import DrillError, Fault, NeedsRootError, only_one_drill
from forestall.drills.service import ServiceFault
from forestall.drills.watch import Step, Watcher
from forestall.server.home import Home, current_home

NEXT = {
    "Healthy": "Making the fault",
    "Fault": "Waiting for the check-in that shows it",
    "Detected": "Alert, routing, ticket",
    "Ticket": "Looking for a standing order that covers it",
    "Job": "The agent verifies the signatures and runs it",
    "Repaired": "A fresh check",
    "Verified": "Resolving the ticket",
    "Resolved": "Writing the service report",
}


def faults(home: Home) -> dict[str, Callable[[], Fault]]:
    """Every drill by name, in the order of ``--all``."""
    return {"disk": DiskFault, "service": ServiceFault, "backup": lambda: BackupFault(home.agent)}


@click.command()
@click.argument("name", type=click.Choice(["disk", "service", "backup"]), required=False)
@click.option("--all", "run_all", is_flag=True, help="All of them, one after the other.")
@click.option("--json", "as_json", is_flag=True, help="Print the steps as JSON lines.")
def drill(*, name: str | None, run_all: bool, as_json: bool) -> int:
    """Make a real, bounded, reversible fault on this machine and watch the loop repair it.

    \b
    disk     a small volume of its own fills up with old temporary files   (root)
    service  a throw-away service is killed                                (root)
    backup   a nightly restic backup fails on a stale lock

    Each signs a standing order for its own target, good for one hour, with the operator's key of this machine, and
    revokes it at the end. Everything it made is removed, also after Ctrl-C. Exit code 1 when the loop did not close.
    """
    home = current_home()
    known = faults(home)
    if run_all == bool(name):
        raise click.UsageError(f"name one of {', '.join(known)}, or say --all")
    console = Console(highlight=False, stderr=as_json)
    failed = skipped = 0
    for one in known if run_all else [str(name)]:
        try:
            with only_one_drill():
                _run_drill(home, known[one](), console, as_json=as_json)
        except NeedsRootError as error:
            # Alone it is an error; among all it is left out, and said.
            if not run_all:
                raise CommandError(str(error)) from None
            skipped += 1
            console.print(f"[yellow]▲[/yellow] {one} was left out: {error}\n")
        except (DrillError, OSError) as error:
            failed += 1
            console.print(Text.assemble(("■ ", "red"), f"{one}: {error}\n"))
    if run_all:
        console.print(f"{len(known) - failed - skipped} drills done, {failed} failed, {skipped} left out.")
    return 1 if failed or skipped == len(known) else 0


def _run_drill(home: Home, fault: Fault, console: Console, *, as_json: bool) -> None:
    fault.require()
    api = Api.connect()
    device_id = read_first_run(home.first_run)["device_id"]
    watcher = Watcher(api=api, device_id=device_id, fault=fault, check_in=_check_in)
    console.print(f"[bold]Drill: {fault.name}[/bold]")
    order = sign_order(api=api, folder=home.operator, fault=fault, device_id=device_id)
    try:
        with _Board(console, as_json=as_json) as board:
            board.add(
                Step("Order", f"standing order {order[:12]}: {fault.runbook} on {fault.target}, for one hour", -1)
            )
            for step in watcher.prepare():
                board.add(step)
            for step in watcher.damage_and_follow():
                board.add(step)
    finally:
        # The order ends whatever becomes of the rest: it is a permission that still runs.
        try:
            fault.remove()
        finally:
            revoke_order(api=api, folder=home.operator, digest=order)
            _check_in()
        console.print("\n[dim]Removed what the drill made and revoked its standing order.[/dim]\n")


def _check_in() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "forestall.cli.main", "agent", "check-in"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise DrillError(f"the agent could not be asked to check in: {(done.stderr or done.stdout).strip()}")


class _Board:
    """The steps so far, and what is being waited for."""

    def __init__(self, console: Console, *, as_json: bool) -> None:
        self._steps: list[Step] = []
        self._json = as_json
        self._live = Live(console=console, refresh_per_second=8, transient=False)

    def __enter__(self) -> _Board:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.update(self._table())
        self._live.stop()

    def add(self, step: Step) -> None:
        self._steps.append(step)
        if self._json:
            click.echo(json.dumps({"step": step.name, "words": step.words, "seconds": round(step.seconds, 2)}))
        waiting = NEXT.get(step.name)
        table = self._table()
        self._live.update(Group(table, Spinner("dots", text=f" {waiting}…", style="dim")) if waiting else table)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", style="dim", width=8)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for step in self._steps:
            mark = ("■ ", "red") if step.name in {"Fault", "Detected"} else ("● ", "green")
            when = "" if step.seconds < 0 else f"{step.seconds:.1f} s"
            table.add_row(when, Text.assemble(mark, (step.name, "bold")), Text(step.words))
        return table
