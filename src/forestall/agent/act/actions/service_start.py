"""``service.start``: start a service that does not run, and see that it keeps running a moment later."""

from __future__ import annotations

import time
from collections.abc import Mapping

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.services import find_service
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "service.start"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"service": str, "enable": bool}
SETTLE_SECONDS = 2.0
POLL_SECONDS = 0.25


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    service = find_service(str(args["service"]), host, ctx)
    running, enabled = service.runs(), service.is_enabled()
    enable = bool(args["enable"]) and not enabled
    if running and not enable:
        return StepResult(action=NAME, ok=True, summary=f"{service.name} runs; nothing to do")
    words = [words for words, wanted in (("start", not running), ("let start with the machine", enable)) if wanted]
    if ctx.dry_run:
        return StepResult(action=NAME, ok=True, summary=f"would {' and '.join(words)} {service.name}")
    if enable:
        ctx.changes.note("service_state", service=service.name, running=running, enabled=enabled)
        service.enable()
    else:
        ctx.changes.note("service_state", service=service.name, running=running)
    if not running:
        service.start()
        until = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < until:
            ctx.require_time()
            time.sleep(POLL_SECONDS)
        if not service.runs():
            raise ActionFailed("service_died", f"{service.name} was started and does not run")
    done = [words for words, wanted in (("started", not running), ("starts with the machine", enable)) if wanted]
    return StepResult(action=NAME, ok=True, summary=f"{' and '.join(done)}: {service.name}", changed={"services": 1})
