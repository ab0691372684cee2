"""The ``readiness`` document: whether the machine is fit to be updated now."""

from __future__ import annotations

import re
from dataclasses import dataclass

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.processes import is_alive
from forestall.agent.collect.volumes import parse_mountinfo
from forestall.wire.facts import Readiness

POWER = "/sys/class/power_supply"
UTMP = "/run/utmp"
LOGIND = "/run/systemd/sessions"
LOCKS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
    "/var/lib/rpm/.rpm.lock",
    "/usr/lib/sysimage/rpm/.rpm.lock",
    "/lib/apk/db/lock",
)
"""Files that package managers keep locked while they work."""
PID_FILES = (
    "/run/zypp.pid",
    "/var/run/yum.pid",
    "/var/lib/dnf/rpmdb_lock.pid",
    "/var/cache/dnf/metadata_lock.pid",
    "/var/cache/dnf/download_lock.pid",
)
"""Files with the number of a package manager at work; they may stay behind when it is killed."""
PACMAN_LOCK = "/var/lib/pacman/db.lck"
_UTMP_BYTES, _UTMP_USER_PROCESS = 384, 7
_LEAST_FREE_FOR_LVM = 1 << 30
"""Bytes that a volume group must have left so that a snapshot can take the changes of an update."""


def collect(host: Host) -> Readiness:
    notes = Notes(host)
    on_battery, percent = power(notes)
    return Readiness(
        on_battery=on_battery,
        battery_percent=percent,
        sessions=sessions(notes),
        busy=busy(notes),
        snapshots=tuple(means.kind for means in snapshot_means(notes)),
        sources=notes.sources,
        gaps=notes.gaps,
    )


# --- power ---------------------------------------------------------------------------------------------------


def power(notes: Notes) -> tuple[bool | None, float | None]:
    """Whether the machine runs on battery (None: it has none), and how full the battery is, in percent."""
    mains: list[bool] = []
    discharging: list[bool] = []
    levels: list[float] = []
    notes.used(f"{POWER}/*")
    for path in notes.host.glob(f"{POWER}/*"):
        kind = notes.value(f"{path}/type")
        if kind in ("Mains", "USB", "Wireless") and notes.value(f"{path}/online") in ("0", "1"):
            mains.append(notes.value(f"{path}/online") != "0")
        # The battery of a mouse or a pen says of itself that it is a device's.
        elif kind == "Battery" and notes.value(f"{path}/scope") != "Device":
            discharging.append(notes.value(f"{path}/status") == "Discharging")
            if (level := notes.value(f"{path}/capacity")).isdigit():
                levels.append(float(level))
    if not discharging:
        return None, None
    return not any(mains) and any(discharging), round(sum(levels) / len(levels), 1) if levels else None


# --- people --------------------------------------------------------------------------------------------------


def sessions(notes: Notes) -> tuple[str, ...]:
    """Who is signed in: ``ada on tty1``, sorted."""
    host = notes.host
    found: set[str] = set()
    if host.glob(LOGIND):
        notes.used(f"{LOGIND}/*")
        for path in host.glob(f"{LOGIND}/*"):
            values = dict(line.split("=", 1) for line in notes.value(path).splitlines() if "=" in line)
            if values.get("CLASS") == "user" and values.get("STATE") in ("active", "online"):
                where = values.get("TTY") or values.get("DISPLAY") or values.get("SERVICE") or "a session"
                found.add(f"{values.get('USER') or values.get('UID', '')} on {where}")
        return tuple(sorted(found))
    try:
        data = host.read_bytes(UTMP)
    except HostError as error:
        notes.gap("people who are signed in", error.why)
        return ()
    notes.used(UTMP)
    for start in range(0, len(data) - _UTMP_BYTES + 1, _UTMP_BYTES):
        record = data[start : start + _UTMP_BYTES]
        # The record of a session that was cut off stays; its process does not.
        if int.from_bytes(record[0:2], "little") == _UTMP_USER_PROCESS and is_alive(
            host, int.from_bytes(record[4:8], "little")
        ):
            line, name = (part.split(b"\0", 1)[0].decode(errors="replace") for part in (record[8:40], record[44:76]))
            found.add(f"{name} on {line}")
    return tuple(sorted(found))


# --- package managers at work --------------------------------------------------------------------------------


