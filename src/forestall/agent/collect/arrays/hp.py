"""HP and HPE Smart Array by ssacli, hpssacli and hpacucli: ``ctrl all show config``, ``ctrl all show status``."""

from __future__ import annotations

import re

import msgspec

from forestall.agent.collect.arrays.found import Found, State, asked, may_ask, reading_of, size_of
from forestall.agent.collect.captures.capture import Reading
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Array, ArrayMember, Controller, Disk

PROGRAMS = ("ssacli", "hpssacli", "hpacucli")
_CONTROLLER = re.compile(
    r"^\s*((?:HPE? )?(?:Smart (?:Array|HBA)|MSA|Dynamic|NVMe|SR|Adaptec|HPE|HP|RAID)\b.*?) in (Slot \S+|\S+)"
    r"(?: \(Embedded\))?(?:\s+\(.*?sn:\s*(.*?)\))?(?:\s+\(RAID Mode\))?\s*$",
    re.IGNORECASE,
)
_GROUP = re.compile(r"^\s*(?:[Aa]rray (\S+)|unassigned|Unassigned)\b.*$")
_DRIVE = re.compile(r"^\s*logicaldrive (\d+) \(([^,]+), (RAID [^,]+), ([^)]+)\)", re.IGNORECASE)
_DISK = re.compile(r"^\s*physicaldrive (\S+) \(port .*?bay (\d+), (.+)\)", re.IGNORECASE)
_STATUS = re.compile(
    r"^\s*(Controller Status|Cache Status|Battery/Capacitor Status|Battery Status|Firmware Version)\s*:\s*(.*)$"
)


def find(notes: Notes) -> Found:
    program = next((name for name in PROGRAMS if notes.host.find_program(name)), None)
    if program is None or not may_ask(notes, program, "Smart Array arrays"):
        return Found()
    texts = ""
    for words in (["ctrl", "all", "show", "config"], ["ctrl", "all", "show", "status"]):
        result = asked(notes, [program, *words], "Smart Array arrays", timeout=60)
        texts += result.stdout + "\n" if result is not None else ""
    return read(reading_of(program, texts))


def is_hp(reading: Reading) -> bool:
    return any(_CONTROLLER.match(line.text) or _DISK.match(line.text) for line in reading)


def read(reading: Reading) -> Found:
    """``show config``, lists of slots and of drives, ``show status``, one after another."""
    found = Found()
    controllers: dict[str, Controller] = {}
    arrays: dict[tuple[str, str], list[Array]] = {}
    members: dict[tuple[str, str], list[ArrayMember]] = {}
    slot, group = "", ""
    for line in [*reading]:
        text = line.text
        if match := _CONTROLLER.match(text):
            slot, group = match[2].lower(), ""
            known = controllers.get(slot)
            serial = match[3] or (known.serial if known else "")
            controllers[slot] = (
                msgspec.structs.replace(known, serial=serial)
                if known
                else Controller(name=slot, model=match[1].strip(), serial=serial)
            )
        elif match := _DRIVE.match(text):
            arrays.setdefault((slot, group), []).append(_array(slot, match))
        elif match := _DISK.match(text):
            disk, member = _disk(slot, match)
            found.disks.append(disk)
            members.setdefault((slot, group), []).append(member)
        elif match := _STATUS.match(text):
            if slot in controllers:
                controllers[slot] = _status(controllers[slot], match[1], match[2].strip())
        elif match := _GROUP.match(text):
            group = match[1] or "unassigned"
        elif not re.match(r"^\s*(SEP |Port Name|Internal Drive Cage|Expander|Enclosure|Note:)", text):
            continue
        reading.take(line)
    found.controllers = list(controllers.values())
    for key, each in arrays.items():
        found.arrays += [msgspec.structs.replace(array, members=tuple(members.get(key, ()))) for array in each]
    return found


def _array(slot: str, match: re.Match[str]) -> Array:
    said = match[4].strip()
    lower = said.lower()
    state: State = "unknown"
    if lower == "ok":
        state = "ok"
    elif "interim" in lower or "ready for" in lower or "degraded" in lower:
        state = "degraded"
    elif "recover" in lower or "rebuild" in lower or "transforming" in lower or "expanding" in lower:
        state = "rebuilding"
    elif "fail" in lower or "offline" in lower or "not available" in lower:
        state = "failed"
    done = re.search(r"([\d.]+)% complete", lower)
    level = match[3].split("(")[0].strip().lower().replace(" ", "").replace("1+0", "10")
    return Array(
        name=f"{slot} logicaldrive {match[1]}", kind="hardware", level=level, state=state, detail=said,
        size_bytes=size_of(match[2]), progress_percent=float(done[1]) if done else None, controller=slot,
    )  # fmt: skip


def _disk(slot: str, match: re.Match[str]) -> tuple[Disk, ArrayMember]:
    words = [word.strip() for word in match[3].split(",")]
    interface, size = words[0].lower(), next((size_of(word) for word in words[1:] if size_of(word)), 0)
    said = next((word for word in words[1:] if re.match(r"[A-Za-z]", word)), "") if len(words) > 2 else ""
    spare = words[-1].lower() in ("spare", "active spare")
    lower = said.lower()
    state = (
        "predictive failure" if "predictive" in lower else "failed" if "fail" in lower
        else "rebuilding" if "rebuild" in lower else "hot spare" if spare and lower == "ok" else lower
    )  # fmt: skip
    device = f"{slot} physicaldrive {match[1]}"
    disk = Disk(
        device=device, behind=f"{match[1]} bay {match[2]}", state=state, size_bytes=size or 0,
        kind="ssd" if "ssd" in interface or "solid" in interface else "hdd" if interface in ("sas", "sata") else "",
        interface="sas" if "sas" in interface else "sata" if "sata" in interface else "",
        unknown_why="the list does not say",
    )  # fmt: skip
    member_state = "spare" if state == "hot spare" else state
    return disk, ArrayMember(
        name=match[1], state=member_state, ok=state in ("ok", "hot spare", "rebuilding"), detail=f"bay {match[2]}"
    )


def _status(controller: Controller, what: str, said: str) -> Controller:
    well = said.lower() == "ok"
    if what == "Controller Status":
        return msgspec.structs.replace(controller, state=said, ok=well)
    if what == "Firmware Version":
        return msgspec.structs.replace(controller, firmware=said)
    if what.startswith("Battery"):
        return msgspec.structs.replace(controller, battery=said, battery_ok=well)
    return controller
