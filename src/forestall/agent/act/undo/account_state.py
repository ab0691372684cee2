"""``account_state``: an account that was locked.

State: ``account``, and as they were before ``password`` (``set``, ``locked``, ``empty``, ``none``) and ``expires`` (day
since 1970; empty: no end).
"""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act.accounts import find_account, usermod
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue

KIND = "account_state"
LAST = False


def refuses(state: Mapping[str, ParameterValue], host: Host, ctx: Context) -> str:
    try:
        account = find_account(str(state["account"]), ctx)
    except ActionFailed as failure:
        return str(failure)
    if state["password"] == "empty":  # noqa: S105 - a state
        return f"{account.entry.name} had no password at all, and is not opened to everybody again"
    return ""


def undo(state: Mapping[str, ParameterValue], host: Host, ctx: Context) -> str:
    account = find_account(str(state["account"]), ctx)
    name, password, expires = account.entry.name, str(state["password"]), str(state["expires"])
    if (account.password, account.expires) == (password, expires):
        return f"{name} is as it was"
    ctx.changes.note(KIND, account=name, password=account.password, expires=account.expires)
    lock = []
    if password == "set" and account.password == "locked":  # noqa: S105 - states
        lock = ["--unlock"]
    elif password in ("locked", "none") and account.password == "set":  # noqa: S105
        lock = ["--lock"]
    usermod(ctx, *lock, "--expiredate", expires, name)
    return f"{name} may sign in as before" if lock == ["--unlock"] else f"{name} has its former state again"
