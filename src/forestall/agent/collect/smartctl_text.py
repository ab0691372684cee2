"""The text that ``smartctl --all`` (or ``-x``) prints, line by line, into the shape of its JSON report.

Three kinds of disk print three texts (ATA, SCSI, NVMe); lines are known by their words, never by their column, because
ticket systems and mail fold blanks. Numbers come with the separators of the machine's language (``256.060.514.304``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Protocol


class LineLike(Protocol):
    """A numbered line: ``captures.capture.Line`` is one."""

    @property
    def number(self) -> int: ...
    @property
    def text(self) -> str: ...


BANNER = re.compile(r"^smartctl (?:version |pre-)?(\d+\.\d+)")
_COMMAND = re.compile(r"smartctl\s.*?(/dev/\S+)")
_FIELD = re.compile(r"^\s*([A-Za-z][^:=]*?)\s*[:=]\s*(.*)$")
_ATTRIBUTE = re.compile(
    r"^\s*(\d+)\s+(\S+)\s+(0x[0-9a-f]{4})\s+(\d+|---)\s+(\d+|---)\s+(\d+|---)\s+(Pre-fail|Old_age)\s+(\S+)\s+"
    r"(-|FAILING_NOW|In_the_past)\s+(.+?)\s*$"
)
_ATTRIBUTE_BRIEF = re.compile(
    r"^\s*(\d+)\s+(\S+)\s+([P-][O-][S-][R-][C-][K+-]\S*)\s+(\d+|---)\s+(\d+|---)\s+(\d+|---)\s+(-|NOW|Past)\s+(.+?)\s*$"
)
_ATA_TEST = re.compile(
    r"^#\s*(\d+)\s+((?:Short|Extended|Conveyance|Selective) (?:offline|captive)|Offline|"
    r"(?:Vendor|Reserved|Unknown)\s*\([^)]*\))\s+(\S.*?)\s+(\d+)%\s+(\d+)\s+(\S+)\s*$"
)
_SCSI_TEST = re.compile(
    r"^#\s*(\d+)\s+((?:Background|Foreground) (?:short|long|extended)|Default|Reserved\s*\(?\d*\)?|Unknown[^A-Z]*)\s+"
    r"(\S.*?)\s+(-|\d+)\s+(-|\d+|NOW)\s+(\S+)\s+\[(.*)\]\s*$"
)
_NVME_TEST = re.compile(
    r"^\s*(\d+)\s+(Short|Extended|Vendor specific|Reserved\s*\(?\S*\)?)\s+(\S.*?)\s+(\d+)\s+(-|\d+)\s+(-|\d+|0x\S+)"
    r"(?:\s+(?:-|\d+|0x\S+)){1,3}\s*$"
)
_ERROR_COUNTS = re.compile(r"^\s*(read|write|verify):\s+" + r"(\d+)\s+" * 5 + r"([\d.,]+)\s+(\d+)\s*$")

_HEADERS: tuple[tuple[str, str], ...] = (
    (r"=== START OF INFORMATION SECTION", "information"),
    (r"=== START OF (READ )?SMART DATA SECTION", "data"),
    (r"=== START OF (ENABLE|OFFLINE|SELF|TEST)", "skip"),
    (r"General SMART Values:", "general"),
    (r"SMART Attributes Data Structure revision", "attributes"),
    (r"SMART/Health Information \(NVMe", "nvme"),
    (r"(SMART )?(Extended )?(Comprehensive )?(SMART )?Error Log Version", "errors"),
    (r"SMART Extended Comprehensive Error Log", "errors"),
    (r"SMART Error Log not supported", "errors"),
    (r"Error Information \(NVMe Log", "skip"),
    (r"SMART (Extended )?Self-test [Ll]og", "tests"),
    (r"Self-test Log \(NVMe", "tests"),
    (r"SMART Selective self-test log", "skip"),
    (r"Selective Self-tests/Logging not supported", "skip"),
    (r"Error counter log:", "scsi"),
    (r"Supported Power States", "skip"),
    (r"Supported LBA Sizes", "skip"),
    (r"Background scan results log", "log"),
    (r"Protocol Specific port log page", "log"),
    (r"General Purpose Log Directory", "log"),
    (r"SCT (Status|Data Table|Error Recovery|Temperature|Commands)", "sct"),
    (r"Device Statistics", "log"),
    (r"SATA Phy Event Counters", "log"),
    (r"Pending Defects log", "skip"),
    (r"Seagate FARM", "log"),
    (r"Vendor \(Seagate", "skip"),
    (r"Read defect list", "skip"),
)
_HEADER_RULES = tuple((re.compile(f"^{pattern}"), section) for pattern, section in _HEADERS)

_OF_NO_INTEREST = re.compile(
    r"^\s*(?:Copyright|Drive failure expected|- [a-z]|Failed Attributes|"
    r"#\s*smartctl|\$\s*smartctl|root@|Home page is|Probable ATA device|Device is:|SATA Version|"
    r"ATA Version|ATA Standard|Form Factor|Local Time|TRIM Command|Zoned Device|LU is |LU WWN|Logical Unit id|"
    r"Compliance|Device type|Read Cache is|Writeback Cache is|Write cache|Rd look-ahead|AAM |APM |DSN feature|"
    r"ATA Security|Wt Cache|Power mode|Formatted with type|\d+ bytes of protection|PCI Vendor|IEEE|Controller ID|"
    r"NVMe Version|Number of Namespaces|Namespace \d+ (?:Formatted|IEEE|Utili|NGUID|EUI)|Unallocated NVM|"
    r"Firmware Updates|Optional (?:Admin|NVM)|Log Page Attr|Maximum Data Transfer|Namespace \d+ Features|"
    r"Data transfer|Additional Product|Warning: This result|Please note|SMART Status (?:not supported|command)|"
    r"Temperature Warning|Add\. Product|NO MEDIUM|Num\s+Test|Description\s+number|"
    r"ID#|Vendor Specific SMART|Errors Corrected|ECC\s+rereads|"
    r"fast \| delayed|Device does not support|Error Counter logging not|SMART Self-test log|Grown defects|"
    r"Total (?:blocks|new blocks)|Power on minutes|Manufactured in|Specified |Accumulated (?:start|load)|"
    r"Lifetime (?:maximum|minimum)|(?:Maximum|Minimum) temperature|Blocks (?:sent|received)|Number of (?:read|write)|"
    r"number of (?:hours|minutes)|Device supports|Device opened|SMART Attributes Data|Long \(extended\)|"
    r"Non-medium error|(?:Warning|Critical)\s+Comp|Temperature Sensor|Thermal Temp|Host (?:Read|Write)|"
    r"Controller Busy|Unsafe Shut|Error Information|Self-test status:|No Errors Logged|Warning: device does not|"
    r"Bus \d|Product ID|WARNING: A firmware update|see the following|https?://|\*\*\*|==>|"
    r"No [Ss]elf-tests have been logged|No Self-tests Logged|"
    r"Self-tests not supported|Num\s+Test_Description|Namespace \d+ Size|"
    r"NVM Subsystem|Revision:|Reading .* failed|Read (?:SMART|NVMe|Error|Device).* failed|Sector Size:|"
    r"A mandatory SMART|This drive|Your drive|mailing list|\|+_+|.*\|_+ |.*\|{2,})"
)


class Text:
    """What was found in one report: ``report`` in the shape of the JSON, and the numbers of lines understood."""

    def __init__(self) -> None:
        self.report: dict[str, Any] = {}
        self.taken: set[int] = set()
        self.odd: dict[int, str] = {}
        self.is_smartctl = False


def read_text(lines: Iterable[LineLike]) -> Text:
    """Read a report. ``is_smartctl`` False: none of its marks was there."""
    found = Text()
    section = ""
    for line in lines:
        text = line.text.rstrip()
        if not text.strip():
            if section in ("general", "skip"):
                section = "data"
            continue
        stripped = text.strip()
        heading = next((name for rule, name in _HEADER_RULES if rule.match(stripped)), None)
        if BANNER.match(stripped):
            found.is_smartctl, heading = True, ""
        if heading is not None:
            section = heading
            found.taken.add(line.number)
            if heading in ("information", "data", "nvme"):
                found.is_smartctl = True
            command = _COMMAND.search(stripped)
            if command:
                _put(found.report, command[1], "device", "name")
            continue
        if _line(found, section, line, stripped):
            found.taken.add(line.number)
        if stripped.startswith("If Selective self-test is pending"):
            section = "data"  # the last line of its table, which no empty line need follow
    _finish(found.report)
    return found


def _line(found: Text, section: str, line: LineLike, text: str) -> bool:
    report = found.report
    if section in ("skip", "log", "general"):
        # Of no interest: tables up to the next empty line, logs up to the next header, the capabilities of ATA disks.
        return True
    if section == "errors":
        count = re.match(r"(?:ATA|Device) Error Count:\s*(\d+)", text)
        if count:
            _put(report, int(count[1]), "ata_smart_error_log", "summary", "count")
        elif text.startswith("No Errors Logged"):
            _put(report, 0, "ata_smart_error_log", "summary", "count")
        return True
    if section == "sct":
        limit = re.match(
            r"(?:Min/Max recommended Temperature|Specified Max Operating Temperature):\s*(?:-?\d+/)?\s*(\d+)", text
        )
        if limit:
            _put(report, int(limit[1]), "temperature", "op_limit_max")
        return True
    if section == "tests" and _self_test(report, text):
        return True
    if section == "attributes":
        attribute = _attribute(report, text)
        if attribute is not None:
            if attribute:
                found.odd[line.number] = attribute
            return True
    counts = _ERROR_COUNTS.match(text)
    if counts:
        log = {
            "errors_corrected_by_eccfast": int(counts[2]),
            "total_errors_corrected": int(counts[5]),
            "gigabytes_processed": _decimal(counts[7]),
            "total_uncorrected_errors": int(counts[8]),
        }
        _put(report, log, "scsi_error_counter_log", counts[1])
        return True
    command = _COMMAND.search(text)
    if command and text.startswith(("#", "$", "root@")):
        _put(report, command[1], "device", "name")
        return True
    if re.match(r"/dev/\S+: ", text) or text.startswith(
        ("Smartctl open device", "Unable to detect", "Permission denied")
    ):
        _message(report, text)
        return True
    return _known_field(report, text) or _OF_NO_INTEREST.match(text) is not None


def _message(report: dict[str, Any], text: str) -> None:
    severity = "information" if re.search(r"\b(detected|opened)\b", text) else "error"
    smartctl = report.setdefault("smartctl", {})
    smartctl.setdefault("messages", []).append({"string": text, "severity": severity})


def _known_field(report: dict[str, Any], text: str) -> bool:
    field = _FIELD.match(text)
    if not field:
        return False
    name, value = " ".join(field[1].split()), field[2].strip()
    reader = _FIELDS.get(name)
    if reader is None:
        numbered = re.match(r"Namespace 1 (Size/Capacity)$", name)
        if numbered:
            _put(report, _whole(value), "user_capacity", "bytes")
            return True
        return False
    path, convert = reader
    converted = convert(value)
    if converted is not None and _get(report, path) is None:
        _put(report, converted, *path)
    return True


def _whole(value: str) -> int | None:
    """A whole number with any thousands separator, before its unit: ``12 000 138 625 024 bytes [12,0 TB]``."""
    found = re.match(r"(-?\d[\d.,'’\s\u00a0\u202f]*)", value.split("[")[0])
    digits = re.sub(r"[^\d-]", "", found[1]) if found else ""
    # Drives without a medium report sizes beyond any disk.
    return int(digits) if digits.lstrip("-") and len(digits) < 19 else None


def _leading(value: str) -> int | None:
    """The number a value begins with: ``42 Celsius``, ``28%``, ``7200 rpm``."""
    found = re.match(r"(-?\d+)", value)
    return int(found[1]) if found and len(found[1]) < 19 else None


def _hexadecimal(value: str) -> int | None:
    found = re.match(r"0x([0-9a-fA-F]{1,8})\b", value)
    return int(found[1], 16) if found else None


def _decimal(value: str) -> float:
    """``27805.729`` or ``38280,029``: three decimals, whatever stands before them."""
    digits = re.sub(r"[^\d]", "", value)
    return int(digits) / 1000 if re.search(r"[.,]\d{3}$", value) else float(digits or 0)


def _hours(value: str) -> int | None:
    """``minutes 146:02 [8762 minutes]``: what follows the colon of "hours:minutes"."""
    return _leading(value.removeprefix("minutes "))


def _rotation(value: str) -> int | None:
    return 0 if "solid state" in value.lower() else _leading(value)


def _health(value: str) -> bool | None:
    word = value.upper()
    if word.startswith(("PASSED", "OK")):
        return True
    # SCSI disks name the failure they predict; "UNKNOWN!" says nothing.
    return None if not word or word.startswith("UNKNOWN") else False


def _support(value: str) -> dict[str, bool] | None:
    word = value.lower()
    if word.startswith("available"):
        return {"available": True}
    if word.startswith("unavailable"):
        return {"available": False}
    return None


_FIELDS: dict[str, tuple[tuple[str, ...], Any]] = {
    "Device Model": (("model_name",), str),
    "Model Number": (("model_name",), str),
    "Device": (("model_name",), str),
    "Model Family": (("model_family",), str),
    "Vendor": (("scsi_vendor",), str),
    "Product": (("scsi_product",), str),
    "Revision": (("scsi_revision",), str),
    "Serial Number": (("serial_number",), str),
    "Serial number": (("serial_number",), str),
    "Firmware Version": (("firmware_version",), str),
    "User Capacity": (("user_capacity", "bytes"), _whole),
    "Total NVM Capacity": (("nvme_total_capacity",), _whole),
    "Logical block size": (("logical_block_size",), _leading),
    "Physical block size": (("physical_block_size",), _leading),
    "Sector Sizes": (("logical_block_size",), _leading),
    "Sector Size": (("logical_block_size",), _leading),
    "Rotation Rate": (("rotation_rate",), _rotation),
    "Transport protocol": (("scsi_transport_protocol", "name"), str),
    "SMART overall-health self-assessment test result": (("smart_status", "passed"), _health),
    "SMART Health Status": (("smart_status", "passed"), _health),
    "Critical Warning": (("nvme_smart_health_information_log", "critical_warning"), _hexadecimal),
    "Temperature": (("temperature", "current"), _leading),
    "Current Drive Temperature": (("temperature", "current"), _leading),
    "Current temperature": (("temperature", "current"), _leading),
    "Current Temperature": (("temperature", "current"), _leading),
    "Drive Trip Temperature": (("temperature", "drive_trip"), _leading),
    "Warning Comp. Temp. Threshold": (("nvme_composite_temperature_threshold", "warning"), _leading),
    "Critical Comp. Temp. Threshold": (("nvme_composite_temperature_threshold", "critical"), _leading),
    "Available Spare": (("nvme_smart_health_information_log", "available_spare"), _leading),
    "Available Spare Threshold": (("nvme_smart_health_information_log", "available_spare_threshold"), _leading),
    "Percentage Used": (("nvme_smart_health_information_log", "percentage_used"), _leading),
    "Percentage used endurance indicator": (("scsi_percentage_used_endurance_indicator",), _leading),
    "Data Units Read": (("nvme_smart_health_information_log", "data_units_read"), _whole),
    "Data Units Written": (("nvme_smart_health_information_log", "data_units_written"), _whole),
    "Power Cycles": (("power_cycle_count",), _whole),
    "Power On Hours": (("power_on_time", "hours"), _whole),
    "Unsafe Shutdowns": (("nvme_smart_health_information_log", "unsafe_shutdowns"), _whole),
    "Media and Data Integrity Errors": (("nvme_smart_health_information_log", "media_errors"), _whole),
    "Error Information Log Entries": (("nvme_smart_health_information_log", "num_err_log_entries"), _whole),
    "Elements in grown defect list": (("scsi_grown_defect_list",), _leading),
    "Pending defect count": (("scsi_pending_defects", "count"), _leading),
    "Accumulated power on time, hours": (("power_on_time", "hours"), _hours),
    "number of hours powered up": (("power_on_time", "hours"), _leading),
    "SMART support is": (("smart_support",), _support),
}  # fmt: skip
"""A line's words before the colon → where its value goes, and how it is read. The first such line wins."""


