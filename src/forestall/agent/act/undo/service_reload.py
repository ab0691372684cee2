"""``service_reload``: let a service read its settings again once they are put back. State: ``service``."""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act.context import Context
from forestall.agent.act.services import find_service
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue

KIND = "service_reload"
LAST = True


def refuses(state: Mapping[str, ParameterValue], host: Host, ctx: Context) -> str:
    return ""


def undo(state: Mapping[str, ParameterValue], host: Host, ctx: Context) -> str:
    service = find_service(str(state["service"]), host, ctx)
    if not service.runs():
        return f"{service.name} does not run, so there is nothing to reload"
    ctx.changes.note(KIND, service=service.name)
    service.reload()
    return f"{service.name} read its settings again"
