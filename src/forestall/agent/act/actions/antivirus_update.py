"""``antivirus.update``: let an antivirus product fetch its definitions, and say how old they were and are."""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act import antivirus
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import run_program
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult
from forestall.wire.facts import AntivirusProduct

NAME = "antivirus.update"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"product": str}
_LOCKED = "locked by another process"
"""freshclam's words while its daemon does the same: that is the update."""


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    name = str(args["product"])
    tool = antivirus.tool_of(name)
    if not tool.update:
        raise ActionFailed("not_possible", f"{name} fetches what it needs by itself and has no program for it")
    before = antivirus.product_now(name, host)
    if ctx.dry_run:
        return StepResult(action=NAME, ok=True, summary=f"would let {name} update its definitions, {_age(before)} now")
    options = antivirus.FRESHCLAM_OPTIONS if name == "ClamAV" else ()
    ran = run_program([*tool.update, *options], ctx)
    if ran.exit_code != 0 and _LOCKED not in ran.output:
        raise ActionFailed("update_failed", f"{tool.update[0]} ended with {ran.exit_code}", output=ran.output)
    after = antivirus.product_now(name, host)
    changed = (before.definitions_version, before.definitions_at) != (after.definitions_version, after.definitions_at)
    words = f"{_age(before)} before, {_age(after)} now" if changed else f"nothing newer than those there, {_age(after)}"
    if ran.exit_code != 0:
        words = f"its own daemon is updating them; {_age(after)} now"
    return StepResult(
        action=NAME, ok=True, summary=f"{name} updated its definitions: {words}", output=ran.output,
        changed={"definitions": 1} if changed else {},
    )  # fmt: skip


def _age(product: AntivirusProduct) -> str:
    if product.definitions_at is not None:
        return f"of {product.definitions_at:%Y-%m-%d}"
    return product.definitions_version or "of unknown age"
