"""``service_state``: a service that was stopped, started, enabled or disabled.

State: ``service``, and as they were before ``running`` and ``enabled`` (left out: not changed).
"""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act.context import Context
from forestall.agent.act.services import find_service
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue

KIND = "service_state"
LAST = False


def refuses(state: Mapping[str, ParameterValue], host: Host, ctx: Context) -> str:
    return ""


def undo(state: Mapping[str, ParameterValue], host: Host, ctx: Context) -> str:
    service = find_service(str(state["service"]), host, ctx)
    ctx.changes.note(KIND, service=service.name, running=service.runs(), enabled=service.is_enabled())
    done: list[str] = []
    if "enabled" in state and service.is_enabled() != state["enabled"]:
        service.enable() if state["enabled"] else service.disable()
        done.append("starts with the machine again" if state["enabled"] else "does not start with the machine")
    if "running" in state and service.runs() != state["running"]:
        service.start() if state["running"] else service.stop()
        done.append("runs again" if state["running"] else "is stopped")
    return f"{service.name} {' and '.join(done)}" if done else f"{service.name} is as it was"
