"""``apt.clean``: empty the cache of downloaded packages. They are fetched again when they are needed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import run_program
from forestall.agent.act.sweep import device_of, size_in_words
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "apt.clean"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"volume": str}


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """Does nothing, and says so, when this system has no apt or keeps the cache on another volume than ``volume``."""
    volume = str(args["volume"])
    apt, config = host.find_program("apt-get"), host.find_program("apt-config")
    if apt is None or config is None:
        return StepResult(action=NAME, ok=True, summary="this system has no apt: nothing to clean")
    asked = run_program([config, "shell", "FOLDER", "Dir::Cache::archives/d"], ctx, looks_only=True)
    _, _, folder = (shlex.split(asked.output) or [""])[0].partition("=")
    if asked.exit_code != 0 or not folder.startswith("/"):
        raise ActionFailed("program_failed", "apt-config does not name the package cache", output=asked.output)
    folder = folder.rstrip("/")
    if not Path(folder).is_dir():
        return StepResult(action=NAME, ok=True, summary=f"{folder} does not exist: nothing to clean")
    if device_of(folder) != device_of(volume):
        return StepResult(action=NAME, ok=True, summary=f"{folder} is not on {volume}: left alone")
    files, size = _packages(folder)
    if ctx.dry_run:
        would = f"would delete {files} downloaded packages, {size_in_words(size)}"
        return StepResult(action=NAME, ok=True, summary=would)
    ran = run_program([apt, "clean"], ctx)
    if ran.exit_code != 0:
        raise ActionFailed("program_failed", f"apt-get clean ended with {ran.exit_code}", output=ran.output)
    files_left, size_left = _packages(folder)
    changed = {"files": files - files_left, "bytes": size - size_left}
    return StepResult(
        action=NAME,
        ok=True,
        summary=f"deleted {changed['files']} downloaded packages, {size_in_words(changed['bytes'])}",
        output=ran.output,
        changed=changed,
    )


def _packages(folder: str) -> tuple[int, int]:
    """Number and bytes of the packages in the cache and of those only half fetched."""
    files = size = 0
    for place in (folder, f"{folder}/partial"):
        try:
            entries = list(os.scandir(place))
        except OSError:
            continue  # apt makes it when it needs it
        for entry in entries:
            if entry.is_file(follow_symlinks=False) and entry.name != "lock":
                files += 1
                size += entry.stat(follow_symlinks=False).st_blocks * 512
    return files, size
