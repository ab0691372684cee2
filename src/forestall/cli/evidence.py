"""``forestall evidence``: list and export this server's evidence. Reads the data folder of FORESTALL_HOME."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from forestall.cli.errors import CommandError
from forestall.server.home import Home, current_home

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from forestall.server.people.models import Client
    from forestall.server.people.scope import Scope


@click.group()
def evidence() -> None:
    """List and export the evidence log."""


@evidence.command(name="list")
def list_logs() -> None:
    """List the clients' logs and their newest checkpoints."""
    home, scope = _open()
    from forestall.server.evidence import queries
    from forestall.trust.keys import key_id, public_bytes

    console = Console(highlight=False)
    logs = queries.logs(scope=scope)
    if not logs:
        console.print("There is no evidence yet.")
        return
    table = Table("Client", "Entries", "Checkpoint over", "Signed", "Root", box=None, pad_edge=False)
    for log in logs:
        newest = log.checkpoint
        table.add_row(
            Text(log.client.name),
            str(log.entries),
            "none yet" if newest is None else str(newest.size),
            "" if newest is None else f"{newest.at:%Y-%m-%d %H:%M:%S} UTC",
            "" if newest is None else bytes(newest.root).hex()[:16] + "…",
        )
    console.print(table)
    console.print()
    console.print(f"Log key {key_id(public_bytes(_log_key(home)))}", soft_wrap=True)
    console.print("Give this fingerprint to your customers: `forestall verify --log-key` compares it.")


@evidence.command()
@click.option("--out", required=True, metavar="BUNDLE", type=click.Path(path_type=Path), help="File to write.")
@click.option("--client", "name", metavar="NAME", help="One client only; without it, every client.")
@click.option("--force", is_flag=True, help="Replace BUNDLE when it exists.")
def export(*, out: Path, name: str | None, force: bool) -> None:
    """Write the evidence to one file that anyone can check with `forestall verify`.

    Signs a fresh checkpoint first, so that the bundle ends with the newest record.
    """
    _writable(out, force=force)
    home, scope = _open()
    from django.db import OperationalError

    from forestall.server.evidence import bundle
    from forestall.server.evidence.queries import LogDamagedError
    from forestall.trust.keys import key_id, public_bytes

    client = None if name is None else _client(scope, name)
    key = _log_key(home)
    console = Console(highlight=False, soft_wrap=True)
    columns = (TextColumn("Exporting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("", total=None)
            size = bundle.bundle_write(
                scope=scope,
                client_id=None if client is None else client.pk,
                path=out,
                now=datetime.now(UTC),
                log_key=key,
                root=_root(),
                on_progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
    except (bundle.NothingToExportError, bundle.ErasedMeanwhileError, LogDamagedError) as error:
        raise CommandError(str(error)) from None
    except OperationalError as error:
        # The checkpoint that ends the bundle could not be stored: a full disk, above all.
        raise CommandError(f"{home.database}: {error}; no bundle was written") from None
    except OSError as error:
        raise CommandError(f"{out}: {error.strerror}") from None
    console.print(Text.assemble(("● ", "green"), f"{out}: {size:,} bytes"))
    console.print(f"Check it anywhere: forestall verify --log-key {key_id(public_bytes(key))} {out}", markup=False)


@evidence.command()
@click.option("--out", required=True, metavar="FILE", type=click.Path(path_type=Path), help="File to write.")
@click.option("--force", is_flag=True, help="Replace FILE when it exists.")
def checkpoint(*, out: Path, force: bool) -> None:
    """Write the newest checkpoints to a small file for a customer to keep.

    Whoever rewrites the log later cannot match it: `forestall verify --checkpoint FILE BUNDLE` tells.
    """
    _writable(out, force=force)
    home, scope = _open()
    from forestall.server.evidence import bundle

    try:
        content = bundle.kept_checkpoints(scope=scope, now=datetime.now(UTC), log_key=_log_key(home))
        out.write_bytes(content)
    except bundle.NothingToExportError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{out}: {error.strerror}") from None
    click.echo(f"{out}: keep it where this server cannot reach it.")


def _writable(out: Path, *, force: bool) -> None:
    if out.is_dir():
        raise CommandError(f"{out} is a folder; name a file")
    if out.exists() and not force:
        raise CommandError(f"{out} exists; pass --force to replace it")
    if not out.absolute().parent.is_dir():
        raise CommandError(f"{out.absolute().parent} is no folder")


def _open() -> tuple[Home, Scope]:
    """This server's data, for whoever may read its files, under their own name."""
    home = current_home()
    if not home.secret_key.exists():
        raise CommandError(f"FORESTALL_HOME={home.root} holds no server; run `forestall up` first")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "forestall.server.settings")
    import django

    django.setup()
    from forestall.server.people.scope import Scope

    return home, Scope.system(f"{getpass.getuser()} on the server")


def _log_key(home: Home) -> Ed25519PrivateKey:
    from forestall.server.evidence.log_key import log_key_read

    try:
        return log_key_read(home=home)
    except OSError as error:
        raise CommandError(f"the log's key {home.log_key} cannot be read: {error.strerror}") from None


def _client(scope: Scope, name: str) -> Client:
    from forestall.server.people.queries import clients

    known = list(clients(scope=scope))
    for client in known:
        if client.name.casefold() == name.casefold():
            return client
    listed = ", ".join(client.name for client in known) or "none"
    raise CommandError(f"there is no client {name!r}; known: {listed}")


def _root() -> bytes | None:
    from forestall.server.runbooks import queries

    return queries.root_envelope() if queries.authority_is_installed() else None
