"""How a maintenance window repeats: the plain choices of a form, the RFC 5545 rule they stand for, and its words.

A form offers ten ways; any other rule (``calendar.windows`` says which are taken) is kept and shown as it is. No I/O.

*N days after Patch Tuesday* needs no rule of its own: the second Tuesday of a month is one of its days 8 to 14, so
three days after it is the Friday among the days 11 to 17: ``FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=11,…,17``. Up to two
weeks after it that day lies in the same month, whatever the month.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import islice

from forestall.server.calendar.blackouts import Blackout
from forestall.server.calendar.rules import WEEKDAYS, CalendarError, zone
from forestall.server.calendar.windows import Occurrence, Window, fates, occurrences

DAY_CODES = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
WORKDAYS = DAY_CODES[:5]
ORDINALS = {1: "first", 2: "second", 3: "third", 4: "fourth", -1: "last"}
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
PATCH_TUESDAY = (8, 14)
"""The days of a month among which its second Tuesday lies."""
MOST_DAYS_AFTER = 14
MOST_INTERVAL = 52
LAST_DAY_OF_EVERY_MONTH = 28
LOOK_AHEAD = timedelta(days=400)
MOST_LOOKED_AT = 400


class Repeat(StrEnum):
    """The ways a form offers."""

    ONCE = "once"
    DAILY = "daily"
    WEEKDAYS = "weekdays"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    MONTH_DAY = "month_day"
    PATCH_TUESDAY = "patch_tuesday"
    MONTH_END = "month_end"
    LAST_WORKDAY = "last_workday"
    OTHER = "other"

    @property
    def words(self) -> str:
        return {
            "once": "Once",
            "daily": "Every day",
            "weekdays": "Monday to Friday",
            "weekly": "Every week on …",
            "monthly": "Every month on the first, second … weekday",
            "month_day": "Every month on a day of the month",
            "patch_tuesday": "Some days after Patch Tuesday (the second Tuesday)",
            "month_end": "On the last day of the month",
            "last_workday": "On the last Monday to Friday of the month",
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
    every: int = 1
    """Every so many days, weeks or months, counted from the first day: 2 with weekly, 3 with monthly for a quarter."""
    after: int = 0
    """Of ``patch_tuesday``: so many days after it, 0 to 14."""
    day: int = 1
    """Of ``month_day``: 1 to 28."""

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
        if not 1 <= self.every <= MOST_INTERVAL:
            raise CalendarError(f"every: {self.every} is not between 1 and {MOST_INTERVAL}")
        parts = self._by(days)
        if self.every > 1:
            frequency, _, by = parts.partition(";")
            parts = ";".join(filter(None, [frequency, f"INTERVAL={self.every}", by]))
        return f"{parts};UNTIL={self.until:%Y%m%d}" if self.until else parts

    def _by(self, days: str) -> str:
        """Frequency and days, without interval and end."""
        if self.repeat is Repeat.DAILY:
            return "FREQ=DAILY"
        if self.repeat is Repeat.WEEKDAYS:
            return f"FREQ=WEEKLY;BYDAY={','.join(WORKDAYS)}"
        if self.repeat is Repeat.WEEKLY:
            if not days:
                raise CalendarError("days: choose at least one weekday")
            return f"FREQ=WEEKLY;BYDAY={days}"
        if self.repeat is Repeat.MONTH_DAY:
            if not 1 <= self.day <= LAST_DAY_OF_EVERY_MONTH:
                raise CalendarError(
                    f"day: {self.day} is not between 1 and {LAST_DAY_OF_EVERY_MONTH}, which every month has;"
                    " there is a choice for the last day of the month"
                )
            return f"FREQ=MONTHLY;BYMONTHDAY={self.day}"
        if self.repeat is Repeat.PATCH_TUESDAY:
            if not 0 <= self.after <= MOST_DAYS_AFTER:
                raise CalendarError(
                    f"after: {self.after} is not between 0 and {MOST_DAYS_AFTER} days after Patch Tuesday:"
                    " later ones can lie in the next month"
                )
            return _patch_tuesday(self.after)
        if self.repeat is Repeat.MONTH_END:
            return "FREQ=MONTHLY;BYMONTHDAY=-1"
        if self.repeat is Repeat.LAST_WORKDAY:
            return f"FREQ=MONTHLY;BYDAY={','.join(WORKDAYS)};BYSETPOS=-1"
        if len(self.days) != 1:
            raise CalendarError("days: choose one weekday for a monthly window")
        if self.nth not in ORDINALS:
            raise CalendarError(f"nth: {self.nth} is not one of {', '.join(str(known) for known in ORDINALS)}")
        return f"FREQ=MONTHLY;BYDAY={self.nth}{self.days[0]}"

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
        every = parts.pop("INTERVAL", "1")
        if not (every.isdecimal() and 1 <= int(every) <= MOST_INTERVAL):
            return cls(Repeat.OTHER, rule=rule)
        read = cls._read_days(parts.pop("FREQ", ""), parts)
        if read is None:
            return cls(Repeat.OTHER, rule=rule)
        return replace(read, until=until, every=int(every))

    @classmethod
    def _read_days(cls, frequency: str, parts: Mapping[str, str]) -> Recurrence | None:
        """The choice behind frequency and ``BY…`` parts; None when it is none."""
        by_day, names = parts.get("BYDAY", ""), set(parts)
        days = tuple(by_day.split(",")) if by_day else ()
        if frequency == "DAILY" and not parts:
            return cls(Repeat.DAILY)
        if frequency == "WEEKLY" and names == {"BYDAY"} and set(days) <= set(DAY_CODES):
            return cls(Repeat.WEEKDAYS if days == WORKDAYS else Repeat.WEEKLY, days=days)
        if frequency != "MONTHLY":
            return None
        if names == {"BYMONTHDAY"}:
            day = parts["BYMONTHDAY"]
            if day == "-1":
                return cls(Repeat.MONTH_END)
            good = day.isdecimal() and 1 <= int(day) <= LAST_DAY_OF_EVERY_MONTH
            return cls(Repeat.MONTH_DAY, day=int(day)) if good else None
        if names == {"BYDAY", "BYSETPOS"}:
            return cls(Repeat.LAST_WORKDAY) if (days, parts["BYSETPOS"]) == (WORKDAYS, "-1") else None
        if names == {"BYDAY", "BYMONTHDAY"}:
            written = f"FREQ=MONTHLY;BYDAY={by_day};BYMONTHDAY={parts['BYMONTHDAY']}"
            after = next((n for n in range(MOST_DAYS_AFTER + 1) if _patch_tuesday(n) == written), None)
            return None if after is None else cls(Repeat.PATCH_TUESDAY, after=after)
        nth = days[0][:-2] if len(days) == 1 else ""
        if names == {"BYDAY"} and nth in {str(known) for known in ORDINALS} and days[0][-2:] in DAY_CODES:
            return cls(Repeat.MONTHLY, days=(days[0][-2:],), nth=int(nth))
        return None


def _patch_tuesday(after: int) -> str:
    """The rule of so many days after the second Tuesday of a month."""
    first, last = PATCH_TUESDAY
    day = DAY_CODES[(DAY_CODES.index("TU") + after) % 7]
    days = ",".join(str(number) for number in range(first + after, last + after + 1))
    return f"FREQ=MONTHLY;BYDAY={day};BYMONTHDAY={days}"


def patch_tuesday(year: int, month: int) -> date:
    """The second Tuesday of a month, on which the largest vendor publishes its updates."""
    first = date(year, month, 1)
    return first + timedelta(days=(1 - first.weekday()) % 7 + 7)


def recurrence_words(rule: str, first: date) -> str:
    """``once, on Sunday 29 November 2026``, ``every Sunday``, ``on the second Tuesday of each month until …``,
    ``3 days after Patch Tuesday``, ``on the last Sunday of every 3rd month``."""
    read = Recurrence.read(rule)
    if read.repeat is Repeat.ONCE:
        return f"once, on {day_words(first)}"
    if read.repeat is Repeat.OTHER:
        return f"by the rule {read.rule}"
    names = [_name(day) for day in DAY_CODES if day in read.days]
    n = read.every
    month = "each month" if n == 1 else f"every {_nth_words(n)} month, from {MONTHS[first.month - 1]}"
    said = {
        Repeat.DAILY: "every day" if n == 1 else f"every {_nth_words(n)} day",
        Repeat.WEEKDAYS: "Monday to Friday" if n == 1 else f"Monday to Friday of every {_nth_words(n)} week",
        Repeat.WEEKLY: f"every {_listing(names)}" if n == 1 else f"every {_nth_words(n)} week on {_listing(names)}",
        Repeat.MONTHLY: f"on the {ORDINALS[read.nth]} {names[0] if names else ''} of {month}",
        Repeat.MONTH_DAY: f"on day {read.day} of {month}",
        Repeat.PATCH_TUESDAY: _after_words(read.after) + ("" if n == 1 else f" of {month}"),
        Repeat.MONTH_END: f"on the last day of {month}",
        Repeat.LAST_WORKDAY: f"on the last Monday to Friday of {month}",
    }[read.repeat]
    return f"{said} until {day_words(read.until)}" if read.until else said


def _after_words(after: int) -> str:
    if not after:
        return "on Patch Tuesday"
    day = _name(DAY_CODES[(1 + after) % 7])
    return f"{after} {'day' if after == 1 else 'days'} after Patch Tuesday, on {day}"


def _nth_words(number: int) -> str:
    """``2nd``, ``3rd``, ``4th``, ``11th``, ``21st``."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


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
        elif start.utcoffset() != end.utcoffset() and not one.cut:
            notes.append(
                f"{day_words(start.date())}: the clock changes while it is open, so it ends at {end:%H:%M} "
                f"({window.minutes} minutes as always)."
            )
        elif _is_twice(start):
            notes.append(f"{day_words(start.date())}: {start:%H:%M} comes twice; it starts the first time.")
    return notes