def _attribute(report: dict[str, Any], text: str) -> str | None:
    """Read an attribute's row. None: it is none; otherwise what is odd about it ("": nothing)."""
    long = _ATTRIBUTE.match(text)
    brief = None if long else _ATTRIBUTE_BRIEF.match(text)
    if long:
        number, name, flags, value, worst, thresh, kind, _updated, failed, raw = long.groups()
        prefail, when = kind == "Pre-fail", {"FAILING_NOW": "now", "In_the_past": "past"}.get(failed, "")
    elif brief:
        number, name, flags, value, worst, thresh, failed, raw = brief.groups()
        prefail, when = flags.startswith("P"), {"NOW": "now", "Past": "past"}.get(failed, "")
    else:
        return None
    leading = re.match(r"(0x[0-9a-f]+|\d+)", raw)
    row = {
        "id": int(number),
        "name": name,
        "value": _or_none(value),
        "worst": _or_none(worst),
        "thresh": _or_none(thresh),
        "when_failed": when,
        "flags": {"prefailure": prefail},
        "raw": {"value": int(leading[1], 0) if leading and len(leading[1]) < 20 else None, "string": raw},
    }
    report.setdefault("ata_smart_attributes", {}).setdefault("table", []).append(row)
    return "" if leading else "its raw value begins with no number"


