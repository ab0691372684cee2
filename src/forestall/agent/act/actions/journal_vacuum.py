"""``journal.vacuum``: delete archived journals of systemd and rotated logs by age. Logs being written to stay."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import run_program
from forestall.agent.act.sweep import Swept, device_of, open_files, size_in_words, sweep
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "journal.vacuum"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"volume": str, "older_than_days": int}
ROTATED = (
    "*.gz", "*.xz", "*.bz2", "*.zst", "*.old",
    "*.[0-9]", "*.[0-9][0-9]", "*.[0-9][0-9][0-9]",
    "*-[12][0-9][0-9][0-9][01][0-9][0-3][0-9]",
)  # fmt: skip
"""Names that logrotate, savelog and newsyslog give to logs they have put aside."""


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """Only what lies on the volume mounted at ``volume``."""
    volume, days = str(args["volume"]), int(args["older_than_days"])
    if days < 1:
        raise ActionFailed("argument_wrong", f"older_than_days: {days}, expected 1 or more")
    device = device_of(volume)
    swept, output = Swept(dry_run=ctx.dry_run), ""
    journalctl = host.find_program("journalctl")
    for folder in ctx.places.journals:
        if journalctl is None or not Path(folder).is_dir() or device_of(folder) != device:
            continue
        if ctx.dry_run:
            # Which journals are archived and old only journalctl knows, and it does not say so beforehand.
            output += (
                f"{folder}: {size_in_words(_journals(folder)[1])} of journals, of which the archived old ones go\n"
            )
            continue
        files, size = _journals(folder)
        ran = run_program([journalctl, f"--directory={folder}", f"--vacuum-time={days}d"], ctx)
        output += ran.output
        if ran.exit_code != 0:
            raise ActionFailed(
                "program_failed", f"journalctl ended with {ran.exit_code}", output=output, changed=swept.changed()
            )
        files_left, size_left = _journals(folder)
        swept.files += max(0, files - files_left)
        swept.bytes += max(0, size - size_left)
        swept.places.append(folder)
    if Path(ctx.places.logs).is_dir() and device_of(ctx.places.logs) == device:
        sweep(
            ctx.places.logs,
            older_than_seconds=days * 86_400,
            now=host.now().timestamp(),
            patterns=ROTATED,
            ctx=ctx,
            swept=swept,
            in_use=open_files(),
            spared=("journal",),  # journalctl's own: it knows which are archived
        )
    if not swept.places and not output:
        return StepResult(action=NAME, ok=True, summary=f"no logs lie on {volume}")
    journals_too = ctx.dry_run and bool(output)
    return StepResult(
        action=NAME,
        ok=True,
        summary=f"{swept.words()} below {', '.join(swept.places) or 'no folder'}{'; and old journals' * journals_too}",
        output=output,
        changed=swept.changed(),
    )


def _journals(folder: str) -> tuple[int, int]:
    """Number and bytes of the journal files below ``folder``."""
    files = size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                found = Path(place, name).lstat()
            except FileNotFoundError:
                continue  # rotated meanwhile
            files += 1
            size += found.st_blocks * 512
    return files, size
