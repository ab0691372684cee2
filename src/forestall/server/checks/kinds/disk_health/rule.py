"""What disks say of their own health (SMART, NVMe health log)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.thresholds import grade
from forestall.server.checks.words import count, number, percent, size
from forestall.wire.facts import Disk


@dataclass(frozen=True, slots=True)
class Policy:
    reallocated_fail: int = 50
    """Warn from one reallocated sector on; fail from this number on."""
    wear_warn_percent: float = 80
    """Warn when this share of the rated endurance is used."""
    wear_fail_percent: float = 95
    """Fail when this share is used."""
    warn_celsius: float = 60
    """Warn from this temperature on."""
    fail_celsius: float = 70
    """Fail from this temperature on."""
    clear_celsius: float = 3
    """A temperature's status is left only this far below its threshold."""

    def __post_init__(self) -> None:
        if self.reallocated_fail < 1:
            raise ValueError(f"reallocated_fail: {self.reallocated_fail} must be 1 or more")
        if not 0 < self.wear_warn_percent <= self.wear_fail_percent:
            raise ValueError(
                f"wear_warn_percent: {self.wear_warn_percent:g} must be above 0 and at most wear_fail_percent "
                f"({self.wear_fail_percent:g})"
            )
        if not 0 < self.warn_celsius <= self.fail_celsius:
            raise ValueError(
                f"warn_celsius: {self.warn_celsius:g} must be above 0 and at most fail_celsius ({self.fail_celsius:g})"
            )
        if self.clear_celsius < 0:
            raise ValueError(f"clear_celsius: {self.clear_celsius:g} must not be below 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result a disk: the worst of what it reports."""
    document = known.facts.disks
    assert document is not None  # noqa: S101 - judge_kind sees to it
    disks = {disk.device: disk for disk in document.disks}
    if not disks and document.gaps:
        why = "; ".join(f"{gap.what}: {gap.why}" for gap in document.gaps)
        return [Result(Status.UNKNOWN, f"No disk could be seen ({why}).")]
    return [_judge_disk(disk, policy, previous.get(disk.device)) for disk in disks.values()]


def _judge_disk(disk: Disk, policy: Policy, previous: Status | None) -> Result:
    named = " ".join(part for part in (disk.model, size(disk.size_bytes) if disk.size_bytes else "") if part)
    name = f"{disk.device} ({named})" if named else disk.device
    evidence = (f"smartctl --all {disk.device}",)
    found = _complaints(disk, policy, previous)
    if found:
        status = Status.FAIL if any(status is Status.FAIL for status, _ in found) else Status.WARN
        parts = ", ".join(text for _, text in sorted(found, key=lambda each: each[0] is not Status.FAIL))
        dying = disk.smart_passed is False or bool(disk.pending_sectors or disk.uncorrectable_sectors)
        risk = (Risk.CRITICAL if dying else Risk.HIGH) if status is Status.FAIL else Risk.MEDIUM
        return Result(status, f"{name}: {parts}.", target=disk.device, evidence=evidence, risk=risk)
    if disk.smart_passed is None:
        if disk.kind == "virtual":
            reason = f"{name}: a virtual disk has no health of its own; its host has to be asked."
            return Result(Status.UNKNOWN, reason, target=disk.device, remedy="Watch the disks of the host it runs on.")
        why = disk.unknown_why or (
            "it does not speak SMART" if disk.smart_available is False else "SMART was not asked"
        )
        return Result(
            Status.UNKNOWN, f"{name}: its health is unknown: {why}.", target=disk.device, remedy=_unseen_remedy(why)
        )
    said = ["says that it is well"]
    if disk.temperature_celsius is not None:
        said.append(f"{number(disk.temperature_celsius)} °C")
    if disk.wear_percent is not None:
        said.append(f"{percent(disk.wear_percent)} of its endurance used")
    if disk.power_on_hours is not None:
        said.append(f"{disk.power_on_hours:,} hours of operation")
    return Result(Status.PASS, f"{name} {', '.join(said)}.", target=disk.device, evidence=evidence)


def _unseen_remedy(why: str) -> str:
    if "not installed" in why:
        return "Install smartmontools on the device."
    return "Reading it needs root." if "root" in why else "Watch the disk with its controller's own tool."


def _complaints(disk: Disk, policy: Policy, previous: Status | None) -> list[tuple[Status, str]]:
    """What is wrong with it, each with how bad that is."""
    found: list[tuple[Status, str]] = []
    if disk.smart_passed is False:
        found.append((Status.FAIL, "it says itself that it is failing"))
    for sectors, what in (
        (disk.pending_sectors, "sector that cannot be read now"),
        (disk.uncorrectable_sectors, "uncorrectable sector"),
    ):
        if sectors:
            plural = "sectors that cannot be read now" if "cannot" in what else "uncorrectable sectors"
            found.append((Status.FAIL, count(sectors, what, plural)))
    if disk.reallocated_sectors:
        status = Status.FAIL if disk.reallocated_sectors >= policy.reallocated_fail else Status.WARN
        found.append((status, f"{count(disk.reallocated_sectors, 'reallocated sector')}"))
    if disk.media_errors:
        found.append((Status.WARN, count(disk.media_errors, "media error")))
    if disk.wear_percent is not None:
        # Wear only rises: no band.
        status = grade(
            disk.wear_percent, warn=policy.wear_warn_percent, fail=policy.wear_fail_percent, band=0, previous=None
        )
        if status.is_problem:
            found.append((status, f"{percent(disk.wear_percent)} of its rated endurance is used"))
    if disk.temperature_celsius is not None:
        status = grade(
            disk.temperature_celsius, warn=policy.warn_celsius, fail=policy.fail_celsius, band=policy.clear_celsius,
            previous=previous,
        )  # fmt: skip
        if status.is_problem:
            found.append((status, f"{number(disk.temperature_celsius)} °C"))
    return found


def levels(policy: Policy) -> Sequence[Level]:
    return []