def blackout_notes(window: Window, now: datetime) -> list[str]:
    """Where a blackout keeps the window shut, or cuts it, within the next 400 days, in words."""
    notes = []
    for one in islice(fates(window, now, now + LOOK_AHEAD), MOST_LOOKED_AT):
        if one.blackout is None:
            continue
        start, end = (at.astimezone(zone(window.timezone)) for at in (one.start, one.end))
        if one.opens is None:
            notes.append(f"{day_words(start.date())}: it stays shut ({one.blackout.why}).")
        else:
            early = one.opens.end.astimezone(zone(window.timezone))
            notes.append(
                f"{day_words(start.date())}: it closes at {early:%H:%M} instead of {end:%H:%M} ({one.blackout.why})."
            )
    return notes


def blackout_words(blackout: Blackout) -> str:
    """``from 20 December 18:00 until 3 January 08:00, every year``, with the years where it is once."""
    if blackout.yearly:
        first, last = (f"{at.day} {MONTHS[at.month - 1]} {at:%H:%M}" for at in (blackout.first, blackout.last))
        return f"from {first} until {last}, every year from {blackout.first.year}"
    first, last = (f"{day_words(at.date())} {at:%H:%M}" for at in (blackout.first, blackout.last))
    return f"from {first} until {last}"


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
