"""pip: packages that the system's own Pythons have beside those of the package manager. Read only.

What is newer is known to the package index alone, and an agent does not call that by itself, on every device, with a
list of what is installed there. It asks where it is allowed to (``FORESTALL_AGENT_ASK_INDEXES``); else the updates are
unknown and say so. What is installed is in the ``software`` document either way, for the vulnerability match.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.providers import Reading
from forestall.wire.facts import Update, UpdateProvider

NAME = "pip"
KIND: Literal["language"] = "language"
CAN = ("list",)
ALLOWED = "FORESTALL_AGENT_ASK_INDEXES"
"""``yes``: the agent may ask package indexes what is newer."""
FOLDERS = (
    "/usr/local/lib/python3*/site-packages/*.dist-info",
    "/usr/local/lib/python3*/dist-packages/*.dist-info",
    "/usr/lib/python3*/site-packages/*.dist-info",
    "/usr/lib/python3/dist-packages/*.dist-info",
)
_LOCAL = FOLDERS[:2]
"""Where only pip installs."""
NOT_ASKED = "only the package index knows, and the agent may not ask it"
_SECONDS = 60.0


def present(host: Host) -> bool:
    return any(host.glob(pattern) for pattern in _LOCAL)


def read(notes: Notes) -> Reading:
    if notes.host.environment(ALLOWED) != "yes":
        return Reading(UpdateProvider(name=NAME, can=CAN, unknown_why=NOT_ASKED))
    argv = ["python3", "-m", "pip", "list", "--outdated", "--format=json", "--disable-pip-version-check", "--no-input"]
    result = notes.run(argv, what="updates of pip", source="pip list --outdated", timeout=_SECONDS)
    pending = find_updates(result.stdout) if result is not None and result.exit_code == 0 else None
    if pending is None:
        why = complaint(result) if result else f"pip did not answer within {_SECONDS:.0f} s"
        notes.gap("updates of pip", why)
        return Reading(UpdateProvider(name=NAME, can=CAN, unknown_why=why))
    return Reading(UpdateProvider(name=NAME, can=CAN, security_sources=False), pending)


def find_updates(text: str) -> tuple[Update, ...] | None:
    """``pip list --outdated --format=json``; None when it is not that."""
    try:
        rows: Any = msgspec.json.decode(text.encode())
    except msgspec.DecodeError:
        return None
    if not isinstance(rows, list):
        return None
    found = [
        Update(name=row["name"], installed=row["version"], candidate=row["latest_version"], security=False)
        for row in rows
        if isinstance(row, dict) and {"name", "version", "latest_version"} <= set(row)
    ]
    return tuple(sorted(found, key=lambda update: update.name.lower()))
