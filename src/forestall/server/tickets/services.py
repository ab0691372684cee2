"""Opening, working on, resolving and closing tickets.

Only a check's pass resolves a ticket: what a person calls resolved while the check still fails is marked so, and is
opened again when the next judgement finds the trouble still there.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q

from forestall.server.alerts.models import Alert, AlertState
from forestall.server.alerts.rules import condition_of, subject_of
from forestall.server.alerts.services import notify
from forestall.server.checks.models import Check
from forestall.server.checks.result import Risk, Status
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.inventory.models import Device
from forestall.server.outbox.events import Event
from forestall.server.outbox.services import event_record
from forestall.server.people.models import Client, Person, Site
from forestall.server.people.queries import scope_of
from forestall.server.people.scope import Permission, Scope
from forestall.server.tickets import approvals, mail, queries, routing, sla
from forestall.server.tickets.models import (
    DONE_STATES,
    REQUEST,
    EventKind,
    Ticket,
    TicketAlert,
    TicketEvent,
    TicketPause,
    TicketState,
)
from forestall.server.tickets.rules import (
    ClockKind,
    Priority,
    clock_view,
    priority_of,
    sla_targets,
    warning_due,
)
from forestall.server.tickets.steps import (
    DESK,
    acknowledged,
    begin_waiting,
    end_pause,
    event_write,
    evidence_write,
    go_on,
    locked,
    required,
    workable,
)
from forestall.server.tickets.steps import TicketError as TicketError

BY_CHECK = "check"
BY_CLOCK = "SLA clock"
UNVERIFIED = "resolved without verification"
BY_HAND = "done"
SHOWN_WELL = "A check has shown that it is well again."


# What alerts do to tickets


@transaction.atomic
def ticket_open_or_join(*, alert: Alert, now: datetime) -> Ticket | None:
    """Open a ticket for a raised alert, or join the open ticket of the same device and condition.

    Called for every ``alert.raised``; an alert that is already on its ticket got worse. None when the alert cleared
    since.
    """
    alert = (
        Alert.objects.visible_to(DESK).select_related("device__client", "device__site", "check_row").get(pk=alert.pk)
    )
    # Two workers with alerts of one condition take turns: the second joins the ticket that the first opens.
    Device.objects.visible_to(DESK).select_for_update(no_key=True).get(pk=alert.device_id)
    if alert.state != AlertState.OPEN:
        return None
    condition = condition_of(kind=alert.kind, target=alert.target)
    ticket: Ticket | None = (
        Ticket.objects.visible_to(DESK)
        .select_for_update()
        .filter(device=alert.device, condition=condition)
        .exclude(state__in=DONE_STATES)
        .first()
    )
    if ticket is None:
        ticket = _reopened_for(alert, condition, now)
        if ticket is None:
            return _open(alert, condition, now)
    known = TicketAlert.objects.visible_to(DESK).filter(ticket=ticket, alert=alert).exists()
    if not known:
        TicketAlert.objects.create(ticket=ticket, alert=alert, joined_at=now)
    event_write(
        ticket,
        EventKind.WORSENED if known else EventKind.JOINED,
        actor=BY_CHECK,
        text=alert.reason,
        now=now,
        detail={"alert": alert.pk, "target": alert.target, "status": alert.status},
    )
    _escalate(ticket, alert, now)
    return ticket


def ticket_open_or_join_by_id(*, alert_id: int | str, now: datetime) -> Ticket | None:
    """``ticket_open_or_join`` for the alert with this primary key, as events name it."""
    return ticket_open_or_join(alert=Alert.objects.visible_to(DESK).get(pk=alert_id), now=now)


def ticket_follow_alert_cleared_by_id(*, alert_id: int | str, now: datetime) -> Ticket | None:
    """``ticket_follow_alert_cleared`` for the alert with this primary key, as events name it."""
    return ticket_follow_alert_cleared(alert=Alert.objects.visible_to(DESK).get(pk=alert_id), now=now)


@transaction.atomic
def ticket_follow_alert_cleared(*, alert: Alert, now: datetime) -> Ticket | None:
    """When the last alert of a ticket has cleared: close it if nobody touched it, else resolve it, verified."""
    link = (
        TicketAlert.objects.visible_to(DESK)
        .select_related("ticket", "alert__check_row")
        .filter(alert=alert, alert__state=AlertState.CLEARED)
        .first()
    )
    if link is None:
        return None
    ticket = locked(link.ticket)
    event_write(
        ticket,
        EventKind.CLEARED,
        actor=BY_CHECK,
        text=link.alert.cleared_because,
        now=now,
        detail={"alert": alert.pk, "target": link.alert.target},
    )
    if TicketAlert.objects.visible_to(DESK).filter(ticket=ticket).exclude(alert__state=AlertState.CLEARED).exists():
        return ticket
    verification = _verification(link.alert)
    if ticket.state in DONE_STATES:
        if ticket.verified_at is None and not verification["gone"]:
            _verify(ticket, verification, now)
        return ticket
    _finish(ticket, verification, now)
    return ticket


@transaction.atomic
def ticket_note_job(
    *, ticket: Ticket, job_id: str, text: str, kind: str, now: datetime, actor: str = "job", reference: str = ""
) -> TicketEvent:
    """Write what a job did into the ticket's timeline.

    ``kind`` is what happened to it (``queued``, ``delivered``, ``succeeded``, ``failed``, ``refused``). A ticket with a
    job counts as worked on: when its check passes it is resolved, with a report, and not merely closed. A job does not
    stop the response clock: that a machine tried is no answer to a person.
    """
    ticket = locked(ticket)
    if not ticket.remediated:
        ticket.remediated = True
        ticket.save(update_fields=["remediated"])
    return event_write(
        ticket,
        EventKind.JOB,
        actor=actor,
        text=text,
        now=now,
        job_id=job_id,
        detail={"what": kind},
        reference=reference,
        for_client="A repair ran on the device." if kind == "succeeded" else "",
    )


# What other parts of Forestall find that no check judges: updates that failed


@transaction.atomic
def condition_found(
    *, device: Device, kind: str, title: str, reason: str, risk: Risk, actor: str, now: datetime
) -> Ticket:
    """Open a ticket about a condition of a device that no check judges, or write into the one that is open about it.

    ``kind`` is the condition too: one ticket of a kind is open on a device. Whoever finds the condition gone says so by
    ``condition_gone``. The same reason as the last one told changes nothing.
    """
    device = Device.objects.visible_to(DESK).select_related("client", "site").get(pk=device.pk)
    Device.objects.visible_to(DESK).select_for_update(no_key=True).get(pk=device.pk)
    same = Ticket.objects.visible_to(DESK).select_for_update(of=("self",)).filter(device=device, condition=kind)
    ticket: Ticket | None = same.exclude(state__in=DONE_STATES).first()
    if ticket is not None:
        told = ticket.events.filter(kind__in=[EventKind.OPENED, EventKind.JOINED, EventKind.REOPENED])
        if told.order_by("-at", "-pk").values_list("text", flat=True).first() != reason:
            event_write(ticket, EventKind.JOINED, actor=actor, text=reason, now=now)
        return ticket
    unproved = same.filter(state=TicketState.RESOLVED, verified_at=None).order_by("-number").first()
    if unproved is not None:
        return reopen_write(locked(unproved), reason=reason, by=actor, now=now)
    priority = priority_of(risk=risk, status=Status.FAIL, kind=kind, device_role=device.role)
    response, resolution = sla_targets(policies=sla_policies(device.client), priority=priority)
    owner = owner_for(client=device.client, site=device.site, kind=kind, risk=risk)
    opened: Ticket = Ticket.objects.create(
        client=device.client,
        site=device.site,
        device=device,
        kind=kind,
        condition=kind,
        title=title[:250],
        risk=risk,
        priority=priority,
        owner=owner,
        first_seen_at=now,
        opened_at=now,
        response_minutes=response,
        resolution_minutes=resolution,
    )
    entry = evidence_write(
        opened,
        EvidenceKind.TICKET_OPENED,
        {
            "title": opened.title,
            "condition": kind,
            "reason": reason,
            "priority": str(priority),
            "owner": owner.username if owner else "",
            "response_minutes": response,
            "resolution_minutes": resolution,
        },
        now,
    )
    event_write(
        opened, EventKind.OPENED, actor=actor, text=reason, now=now, reference=entry,
        for_client="Something did not go as it should. We look after it.",
    )  # fmt: skip
    if owner is not None:
        event_write(opened, EventKind.ASSIGNED, actor="routing", text=f"assigned to {owner.username}", now=now)
    event_record(event=Event.TICKET_OPENED, subject=opened.number, at=now)
    return opened


@transaction.atomic
def condition_gone(*, ticket: Ticket, reason: str, proved: bool, evidence: list[str], now: datetime) -> Ticket:
    """Resolve a ticket of ``condition_found``, verified when it is ``proved``; else there is nothing left to prove.

    ``evidence``: references of the records that show it.
    """
    ticket = locked(ticket)
    verification = {
        "status": str(Status.PASS), "reason": reason, "at": now.isoformat(), "evidence": evidence, "gone": not proved,
    }  # fmt: skip
    if ticket.state not in DONE_STATES:
        _finish(ticket, verification, now)
    elif ticket.verified_at is None and proved:
        _verify(ticket, verification, now)
    return ticket


# What people do with tickets


@transaction.atomic
def ticket_acknowledge(*, ticket: Ticket, scope: Scope, now: datetime) -> Ticket:
    """Someone has seen it and takes it: stops the response clock. Takes ownership of a ticket that has no owner."""
    ticket = workable(ticket, scope)
    if ticket.acknowledged_at is not None:
        raise TicketError(f"ticket {ticket.number} was acknowledged by {ticket.acknowledged_by} already")
    acknowledged(ticket, scope, now)
    ticket.save()
    return ticket


@transaction.atomic
def ticket_assign(*, ticket: Ticket, owner: Person, scope: Scope, now: datetime) -> Ticket:
    """Give it to someone, who must be able to see and work it."""
    ticket = workable(ticket, scope)
    _require_worker(owner, ticket)
    before = ticket.owner.username if ticket.owner else ""
    ticket.owner, ticket.touched = owner, True
    ticket.save()
    entry = evidence_write(
        ticket, EvidenceKind.TICKET_ASSIGNED, {"owner": owner.username, "before": before, "by": scope.who}, now
    )
    text = f"assigned to {owner.username}" + (f" (before: {before})" if before else "")
    event_write(ticket, EventKind.ASSIGNED, actor=scope.who, text=text, now=now, reference=entry)
    return ticket


@transaction.atomic
def ticket_comment(*, ticket: Ticket, text: str, scope: Scope, now: datetime, to_client: bool = False) -> TicketEvent:
    """Write something down. Also possible when the ticket is done.

    An internal note, which no portal, mail or report ever shows; with ``to_client`` words that the client reads, and
    is told of by mail.
    """
    ticket = locked(ticket, scope)
    scope.require(Permission.TICKET_WORK, on=ticket)
    text = required(text, "text: a comment without words")
    ticket.touched = True
    ticket.save(update_fields=["touched"])
    visibility = "client" if to_client else "internal"
    entry = evidence_write(
        ticket, EvidenceKind.TICKET_COMMENTED, {"text": text, "by": scope.who, "visibility": visibility}, now
    )
    for_client = text if to_client else ""
    if to_client:
        mail.tell_requester(ticket=ticket, what="Your request was answered", text=text, now=now)
    return event_write(
        ticket, EventKind.COMMENTED, actor=scope.who, text=text, now=now, reference=entry, for_client=for_client
    )


@transaction.atomic
def ticket_start(*, ticket: Ticket, scope: Scope, now: datetime) -> Ticket:
    """Someone works on it. Acknowledges it, too."""
    ticket = workable(ticket, scope)
    if ticket.state == TicketState.IN_PROGRESS:
        raise TicketError(f"ticket {ticket.number} is in progress already")
    if ticket.state == TicketState.WAITING:
        raise TicketError(f"ticket {ticket.number} waits for the client: resume it first")
    if ticket.acknowledged_at is None:
        acknowledged(ticket, scope, now)
    ticket.state, ticket.touched = TicketState.IN_PROGRESS, True
    ticket.save()
    event_write(
        ticket, EventKind.STARTED, actor=scope.who, text="work started", now=now, for_client="Work has started."
    )
    return ticket


@transaction.atomic
def ticket_wait(*, ticket: Ticket, reason: str, scope: Scope, now: datetime) -> Ticket:
    """Wait for the client: the resolution clock stands still. Acknowledges it, too. The client reads the reason."""
    ticket = workable(ticket, scope)
    reason = required(reason, "reason: say what the client has to do")
    if ticket.state == TicketState.WAITING:
        raise TicketError(f"ticket {ticket.number} waits for the client already")
    if ticket.acknowledged_at is None:
        acknowledged(ticket, scope, now)
    begin_waiting(ticket, now)
    # It stops a clock, so it is on record.
    entry = evidence_write(
        ticket, EvidenceKind.TICKET_COMMENTED, {"act": "waiting for client", "text": reason, "by": scope.who}, now
    )
    event_write(ticket, EventKind.WAITING, actor=scope.who, text=reason, now=now, reference=entry, for_client=reason)
    mail.tell_voices(ticket=ticket, what="We wait for you", text=reason, now=now)
    return ticket


@transaction.atomic
def ticket_resume(*, ticket: Ticket, scope: Scope, now: datetime) -> Ticket:
    """The client has answered: the resolution clock goes on."""
    ticket = workable(ticket, scope)
    if ticket.state != TicketState.WAITING:
        raise TicketError(f"ticket {ticket.number} is {TicketState(ticket.state).label}, not waiting")
    approvals.withdraw_open(ticket=ticket, why="work goes on without the answer", by=scope.who, now=now)
    go_on(ticket, now)
    entry = evidence_write(ticket, EvidenceKind.TICKET_COMMENTED, {"act": "resumed", "by": scope.who}, now)
    event_write(
        ticket, EventKind.RESUMED, actor=scope.who, text="work resumed", now=now, reference=entry,
        for_client="Work goes on.",
    )  # fmt: skip
    return ticket


@transaction.atomic
def ticket_resolve(*, ticket: Ticket, reason: str, scope: Scope, now: datetime) -> Ticket:
    """A person calls it done, and says why; the client reads that. Not verified by this: the check's next judgement
    verifies or reopens it. Of a request no check judges: the client says whether it is done."""
    ticket = workable(ticket, scope)
    reason = required(reason, "reason: say what was done")
    if ticket.acknowledged_at is None:
        acknowledged(ticket, scope, now)
    ticket.resolution, ticket.touched = reason, True
    how = BY_HAND if ticket.is_request else UNVERIFIED
    _done(ticket, TicketState.RESOLVED, reason=how, by=scope.who, now=now)
    entry = evidence_write(
        ticket,
        EvidenceKind.TICKET_RESOLVED,
        {"state": "resolved", "verified": False, "resolution": reason, "by": scope.who, "sla": _sla(ticket, now)},
        now,
    )
    event_write(
        ticket, EventKind.RESOLVED, actor=scope.who, text=f"{how}: {reason}", now=now, reference=entry,
        for_client=f"Done: {reason}",
    )  # fmt: skip
    mail.tell_requester(ticket=ticket, what="Your request is done", text=reason, now=now)
    event_record(event=Event.TICKET_RESOLVED, subject=ticket.number, at=now, detail={"verified": False})
    return ticket


@transaction.atomic
def ticket_reopen(*, ticket: Ticket, reason: str, scope: Scope, now: datetime) -> Ticket:
    """Open a resolved or closed ticket again. TicketError while another ticket of the same condition is open."""
    ticket = locked(ticket, scope)
    scope.require(Permission.TICKET_WORK, on=ticket)
    reason = required(reason, "reason: say why it is opened again")
    if not ticket.is_done:
        raise TicketError(f"ticket {ticket.number} is {TicketState(ticket.state).label}, not resolved")
    newer = (
        Ticket.objects.visible_to(DESK)
        .filter(device=ticket.device_id, condition=ticket.condition, client=ticket.client_id)
        .exclude(state__in=DONE_STATES)
        .first()
    )
    if newer is not None:
        raise TicketError(f"ticket {newer.number} is open for the same condition: work on that one")
    ticket.touched = True
    return reopen_write(ticket, reason=reason, by=scope.who, now=now)


# What time does to tickets


def tickets_tick(*, now: datetime) -> int:
    """SLA warnings and breaches, and reopening of what a check shows to be unresolved. How many things moved."""
    return _warn_all(now) + _judge_unverified(now) + approvals.approvals_lapse(now=now)


def _warn_all(now: datetime) -> int:
    running = list(queries.tickets(scope=DESK).exclude(state__in=DONE_STATES).order_by("number"))
    clocks = queries.clocks_of(scope=DESK, tickets=running)
    moved = 0
    for ticket in running:
        clock_set = clocks[ticket.number]
        due = [
            (clock.kind, step)
            for clock, warned in (
                (clock_set.response, ticket.response_warned),
                (clock_set.resolution, ticket.resolution_warned),
            )
            if clock.stopped_at is None
            and (
                step := warning_due(
                    percent=clock_view(clock=clock, work=clock_set.work, now=now).percent, warned=warned
                )
            )
        ]
        for kind, step in due:
            moved += _warn(ticket, kind, step, now)
    return moved


@transaction.atomic
def _warn(ticket: Ticket, kind: ClockKind, step: int, now: datetime) -> bool:
    field = "response_warned" if kind is ClockKind.RESPONSE else "resolution_warned"
    # Conditional: a worker that was slower, or a ticket that was resolved meanwhile, changes nothing.
    claimed = (
        Ticket.objects.visible_to(DESK)
        .filter(Q(**{f"{field}__lt": step}), pk=ticket.pk)
        .exclude(state__in=DONE_STATES)
        .update(**{field: step})
    )
    if claimed != 1:
        return False
    view = queries.clock(ticket=ticket, now=now, kind=kind)
    breached = step >= 100
    text = f"{kind} time breached" if breached else f"{step} % of the {kind} time used: {view.text}"
    event_write(
        ticket,
        EventKind.SLA_BREACH if breached else EventKind.SLA_WARNING,
        actor=BY_CLOCK,
        text=text,
        now=now,
        detail={"clock": str(kind), "percent": step, "due_at": view.due_at.isoformat() if view.due_at else None},
    )
    owner = ticket.owner.username if ticket.owner else "nobody"
    notify(
        client=ticket.client,
        risk=Risk(ticket.risk),
        title=f"#{ticket.number} {text}",
        text=f"{ticket.title}\nOwner: {owner}\nPriority: {ticket.priority}",
        now=now,
        about=f"ticket {ticket.number}",
    )
    return True


def _judge_unverified(now: datetime) -> int:
    """Reopen what a person called resolved and the check, judged since, still finds failing."""
    # Nothing judges a request: it stays resolved until a person says otherwise.
    unverified = Ticket.objects.visible_to(DESK).filter(state=TicketState.RESOLVED, verified_at=None)
    unverified = unverified.exclude(kind=REQUEST)
    moved = 0
    for pk in list(unverified.values_list("pk", flat=True)):
        with transaction.atomic():
            ticket: Ticket | None = (
                Ticket.objects.visible_to(DESK)
                .select_for_update()
                .filter(pk=pk, state=TicketState.RESOLVED, verified_at=None)
                .first()
            )
            still = None if ticket is None else _still_failing(ticket)
            if ticket is not None and still is not None:
                reopen_write(ticket, reason=f"the check still fails: {still.reason}", by=BY_CHECK, now=now)
                moved += 1
    return moved


def _still_failing(ticket: Ticket) -> Check | None:
    """A check of this ticket that was judged after the resolution and is still what the alert was about. Unknown and
    stale are no answer to that, unless unknown was the trouble itself."""
    same = Q(status__in=[Status.WARN, Status.FAIL]) | Q(status=Status.UNKNOWN, alerts__status=Status.UNKNOWN)
    failing: Check | None = (
        Check.objects.visible_to(DESK)
        .filter(
            same,
            alerts__ticket_alert__ticket=ticket,
            alerts__state=AlertState.OPEN,
            judged_at__gt=ticket.resolved_at,
        )
        .first()
    )
    return failing


# Parts


def _open(alert: Alert, condition: str, now: datetime) -> Ticket:
    device, risk, status = alert.device, Risk(alert.risk), Status(alert.status)
    priority = priority_of(risk=risk, status=status, kind=alert.kind, device_role=device.role)
    response, resolution = sla_targets(policies=sla_policies(device.client), priority=priority)
    owner = owner_for(client=device.client, site=device.site, kind=alert.kind, risk=risk)
    ticket = Ticket.objects.create(
        client=device.client,
        site=device.site,
        device=device,
        kind=alert.kind,
        target=alert.target,
        condition=condition,
        title=subject_of(kind=alert.kind, target=alert.target)[:250],
        risk=risk,
        priority=priority,
        owner=owner,
        first_seen_at=alert.first_seen_at,
        opened_at=now,
        response_minutes=response,
        resolution_minutes=resolution,
    )
    TicketAlert.objects.create(ticket=ticket, alert=alert, joined_at=now)
    entry = evidence_write(
        ticket,
        EvidenceKind.TICKET_OPENED,
        {
            "title": ticket.title,
            "condition": condition,
            "alert": alert.pk,
            "reason": alert.reason,
            "priority": str(priority),
            "owner": owner.username if owner else "",
            "response_minutes": response,
            "resolution_minutes": resolution,
        },
        now,
    )
    detail = {"alert": alert.pk, "status": alert.status, "risk": alert.risk}
    event_write(
        ticket, EventKind.OPENED, actor=BY_CHECK, text=alert.reason, now=now, detail=detail, reference=entry,
        for_client="One of our checks found this. We look after it.",
    )  # fmt: skip
    if owner is not None:
        event_write(ticket, EventKind.ASSIGNED, actor="routing", text=f"assigned to {owner.username}", now=now)
    event_record(event=Event.TICKET_OPENED, subject=ticket.number, at=now)
    opened: Ticket = ticket
    return opened


def _reopened_for(alert: Alert, condition: str, now: datetime) -> Ticket | None:
    """A ticket that a person called resolved, that no check verified, and that this alert shows not to be."""
    ticket: Ticket | None = (
        Ticket.objects.visible_to(DESK)
        .filter(device=alert.device, condition=condition, state=TicketState.RESOLVED, verified_at=None)
        .order_by("-number")
        .first()
    )
    return None if ticket is None else reopen_write(locked(ticket), reason=alert.reason, by=BY_CHECK, now=now)


def _escalate(ticket: Ticket, alert: Alert, now: datetime) -> None:
    """A worse alert may make the ticket more urgent, never less. Its clocks then have the shorter times, from the
    same start."""
    priority = priority_of(
        risk=Risk(alert.risk), status=Status(alert.status), kind=alert.kind, device_role=alert.device.role
    )
    if Risk(alert.risk).rank < Risk(ticket.risk).rank:
        ticket.risk = alert.risk
    if priority.rank < Priority(ticket.priority).rank:
        before = ticket.priority
        ticket.priority = priority
        ticket.response_minutes, ticket.resolution_minutes = sla_targets(
            policies=sla_policies(alert.device.client), priority=priority
        )
        event_write(
            ticket, EventKind.WORSENED, actor=BY_CHECK, text=f"priority {before} → {priority}", now=now,
            detail={"priority": str(priority), "before": before},
        )  # fmt: skip
    ticket.save()


def sla_policies(client: Client) -> dict[Priority, tuple[int, int]]:
    """The times that hold for a client's tickets opened now: its own, else its tier's."""
    return sla.targets_of(client=client)


def owner_for(*, client: Client, site: Site, kind: str, risk: Risk) -> Person | None:
    """Who gets a ticket by the rules of routing; without one that fits, the first owner of the place."""
    return routing.who_gets(client=client, site=site, kind=kind, risk=risk).owner


def _require_worker(person: Person, ticket: Ticket) -> None:
    theirs = scope_of(person)
    sees = Ticket.objects.visible_to(theirs).filter(pk=ticket.pk).exists()
    if not (sees and theirs.may(Permission.TICKET_WORK)):
        raise TicketError(f"owner: {person.username} cannot work on ticket {ticket.number}")


def _finish(ticket: Ticket, verification: dict[str, Any], now: datetime) -> None:
    """The check passes again: closed when nobody had to do anything, else resolved; verified in both cases.

    What is no longer on the device was not repaired: its ticket closes too, and nobody calls that verified.
    """
    seen_at = f"{now:%Y-%m-%d %H:%M} UTC"
    worked_on, gone = ticket.touched or ticket.remediated, bool(verification.get("gone"))
    state, kind = (TicketState.RESOLVED, EventKind.RESOLVED) if worked_on else (TicketState.CLOSED, EventKind.CLOSED)
    if gone:
        reason = f"no longer on the device at {seen_at}: there is nothing left to verify"
    else:
        reason = f"{'' if worked_on else 'cleared by itself, '}verified by check at {seen_at}"
        ticket.verified_at, ticket.verification = now, verification
    _done(ticket, state, reason=reason, by=BY_CHECK, now=now)
    entry = evidence_write(
        ticket,
        EvidenceKind.TICKET_RESOLVED,
        {"state": str(state), "verified": not gone, "reason": reason, "check": verification, "sla": _sla(ticket, now)},
        now,
    )
    event_write(
        ticket, kind, actor=BY_CHECK, text=f"{reason}: {verification['reason']}", now=now, reference=entry,
        for_client="What this was about is no longer there." if gone else SHOWN_WELL,
    )  # fmt: skip
    event_record(event=Event.TICKET_RESOLVED, subject=ticket.number, at=now, detail={"verified": not gone})


def _verify(ticket: Ticket, verification: dict[str, Any], now: datetime) -> None:
    """What a person resolved is now shown by the check."""
    ticket.verified_at, ticket.verification = now, verification
    ticket.close_reason = f"verified by check at {now:%Y-%m-%d %H:%M} UTC"
    ticket.save()
    entry = evidence_write(
        ticket, EvidenceKind.TICKET_RESOLVED, {"state": ticket.state, "verified": True, "check": verification}, now
    )
    event_write(
        ticket, EventKind.VERIFIED, actor=BY_CHECK, text=verification["reason"], now=now, reference=entry,
        for_client=SHOWN_WELL,
    )  # fmt: skip
    event_record(event=Event.TICKET_RESOLVED, subject=ticket.number, at=now, detail={"verified": True})


def _verification(alert: Alert) -> dict[str, Any]:
    check = alert.check_row
    return {
        "status": check.status,
        "reason": check.reason,
        "value": check.value,
        "unit": check.unit,
        "at": check.judged_at.isoformat(),
        "evidence": list(check.evidence),
        "gone": check.gone_at is not None,
    }


def _done(ticket: Ticket, state: TicketState, *, reason: str, by: str, now: datetime) -> None:
    approvals.withdraw_open(ticket=ticket, why="the ticket is done", by=by, now=now)
    end_pause(ticket, now)
    ticket.state, ticket.resolved_at, ticket.resolved_by, ticket.close_reason = state, now, by, reason
    ticket.save()


def reopen_write(
    ticket: Ticket,
    *,
    reason: str,
    by: str,
    now: datetime,
    for_client: str = "Opened again.",
    by_client: bool = False,
) -> Ticket:
    if ticket.resolved_at is not None:
        TicketPause.objects.create(
            ticket=ticket, started_at=ticket.resolved_at, ended_at=now, why=queries.BETWEEN_RESOLUTIONS
        )
    ticket.state = TicketState.ACKNOWLEDGED if ticket.acknowledged_at else TicketState.OPEN
    ticket.resolved_at, ticket.resolved_by, ticket.close_reason = None, "", ""
    ticket.verified_at, ticket.verification = None, {}
    ticket.reopened += 1
    ticket.save()
    entry = evidence_write(ticket, EvidenceKind.TICKET_REOPENED, {"reason": reason, "by": by}, now)
    event_write(
        ticket, EventKind.REOPENED, actor=by, text=reason, now=now, reference=entry, for_client=for_client,
        by_client=by_client,
    )  # fmt: skip
    return ticket


def _sla(ticket: Ticket, now: datetime) -> dict[str, Any]:
    """Both clocks in numbers, for the record of a resolution. Working seconds."""
    return {
        str(kind): {
            "used": int(view.used_seconds),
            "total": view.total_seconds,
            "state": str(view.state),
        }
        for kind in ClockKind
        for view in [queries.clock(ticket=ticket, now=now, kind=kind)]
    }
