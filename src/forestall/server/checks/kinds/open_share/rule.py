"""Shared folders: who reaches them without signing in, and what they may do there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import count, listing
from forestall.wire.facts import Share


@dataclass(frozen=True, slots=True)
class Policy:
    guest_read: bool = False
    """Folders that anybody may read are meant."""


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result a shared folder. None is shared: no results."""
    document = known.facts.access
    assert document is not None  # noqa: S101 - judge_kind sees to it
    results = [_judge(share, policy) for share in document.shares]
    for gap in document.gaps:
        if gap.what.startswith(("folders", "the shared folder")):
            results.append(Result(Status.UNKNOWN, f"The {gap.what} cannot be told: {gap.why}.", target=gap.what[:200]))
    return results


def _judge(share: Share, policy: Policy) -> Result:
    target = f"{share.kind}/{share.name}"[:200]
    where = f"{share.name} ({share.path})" if share.path and share.path != share.name else share.name
    does = "write to" if share.writable else "read"
    if share.guest and share.writable:
        return Result(Status.FAIL, f"Anybody who reaches this device may write to {where}.", target=target)
    if share.guest:
        status = Status.PASS if policy.guest_read else Status.WARN
        return Result(status, f"Anybody who reaches this device may read {where}.", target=target, risk=Risk.MEDIUM)
    if "no_root_squash" in share.detail:
        said = f"Root of {listing(share.who) or 'another machine'} is root in {where}: {share.detail}."
        status = Status.FAIL if share.writable else Status.WARN
        return Result(
            status, said, target=target, remedy="Take no_root_squash out of /etc/exports, then `exportfs -ra`."
        )
    if share.guest is None:
        return Result(Status.UNKNOWN, f"Whether {where} asks people to sign in is not known.", target=target)
    if share.kind == "nfs":
        return Result(Status.PASS, f"{listing(share.who) or count(0, 'machine')} may {does} {where}.", target=target)
    who = listing(share.who) or "Whoever has an account here"
    return Result(Status.PASS, f"{who} may {does} {where}.", target=target)


def levels(policy: Policy) -> Sequence[Level]:
    return []
