"""Broadcom (LSI) and PERC controllers by storcli and perccli: ``/call show all J``, or its tables as text."""

from __future__ import annotations

import json
import re
from typing import Any

from forestall.agent.collect.arrays.found import Found, State, asked, may_ask, size_of
from forestall.agent.collect.captures.capture import Reading
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Array, ArrayMember, Controller, Disk

PROGRAMS = ("storcli64", "storcli", "perccli64", "perccli")
_STATES: dict[str, State] = {
    "optl": "ok", "pdgd": "degraded", "dgrd": "degraded", "ofln": "failed", "rec": "rebuilding", "cac": "ok",
}  # fmt: skip
_DISK_STATES = {
    "onln": "online", "offln": "offline", "ugood": "unconfigured good", "ubad": "unconfigured bad", "ugunsp": "failed",
    "ghs": "hot spare", "dhs": "hot spare", "rbld": "rebuilding", "jbod": "jbod", "failed": "failed",
    "missing": "missing", "cpybck": "rebuilding", "msng": "missing",
}  # fmt: skip
_WELL = frozenset(["online", "hot spare", "jbod", "unconfigured good"])


def find(notes: Notes) -> Found:
    program = next((name for name in PROGRAMS if notes.host.find_program(name)), None)
    if program is None or not may_ask(notes, program, "MegaRAID arrays"):
        return Found()
    result = asked(notes, [program, "/call", "show", "all", "J"], "MegaRAID arrays", timeout=60)
    if result is None:
        return Found()
    try:
        return read_json(json.loads(result.stdout))
    except json.JSONDecodeError:
        notes.gap("MegaRAID arrays", f"{program} printed no JSON")
        return Found()


def read_json(report: Any) -> Found:
    """The JSON of ``/call show all J``; nothing of it is sure, so that another shape gives nothing."""
    found = Found()
    for index, each in enumerate(_rows(report, "Controllers")):
        data = each.get("Response Data")
        if not isinstance(data, dict):
            continue
        number = _text(_at(each, "Command Status", "Controller")) or str(index)
        status = _text(_at(data, "Status", "Controller Status"))
        batteries = _rows(data, "BBU_Info") or _rows(data, "Cachevault_Info")
        battery = _text(batteries[0].get("State")) if batteries else ""
        found.controllers.append(
            Controller(
                name=f"c{number}", model=_text(_at(data, "Basics", "Model") or data.get("Product Name")),
                serial=_text(_at(data, "Basics", "Serial Number") or data.get("Serial Number")),
                firmware=_text(_at(data, "Version", "Firmware Version") or data.get("FW Version")),
                state=status, ok=status.lower() in ("optimal", "ok") if status else None, battery=battery,
                battery_ok=battery.lower() in ("optimal", "optl", "ok") if battery else None,
            )
        )  # fmt: skip
        _tables(found, number, _rows(data, "VD LIST"), _rows(data, "PD LIST"))
    return found


def _tables(found: Found, number: str, drives: list[dict[str, Any]], disks: list[dict[str, Any]]) -> None:
    members: dict[str, list[ArrayMember]] = {}
    for row in disks:
        said = _text(row.get("State")).lower()
        state = _DISK_STATES.get(said, said)
        place = _text(row.get("EID:Slt")).strip()
        behind = f"enclosure {place.replace(':', ' slot ')}".replace("enclosure   slot", "slot")
        media, interface = _text(row.get("Med")).lower(), _text(row.get("Intf")).lower()
        found.disks.append(
            Disk(
                device=f"c{number} {behind}", behind=behind, model=_text(row.get("Model")).strip(), state=state,
                kind={"ssd": "ssd", "hdd": "hdd"}.get(media, ""),
                interface=interface if interface in ("sas", "sata", "nvme") else "",
                size_bytes=size_of(_text(row.get("Size")), binary=True) or 0, unknown_why="the list does not say",
            )
        )  # fmt: skip
        group = _text(row.get("DG"))
        members.setdefault(group, []).append(
            ArrayMember(name=behind, state=state, ok=state in _WELL or state == "rebuilding",
                        detail=_text(row.get("Model")).strip())
        )  # fmt: skip
    for row in drives:
        group, _, drive = _text(row.get("DG/VD")).partition("/")
        said = _text(row.get("State"))
        found.arrays.append(
            Array(
                name=f"c{number} vd{drive or group}", kind="hardware", level=_text(row.get("TYPE")).lower(),
                state=_STATES.get(said.lower(), "unknown"), detail=f"{_text(row.get('Name'))} {said}".strip(),
                size_bytes=size_of(_text(row.get("Size")), binary=True), controller=f"c{number}",
                members=tuple(members.get(group, [])),
            )
        )  # fmt: skip


_VD = re.compile(
    r"^(\d+/\d+)\s+(\S+)\s+(Optl|Pdgd|Dgrd|OfLn|Rec|Cac)\s+(\S+)\s+(\S+)\s+\S+\s+\S+\s+\S+\s+([\d.]+ [TGM]B)\s*(.*)$"
)
_PD = re.compile(
    r"^(\d*\s*:\d+)\s+(\d+)\s+(Onln|Offln|UGood|UBad|UGUnsp|GHS|DHS|Rbld|JBOD|Failed|Msng|CpyBck)\s+(\S+|F)\s+"
    r"([\d.]+ [TGM]B)\s+(SAS|SATA|NVMe)\s+(HDD|SSD)\s+\S+\s+\S+\s+\S+\s+(.+?)\s+[UDT-]\b.*$"
)
_NAMED = re.compile(r"^(Controller|Product Name|Serial Number|FW Version|Controller Status|Model)\s*=\s*(.*)$")


def is_storcli(reading: Reading) -> bool:
    return any(
        "CLI Version" in line.text or _VD.match(line.text) or line.text.startswith("VD LIST") for line in reading
    )


def read_text(reading: Reading) -> Found:
    """The same as text."""
    found = Found()
    named: dict[str, str] = {}
    drives: list[dict[str, Any]] = []
    disks: list[dict[str, Any]] = []
    for line in [*reading]:
        text = line.text.strip()
        if match := _VD.match(text):
            drives.append({"DG/VD": match[1], "TYPE": match[2], "State": match[3], "Size": match[6], "Name": match[7]})
        elif match := _PD.match(text):
            disks.append({"EID:Slt": match[1], "State": match[3], "DG": match[4], "Size": match[5], "Intf": match[6],
                          "Med": match[7], "Model": match[8]})  # fmt: skip
        elif match := _NAMED.match(text):
            named.setdefault(match[1], match[2].strip())
        elif not re.match(r"^[\w /.()&%#'-]+=|^-{3,}|^={3,}|^\w+ (LIST|Info|Drives) :|^[A-Z].*\|.*=|"
                          r"^(DG|EID|VD|Model)\b|^\S+=|.*=.*\|", text):  # fmt: skip
            continue
        reading.take(line)
    number = named.get("Controller", "0")
    if "Product Name" in named or "Model" in named:
        status = named.get("Controller Status", "")
        found.controllers.append(
            Controller(
                name=f"c{number}", model=named.get("Product Name") or named.get("Model", ""), state=status,
                serial=named.get("Serial Number", ""), firmware=named.get("FW Version", ""),
                ok=status.lower() in ("optimal", "ok") if status else None,
            )
        )  # fmt: skip
    _tables(found, number, drives, disks)
    return found


def _at(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _rows(value: Any, key: str) -> list[dict[str, Any]]:
    found = _at(value, key)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _text(value: Any) -> str:
    return "" if value is None else str(value)
