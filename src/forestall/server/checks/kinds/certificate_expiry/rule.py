"""Certificates that servers on this device present, by the day they expire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import clock, count, day, span
from forestall.wire.facts import Certificate


@dataclass(frozen=True, slots=True)
class Policy:
    warn_days: float = 30
    """Warn when fewer days than this are left."""
    fail_days: float = 7
    """Fail when fewer than this are left."""

    def __post_init__(self) -> None:
        if not 0 <= self.fail_days <= self.warn_days:
            raise ValueError(
                f"fail_days: {self.fail_days:g} must be 0 or more and at most warn_days ({self.warn_days:g})"
            )


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result an address and port: days left. The days only fall, and rise by a renewal: no band."""
    document = known.facts.certificates
    assert document is not None  # noqa: S101 - judge_kind sees to it
    certificates = {f"{each.address}:{each.port}": each for each in document.certificates}
    return [_judge_certificate(target, each, policy, now) for target, each in certificates.items()]


def _judge_certificate(target: str, certificate: Certificate, policy: Policy, now: datetime) -> Result:
    by = f", served by {certificate.process}" if certificate.process else ""
    name = f"The certificate {certificate.subject or 'without a name'} on {target}{by}"
    host = "localhost" if certificate.address in {"0.0.0.0", "::", "*"} else certificate.address  # noqa: S104
    evidence = (f"openssl s_client -connect {host}:{certificate.port}",)
    ends = certificate.not_after
    if ends is None:
        return Result(Status.UNKNOWN, f"{name}: when it expires could not be read.", target=target, evidence=evidence)
    days = (ends - now).total_seconds() / 86400
    value = int(days // 1)
    left = count(value, "day")
    risk = Risk.MEDIUM
    if days <= 0:
        status, risk = Status.FAIL, Risk.CRITICAL
        text = f"expired {span(now - ends)} ago ({clock(ends)})."
    elif days < policy.fail_days:
        status, risk = Status.FAIL, Risk.HIGH
        text = f"expires on {day(ends)}, {left} left (fails below {policy.fail_days:g})."
    elif days < policy.warn_days:
        status = Status.WARN
        text = f"expires on {day(ends)}, {left} left (warns below {policy.warn_days:g})."
    elif certificate.not_before is not None and certificate.not_before > now:
        status = Status.WARN
        text = f"is valid only from {clock(certificate.not_before)} on; {left} left."
    else:
        status = Status.PASS
        text = f"expires on {day(ends)}, {left} left."
    return Result(
        status,
        f"{name} {text}",
        target=target,
        value=value,
        unit="days",
        evidence=evidence,
        risk=risk,
        forecast_at=ends,
    )


def levels(policy: Policy) -> Sequence[Level]:
    return []
