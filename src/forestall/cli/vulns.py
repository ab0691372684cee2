"""Vulnerabilities on the command line."""

from __future__ import annotations

import click

from forestall.cli.vulns_desk import COMMANDS
from forestall.cli.vulns_match import match


@click.group()
def vulns() -> None:
    """Vulnerabilities: what the installed software is open to, and what to do first."""


vulns.add_command(match)
for command in COMMANDS:
    vulns.add_command(command)
