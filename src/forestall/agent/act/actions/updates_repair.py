"""``updates.repair``: end what a package manager has begun and not ended."""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act import packages
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "updates.repair"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"manager": str}


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """Looks afterwards: it only succeeded when nothing is unfinished any more."""
    provider, reader = packages.manager_of(str(args["manager"]), "repair", host)
    packages.wait_until_free(host, ctx)
    before = reader.read(Notes(host)).provider.unfinished
    if ctx.dry_run:
        told = f"would end what {provider.NAME} began: {packages.some(before)}" if before else "nothing is unfinished"
        return StepResult(action=NAME, ok=True, summary=told)
    why = ""
    try:
        output, changed = packages.changing(provider, host, ctx, lambda: provider.repair(host, ctx))
    except ActionFailed as failed:
        if failed.code != "repair_failed":
            raise
        why, output, changed = f"{failed.sentence}; ", failed.output, failed.packages or ()
    left = reader.read(Notes(host)).provider.unfinished
    if left or why:
        what = f"still unfinished: {packages.some(left)}" if left else "nothing is unfinished, yet repairing failed"
        raise ActionFailed(
            "repair_failed",
            f"{what} ({why}a person must look at these packages; roll-back-packages can bring one back to its older "
            "version)",
            output=output,
            changed={"packages": len(changed)},
            packages=changed,
        )
    words = f"; changed: {packages.change_words(changed)}" if changed else ""
    done = f"ended what was unfinished: {packages.some(before)}{words}" if before else f"nothing was unfinished{words}"
    return StepResult(
        action=NAME, ok=True, summary=done, output=output, changed={"packages": len(changed)}, packages=changed
    )
