"""``account.lock``: let nobody in by an account any more, neither by password nor by key; it and its files stay."""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act.accounts import LOCKED_DAY, find_account, require_changeable, usermod
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "account.lock"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"account": str}


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    account = find_account(str(args["account"]), ctx)
    require_changeable(account)
    name = account.entry.name
    if account.expires == LOCKED_DAY and account.password in ("locked", "none"):
        return StepResult(action=NAME, ok=True, summary=f"{name} is locked already; nothing to do")
    if ctx.dry_run:
        return StepResult(action=NAME, ok=True, summary=f"would lock {name}: no password or key lets in any more")
    ctx.changes.note("account_state", account=name, password=account.password, expires=account.expires)
    # The end of the account is what closes it to keys, too: sshd asks PAM whether an account has expired.
    lock = ["--lock"] if account.password in ("set", "empty") else []
    usermod(ctx, *lock, "--expiredate", LOCKED_DAY, name)
    after = find_account(name, ctx)
    if after.expires != LOCKED_DAY or after.password not in ("locked", "none"):
        raise ActionFailed("account_open", f"{name} was to be locked, and is not")
    return StepResult(
        action=NAME, ok=True, changed={"accounts": 1},
        summary=f"locked {name}: no password or key lets in any more; sessions that are open go on",
    )  # fmt: skip
