"""Age of the last good backup of each repository, and how its last run went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import clock, listing, number, span
from forestall.wire.facts import BackupJob, BackupRepository, Backups

FIRST_GRACE = timedelta(hours=1)
"""For the first run of a backup to end."""
EARLY = timedelta(minutes=10)
"""A run may begin so long before its time: clocks differ."""
_OWN = "Forestall's own backup"
_LISTED_BY = {"restic": "restic snapshots", "borg": "borg list", "forestall": "forestall backup list:"}


@dataclass(frozen=True, slots=True)
class Policy:
    warn_hours: float = 24
    """Warn when the newest good backup is older than this."""
    fail_hours: float = 26
    """Fail from this age on: a day, and two hours of grace for a run that takes longer or starts later."""
    late_hours: float = 2
    """A backup whose owner says when it runs fails when a run has not come to its end this long after it was due."""
    required: bool = True
    """False: a device without a backup of its own is protected in another way (an image backup of its host)."""

    def __post_init__(self) -> None:
        if not 0 < self.warn_hours <= self.fail_hours:
            raise ValueError(
                f"warn_hours: {self.warn_hours:g} must be above 0 and at most fail_hours ({self.fail_hours:g})"
            )
        if self.late_hours < 0:
            raise ValueError(f"late_hours: {self.late_hours:g} must not be below 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result a repository (age in hours), or one for the device when it has none; and one a program's own backup,
    which does not protect the device itself."""
    document = known.facts.backups
    assert document is not None  # noqa: S101 - judge_kind sees to it
    jobs = [_judge_backup(job, policy, now) for job in document.jobs if not _is_awaited(job, now)]
    return [*_judge_device(document, policy, now, previous), *jobs]


def _is_awaited(job: BackupJob, now: datetime) -> bool:
    """Whether its first run lies ahead, or just began: nothing is missing yet."""
    started = job.last_success_at or job.last_run_ok is not None or job.unknown_why
    return not started and job.first_due_at is not None and now < job.first_due_at + FIRST_GRACE


def _judge_device(document: Backups, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    repositories = {repository.name: repository for repository in document.repositories}
    if not repositories:
        if not policy.required:
            return [Result(Status.PASS, "0 backups of its own; by policy the device is protected in another way.")]
        return [_none(document)]
    results = [_judge_backup(repository, policy, now) for repository in repositories.values()]
    if previous.get("", Status.UNKNOWN) is not Status.UNKNOWN:
        # It was "nothing protects this device": say what changed, so that its ticket ends with a pass.
        results.insert(0, Result(Status.PASS, f"A backup is set up: {listing(list(repositories))}."))
    return results


def _none(document: Backups) -> Result:
    if document.gaps:
        why = "; ".join(f"{gap.what}: {gap.why}" for gap in document.gaps)
        return Result(Status.UNKNOWN, f"No backup was found, but not all could be seen ({why}).")
    tools = f" (installed: {listing(document.tools)}; but no repository is known)" if document.tools else ""
    return Result(
        Status.FAIL,
        f"Nothing protects this device: no backup was found{tools}.",
        risk=Risk.HIGH,
        remedy=(
            "Set up a daily backup to another place, with restic or borg, and name its repository in the agent's "
            "backups.toml. If it is protected in another way, say so in its policy (`required`)."
        ),
    )


def _judge_backup(repository: BackupRepository | BackupJob, policy: Policy, now: datetime) -> Result:
    name = f"{repository.name} ({repository.tool})" if isinstance(repository, BackupRepository) else _OWN
    success, run = repository.last_success_at, repository.last_run_at
    evidence = (f"{_LISTED_BY.get(repository.tool, repository.tool)} {repository.location}".rstrip(),)
    detail = f": {repository.last_run_detail}" if repository.last_run_detail else ""
    hours = (now - success).total_seconds() / 3600 if success else None
    value = None if hours is None else round(max(0.0, hours), 1)

    def result(status: Status, reason: str, risk: Risk | None = None) -> Result:
        unit = "h" if value is not None else ""
        return Result(status, reason, target=repository.name, value=value, unit=unit, evidence=evidence, risk=risk)

    old = "" if hours is None else f"{number(max(0.0, hours))} h" if hours >= 2 else span(max(0.0, hours) * 3600)
    age = f"the last good backup is {old} old ({clock(success)})" if success else ""
    if repository.last_run_ok is False and (success is None or run is None or run >= success):
        when = f" on {clock(run)}" if run else ""
        tail = f" {age[:1].upper()}{age[1:]}." if age else " No good backup is known."
        return result(Status.FAIL, f"The last run of {name} failed{when}{detail.rstrip('.')}.{tail}")
    if success is None or hours is None:
        if repository.unknown_why:
            return result(Status.UNKNOWN, f"The state of {name} could not be read: {repository.unknown_why}.")
        return result(Status.FAIL, f"{name} has never completed a backup.")
    if hours < -1:
        return result(Status.UNKNOWN, f"{name}: {age}: in the future; a clock is wrong by {span(hours * 3600)}.")
    missed = _missed(repository, policy, now)
    if missed:
        return result(Status.FAIL, f"{name}: {missed}; {age}.")
    unread = f" Its state now could not be read: {repository.unknown_why}." if repository.unknown_why else ""
    if hours >= policy.fail_hours:
        return result(Status.FAIL, f"{name}: {age}; fails from {policy.fail_hours:g} h on.{unread}")
    if unread:
        return result(Status.UNKNOWN, f"{name}: {age}.{unread}")
    if hours >= policy.warn_hours:
        return result(Status.WARN, f"{name}: {age}; warns from {policy.warn_hours:g} h on.", Risk.MEDIUM)
    kept = f"; {repository.snapshots} kept" if repository.snapshots is not None else ""
    seconds = repository.last_run_seconds if isinstance(repository, BackupRepository) else None
    took = f"; the last run took {span(seconds)}" if seconds is not None else ""
    return result(Status.PASS, f"{name}: {age}{kept}{took}.")


def _missed(repository: BackupRepository | BackupJob, policy: Policy, now: datetime) -> str:
    """In words, the run that should have ended by now and did not; empty when none is missing."""
    due = repository.last_due_at if isinstance(repository, BackupRepository) else None
    success = repository.last_success_at
    if due is None or success is None or now - due < timedelta(hours=policy.late_hours) or success >= due - EARLY:
        return ""
    return f"the run due on {clock(due)} has not come"


def levels(policy: Policy) -> Sequence[Level]:
    return []
