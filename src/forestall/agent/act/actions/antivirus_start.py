"""``antivirus.start``: start an antivirus product's service, and see that the product itself runs."""

from __future__ import annotations

import time
from collections.abc import Mapping

from forestall.agent.act import antivirus
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.services import Service, find_service
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "antivirus.start"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"product": str}
PATIENCE_SECONDS = 90.0
"""A daemon reads its whole database before it answers."""
SETTLE_SECONDS = 2.0
POLL_SECONDS = 0.25


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    name = str(args["product"])
    tool = antivirus.tool_of(name)
    if antivirus.product_now(name, host).running:
        return StepResult(action=NAME, ok=True, summary=f"{name} runs; nothing to do")
    service = _service(name, tool, host, ctx)
    if ctx.dry_run:
        return StepResult(action=NAME, ok=True, summary=f"would start {service.name} of {name}")
    ctx.changes.note("service_state", service=service.name, running=service.runs())
    service.start()
    until, since = time.monotonic() + PATIENCE_SECONDS, None
    while True:
        now = time.monotonic()
        if antivirus.product_now(name, host).running is not False:
            since = now if since is None else since
            if now - since >= SETTLE_SECONDS:
                break
        elif since is not None:
            raise ActionFailed("service_died", f"{service.name} started and then stopped again")
        elif now > until:
            raise ActionFailed("service_died", f"{service.name} was started and {name} does not run")
        ctx.require_time()
        time.sleep(POLL_SECONDS)
    return StepResult(action=NAME, ok=True, summary=f"started {service.name}; {name} runs", changed={"services": 1})


def _service(name: str, tool: antivirus.Tool, host: Host, ctx: Context) -> Service:
    refusals = []
    for each in tool.services:
        try:
            return find_service(each, host, ctx)
        except ActionFailed as failed:
            if failed.code != "service_unknown":
                raise
            refusals.append(failed.sentence)
    raise ActionFailed("service_unknown", f"{name} has no service here: {'; '.join(refusals)}")
