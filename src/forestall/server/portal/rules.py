"""The portal's words: what a state of the desk means to the client. No I/O, and no internals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from forestall.server.checks.result import Status
from forestall.server.tickets.rules import ClockKind, ClockState, ClockView, day_and_time

UNSEEN_AFTER = timedelta(minutes=30)
"""A device that has not reported for this long is not called well. Shorter gaps are the desk's business."""


class Health(StrEnum):
    """How a device is, in the client's words."""

    WELL = "well"
    ATTENTION = "needs attention"
    FAULT = "has a fault"
    UNSEEN = "not seen"
    NEW = "not judged yet"

    @property
    def rank(self) -> int:
        """0 is worst."""
        return _WORST_FIRST.index(self)

    @property
    def status(self) -> Status:
        """The shape it is shown with."""
        return _SHAPES[self]


_WORST_FIRST = (Health.FAULT, Health.ATTENTION, Health.UNSEEN, Health.NEW, Health.WELL)
_SHAPES = {
    Health.WELL: Status.PASS,
    Health.ATTENTION: Status.WARN,
    Health.FAULT: Status.FAIL,
    Health.UNSEEN: Status.STALE,
    Health.NEW: Status.UNKNOWN,
}


def health_of(*, counts: Mapping[str, int], last_seen_at: datetime | None, now: datetime) -> Health:
    """How a device is, from how many of its checks have which status. Unknown and stale are never called well."""
    if counts.get(Status.FAIL):
        return Health.FAULT
    if last_seen_at is not None and now - last_seen_at > UNSEEN_AFTER:
        return Health.UNSEEN
    if counts.get(Status.WARN):
        return Health.ATTENTION
    unanswered = counts.get(Status.UNKNOWN, 0) + counts.get(Status.STALE, 0)
    if last_seen_at is None or counts.get(Status.PASS, 0) <= unanswered:
        return Health.NEW  # one check that passes does not make up for twenty that could not look
    return Health.WELL


TICKET_WORDS = {
    "open": "received",
    "acknowledged": "taken on",
    "in_progress": "being worked on",
    "waiting": "waits for you",
    "resolved": "done",
    "closed": "over",
}
"""State of a ticket → what it means to the client."""


def in_words(span: timedelta) -> str:
    """``for 3 h``: how long something has been so; one unit, rounded down."""
    minutes = max(int(span.total_seconds() // 60), 1)
    if minutes < 120:
        return f"for {minutes} min"
    if minutes < 2 * 24 * 60:
        return f"for {minutes // 60} h"
    return f"for {minutes // (24 * 60)} days"


def promise(*, view: ClockView, timezone: str, now: datetime) -> str:
    """What was promised of a ticket that is open: ``We answer by Mon 15:40.``; empty when nothing can be said."""
    if view.state is ClockState.PAUSED:
        return "We wait for you; our clock stands still until you answer."
    act = "answer" if view.kind is ClockKind.RESPONSE else "want to be done"
    if view.due_at is None:
        return ""
    when = day_and_time(view.due_at, timezone, now)
    if view.state is ClockState.BREACHED:
        return f"We wanted to {'answer' if view.kind is ClockKind.RESPONSE else 'be done'} by {when}, and are late."
    return f"We {act} by {when}."


@dataclass(frozen=True, slots=True)
class Answer:
    """The first sentence in its two halves."""

    devices: str
    waits: str

    def __str__(self) -> str:
        return f"{self.devices}; {self.waits}."


def sentence(*, healths: Sequence[Health], waiting: int, open_tickets: int) -> Answer:
    """``All 12 devices are well; 1 thing waits for you.``"""
    return Answer(devices=_devices(healths), waits=_waits(waiting, open_tickets))


def _devices(healths: Sequence[Health]) -> str:
    count, well = len(healths), sum(one is Health.WELL for one in healths)
    if not count:
        return "No device of yours is watched yet"
    if well == count:
        return "Your device is well" if count == 1 else f"All {count} devices are well"
    said = [
        f"{number} {words}"
        for health, singular, plural in (
            (Health.FAULT, "has a fault", "have a fault"),
            (Health.ATTENTION, "needs attention", "need attention"),
            (Health.UNSEEN, "was not seen lately", "were not seen lately"),
            (Health.NEW, "is not judged yet", "are not judged yet"),
        )
        if (number := sum(one is health for one in healths))
        for words in (singular if number == 1 else plural,)
    ]
    if count == 1:
        return f"Your device {said[0].removeprefix('1 ')}"
    return f"{well} of {count} devices are well, {' and '.join([', '.join(said[:-1]), said[-1]] if said[1:] else said)}"


def _waits(waiting: int, open_tickets: int) -> str:
    if waiting:
        return f"{waiting} thing{'' if waiting == 1 else 's'} wait{'s' if waiting == 1 else ''} for you"
    if open_tickets:
        return f"we work on {open_tickets} ticket{'' if open_tickets == 1 else 's'}, and nothing waits for you"
    return "nothing waits for you"
