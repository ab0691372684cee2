"""``forestall up``, ``status``, ``down``: the whole product on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from forestall.cli.errors import CommandError
from forestall.server.database.url import DatabaseUrlError, database_url
from forestall.server.home import AddressError, Home, console_address, current_home, intake_address
from forestall.server.supervisor import (
    AlreadyRunningError,
    PartFailedError,
    Supervisor,
    hold,
    require_address,
    running_parts,
    supervised_parts,
)

STOP_WAIT_SECONDS = 20
LEAST_FREE_BYTES = 16 * 1024 * 1024
"""Without that much there is no room for a first database and its journal."""


@click.command()
@click.option("--detach", is_flag=True, help="Return once everything is ready; stop it later with `forestall down`.")
@click.option("--no-agent", is_flag=True, help="Run the server alone, without an agent for this machine.")
def up(*, detach: bool, no_agent: bool) -> int:
    """Set up and run Forestall on this machine.

    The first time: makes keys, database, certificates and the first person, enrols this machine and takes its
    baseline. After that: starts what is there. Ctrl-C stops it; nothing is lost however it stops.
    """
    home = current_home()
    console = Console(highlight=False)
    try:
        if console_address() == intake_address():
            raise CommandError(f"FORESTALL_CONSOLE and FORESTALL_INTAKE are both {console_address()}")
        database_url(home)
    except (AddressError, DatabaseUrlError) as error:
        raise CommandError(str(error)) from None
    _make_home(home)
    if detach:
        return _detached(home, console, no_agent=no_agent)
    try:
        with hold(home):
            return _run(home, console, with_agent=not no_agent)
    except AlreadyRunningError:
        _print_ready(home, console, "Forestall runs already")
        return 0


def _make_home(home: Home) -> None:
    try:
        home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"FORESTALL_HOME={home.root} cannot be made: {error.strerror}") from None
    if not os.access(home.root, os.W_OK):
        raise CommandError(f"FORESTALL_HOME={home.root} cannot be written by this user")
    free = shutil.disk_usage(home.root).free
    # Only before the first start: on a disk that filled up later, the console is what shows it.
    if not home.database.exists() and free < LEAST_FREE_BYTES:
        raise CommandError(
            f"FORESTALL_HOME={home.root} has {free // 1024:,} KiB free; {LEAST_FREE_BYTES // 1024:,} KiB are needed"
        )


def _run(home: Home, console: Console, *, with_agent: bool) -> int:
    started = time.monotonic()
    # first-run.json is there while everything is ready, and only then: programs wait for it.
    home.first_run.unlink(missing_ok=True)
    environment = {**os.environ, "FORESTALL_HOME": str(home.root), "PYTHONUNBUFFERED": "1"}
    supervisor = Supervisor(home=home, environment=environment, say=lambda text: console.print(f"  [dim]{text}[/dim]"))

    step: list[subprocess.Popen[str]] = []

    def stop(_number: int, _frame: FrameType | None) -> None:
        supervisor.request_stop()
        for one in step:
            one.terminate()

    def do(name: str) -> None:
        try:
            _step(console, name, environment, running=step)
        except CommandError:
            if not supervisor.stopping:
                raise
        if supervisor.stopping:
            raise click.Abort

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, stop)
    parts = supervised_parts()
    try:
        for part in parts.values():
            # Said before anything is made.
            require_address(part)
        do("prepare")
        for name in ("intake", "console", "worker"):
            supervisor.start(parts[name])
        console.print("  [green]●[/green] Intake, console and worker run")
        if with_agent:
            do("enrol")
            supervisor.start(parts["agent"])
            do("baseline")
        else:
            do("announce")
        _print_ready(home, console, f"Ready after {time.monotonic() - started:.1f} s", foreground=True)
        supervisor.wait()
        console.print("\nStopping…")
    except PartFailedError as error:
        raise CommandError(str(error)) from None
    finally:
        home.first_run.unlink(missing_ok=True)
        supervisor.stop()
    console.print("Stopped. Start again with [bold]forestall up[/bold] (or make up).")
    return 0


def _step(console: Console, name: str, environment: dict[str, str], *, running: list[subprocess.Popen[str]]) -> None:
    """Do a step of the installation; while it is in ``running``, a signal ends it: each may be done again."""
    process = subprocess.Popen(
        [sys.executable, "-m", "forestall.server.installation", name],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Ctrl-C is ours to pass on: one word about it, and no traceback of the step's.
        process_group=0,
    )
    running.append(process)
    for line in process.stdout or ():
        console.print(Text.assemble("  ", ("●", "green"), " ", line.rstrip()))
    _, problem = process.communicate()
    running.remove(process)
    if process.returncode != 0:
        raise CommandError(f"{name}: {problem.strip()}")


def _print_ready(home: Home, console: Console, headline: str, *, foreground: bool = False) -> None:
    try:
        first_run = json.loads(home.first_run.read_text())
    except FileNotFoundError:
        console.print(f"{headline}; it is still starting ({home.root}).")
        return
    called = _called()
    drill = "drill disk" if os.geteuid() == 0 else "drill backup"
    # Paths and commands stay whole whatever the width: they are there to be copied.
    console = Console(highlight=False, soft_wrap=True)
    console.print()
    console.print(f"[bold]{headline}.[/bold]  Console: [bold cyan]{first_run['console_url']}[/bold cyan]")
    console.print(f"  Sign in as [bold]{first_run['username']}[/bold] with the password in {home.first_run}")
    console.print(f"  See the loop work: [bold]{called} {drill}[/bold]")
    console.print(f"  This machine's baseline as a report: [bold]{called} audit --pdf audit.pdf[/bold]")
    console.print(f"  Stop: {'Ctrl-C, or ' if foreground else ''}[bold]{called} down[/bold]")


def _called() -> str:
    """How this command is called from here: by its name where the shell finds it, else by its path."""
    script = Path(sys.executable).parent / "forestall"
    found = shutil.which("forestall")
    if found and Path(found).resolve() == script.resolve():
        return "forestall"
    return str(script.relative_to(Path.cwd())) if script.is_relative_to(Path.cwd()) else str(script)


def _detached(home: Home, console: Console, *, no_agent: bool) -> int:
    if running_parts(home):
        _print_ready(home, console, "Forestall runs already")
        return 0
    log = home.logs / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    arguments = [sys.executable, "-m", "forestall.cli.main", "up", *(["--no-agent"] if no_agent else [])]
    with log.open("wb") as file:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    with console.status("Starting…"):
        while process.poll() is None:
            time.sleep(0.2)
            if b"Console:" in log.read_bytes():
                break
    code = process.poll()
    if code:
        raise CommandError(log.read_text().rpartition("Error: ")[2].strip())
    _print_ready(home, console, "Forestall runs")
    return 0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(*, as_json: bool) -> int:
    """Say what of Forestall runs here. Exit code 1 when it does not run."""
    home = current_home()
    running = running_parts(home) if home.root.exists() else {}
    if as_json:
        click.echo(json.dumps({"home": str(home.root), "running": bool(running), "parts": running}))
        return 0 if running else 1
    console = Console(highlight=False)
    if not running:
        console.print(f"Forestall does not run on {home.root}. Start it: [bold]forestall up[/bold]")
        return 1
    table = Table(box=None, pad_edge=False)
    for column in ("Part", "Process", "State", "Memory"):
        table.add_column(column, justify="right" if column in {"Process", "Memory"} else "left")
    for name, pid in running.items():
        alive, memory = _process(pid)
        table.add_row(name, str(pid), "[green]● runs[/green]" if alive else "[yellow]▲ starting again[/yellow]", memory)
    console.print(table)
    console.print(f"Console http://{console_address()}   Home {home.root}")
    return 0


def _process(pid: int) -> tuple[bool, str]:
    status_file = Path(f"/proc/{pid}/status")
    try:
        fields = dict(line.split(":", 1) for line in status_file.read_text().splitlines())
    except (FileNotFoundError, ProcessLookupError):
        return False, "–"
    return True, f"{int(fields['VmRSS'].split()[0]) / 1024:.0f} MiB" if "VmRSS" in fields else "–"


@click.command()
def down() -> int:
    """Stop what `up` started. Nothing that was acknowledged is lost."""
    home = current_home()
    running = running_parts(home) if home.root.exists() else {}
    if not running:
        click.echo(f"Forestall does not run on {home.root}.")
        return 0
    os.kill(running["supervisor"], signal.SIGTERM)
    deadline = time.monotonic() + STOP_WAIT_SECONDS
    while running_parts(home):
        if time.monotonic() > deadline:
            raise CommandError(
                f"process {running['supervisor']} has not stopped after {STOP_WAIT_SECONDS} s; see {home.logs}"
            )
        time.sleep(0.1)
    click.echo("Stopped.")
    return 0
