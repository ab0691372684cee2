"""How a command ends: 0 done, 1 a truthful "no", 2 something the user can mend, 130 interrupted."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click


class CommandError(click.ClickException):
    """Something the user can mend: says what is wrong, names the bad value, and what to do."""

    exit_code = 2


def report_errors(run: Callable[[], object]) -> int:
    """Run a command, turn its errors into one line on stderr, and say with which code to exit."""
    try:
        outcome = run()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort:
        click.echo("Stopped.", err=True)
        return 130
    except click.ClickException as error:
        error.show(file=sys.stderr)
        return error.exit_code
    except OSError as error:
        # The machine said no: a full disk, a folder that is a file, a right that is missing. It names the path.
        click.echo(f"Error: {_in_words(error)}", err=True)
        return 2
    return outcome if isinstance(outcome, int) else 0


def _in_words(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
