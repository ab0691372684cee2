"""RAID arrays, volume groups, pools, and what Windows says of its storage."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from forestall.agent.collect import windows_storage
from forestall.agent.collect.arrays import adaptec, btrfs, hp, lvm, mdadm, megaraid, storcli, three_ware, zfs
from forestall.agent.collect.arrays.found import Found
from forestall.agent.collect.captures.capture import (
    Capture,
    CapturedFile,
    CaptureError,
    Parsed,
    Reading,
    Unread,
    read_each,
)
from forestall.wire.facts import Array, Arrays, Controller, Disk, Disks, Document, Volumes

Answer = tuple[Sequence[Any], Sequence[Unread]]


def _text(
    read: Callable[[Reading], Found], tool: str
) -> Callable[[CapturedFile], tuple[list[Found], Sequence[Unread]]]:
    """Reads one file by ``read``; refused when not a line of it was understood."""

    def one(file: CapturedFile) -> tuple[list[Found], Sequence[Unread]]:
        reading = Reading(file)
        found = read(reading)
        if not reading.took_any:
            raise CaptureError(file.name, 0, f"has no line of {tool}")
        return [found], reading.unread()

    return one


def _json_or_text(
    read_json: Callable[[Any], Found], read_text: Callable[[Reading], Found], tool: str
) -> Callable[[CapturedFile], tuple[list[Found], Sequence[Unread]]]:
    text = _text(read_text, tool)

    def one(file: CapturedFile) -> tuple[list[Found], Sequence[Unread]]:
        if not file.text().lstrip().startswith(("{", "[")):
            return text(file)
        found = read_json(file.json())
        if not found:
            raise CaptureError(file.name, 0, f"is JSON, yet not of {tool}")
        return [found], ()

    return one


def _arrays(found: list[Found]) -> Document:
    arrays: dict[str, Array] = {}
    controllers: dict[str, Controller] = {}
    for each in found:
        for array in each.arrays:
            arrays.setdefault(array.name, array)
        for controller in each.controllers:
            controllers.setdefault(controller.name, controller)
    return Arrays(arrays=tuple(arrays.values()), controllers=tuple(controllers.values()))


def _disks(found: list[Found]) -> Document:
    return Disks(disks=tuple({disk.device: disk for each in found for disk in each.disks}.values()))


def _both(
    name: str, title: str, files: str, one: Callable[[CapturedFile], tuple[list[Found], Sequence[Unread]]]
) -> tuple[Capture, Capture]:
    """A controller's list is read twice: for its arrays, and for its physical disks."""
    return (
        Capture(name=name, title=f"{title}, arrays", document=Arrays, files=files,
                read=lambda given: read_each(given, one, _arrays)),
        Capture(name=f"{name}-disks", title=f"{title}, physical disks", document=Disks, files=files,
                read=lambda given: read_each(given, one, _disks)),
    )  # fmt: skip


def _mdadm(reading: Reading) -> Found:
    return mdadm.read_mdstat(reading) if mdadm.is_mdstat(reading) else mdadm.read_detail(reading)


def _lvm_json(report: Any) -> Found:
    return lvm.read_json([report])


def _megacli(reading: Reading) -> Found:
    return megaraid.read(reading) if megaraid.is_megacli(reading) else megaraid.read_megasasctl(reading)


def _lvm(files: Sequence[CapturedFile]) -> Parsed:
    """vgs, lvs and pvs together: only the three of them say which disk is in which group."""
    reports: list[Any] = []
    texts: list[tuple[Sequence[Unread], Found]] = []
    unread: list[Unread] = []
    good: list[str] = []
    for file in files:
        try:
            if file.text().lstrip().startswith("{"):
                report = file.json_object()
                if "report" not in report:
                    raise CaptureError(file.name, 1, 'is JSON, yet not of LVM: it has no "report"')
                reports.append(report)
            else:
                reading = Reading(file)
                found = lvm.read_text(reading)
                if not reading.took_any:
                    raise CaptureError(file.name, 0, "has no line of vgs, lvs or pvs")
                texts.append((reading.unread(), found))
        except CaptureError as error:
            unread.append(Unread(error.file, error.line, "", error.why))
            continue
        good.append(file.name)
    if not good:
        return Parsed(None, tuple(unread))
    together = lvm.read_json(reports)
    for more, found in texts:
        unread += more
        together.add(found)
    document = _arrays([together])
    return Parsed(Arrays(arrays=document.arrays, sources=tuple(good)), tuple(unread))  # type: ignore[attr-defined]


_HDPARM = {
    "Model Number": "model",
    "Serial Number": "serial",
    "Firmware Revision": "firmware",
}
_MEGABYTES = re.compile(r"^\s*device size with M = 1000\*1000:\s+(\d+) MBytes")


