"""``backup.unlock``: take away a lock that a backup program left behind when it was killed.

Only a lock whose owner is certainly gone: its process on this very machine has ended, or (restic alone, which renews
its locks every five minutes) it is older than ``older_than_hours``. A lock that somebody may hold stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from forestall.agent.act.backups import borg, restic
from forestall.agent.act.backups.content import Flaw
from forestall.agent.act.backups.scratch import scratch_folder
from forestall.agent.act.backups.source import find_backup, secrets_of
from forestall.agent.act.backups.tools import place_of
from forestall.agent.act.backups.trial import Trial, bare_trial
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "backup.unlock"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"backup": str, "older_than_hours": int}
_WORK_BYTES = 64 * 1024 * 1024


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    backup = find_backup(str(args["backup"]), host, ctx)
    ctx.secrets.update(secrets_of(backup))
    hours = int(args["older_than_hours"])
    if hours < 1:
        raise ActionFailed("argument_wrong", f"older_than_hours is {hours}; at least 1")
    unlock = {"restic": _unlock_restic, "borg": _unlock_borg}.get(backup.tool)
    if unlock is None:
        raise ActionFailed("tool_unknown", f"backups of {backup.tool} know no lock (restic and borg do)")
    with scratch_folder(place_of(backup, ctx), name=backup.name, most_bytes=_WORK_BYTES, reserve_bytes=0) as scratch:
        trial = bare_trial(backup, host, ctx, scratch)
        try:
            removed = unlock(trial, timedelta(hours=hours))
        except Flaw as flaw:
            raise ActionFailed("unlock_failed", flaw.sentence) from None
    if not removed:
        return StepResult(action=NAME, ok=True, summary=f"backup {backup.name} has no lock that was left behind")
    would = "would take away" if ctx.dry_run else "took away"
    return StepResult(
        action=NAME,
        ok=True,
        summary=f"{would} {', '.join(removed)}",
        changed={} if ctx.dry_run else {"locks": len(removed)},
    )


def _unlock_restic(trial: Trial, age: timedelta) -> list[str]:
    """In words, the locks removed. ActionFailed ``backup_busy`` when one is held."""
    left: list[str] = []
    for name, lock in restic.locks(trial):
        who = f"{lock.get('username', '?')}@{lock.get('hostname', '?')}, process {lock.get('pid', '?')}"
        if not restic.is_stale(lock, now=trial.now, age=age):
            raise ActionFailed("backup_busy", f"the lock {name[:8]} may still be held by {who}: it stays")
        left.append(f"the lock {name[:8]} of {who}")
    if left and not trial.ctx.dry_run:
        # By its own rule, too: one that was made this moment stays.
        trial.require(trial.run(["restic", "unlock", "--no-cache"]), "restic cannot remove the lock")
        if restic.locks(trial):
            raise Flaw("the lock is still there after restic unlock")
    return left


def _unlock_borg(trial: Trial, age: timedelta) -> list[str]:
    del age  # borg does not renew its locks: their age says nothing
    found = borg.lock_holder(trial.backup.repository)
    if found is None:
        return []
    host, process, is_gone = found
    who = f"{host}, process {process}"
    if not is_gone:
        raise ActionFailed("backup_busy", f"the lock may still be held by {who}: it stays")
    if not trial.ctx.dry_run:
        trial.require(borg.borg(trial, "break-lock", trial.backup.repository), "borg cannot remove the lock")
        if borg.lock_holder(trial.backup.repository) is not None:
            raise Flaw("the lock is still there after borg break-lock")
    return [f"the lock of {who}"]