def busy(notes: Notes) -> tuple[str, ...]:
    """Package managers at work, known by the locks they hold: ``apt-get upgrade (process 4711)``."""
    host = notes.host
    pids = set(_lock_holders(notes))
    for path in PID_FILES:
        number = notes.value(path)
        if number.isdigit() and is_alive(host, int(number)):
            pids.add(int(number))
    found = {f"{_words(notes, pid)} (process {pid})" for pid in pids}
    if pid := pacman_at_work(host):
        found.add(f"pacman (process {pid})")
    return tuple(sorted(found))


def pacman_at_work(host: Host) -> int:
    """The process whose lock is there; 0: none, or the lock was left behind by one that was killed."""
    if not host.glob(PACMAN_LOCK):
        return 0
    for path in host.glob("/proc/*/comm"):
        try:
            if host.read_text(path).strip() == "pacman":
                return int(path.split("/")[2])
        except (HostError, ValueError):
            continue
    return 0


def _lock_holders(notes: Notes) -> list[int]:
    inodes: dict[str, str] = {}
    for path in LOCKS:
        try:
            inodes[str(notes.host.status(path).inode)] = path
        except HostError:
            continue
    if not inodes:
        return []
    held = notes.read("/proc/locks", what="package managers at work") or ""
    found = []
    # "1: POSIX  ADVISORY  WRITE 4711 fe:00:131 0 EOF"; a waiter's line has "->" after its number.
    for line in held.splitlines():
        fields = line.split()
        if len(fields) >= 8 and fields[1] != "->" and fields[5].rpartition(":")[2] in inodes and fields[4].isdigit():
            path = inodes[fields[5].rpartition(":")[2]]
            if _has_open(notes.host, int(fields[4]), path):
                found.append(int(fields[4]))
    return found


def _has_open(host: Host, pid: int, path: str) -> bool:
    """Whether a process has a file of that name open (another volume may have a file of that number). True when it
    cannot be told."""
    try:
        names = host.list_dir(f"/proc/{pid}/fd")
    except HostError:
        return is_alive(host, pid)
    targets = []
    for name in names:
        try:
            targets.append(host.read_link(f"/proc/{pid}/fd/{name}"))
        except HostError:
            continue
    return any(target.endswith(path) for target in targets)


def _words(notes: Notes, pid: int) -> str:
    """The first words of a command line, without its options: they may say more than is ours to report."""
    parts = notes.value(f"/proc/{pid}/cmdline").split("\x00")
    words = [part.rpartition("/")[2] if number < 2 else part for number, part in enumerate(parts)]
    plain = [word for word in words if re.fullmatch(r"[a-z][a-z0-9_.+-]*", word)]
    return " ".join(plain[:3]) or notes.value(f"/proc/{pid}/comm") or "a program"


# --- snapshots -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SnapshotMeans:
    """What could take a snapshot of a volume."""

    kind: str
    """``btrfs``, ``lvm`` or ``zfs``."""
    volume: str
    """The mount point (btrfs), the logical volume ``group/name`` (lvm) or the data set (zfs)."""
    thin: bool = False
    """lvm: a thin volume's snapshot needs no space of its own."""


def snapshot_means(notes: Notes, mountpoint: str = "/") -> tuple[SnapshotMeans, ...]:
    """What could take a snapshot of the volume mounted there; none where nothing can."""
    host = notes.host
    mounts = parse_mountinfo(notes.read("/proc/self/mountinfo") or "")
    mount = next((each for each in reversed(mounts) if each.mountpoint == mountpoint), None)
    if mount is None or mount.read_only:
        return ()
    if mount.filesystem == "btrfs" and host.find_program("btrfs"):
        return (SnapshotMeans("btrfs", mountpoint),)
    if mount.filesystem == "zfs" and host.find_program("zfs"):
        return (SnapshotMeans("zfs", mount.device),)
    if mount.device.startswith(("/dev/mapper/", "/dev/dm-")) and host.find_program("lvs"):
        options = ["--noheadings", "--nosuffix", "--units", "b", "--separator", "\t"]
        argv = ["lvs", *options, "--options", "vg_name,lv_name,vg_free,pool_lv", mount.device]
        result = notes.run(argv, what="free space for snapshots", source="lvs")
        fields = (result.stdout if result and result.exit_code == 0 else "").strip("\n ").split("\t")
        if len(fields) == 4 and (fields[3].strip() or float(fields[2] or 0) >= _LEAST_FREE_FOR_LVM):
            thin = bool(fields[3].strip())
            return (SnapshotMeans("lvm", f"{fields[0].strip()}/{fields[1].strip()}", thin),)
    return ()
