"""``usb.block_storage``: keep the kernel from loading the drivers of USB sticks and disks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "usb.block_storage"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {}
FILE = "modprobe.d/forestall-usb-storage.conf"
TEXT = b"# By Forestall; undone by the runbook undo-change.\ninstall usb-storage /bin/false\ninstall uas /bin/false\n"


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """ActionFailed ``in_use`` while a stick or disk is plugged in that the driver serves."""
    used = [path for driver in ("usb-storage", "uas") for path in host.glob(f"/sys/bus/usb/drivers/{driver}/*:*")]
    if used:
        raise ActionFailed(
            "in_use", f"USB storage is in use now: {', '.join(one.rpartition('/')[2] for one in used[:4])}"
        )
    path = f"{ctx.places.etc}/{FILE}"
    try:
        same = Path(path).read_bytes() == TEXT
    except OSError:
        same = False
    if same:
        return StepResult(action=NAME, ok=True, summary="USB storage is blocked already; nothing to do")
    if ctx.dry_run:
        return StepResult(action=NAME, ok=True, summary=f"would write {path}, which blocks USB storage")
    ctx.changes.file_replace(path, TEXT, 0o644)
    loaded = any("/module/usb_storage" in one for one in host.glob("/sys/module/usb_storage"))
    later = "; the driver is loaded, and stays so until the next start" if loaded else ""
    return StepResult(action=NAME, ok=True, summary=f"blocked USB storage by {path}{later}", changed={"files": 1})
