"""Disks, volumes and Storage Spaces of Windows, as its own tools list them.

``Get-PhysicalDisk``, ``Get-StoragePool``, ``Get-VirtualDisk``, ``Get-Volume`` by ``ConvertTo-Json``, and WMI classes as
``wmic … /value`` or ``Get-CimInstance … | Format-List`` print them. There is no agent for Windows yet: these are read
from captured files alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from forestall.agent.collect.arrays.found import State
from forestall.agent.collect.captures.capture import Reading
from forestall.wire.facts import Array, Disk, Volume

_PROPERTY = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)\s*[=:]\s?(.*)$")


def properties(reading: Reading) -> list[dict[str, str]]:
    """Objects of ``Name=value`` or ``Name : value`` lines; an empty line or a name seen before begins the next."""
    objects: list[dict[str, str]] = []
    current: dict[str, str] = {}
    for line in [*reading]:
        text = line.text.strip()
        if not text:
            if current:
                objects.append(current)
                current = {}
            continue
        found = _PROPERTY.match(text)
        if not found:
            continue
        if found[1] in current:
            objects.append(current)
            current = {}
        current[found[1]] = found[2].strip()
        reading.take(line)
    return [*objects, current] if current else objects


def rows_of(value: Any) -> list[Mapping[str, Any]]:
    """What ConvertTo-Json printed: a list of objects, or one alone."""
    rows = value if isinstance(value, list) else [value]
    return [row for row in rows if isinstance(row, dict)]


def disks_of(rows: Iterable[Mapping[str, Any]]) -> list[Disk]:
    """``Win32_DiskDrive`` and ``Get-PhysicalDisk``."""
    found = []
    for row in rows:
        media, bus = _word(row, "MediaType"), _word(row, "BusType") or _word(row, "InterfaceType")
        if not any(name in row for name in ("Model", "FriendlyName")) or _word(row, "MediaType") == "Removable Media":
            continue
        health = _word(row, "HealthStatus") or _word(row, "Status")
        kind = {"ssd": "ssd", "4": "ssd", "hdd": "hdd", "3": "hdd"}.get(media.lower(), "")
        well = {"healthy": True, "0": True, "ok": True, "unhealthy": False, "2": False, "pred fail": False,
                "error": False, "degraded": False, "warning": False, "1": False}.get(health.lower())  # fmt: skip
        state = health.lower() if well is None else "healthy" if well else "unhealthy"
        number = _word(row, "DeviceID") or _word(row, "DeviceId") or _word(row, "Number")
        interface = {"nvme": "nvme", "17": "nvme", "sata": "sata", "11": "sata", "sas": "sas", "10": "sas",
                     "usb": "usb", "7": "usb", "scsi": "scsi", "ide": "sata"}.get(bus.lower(), "")  # fmt: skip
        model = _word(row, "Model") or _word(row, "FriendlyName")
        found.append(
            Disk(
                device=number if number.startswith("\\\\") or not number else f"\\\\.\\PHYSICALDRIVE{number}",
                model=model, serial=_word(row, "SerialNumber").rstrip("."), size_bytes=_whole(row.get("Size")) or 0,
                kind="nvme" if interface == "nvme" or "nvme" in model.lower() else kind,
                firmware=_word(row, "FirmwareRevision") or _word(row, "FirmwareVersion"), interface=interface,
                state=state, unknown_why="Windows says only whether it is well",
                smart_passed=False if health.lower() == "pred fail" else None,
                smart_available=True if health.lower() == "pred fail" else None,
            )
        )  # fmt: skip
    return found


def volumes_of(rows: Iterable[Mapping[str, Any]]) -> list[Volume]:
    """``Win32_Volume``, ``Win32_LogicalDisk`` and ``Get-Volume``: those on fixed disks that have a file system."""
    found = []
    for row in rows:
        kind = _word(row, "DriveType")
        filesystem = _word(row, "FileSystem") or _word(row, "FileSystemType")
        if kind not in ("3", "Fixed") or not filesystem:
            continue
        letter = _word(row, "DriveLetter") or (_word(row, "DeviceID") if len(_word(row, "DeviceID")) == 2 else "")
        letter = f"{letter.rstrip(':')}:" if letter else ""
        device = _word(row, "DeviceID") or _word(row, "UniqueId") or _word(row, "Path") or letter
        dirty = _word(row, "DirtyBitSet").lower() or _word(row, "VolumeDirty").lower()
        health = _word(row, "HealthStatus").lower()
        broken = health in ("unhealthy", "warning", "1", "2")
        found.append(
            Volume(
                mountpoint=f"{letter}\\" if letter else _word(row, "Name") or device,
                device=device, filesystem=filesystem.lower(),
                total_bytes=_whole(row.get("Capacity")) or _whole(row.get("Size")) or 0,
                state="needs a check" if dirty == "true" or broken else "",
                errors=0 if dirty == "false" else None,
                label=_word(row, "Label") or _word(row, "VolumeName") or _word(row, "FileSystemLabel"),
            )
        )  # fmt: skip
    return found


_OPERATIONAL: dict[str, State] = {
    "ok": "ok", "healthy": "ok", "2": "ok", "degraded": "degraded", "3": "degraded", "incomplete": "degraded",
    "in service": "rebuilding", "11": "rebuilding", "detached": "failed", "unhealthy": "failed", "no redundancy":
    "degraded", "read-only": "degraded", "53252": "degraded", "53285": "failed",
}  # fmt: skip


def pools_of(rows: Iterable[Mapping[str, Any]]) -> list[Array]:
    """``Get-StoragePool`` and ``Get-VirtualDisk``; the pool that is no pool ("Primordial") is left out."""
    found = []
    for row in rows:
        name = _word(row, "FriendlyName")
        if not name or _word(row, "IsPrimordial").lower() == "true":
            continue
        said = _word(row, "OperationalStatus")
        health = _word(row, "HealthStatus")
        state = _OPERATIONAL.get(said.lower()) or {"healthy": "ok", "0": "ok", "warning": "degraded", "1": "degraded",
                 "unhealthy": "failed", "2": "failed"}.get(health.lower(), "unknown")  # fmt: skip
        size, used = _whole(row.get("Size")), _whole(row.get("AllocatedSize"))
        is_disk = "ResiliencySettingName" in row
        found.append(
            Array(
                name=name, kind="storage_spaces", level=_word(row, "ResiliencySettingName").lower() or "pool",
                state=state, detail=" ".join(part for part in (said, health) if part),  # type: ignore[arg-type]
                size_bytes=size,
                used_percent=round(used / size * 100, 1) if size and used is not None and not is_disk else None,
            )
        )  # fmt: skip
    return found


def _word(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if isinstance(value, list):
        value = value[0] if value else ""
    return "" if value is None else str(value).strip()


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return int(value) if abs(value) < 1e19 else None
    text = str(value or "").strip()
    return int(text) if text.isdigit() and len(text) < 20 else None
