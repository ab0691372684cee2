"""Btrfs file systems: members, what each device counted, the last scrub."""

from __future__ import annotations

import re

from forestall.agent.collect.arrays.found import Found, State, asked, may_ask, moment_of, reading_of
from forestall.agent.collect.captures.capture import Reading
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Array, ArrayMember

_HEAD = re.compile(r"^Label:\s*(?:'(.*)'|none|(\S+))\s+uuid:\s*(\S+)")
_DEVICE = re.compile(r"^\s*devid\s+(\d+)\s+size\s+(\S+)\s+used\s+(\S+)\s+path\s*(\S*)\s*(MISSING)?")
_STAT = re.compile(r"^\[(\S+?)\]\.(\w+)\s+(\d+)\s*$")
_LEVEL = re.compile(r"^(Data|System|Metadata|GlobalReserve)(?:\+\w+)?,\s*(\w+):\s*total=(\S+?),\s*used=(\S+)")
_SCRUB = re.compile(r"^\s*(UUID|Scrub started|Scrub resumed|Status|Duration|Time left|ETA|Total to scrub|"
                    r"Bytes scrubbed|Rate|Error summary|Corrected|Uncorrectable|Unverified)\s*:\s*(.*)$")  # fmt: skip


def find(notes: Notes) -> Found:
    from forestall.agent.collect.volumes import parse_mountinfo

    mounts: dict[str, str] = {}
    for mount in parse_mountinfo(notes.value("/proc/self/mountinfo")):
        if mount.filesystem == "btrfs":
            mounts.setdefault(mount.device, mount.mountpoint)
    if not mounts:
        return Found()
    if not may_ask(notes, "btrfs", "Btrfs file systems"):
        if notes.host.find_program("btrfs") is None:
            notes.gap("Btrfs file systems", "btrfs is not installed")
        return Found()
    found = Found()
    for mountpoint in mounts.values():
        text = ""
        for command in (["filesystem", "show", "--raw"], ["filesystem", "df", "--raw"], ["device", "stats"],
                        ["scrub", "status"]):  # fmt: skip
            result = asked(notes, ["btrfs", *command, mountpoint], f"Btrfs at {mountpoint}")
            text += result.stdout + "\n" if result else ""
        found.add(read(reading_of("btrfs", text), mountpoint))
    return found


def read(reading: Reading, name: str = "") -> Found:
    """One file system by the outputs of ``btrfs filesystem show``, ``df``, ``device stats`` and ``scrub status``."""
    found, label, heads = Found(), "", 0
    devices: list[re.Match[str]] = []
    levels: dict[str, str] = {}
    stats: dict[str, dict[str, int]] = {}
    scrub: dict[str, str] = {}
    missing = False

    def close() -> None:
        nonlocal missing
        if devices or stats or levels:
            found.arrays.append(_array(name or label, devices, levels, stats, scrub, missing=missing))

    for line in [*reading]:
        text = line.text
        if head := _HEAD.match(text):
            if heads:
                close()
                devices, levels, scrub, missing = [], {}, {}, False
                stats.clear()
            heads += 1
            label = head[1] or head[2] or head[3]
        elif device := _DEVICE.match(text):
            devices.append(device)
        elif "Some devices missing" in text:
            missing = True
        elif level := _LEVEL.match(text):
            levels[level[1]] = level[2]
        elif stat := _STAT.match(text):
            stats.setdefault(stat[1], {})[stat[2]] = int(stat[3])
        elif field := _SCRUB.match(text):
            scrub[field[1]] = field[2].strip()
        elif not re.match(r"^\s*Total devices|^scrub (status|device)|^\s*no stats available|^WARNING", text):
            continue
        reading.take(line)
    close()
    return found


def _array(
    name: str,
    devices: list[re.Match[str]],
    levels: dict[str, str],
    stats: dict[str, dict[str, int]],
    scrub: dict[str, str],
    *,
    missing: bool,
) -> Array:
    members, size = [], 0
    for device in devices:
        path = "" if device[4] == "MISSING" else device[4]
        gone = not path or "MISSING" in (device[4], device[5])
        counts = stats.get(path) or stats.get(f"devid:{device[1]}") or {}
        size += int(device[2]) if device[2].isdigit() else 0
        members.append(_member(path or f"devid {device[1]}", counts, gone=gone))
    if not devices:
        members = [_member(path, counts, gone=path.startswith("devid:")) for path, counts in stats.items()]
    torn = missing or any(member.state == "missing" for member in members)
    uncorrectable = re.match(r"\d+", scrub.get("Uncorrectable", ""))
    state: State = "degraded" if torn else "ok"
    errors = int(uncorrectable[0]) if uncorrectable else 0 if "no errors" in scrub.get("Error summary", "") else None
    # A scrub that was never run prints no start; one under way or ended prints when it began.
    return Array(
        name=name, kind="btrfs", level=levels.get("Data", "").lower(), state=state, size_bytes=size or None,
        detail="a device of it is missing" if torn else "", members=tuple(members), errors=errors,
        scrub_at=moment_of(scrub.get("Scrub started", "")) if scrub.get("Status") == "finished" else None,
    )  # fmt: skip


def _member(name: str, counts: dict[str, int], *, gone: bool) -> ArrayMember:
    return ArrayMember(
        name=name,
        state="missing" if gone else "online",
        ok=not gone,
        read_errors=counts.get("read_io_errs"),
        write_errors=(counts["write_io_errs"] + counts.get("flush_io_errs", 0)) if "write_io_errs" in counts else None,
        checksum_errors=(counts["corruption_errs"] + counts.get("generation_errs", 0))
        if "corruption_errs" in counts
        else None,
    )
