"""Accounts of the machine for actions: looked up in its own files, changed by its own programs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from forestall.agent.act.context import Context
from forestall.agent.act.failure import ActionFailed
from forestall.agent.act.programs import run_program
from forestall.agent.collect.access.accounts import PasswdEntry, parse_passwd

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\$?")
"""As useradd takes them, with a dot besides."""
LOCKED_DAY = "1"
"""Day of expiry (since 1970) that ends an account at once: `usermod --expiredate 1` is what its manual page names."""


@dataclass(frozen=True, slots=True)
class LocalAccount:
    """An account with what shadow(5) says of it; never the hash itself."""

    entry: PasswdEntry
    password: str
    """``set``, ``locked``, ``empty`` or ``none``."""
    changed: str
    """Day of the last change of the password, since 1970; 0: to be changed at the next sign-in; empty: not known."""
    expires: str
    """Day since 1970 from which the account has ended; empty: it has no end."""


def find_account(name: str, ctx: Context) -> LocalAccount:
    """The account called ``name`` in the machine's own files. ActionFailed for a wrong name, and for one not there.

    Accounts of a directory are not here: they are changed where they are kept.
    """
    if NAME.fullmatch(name) is None:
        raise ActionFailed("argument_wrong", f"account: {name!r} is not the name of an account")
    entry = next((one for one in parse_passwd(_text("/etc/passwd", ctx)) if one.name == name), None)
    if entry is None:
        raise ActionFailed("account_unknown", f"no account of this machine is called {name}")
    for line in _text("/etc/shadow", ctx).splitlines():
        fields = line.split(":")
        if fields[0] == name and len(fields) >= 8:
            return LocalAccount(entry, _state(fields[1]), fields[2], fields[7])
    raise ActionFailed("account_unknown", f"{name} has no line in /etc/shadow")


def require_changeable(account: LocalAccount) -> None:
    """ActionFailed for root: whoever locks root out may lose the machine."""
    if account.entry.uid == 0:
        raise ActionFailed("account_protected", f"{account.entry.name} is root: it is not changed from afar")


def usermod(ctx: Context, *arguments: str) -> None:
    """ActionFailed ``account_failed`` with what the program said."""
    _run(["usermod", *arguments], ctx)


def chage(ctx: Context, *arguments: str) -> None:
    """ActionFailed ``account_failed`` with what the program said."""
    _run(["chage", *arguments], ctx)


def home_path(account: LocalAccount, ctx: Context, name: str) -> str:
    """A file in the account's home, as the machine sees it from outside."""
    home = account.entry.home
    if not home.startswith("/") or home == "/":
        raise ActionFailed("account_without_home", f"{account.entry.name} has no folder of its own: {home!r}")
    return f"{ctx.places.root.rstrip('/')}{home.rstrip('/')}/{name}"


def _run(argv: list[str], ctx: Context) -> None:
    ran = run_program(argv, ctx)
    if ran.exit_code != 0:
        raise ActionFailed("account_failed", f"{argv[0]} ended with {ran.exit_code}", output=ran.output)


def _state(field: str) -> str:
    if not field:
        return "empty"
    if field[0] == "!" and field.lstrip("!"):
        return "locked"
    return "none" if field[0] in "!*" else "set"


def _text(path: str, ctx: Context) -> str:
    try:
        return Path(f"{ctx.places.root.rstrip('/')}{path}").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ActionFailed("account_unreadable", f"{path}: {error.strerror}") from None
