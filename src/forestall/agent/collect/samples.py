"""Samples: the numbers of this machine, read straight from /proc and /sys once a minute.

Series (labels in braces; see ``wire.series``)::

    cpu.used_percent  cpu.iowait_percent  cpu.steal_percent       share of all processors since the last reading
    load.1m  load.5m  load.15m
    memory.total_bytes  memory.available_bytes  memory.available_percent  memory.used_percent
    swap.total_bytes  swap.used_percent                           used_percent is 0 where there is no swap
    disk.total_bytes{volume}  disk.free_bytes{volume}  disk.used_percent{volume}
    inodes.used_percent{volume}                                   file systems with a fixed number of inodes
    disk.read_bytes_per_second{disk}  disk.write_bytes_per_second{disk}  disk.busy_percent{disk}
    network.receive_bytes_per_second{interface}  network.send_bytes_per_second{interface}
    network.receive_errors_per_second{interface}  network.send_errors_per_second{interface}
    processes.count  processes.running  processes.blocked
    sockets.tcp_established  sockets.tcp_time_wait  sockets.udp
    temperature.celsius{sensor}
    uptime.seconds
    plugin.value{label,plugin}                                    as a monitoring plugin last told, for two rounds

A volume's space is counted as ``df`` does: ``free_bytes`` is what others than root may still use, and the share used
is used / (used + that). Rates are NaN at the first reading and after a counter went backwards (a reset or a new
device under an old name). The order of the series is fixed for as long as there are the same volumes and devices.

Only light modules are imported here, and files are opened without the overhead of text decoding: a reading costs
about a millisecond.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping

from forestall.agent.collect.volumes import FIXED_INODES, Mount, data_mounts, parse_mountinfo
from forestall.wire.series import series_name

NAN = float("nan")
_SECTOR_BYTES = 512
"""Unit of /proc/diskstats whatever the disk's own sectors are."""
_NOT_DISKS = (b"loop", b"ram", b"zram", b"dm-", b"md", b"sr", b"fd")
_VIRTUAL_INTERFACES = (b"lo", b"veth", b"ifb", b"dummy", b"docker", b"br-", b"virbr", b"tap", b"vnet", b"cali", b"cni")
"""Loopback, and interfaces that only show once more what passes a real one; they come and go with containers."""


