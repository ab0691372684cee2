"""What disks found when they last tested themselves, and whether they do it at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import count
from forestall.wire.facts import Disk, SelfTest

_HOURS_WRAP = 65536
"""ATA disks keep the hours of their log in 16 bits."""


@dataclass(frozen=True, slots=True)
class Policy:
    extended_days: float = 90
    """Warn when the last test of the whole surface is this many days of operation ago, or there was none."""

    def __post_init__(self) -> None:
        if self.extended_days <= 0:
            raise ValueError(f"extended_days: {self.extended_days:g} must be above 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result a disk that has SMART: its newest test that came to an end, and the age of the last whole one."""
    document = known.facts.disks
    assert document is not None  # noqa: S101 - judge_kind sees to it
    disks = {disk.device: disk for disk in document.disks}
    return [_judge_disk(disk, policy) for disk in disks.values() if disk.kind != "virtual" and disk.smart_available]


def _judge_disk(disk: Disk, policy: Policy) -> Result:
    name = f"{disk.device} ({disk.model})" if disk.model else disk.device
    evidence = (f"smartctl --all {disk.device}",)

    def result(status: Status, text: str, **others: float | str | Risk | None) -> Result:
        return Result(status, f"{name}: {text}.", target=disk.device, evidence=evidence, **others)  # type: ignore[arg-type]

    ended = next((test for test in disk.self_tests if test.passed is not None), None)
    if ended is not None and ended.passed is False:
        where = f" at {ended.first_error}" if ended.first_error else ""
        text = f"its last test ({ended.kind}) failed{where}: {ended.status}"
        return result(Status.FAIL, text, risk=Risk.CRITICAL, remedy="Replace the disk; make sure of a backup first.")
    running = next((test for test in disk.self_tests if "progress" in test.status.lower()), None)
    whole = next((test for test in disk.self_tests if test.passed and _is_whole(test)), None)
    if whole is not None:
        days = _days_ago(disk, whole)
        if days is None:
            return result(Status.PASS, f"its last whole test ended well: {whole.status}")
        text = f"its last whole test ended well, {count(int(days), 'day')} of operation ago"
        status = Status.WARN if days > policy.extended_days else Status.PASS
        limit = f"; warns above {policy.extended_days:g}" if status is Status.WARN else ""
        return result(status, text + limit, value=round(days, 1), unit="days")
    if running is not None:
        return result(Status.PASS, f"it is testing itself now: {running.status}")
    if disk.self_tests:
        return result(Status.WARN, "none of the tests in its log covered the whole disk and came to its end")
    if disk.kind == "nvme":
        # Older NVMe disks cannot test themselves, and older smartctl does not print the log of those that can.
        return result(
            Status.UNKNOWN, "neither it nor smartctl tells of self tests", remedy="Use smartctl 7.4 or newer."
        )
    return result(Status.WARN, "it has never tested itself")


def _is_whole(test: SelfTest) -> bool:
    return any(word in test.kind.lower() for word in ("extended", "long"))


def _days_ago(disk: Disk, test: SelfTest) -> float | None:
    if disk.power_on_hours is None or test.hours is None:
        return None
    hours = disk.power_on_hours - test.hours
    if hours >= _HOURS_WRAP and test.hours < _HOURS_WRAP and disk.interface == "sata":
        hours %= _HOURS_WRAP
    # The hours of operation are told in whole days, so that a test of today may look a few hours ahead.
    return max(0, hours) / 24


def levels(policy: Policy) -> Sequence[Level]:
    return []
