"""``forestall audit``: what is true of this machine now, with no server and no enrolment."""

from __future__ import annotations

import os
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from forestall.cli.errors import CommandError

if TYPE_CHECKING:
    from forestall.audit.report import Report

RISKS = ("critical", "high", "medium", "low")
OUTPUT = click.Path(dir_okay=False, path_type=Path, allow_dash=True)


@click.command()
@click.option("--json", "json_file", type=OUTPUT, metavar="FILE", help="Write the report as JSON (- for stdout).")
@click.option("--html", "html_file", type=OUTPUT, metavar="FILE", help="Write it as one HTML file, to read or print.")
@click.option("--pdf", "pdf_file", type=OUTPUT, metavar="FILE", help="Write it as PDF.")
@click.option("--fail-on", type=click.Choice(RISKS), help="Exit with 1 when a finding has this risk or a worse one.")
@click.option("--quiet", is_flag=True, help="Print no report and no progress; write the files alone.")
def audit(
    *, json_file: Path | None, html_file: Path | None, pdf_file: Path | None, fail_on: str | None, quiet: bool
) -> int:
    """Audit this machine: what is wrong, how bad it is, what shows it, and what to do.

    Reads only; nothing is changed and nothing leaves the machine. Works without root and then says what it could not
    see. Package lists are taken as they are: to know the newest updates, refresh them first (apt-get update).

    \b
    Examples:
      forestall audit
      forestall audit --pdf audit.pdf --html audit.html
      forestall audit --json - --quiet | jq '.findings[] | select(.risk == "high")'
    """
    from rich.console import Console

    from forestall.audit.plain import as_json

    for file in (json_file, html_file, pdf_file):
        if file is not None and str(file) != "-" and not file.absolute().parent.is_dir():
            raise CommandError(f"cannot write {file}: there is no folder {file.absolute().parent}")
    to_stdout = [file for file in (json_file, html_file, pdf_file) if str(file) == "-"]
    if len(to_stdout) > 1:
        raise CommandError("only one of --json, --html and --pdf can go to standard output (-)")
    if pdf_file is not None:
        _require_typst()
    report = _make(show_progress=not quiet and sys.stderr.isatty())
    if not quiet and not to_stdout:
        from forestall.audit.terminal import show

        show(report, Console())
    if json_file is not None:
        _write(json_file, as_json(report))
    if html_file is not None:
        from forestall.audit.page import page

        _write(html_file, page(report).encode())
    if pdf_file is not None:
        from forestall.audit.pdf import pdf

        _write(pdf_file, pdf(report))
    written = [file for file in (json_file, html_file, pdf_file) if file is not None and str(file) != "-"]
    if written and not quiet:
        click.echo(f"  Written: {', '.join(str(file) for file in written)}", err=bool(to_stdout))
    worst = min((finding.risk.rank for finding in report.problems), default=len(RISKS))
    return 1 if fail_on is not None and worst <= RISKS.index(fail_on) else 0


def _require_typst() -> None:
    from importlib.util import find_spec

    if find_spec("typst") is None:
        raise CommandError("a PDF needs the package typst: pip install 'forestall[server]'")


def _make(*, show_progress: bool) -> Report:
    from forestall.agent.collect import LocalHost
    from forestall.audit.report import STEPS, report_make

    def now() -> datetime:
        return datetime.now(UTC)

    if not show_progress:
        return report_make(host=LocalHost(), now=now)
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("  {task.description:<28}"), BarColumn(bar_width=30), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Starting", total=STEPS)

        def follow(what: str, done: int) -> None:
            progress.update(task, description=f"Looking at {what}", completed=done)

        return report_make(host=LocalHost(), now=now, on_progress=follow)


def _write(file: Path, content: bytes) -> None:
    """Write the file whole or not at all."""
    if str(file) == "-":
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        try:
            beside.write_bytes(content)
            os.replace(beside, file)  # noqa: PTH105 - works for any mix of relative paths
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"cannot write {file}: {error.strerror}") from error
