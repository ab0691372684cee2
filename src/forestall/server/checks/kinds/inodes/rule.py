"""How many of each volume's inodes are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.thresholds import grade, levels_around
from forestall.server.checks.words import percent

USED = "inodes.used_percent"


@dataclass(frozen=True, slots=True)
class Policy:
    warn_percent: float = 80
    """Warn from this share of the inodes on."""
    fail_percent: float = 90
    """Fail from this share on."""
    clear_points: float = 2
    """A status is left only this many percentage points below its threshold."""

    def __post_init__(self) -> None:
        if not 0 < self.warn_percent <= self.fail_percent <= 100:
            raise ValueError(
                f"warn_percent: {self.warn_percent:g} must be above 0 and at most fail_percent "
                f"({self.fail_percent:g}), and that at most 100"
            )
        if self.clear_points < 0:
            raise ValueError(f"clear_points: {self.clear_points:g} must not be below 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result a volume that has a fixed number of inodes: share used (%)."""
    assert known.facts.volumes is not None  # noqa: S101 - judge_kind sees to it
    used = known.labelled(USED, "volume")
    results = []
    for where, volume in {volume.mountpoint: volume for volume in known.facts.volumes.volumes}.items():
        if volume.total_inodes <= 0 or volume.read_only:
            continue
        value = used[where].last if where in used else None
        if value is None:
            results.append(Result(Status.UNKNOWN, f"No sample of the inodes of {where} has arrived yet.", target=where))
            continue
        status = grade(
            value, warn=policy.warn_percent, fail=policy.fail_percent, band=policy.clear_points,
            previous=previous.get(where),
        )  # fmt: skip
        free = round(volume.total_inodes * (100 - value) / 100)
        results.append(
            Result(
                status,
                f"{percent(value)} of the inodes of {where} are used "
                f"(warns at {percent(policy.warn_percent)}, fails at {percent(policy.fail_percent)}); "
                f"room for about {free:,} more files.",
                target=where,
                value=round(value, 1),
                unit="%",
                risk=None if status is Status.FAIL else Risk.MEDIUM,
                evidence=(f"{USED}{{volume={where}}}", f"statvfs {where}"),
            )
        )
    return results


def levels(policy: Policy) -> Sequence[Level]:
    limits = levels_around([policy.warn_percent, policy.fail_percent], band=policy.clear_points)
    return [Level(USED, value) for value in limits]
