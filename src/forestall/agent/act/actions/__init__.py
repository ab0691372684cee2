"""The built-in actions, one module each, all of one shape (``context.Action``). No shell anywhere."""

from __future__ import annotations

from forestall.agent.act.actions import (
    apt_clean,
    backup_prove,
    backup_rerun,
    changes_undo,
    diagnostics_collect,
    files_delete_older,
    journal_vacuum,
    logs_rotate,
    script_run,
    service_restart,
    service_start,
    service_stop,
    services_restart_outdated,
    system_reboot,
    system_reboot_when_needed,
    temporary_delete_older,
    updates_check,
    updates_download,
    updates_hold,
    updates_install,
    updates_release,
    updates_repair,
    updates_roll_back,
    updates_snapshot,
)
from forestall.agent.act.context import Action

_MODULES: tuple[Action, ...] = (
    apt_clean,
    journal_vacuum,
    files_delete_older,
    temporary_delete_older,
    service_restart,
    backup_rerun,
    backup_prove,
    updates_check,
    updates_snapshot,
    updates_download,
    updates_install,
    updates_hold,
    updates_release,
    updates_roll_back,
    updates_repair,
    services_restart_outdated,
    system_reboot,
    system_reboot_when_needed,
    changes_undo,
    script_run,
    service_stop,
    service_start,
    logs_rotate,
    diagnostics_collect,
)
ACTIONS: dict[str, Action] = {module.NAME: module for module in _MODULES}
