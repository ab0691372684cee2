"""LSI and PERC controllers by MegaCli: ``-LDInfo``, ``-PDList``, ``-ShowSummary``, ``-AdpBbuCmd``; and megasasctl."""

from __future__ import annotations

import re

from forestall.agent.collect.arrays.found import Found, State, asked, may_ask, reading_of, size_of
from forestall.agent.collect.captures.capture import Reading
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Array, ArrayMember, Controller, Disk

PROGRAMS = ("megacli", "MegaCli", "MegaCli64")
_FIELD = re.compile(r"^\s*([^:]+?)\s*:\s*(.*?)\s*$")
_STATES: dict[str, State] = {
    "optimal": "ok", "degraded": "degraded", "partially degraded": "degraded", "offline": "failed", "failed": "failed",
    "recovery": "rebuilding", "rebuild": "rebuilding",
}  # fmt: skip
_DISK_STATES = {
    "online": "online", "failed": "failed", "rebuild": "rebuilding", "rebuilding": "rebuilding",
    "hotspare": "hot spare", "hot spare": "hot spare", "unconfigured(good)": "unconfigured good",
    "unconfigured(bad)": "unconfigured bad", "jbod": "jbod", "offline": "offline", "missing": "missing",
    "copyback": "rebuilding", "unconfigured good": "unconfigured good",
}  # fmt: skip
_LEVELS = {("1", "0"): "raid1", ("0", "0"): "raid0", ("5", "0"): "raid5", ("6", "0"): "raid6", ("1", "3"): "raid10",
           ("5", "3"): "raid50", ("6", "3"): "raid60"}  # fmt: skip
_OF_NO_INTEREST = re.compile(
    r"^\s*(Exit Code|Adapter|Adapter #|Controller Count|PCI information|Bus Number|Device Number|Function Number|---|"
    r"Number of|Enclosure \d|Device ID|System$|Hardware$|Storage$|Virtual Drives$|Port-\d|CacheCade|Span:|"
    r"Inquiry data|=====|\^|BBU status for|GasGuage|Product Identification|Vendor Identification|"
    r"Vendor Specific|Product Revision)"
)


def find(notes: Notes) -> Found:
    program = next((name for name in PROGRAMS if notes.host.find_program(name)), None)
    if program is None or notes.host.find_program("storcli") or notes.host.find_program("storcli64"):
        return Found()
    if not may_ask(notes, program, "MegaRAID arrays"):
        return Found()
    parts = {}
    for words in (["-ShowSummary", "-aALL"], ["-LDInfo", "-Lall", "-aALL"], ["-PDList", "-aALL"]):
        result = asked(notes, [program, *words, "-NoLog"], "MegaRAID arrays")
        parts[words[0]] = read(reading_of(program, result.stdout)) if result is not None else Found()
    # The summary lists arrays and disks as well; the long lists say more of each.
    summary = parts["-ShowSummary"]
    return Found(
        arrays=parts["-LDInfo"].arrays or summary.arrays,
        controllers=summary.controllers,
        disks=parts["-PDList"].disks or summary.disks,
    )


def is_megacli(reading: Reading) -> bool:
    marks = ("Virtual Drive: ", "Enclosure Device ID:", "Exit Code: 0x", "Adapter #", "Virtual drive      :")
    return any(line.text.strip().startswith(marks) for line in reading)


def read(reading: Reading) -> Found:
    """Any list of MegaCli: virtual drives, physical drives, the summary, batteries."""
    found = Found()
    block: dict[str, str] = {}
    part, adapter = "", "0"
    for line in [*reading]:
        text = line.text.strip()
        if not text:
            continue
        number = re.match(r"^Adapter #?(\d+)|^Adapter (\d+) --|^Controller Count", text)
        if number:
            _close(found, part, block, adapter)
            part, block, adapter = "", {}, number[1] or number[2] or "0"
            reading.take(line)
            continue
        begins = next((name for rule, name in _BEGINS if rule.match(text)), None)
        if begins is not None and not (begins == "enclosure" and part == "disk"):
            again = {"sum-disk": "Connector", "sum-array": "Virtual drive"}.get(part)
            if again is None or not text.startswith(again) or again in block:
                _close(found, part, block, adapter)
                block = {}
            part = begins
        field = _FIELD.match(text)
        if field and part:
            block.setdefault(field[1], field[2])
            reading.take(line)
        elif begins is not None or _OF_NO_INTEREST.match(text):
            reading.take(line)
    _close(found, part, block, adapter)
    return found


