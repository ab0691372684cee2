"""The ``restarts`` document: what still runs from before an update.

A process is outdated when it executes code from a file that was removed or replaced since: the kernel marks such
mappings ``(deleted)`` in /proc/PID/maps. What programs make for themselves (memory files, shared memory, files below
/tmp, /run and /dev) is no update's. Processes of containers and in other roots run from systems of their own and are
left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from forestall.agent.collect.host import Denied, Host, HostError
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.processes import Process, processes
from forestall.agent.collect.services import SYSTEMD_RUNS, parse_init_script, pid_file_paths
from forestall.agent.collect.system import newest_kernel
from forestall.wire.facts import OutdatedProcess, Restarts

MOST_PROCESSES = 200
"""Most that the document lists: more say nothing more, and a reboot is then simpler."""
MOST_FILES = 10
_OWN_MAKING = re.compile(r"/(?:(?:tmp|var/tmp|dev|run|var/run|proc|sys)/|memfd:|SYSV|anon_hugepage|\[)")
"""Where programs keep code that they made themselves (just-in-time compilers), and memory that looks like a file."""
_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ ..x. [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ [1-9]\d* +(/.*) \(deleted\)$", re.M)
_UNPACKING = re.compile(r"(\.dpkg-(tmp|new|old)|;[0-9a-f]{8})$")
"""What dpkg and rpm put behind a file's name while they replace it."""
_CONTAINER = re.compile(
    r"docker-[0-9a-f]|/docker/|libpod|kubepods|cri-containerd|crio-|/lxc/|lxc\.payload|machine\.slice"
)
"""Control groups of containers, not of the services that run them (``docker.service``)."""
_SERVICE = re.compile(r"/system\.slice/(?:.*/)?([^/]+)\.service(?:/|$)")


def collect(host: Host) -> Restarts:
    notes = Notes(host)
    outdated, denied = _outdated(host)
    notes.used("/proc/*/maps")
    if denied:
        notes.gap("outdated processes of other users" if not host.is_root else "some processes", denied)
    if len(outdated) > MOST_PROCESSES:
        notes.gap("outdated processes", f"{len(outdated)} found, the first {MOST_PROCESSES} are listed")
    found = dict(list(outdated.items())[:MOST_PROCESSES])
    services = _services(notes, found) if found else {}
    names = _account_names(notes) if found else {}
    running = notes.value("/proc/sys/kernel/osrelease")
    newest = newest_kernel(running, installed_kernels(host))
    if newest is not None:
        notes.used("/boot/vmlinuz-*")
    return Restarts(
        processes=tuple(
            OutdatedProcess(
                pid=process.pid,
                name=process.program,
                service=services.get(process.pid, ""),
                user=names.get(_uid(host, process.pid), _uid(host, process.pid)),
                files=files[:MOST_FILES],
            )
            for process, files in found.values()
        ),
        kernel_running=running,
        kernel_newest=newest or "",
        sources=notes.sources,
        gaps=notes.gaps,
    )


def installed_kernels(host: Host) -> list[str]:
    """Releases of the kernels that could be started: in /boot, or (without /boot in sight) with modules and image."""
    found = {path.removeprefix("/boot/vmlinuz-") for path in host.glob("/boot/vmlinuz-*")}
    for pattern in ("/lib/modules/*/vmlinuz", "/usr/lib/modules/*/vmlinuz"):
        found |= {path.split("/")[-2] for path in host.glob(pattern)}
    return sorted(release for release in found if not release.endswith((".old", ".dpkg-tmp", ".dpkg-new")))


def outdated_files(maps: str) -> tuple[str, ...]:
    """Files in the text of /proc/PID/maps that are executed from and no longer what the name leads to, sorted."""
    if "(deleted)" not in maps:
        return ()
    paths = {_UNPACKING.sub("", path) for path in _MAPPING.findall(maps) if not _OWN_MAKING.match(path)}
    return tuple(sorted(paths))


def service_of(cgroup: str) -> str | None:
    """The system service in the text of /proc/PID/cgroup; empty for none; None for a process of a container."""
    if _CONTAINER.search(cgroup):
        return None
    found = _SERVICE.search(cgroup.replace("\n", "/\n"))
    return found[1] if found else ""


