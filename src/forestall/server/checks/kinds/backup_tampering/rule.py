"""Traces of an attack in what backups hold.

New data that cannot be compressed, changes of nearly everything, files that came back under another name, snapshots
that are gone against the rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import clock, count, day, percent, size
from forestall.wire.facts import BackupRepository, BackupSnapshot


@dataclass(frozen=True, slots=True)
class Policy:
    entropy_percent: float = 95
    """New data that can be compressed to no less than this share of its size looks encrypted ..."""
    entropy_before_percent: float = 75
    """... when that of the snapshots before could be compressed to this share or less (their median)."""
    churn_percent: float = 40
    """A snapshot in which this share of all files is new, changed or gone is a jump ..."""
    churn_factor: float = 5
    """... when it is this many times what is usual (the median of those before)."""
    least_bytes: int = 1_000_000
    """Snapshots that add less are not judged by how they compress."""
    least_files: int = 50
    """Backups of fewer files are not judged by how many change."""
    look_back_days: float = 14
    """Snapshots made since then are judged."""

    def __post_init__(self) -> None:
        if not 0 < self.entropy_before_percent < self.entropy_percent:
            raise ValueError(
                f"entropy_before_percent: {self.entropy_before_percent:g} must be above 0 and below entropy_percent "
                f"({self.entropy_percent:g})"
            )
        if not 0 < self.churn_percent <= 200 or self.churn_factor < 1:
            raise ValueError(f"churn_percent: {self.churn_percent:g} must be above 0 and churn_factor at least 1")
        if self.look_back_days <= 0:
            raise ValueError(f"look_back_days: {self.look_back_days:g} must be above 0")


_WORDS = {
    "entropy": ("entropy", Status.FAIL, Risk.HIGH),
    "churn": ("churn", Status.WARN, Risk.MEDIUM),
    "encrypted_names": ("renamed files", Status.FAIL, Risk.CRITICAL),
    "removed": ("snapshots gone", Status.FAIL, Risk.CRITICAL),
    "shrunk": ("size", Status.WARN, Risk.MEDIUM),
}


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result a backup, and one for each trace (accepting one does not accept the next)."""
    document = known.facts.backups
    assert document is not None  # noqa: S101 - judge_kind sees to it
    results: dict[str, Result] = {}
    for backup in document.repositories:
        traces = list(_traces(backup, policy, now))
        for trace in traces:
            results.setdefault(trace.target, trace)
        results[backup.name] = _whole(backup, len(traces))
    return list(results.values())


def _whole(backup: BackupRepository, traces: int) -> Result:
    name = f"{backup.name} ({backup.tool})"
    if traces:
        # The traces have results of their own, each with what is to be done about it.
        return Result(Status.PASS, f"{name}: {count(traces, 'trace')}, each judged by itself.", target=backup.name)
    if backup.unknown_why:
        return Result(Status.UNKNOWN, f"{name} could not be looked into: {backup.unknown_why}.", target=backup.name)
    kept = count(len(backup.history), "snapshot")
    return Result(Status.PASS, f"{name}: no trace of an attack in {kept} looked at.", target=backup.name)


def _traces(backup: BackupRepository, policy: Policy, now: datetime) -> Iterator[Result]:
    name = f"{backup.name} ({backup.tool})"
    for warning in backup.warnings:
        if warning.kind not in _WORDS:
            continue
        if warning.kind != "removed" and warning.at and now - warning.at > timedelta(days=policy.look_back_days):
            continue
        when = f" ({clock(warning.at)})" if warning.at else ""
        subject = "" if warning.kind == "removed" else f"snapshot {warning.snapshot}: "
        yield _result(backup, warning.kind, warning.at, f"{name}: {subject}{warning.detail.rstrip('.')}{when}.")
    series: dict[str, list[BackupSnapshot]] = {}
    for each in backup.history:
        series.setdefault(each.group, []).append(each)
    for one in series.values():
        for number, snapshot in enumerate(one):
            if now - snapshot.at > timedelta(days=policy.look_back_days):
                break
            before = one[number + 1 :]
            if reason := _entropy(snapshot, before, policy):
                yield _result(backup, "entropy", snapshot.at, f"{name}: {reason} ({clock(snapshot.at)}).")
            if reason := _churn(snapshot, before, policy):
                yield _result(backup, "churn", snapshot.at, f"{name}: {reason} ({clock(snapshot.at)}).")


def _result(backup: BackupRepository, kind: str, at: datetime | None, reason: str) -> Result:
    word, status, risk = _WORDS[kind]
    target = f"{backup.name}: {word}{f' {day(at)}' if at else ''}"
    return Result(status, reason, target=target, risk=risk)


def _share(snapshot: BackupSnapshot, policy: Policy) -> float | None:
    """To what share of its size the new data could be compressed; None: not known, or too little to tell."""
    if snapshot.added_bytes is None or snapshot.stored_bytes is None or snapshot.added_bytes < policy.least_bytes:
        return None
    return 100 * snapshot.stored_bytes / snapshot.added_bytes


def _entropy(snapshot: BackupSnapshot, before: Sequence[BackupSnapshot], policy: Policy) -> str:
    share = _share(snapshot, policy)
    known = [one for each in before if (one := _share(each, policy)) is not None]
    if share is None or share < policy.entropy_percent or not known or median(known) > policy.entropy_before_percent:
        return ""
    return (
        f"the {size(snapshot.added_bytes or 0)} that are new in snapshot {snapshot.id} could be compressed to "
        f"{percent(share)} only, those before to {percent(median(known))}: they look encrypted"
    )


def _changes(snapshot: BackupSnapshot, policy: Policy) -> float | None:
    """Files new, changed and gone, as a share of those that were there."""
    parts = (snapshot.new_files, snapshot.changed_files, snapshot.removed_files)
    if snapshot.files is None or any(part is None for part in parts[:2]):
        return None
    there = max(snapshot.files - (snapshot.new_files or 0) + (snapshot.removed_files or 0), snapshot.files)
    return None if there < policy.least_files else 100 * sum(part or 0 for part in parts) / there


def _churn(snapshot: BackupSnapshot, before: Sequence[BackupSnapshot], policy: Policy) -> str:
    share = _changes(snapshot, policy)
    # The first of all is new from end to end.
    known = [one for each in before[:-1] if (one := _changes(each, policy)) is not None]
    if share is None or share < policy.churn_percent or not before:
        return ""
    usual = median(known) if known else 0.0
    if known and share < policy.churn_factor * usual:
        return ""
    gone = f", {snapshot.removed_files:,} gone" if snapshot.removed_files else ""
    return (
        f"in snapshot {snapshot.id} {snapshot.new_files:,} files are new, {snapshot.changed_files:,} changed{gone}, of "
        f"{snapshot.files:,}; usual are {percent(usual)}"
    )


def levels(policy: Policy) -> Sequence[Level]:
    return []
