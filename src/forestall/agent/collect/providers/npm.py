"""npm: packages that were installed for the whole machine (``--global``). Read only; see ``pip`` on what is newer."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.providers import Reading
from forestall.agent.collect.providers.pip import ALLOWED, NOT_ASKED
from forestall.wire.facts import Update, UpdateProvider

NAME = "npm"
KIND: Literal["language"] = "language"
CAN = ("list",)
FOLDERS = (
    "/usr/local/lib/node_modules/*/package.json",
    "/usr/local/lib/node_modules/@*/*/package.json",
    "/usr/lib/node_modules/*/package.json",
    "/usr/lib/node_modules/@*/*/package.json",
)
_SECONDS = 60.0


def present(host: Host) -> bool:
    return any(host.glob(pattern) for pattern in FOLDERS)


def read(notes: Notes) -> Reading:
    if notes.host.environment(ALLOWED) != "yes":
        return Reading(UpdateProvider(name=NAME, can=CAN, unknown_why=NOT_ASKED))
    argv = ["npm", "outdated", "--global", "--json"]
    # Exit code 1 says that something is outdated.
    result = notes.run(argv, what="updates of npm", source="npm outdated --global", timeout=_SECONDS)
    pending = find_updates(result.stdout) if result is not None and result.exit_code in (0, 1) else None
    if pending is None:
        why = complaint(result) if result else f"npm did not answer within {_SECONDS:.0f} s"
        notes.gap("updates of npm", why)
        return Reading(UpdateProvider(name=NAME, can=CAN, unknown_why=why))
    return Reading(UpdateProvider(name=NAME, can=CAN, security_sources=False), pending)


def find_updates(text: str) -> tuple[Update, ...] | None:
    """``npm outdated --json``: an object by name; empty text for none; None when it is an error or something else."""
    try:
        rows: Any = msgspec.json.decode(text.encode()) if text.strip() else {}
    except msgspec.DecodeError:
        return None
    if not isinstance(rows, dict) or "error" in rows:
        return None
    found = [
        Update(name=name, installed=str(row.get("current", "")), candidate=str(row["latest"]), security=False)
        for name, row in rows.items()
        if isinstance(row, dict) and row.get("latest") and row["latest"] != row.get("current")
    ]
    return tuple(sorted(found, key=lambda update: update.name))
