"""``account.expire_password``: ask for a new password at the next sign-in."""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act.accounts import chage, find_account, require_changeable
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "account.expire_password"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"account": str}


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    account = find_account(str(args["account"]), ctx)
    require_changeable(account)
    name = account.entry.name
    if account.password != "set":  # noqa: S105 - a state
        raise ActionFailed("account_without_password", f"{name} has no password that lets in: {account.password}")
    if account.changed == "0":
        return StepResult(action=NAME, ok=True, summary=f"{name} is asked for a new password already; nothing to do")
    if ctx.dry_run:
        return StepResult(action=NAME, ok=True, summary=f"would ask {name} for a new password at the next sign-in")
    ctx.changes.note("password_age", account=name, changed=account.changed)
    chage(ctx, "--lastday", "0", name)
    if find_account(name, ctx).changed != "0":
        raise ActionFailed("account_failed", f"{name} was to be asked for a new password, and is not")
    return StepResult(
        action=NAME, ok=True, changed={"accounts": 1}, summary=f"{name} is asked for a new password at the next sign-in"
    )
