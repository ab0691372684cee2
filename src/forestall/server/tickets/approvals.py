"""Asking the client to approve something, and its answer. While it is asked, the resolution clock stands still."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from django.db import transaction

from forestall.server.alerts.services import notify
from forestall.server.checks.result import Risk
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.voice import reading_scope, voice_require, voices
from forestall.server.tickets import mail, portal
from forestall.server.tickets.models import ApprovalState, EventKind, Ticket, TicketApproval, TicketState
from forestall.server.tickets.rules import has_lapsed
from forestall.server.tickets.steps import (
    DESK,
    TicketError,
    acknowledged,
    begin_waiting,
    bounded,
    event_write,
    evidence_write,
    go_on,
    locked,
    required,
    workable,
)

LONGEST_QUESTION = 300


@transaction.atomic
def approval_ask(
    *,
    ticket: Ticket,
    question: str,
    what_happens: str,
    scope: Scope,
    now: datetime,
    cost: str = "",
    answer_by: datetime | None = None,
) -> TicketApproval:
    """Ask the client's people to approve something; the ticket waits for them.

    ``what_happens``: what will be done once it is approved; ``cost``: money and time, as a note; ``answer_by``: after
    this it lapses and the clock goes on. All of it is read by the client. TicketError when something is missing, one
    question is open already, or nobody there may approve.
    """
    ticket = workable(ticket, scope)
    question = bounded("question", required(question, "question: say what is to be approved"), LONGEST_QUESTION)
    what_happens = bounded("what_happens", required(what_happens, "what_happens: say what will be done"), 10_000)
    cost = bounded("cost", cost.strip(), 300)
    if answer_by is not None and answer_by <= now:
        raise TicketError(f"answer_by: {answer_by:%Y-%m-%d %H:%M} UTC is past")
    if TicketApproval.objects.visible_to(DESK).filter(ticket=ticket, state=ApprovalState.ASKED).exists():
        raise TicketError(f"ticket {ticket.number} waits for an answer already: withdraw that question first")
    if not voices(client=ticket.client, site=ticket.site, permission=Permission.PORTAL_APPROVE, now=now):
        raise TicketError(
            f"nobody of {ticket.client.name} may approve in the portal: give someone there the role client manager"
        )
    if ticket.acknowledged_at is None:
        acknowledged(ticket, scope, now)
    if ticket.state != TicketState.WAITING:
        begin_waiting(ticket, now)
    approval: TicketApproval = TicketApproval.objects.create(
        ticket=ticket,
        question=question,
        what_happens=what_happens,
        cost=cost,
        asked_at=now,
        asked_by=scope.who,
        answer_by=answer_by,
    )
    said = {"question": question, "what_happens": what_happens, "cost": cost}
    entry = evidence_write(
        ticket,
        EvidenceKind.TICKET_COMMENTED,
        {
            "act": "approval asked",
            "approval": approval.pk,
            **said,
            "answer_by": answer_by.isoformat() if answer_by else "",
            "by": scope.who,
        },
        now,
    )
    words = in_words(approval)
    event_write(
        ticket,
        EventKind.ASKED,
        actor=scope.who,
        text=words,
        now=now,
        detail={"approval": approval.pk},
        reference=entry,
        for_client=words,
    )
    mail.tell_approvers(ticket=ticket, what="Your approval is asked for", text=words, now=now)
    return approval


def in_words(approval: TicketApproval) -> str:
    """A question as the story and the mail show it."""
    lines = [approval.question, f"What will happen: {approval.what_happens}"]
    if approval.cost:
        lines.append(f"Cost and time: {approval.cost}")
    if approval.answer_by:
        zone = approval.ticket.site.zone
        local = approval.answer_by.astimezone(ZoneInfo(zone))
        lines.append(f"Answer by: {local:%A} {local.day} {local:%B %Y, %H:%M} ({zone})")
    return "\n".join(lines)


@transaction.atomic
def approval_answer(
    *, approval: TicketApproval, approve: bool, scope: Scope, now: datetime, reason: str = ""
) -> TicketApproval:
    """The client's answer, signed off by one of its own people (``portal.approve``). Once; a refusal has a reason.

    The ticket goes on. TicketError when it was answered, withdrawn or has lapsed before.
    """
    ticket = locked(portal.ticket_for_client(scope=reading_scope(scope), number=approval.ticket_id))
    person = voice_require(scope=scope, permission=Permission.PORTAL_APPROVE, on=ticket)
    reason = bounded("reason", reason.strip(), 10_000)
    if not approve and not reason:
        raise TicketError("reason: say why you decline, so that we can look for another way")
    found: TicketApproval = TicketApproval.objects.visible_to(DESK).select_for_update().get(pk=approval.pk)
    if found.state == ApprovalState.ASKED and has_lapsed(answer_by=found.answer_by, now=now):
        raise TicketError("the time to answer is over: we will ask again, or write to us")
    state = ApprovalState.APPROVED if approve else ApprovalState.DECLINED
    answered = (
        TicketApproval.objects.visible_to(DESK)
        .filter(pk=found.pk, state=ApprovalState.ASKED)
        .update(state=state, answered_at=now, answered_by=scope.who, reason=reason)
    )
    if answered != 1:
        raise TicketError(f"this was {ApprovalState(found.state).label} already")
    entry = evidence_write(
        ticket,
        EvidenceKind.TICKET_ANSWERED,
        {
            "approval": found.pk,
            "question": found.question,
            "what_happens": found.what_happens,
            "cost": found.cost,
            "answer": str(state),
            "reason": reason,
            "by": scope.who,
            "name": person.shown_name,
        },
        now,
    )
    TicketApproval.objects.visible_to(DESK).filter(pk=found.pk).update(reference=entry)
    words = f"{state.label.capitalize()}: {found.question}" + (f"\n{reason}" if reason else "")
    event_write(
        ticket,
        EventKind.ANSWERED,
        actor=scope.who,
        text=words,
        now=now,
        detail={"approval": found.pk, "answer": str(state)},
        reference=entry,
        for_client=words,
        by_client=True,
    )
    if ticket.state == TicketState.WAITING:
        go_on(ticket, now)
        event_write(
            ticket, EventKind.RESUMED, actor=scope.who, text="work resumed: the client has answered", now=now,
            for_client="Work goes on.", by_client=True,
        )  # fmt: skip
    tell_desk(ticket, f"the client has {state.label}: {found.question}", reason, now)
    found.refresh_from_db()
    return found


@transaction.atomic
def approval_withdraw(*, approval: TicketApproval, scope: Scope, now: datetime) -> TicketApproval:
    """The desk no longer needs the answer. TicketError when it was answered or has lapsed."""
    found: TicketApproval = TicketApproval.objects.visible_to(scope).select_related("ticket").get(pk=approval.pk)
    ticket = workable(found.ticket, scope)
    if not withdraw_open(ticket=ticket, why="it is no longer needed", by=scope.who, now=now):
        raise TicketError(f"this was {ApprovalState(found.state).label} already")
    if ticket.state == TicketState.WAITING:
        go_on(ticket, now)
        event_write(
            ticket, EventKind.RESUMED, actor=scope.who, text="work resumed", now=now, for_client="Work goes on."
        )
    found.refresh_from_db()
    return found


def withdraw_open(*, ticket: Ticket, why: str, by: str, now: datetime) -> bool:
    """Withdraw what is still asked on a ticket, which the caller has locked; whether there was anything."""
    mine = TicketApproval.objects.visible_to(DESK).filter(ticket=ticket, state=ApprovalState.ASKED)
    found = mine.first()
    if found is None or mine.update(state=ApprovalState.WITHDRAWN) != 1:
        return False
    event_write(
        ticket, EventKind.WITHDRAWN, actor=by, text=f"question withdrawn, {why}: {found.question}", now=now,
        for_client=f"Your answer is no longer needed: {found.question}",
    )  # fmt: skip
    return True


def approvals_lapse(*, now: datetime) -> int:
    """End what was asked and not answered in time: the clock goes on, and the desk is told. How many."""
    due = TicketApproval.objects.visible_to(DESK).filter(state=ApprovalState.ASKED, answer_by__lte=now)
    lapsed = 0
    for pk in list(due.values_list("pk", flat=True)):
        with transaction.atomic():
            lapsed += _lapse(pk, now)
    return lapsed


def _lapse(pk: int, now: datetime) -> bool:
    found: TicketApproval = TicketApproval.objects.visible_to(DESK).select_related("ticket").get(pk=pk)
    ticket = locked(found.ticket)
    mine = TicketApproval.objects.visible_to(DESK).filter(pk=pk, state=ApprovalState.ASKED)
    if mine.update(state=ApprovalState.LAPSED) != 1:
        return False
    evidence_write(
        ticket, EvidenceKind.TICKET_COMMENTED,
        {"act": "approval lapsed", "approval": pk, "question": found.question}, now,
    )  # fmt: skip
    text = f"nobody answered in time: {found.question}"
    event_write(
        ticket, EventKind.LAPSED, actor="desk", text=text, now=now,
        for_client=f"Nobody answered in time: {found.question}",
    )  # fmt: skip
    if ticket.state == TicketState.WAITING:
        go_on(ticket, now)
        event_write(ticket, EventKind.RESUMED, actor="desk", text="work resumed", now=now, for_client="Work goes on.")
    tell_desk(ticket, text, "", now)
    return True


def tell_desk(ticket: Ticket, what: str, text: str, now: datetime) -> None:
    """Tell the provider's people, by the routes they set, that the client did something."""
    notify(
        client=ticket.client,
        risk=Risk(ticket.risk),
        title=f"#{ticket.number} {what}",
        text=f"{ticket.title}\n{text}".strip(),
        now=now,
        about=f"ticket {ticket.number}",
    )
