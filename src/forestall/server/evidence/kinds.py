"""The kind of every record of the evidence log, shaped ``subject:what_happened``. One list."""

from __future__ import annotations

from enum import StrEnum


class EvidenceKind(StrEnum):
    """Part of what auditors read: never renamed, never reused."""

    DEVICE_ENROLLED = "device:enrolled"
    """Payload: at least ``device_id`` and ``public_key`` (hex). Binds the device to its key; never erased."""
    DEVICE_APPROVED = "device:approved"
    DEVICE_REVOKED = "device:revoked"
    DEVICE_NOTICE = "device:notice"
    """In the device's own words: carries its signed ``DeviceNotice``."""
    FACTS_CHANGED = "facts:changed"
    CHECK_CHANGED = "check:changed"
    CHECK_ACCEPTED = "check:accepted"
    ALERT_RAISED = "alert:raised"
    ALERT_CLEARED = "alert:cleared"
    TICKET_OPENED = "ticket:opened"
    TICKET_ACKNOWLEDGED = "ticket:acknowledged"
    TICKET_COMMENTED = "ticket:commented"
    TICKET_ASSIGNED = "ticket:assigned"
    TICKET_RESOLVED = "ticket:resolved"
    TICKET_REOPENED = "ticket:reopened"
    ROOT_INSTALLED = "root:installed"
    RUNBOOK_PUBLISHED = "runbook:published"
    ORDER_INSTALLED = "order:installed"
    ORDER_REVOKED = "order:revoked"
    JOB_QUEUED = "job:queued"
    JOB_DELIVERED = "job:delivered"
    JOB_RESULT = "job:result"
    """In the device's own words: carries its signed ``JobResult``."""
    JOB_EXPIRED = "job:expired"
    REPORT_ISSUED = "report:issued"
    OPERATOR_SIGNED_IN = "operator:signed_in"
    EVIDENCE_ERASED = "evidence:erased"
    """Payload: ``index`` of the entry whose content was erased, ``kind`` of it, ``reason`` and ``by``; never erased."""
