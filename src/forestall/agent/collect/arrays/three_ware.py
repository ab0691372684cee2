"""3ware controllers by tw_cli: ``show``, ``/cX show``."""

from __future__ import annotations

import re

from forestall.agent.collect.arrays.found import Found, State, asked, may_ask, reading_of, size_of
from forestall.agent.collect.captures.capture import Reading
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Array, ArrayMember, Controller, Disk

_CARD = re.compile(r"^(c\d+)\s+(\S+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(\S+)\s+(\S+)\s*$")
_UNIT = re.compile(r"^(u\d+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+([\d.]+)\s+(\S+)\s+(\S+)\s*$")
_PORT = re.compile(r"^(p\d+)\s+([A-Z-]+)\s+(u\d+|-)\s+([\d.]+ [TGM]B|-)\s+(\S+)\s*(\S+)?.*$")
_HEAD = re.compile(r"^(Ctl|Unit|Port|VPort|Name)\s+\w|^-+$")
_STATES: dict[str, State] = {
    "OK": "ok", "VERIFYING": "ok", "VERIFY-PAUSED": "ok", "INITIALIZING": "ok", "DEGRADED": "degraded",
    "REBUILDING": "rebuilding", "REBUILD-PAUSED": "rebuilding", "MIGRATING": "rebuilding", "RECOVERY": "rebuilding",
    "INOPERABLE": "failed",
}  # fmt: skip


def find(notes: Notes) -> Found:
    program = next((name for name in ("tw_cli", "tw-cli") if notes.host.find_program(name)), None)
    if program is None or not may_ask(notes, program, "3ware arrays"):
        return Found()
    listed = asked(notes, [program, "show"], "3ware arrays")
    text = listed.stdout if listed is not None else ""
    for card in re.findall(r"^(c\d+)\s", text, re.MULTILINE):
        more = asked(notes, [program, f"/{card}", "show"], "3ware arrays")
        text += more.stdout if more is not None else ""
    return read(reading_of(program, text))


def is_three_ware(reading: Reading) -> bool:
    return any(_CARD.match(line.text) or _UNIT.match(line.text) or _PORT.match(line.text) for line in reading)


def read(reading: Reading) -> Found:
    """The tables of controllers, units and ports, in any order. Without a list of controllers it is c0."""
    found = Found()
    card = "c0"
    units: list[re.Match[str]] = []
    ports: list[re.Match[str]] = []
    for line in [*reading]:
        text = line.text.rstrip()
        if match := _CARD.match(text):
            battery = "" if match[9] == "-" else match[9]
            bad = int(match[6])
            found.controllers.append(
                Controller(
                    name=match[1], model=match[2], ok=bad == 0, battery=battery,
                    state="OK" if bad == 0 else f"{bad} units not optimal",
                    battery_ok=battery == "OK" if battery else None,
                )
            )  # fmt: skip
        elif match := _UNIT.match(text):
            units.append(match)
        elif match := _PORT.match(text):
            ports.append(match)
        elif not _HEAD.match(text):
            continue
        reading.take(line)
    if found.controllers:
        card = found.controllers[0].name
    members: dict[str, list[ArrayMember]] = {}
    for port in ports:
        state = port[2].lower()
        if state in ("not-present",):
            continue
        size = size_of(port[4]) or 0
        if port[5].isdigit():
            size = int(port[5]) * 512
        called = "online" if state == "ok" else "failed" if state in ("drive-removed", "device-error") else state
        found.disks.append(
            Disk(device=f"{card} {port[1]}", behind=f"{card} {port[1]}", serial=port[6] or "", size_bytes=size,
                 state=called, unknown_why="the list does not say")
        )  # fmt: skip
        members.setdefault(port[3], []).append(
            ArrayMember(name=port[1], state=called, ok=called == "online", detail=port[6] or "")
        )
    for unit in units:
        progress = re.match(r"(\d+)%?", unit[4])
        found.arrays.append(
            Array(
                name=f"{card} {unit[1]}", kind="hardware", level=unit[2].lower().replace("-", ""), controller=card,
                state=_STATES.get(unit[3], "unknown"), detail=unit[3], size_bytes=int(float(unit[7]) * 2**30),
                progress_percent=float(progress[1]) if progress else None, members=tuple(members.get(unit[1], ())),
            )
        )  # fmt: skip
    return found
