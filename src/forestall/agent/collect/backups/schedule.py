"""When a backup runs next, by the five fields of cron or a word such as ``@daily``."""

from __future__ import annotations

from datetime import datetime, timedelta

from forestall.agent.collect.host import Host

_WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_MOST_DAYS = 366 * 4 + 1


def runs_around(host: Host, schedule: str, now: datetime) -> tuple[datetime | None, datetime]:
    """The last time it came (None: not within a week) and the next, in UTC.

    The schedule is read on the device's own clock. ValueError names what cannot be understood.
    """
    fields = _WORDS.get(schedule.strip(), schedule).split()
    if len(fields) != 5:
        raise ValueError(f"schedule: {schedule!r} is not five fields of cron, nor one of {', '.join(_WORDS)}")
    minutes, hours, days, months, weekdays = (
        _values(field, *bounds, _MONTHS if index == 3 else _DAYS if index == 4 else (), 1 if index == 3 else 0)
        for index, (field, bounds) in enumerate(zip(fields, _RANGES, strict=True))
    )
    weekdays = {day % 7 for day in weekdays}
    day = now.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None) - timedelta(days=8)
    last = None
    for _ in range(_MOST_DAYS):
        by_day, by_weekday = day.day in days, (day.weekday() + 1) % 7 in weekdays
        # cron: where both are given, either will do.
        either = fields[2] != "*" and fields[4] != "*"
        if day.month in months and ((by_day or by_weekday) if either else (by_day and by_weekday)):
            for hour in sorted(hours):
                for minute in sorted(minutes):
                    at = host.local_to_utc(day.replace(hour=hour, minute=minute))
                    if at > now:
                        return last, at
                    last = at
        day += timedelta(days=1)
    raise ValueError(f"schedule: {schedule!r} never comes")


def _values(field: str, lowest: int, highest: int, names: tuple[str, ...], first: int) -> set[int]:
    found: set[int] = set()
    for part in field.lower().split(","):
        span, _, step = part.partition("/")
        low, dash, high = span.partition("-")
        try:
            if span == "*":
                begin, end = lowest, highest
            else:
                begin = names.index(low) + first if low in names else int(low)
                end = (names.index(high) + first if high in names else int(high)) if dash else begin
                end = highest if step and not dash else end
            width = int(step) if step else 1
        except ValueError:
            raise ValueError(f"schedule: {part!r} is no part of a cron schedule") from None
        if not lowest <= begin <= end <= highest or width < 1:
            raise ValueError(f"schedule: {part!r} is not between {lowest} and {highest}")
        found.update(range(begin, end + 1, width))
    return found
