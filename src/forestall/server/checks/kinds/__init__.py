"""All kinds of checks, one folder each. The order is that of pages and of the audit among equals."""

from __future__ import annotations

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds import (
    antivirus,
    array_health,
    backup_age,
    backup_restore_verified,
    certificate_expiry,
    clock_drift,
    cpu,
    disk_health,
    disk_self_test,
    disk_space,
    end_of_life,
    file_system_errors,
    firewall,
    firewall_rules,
    inodes,
    memory,
    new_administrator,
    offline,
    open_socket,
    other_updates,
    pending_enrolment,
    plugin,
    reboot_pending,
    security_updates,
    service_down,
    silent_checks,
    sshd_settings,
)

CHECK_KINDS: dict[str, CheckKind] = {
    package.KIND.slug: package.KIND
    for package in (
        offline,
        pending_enrolment,
        silent_checks,
        service_down,
        plugin,
        disk_space,
        inodes,
        disk_health,
        disk_self_test,
        array_health,
        file_system_errors,
        cpu,
        memory,
        backup_age,
        backup_restore_verified,
        security_updates,
        other_updates,
        reboot_pending,
        end_of_life,
        antivirus,
        firewall,
        firewall_rules,
        open_socket,
        sshd_settings,
        new_administrator,
        certificate_expiry,
        clock_drift,
    )
}
"""Slug → kind. A new kind is a folder here and a line in this list (docs/extending/check-kind.md says how)."""
