"""Paths that anybody may change, setuid programs that no package of a system brings, and what belongs to nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import count, listing
from forestall.wire.facts import OpenPath

SYSTEM = ("/etc/", "/usr/", "/bin/", "/sbin/", "/lib", "/boot/", "/root/", "/opt/")
"""Below these a file that anybody may change is run or read by the system itself."""
KNOWN_SETUID = frozenset({
    "Xorg.wrap", "at", "auth_pam_tool", "bsd-write", "chage", "chfn", "chrome-sandbox", "chsh", "crontab",
    "dbus-daemon-launch-helper", "doas", "dotlockfile", "exim4", "expiry", "fusermount", "fusermount3", "gpasswd",
    "grub2-set-bootflag", "helper", "kismet_cap_linux_bluetooth", "locate", "lockspool", "mlocate", "mount",
    "mount.cifs", "mount.ecryptfs_private", "mount.nfs", "newgidmap", "newgrp", "newuidmap", "ntfs-3g",
    "pam_timestamp_check", "passwd", "ping", "ping6", "pkexec", "plocate", "polkit-agent-helper-1", "postdrop",
    "postqueue", "pppd", "screen", "sendmail", "snap-confine", "spice-client-glib-usb-acl-helper", "ssh-agent",
    "ssh-keysign", "su", "sudo", "sudoedit", "suexec", "suexec2", "traceroute6.iputils", "umount", "umount.nfs",
    "unix_chkpwd", "unix_update", "userhelper", "usernetctl", "utempter", "vmware-user-suid-wrapper", "wall",
    "write",
})  # fmt: skip
"""Names of the programs that current Linux systems ship setuid or setgid."""
PROGRAM_FOLDERS = ("/bin/", "/sbin/", "/usr/", "/snap/", "/opt/google/", "/lib/")


@dataclass(frozen=True, slots=True)
class Policy:
    most_listed: int = 20
    """So many paths get a result each; the others are counted in one."""
    setuid: bool = True
    """Ask about setuid programs that no current system brings."""

    def __post_init__(self) -> None:
        if not 1 <= self.most_listed <= 200:
            raise ValueError(f"most_listed: {self.most_listed} is not between 1 and 200")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result for each path with something wrong, up to a number, and one (no target) for the walk as a whole."""
    document = known.facts.access
    assert document is not None  # noqa: S101 - judge_kind sees to it
    gaps = [gap for gap in document.gaps if "setuid paths" in gap.what]
    walked = any(source.startswith("find ") for source in document.sources)
    if not walked:
        return [Result(Status.UNKNOWN, f"The paths could not be looked at: {gaps[0].why}.")] if gaps else []
    found = sorted(
        ((judged, path) for path in document.open_paths if (judged := _wrong(path, policy)) is not None),
        key=lambda one: (one[0][1].rank, one[1].path),
    )
    results = []
    for (status, risk, why), path in found[: policy.most_listed]:
        evidence = (f"ls -ld {path.path}",)
        results.append(Result(status, f"{path.path} {why}", target=path.path[:200], risk=risk, evidence=evidence))
    listed = {result.target for result in results}
    results += [
        Result(Status.PASS, f"{target} is open no more.", target=target)
        for target in previous
        if target.startswith("/") and target not in listed and target not in {path.path[:200] for _, path in found}
    ]
    more = found[policy.most_listed :]
    if more:
        worst = min((risk for (_, risk, _), _ in more), key=lambda risk: risk.rank)
        names = listing([path.path for _, path in more], most=3)
        results.append(
            Result(Status.WARN, f"{count(len(more), 'more path')}: {names}.", target="more paths", risk=worst)
        )
    if gaps:
        results.append(
            Result(Status.UNKNOWN, f"Not all was looked at: {gaps[0].what}: {gaps[0].why}.", target="not seen")
        )
    elif not found:
        usual = sum(path.kind in ("setuid", "setgid") for path in document.open_paths)
        said = f"No path is open to everybody; {count(usual, 'setuid or setgid program')} of the system's own."
        results.append(Result(Status.PASS, said, value=usual, unit="programs"))
    return results


def _wrong(path: OpenPath, policy: Policy) -> tuple[Status, Risk, str] | None:
    inside = path.path.startswith(SYSTEM)
    if path.kind == "world_writable":
        if inside and not _harmless(path.path):
            return Status.FAIL, Risk.HIGH, f"may be changed by anybody (mode {path.mode}), and the system relies on it."
        return (
            Status.WARN,
            Risk.LOW if _harmless(path.path) else Risk.MEDIUM,
            f"may be changed by anybody (mode {path.mode}).",
        )
    if path.kind == "unowned":
        return (
            Status.WARN,
            Risk.LOW,
            f"belongs to nobody (number {path.owner}): the next account with that number owns it.",
        )
    if not policy.setuid or path.kind == "setgid":
        return None
    name = path.path.rpartition("/")[2]
    mode = int(path.mode, 8) if path.mode else 0
    if mode & 0o002:
        return (
            Status.FAIL,
            Risk.CRITICAL,
            f"runs as {path.owner} for everybody, and anybody may change it (mode {path.mode}).",
        )
    if name in KNOWN_SETUID and path.path.startswith(PROGRAM_FOLDERS):
        return None
    grave = Risk.HIGH if path.owner in ("root", "0") else Risk.MEDIUM
    return (
        Status.WARN,
        grave,
        f"runs as {path.owner or 'its owner'} for everybody (mode {path.mode}); no usual package brings it.",
    )


def _harmless(path: str) -> bool:
    """A lock or cache that programs keep open by intention: nobody runs or trusts it."""
    return path.endswith((".lock", ".sock")) or "/.cache/" in path


def levels(policy: Policy) -> Sequence[Level]:
    return []