def _or_none(value: str) -> int | None:
    return int(value) if value.isdigit() else None


def _self_test(report: dict[str, Any], text: str) -> bool:
    ata = _ATA_TEST.match(text)
    if ata:
        number, kind, status, remaining, hours, lba = ata.groups()
        row: dict[str, Any] = {
            "type": {"string": kind},
            "status": {"string": status, "remaining_percent": int(remaining)},
            "lifetime_hours": int(hours),
            "lba": None if lba == "-" else lba,
        }
        log = report.setdefault("ata_smart_self_test_log", {}).setdefault("standard", {})
        log.setdefault("table", []).append(row)
        return True
    scsi = _SCSI_TEST.match(text)
    if scsi:
        number, kind, status, _segment, hours, lba, _sense = scsi.groups()
        report[f"scsi_self_test_{int(number) - 1}"] = {
            "code": {"string": kind},
            "result": {"string": status},
            "power_on_time": {"hours": int(hours)} if hours.isdigit() else {},
            "lba_first_failure": {} if lba == "-" else {"value": lba},
        }
        return True
    running = re.match(r"Self-test status: (\S.* in progress)(?: \((\d+)% completed\))?", text)
    if running and not running[1].startswith("No "):
        log = report.setdefault("nvme_self_test_log", {})
        log["current_self_test_operation"] = {"value": 1, "string": running[1]}
        log["current_self_test_completion_percent"] = int(running[2]) if running[2] else None
        return True
    nvme = _NVME_TEST.match(text)
    if nvme:
        row = {
            "self_test_code": {"string": nvme[2]},
            "self_test_result": {"string": nvme[3]},
            "power_on_hours": int(nvme[4]),
            "lba": None if nvme[5] == "-" else nvme[5],
        }
        report.setdefault("nvme_self_test_log", {}).setdefault("table", []).append(row)
        return True
    return False


