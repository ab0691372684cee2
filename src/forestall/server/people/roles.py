"""Roles and what each may do, as data."""

from __future__ import annotations

from enum import StrEnum

from forestall.server.people.scope import Permission


class Role(StrEnum):
    """The roles everybody has. Further ones are rows (``CustomRole``) with permissions chosen from the same list."""

    OWNER = "owner"
    SERVICE_MANAGER = "service_manager"
    TECHNICIAN = "technician"
    ON_CALL = "on_call"
    AUDITOR = "auditor"
    CLIENT_MANAGER = "client_manager"
    CLIENT_USER = "client_user"

    @property
    def words(self) -> str:
        return self.value.replace("_", "-" if self is Role.ON_CALL else " ")


_LOOK = frozenset(
    {
        Permission.DEVICE_VIEW,
        Permission.TICKET_VIEW,
        Permission.RUNBOOK_VIEW,
        Permission.EVIDENCE_VIEW,
        Permission.REPORT_VIEW,
        Permission.CLIENT_VIEW,
    }
)
_ANSWER = _LOOK | {Permission.TICKET_WORK, Permission.JOB_PREPARE}
_WORK = _ANSWER | {
    Permission.DEVICE_APPROVE,
    Permission.DEVICE_CHANGE,
    Permission.CHECK_CHANGE,
    Permission.WINDOW_CHANGE,
}
_MANAGE = _WORK | {
    Permission.CLIENT_CHANGE,
    Permission.CLIENT_EXPORT,
    Permission.PEOPLE_VIEW,
    Permission.PORTAL_VIEW,
    Permission.PORTAL_REPORT,
}
_PORTAL = frozenset({Permission.PORTAL_VIEW, Permission.PORTAL_TICKET, Permission.PORTAL_REPORT})

ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.OWNER: frozenset(Permission),
    Role.SERVICE_MANAGER: _MANAGE,
    Role.TECHNICIAN: _WORK,
    Role.ON_CALL: _ANSWER,
    Role.AUDITOR: _LOOK | {Permission.PEOPLE_VIEW},
    Role.CLIENT_MANAGER: _PORTAL | {Permission.PORTAL_APPROVE},
    Role.CLIENT_USER: _PORTAL,
}

ROLE_WORDS: dict[Role, str] = {
    Role.OWNER: "Everything, people and settings included.",
    Role.SERVICE_MANAGER: "Runs the service: works, and changes clients, contacts, hours and SLA. Sees people.",
    Role.TECHNICIAN: "Works: devices, checks, tickets, jobs, windows.",
    Role.ON_CALL: "Answers alarms: sees everything, works tickets, prepares jobs. Changes no devices or checks.",
    Role.AUDITOR: "Reads everything, evidence and people included. Changes nothing.",
    Role.CLIENT_MANAGER: "In the client's portal: health, tickets, reports, calendar; approves work and windows.",
    Role.CLIENT_USER: "In the client's portal: health, own tickets, reports, calendar.",
}
