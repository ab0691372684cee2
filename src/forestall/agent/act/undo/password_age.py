"""``password_age``: a password that was to be changed at the next sign-in.

State: ``account``, and ``changed``: the day since 1970 on which the password was last changed; empty: not kept.
"""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act.accounts import chage, find_account
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue

KIND = "password_age"
LAST = False


def refuses(state: Mapping[str, ParameterValue], host: Host, ctx: Context) -> str:
    try:
        account = find_account(str(state["account"]), ctx)
    except ActionFailed as failure:
        return str(failure)
    if account.changed not in ("0", str(state["changed"])) and str(state["changed"]) != "0":
        return f"{account.entry.name} has set a new password since"
    return ""


def undo(state: Mapping[str, ParameterValue], host: Host, ctx: Context) -> str:
    account = find_account(str(state["account"]), ctx)
    name, changed = account.entry.name, str(state["changed"])
    if account.changed == changed:
        return f"{name} is as it was"
    ctx.changes.note(KIND, account=name, changed=account.changed)
    chage(ctx, "--lastday", changed or "-1", name)
    return f"{name} keeps its password"