_BEGINS = (
    (re.compile(r"^Virtual Drive: "), "array"),
    (re.compile(r"^Enclosure Device ID:"), "disk"),
    (re.compile(r"^Controller$"), "controller"),
    (re.compile(r"^BBU$|^BBU status for"), "battery"),
    (re.compile(r"^Enclosure$|^Enclosure \d+:$|^\s*Number of enclosures on|^PCI information"), "enclosure"),
    (re.compile(r"^PD$|^Connector\s+:"), "sum-disk"),
    (re.compile(r"^Virtual Drives$|^Virtual drive\s+:"), "sum-array"),
    (re.compile(r"^System$"), "system"),
    (re.compile(r"^Hardware$|^Storage$"), ""),
)


def _close(found: Found, part: str, block: dict[str, str], adapter: str) -> None:
    if not block:
        return
    if part == "array" and "Virtual Drive" in block:
        number = block["Virtual Drive"].split(" ")[0]
        level = re.search(r"Primary-(\d+), Secondary-(\d+)", block.get("RAID Level", ""))
        said = block.get("State", "")
        spans = block.get("Span Depth", "1")
        name = _LEVELS.get((level[1], level[2]), "") if level else ""
        if name == "raid1" and spans.isdigit() and int(spans) > 1:
            name = "raid10"
        rebuilt = re.search(r"Completed (\d+)%", block.get("Rebuild", ""))
        found.arrays.append(
            Array(
                name=f"c{adapter} vd{number}", kind="hardware", level=name, controller=f"c{adapter}",
                state=_STATES.get(said.lower(), "unknown"), detail=f"{block.get('Name', '')} {said}".strip(),
                size_bytes=size_of(block.get("Size", ""), binary=True),
                progress_percent=float(rebuilt[1]) if rebuilt else None,
                errors=1 if block.get("Bad Blocks Exist", "No").startswith("Yes") else None,
            )
        )  # fmt: skip
    elif part == "sum-array" and "Virtual drive" in block:
        target = re.search(r"Target Id (\d+)", block["Virtual drive"])
        level_number = block.get("RAID Level", "")
        found.arrays.append(
            Array(
                name=f"c{adapter} vd{target[1] if target else len(found.arrays)}", kind="hardware",
                level=f"raid{level_number}" if level_number else "", controller=f"c{adapter}",
                state=_STATES.get(block.get("State", "").lower(), "unknown"),
                size_bytes=size_of(block.get("Size", ""), binary=True),
            )
        )  # fmt: skip
    elif part == "disk" and "Slot Number" in block:
        found.disks.append(_disk(block, adapter))
    elif part == "sum-disk" and "Connector" in block:
        slot = re.search(r"Slot (\d+)", block["Connector"])
        place = f"slot {slot[1]}" if slot else block["Connector"].split("<")[0]
        media = block.get("Disk Type", "").lower()
        found.disks.append(
            Disk(
                device=f"c{adapter} {place}", behind=place, model=block.get("Product Id", ""),
                state=_DISK_STATES.get(block.get("State", "").lower(), block.get("State", "").lower()),
                size_bytes=size_of(block.get("Capacity", ""), binary=True) or 0,
                kind="ssd" if "solid" in media else "hdd" if "hard" in media else "",
                interface=media.split(",")[0] if media.split(",")[0] in ("sas", "sata") else "",
            )
        )  # fmt: skip
    elif part == "controller" and "ProductName" in block:
        status = block.get("Status", "")
        found.controllers.append(
            Controller(
                name=f"c{len(found.controllers)}", model=block["ProductName"].split("(")[0].strip(), state=status,
                ok=status.lower() == "optimal" if status else None, firmware=block.get("FW Package Version", ""),
            )
        )  # fmt: skip
    elif part == "battery" and found.controllers:
        from msgspec.structs import replace

        status = block.get("Status") or block.get("Battery State", "")
        well = status.lower() in ("healthy", "optimal", "ok")
        found.controllers[-1] = replace(found.controllers[-1], battery=status, battery_ok=well if status else None)


