"""Volume groups and the logical volumes that are arrays of their own: ``vgs``, ``lvs``, ``pvs``."""

from __future__ import annotations

import json
import re
from typing import Any

from forestall.agent.collect.arrays.found import Found, State, asked, may_ask, size_of
from forestall.agent.collect.captures.capture import Reading
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Array, ArrayMember

VGS = ["vgs", "--reportformat", "json", "--units", "b", "--nosuffix", "-o", "vg_name,vg_attr,vg_size,vg_free"]
LVS = ["lvs", "--reportformat", "json", "--units", "b", "--nosuffix", "-a", "-o",
       "vg_name,lv_name,lv_attr,lv_size,data_percent,metadata_percent,copy_percent,lv_health_status"]  # fmt: skip
PVS = ["pvs", "--reportformat", "json", "--units", "b", "--nosuffix", "-o", "pv_name,vg_name,pv_attr,pv_size"]
_LEVELS = {"r": "raid", "R": "raid", "m": "mirror", "M": "mirror", "t": "thin-pool", "s": "snapshot", "S": "snapshot"}
_HEALTH: dict[str, tuple[State, str]] = {
    "p": ("degraded", "a disk of it is missing"),
    "r": ("degraded", "it needs a refresh: a disk failed and is back"),
    "m": ("degraded", "its copies differ"),
    "X": ("failed", "its state is unknown to the kernel"),
    "D": ("failed", "out of room for data"),
    "F": ("failed", "it has failed"),
    "M": ("failed", "its metadata only lets itself be read"),
}
"""Ninth letter of lv_attr (lvs(8))."""


def find(notes: Notes) -> Found:
    if not notes.host.glob("/dev/mapper/*-*") and not notes.host.glob("/etc/lvm/backup/*"):
        return Found()  # no sign of LVM: its tools take a second to say so
    if not may_ask(notes, "vgs", "volume groups"):
        return Found()
    reports = []
    for argv in (VGS, LVS, PVS):
        result = asked(notes, argv, "volume groups")
        if result is None:
            return Found()
        try:
            reports.append(json.loads(result.stdout))
        except json.JSONDecodeError:
            notes.gap("volume groups", f"{argv[0]} printed no JSON")
            return Found()
    return read_json(reports)


def read_json(reports: list[Any]) -> Found:
    """Reports of vgs, lvs and pvs with ``--reportformat json``, in any order and number."""
    rows: dict[str, list[dict[str, str]]] = {"vg": [], "lv": [], "pv": []}
    for report in reports:
        for part in report.get("report", []) if isinstance(report, dict) else []:
            for kind, found in rows.items():
                each = part.get(kind) if isinstance(part, dict) else None
                found += [row for row in each if isinstance(row, dict)] if isinstance(each, list) else []
    return made(rows["vg"], rows["lv"], rows["pv"])


def made(groups: list[dict[str, str]], volumes: list[dict[str, str]], disks: list[dict[str, str]]) -> Found:
    found = Found()
    for row in groups:
        name, attributes = str(row.get("vg_name", "")), str(row.get("vg_attr", ""))
        size, free = size_of(str(row.get("vg_size", ""))), size_of(str(row.get("vg_free", "")))
        members = tuple(_member(each) for each in disks if each.get("vg_name") == name)
        torn = attributes[3:4] == "p" or any(member.ok is False for member in members)
        used = round((size - free) / size * 100, 1) if size and free is not None else None
        found.arrays.append(
            Array(
                name=name, kind="lvm", level="volume group", state="degraded" if torn else "ok",
                detail="a physical volume of it is missing" if torn else "", size_bytes=size, used_percent=used,
                members=members,
            )
        )  # fmt: skip
    for row in volumes:
        attributes = str(row.get("lv_attr", ""))
        level = _LEVELS.get(attributes[:1])
        if level is None or not row.get("lv_name"):
            continue
        progress = _percent(row.get("copy_percent"))
        state: State
        state, detail = _HEALTH.get(attributes[8:9], ("ok", ""))
        if state == "ok" and level in ("raid", "mirror") and progress is not None and progress < 100:
            state, detail = "rebuilding", "its copies are being made"
        data = _percent(row.get("data_percent"))
        found.arrays.append(
            Array(
                name=f"{row.get('vg_name', '')}/{str(row['lv_name']).strip('[]')}".lstrip("/"), kind="lvm", level=level,
                state=state, detail=detail or str(row.get("lv_health_status") or ""),
                size_bytes=size_of(str(row.get("lv_size", ""))),
                # Whole percents: the real number moves with every write.
                used_percent=float(int(data)) if data is not None and level in ("thin-pool", "snapshot") else None,
                metadata_percent=_whole(row.get("metadata_percent")) if level == "thin-pool" else None,
                progress_percent=progress if state == "rebuilding" else None,
            )
        )  # fmt: skip
    return found


