"""``system.reboot``: restart the machine in some minutes, after everybody who is signed in was told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from forestall.agent.act import packages
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import run_program, start_program
from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.providers import present_readers
from forestall.agent.collect.readiness import busy
from forestall.trust.authorise import Hours
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "system.reboot"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"warn_minutes": int, "reason": str}
LEAST_MINUTES = 1
"""So that the result of the run reaches the server before the machine goes down."""
MOST_MINUTES = 1440


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """Whoever administers the machine can call it off with ``shutdown -c``."""
    return reboot(NAME, int(args["warn_minutes"]), str(args["reason"]), host, ctx)


def reboot(action: str, warn_minutes: int, reason: str, host: Host, ctx: Context) -> StepResult:
    """Order the reboot. ActionFailed ``manager_busy`` and ``unfinished`` while packages are in between."""
    if not 0 <= warn_minutes <= MOST_MINUTES:
        raise ActionFailed("argument_wrong", f"warn_minutes: {warn_minutes}, expected 0 to {MOST_MINUTES}")
    if found := busy(Notes(host)):
        raise ActionFailed("manager_busy", f"no reboot while packages are changed: {', '.join(found)}")
    for reader in present_readers(host):
        packages.require_finished(reader.read(Notes(host)))
    now = host.now().astimezone()
    minutes = max(LEAST_MINUTES, warn_minutes)
    postponed = minutes_until_allowed(ctx.reboot_hours, now + timedelta(minutes=minutes))
    minutes += postponed
    at = now + timedelta(minutes=minutes)
    why = re.sub(r"[^\w .,:;()/+→-]", " ", reason)[:200].strip() or "maintenance"
    told = f"reboots at {at:%Y-%m-%d %H:%M} ({why})"
    told += ", postponed to the hours that this device's policy allows" if postponed else ""
    if ctx.dry_run:
        return StepResult(action=action, ok=True, summary=f"would order: {told}")
    argv = [
        "shutdown",
        "-r",
        f"+{minutes}",
        f"This machine is restarted for maintenance: {why}. Please save your work.",
    ]
    if Path(ctx.places.systemd).is_dir():
        ran = run_program(argv, ctx)
        if ran.exit_code != 0:
            raise ActionFailed("program_failed", f"shutdown ended with {ran.exit_code}", output=ran.output)
    else:
        # Without systemd, shutdown itself waits out the minutes.
        start_program(argv, ctx)
    return StepResult(action=action, ok=True, summary=told, changed={"reboots": 1})


def minutes_until_allowed(hours: tuple[Hours, ...], at: datetime) -> int:
    """Minutes from ``at`` to the first minute in which the policy lets the machine reboot; 0 without such hours."""
    if not hours:
        return 0
    for minutes in range(8 * MOST_MINUTES):
        if any(each.cover(at + timedelta(minutes=minutes)) for each in hours):
            return minutes
    raise ActionFailed("reboot_forbidden", "this device's policy allows no hour for a reboot within eight days")
