"""``forestall operator``: make and show the operator's keys."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from forestall.cli.errors import CommandError
from forestall.cli.show import print_table
from forestall.server.home import current_home
from forestall.server.runbooks.operator import (
    OperatorError,
    OperatorFolder,
    fingerprints,
    operator_init,
)


def default_folder() -> Path:
    """``FORESTALL_OPERATOR``, else the folder that ``forestall up`` made."""
    named = os.environ.get("FORESTALL_OPERATOR")
    return Path(named).expanduser() if named else current_home().operator


def folder_option(command: Any) -> Any:
    """``--folder``: where the operator's keys are."""
    return click.option(
        "--folder",
        type=click.Path(file_okay=False, path_type=Path),
        default=default_folder,
        show_default="FORESTALL_OPERATOR, else the one `forestall up` made",
        help="The operator's folder.",
    )(command)


def open_folder(folder: Path) -> OperatorFolder:
    """CommandError when it is not an operator's folder."""
    try:
        return OperatorFolder.open(folder)
    except OperatorError as error:
        raise CommandError(str(error)) from None


@click.group()
def operator() -> None:
    """Make and show the operator's keys."""


@operator.command()
@folder_option
def init(*, folder: Path) -> int:
    """Make root, catalogue and operator keys, and sign the built-in runbooks. A folder that is there stays as it is."""
    try:
        bundle = operator_init(folder=folder, now=datetime.now(UTC))
    except OperatorError as error:
        raise CommandError(str(error)) from None
    click.echo(f"{folder} holds the keys and {len(bundle.runbooks)} signed runbooks. Read its README.txt.")
    click.echo(f"Root key {bundle.root_key_id}")
    return 0


@operator.command()
@folder_option
def show(*, folder: Path) -> int:
    """Show the roles, the keys and the signed runbooks."""
    opened = open_folder(folder)
    try:
        held = {identifier: name for name, identifier in fingerprints(folder).items()}
    except OperatorError as error:
        raise CommandError(str(error)) from None
    rows = [
        (role, f"{keys.threshold} of {len(keys.keys)}", identifier[:16], held.get(identifier, "not in this folder"))
        for role, keys in (
            ("root", opened.root.root),
            ("operator", opened.root.operator),
            ("catalogue", opened.root.catalogue),
        )
        for identifier in keys.keys
    ]
    click.echo(f"Root version {opened.root.version}, valid until {opened.root.expires_at:%Y-%m-%d}")
    print_table(("Role", "Needed", "Key", "File"), rows, empty="The root names no keys.")
    books = sorted(opened.runbooks.items(), key=lambda item: (item[1].slug, item[1].version))
    runbooks = [(book.slug, str(book.version), str(book.risk), digest[:16]) for digest, book in books]
    print_table(("Runbook", "Version", "Risk", "Digest"), runbooks, empty="No runbook is signed.")
    return 0
