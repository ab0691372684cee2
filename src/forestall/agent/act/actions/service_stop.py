"""``service.stop``: stop a service, and keep it from starting with the machine where that is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.services import find_service
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "service.stop"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"service": str, "disable": bool}
NEVER = frozenset({"ssh", "sshd", "forestall-agent", "systemd-journald", "dbus", "networking", "NetworkManager"})
"""Services without which nobody can get at the machine any more to start them again."""


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    service = find_service(str(args["service"]), host, ctx)
    if service.name.removesuffix(".service") in NEVER:
        raise ActionFailed("service_protected", f"{service.name} is how the machine is reached: it is not stopped")
    running, enabled = service.runs(), service.is_enabled()
    disable = bool(args["disable"]) and enabled
    if not running and not disable:
        return StepResult(action=NAME, ok=True, summary=f"{service.name} does not run; nothing to do")
    words = [words for words, wanted in (("stop", running), ("keep from starting", disable)) if wanted]
    if ctx.dry_run:
        return StepResult(action=NAME, ok=True, summary=f"would {' and '.join(words)} {service.name}")
    if disable:
        ctx.changes.note("service_state", service=service.name, running=running, enabled=enabled)
        service.disable()
    else:
        ctx.changes.note("service_state", service=service.name, running=running)
    if running:
        service.stop()
        if service.runs():
            raise ActionFailed("service_runs_on", f"{service.name} still runs after it was stopped")
    done = [words for words, wanted in (("stopped", running), ("kept from starting", disable)) if wanted]
    return StepResult(action=NAME, ok=True, summary=f"{' and '.join(done)}: {service.name}", changed={"services": 1})
