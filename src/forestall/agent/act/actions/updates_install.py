"""``updates.install``: install updates that this machine's own sources offer, and say what truly changed."""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act import packages
from forestall.agent.act.context import Context
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "updates.install"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"manager": str, "choose": str, "packages": str, "exclude": str}


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``choose``: ``security``, ``all``, or ``chosen`` with ``packages`` as ``name[:arch]=version``.

    With ``chosen`` it fails when one of them could not be installed, after it has installed the others. With
    ``security`` and ``all`` what is held or would remove packages is left out and named.
    """
    provider, reader = packages.manager_of(str(args["manager"]), "install", host)
    packages.wait_until_free(host, ctx)
    reading = packages.reading_of(reader, host)
    packages.require_finished(reading)
    choose = str(args["choose"])
    made = packages.plan(
        choose=choose,
        packages=str(args["packages"]),
        exclude=str(args["exclude"]),
        reading=reading,
        versions=provider.versions(host, ctx),
    )
    packages.without_impossible(made, provider, host, ctx)
    left = packages.left_words(made)
    if ctx.dry_run:
        names = packages.some([str(each) for each in made.wanted])
        would = f"would install {len(made.wanted)} updates: {names}" if made.wanted else "would install nothing"
        return StepResult(action=NAME, ok=True, summary=f"{would}{left}")
    if not made.wanted:
        result = StepResult(action=NAME, ok=True, summary=f"nothing to install{left}", packages=())
        return packages.end_chosen(NAME, result, made, strict=choose == "chosen")
    output, changed = packages.changing(provider, host, ctx, lambda: provider.install(made.wanted, host, ctx))
    # Firmware is placed now, and its version only shows after the start: a later scan tells.
    later = getattr(provider, "EFFECTIVE_AFTER_START", False)
    for each in [] if later else made.wanted:
        if not any(change.name == each.name and change.after == each.version for change in changed):
            # A manager that ends well and has not done it: seen with an "ok" that only meant "not forbidden".
            made.left_out.append((str(each), "install_failed", f"{provider.NAME} ended well without installing it"))
    words = packages.change_words(changed)
    if later and len(changed) < len(made.wanted):
        words = (
            f"{words}; placed, and counts after the next start: {packages.some([str(each) for each in made.wanted])}"
        )
    result = StepResult(
        action=NAME,
        ok=True,
        summary=f"changed {len(changed)} packages: {words}{packages.left_words(made)}",
        output=output,
        changed={"packages": len(changed)},
        packages=changed,
    )
    undone = any(code == "install_failed" for _, code, _ in made.left_out)
    return packages.end_chosen(NAME, result, made, strict=choose == "chosen" or undone)
