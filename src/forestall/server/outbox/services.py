"""Writing and taking events."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Q

from forestall.server.outbox.events import Event
from forestall.server.outbox.models import OutboxEvent

log = logging.getLogger(__name__)

Handler = Callable[[OutboxEvent, datetime], None]

FIRST_RETRY = timedelta(seconds=2)
LAST_RETRY = timedelta(minutes=10)


class OutsideTransactionError(RuntimeError):
    """An event was to be written outside the transaction of what happened."""


def event_record(
    *, event: Event, subject: int | str | UUID, at: datetime, detail: Mapping[str, Any] | None = None
) -> None:
    """Write down that something happened, in the transaction in which it happened."""
    if not connection.in_atomic_block:
        raise OutsideTransactionError(f"{event} of {subject}: write it in the transaction of what happened")
    OutboxEvent.objects.create(name=event, subject=str(subject), at=at, detail=dict(detail or {}))


def events_route(*, table: Mapping[Event, Sequence[Handler]], now: datetime, most: int = 200) -> int:
    """Hand waiting events to their handlers, oldest first; how many were done.

    Each event is done in one transaction with everything its handlers write, so that a killed worker loses
    nothing and repeats nothing. One that fails stays, with its error, and is tried again later and later.
    """
    waiting = OutboxEvent.objects.filter(Q(not_before=None) | Q(not_before__lte=now)).values_list("pk", flat=True)[
        :most
    ]
    done = 0
    for pk in list(waiting):
        try:
            with transaction.atomic():
                event = OutboxEvent.objects.select_for_update().filter(pk=pk).first()
                if event is None:
                    continue  # another worker did it
                for handle in table[Event(event.name)]:
                    handle(event, now)
                event.delete()
            done += 1
        except Exception as error:
            # The event stays and the error is kept beside it: nothing is lost, and the others go on.
            log.exception("event %s failed", pk)
            attempts = OutboxEvent.objects.filter(pk=pk).values_list("attempts", flat=True).first() or 0
            wait = min(FIRST_RETRY * 2 ** min(attempts, 10), LAST_RETRY)
            OutboxEvent.objects.filter(pk=pk).update(
                attempts=F("attempts") + 1, not_before=now + wait, last_error=f"{type(error).__name__}: {error}"
            )
    return done
