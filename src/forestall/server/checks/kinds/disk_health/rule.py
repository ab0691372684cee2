"""What disks say of their own health (SMART, NVMe health log), and what their RAID controller says of them.

Which attributes count follows what large fleets have published of their failures: sectors reallocated (5), errors
reported as uncorrectable (187), commands that timed out (188), sectors pending (197) and uncorrectable offline (198).
One of them above zero is a warning, two together mostly mean a disk that is dying.
"""

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
    media_errors_fail: int = 10
    """Warn from one error reported as uncorrectable on; fail from this number on."""
    timeouts_warn: int = 100
    """Warn from this number of commands that timed out."""
    crc_warn: int = 100
    """Warn from this number of errors on the cable to the disk."""
    predictors_fail: int = 2
    """Fail when this many of the attributes that predict failure are above their first threshold at once."""
    wear_warn_percent: float = 80
    """Warn when this share of the rated endurance is used."""
    wear_fail_percent: float = 95
    """Fail when this share is used."""
    warn_celsius: float = 60
    """Warn from this temperature on."""
    fail_celsius: float = 70
    """Fail from this temperature on."""
    limit_margin_celsius: float = 5
    """A disk that names its own upper limit warns from this far below it and fails at it: a flash disk in place of the
    two temperatures above, another disk when that is lower."""
    spare_warn_percent: float = 10
    """Warn when an NVMe disk's spare blocks are this close to its own threshold (percentage points)."""
    clear_celsius: float = 3
    """A temperature's status is left only this far below its threshold."""

    def __post_init__(self) -> None:
        for name in ("reallocated_fail", "media_errors_fail", "timeouts_warn", "crc_warn", "predictors_fail"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} must be 1 or more")
        for name in ("limit_margin_celsius", "spare_warn_percent"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name):g} must not be below 0")
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
        dying = (
            disk.smart_passed is False
            or bool(disk.pending_sectors or disk.uncorrectable_sectors)
            or disk.state in _STATES_BAD
        )
        risk = (Risk.CRITICAL if dying else Risk.HIGH) if status is Status.FAIL else Risk.MEDIUM
        cable = "Replace the cable or the slot it sits in; the count never falls, so accept the rest by the policy."
        only_cable = len(found) == 1 and disk.crc_errors is not None and disk.crc_errors >= policy.crc_warn
        return Result(
            status, f"{name}: {parts}.", target=disk.device, evidence=evidence, risk=risk,
            remedy=cable if only_cable else "",
        )  # fmt: skip
    if disk.smart_passed is None and disk.state in _STATES_GOOD:
        reason = f"{name}: its controller calls it {disk.state}; its own word was not asked."
        return Result(Status.PASS, reason, target=disk.device, evidence=evidence)
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


_STATES_GOOD = frozenset(["online", "ok", "hot spare", "spare", "jbod", "unconfigured good", "ready", "healthy"])
_STATES_BAD = frozenset(
    ["failed", "predictive failure", "offline", "missing", "unconfigured bad", "degraded", "error", "unhealthy"]
)
"""What RAID controllers call a disk, as the agent gives it (lower case)."""
_WARNINGS = {
    0: (Status.FAIL, "its spare blocks are running out"),
    1: (Status.WARN, "it is outside its range of temperature"),
    2: (Status.FAIL, "it says that it is no longer reliable"),
    3: (Status.FAIL, "it only lets itself be read"),
    4: (Status.FAIL, "what keeps its cache over a power cut has failed"),
    5: (Status.FAIL, "its persistent memory only lets itself be read"),
}
"""Bits of an NVMe disk's critical warning."""


def _complaints(disk: Disk, policy: Policy, previous: Status | None) -> list[tuple[Status, str]]:
    """What is wrong with it, each with how bad that is."""
    found: list[tuple[Status, str]] = []
    if disk.smart_passed is False:
        found.append((Status.FAIL, "it says itself that it is failing"))
    if disk.state in _STATES_BAD:
        found.append((Status.FAIL, f"its controller calls it {disk.state}"))
    elif disk.state == "rebuilding":
        found.append((Status.WARN, "its controller is rebuilding it"))
    for bit, (status, text) in _WARNINGS.items():
        if (disk.critical_warning or 0) >> bit & 1:
            found.append((status, text))
    found += _predictors(disk, policy)
    found += [
        (Status.FAIL, f"{each.name} is at or below its threshold ({each.value} of {each.threshold})")
        if each.failed == "now"
        else (Status.WARN, f"{each.name} was at or below its threshold once")
        for each in disk.attributes
        if each.failed
    ]
    if disk.crc_errors is not None and disk.crc_errors >= policy.crc_warn:
        found.append((Status.WARN, f"{count(disk.crc_errors, 'error')} on the cable to it"))
    spare, least = disk.spare_percent, disk.spare_threshold_percent
    if spare is not None and least is not None:
        if spare <= least:
            found.append((Status.FAIL, f"{percent(spare)} of its spare blocks are left (its own limit is {least:g} %)"))
        elif spare <= least + policy.spare_warn_percent and spare < 100:
            found.append((Status.WARN, f"{percent(spare)} of its spare blocks are left (its own limit is {least:g} %)"))
    if disk.wear_percent is not None:
        # Wear only rises: no band.
        status = grade(
            disk.wear_percent, warn=policy.wear_warn_percent, fail=policy.wear_fail_percent, band=0, previous=None
        )
        if status.is_problem:
            found.append((status, f"{percent(disk.wear_percent)} of its rated endurance is used"))
    if disk.temperature_celsius is not None:
        warn, fail, whose = _temperatures(disk, policy)
        status = grade(disk.temperature_celsius, warn=warn, fail=fail, band=policy.clear_celsius, previous=previous)
        if status.is_problem:
            found.append((status, f"{number(disk.temperature_celsius)} °C{whose}"))
    return found


def _predictors(disk: Disk, policy: Policy) -> list[tuple[Status, str]]:
    found: list[tuple[Status, str]] = []
    for sectors, what, plural in (
        (disk.pending_sectors, "sector that cannot be read now", "sectors that cannot be read now"),
        (disk.uncorrectable_sectors, "uncorrectable sector", ""),
    ):
        if sectors:
            found.append((Status.FAIL, count(sectors, what, plural)))
    for amount, limit, what in (
        (disk.reallocated_sectors, policy.reallocated_fail, "reallocated sector"),
        (disk.media_errors, policy.media_errors_fail, "media error"),
    ):
        if amount:
            found.append((Status.FAIL if amount >= limit else Status.WARN, count(amount, what)))
    if disk.command_timeouts is not None and disk.command_timeouts >= policy.timeouts_warn:
        found.append((Status.WARN, count(disk.command_timeouts, "command") + " timed out"))
    if len(found) >= policy.predictors_fail:
        found = [(Status.FAIL, text) for _, text in found]
    return found


def _temperatures(disk: Disk, policy: Policy) -> tuple[float, float, str]:
    """Where to warn and to fail, and whose limit that is."""
    own = disk.temperature_limit_celsius
    if own is None or (disk.kind == "hdd" and own >= policy.fail_celsius):
        return policy.warn_celsius, policy.fail_celsius, ""
    return own - policy.limit_margin_celsius, own, f" (its own limit is {own:g} °C)"


def levels(policy: Policy) -> Sequence[Level]:
    return []
