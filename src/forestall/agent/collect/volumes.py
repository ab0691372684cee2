"""The ``volumes`` document: mounted file systems that hold this machine's own data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypedDict

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Volume, Volumes

DATA_FILESYSTEMS = frozenset(
    [
        "ext2",
        "ext3",
        "ext4",
        "xfs",
        "btrfs",
        "zfs",
        "f2fs",
        "jfs",
        "reiserfs",
        "bcachefs",
        "nilfs2",
        "ufs",
        "vfat",
        "msdos",
        "exfat",
        "ntfs",
        "ntfs3",
        "fuseblk",
        "hfsplus",
    ]
)
"""File systems that hold data on a disk of this machine (squashfs and iso9660 cannot fill up)."""
NETWORK_FILESYSTEMS = frozenset(
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "9p", "afs"]
)
"""Another machine's: its space is that machine's matter, and asking may hang for ever when it is away."""
FIXED_INODES = frozenset(["ext2", "ext3", "ext4", "f2fs", "reiserfs", "ufs", "overlay"])
"""Those whose number of inodes is set when they are made; the others make inodes as long as there is space."""
_STOPPED = frozenset(["ro", "emergency_ro", "shutdown"])
"""Among the options of the file system itself; newer kernels name the emergency and leave "rw" beside it."""
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of /proc/self/mountinfo."""

    mountpoint: str
    device: str
    """What is mounted: ``/dev/vda1``, ``overlay``, ``tank/data``."""
    number: str
    """Device number ``major:minor``."""
    filesystem: str
    options: tuple[str, ...]
    read_only: bool
    stopped: bool = False
    """The file system has stopped writing after an error of its own, though it is mounted for writing."""


def collect(host: Host) -> Volumes:
    notes = Notes(host)
    mounts = parse_mountinfo(notes.read("/proc/self/mountinfo", what="mounted file systems") or "")
    volumes = []
    for mount in data_mounts(mounts):
        try:
            if not host.status(mount.mountpoint).is_dir:
                continue  # a single file mounted into a container
            space = host.space(mount.mountpoint)
        except HostError as error:
            notes.gap(f"size of {mount.mountpoint}", error.why)
            continue
        total = space.total_bytes
        if mount.filesystem == "zfs":
            # A dataset's size is what the pool has left for it, which changes with every write: whole GiB will do.
            total = round(total / 2**30) * 2**30
        volumes.append(
            Volume(
                mountpoint=mount.mountpoint,
                device=mount.device,
                filesystem=mount.filesystem,
                options=mount.options,
                total_bytes=total,
                read_only=mount.read_only,
                total_inodes=space.total_inodes if mount.filesystem in FIXED_INODES else 0,
                **_errors(notes, mount),
            )
        )
    for mount in sorted(mounts, key=lambda each: each.mountpoint):
        if mount.filesystem in NETWORK_FILESYSTEMS:
            notes.gap(f"space of {mount.mountpoint}", f"{mount.filesystem} share of another machine")
    return Volumes(volumes=tuple(volumes), sources=notes.sources, gaps=notes.gaps)


class _Errors(TypedDict, total=False):
    errors: int
    last_error_at: datetime
    state: str


def _errors(notes: Notes, mount: Mount) -> _Errors:
    """What the file system itself has counted; the kernel shows it in /sys for ext4 and Btrfs, and for no other."""
    found: _Errors = {}
    if mount.filesystem in ("ext2", "ext3", "ext4"):
        # /sys/fs/ext4 calls devices by the kernel's name, which /dev/mapper/… is only a link to.
        folder = f"/sys/fs/ext4/{_kernel_name(notes, mount)}"
        counted = notes.value(f"{folder}/errors_count")
        if counted.isdigit():
            notes.used(f"{folder}/errors_count")
            found["errors"] = int(counted)
        last = notes.value(f"{folder}/last_error_time")
        if found.get("errors") and last.isdigit() and int(last) > 0:
            found["last_error_at"] = datetime.fromtimestamp(int(last), UTC)
    elif mount.filesystem == "btrfs":
        counts = [_btrfs_errors(notes.value(path)) for path in notes.host.glob("/sys/fs/btrfs/*/devinfo/*/error_stats")
                  if _is_of(notes, path, mount)]  # fmt: skip
        if counts:
            notes.used("/sys/fs/btrfs/*/devinfo/*/error_stats")
            found["errors"] = sum(counts)
    if mount.stopped:
        found["state"] = "turned read-only after errors"
    return found


def _kernel_name(notes: Notes, mount: Mount) -> str:
    try:
        return notes.host.read_link(f"/sys/dev/block/{mount.number}").rpartition("/")[2]
    except HostError:
        return mount.device.rpartition("/")[2]


def _is_of(notes: Notes, path: str, mount: Mount) -> bool:
    """Whether the Btrfs file system in /sys that holds ``path`` is the mounted one: it names its devices."""
    folder = path.split("/devinfo/", maxsplit=1)[0]
    return mount.device.rpartition("/")[2] in [
        each.rpartition("/")[2] for each in notes.host.glob(f"{folder}/devices/*")
    ]


def _btrfs_errors(text: str) -> int:
    """The sum of ``write_errs 0``, ``corruption_errs 3`` …"""
    return sum(int(number) for number in re.findall(r"_errs\s+(\d+)", text))


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """The mounts of proc(5) mountinfo, in their order."""
    mounts = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields, tail = before.split(" "), after.split(" ")
        if not dash or len(fields) < 6 or len(tail) < 3:
            continue
        options = tuple(fields[5].split(","))
        of_all = tail[2].split(",")
        mounts.append(
            Mount(
                mountpoint=_unescape(fields[4]),
                device=_unescape(tail[1]),
                number=fields[2],
                filesystem=tail[0],
                options=options,
                # After an error the file system itself turns read-only while the mount still says "rw".
                read_only="ro" in options or not _STOPPED.isdisjoint(of_all),
                stopped="rw" in options and not _STOPPED.isdisjoint(of_all),
            )
        )
    return tuple(mounts)


def data_mounts(mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
    """The mounts that are volumes: one for each file system, at its shortest mount point; sorted by mount point.

    Bind mounts and btrfs subvolumes show one file system several times; a mount over another hides it.
    """
    visible = {mount.mountpoint: mount for mount in mounts}
    shortest: dict[str, Mount] = {}
    for mount in sorted(visible.values(), key=lambda each: (len(each.mountpoint), each.mountpoint)):
        if mount.filesystem in DATA_FILESYSTEMS or (mount.filesystem == "overlay" and mount.mountpoint == "/"):
            key = mount.device if mount.device.startswith("/dev/") or mount.filesystem == "zfs" else mount.number
            shortest.setdefault(key, mount)
    return tuple(sorted(shortest.values(), key=lambda each: each.mountpoint))


def _unescape(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text) if "\\" in text else text
