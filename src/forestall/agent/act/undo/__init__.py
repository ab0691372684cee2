"""How changes that are no file's are undone: one module a kind, all of one shape (``Undoer``).

An action notes such a change before it makes it: ``ctx.changes.note("service_state", service="cups", ...)``. A new
kind is a module here and a line in ``_MODULES``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from forestall.agent.act.context import Context
from forestall.agent.act.undo import (
    account_state,
    firewall_table,
    kernel_setting,
    password_age,
    service_reload,
    service_state,
)
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue


class Undoer(Protocol):
    """The shape of every module here."""

    @property
    def KIND(self) -> str:  # noqa: N802 - a module's constant
        """As ``ctx.changes.note`` names it."""

    @property
    def LAST(self) -> bool:  # noqa: N802
        """Whether it comes after everything else was put back, and once only: a service that reads its settings."""

    def refuses(self, state: Mapping[str, ParameterValue], host: Host, ctx: Context) -> str:
        """Why it cannot be undone (somebody changed it since); empty when it can. Changes nothing."""

    def undo(self, state: Mapping[str, ParameterValue], host: Host, ctx: Context) -> str:
        """Undo it and say so in a few words; what is as it was already stays. ActionFailed when it cannot be done."""


_MODULES: tuple[Undoer, ...] = (
    service_state,
    service_reload,
    account_state,
    password_age,
    kernel_setting,
    firewall_table,
)
UNDOERS: dict[str, Undoer] = {module.KIND: module for module in _MODULES}
