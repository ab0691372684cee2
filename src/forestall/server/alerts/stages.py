"""What an alert goes through, in order. Each stage takes the case and gives it on; one that finds nothing left to do
sets the intent to ``NOTHING``, and that ends it.

The first six decide and touch nothing: all they look at is in the case. The last two write, inside the
transaction of the check's change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from forestall.server.alerts.models import Alert, AlertState, Notification, NotificationRoute
from forestall.server.alerts.rules import (
    JUDGED_ABOUT_THE_LINK,
    QUIET_IN_GROUP,
    UNKNOWN_PERSISTS,
    flapping_until,
    group_of,
    is_sent,
    is_trouble,
    is_worse,
    subject_of,
)
from forestall.server.calendar.windows import Occurrence
from forestall.server.checks.models import Check
from forestall.server.checks.result import Risk, Status
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.outbox.events import Event
from forestall.server.outbox.services import event_record


class Intent(StrEnum):
    NOTHING = "nothing"
    UPDATE = "update"
    """The alert stays as it is, with the newest reason."""
    RAISE = "raise"
    WORSEN = "worsen"
    """Open already, and worse than before."""
    MUTE = "mute"
    CLEAR = "clear"
    CLEAR_LATER = "clear later"


@dataclass(frozen=True)
class Case:
    """One look at one check: everything the stages need, and what they have decided so far."""

    check: Check
    now: datetime
    alert: Alert | None
    """The alert of this check that is not cleared."""
    passed_before: bool
    """Whether the last definite answer before this one (pass, warn or fail) was a pass."""
    changes: int
    """Changes between passing and not within ``FLAPPING_SPAN``, this one included."""
    window: Occurrence | None
    """The maintenance window that is open for this device."""
    device_is_offline: bool
    group_told_at: datetime | None
    """When somebody was last told of an alert of this group that is still open."""
    possible_routes: tuple[NotificationRoute, ...]
    look_again: bool = False
    """Nothing changed: a muted or held alert is due to be looked at again."""

    intent: Intent = Intent.NOTHING
    muted_until: datetime | None = None
    muted_because: str = ""
    group: str = ""
    routes: tuple[NotificationRoute, ...] = ()
    notifications: tuple[Notification, ...] = field(default=())

    @property
    def status(self) -> Status:
        return Status(self.check.status)

    @property
    def first_seen_at(self) -> datetime:
        """When the check stopped passing: by the judgement, not by when its event arrived here."""
        if self.alert is not None:
            return self.alert.first_seen_at
        return (self.check.problem_since if self.status.is_problem else None) or self.check.since

    def muted(self, because: str, until: datetime | None) -> Case:
        """The case, held back; the first stage that holds it gives the reason."""
        return replace(self, intent=Intent.MUTE, muted_because=because, muted_until=until)


Stage = Callable[[Case], Case]


def drop_if_unchanged(case: Case) -> Case:
    """Say what this is about: a raise, a worsening, a clearing, or nothing new."""
    is_open = case.alert is not None and case.alert.state == AlertState.OPEN
    if case.status is Status.PASS:
        return replace(case, intent=Intent.CLEAR if case.alert else Intent.NOTHING)
    if case.alert is None:
        trouble = is_trouble(status=case.status, passed_before=case.passed_before)
        return replace(case, intent=Intent.RAISE if trouble else Intent.NOTHING)
    if not is_open:
        if case.status is Status.STALE:
            # No pass, so the alert waits on; and no news, so there is nothing to tell anybody.
            return case.muted("stale: waiting for a fresh answer", case.now + UNKNOWN_PERSISTS)
        return replace(case, intent=Intent.RAISE)
    if is_worse(now=case.status, before=Status(case.alert.status)):
        return replace(case, intent=Intent.WORSEN)
    return replace(case, intent=Intent.UPDATE)


def mute_in_maintenance_window(case: Case) -> Case:
    """While a window is open nobody is told; when it ends the check is looked at again."""
    if case.intent is not Intent.RAISE or case.window is None:
        return case
    return case.muted(f"maintenance window: {case.window.name}", case.window.end)


def wait_out_flapping(case: Case) -> Case:
    """A check that changes all the time has to hold still before it counts; an unknown has to persist."""
    if case.intent is Intent.RAISE and case.status is Status.UNKNOWN:
        persists_at = case.first_seen_at + UNKNOWN_PERSISTS
        if case.now < persists_at:
            return case.muted("unknown: waiting to see whether it persists", persists_at)
    if case.intent not in {Intent.RAISE, Intent.CLEAR} or case.look_again:
        return case
    since = case.now if case.intent is Intent.CLEAR else case.first_seen_at
    until = flapping_until(changes=case.changes, first_seen_at=since, now=case.now)
    if until is None:
        return case
    if case.intent is Intent.CLEAR:
        return replace(case, intent=Intent.CLEAR_LATER, muted_until=until)
    return case.muted(f"flapping: {case.changes} changes in 30 minutes", until)


def group_by_device_and_condition(case: Case) -> Case:
    """Name the group; alerts of one group are one notification and one ticket."""
    group = group_of(device_id=case.check.device_id, kind=case.check.kind, target=case.check.target)
    return replace(case, group=group)


def mute_if_device_is_offline(case: Case) -> Case:
    """Of an offline device only the offline alert speaks: all else rests on what is old, and nobody could act on it."""
    if case.intent is not Intent.RAISE or not case.device_is_offline or case.check.kind in JUDGED_ABOUT_THE_LINK:
        return case
    return case.muted("the device is offline", None)


def route(case: Case) -> Case:
    """Choose who is told: routes of this client or of all, that take this risk."""
    if case.intent not in {Intent.RAISE, Intent.WORSEN, Intent.CLEAR}:
        return case
    risk = Risk(case.check.risk)
    wanted = tuple(one for one in case.possible_routes if is_sent(risk=risk, minimum=Risk(one.minimum_risk)))
    return replace(case, routes=wanted)


def notify(case: Case) -> Case:
    """Write what is to be sent. ``notifications_send`` sends it after the commit: no network in a transaction."""
    if case.intent is Intent.RAISE:
        told = case.group_told_at
        if told is not None and case.now - told < QUIET_IN_GROUP:
            return case
        prefix = case.status.upper()
    elif case.intent is Intent.WORSEN:
        prefix = f"Worse, {case.status.upper()}"
    elif case.intent is Intent.CLEAR and case.alert is not None and case.alert.state == AlertState.OPEN:
        if not case.alert.notifications.exists():
            return case  # nobody was told that it began
        prefix = "Cleared"
    else:
        return case
    device = case.check.device
    subject = subject_of(kind=case.check.kind, target=case.check.target)
    made = tuple(
        Notification(
            client_id=device.client_id,
            route=one,
            sent_to=f"{one.name} ({one.shown_url})",
            title=f"{prefix}: {subject} on {device.name}"[:250],
            text=case.check.reason,
            made_at=case.now,
            not_before=case.now,
        )
        for one in case.routes
    )
    return replace(case, notifications=made)


def record(case: Case) -> Case:
    """Write the alert, its evidence, what is to be sent, and the event for the next layer: all or nothing."""
    before = case.alert.status if case.alert else ""
    alert = _written(case)
    for notification in case.notifications:
        notification.alert = alert
        notification.save()
    if case.intent in {Intent.RAISE, Intent.WORSEN}:
        _tell_on(alert, case, EvidenceKind.ALERT_RAISED, Event.ALERT_RAISED, before=before)
    elif case.intent is Intent.CLEAR and alert.raised_at is not None:
        _tell_on(alert, case, EvidenceKind.ALERT_CLEARED, Event.ALERT_CLEARED, before=before)
    return replace(case, alert=alert)


ALERT_STAGES: tuple[Stage, ...] = (
    drop_if_unchanged,
    mute_in_maintenance_window,
    wait_out_flapping,
    group_by_device_and_condition,
    mute_if_device_is_offline,
    route,
    notify,
    record,
)


def run(case: Case) -> Case:
    """Take the case through every stage, until there is nothing left to do."""
    for stage in ALERT_STAGES:
        case = stage(case)
        if case.intent is Intent.NOTHING:
            break
    return case


def _written(case: Case) -> Alert:
    check = case.check
    alert = case.alert or Alert(
        check_row=check,
        device=check.device,
        kind=check.kind,
        target=check.target,
        first_seen_at=case.first_seen_at,
    )
    alert.reason = check.reason
    alert.risk = check.risk
    alert.group = case.group
    alert.flaps = case.changes
    if case.intent is Intent.CLEAR_LATER:
        alert.clears_at = case.muted_until
    else:
        alert.clears_at = None
    if case.intent is Intent.MUTE:
        alert.status, alert.state = case.status, AlertState.MUTED
        alert.muted_because, alert.muted_until = case.muted_because, case.muted_until
    elif case.intent in {Intent.RAISE, Intent.WORSEN}:
        alert.status, alert.state = case.status, AlertState.OPEN
        alert.raised_at = alert.raised_at or case.now
        alert.muted_because, alert.muted_until = "", None
    elif case.intent is Intent.CLEAR:
        alert.state, alert.cleared_at, alert.cleared_because = AlertState.CLEARED, case.now, check.reason
        alert.muted_because, alert.muted_until = "", None
    alert.save()
    return alert


def _tell_on(alert: Alert, case: Case, evidence: EvidenceKind, event: Event, *, before: str) -> None:
    device = case.check.device
    worse = case.intent is Intent.WORSEN
    evidence_append(
        client=device.client,
        kind=evidence,
        payload={
            "alert": alert.pk,
            "check": case.check.pk,
            "kind": alert.kind,
            "target": alert.target,
            "status": str(case.status),
            "status_before": before,
            "risk": alert.risk,
            "reason": alert.reason,
            "first_seen_at": alert.first_seen_at.isoformat(),
            "told": [notification.sent_to for notification in case.notifications],
        },
        now=case.now,
        device_id=device.pk,
        site_id=device.site_id,
    )
    event_record(event=event, subject=alert.pk, at=case.now, detail={"worse": worse} if worse else {})
