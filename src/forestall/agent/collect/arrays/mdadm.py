"""Linux software RAID: ``/proc/mdstat``, ``mdadm --detail``, ``mdadm --examine``."""

from __future__ import annotations

import re

from forestall.agent.collect.arrays.found import Found, State, reading_of
from forestall.agent.collect.captures.capture import Reading
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Array, ArrayMember

_ARRAY = re.compile(r"^(md\S+)\s*:\s*(active|inactive)\b\s*(?:\(([^)]*)\)\s*)?(.*)$")
_MEMBER = re.compile(r"^([^\[\s]+)\[(\d+)\]((?:\([A-Z]\))*)$")
_PROGRESS = re.compile(r"(recovery|resync|reshape|check|repair)\s*=\s*([\d.]+)%")
_WAITING = re.compile(r"(recovery|resync|reshape|check|repair)\s*=\s*(DELAYED|PENDING|REMOTE)")
_BLOCKS = re.compile(r"^\s*(\d+) blocks\b(.*)$")
_COUNTS = re.compile(r"\[(\d+)/(\d+)\]\s*\[([U_]+)\]")
_WITHOUT_SPARE = frozenset(["raid0", "linear"])


def find(notes: Notes) -> Found:
    text = notes.read("/proc/mdstat")
    if text is None:
        return Found()
    found = read_mdstat(reading_of("/proc/mdstat", text))
    for index, array in enumerate(found.arrays):
        mismatches = notes.value(f"/sys/block/{array.name}/md/mismatch_cnt")
        # RAID 1 and 10 count pages that change while they are compared (swap): no damage. Parity is never so.
        if mismatches.isdigit() and array.level in ("raid4", "raid5", "raid6"):
            from msgspec.structs import replace

            found.arrays[index] = replace(array, errors=int(mismatches))
    return found


def is_mdstat(reading: Reading) -> bool:
    return any(line.text.startswith("Personalities :") or _ARRAY.match(line.text) for line in reading)


def read_mdstat(reading: Reading) -> Found:
    """The arrays of ``/proc/mdstat``."""
    found = Found()
    block: list[str] = []
    for line in [*reading]:
        text = line.text
        if text.startswith(("Personalities", "unused devices", "Event:", "read_ahead")):
            reading.take(line)
            continue
        if _ARRAY.match(text):
            if block:
                found.arrays.append(_from_mdstat(block))
            block = [text]
            reading.take(line)
        elif block and text.startswith((" ", "\t")) and text.strip():
            block.append(text)
            if _BLOCKS.match(text) or _PROGRESS.search(text) or _WAITING.search(text) or "bitmap" in text:
                reading.take(line)
    if block:
        found.arrays.append(_from_mdstat(block))
    return found


def _from_mdstat(block: list[str]) -> Array:
    header = _ARRAY.match(block[0])
    assert header is not None  # noqa: S101 - a block begins with such a line
    name, activity, extra, rest = header.groups()
    words = rest.split()
    level = words.pop(0) if words and not _MEMBER.match(words[0]) else ""
    members = [_member(match) for word in words if (match := _MEMBER.match(word))]
    size, wanted, working, progress, doing = None, 0, 0, None, ""
    for line in block[1:]:
        blocks = _BLOCKS.match(line)
        if blocks:
            size = int(blocks[1]) * 1024
            counts = _COUNTS.search(blocks[2])
            if counts:
                wanted, working = int(counts[1]), int(counts[2])
        step = _PROGRESS.search(line)
        if step:
            doing, progress = step[1], float(step[2])
        waiting = _WAITING.search(line)
        if waiting:
            doing = doing or waiting[1]
    state: State = "ok"
    if activity == "inactive":
        state = "failed"
    elif wanted and working < wanted:
        state = "rebuilding" if doing in ("recovery", "reshape") else "degraded"
    elif doing in ("recovery", "reshape"):
        state = "rebuilding"
    elif level in _WITHOUT_SPARE and any(member.ok is False for member in members):
        state = "failed"
    detail = ", ".join(
        part
        for part in (
            extra or "",
            "inactive" if activity == "inactive" else "",
            f"{working} of {wanted} disks" if wanted and working < wanted else "",
            f"{doing} {'under way' if progress is not None else 'waits'}" if doing else "",
        )
        if part
    )
    return Array(
        name=name, kind="mdadm", level=level, state=state, detail=detail, size_bytes=size, progress_percent=progress,
        spares=sum(member.state == "spare" for member in members), members=tuple(members),
    )  # fmt: skip


def _member(match: re.Match[str]) -> ArrayMember:
    flags = match[3]
    state = "failed" if "(F)" in flags else "spare" if "(S)" in flags else "replacement" if "(R)" in flags else "active"
    return ArrayMember(name=match[1], state=state, ok="(F)" not in flags)


