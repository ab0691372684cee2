"""Decisions about access without I/O: what an account is asked as, what differs, what is done, when a review is due."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from forestall.server.checks.result import Risk, Status
from forestall.server.checks.words import count, day, listing
from forestall.wire.facts import Access, Account, SudoRule

EVERY_MONTHS = 3
"""How often access is reviewed where nobody said otherwise."""
ANSWER_DAYS = 14
"""A review is to be signed off so many days after it began."""
FOLLOW_DAYS = 14
"""What was to be removed or changed is late after so many days."""
SOON = timedelta(days=14)
AS_GOOD_AS_ROOT = frozenset({"root", "sudo", "wheel", "admin", "docker", "lxd", "incus", "disk", "shadow", "libvirt"})
"""Groups whose members can make themselves root."""

Shape = dict[str, Any]
"""What of an ``access`` document is compared: plain values, so that they are kept as they are."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that became another."""

    about: str
    """``account:eve``, ``sudo:eve``, ``share:smb/public``."""
    field: str
    """``account``, ``administrator``, ``keys``, ``password``, ``sign-in``, ``groups``, ``permission``, ``share`` …"""
    was: str
    now: str
    words: str
    risk: Risk
    matters: bool = True
    """Worth a person's time; else it is on record alone."""


# --- shapes and differences --------------------------------------------------------------------------------------


def shape_of(document: Access) -> Shape | None:
    """The comparable part of a document; None when it does not say which accounts there are.

    What could not be seen is None: it is never compared.
    """
    if not document.accounts:
        return None
    # Older agents told less: what they left out is not gone.
    told = bool(document.sudo or document.password_policy or document.open_paths or document.shares)
    sudo_known = document.sudo_rules is not None and (bool(document.sudo) or told or not document.sudo_rules)
    return {
        "accounts": {one.name: _account_shape(one) for one in document.accounts},
        "sudo": sorted({permission_words(rule) for rule in document.sudo}) if sudo_known else None,
        "shares": {
            f"{one.kind}/{one.name}": ", ".join(
                filter(
                    None,
                    (
                        one.path,
                        "anybody" if one.guest else listing(one.who, most=10) or "whoever signs in",
                        "may write" if one.writable else "may read",
                    ),
                )
            )
            for one in document.shares
        }
        if told
        else None,
    }


def _account_shape(one: Account) -> dict[str, Any]:
    described = one.ssh_keys == 0 or len(one.keys) == one.ssh_keys
    return {
        "administrator": list(one.administrator_because),
        "groups": sorted(one.groups),
        "login": one.login,
        "password": None if one.password == "unknown" else one.password,  # noqa: S105 - a state
        "keys": sorted(key_words(key.type, key.bits, key.fingerprint, key.comment) for key in one.keys)
        if one.ssh_keys is not None and described
        else None,
        "disabled": one.disabled,
        "expires": day(one.expires_at) if one.expires_at else "",
        "kind": one.kind,
    }


def key_words(kind: str, bits: int | None, fingerprint: str, comment: str) -> str:
    return " ".join(filter(None, (kind, str(bits or ""), fingerprint, comment)))


def permission_words(rule: SudoRule) -> str:
    """``eve may run ALL as ALL without a password``."""
    as_whom = f" as {rule.run_as}" if rule.run_as and rule.run_as != "root" else ""
    free = " without a password" if rule.no_password else ""
    return f"{rule.who} may run {', '.join(rule.commands)}{as_whom}{free}"


def merged(old: Shape, new: Shape) -> Shape:
    """``new``, with what it could not see as it was before: what comes to light again is compared with that."""
    accounts = {}
    for name, one in new["accounts"].items():
        before = old["accounts"].get(name, {})
        accounts[name] = {key: before.get(key) if value is None else value for key, value in one.items()}
    return {
        "accounts": accounts,
        "sudo": old["sudo"] if new["sudo"] is None else new["sudo"],
        "shares": old["shares"] if new["shares"] is None else new["shares"],
    }


