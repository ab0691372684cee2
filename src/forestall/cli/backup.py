"""``forestall backup``: make, list and prove backups of this installation."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from forestall.cli.errors import CommandError
from forestall.server.home import Home, current_home

if TYPE_CHECKING:
    from forestall.server.backup.age import Identity, Passphrase
    from forestall.server.backup.rules import Settings
    from forestall.server.backup.services import Progress as Step

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(invoke_without_command=True)
@click.option("--to", metavar="FOLDER", type=FOLDER, help="Write it there; nothing is deleted there.")
@click.option(
    "--passphrase-file", metavar="FILE", type=FILE, help="Encrypt with the passphrase in FILE, not for the key."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def backup(context: click.Context, *, to: Path | None, passphrase_file: Path | None, as_json: bool) -> None:
    """Make a backup now, while Forestall runs, and prove it by restoring it.

    It holds the databases, the server's keys and the certificate authority: everything in `server/`. It does not hold
    the operator's keys (they live outside the server) nor this machine's agent (a device's key and counters must never
    run twice). It is encrypted for the key in backup.key, which is made the first time: keep a copy of it elsewhere.
    """
    if context.invoked_subcommand is not None:
        if to is not None or passphrase_file is not None:
            raise click.UsageError("--to and --passphrase-file go with `forestall backup` alone")
        return
    from forestall.server.backup.errors import BackupError
    from forestall.server.backup.services import backup_make

    home, settings = _home(), _settings()
    passphrase = None if passphrase_file is None else passphrase_in(passphrase_file)
    first = passphrase is None and not home.backup_recipients.exists()
    console = Console(highlight=False, soft_wrap=True)
    try:
        with progress_bar(console, shown=not as_json) as progress:
            made = backup_make(
                home=home,
                settings=settings,
                now=datetime.now(UTC),
                to=None if to is None else to.absolute(),
                passphrase=passphrase,
                progress=progress,
            )
    except BackupError as error:
        raise CommandError(str(error)) from None
    if as_json:
        _print(
            {"file": str(made.file), "bytes": made.size, "seconds": round(made.seconds, 1), "proof": str(made.proof)}
        )
        return
    console.print(Text.assemble(("● ", "green"), f"{made.file}: {made.size:,} bytes in {made.seconds:.1f} s"))
    console.print(f"Restored to prove it: {made.proof}.", markup=False)
    if made.pruned:
        console.print(f"{len(made.pruned)} older {'one is' if len(made.pruned) == 1 else 'ones are'} no longer kept.")
    if passphrase is None and home.backup_key.exists():
        console.print()
        new = "The key of all backups was made" if first else "The key of the backups still lies on this server"
        console.print(f"[bold yellow]▲ {new}: {home.backup_key}[/bold yellow]")
        console.print(
            "  Copy it to a safe place elsewhere: without it no backup can be read. Then remove it here: backups go on "
            "being made without it, and whoever takes this server cannot read them."
        )


@backup.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_backups(*, as_json: bool) -> None:
    """List the backups, and say when the next is due."""
    from forestall.server.backup import rules, services
    from forestall.server.backup.errors import BackupError
    from forestall.server.backup.status import status_read

    home, settings = _home(), _settings()
    try:
        status, due = status_read(home), services.due_at(home=home, settings=settings)
    except BackupError as error:
        raise CommandError(str(error)) from None
    files = services.backups(settings.folder)
    if as_json:
        _print(
            {
                "folder": str(settings.folder),
                "next_due": None if due is None else due.astimezone(UTC).isoformat(timespec="seconds"),
                "last_run_ok": status.last_run_ok,
                "last_run_detail": status.last_run_detail,
                "items": [
                    {
                        "file": str(one),
                        "made_at": f"{rules.made_at(one.name):%Y-%m-%dT%H:%M:%SZ}",
                        "bytes": one.stat().st_size,
                    }
                    for one in files
                ],
            }
        )  # fmt: skip
        return
    console = Console(highlight=False, soft_wrap=True)
    if not files:
        console.print(f"There is no backup in {settings.folder} yet.")
    else:
        table = Table("Backup", "Made", "Size", box=None, pad_edge=False)
        for one in files:
            table.add_row(
                one.name, f"{rules.made_at(one.name):%Y-%m-%d %H:%M} UTC", f"{one.stat().st_size / 2**20:,.1f} MiB"
            )
        console.print(table)
        console.print(f"In {settings.folder}; each was restored and compared when it was made.")
    if status.verified_at is not None and status.verified_ok:
        console.print(
            f"Last restored to prove it on {status.verified_at:%Y-%m-%d %H:%M} UTC: {status.verified_detail}."
        )
    if status.last_run_ok is False:
        console.print(Text.assemble(("■ ", "red"), f"The last one failed: {status.last_run_detail}."))
    keeps = f"{settings.keep_daily} daily and {settings.keep_weekly} weekly ones are kept"
    when = "No backup is made by itself (FORESTALL_BACKUP_AT=off)"
    if due is not None:
        overdue = due <= datetime.now(UTC)
        when = "The next is due now" if overdue else f"The next is due on {due.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    console.print(f"{when}; {keeps}.")
    if home.backup_key.exists():
        console.print(f"[yellow]▲[/yellow] Its key still lies on this server: {home.backup_key}")


@backup.command()
@click.argument("file", type=FILE)
@click.option(
    "--key-file", metavar="FILE", type=FILE, help="The backups' private key; default: backup.key in the data folder."
)
@click.option("--passphrase-file", metavar="FILE", type=FILE, help="The passphrase it was encrypted with.")
def verify(*, file: Path, key_file: Path | None, passphrase_file: Path | None) -> int:
    """Prove FILE by restoring it into a scratch folder. Exit code 1 when it does not hold."""
    from forestall.server.backup.age import AgeError
    from forestall.server.backup.errors import BackupError, NotProvedError
    from forestall.server.backup.services import backup_verify

    home = _home()
    console = Console(highlight=False, soft_wrap=True)
    try:
        secret = secret_of(home, key_file=key_file, passphrase_file=passphrase_file)
        with progress_bar(console) as progress:
            proof = backup_verify(home=home, file=file, secret=secret, now=datetime.now(UTC), progress=progress)
    except NotProvedError as error:
        console.print(Text.assemble(("■ ", "red"), str(error)))
        return 1
    except AgeError as error:
        raise CommandError(f"{file}: {error}") from None
    except BackupError as error:
        raise CommandError(str(error)) from None
    console.print(Text.assemble(("● ", "green"), f"{file} holds: {proof}"))
    return 0


# --- shared with `restore` ----------------------------------------------------------------------------------------


@contextmanager
def progress_bar(console: Console, *, shown: bool = True) -> Iterator[Step]:
    """A bar that follows the steps of a backup or a restoration."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("Preparing", total=None)
        now = ""

        def step(name: str, done: int, total: int) -> None:
            nonlocal now
            if name != now:
                bar.reset(task, description=name, total=total or None)
                now = name
            bar.update(task, completed=done)

        yield step


