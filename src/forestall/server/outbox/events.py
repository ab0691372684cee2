"""The name of every event, shaped ``subject.what_happened``. One list; ``loop.py`` has a line for each."""

from __future__ import annotations

from enum import StrEnum


class Event(StrEnum):
    DEVICE_ENROLLED = "device.enrolled"
    DEVICE_APPROVED = "device.approved"
    FACTS_CHANGED = "facts.changed"
    SAMPLES_CROSSED = "samples.crossed"
    CHECK_CHANGED = "check.changed"
    ALERT_RAISED = "alert.raised"
    ALERT_CLEARED = "alert.cleared"
    TICKET_OPENED = "ticket.opened"
    TICKET_RESOLVED = "ticket.resolved"
    JOB_FINISHED = "job.finished"
    WINDOW_PROPOSED = "window.proposed"
    WINDOW_ANSWERED = "window.answered"
    DEPLOYMENT_CHANGED = "deployment.changed"
    ROLLOUT_CHANGED = "rollout.changed"
    VULNERABILITY_FOUND = "vulnerability.found"
    FEED_CHANGED = "feed.changed"
    PROOF_RECORDED = "proof.recorded"
    ACCESS_CHANGED = "access.changed"
    BASELINE_DRIFTED = "baseline.drifted"
    HEALTH_RUN_DONE = "health.run_done"
