"""ZFS pools: ``zpool status`` and ``zpool list``."""

from __future__ import annotations

import re

import msgspec

from forestall.agent.collect.arrays.found import Found, State, asked, moment_of, number_of, reading_of
from forestall.agent.collect.captures.capture import Reading
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Array, ArrayMember

_STATES: dict[str, State] = {
    "ONLINE": "ok", "DEGRADED": "degraded", "FAULTED": "failed", "UNAVAIL": "failed", "SUSPENDED": "failed",
    "OFFLINE": "failed", "REMOVED": "failed",
}  # fmt: skip
_WELL = frozenset(["ONLINE", "AVAIL", "INUSE"])
_GROUPS = re.compile(r"^(mirror|raidz\d?|draid\S*|replacing|spare|indirect)-?\d*$|^(logs|cache|spares|special|dedup)$")
_ROW = re.compile(r"^\s+(\S+)(?:\s+([A-Z]{4,9}))?(?:\s+(\d\S*)\s+(\d\S*)\s+(\d\S*))?(?:\s{2,}(.*?))?\s*$")
_SECTION = re.compile(r"^\s*(pool|state|status|action|see|scan|scrub|config|errors|checkpoint|remove|id|comment|dedup|"
                      r"prune|scrub)\s*:\s?(.*)$")  # fmt: skip


def find(notes: Notes) -> Found:
    if not notes.host.glob("/proc/spl/kstat/zfs") and not notes.host.glob("/sys/module/zfs"):
        return Found()
    if notes.host.find_program("zpool") is None:
        notes.gap("ZFS pools", "zpool is not installed")
        return Found()
    result = asked(notes, ["zpool", "status"], "ZFS pools")
    if result is None:
        return Found()
    found = read_status(reading_of("zpool status", result.stdout))
    listed = notes.run(["zpool", "list", "-H", "-p", "-o", "name,size,capacity"])
    sizes = {}
    for line in (listed.stdout if listed else "").splitlines():
        name, _, rest = line.partition("\t")
        size, _, used = rest.partition("\t")
        if size.isdigit():
            sizes[name] = (int(size), float(used.strip(" %")) if used.strip(" %").isdigit() else None)
    found.arrays = [
        msgspec.structs.replace(array, size_bytes=sizes[array.name][0], used_percent=sizes[array.name][1])
        if array.name in sizes
        else array
        for array in found.arrays
    ]
    return found


def read_status(reading: Reading) -> Found:
    """The pools of ``zpool status``."""
    found = Found()
    pool: dict[str, list[str]] = {}
    section = ""
    for line in [*reading]:
        match = _SECTION.match(line.text)
        if match and not (section == "config" and line.text.startswith(("\t", " " * 8))):
            section = match[1]
            if section == "pool" and "pool" in pool:
                found.arrays.append(_pool(pool))
                pool = {}
            pool.setdefault(section, []).append(match[2])
            reading.take(line)
        elif pool and (
            not line.text.strip()
            or section in ("status", "action", "scan", "scrub", "errors", "see")
            or (section == "config" and _ROW.match(line.text))
        ):
            pool[section].append(line.text)
            reading.take(line)
        elif re.match(r"^\s*(no pools available)", line.text):
            reading.take(line)
    if "pool" in pool:
        found.arrays.append(_pool(pool))
    return found


def _pool(sections: dict[str, list[str]]) -> Array:
    def said(name: str) -> str:
        return " ".join(" ".join(sections.get(name, [])).split())

    name = said("pool")
    state = _STATES.get(said("state"), "unknown")
    scan = said("scan") or said("scrub")
    members, levels = _members(sections.get("config", []), name)
    progress = None
    if "resilver in progress" in scan:
        state = "rebuilding" if state in ("ok", "degraded") else state
        done = re.search(r"([\d.]+)% done", scan)
        progress = float(done[1]) if done else None
    ended = re.search(r"scrub (?:repaired|completed).* on (\w{3} \w{3}\s+\d+ [\d:]+ \d{4})", scan)
    return Array(
        name=name, kind="zfs", level=levels, state=state, detail=said("status"), progress_percent=progress,
        members=tuple(members), scrub_at=moment_of(ended[1]) if ended else None,
        errors=_errors(sections.get("errors", [])),
        spares=sum(member.state == "avail" for member in members) or None,
    )  # fmt: skip


def _members(rows: list[str], pool: str) -> tuple[list[ArrayMember], str]:
    members: list[ArrayMember] = []
    levels: dict[str, None] = {}
    part = ""
    for row in rows:
        match = _ROW.match(row)
        if not match or match[1] in ("NAME", pool):
            continue
        name, state, *counts, detail = match.groups()
        if _GROUPS.match(name):
            part = name
            level = re.match(r"(mirror|raidz\d?|draid\S*?)(?=[-\d]|$)", name)
            if level and "-" in name:
                levels[name.rsplit("-", 1)[0]] = None
            continue
        if state is None:
            continue
        read, write, checksum = (number_of(each) if each else None for each in counts)
        said = "spare" if part == "spares" and state == "AVAIL" else state.lower()
        members.append(
            ArrayMember(
                name=name, state="avail" if said == "spare" else said, ok=state in _WELL, read_errors=read,
                write_errors=write, checksum_errors=checksum, detail=detail or "",
            )
        )  # fmt: skip
    return members, ", ".join(levels)


def _errors(rows: list[str]) -> int | None:
    text = " ".join(rows)
    if not text.strip():
        return None
    if "No known data errors" in text:
        return 0
    counted = re.search(r"(\d+) data errors", text)
    if counted:
        return int(counted[1])
    files = [row for row in rows[1:] if row.strip()]
    return max(1, len(files))