def differences(old: Shape, new: Shape) -> list[Difference]:
    """What became another, the gravest first. What one side could not see is no difference."""
    found: list[Difference] = []
    before, after = old["accounts"], new["accounts"]
    for name, one in after.items():
        if name not in before:
            found.append(_appeared(name, one))
        else:
            found += _account_differences(name, before[name], one)
    for name, one in before.items():
        if name not in after:
            found.append(
                Difference(
                    f"account:{name}", "account", "there", "gone", f"account {name} is gone", Risk.LOW, _opens(one)
                )
            )
    if None not in (old["sudo"], new["sudo"]):
        found += _sudo_differences(old["sudo"], new["sudo"])
    if None not in (old["shares"], new["shares"]):
        found += _share_differences(old["shares"], new["shares"])
    return sorted(found, key=lambda one: (one.risk.rank, one.about, one.field, one.words))


def _opens(one: Mapping[str, Any]) -> bool:
    """Whether somebody can get in by this account, or it administers."""
    password = one.get("password") in ("set", "empty")
    return bool(one.get("administrator") or one.get("keys") or (one.get("login") and password)) or (
        bool(one.get("login")) and one.get("kind") in ("person", "")
    )


def _appeared(name: str, one: Mapping[str, Any]) -> Difference:
    because = listing(one["administrator"])
    keys = one.get("keys") or []
    more = [f"administrator by {because}" if because else "", count(len(keys), "SSH key") if keys else ""]
    said = ", ".join(filter(None, more))
    risk = Risk.HIGH if because else Risk.MEDIUM if _opens(one) else Risk.LOW
    words = f"account {name} is new{f' ({said})' if said else ''}"
    return Difference(f"account:{name}", "account", "gone", "there", words, risk, _opens(one))