def service_of_process(host: Host, pid: int) -> str:
    """The service a process belongs to, as the ``services`` document names it; empty: none, or not to be told."""
    notes = Notes(host)
    try:
        process = Process(pid=pid, name=notes.value(f"/proc/{pid}/comm"), arguments=())
        return _services(notes, {pid: (process, ())}).get(pid, "")
    except HostError:
        return ""


def _outdated(host: Host) -> tuple[dict[int, tuple[Process, tuple[str, ...]]], str]:
    """Outdated processes by pid with their files; and why some could not be seen, empty when all were."""
    found: dict[int, tuple[Process, tuple[str, ...]]] = {}
    denied = ""
    for pid in sorted(int(name) for name in host.list_dir("/proc") if name.isdigit()):
        try:
            files = outdated_files(host.read_text(f"/proc/{pid}/maps"))
            if not files or _is_elsewhere(host, pid):
                continue
            name = host.read_text(f"/proc/{pid}/comm").rstrip("\n")
            arguments = tuple(part for part in host.read_text(f"/proc/{pid}/cmdline").split("\x00") if part)
        except Denied as error:
            denied = error.why
            continue
        except HostError:
            continue  # it has ended meanwhile
        found[pid] = (Process(pid=pid, name=name, arguments=arguments), files)
    return found, denied


def _is_elsewhere(host: Host, pid: int) -> bool:
    """Whether a process lives in another system's files: a container, or another root."""
    try:
        if _CONTAINER.search(host.read_text(f"/proc/{pid}/cgroup")):
            return True
        return host.read_link(f"/proc/{pid}/root") != host.read_link("/proc/self/root")
    except HostError:
        return False


def _services(notes: Notes, found: Mapping[int, tuple[Process, tuple[str, ...]]]) -> dict[int, str]:
    host = notes.host
    if host.glob(SYSTEMD_RUNS):
        notes.used("/proc/*/cgroup")
        return {pid: service_of(notes.value(f"/proc/{pid}/cgroup")) or "" for pid in found}
    keepers = _script_of_pid(notes)
    services = {}
    for pid in found:
        # A service's workers are descendants of the process in its pid file; a person's session below sshd is not
        # the service.
        chain = list(_ancestors(host, pid))
        session = any(re.match(r"sshd(-session)?: (?!/)", notes.value(f"/proc/{each}/cmdline")) for each in chain)
        services[pid] = "" if session else next((keepers[each] for each in chain if each in keepers), "")
    return services


def _script_of_pid(notes: Notes) -> dict[int, str]:
    """Init scripts by the number of the process that they keep."""
    host = notes.host
    keepers: dict[int, str] = {}
    running = list(processes(host))
    for path in host.glob("/etc/init.d/*"):
        try:
            script = parse_init_script(path.rpartition("/")[2], host.read_text(path))
        except HostError:
            continue
        numbers = [notes.value(each).split()[:1] for pattern in pid_file_paths(script) for each in host.glob(pattern)]
        pids = [int(number[0]) for number in numbers if number and number[0].isdigit()]
        if not pids and script.program:
            pids = [each.pid for each in running if each.arguments[:1] == (script.program,)]
        for pid in pids:
            keepers.setdefault(pid, script.name)
    if keepers:
        notes.used("/etc/init.d/*")
    return keepers


def _ancestors(host: Host, pid: int) -> Iterable[int]:
    """The process itself, its parent, and so on, without process 1."""
    for _ in range(64):
        if pid <= 1:
            return
        yield pid
        try:
            fields = host.read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
            pid = int(fields[1])
        except (HostError, IndexError, ValueError):
            return


def _uid(host: Host, pid: int) -> str:
    try:
        found = re.search(r"^Uid:\s*(\d+)", host.read_text(f"/proc/{pid}/status"), re.MULTILINE)
    except HostError:
        return ""
    return found[1] if found else ""


def _account_names(notes: Notes) -> dict[str, str]:
    lines = [line.split(":") for line in (notes.read("/etc/passwd") or "").splitlines()]
    return {fields[2]: fields[0] for fields in lines if len(fields) >= 3}
