"""Paths that more people can change or use than should: two bounded walks with find(1)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from forestall.agent.collect.host import HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.wire.facts import OpenPath

MOST_SECONDS = 20.0
"""Of each of the two walks: of a machine that takes longer, the walk is a gap."""
MOST_PATHS = 400
"""Of one kind: more of them is a finding as it is, and would be a document nobody reads."""
_REAL = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "reiserfs", "bcachefs", "ufs", "overlay"}
)
"""File systems of this machine's own disks; those of other machines are theirs to walk."""
_PRUNED = (
    "/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/snap", "/var/lib/docker", "/var/lib/containers",  # noqa: S108
    "/var/lib/containerd", "/var/lib/lxc", "/var/lib/lxd", "/var/lib/machines", "/var/lib/kubelet", "/var/lib/snapd",
    "/var/cache", "/var/lib/dpkg", "/usr/share", "/usr/src", "/usr/include", "/usr/lib/modules", "/usr/lib/firmware",
    "/lib/modules", "/boot", "/nix/store",
)  # fmt: skip
"""Not walked: what is no disk, folders open to all by intention (sticky), other systems' files, and large trees of a
package manager's own."""
_PRUNED_NAMES = ("node_modules", "site-packages", "dist-packages", ".git", ".cache", "__pycache__", "python3*", "jvm")
"""Nor folders of these names: thousands of files that no system program starts from."""
_FILE_FOLDERS = (
    "/etc", "/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/games", "/usr/local", "/usr/libexec", "/usr/lib", "/lib",
    "/opt", "/srv", "/root",
)  # fmt: skip
"""Where each file is looked at, some folders deep: settings, programs, their helpers. A link is not followed."""
_FILE_DEPTH = 4
_FORMAT = r"%y %m %U %u %p\0"


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


def _pruned() -> list[str]:
    words = [word for path in _PRUNED for word in ("-o", "-path", path)]
    words += [word for name in _PRUNED_NAMES for word in ("-o", "-name", name)]
    return ["(", *words[1:], ")", "-prune", "-o"]


def find_folders(starts: Iterable[str]) -> list[str]:
    """The walk over folders everywhere: only they are looked at, files are passed by without a look."""
    return [
        "nice", "-n", "19", "find", "-P", *starts, "-xdev", *_pruned(),
        "-type", "d", "(", "-perm", "-0002", "!", "-perm", "-1000", "-o", "-nouser", ")", "-printf", _FORMAT,
    ]  # fmt: skip


def find_files(starts: Iterable[str]) -> list[str]:
    """The walk over files where programs and settings lie. Libraries of a system's own folder are passed over."""
    return [
        "nice", "-n", "19", "find", "-P", *starts, "-xdev", "-maxdepth", str(_FILE_DEPTH),
        "(", "-name", "*-linux-gnu*", "-o", "-name", "*.so*", ")", "-prune", "-o", *_pruned(),
        "-type", "f", "(", "-perm", "/6000", "-o", "-perm", "-0002", "-o", "-nouser", ")", "-printf", _FORMAT,
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
    places = [path for path in _FILE_FOLDERS if _is_folder(notes, path)]
    walks = (
        ("find / -xdev -type d -perm -0002", find_folders(roots(notes.value("/proc/self/mounts")))),
        ("find /etc /usr/bin /usr/lib … -type f -perm /6000 -o -perm -0002", find_files(places)),
    )
    found: dict[str, OpenPath] = {}
    for source, command in walks:
        result = notes.run(command, what=what, source=source, timeout=MOST_SECONDS)
        if result is None:
            continue
        if not notes.host.is_root:
            notes.gap(f"{what} in other people's folders", "needs root")
        elif result.exit_code != 0 and not result.stdout:
            notes.gap(what, complaint(result))
            continue
        found.update({one.path: one for one in parse_found(result.stdout)})
    kept: list[OpenPath] = []
    for kind in ("world_writable", "setuid", "setgid", "unowned"):
        of_kind = sorted((one for one in found.values() if one.kind == kind), key=lambda one: one.path)
        if len(of_kind) > MOST_PATHS:
            more = f"{len(of_kind) - MOST_PATHS} more paths ({kind.replace('_', ' ')})"
            notes.gap(more, f"at most {MOST_PATHS} are told")
        kept += of_kind[:MOST_PATHS]
    return tuple(kept)


def _is_folder(notes: Notes, path: str) -> bool:
    """Whether it is a folder and no link to one: /bin is /usr/bin on most systems, and is walked once."""
    try:
        return notes.host.status(path).is_dir and not _is_link(notes, path)
    except HostError:
        return False


def _is_link(notes: Notes, path: str) -> bool:
    try:
        return bool(notes.host.read_link(path))
    except HostError:
        return False