def _hdparm(file: CapturedFile) -> tuple[list[Disk], Sequence[Unread]]:
    """``hdparm -I``: who the disk is. It prints a disk's whole identity; the other lines are of no interest."""
    reading = Reading(file)
    disks: list[dict[str, Any]] = []
    for line in reading:
        head = re.match(r"^(/dev/\S+):\s*$", line.text)
        name, _, value = line.text.strip().partition(":")
        size = _MEGABYTES.match(line.text)
        if head:
            disks.append({"device": head[1]})
        elif disks and name in _HDPARM:
            disks[-1][_HDPARM[name]] = "".join(each for each in value.strip() if each.isprintable())
        elif disks and size:
            disks[-1]["size_bytes"] = int(size[1]) * 10**6
        elif disks and name == "Nominal Media Rotation Rate":
            word = value.strip()
            disks[-1]["kind"] = "ssd" if "Solid" in word else "hdd" if word.isdigit() else ""
        elif disks and re.match(r"^\s+\*\s+SMART feature set", line.text):
            disks[-1]["smart_available"] = True
    found = [each for each in disks if len(each) > 1]
    if not found:
        raise CaptureError(file.name, 0, "has no disk of hdparm -I")
    return [Disk(**each, interface="sata", unknown_why="hdparm does not say how it is") for each in found], ()


def _windows(
    make: Callable[[Any], list[Any]], words: tuple[str, ...], what: str
) -> Callable[[CapturedFile], tuple[list[Any], Sequence[Unread]]]:
    def one(file: CapturedFile) -> tuple[list[Any], Sequence[Unread]]:
        unread: Sequence[Unread] = ()
        if file.text().lstrip().startswith(("{", "[")):
            rows = windows_storage.rows_of(file.json())
        else:
            reading = Reading(file)
            rows = list(windows_storage.properties(reading))
            unread = reading.unread()
        if not any(word in row for row in rows for word in words):
            raise CaptureError(file.name, 0, f"has no object of {what}")
        return make(rows), unread

    return one


_DISKS = _windows(windows_storage.disks_of, ("Model", "FriendlyName"), "Get-PhysicalDisk or Win32_DiskDrive")
_VOLUMES = _windows(windows_storage.volumes_of, ("DriveType",), "Get-Volume, Win32_Volume or Win32_LogicalDisk")
_POOLS = _windows(windows_storage.pools_of, ("FriendlyName",), "Get-StoragePool or Get-VirtualDisk")


def _read_windows_disks(files: Sequence[CapturedFile]) -> Parsed:
    def make(disks: list[Disk]) -> Document:
        return Disks(disks=tuple(disks))

    return read_each(files, _DISKS, make)


CAPTURES: tuple[Capture, ...] = (
    Capture(
        name="mdadm",
        title="Linux software RAID",
        document=Arrays,
        files="`/proc/mdstat`, or output of `mdadm --detail` or `mdadm --examine`",
        read=lambda files: read_each(files, _text(_mdadm, "mdstat or mdadm"), _arrays),
    ),
    Capture(
        name="hdparm",
        title="Identity of ATA disks",
        document=Disks,
        files="output of `hdparm -I DEVICE`",
        read=lambda files: read_each(files, _hdparm, lambda found: Disks(disks=tuple(found))),
    ),
    Capture(
        name="lvm",
        title="Volume groups",
        document=Arrays,
        files="outputs of `vgs`, `lvs -a` and `pvs`, as tables or with `--reportformat json`",
        read=_lvm,
    ),
    Capture(
        name="zpool",
        title="ZFS pools",
        document=Arrays,
        files="output of `zpool status`",
        read=lambda files: read_each(files, _text(zfs.read_status, "zpool status"), _arrays),
    ),
    Capture(
        name="btrfs",
        title="Btrfs file systems",
        document=Arrays,
        files="outputs of `btrfs filesystem show --raw`, `filesystem df`, `device stats` and `scrub status` of one "
        "file system, one after another in one file",
        read=lambda files: read_each(files, _text(btrfs.read, "btrfs"), _arrays),
    ),
    *_both(
        "megacli",
        "LSI and PERC controllers",
        "output of `MegaCli -LDInfo -Lall -aALL`, `-PDList -aALL`, `-ShowSummary -aALL` or `megasasctl`",
        _text(_megacli, "MegaCli or megasasctl"),
    ),
    *_both(
        "storcli",
        "Broadcom and PERC controllers",
        "output of `storcli64 /call show all J` (or perccli), or the same without J",
        _json_or_text(storcli.read_json, storcli.read_text, "storcli"),
    ),
    *_both(
        "ssacli",
        "HP Smart Array controllers",
        "output of `ssacli ctrl all show config` or `show status` (or hpssacli, hpacucli)",
        _text(hp.read, "ssacli"),
    ),
    *_both(
        "tw-cli",
        "3ware controllers",
        "output of `tw_cli show` and `tw_cli /c0 show`",
        _text(three_ware.read, "tw_cli"),
    ),
    *_both("arcconf", "Adaptec controllers", "output of `arcconf getconfig 1`", _text(adaptec.read, "arcconf")),
    Capture(
        name="windows-disks",
        title="Disks of Windows",
        document=Disks,
        files="output of `Get-PhysicalDisk | ConvertTo-Json` or `wmic diskdrive get /value`",
        read=_read_windows_disks,
    ),
    Capture(
        name="windows-volumes",
        title="Volumes of Windows",
        document=Volumes,
        files="output of `Get-Volume | ConvertTo-Json` or `wmic volume get /value`",
        read=lambda files: read_each(files, _VOLUMES, lambda found: Volumes(volumes=tuple(found))),
    ),
    Capture(
        name="windows-pools",
        title="Storage Spaces",
        document=Arrays,
        files="output of `Get-StoragePool | ConvertTo-Json` or `Get-VirtualDisk | ConvertTo-Json`",
        read=lambda files: read_each(files, _POOLS, lambda found: Arrays(arrays=tuple(found))),
    ),
)
