"""The running processes, from /proc: who they are, not what they use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from forestall.agent.collect.host import Host, HostError


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    name: str
    """The kernel's name for it: at most 15 characters."""
    arguments: tuple[str, ...]
    """Empty for the kernel's own threads and where it is hidden."""

    @property
    def program(self) -> str:
        """Name of the program as it was called, without folder; the kernel's name where that is hidden."""
        if not self.arguments:
            return self.name
        # "sshd: /usr/sbin/sshd -D [listener]" and "nginx: master process" keep their name before the colon.
        return self.arguments[0].split(" ")[0].rstrip(":").rsplit("/", 1)[-1]


def processes(host: Host) -> Iterator[Process]:
    """Every process that can be seen, by rising pid. One that ends meanwhile is left out."""
    for pid in sorted(int(name) for name in host.list_dir("/proc") if name.isdigit()):
        try:
            name = host.read_text(f"/proc/{pid}/comm").rstrip("\n")
            raw = host.read_text(f"/proc/{pid}/cmdline")
        except HostError:
            continue
        yield Process(pid=pid, name=name, arguments=tuple(part for part in raw.split("\x00") if part))


def find(found: Iterable[Process], *programs: str) -> Process | None:
    """The first process that runs one of ``programs``; kernel threads are no such process."""
    return next((each for each in found if each.arguments and each.program in programs), None)


def runs(host: Host, found: Iterable[Process], *programs: str) -> bool | None:
    """Whether a process runs one of ``programs``; None when /proc hides the processes of others from us."""
    if find(found, *programs):
        return True
    # Process 1 is always there: who cannot see it cannot see others either (the mount option hidepid).
    return False if host.glob("/proc/1/comm") else None


def is_alive(host: Host, pid: int) -> bool:
    """Whether a process of that number runs (a zombie does not)."""
    try:
        stat = host.read_text(f"/proc/{pid}/stat")
    except HostError:
        return False
    return stat.rpartition(")")[2].split()[:1] != ["Z"]
