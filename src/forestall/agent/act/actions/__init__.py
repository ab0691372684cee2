"""The built-in actions, one module each, all of one shape (``context.Action``). No shell anywhere."""

from __future__ import annotations

from forestall.agent.act.actions import (
    apt_clean,
    backup_rerun,
    files_delete_older,
    journal_vacuum,
    service_restart,
    temporary_delete_older,
)
from forestall.agent.act.context import Action

_MODULES: tuple[Action, ...] = (
    apt_clean,
    journal_vacuum,
    files_delete_older,
    temporary_delete_older,
    service_restart,
    backup_rerun,
)
ACTIONS: dict[str, Action] = {module.NAME: module for module in _MODULES}
