"""Roles and what each may do, as data."""

from __future__ import annotations

from enum import StrEnum

from forestall.server.people.scope import Permission


class Role(StrEnum):
    OWNER = "owner"
    TECHNICIAN = "technician"
    AUDITOR = "auditor"


_VIEW = frozenset(
    {
        Permission.DEVICE_VIEW,
        Permission.TICKET_VIEW,
        Permission.RUNBOOK_VIEW,
        Permission.EVIDENCE_VIEW,
        Permission.REPORT_VIEW,
    }
)

ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.OWNER: frozenset(Permission),
    Role.TECHNICIAN: frozenset(Permission) - {Permission.PEOPLE_CHANGE},
    Role.AUDITOR: _VIEW,
}
