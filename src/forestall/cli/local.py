"""What the commands share that work on this server's own data folder, without the API and without signing in."""

from __future__ import annotations

import os
import sys

import click

from forestall.cli.errors import CommandError
from forestall.server.home import current_home

WHO = "a command on the server"
"""Who did it, in records: whoever may run commands on the server may do everything with it."""


def open_installation() -> None:
    """Set Django up on this machine's data folder; CommandError when there is no installation in it."""
    home = current_home()
    if not home.secret_key.exists():
        raise CommandError(f"there is no Forestall server in {home.root} (FORESTALL_HOME); `forestall up` makes one")
    if not os.access(home.secret_key, os.R_OK):
        raise CommandError(f"{home.server} cannot be read by this user: run the command as the one who runs the server")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "forestall.server.settings")
    import django
    from django.apps import apps

    if not apps.ready:
        try:
            django.setup()
        except ValueError as error:
            # A setting in the environment that cannot be used: it names itself.
            raise CommandError(str(error)) from None


def read_secret(words: str, *, twice: bool = False) -> str:
    """A secret from the keyboard, unseen, or the first line of standard input; never from the command line."""
    if sys.stdin.isatty():
        secret: str = click.prompt(words, hide_input=True, confirmation_prompt=twice)
        return secret
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise CommandError(f"{words.lower()}: nothing came on standard input")
    return line
