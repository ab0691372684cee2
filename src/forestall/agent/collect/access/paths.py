"""Paths that more people can change or use than should: one bounded walk with find(1)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from forestall.agent.collect.notes import Notes, complaint
from forestall.wire.facts import OpenPath

MOST_SECONDS = 60.0
MOST_PATHS = 400
"""Of one kind: more of them is a finding as it is, and would be a document nobody reads."""
_REAL = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "reiserfs", "bcachefs", "ufs", "overlay"}
)
"""File systems of this machine's own disks; those of other machines are theirs to walk."""
_PRUNED = (
    "/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/snap", "/var/lib/docker", "/var/lib/containers",  # noqa: S108
    "/var/lib/containerd", "/var/lib/lxc", "/var/lib/lxd", "/var/lib/machines", "/var/lib/kubelet", "/var/lib/snapd",
)  # fmt: skip
"""Not walked: what is no disk, folders open to all by intention (sticky), and other systems' files."""
_FORMAT = r"%y %m %U %u %p\0"
_KINDS: tuple[tuple[str, str], ...] = (
    ("world_writable", "-perm -0002"), ("setuid", "-perm -4000"), ("setgid", "-perm -2000"),
)  # fmt: skip


def roots(mounts: str) -> list[str]:
    """Mount points of real file systems in /proc/self/mounts, outside what is not walked; ``/`` always."""
    found = {"/"}
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) >= 3 and fields[2] in _REAL:
            path = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields[1])
            if not any(path == each or path.startswith(f"{each}/") for each in _PRUNED):
                found.add(path)
    return sorted(found)


def find_command(starts: Iterable[str]) -> list[str]:
    """What is run: links are not followed, other file systems not entered, sticky folders passed over."""
    pruned = [word for path in _PRUNED for word in ("-o", "-path", path)][1:]
    return [
        "nice", "-n", "19", "find", "-P", *starts, "-xdev", "(", *pruned, ")", "-prune", "-o",
        "(", "-type", "f", "(", "-perm", "/6000", "-o", "-perm", "-0002", ")", "-o",
        "-type", "d", "-perm", "-0002", "!", "-perm", "-1000", "-o", "(", "-nouser", "-o", "-nogroup", ")", ")",
        "-printf", _FORMAT,
    ]  # fmt: skip


def parse_found(output: str) -> list[OpenPath]:
    """The paths in find's answer, each under the worst of what it is."""
    found = []
    for line in output.split("\0"):
        match = re.match(r"\s*(\S) ([0-7]+) (-?\d+) (\S*) (/.*)$", line, re.DOTALL)
        if match is None:
            continue
        kind, mode, uid, owner, path = match[1], int(match[2], 8), match[3], match[4], match[5]
        what = "unowned"
        if kind == "f" and mode & 0o4000:
            what = "setuid"
        elif kind in "fd" and mode & 0o002 and not (kind == "d" and mode & 0o1000):
            what = "world_writable"
        elif kind == "f" and mode & 0o2000:
            what = "setgid"
        shown = "".join(letter if letter.isprintable() else "?" for letter in path)[:1000]
        found.append(OpenPath(path=shown, kind=what, mode=f"{mode:04o}", owner=owner or uid))  # type: ignore[arg-type]
    return found


def collect_open_paths(notes: Notes) -> tuple[OpenPath, ...]:
    """World-writable paths, setuid and setgid programs, and what belongs to nobody, at most so many of a kind."""
    what = "world-writable and setuid paths"
    if notes.host.find_program("find") is None:
        notes.gap(what, "find is not installed")
        return ()
    command = find_command(roots(notes.value("/proc/self/mounts")))
    result = notes.run(command, what=what, source="find / -xdev -perm …", timeout=MOST_SECONDS)
    if result is None:
        return ()
    if not notes.host.is_root:
        notes.gap(f"{what} in other people's folders", "needs root")
    elif result.exit_code != 0 and not result.stdout:
        notes.gap(what, complaint(result))
        return ()
    kept: list[OpenPath] = []
    for kind in ("world_writable", "setuid", "setgid", "unowned"):
        of_kind = sorted((one for one in parse_found(result.stdout) if one.kind == kind), key=lambda one: one.path)
        if len(of_kind) > MOST_PATHS:
            notes.gap(
                f"{len(of_kind) - MOST_PATHS} more paths ({kind.replace('_', ' ')})", f"at most {MOST_PATHS} are told"
            )
        kept += of_kind[:MOST_PATHS]
    return tuple(kept)
