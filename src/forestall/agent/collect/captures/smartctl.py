"""``smartctl --all`` in JSON, one file a disk."""

from __future__ import annotations

from collections.abc import Sequence

from forestall.agent.collect.captures.capture import Capture, CapturedFile, CaptureError, Parsed, Unread, read_each
from forestall.agent.collect.disks import parse_smartctl
from forestall.wire.facts import Disk, Disks


def _read(file: CapturedFile) -> tuple[Sequence[Disk], Sequence[Unread]]:
    report = file.json_object()
    if "smartctl" not in report:
        raise CaptureError(file.name, 0, 'is JSON, yet not of smartctl: it has no "smartctl"')
    device = report.get("device")
    name = str(device.get("name") or "") if isinstance(device, dict) else ""
    return [parse_smartctl(file.text(), name or file.name)], ()


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
