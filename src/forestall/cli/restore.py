"""``forestall restore``: an installation from a backup."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from forestall.cli.backup import FILE, FOLDER, progress_bar, secret_of
from forestall.cli.errors import CommandError
from forestall.server.home import Home


@click.command()
@click.argument("file", type=FILE)
@click.option(
    "--home", "folder", required=True, metavar="FOLDER", type=FOLDER, help="Empty data folder to restore into."
)
@click.option("--key-file", metavar="FILE", type=FILE, help="The backups' private key.")
@click.option("--passphrase-file", metavar="FILE", type=FILE, help="The passphrase it was encrypted with.")
def restore(*, file: Path, folder: Path, key_file: Path | None, passphrase_file: Path | None) -> int:
    """Restore the backup FILE into an empty data folder, and prove it.

    Then start it: FORESTALL_HOME=FOLDER forestall up. The devices go on where they are: none enrols anew. What was
    acknowledged after the backup is gone from the server; the devices notice, say so, and send their facts again.
    """
    from forestall.server.backup import services
    from forestall.server.backup.age import AgeError
    from forestall.server.backup.errors import BackupError

    home = Home(folder.expanduser().absolute())
    console = Console(highlight=False, soft_wrap=True)
    try:
        secret = secret_of(None, key_file=key_file, passphrase_file=passphrase_file)
        with progress_bar(console) as progress:
            done = services.restore(file=file, home=home, secret=secret, progress=progress)
    except AgeError as error:
        raise CommandError(f"{file}: {error}") from None
    except BackupError as error:
        raise CommandError(str(error)) from None
    made = f"{done.made_at:%Y-%m-%d %H:%M:%S} UTC"
    console.print(Text.assemble(("● ", "green"), f"{home.root}: restored as of {made}"))
    console.print(f"Compared with what was saved: {done.proof}.", markup=False)
    console.print(f"Log key {done.log_key}: compare it with the one your customers have.", markup=False)
    console.print()
    console.print(f"Start it: FORESTALL_HOME={home.root} forestall up", markup=False)
    console.print(
        f"Then look at what was done after {made}: people, tokens and devices that were revoked since are not revoked "
        "in it, and devices that were enrolled since are unknown to it.",
        markup=False,
    )
    return 0
