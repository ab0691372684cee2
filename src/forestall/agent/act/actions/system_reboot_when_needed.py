"""``system.reboot_when_needed``: restart the machine if an update asks for it and the run allows it."""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act import packages
from forestall.agent.act.actions import system_reboot
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect import system
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "system.reboot_when_needed"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"reboot": str, "warn_minutes": int}


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``reboot``: ``never`` or ``when_needed``. A reboot that is needed and not allowed is reported."""
    allowed = str(args["reboot"])
    if allowed not in ("never", "when_needed"):
        raise ActionFailed("argument_wrong", f"reboot: {allowed!r} is none of never, when_needed")
    document = system.collect(host)
    if not document.reboot_required:
        unknown = document.reboot_required is None
        told = "whether a reboot is needed cannot be told here" if unknown else "no reboot is needed"
        return StepResult(action=NAME, ok=True, summary=told)
    why = packages.some(document.reboot_reasons) or "an update asks for it"
    if allowed == "never":
        return StepResult(action=NAME, ok=True, summary=f"a reboot is needed ({why}) and was not asked for")
    return system_reboot.reboot(NAME, int(args["warn_minutes"]), why, host, ctx)
