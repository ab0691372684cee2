"""The customer's own policy on the device, ``policy.toml``: what no signature overrides, and what may be cleaned.

::

    forbid_risk = ["destructive"]
    forbid_runbooks = ["restart-service"]
    allowed_hours = ["Mon-Fri 18:00-07:00", "Sat-Sun 00:00-24:00"]
    delete_below = ["/srv/scratch"]

Every key may be left out. A file that cannot be read, or holds a key that is not known, forbids everything: a
misspelt prohibition must not become a permission.
"""

from __future__ import annotations

import posixpath
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from forestall.trust.authorise import Hours, Veto
from forestall.trust.statements import RiskClass

POLICY_FILE = "policy.toml"
KEYS = frozenset({"forbid_risk", "forbid_runbooks", "allowed_hours", "delete_below"})
NEVER_BELOW = frozenset({"/root", "/run", "/var", "/var/lib", "/home", "/opt", "/srv"})
"""Folders that ``delete_below`` may not name as a whole."""
NEVER_INSIDE = frozenset(
    {"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/sbin", "/sys", "/usr"}
)
"""Folders that it may name neither as a whole nor in part."""


@dataclass(frozen=True, slots=True)
class Policy:
    veto: Veto = field(default_factory=Veto)
    delete_below: tuple[str, ...] = ()
    """Folders below which old files may be deleted, beside the built-in ones."""


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
    for key in KEYS:
        values = settings.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise ValueError(f"{key}: {values!r} is not a list of texts")
        lists[key] = values
    for path in lists["delete_below"]:
        _require_cleanable(path)
    return Policy(
        veto=Veto(
            forbid_risk=frozenset(RiskClass(value) for value in lists["forbid_risk"]),
            forbid_runbooks=frozenset(lists["forbid_runbooks"]),
            allowed_hours=tuple(Hours.parse(value) for value in lists["allowed_hours"]),
        ),
        delete_below=tuple(lists["delete_below"]),
    )


def _require_cleanable(path: str) -> None:
    if not path.startswith("/") or path.startswith("//") or posixpath.normpath(path) != path:
        raise ValueError(f"delete_below: {path!r} is not an absolute path in its shortest form")
    inside = any(path == never or path.startswith(f"{never}/") for never in NEVER_INSIDE)
    if path == "/" or path in NEVER_BELOW or inside:
        raise ValueError(f"delete_below: {path!r} belongs to the system and is never cleaned")
