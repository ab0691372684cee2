"""snap: what snapd holds ready for the snaps of this machine.

``snap refresh --list`` has snapd ask its store, as it does by itself four times a day; the agent asks nobody. A
version is the vendor's with the revision behind it, because it is the revision that decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.providers import Reading
from forestall.wire.facts import Update, UpdateProvider

NAME = "snap"
KIND: Literal["application"] = "application"
CAN = ("list", "install", "chosen", "hold", "roll_back")

SNAPS = "/var/lib/snapd/snaps/*.snap"
LIST = ("snap", "list", "--color=never", "--unicode=never")
UPDATES = ("snap", "refresh", "--list", "--color=never", "--unicode=never")
_REBOOT = {"base", "kernel", "os", "gadget", "core"}
"""Kinds of snaps, in the column of notes, of which a new revision may only take effect with a start of the machine."""


def present(host: Host) -> bool:
    return bool(host.find_program("snap")) and bool(host.glob(SNAPS))


def read(notes: Notes) -> Reading:
    why = ""
    installed: dict[str, str] = {}
    kinds: dict[str, tuple[str, ...]] = {}
    pending: tuple[Update, ...] = ()
    listed = notes.run(LIST, what="snaps", source="snap list", timeout=30)
    if listed is None or listed.exit_code != 0:
        why = complaint(listed) if listed else "snap did not answer"
    else:
        installed, kinds = parse_list(listed.stdout)
        result = notes.run(UPDATES, what="updates of snap", source="snap refresh --list", timeout=60)
        if result is None or result.exit_code != 0:
            why = complaint(result) if result else "snap did not answer"
        else:
            pending = find_updates(result.stdout, installed, kinds)
    if why:
        notes.gap("updates of snap", why)
    held = tuple(name for name, words in kinds.items() if "held" in words)
    provider = UpdateProvider(
        name=NAME,
        version=installed.get("snapd", "").partition("+r")[0],
        can=CAN,
        security_sources=False,
        held=held,
        unknown_why=why,
    )
    return Reading(provider, pending)


def parse_list(text: str) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """``snap list``: version with revision, and the words of the last column (``classic,held``), by name."""
    installed, words = {}, {}
    for fields in _rows(text):
        name, version, revision = fields[:3]
        installed[name] = _version(version, revision)
        words[name] = tuple(fields[-1].split(",")) if fields[-1] != "-" else ()
    return installed, words


def find_updates(
    text: str, installed: Mapping[str, str], words: Mapping[str, Sequence[str]] | None = None
) -> tuple[Update, ...]:
    """``snap refresh --list``: name, version, revision, in newer snapds size, publisher, notes."""
    found = []
    for fields in _rows(text):
        name, version, revision = fields[:3]
        size = next((each for each in fields[3:] if re.fullmatch(r"\d+(\.\d+)?[kMGT]?B", each)), "")
        notes = (words or {}).get(name, ())
        found.append(
            Update(
                name=name,
                installed=installed.get(name, ""),
                candidate=_version(version, revision),
                security=False,
                held="held" in notes,
                size_bytes=_bytes(size),
                restart="reboot" if _REBOOT & set(notes) else "",
            )
        )
    return tuple(sorted(found, key=lambda update: update.name))


def _rows(text: str) -> list[list[str]]:
    lines = [line.split() for line in text.splitlines()]
    # The heading's words differ by version and language; its third column is no revision, which is a number or x1.
    return [fields for fields in lines if len(fields) >= 5 and re.fullmatch(r"x?\d+", fields[2])]


def _version(version: str, revision: str) -> str:
    return f"{version}+r{revision}"


def _bytes(text: str) -> int:
    units = {"": 1, "k": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGT]?)B", text)
    return int(float(found[1]) * units[found[2]]) if found else 0
