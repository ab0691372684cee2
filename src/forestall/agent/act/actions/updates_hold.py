"""``updates.hold``: keep packages as they are until they are released."""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act import packages
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "updates.hold"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"manager": str, "packages": str}


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``packages``: names separated by blanks."""
    return mark(NAME, args, host, ctx, hold=True)


def mark(action: str, args: Mapping[str, ParameterValue], host: Host, ctx: Context, *, hold: bool) -> StepResult:
    provider, reader = packages.manager_of(str(args["manager"]), "hold", host)
    asked = packages.asked_names(str(args["packages"]), argument="packages")
    if not asked:
        raise ActionFailed("argument_wrong", "packages: names no package")
    packages.require_installed(asked, provider.versions(host, ctx))
    names = [str(each) for each in asked]
    verb = "hold" if hold else "release"
    if ctx.dry_run:
        return StepResult(action=action, ok=True, summary=f"would {verb} {packages.some(names)}")
    packages.wait_until_free(host, ctx)
    output = (provider.hold if hold else provider.release)(names, host, ctx)
    held = {each.partition(":")[0] for each in packages.reading_of(reader, host).provider.held}
    wrong = [each for each in asked if (each.name in held) is not hold]
    if wrong:
        sentence = f"{provider.NAME} did not {verb} {packages.some([str(each) for each in wrong])}"
        raise ActionFailed("install_failed", sentence, output=output)
    past = "held" if hold else "released"
    summary = f"{past} {packages.some(names)}"
    return StepResult(action=action, ok=True, summary=summary, output=output, changed={past: len(names)})
