"""Whether this device alone could change or delete its backups, and whether others could read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import listing
from forestall.wire.facts import BackupRepository


@dataclass(frozen=True, slots=True)
class Policy:
    require_immutable: bool = True
    """At least one backup of a device must be out of its own reach."""
    require_encryption: bool = True
    """What is kept on another machine, or taken away, must be encrypted."""


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result a backup."""
    document = known.facts.backups
    assert document is not None  # noqa: S101 - judge_kind sees to it
    safe = [each.name for each in document.repositories if _out_of_reach(each) and each.last_success_at is not None]
    return [_judge_one(each, policy, safe) for each in document.repositories]


def _out_of_reach(backup: BackupRepository) -> bool:
    return bool(backup.immutable or backup.offline or backup.writable is False)


def _judge_one(backup: BackupRepository, policy: Policy, safe: Sequence[str]) -> Result:
    name = f"{backup.name} ({backup.tool})"
    others = [each for each in safe if each != backup.name]
    detail = f": {backup.immutable_detail.rstrip('.')}" if backup.immutable_detail else ""

    def result(status: Status, reason: str, risk: Risk | None = None) -> Result:
        return Result(status, reason, target=backup.name, risk=risk)

    plain = policy.require_encryption and backup.encrypted is False and bool(backup.remote or backup.offline)
    if plain:
        where = "on a medium that is taken away" if backup.offline else "on another machine"
        return result(Status.FAIL, f"{name} is kept {where} and is not encrypted.", Risk.MEDIUM)
    if not policy.require_immutable:
        return result(Status.PASS, f"{name}: by policy it may be within the device's own reach{detail}.")
    if _out_of_reach(backup):
        return result(Status.PASS, f"{name} is out of the device's own reach{detail}.")
    if others:
        return result(Status.PASS, f"This device could delete {name}, but not {listing(others)}{detail}.")
    if backup.writable:
        return result(
            Status.FAIL,
            f"Whoever takes over this device can delete {name}, and no other backup is out of reach{detail}.",
        )
    return result(
        Status.UNKNOWN,
        f"Whether this device could delete {name} is not known{detail}. "
        "Say it in backups.toml (`immutable`, `offline`).",
    )


def levels(policy: Policy) -> Sequence[Level]:
    return []
