"""The ``disks`` document: each disk and what it says of its own health (``smartctl --json``).

Disks behind a hardware RAID controller are asked through it (``smartctl -d megaraid,3``). Numbers that always move
are rounded or left out (``smartctl.steady``), so that the document changes only when there is news.
"""

from __future__ import annotations

import json
import re

import msgspec

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.smartctl import disk_of, steady
from forestall.wire.facts import Disk, Disks

_NOT_DISKS = ("loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "drbd", "bcache", "zd")
"""Block devices that are made of others, of memory, or that hold exchangeable media."""
_PARAVIRTUAL = ("vd", "xvd")
_VIRTUAL_MAKERS = ("qemu", "vmware", "vbox", "virtual", "msft", "google", "amazon")
_BEHIND = re.compile(r"^(?:sat\+)?(?:megaraid|cciss|3ware|aacraid|areca|sssraid),")
"""smartctl's types of disks that the system itself does not show: a RAID controller has them."""
_MOST_BEHIND = 64
_CONTROLLER_TOOLS = (
    *("storcli64", "storcli", "perccli64", "perccli", "megacli", "MegaCli", "MegaCli64"),
    *("ssacli", "hpssacli", "hpacucli", "tw_cli", "tw-cli", "arcconf"),
)


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
    if smartctl is not None and host.is_root and any(disk.kind != "virtual" for disk in disks):
        disks += _behind_controllers(notes)
    if not any(disk.behind for disk in disks) and any(host.find_program(name) for name in _CONTROLLER_TOOLS):
        from forestall.agent.collect.arrays import controller_disks

        disks += controller_disks(notes)
    return Disks(disks=tuple(disks), sources=notes.sources, gaps=notes.gaps)


def merge(identity: Disk, health: Disk) -> Disk:
    """What the kernel says of a disk, completed by what the disk says of itself."""
    changes = {
        field: getattr(health, field)
        for field in Disk.__struct_fields__
        if getattr(health, field) not in ("", 0, None, ())
        or isinstance(getattr(health, field), bool)
        or (getattr(health, field) == 0 and getattr(identity, field) is None)
    }
    if identity.kind == "virtual":
        changes.pop("kind", None)
    return msgspec.structs.replace(identity, **{**changes, "device": identity.device})


def parse_smartctl(text: str, device: str) -> Disk:
    """A report of ``smartctl --json --all``, without what moves at every look. ValueError when it is not one."""
    try:
        report = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"smartctl's report on {device} is not JSON: {error}") from None
    if not isinstance(report, dict):
        raise ValueError(f"smartctl's report on {device} is not an object")  # noqa: TRY004 - the text is wrong
    return steady(disk_of(report, device))


def parse_scan(text: str) -> list[tuple[str, str]]:
    """Device and type of every disk behind a RAID controller in ``smartctl --scan --json``; none when it is no JSON."""
    try:
        report = json.loads(text)
    except json.JSONDecodeError:
        return []
    devices = report.get("devices") if isinstance(report, dict) else None
    found = []
    for each in devices if isinstance(devices, list) else []:
        name, way = (str(each.get("name")), str(each.get("type"))) if isinstance(each, dict) else ("", "")
        if _BEHIND.search(way):
            found.append((name, way))
    return found


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


def _behind_controllers(notes: Notes) -> list[Disk]:
    result = notes.run(["smartctl", "--scan", "--json"], timeout=30)
    disks = []
    for name, way in parse_scan(result.stdout if result else "")[:_MOST_BEHIND]:
        disk = _health(notes, name, way)
        number = way.partition("+")[2] or way
        disk = msgspec.structs.replace(disk, device=f"{name} {number}", behind=number)
        if disk.smart_available is None:
            notes.gap(f"health of {disk.device}", disk.unknown_why)
        disks.append(disk)
    return disks


def _health(notes: Notes, device: str, way: str = "") -> Disk:
    command = ["smartctl", "--json", "--all", *(["-d", way] if way else []), device]
    try:
        result = notes.host.run(command, timeout=30)
        notes.used(" ".join(command))
        health = parse_smartctl(result.stdout, device)
    except HostError as error:
        return Disk(device=device, unknown_why=error.why)
    except ValueError:
        return Disk(device=device, unknown_why=complaint(result))
    if health.smart_available is None and not health.unknown_why:
        return msgspec.structs.replace(health, unknown_why="smartctl does not say whether the disk has SMART")
    return health