def _account_differences(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    about = f"account:{name}"
    found = []
    administers = bool(new["administrator"])

    def note(field: str, was: object, now: object, words: str, risk: Risk, *, matters: bool = True) -> None:
        found.append(Difference(about, field, str(was), str(now), words, risk, matters))

    if bool(old["administrator"]) != administers:
        if administers:
            why = listing(new["administrator"])
            note("administrator", "no", "yes", f"{name} became an administrator ({why})", Risk.HIGH)
        else:
            note("administrator", "yes", "no", f"{name} is no longer an administrator", Risk.LOW)
    gained = [one for one in new["groups"] if one not in old["groups"]]
    lost = [one for one in old["groups"] if one not in new["groups"]]
    if gained or lost:
        grave = bool(AS_GOOD_AS_ROOT & set(gained))
        moved = [f"joined {listing(gained)}" if gained else "", f"left {listing(lost)}" if lost else ""]
        note(
            "groups", " ".join(old["groups"]), " ".join(new["groups"]), f"{name} {' and '.join(filter(None, moved))}",
            Risk.HIGH if grave else Risk.LOW, matters=grave or _opens(new) or _opens(old),
        )  # fmt: skip
    if None not in (old.get("keys"), new.get("keys")):
        for key in new["keys"]:
            if key not in old["keys"]:
                note(
                    f"key {_fingerprint(key)}",
                    "gone",
                    "there",
                    f"{name} got the SSH key {key}",
                    Risk.HIGH if administers else Risk.MEDIUM,
                )
        for key in old["keys"]:
            if key not in new["keys"]:
                note(f"key {_fingerprint(key)}", "there", "gone", f"{name} lost the SSH key {key}", Risk.LOW)
    if None not in (old.get("password"), new.get("password")) and old["password"] != new["password"]:
        risk = {"empty": Risk.CRITICAL, "set": Risk.MEDIUM}.get(new["password"], Risk.LOW)
        words = f"the password of {name} is {new['password']}, and was {old['password']}"
        note("password", old["password"], new["password"], words, risk)
    if old["login"] != new["login"]:
        words = f"{name} {'has' if new['login'] else 'no longer has'} a shell to sign in with"
        note("sign-in", old["login"], new["login"], words, Risk.MEDIUM if new["login"] else Risk.LOW)
    if old.get("expires", "") != new.get("expires", ""):
        words = f"{name} {'ends on ' + new['expires'] if new['expires'] else 'no longer has an end'}"
        note("end", old.get("expires", ""), new["expires"], words, Risk.LOW, matters=not new["expires"])
    return found


def _fingerprint(key: str) -> str:
    return next((word for word in key.split() if word.startswith("SHA256:")), key)[:60]


def _sudo_differences(old: Sequence[str], new: Sequence[str]) -> list[Difference]:
    found = []
    for words in new:
        if words not in old:
            grave = " may run ALL" in words or words.endswith("without a password")
            found.append(
                Difference(
                    f"sudo:{words.split(' may ')[0]}",
                    words[:200],
                    "gone",
                    "there",
                    f"sudo: {words}",
                    Risk.HIGH if grave else Risk.MEDIUM,
                )
            )
    for words in old:
        if words not in new:
            found.append(
                Difference(
                    f"sudo:{words.split(' may ')[0]}",
                    words[:200],
                    "there",
                    "gone",
                    f"sudo: no longer: {words}",
                    Risk.LOW,
                )
            )
    return found


def _share_differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[Difference]:
    found = []
    for name in sorted({*old, *new}):
        was, now = old.get(name, "gone"), new.get(name, "gone")
        if was == now:
            continue
        words = {True: f"shared folder {name} is gone", False: f"shared folder {name}: {now}"}[now == "gone"]
        words += f", and was: {was}" if "gone" not in (was, now) else ""
        risk = Risk.LOW if now == "gone" else Risk.HIGH if "anybody" in now else Risk.MEDIUM
        found.append(Difference(f"share:{name}", "share", was, now, words, risk))
    return found


def in_words(found: Iterable[Difference]) -> str:
    """The difference as a ticket tells it: a line each."""
    return "\n".join(f"{one.words[:1].upper()}{one.words[1:]}." for one in found)


def worst(found: Iterable[Difference]) -> Risk:
    return min((one.risk for one in found), key=lambda risk: risk.rank, default=Risk.LOW)


# --- accounts in a review ----------------------------------------------------------------------------------------


def is_asked(one: Account) -> bool:
    """Whether a review asks about an account: one by which somebody may get in, or that may do more than others.

    A system's own account without shell, password and key is counted, not asked.
    """
    opens = one.password in ("set", "empty") or bool(one.ssh_keys) or one.ssh_keys is None or one.password == "unknown"  # noqa: S105
    return one.administrator or (one.login and (opens or one.kind != "system")) or bool(one.ssh_keys)


def asked_accounts(document: Access) -> dict[str, dict[str, Any]]:
    """What a reviewer sees of each account that is asked about, by name: plain values, kept with the decision."""
    granted: dict[str, list[str]] = {}
    for rule in document.sudo:
        granted.setdefault(rule.who, []).append(permission_words(rule))
    found = {}
    for one in document.accounts:
        permissions = [
            words
            for who in (one.name, f"#{one.uid}", *(f"%{group}" for group in one.groups))
            for words in granted.get(who, ())
        ]
        if is_asked(one) or permissions:
            found[one.name] = _account_facts(one, permissions)
    return found


def facts_of(document: Access, name: str) -> dict[str, Any] | None:
    """What is known of one account, asked about or not; None: there is none of that name."""
    return next((_account_facts(one, ()) for one in document.accounts if one.name == name), None)


def _account_facts(one: Account, permissions: Sequence[str]) -> dict[str, Any]:
    return {
        "uid": one.uid,
        "full_name": one.full_name,
        "kind": one.kind,
        "source": one.source,
        "administrator": list(one.administrator_because),
        "groups": list(one.groups),
        "login": one.login,
        "password": one.password,
        "password_changed_at": day(one.password_changed_at) if one.password_changed_at else "",
        "password_expires": one.password_expires,
        "password_hash": one.password_hash,
        "expires_at": day(one.expires_at) if one.expires_at else "",
        "disabled": one.disabled,
        "last_login": one.last_login.isoformat() if one.last_login else "",
        "ssh_keys": one.ssh_keys,
        "keys": [key_words(key.type, key.bits, key.fingerprint, key.comment) for key in one.keys],
        "sudo": list(permissions),
    }


_RIGHTS = (
    "uid",
    "kind",
    "source",
    "administrator",
    "groups",
    "login",
    "password",
    "expires_at",
    "disabled",
    "ssh_keys",
    "keys",
    "sudo",
)
"""What makes an account another one to a reviewer; a sign-in or a changed password does not."""


def mark_of(facts: Mapping[str, Any]) -> str:
    """A digest of an account's rights: the same rights, the same mark."""
    return hashlib.sha256(json.dumps([facts.get(name) for name in _RIGHTS], sort_keys=True).encode()).hexdigest()[:32]


def what_changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Which rights differ, in words: ``administrator: none → group sudo``."""
    said = []
    for name in _RIGHTS:
        if old.get(name) != new.get(name):
            said.append(f"{name.replace('_', ' ')}: {_shown(old.get(name))} → {_shown(new.get(name))}")
    return "; ".join(said)[:500]


def _shown(value: object) -> str:
    if isinstance(value, list):
        return listing([str(one) for one in value]) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not known" if value is None else str(value) or "none"


def is_removed(facts: Mapping[str, Any] | None) -> bool:
    """Whether nobody gets in by the account any more: it is gone, has ended, or neither password nor key opens it."""
    if facts is None or facts.get("disabled"):
        return True
    return facts.get("password") == "locked" and facts.get("ssh_keys") == 0 and not facts.get("login")


def runbook_for(decision: str, facts: Mapping[str, Any]) -> str:
    """The runbook that a decision proposes; empty: a person does it."""
    if decision == "remove" and facts.get("uid") != 0 and not facts.get("source"):
        return "lock-account"
    return ""


# --- when ---------------------------------------------------------------------------------------------------------


def months_later(moment: datetime, months: int) -> datetime:
    """The same day so many months later; the month's last where there is no such day."""
    index = moment.year * 12 + moment.month - 1 + months
    year, month = divmod(index, 12)
    for last in (moment.day, 30, 29, 28):
        try:
            return moment.replace(year=year, month=month + 1, day=last)
        except ValueError:
            continue
    raise ValueError(f"{months} months after {moment} is no date")


def standing(
    *,
    known: bool,
    reviewed_at: datetime | None,
    due_at: datetime | None,
    waiting: int,
    late: int,
    open_review: bool,
    now: datetime,
) -> tuple[Status, str]:
    """How a device stands with its access reviews, and why.

    ``known``: its accounts are. ``waiting``: removals and changes that were decided and are not done; ``late`` of them
    for too long.
    """
    if not known:
        return Status.UNKNOWN, "Its accounts are not known."
    if late:
        return (
            Status.FAIL,
            f"{count(late, 'account')} that a review wants gone or changed "
            f"{'is' if late == 1 else 'are'} still as before.",
        )
    if reviewed_at is None:
        if due_at is not None and due_at <= now:
            return Status.FAIL, f"Never reviewed; due since {day(due_at)}."
        when = f"; the first review is due {day(due_at)}" if due_at else ""
        return Status.UNKNOWN, f"Never reviewed{when}."
    said = f"Signed off on {day(reviewed_at)}"
    if due_at is not None and due_at <= now:
        more = ", and one is under way" if open_review else ""
        return Status.FAIL, f"{said}; the next was due on {day(due_at)}{more}."
    if waiting:
        return (
            Status.WARN,
            f"{said}; {count(waiting, 'account')} {'is' if waiting == 1 else 'are'} still to be removed or changed.",
        )
    if due_at is not None and due_at - now <= SOON:
        return Status.WARN, f"{said}; due again on {day(due_at)}."
    return Status.PASS, f"{said}; due again on {day(due_at)}." if due_at else f"{said}."
