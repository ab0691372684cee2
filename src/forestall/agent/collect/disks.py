"""The ``disks`` document: each disk and what it says of its own health (``smartctl --json``).

Two numbers that always move are rounded, so that the document changes only when there is news: temperature to
5 °C, hours of operation down to whole days.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

import msgspec

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.wire.facts import Disk, Disks

_NOT_DISKS = ("loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "drbd", "bcache", "zd")
"""Block devices that are made of others, of memory, or that hold exchangeable media."""
_PARAVIRTUAL = ("vd", "xvd")
_VIRTUAL_MAKERS = ("qemu", "vmware", "vbox", "virtual", "msft", "google", "amazon")
_WEAR_ATTRIBUTES = (
    "Media_Wearout_Indicator",
    "Percent_Lifetime_Remain",
    "SSD_Life_Left",
    "Percent_Life_Remaining",
    "Wear_Leveling_Count",
    "Perc_Rated_Life_Used",
)
"""Attributes whose normalised value falls from 100 as the drive wears; first found wins (smartmontools' names)."""


def collect(host: Host) -> Disks:
    notes = Notes(host)
    disks = []
    smartctl = host.find_program("smartctl")
    for name in _disk_names(notes):
        disk = _identity(notes, name)
        if disk.kind == "virtual" and name.startswith(_PARAVIRTUAL):
            health = Disk(device=disk.device, smart_available=False, unknown_why="a virtual disk; ask its host")
        elif smartctl is None:
            health = Disk(device=disk.device, unknown_why="smartctl is not installed")
        elif not host.is_root:
            health = Disk(device=disk.device, unknown_why="needs root")
        else:
            health = _health(notes, disk.device)
        if health.smart_available is None:
            notes.gap(f"health of {disk.device}", health.unknown_why)
        disks.append(merge(disk, health))
    return Disks(disks=tuple(disks), sources=notes.sources, gaps=notes.gaps)


def merge(identity: Disk, health: Disk) -> Disk:
    """What the kernel says of a disk, completed by what the disk says of itself."""
    changes = {
        field: getattr(health, field)
        for field in Disk.__struct_fields__
        if getattr(health, field) not in ("", 0, None)
        or isinstance(getattr(health, field), bool)
        or (getattr(health, field) == 0 and getattr(identity, field) is None)
    }
    if identity.kind == "virtual":
        changes.pop("kind", None)
    return msgspec.structs.replace(identity, **{**changes, "device": identity.device})


def parse_smartctl(text: str, device: str) -> Disk:
    """A report of ``smartctl --json --all``. ValueError when it is not one."""
    try:
        report = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"smartctl's report on {device} is not JSON: {error}") from None
    if not isinstance(report, dict):
        raise ValueError(f"smartctl's report on {device} is not an object")  # noqa: TRY004 - the text is wrong
    attributes = _rows(report, "ata_smart_attributes", "table")
    passed = _truth(_at(report, "smart_status", "passed"))
    available = _truth(_at(report, "smart_support", "available"))
    if available is None and passed is not None:
        available = True
    return Disk(
        device=device,
        model=str(report.get("model_name") or report.get("scsi_model_name") or report.get("product") or ""),
        serial=str(report.get("serial_number") or ""),
        size_bytes=_number(_at(report, "user_capacity", "bytes")) or _number(report.get("nvme_total_capacity")) or 0,
        kind=_kind(report),
        smart_available=available,
        smart_passed=passed,
        temperature_celsius=_temperature(report),
        power_on_hours=_days(_number(_at(report, "power_on_time", "hours"))),
        wear_percent=_wear(report, attributes),
        reallocated_sectors=_first(_raw(attributes, 5), _number(report.get("scsi_grown_defect_list"))),
        pending_sectors=_first(_raw(attributes, 197), _number(_at(report, "scsi_pending_defects", "count"))),
        uncorrectable_sectors=_raw(attributes, 198),
        media_errors=_first(
            _number(_at(report, "nvme_smart_health_information_log", "media_errors")), _scsi_errors(report)
        ),
        unknown_why="" if passed is not None else _why_unknown(report),
    )