class SampleReader:
    """Reads all samples; keeps the counters of the last reading to make rates of them.

    ``root`` is where /proc and /sys are found: a test gives its own folder. ``clock`` counts seconds and never
    goes back.
    """

    def __init__(
        self, root: str = "", clock: Callable[[], float] = time.monotonic,
        plugins: Callable[[], Mapping[str, float]] | None = None,
    ) -> None:  # fmt: skip
        self._root = root
        self._clock = clock
        self._plugins = plugins
        self._counters: dict[str, int] = {}
        self._read_at: float | None = None
        self._cpu: tuple[int, ...] | None = None
        self._mountinfo = b""
        self._mounts: tuple[Mount, ...] = ()
        self._names: dict[tuple[str, str, str], str] = {}
        self._sensors: list[tuple[str, str]] | None = None

    def read(self) -> tuple[tuple[str, ...], list[float]]:
        """Names of the series and their values, in one order. A value that cannot be read now is NaN."""
        now = self._clock()
        elapsed = 0.0 if self._read_at is None else now - self._read_at
        self._read_at = now
        samples: dict[str, float] = {}
        self._read_cpu(samples)
        self._read_memory(samples)
        self._read_volumes(samples)
        counters: dict[str, int] = {}
        self._read_disks(counters)
        self._read_network(counters)
        for name, count in counters.items():
            before = self._counters.get(name)
            rate = NAN if before is None or count < before or elapsed <= 0 else (count - before) / elapsed
            samples[name] = min(rate / 10, 100.0) if name.startswith("disk.busy_percent") else rate
        self._counters = counters
        self._read_sockets(samples)
        self._read_temperatures(samples)
        uptime = self._bytes("/proc/uptime").split()
        samples["uptime.seconds"] = float(uptime[0]) if uptime else NAN
        if self._plugins is not None:
            samples.update(self._plugins())
        return tuple(samples), list(samples.values())

    def _read_cpu(self, samples: dict[str, float]) -> None:
        stat = self._bytes("/proc/stat")
        counts = tuple(int(word) for word in stat[: stat.find(b"\n")].split()[1:9])
        before, self._cpu = self._cpu, counts
        used = waiting = stolen = NAN
        if before is not None and len(counts) == len(before) == 8:
            # user, nice, system, idle, iowait, irq, softirq, steal (proc(5)). Guest time is within user time.
            spent = [now - then for now, then in zip(counts, before, strict=True)]
            total = sum(spent)
            # iowait may go back by a little (proc(5) warns of it); anything else going back is a reset.
            if total > 0 and all(value >= 0 for index, value in enumerate(spent) if index != 4):
                waiting, stolen = max(0.0, 100 * spent[4] / total), 100 * spent[7] / total
                used = min(100.0, max(0.0, 100 * (total - spent[3] - spent[4]) / total))
        samples["cpu.used_percent"] = used
        samples["cpu.iowait_percent"] = waiting
        samples["cpu.steal_percent"] = stolen
        load = self._bytes("/proc/loadavg").split()
        for name, word in zip(("load.1m", "load.5m", "load.15m"), load or (b"nan",) * 3, strict=False):
            samples[name] = float(word)
        threads = load[3].partition(b"/") if len(load) > 3 else (b"nan", b"", b"nan")
        names = os.listdir(f"{self._root}/proc")  # noqa: PTH208
        samples["processes.count"] = float(sum(1 for name in names if name[0] in "123456789"))
        samples["processes.running"] = float(threads[0])
        blocked = stat.rfind(b"procs_blocked ")
        samples["processes.blocked"] = float(stat[blocked + 14 : stat.find(b"\n", blocked)]) if blocked >= 0 else NAN

    def _read_memory(self, samples: dict[str, float]) -> None:
        values: dict[bytes, int] = {}
        for line in self._bytes("/proc/meminfo").splitlines():
            name, _, rest = line.partition(b":")
            if name in (b"MemTotal", b"MemFree", b"MemAvailable", b"SwapTotal", b"SwapFree"):
                values[name] = int(rest.split()[0]) * 1024
        total = values.get(b"MemTotal", 0)
        available = values.get(b"MemAvailable", values.get(b"MemFree", 0))
        samples["memory.total_bytes"] = float(total) if total else NAN
        samples["memory.available_bytes"] = float(available) if total else NAN
        samples["memory.available_percent"] = 100 * available / total if total else NAN
        samples["memory.used_percent"] = 100 * (total - available) / total if total else NAN
        swap = values.get(b"SwapTotal", 0)
        samples["swap.total_bytes"] = float(swap)
        samples["swap.used_percent"] = 100 * (swap - values.get(b"SwapFree", 0)) / swap if swap else 0.0

    def _read_volumes(self, samples: dict[str, float]) -> None:
        mountinfo = self._bytes("/proc/self/mountinfo")
        if mountinfo != self._mountinfo:
            self._mountinfo = mountinfo
            mounts = data_mounts(parse_mountinfo(mountinfo.decode(errors="replace")))
            self._mounts = tuple(mount for mount in mounts if os.path.isdir(self._root + mount.mountpoint))  # noqa: PTH112
        for mount in self._mounts:
            total = free = used_percent = inodes_percent = NAN
            try:
                found = os.statvfs(self._root + mount.mountpoint)
            except OSError:
                pass  # gone since the table was read, or broken: NaN says that there is no sample
            else:
                total, free = float(found.f_blocks * found.f_frsize), float(found.f_bavail * found.f_frsize)
                used_percent = used_share(found.f_blocks, found.f_bfree, found.f_bavail)
                inodes_percent = 100 * (found.f_files - found.f_ffree) / found.f_files if found.f_files else NAN
            samples[self._name("disk.total_bytes", "volume", mount.mountpoint)] = total
            samples[self._name("disk.free_bytes", "volume", mount.mountpoint)] = free
            samples[self._name("disk.used_percent", "volume", mount.mountpoint)] = used_percent
            if mount.filesystem in FIXED_INODES:
                samples[self._name("inodes.used_percent", "volume", mount.mountpoint)] = inodes_percent

    def _read_disks(self, counters: dict[str, int]) -> None:
        for line in self._bytes("/proc/diskstats").splitlines():
            fields = line.split()
            # Partitions have no folder of their own in /sys/block; a disk that never read is an empty slot.
            if len(fields) < 13 or fields[2].startswith(_NOT_DISKS) or fields[3] == b"0" == fields[7]:
                continue
            disk = fields[2].decode()
            if not self._is_disk(disk):
                continue
            counters[self._name("disk.read_bytes_per_second", "disk", disk)] = int(fields[5]) * _SECTOR_BYTES
            counters[self._name("disk.write_bytes_per_second", "disk", disk)] = int(fields[9]) * _SECTOR_BYTES
            # Milliseconds in which something was under way: 1000 in a second are 100 %.
            counters[self._name("disk.busy_percent", "disk", disk)] = int(fields[12])

    def _read_network(self, counters: dict[str, int]) -> None:
        for line in self._bytes("/proc/net/dev").splitlines()[2:]:
            raw, _, rest = line.partition(b":")
            fields, interface = rest.split(), raw.strip()
            if len(fields) < 16 or interface.startswith(_VIRTUAL_INTERFACES):
                continue
            label = interface.decode(errors="replace")
            counters[self._name("network.receive_bytes_per_second", "interface", label)] = int(fields[0])
            counters[self._name("network.send_bytes_per_second", "interface", label)] = int(fields[8])
            counters[self._name("network.receive_errors_per_second", "interface", label)] = int(fields[2])
            counters[self._name("network.send_errors_per_second", "interface", label)] = int(fields[10])

    def _read_sockets(self, samples: dict[str, float]) -> None:
        # Counters of the kernel; the tables in /proc/net/tcp would grow with every connection.
        established = _counter(self._bytes("/proc/net/snmp"), b"Tcp:", b"CurrEstab")
        sockstat = self._bytes("/proc/net/sockstat").splitlines()
        six = self._bytes("/proc/net/sockstat6").splitlines()
        samples["sockets.tcp_established"] = NAN if established is None else float(established)
        samples["sockets.tcp_time_wait"] = _sockstat(sockstat, b"TCP:", b"tw")
        udp6 = _sockstat(six, b"UDP6:", b"inuse")
        samples["sockets.udp"] = _sockstat(sockstat, b"UDP:", b"inuse") + (udp6 if udp6 == udp6 else 0.0)

    def _read_temperatures(self, samples: dict[str, float]) -> None:
        if self._sensors is None:
            self._sensors = list(_sensors(self._root))
        for sensor, path in self._sensors:
            text = self._bytes(path).strip()
            try:
                value = int(text) / 1000
            except ValueError:
                value = NAN
            samples[self._name("temperature.celsius", "sensor", sensor)] = value

    def _is_disk(self, name: str) -> bool:
        key = ("is_disk", "", name)
        if key not in self._names:
            self._names[key] = "yes" if os.path.isdir(f"{self._root}/sys/block/{name}") else ""  # noqa: PTH112
        return bool(self._names[key])

    def _name(self, metric: str, label: str, value: str) -> str:
        """The series' name, made once."""
        key = (metric, label, value)
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = series_name(metric, **{label: value})
        return name

    def _bytes(self, path: str) -> bytes:
        try:
            handle = os.open(self._root + path, os.O_RDONLY)
        except OSError:
            return b""  # this machine has no such file: its samples are NaN or absent
        try:
            data = os.read(handle, 65536)
            if len(data) < 4096:
                return data
            parts = [data]
            while data := os.read(handle, 65536):
                parts.append(data)
            return b"".join(parts)
        except OSError:
            return b""
        finally:
            os.close(handle)


