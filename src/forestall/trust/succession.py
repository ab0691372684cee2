"""The next root: made from the present one by named changes, and told in words. No I/O.

What is shown to whoever signs comes from the two statements alone: a key's name is the reader's own (from files beside
their keys), and stands beside its id.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from forestall.trust.keys import key_id
from forestall.trust.sign import ROOT_LIFE
from forestall.trust.statements import OperatorLimits, Revocation, RoleKeys, Root
from forestall.trust.words import harmless

RoleName = Literal["root", "operator", "catalogue"]
ROLES: tuple[RoleName, ...] = ("root", "operator", "catalogue")
UNCHANGED = -1


class ChangeError(ValueError):
    """A change that does not fit the present root; the message names the bad value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What the next root does differently."""

    add: Mapping[RoleName, Collection[bytes]] = field(default_factory=dict)
    """Role → raw public keys."""
    drop: Mapping[RoleName, Collection[str]] = field(default_factory=dict)
    """Role → key ids, or how they begin."""
    threshold: Mapping[RoleName, int] = field(default_factory=dict)
    limits: Mapping[str, OperatorLimits] = field(default_factory=dict)
    """Key id of an operator, or how it begins → its limits; no limits: those it has end."""
    single_signature_devices: int | None = UNCHANGED
    life: timedelta = ROOT_LIFE


def next_root(current: Root, change: Change, *, now: datetime) -> Root:
    """The successor. ChangeError names what does not fit: an unknown key, a threshold nobody can meet."""
    roles = {name: _next_role(name, getattr(current, name), change) for name in ROLES}
    operators = roles["operator"].keys
    limits = {key: kept for key, kept in current.limits.items() if key in operators}
    for prefix, wanted in change.limits.items():
        limits[_one(prefix, operators, "operator")] = wanted
    single = change.single_signature_devices
    return msgspec.structs.replace(
        current,
        version=current.version + 1,
        issued_at=now,
        expires_at=now + change.life,
        **roles,
        limits={key: kept for key, kept in limits.items() if kept != OperatorLimits()},
        single_signature_devices=current.single_signature_devices if single == UNCHANGED else single,
    )


def _next_role(name: RoleName, role: RoleKeys, change: Change) -> RoleKeys:
    keys = dict(role.keys)
    for prefix in change.drop.get(name, ()):
        del keys[_one(prefix, keys, name)]
    for raw in change.add.get(name, ()):
        if key_id(raw) in keys:
            raise ChangeError(f"key {key_id(raw)[:16]} holds the role {name} already")
        keys[key_id(raw)] = raw.hex()
    threshold = change.threshold.get(name, role.threshold)
    if not 1 <= threshold <= len(keys):
        raise ChangeError(f"the role {name} would need {threshold} signatures of {len(keys)} keys")
    return RoleKeys(keys=keys, threshold=threshold)


def _one(prefix: str, keys: Collection[str], role: str) -> str:
    found = [key for key in keys if key.startswith(prefix)]
    if len(found) != 1 or len(prefix) < 4:
        raise ChangeError(
            f"{len(found)} keys of the role {role} begin with {prefix!r}; name one, with 4 digits or more"
        )
    return found[0]


def change_words(old: Root, new: Root, *, names: Mapping[str, str] | None = None) -> list[str]:
    """What the next root changes, a sentence a line; of the first root, ``old`` is the same one."""
    known = names or {}
    lines = [f"Root version {old.version} becomes {new.version}, valid until {new.expires_at:%Y-%m-%d}."]
    for name in ROLES:
        before, after = getattr(old, name), getattr(new, name)
        lines += [f"+ {named(key, known)} gets the role {name}." for key in sorted(set(after.keys) - set(before.keys))]
        lines += [f"- {named(key, known)} loses the role {name}." for key in sorted(set(before.keys) - set(after.keys))]
        if (before.threshold, len(before.keys)) != (after.threshold, len(after.keys)):
            was = f"{before.threshold} of {len(before.keys)}"
            lines.append(f"  The role {name} signs with {after.threshold} of {len(after.keys)} keys (was {was}).")
    for key in sorted(new.operator.keys):
        if old.limits.get(key) != new.limits.get(key):
            lines.append(f"  {named(key, known)}: {limits_words(new.limits.get(key))}.")
    if old.single_signature_devices != new.single_signature_devices:
        lines.append(f"  {single_signature_words(new)}")
    if len(lines) == 1:
        lines.append("No key, threshold or limit changes: only the version and the date.")
    return lines


def limits_words(limits: OperatorLimits | None) -> str:
    """``signs change for 2 clients, at most 20 devices a statement``."""
    if limits is None or limits == OperatorLimits():
        return "no limits of its own"
    what = "signs " + (" and ".join(limits.risk) if limits.risk else "every risk class")
    where = f" for client{'s' * (len(limits.clients) > 1)} {', '.join(map(harmless, limits.clients))}"
    reach = f", at most {limits.most_devices} devices a statement" if limits.most_devices is not None else ""
    return what + (where if limits.clients else " for every client") + reach


def single_signature_words(root: Root) -> str:
    """How many devices one operator alone may name."""
    most = root.single_signature_devices
    if most is None:
        return "One operator's signature may name any number of devices in a statement."
    return f"One operator's signature may name at most {most} devices in a statement; more need two."


def revocation_words(revocation: Revocation, root: Root, *, names: Mapping[str, str] | None = None) -> list[str]:
    """What a revocation of keys ends."""
    lines = [
        f"- {named(key, names or {})} never counts again"
        + ("." if key in root.operator.keys else "; it holds no operator's role now.")
        for key in revocation.keys
    ]
    return [*lines, "  Nobody can undo this: devices never forget it.", f"Because: {harmless(revocation.reason)}"]


def named(key: str, names: Mapping[str, str]) -> str:
    """``grace (key 1f2e3d4c5b6a7988)``."""
    short = f"key {harmless(key[:16])}"
    return f"{harmless(names[key])} ({short})" if key in names else short
