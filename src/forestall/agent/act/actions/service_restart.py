"""``service.restart``: restart one service and wait until it runs, and still runs a moment later."""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import run_program
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "service.restart"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"service": str}
SETTLE_SECONDS = 3.0
"""How long a service must keep running to count as restarted: many die of a bad setting only after they have forked."""
POLL_SECONDS = 0.5
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9@_.:\\-]*")


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``service`` as systemd names the unit (with or without ``.service``), or the init script's name."""
    name = str(args["service"]).removesuffix(".service")
    if _NAME.fullmatch(name) is None:
        raise ActionFailed("argument_wrong", f"service: {name!r} is not the name of a service")
    systemctl = host.find_program("systemctl")
    if systemctl is not None and Path(ctx.places.systemd).is_dir():
        return _restart_unit(systemctl, f"{name}.service", ctx)
    return _restart_script(name, ctx)


def _restart_unit(systemctl: str, unit: str, ctx: Context) -> StepResult:
    loaded = run_program([systemctl, "show", "--property=LoadState", "--value", unit], ctx, looks_only=True)
    if loaded.output.strip() in {"not-found", "masked"}:
        raise ActionFailed("service_unknown", f"{unit}: {loaded.output.strip()}")
    if ctx.dry_run:
        asked = run_program([systemctl, "show", "--property=ActiveState", "--value", unit], ctx, looks_only=True)
        return StepResult(action=NAME, ok=True, summary=f"would restart {unit}, which is {asked.output.strip()} now")
    # A unit that failed too often in a row is not started again before its counter is reset.
    run_program([systemctl, "reset-failed", unit], ctx)
    ran = run_program([systemctl, "restart", unit], ctx)
    if ran.exit_code != 0:
        raise ActionFailed("restart_failed", f"{unit}: systemctl restart ended with {ran.exit_code}", output=ran.output)

    def state() -> str:
        asked = run_program([systemctl, "show", "--property=ActiveState", "--value", unit], ctx)
        return asked.output.strip()

    return _wait(unit, state, ctx, running={"active"}, waiting={"activating", "reloading"}, output=ran.output)


def _restart_script(name: str, ctx: Context) -> StepResult:
    script = f"{ctx.places.init_scripts}/{name}"
    try:
        found = Path(script).stat()
    except OSError:
        raise ActionFailed("service_unknown", f"there is no service called {name}") from None
    if not stat.S_ISREG(found.st_mode) or not found.st_mode & stat.S_IXUSR:
        raise ActionFailed("service_unknown", f"{script} is not an init script")
    if ctx.dry_run:
        # Not even its status is asked: what an init script does with that word is its own affair.
        return StepResult(action=NAME, ok=True, summary=f"would restart {name} with {script}")
    ran = run_program([script, "restart"], ctx)
    if ran.exit_code != 0:
        raise ActionFailed("restart_failed", f"{name}: restart ended with {ran.exit_code}", output=ran.output)

    def state() -> str:
        # LSB 5.0, "Init Script Actions": 0 runs, 1 dead with a pid file, 2 dead with a lock file, 3 not running.
        asked = run_program([script, "status"], ctx)
        return "running" if asked.exit_code == 0 else f"status {asked.exit_code}"

    # Right after its start a service may not have written its pid file yet: status 3 is worth a moment's patience.
    return _wait(name, state, ctx, running={"running"}, waiting={"status 3"}, output=ran.output)


def _wait(
    name: str, state: Callable[[], str], ctx: Context, *, running: set[str], waiting: set[str], output: str
) -> StepResult:
    steady_since: float | None = None
    began = time.monotonic()
    while True:
        now, found = time.monotonic(), state()
        if found in running:
            steady_since = now if steady_since is None else steady_since
            if now - steady_since >= SETTLE_SECONDS:
                break
        elif steady_since is not None:
            raise ActionFailed("service_died", f"{name} started and then stopped again ({found})", output=output)
        elif found not in waiting or (found == "status 3" and now - began > 2 * SETTLE_SECONDS):
            raise ActionFailed("restart_failed", f"{name} does not run after the restart ({found})", output=output)
        ctx.require_time()
        time.sleep(POLL_SECONDS)
    return StepResult(
        action=NAME, ok=True, summary=f"restarted {name}; it runs", output=output, changed={"services": 1}
    )
