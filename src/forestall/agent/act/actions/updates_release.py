"""``updates.release``: no longer keep packages as they are."""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act.actions import updates_hold
from forestall.agent.act.context import Context
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "updates.release"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"manager": str, "packages": str}


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``packages``: names separated by blanks."""
    return updates_hold.mark(NAME, args, host, ctx, hold=False)