def _finish(report: dict[str, Any]) -> None:
    """What the JSON says in a place of its own and the text only in its attributes."""
    rows = report.get("ata_smart_attributes", {}).get("table", [])
    by_id = {row["id"]: row for row in rows}
    device = report.setdefault("device", {})
    if "nvme_smart_health_information_log" in report or "nvme_composite_temperature_threshold" in report:
        device["protocol"] = "NVMe"
    elif "scsi_product" in report or "scsi_vendor" in report:
        device["protocol"] = "SCSI"
        vendor, product = report.get("scsi_vendor", ""), report.get("scsi_product", "")
        report["scsi_model_name"] = product or vendor
    elif (old := re.match(r"(.*?)\s+Version:\s*(\S*)$", report.get("model_name", ""))) is not None:
        # smartctl 5.x of a SCSI disk: "Device: IBM-ESXS ST3300655SS      Version: BA23"
        device["protocol"], report["model_name"] = "SCSI", old[1]
        report.setdefault("firmware_version", old[2])
    elif rows or "model_name" in report:
        device["protocol"] = "ATA"
    if "power_on_time" not in report and 9 in by_id:
        hours = by_id[9]["raw"]["value"]
        if hours is not None and "Minutes" not in by_id[9]["name"]:
            report["power_on_time"] = {"hours": hours}
    if "power_cycle_count" not in report and 12 in by_id:
        report["power_cycle_count"] = by_id[12]["raw"]["value"]
    if "temperature" not in report:
        for number in (194, 190):
            if number in by_id and "emp" in by_id[number]["name"]:
                report["temperature"] = {"current": by_id[number]["raw"]["value"]}
                break


def _put(report: dict[str, Any], value: Any, *path: str) -> None:
    for key in path[:-1]:
        report = report.setdefault(key, {})
    if isinstance(value, dict) and isinstance(report.get(path[-1]), dict):
        report[path[-1]].update(value)
    else:
        report[path[-1]] = value


def _get(report: dict[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = report
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
