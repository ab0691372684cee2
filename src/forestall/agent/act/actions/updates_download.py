"""``updates.download``: fetch the lists of what is offered, then the updates that are to be installed; install none."""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act import packages
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "updates.download"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"manager": str, "choose": str, "packages": str, "exclude": str}


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """Lists that cannot be fetched are no failure as long as the updates are to be had: a cache may hold them.

    A manager that cannot download without installing only has its lists fetched.
    """
    provider, reader = packages.manager_of(str(args["manager"]), "install", host)
    stale = ""
    output = ""
    if not ctx.dry_run:
        try:
            output = provider.refresh(host, ctx)
        except ActionFailed as failed:
            if failed.code in ("program_missing", "timed_out", "manager_busy"):
                raise
            stale, output = f"; the lists could not be fetched ({failed.sentence})", failed.output
    made = packages.plan(
        choose=str(args["choose"]),
        packages=str(args["packages"]),
        exclude=str(args["exclude"]),
        reading=packages.reading_of(reader, host),
        versions=provider.versions(host, ctx),
    )
    packages.without_impossible(made, provider, host, ctx)
    names = packages.some([str(each) for each in made.wanted])
    left = packages.left_words(made)
    if ctx.dry_run:
        # The lists are those of the last time: a dry run fetches nothing.
        would = f"would download {len(made.wanted)} updates: {names}" if made.wanted else "would download nothing"
        return StepResult(action=NAME, ok=True, summary=f"{would}{left}")
    if not made.wanted:
        return StepResult(action=NAME, ok=True, summary=f"nothing to download{left}{stale}", output=output)
    if "download" not in provider.CAN:
        summary = f"{provider.NAME} downloads while it installs: {names}{left}{stale}"
        return StepResult(action=NAME, ok=True, summary=summary, output=output)
    output += provider.download(made.wanted, host, ctx)
    return StepResult(
        action=NAME,
        ok=True,
        summary=f"downloaded {len(made.wanted)} updates: {names}{left}{stale}",
        output=output,
        changed={"downloaded": len(made.wanted)},
    )
