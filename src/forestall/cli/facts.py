"""``forestall facts``: what saved outputs of other tools say, as the facts document the agent would have sent."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from forestall.cli.errors import CommandError
from forestall.cli.plain import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forestall.agent.collect.captures.capture import CapturedFile

UNREAD_SHOWN = 50
"""Lines of one run told on standard error; with --all-unread every one."""


@click.group()
def facts() -> None:
    """Read saved outputs (smartctl, RAID tools, antivirus, accounts …) into facts documents."""


@facts.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def kinds(*, as_json: bool) -> None:
    """List what can be read, and what to give for it."""
    from forestall.agent.collect.captures import captures

    found = list(captures().values())
    if as_json:
        rows = [
            {"name": each.name, "title": each.title, "document": each.document.name(), "files": each.files}
            for each in found
        ]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("Kind", no_wrap=True)
    table.add_column("Document", no_wrap=True)
    table.add_column("Give it")
    for each in found:
        table.add_row(each.name, each.document.name(), f"{each.title}: {each.files}")
    Console(highlight=False, markup=False).print(table)


@facts.command()
@click.argument("kind")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--all-unread", is_flag=True, help=f"Tell every line not understood, not the first {UNREAD_SHOWN}.")
@click.pass_context
def parse(context: click.Context, *, kind: str, files: tuple[str, ...], all_unread: bool) -> None:
    """Print the facts document of saved outputs as JSON.

    What could not be understood is told on standard error, with file and line. Exit code 1: nothing could be read;
    2: no such kind or file. A file named - is standard input.

    \b
    Examples:
      forestall facts parse smartctl sda.json sdb.txt
      smartctl --all /dev/sda | forestall facts parse smartctl -
      forestall facts parse mdadm mdstat.txt | jq .arrays
    """
    from forestall.agent.collect.captures import captures
    from forestall.wire.facts import to_plain

    known = captures()
    if kind not in known:
        raise CommandError(f"no captured output is called {kind!r}; there are {', '.join(known)}")
    parsed = known[kind].parse(_read(files))
    shown: Sequence[object] = parsed.unread if all_unread else parsed.unread[:UNREAD_SHOWN]
    for unread in shown:
        click.echo(plain(str(unread)), err=True)
    if len(shown) < len(parsed.unread):
        click.echo(f"… and {len(parsed.unread) - len(shown)} more (--all-unread tells them)", err=True)
    if parsed.document is None:
        context.exit(1)
    document = {"document": parsed.document.name(), **to_plain(parsed.document)}
    # Escaped, so that nothing in a file of somebody else's can act on this terminal.
    click.echo(json.dumps(document, indent=2, ensure_ascii=not _is_safe(document)))


def _is_safe(value: object) -> bool:
    text = json.dumps(value, ensure_ascii=False)
    return plain(text) == text


def _read(names: Sequence[str]) -> list[CapturedFile]:
    from forestall.agent.collect.captures.capture import MAX_FILE_BYTES, CapturedFile

    found = []
    for name in names:
        if name == "-":
            found.append(CapturedFile("standard input", sys.stdin.buffer.read(MAX_FILE_BYTES + 1)))
            continue
        path = Path(name)
        if path.is_dir():
            raise CommandError(f"{name} is a folder; name the files in it")
        try:
            with path.open("rb") as file:
                # One byte more than is read, so that a larger file is known as one.
                found.append(CapturedFile(name, file.read(MAX_FILE_BYTES + 1)))
        except OSError as error:
            raise CommandError(f"cannot read {name}: {error.strerror}") from None
    return found
