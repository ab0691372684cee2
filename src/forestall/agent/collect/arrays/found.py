"""What the tools of arrays have in common: what they found, sizes, times."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from forestall.agent.collect.captures.capture import CapturedFile, Reading
from forestall.agent.collect.host import CommandResult
from forestall.agent.collect.notes import Notes, complaint
from forestall.wire.facts import Array, Controller, Disk

State = Literal["ok", "degraded", "rebuilding", "failed", "unknown"]

_UNITS = {
    "": 1, "b": 1, "k": 2**10, "kb": 10**3, "kib": 2**10, "m": 2**20, "mb": 10**6, "mib": 2**20, "g": 2**30,
    "gb": 10**9, "gib": 2**30, "t": 2**40, "tb": 10**12, "tib": 2**40, "p": 2**50, "pb": 10**15, "pib": 2**50,
}  # fmt: skip


@dataclass(slots=True)
class Found:
    """What one tool says."""

    arrays: list[Array] = field(default_factory=list)
    controllers: list[Controller] = field(default_factory=list)
    disks: list[Disk] = field(default_factory=list)
    """Physical disks that the system itself does not show."""

    def add(self, other: Found) -> Found:
        self.arrays += other.arrays
        self.controllers += other.controllers
        self.disks += other.disks
        return self

    def __bool__(self) -> bool:
        return bool(self.arrays or self.controllers or self.disks)


def size_of(text: str, *, binary: bool = False) -> int | None:
    """Bytes of ``446.625 GB``, ``1.5t``; None when it is no size. ``binary``: to this tool GB means 2^30."""
    found = re.match(r"\s*([\d.,]+)\s*([A-Za-z]*)", text)
    if not found:
        return None
    unit = found[2].lower()
    factor = _UNITS.get(unit)
    if factor is None:
        return None
    if binary and unit.endswith("b") and not unit.endswith("ib") and len(unit) == 2:
        factor = _UNITS[unit[0] + "ib"]
    try:
        return int(float(found[1].replace(",", "")) * factor)
    except ValueError:
        return None


def moment_of(text: str) -> datetime | None:
    """``Sun Nov  9 02:35:44 2025`` as UTC (the agent runs every program in UTC); None when it is no such time."""
    try:
        return datetime.strptime(" ".join(text.split()), "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError:
        return None


def number_of(text: str) -> int | None:
    """A whole number, with or without a multiple as ZFS writes it (``1.2K``); None when it is none."""
    found = re.match(r"^(\d+(?:\.\d+)?)([KMGT]?)$", text.strip())
    if not found:
        return None
    return int(float(found[1]) * {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}[found[2]])


def reading_of(name: str, text: str) -> Reading:
    """The output of a program, to be read line by line."""
    return Reading(CapturedFile(name, text.replace("\x00", "").encode()))


def asked(notes: Notes, argv: list[str], what: str, *, timeout: float = 30) -> CommandResult | None:
    """Run a tool that is installed. None, and a gap, where it fails."""
    result = notes.run(argv, what=what, timeout=timeout)
    if result is not None and result.exit_code != 0 and not result.stdout.strip():
        notes.gap(what, complaint(result))
        return None
    return result


def may_ask(notes: Notes, program: str, what: str) -> bool:
    """Whether the program is there and we are root, which all of these tools want; a gap where we are not."""
    if notes.host.find_program(program) is None:
        return False
    if not notes.host.is_root:
        notes.gap(what, "needs root")
        return False
    return True
