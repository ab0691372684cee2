"""``backup.prove``: restore one of the device's own backups into a scratch folder and compare it, to a level of proof.

Everything about the backup comes from the device's settings (``backups.toml``); a job picks its name, the level, and
the bounds. Nothing stays but the record of what was shown.
"""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act.backups.prove import level_to_try, prove
from forestall.agent.act.backups.source import find_backup
from forestall.agent.act.backups.tools import kit_of
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.host import Host
from forestall.trust.proofs import PROOF_LEVELS
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "backup.prove"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"backup": str, "level": str, "most_mb": int, "rate_kb": int, "sample": int}


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    name, level = str(args["backup"]), str(args["level"])
    most_mb, rate_kb, sample = (int(args[each]) for each in ("most_mb", "rate_kb", "sample"))
    if level not in PROOF_LEVELS:
        raise ActionFailed("level_wrong", f"{level!r} is no level of proof ({', '.join(PROOF_LEVELS)})")
    if most_mb < 1 or rate_kb < 0 or sample < 1:
        raise ActionFailed(
            "argument_wrong", f"most_mb {most_mb}, rate_kb {rate_kb} and sample {sample}: at least 1, 0 and 1"
        )
    if ctx.dry_run:
        backup = find_backup(name, host, ctx)
        tried = level_to_try(backup, kit_of(backup), level)
        summary = f"would restore backup {name} ({backup.tool}) to show the level {tried}, at most {most_mb} MB"
        return StepResult(action=NAME, ok=True, summary=summary)
    proof = prove(name, level, host, ctx, most_mb=most_mb, rate_kb=rate_kb, sample=sample)
    if not proof.ok:
        raise ActionFailed(
            "proof_failed",
            f"backup {name} failed at the level {proof.level}: {proof.detail}",
            output="\n".join(proof.differences),
            proof=proof,
        )
    return StepResult(
        action=NAME, ok=True, summary=f"backup {name} is proven to the level {proof.level}: {proof.detail}", proof=proof
    )
