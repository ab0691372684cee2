"""Vulnerabilities on the command line."""

from __future__ import annotations

import click


@click.group()
def vulns() -> None:
    """Vulnerabilities: what the installed software is open to, and what to do first."""
