"""Passwords: empty ones, hashes of old algorithms, and what the system demands of new ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import count, listing
from forestall.wire.facts import Access, Account

WEAK_HASHES = frozenset({"des", "bsdicrypt", "md5crypt", "sunmd5", "sha1crypt", "nt"})
"""Algorithms that are broken in hours or days on rented hardware."""


@dataclass(frozen=True, slots=True)
class Policy:
    min_length: int = 8
    """The system should demand at least so many characters (Cyber Essentials: 12, or 8 with a list of bad ones)."""
    lockout: bool = True
    """It should stop guessing: lock an account, for a while, after some failed tries."""
    most_age_days: int = 0
    """A password older than this warns; 0: age is not asked (forced changes make passwords worse, says the NCSC)."""
    must_expire: bool = False
    """A person's password that never expires warns."""

    def __post_init__(self) -> None:
        if self.min_length < 1:
            raise ValueError(f"min_length: {self.min_length} must be 1 or more")
        if self.most_age_days < 0:
            raise ValueError(f"most_age_days: {self.most_age_days} must be 0 or more")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result for each account with a bad password, one for what the system demands, one for the sound ones."""
    document = known.facts.access
    assert document is not None  # noqa: S101 - judge_kind sees to it
    gap = next((one for one in document.gaps if one.what == "state of passwords"), None)
    if gap is not None:
        return [Result(Status.UNKNOWN, f"The state of passwords could not be read: {gap.why}.")]
    if all(one.password == "unknown" for one in document.accounts):  # noqa: S105 - a state; none at all is no answer
        return [Result(Status.UNKNOWN, "The state of passwords is not known.")]
    passwords = [one for one in document.accounts if one.password in ("set", "empty") and not one.disabled]
    results = []
    sound = 0
    for account in passwords:
        found = _bad(account, policy, now)
        if found is None:
            sound += 1
            if account.name in previous:
                results.append(Result(Status.PASS, f"The password of {account.name} is sound.", target=account.name))
            continue
        status, risk, said = found
        results.append(Result(status, said, target=account.name, risk=risk))
    if not passwords:
        return [Result(Status.PASS, "No account has a password that lets somebody in.", value=0, unit="passwords")]
    results += _demanded(document, policy)
    if sound:
        never = sum(one.password_expires is False for one in passwords)
        more = f"; {never} never {'expires' if never == 1 else 'expire'}" if never else ""
        results.append(
            Result(
                Status.PASS,
                f"{count(sound, 'password')} kept by a sound algorithm{more}.",
                value=sound,
                unit="passwords",
            )
        )
    return results


def _bad(account: Account, policy: Policy, now: datetime) -> tuple[Status, Risk, str] | None:
    name = account.name
    if account.password == "empty":  # noqa: S105 - a state
        if account.login:
            return Status.FAIL, Risk.CRITICAL, f"{name} has no password: whoever knows the name is in."
        return Status.WARN, Risk.MEDIUM, f"{name} has an empty password, though no shell to sign in with."
    if account.password_hash in WEAK_HASHES:
        return Status.FAIL, Risk.HIGH, f"The password of {name} is kept as {account.password_hash}, which is broken."
    changed = account.password_changed_at
    if policy.most_age_days and changed is not None and now - changed > timedelta(days=policy.most_age_days):
        days = (now - changed).days
        return Status.WARN, Risk.LOW, f"The password of {name} is {days} days old (at most {policy.most_age_days})."
    if policy.must_expire and account.password_expires is False and account.kind in ("person", ""):
        return Status.WARN, Risk.LOW, f"The password of {name} never expires."
    return None


def _demanded(document: Access, policy: Policy) -> list[Result]:
    gap = next((one for one in document.gaps if one.what.startswith("password policy")), None)
    if gap is not None:
        return [Result(Status.UNKNOWN, f"What is demanded of passwords cannot be told: {gap.why}.", target="policy")]
    demanded = document.password_policy
    if demanded is None:
        return []
    missing = []
    if demanded.min_length is None or demanded.min_length < policy.min_length:
        said = "no length" if demanded.min_length is None else count(demanded.min_length, "character")
        missing.append(f"{said} where {policy.min_length} are wanted")
    if policy.lockout and not demanded.lockout_after:
        missing.append("no lock after failed tries")
    if demanded.hash.replace("crypt", "") in ("des", "md5", "bigcrypt"):
        missing.append(f"new passwords are kept as {demanded.hash}")
    if missing:
        return [
            Result(Status.WARN, f"The system demands too little of passwords: {listing(missing)}.", target="policy")
        ]
    return [Result(Status.PASS, f"The system demands {demanded.min_length} characters or more.", target="policy")]


def levels(policy: Policy) -> Sequence[Level]:
    return []
