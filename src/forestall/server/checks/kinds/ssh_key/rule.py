"""Keys that open accounts: how strong, how old, whose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import count, day, listing
from forestall.wire.facts import Account, SshKey


@dataclass(frozen=True, slots=True)
class Policy:
    least_rsa_bits: int = 2048
    """A shorter RSA key fails."""
    most_days: float = 1095
    """A key in a file that nobody touched for longer warns."""
    named: bool = True
    """A key whose comment is empty warns: nobody can tell whose it is."""

    def __post_init__(self) -> None:
        if self.least_rsa_bits < 1024:
            raise ValueError(f"least_rsa_bits: {self.least_rsa_bits} must be 1024 or more")
        if self.most_days <= 0:
            raise ValueError(f"most_days: {self.most_days:g} must be above 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result for each key with something wrong (or that had), and one (no target) for the sound ones together."""
    document = known.facts.access
    assert document is not None  # noqa: S101 - judge_kind sees to it
    results = [
        Result(Status.UNKNOWN, f"The {gap.what} could not be read: {gap.why}.", target="keys that could not be read")
        for gap in document.gaps
        if gap.what.startswith("authorized keys of")
    ][:1]
    sound = 0
    for account in document.accounts:
        for key in account.keys:
            target = f"{account.name} {key.fingerprint}"
            found = _weak(account, key, policy, now)
            if found is None:
                sound += 1
                if target in previous:
                    results.append(Result(Status.PASS, f"{_named(account, key)} is sound.", target=target))
                continue
            status, risk, why = found
            evidence = (key.file,) if key.file else ()
            results.append(Result(status, f"{_named(account, key)} {why}", target=target, risk=risk, evidence=evidence))
    if sound:
        accounts = sorted({one.name for one in document.accounts if one.keys})
        opens, are = ("opens", "is") if sound == 1 else ("open", "are")
        said = f"{count(sound, 'key')} that {opens} {listing(accounts)} {are} sound."
        results.append(Result(Status.PASS, said, value=sound, unit="keys"))
    return results


def _named(account: Account, key: SshKey) -> str:
    length = f" of {key.bits} bits" if key.bits and key.type == "ssh-rsa" else ""
    return f"The {key.type} key{length} {key.comment or key.fingerprint} of {account.name}"


def _weak(account: Account, key: SshKey, policy: Policy, now: datetime) -> tuple[Status, Risk, str] | None:
    if key.type.startswith("ssh-dss"):
        return Status.FAIL, Risk.HIGH, "is DSA, which no current OpenSSH accepts and which is broken."
    if key.type.startswith("ssh-rsa") and key.bits is not None and key.bits < policy.least_rsa_bits:
        return Status.FAIL, Risk.HIGH, f"is shorter than {policy.least_rsa_bits} bits."
    if key.changed_at is not None and now - key.changed_at > timedelta(days=policy.most_days):
        return Status.WARN, Risk.LOW, f"has stood there since {day(key.changed_at)} or longer; is it still somebody's?"
    if policy.named and not key.comment.strip():
        risk = Risk.MEDIUM if account.administrator else Risk.LOW
        return Status.WARN, risk, "has no name: nobody can tell whose it is."
    return None


def levels(policy: Policy) -> Sequence[Level]:
    return []