def _disk(block: dict[str, str], adapter: str) -> Disk:
    said = block.get("Firmware state", "").split(",")[0].strip().lower()
    predicted = int(block.get("Predictive Failure Count", "0") or 0) if block.get(
        "Predictive Failure Count", "0"
    ).isdigit() else 0  # fmt: skip
    flagged = block.get("Drive has flagged a S.M.A.R.T alert", "").lower()
    media = block.get("Media Type", "").lower()
    celsius = re.match(r"(\d+)\s*C", block.get("Drive Temperature", ""))
    inquiry = block.get("Inquiry Data", "").split()
    raw = re.search(r"\[0x([0-9a-fA-F]+) Sectors\]", block.get("Raw Size", ""))
    sector = int(block.get("Sector Size", "0") or 0) if block.get("Sector Size", "0").isdigit() else 0
    enclosure = block.get("Enclosure Device ID", "").replace("N/A", "")
    place = f"enclosure {enclosure} slot {block['Slot Number']}" if enclosure else f"slot {block['Slot Number']}"
    errors = block.get("Media Error Count", "")
    return Disk(
        device=f"c{adapter} {place}",
        behind=place,
        model=" ".join(inquiry[:-1]) if len(inquiry) > 1 else " ".join(inquiry),
        serial=inquiry[-1].removeprefix(block.get("Device Firmware Level", "")) if len(inquiry) > 1 else "",
        size_bytes=int(raw[1], 16) * (sector or 512) if raw else size_of(block.get("Raw Size", ""), binary=True) or 0,
        kind="ssd" if "solid" in media else "hdd" if "hard" in media else "",
        interface=block.get("PD Type", "").lower(),
        firmware=block.get("Device Firmware Level", ""),
        state="predictive failure" if predicted and said == "online" else _DISK_STATES.get(said, said),
        media_errors=int(errors) if errors.isdigit() else None,
        smart_available=True if flagged in ("yes", "no") else None,
        smart_passed={"no": True, "yes": False}.get(flagged),
        temperature_celsius=float(celsius[1]) if celsius and int(celsius[1]) > 0 else None,
        unknown_why="" if flagged in ("yes", "no") else "the controller does not say",
    )


_SAS_CONTROLLER = re.compile(r"^(a\d+)\s+(.*?)\s{2,}.*?encl:.*$")
_SAS_ARRAY = re.compile(r"^(a\d+d\d+)\s+(\d+\w+)\s+RAID\s+(\d+)\s+(\S+)\s+(.+)$")
_SAS_DISK = re.compile(r"^(a\d+e\d+s\d+)\s+(.+?)\s{2,}(\d+\w+)\s+(\S+)\s+(.+?)\s*$")


def read_megasasctl(reading: Reading) -> Found:
    """The short list of ``megasasctl``."""
    found = Found()
    disks: list[tuple[str, ArrayMember]] = []
    arrays: list[Array] = []
    for line in [*reading]:
        text = line.text.rstrip()
        if match := _SAS_ARRAY.match(text):
            arrays.append(
                Array(
                    name=match[1], kind="hardware", level=f"raid{match[3]}", controller=match[1].split("d")[0],
                    state=_STATES.get(match[5].strip().lower(), "unknown"), detail=match[5].strip(),
                    size_bytes=size_of(match[2]),
                )
            )  # fmt: skip
        elif match := _SAS_DISK.match(text):
            state = match[5].strip().lower()
            well = state == "online" or "spare" in state
            disks.append((match[4], ArrayMember(name=match[1], state=state, ok=well, detail=match[2].strip())))
        elif match := _SAS_CONTROLLER.match(text):
            battery = re.search(r"batt:([^/\s]+)", text)
            firmware = re.search(r"fw:(\S+)", text)
            found.controllers.append(
                Controller(
                    name=match[1], model=match[2].strip(), ok=True, state="answers",
                    firmware=firmware[1] if firmware else "", battery=battery[1] if battery else "",
                    battery_ok=battery[1] == "good" if battery else None,
                )
            )  # fmt: skip
        elif not re.match(r"^\s+row\s+\d+:", text):
            continue
        reading.take(line)
    from msgspec.structs import replace

    found.arrays = [
        replace(array, members=tuple(member for of, member in disks if of == array.name)) for array in arrays
    ]
    return found
