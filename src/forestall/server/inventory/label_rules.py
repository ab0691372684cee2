"""What can be said of a device: roles, tags, and the rule by which devices belong to a group. No I/O."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

DEVICE_ROLES = ("server", "endpoint", "network", "printer", "cloud")
ASSET_ROLES = (*DEVICE_ROLES, "other")
MOST_TAGS = 20
"""On one device."""
_TAG = re.compile(r"[^\W_][\w.:-]{0,39}")


def tag_name(word: str) -> str:
    """The word as it is kept: lower case, blanks as hyphens. ValueError when it cannot be a tag."""
    name = "-".join(word.lower().split())
    if _TAG.fullmatch(name) is None:
        raise ValueError(f"tag: {word[:80]!r} is not a word of letters, digits and . : _ - of at most 40 characters")
    return name


@dataclass(frozen=True, slots=True)
class GroupRule:
    """By what devices belong to a group without being chosen: everything that is set must hold. Nothing set: none."""

    roles: tuple[str, ...] = ()
    """One of these roles."""
    tags: tuple[str, ...] = ()
    """All of these tags."""
    system: str = ""
    """Part of the operating system's name: ``debian``."""

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """From plain values; ValueError names what cannot be."""
        unknown = sorted(set(values) - {"roles", "tags", "system"})
        if unknown:
            raise ValueError(f"{unknown[0]!r} is none of roles, tags, system")
        for name in ("roles", "tags"):
            given = values.get(name, [])
            if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
                raise ValueError(f"{name}: {given!r} is not a list of words")
        wrong = [role for role in values.get("roles", ()) if role not in DEVICE_ROLES]
        if wrong:
            raise ValueError(f"roles: {wrong[0]!r} is none of {', '.join(DEVICE_ROLES)}")
        system = values.get("system", "")
        if not isinstance(system, str) or len(system) > 100:
            raise ValueError(f"system: {str(system)[:80]!r} is not a text of at most 100 characters")
        return cls(
            roles=tuple(sorted(set(values.get("roles", ())))),
            tags=tuple(sorted({tag_name(one) for one in values.get("tags", ())})),
            system=system.strip(),
        )

    def plain(self) -> dict[str, Any]:
        """As it is kept: only what is set."""
        values = {"roles": list(self.roles), "tags": list(self.tags), "system": self.system}
        return {name: value for name, value in values.items() if value}

    @property
    def is_empty(self) -> bool:
        return not self.plain()

    def holds(self, *, role: str, tags: Collection[str], system: str) -> bool:
        """Whether a device belongs to the group by this rule."""
        if self.is_empty:
            return False
        return (
            (not self.roles or role in self.roles)
            and set(self.tags) <= set(tags)
            and self.system.lower() in system.lower()
        )

    def in_words(self) -> str:
        """``servers and endpoints tagged vip on debian``."""
        if self.is_empty:
            return "only what is chosen one by one"
        words = [" or ".join(self.roles) or "every device"]
        if self.tags:
            words.append(f"tagged {' and '.join(self.tags)}")
        if self.system:
            words.append(f"on {self.system}")
        return " ".join(words)
