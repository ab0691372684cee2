"""The customer's own policy on the device, ``policy.toml``: what no signature overrides, and what may be cleaned.

::

    forbid_risk = ["destructive"]
    forbid_runbooks = ["restart-service"]
    forbid_actions = ["service.restart"]
    forbid_shells = true
    allowed_hours = ["Mon-Fri 18:00-07:00", "Sat-Sun 00:00-24:00"]
    delete_below = ["/srv/scratch"]
    reboot_hours = ["22:00-05:00"]

Every key may be left out. A file that cannot be read, or holds a key that is not known, forbids everything: a
misspelt prohibition must not become a permission.
"""

from __future__ import annotations

import posixpath
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from forestall.trust.authorise import Hours, Veto
from forestall.trust.statements import RiskClass

POLICY_FILE = "policy.toml"
LISTS = frozenset({"forbid_risk", "forbid_runbooks", "forbid_actions", "allowed_hours", "delete_below", "reboot_hours"})
KEYS = LISTS | {"forbid_shells"}
SHELLS = frozenset({"shell.*", "script.*"})
"""Families of actions that run what somebody wrote: scripts in signed runbooks (``script.run``)."""
NEVER_BELOW = frozenset({"/root", "/run", "/var", "/var/lib", "/home", "/opt", "/srv"})
"""Folders that ``delete_below`` may not name as a whole."""
NEVER_INSIDE = frozenset(
    {"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/sbin", "/sys", "/usr"}
)
"""Folders that it may name neither as a whole nor in part."""


_ACTION = re.compile(r"[a-z]+\.(?:[a-z_]+|\*)")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class Policy:
    veto: Veto = field(default_factory=Veto)
    delete_below: tuple[str, ...] = ()
    """Folders below which old files may be deleted, beside the built-in ones."""
    reboot_hours: tuple[Hours, ...] = ()
    """When the machine may reboot: one that is ordered for another hour is postponed. Empty: at any hour."""


def read_policy(folder: Path) -> Policy:
    """The policy in ``folder``; the empty one when there is no file; one that forbids everything when it is wrong."""
    path = folder / POLICY_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Policy()
    except (OSError, UnicodeDecodeError) as error:
        return Policy(veto=Veto(unreadable=f"{path}: {error}"))
    try:
        return parse_policy(text)
    except ValueError as error:  # tomllib's own error is one
        return Policy(veto=Veto(unreadable=f"{path}: {error}"))


def parse_policy(text: str) -> Policy:
    """ValueError names the bad value."""
    settings = tomllib.loads(text)
    for key in settings:
        if key not in KEYS:
            raise ValueError(f"{key!r} is not a setting; known: {', '.join(sorted(KEYS))}")
    lists: dict[str, list[str]] = {}
    for key in LISTS:
        values = settings.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise ValueError(f"{key}: {values!r} is not a list of texts")
        lists[key] = values
    shells = settings.get("forbid_shells", False)
    if type(shells) is not bool:
        raise ValueError(f"forbid_shells: {shells!r} is neither true nor false")
    for path in lists["delete_below"]:
        _require_cleanable(path)
    for action in lists["forbid_actions"]:
        if _ACTION.fullmatch(action) is None:
            raise ValueError(f"forbid_actions: {action!r} is no action such as 'service.restart' or 'files.*'")
    return Policy(
        veto=Veto(
            forbid_risk=frozenset(RiskClass(value) for value in lists["forbid_risk"]),
            forbid_runbooks=frozenset(lists["forbid_runbooks"]),
            forbid_actions=frozenset(lists["forbid_actions"]) | (SHELLS if shells else frozenset()),
            allowed_hours=tuple(Hours.parse(value) for value in lists["allowed_hours"]),
        ),
        delete_below=tuple(lists["delete_below"]),
        reboot_hours=tuple(Hours.parse(value) for value in lists["reboot_hours"]),
    )


def _require_cleanable(path: str) -> None:
    if not path.startswith("/") or path.startswith("//") or posixpath.normpath(path) != path:
        raise ValueError(f"delete_below: {path!r} is not an absolute path in its shortest form")
    inside = any(path == never or path.startswith(f"{never}/") for never in NEVER_INSIDE)
    if path == "/" or path in NEVER_BELOW or inside:
        raise ValueError(f"delete_below: {path!r} belongs to the system and is never cleaned")


def policy_words(policy: Policy) -> list[str]:
    """What the policy says, one sentence a line. Of one that cannot be read: that nothing runs, and why."""
    veto = policy.veto
    if veto.unreadable:
        return [f"Nothing runs here: the policy cannot be read ({veto.unreadable})."]
    lines = [f"Never runs here: anything of the risk class {risk}." for risk in sorted(veto.forbid_risk)]
    lines += [f"Never runs here: the runbook {slug}." for slug in sorted(veto.forbid_runbooks)]
    if veto.forbid_actions >= SHELLS:
        lines.append("Never runs here: shells and scripts, whoever signs them.")
    for action in sorted(veto.forbid_actions - SHELLS):
        what = f"any action of {action[:-2]}" if action.endswith(".*") else f"the action {action}"
        lines.append(f"Never runs here: {what}.")
    if veto.allowed_hours:
        lines.append("Runs only, on this device's clock:")
        lines += [f"  {_hours_words(hours)}" for hours in veto.allowed_hours]
    if not lines and not policy.reboot_hours:
        lines.append("Nothing is forbidden: what operators sign within their limits runs, at any hour.")
    if policy.reboot_hours:
        lines.append("Reboots only, on this device's clock:")
        lines += [f"  {_hours_words(hours)}" for hours in policy.reboot_hours]
    lines += [f"Old files below {folder} may be deleted." for folder in policy.delete_below]
    return lines


def _hours_words(hours: Hours) -> str:
    days = "every day" if len(hours.days) == 7 else ", ".join(_DAYS[day] for day in sorted(hours.days))
    end = f"{hours.end // 60:02}:{hours.end % 60:02}"
    after = " of the next day" if hours.end <= hours.start else ""
    return f"{days} from {hours.start // 60:02}:{hours.start % 60:02} to {end}{after}"
