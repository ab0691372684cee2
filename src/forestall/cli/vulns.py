"""Vulnerabilities on the command line."""

from __future__ import annotations

import click

from forestall.cli.vulns_desk import COMMANDS


@click.group()
def vulns() -> None:
    """Vulnerabilities: what the installed software is open to, and what to do first."""


for command in COMMANDS:
    vulns.add_command(command)
