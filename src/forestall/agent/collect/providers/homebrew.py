"""Homebrew: ``brew outdated --json=v2`` from the lists that it keeps, as the account that owns it (it refuses root).

There is no agent for macOS yet: this has read answers written after Homebrew's documentation, and never ran there.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.providers import Reading
from forestall.wire.facts import Update, UpdateProvider

NAME = "homebrew"
KIND: Literal["application"] = "application"
CAN = ("list",)
PLACES = ("/opt/homebrew/bin/brew", "/usr/local/bin/brew", "/home/linuxbrew/.linuxbrew/bin/brew")
_ENVIRONMENT = {"HOMEBREW_NO_AUTO_UPDATE": "1", "HOMEBREW_NO_ANALYTICS": "1", "HOMEBREW_NO_ENV_HINTS": "1"}


def present(host: Host) -> bool:
    return _program(host) is not None


def read(notes: Notes) -> Reading:
    host = notes.host
    program = _program(host) or PLACES[0]
    argv = [program, "outdated", "--json=v2"]
    try:
        owner = host.status(program).uid
    except HostError:
        owner = 0
    if host.is_root and owner:
        settings = [f"{name}={value}" for name, value in _ENVIRONMENT.items()]
        argv = ["sudo", "-n", "-H", "-u", f"#{owner}", "env", *settings, *argv]
    result = notes.run(argv, what="updates of Homebrew", source="brew outdated", timeout=120, environment=_ENVIRONMENT)
    found = find_updates(result.stdout) if result is not None and result.stdout.strip() else None
    if found is None:
        why = complaint(result) if result else "brew did not answer"
        notes.gap("updates of Homebrew", why)
        return Reading(UpdateProvider(name=NAME, can=CAN, unknown_why=why))
    held = tuple(update.name for update in found if update.held)
    return Reading(UpdateProvider(name=NAME, can=CAN, security_sources=False, held=held), found)


def find_updates(text: str) -> tuple[Update, ...] | None:
    """``brew outdated --json=v2``: formulae and casks; None when it is not that."""
    try:
        answer: Any = msgspec.json.decode(text[text.index("{") :].encode())
    except (ValueError, msgspec.DecodeError):
        return None
    if not isinstance(answer, dict):
        return None
    found = []
    for kind in ("formulae", "casks"):
        for each in answer.get(kind) or []:
            versions = each.get("installed_versions") or ""
            # A cask's was one text in older versions of Homebrew.
            newest = versions[-1] if isinstance(versions, list) and versions else versions or ""
            found.append(
                Update(
                    name=str(each.get("name", "")),
                    installed=str(newest),
                    candidate=str(each.get("current_version", "")),
                    security=False,
                    origin="cask" if kind == "casks" else "formula",
                    held=bool(each.get("pinned")),
                )
            )
    return tuple(sorted(found, key=lambda update: update.name))


def _program(host: Host) -> str | None:
    return next((path for path in PLACES if host.glob(path)), None)
