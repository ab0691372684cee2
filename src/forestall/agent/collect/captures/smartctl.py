"""``smartctl --all``, in JSON or as text, one file a disk."""

from __future__ import annotations

import re
from collections.abc import Sequence

from forestall.agent.collect.captures.capture import (
    Capture,
    CapturedFile,
    CaptureError,
    Parsed,
    Reading,
    Unread,
    read_each,
)
from forestall.agent.collect.smartctl import disk_of
from forestall.agent.collect.smartctl_text import read_text
from forestall.wire.facts import Disk, Disks


def _read(file: CapturedFile) -> tuple[Sequence[Disk], Sequence[Unread]]:
    if file.text().lstrip().startswith(("{", "[")):
        return _read_json(file)
    reading = Reading(file)
    found = read_text(reading.lines)
    if not found.is_smartctl:
        raise CaptureError(file.name, 0, "is no output of smartctl: neither its JSON nor its first line is there")
    reading.take(*(line for line in reading if line.number in found.taken))
    for line in reading:
        if line.number in found.odd:
            reading.odd(line, found.odd[line.number])
    device = str(found.report["device"].get("name") or "") or _device_in(file.name)
    return [disk_of(found.report, device)], reading.unread()


def _read_json(file: CapturedFile) -> tuple[Sequence[Disk], Sequence[Unread]]:
    report = file.json_object()
    if "smartctl" not in report:
        raise CaptureError(file.name, 0, 'is JSON, yet not of smartctl: it has no "smartctl"')
    unread = []
    for key, wanted in _SHAPES.items():
        if key in report and not isinstance(report[key], wanted):
            why = f"{key} is {type(report[key]).__name__}: not what smartctl writes"
            unread.append(Unread(file.name, file.line_of(f'"{key}"'), "", why))
    device = report.get("device")
    name = str(device.get("name") or "") if isinstance(device, dict) else ""
    return [disk_of(report, name or _device_in(file.name))], unread


_SHAPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(
        (
            *("device", "smart_status", "smart_support", "temperature", "power_on_time", "user_capacity"),
            *("ata_smart_attributes", "ata_smart_self_test_log", "ata_smart_error_log"),
            *("nvme_smart_health_information_log", "nvme_self_test_log", "scsi_error_counter_log"),
        ),
        dict,
    ),
    **dict.fromkeys(("model_name", "serial_number", "firmware_version", "scsi_model_name"), str),
    **dict.fromkeys(("rotation_rate", "power_cycle_count", "scsi_grown_defect_list"), (int, float)),
}
"""What smartctl writes under the names that we read."""


def _device_in(name: str) -> str:
    """``/dev/sda`` of a file called after it (``sda.txt``, ``smartctl_-a__dev_sda``); else the file's name."""
    found = re.search(r"(?:^|[_/.-])((?:sd[a-z]+|nvme\d+(?:n\d+)?|hd[a-z]|da\d+|ada\d+))(?:[_.-]|$)", name)
    return f"/dev/{found[1]}" if found else name


def _parse(files: Sequence[CapturedFile]) -> Parsed:
    return read_each(files, _read, lambda disks: Disks(disks=tuple(disks)))


CAPTURES: tuple[Capture, ...] = (
    Capture(
        name="smartctl",
        title="Disk health",
        document=Disks,
        files="output of `smartctl --json --all DEVICE` or `smartctl --all DEVICE`, one file a disk",
        read=_parse,
    ),
)
