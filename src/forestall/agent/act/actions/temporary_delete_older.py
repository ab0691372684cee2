"""``temporary.delete_older``: delete old temporary files on one volume, wherever the device keeps such files on it."""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.sweep import EVERY_NAME, SPARED, Swept, device_of, is_below, open_files, sweep
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "temporary.delete_older"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"volume": str, "older_than_days": int}


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``volume`` is a mount point. Cleaned are the folders for temporary files and those of the device's policy that
    lie on it, and the volume as a whole when it is mounted inside such a folder."""
    volume, days = str(args["volume"]), int(args["older_than_days"])
    if days < 1:
        raise ActionFailed("argument_wrong", f"older_than_days: {days}, expected 1 or more")
    device = device_of(volume)
    roots = (*ctx.places.temporary, *ctx.delete_below)
    folders = [volume] if is_below(volume, roots) else []
    folders += [root for root in roots if root not in folders and _on(root, device)]
    # A folder inside another that is swept anyway would be swept twice.
    folders = [folder for folder in folders if not is_below(folder, [other for other in folders if other != folder])]
    if not folders:
        return StepResult(action=NAME, ok=True, summary=f"no folder for temporary files lies on {volume}")
    swept, in_use = Swept(dry_run=ctx.dry_run), open_files()
    for folder in folders:
        sweep(
            folder,
            older_than_seconds=days * 86_400,
            now=host.now().timestamp(),
            patterns=EVERY_NAME,
            ctx=ctx,
            swept=swept,
            in_use=in_use,
            spared=SPARED,
        )
    return StepResult(
        action=NAME,
        ok=True,
        summary=f"{swept.words()} below {', '.join(swept.places)}",
        changed=swept.changed(),
    )


def _on(folder: str, device: int) -> bool:
    try:
        return device_of(folder) == device
    except ActionFailed:
        return False  # this machine has no such folder