def _at(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _rows(report: dict[str, Any], *path: str) -> list[dict[str, Any]]:
    found = _at(report, *path)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _number(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isinstance(value, int) or isfinite(value) else None


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _raw(attributes: list[dict[str, Any]], number: int) -> int | None:
    raw = next((_number(_at(each, "raw", "value")) for each in attributes if each.get("id") == number), None)
    # Some makers keep further counters in the upper bytes of these: the lower four are the sectors.
    return None if raw is None else raw & 0xFFFFFFFF


def _kind(report: dict[str, Any]) -> str:
    if _at(report, "device", "protocol") == "NVMe":
        return "nvme"
    rate = report.get("rotation_rate")
    if rate is None:
        return ""
    return "ssd" if rate == 0 else "hdd"


def _temperature(report: dict[str, Any]) -> float | None:
    current = _number(_at(report, "temperature", "current"))
    # Zero or less comes from drives that do not measure it.
    return 5.0 * round(current / 5) if current is not None and current > 0 else None


def _days(hours: int | None) -> int | None:
    return None if hours is None else hours // 24 * 24


def _wear(report: dict[str, Any], attributes: list[dict[str, Any]]) -> float | None:
    for value in (
        _at(report, "nvme_smart_health_information_log", "percentage_used"),
        _at(report, "endurance_used", "current_percent"),
        report.get("scsi_percentage_used_endurance_indicator"),
    ):
        used = _number(value)
        if used is not None:
            return float(used)
    if report.get("rotation_rate") not in (0, None):
        return None
    by_name = {str(each.get("name")): each for each in attributes}
    for name in _WEAR_ATTRIBUTES:
        left = _number(_at(by_name.get(name), "value"))
        if left is not None:
            # Vendors start at 100, some at 200 or 253 for "as new".
            return float(max(0, 100 - left))
    return None


def _scsi_errors(report: dict[str, Any]) -> int | None:
    log = report.get("scsi_error_counter_log")
    if not isinstance(log, dict):
        return None
    counts = [_number(_at(log, action, "total_uncorrected_errors")) for action in ("read", "write", "verify")]
    return sum(count for count in counts if count is not None)


def _why_unknown(report: dict[str, Any]) -> str:
    messages = _rows(report, "smartctl", "messages")
    said = next((each.get("string") for each in messages if each.get("severity") == "error"), None)
    if _at(report, "smart_support", "available") is False:
        return "the disk has no SMART"
    if _at(report, "smart_support", "enabled") is False:
        return "SMART is switched off on the disk"
    return str(said)[:200] if said else "smartctl reports no overall health"


def _disk_names(notes: Notes) -> list[str]:
    try:
        names = notes.host.list_dir("/sys/block")
    except HostError as error:
        notes.gap("disks", error.why)
        return []
    notes.used("/sys/block")
    return [
        name
        for name in names
        if not name.startswith(_NOT_DISKS) and notes.value(f"/sys/block/{name}/size") not in ("", "0")
    ]


def _identity(notes: Notes, name: str) -> Disk:
    folder = f"/sys/block/{name}"
    model, maker = notes.value(f"{folder}/device/model"), notes.value(f"{folder}/device/vendor")
    described = f"{maker} {model}".lower()
    if name.startswith(_PARAVIRTUAL) or any(word in described for word in _VIRTUAL_MAKERS):
        kind = "virtual"
    elif name.startswith("nvme"):
        kind = "nvme"
    else:
        kind = "hdd" if notes.value(f"{folder}/queue/rotational") == "1" else "ssd"
    return Disk(
        device=f"/dev/{name}",
        model=model,
        serial=notes.value(f"{folder}/device/serial") or notes.value(f"{folder}/serial"),
        size_bytes=int(notes.value(f"{folder}/size")) * 512,  # always in units of 512, whatever the disk's own
        kind=kind,
    )


def _health(notes: Notes, device: str) -> Disk:
    try:
        result = notes.host.run(["smartctl", "--json", "--all", device], timeout=30)
        notes.used(f"smartctl --json --all {device}")
        health = parse_smartctl(result.stdout, device)
    except HostError as error:
        return Disk(device=device, unknown_why=error.why)
    except ValueError:
        return Disk(device=device, unknown_why=complaint(result))
    if health.smart_available is None and not health.unknown_why:
        return msgspec.structs.replace(health, unknown_why="smartctl does not say whether the disk has SMART")
    return health
