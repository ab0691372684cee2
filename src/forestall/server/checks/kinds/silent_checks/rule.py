"""Documents and samples that stopped arriving while the device still checks in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Status
from forestall.server.checks.words import count, listing, span


@dataclass(frozen=True, slots=True)
class Policy:
    document_hours: float = 48
    """A document not affirmed for this long is silent (agents affirm daily)."""
    sample_minutes: float = 10
    """Samples are silent when the newest is older than this."""

    def __post_init__(self) -> None:
        for name in ("document_hours", "sample_minutes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: {getattr(self, name):g} must be above 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """The number of inputs that fell silent. Nothing to say of a device that is not approved."""
    if not known.approved:
        return []
    if not known.collected_at and not known.samples:
        return [Result(Status.UNKNOWN, "0 documents and no samples have arrived yet.", value=0, unit="inputs")]
    evidence = ("times at which documents and samples arrived",)
    last = known.last_check_in_at
    if last is None:
        return [Result(Status.UNKNOWN, "0 check-ins have arrived, so nothing can have fallen silent.", value=0)]
    # While the device itself is offline everything is silent; that is the check "offline", not this one.
    moment = min(now, last)
    silent = [
        f"{name} ({span(moment - at)})"
        for name, at in sorted(known.collected_at.items())
        if moment - at > timedelta(hours=policy.document_hours)
    ]
    newest = max((series.last_at for series in known.samples.values() if series.last_at is not None), default=None)
    if newest is None:
        if known.enrolled_at is None or moment - known.enrolled_at > timedelta(minutes=policy.sample_minutes):
            silent.append("samples (none ever arrived)")
    elif moment.timestamp() - newest > policy.sample_minutes * 60:
        silent.append(f"samples ({span(moment.timestamp() - newest)})")
    arriving = len(known.collected_at)
    if silent:
        reason = f"{count(len(silent), 'input')} stopped arriving: {listing(silent)}."
        return [Result(Status.WARN, reason, value=len(silent), unit="inputs", evidence=evidence)]
    reason = f"0 inputs are silent: {count(arriving, 'document')} and the samples arrive."
    return [Result(Status.PASS, reason, value=0, unit="inputs", evidence=evidence)]


def levels(policy: Policy) -> Sequence[Level]:
    return []
