"""RAID arrays, volume groups and pools: whole, rebuilding, or one disk from losing data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.thresholds import grade
from forestall.server.checks.words import count, day, listing, percent, size
from forestall.wire.facts import Array, Controller

_KINDS = {
    "mdadm": "software RAID",
    "lvm": "LVM",
    "zfs": "ZFS",
    "btrfs": "Btrfs",
    "hardware": "hardware RAID",
    "storage_spaces": "Storage Spaces",
}


@dataclass(frozen=True, slots=True)
class Policy:
    used_warn_percent: float = 80
    """Warn when a pool or thin pool (or its metadata) is this full."""
    used_fail_percent: float = 90
    """Fail when it is this full: a thin pool that is full damages what is on it."""
    clear_percent: float = 2
    """A status is left only this far below its threshold."""
    scrub_days: float = 45
    """Warn when everything in it was last read and compared longer ago than this. Where that is not known, nothing is
    said."""
    group_full: bool = False
    """Whether a volume group without free space is a problem as well; mostly it is meant so."""

    def __post_init__(self) -> None:
        if not 0 < self.used_warn_percent <= self.used_fail_percent:
            raise ValueError(
                f"used_warn_percent: {self.used_warn_percent:g} must be above 0 and at most used_fail_percent "
                f"({self.used_fail_percent:g})"
            )
        if self.scrub_days <= 0:
            raise ValueError(f"scrub_days: {self.scrub_days:g} must be above 0")
        if self.clear_percent < 0:
            raise ValueError(f"clear_percent: {self.clear_percent:g} must not be below 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result an array and one a controller; none on a device that has neither."""
    document = known.facts.arrays
    assert document is not None  # noqa: S101 - judge_kind sees to it
    arrays = {array.name: array for array in document.arrays}
    controllers = {f"controller {each.name}": each for each in document.controllers}
    if not arrays and not controllers and document.gaps:
        why = "; ".join(f"{gap.what}: {gap.why}" for gap in document.gaps)
        return [Result(Status.UNKNOWN, f"Whether there are arrays could not be seen ({why}).")]
    return [
        *(_judge_array(array, policy, now, previous.get(name)) for name, array in arrays.items()),
        *(_judge_controller(name, each) for name, each in controllers.items()),
    ]


def _judge_array(array: Array, policy: Policy, now: datetime, previous: Status | None) -> Result:
    parts = (_KINDS[array.kind], array.level, size(array.size_bytes) if array.size_bytes else "")
    name = f"{array.name} ({' '.join(part for part in parts if part)})"
    found = _complaints(array, policy, now, previous)
    if found:
        status = Status.FAIL if any(each is Status.FAIL for each, _ in found) else Status.WARN
        text = ", ".join(text for _, text in sorted(found, key=lambda each: each[0] is not Status.FAIL))
        torn = array.state in ("degraded", "failed")
        risk = (Risk.CRITICAL if torn else Risk.HIGH) if status is Status.FAIL else Risk.MEDIUM
        return Result(
            status, f"{name}: {text}.", target=array.name, risk=risk, value=array.used_percent,
            unit="%" if array.used_percent is not None else "", remedy=_remedy(array, torn=torn),
        )  # fmt: skip
    if array.state == "unknown":
        return Result(Status.UNKNOWN, f"{name}: its state is unknown: {array.detail or 'its tool did not say'}.",
                      target=array.name)  # fmt: skip
    members = f", {count(len(array.members), 'member')}" if array.members else ""
    used = f", {percent(array.used_percent)} used" if array.used_percent is not None else ""
    return Result(
        Status.PASS, f"{name} is whole{members}{used}.", target=array.name, value=array.used_percent,
        unit="%" if array.used_percent is not None else "",
    )  # fmt: skip


def _complaints(array: Array, policy: Policy, now: datetime, previous: Status | None) -> list[tuple[Status, str]]:
    found: list[tuple[Status, str]] = []
    bad = [f"{each.name} ({each.state})" if each.state else each.name for each in array.members if each.ok is False]
    detail = f" ({array.detail})" if array.detail else ""
    names = f": {listing(bad)}" if bad else detail
    if array.state == "failed":
        found.append((Status.FAIL, f"it has failed{names}"))
    elif array.state == "degraded":
        found.append((Status.FAIL, f"it is degraded{names}"))
    elif array.state == "rebuilding":
        done = f", {percent(array.progress_percent)} done" if array.progress_percent is not None else ""
        found.append((Status.WARN, f"it is being rebuilt{done}: another disk must not fail meanwhile"))
    elif bad:
        found.append((Status.WARN, f"not all of its members are well: {listing(bad)}"))
    if array.errors:
        found.append((Status.FAIL, f"{count(array.errors, 'error')} in its data"))
    worn = [
        each
        for each in array.members
        if (each.read_errors or 0) + (each.write_errors or 0) + (each.checksum_errors or 0)
    ]
    if worn:
        texts = [
            f"{each.name} ({each.read_errors or 0} read, {each.write_errors or 0} write, "
            f"{each.checksum_errors or 0} checksum)"
            for each in worn
        ]
        found.append((Status.WARN, f"members with errors: {listing(texts)}"))
    fills = array.kind != "lvm" or "thin" in array.level or "snapshot" in array.level or policy.group_full
    for used, what in ((array.used_percent if fills else None, ""), (array.metadata_percent, "its metadata is ")):
        if used is not None:
            status = grade(
                used, warn=policy.used_warn_percent, fail=policy.used_fail_percent, band=policy.clear_percent,
                previous=previous,
            )  # fmt: skip
            if status.is_problem:
                found.append((status, f"{what or 'it is '}{percent(used)} full"))
    if array.scrub_at is not None and (now - array.scrub_at).total_seconds() > policy.scrub_days * 86400:
        found.append((Status.WARN, f"it was last read and compared whole on {day(array.scrub_at)}"))
    return found


def _remedy(array: Array, *, torn: bool) -> str:
    if torn or array.state == "rebuilding":
        return ""
    if array.errors:
        return "Restore what is damaged from a backup, and find the disk or memory that did it."
    if array.used_percent is not None and array.used_percent >= 50:
        return "Make room or add a disk before it is full."
    return "Let it read and compare everything (scrub, check), and see what that finds."


def _judge_controller(target: str, controller: Controller) -> Result:
    name = f"{target} ({controller.model})" if controller.model else target
    if controller.ok is False:
        return Result(
            Status.FAIL, f"{name}: it is not well: {controller.state or 'it does not say why'}.", target=target
        )
    if controller.battery_ok is False:
        return Result(
            Status.WARN, f"{name}: the battery of its write cache is not well: {controller.battery}.", target=target,
            risk=Risk.MEDIUM, remedy="Replace the battery: until then writes are slow, or lost in a power cut.",
        )  # fmt: skip
    if controller.ok is None:
        return Result(Status.UNKNOWN, f"{name}: its state is unknown.", target=target)
    battery = f", battery {controller.battery}" if controller.battery else ""
    return Result(Status.PASS, f"{name} is well ({controller.state or 'ok'}{battery}).", target=target)


def levels(policy: Policy) -> Sequence[Level]:
    return []
