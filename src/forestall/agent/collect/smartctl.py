"""What ``smartctl`` says of a disk, as JSON or as text, read into one ``Disk``.

Text is first turned into the shape of the JSON report, so that both are judged by one reading. smartctl's texts have
changed little in twenty years, its JSON exists since 7.0 (2018).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

import msgspec

from forestall.wire.facts import Disk, SelfTest, SmartAttribute

WEAR_ATTRIBUTES = (
    "Media_Wearout_Indicator",
    "Percent_Lifetime_Remain",
    "SSD_Life_Left",
    "Percent_Life_Remaining",
    "Remaining_Lifetime_Perc",
    "Wear_Leveling_Count",
    "Perc_Rated_Life_Used",
)
"""Attributes whose normalised value falls from 100 as the drive wears; first found wins (smartmontools' names)."""
_WRITTEN = {
    "Total_LBAs_Written": 0,
    "Host_Writes_32MiB": 32 * 2**20,
    "Host_Writes_GiB": 2**30,
    "Lifetime_Writes_GiB": 2**30,
    "Total_Host_Writes_GiB": 2**30,
}
"""Attributes that count what the host wrote, and their unit in bytes (0: the logical block)."""
_RAW_KEPT = frozenset([5, 10, 171, 172, 181, 182, 184, 187, 188, 196, 197, 198, 199, 201])
"""Attributes whose raw value only moves when something is wrong; those of others are left out of what is sent."""
_ALWAYS_MOVING = frozenset([1, 7, 9, 13, 190, 191, 193, 194, 195, 240, 241, 242])
"""Attributes whose normalised value swings with every look at a healthy disk."""


def disk_of(report: Mapping[str, Any], device: str) -> Disk:
    """The disk of a report of ``smartctl --json --all``, every number as it stands there."""
    rows = _rows(report, "ata_smart_attributes", "table")
    by_id = {number: row for row in rows if (number := _number(row.get("id"))) is not None}
    passed = _truth(_at(report, "smart_status", "passed"))
    available = _truth(_at(report, "smart_support", "available"))
    if available is None and passed is not None:
        available = True
    nvme = report.get("nvme_smart_health_information_log")
    tests = tuple(_self_tests(report))
    return Disk(
        device=device,
        model=str(
            report.get("model_name") or report.get("scsi_model_name") or report.get("product")
            or report.get("scsi_product") or ""
        ),
        serial=str(report.get("serial_number") or ""),
        size_bytes=_number(_at(report, "user_capacity", "bytes")) or _number(report.get("nvme_total_capacity")) or 0,
        kind=_kind(report),
        smart_available=available,
        smart_passed=passed,
        temperature_celsius=_temperature(report),
        power_on_hours=_number(_at(report, "power_on_time", "hours")),
        wear_percent=_wear(report, rows),
        reallocated_sectors=_first(_sectors(by_id, 5), _number(report.get("scsi_grown_defect_list"))),
        pending_sectors=_first(_sectors(by_id, 197), _number(_at(report, "scsi_pending_defects", "count"))),
        uncorrectable_sectors=_sectors(by_id, 198),
        media_errors=_first(_number(_at(nvme, "media_errors")), _scsi_errors(report), _sectors(by_id, 187)),
        unknown_why="" if passed is not None else _why_unknown(report),
        firmware=str(report.get("firmware_version") or report.get("scsi_revision") or report.get("revision") or ""),
        interface=_interface(report),
        rotation_rpm=_number(report.get("rotation_rate")),
        behind=_behind(report),
        attributes=tuple(_attribute(number, row) for number, row in by_id.items()),
        self_tests=tests,
        error_log_count=_first(
            _number(_at(report, "ata_smart_error_log", "extended", "count")),
            _number(_at(report, "ata_smart_error_log", "summary", "count")),
            _number(_at(nvme, "num_err_log_entries")),
        ),
        crc_errors=_sectors(by_id, 199),
        command_timeouts=_timeouts(by_id),
        power_cycles=_number(report.get("power_cycle_count")),
        critical_warning=_number(_at(nvme, "critical_warning")),
        spare_percent=_real(_at(nvme, "available_spare")),
        spare_threshold_percent=_real(_at(nvme, "available_spare_threshold")),
        temperature_limit_celsius=_limit(report),
        written_bytes=_written(report, rows),
    )  # fmt: skip


def steady(disk: Disk) -> Disk:
    """The disk without what moves at every look, so that a device's document changes only when there is news.

    Temperature is rounded to 5 °C, hours of operation down to whole days, what was written down to 100 GB; values that
    swing on a healthy disk are left out of attributes, except where the attribute has failed.
    """
    hours, celsius, written = disk.power_on_hours, disk.temperature_celsius, disk.written_bytes
    return msgspec.structs.replace(
        disk,
        temperature_celsius=None if celsius is None else 5.0 * round(celsius / 5),
        power_on_hours=None if hours is None else hours // 24 * 24,
        written_bytes=None if written is None else written // 10**11 * 10**11,
        attributes=tuple(
            msgspec.structs.replace(
                each,
                raw=each.raw if each.id in _RAW_KEPT or each.failed else None,
                raw_text=each.raw_text if each.failed else "",
                value=None if each.id in _ALWAYS_MOVING and not each.failed else each.value,
            )
            for each in disk.attributes
        ),
    )


def passed_of(status: str) -> bool | None:
    """Whether a self test with this status passed; None: it was aborted, interrupted, or still runs."""
    lower = status.lower()
    if lower.startswith(("completed without error", "completed")) and not re.search(r"fail|error(?! )", lower[9:]):
        return True
    if re.search(r"without error", lower):
        return True
    return False if re.search(r"fail|fatal|unknown error", lower) else None


# --- values of the report ----------------------------------------------------------------------------------


def _at(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _rows(report: Mapping[str, Any], *path: str) -> list[dict[str, Any]]:
    found = _at(report, *path)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _number(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isinstance(value, int) or isfinite(value) else None


def _real(value: Any) -> float | None:
    whole = _number(value)
    return None if whole is None else float(value)


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _sectors(by_id: Mapping[int, dict[str, Any]], number: int) -> int | None:
    row = by_id.get(number)
    if row is None or row.get("name") == "Not_In_Use":
        return None
    raw = _number(_at(row, "raw", "value"))
    # Some makers keep further counters in the upper bytes of these: the lower four are the sectors.
    return None if raw is None else raw & 0xFFFFFFFF


def _timeouts(by_id: Mapping[int, dict[str, Any]]) -> int | None:
    row = by_id.get(188)
    raw = _number(_at(row, "raw", "value")) if row and row.get("name") == "Command_Timeout" else None
    if raw is None:
        return None
    # Seagate keeps three counters of 16 bits: all, those over 5 s, those over 7.5 s.
    return raw & 0xFFFF if raw > 0xFFFF else raw


def _attribute(number: int, row: dict[str, Any]) -> SmartAttribute:
    when = str(row.get("when_failed") or "").lower()
    return SmartAttribute(
        id=number,
        name=str(row.get("name") or ""),
        value=_number(row.get("value")),
        worst=_number(row.get("worst")),
        threshold=_number(row.get("thresh")),
        raw=_number(_at(row, "raw", "value")),
        raw_text=str(_at(row, "raw", "string") or ""),
        failed="now" if "now" in when else "past" if "past" in when else "",
        prefail=_at(row, "flags", "prefailure") is True,
    )


def _self_tests(report: Mapping[str, Any]) -> Iterable[SelfTest]:
    for row in _rows(report, "ata_smart_self_test_log", "extended", "table") or _rows(
        report, "ata_smart_self_test_log", "standard", "table"
    ):
        yield _self_test(row, "type", "status", _number(row.get("lifetime_hours")), row.get("lba"))
    running = str(_at(report, "nvme_self_test_log", "current_self_test_operation", "string") or "")
    if _number(_at(report, "nvme_self_test_log", "current_self_test_operation", "value")):
        done = _number(_at(report, "nvme_self_test_log", "current_self_test_completion_percent"))
        yield SelfTest(
            kind=running.split(" ")[0],
            status=running,
            hours=_number(_at(report, "power_on_time", "hours")),
            remaining_percent=None if done is None else 100 - done,
        )
    for row in _rows(report, "nvme_self_test_log", "table"):
        yield _self_test(row, "self_test_code", "self_test_result", _number(row.get("power_on_hours")), row.get("lba"))
    for number in range(20):
        scsi = report.get(f"scsi_self_test_{number}")
        if isinstance(scsi, dict):
            hours = _number(_at(scsi, "power_on_time", "hours"))
            yield _self_test(scsi, "code", "result", hours, _at(scsi, "lba_first_failure", "value"))


def _self_test(row: dict[str, Any], kind: str, status: str, hours: int | None, lba: Any) -> SelfTest:
    said = str(_at(row, status, "string") or "")
    passed = _truth(_at(row, status, "passed"))
    return SelfTest(
        kind=str(_at(row, kind, "string") or ""),
        status=said,
        passed=passed if passed is not None else passed_of(said),
        hours=hours,
        first_error="" if lba is None else str(lba),
        remaining_percent=_number(_at(row, status, "remaining_percent")),
    )


def _kind(report: Mapping[str, Any]) -> str:
    if _at(report, "device", "protocol") == "NVMe":
        return "nvme"
    rate = report.get("rotation_rate")
    if rate is None:
        return ""
    return "ssd" if rate == 0 else "hdd"


def _interface(report: Mapping[str, Any]) -> str:
    protocol = str(_at(report, "device", "protocol") or "").lower()
    transport = str(_at(report, "scsi_transport_protocol", "name") or "").upper()
    if str(_at(report, "device", "type") or "").startswith(("usb", "sntasmedia", "sntjmicron", "sntrealtek")):
        return "usb"
    if protocol == "scsi":
        return "sas" if transport.startswith("SAS") else "scsi"
    return {"ata": "sata", "nvme": "nvme"}.get(protocol, "")


def _behind(report: Mapping[str, Any]) -> str:
    way = str(_at(report, "device", "type") or "")
    found = re.search(r"(?:megaraid|cciss|3ware|aacraid|areca|sssraid),[\d,/]+", way)
    return found[0] if found else ""


def _temperature(report: Mapping[str, Any]) -> float | None:
    current = _number(_at(report, "temperature", "current"))
    # Zero or less comes from drives that do not measure it.
    return float(current) if current is not None and current > 0 else None


def _limit(report: Mapping[str, Any]) -> float | None:
    for value in (
        _at(report, "temperature", "drive_trip"),
        _at(report, "nvme_composite_temperature_threshold", "warning"),
        _at(report, "temperature", "op_limit_max"),
        _at(report, "temperature", "limit_max"),
    ):
        limit = _number(value)
        if limit is not None and 30 <= limit <= 125:
            return float(limit)
    return None


def _wear(report: Mapping[str, Any], rows: list[dict[str, Any]]) -> float | None:
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
    by_name = {str(each.get("name")): each for each in rows}
    for name in WEAR_ATTRIBUTES:
        left = _number(_at(by_name.get(name), "value"))
        if left is not None:
            # Vendors start at 100, some at 200 or 253 for "as new".
            return float(max(0, 100 - left))
    return None


def _written(report: Mapping[str, Any], rows: list[dict[str, Any]]) -> int | None:
    units = _number(_at(report, "nvme_smart_health_information_log", "data_units_written"))
    if units is not None:
        return units * 512_000
    gigabytes = _at(report, "scsi_error_counter_log", "write", "gigabytes_processed")
    try:
        if gigabytes is not None and isfinite(float(gigabytes)):
            return int(float(gigabytes) * 1e9)
    except (TypeError, ValueError):
        return None
    for row in rows:
        unit = _WRITTEN.get(str(row.get("name")))
        raw = _number(_at(row, "raw", "value"))
        if unit is not None and raw is not None:
            return raw * (unit or _number(report.get("logical_block_size")) or 512)
    return None


def _scsi_errors(report: Mapping[str, Any]) -> int | None:
    log = report.get("scsi_error_counter_log")
    if not isinstance(log, Mapping):
        return None
    counts = [_number(_at(log, action, "total_uncorrected_errors")) for action in ("read", "write", "verify")]
    return sum(count for count in counts if count is not None)


def _why_unknown(report: Mapping[str, Any]) -> str:
    messages = _rows(report, "smartctl", "messages")
    said = next((each.get("string") for each in messages if each.get("severity") == "error"), None)
    if _at(report, "smart_support", "available") is False:
        return "the disk has no SMART"
    if _at(report, "smart_support", "enabled") is False:
        return "SMART is switched off on the disk"
    return str(said)[:200] if said else "smartctl reports no overall health"
