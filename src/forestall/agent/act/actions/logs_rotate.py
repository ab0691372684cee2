"""``logs.rotate``: rotate the machine's logs now, as its own logrotate settings say, and not only once a day."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import run_program
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "logs.rotate"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"name": str}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ROTATES = re.compile(r"^rotating log (.+?), log->rotateCount", re.MULTILINE)


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``name``: of a file in ``logrotate.d``; empty: all of them."""
    name = str(args["name"])
    if name and _NAME.fullmatch(name) is None:
        raise ActionFailed("argument_wrong", f"name: {name!r} is not the name of a logrotate setting")
    settings = Path(ctx.places.logrotate, "logrotate.d", name) if name else Path(ctx.places.logrotate, "logrotate.conf")
    if not settings.is_file():
        raise ActionFailed("settings_missing", f"{settings} is not there")
    program = host.find_program("logrotate")
    if program is None:
        raise ActionFailed("program_missing", "logrotate is not installed")
    # Debug mode reads, says what it would do and changes nothing; it says it in the words of the real run.
    mode = ["--debug"] if ctx.dry_run else ["--verbose"]
    # Where the settings are not the machine's own, what was rotated when is not noted in the machine's own list either.
    state = [] if ctx.places.logrotate == "/etc" else ["--state", f"{ctx.places.logrotate}/logrotate.status"]
    ran = run_program([program, *mode, *state, "--force", str(settings)], ctx, looks_only=ctx.dry_run)
    if ran.exit_code != 0:
        raise ActionFailed("rotate_failed", f"logrotate ended with {ran.exit_code}", output=ran.output)
    rotated = sorted(set(_ROTATES.findall(ran.output)))
    listed = ", ".join(rotated[:3]) + (f" and {len(rotated) - 3} more" if len(rotated) > 3 else "")
    verb = "would rotate" if ctx.dry_run else "rotated"
    summary = f"{verb} {len(rotated)} log{'s' * (len(rotated) != 1)}" + (f": {listed}" if rotated else "")
    return StepResult(
        action=NAME, ok=True, summary=summary, output=ran.output, changed={} if ctx.dry_run else {"logs": len(rotated)}
    )
