"""``forestall verify``: check an evidence bundle offline. Needs no server and no settings."""

from __future__ import annotations

import re
import sys
from datetime import datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.text import Text

from forestall.cli.errors import CommandError
from forestall.cli.plain import plain
from forestall.verify import ClientVerdict, Verdict, WrongFileError, verify_bundle
from forestall.verify.verdict import CHECKPOINT_WITHIN

DEVICES_SHOWN = 10


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--log-key", metavar="FINGERPRINT", help="Fingerprint of the log's key, as you were given it.")
@click.option(
    "--checkpoint",
    "--since",
    "kept",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A checkpoint file or an earlier bundle that you kept: the log must begin with what it had then.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def verify(*, bundle: Path, log_key: str | None, kept: Path | None, as_json: bool) -> int:
    """Check the evidence BUNDLE, offline. Exit 0 only if every record and every proof holds.

    Exit 1: something is wrong; the first wrong record is named. Exit 2: this is no bundle, or it cannot be read.
    """
    pinned = None if log_key is None else re.sub(r"[\s:]", "", log_key).lower()
    try:
        verdict = verify_bundle(bundle, pinned_log_key=pinned, kept=kept)
    except WrongFileError as error:
        raise CommandError(str(error)) from None
    except ValueError as error:
        raise CommandError(f"--log-key: {error}") from None
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from None
    if as_json:
        text = msgspec.json.format(msgspec.json.encode(verdict), indent=2).decode()
        sys.stdout.write(plain(text) + "\n")
    else:
        _show(Console(highlight=False, soft_wrap=True), bundle, verdict, compared=kept is not None)
    return 0 if verdict.valid else 1


def _show(console: Console, bundle: Path, verdict: Verdict, *, compared: bool) -> None:
    if verdict.problem is None:
        console.print(Text.assemble(("● ", "green"), (f"{plain(str(bundle))} holds.", "bold")))
    else:
        console.print(Text.assemble(("✗ ", "red"), (f"{plain(str(bundle))} does not hold.", "bold red")))
        console.print(Text(plain(f"  First wrong record: {verdict.problem}")))
    console.print()
    _facts(console, verdict)
    for client in verdict.clients:
        _client(console, client)
    if verdict.problem is not None:
        console.print(Text("Nothing from the wrong record onwards was looked at.", "dim"))
        return
    console.print(Text("What this shows", "bold"))
    for line in _shown(verdict):
        console.print(Text.assemble(("  ✓ ", "green"), line))
    console.print(Text("What it does not show", "bold"))
    for line in _not_shown(verdict, compared=compared):
        console.print(Text.assemble(("  – ", "yellow"), line))


def _facts(console: Console, verdict: Verdict) -> None:
    if verdict.exported_at is not None:
        _row(console, "Exported", Text(f"{_time(verdict.exported_at)} by {verdict.exported_by}, {verdict.covers}"))
        signers = sum(bool(device.signed) for client in verdict.clients for device in client.devices)
        signed = f"{verdict.device_signed} in the own words of {_count(signers, 'device')}"
        label = "Records" if verdict.valid else "Good so far"
        _row(console, label, Text(f"{verdict.entries}, of which {signed}"))
    if verdict.log_key:
        known = "as pinned" if verdict.pinned else "not pinned"
        _row(console, "Log key", Text(f"{verdict.log_key} ({known})"))
    if verdict.root_version is not None:
        _row(console, "Authority", Text(f"root version {verdict.root_version}, signed by its own threshold"))
    console.print()


def _client(console: Console, client: ClientVerdict) -> None:
    console.print(Text(plain(client.name), "bold"))
    _row(console, "  Entries", Text(f"{client.entries}, {_time(client.first_at)} to {_time(client.last_at)}"))
    if client.erased:
        _row(console, "  Erased", Text(f"{client.erased}: place and proof kept, each owned up to by a later entry"))
    signed = f"{client.checkpoints}, last {_time(client.checkpoint_at)}, "
    late = client.slowest_checkpoint_seconds > CHECKPOINT_WITHIN.total_seconds()
    longest = (f"longest wait for one {client.slowest_checkpoint_seconds:.0f} s", "yellow" if late else "")
    _row(console, "  Checkpoints", Text.assemble(signed, longest))
    _row(console, "  Root", Text(client.root))
    if client.kept_size is not None:
        _row(console, "  Kept", Text(f"begins with the {client.kept_size} entries whose checkpoint you kept"))
    for device in client.devices[:DEVICES_SHOWN]:
        vouches = f", saw this log up to entry #{device.vouches_for - 1}" if device.vouches_for else ""
        said = f"{_count(device.signed, 'record')} signed{vouches}"
        _row(console, "  Device", Text(f"{device.id}: {said}; key {device.key[:16]}…"))
    more = len(client.devices) - DEVICES_SHOWN
    if more > 0:
        _row(console, "", Text(f"and {_count(more, 'more device')} (--json lists all)"))
    console.print()


def _shown(verdict: Verdict) -> list[str]:
    lines = [
        "No record was changed, lost, added or moved since the checkpoint that covers it was signed.",
        "Every checkpoint only adds to the one before.",
    ]
    if verdict.device_signed:
        lines.append("Records signed by devices carry signatures of the keys those devices enrolled with.")
    if verdict.pinned:
        lines.append("The log's key is the one you were given.")
    if any(client.kept_size is not None for client in verdict.clients):
        lines.append("The log begins with exactly what it had when you kept the checkpoint.")
    return lines


def _not_shown(verdict: Verdict, *, compared: bool) -> list[str]:
    lines = []
    if not verdict.pinned:
        lines.append(
            f"Whose key signed: the key's fingerprint is {verdict.log_key}; compare it with the one you were given "
            "(or pass it as --log-key)."
        )
    if not compared:
        lines.append(
            "That nobody was ever shown another log: compare with what you kept earlier (--checkpoint FILE). "
            "Each device's signature vouches only for what it had seen."
        )
    for client in verdict.not_compared:
        lines.append(f"Client {plain(client)}, of whom you kept a checkpoint: this bundle does not cover it.")
    lines.append("That what the server recorded in its own words is true: only that it was not changed afterwards.")
    return lines


def _row(console: Console, label: str, text: Text) -> None:
    # No table: it would break fingerprints over two lines.
    text.plain = plain(text.plain)  # a bundle says what whoever made it wanted
    console.print(Text.assemble((f"{label:<15}", "dim"), text))


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