_FIELD = re.compile(r"^\s*([A-Za-z][A-Za-z0-9 /.\[\]-]*?)\s*:(?:\s+(.*)|$)")
_DEVICE_ROW = re.compile(r"^\s*(\d+|-)\s+(\d+)\s+(\d+)\s+(\d+|-)\s+(.*?)(?:\s+(/dev/\S+))?\s*$")
_DETAIL_FIELDS = re.compile(
    r"^(Version|Creation Time|Raid Level|Array Size|Used Dev Size|Raid Devices|Total Devices|Preferred Minor|"
    r"Persistence|Intent Bitmap|Update Time|State|Active Devices|Working Devices|Failed Devices|Spare Devices|"
    r"Layout|Chunk Size|Consistency Policy|Name|UUID|Events|Rebuild Status|Resync Status|Check Status|Reshape Status|"
    r"Reshape pos'n|Delta Devices|New Layout|New Chunksize|Container|Member|Rounding|Magic|Feature Map|Array UUID|"
    r"Avail Dev Size|Data Offset|Super Offset|Unused Space|Device UUID|Internal Bitmap|Bad Block Log|Checksum|"
    r"Device Role|Array State|Orig Family|Family|Generation|Creation Time|Attributes|MPB Size|Disks|"
    r"Num Volumes|Recovery Offset|Flags|Array Slot|RaidDevice|Migrate State|Map State|Dirty State|Slots|"
    r"This Slot|Sector Size|Array Size|Per Dev Size|Sector Offset|Num Stripes|RWH Policy|Volume ID|"
    r"Redundant hdr|Failed disk|Disk\d+ .*|\[.*\]|Journal|Redundancy .*|Controller GUID|GUID|Seq|Raid Devices|"
    r"Container GUID|Virtual Disks|VD GUID.*|unit.*|state.*|init state.*|access.*|Name.*|Physical Disks|Device Size)$"
)


_ROWS = re.compile(
    r"^\s*\(.*\)\s*$|^\s*(Number\s+Major|Number\s+RefNo|this\s+\d|\d+\s+\d+\s|\[\w+\]:|\d+\s+[0-9a-f]{8})"
)
"""Continued lines, and rows of tables of members as older formats print them."""


def read_detail(reading: Reading) -> Found:
    """The arrays of ``mdadm --detail`` and of ``mdadm --examine`` (as a member's own notes tell it)."""
    found = Found()
    fields: dict[str, str] = {}
    rows: list[ArrayMember] = []
    device = ""
    for line in [*reading]:
        text = line.text
        head = re.match(r"^(/dev/\S+):\s*$", text)
        if head:
            _close(found, device, fields, rows)
            device, fields, rows = head[1], {}, []
            reading.take(line)
            continue
        if not device:
            continue
        row = _DEVICE_ROW.match(text)
        if row:
            rows.append(_detail_member(row))
            reading.take(line)
            continue
        field = _FIELD.match(text)
        if field and _DETAIL_FIELDS.match(re.sub(r"\[\d+\]$", "", field[1].strip())):
            fields.setdefault(field[1].strip(), (field[2] or "").strip())
            reading.take(line)
        elif _ROWS.match(text):
            reading.take(line)
    _close(found, device, fields, rows)
    return found


def _close(found: Found, device: str, fields: dict[str, str], rows: list[ArrayMember]) -> None:
    if not device or not fields:
        return
    examined = "Magic" in fields
    level = fields.get("Raid Level", "")
    if examined and not level:
        found.arrays += _of_container(fields)
        return
    size = re.match(r"(\d+)", fields.get("Array Size", ""))
    said = fields.get("State", "")
    state: State = "ok"
    progress = None
    if examined:
        letters = fields.get("Array State", "").split(" ")[0]
        rows = [
            ArrayMember(name=f"device {index}", state={"A": "active", "R": "replacing"}.get(each, "missing"),
                        ok=each != ".")
            for index, each in enumerate(letters)
        ]  # fmt: skip
        state = "degraded" if "." in letters else "ok"
        if not letters:
            working, wanted = fields.get("Working Devices", ""), fields.get("Raid Devices", "")
            short = working.isdigit() and wanted.isdigit() and int(working) < int(wanted)
            state = "degraded" if short else "ok"
    else:
        words = said.lower()
        for status in ("Rebuild Status", "Reshape Status"):
            percent = re.match(r"(\d+)%", fields.get(status, ""))
            progress = float(percent[1]) if percent else progress
        if "failed" in words or "inactive" in words or "broken" in words:
            state = "failed"
        elif "recovering" in words or "reshaping" in words or progress is not None:
            state = "rebuilding"
        elif "degraded" in words:
            state = "degraded"
        elif not said:
            state = "unknown"
    name = device.removeprefix("/dev/")
    if examined:
        name = re.split(r"\s{2,}", fields.get("Name", ""))[0] or fields.get("Preferred Minor", "") or f"on {device}"
    found.arrays.append(
        Array(
            name=name, kind="mdadm", level=level, state=state, detail=said,
            size_bytes=int(size[1]) * 1024 if size else None, progress_percent=progress,
            spares=sum(member.state == "spare" for member in rows), members=tuple(rows),
        )
    )  # fmt: skip


def _of_container(fields: dict[str, str]) -> list[Array]:
    """The arrays that a container of the DDF format holds; none of a member without an array of its own."""
    arrays = []
    for index in range(64):
        name, said = fields.get(f"Name[{index}]"), fields.get(f"state[{index}]", "")
        if name is None:
            break
        words = said.lower()
        state: State = "unknown"
        if "optimal" in words:
            state = "ok"
        elif "degraded" in words:
            state = "degraded"
        elif "fail" in words or "deleted" in words:
            state = "failed"
        size = fields.get(f"Array Size[{index}]", "")
        arrays.append(
            Array(
                name=name, kind="mdadm", level=fields.get(f"Raid Level[{index}]", "").lower(), state=state, detail=said,
                size_bytes=int(size) * 1024 if size.isdigit() else None,
            )
        )  # fmt: skip
    return arrays


def _detail_member(row: re.Match[str]) -> ArrayMember:
    words = row[5].strip().lower()
    name = row[6] or f"device {row[4] if row[4] != '-' else row[1]}"
    for state in ("removed", "faulty", "spare rebuilding", "spare", "active sync", "active"):
        if state in words:
            called = {"removed": "missing", "faulty": "failed", "spare rebuilding": "rebuilding",
                      "active sync": "active"}.get(state, state)  # fmt: skip
            return ArrayMember(name=name, state=called, ok=state not in ("removed", "faulty"))
    return ArrayMember(name=name, state=words)
