"""Size of each backup's newest snapshot beside those before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Status
from forestall.server.checks.words import percent, size
from forestall.wire.facts import BackupRepository, Backups, BackupSnapshot


@dataclass(frozen=True, slots=True)
class Policy:
    shrink_warn_percent: float = 25
    """Warn when the newest is smaller than those before it by this much."""
    shrink_fail_percent: float = 50
    """Fail from this much on: half of it is gone."""
    grow_warn_percent: float = 200
    """Warn when it is larger by this much: something was added by mistake, or everything was encrypted anew."""
    compared: int = 7
    """How many earlier ones it is compared with (with their median)."""
    least_bytes: int = 1_000_000
    """Backups that never were larger than this are only judged for being empty: small ones vary much."""

    def __post_init__(self) -> None:
        if not 0 < self.shrink_warn_percent <= self.shrink_fail_percent <= 100:
            raise ValueError(
                f"shrink_warn_percent: {self.shrink_warn_percent:g} must be above 0 and at most shrink_fail_percent "
                f"({self.shrink_fail_percent:g}), which must be at most 100"
            )
        if self.grow_warn_percent <= 0:
            raise ValueError(f"grow_warn_percent: {self.grow_warn_percent:g} must be above 0")
        if self.compared < 1:
            raise ValueError(f"compared: {self.compared} must be at least 1")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result a backup whose tool tells sizes; of series in one place, the worst."""
    document = known.facts.backups
    assert document is not None  # noqa: S101 - judge_kind sees to it
    return [result for each in document.repositories for result in _judge_one(document, each, policy)]


def _judge_one(document: Backups, backup: BackupRepository, policy: Policy) -> Iterator[Result]:
    sized = [each for each in backup.history if each.size_bytes is not None]
    name = f"{backup.name} ({backup.tool})"
    if not sized:
        why = next((gap.why for gap in document.gaps if gap.what == f"sizes in {backup.location}"), "")
        if why:
            yield Result(Status.UNKNOWN, f"The sizes of {name} could not be read: {why}.", target=backup.name)
        return  # its tool does not tell sizes at all
    series: dict[tuple[str, str], list[BackupSnapshot]] = {}
    for each in sized:
        series.setdefault((each.group, each.kind), []).append(each)
    # A series whose newest is older than the backups compared ended, or its snapshots are only thinned out.
    results = [_judge_series(name, backup, one, policy) for one in series.values() if _is_current(one, sized)]
    yield min(results, key=lambda result: _WORST_FIRST.index(result.status))


_WORST_FIRST = (Status.FAIL, Status.WARN, Status.UNKNOWN, Status.PASS)


def _is_current(series: Sequence[BackupSnapshot], every: Sequence[BackupSnapshot]) -> bool:
    """Whether a series still goes on: it was added to within twice its own rhythm of the newest of all."""
    newest = max(each.at for each in every)
    gap = newest - series[0].at
    if len(series) < 2:
        return gap.days < 2
    rhythm = max(after.at - before.at for after, before in pairwise(series))
    return gap <= 2 * rhythm or gap.days < 2


def _judge_series(name: str, backup: BackupRepository, series: Sequence[BackupSnapshot], policy: Policy) -> Result:
    newest, before = series[0], [each.size_bytes or 0 for each in series[1 : policy.compared + 1]]
    now_bytes = newest.size_bytes or 0
    label = f"{name}{f', {newest.group},' if newest.group else ''}"

    def result(status: Status, reason: str) -> Result:
        return Result(status, reason, target=backup.name, value=float(now_bytes), unit="bytes")

    if now_bytes == 0:
        return result(Status.FAIL, f"{label}: the newest backup ({newest.id}) is empty.")
    if newest.files == 0:
        return result(Status.FAIL, f"{label}: the newest backup ({newest.id}) holds no file.")
    if not before:
        return result(
            Status.PASS, f"{label}: {size(now_bytes)}; the first one, so there is nothing to compare it with."
        )
    usual = median(before)
    words = f"{label}: {size(now_bytes)}; {_those(len(before))} before it {size(usual)}"
    if max(usual, now_bytes) < policy.least_bytes or usual == 0:
        return result(Status.PASS, f"{words}.")
    change = 100 * (now_bytes - usual) / usual
    if change <= -policy.shrink_fail_percent:
        return result(
            Status.FAIL, f"{words}: smaller by {percent(-change)}; fails from {percent(policy.shrink_fail_percent)} on."
        )
    if change <= -policy.shrink_warn_percent:
        return result(
            Status.WARN, f"{words}: smaller by {percent(-change)}; warns from {percent(policy.shrink_warn_percent)} on."
        )
    if change >= policy.grow_warn_percent:
        return result(
            Status.WARN, f"{words}: larger by {percent(change)}; warns from {percent(policy.grow_warn_percent)} on."
        )
    return result(Status.PASS, f"{words}{_trend(series)}.")


def _those(amount: int) -> str:
    return "the one" if amount == 1 else f"the {amount}"


def _trend(series: Sequence[BackupSnapshot]) -> str:
    """How it changes over the history, in words; empty when that says nothing."""
    last, first = series[0], series[-1]
    days = (last.at - first.at).total_seconds() / 86_400
    if len(series) < 4 or days < 2 or not first.size_bytes or last.size_bytes is None:
        return ""
    daily = (last.size_bytes - first.size_bytes) / days
    if abs(daily) * 30 < 0.01 * last.size_bytes:
        return "; steady"
    return f"; {'grows' if daily > 0 else 'shrinks'} by {size(abs(daily))} a day"


def levels(policy: Policy) -> Sequence[Level]:
    return []