def passphrase_in(path: Path) -> Passphrase:
    """The passphrase in a file: its first line. CommandError when there is none, or others may read it."""
    from forestall.server.backup.age import Passphrase

    text = _private_text(path).partition("\n")[0].rstrip("\r")
    if len(text) < 12:
        raise CommandError(f"{path}: a passphrase of {len(text)} characters, at least 12 are needed")
    return Passphrase(text)


def secret_of(home: Home | None, *, key_file: Path | None, passphrase_file: Path | None) -> Identity | Passphrase:
    """With what a backup is to be read. CommandError says what to give."""
    from forestall.server.backup.age import Identity, KeyTextError

    if key_file is not None and passphrase_file is not None:
        raise click.UsageError("--key-file and --passphrase-file exclude each other")
    if passphrase_file is not None:
        return passphrase_in(passphrase_file)
    path = key_file or (home.backup_key if home is not None else None)
    if path is None or not path.exists():
        where = "" if path is None else f"{path} is not there; "
        raise CommandError(f"{where}name the backups' key with --key-file, or the passphrase with --passphrase-file")
    try:
        return Identity.parse(_private_text(path))
    except KeyTextError as error:
        raise CommandError(f"{path}: {error}") from None


def _private_text(path: Path) -> str:
    if path.stat().st_mode & 0o077:
        raise CommandError(f"{path} can be read by others than its owner: chmod 600 {path}")
    try:
        return path.read_text()
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not a text") from None


def _home() -> Home:
    home = current_home()
    if not home.secret_key.exists():
        raise CommandError(f"there is no installation in FORESTALL_HOME={home.root}")
    return home


def _settings() -> Settings:
    from forestall.server.backup.rules import SettingError, Settings

    try:
        return Settings.read(os.environ, default_folder=current_home().backups)
    except SettingError as error:
        raise CommandError(str(error)) from None


def _print(content: dict[str, Any]) -> None:
    click.echo(json.dumps(content))
