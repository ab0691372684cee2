"""``updates.roll_back``: bring packages back to versions that are still to be had here."""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act import packages
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.providers import Wanted
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "updates.roll_back"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"manager": str, "packages": str}


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``packages``: ``name[:arch]=version`` separated by blanks. All of them or none."""
    provider, reader = packages.manager_of(str(args["manager"]), "roll_back", host)
    asked = packages.asked_versions(str(args["packages"]), argument="packages")
    packages.wait_until_free(host, ctx)
    # What is unfinished itself may be what is wrong with the newer version.
    packages.require_finished(packages.reading_of(reader, host), but=[each.name for each in asked])
    there = provider.versions(host, ctx)
    packages.require_installed(asked, there)
    wanted = [
        Wanted(name, architecture, each.version)
        for each in asked
        for (name, architecture), version in there.items()
        if each.means(name, architecture) and version != each.version
    ]
    names = packages.some([str(each) for each in wanted])
    if not wanted:
        return StepResult(
            action=NAME, ok=True, summary="nothing to roll back: these versions are installed", packages=()
        )
    if ctx.dry_run:
        return StepResult(action=NAME, ok=True, summary=f"would roll back to {names}, if these are still to be had")
    output, changed = packages.changing(provider, host, ctx, lambda: provider.roll_back(wanted, host, ctx))
    after = {(change.name, change.after) for change in changed}
    missed = [str(each) for each in wanted if (each.name, each.version) not in after]
    if missed:
        sentence = f"{provider.NAME} ended well without rolling back {packages.some(missed)}"
        raise ActionFailed("install_failed", sentence, output=output, packages=changed)
    return StepResult(
        action=NAME,
        ok=True,
        summary=f"rolled back: {packages.change_words(changed)}",
        output=output,
        changed={"packages": len(changed)},
        packages=changed,
    )
