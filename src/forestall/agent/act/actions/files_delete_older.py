"""``files.delete_older``: delete old files below one folder.

*Change*, not *destructive*, because where it may work is bounded: below the system's folders for temporary files,
caches and logs, and below what the device's own policy lists. What is deleted cannot be brought back.
"""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.sweep import Swept, open_files, require_allowed, sweep
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "files.delete_older"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"folder": str, "older_than_days": int, "pattern": str}


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``pattern`` is matched with the file's name (``*.log``), never with its path."""
    folder, days, pattern = str(args["folder"]), int(args["older_than_days"]), str(args["pattern"])
    allowed = (*ctx.places.temporary, ctx.places.cache, ctx.places.logs, *ctx.delete_below)
    require_allowed(folder, allowed)
    if days < 1:
        raise ActionFailed("argument_wrong", f"older_than_days: {days}, expected 1 or more")
    if not pattern or "/" in pattern:
        raise ActionFailed("argument_wrong", f"pattern: {pattern!r} is not a pattern of file names")
    swept = Swept(dry_run=ctx.dry_run)
    sweep(
        folder,
        older_than_seconds=days * 86_400,
        now=host.now().timestamp(),
        patterns=(pattern,),
        ctx=ctx,
        swept=swept,
        in_use=open_files(),
    )
    return StepResult(action=NAME, ok=True, summary=f"{swept.words()} below {folder}", changed=swept.changed())
