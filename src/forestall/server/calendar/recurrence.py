"""How a maintenance window repeats: the plain choices of a form, the RFC 5545 rule they stand for, and its words.

A form offers five ways; any other rule (``calendar.windows`` says which are taken) is kept and shown as it is. No I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import islice

from forestall.server.calendar.rules import WEEKDAYS, CalendarError, zone
from forestall.server.calendar.windows import Occurrence, Window, occurrences

DAY_CODES = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
WORKDAYS = DAY_CODES[:5]
ORDINALS = {1: "first", 2: "second", 3: "third", 4: "fourth", -1: "last"}
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
LOOK_AHEAD = timedelta(days=400)
MOST_LOOKED_AT = 400


class Repeat(StrEnum):
    """The ways a form offers."""

    ONCE = "once"
    DAILY = "daily"
    WEEKDAYS = "weekdays"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    OTHER = "other"

    @property
    def words(self) -> str:
        return {
            "once": "Once",
            "daily": "Every day",
            "weekdays": "Monday to Friday",
            "weekly": "Every week on …",
            "monthly": "Every month on the first, second … weekday",
            "other": "By a rule (RFC 5545)",
        }[self.value]


@dataclass(frozen=True, slots=True)
class Recurrence:
    """What a form asks, and a rule says."""

    repeat: Repeat
    days: tuple[str, ...] = ()
    """``MO`` … ``SU``: of a weekly one all, of a monthly one the first."""
    nth: int = 1
    """Monthly: 1 to 4, or -1 for the last."""
    until: date | None = None
    """Last day; None: without end."""
    rule: str = ""
    """Of ``other``: as it was written."""

    def rrule(self) -> str:
        """The RFC 5545 value; empty for once. CalendarError names what is missing."""
        if unknown := [day for day in self.days if day not in DAY_CODES]:
            raise CalendarError(f"days: {unknown[0]!r} is not one of {', '.join(DAY_CODES)}")
        days = ",".join(code for code in DAY_CODES if code in self.days)
        if self.repeat is Repeat.ONCE:
            return ""
        if self.repeat is Repeat.OTHER:
            if not self.rule.strip():
                raise CalendarError("rule: write an RFC 5545 rule such as FREQ=WEEKLY;INTERVAL=2;BYDAY=SU")
            return self.rule.strip().upper().removeprefix("RRULE:")
        if self.repeat is Repeat.DAILY:
            parts = "FREQ=DAILY"
        elif self.repeat is Repeat.WEEKDAYS:
            parts = f"FREQ=WEEKLY;BYDAY={','.join(WORKDAYS)}"
        elif self.repeat is Repeat.WEEKLY:
            if not days:
                raise CalendarError("days: choose at least one weekday")
            parts = f"FREQ=WEEKLY;BYDAY={days}"
        else:
            if len(self.days) != 1:
                raise CalendarError("days: choose one weekday for a monthly window")
            if self.nth not in ORDINALS:
                raise CalendarError(f"nth: {self.nth} is not one of {', '.join(str(known) for known in ORDINALS)}")
            parts = f"FREQ=MONTHLY;BYDAY={self.nth}{self.days[0]}"
        return f"{parts};UNTIL={self.until:%Y%m%d}" if self.until else parts

    @classmethod
    def read(cls, rule: str) -> Recurrence:
        """The form's choices behind a rule; ``other`` when it is none of them."""
        if not rule:
            return cls(Repeat.ONCE)
        parts = dict(part.partition("=")[::2] for part in rule.upper().split(";"))
        try:
            until = datetime.strptime(parts.pop("UNTIL"), "%Y%m%d").date() if "UNTIL" in parts else None  # noqa: DTZ007
        except ValueError:
            return cls(Repeat.OTHER, rule=rule)
        frequency, by_day = parts.pop("FREQ", ""), parts.pop("BYDAY", "")
        days = tuple(by_day.split(",")) if by_day else ()
        if parts:
            return cls(Repeat.OTHER, rule=rule)
        if frequency == "DAILY" and not days:
            return cls(Repeat.DAILY, until=until)
        if frequency == "WEEKLY" and days and set(days) <= set(DAY_CODES):
            return cls(Repeat.WEEKDAYS if days == WORKDAYS else Repeat.WEEKLY, days=days, until=until)
        nth = days[0][:-2] if len(days) == 1 else ""
        if frequency == "MONTHLY" and nth in {str(known) for known in ORDINALS} and days[0][-2:] in DAY_CODES:
            return cls(Repeat.MONTHLY, days=(days[0][-2:],), nth=int(nth), until=until)
        return cls(Repeat.OTHER, rule=rule)