def used_share(blocks: int, free: int, available: int) -> float:
    """Per cent used as ``df`` counts it: the reserve for root is neither used nor to be had. NaN for a size of 0."""
    used = blocks - free
    return 100 * used / (used + available) if used + available > 0 else NAN


def _counter(snmp: bytes, group: bytes, name: bytes) -> int | None:
    """A number of /proc/net/snmp, where a line of names stands above a line of values."""
    lines = [line.split() for line in snmp.splitlines() if line.startswith(group)]
    if len(lines) != 2 or name not in lines[0]:
        return None
    return int(lines[1][lines[0].index(name)])


def _sockstat(lines: Iterable[bytes], group: bytes, name: bytes) -> float:
    for line in lines:
        words = line.split()
        if words[:1] == [group] and name in words:
            return float(words[words.index(name) + 1])
    return NAN


def _sensors(root: str) -> Iterable[tuple[str, str]]:
    """Label and file of each temperature sensor: those of hwmon with their names, else the thermal zones."""
    taken: dict[str, int] = {}

    def unique(label: str) -> str:
        taken[label] = taken.get(label, 0) + 1
        return label if taken[label] == 1 else f"{label} {taken[label]}"

    found = False
    for chip in _listed(f"{root}/sys/class/hwmon"):
        folder = f"{root}/sys/class/hwmon/{chip}"
        inputs = sorted(name for name in _listed(folder) if name.startswith("temp") and name.endswith("_input"))
        for name in inputs:
            label = _line(f"{folder}/{name.removesuffix('_input')}_label")
            found = True
            yield unique(f"{_line(f'{folder}/name')} {label}".strip()), f"/sys/class/hwmon/{chip}/{name}"
    if not found:
        for zone in _listed(f"{root}/sys/class/thermal"):
            if zone.startswith("thermal_zone"):
                yield unique(_line(f"{root}/sys/class/thermal/{zone}/type") or zone), f"/sys/class/thermal/{zone}/temp"


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return []  # no such class of devices here


def _line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.readline().strip()
    except OSError:
        return ""
