"""Where a backup lies: on this machine or another, and whether this machine could delete it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from forestall.agent.collect.host import HostError
from forestall.agent.collect.notes import Notes

_NETWORK = re.compile(
    r"^(nfs\d?|cifs|smb3|smbfs|fuse\.(sshfs|rclone|s3fs|davfs2?|glusterfs|ceph)|9p|ceph|glusterfs|afs|davfs)$"
)
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Place:
    remote: bool | None = None
    writable: bool | None = None
    immutable: bool | None = None
    detail: str = ""

    def fields(self) -> dict[str, object]:
        """As ``Reading`` calls them."""
        return {
            "remote": self.remote,
            "writable": self.writable,
            "immutable": self.immutable,
            "immutable_detail": self.detail,
        }


def of_folder(notes: Notes, path: str) -> Place:
    """A folder of this machine's file tree: its file system says whether it is another machine's."""
    mountpoint, kind, options = _mount(notes, path)
    remote = None if not kind else bool(_NETWORK.match(kind))
    if "ro" in options:
        return Place(remote, writable=False, immutable=True, detail=f"{mountpoint} is mounted read-only here")
    flags = _flags(notes, path)
    if flags:
        return Place(remote, writable=True, immutable=False, detail=f"{flags}; root can take the attribute away")
    where = f"in a share of another machine mounted at {mountpoint}" if remote else f"in {path} on this machine"
    return Place(remote, writable=True, immutable=False, detail=f"{where}, where root can change and delete all of it")


def of_address(location: str) -> Place:
    """A repository at an address that restic or borg understands."""
    scheme = location.partition(":")[0].lower()
    if scheme == "sftp":
        return Place(
            remote=True, writable=True, immutable=None, detail="reached by SFTP, which may delete what it may write"
        )
    if scheme in ("rest", "ssh") or (re.match(r"[^/:]+@?[^/:]*:", location) and scheme not in _BUCKETS):
        return Place(remote=True, detail="only its server knows whether it runs append-only")
    if scheme in _BUCKETS:
        return Place(remote=True, detail="only the store knows whether its objects are locked")
    return Place(remote=True)


_BUCKETS = frozenset({"s3", "b2", "azure", "gs", "swift", "rclone"})


def _mount(notes: Notes, path: str) -> tuple[str, str, tuple[str, ...]]:
    """Mount point, kind of file system and options of the mount that holds ``path``; empty where it is not known."""
    best = ("", "", ())  # type: tuple[str, str, tuple[str, ...]]
    for line in notes.value("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, behind = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(behind) < 3:
            continue
        mountpoint = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), fields[4])
        inside = path == mountpoint or path.startswith(mountpoint.rstrip("/") + "/")
        if inside and len(mountpoint) >= len(best[0]):
            best = (mountpoint, behind[0], (*fields[5].split(","), *behind[2].split(",")))
    return best


def _flags(notes: Notes, path: str) -> str:
    """Words when the file system's own attributes hold the folder; empty when none does."""
    if not notes.host.find_program("lsattr"):
        return ""
    try:
        result = notes.host.run(["lsattr", "-d", path])
    except HostError:
        return ""
    flags = result.stdout.split(" ")[0] if result.exit_code == 0 else ""
    if "i" in flags:
        return f"{path} has the immutable attribute"
    return f"{path} has the append-only attribute" if "a" in flags else ""
