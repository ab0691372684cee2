"""``antivirus.scan``: let an antivirus product look through one folder, and say what it found. Nothing is removed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from forestall.agent.act import antivirus
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import run_program
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "antivirus.scan"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"product": str, "folder": str}
LOG = "clamav/forestall-scan.log"
"""Below the folder of logs, where the collector looks: the end of the scan and its findings become facts."""


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    name, folder = str(args["product"]), Path(str(args["folder"]))
    tool = antivirus.tool_of(name)
    if not folder.is_absolute() or not folder.is_dir():
        raise ActionFailed("argument_wrong", f"folder: {folder} is no folder")
    if not tool.scan:
        raise ActionFailed("not_possible", f"{name} scans by its console alone")
    antivirus.product_now(name, host)
    if ctx.dry_run:
        return StepResult(action=NAME, ok=True, summary=f"would let {name} look through {folder}")
    options: list[str] = []
    if name == "ClamAV":
        log = Path(ctx.places.logs, LOG)
        log.parent.mkdir(mode=0o755, exist_ok=True)
        options = [f"--log={log}", *antivirus.CLAMSCAN_OPTIONS]
    ran = run_program([*tool.scan, *options, str(folder)], ctx)
    if name == "ClamAV":
        # clamscan(1): 0 nothing found, 1 something found, 2 an error; files that vanish meanwhile are errors as well.
        if ran.exit_code not in (0, 1) and "Scanned files:" not in ran.output:
            raise ActionFailed("scan_failed", f"clamscan ended with {ran.exit_code}", output=ran.output)
        counted = re.search(r"Infected files: (\d+)", ran.output)
        found = int(counted[1]) if counted else 0
        seen = re.search(r"Scanned files: (\d+)", ran.output)
        words = f"{seen[1] if seen else 'no'} files seen, {found or 'nothing'} found"
    elif ran.exit_code != 0:
        raise ActionFailed("scan_failed", f"{tool.scan[0]} ended with {ran.exit_code}", output=ran.output)
    else:
        words = "its list of detections has what it found"
    return StepResult(action=NAME, ok=True, summary=f"{name} looked through {folder}: {words}", output=ran.output)
