"""The loop of the product, as a table: what happened → who hears of it, in order.

A device checks in with samples and facts; checks judge them; a check that changes raises or clears an alert; an
alert opens or joins a ticket with an owner and a clock; a standing order lets a signed runbook act; a fresh check
verifies the result; every step is evidence; a resolved ticket becomes a service report.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from forestall.server.access import services as access
from forestall.server.alerts import services as alerts
from forestall.server.checks import services as checks
from forestall.server.configuration import services as configuration
from forestall.server.outbox.events import Event
from forestall.server.outbox.models import OutboxEvent
from forestall.server.outbox.services import Handler
from forestall.server.patching import rollouts
from forestall.server.patching import services as patching
from forestall.server.recovery import services as recovery
from forestall.server.reports import services as reports
from forestall.server.runbooks import services as runbooks
from forestall.server.tickets import services as tickets
from forestall.server.tickets import windows
from forestall.server.vulnerabilities import services as vulnerabilities
from forestall.server.webhooks import services as webhooks


def judge_the_device(event: OutboxEvent, now: datetime) -> None:
    checks.device_judge_by_id(device_id=event.subject, now=now)


def judge_what_rests_on_the_documents(event: OutboxEvent, now: datetime) -> None:
    checks.device_judge_by_id(device_id=event.subject, documents=event.detail["documents"], now=now)


def judge_what_rests_on_the_samples(event: OutboxEvent, now: datetime) -> None:
    checks.device_judge_by_id(device_id=event.subject, metrics=event.detail["metrics"], now=now)


def alert_follows_the_check(event: OutboxEvent, now: datetime) -> None:
    alerts.alert_follow_by_id(change_id=event.subject, now=now)


def ticket_opens_or_joins(event: OutboxEvent, now: datetime) -> None:
    tickets.ticket_open_or_join_by_id(alert_id=event.subject, now=now)


def ticket_follows_the_cleared_alert(event: OutboxEvent, now: datetime) -> None:
    tickets.ticket_follow_alert_cleared_by_id(alert_id=event.subject, now=now)


def standing_orders_are_considered(event: OutboxEvent, now: datetime) -> None:
    runbooks.orders_consider_by_id(ticket_id=event.subject, now=now)


def result_is_verified_by_a_fresh_check(event: OutboxEvent, now: datetime) -> None:
    checks.device_judge_by_id(device_id=event.detail["device"], now=now)


def service_report_is_made(event: OutboxEvent, now: datetime) -> None:
    reports.service_report_make_by_id(ticket_id=event.subject, now=now)


def approvers_are_told_of_the_window(event: OutboxEvent, now: datetime) -> None:
    windows.window_proposed_by_id(window_id=event.subject, now=now)


def desk_is_told_of_the_answer(event: OutboxEvent, now: datetime) -> None:
    windows.window_answered_by_id(window_id=event.subject, now=now)


def software_is_matched_with_advisories(event: OutboxEvent, now: datetime) -> None:
    vulnerabilities.device_note_by_id(device_id=event.subject, documents=event.detail["documents"], now=now)


def deployments_follow_the_scan(event: OutboxEvent, now: datetime) -> None:
    patching.deployments_follow_scan_by_id(device_id=event.subject, documents=event.detail["documents"], now=now)


def deployments_follow_the_run(event: OutboxEvent, now: datetime) -> None:
    patching.deployments_follow_run(job_id=event.subject, now=now)


def rollout_follows_the_device(event: OutboxEvent, now: datetime) -> None:
    rollouts.rollout_follow_device(device_id=event.subject, now=now)


def rollout_follows_the_run(event: OutboxEvent, now: datetime) -> None:
    rollouts.rollout_follow_device(device_id=event.detail["device"], now=now)


def rollout_follows_the_check(event: OutboxEvent, now: datetime) -> None:
    rollouts.rollout_follow_check(change_id=event.subject, now=now)


def backups_are_followed(event: OutboxEvent, now: datetime) -> None:
    recovery.backups_follow_by_id(device_id=event.subject, documents=event.detail["documents"], now=now)


def proofs_follow_the_run(event: OutboxEvent, now: datetime) -> None:
    recovery.proofs_follow_job_by_id(job_id=event.subject, now=now)


def access_is_compared(event: OutboxEvent, now: datetime) -> None:
    access.device_follow_by_id(device_id=event.subject, documents=event.detail["documents"], now=now)


def configuration_is_compared_with_its_baseline(event: OutboxEvent, now: datetime) -> None:
    configuration.device_follow_by_id(device_id=event.subject, documents=event.detail["documents"], now=now)


def other_programs_are_told(event: OutboxEvent, now: datetime) -> None:
    webhooks.event_tell(event, now)


LOOP: Mapping[Event, tuple[Handler, ...]] = {
    Event.DEVICE_ENROLLED: (judge_the_device,),
    Event.DEVICE_APPROVED: (judge_the_device,),
    Event.FACTS_CHANGED: (
        judge_what_rests_on_the_documents,
        deployments_follow_the_scan,
        access_is_compared,
        software_is_matched_with_advisories,
        backups_are_followed,
        configuration_is_compared_with_its_baseline,
    ),
    Event.SAMPLES_CROSSED: (judge_what_rests_on_the_samples,),
    Event.CHECK_CHANGED: (
        alert_follows_the_check,
        rollout_follows_the_check,
    ),
    Event.ALERT_RAISED: (ticket_opens_or_joins,),
    Event.ALERT_CLEARED: (ticket_follows_the_cleared_alert,),
    Event.TICKET_OPENED: (standing_orders_are_considered,),
    Event.JOB_FINISHED: (
        result_is_verified_by_a_fresh_check,
        deployments_follow_the_run,
        rollout_follows_the_run,
        proofs_follow_the_run,
    ),
    Event.TICKET_RESOLVED: (service_report_is_made,),
    Event.WINDOW_PROPOSED: (approvers_are_told_of_the_window,),
    Event.WINDOW_ANSWERED: (desk_is_told_of_the_answer,),
    Event.DEPLOYMENT_CHANGED: (rollout_follows_the_device,),
    Event.ROLLOUT_CHANGED: (),
    Event.VULNERABILITY_FOUND: (),
    Event.FEED_CHANGED: (),
    Event.PROOF_RECORDED: (),
    Event.ACCESS_CHANGED: (),
    Event.BASELINE_DRIFTED: (),
    Event.HEALTH_RUN_DONE: (),
}

HANDLERS: Mapping[Event, tuple[Handler, ...]] = {
    event: (*handlers, other_programs_are_told) for event, handlers in LOOP.items()
}
