"""Calendar files (RFC 5545), for mails and for programs that read a calendar's address. No I/O.

Each time of a window is an event of its own, at instants in UTC, not a rule in a time zone: programs disagree about
rules on days of clock changes, a rule knows nothing of blackouts, and these events are right in all of them
(``docs/decisions`` says more). What changed is seen by ``SEQUENCE`` and ``LAST-MODIFIED``; the ``UID`` of a time stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import icalendar

PRODUCT = "-//Forestall//Calendar//EN"
MOST_EVENTS = 5000


@dataclass(frozen=True, slots=True)
class Entry:
    """One event."""

    uid: str
    """Stays the same for good: ``window-7-20261129T210000Z``."""
    title: str
    start: datetime | date
    """An instant; without a zone: by the wall clock wherever it is read; a date: whole days."""
    end: datetime | date
    category: str
    """``Maintenance window``, ``Blackout``, ``Closed``, ``Planned work``."""
    changed_at: datetime
    text: str = ""
    where: str = ""
    url: str = ""
    status: str = "CONFIRMED"
    """``CONFIRMED``, ``TENTATIVE`` (the client has not answered) or ``CANCELLED``."""
    sequence: int = 0
    busy: bool = False
    """Whether it takes the reader's own time."""


def window_uid(window_id: int, start: datetime) -> str:
    """Of one time of a window."""
    return f"window-{window_id}-{start.astimezone(UTC):%Y%m%dT%H%M%SZ}@forestall"


def calendar_file(entries: Iterable[Entry], *, name: str) -> bytes:
    """A calendar with these events. The same events give the same bytes."""
    calendar = icalendar.Calendar()
    calendar.add("prodid", PRODUCT)
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    calendar.add("x-wr-calname", name)
    calendar.add("name", name)
    # Programs ask again after this time, not every minute.
    calendar.add("refresh-interval", icalendar.vDuration(timedelta(hours=1)), parameters={"VALUE": "DURATION"})
    calendar.add("x-published-ttl", "PT1H")
    for entry in entries:
        calendar.add_component(_event(entry))
    return bytes(calendar.to_ical())


def _event(entry: Entry) -> icalendar.Event:
    event = icalendar.Event()
    event.add("uid", entry.uid)
    event.add("dtstamp", entry.changed_at.astimezone(UTC).replace(microsecond=0))
    event.add("last-modified", entry.changed_at.astimezone(UTC).replace(microsecond=0))
    event.add("dtstart", _moment(entry.start))
    event.add("dtend", _moment(entry.end))
    event.add("summary", _line(entry.title))
    event.add("categories", [entry.category])
    event.add("status", entry.status)
    event.add("sequence", entry.sequence)
    event.add("transp", "OPAQUE" if entry.busy else "TRANSPARENT")
    for name, value in (("description", entry.text), ("location", _line(entry.where)), ("url", entry.url)):
        if value:
            event.add(name, _printable(value))
    return event


def _moment(at: datetime | date) -> datetime | date:
    return at.astimezone(UTC) if isinstance(at, datetime) and at.tzinfo is not None else at


def _line(text: str) -> str:
    return _printable(" ".join(text.split()))


def _printable(text: str) -> str:
    """Without control characters, which RFC 5545 allows in no text; line breaks stay and are escaped."""
    return "".join(letter for letter in text if letter == "\n" or letter.isprintable())
