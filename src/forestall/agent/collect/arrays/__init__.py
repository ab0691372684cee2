"""The ``arrays`` document: RAID arrays, volume groups and pools, one module a tool.

A module has ``find(notes) -> Found``: what its tool says here, nothing when there is none of it. Its parsers take a
``Reading``, so that the agent and ``forestall facts parse`` read with the same eyes. Hardware controllers are asked
only where their tool is installed.
"""

from __future__ import annotations

from forestall.agent.collect.arrays import adaptec, btrfs, hp, lvm, mdadm, megaraid, storcli, three_ware, zfs
from forestall.agent.collect.arrays.found import Found
from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Array, Arrays, Controller, Disk

TOOLS = (mdadm, lvm, zfs, btrfs, storcli, megaraid, hp, three_ware, adaptec)
"""In the order in which their arrays are listed. storcli before megacli: both speak to the same controllers."""


def controller_disks(notes: Notes) -> list[Disk]:
    """Physical disks as the tools of hardware controllers list them."""
    found: dict[str, Disk] = {}
    for tool in (storcli, megaraid, hp, three_ware, adaptec):
        for disk in tool.find(notes).disks:
            found.setdefault(disk.device, disk)
    return list(found.values())


def collect(host: Host) -> Arrays:
    notes = Notes(host)
    arrays: dict[str, Array] = {}
    controllers: dict[str, Controller] = {}
    for tool in TOOLS:
        found: Found = tool.find(notes)
        for array in found.arrays:
            arrays.setdefault(array.name, array)
        for controller in found.controllers:
            controllers.setdefault(controller.name, controller)
    if not notes.sources and not notes.gaps:
        notes.used("no software RAID, LVM, ZFS, Btrfs and no RAID controller's tool here")
    return Arrays(
        arrays=tuple(arrays.values()),
        controllers=tuple(controllers.values()),
        sources=notes.sources,
        gaps=notes.gaps,
    )