def recurrence_words(rule: str, first: date) -> str:
    """``once, on Sunday 29 November 2026``, ``every Sunday``, ``on the second Tuesday of each month until …``."""
    read = Recurrence.read(rule)
    if read.repeat is Repeat.ONCE:
        return f"once, on {day_words(first)}"
    if read.repeat is Repeat.OTHER:
        return f"by the rule {read.rule}"
    names = [_name(day) for day in DAY_CODES if day in read.days]
    said = {
        Repeat.DAILY: "every day",
        Repeat.WEEKDAYS: "Monday to Friday",
        Repeat.WEEKLY: f"every {_listing(names)}",
        Repeat.MONTHLY: f"on the {ORDINALS[read.nth]} {names[0] if names else ''} of each month",
    }[read.repeat]
    return f"{said} until {day_words(read.until)}" if read.until else said


def day_words(day: date) -> str:
    """``Sunday 29 November 2026``."""
    return f"{WEEKDAYS[day.weekday()].capitalize()} {day.day} {MONTHS[day.month - 1]} {day.year}"


def _name(code: str) -> str:
    return WEEKDAYS[DAY_CODES.index(code)].capitalize()


def _listing(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def clock_change_notes(window: Window, now: datetime) -> list[str]:
    """Where a clock change meets the window within the next 400 days, in words; usually once or twice a year."""
    notes = []
    for one in islice(occurrences(window, now, now + LOOK_AHEAD), MOST_LOOKED_AT):
        start, end = (at.astimezone(zone(window.timezone)) for at in (one.start, one.end))
        if start.time() != window.first.time():  # a skipped time is read with the offset before the change
            notes.append(
                f"{day_words(start.date())}: the clock skips {window.first:%H:%M}, so it starts at {start:%H:%M}."
            )
        elif start.utcoffset() != end.utcoffset():
            notes.append(
                f"{day_words(start.date())}: the clock changes while it is open, so it ends at {end:%H:%M} "
                f"({window.minutes} minutes as always)."
            )
        elif _is_twice(start):
            notes.append(f"{day_words(start.date())}: {start:%H:%M} comes twice; it starts the first time.")
    return notes


def _is_twice(start: datetime) -> bool:
    return start.replace(fold=0).utcoffset() != start.replace(fold=1).utcoffset() and _exists(start)


def _exists(at: datetime) -> bool:
    return at.astimezone(UTC).astimezone(at.tzinfo).replace(tzinfo=None) == at.replace(tzinfo=None)


def overlaps(window: Window, others: Sequence[Window], now: datetime) -> list[tuple[Window, Occurrence]]:
    """Which other windows are open at the same time as this one within 400 days, and when first."""
    own = list(islice(occurrences(window, now, now + LOOK_AHEAD), MOST_LOOKED_AT))
    found = []
    for other in others:
        first = next(
            (
                one
                for one in islice(occurrences(other, now, now + LOOK_AHEAD), MOST_LOOKED_AT)
                if any(one.start < mine.end and mine.start < one.end for mine in own)
            ),
            None,
        )
        if first is not None:
            found.append((other, first))
    return found
