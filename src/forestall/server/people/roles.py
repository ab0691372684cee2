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
    Permission.PATCH_CHANGE,
    Permission.RECOVERY_CHANGE,
    Permission.ACCESS_REVIEW,
    Permission.RUNBOOK_CHANGE,
}
_MANAGE = _WORK | {
    Permission.RISK_ACCEPT,
    Permission.BASELINE_CHANGE,
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

PERMISSION_WORDS: dict[Permission, str] = {
    Permission.DEVICE_VIEW: "See devices, their checks, samples and alerts",
    Permission.DEVICE_APPROVE: "Approve, revoke and enrol devices",
    Permission.DEVICE_CHANGE: "Change a device's name, role, groups, tags and assets",
    Permission.CHECK_CHANGE: "Accept what checks found; change what they are judged by",
    Permission.TICKET_VIEW: "See tickets and their clocks",
    Permission.TICKET_WORK: "Work on tickets: take, comment, resolve",
    Permission.RUNBOOK_VIEW: "See runbooks, jobs and standing orders",
    Permission.JOB_PREPARE: "Prepare and cancel jobs (running one still needs an operator's signature)",
    Permission.AUTHORITY_CHANGE: "Pass on what root and catalogue keys signed",
    Permission.WINDOW_CHANGE: "Plan maintenance windows",
    Permission.PATCH_CHANGE: "Plan updates: policies, approvals, deferrals, exclusions, rollouts",
    Permission.RISK_ACCEPT: "Accept risks: exceptions from obligations, accepted and false vulnerabilities",
    Permission.RECOVERY_CHANGE: "Change protected systems, their objectives and restore tests; attest proofs",
    Permission.ACCESS_REVIEW: "Begin access reviews and sign off accounts",
    Permission.BASELINE_CHANGE: "Choose baselines of configuration; accept drift and deviations",
    Permission.RUNBOOK_CHANGE: "Write drafts of runbooks (the catalogue key signs them)",
    Permission.EVIDENCE_VIEW: "Read and export evidence",
    Permission.EVIDENCE_ERASE: "Erase what a record says (its proof stays)",
    Permission.REPORT_VIEW: "See service reports",
    Permission.CLIENT_VIEW: "See clients: contacts, working hours, SLA",
    Permission.CLIENT_CHANGE: "Change clients, sites, contacts, working hours and SLA",
    Permission.CLIENT_EXPORT: "Export everything of a client",
    Permission.CLIENT_REMOVE: "Remove a client",
    Permission.PEOPLE_VIEW: "See people and what they may do",
    Permission.PEOPLE_CHANGE: "Change people, and give what one holds oneself",
    Permission.SETTINGS_CHANGE: "Change settings of the whole installation: sign-in, mail, webhooks",
    Permission.PORTAL_VIEW: "In the portal: see devices' health and the calendar",
    Permission.PORTAL_TICKET: "In the portal: open and follow tickets",
    Permission.PORTAL_APPROVE: "In the portal: approve work and maintenance windows",
    Permission.PORTAL_REPORT: "In the portal: see reports",
}
"""What each permission lets somebody do, in words."""
