"""Adaptec controllers by arcconf: ``getconfig 1``."""

from __future__ import annotations

import re

from forestall.agent.collect.arrays.found import Found, State, asked, may_ask, reading_of, size_of
from forestall.agent.collect.captures.capture import Reading
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Array, ArrayMember, Controller, Disk

_FIELD = re.compile(r"^\s*(.+?)\s*:\s*(.*?)\s*$")
_STATES: dict[str, State] = {
    "optimal": "ok", "degraded": "degraded", "suboptimal": "degraded", "failed": "failed", "offline": "failed",
    "rebuilding": "rebuilding", "impacted": "degraded", "quick initialized": "ok",
}  # fmt: skip


def find(notes: Notes) -> Found:
    if not may_ask(notes, "arcconf", "Adaptec arrays"):
        return Found()
    result = asked(notes, ["arcconf", "getconfig", "1"], "Adaptec arrays", timeout=60)
    return read(reading_of("arcconf", result.stdout)) if result is not None else Found()


def is_arcconf(reading: Reading) -> bool:
    marks = ("Controllers found:", "Logical device number", "Logical Device number", "Controller information")
    return any(line.text.strip().startswith(marks) for line in reading)


def read(reading: Reading) -> Found:
    """``arcconf getconfig N``: the controller, its logical devices and its disks."""
    found = Found()
    controller: dict[str, str] = {}
    block: dict[str, str] = controller
    drives: list[tuple[str, dict[str, str]]] = []
    disks: list[dict[str, str]] = []
    began = False
    for line in [*reading]:
        text = line.text.strip()
        number = re.match(r"^Logical [Dd]evice number (\d+)", text)
        if number:
            block = {}
            drives.append((number[1], block))
        elif re.match(r"^Device #\d+", text):
            block = {}
            disks.append(block)
        elif field := _FIELD.match(text):
            if began:
                block.setdefault(field[1], field[2])
            elif field[1] != "Controllers found":
                continue
        elif not re.match(r"^-{3,}|^Controller information|^(Logical|Physical) [Dd]evice|^Device is|^Command completed|"
                          r"^(RAID|Controller) (Properties|Version|Battery|Cache)|^Connector|^Temperature|"
                          r"^Supported|^Statistics", text):  # fmt: skip
            continue
        began = began or text.startswith(("Controllers found", "Controller information", "Logical device"))
        reading.take(line)
    status = controller.get("Controller Status", "")
    battery = next((value for name, value in controller.items() if name == "Status" or "Battery Status" in name), "")
    if status or controller.get("Controller Model"):
        found.controllers.append(
            Controller(
                name="controller 1", model=controller.get("Controller Model", ""), state=status,
                serial=controller.get("Controller Serial Number", ""), firmware=controller.get("Firmware", ""),
                ok=status.lower() in ("optimal", "ok") if status else None, battery=battery,
                battery_ok=battery.lower() in ("optimal", "ok", "ready", "charged") if battery else None,
            )
        )  # fmt: skip
    for drive, fields in drives:
        found.arrays.append(_array(drive, fields))
    for fields in disks:
        state = fields.get("State", "").lower().split("(")[0].strip()
        place = re.sub(r"\s+", " ", fields.get("Reported Location", ""))
        if not state:
            continue
        called = {"online": "online", "hot spare": "hot spare", "ready": "ready", "failed": "failed",
                  "rebuilding": "rebuilding", "global hot-spare": "hot spare"}.get(state, state)  # fmt: skip
        alerts = fields.get("S.M.A.R.T.", "").lower()
        found.disks.append(
            Disk(
                device=place or f"disk {len(found.disks)}", behind=place, model=fields.get("Model", ""),
                serial=fields.get("Serial number", ""), firmware=fields.get("Firmware", ""), state=called,
                size_bytes=size_of(fields.get("Size") or fields.get("Total Size", ""), binary=True) or 0,
                smart_passed=alerts == "no" if alerts in ("yes", "no") else None,
                smart_available=True if alerts in ("yes", "no") else None,
                kind="ssd" if fields.get("SSD", "").lower() == "yes" else "hdd" if "SSD" in fields else "",
                unknown_why="" if alerts in ("yes", "no") else "the list does not say",
            )
        )  # fmt: skip
    return found


def _array(number: str, fields: dict[str, str]) -> Array:
    said = fields.get("Status of Logical Device") or fields.get("Status of logical device") or fields.get("Status", "")
    members = []
    for name, value in fields.items():
        if not re.match(r"^Segment \d+", name):
            continue
        state = re.split(r"[ (,]", value)[0].lower()
        rest = value[len(state) :].strip()
        members.append(
            ArrayMember(name=name.lower(), state={"present": "online"}.get(state, state),
                        ok=state in ("present", "rebuilding"), detail=rest)
        )  # fmt: skip
    level = fields.get("RAID level", "").lower()
    return Array(
        name=f"controller 1 ld{number}", kind="hardware", level=f"raid{level}" if level else "",
        controller="controller 1", state=_STATES.get(said.lower().split(",")[0].strip(), "unknown"), detail=said,
        size_bytes=size_of(fields.get("Size", ""), binary=True), members=tuple(members),
    )  # fmt: skip
