"""What happened is told on exactly once, however often the teller falls over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from forestall.server.outbox.events import Event
from forestall.server.outbox.models import OutboxEvent
from forestall.server.outbox.services import OutsideTransactionError, event_record, events_route

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def record(subject: str) -> None:
    with transaction.atomic():
        event_record(event=Event.CHECK_CHANGED, subject=subject, at=NOW)


@pytest.mark.django_db(transaction=True)
def test_an_event_outside_a_transaction_is_refused():
    with pytest.raises(OutsideTransactionError, match=r"check\.changed of 7"):
        event_record(event=Event.CHECK_CHANGED, subject=7, at=NOW)


@pytest.mark.django_db(transaction=True)
def test_events_reach_their_handlers_in_order_and_once():
    heard: list[str] = []
    record("1")
    record("2")
    table = {Event.CHECK_CHANGED: (lambda event, now: heard.append(event.subject),)}
    assert events_route(table=table, now=NOW) == 2
    assert events_route(table=table, now=NOW) == 0
    assert heard == ["1", "2"]


@pytest.mark.django_db(transaction=True)
def test_a_failing_event_keeps_its_error_leaves_no_trace_of_its_handlers_and_lets_the_others_pass():
    def first_writes(event: OutboxEvent, now: datetime) -> None:
        if event.subject == "bad":
            event_record(event=Event.ALERT_RAISED, subject="half done", at=now)

    def then_fails(event: OutboxEvent, now: datetime) -> None:
        if event.subject == "bad":
            raise RuntimeError("no such alert")

    record("bad")
    record("good")
    table = {Event.CHECK_CHANGED: (first_writes, then_fails), Event.ALERT_RAISED: ()}
    assert events_route(table=table, now=NOW) == 1
    left = OutboxEvent.objects.get()
    assert (left.subject, left.attempts, left.last_error) == ("bad", 1, "RuntimeError: no such alert")
    assert left.not_before == NOW + timedelta(seconds=2)

    assert events_route(table=table, now=NOW) == 0, "it waits before it is tried again"
    assert events_route(table={Event.CHECK_CHANGED: ()}, now=NOW + timedelta(seconds=2)) == 1


@pytest.mark.django_db
def test_every_event_has_a_line_in_the_loop():
    from forestall.server.loop import HANDLERS

    assert set(HANDLERS) == set(Event)
