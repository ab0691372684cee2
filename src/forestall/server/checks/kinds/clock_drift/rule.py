"""How far the clock is off, and whether anything keeps it right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.thresholds import grade
from forestall.server.checks.words import number


@dataclass(frozen=True, slots=True)
class Policy:
    warn_seconds: float = 1
    """Warn when the clock is off by this much."""
    fail_seconds: float = 10
    """Fail when it is off by this much."""
    clear_share: float = 0.2
    """A status is left only when the offset is this share below its threshold."""

    def __post_init__(self) -> None:
        if not 0 < self.warn_seconds <= self.fail_seconds:
            raise ValueError(
                f"warn_seconds: {self.warn_seconds:g} must be above 0 and at most fail_seconds ({self.fail_seconds:g})"
            )
        if not 0 <= self.clear_share < 1:
            raise ValueError(f"clear_share: {self.clear_share:g} must be 0 or more and below 1")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """The offset in seconds, measured at check-in or by the device's own time daemon, and the daemon itself."""
    time, system = known.facts.time, known.facts.system
    assert time is not None  # noqa: S101 - judge_kind sees to it
    offset, by = known.clock_offset_seconds, "against the server at the last check-in"
    if offset is None:
        offset, by = time.offset_seconds, f"by {time.daemon or 'the system'}"
    value = None if offset is None else round(offset, 3)
    measured = "" if value is None else f"off by {number(abs(value), digits=3)} s ({by})"
    status = Status.PASS
    if value is not None:
        # The band is a share of the threshold, as the two thresholds differ tenfold.
        status = _grade(abs(value), policy, previous.get(""))
        if status.is_problem:
            limit = policy.fail_seconds if status is Status.FAIL else policy.warn_seconds
            word = "fails" if status is Status.FAIL else "warns"
            reason = f"The clock is {measured}; it {word} from {limit:g} s on. {_keeper(known)}"
            risk = Risk.MEDIUM if status is Status.FAIL else Risk.LOW
            return [Result(status, reason, value=value, unit="s", risk=risk)]
    if not time.daemon and time.synchronised is not True:
        gap = next((gap.why for gap in time.gaps), None)
        now_off = f" The clock is {measured} now." if measured else ""
        if gap and "not" not in gap and time.synchronised is None and value is None:
            return [Result(Status.UNKNOWN, f"Whether anything keeps the clock right cannot be told: {gap}.")]
        virtual = system.virtualisation if system and system.virtualisation not in {"", "none"} else ""
        guest = f" It is a virtual machine ({virtual}); its clock follows the host's only until it is paused or moved."
        reason = f"Nothing keeps the clock right: no time daemon runs.{guest if virtual else ''}{now_off}"
        return [Result(Status.WARN, reason, value=value, unit="s" if value is not None else "", risk=Risk.LOW)]
    if time.synchronised is False:
        off = f"; it is {measured}" if measured else ""
        reason = f"{time.daemon or 'The system'} says that the clock is not synchronised{off}."
        return [Result(Status.WARN, reason, value=value, unit="s" if value is not None else "", risk=Risk.LOW)]
    if value is None and time.synchronised is None:
        return [Result(Status.UNKNOWN, f"{_keeper(known)} Whether it is synchronised, and how far off, is not known.")]
    right = f"The clock is {measured}." if measured else "The clock is synchronised."
    return [Result(Status.PASS, f"{right} {_keeper(known)}", value=value, unit="s" if value is not None else "")]


def _grade(value: float, policy: Policy, previous: Status | None) -> Status:
    fail, warn = policy.fail_seconds, policy.warn_seconds
    if grade(value, warn=fail, fail=fail, band=fail * policy.clear_share, previous=previous) is Status.FAIL:
        return Status.FAIL
    at_most_warn = Status.WARN if previous is Status.FAIL else previous
    return grade(value, warn=warn, fail=fail, band=warn * policy.clear_share, previous=at_most_warn)


def _keeper(known: Known) -> str:
    time = known.facts.time
    return f"{time.daemon} keeps it." if time and time.daemon else "No time daemon was found."


def levels(policy: Policy) -> Sequence[Level]:
    return []