def _member(row: dict[str, str]) -> ArrayMember:
    missing = str(row.get("pv_attr", ""))[2:3] == "m"
    return ArrayMember(name=str(row.get("pv_name", "")), state="missing" if missing else "online", ok=not missing)


def _percent(value: Any) -> float | None:
    try:
        return float(str(value).replace(",", ".")) if value not in (None, "") else None
    except ValueError:
        return None


def _whole(value: Any) -> float | None:
    number = _percent(value)
    return None if number is None else float(int(number))


_SIZE = r"(<?[\d.,]+[a-zA-Z]?|0)"
_VG_ROW = re.compile(
    rf"^\s*(\S+)\s+(\d+)\s+(\d+)(?:\s+\d+)?\s+([wr][z-][x-][p-]\S{{2,3}})\s+{_SIZE}\s+{_SIZE}(?:\s.*)?$"
)
_PV_ROW = re.compile(
    rf"^\s*(/\S+|\[unknown\]|unknown device)\s+(?:(\S+)\s+)?(lvm[12])\s+([a-z-]{{2,3}})\s+{_SIZE}\s+{_SIZE}(.*)$"
)
_LV_ROW = re.compile(
    r"^\s*(\[?[\w.+-]+\]?)\s+(\S+)\s+([-a-zA-Z][-a-zA-Z][-a-zA-Z][-a-zA-Z][-a-zA-Z][-a-zA-Z][-\w]{0,4})\s+"
    rf"{_SIZE}(.*)$"
)


def read_text(reading: Reading) -> Found:
    """The tables of ``vgs``, ``lvs`` and ``pvs``, with or without their heads; sizes without a unit are megabytes."""
    groups: list[dict[str, str]] = []
    volumes: list[dict[str, str]] = []
    disks: list[dict[str, str]] = []
    for line in [*reading]:
        text = line.text
        if re.match(r"^\s*(VG|LV|PV)\s+\S+", text) and "Attr" in text:
            reading.take(line)
        elif match := _PV_ROW.match(text):
            disks.append({"pv_name": match[1], "vg_name": match[2] or match[7].split()[-1] if match[7].split() else "",
                          "pv_attr": match[4], "pv_size": _megabytes(match[5])})  # fmt: skip
            reading.take(line)
        elif match := _VG_ROW.match(text):
            groups.append({"vg_name": match[1], "vg_attr": match[4], "vg_size": _megabytes(match[5]),
                           "vg_free": _megabytes(match[6]), "uuid": ["", *text.split()][-2]})  # fmt: skip
            reading.take(line)
        elif match := _LV_ROW.match(text):
            rest = match[5].split()
            numbers = [each for each in rest if re.fullmatch(r"\d+[.,]\d+", each)]
            kind = match[3][:1]
            volumes.append({
                "lv_name": match[1], "vg_name": "" if len(match[2]) > 36 else match[2], "lv_attr": match[3],
                "lv_size": _megabytes(match[4]),
                "data_percent": numbers[0] if numbers and kind in "tsS" else "",
                "metadata_percent": numbers[1] if len(numbers) > 1 and kind == "t" else "",
                "copy_percent": numbers[0] if numbers and kind in "rRmM" else "",
            })  # fmt: skip
            reading.take(line)
    names = {each.pop("uuid", ""): each["vg_name"] for each in groups}
    for row in disks:
        row["vg_name"] = names.get(row["vg_name"], row["vg_name"])
    return made(groups, volumes, disks)


def _megabytes(text: str) -> str:
    bare = text.lstrip("<")
    return bare if not bare or bare[-1].isalpha() else f"{bare}mb"
