"""Traces that an attack on backups, or on what they hold, leaves: decisions without I/O.

They are told with their numbers, as facts; the server's checks judge how bad they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from math import log2
from statistics import median

from forestall.agent.collect.backup_settings import Retention
from forestall.wire.facts import BackupSnapshot, BackupWarning

CLOCK_SLACK = timedelta(minutes=5)
_BUCKETS = {"hourly": "%Y%m%d%H", "daily": "%Y%m%d", "weekly": "%G%V", "monthly": "%Y%m", "yearly": "%Y"}
RANDOM_BITS = 7.9
"""From so many bits for each byte on, data looks random: encrypted, or compressed."""
_RENAMED_SHARE, _RENAMED_LEAST = 0.5, 20


def gone_against_the_rule(
    before: Mapping[str, datetime], there: Mapping[str, datetime], *, retention: Retention, now: datetime
) -> str:
    """One sentence when snapshots that were there are gone although the rule keeps them; empty when all is well.

    ``before`` and ``there``: id → time. Tools differ in which of a day's snapshots they keep and where a day begins,
    so a rule is broken only when nothing of a day (week, month …) that it keeps is left. Without a rule, the newest
    one, or more than half of at least four, must not go.
    """
    gone = {each: at for each, at in before.items() if each not in there}
    if not gone:
        return ""
    amount = f"{len(gone)} of {len(before)} snapshots"
    newest = max(gone.values())
    if not any(getattr(retention, name) for name in retention.__struct_fields__):
        if not there:
            return f"{amount} are gone: none is left"
        if newest > max(there.values()):
            return f"{amount} are gone, the newest of them (of {_day(newest)}) too"
        if len(before) >= 4 and len(gone) * 2 > len(before):
            return f"{amount} are gone at once"
        return ""
    both = sorted({*gone.values(), *there.values()}, reverse=True)
    if retention.days and (lost := [at for at in gone.values() if now - at < timedelta(days=retention.days)]):
        return f"{amount} are gone, {len(lost)} of them younger than the {retention.days} days that are to be kept"
    if len(there) < min(retention.last, len(both)):
        return f"{amount} are gone; {len(there)} are left, and {retention.last} are to be kept"
    for name, form in _BUCKETS.items():
        wanted = list(dict.fromkeys(f"{at:{form}}" for at in both))[: getattr(retention, name)]
        left = {f"{at:{form}}" for at in there.values()}
        missing = [bucket for bucket in wanted if bucket not in left]
        if missing:
            lost_at = next(at for at in both if f"{at:{form}}" == missing[0])
            return (
                f"{amount} are gone; nothing is left of {len(missing)} of the {getattr(retention, name)} {name} ones "
                f"that are to be kept (around {_day(lost_at)})"
            )
    return ""


def clock_wrong(history: Sequence[BackupSnapshot], now: datetime) -> tuple[BackupWarning, ...]:
    """Snapshots from the future, or made before the one they build on. ``history`` newest first."""
    found = [
        BackupWarning(kind="clock", detail=f"is from the future: {each.at:%Y-%m-%d %H:%M} UTC", snapshot=each.id)
        for each in history
        if each.at > now + CLOCK_SLACK
    ][:1]
    by_id = {each.id: each for each in history}
    for each in history:
        parent = by_id.get(each.parent)
        if parent is not None and parent.at > each.at + CLOCK_SLACK:
            detail = f"is of {each.at:%Y-%m-%d %H:%M} UTC and builds on one of {parent.at:%Y-%m-%d %H:%M} UTC"
            found.append(BackupWarning(kind="clock", detail=detail, snapshot=each.id))
            break
    return tuple(found)


def bits_per_byte(data: bytes) -> float:
    """Shannon entropy, 0 to 8."""
    if not data:
        return 0.0
    total = len(data)
    return -sum(count / total * log2(count / total) for count in Counter(data).values())


def harder_to_compress(ratios: Sequence[float]) -> str:
    """A sentence when the first of these shares (newest first; 1: not compressible) jumped up; else empty."""
    if len(ratios) < 2:
        return ""
    usual = median(ratios[1:])
    if ratios[0] >= 0.9 and usual <= 0.7:
        return f"can be compressed to {ratios[0]:.0%} only; those before to {usual:.0%}"
    return ""


def renamed(added: Iterable[str], removed: Iterable[str]) -> str:
    """A sentence when many files came back under their old name with the same ending added; else empty."""
    gone = set(removed)
    endings = Counter(
        ending
        for path in added
        for stem, dot, ending in (path.rpartition("."),)
        if dot and "/" not in ending and stem in gone
    )
    if not endings:
        return ""
    ending, count = endings.most_common(1)[0]
    if count < _RENAMED_LEAST or count < _RENAMED_SHARE * len(gone):
        return ""
    return f"{count} files are gone and came back as NAME.{ending}"


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
